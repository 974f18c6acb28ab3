"""The copies on this node's devices: what both doors, HTTP and side channel, ask for.

Every method says who is at fault: `NoDevice`, `DeviceUnavailable` and `ReadOnly` before
the disk is touched, `DiskFull` and `DiskFault` when it fails. A copy is said to be
missing only when the device's own folder was looked into.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from koboldfs.errors import CopyMissing, DeviceUnavailable, DiskFull, NoDevice
from koboldfs.model.entities import MD5, OWN_HASHTYPE, Checksum, CopyStat
from koboldfs.slots import Slots
from koboldfs.storage.batch import FlushFailed, SmallFile, SmallWrites
from koboldfs.storage.device import Device
from koboldfs.storage.devices import DeviceFolders
from koboldfs.storage.digests import Checksums, ReadFailed, digest_file
from koboldfs.storage.disk import FileStat, IDisk, fault
from koboldfs.storage.lanes import ILanes, LaneName
from koboldfs.storage.move import move_file
from koboldfs.storage.part import PartUpload
from koboldfs.storage.passage import FileEnded, Passage
from koboldfs.storage.temporary import Expected, Stored
from koboldfs.storage.upload import SMALL_BYTES, Upload
from koboldfs.wire.http import Target, copy_target

#: Files up to this size are read whole, in the step that opens them (bytes).
INLINE_BYTES = 64 * 1024
#: A disk that has not answered a small question for this long hangs (seconds).
ANSWER_SECONDS = 30.0
#: The end of an upload waits for a flush of `upload.FLUSH_EVERY_BYTES`, maybe behind
#: those of others (seconds).
FINISH_SECONDS = 120.0
_T = TypeVar("_T")
#: What says nothing about the disk's word: it is full, or this process (or machine) has
#: no descriptor left to open a folder with that was to be flushed.
_INNOCENT = (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE)


@frozen
class Opened:
    """A file to be read: all of its bytes, or a descriptor that its owner closes."""

    stat: FileStat
    data: bytes | None
    fd: int = -1


def _silence(devid: int) -> Callable[[Any, float], Any]:
    """What comes of an operation that was given up after some seconds."""

    def give_up(outcome: Any, seconds: float) -> Any:
        if isinstance(outcome, Failure) and outcome.check(CancelledError):
            return Failure(DeviceUnavailable(f"dev{devid} does not answer"))
        return outcome

    return give_up


class Copies:
    """The files of this node."""

    def __init__(
        self,
        folders: DeviceFolders,
        disk: IDisk,
        lanes: ILanes,
        clock: IReactorTime,
        *,
        fsync: bool,
    ) -> None:
        self.folders = folders
        self._clock = clock
        self.disk = disk
        self.lanes = lanes
        self.fsync = fsync
        self.checksums = Checksums()
        self._small: dict[Device, SmallWrites] = {}
        self._part_turns: dict[Device, Slots] = {}

    # --- writing

    def upload(
        self, target: Target, expected: Expected, hashtypes: Iterable[int] = ()
    ) -> Upload:
        """Begin to store a file. Raises `NoDevice`, `DeviceUnavailable`, `ReadOnly`,
        or `DiskFull` when it is announced larger than the room there is."""
        device = self._with_room(target.devid, expected.size)
        return Upload(
            self.disk,
            self.lanes,
            self._small_writes(device),
            device,
            target.relative,
            expected,
            frozenset({*hashtypes, *expected.hashtypes()}),
            self.fsync,
        )

    def store(
        self, target: Target, data: bytes, expected: Expected
    ) -> Deferred[Stored]:
        """Store a file of at most `SMALL_BYTES`. Raises what `upload` does, or
        `TooBusy`; fires, or fails, as `finish` does."""
        device = self._with_room(target.devid, expected.size)
        chunks = (data,) if data else ()
        file = SmallFile(target.relative, chunks, expected)
        storing = self._small_writes(device).add(file)
        storing.addCallbacks(
            self._stored, self._not_stored, (target,), errbackArgs=(device,)
        )
        return storing

    def _stored(self, stored: Stored, target: Target) -> Stored:
        if target.kind == "copy":
            self.checksums.learn(target.devid, target.fid, stored)
            self.folders.stored(target.devid, target.fid)
        return stored

    def _not_stored(self, failure: Failure, device: Device) -> Failure:
        if isinstance(failure.value, OSError):
            return Failure(self.failed_write(device, failure.value))
        return failure

    def _small_writes(self, device: Device) -> SmallWrites:
        small = self._small.get(device)
        if small is None:
            small = SmallWrites(
                self.lanes, self.disk, device, self._clock, fsync=self.fsync
            )
            self._small[device] = small
        return small

    def part(self, target: Target, start: int, expected: Expected) -> PartUpload:
        """Begin to store a part of a file, from byte `start` on; raises like
        `upload`."""
        device = self._with_room(target.devid, expected.size)
        return PartUpload(
            self.disk,
            self.lanes,
            None,
            device,
            target.relative,
            expected,
            frozenset({MD5}),
            self.fsync,
            start=start,
            turn=self._part_turns.setdefault(device, Slots(1)),
        )

    def _with_room(self, devid: int, size: int | None) -> Device:
        device = self.folders.writing(devid)
        space = device.space
        if size is not None and size > SMALL_BYTES and space:
            if size > (space.kib_total - space.kib_used) * 1024:
                raise DiskFull("the file is larger than the room on the device")
        return device

    async def finish(
        self, upload: Upload, target: Target, expected: Expected | None = None
    ) -> Stored:
        """The end of an upload: see `IUpload.finish`. Raises `CopyCorrupt` when the
        bytes are not what was announced, or what the disk said, as our error."""
        try:
            device = self.folders.writing(target.devid)
        except Exception:
            upload.abort()
            raise
        try:
            finishing = upload.finish(expected)
            stored = await self._in_time(finishing, FINISH_SECONDS, device)
        except OSError as error:
            raise self.failed_write(device, error) from error
        except DeviceUnavailable:
            upload.abort()
            raise
        return self._stored(stored, target)

    def failed_write(self, device: Device, error: OSError) -> Exception:
        """Our error for a write that failed. A device whose flush failed, or that
        could not write at all, takes no more writes: nobody knows what it dropped."""
        if isinstance(error, FlushFailed) and error.errno not in _INNOCENT:
            self.folders.distrust(device, f"a flush failed ({error.strerror})")
        elif error.errno == errno.EIO:
            self.folders.distrust(device, f"a write failed ({error.strerror})")
        return fault(error, f"dev{device.devid} did not store the file")

    async def remove(self, target: Target) -> bool:
        """Remove a file; False if it was not there."""
        device = self.folders.removing(target.devid)
        if target.kind == "copy":
            self.checksums.forget(target.devid, target.fid)
        found = await self._ask(device, "write", self._remove, device, target.relative)
        return bool(found)

    async def move(self, source: Target, target: Target, *, replace: bool) -> bool:
        """Give a file another name on its device, durably; returns whether it
        replaced another file. Raises `CopyMissing` when it is not there, `NameTaken`
        when it would replace one and is not to."""
        device = self.folders.writing(source.devid)
        for one in (source, target):
            if one.kind == "copy":
                self.checksums.forget(one.devid, one.fid)
        moving = self.lanes.run(
            device.devid,
            "write",
            move_file,
            self.disk,
            device.path,
            (source.relative, target.relative),
            replace,
            self.fsync,
        )
        try:
            return bool(await self._in_time(moving, FINISH_SECONDS, device))
        except OSError as error:
            raise self.failed_write(device, error) from error
        except CopyMissing:
            await self._ask(device, "read", self._missing, device)
            raise

    async def make_folder(self, target: Target) -> None:
        """A folder is asked for: nothing to do, uploads make what they need. Raises
        what an upload would."""
        self.folders.writing(target.devid)

    # --- reading

    def failed_read(self, target: Target, error: OSError) -> None:
        """The disk failed to read a file that it has: see
        `DeviceFolders.read_failed`."""
        with suppress(DeviceUnavailable, NoDevice):
            device = self.folders.reading(target.devid)
            self.folders.read_failed(device, target.relative, error)

    def cached(self, target: Target, limit: int) -> Opened | None:
        """What needs no disk: see `IDiskCache.read_cached`. Raises like `open`."""
        device = self.folders.reading(target.devid)
        found = self.disk.read_cached(f"{device.path}/{target.relative}", limit)
        return None if found is None else Opened(*found)

    async def open(
        self, target: Target, *, inline: int = INLINE_BYTES, cached: bool = True
    ) -> Opened | None:
        """Open a file; None if it is not there. The bytes of one that is at most
        `inline` (more than 0) long come with it. Not `cached`: that was tried."""
        opened = self.cached(target, inline) if cached else None
        if opened is not None:
            return opened
        device = self.folders.reading(target.devid)
        opening = self._opening(device, target.relative, inline)
        try:
            return await self._in_time(opening, ANSWER_SECONDS, device)
        except OSError as error:
            self.folders.read_failed(device, target.relative, error)
            raise fault(error, f"dev{device.devid}") from error

    def _opening(
        self, device: Device, relative: str, inline: int
    ) -> Deferred[Opened | None]:
        """Open a file in a thread. One that is opened when that was given up already
        is closed: nobody else would."""
        opening: Deferred[Opened | None] = Deferred()

        def deliver(outcome: Any) -> None:
            if not opening.called:
                opening.callback(outcome)
            elif isinstance(outcome, Opened) and outcome.fd >= 0:
                self.close(device.devid, outcome.fd)

        running = self.lanes.run(
            device.devid, "read", self._open, device, relative, inline
        )
        running.addBoth(deliver)
        return opening

    async def stat(self, target: Target, *, cached: bool = True) -> FileStat | None:
        """What a file is; None if it is not there. Not `cached`: that was tried."""
        opened = self.cached(target, 0) if cached else None
        if opened is not None:
            return opened.stat
        device = self.folders.reading(target.devid)
        found: FileStat | None = await self._ask(
            device, "read", self._stat, device, target.relative
        )
        return found

    async def copy_stat(self, devid: int, fid: int) -> CopyStat | None:
        """Size of a copy, with our checksum if it is known without reading."""
        found = await self.stat(copy_target(devid, fid))
        if found is None:
            return None
        return CopyStat(found.size, self.checksums.recall(devid, fid, found))

    async def copy_stats(
        self, devid: int, fids: Sequence[int]
    ) -> list[CopyStat | None]:
        """As `copy_stat`, for many copies of one device in one go."""
        device = self.folders.reading(devid)
        targets = [copy_target(devid, fid) for fid in fids]
        found: list[FileStat | None] = await self._ask(
            device, "read", self._stats, device, [one.relative for one in targets]
        )
        return [
            CopyStat(one.size, self.checksums.recall(devid, fid, one)) if one else None
            for fid, one in zip(fids, found, strict=True)
        ]

    async def digest(
        self,
        target: Target,
        hashtype: int,
        *,
        background: bool,
        seconds: float | None = None,
    ) -> Checksum | None:
        """Read a file's bytes now and digest them; None if it is not there. That
        takes as long as the file is, or raises `DeviceUnavailable` after `seconds`. In
        the `background` the bytes are those of the disk, not of the system's memory."""
        device = self.folders.reading(target.devid)
        lane: LaneName = "background" if background else "digest"
        path = target.relative
        try:
            found = await self._ask(
                device,
                lane,
                self._digest,
                device,
                path,
                hashtype,
                background,
                seconds=seconds,
            )
        except ReadFailed as error:
            if isinstance(error.__cause__, OSError):
                self.failed_read(target, error.__cause__)
            raise
        if found is None:
            return None
        checksum, stat = found
        if hashtype == OWN_HASHTYPE and target.kind == "copy":
            stored = Stored(stat.size, checksum, stat.mtime_ns, stat.inode)
            self.checksums.learn(target.devid, target.fid, stored)
        return checksum  # type: ignore[no-any-return]

    def read(self, devid: int, fd: int, length: int, offset: int) -> Deferred[bytes]:
        """Up to `length` bytes of an open file; fails with `OSError`, or
        `DeviceUnavailable` when the disk does not answer."""
        reading = self.lanes.run(devid, "read", self.disk.read, fd, length, offset)
        return reading.addTimeout(ANSWER_SECONDS, self._clock, _silence(devid))

    def send(
        self, devid: int, passage: Passage, length: int, offset: int
    ) -> Deferred[int]:
        """Up to `length` bytes of a file to its client; fails as `read` does."""
        sending = self.lanes.run(devid, "read", passage.send, length, offset)
        return sending.addTimeout(ANSWER_SECONDS, self._clock, _silence(devid))

    def close(self, devid: int, fd: int) -> None:
        """Close an open file. Whether that works concerns nobody."""
        closing = self.lanes.run(devid, "read", self.disk.close, fd)
        closing.addErrback(lambda failure: failure.trap(OSError) and None)

    def stop(self) -> None:
        """The node stops. What is being stored is stored, or thrown away."""
        for small in self._small.values():
            small.stop()

    async def _ask(
        self,
        device: Device,
        lane: LaneName,
        work: Any,
        *args: Any,
        seconds: float | None = ANSWER_SECONDS,
    ) -> Any:
        running = self.lanes.run(device.devid, lane, work, *args)
        try:
            if seconds is None:
                return await running
            return await self._in_time(running, seconds, device)
        except OSError as error:
            raise fault(error, f"dev{device.devid}") from error

    async def _in_time(
        self, running: Deferred[_T], seconds: float, device: Device
    ) -> _T:
        """The result, or `DeviceUnavailable` when it takes too long; what was begun
        goes on all the same, because nothing ends a thread that a disk holds."""
        if not running.called:
            running.addTimeout(seconds, self._clock, _silence(device.devid))
        return await running

    # --- in threads

    def _missing(self, device: Device) -> None:
        if not self.folders.still_there(device):
            raise DeviceUnavailable(f"dev{device.devid} is not mounted any more")

    def _open(self, device: Device, relative: str, inline: int) -> Opened | None:
        try:
            fd, found = self.disk.open(f"{device.path}/{relative}")
        except FileNotFoundError:
            self._missing(device)
            return None
        if found.size > inline:
            return Opened(found, None, fd)
        try:
            return Opened(found, self._whole(fd, found.size))
        finally:
            self.disk.close(fd)

    def _whole(self, fd: int, size: int) -> bytes:
        """All bytes of a short file. A read ends early where the disk fails or the
        file was cut; with fewer bytes than were announced, those of the next answer
        would be taken for the rest."""
        data = self.disk.read(fd, size, 0)
        while len(data) < size:
            more = self.disk.read(fd, size - len(data), len(data))
            if not more:
                raise FileEnded("the file ended before its length")
            data += more
        return data

    def _stat(self, device: Device, relative: str) -> FileStat | None:
        try:
            found = self.disk.stat(f"{device.path}/{relative}")
            if found.is_file:
                return found
        except FileNotFoundError:
            pass
        self._missing(device)
        return None

    def _stats(self, device: Device, relatives: Iterable[str]) -> list[FileStat | None]:
        return [self._stat(device, relative) for relative in relatives]

    def _remove(self, device: Device, relative: str) -> bool:
        try:
            self.disk.remove(f"{device.path}/{relative}")
        except FileNotFoundError:
            self._missing(device)
            return False
        return True

    def _digest(
        self, device: Device, relative: str, hashtype: int, cold: bool
    ) -> tuple[Checksum, FileStat] | None:
        path = f"{device.path}/{relative}"
        try:
            return digest_file(self.disk, path, hashtype, cold=cold)
        except FileNotFoundError:
            self._missing(device)
            return None
