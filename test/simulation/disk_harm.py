"""What goes wrong with disks in a run.

A full, slow or failing disk may be any one. What destroys bytes for good (a flipped
bit, an empty disk in the place of a full one) happens to the `unlucky` device only, and
what it destroys is written down: a file whose last good copy it was is excused then.
"""

from __future__ import annotations

import errno
from typing import Any

from koboldfs.model.fid import relative_path
from test.simulation.checkers import NEWS_SECONDS, good_devices
from test.simulation.disk import Disk, Faults

#: What was read wrongly may be on its way so long (seconds).
MISREAD_SECONDS = 15.0


class DiskHarm:
    """The part of the `Nemesis` that is about disks."""

    def __init__(self, nemesis: Any) -> None:
        self._nemesis, self._world = nemesis, nemesis.world
        self._random = nemesis.random
        self.unlucky = self._random.choice(sorted(self._world.devices))
        self.wiped_at: float | None = None
        self._misread: dict[int, float] = {}
        #: The folders of devices of which calls failed.
        self.failed: set[str] = set()

    def _faults(self) -> tuple[int, Faults]:
        devid = self._random.choice(sorted(self._world.devices))
        return devid, self._disk(devid).faults.setdefault(f"dev{devid}", Faults())

    def _disk(self, devid: int) -> Disk:
        disk: Disk = self._world.disks[self._world.ip_of(devid)]
        return disk

    def _mend_later(self, devid: int) -> None:
        ip = self._world.ip_of(devid)

        def mend() -> None:
            self._disk(devid).faults.pop(f"dev{devid}", None)
            self._nemesis.replace_distrusted(ip)

        self._nemesis.mend_later(self._random.uniform(0.5, 5.0), mend)

    def full(self) -> None:
        """There is no room."""
        devid, faults = self._faults()
        faults.full = True
        self._nemesis.note(f"device {devid} is full")
        self._mend_later(devid)

    def slow(self) -> None:
        """Everything takes long."""
        devid, faults = self._faults()
        faults.slow_seconds = self._random.choice((0.05, 0.5, 3.0))
        self._nemesis.note(f"device {devid} takes {faults.slow_seconds} s")
        self._mend_later(devid)

    def fails(self) -> None:
        """One of the next calls fails."""
        devid, faults = self._faults()
        faults.calls = self._random.randint(1, 25)
        faults.number = self._random.choice((errno.EIO, errno.EIO, errno.ENOSPC))
        self.failed.add(f"dev{devid}")
        self._nemesis.note(f"device {devid} fails in call {faults.calls}")
        self._mend_later(devid)

    def misreads(self) -> None:
        """One of the next reads gives other bytes."""
        devid, faults = self._faults()
        faults.misdirected = 1
        self._misread[devid] = self._world.clock.now + 5.0 + MISREAD_SECONDS
        self._nemesis.note(f"device {devid} misreads")
        self._mend_later(devid)

    def lies(self, devid: int) -> bool:
        """Whether a device reads wrongly now, or did just now."""
        return self._world.clock.now < self._misread.get(devid, -1.0)

    @property
    def misread(self) -> bool:
        """Whether any device has read wrongly in this run."""
        return bool(self._misread)

    def losing(self) -> bool:
        """Whether a disk is lost, and not everybody knows that its device is dead."""
        if self.wiped_at is None:
            return False
        since = self._world.dead_devices.get(self.unlucky)
        return since is None or self._world.clock.now < since + NEWS_SECONDS

    # --- what destroys

    def _excuse(self, why: str) -> None:
        """Those files that have no good copy any more have it from here; others have
        fewer."""
        world = self._world
        recorded = {fid for (fid,) in world.server.rows("SELECT fid FROM file")}
        for fid, version in world.truth.versions.items():
            version.most_hosts = 0
            if version.copies or fid in recorded:
                if not good_devices(world, version, fid):
                    version.excused = version.excused or why

    def flips(self) -> None:
        """A bit of a file flips."""
        world, devid = self._world, self.unlucky
        rows = world.server.rows("SELECT fid FROM file_on WHERE devid = ?", devid)
        if not rows or self.wiped_at is not None:
            return
        (fid,) = self._random.choice(sorted(rows))
        disk = self._disk(devid)
        files = disk.files(f"/docroot/dev{devid}")
        file = files.get(relative_path(fid))
        if file is None or not file.durable:
            return
        place = self._random.randrange(len(file.durable))
        flipped = bytearray(file.durable)
        flipped[place] ^= 1 << self._random.randrange(8)
        file.data, file.durable = flipped, bytes(flipped)
        disk.changes += 1
        world.damaged.add((devid, fid))
        self._nemesis.note(f"a bit of fid {fid} flips on device {devid}")
        self._excuse("a bit flipped in the only copy")

    def strays(self) -> None:
        """Copies lie on a disk that no row knows there, as when the answers to pulls
        were lost."""
        world, devid = self._world, self.unlucky
        if self.wiped_at is not None:
            return
        sql = "SELECT fid FROM file_on WHERE devid = ?"
        recorded = {fid for (fid,) in world.server.rows(sql, devid)}
        disk = self._disk(devid)
        there = disk.files(f"/docroot/dev{devid}")
        for fid, version in sorted(world.truth.versions.items()):
            path = relative_path(fid)
            if version.copies and fid not in recorded and path not in there:
                disk.put(f"/docroot/dev{devid}/{path}", version.data)
                self._nemesis.note(f"fid {fid} lies on device {devid}")

    def wiped(self) -> None:
        """Another, empty disk is there, and the operator declares the old one dead."""
        world, devid = self._world, self.unlucky
        if self.wiped_at is not None or world.operator.draining == devid:
            return
        self.wiped_at = world.clock.now
        self._disk(devid).wipe(f"/docroot/dev{devid}")
        self._nemesis.note(f"device {devid} is lost")
        self._excuse("the disk of the only copy was lost")
        world.operator.do(world.operator.declare_dead, devid)
