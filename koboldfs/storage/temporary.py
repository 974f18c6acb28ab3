"""Files being written: nothing has its final name before it is whole and durable.

    create in devN/.koboldfs/tmp -> write -> check -> flush -> rename -> flush folders

A temporary name says which process made it, so that what a killed process left behind
is removed at the next start, and what another living one is writing is not:

    name = pid "-" start "-" number        ; start: of the process, in clock ticks
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import count
from posixpath import dirname

from attrs import frozen

from koboldfs.errors import CopyCorrupt, DeviceUnavailable
from koboldfs.model.entities import HASH_NAMES, HASHLIB_NAMES, OWN_HASHTYPE, Checksum
from koboldfs.storage.disk import TEMPORARY_FOLDER, IDisk

#: How much is copied from one file to another in one go (bytes).
PIECE_BYTES = 256 * 1024
_NAME = re.compile(r"([0-9]{1,10})-([0-9]{1,20})-[0-9]{1,19}", re.ASCII)
_numbers = count()
_NONE = frozenset[int]()
#: By type. `hashlib.new` would look for the name among all that OpenSSL has.
_NEW_DIGEST = {
    hashtype: getattr(hashlib, name) for hashtype, name in HASHLIB_NAMES.items()
}


@frozen
class Expected:
    """What an upload must turn out to be; `size` None where nobody said."""

    size: int | None = None
    checksums: tuple[Checksum, ...] = ()

    def hashtypes(self) -> frozenset[int]:
        """The types of the checksums."""
        if not self.checksums:
            return _NONE
        return frozenset(checksum.hashtype for checksum in self.checksums)


@frozen
class Stored:
    """A file that is in its place: its bytes, and how to recognise it later."""

    size: int
    checksum: Checksum
    mtime_ns: int
    inode: int


def process_start(pid: int) -> str | None:
    """When a process began, in clock ticks since the machine did; None if there is
    no such process, ``0`` where the system does not say."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name of the program, in brackets, may hold anything.
            return file.read().rpartition(b")")[2].split()[19].decode("ascii")
    except (OSError, IndexError):
        pass
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:
        return "0"
    return "0"


@cache
def _prefix(pid: int) -> str:
    return f"{pid}-{process_start(pid) or '0'}"


def temporary_name() -> str:
    """A name that nobody uses, in this process or another."""
    return f"{_prefix(os.getpid())}-{next(_numbers)}"


def remove_abandoned(disk: IDisk, folder: str) -> int:
    """Remove the temporary files of processes that are no more; returns how many.
    Those that cannot be removed now stay until the next time."""
    removed = 0
    alive: dict[tuple[str, str], bool] = {}
    try:
        names = disk.names(folder)
    except OSError:
        return 0
    for name in names:
        match = _NAME.fullmatch(name)
        if match is None:
            continue
        owner = (match[1], match[2])
        if owner not in alive:
            alive[owner] = process_start(int(match[1])) == match[2]
        if alive[owner]:
            continue
        try:
            disk.remove(f"{folder}/{name}")
            removed += 1
        except OSError:
            continue
    return removed


class TemporaryFile:
    """One file being written. All methods block and raise `OSError`; `discard` may be
    called at any time, from the thread that called the others last."""

    def __init__(self, disk: IDisk, root: str, hashtypes: Iterable[int] = ()) -> None:
        self._disk = disk
        self._root = root
        self._path = f"{root}/{TEMPORARY_FOLDER}/{temporary_name()}"
        self._digests = {
            hashtype: _NEW_DIGEST[hashtype]() for hashtype in {OWN_HASHTYPE, *hashtypes}
        }
        self._there = False
        self._stored: Stored | None = None
        self.size = 0
        self.fd = -1

    def open(self) -> None:
        """Make the file. Raises `DeviceUnavailable` when the disk is not mounted."""
        try:
            self.fd = self._disk.create(self._path)
        except FileNotFoundError as error:
            raise DeviceUnavailable("the device's disk is not mounted") from error
        self._there = True

    def write(self, chunks: Sequence[bytes]) -> None:
        """Append the chunks."""
        # In one piece: after each call that leaves Python's lock to others, it has to
        # be waited for.
        data = b"".join(chunks)
        if data:
            self._disk.write(self.fd, data)
            for digest in self._digests.values():
                digest.update(data)
            self.size += len(data)

    def read_back(self) -> Iterator[bytes]:
        """The bytes that were written so far, in pieces."""
        fd, _ = self._disk.open(self._path)
        try:
            yield from pieces(self._disk, fd, 0, self.size)
        finally:
            self._disk.close(fd)

    def check(self, expected: Expected) -> None:
        """Raises `CopyCorrupt` when the bytes are not those that were announced."""
        if expected.size is not None and expected.size != self.size:
            raise CopyCorrupt(f"{self.size} bytes came instead of {expected.size}")
        for checksum in expected.checksums:
            digest = self._digests.get(checksum.hashtype)
            if digest is None or digest.digest() != checksum.digest:
                name = HASH_NAMES[checksum.hashtype]
                raise CopyCorrupt(f"the bytes do not have the announced {name}")

    def seal(self) -> None:
        """The end of the bytes: note how the file is recognised, and close it."""
        found = self._disk.stat_open(self.fd)
        checksum = Checksum(OWN_HASHTYPE, self._digests[OWN_HASHTYPE].digest())
        self._stored = Stored(self.size, checksum, found.mtime_ns, found.inode)
        self.close()

    def close(self) -> None:
        """Give the descriptor back."""
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            self._disk.close(fd)

    def place(self, relative: str) -> tuple[Stored, list[str]]:
        """Give the sealed file its name; returns it and the folders to flush."""
        assert self._stored is not None
        path = f"{self._root}/{relative}"
        folders = [dirname(path)]
        try:
            self._disk.rename(self._path, path)
        except FileNotFoundError:
            self._disk.stat(self._path)  # if this is what is missing, make nothing
            folders += make_folders(self._disk, self._root, dirname(relative))
            self._disk.rename(self._path, path)
        self._there = False
        return self._stored, folders

    def discard(self) -> None:
        """Leave nothing behind. Never raises."""
        try:
            self.close()
        except OSError:
            pass
        if self._there:
            self._there = False
            try:
                self._disk.remove(self._path)
            except OSError:
                pass


def pieces(disk: IDisk, fd: int, start: int, stop: int) -> Iterator[bytes]:
    """The bytes of an open file in a range, as far as there are any."""
    while start < stop:
        data = disk.read(fd, min(PIECE_BYTES, stop - start), start)
        if not data:
            return
        start += len(data)
        yield data


def make_folders(disk: IDisk, root: str, relative: str) -> list[str]:
    """Make the folders of a path below `root`, which itself must be there; returns
    the folders in which something was made, and which so must be flushed."""
    changed = []
    path = root
    for part in relative.split("/"):
        parent, path = path, f"{path}/{part}"
        try:
            disk.make_folder(path)
            changed.append(parent)
        except FileExistsError:
            continue
    return changed


def unplace(disk: IDisk, root: str, relative: str, stored: Stored) -> None:
    """Throw away a file that could not be made durable, unless another has taken its
    place since. Never raises."""
    path = f"{root}/{relative}"
    try:
        if disk.stat(path).inode == stored.inode:
            disk.remove(path)
    except OSError:
        pass
