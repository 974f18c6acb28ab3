"""What every provider of `IDisk` does, and what uploads do on every one of them."""

from __future__ import annotations

import errno
import hashlib
from typing import Any

from koboldfs.errors import CopyCorrupt
from koboldfs.model.entities import MD5, OWN_HASHTYPE, Checksum
from koboldfs.storage.batch import Placed, SmallFile, write_batch
from koboldfs.storage.disk import TEMPORARY_FOLDER, write_durably
from koboldfs.storage.temporary import Expected, Stored, TemporaryFile

PATHS = (
    "0/000/000/0000000001.fid",
    "0/000/000/0000000002.fid",
    "0/001/002/0001002003.fid",
)


class DiskContract:
    """Mix with a trial case that sets `disk`, and `root`: an empty folder."""

    disk: Any
    root: str
    assertEqual: Any
    assertRaises: Any
    assertTrue: Any
    assertIn: Any
    assertNotEqual: Any

    def prepare(self) -> None:
        """A device's own folders."""
        self.disk.make_folder(f"{self.root}/.koboldfs")
        self.disk.make_folder(f"{self.root}/{TEMPORARY_FOLDER}")

    def test_sync_all(self) -> None:
        """All of a file system can be flushed; of a folder that is there."""
        self.prepare()
        self.disk.sync_all(self.root)
        self.assertRaises(FileNotFoundError, self.disk.sync_all, f"{self.root}/none")

    def content(self, relative: str) -> bytes | None:
        """The bytes of a file, or None."""
        try:
            fd, found = self.disk.open(f"{self.root}/{relative}")
        except FileNotFoundError:
            return None
        try:
            data: bytes = self.disk.read(fd, found.size + 1, 0)
            return data
        finally:
            self.disk.close(fd)

    def temporaries(self) -> list[str]:
        """Files being written."""
        names: list[str] = self.disk.names(f"{self.root}/{TEMPORARY_FOLDER}")
        return names

    def test_create_write_read(self) -> None:
        """What is written can be read, in pieces and by offset."""
        path = f"{self.root}/file"
        fd = self.disk.create(path)
        self.disk.write(fd, b"hello ")
        self.disk.write(fd, b"world")
        self.disk.begin_sync(fd, 0, 11)
        self.disk.forget(fd, 0, 11)
        self.disk.sync([fd])
        before = self.disk.stat_open(fd)
        self.disk.close(fd)
        fd, found = self.disk.open(path)
        self.assertEqual((found.size, found.is_file), (11, True))
        self.assertEqual(found.inode, before.inode)
        self.assertEqual(self.disk.read(fd, 5, 6), b"world")
        self.assertEqual(self.disk.read(fd, 5, 11), b"")
        self.disk.close(fd)
        self.assertEqual(self.disk.stat(path), found)

    def test_cached(self) -> None:
        """What is had at once is what is there; what is not there, too long or no
        file never is."""
        for size in (0, 1, 100):
            path = f"{self.root}/file{size}"
            write_durably(self.disk, path, b"x" * size)
            for limit in (100, 0):
                found = self.disk.read_cached(path, limit)
                if found is not None:
                    data = b"x" * size if limit else b""
                    self.assertEqual(found, (self.disk.stat(path), data))
        for path in (self.root, f"{self.root}/none", f"{self.root}/file1/x"):
            self.assertEqual(self.disk.read_cached(path, 100), None)
            self.assertEqual(self.disk.read_cached(path, 0), None)
        self.assertEqual(self.disk.read_cached(f"{self.root}/file100", 99), None)

    def test_create_is_exclusive(self) -> None:
        """A file that is there is never opened for writing."""
        write_durably(self.disk, f"{self.root}/file", b"old")
        with self.assertRaises(FileExistsError):
            self.disk.create(f"{self.root}/file")
        self.assertEqual(self.content("file"), b"old")

    def test_missing(self) -> None:
        """What is not there raises FileNotFoundError, folders included."""
        for work in (
            self.disk.open,
            self.disk.stat,
            self.disk.remove,
            self.disk.folder,
        ):
            with self.assertRaises(FileNotFoundError):
                work(f"{self.root}/nothing")
        with self.assertRaises(FileNotFoundError):
            self.disk.create(f"{self.root}/nothing/file")
        with self.assertRaises(FileNotFoundError):
            self.disk.open(self.root)

    def test_rename_replaces(self) -> None:
        """A rename takes the place of what had the name, inode and all."""
        write_durably(self.disk, f"{self.root}/new", b"new")
        write_durably(self.disk, f"{self.root}/old", b"old")
        inode = self.disk.stat(f"{self.root}/new").inode
        self.disk.rename(f"{self.root}/new", f"{self.root}/old")
        self.assertEqual(self.content("old"), b"new")
        self.assertEqual(self.disk.stat(f"{self.root}/old").inode, inode)
        self.assertEqual(self.disk.names(self.root), ["old"])

    def test_folders(self) -> None:
        """Folders are made once, and removed only when they are empty."""
        self.disk.make_folder(f"{self.root}/a")
        with self.assertRaises(FileExistsError):
            self.disk.make_folder(f"{self.root}/a")
        write_durably(self.disk, f"{self.root}/a/file", b"")
        with self.assertRaises(OSError):
            self.disk.remove_folder(f"{self.root}/a")
        self.disk.remove(f"{self.root}/a/file")
        self.disk.remove_folder(f"{self.root}/a")
        self.assertEqual(self.disk.names(self.root), [])

    def test_space(self) -> None:
        """There is a total, and less is used."""
        space = self.disk.space(self.root)
        self.assertTrue(0 <= space.kib_used <= space.kib_total)

    def test_times(self) -> None:
        """The time of the last change is not before that of the bytes, and a new name
        is a change."""
        write_durably(self.disk, f"{self.root}/one", b"one")
        before = self.disk.stat(f"{self.root}/one")
        self.assertGreaterEqual(before.ctime_ns, before.mtime_ns)
        self.disk.rename(f"{self.root}/one", f"{self.root}/two")
        after = self.disk.stat(f"{self.root}/two")
        self.assertEqual(after.mtime_ns, before.mtime_ns)
        self.assertGreaterEqual(after.ctime_ns, before.ctime_ns)
        self.assertEqual(after.came_ns, after.ctime_ns)

    def test_durable_replacement(self) -> None:
        """A small file is replaced as a whole and leaves nothing beside it."""
        write_durably(self.disk, f"{self.root}/memory", b"one")
        write_durably(self.disk, f"{self.root}/memory", b"two")
        self.assertEqual(self.content("memory"), b"two")
        self.assertEqual(self.disk.names(self.root), ["memory"])

    def test_batch(self) -> None:
        """A batch stores its files, makes their folders, and knows their checksums."""
        self.prepare()
        files = [SmallFile(path, (b"by", path.encode()), Expected()) for path in PATHS]
        outcomes = write_batch(self.disk, self.root, files, True).outcomes
        for path, outcome in zip(PATHS, outcomes, strict=True):
            data = b"by" + path.encode()
            self.assertEqual(self.content(path), data)
            assert isinstance(outcome, Stored)
            self.assertEqual(outcome.checksum.digest, hashlib.sha256(data).digest())
            found = self.disk.stat(f"{self.root}/{path}")
            seen = (found.size, found.mtime_ns, found.inode)
            self.assertEqual((outcome.size, outcome.mtime_ns, outcome.inode), seen)
        self.assertEqual(self.temporaries(), [])

    def test_batch_after_batch(self) -> None:
        """A batch that others wait behind leaves its names to the next one's flush;
        then both are told, and the first ones are as they were."""
        self.prepare()
        files = [SmallFile(path, (path.encode(),), Expected()) for path in PATHS]
        first = write_batch(self.disk, self.root, files[:2], True, (), lambda: 1)
        placed = [one for one in first.outcomes if isinstance(one, Placed)]
        self.assertEqual([one.relative for one in placed], list(PATHS[:2]))
        second = write_batch(self.disk, self.root, files[2:], True, placed)
        self.assertEqual(second.before, [one.stored for one in placed])
        self.assertTrue(isinstance(second.outcomes[0], Stored))
        for path in PATHS:
            self.assertEqual(self.content(path), path.encode())
        self.assertEqual(self.temporaries(), [])

    def test_batch_neighbours(self) -> None:
        """A file with another checksum than announced does not fail its neighbours."""
        self.prepare()
        wrong = Expected(checksums=(Checksum(MD5, b"x" * 16),))
        files = [
            SmallFile(PATHS[0], (b"good",), Expected(size=4)),
            SmallFile(PATHS[1], (b"bad",), wrong),
            SmallFile(PATHS[2], (b"short",), Expected(size=6)),
        ]
        outcomes = write_batch(self.disk, self.root, files, True).outcomes
        self.assertEqual(
            [type(one) for one in outcomes], [Stored, CopyCorrupt, CopyCorrupt]
        )
        self.assertEqual(self.content(PATHS[0]), b"good")
        self.assertEqual(self.content(PATHS[1]), None)
        self.assertEqual(self.temporaries(), [])

    def test_checksum_types(self) -> None:
        """MD5 and our own type are compared; one that was not computed is refused."""
        self.prepare()
        data = b"some bytes"
        for hashtype, digest in ((MD5, hashlib.md5), (OWN_HASHTYPE, hashlib.sha256)):
            file = TemporaryFile(self.disk, self.root, (hashtype,))
            file.open()
            file.write([data])
            right = Checksum(hashtype, digest(data).digest())
            file.check(Expected(len(data), (right,)))
            with self.assertRaises(CopyCorrupt):
                file.check(Expected(len(data), (Checksum(hashtype, b"no"),)))
            if hashtype == OWN_HASHTYPE:
                with self.assertRaises(CopyCorrupt):
                    file.check(Expected(None, (Checksum(MD5, b""),)))
            file.discard()
        self.assertEqual(self.temporaries(), [])


class FaultContract(DiskContract):
    """Mix with a case whose `disk` is a `FaultyDisk`: every call fails once."""

    def test_every_call_may_fail(self) -> None:
        """Whichever call fails, with whatever error: no new file, no temporary one, the
        old file is whole, and the error is told."""
        self.prepare()
        for number in (errno.ENOSPC, errno.EIO, errno.EROFS, errno.EACCES):
            for call in range(1, 60):
                self.disk.disarm()
                path = f"0/{call:03d}/000/{call:03d}0000001.fid".replace("0/", "1/", 1)
                self.disk.arm(call, number)
                outcome = write_batch(
                    self.disk, self.root, [SmallFile(path, (b"new",), Expected())], True
                ).outcomes[0]
                armed, self.disk.failed[:] = list(self.disk.failed), []
                self.disk.disarm()
                if not armed:
                    self.assertTrue(isinstance(outcome, Stored))
                    break
                if armed != ["remove"]:
                    self.assertTrue(isinstance(outcome, OSError), (armed, outcome))
                    assert isinstance(outcome, OSError)
                    self.assertEqual(outcome.errno, number)
                    self.assertEqual(self.content(path), None, armed)
                self.assertEqual(self.temporaries(), [], armed)
            else:
                raise AssertionError("the upload never succeeded")

    def test_failed_replacement(self) -> None:
        """Until the rename, a failure leaves the old file as it was."""
        self.prepare()
        old = SmallFile(PATHS[0], (b"old",), Expected())
        write_batch(self.disk, self.root, [old], True)
        new = SmallFile(PATHS[0], (b"new bytes",), Expected())
        for call in ("create", "write", "sync", "rename"):
            self.disk.arm(1, only=(call,))
            outcome = write_batch(self.disk, self.root, [new], True).outcomes[0]
            self.disk.disarm()
            self.assertTrue(isinstance(outcome, OSError))
            self.assertEqual(self.content(PATHS[0]), b"old")
            self.assertEqual(self.temporaries(), [])
