"""What both doors ask of the copies on this node."""

from __future__ import annotations

import errno
from hashlib import md5

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.errors import DeviceUnavailable, DiskFault, DiskFull, NoDevice
from koboldfs.model.entities import MD5, OWN_HASHTYPE, Checksum
from koboldfs.storage.copies import ANSWER_SECONDS, FINISH_SECONDS
from koboldfs.storage.disk import ReadOnly
from koboldfs.storage.temporary import Expected, Stored
from koboldfs.storage.upload import SMALL_BYTES
from koboldfs.wire.http import Target, copy_target
from test.fakes.disk import FaultyDisk
from test.fakes.lanes import HeldLanes
from test.fakes.storage_node import DOCROOT, FakeNode

TARGET = copy_target(1, 7)
TEST_FILE = Target("test", 1, "test-write/test-md5")


class CopiesTests(SynchronousTestCase):
    """`Copies`"""

    def setUp(self) -> None:
        """A node."""
        self.node = FakeNode(disk=FaultyDisk)
        self.copies = self.node.copies
        self.device = self.node.folders.devices()[0]

    def begin(self, data: bytes, target: Target = TARGET) -> Deferred[Stored]:
        """Store the bytes."""
        upload = self.copies.upload(target, Expected(len(data)))
        upload.write(data)
        return Deferred.fromCoroutine(self.copies.finish(upload, target))

    def put(self, data: bytes, target: Target = TARGET) -> Stored:
        """The stored file."""
        return self.successResultOf(self.begin(data, target))

    def test_checksum_from_the_write(self) -> None:
        """What was written is known without reading; after a change it is not."""
        stored = self.put(b"data")
        stat = Deferred.fromCoroutine(self.copies.copy_stat(1, 7))
        found = self.successResultOf(stat)
        assert found is not None
        self.assertEqual((found.size, found.checksum), (4, stored.checksum))
        node = self.node.memory._node(f"{DOCROOT}/dev1/{TARGET.relative}")
        node.mtime_ns += 1
        stat = Deferred.fromCoroutine(self.copies.copy_stat(1, 7))
        found = self.successResultOf(stat)
        assert found is not None
        self.assertIsNone(found.checksum)

    def test_digest(self) -> None:
        """A digest is of the bytes on the disk now, and ours is remembered."""
        self.put(b"data")
        node = self.node.memory._node(f"{DOCROOT}/dev1/{TARGET.relative}")
        node.data[:] = b"rott"  # the same size, time and inode
        digest = Deferred.fromCoroutine(
            self.copies.digest(TARGET, MD5, background=True)
        )
        wanted = Checksum(MD5, md5(b"rott").digest())
        self.assertEqual(self.successResultOf(digest), wanted)
        digest = Deferred.fromCoroutine(
            self.copies.digest(TARGET, OWN_HASHTYPE, background=False)
        )
        ours = self.successResultOf(digest)
        stat = Deferred.fromCoroutine(self.copies.copy_stat(1, 7))
        found = self.successResultOf(stat)
        assert found is not None
        self.assertEqual(found.checksum, ours)

    def test_missing(self) -> None:
        """A copy that is not there is None, False or missing, everywhere."""
        for asking, answer in (
            (self.copies.open(TARGET), None),
            (self.copies.stat(TARGET), None),
            (self.copies.copy_stat(1, 7), None),
            (self.copies.digest(TARGET, MD5, background=False), None),
            (self.copies.remove(TARGET), False),
        ):
            result: Deferred[object] = Deferred.fromCoroutine(asking)
            self.assertEqual(self.successResultOf(result), answer)

    def test_missing_on_an_unmounted_disk(self) -> None:
        """On a disk that is gone no file is said to be missing."""
        self.put(b"data")
        docroot = self.node.memory._node(DOCROOT)
        del docroot.names["dev1"]
        self.node.memory.make_folders(f"{DOCROOT}/dev1")
        for asking in (
            self.copies.open(TARGET),
            self.copies.stat(TARGET),
            self.copies.digest(TARGET, MD5, background=False),
            self.copies.remove(TARGET),
        ):
            result: Deferred[object] = Deferred.fromCoroutine(asking)
            self.failureResultOf(result, DeviceUnavailable)
        self.failureResultOf(self.begin(b"more"), DeviceUnavailable)
        self.assertEqual(self.node.memory.files(f"{DOCROOT}/dev1"), {})

    def test_unknown_device(self) -> None:
        """A device of another node is nobody's here."""
        other = copy_target(9, 7)
        with self.assertRaises(NoDevice):
            self.copies.upload(other, Expected())
        self.failureResultOf(Deferred.fromCoroutine(self.copies.stat(other)), NoDevice)

    def test_too_large(self) -> None:
        """A file larger than the room there is is refused before its first byte."""
        room = self.node.memory.free_kib * 1024
        with self.assertRaises(DiskFull):
            self.copies.upload(TARGET, Expected(size=room + 1))
        self.copies.upload(TARGET, Expected(size=room)).abort()
        self.device.space = None
        self.copies.upload(TARGET, Expected(size=room + 1)).abort()

    def test_disk_errors(self) -> None:
        """Full and read-only are told apart; only what may have lost something makes
        the device read-only for good."""
        for number, kind, observed in (
            (errno.ENOSPC, DiskFull, "writeable"),
            (errno.EROFS, ReadOnly, "writeable"),
            (errno.EIO, DiskFault, "readable"),
        ):
            self.device.distrusted = ""
            self.node.disk.arm(1, number, only=("write",))
            self.failureResultOf(self.begin(b"data"), kind)
            self.node.disk.disarm()
            self.assertEqual(self.device.observed, observed)

    def test_failed_flush(self) -> None:
        """After a failed flush the device is read-only, unless it was full, or we could
        not even ask: clients can make us run out of descriptors."""
        for size in (1, SMALL_BYTES + 1):
            for call in ("sync", "sync_folder"):
                for number, observed in (
                    (errno.ENOSPC, "writeable"),
                    (errno.EMFILE, "writeable"),
                    (errno.ENFILE, "writeable"),
                    (errno.EACCES, "readable"),
                    (errno.EIO, "readable"),
                ):
                    self.device.distrusted = ""
                    self.node.disk.arm(1, number, only=(call,))
                    self.failureResultOf(self.begin(b"x" * size), DiskFault)
                    self.node.disk.disarm()
                    self.assertEqual(self.device.observed, observed)
                    self.assertEqual(self.node.files(), {})

    def test_failed_reads(self) -> None:
        """A disk that fails to read several files takes no more writes, whoever asks
        for them; one that is only slow to open a file, or full, is not to blame."""
        targets = [copy_target(1, fid) for fid in (1, 2, 3)]
        for target in targets:
            self.put(b"data", target)

        def digest(target: Target) -> Deferred[object]:
            digesting = self.copies.digest(target, OWN_HASHTYPE, background=False)
            return Deferred.fromCoroutine(digesting)

        def open_it(target: Target) -> Deferred[object]:
            return Deferred.fromCoroutine(self.copies.open(target, cached=False))

        for ask in (digest, open_it):
            for number, observed in (
                (errno.EIO, "readable"),
                (errno.EBADMSG, "readable"),
                (errno.EMFILE, "writeable"),
            ):
                self.device.distrusted = ""
                self.device.unread.clear()
                self.node.disk.arm(1, number, only=("read", "open"), lasting=True)
                for target in targets:
                    if ask is digest:
                        self.node.disk.arm(1, number, only=("read",))
                    self.failureResultOf(ask(target), DiskFault)
                self.node.disk.disarm()
                self.assertEqual(self.device.observed, observed, (ask, number))

    def test_device_lost_while_uploading(self) -> None:
        """An upload whose device is taken away meanwhile leaves nothing."""
        upload = self.copies.upload(TARGET, Expected())
        upload.write(b"x" * (SMALL_BYTES + 1))
        self.node.folders.distrust(self.device, "a test")
        finishing = Deferred.fromCoroutine(self.copies.finish(upload, TARGET))
        self.failureResultOf(finishing, ReadOnly)
        self.assertEqual(self.node.files(), {})
        self.assertEqual(self.node.memory.open_count, 0)

    def test_hanging_disk(self) -> None:
        """A disk that does not answer is not waited for for ever; what it does in
        the end is no defect, and leaves nothing half done."""
        self.put(b"data")
        for size in (1, SMALL_BYTES + 1, 20 * SMALL_BYTES):
            upload = self.copies.upload(copy_target(1, 8), Expected())
            lanes = self.copies.lanes = upload._lanes = HeldLanes()
            upload._small._lanes = lanes
            upload.write(b"x" * size)
            for asking, seconds in (
                (self.copies.stat(TARGET), ANSWER_SECONDS),
                (self.copies.remove(copy_target(1, 9)), ANSWER_SECONDS),
                (self.copies.finish(upload, copy_target(1, 8)), FINISH_SECONDS),
            ):
                result: Deferred[object] = Deferred.fromCoroutine(asking)
                self.node.clock.advance(seconds - 1)
                self.assertNoResult(result)
                self.node.clock.advance(1)
                self.failureResultOf(result, DeviceUnavailable)
            lanes.run_all()
            self.assertEqual(self.node.memory.open_count, 0)
            self.assertFalse([name for name in self.node.files() if "tmp" in name])
        self.assertEqual(self.node.clock.getDelayedCalls(), [])

    def test_hanging_read(self) -> None:
        """The same in the middle of a file."""
        self.copies.lanes = HeldLanes()
        reading = self.copies.read(1, 3, 10, 0)
        self.node.clock.advance(ANSWER_SECONDS)
        self.failureResultOf(reading, DeviceUnavailable)

    def test_late_opening(self) -> None:
        """A file that the disk opens when nobody waits any more is closed."""
        self.put(b"data")
        lanes = self.copies.lanes = HeldLanes()
        asking = self.copies.open(TARGET, inline=1, cached=False)
        opening = Deferred.fromCoroutine(asking)
        self.node.clock.advance(ANSWER_SECONDS)
        self.failureResultOf(opening, DeviceUnavailable)
        lanes.run_all()
        self.assertEqual(self.node.memory.open_count, 0)

    def test_short_read(self) -> None:
        """A disk that fails in the middle gives the bytes before; a file that was cut
        has no more. Neither is a whole file."""
        self.put(b"data")
        read = self.node.memory.read

        def short(fd: int, length: int, offset: int) -> bytes:
            return read(fd, min(length, 3), offset)

        self.patch(self.node.memory, "read", short)
        opening = Deferred.fromCoroutine(self.copies.open(TARGET, cached=False))
        opened = self.successResultOf(opening)
        assert opened is not None
        self.assertEqual(opened.data, b"data")
        self.patch(
            self.node.memory,
            "read",
            lambda fd, length, offset: b"" if offset else b"dat",
        )
        opening = Deferred.fromCoroutine(self.copies.open(TARGET, cached=False))
        self.failureResultOf(opening, DiskFault)
        self.assertEqual(self.node.memory.open_count, 0)

    def test_test_files_are_not_remembered(self) -> None:
        """Only copies have a fid."""
        self.put(b"x", TEST_FILE)
        self.assertEqual(len(self.copies.checksums._known), 0)

    def test_read_error(self) -> None:
        """A disk that fails to read says so."""
        self.put(b"data")
        self.node.disk.arm(1, only=("read",))
        opening = Deferred.fromCoroutine(self.copies.open(TARGET))
        self.failureResultOf(opening, DiskFault)
        self.assertEqual(self.node.memory.open_count, 0)

    def test_folder_in_place_of_a_file(self) -> None:
        """A folder where a file should be is no file."""
        self.node.memory.make_folders(f"{DOCROOT}/dev1/{TARGET.relative}")
        for asking in (self.copies.stat(TARGET), self.copies.open(TARGET)):
            result: Deferred[object] = Deferred.fromCoroutine(asking)
            self.assertIsNone(self.successResultOf(result))
