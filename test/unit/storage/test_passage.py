"""From a file to a socket; a pipe is as good as one here."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from koboldfs.storage.passage import FileEnded, Passage


class PassageCase(SynchronousTestCase):
    """A file and a pipe."""

    def setUp(self) -> None:
        """A file, and a pipe that does not block."""
        path = Path(self.mktemp())
        path.write_bytes(bytes(range(256)) * 4096)
        self.data = path.read_bytes()
        self.file = os.open(path, os.O_RDONLY)
        self.reading, self.writing = os.pipe2(os.O_NONBLOCK)
        self.open = {self.file, self.reading, self.writing}
        self.passage = Passage(self.file, self.writing)
        self.stopped = False

    def tearDown(self) -> None:
        """Nothing stays open."""
        if not self.stopped:
            self.passage.stop()
        for fd in self.open:
            os.close(fd)

    def close(self, fd: int) -> None:
        """Close one of ours."""
        self.open.remove(fd)
        os.close(fd)


class Passages(PassageCase):
    """`Passage`"""

    def test_as_much_as_there_is_room(self) -> None:
        """Some of it, then nothing, then more; all of it in the end."""
        sent, taken = 0, b""
        while sent < len(self.data):
            more = self.passage.send(len(self.data) - sent, sent)
            self.assertGreater(more, 0)
            sent += more
            if sent < len(self.data):
                self.assertEqual(self.passage.send(1, sent), 0)
            taken += os.read(self.reading, len(self.data))
        self.assertEqual(taken, self.data)

    def test_span(self) -> None:
        """Not a byte more than was asked for."""
        self.assertEqual(self.passage.send(100, 7), 100)
        self.assertEqual(os.read(self.reading, 1000), self.data[7:107])

    def test_shorter_than_it_was(self) -> None:
        """A file that has no more bytes."""
        with self.assertRaises(FileEnded):
            self.passage.send(2, len(self.data) - 1)

    def test_nobody_reads(self) -> None:
        """The other end is gone."""
        self.close(self.reading)
        with self.assertRaises(BrokenPipeError):
            self.passage.send(1, 0)

    def stop(self) -> None:
        """Stop the passage."""
        self.stopped = True
        self.passage.stop()

    def test_stopped(self) -> None:
        """Nothing after the end."""
        self.stop()
        self.assertEqual(self.passage.send(10, 0), 0)
        with self.assertRaises(BlockingIOError):
            os.read(self.reading, 10)

    def test_own_descriptors(self) -> None:
        """Whoever closes the file and the socket does not take them away, and they
        are closed with the passage."""
        self.close(self.file)
        self.close(self.writing)
        self.assertEqual(self.passage.send(3, 0), 3)
        self.assertEqual(os.read(self.reading, 10), self.data[:3])
        self.stop()
        self.assertEqual(os.read(self.reading, 10), b"")

    def test_stopped_in_the_middle(self) -> None:
        """While a thread is in it, nothing is closed; the thread does that then."""
        self.close(self.writing)
        sendfile = os.sendfile

        def stop_and_send(*words: int) -> int:
            self.stop()
            with self.assertRaises(BlockingIOError):
                os.read(self.reading, 1)
            return sendfile(*words)

        self.patch(os, "sendfile", stop_and_send)
        self.assertGreater(self.passage.send(len(self.data), 0), 0)
        os.read(self.reading, len(self.data))
        self.assertEqual(os.read(self.reading, 1), b"")


class ByHand(Passages):
    """The same on a file system that has no such way."""

    def setUp(self) -> None:
        """Its calls say so."""
        super().setUp()

        def sendfile(*arguments: object) -> int:
            raise OSError(errno.EINVAL, "no such way")

        self.patch(os, "sendfile", sendfile)


class Faults(PassageCase):
    """What the disk says otherwise is told."""

    def test_disk(self) -> None:
        """An error of the disk is no reason to try another way."""

        def sendfile(*arguments: object) -> int:
            raise OSError(errno.EIO, "the disk")

        self.patch(os, "sendfile", sendfile)
        with self.assertRaises(OSError) as caught:
            self.passage.send(1, 0)
        self.assertEqual(caught.exception.errno, errno.EIO)
