"""Room, business and the self-test of devices."""

from __future__ import annotations

import errno
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from koboldfs.model.fid import relative_path
from koboldfs.model.numbering import HIGHEST_LISTED
from koboldfs.storage import usage
from koboldfs.storage.disk import QUARANTINE_FOLDER, TEMPORARY_FOLDER, ReadOnly
from koboldfs.storage.numbers import SEARCH_SECONDS, look_for_highest
from koboldfs.storage.usage import (
    CHECK_DEADLINE_SECONDS,
    TEST_SECONDS,
    USAGE_SECONDS,
    busy_ms,
)
from test.fakes.disk import FaultyDisk
from test.fakes.lanes import HeldLanes
from test.fakes.storage_node import DOCROOT, FakeNode

DISKSTATS = """\
   8       0 sda 100 0 0 0 0 0 0 0 0 {busy} 0 0 0 0 0 0 0
 253       1 dm-1 1 2 3
 259   70000 nvme9n9 1 0 0 0 0 0 0 0 0 42 0
"""


class Writing(SynchronousTestCase):
    """``devN/usage`` and the self-test."""

    def test_usage_is_written(self) -> None:
        """The file on the disk is what HTTP tells, and is kept up to date."""
        node = FakeNode()
        text = node.memory.files(f"{DOCROOT}/dev1")["usage"]
        self.assertIn(b"\ntime: 1700000000\n", text)
        self.assertEqual(text, node.folders.devices()[0].usage_text)
        node.clock.advance(10)
        node.watch.look()
        text = node.memory.files(f"{DOCROOT}/dev1")["usage"]
        self.assertIn(b"\ntime: 1700000010\n", text)

    def test_self_test(self) -> None:
        """A device that cannot be written to is readable, and writeable again when
        it can; every try is a while after the last one; nothing is left behind."""
        for number in (errno.EROFS, errno.ENOSPC, errno.EIO):
            for call in ("create", "write", "sync"):
                node = FakeNode(disk=FaultyDisk)
                device = node.folders.devices()[0]
                self.assertEqual(device.observed, "writeable")
                node.disk.arm(1, number, only=(call,), lasting=True)
                node.clock.advance(TEST_SECONDS)
                node.watch.look()
                self.assertEqual(device.observed, "readable")
                node.disk.disarm()
                node.clock.advance(TEST_SECONDS - 1)
                node.watch.look()
                self.assertEqual(device.observed, "readable")
                node.clock.advance(1)
                node.watch.look()
                self.assertEqual(device.observed, "writeable")
                self.assertEqual(node.files(), {})

    def test_full(self) -> None:
        """A full device takes no writes, and gives room back all the same; one that is
        broken gives none."""
        for number, full in ((errno.ENOSPC, True), (errno.EDQUOT, True), (5, False)):
            node = FakeNode(disk=FaultyDisk)
            (device,) = node.folders.devices()
            node.disk.arm(1, number, only=("write",), lasting=True)
            node.clock.advance(TEST_SECONDS)
            node.watch.look()
            self.assertEqual((device.observed, device.full), ("readable", full))
            with self.assertRaises(ReadOnly):
                node.folders.writing(1)
            if full:
                self.assertIs(node.folders.removing(1), device)
            else:
                self.assertRaises(ReadOnly, node.folders.removing, 1)
            node.disk.disarm()
            node.clock.advance(TEST_SECONDS)
            node.watch.look()
            self.assertEqual((device.observed, device.full), ("writeable", False))
            device.full = True
            node.folders.distrust(device, "a flush failed")
            self.assertRaises(ReadOnly, node.folders.removing, 1)

    def test_lasting(self) -> None:
        """A disk that says again and again that it is broken is failing, until it is
        well; one that is full is not."""
        for number, failing in ((errno.EROFS, True), (errno.ENOSPC, False)):
            node = FakeNode(disk=FaultyDisk)
            device = node.folders.devices()[0]
            node.disk.arm(1, number, only=("write",), lasting=True)
            for _ in range(usage.FAILED_TESTS):
                self.assertEqual(device.failing, "")
                node.clock.advance(TEST_SECONDS)
                node.watch.look()
            self.assertEqual("a test write failed" in device.failing, failing)
            node.disk.disarm()
            node.clock.advance(TEST_SECONDS)
            node.watch.look()
            self.assertEqual((device.failing, device.failed_tests), ("", 0))

    def test_quarantine(self) -> None:
        """How many files are in it is looked at now and then, and no trouble if the
        disk does not say."""
        node = FakeNode(disk=FaultyDisk)
        device = node.folders.devices()[0]
        self.assertEqual(device.quarantined, 0)
        folder = f"{DOCROOT}/dev1/{QUARANTINE_FOLDER}"
        node.memory.make_folder(folder)
        for fid in (1, 2):
            node.memory.put(f"{folder}/bad-{fid:010d}-1", b"x")
        node.clock.advance(USAGE_SECONDS)
        node.watch.look()
        self.assertEqual(device.quarantined, 2)
        node.clock.advance(USAGE_SECONDS)
        node.disk.arm(1, errno.EIO, only=("names",))
        node.watch.look()
        self.assertEqual((device.quarantined, device.observed), (0, "writeable"))

    def test_highest_fid(self) -> None:
        """It is known before the device is of use; what is stored counts at once, what
        others put there is found, and what is gone is forgotten, late."""
        node = FakeNode(disk=FaultyDisk)
        (device,) = node.folders.devices()
        self.assertEqual(device.highest_fid, 0)
        node.memory.put(f"{DOCROOT}/dev1/{relative_path(70)}", b"x")
        node.clock.advance(USAGE_SECONDS)
        node.watch.look()
        self.assertEqual(device.highest_fid, 70)
        node.folders.stored(1, 72)
        node.folders.stored(1, 71)
        node.folders.stored(1, HIGHEST_LISTED + 1)
        node.folders.stored(9, 99)
        self.assertEqual(device.highest_fid, 72)
        # The file of 72 is not there: that is looked for now and then.
        node.clock.advance(USAGE_SECONDS)
        node.watch.look()
        self.assertEqual(device.highest_fid, 72)
        node.disk.arm(1, errno.EIO, only=("names",), lasting=True)
        node.clock.advance(SEARCH_SECONDS)
        node.watch.look()
        self.assertEqual((device.highest_fid, device.observed), (72, "writeable"))
        node.disk.disarm()
        node.clock.advance(SEARCH_SECONDS)
        node.watch.look()
        self.assertEqual(device.highest_fid, 70)

    def test_highest_fid_before_use(self) -> None:
        """No device is of use whose highest fid was not looked for."""
        node = FakeNode()
        (device,) = node.folders.devices()
        node.memory.put(f"{DOCROOT}/dev1/{relative_path(70)}", b"x")
        device.trouble = "it was away"
        lanes, seen = node.watch._lanes, list[str]()
        real = lanes.run

        def run(devid: int, lane: str, work: Any, *args: Any) -> Any:
            if work is look_for_highest:
                seen.append(device.observed)
            return real(devid, lane, work, *args)

        self.patch(lanes, "run", run)
        node.watch.look()
        self.assertEqual((seen[0], device.observed), ("unreachable", "writeable"))
        self.assertEqual(device.highest_fid, 70)

    def test_no_own_folder(self) -> None:
        """Without its temporary folder a device takes no writes."""
        node = FakeNode()
        node.memory.remove_folder(f"{DOCROOT}/dev1/{TEMPORARY_FOLDER}")
        node.clock.advance(TEST_SECONDS)
        node.watch.look()
        self.assertEqual(node.folders.devices()[0].observed, "readable")

    def test_usage_cannot_be_written(self) -> None:
        """That is no reason to take a device for broken."""
        node = FakeNode(disk=FaultyDisk)
        node.disk.arm(1, only=("rename",), lasting=True)
        node.clock.advance(TEST_SECONDS)
        node.watch.look()
        self.assertEqual(node.folders.devices()[0].observed, "writeable")

    def test_no_room_known(self) -> None:
        """A file system that does not answer makes the device unavailable."""
        node = FakeNode(disk=FaultyDisk)
        node.disk.arm(1, only=("space",))
        node.watch.look()
        self.assertEqual(node.folders.devices()[0].observed, "unreachable")
        self.assertEqual(node.folders.devices()[0].usage_text, b"")


class Hanging(SynchronousTestCase):
    """Disks that do not answer."""

    def setUp(self) -> None:
        """A node with two devices whose lanes are held from now on."""
        self.node = FakeNode(devices=2)
        self.lanes = HeldLanes()
        self.node.watch._lanes = self.lanes

    def test_hanging_device(self) -> None:
        """A device that hangs becomes unavailable, and comes back; others go on."""
        self.node.watch.look()
        hanging = self.lanes.jobs.pop(0)
        for _ in range(4):
            self.node.clock.advance(CHECK_DEADLINE_SECONDS / 3)
            self.node.watch.look()
            self.lanes.run_all()
        first, second = self.node.folders.devices()
        self.assertEqual(
            (first.observed, second.observed), ("unreachable", "writeable")
        )
        self.lanes.jobs.append(hanging)
        self.lanes.run_all()
        self.assertEqual(first.observed, "writeable")

    def test_hanging_docroot(self) -> None:
        """When the docroot's list hangs, as it does on the folder of one disk that
        does, looks do not pile up and those at known devices go on."""
        first, second = self.node.folders.devices()
        self.node.watch.look()
        listing = self.lanes.jobs.pop()
        hanging = self.lanes.jobs.pop(0)
        for _ in range(5):
            self.node.clock.advance(CHECK_DEADLINE_SECONDS / 3)
            second.trouble = "the last look"
            self.node.watch.look()
            self.lanes.run_all()
            self.assertEqual(second.observed, "writeable")
        self.assertEqual(first.observed, "unreachable")
        self.node.memory.make_folders(f"{DOCROOT}/dev3")
        self.lanes.jobs += [hanging, listing]
        self.lanes.run_all()
        observed = [one.observed for one in self.node.folders.devices()]
        self.assertEqual(observed, ["writeable"] * 3)

    def test_no_list_in_a_cluster(self) -> None:
        """A node that is told what to serve does not list its docroot."""
        self.node.folders.serve("cluster", "host", [2])
        self.assertEqual(len(self.lanes.jobs), 1)

    def test_hanging_test(self) -> None:
        """A test write that does not end means that the device takes no writes, until
        it ends."""
        hanging = []
        for _ in range(3):
            self.node.clock.advance(TEST_SECONDS)
            self.node.watch.look()
            while self.lanes.jobs:
                if self.lanes.jobs[0][0] == "write":
                    hanging.append(self.lanes.jobs.pop(0))
                else:
                    self.lanes.step()
        self.assertEqual(len(hanging), 2)
        observed = {one.observed for one in self.node.folders.devices()}
        self.assertEqual(observed, {"readable"})
        self.lanes.jobs = hanging
        self.lanes.run_all()
        observed = {one.observed for one in self.node.folders.devices()}
        self.assertEqual(observed, {"writeable"})

    def test_broken_docroot(self) -> None:
        """A docroot that cannot be listed does not stop the looking."""
        node = FakeNode(disk=FaultyDisk)
        node.disk.arm(1, only=("names",))
        node.watch.look()
        self.assertEqual(node.folders.devices()[0].observed, "writeable")


class Business(SynchronousTestCase):
    """Utilization from the kernel's statistics."""

    def stats(self, text: str) -> None:
        """Let the kernel say this."""
        path = self.mktemp()
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
        self.patch(usage, "DISKSTATS", path)

    def test_rows(self) -> None:
        """The row of the device's numbers; none, or a short one, is not known."""
        self.stats(DISKSTATS.format(busy=77))
        self.assertEqual(busy_ms(8 << 8), 77)
        self.assertIsNone(busy_ms(253 << 8 | 1))
        self.assertIsNone(busy_ms(9 << 8))
        self.assertEqual(busy_ms(259 << 8 | 70000 & 0xFF | (70000 & ~0xFF) << 12), 42)
        self.patch(usage, "DISKSTATS", "/nothing")
        self.assertIsNone(busy_ms(8 << 8))

    def test_share(self) -> None:
        """Half of the time busy is 50 %; before the second look it is not known."""
        node = FakeNode()
        node.memory.devices[f"{DOCROOT}/dev1"] = 8 << 8
        device = node.folders.devices()[0]
        for busy, expected in ((1000, None), (2000, 50.0), (9000, 100.0), (8000, 0.0)):
            self.stats(DISKSTATS.format(busy=busy))
            node.clock.advance(2)
            node.watch.look()
            self.assertEqual(device.utilization, expected)
        self.assertIn(b"device: /dev/sda\n", device.usage_text)


class Loop(SynchronousTestCase):
    """`start` and `stop`"""

    def test_every_two_seconds(self) -> None:
        """It looks until it is stopped; stopping twice is fine."""
        node = FakeNode()
        node.watch.start()
        node.memory.make_folders(f"{DOCROOT}/dev2")
        node.clock.advance(2)
        self.assertEqual([one.devid for one in node.folders.devices()], [1, 2])
        node.watch.stop()
        node.watch.stop()
        self.assertEqual(node.clock.getDelayedCalls(), [])
