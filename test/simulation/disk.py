"""A disk that forgets what was not flushed, and lies when it is told to.

What a power failure leaves: of each file what was flushed, and of the rest a beginning,
or a beginning with noise behind it; of the names in folders those that were flushed,
and of the later changes all, none, or the first ones. A change of a name is flushed
with either folder that it touches, and never half. A folder is flushed with the names
that lead to it, as ext4, XFS and Btrfs have it.

A process has a `Handle` on it, which ends with the process.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from posixpath import basename, dirname
from random import Random
from typing import Any

from attrs import define, field
from zope.interface import implementer

from koboldfs.storage.disk import FileStat, IDisk, Space
from test.simulation.clock import EPOCH

BLOCK_BYTES = 512
KIB_TOTAL = 10**7


class Crashed(BaseException):
    """The process ended inside a call."""


def failure(number: int) -> OSError:
    """What the system says."""
    return OSError(number, os.strerror(number))


@define(eq=False, slots=True)
class File:
    """`data` is what is read; `durable` what was flushed, None: never. `placed_at`:
    when it got its last name."""

    inode: int
    data: bytearray = field(factory=bytearray)
    durable: bytes | None = None
    mtime_ns: int = 0
    placed_at: float = 0.0


@define(eq=False, slots=True)
class Folder:
    """Names as they are seen, and as they were flushed."""

    inode: int
    names: dict[str, Any] = field(factory=dict)
    durable: dict[str, Any] = field(factory=dict)


#: A change of names: (folder, name, node or None) each.
Change = tuple[tuple[Folder, str, Any], ...]


@define(eq=False)
class Faults:
    """What goes wrong on one device: `calls` counts down to one failure with `number`;
    a `full` one has no room; a `broken` one fails every flush and write; so many
    `misdirected` reads give another file's bytes."""

    calls: int = 0
    number: int = errno.EIO
    full: bool = False
    misdirected: int = 0
    slow_seconds: float = 0.0


class Disk:
    """The file systems of one host."""

    def __init__(self, random: Random, seconds: Callable[[], float]) -> None:
        self.random, self.seconds = random, seconds
        self._inodes = 1
        self.root = Folder(1)
        self.journal: list[Change] = []
        self.faults: dict[str, Faults] = {}
        #: Counts changes, for those who look.
        self.changes = 0
        #: Paths that a power failure brought back after they had been removed.
        self.resurrected: set[str] = set()
        self._removed: dict[tuple[int, str], str] = {}

    def inode(self) -> int:
        """A new number."""
        self._inodes += 1
        return self._inodes

    # --- what only the simulation may do

    def node(self, path: str) -> Any:
        """The file or folder of a path."""
        node: Any = self.root
        for part in path.split("/"):
            if not part:
                continue
            if type(node) is not Folder:
                raise failure(errno.ENOTDIR)
            try:
                node = node.names[part]
            except KeyError:
                raise failure(errno.ENOENT) from None
        return node

    def folder(self, path: str) -> Folder:
        """The folder of a path."""
        node = self.node(path)
        if type(node) is not Folder:
            raise failure(errno.ENOTDIR)
        return node

    def make_folders(self, path: str) -> Folder:
        """Durable folders, from the beginning."""
        folder = self.root
        for part in filter(None, path.split("/")):
            if part not in folder.names:
                folder.names[part] = folder.durable[part] = Folder(self.inode())
            folder = folder.names[part]
        return folder

    def put(self, path: str, data: bytes) -> None:
        """A durable file, from the beginning."""
        folder = self.make_folders(dirname(path))
        file = File(self.inode(), bytearray(data), data)
        folder.names[basename(path)] = folder.durable[basename(path)] = file
        self.changes += 1

    def wipe(self, path: str) -> None:
        """Another, empty disk is in the place of this folder."""
        parent = self.folder(dirname(path))
        fresh = Folder(self.inode())
        parent.names[basename(path)] = parent.durable[basename(path)] = fresh
        self.changes += 1

    def files(self, path: str, durable: bool = False) -> dict[str, File]:
        """All files below a folder, by path relative to it."""
        found: dict[str, File] = {}

        def walk(folder: Folder, prefix: str) -> None:
            names = folder.durable if durable else folder.names
            for name, node in names.items():
                if type(node) is Folder:
                    walk(node, f"{prefix}{name}/")
                else:
                    found[prefix + name] = node

        try:
            walk(self.folder(path), "")
        except OSError:
            pass
        return found

    def durable_bytes(self, path: str) -> bytes | None:
        """What a power failure would surely leave of a file."""
        node: Any = self.root
        for part in path.split("/"):
            if part:
                if type(node) is not Folder or part not in node.durable:
                    return None
                node = node.durable[part]
        return node.durable if type(node) is File else None

    def note(self, *change: tuple[Folder, str, Any]) -> None:
        """Change names, for now."""
        self.changes += 1
        for folder, name, node in change:
            if node is None:
                folder.names.pop(name, None)
            else:
                folder.names[name] = node
        self.journal.append(change)

    def flush_names(self, folder: Folder) -> None:
        """Every change that touches the folder is durable, and what it rests on."""
        keys: set[tuple[int, str]] = set()
        chosen: list[Change] = []
        rest: list[Change] = []
        wanted = {id(folder)}
        for change in reversed(self.journal):
            own = {(id(one), name) for one, name, _ in change}
            makes = [one for one, _, node in change if id(node) in wanted]
            if (
                makes
                or any(one is folder for one, _, _ in change)
                or not own.isdisjoint(keys)
            ):
                wanted.update(map(id, makes))
                keys |= own
                chosen.append(change)
            else:
                rest.append(change)
        self.journal = rest[::-1]
        for change in reversed(chosen):
            _apply(change)

    def power_failure(self) -> None:
        """What was not flushed is gone, more or less."""
        journal, self.journal = self.journal, []
        kept = self.random.choice((0, len(journal), None))
        if kept is None:
            kept = self.random.randrange(len(journal) + 1)
        for change in journal[:kept]:
            _apply(change)
        for change in journal[kept:]:
            for folder, name, node in change:
                if node is None and type(folder.durable.get(name)) is File:
                    path = self._removed.get((id(folder), name))
                    if path is not None:
                        self.resurrected.add(path)
        self._forget(self.root)
        self.changes += 1

    def _forget(self, folder: Folder) -> None:
        folder.names = dict(folder.durable)
        for node in folder.names.values():
            if type(node) is Folder:
                self._forget(node)
                continue
            durable = node.durable or b""
            if bytes(node.data) != durable:
                node.data = bytearray(self._torn(durable, bytes(node.data)))
            node.durable = bytes(node.data)

    def _torn(self, durable: bytes, data: bytes) -> bytes:
        """A file of which only a part was on the disk."""
        random = self.random
        cut = random.randint(0, len(data) // BLOCK_BYTES) * BLOCK_BYTES
        torn = data[: max(cut, len(durable))] if random.random() < 0.7 else durable
        if random.random() < 0.3:
            torn += b"\0" * random.randrange(BLOCK_BYTES)
        return torn

    def removed(self, folder: Folder, name: str, path: str) -> None:
        """A file was removed: it may come back."""
        self._removed[id(folder), name] = path


def _apply(change: Change) -> None:
    for folder, name, node in change:
        if node is None:
            folder.durable.pop(name, None)
        else:
            folder.durable[name] = node


def device_of(path: str) -> str:
    """The device's folder of a path below the docroot: its name, else empty."""
    parts = path.split("/", 3)
    return parts[2] if len(parts) > 2 and parts[2].startswith("dev") else ""


@implementer(IDisk)
class Handle:
    """A process's way to the disk of its host: an `IDisk`.

    `dead`: the process is no more, whatever runs on in it changes nothing. `crash_in`
    counts calls (of `crash_kind`, unless that is empty) down to the one in which the
    process ends.
    """

    def __init__(self, disk: Disk, pid: int = 1) -> None:
        self.disk, self.pid = disk, pid
        self.dead = False
        #: Told when the process ends inside of a call.
        self.crashed: Callable[[], object] = lambda: None
        self.crash_in = 0
        self.crash_kind = ""
        self._open: dict[int, tuple[Any, str]] = {}
        self._fds = 2
        self._locked: set[str] = set()

    def _enter(
        self, path: str, *, writes: bool = False, kind: str = ""
    ) -> Faults | None:
        if self.dead:
            raise Crashed
        if self.crash_in and self.crash_kind in ("", kind):
            self.crash_in -= 1
            if not self.crash_in:
                self.crashed()
                raise Crashed
        faults = self.disk.faults.get(device_of(path))
        if faults is None:
            return None
        if faults.calls:
            faults.calls -= 1
            if not faults.calls:
                raise failure(faults.number)
        if faults.full and writes:
            raise failure(errno.ENOSPC)
        return faults

    def slow_seconds(self, devid: int) -> float:
        """How much longer everything takes on a device."""
        faults = self.disk.faults.get(f"dev{devid}")
        return 0.0 if faults is None else faults.slow_seconds

    def _descriptor(self, node: Any, path: str) -> int:
        self._fds += 1
        self._open[self._fds] = (node, path)
        return self._fds

    # --- IDiskFiles

    def create(self, path: str) -> int:
        """See `IDiskFiles`."""
        self._enter(path, writes=True)
        folder, name = self.disk.folder(dirname(path)), basename(path)
        if name in folder.names:
            raise failure(errno.EEXIST)
        file = File(self.disk.inode(), mtime_ns=self._now_ns())
        self.disk.note((folder, name, file))
        return self._descriptor(file, path)

    def _now_ns(self) -> int:
        return int((EPOCH + self.disk.seconds()) * 1e9)

    def open(self, path: str) -> tuple[int, FileStat]:
        """See `IDiskFiles`."""
        self._enter(path)
        node = self.disk.node(path)
        if type(node) is not File:
            raise failure(errno.ENOENT)
        return self._descriptor(node, path), _stat(node)

    def read(self, fd: int, length: int, offset: int) -> bytes:
        """See `IDiskFiles`."""
        node, path = self._open[fd]
        faults = self._enter(path)
        data = bytes(node.data[offset : offset + length])
        if faults is not None and faults.misdirected and len(data) > 1:
            if "/.koboldfs" not in path:
                faults.misdirected -= 1
                return data[1:] + bytes([data[0] ^ 0x55])
        return data

    def write(self, fd: int, data: bytes) -> None:
        """See `IDiskFiles`."""
        node, path = self._open[fd]
        self._enter(path, writes=True)
        node.data += data
        node.mtime_ns = self._now_ns()
        self.disk.changes += 1

    def stat_open(self, fd: int) -> FileStat:
        """See `IDiskFiles`."""
        return _stat(self._open[fd][0])

    def close(self, fd: int) -> None:
        """See `IDiskFiles`."""
        if not self.dead:
            _, path = self._open.pop(fd)
            self._locked.discard(path)

    def read_cached(self, path: str, limit: int) -> tuple[FileStat, bytes] | None:
        """See `IDiskCache`; now and then something is in memory."""
        if self.dead or self.disk.random.random() < 0.5:
            return None
        if self.disk.faults.get(device_of(path)) is not None:
            return None
        try:
            node = self.disk.node(path)
        except OSError:
            return None
        if type(node) is not File or (limit and len(node.data) > limit):
            return None
        return _stat(node), bytes(node.data) if limit else b""

    # --- IDiskNames

    def stat(self, path: str) -> FileStat:
        """See `IDiskNames`."""
        self._enter(path)
        return _stat(self.disk.node(path))

    def rename(self, old: str, new: str) -> None:
        """See `IDiskNames`."""
        self._enter(old, writes=True, kind="rename")
        source, target = self.disk.folder(dirname(old)), self.disk.folder(dirname(new))
        node = source.names.get(basename(old))
        if node is None:
            raise failure(errno.ENOENT)
        node.placed_at = self.disk.seconds()
        self.disk.note((source, basename(old), None), (target, basename(new), node))

    def remove(self, path: str) -> None:
        """See `IDiskNames`."""
        self._enter(path)
        folder = self.disk.folder(dirname(path))
        if basename(path) not in folder.names:
            raise failure(errno.ENOENT)
        self.disk.removed(folder, basename(path), path)
        self.disk.note((folder, basename(path), None))

    def names(self, folder: str) -> list[str]:
        """See `IDiskNames`."""
        self._enter(folder)
        return list(self.disk.folder(folder).names)

    def make_folder(self, path: str) -> None:
        """See `IDiskNames`."""
        self._enter(path, writes=True)
        folder = self.disk.folder(dirname(path))
        if basename(path) in folder.names:
            raise failure(errno.EEXIST)
        self.disk.note((folder, basename(path), Folder(self.disk.inode())))

    def remove_folder(self, path: str) -> None:
        """See `IDiskNames`."""
        self._enter(path)
        if self.disk.folder(path).names:
            raise failure(errno.ENOTEMPTY)
        self.disk.note((self.disk.folder(dirname(path)), basename(path), None))

    # --- IDiskState

    def sync(self, fds: Sequence[int], *, everything: bool = False) -> bool:
        """See `IDiskState`. It may be that all can be flushed in one go."""
        for fd in fds:
            node, path = self._open[fd]
            self._enter(path, writes=True, kind="sync")
            node.durable = bytes(node.data)
        if everything and fds and self.disk.random.random() < 0.5:
            for change in self.disk.journal:
                _apply(change)
            self.disk.journal.clear()
            return True
        return False

    def begin_sync(self, fd: int, offset: int, length: int) -> None:
        """See `IDiskState`."""

    def forget(self, fd: int, offset: int, length: int) -> None:
        """See `IDiskState`."""

    def sync_folder(self, path: str) -> None:
        """See `IDiskState`; ``naming`` is the kind when a file was put there."""
        folder = self.disk.folder(path)
        named = any(
            one is folder and type(node) is File
            for change in self.disk.journal
            for one, _, node in change
        )
        self._enter(path, writes=True, kind="naming" if named else "sync_folder")
        self.disk.flush_names(folder)

    def sync_all(self, path: str) -> None:
        """See `IDiskState`."""
        self._enter(path, writes=True)
        for change in self.disk.journal:
            _apply(change)
        self.disk.journal.clear()
        for file in self.disk.files(path).values():
            file.durable = bytes(file.data)

    def folder(self, path: str) -> FileStat:
        """See `IDiskState`."""
        self._enter(path)
        node = self.disk.node(path)
        if type(node) is not Folder:
            raise failure(errno.ENOENT)
        return _stat(node)

    def space(self, path: str) -> Space:
        """See `IDiskState`."""
        faults = self._enter(path)
        full = faults is not None and faults.full
        return Space(KIB_TOTAL, KIB_TOTAL - 1 if full else KIB_TOTAL // 2)

    def lock_folder(self, path: str, *, wait: bool = True) -> int | None:
        """See `IDiskState`; there is one process to a host."""
        self._enter(path)
        if path in self._locked:
            return None
        self._locked.add(path)
        return self._descriptor(self.disk.folder(path), path)


def _stat(node: Any) -> FileStat:
    if type(node) is Folder:
        return FileStat(0, 0, node.inode, 1, False)
    return FileStat(len(node.data), node.mtime_ns, node.inode, 1, True)
