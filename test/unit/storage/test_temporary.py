"""Names of temporary files, and what is removed at the start."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from koboldfs.errors import DeviceUnavailable
from koboldfs.storage.disk import TEMPORARY_FOLDER
from koboldfs.storage.temporary import (
    Expected,
    TemporaryFile,
    make_folders,
    process_start,
    remove_abandoned,
    temporary_name,
    unplace,
)
from test.fakes.disk import FaultyDisk, MemoryDisk

ROOT = "/dev1"
FOLDER = f"{ROOT}/{TEMPORARY_FOLDER}"


class Abandoned(SynchronousTestCase):
    """`remove_abandoned`"""

    def setUp(self) -> None:
        """A device."""
        self.disk = MemoryDisk()
        self.disk.make_folders(FOLDER)

    def test_dead_and_alive(self) -> None:
        """Files of processes that are no more go; ours, and what is not a temporary
        file of ours, stay."""
        child = subprocess.Popen([sys.executable, "-c", ""])
        child.wait(timeout=60)
        mine = temporary_name()
        pid, start, _ = mine.split("-")
        for name in (
            f"{child.pid}-12345-0",
            f"{pid}-{int(start) + 1}-0",  # an earlier process had our number
            mine,
            "README",
        ):
            self.disk.put(f"{FOLDER}/{name}", b"x")
        self.assertEqual(remove_abandoned(self.disk, FOLDER), 2)
        self.assertEqual(set(self.disk.names(FOLDER)), {mine, "README"})

    def test_another_living_process(self) -> None:
        """What another living process writes is left alone."""
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1)
        try:
            name = f"{child.pid}-{process_start(child.pid)}-5"
            self.disk.put(f"{FOLDER}/{name}", b"x")
            self.assertEqual(remove_abandoned(self.disk, FOLDER), 0)
        finally:
            child.kill()
            child.wait(timeout=60)
            assert child.stdin is not None
            child.stdin.close()
        self.assertEqual(remove_abandoned(self.disk, FOLDER), 1)

    def test_trouble(self) -> None:
        """A folder that cannot be read, and a file that cannot be removed, wait."""
        self.assertEqual(remove_abandoned(self.disk, "/nothing"), 0)
        self.disk.put(f"{FOLDER}/99999999-1-1", b"x")
        faulty = FaultyDisk(self.disk)
        faulty.arm(1, only=("remove",))
        self.assertEqual(remove_abandoned(faulty, FOLDER), 0)  # type: ignore[arg-type]
        self.assertEqual(remove_abandoned(self.disk, FOLDER), 1)

    def test_names(self) -> None:
        """Names are never used twice, and say who we are."""
        names = {temporary_name() for _ in range(100)}
        self.assertEqual(len(names), 100)
        owner = f"{os.getpid()}-{process_start(os.getpid())}-"
        self.assertTrue(all(name.startswith(owner) for name in names))
        self.assertIsNone(process_start(99_999_999))


class Files(SynchronousTestCase):
    """`TemporaryFile` where the contract of disks does not look."""

    def test_unmounted(self) -> None:
        """Without the device's own folder nothing is made, not even that."""
        disk = MemoryDisk()
        disk.make_folders(ROOT)
        with self.assertRaises(DeviceUnavailable):
            TemporaryFile(disk, ROOT).open()
        self.assertEqual(disk.names(ROOT), [])

    def test_vanished(self) -> None:
        """When the file being written is gone, no folders are made for it."""
        disk = MemoryDisk()
        disk.make_folders(FOLDER)
        file = TemporaryFile(disk, ROOT)
        file.open()
        file.seal()
        disk.remove(f"{FOLDER}/{disk.names(FOLDER)[0]}")
        with self.assertRaises(FileNotFoundError):
            file.place("0/000/000/x.fid")
        self.assertEqual(disk.names(ROOT), [".koboldfs"])

    def test_discard_never_raises(self) -> None:
        """A file that cannot be removed now is removed at the next start."""
        memory = MemoryDisk()
        memory.make_folders(FOLDER)
        disk = FaultyDisk(memory)
        file = TemporaryFile(disk, ROOT)  # type: ignore[arg-type]
        file.open()
        disk.arm(1, errno.EROFS, only=("remove",))
        file.discard()
        file.discard()
        self.assertEqual(len(memory.names(FOLDER)), 1)
        self.assertEqual(memory.open_count, 0)

    def test_make_folders(self) -> None:
        """Only what is missing is made; the parents of what was made are told."""
        disk = MemoryDisk()
        disk.make_folders(f"{ROOT}/0")
        changed = make_folders(disk, ROOT, "0/001/002")
        self.assertEqual(changed, [f"{ROOT}/0", f"{ROOT}/0/001"])
        self.assertEqual(make_folders(disk, ROOT, "0/001/002"), [])

    def test_unplace(self) -> None:
        """Only the very file is thrown away, not one that took its place."""
        disk = MemoryDisk()
        disk.make_folders(FOLDER)
        placed = []
        for data in (b"one", b"two"):
            file = TemporaryFile(disk, ROOT)
            file.open()
            file.write([data])
            file.check(Expected(3))
            file.seal()
            placed.append(file.place("file")[0])
        unplace(disk, ROOT, "file", placed[0])
        self.assertEqual(disk.files(ROOT), {"file": b"two"})
        unplace(disk, ROOT, "file", placed[1])
        self.assertEqual(disk.files(ROOT), {})
        unplace(disk, ROOT, "file", placed[1])
