"""Disks without a disk: one in memory that forgets what was not flushed, and one that
fails when it is told to."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from copy import copy
from itertools import count
from posixpath import basename, dirname
from typing import Any

from attrs import define, field
from zope.interface import implementer

from koboldfs.storage.disk import FileStat, IDisk, Space

#: The device number of everything that was not mounted apart.
ROOT_DEVICE = 1


@define(eq=False)
class _File:
    inode: int
    data: bytearray = field(factory=bytearray)
    durable: bytes | None = None
    mtime_ns: int = 0
    ctime_ns: int = 0


@define(eq=False)
class _Folder:
    inode: int
    names: dict[str, Any] = field(factory=dict)
    durable: dict[str, Any] = field(factory=dict)


def _stat_of(file: _File) -> FileStat:
    times = file.mtime_ns, max(file.mtime_ns, file.ctime_ns)
    size, inode = len(file.data), file.inode
    return FileStat(size, times[0], inode, ROOT_DEVICE, True, times[1])


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


@implementer(IDisk)
class MemoryDisk:
    """A file system in memory. `crash` loses what was not flushed: bytes of files that
    were not, and names in folders that were not. `calls` lists what was called."""

    def __init__(self) -> None:
        self._inodes = count(2)
        self._root = _Folder(1)
        self._open: dict[int, _File] = {}
        self._locks: dict[int, str] = {}
        self._fds = count(3)
        self._clock = count(1_700_000_000_000_000_000, 1_000_000)
        self.devices: dict[str, int] = {}
        self.free_kib = 10**6
        self.at_once = True
        self.calls: list[str] = []
        self.begun: list[tuple[int, int]] = []
        self.forgotten: list[tuple[int, int]] = []

    # --- for tests

    def crash(self) -> None:
        """Power is lost and comes back."""
        self._open.clear()
        self._forget(self._root)

    def _forget(self, folder: _Folder) -> None:
        folder.names = dict(folder.durable)
        for node in folder.names.values():
            if isinstance(node, _Folder):
                self._forget(node)
            else:
                node.data = bytearray(node.durable or b"")

    def make_folders(self, path: str) -> None:
        """Durable folders, for the beginning of a test."""
        folder = self._root
        for part in path.strip("/").split("/"):
            if part not in folder.names:
                folder.names[part] = folder.durable[part] = _Folder(next(self._inodes))
            folder = folder.names[part]

    def files(self, path: str = "/") -> dict[str, bytes]:
        """All files below a folder, by path relative to it."""
        found: dict[str, bytes] = {}
        top = self._node(path)

        def walk(folder: _Folder, prefix: str) -> None:
            for name, node in folder.names.items():
                if isinstance(node, _Folder):
                    walk(node, f"{prefix}{name}/")
                else:
                    found[prefix + name] = bytes(node.data)

        walk(top, "")
        return found

    def put(self, path: str, data: bytes) -> None:
        """A durable file, for the beginning of a test."""
        self.make_folders(dirname(path))
        file = _File(next(self._inodes), bytearray(data), data, next(self._clock))
        folder = self._node(dirname(path))
        folder.names[basename(path)] = folder.durable[basename(path)] = file

    def remember(self) -> Callable[[], None]:
        """What brings back all names, bytes and the clock as they are now. New files
        have new inode numbers even then."""
        folders: list[tuple[_Folder, dict[str, Any], dict[str, Any]]] = []
        files: list[tuple[_File, bytes, bytes | None, int, int]] = []
        clock = copy(self._clock)

        def walk(folder: _Folder) -> None:
            folders.append((folder, dict(folder.names), dict(folder.durable)))
            for node in folder.names.values():
                if isinstance(node, _Folder):
                    walk(node)
                else:
                    times = node.mtime_ns, node.ctime_ns
                    files.append((node, bytes(node.data), node.durable, *times))

        def bring_back() -> None:
            for folder, names, durable in folders:
                folder.names, folder.durable = dict(names), dict(durable)
            for file, data, kept, mtime_ns, ctime_ns in files:
                file.data, file.durable = bytearray(data), kept
                file.mtime_ns, file.ctime_ns = mtime_ns, ctime_ns
            self._clock = copy(clock)
            self.calls.clear()
            self.begun.clear()

        walk(self._root)
        return bring_back

    @property
    def open_count(self) -> int:
        """Descriptors that nobody gave back."""
        return len(self._open)

    def _node(self, path: str) -> Any:
        node: Any = self._root
        for part in path.strip("/").split("/"):
            if not part:
                continue
            if not isinstance(node, _Folder):
                raise _error(errno.ENOTDIR)
            if part not in node.names:
                raise _error(errno.ENOENT)
            node = node.names[part]
        return node

    def _folder(self, path: str) -> _Folder:
        node = self._node(path)
        if not isinstance(node, _Folder):
            raise _error(errno.ENOTDIR)
        return node

    def _called(self, name: str) -> None:
        self.calls.append(name)

    # --- IDiskFiles

    def create(self, path: str) -> int:
        """See `IDiskFiles`."""
        self._called("create")
        folder = self._folder(dirname(path))
        if basename(path) in folder.names:
            raise _error(errno.EEXIST)
        file = _File(next(self._inodes), mtime_ns=next(self._clock))
        folder.names[basename(path)] = file
        fd = next(self._fds)
        self._open[fd] = file
        return fd

    def open(self, path: str) -> tuple[int, FileStat]:
        """See `IDiskFiles`."""
        self._called("open")
        node = self._node(path)
        if not isinstance(node, _File):
            raise _error(errno.ENOENT)
        fd = next(self._fds)
        self._open[fd] = node
        return fd, self.stat_open(fd)

    def read(self, fd: int, length: int, offset: int) -> bytes:
        """See `IDiskFiles`."""
        self._called("read")
        return bytes(self._open[fd].data[offset : offset + length])

    def write(self, fd: int, data: bytes) -> None:
        """See `IDiskFiles`."""
        self._called("write")
        self._open[fd].data += data
        self._open[fd].mtime_ns = next(self._clock)

    def stat_open(self, fd: int) -> FileStat:
        """See `IDiskFiles`."""
        file = self._open[fd]
        return _stat_of(file)

    def close(self, fd: int) -> None:
        """See `IDiskFiles`."""
        self._called("close")
        if self._locks.pop(fd, None) is None:
            del self._open[fd]

    def read_cached(self, path: str, limit: int) -> tuple[FileStat, bytes] | None:
        """See `IDiskCache`. Nothing is in memory here, so that tests see the rest."""
        return None

    # --- IDiskNames

    def stat(self, path: str) -> FileStat:
        """See `IDiskNames`."""
        self._called("stat")
        node = self._node(path)
        if isinstance(node, _Folder):
            return FileStat(0, 0, node.inode, ROOT_DEVICE, False)
        return _stat_of(node)

    def rename(self, old: str, new: str) -> None:
        """See `IDiskNames`."""
        self._called("rename")
        source, target = self._folder(dirname(old)), self._folder(dirname(new))
        if basename(old) not in source.names:
            raise _error(errno.ENOENT)
        node = target.names[basename(new)] = source.names.pop(basename(old))
        if isinstance(node, _File):
            node.ctime_ns = next(self._clock)

    def remove(self, path: str) -> None:
        """See `IDiskNames`."""
        self._called("remove")
        folder = self._folder(dirname(path))
        if basename(path) not in folder.names:
            raise _error(errno.ENOENT)
        del folder.names[basename(path)]

    def names(self, folder: str) -> list[str]:
        """See `IDiskNames`."""
        return list(self._folder(folder).names)

    def make_folder(self, path: str) -> None:
        """See `IDiskNames`."""
        self._called("make_folder")
        folder = self._folder(dirname(path))
        if basename(path) in folder.names:
            raise _error(errno.EEXIST)
        folder.names[basename(path)] = _Folder(next(self._inodes))

    def remove_folder(self, path: str) -> None:
        """See `IDiskNames`."""
        if self._folder(path).names:
            raise _error(errno.ENOTEMPTY)
        del self._folder(dirname(path)).names[basename(path)]

    # --- IDiskState

    def sync(self, fds: Sequence[int], *, everything: bool = False) -> bool:
        """See `IDiskState`. `at_once` says whether all can be flushed in one go."""
        self._called("sync")
        for fd in fds:
            self._open[fd].durable = bytes(self._open[fd].data)
        if everything and self.at_once:
            self._keep(self._root)
            return True
        return False

    def _keep(self, folder: _Folder) -> None:
        folder.durable = dict(folder.names)
        for node in folder.names.values():
            if isinstance(node, _Folder):
                self._keep(node)
            else:
                node.durable = bytes(node.data)

    def begin_sync(self, fd: int, offset: int, length: int) -> None:
        """See `IDiskState`; the ranges are remembered."""
        assert fd in self._open
        self.begun.append((offset, length))

    def forget(self, fd: int, offset: int, length: int) -> None:
        """See `IDiskState`; the ranges are remembered."""
        assert fd in self._open
        self.forgotten.append((offset, length))

    def sync_folder(self, path: str) -> None:
        """See `IDiskState`."""
        self._called("sync_folder")
        folder = self._folder(path)
        folder.durable = dict(folder.names)

    def sync_all(self, path: str) -> None:
        """See `IDiskState`."""
        self._called("sync_all")
        self._keep(self._folder(path))

    def folder(self, path: str) -> FileStat:
        """See `IDiskState`. `devices` says which folders are mount points."""
        self._called("folder")
        node = self._node(path)
        if not isinstance(node, _Folder):
            raise _error(errno.ENOENT)
        device = self.devices.get(path, ROOT_DEVICE)
        return FileStat(0, 0, node.inode, device, False)

    def space(self, path: str) -> Space:
        """See `IDiskState`."""
        self._called("space")
        self._folder(path)
        return Space(kib_total=2 * 10**6, kib_used=2 * 10**6 - self.free_kib)

    def lock_folder(self, path: str, *, wait: bool = True) -> int | None:
        """See `IDiskState`; who has it would have it for ever."""
        self._called("lock_folder")
        self._folder(path)
        if path in self._locks.values():
            assert not wait, "nobody will give it back"
            return None
        fd = next(self._fds)
        self._locks[fd] = path
        return fd


class FaultyDisk:
    """A disk whose N-th call from `arm` on fails, once or from then on.

    Closing a descriptor always works, as it does on real systems, and is not counted.
    """

    def __init__(self, disk: Any) -> None:
        self._disk = disk
        self._left: int | None = None
        self._number = errno.EIO
        self._only: frozenset[str] = frozenset()
        self._lasting = False
        self.failed: list[str] = []

    def arm(
        self,
        call: int,
        number: int = errno.EIO,
        *,
        only: Sequence[str] = (),
        lasting: bool = False,
    ) -> None:
        """Let a call (1 is the next) among those named in `only` fail with an errno."""
        self._left, self._number = call, number
        self._only, self._lasting = frozenset(only), lasting

    def disarm(self) -> None:
        """Everything works again."""
        self._left = None

    def __getattr__(self, name: str) -> Any:
        work = getattr(self._disk, name)
        if name in (
            "close",
            "calls",
            "files",
            "stat_open",
            "open_count",
            "read_cached",
        ):
            return work

        def call(*arguments: Any, **options: Any) -> Any:
            if self._left is not None and (not self._only or name in self._only):
                self._left -= 1
                if self._left == 0 or (self._lasting and self._left < 0):
                    self.failed.append(name)
                    raise _error(self._number)
            return work(*arguments, **options)

        return call
