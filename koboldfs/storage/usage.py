"""How full and how busy the devices are, and whether they really take writes.

``devN/usage`` holds what MogileFS's storage daemon writes there, ``name: value`` lines
in sorted order, sizes in KiB, and two lines of our own:

    available: 81776476
    device: /dev/vda
    disk: /srv/mogdata/dev1
    kobold: 1                    the node has our side channel,
    sidechannel: 7501            on this port
    time: 1795383939
    total: 106390912             = used + available; what is reserved is left out
    use: 24%
    used: 24614436
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from koboldfs.errors import KoboldError
from koboldfs.storage.device import Device
from koboldfs.storage.devices import (
    BROKEN_ERRNOS,
    FULL_ERRNOS,
    DeviceFolders,
)
from koboldfs.storage.disk import (
    QUARANTINE_FOLDER,
    TEMPORARY_FOLDER,
    FileStat,
    IDisk,
    Marker,
    Space,
    fault,
)
from koboldfs.storage.lanes import ILanes
from koboldfs.storage.numbers import SEARCH_SECONDS, look_for_highest
from koboldfs.storage.temporary import TemporaryFile, temporary_name

#: How often every device is looked at (seconds): the longest that a disk which was
#: unmounted is taken for one whose files are missing is shorter, see `still_there`.
CHECK_SECONDS = 2.0
#: A device that does not answer for this long is not available (seconds).
CHECK_DEADLINE_SECONDS = 10.0
#: How often a device is written to in order to know that it can be (seconds).
TEST_SECONDS = 15.0
#: So many such tests in a row that fail because the disk is broken, and whoever looks
#: is told that the device is failing: half a minute is no hiccup.
FAILED_TESTS = 3
#: As often, ``devN/usage`` is written (seconds); MogileFS does the same.
USAGE_SECONDS = 10.0
#: The device number under which the docroot itself has a lane; no device has it.
DOCROOT_LANE = 0
DISKSTATS = "/proc/diskstats"
_T = TypeVar("_T")


class Watch:
    """Looks at all devices, for ever. `start` and `stop` belong to a service."""

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        folders: DeviceFolders,
        disk: IDisk,
        lanes: ILanes,
        sidechannel_port: Callable[[], int],
        wall_seconds: Callable[[], float],
        *,
        fsync: bool,
    ) -> None:
        self._clock = clock
        self._folders = folders
        self._disk = disk
        self._lanes = lanes
        self._port = sidechannel_port
        self._wall_seconds = wall_seconds
        self._fsync = fsync
        self._listing = False
        self._busy_ms: dict[int, tuple[float, int]] = {}
        self._loop = LoopingCall(self.look)
        self._loop.clock = clock

    def start(self) -> None:
        """Look now, and from now on."""
        self._loop.start(CHECK_SECONDS, now=True)

    def stop(self) -> None:
        """Look no more."""
        if self._loop.running:
            self._loop.stop()

    def look(self) -> None:
        """One round: each device by itself and, alone, which folders are new. Does not
        wait for slow disks; their results count when they come. One that hangs holds
        up the list of the folders, too, but not the look at the others."""
        for device in self._folders.devices():
            self.look_at(device)
        if self._folders.alone and not self._listing:
            self._listing = True
            listing = self._lanes.run(
                DOCROOT_LANE, "check", self._folders.folder_numbers
            )
            listing.addBoth(self._listed)
            listing.addCallbacks(self._adopt, self._unlisted)
            listing.addErrback(self._defect)

    def _unlisted(self, failure: Failure) -> None:
        error = failure.value
        if isinstance(error, OSError):
            self._log.error("{fault}", fault=fault(error, "the docroot cannot be read"))
        else:
            self._defect(failure)

    def _defect(self, failure: Failure) -> None:
        self._log.failure("looking at devices failed", failure=failure)

    def _listed(self, result: _T) -> _T:
        self._listing = False
        return result

    def _adopt(self, numbers: Sequence[int]) -> None:
        known = self._folders.devices()
        self._folders.adopt(numbers)
        for device in self._folders.devices():
            if device not in known:
                self.look_at(device)

    def look_at(self, device: Device) -> None:
        """Look at one device, unless that is under way."""
        now = self._clock.seconds()
        if device.checking_since is not None:
            if now - device.checking_since > CHECK_DEADLINE_SECONDS:
                self._folders.settle(device, "it does not answer", None, None)
            return
        device.checking_since = now
        running = Deferred.fromCoroutine(self._look_at(device))
        running.addErrback(self._defect)

    async def _look_at(self, device: Device) -> None:
        try:
            trouble, marker, folder, space, busy = await self._lanes.run(
                device.devid, "check", self._inspect, device
            )
            if not trouble and device.trouble:
                # Before anybody stores here: whoever gives out numbers must know.
                await self._list(device)
        finally:
            device.checking_since = None
        self._settle(device, trouble, marker, folder, space, busy)
        if device.trouble:
            return
        now = self._clock.seconds()
        if device.tested_at is None or now - device.tested_at >= TEST_SECONDS:
            await self._test(device)
        if device.written_at is None or now - device.written_at >= USAGE_SECONDS:
            device.written_at = now
            device.quarantined = await self._lanes.run(
                device.devid, "check", count_quarantined, self._disk, device
            )
            await self._list(device)
            if device.observed == "writeable":
                await self._lanes.run(
                    device.devid, "check", write_usage, self._disk, device
                )

    async def _list(self, device: Device) -> None:
        """Find out which is the highest fid on the device."""
        now = self._clock.seconds()
        last, came = device.searched_at, bool(device.trouble)
        anew = came or last is None or now - last >= SEARCH_SECONDS
        if anew:
            device.searched_at = now
        # What is stored meanwhile may be found, or not.
        device.listed_fid, device.stored_fid = device.highest_fid, 0
        device.listed_fid = await self._lanes.run(
            device.devid,
            "check",
            look_for_highest,
            self._disk,
            device,
            device.listed_fid,
            anew,
        )

    def _settle(
        self,
        device: Device,
        trouble: str,
        marker: Marker | None,
        folder: FileStat | None,
        space: Space | None,
        busy_ms: int | None,
    ) -> None:
        self._folders.settle(device, trouble, marker, folder)
        if space is None:
            device.usage_text = b""
            return
        now = self._clock.seconds()
        before = self._busy_ms.get(device.devid)
        device.utilization = None
        if busy_ms is not None:
            if before is not None and now > before[0]:
                share = (busy_ms - before[1]) / (1000 * (now - before[0]))
                device.utilization = min(100.0, max(0.0, 100 * share))
            self._busy_ms[device.devid] = (now, busy_ms)
        device.space = space
        device.usage_text = usage_text(
            device, space, self._port(), int(self._wall_seconds())
        )

    async def _test(self, device: Device) -> None:
        now = self._clock.seconds()
        device.tested_at = now
        if device.testing_since is not None:
            if now - device.testing_since > CHECK_DEADLINE_SECONDS:
                self._refuse(device, "a test write does not end")
            return
        device.testing_since = now
        try:
            reason, broken, full = await self._lanes.run(
                device.devid, "write", try_writing, self._disk, device, self._fsync
            )
        finally:
            device.testing_since = None
        self._refuse(device, reason)
        device.full = full
        device.failed_tests = device.failed_tests + 1 if broken else 0
        lasting = device.failed_tests >= FAILED_TESTS
        device.unwritable = reason if lasting else ""

    def _refuse(self, device: Device, reason: str) -> None:
        if reason and reason != device.refusal:
            self._log.warn(
                "dev{devid} takes no writes: {reason}",
                devid=device.devid,
                reason=reason,
            )
        elif device.refusal and not reason:
            self._log.info("dev{devid} takes writes", devid=device.devid)
        device.refusal = reason

    def _inspect(
        self, device: Device
    ) -> tuple[str, Marker | None, FileStat | None, Space | None, int | None]:
        trouble, marker, folder = self._folders.inspect(device)
        if trouble or folder is None:
            return trouble, marker, folder, None, None
        try:
            space = self._disk.space(device.path)
        except OSError as error:
            return str(fault(error, "its room is not known")), marker, None, None, None
        return trouble, marker, folder, space, busy_ms(folder.device)


def usage_text(device: Device, space: Space, port: int, now: int) -> bytes:
    """The content of ``devN/usage``; `now` in Unix seconds."""
    total, used = max(1, space.kib_total), max(1, space.kib_used)
    available = max(0, total - used)
    name = _device_name(device.identity[0]) or device.path
    values = {
        "available": available,
        "device": name,
        "disk": device.path,
        "kobold": 1,
        "sidechannel": port,
        "time": now,
        "total": total,
        "use": f"{-(-100 * used // total)}%",
        "used": used,
    }
    lines = [f"{key}: {values[key]}\n" for key in sorted(values)]
    return "".join(lines).encode("utf-8", "surrogateescape")


def write_usage(disk: IDisk, device: Device) -> None:
    """Write ``devN/usage`` for those who read it from the disk. Blocks; what the
    disk says to it is for the self-test to find."""
    new = f"{device.path}/{TEMPORARY_FOLDER}/{temporary_name()}"
    try:
        fd = disk.create(new)
        try:
            disk.write(fd, device.usage_text)
        finally:
            disk.close(fd)
        disk.rename(new, f"{device.path}/usage")
    except OSError:
        try:
            disk.remove(new)
        except OSError:
            return


def count_quarantined(disk: IDisk, device: Device) -> int:
    """How many files its quarantine has. Blocks."""
    try:
        return len(disk.names(f"{device.path}/{QUARANTINE_FOLDER}"))
    except OSError:
        return 0  # there is none, or the disk does not say; others find that out


def try_writing(disk: IDisk, device: Device, fsync: bool) -> tuple[str, bool, bool]:
    """Write, flush and remove a small file; why that failed, or the empty text, and
    whether the disk said that it is broken, or that it is full. Blocks."""
    temporary = TemporaryFile(disk, device.path)
    try:
        temporary.open()
        temporary.write([b"a test of KoboldFS\n"])
        if fsync:
            disk.sync([temporary.fd])
    except OSError as error:
        broken, full = error.errno in BROKEN_ERRNOS, error.errno in FULL_ERRNOS
        return str(fault(error, "a test write failed")), broken, full
    except KoboldError as error:
        return error.message, False, False
    finally:
        temporary.discard()
    return "", False, False


def _diskstats_row(device: int) -> list[str] | None:
    wanted = f"{device >> 8 & 0xFFF} {device & 0xFF | device >> 12 & 0xFFF00}".split()
    try:
        with open(DISKSTATS, encoding="ascii") as file:
            for line in file:
                row = line.split()
                if row[:2] == wanted and len(row) >= 13:
                    return row
    except (OSError, UnicodeDecodeError):
        pass
    return None


def busy_ms(device: int) -> int | None:
    """How long the disk of a device number has been busy, in milliseconds since the
    machine started; None where the system does not say."""
    row = _diskstats_row(device)
    return int(row[12]) if row is not None and row[12].isdigit() else None


def _device_name(device: int) -> str | None:
    row = _diskstats_row(device)
    return None if row is None else f"/dev/{row[2]}"
