"""What is remembered of checksums, and how they are read."""

from __future__ import annotations

import hashlib

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.model.entities import MD5, OWN_HASHTYPE, SHA1, Checksum
from koboldfs.storage.digests import (
    DIGEST_CHUNK_BYTES,
    Checksums,
    ReadFailed,
    digest_file,
)
from koboldfs.storage.disk import FileStat
from koboldfs.storage.temporary import Stored
from test.fakes.disk import FaultyDisk, MemoryDisk

CHECKSUM = Checksum(OWN_HASHTYPE, b"x" * 32)
STORED = Stored(5, CHECKSUM, 100, 7)
STAT = FileStat(5, 100, 7, 1, True)


class Memory(SynchronousTestCase):
    """`Checksums`"""

    def test_recall(self) -> None:
        """The same file has its checksum; another device or fid has none."""
        known = Checksums()
        known.learn(1, 2, STORED)
        self.assertEqual(known.recall(1, 2, STAT), CHECKSUM)
        self.assertIsNone(known.recall(2, 2, STAT))
        self.assertIsNone(known.recall(1, 3, STAT))

    def test_another_file(self) -> None:
        """A file of another size, time or inode is another one, for good."""
        for change in ({"size": 6}, {"mtime_ns": 101}, {"inode": 8}):
            known = Checksums()
            known.learn(1, 2, STORED)
            self.assertIsNone(known.recall(1, 2, evolve(STAT, **change)))
            self.assertIsNone(known.recall(1, 2, STAT))

    def test_forget(self) -> None:
        """A removed file is forgotten; one that was never known may be, too."""
        known = Checksums()
        known.learn(1, 2, STORED)
        known.forget(1, 2)
        known.forget(1, 2)
        self.assertIsNone(known.recall(1, 2, STAT))

    def test_bounded(self) -> None:
        """What was not used for longest goes first."""
        known = Checksums(limit=2)
        known.learn(1, 1, STORED)
        known.learn(1, 2, STORED)
        known.recall(1, 1, STAT)
        known.learn(1, 3, STORED)
        found = [known.recall(1, fid, STAT) is not None for fid in (1, 2, 3)]
        self.assertEqual(found, [True, False, True])


class Reading(SynchronousTestCase):
    """`digest_file`"""

    def test_types(self) -> None:
        """Every type is digested over the whole file, however long."""
        disk, data = MemoryDisk(), b"ab" * DIGEST_CHUNK_BYTES + b"c"
        disk.put("/file", data)
        for hashtype, name in ((MD5, "md5"), (SHA1, "sha1"), (OWN_HASHTYPE, "sha256")):
            checksum, found = digest_file(disk, "/file", hashtype)
            self.assertEqual(checksum.digest, hashlib.new(name, data).digest())
            self.assertEqual(found.size, len(data))
        self.assertEqual(disk.open_count, 0)

    def test_missing(self) -> None:
        """A file that is not there is not an empty one."""
        with self.assertRaises(FileNotFoundError):
            digest_file(MemoryDisk(), "/file", MD5)

    def test_broken(self) -> None:
        """A read that fails says where, and the file is closed."""
        memory = MemoryDisk()
        memory.put("/file", b"a" * (DIGEST_CHUNK_BYTES + 1))
        disk = FaultyDisk(memory)
        disk.arm(2, only=("read",))
        with self.assertRaises(ReadFailed) as caught:
            digest_file(disk, "/file", MD5)  # type: ignore[arg-type]
        self.assertEqual(caught.exception.offset, DIGEST_CHUNK_BYTES)
        self.assertEqual(memory.open_count, 0)
