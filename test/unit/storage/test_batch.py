"""Small files that arrive together. (What a batch does on a disk: test/contract.)"""

from __future__ import annotations

import errno

from twisted.trial.unittest import SynchronousTestCase

from koboldfs.errors import CopyCorrupt, DeviceUnavailable, TooBusy
from koboldfs.storage.batch import (
    MAX_BATCH_FILES,
    MAX_WAITING_FILES,
    STORE_SECONDS,
    FlushFailed,
    SmallFile,
    SmallWrites,
)
from koboldfs.storage.temporary import Expected
from test.fakes.disk import FaultyDisk
from test.fakes.lanes import HeldLanes
from test.fakes.storage_node import FakeNode


def small(number: int, expected: Expected | None = None) -> SmallFile:
    """A file of one byte."""
    path = f"0/000/000/{number:010d}.fid"
    return SmallFile(path, (b"x",), expected or Expected())


class Gathering(SynchronousTestCase):
    """`SmallWrites`"""

    def setUp(self) -> None:
        """A device whose batch thread is held."""
        self.node = FakeNode(disk=FaultyDisk)
        self.lanes = HeldLanes()
        device = self.node.folders.devices()[0]
        self.writes = SmallWrites(
            self.lanes, self.node.disk, device, self.node.clock, fsync=True
        )
        self.node.memory.calls.clear()

    def test_idle(self) -> None:
        """On an idle device a file is written at once."""
        result = self.writes.add(small(1))
        self.assertEqual([job[0] for job in self.lanes.jobs], ["batch"])
        self.lanes.step()
        self.assertEqual(self.successResultOf(result).size, 1)

    def test_hanging_disk(self) -> None:
        """Each file has its time; what comes of it later is told nobody, and who came
        later still waits."""
        clock, first = self.node.clock, self.writes.add(small(1))
        clock.advance(STORE_SECONDS / 2)
        second, third = self.writes.add(small(2)), self.writes.add(small(3))
        clock.advance(STORE_SECONDS / 2)
        self.failureResultOf(first, DeviceUnavailable)
        self.assertNoResult(second)
        clock.advance(STORE_SECONDS / 2 - 1)
        self.assertNoResult(second)
        self.lanes.run_all()
        for one in (second, third):
            self.assertEqual(self.successResultOf(one).size, 1)
        clock.advance(1)
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_stopped(self) -> None:
        """Nothing is timed any more when the node has stopped."""
        result = self.writes.add(small(1))
        self.writes.stop()
        self.assertEqual(self.node.clock.getDelayedCalls(), [])
        self.lanes.run_all()
        self.assertEqual(self.successResultOf(result).size, 1)

    def test_one_flush_for_many(self) -> None:
        """What comes while a batch is written is one batch, and its one flush is that
        of the names of the batch before, too."""
        first = self.writes.add(small(1))
        rest = [self.writes.add(small(number)) for number in range(2, 12)]
        self.lanes.step()
        self.assertNoResult(first)
        self.node.memory.calls.clear()
        self.lanes.step()
        self.assertEqual(
            [self.successResultOf(one).size for one in [first, *rest]], [1] * 11
        )
        calls = self.node.memory.calls
        self.assertEqual((calls.count("sync"), calls.count("sync_folder")), (1, 1))
        self.assertEqual(self.lanes.jobs, [])

    def test_nobody_is_left_behind(self) -> None:
        """Files whose names wait for the next batch are answered although all of that
        one fail before the flush."""
        first = self.writes.add(small(1))
        bad = self.writes.add(small(2, Expected(size=7)))
        self.lanes.run_all()
        self.failureResultOf(bad, CopyCorrupt)
        self.assertEqual(self.successResultOf(first).size, 1)

    def test_limits(self) -> None:
        """A batch and a queue have an end; who comes too late is told."""
        self.writes.add(small(1))
        results = [self.writes.add(small(2 + n)) for n in range(MAX_WAITING_FILES)]
        with self.assertRaises(TooBusy):
            self.writes.add(small(9999))
        for expected in (0, 0, MAX_BATCH_FILES, 2 * MAX_BATCH_FILES):
            self.lanes.step()
            self.assertEqual(sum(one.called for one in results), expected)
        self.lanes.run_all()
        self.assertTrue(all(one.called for one in results))

    def test_neighbours(self) -> None:
        """Each is told its own outcome."""
        self.writes.add(small(1))
        good = self.writes.add(small(2))
        bad = self.writes.add(small(3, Expected(size=7)))
        self.lanes.run_all()
        self.successResultOf(good)
        self.failureResultOf(bad, CopyCorrupt)

    def test_failed_flush(self) -> None:
        """A flush that fails leaves none of the batch behind, and none of the batch
        before if it was for both, whatever a later flush says; the next one works."""
        for call in ("sync", "sync_folder"):
            first = self.writes.add(small(1))
            results = [self.writes.add(small(number)) for number in (2, 3)]
            self.lanes.step()
            self.node.disk.arm(1, errno.EIO, only=(call,))
            self.lanes.step()
            self.node.disk.disarm()
            for one in results:
                self.failureResultOf(one, FlushFailed)
            if call == "sync":
                self.failureResultOf(first, FlushFailed)
                self.assertEqual(self.node.files(), {})
            else:
                self.successResultOf(first)
                self.assertEqual(list(self.node.files()), [small(1).relative])
        again = self.writes.add(small(2))
        self.lanes.step()
        self.successResultOf(again)

    def test_failed_flush_of_both(self) -> None:
        """When the names of the batch before cannot be flushed either, nothing of
        both is left."""
        results = [self.writes.add(small(number)) for number in (1, 2, 3)]
        self.lanes.step()
        self.node.disk.arm(1, errno.EIO, only=("sync", "sync_folder"), lasting=True)
        self.lanes.run_all()
        for one in results:
            self.failureResultOf(one, FlushFailed)
        self.node.disk.disarm()
        self.assertEqual(self.node.files(), {})
        self.assertEqual(self.node.memory.open_count, 0)

    def test_defect(self) -> None:
        """An exception that nobody thought of reaches everybody who waits."""
        broken = SmallFile(small(1).relative, (None,), Expected())
        result = self.writes.add(broken)
        self.lanes.step()
        self.failureResultOf(result, TypeError)
        self.lanes.jobs.clear()
