"""The disk port: the file operations that a storage node uses, and nothing else.

All of them block, so they run in the threads of a device's lanes. They raise `OSError`
as the operating system gave it; `fault` is the one place where that becomes one of our
errors. Paths are absolute ``str``.

What a device's folder holds beside the files:

    devN/.koboldfs-device        the `Marker`: which device of which cluster this is
    devN/.koboldfs/tmp/          files being written; on the same file system
    devN/usage                   as MogileFS's storage daemon keeps it
    devN/test-write/             what a tracker's monitor writes
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import re
import stat as modes
from collections.abc import Sequence
from contextlib import suppress
from uuid import uuid4

from attrs import asdict, frozen
from zope.interface import Interface, implementer

from koboldfs.errors import DeviceUnavailable, DiskFault, DiskFull
from koboldfs.storage.cached import CachedReader

MARKER_NAME = ".koboldfs-device"
OWN_FOLDER = ".koboldfs"
TEMPORARY_FOLDER = ".koboldfs/tmp"
QUARANTINE_FOLDER = ".koboldfs/quarantine"
MARKER_VERSION = 1
#: A marker or a memory file is never longer (bytes).
MAX_JSON_BYTES = 1024 * 1024
#: Before this kernel `syncfs` did not report that a write had failed.
SYNCFS_KERNEL = (5, 8)


class ReadOnly(DeviceUnavailable):
    """The device is there, and takes no writes."""


@frozen
class FileStat:
    """What the file system says of a file or folder. Times in nanoseconds: of the last
    change of its bytes, which whoever copies a file may set to what it was, and of the
    last change of any kind, its name among them, which only the system sets."""

    size: int
    mtime_ns: int
    inode: int
    device: int
    is_file: bool
    ctime_ns: int = 0

    @property
    def came_ns(self) -> int:
        """Not before this the file was put in its place, as it is."""
        return max(self.mtime_ns, self.ctime_ns)


@frozen
class Space:
    """Room on a file system, in KiB; `total` leaves out what is reserved for root."""

    kib_total: int
    kib_used: int


class IDiskFiles(Interface):
    """Files, by path and by descriptor. Symbolic links are never followed at the
    end of a path."""

    def create(path: str) -> int:
        """A new empty file to write to; raises `FileExistsError`."""

    def open(path: str) -> tuple[int, FileStat]:
        """An existing regular file to read; raises `FileNotFoundError` also for
        what is no regular file."""

    def read(fd: int, length: int, offset: int) -> bytes:
        """Up to `length` bytes at `offset`; empty at the end of the file."""

    def write(fd: int, data: bytes) -> None:
        """Append all of `data`."""

    def stat_open(fd: int) -> FileStat:
        """What an open file is."""

    def close(fd: int) -> None:
        """Give the descriptor back."""


class IDiskNames(Interface):
    """Names in folders."""

    def stat(path: str) -> FileStat:
        """What a file is; raises `FileNotFoundError`."""

    def rename(old: str, new: str) -> None:
        """Give a file another name, replacing what had it, in one step."""

    def remove(path: str) -> None:
        """Remove a file."""

    def names(folder: str) -> list[str]:
        """The names in a folder, in no order."""

    def make_folder(path: str) -> None:
        """A new folder; raises `FileExistsError`."""

    def remove_folder(path: str) -> None:
        """Remove an empty folder."""


class IDiskState(Interface):
    """Durability and room."""

    def sync(fds: Sequence[int], *, everything: bool = False) -> bool:
        """Put all that was written to these files on stable storage; with
        `everything`, if that can be done in one go, also all that was done on their
        file system before, names included. Returns whether it was. After an error
        nothing is known of any of it."""

    def begin_sync(fd: int, offset: int, length: int) -> None:
        """Have the system begin to write a part of a file to the disk, without waiting
        for it; a promise of nothing, which raises nothing."""

    def forget(fd: int, offset: int, length: int) -> None:
        """Have the system keep in memory no longer what was flushed of a part of a
        file; raises nothing."""

    def sync_folder(path: str) -> None:
        """Put the names in a folder on stable storage."""

    def sync_all(path: str) -> None:
        """Put everything on the file system of a folder on stable storage, whoever
        wrote it; names included."""

    def lock_folder(path: str, *, wait: bool = True) -> int | None:
        """Have a folder for oneself, among all processes of the machine that ask so,
        until the descriptor is closed; None if somebody else has it and that is not to
        be waited for."""

    def folder(path: str) -> FileStat:
        """What a folder is, symbolic links followed; raises `FileNotFoundError`
        also for what is no folder."""

    def space(path: str) -> Space:
        """The room on the file system of a path."""


class IDiskCache(Interface):
    """What needs no disk. The one operation that never blocks; for the reactor's
    thread only."""

    def read_cached(path: str, limit: int) -> tuple[FileStat, bytes] | None:
        """A regular file of at most `limit` bytes with all of its bytes, or, for a
        `limit` of 0, the stat of one of any size; None if only `IDiskFiles` can
        tell (which includes that it is missing)."""


class IDisk(IDiskFiles, IDiskNames, IDiskState, IDiskCache):
    """Everything a storage node asks of the operating system's files."""


@implementer(IDisk)
class LocalDisk:
    """The file systems of this machine."""

    def __init__(self) -> None:
        self._syncfs = _syncfs_function()
        self._cached = CachedReader()

    def create(self, path: str) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        return os.open(path, flags, 0o644)

    def open(self, path: str) -> tuple[int, FileStat]:
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            fd = os.open(path, flags)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENXIO, errno.ENOTDIR):
                raise FileNotFoundError(errno.ENOENT, "no regular file") from error
            raise
        found = self.stat_open(fd)
        if not found.is_file:
            os.close(fd)
            raise FileNotFoundError(errno.ENOENT, "no regular file")
        return fd, found

    def read(self, fd: int, length: int, offset: int) -> bytes:
        return os.pread(fd, length, offset)

    def write(self, fd: int, data: bytes) -> None:
        written = os.write(fd, data)
        if written < len(data):
            rest = memoryview(data)[written:]
            while rest:
                rest = rest[os.write(fd, rest) :]

    def stat_open(self, fd: int) -> FileStat:
        return _file_stat(os.fstat(fd))

    def close(self, fd: int) -> None:
        os.close(fd)

    def stat(self, path: str) -> FileStat:
        return _file_stat(os.stat(path, follow_symlinks=False))

    def rename(self, old: str, new: str) -> None:
        os.rename(old, new)

    def remove(self, path: str) -> None:
        os.unlink(path)

    def names(self, folder: str) -> list[str]:
        return os.listdir(folder)

    def make_folder(self, path: str) -> None:
        os.mkdir(path, 0o755)

    def remove_folder(self, path: str) -> None:
        os.rmdir(path)

    def sync(self, fds: Sequence[int], *, everything: bool = False) -> bool:
        if (everything or len(fds) > 1) and self._syncfs is not None:
            # One flush of the file system serves all files that wait; a flush for
            # each would make the journal commit that many times.
            if self._syncfs(fds[0]) != 0:
                number = ctypes.get_errno() or errno.EIO
                raise OSError(number, os.strerror(number))
            return True
        for fd in fds:
            os.fsync(fd)
        return False

    def begin_sync(self, fd: int, offset: int, length: int) -> None:
        # Linux begins to write what is not written yet, and forgets the rest, which is
        # nothing as long as the range was written just now.
        self.forget(fd, offset, length)

    def forget(self, fd: int, offset: int, length: int) -> None:
        with suppress(OSError, AttributeError):
            os.posix_fadvise(fd, offset, length, os.POSIX_FADV_DONTNEED)

    def sync_folder(self, path: str) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def sync_all(self, path: str) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if not self.sync([fd], everything=True):
                os.sync()
        finally:
            os.close(fd)

    def lock_folder(self, path: str, *, wait: bool = True) -> int | None:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(fd)
            return None
        except BaseException:
            os.close(fd)
            raise
        return fd

    def folder(self, path: str) -> FileStat:
        found = os.stat(path)
        if not modes.S_ISDIR(found.st_mode):
            raise FileNotFoundError(errno.ENOENT, "no folder")
        return _file_stat(found)

    def space(self, path: str) -> Space:
        found = os.statvfs(path)
        used = (found.f_blocks - found.f_bfree) * found.f_frsize // 1024
        available = found.f_bavail * found.f_frsize // 1024
        return Space(kib_total=used + available, kib_used=used)

    def read_cached(self, path: str, limit: int) -> tuple[FileStat, bytes] | None:
        found = self._cached.read(path, limit)
        return None if found is None else (_file_stat(found[0]), found[1])


def _file_stat(found: os.stat_result) -> FileStat:
    return FileStat(
        found.st_size,
        found.st_mtime_ns,
        found.st_ino,
        found.st_dev,
        modes.S_ISREG(found.st_mode),
        found.st_ctime_ns,
    )


def _syncfs_function() -> ctypes._NamedFuncPointer | None:
    match = re.match(r"(\d+)\.(\d+)", os.uname().release)
    if os.uname().sysname != "Linux" or match is None:
        return None
    if (int(match[1]), int(match[2])) < SYNCFS_KERNEL:
        return None
    return getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)


def fault(error: OSError, doing: str) -> DiskFault:
    """Our error for what the operating system said; the text names no path."""
    text = f"{doing}: {error.strerror or 'I/O error'}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(text)
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return ReadOnly(text)
    return DiskFault(text)


def write_durably(disk: IDisk, path: str, data: bytes) -> None:
    """Replace a small file as a whole, so that a crash leaves the old or the new."""
    new = f"{path}.{uuid4().hex}.new"
    fd = disk.create(new)
    try:
        try:
            disk.write(fd, data)
            disk.sync([fd])
        finally:
            disk.close(fd)
        disk.rename(new, path)
    except OSError:
        _remove_quietly(disk, new)
        raise
    disk.sync_folder(os.path.dirname(path))


def read_small(disk: IDisk, path: str) -> bytes | None:
    """The bytes of a small file of ours, or None if it is not there."""
    try:
        fd, _ = disk.open(path)
    except FileNotFoundError:
        return None
    try:
        return disk.read(fd, MAX_JSON_BYTES, 0)
    finally:
        disk.close(fd)


def _remove_quietly(disk: IDisk, path: str) -> None:
    try:
        disk.remove(path)
    except OSError:
        pass


@frozen
class Marker:
    """Which device of which cluster a folder is; it stays with the disk.

    `uuid` is made once and tells a disk from another one that took its number.
    """

    cluster: str
    host: str
    devid: int
    uuid: str
    version: int = MARKER_VERSION

    @classmethod
    def new(cls, cluster: str, host: str, devid: int) -> Marker:
        """The marker of a device that never was one before."""
        return cls(cluster, host, devid, uuid4().hex)

    @classmethod
    def parse(cls, data: bytes) -> Marker:
        """The marker in these bytes; one that says nothing sensible belongs to
        nobody (`FOREIGN`), so that it is neither served nor overwritten."""
        try:
            values = json.loads(data)
            found = cls(
                str(values["cluster"]),
                str(values["host"]),
                int(values["devid"]),
                str(values["uuid"]),
                int(values["version"]),
            )
        except (ValueError, KeyError, TypeError):
            return FOREIGN
        return found if found.uuid and found.devid > 0 else FOREIGN

    def data(self) -> bytes:
        """The bytes that `parse` reads."""
        return json.dumps(asdict(self), indent=1, sort_keys=True).encode() + b"\n"


FOREIGN = Marker(cluster="", host="", devid=0, uuid="", version=0)


def read_marker(disk: IDisk, folder: str) -> Marker | None:
    """The marker of a device's folder, or None if there is none."""
    data = read_small(disk, f"{folder}/{MARKER_NAME}")
    return None if data is None else Marker.parse(data)
