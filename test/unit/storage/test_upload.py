"""One file on its way in."""

from __future__ import annotations

import errno
from hashlib import sha256

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from koboldfs.errors import CopyCorrupt
from koboldfs.storage import upload as upload_room
from koboldfs.storage.batch import FlushFailed
from koboldfs.storage.temporary import Expected
from koboldfs.storage.upload import (
    BEGIN_SYNC_BYTES,
    CONGESTED_BYTES,
    FLUSH_EVERY_BYTES,
    SMALL_BYTES,
    IUpload,
    Upload,
)
from koboldfs.wire.http import copy_target
from test.fakes.disk import FaultyDisk
from test.fakes.lanes import HeldLanes
from test.fakes.storage_node import FakeNode

TARGET = copy_target(1, 7)


class UploadCase(SynchronousTestCase):
    """A node whose lanes are held."""

    fsync = True

    def setUp(self) -> None:
        """The node."""
        self.lanes = HeldLanes()
        self.node = FakeNode(disk=FaultyDisk, lanes=self.lanes, fsync=self.fsync)
        self.node.memory.calls.clear()

    def upload(self, expected: Expected | None = None) -> Upload:
        """An upload of fid 7."""
        return self.node.copies.upload(TARGET, expected or Expected())

    def content(self) -> bytes | None:
        """The file, if it is there; nothing else is."""
        files = self.node.files()
        found = files.pop(TARGET.relative, None)
        self.assertEqual(files, {})
        self.assertEqual(self.node.memory.open_count, 0)
        return found


class Short(UploadCase):
    """Files that are written in one step."""

    def test_one_step(self) -> None:
        """Nothing touches the disk before the end, and then one step does it all."""
        upload = self.upload()
        self.assertTrue(verifyObject(IUpload, upload))
        for _ in range(4):
            upload.write(b"x" * (SMALL_BYTES // 4))
        self.assertEqual(self.lanes.jobs, [])
        result = upload.finish()
        self.lanes.step()
        stored = self.successResultOf(result)
        data = b"x" * SMALL_BYTES
        self.assertEqual(self.content(), data)
        self.assertEqual(stored.checksum.digest, sha256(data).digest())

    def test_empty(self) -> None:
        """A file of no bytes is a file."""
        result = self.upload().finish(Expected(size=0))
        self.lanes.step()
        self.assertEqual(self.successResultOf(result).size, 0)
        self.assertEqual(self.content(), b"")

    def test_abort(self) -> None:
        """Nothing was there, nothing is."""
        upload = self.upload()
        upload.write(b"x")
        upload.abort()
        upload.write(b"x")
        upload.abort()
        self.assertEqual(self.lanes.jobs, [])
        self.assertIsNone(self.content())


class Long(UploadCase):
    """Files that are written while they come."""

    piece = b"y" * (SMALL_BYTES + 1)

    def test_streams(self) -> None:
        """One write at a time takes all that waits; the bytes are in order."""
        upload = self.upload()
        upload.write(self.piece)
        self.assertEqual(len(self.lanes.jobs), 1)
        for number in range(10):
            upload.write(b"%d" % number)
        self.assertEqual(len(self.lanes.jobs), 1)
        self.lanes.step()
        self.assertEqual(len(self.lanes.jobs), 1)
        result = upload.finish()
        self.lanes.run_all()
        self.assertEqual(self.successResultOf(result).size, len(self.piece) + 10)
        self.assertEqual(self.content(), self.piece + b"0123456789")

    def test_backpressure(self) -> None:
        """Too much waiting is congestion, relieved when the disk takes it."""
        upload, relieved = self.upload(), []
        upload.relieved = lambda: relieved.append(1)
        upload.write(self.piece)
        self.assertFalse(upload.congested)
        while not upload.congested:
            upload.write(self.piece)
        self.assertGreater(upload._waiting_bytes, CONGESTED_BYTES)
        self.assertEqual(relieved, [])
        self.lanes.step()
        self.assertFalse(upload.congested)
        self.assertEqual(relieved, [1])
        upload.abort()
        self.lanes.run_all()
        self.assertIsNone(self.content())

    def test_abort_at_every_point(self) -> None:
        """Given up before, during and after a write, nothing is left."""
        for steps in range(3):
            upload = self.upload()
            upload.write(self.piece)
            for _ in range(steps):
                if self.lanes.jobs:
                    self.lanes.step()
                upload.write(self.piece)
            upload.abort()
            self.lanes.run_all()
            self.assertIsNone(self.content())

    def test_wrong_size(self) -> None:
        """A file that is not as long as announced is thrown away."""
        for size in (1, len(self.piece) - 1, len(self.piece) + 1):
            upload = self.upload(Expected(size=size))
            upload.write(self.piece)
            self.lanes.run_all()
            result = upload.finish()
            self.lanes.run_all()
            self.failureResultOf(result, CopyCorrupt)
            self.assertIsNone(self.content())

    def test_every_call_may_fail(self) -> None:
        """Whatever fails is told, early if it can be, and nothing is left."""
        for number in (errno.ENOSPC, errno.EIO, errno.EROFS):
            for call in range(1, 40):
                told: list[int] = []
                upload = self.upload()
                upload.failed = lambda told=told: told.append(1)  # type: ignore[misc]
                self.node.disk.failed.clear()
                self.node.disk.arm(call, number)
                upload.write(self.piece)
                self.lanes.run_all()
                upload.write(self.piece)
                self.lanes.run_all()
                early = bool(told)
                self.assertEqual(early, upload.failure is not None)
                result = upload.finish()
                self.lanes.run_all()
                self.node.disk.disarm()
                if not self.node.disk.failed:
                    self.successResultOf(result)
                    break
                found = self.failureResultOf(result, OSError).value
                self.assertEqual(found.errno, number)
                self.assertEqual(early, call <= 3, self.node.disk.failed)
                self.assertIsNone(self.content())
            else:
                self.fail("the upload never succeeded")
            self.node.memory.remove(f"/devs/dev1/{TARGET.relative}")

    def test_failed_flush_is_known(self) -> None:
        """A flush that fails is told from a write that does."""
        for call in ("sync", "sync_folder"):
            upload = self.upload()
            upload.write(self.piece)
            self.node.disk.arm(1, only=(call,))
            result = upload.finish()
            self.lanes.run_all()
            self.failureResultOf(result, FlushFailed)
            self.assertIsNone(self.content())

    def test_flushed_on_the_way(self) -> None:
        """A long file is flushed now and then, so the last flush is short."""
        upload, piece = self.upload(), b"z" * (FLUSH_EVERY_BYTES // 4)
        self.node.memory.calls.clear()
        for _ in range(9):
            upload.write(piece)
            self.lanes.run_all()
        self.assertEqual(self.node.memory.calls.count("sync"), 2)
        upload.abort()
        self.lanes.run_all()

    def test_written_while_it_comes(self) -> None:
        """The disk begins with what is there, each part once."""
        upload = self.upload()
        for _ in range(5):
            upload.write(b"z" * (BEGIN_SYNC_BYTES // 2))
            self.lanes.run_all()
        whole = [(n * BEGIN_SYNC_BYTES, BEGIN_SYNC_BYTES) for n in range(2)]
        self.assertEqual(self.node.memory.begun, whole)
        upload.abort()
        self.lanes.run_all()

    def test_forgotten(self) -> None:
        """What nobody is likely to read soon leaves memory once it is flushed."""
        self.patch(upload_room, "FLUSH_EVERY_BYTES", 200_000)
        for forgets in (False, True):
            upload = self.upload()
            upload.forgets = forgets
            for _ in range(5):
                upload.write(b"z" * 100_000)
                self.lanes.run_all()
            result = upload.finish()
            self.lanes.run_all()
            self.successResultOf(result)
            flushed = [(0, 200_000), (200_000, 200_000)] if forgets else []
            self.assertEqual(self.node.memory.forgotten, flushed)

    def test_last_finished_wins(self) -> None:
        """Two uploads of one path: the file is one of them, whole."""
        first, second = self.upload(), self.upload()
        first.write(self.piece + b"first")
        second.write(self.piece + b"second")
        self.lanes.run_all()
        for upload in (second, first):
            result = upload.finish()
            self.lanes.run_all()
            self.successResultOf(result)
        self.assertEqual(self.content(), self.piece + b"first")


class WithoutFsync(UploadCase):
    """``--no-fsync``"""

    fsync = False

    def test_no_flush(self) -> None:
        """Nothing is ever flushed, short or long."""
        for data in (b"x", b"x" * (SMALL_BYTES + 1)):
            upload = self.upload()
            upload.write(data)
            result = upload.finish()
            self.lanes.run_all()
            self.successResultOf(result)
            self.assertEqual(self.content(), data)
        calls = self.node.memory.calls
        self.assertFalse({"sync", "sync_folder"} & set(calls))
