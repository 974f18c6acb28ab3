"""What a scrub asks of a node's disks: many digests at once, lists, the quarantine.

    devN/.koboldfs/quarantine/<reason>-<fid>-<inode>

holds what was taken out of use and is kept for people to look at: nothing serves it,
and nothing removes it. No name in it is ever used twice.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from posixpath import dirname
from typing import TypeVar

from twisted.internet.defer import Deferred

from koboldfs.errors import DeviceUnavailable
from koboldfs.model.entities import Checksum
from koboldfs.model.fid import MAX_FID, relative_path
from koboldfs.model.scrub import (
    FULL,
    GOOD,
    LAST_FOLDER,
    MISSING,
    MOST_QUARANTINED,
    MOVED,
    UNREADABLE,
    YOUNG,
    Digest,
    Listing,
)
from koboldfs.storage.batch import flush_failed
from koboldfs.storage.copies import Copies
from koboldfs.storage.device import Device
from koboldfs.storage.digests import ReadFailed, digest_file
from koboldfs.storage.disk import QUARANTINE_FOLDER, FileStat, IDisk, fault
from koboldfs.storage.numbers import highest_fid
from koboldfs.wire.http import copy_target

_T = TypeVar("_T")

#: One request reads no further when it has read so much (bytes), or for so long
#: (seconds); the file that it is reading then is read to its end. Others wait behind it
#: in the device's thread for work that nobody waits for.
MOST_DIGEST_BYTES = 64 * 1024 * 1024
MOST_DIGEST_SECONDS = 5.0
#: Fids of one folder in one answer, and folders looked into for one.
MOST_LISTED = 1000
MOST_FOLDERS = 200

#: What a disk, or a file system that has checksums, says of bytes that are gone.
_UNREADABLE = (errno.EIO, errno.EUCLEAN, errno.EBADMSG, errno.ENODATA)
#: What it says of a single file that this process cannot read: the others it can.
_REFUSED = (errno.EACCES, errno.EPERM, errno.ELOOP, errno.EISDIR, errno.ENXIO)
_DIGIT = re.compile("[0-9]", re.ASCII)
_DIGITS = re.compile("[0-9]{3}", re.ASCII)
_FILE = re.compile(r"([0-9]{10,19})\.fid", re.ASCII)


class Scrubbing:
    """The answers. `seconds` is a clock that only goes on, `unix_time` that of files.
    Both are called in threads."""

    def __init__(
        self,
        copies: Copies,
        seconds: Callable[[], float],
        unix_time: Callable[[], float],
    ) -> None:
        self._copies = copies
        self._seconds = seconds
        self._unix_time = unix_time

    async def digests(
        self, devid: int, fids: Sequence[int], hashtype: int
    ) -> list[Digest]:
        """Read copies from the disk now; of as many, from the first on, as the limits
        of this room allow, and of one at least."""
        device = self._copies.folders.reading(devid)
        found, failures = await self._run(
            device, self._digest_some, device, fids, hashtype
        )
        for fid, error in failures:
            # Here, where the thread's answer is: what is known of a device is the
            # reactor's.
            self._copies.failed_read(copy_target(devid, fid), error)
        return found

    async def set_aside(
        self,
        devid: int,
        fid: int,
        reason: str,
        unless: Checksum | None,
        older_seconds: int,
        most: int = MOST_QUARANTINED,
    ) -> str:
        """Move a copy into the quarantine, durably; not one that reads as `unless`, nor
        one that came less than `older_seconds` ago, nor when there are `most` files in
        it. Returns a word of `model.scrub`. Raises `ReadOnly`, `DeviceUnavailable`,
        `DiskFault`."""
        device = self._copies.folders.removing(devid)
        self._copies.checksums.forget(devid, fid)
        work = (device, fid, reason, unless, older_seconds, most)
        return await self._run(device, self._set_aside, *work, writes=True)

    async def list_fids(self, devid: int, folder: int, after: int) -> Listing:
        """The files of the first folder that has some, from `folder` on (there: those
        above `after`). Names that are no copy's are passed over."""
        device = self._copies.folders.reading(devid)
        disk = self._copies.disk
        return await self._run(device, list_folder, disk, device.path, folder, after)

    async def highest_fid(self, devid: int, below: int) -> int:
        """The highest fid of a file on the device that is below `below`; 0 if there is
        none."""
        device = self._copies.folders.reading(devid)
        disk, high = self._copies.disk, below - 1
        return await self._run(device, highest_fid, disk, device.path, 0, high)

    async def _run(
        self,
        device: Device,
        work: Callable[..., _T],
        *args: object,
        writes: bool = False,
    ) -> _T:
        try:
            running: Deferred[_T] = self._copies.lanes.run(
                device.devid, "background", work, *args
            )
            return await running
        except OSError as error:
            if writes:
                raise self._copies.failed_write(device, error) from error
            raise fault(error, f"dev{device.devid}") from error

    # --- in threads

    def _digest_some(
        self, device: Device, fids: Sequence[int], hashtype: int
    ) -> tuple[list[Digest], list[tuple[int, OSError]]]:
        """The digests, and what the disk said of those files that it did not read."""
        disk, found, count = self._copies.disk, list[Digest](), 0
        failures: list[tuple[int, OSError]] = []
        until = self._seconds() + MOST_DIGEST_SECONDS
        for fid in fids:
            try:
                path = f"{device.path}/{relative_path(fid)}"
                checksum, stat = digest_file(disk, path, hashtype, cold=True)
            except FileNotFoundError:
                found.append(None)
            except (OSError, ReadFailed) as error:
                # Nothing is moved because of a refusal, but the pass has to go on.
                cause = _disks_fault(error, (*_UNREADABLE, *_REFUSED))
                if cause is None:
                    raise
                found.append(UNREADABLE)
                if cause.errno in _UNREADABLE:
                    failures.append((fid, cause))
            else:
                found.append(checksum)
                count += stat.size
            if count >= MOST_DIGEST_BYTES or self._seconds() >= until:
                break
        if any(one is None for one in found):
            self._must_be_there(device)
        return found, failures

    def _must_be_there(self, device: Device) -> None:
        if not self._copies.folders.still_there(device):
            raise DeviceUnavailable(f"dev{device.devid} is not mounted any more")

    def _set_aside(
        self,
        device: Device,
        fid: int,
        reason: str,
        unless: Checksum | None,
        older_seconds: int,
        most: int,
    ) -> str:
        disk, path = self._copies.disk, f"{device.path}/{relative_path(fid)}"
        try:
            found = disk.stat(path)
        except FileNotFoundError:
            self._must_be_there(device)
            return MISSING
        if not found.is_file:
            return MISSING
        age = self._unix_time() - found.came_ns / 1e9
        if older_seconds and age < older_seconds:
            return YOUNG
        if unless is not None and _reads_as(disk, path, unless):
            return GOOD
        name = f"{reason}-{fid:010d}-{found.inode:x}"
        return self._move(device, path, name, found, most)

    def _move(
        self, device: Device, path: str, name: str, found: FileStat, most: int
    ) -> str:
        disk, folder = self._copies.disk, f"{device.path}/{QUARANTINE_FOLDER}"
        with suppress(FileExistsError):
            disk.make_folder(folder)
        kept = set(disk.names(folder))
        if len(kept) >= most:
            return FULL
        # Two files that are there have two inodes; but one may have been copied here.
        while name in kept:
            name += "x"
        if not _same(disk.stat(path), found):
            return YOUNG  # somebody has just written it anew
        disk.rename(path, f"{folder}/{name}")
        if not _same(disk.stat(f"{folder}/{name}"), found):
            # That happened in the very moment between the two.
            try:
                disk.stat(path)
            except FileNotFoundError:
                disk.rename(f"{folder}/{name}", path)
            return YOUNG
        if self._copies.fsync:
            try:
                for one in (folder, dirname(folder), dirname(path)):
                    disk.sync_folder(one)
            except OSError as error:
                raise flush_failed(error) from error
        return MOVED


def _same(one: FileStat, other: FileStat) -> bool:
    return (one.inode, one.mtime_ns) == (other.inode, other.mtime_ns)


def _reads_as(disk: IDisk, path: str, wanted: Checksum) -> bool:
    try:
        return digest_file(disk, path, wanted.hashtype, cold=True)[0] == wanted
    except (ReadFailed, OSError) as error:
        if _disks_fault(error) is None:
            raise
        return False


def _disks_fault(
    error: BaseException, numbers: Sequence[int] = _UNREADABLE
) -> OSError | None:
    """What the disk said, when the bytes are what is wrong: not that this process has
    no descriptor left, or may not read them (None)."""
    cause = error.__cause__ if isinstance(error, ReadFailed) else error
    return cause if isinstance(cause, OSError) and cause.errno in numbers else None


def list_folder(disk: IDisk, root: str, folder: int, after: int) -> Listing:
    """See `Scrubbing.list_fids`. Blocks."""
    last = folder
    for count, number in enumerate(_folders(disk, root, folder)):
        if count >= MOST_FOLDERS:
            return Listing(number, (), False, number)
        last = number
        low = after if number == folder else 0
        fids = sorted(fid for fid in _fids(disk, root, number) if fid > low)
        if len(fids) > MOST_LISTED:
            return Listing(number, tuple(fids[:MOST_LISTED]), True, number)
        if fids:
            following = number + 1 if number < LAST_FOLDER else None
            return Listing(number, tuple(fids), False, following)
    return Listing(last, (), False, None)


def _folders(disk: IDisk, root: str, first: int) -> Iterator[int]:
    """The numbers of the folders that there are, from `first` on, ascending."""
    start = f"{first:07d}"
    for high in _names(disk, root, _DIGIT, start[0]):
        low = start[1:4] if high == start[0] else ""
        for middle in _names(disk, f"{root}/{high}", _DIGITS, low):
            low = start[4:7] if high + middle == start[:4] else ""
            for last in _names(disk, f"{root}/{high}/{middle}", _DIGITS, low):
                yield int(high + middle + last)


def _names(disk: IDisk, folder: str, form: re.Pattern[str], low: str) -> list[str]:
    try:
        names = disk.names(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(name for name in names if form.fullmatch(name) and name >= low)


def _fids(disk: IDisk, root: str, number: int) -> Iterator[int]:
    digits = f"{number:07d}"
    folder = f"{digits[0]}/{digits[1:4]}/{digits[4:7]}"
    for name in _names(disk, f"{root}/{folder}", _FILE, ""):
        fid = int(name[:-4])
        if 0 < fid <= MAX_FID and relative_path(fid) == f"{folder}/{name}":
            yield fid
