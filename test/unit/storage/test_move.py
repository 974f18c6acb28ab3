"""MOVE: other names for files."""

from __future__ import annotations

import errno

from koboldfs.model.fid import uri
from koboldfs.wire.http import copy_target
from test.unit.storage.test_http import TARGET, URI, DoorCase, get, put

OTHER = copy_target(1, 5_000_001)
OTHER_URI = uri(1, 5_000_001).encode()


def move(destination: bytes, more: bytes = b"", path: bytes = URI) -> bytes:
    """A MOVE."""
    return get(b"Destination: %s\r\n%s" % (destination, more), b"MOVE", path)


class Moves(DoorCase):
    """Each over HTTP."""

    def test_moved(self) -> None:
        """201, the same bytes under the new name, the old name gone; also for the
        whole URL that a tracker gave out, and after a power cut."""
        self.assertEqual(self.ask(move(b"http://10.0.0.1:7500" + OTHER_URI))[0], 201)
        self.assertEqual(self.node.files(), {OTHER.relative: self.data})
        self.node.memory.crash()
        self.assertEqual(self.node.files(), {OTHER.relative: self.data})
        self.assertEqual(self.ask(get())[0], 404)
        self.assertEqual(self.ask(get(path=OTHER_URI))[2], self.data)

    def test_over_another(self) -> None:
        """204 when it replaces a file, 412 when it is not to."""
        self.assertEqual(self.ask(put(b"other", path=OTHER_URI))[0], 201)
        status, _, _ = self.ask(move(OTHER_URI, b"Overwrite: F\r\n"))
        self.assertEqual(status, 412)
        self.assertEqual(self.node.files()[OTHER.relative], b"other")
        self.assertEqual(self.ask(move(OTHER_URI, b"Overwrite: T\r\n"))[0], 204)
        self.assertEqual(self.node.files(), {OTHER.relative: self.data})

    def test_refused(self) -> None:
        """What is not there, to another device, to what is no file of a node."""
        self.refused(404, move(URI, path=OTHER_URI))
        self.refused(403, move(uri(2, 7).encode()))
        for wrong in (b"", b"/etc/passwd", b"/dev1/usage", b"/dev1/0/", b"x"):
            self.refused(400, move(wrong))
        self.refused(400, get(method=b"MOVE"))
        self.refused(405, move(OTHER_URI, path=b"/dev1/usage"))
        self.refused(405, move(OTHER_URI, path=b"/dev1/test-write/test-md5"))
        self.refused(404, move(uri(9, 1).encode(), path=uri(9, 7).encode()))

    def test_disk_trouble(self) -> None:
        """Whatever call fails, the file has one of its names, and all of its bytes."""
        calls = 1
        while True:
            self.node.disk.arm(calls, errno.EIO)
            status = self.ask(move(OTHER_URI))[0]
            self.node.disk.disarm()
            if status == 201:
                break
            self.assertEqual(status, 500)
            (found,) = self.node.files().items()
            self.assertIn(found[0], (TARGET.relative, OTHER.relative))
            self.assertEqual(found[1], self.data)
            if self.node.disk.failed == ["sync_folder"]:
                # Nobody knows what the disk dropped: it takes no more writes.
                self.assertEqual(self.ask(put(b"x"))[0], 503)
            self.setUp()
            calls += 1
        self.assertGreater(calls, 3)
