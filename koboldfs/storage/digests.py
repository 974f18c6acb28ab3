"""What this process knows of the checksums of files, and how it learns it from disk.

A checksum that was computed while a file was written is remembered together with the
file's size, time and inode; when one of these is another, it is another file and the
memory is void. It is never taken as proof that the bytes are still the same: for that,
`digest_file` reads them.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from struct import Struct

from koboldfs.errors import DiskFault
from koboldfs.model.entities import HASHLIB_NAMES, OWN_HASHTYPE, Checksum
from koboldfs.storage.disk import FileStat, IDisk
from koboldfs.storage.temporary import Stored

#: How many files are remembered; about 250 bytes each, so 5 MB at most: whoever
#: asks for one has stored the file lately, or would have it read anyway.
MAX_REMEMBERED = 20_000
#: How a file looks: size, time (of last change, in nanoseconds) and inode.
_LOOK = Struct("<QqQ")
#: How much is read at once to be digested (bytes): long enough that the thread rarely
#: asks for Python's lock, and small beside a node's memory.
DIGEST_CHUNK_BYTES = 256 * 1024


class Checksums:
    """A bounded memory of (devid, fid) -> checksum; what was not used goes first."""

    def __init__(self, limit: int = MAX_REMEMBERED) -> None:
        self._limit = limit
        # One int and one bytes for each: objects would take twice as much. The key is
        # (devid, fid), the value the look and our digest.
        self._known: OrderedDict[int, bytes] = OrderedDict()

    def learn(self, devid: int, fid: int, stored: Stored) -> None:
        """Remember what was written."""
        assert stored.checksum.hashtype == OWN_HASHTYPE
        look = _LOOK.pack(stored.size, stored.mtime_ns, stored.inode)
        known, key = self._known, _key(devid, fid)
        known[key] = look + stored.checksum.digest
        known.move_to_end(key)
        if len(known) > self._limit:
            known.popitem(last=False)

    def recall(self, devid: int, fid: int, found: FileStat) -> Checksum | None:
        """Our checksum of the file that looks like `found`, or None."""
        key = _key(devid, fid)
        stored = self._known.get(key)
        if stored is None:
            return None
        if not stored.startswith(_LOOK.pack(found.size, found.mtime_ns, found.inode)):
            del self._known[key]
            return None
        self._known.move_to_end(key)
        return Checksum(OWN_HASHTYPE, stored[_LOOK.size :])

    def forget(self, devid: int, fid: int) -> None:
        """The file was removed."""
        self._known.pop(_key(devid, fid), None)


def _key(devid: int, fid: int) -> int:
    return devid << 64 | fid


class ReadFailed(DiskFault):
    """Bytes of a file could not be read; `offset` says where."""

    def __init__(self, offset: int) -> None:
        super().__init__(f"the disk failed to read at {offset}")
        self.offset = offset


def digest_file(
    disk: IDisk, path: str, hashtype: int, *, cold: bool = False
) -> tuple[Checksum, FileStat]:
    """Read a file and digest it. Blocks. Raises `FileNotFoundError`, `ReadFailed`.

    `cold`: from the disk, not from what the system remembers of it. Nor shall it
    remember a long file afterwards, in place of what others read.
    """
    fd, found = disk.open(path)
    try:
        if cold:
            disk.begin_sync(fd, 0, found.size)
        digest = hashlib.new(HASHLIB_NAMES[hashtype])
        offset = 0
        while True:
            try:
                data = disk.read(fd, DIGEST_CHUNK_BYTES, offset)
            except OSError as error:
                raise ReadFailed(offset) from error
            if not data:
                return Checksum(hashtype, digest.digest()), found
            digest.update(data)
            offset += len(data)
    finally:
        if cold and found.size > DIGEST_CHUNK_BYTES:
            disk.begin_sync(fd, 0, found.size)
        disk.close(fd)
