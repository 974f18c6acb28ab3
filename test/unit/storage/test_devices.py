"""Which folders are served: markers, what is remembered, mounts that come and go."""

from __future__ import annotations

import errno
import json
from pathlib import Path

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.errors import ConfigError, DeviceUnavailable, NoDevice
from koboldfs.interfaces import IDeviceFolders
from koboldfs.storage.devices import UNREADABLE_FILES, DeviceFolders
from koboldfs.storage.disk import (
    FOREIGN,
    MARKER_NAME,
    OWN_FOLDER,
    TEMPORARY_FOLDER,
    Marker,
    ReadOnly,
)
from test.fakes.disk import FaultyDisk, MemoryDisk
from test.fakes.storage_node import DOCROOT, FakeNode

DEV1 = f"{DOCROOT}/dev1"


class FoldersCase(SynchronousTestCase):
    """A node with an empty device folder 1, alone."""

    def setUp(self) -> None:
        """The node."""
        self.node = FakeNode()
        self.folders, self.disk = self.node.folders, self.node.memory

    def restart(self) -> None:
        """The same disk and memory, another process."""
        old, self.node = self.node, FakeNode.__new__(FakeNode)
        self.node.__dict__.update(old.__dict__)
        self.folders = DeviceFolders(Path(DOCROOT), Path("/data/node.json"), self.disk)
        self.node.folders = self.node.watch._folders = self.folders
        self.folders.served_changed = self.node.watch.look
        self.folders.load()
        self.look()

    def look(self) -> None:
        """A round of looking at the devices."""
        self.node.clock.advance(2)
        self.node.watch.look()

    def served(self) -> list[int]:
        """The devices that can be read."""
        return [one.devid for one in self.folders.devices() if not one.trouble]

    def marker(self) -> Marker:
        """The marker of device 1."""
        found = self.folders.found()[1]
        assert found is not None
        return found

    def unmount(self) -> object:
        """Leave an empty mount point in the place of device 1; returns the disk."""
        docroot = self.disk._node(DOCROOT)
        disk = docroot.names.pop("dev1")
        self.disk.make_folders(DEV1)
        return disk

    def mount(self, disk: object) -> None:
        """Put a disk in the place of device 1."""
        self.disk._node(DOCROOT).names["dev1"] = disk


class Alone(FoldersCase):
    """Before a cluster is known, as MogileFS's storage daemon does."""

    def test_serves_what_is_there(self) -> None:
        """An unmarked folder is served; nothing is marked; others are not here."""
        self.assertTrue(IDeviceFolders.providedBy(self.folders))
        self.assertEqual(self.served(), [1])
        self.assertEqual(self.folders.found(), {1: None})
        self.assertEqual(self.folders.writing(1).observed, "writeable")
        with self.assertRaises(NoDevice):
            self.folders.reading(2)

    def test_new_folders(self) -> None:
        """A folder that appears is served from the next look on; odd names never."""
        for name in ("dev7", "dev0", "dev01", "devx", "dev1.old", "lost+found"):
            self.disk.make_folders(f"{DOCROOT}/{name}")
        self.disk.put(f"{DOCROOT}/dev8", b"a file")
        self.assertEqual(self.served(), [1])
        self.look()
        self.assertEqual(self.served(), [1, 7])

    def test_folder_goes_and_comes(self) -> None:
        """A folder that goes is a device that is not available, and no unknown one."""
        disk = self.disk._node(DOCROOT).names.pop("dev1")
        self.look()
        with self.assertRaises(DeviceUnavailable):
            self.folders.reading(1)
        self.mount(disk)
        self.look()
        self.assertEqual(self.served(), [1])

    def test_lost_mount(self) -> None:
        """An unmarked folder that was a mount point and is none now lost its disk."""
        self.disk.devices[DEV1] = 9
        self.disk.make_folders(f"{DOCROOT}/dev2")
        self.restart()
        self.assertEqual(self.served(), [1, 2])
        del self.disk.devices[DEV1]
        self.look()
        self.assertEqual(self.served(), [2])
        self.disk.devices[DEV1] = 9
        self.look()
        self.assertEqual(self.served(), [1, 2])

    def test_swapped_mounts(self) -> None:
        """A folder whose marker has another number is not served, alone or not."""
        self.disk.put(f"{DEV1}/{MARKER_NAME}", Marker.new("c", "h", 2).data())
        self.look()
        self.assertEqual(self.served(), [])

    def test_marked_by_others(self) -> None:
        """Alone, a marked folder of that number is served, whoever marked it; one
        that cannot be understood is not."""
        self.disk.put(f"{DEV1}/{MARKER_NAME}", Marker.new("c", "h", 1).data())
        self.look()
        self.assertEqual(self.served(), [1])
        self.disk.put(f"{DEV1}/{MARKER_NAME}", b"garbage")
        self.look()
        self.assertEqual(self.served(), [])

    def test_temporary_files_at_the_start(self) -> None:
        """What a killed process was writing is removed when the device is adopted."""
        self.disk.put(f"{DEV1}/{TEMPORARY_FOLDER}/99999999-5-1", b"half")
        self.restart()
        self.assertEqual(self.node.files(), {})


class Claims(FoldersCase):
    """`claim`, `release` and what is remembered."""

    def test_flushed_at_the_start(self) -> None:
        """What a process that was killed left unflushed is flushed before it is served:
        whoever asks is told that it is there."""
        self.disk.make_folder(f"{DEV1}/0")
        self.disk.close(self.disk.create(f"{DEV1}/0/late.fid"))
        self.restart()
        self.disk.crash()
        self.assertIn("0/late.fid", self.disk.files(DEV1))

    def test_cannot_be_flushed(self) -> None:
        """A disk that does not take what was left unflushed is not served."""
        faulty = FaultyDisk(self.disk)
        faulty.arm(1, only=("sync_all",), lasting=True)
        self.folders.disk = faulty
        self.folders._devices[1].trouble = "not looked at yet"
        self.look()
        self.assertEqual(self.served(), [])
        faulty.disarm()
        self.look()
        self.assertEqual(self.served(), [1])

    def test_claim_marks(self) -> None:
        """A folder is made or marked, remembered, and can be claimed again."""
        for devid in (1, 5):
            self.folders.claim(devid, "cluster", "host")
            found = self.folders.found()[devid]
            assert found is not None
            self.assertEqual((found.cluster, found.host), ("cluster", "host"))
            self.folders.claim(devid, "cluster", "host")
            self.assertEqual(self.folders.found()[devid], found)
            memory = json.loads(self.disk.files("/data")["node.json"])
            self.assertEqual(memory["devices"][str(devid)], found.uuid)

    def test_in_use(self) -> None:
        """A folder is in use when there is more in it than a new file system has and
        a node writes there while it is alone."""
        self.look()
        self.assertIn("usage", self.disk.names(DEV1))
        self.assertIn(OWN_FOLDER, self.disk.names(DEV1))
        self.assertFalse(self.folders.in_use(1))
        self.disk.make_folders(f"{DEV1}/lost+found")
        self.disk.make_folders(f"{DEV1}/test-write")
        self.assertFalse(self.folders.in_use(1))
        self.assertFalse(self.folders.in_use(7))
        self.disk.make_folders(f"{DEV1}/0")
        self.assertTrue(self.folders.in_use(1))

    def test_claim_survives_a_crash(self) -> None:
        """Marker and memory are on stable storage when the claim is made."""
        self.folders.claim(5, "cluster", "host")
        marker = self.folders.found()[5]
        self.disk.crash()
        self.restart()
        self.assertEqual(self.folders.found()[5], marker)

    def test_foreign(self) -> None:
        """A disk of another cluster, host or number is never taken."""
        for marker in (
            Marker.new("other", "host", 1),
            Marker.new("cluster", "other", 1),
            Marker.new("cluster", "host", 2),
        ):
            self.disk.put(f"{DEV1}/{MARKER_NAME}", marker.data())
            with self.assertRaises(DeviceUnavailable):
                self.folders.claim(1, "cluster", "host")
            self.assertEqual(self.marker(), marker)
        self.disk.put(f"{DEV1}/{MARKER_NAME}", b"garbage")
        with self.assertRaises(DeviceUnavailable):
            self.folders.claim(1, "cluster", "host")
        self.assertEqual(self.disk.files(DEV1)[MARKER_NAME], b"garbage")

    def test_missing_disk(self) -> None:
        """An empty mount point, or no folder, where a disk was is not claimed."""
        self.folders.claim(1, "cluster", "host")
        self.unmount()
        self.restart()
        with self.assertRaises(DeviceUnavailable):
            self.folders.claim(1, "cluster", "host")
        self.assertEqual(self.folders.found(), {1: None})
        del self.disk._node(DOCROOT).names["dev1"]
        with self.assertRaises(DeviceUnavailable):
            self.folders.claim(1, "cluster", "host")
        self.assertEqual(self.folders.found(), {})

    def test_another_disk(self) -> None:
        """A disk that took the number of one we had is not claimed."""
        self.folders.claim(1, "cluster", "host")
        other = evolve(self.marker(), uuid="another")
        self.disk.put(f"{DEV1}/{MARKER_NAME}", other.data())
        with self.assertRaises(DeviceUnavailable):
            self.folders.claim(1, "cluster", "host")

    def test_failed_claim(self) -> None:
        """A claim that a disk error stopped can be made again."""
        for call in range(1, 30):
            node = FakeNode(disk=FaultyDisk)
            node.disk.arm(
                call, only=("create", "write", "sync", "rename", "make_folder")
            )
            try:
                node.folders.claim(2, "cluster", "host")
            except DeviceUnavailable:
                node.disk.disarm()
                node.folders.claim(2, "cluster", "host")
            finished = not node.disk.failed
            node.disk.disarm()
            marker = node.folders.found()[2]
            assert marker is not None
            self.assertEqual(marker.devid, 2)
            if finished:
                return
        self.fail("the claim was never done")

    def test_release(self) -> None:
        """What was claimed in vain goes again; a folder with a file stays."""
        self.folders.claim(1, "cluster", "host")
        self.folders.claim(5, "cluster", "host")
        self.disk.put(f"{DEV1}/0/000/000/0000000001.fid", b"x")
        self.look()
        self.folders.release(1)
        self.folders.release(5)
        self.assertEqual(list(self.folders.found()), [1])
        memory = json.loads(self.disk.files("/data")["node.json"])
        self.assertEqual(list(memory["devices"]), ["1"])
        self.folders.release(9)

    def test_broken_memory(self) -> None:
        """A memory that cannot be read stops the node: it would mistake disks."""
        for data in (b"", b"{}", b"[1]", b'{"devices": {"x": "y"}}'):
            self.disk.put("/data/node.json", data)
            with self.assertRaises(ConfigError):
                self.folders.load()


class InACluster(FoldersCase):
    """After `serve`."""

    def setUp(self) -> None:
        """Device 1 is claimed and served."""
        super().setUp()
        self.folders.claim(1, "cluster", "host")
        self.folders.serve("cluster", "host", [1])

    def test_serves(self) -> None:
        """Exactly what it is told; a new folder is not picked up."""
        self.assertEqual(self.served(), [1])
        self.disk.make_folders(f"{DOCROOT}/dev2")
        self.look()
        self.assertEqual(self.served(), [1])
        self.folders.serve("cluster", "host", [])
        self.assertEqual(self.served(), [])

    def test_nothing_is_not_here(self) -> None:
        """A device that is not served is unavailable in a cluster, and for a node that
        was in one until it knows more; never not here, as if its files were gone."""
        self.folders.serve("cluster", "host", [])
        again = DeviceFolders(Path(DOCROOT), Path("/data/node.json"), self.disk)
        again.load()
        again.adopt([])
        for folders in (self.folders, again):
            for devid in (1, 9):
                with self.assertRaises(DeviceUnavailable):
                    folders.reading(devid)
                with self.assertRaises(DeviceUnavailable):
                    folders.writing(devid)

    def test_unmarked(self) -> None:
        """A device without a marker is known and not available."""
        self.disk.make_folders(f"{DOCROOT}/dev2")
        self.folders.serve("cluster", "host", [1, 2])
        with self.assertRaises(DeviceUnavailable):
            self.folders.reading(2)

    def test_unmounted_and_back(self) -> None:
        """An unmounted disk is neither read nor written, and served when it is back."""
        disk = self.unmount()
        self.look()
        for ask in (self.folders.reading, self.folders.writing):
            with self.assertRaises(DeviceUnavailable):
                ask(1)
        self.assertEqual(self.folders.devices()[0].observed, "unreachable")
        self.assertEqual(self.disk.files(DEV1), {})
        self.mount(disk)
        self.look()
        self.assertEqual(self.folders.writing(1).observed, "writeable")

    def test_restart_while_unmounted(self) -> None:
        """A node that starts without its disk does not write beside it, alone or in
        the cluster."""
        self.unmount()
        self.restart()
        self.assertEqual(self.served(), [])
        self.folders.serve("cluster", "host", [1])
        self.assertEqual(self.served(), [])
        self.assertEqual(self.disk.files(DEV1), {})

    def test_lost_memory(self) -> None:
        """A node that lost its memory knows its disks by their markers, and remembers
        them again; one that cannot write its memory serves them all the same."""
        self.disk.remove("/data/node.json")
        self.restart()
        self.folders.serve("cluster", "host", [1])
        self.assertEqual(self.served(), [1])
        self.assertIn("node.json", self.disk.files("/data"))
        self.unmount()
        self.restart()
        self.assertEqual(self.served(), [])

    def test_memory_that_cannot_be_written(self) -> None:
        """That is said, and the disks are served."""
        self.disk.remove("/data/node.json")
        self.restart()
        faulty = FaultyDisk(self.disk)
        self.folders.disk = faulty  # type: ignore[assignment]
        faulty.arm(1, only=("create",))
        self.folders.serve("cluster", "host", [1])
        self.assertEqual(self.served(), [1])

    def test_unreadable_marker(self) -> None:
        """A folder that cannot be read belongs to nobody: it is not claimed."""
        faulty = FaultyDisk(self.disk)
        self.folders.disk = faulty  # type: ignore[assignment]
        faulty.arm(1, only=("open",))
        self.assertEqual(self.folders.found(), {1: FOREIGN})

    def test_swapped_disk(self) -> None:
        """Another disk in its place is not served."""
        self.unmount()
        self.disk.put(f"{DEV1}/{MARKER_NAME}", Marker.new("cluster", "host", 1).data())
        self.look()
        self.assertEqual(self.served(), [])

    def test_another_cluster(self) -> None:
        """A disk that we served alone and that is another cluster's is dropped at
        once, before the next look."""
        self.folders.served_changed = lambda: None
        self.folders.serve("other", "host", [1])
        with self.assertRaises(DeviceUnavailable):
            self.folders.reading(1)

    def test_unreadable(self) -> None:
        """A folder that the disk fails to read is not available."""
        faulty = FaultyDisk(self.disk)
        self.folders.disk = faulty  # type: ignore[assignment]
        faulty.arm(1, only=("open",))
        self.look()
        self.assertEqual(self.served(), [])
        faulty.disarm()
        self.look()
        self.assertEqual(self.served(), [1])

    def test_still_there(self) -> None:
        """Between two looks an unmounted disk is told from one without the file."""
        device = self.folders.reading(1)
        self.assertTrue(self.folders.still_there(device))
        disk = self.unmount()
        self.assertFalse(self.folders.still_there(device))
        self.mount(disk)
        self.assertTrue(self.folders.still_there(device))
        self.disk.remove(f"{DEV1}/{MARKER_NAME}")
        self.assertFalse(self.folders.still_there(device))

    def test_distrust(self) -> None:
        """A distrusted device is read, not written, and stays so."""
        self.folders.distrust(self.folders.writing(1), "a flush failed")
        for _ in range(10):
            self.look()
        self.assertEqual(self.folders.reading(1).observed, "readable")
        with self.assertRaises(ReadOnly):
            self.folders.writing(1)


class Fresh(SynchronousTestCase):
    """A fresh node."""

    def test_before_the_first_look(self) -> None:
        """Before anybody has looked, no device is said not to be here: to a tracker
        that would mean that its files are gone."""
        disk = MemoryDisk()
        folders = DeviceFolders(Path("/devs"), Path("/data/node.json"), disk)
        with self.assertRaises(DeviceUnavailable):
            folders.reading(1)
        folders.adopt([])
        with self.assertRaises(NoDevice):
            folders.reading(1)

    def test_nothing_to_remember(self) -> None:
        """A node that never had a device needs no memory."""
        disk = MemoryDisk()
        disk.make_folders("/data")
        folders = DeviceFolders(Path("/devs"), Path("/data/node.json"), disk)
        folders.load()
        self.assertEqual(folders.devices(), [])


class Processes(FoldersCase):
    """What a node's processes have in common."""

    def another(self) -> DeviceFolders:
        """The folders as another process has them."""
        return DeviceFolders(Path(DOCROOT), Path("/data/node.json"), self.disk)

    def test_reserve(self) -> None:
        """One at a time; the next one knows what was remembered meanwhile."""
        other = self.another()
        self.assertTrue(self.folders.reserve())
        self.assertFalse(other.reserve())
        self.folders.claim(1, "c", "h")
        self.folders.give_back()
        self.folders.give_back()
        self.assertTrue(other.reserve())
        self.assertEqual(set(other._remembered), {1})
        other.give_back()

    def test_reserve_fails(self) -> None:
        """A memory that cannot be read, or a folder that cannot be locked, leaves
        nobody in the way."""
        self.disk.put("/data/node.json", b"{")
        self.assertRaises(ConfigError, self.folders.reserve)
        self.disk.remove("/data/node.json")
        self.assertTrue(self.folders.reserve())
        self.folders.give_back()
        faulty = FaultyDisk(self.disk)
        faulty.arm(1)
        folders = DeviceFolders(Path(DOCROOT), Path("/data/node.json"), faulty)
        self.assertRaises(DeviceUnavailable, folders.reserve)

    def test_distrust(self) -> None:
        """What one process found unreliable no other writes to, and neither does one
        that begins later to look at its devices."""
        other = self.another()
        self.folders.distrusts = other.hear_distrust
        self.folders.distrust(self.folders.writing(1), "a flush failed")
        other.adopt([1])
        self.assertEqual(other.devices()[0].distrusted, "a flush failed")
        third = self.another()
        third.adopt([1])
        third.hear_distrust(1, "told")
        third.hear_distrust(2, "not here")
        self.assertEqual(third.devices()[0].distrusted, "told")

    def test_unreadable(self) -> None:
        """A disk that failed to read several files is distrusted; one bad spot that is
        read again and again, or a file that is not there, does not count."""
        device = self.folders.writing(1)
        for _ in range(2 * UNREADABLE_FILES):
            self.folders.read_failed(device, "a", OSError(errno.EIO, "I/O error"))
            self.folders.read_failed(device, "b", OSError(errno.ENOENT, "none"))
        self.assertEqual(device.failing, "")
        for name in "bc":
            self.folders.read_failed(device, name, OSError(errno.EIO, "I/O error"))
        self.assertEqual(device.failing, "3 files could not be read (I/O error)")
        self.assertEqual(device.observed, "readable")
