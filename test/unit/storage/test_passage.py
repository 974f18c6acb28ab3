"""From a file to a socket; a pipe is as good as one here."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from koboldfs.storage.passage import FileEnded, Passage


class Passages(SynchronousTestCase):
    """`Passage`"""

    def setUp(self) -> None:
        """A file, and a pipe that does not block."""
        path = Path(self.mktemp())
        path.write_bytes(bytes(range(256)) * 4096)
        self.data = path.read_bytes()
        self.file = os.open(path, os.O_RDONLY)
        self.reading, self.writing = os.pipe2(os.O_NONBLOCK)
        self.open = {self.file, self.reading, self.writing}
        self.passage: Passage | None = Passage(self.file, self.writing)

    def tearDown(self) -> None:
        """Nothing stays open."""
        self.passage = None
        for fd in self.open:
            os.close(fd)

    def close(self, fd: int) -> None:
        """Close one of ours."""
        self.open.remove(fd)
        os.close(fd)

    def test_as_much_as_there_is_room(self) -> None:
        """Some of it, then nothing, then more; all of it in the end."""
        assert self.passage is not None
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
        assert self.passage is not None
        self.assertEqual(self.passage.send(100, 7), 100)
        self.assertEqual(os.read(self.reading, 1000), self.data[7:107])

    def test_shorter_than_it_was(self) -> None:
        """A file that has no more bytes."""
        assert self.passage is not None
        with self.assertRaises(FileEnded):
            self.passage.send(2, len(self.data) - 1)

    def test_nobody_reads(self) -> None:
        """The other end is gone."""
        assert self.passage is not None
        self.close(self.reading)
        with self.assertRaises(BrokenPipeError):
            self.passage.send(1, 0)

    def test_stopped(self) -> None:
        """Nothing after the end."""
        assert self.passage is not None
        self.passage.stop()
        self.assertEqual(self.passage.send(10, 0), 0)

    def test_own_descriptors(self) -> None:
        """Whoever closes the file and the socket does not take them away, and they
        are closed with the passage."""
        assert self.passage is not None
        self.close(self.file)
        self.close(self.writing)
        self.assertEqual(self.passage.send(3, 0), 3)
        self.assertEqual(os.read(self.reading, 10), self.data[:3])
        self.passage = None
        self.assertEqual(os.read(self.reading, 10), b"")
