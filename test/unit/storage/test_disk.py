"""Markers, and what the operating system's errors become. (See also test/contract.)"""

from __future__ import annotations

import errno
import json
import os

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.errors import DeviceUnavailable, DiskFault, DiskFull
from koboldfs.storage import disk
from koboldfs.storage.disk import FOREIGN, Marker, ReadOnly, fault, write_durably
from test.fakes.disk import FaultyDisk, MemoryDisk


class Faults(SynchronousTestCase):
    """`fault`"""

    def test_kinds(self) -> None:
        """Full, read-only, or plainly failed; the text says what, and names no path."""
        for number, kind in (
            (errno.ENOSPC, DiskFull),
            (errno.EDQUOT, DiskFull),
            (errno.EROFS, ReadOnly),
            (errno.EACCES, DeviceUnavailable),
            (errno.EIO, DiskFault),
        ):
            error = OSError(number, os.strerror(number), "/secret/path")
            found = fault(error, "dev1")
            self.assertIsInstance(found, kind)
            self.assertEqual(found.message, f"dev1: {os.strerror(number)}")

    def test_nameless(self) -> None:
        """An error that says nothing is an I/O error."""
        self.assertEqual(fault(OSError(), "dev1").message, "dev1: I/O error")


class Markers(SynchronousTestCase):
    """`Marker`"""

    def test_round_trip(self) -> None:
        """What is written is what is read; each new one is another."""
        marker = Marker.new("cluster", "höst", 7)
        self.assertEqual(Marker.parse(marker.data()), marker)
        self.assertNotEqual(Marker.new("cluster", "höst", 7), marker)

    def test_foreign(self) -> None:
        """What cannot be understood belongs to nobody."""
        good = json.loads(Marker.new("c", "h", 7).data())
        for data in (
            b"",
            b"{}",
            b"[]",
            b"\xff\xfe",
            b"null",
            json.dumps({**good, "devid": "x"}).encode(),
            json.dumps({**good, "uuid": ""}).encode(),
            json.dumps({**good, "devid": 0}).encode(),
        ):
            self.assertEqual(Marker.parse(data), FOREIGN, data)
        later = Marker.parse(json.dumps({**good, "version": 2, "new": 1}).encode())
        self.assertEqual(later, evolve(Marker(**good), version=2))

    def test_read(self) -> None:
        """A folder without a marker has None."""
        memory = MemoryDisk()
        memory.make_folders("/dev1")
        self.assertIsNone(disk.read_marker(memory, "/dev1"))
        memory.put("/dev1/.koboldfs-device", b"?")
        self.assertEqual(disk.read_marker(memory, "/dev1"), FOREIGN)


class Durable(SynchronousTestCase):
    """`write_durably`"""

    def test_failures(self) -> None:
        """Whatever fails before the rename, the old bytes stay and nothing is left."""
        memory = MemoryDisk()
        memory.put("/data/node.json", b"old")
        for name in ("create", "write", "sync", "rename"):
            faulty = FaultyDisk(memory)
            faulty.arm(1, only=(name,))
            with self.assertRaises(OSError):
                write_durably(faulty, "/data/node.json", b"new")
            self.assertEqual(memory.files("/data"), {"node.json": b"old"})

    def test_crash(self) -> None:
        """Once written, a crash does not bring the old bytes back."""
        memory = MemoryDisk()
        memory.put("/data/node.json", b"old")
        write_durably(memory, "/data/node.json", b"new")
        memory.crash()
        self.assertEqual(memory.files("/data"), {"node.json": b"new"})


class Syncfs(SynchronousTestCase):
    """Which kernels are trusted with one flush for many files."""

    def test_kernels(self) -> None:
        """Linux from 5.8 on."""
        names = list(os.uname())
        for system, release, trusted in (
            ("Linux", "5.8.0-1", True),
            ("Linux", "6.18", True),
            ("Linux", "5.7.19", False),
            ("Linux", "4.19", False),
            ("Linux", "odd", False),
            ("Darwin", "23.1.0", False),
        ):
            uname = os.uname_result((system, names[1], release, *names[3:]))
            self.patch(os, "uname", lambda uname=uname: uname)
            found = disk._syncfs_function() is not None
            self.assertEqual(found, trusted, release)
