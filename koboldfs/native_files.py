"""Files on this side of the synchronous client: what is sent, received and read.

Source        a path or a readable file, from which an upload can begin again
Destination   a path or a writable file, into which a download goes
fetch         a download that survives its servers: it goes on where it broke off
RemoteFile    a stored file as a seekable Python file; parts come when they are read
"""

from __future__ import annotations

import hashlib
import io
import os
import stat as modes
import tempfile
from collections.abc import Callable
from typing import Any, TypeVar

from koboldfs.native_exchange import Exchange
from koboldfs.native_link import (
    ChecksumError,
    ConnectionBroken,
    FileChanged,
    KeyMissing,
    Unsupported,
)
from koboldfs.wire.native import Stat

#: The longest silence of a server, unless the program says otherwise.
DEFAULT_TIMEOUT_SECONDS = 30.0
#: Up to this much of a source without a size is kept in memory, the rest in a file
#: (only for a 0.3 server, which must be told the size first).
SPOOL_BYTES = 16 * 1024 * 1024
#: How often a download begins anew when its bytes are wrong or the file has changed.
DOWNLOADS = 3
#: What a `RemoteFile` fetches at once (bytes): little after a seek, then ever more.
FIRST_WINDOW_BYTES = 64 * 1024
LAST_WINDOW_BYTES = 4 * 1024 * 1024

Key = str | bytes
Readable = str | bytes | os.PathLike[str] | Any
Writable = str | bytes | os.PathLike[str] | Any
T = TypeVar("T")
#: Runs something on whichever server answers (`Servers.run`).
Run = Callable[[Callable[[Exchange], T]], T]


def key_bytes(key: Key) -> bytes:
    """A key (or a domain) as it is sent."""
    if isinstance(key, bytes):
        return key
    return key.encode("utf-8", "surrogateescape")


def key_text(key: bytes) -> str:
    """The key as text; `key_bytes` gives the very bytes back."""
    return key.decode("utf-8", "surrogateescape")


def _is_path(file: object) -> bool:
    return isinstance(file, (str, bytes, os.PathLike))


class Source:
    """What is uploaded. `size` in bytes, None when only its end will tell."""

    def __init__(self, file: Readable) -> None:
        self._path = file if _is_path(file) else None
        self._file: Any = open(file, "rb") if self._path is not None else file
        self._own = self._path is not None
        self._consumed = False
        self._start: int | None = None
        self.size: int | None = None
        try:
            self._look()
        except BaseException:
            self.close()
            raise

    def _look(self) -> None:
        """Find out whether it can begin again, and how long it is."""
        if not hasattr(self._file, "read"):
            raise TypeError("a source is a path or a file that is open for reading")
        try:
            start = self._file.tell()
            end = self._file.seek(0, os.SEEK_END)
            self._file.seek(start)
        except (AttributeError, OSError):
            return
        if not isinstance(end, int):
            end = self._end(start)
        self._start = start
        if not self._endless():
            self.size = max(0, end - start)

    def _end(self, start: int) -> int:
        """For files whose `seek` does not say where it got to."""
        self._file.seek(0, os.SEEK_END)
        end = int(self._file.tell())
        self._file.seek(start)
        return end

    def _endless(self) -> bool:
        """Whether it is a device or the like, whose end is not what seek says."""
        try:
            return not modes.S_ISREG(os.fstat(self._file.fileno()).st_mode)
        except (AttributeError, OSError, ValueError):
            return False

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *reason: object) -> None:
        self.close()

    def close(self) -> None:
        """Close what was opened here; a file that was given stays open."""
        if self._own:
            self._file.close()

    def rewind(self) -> None:
        """Begin (again) at the start. Raises `ConnectionBroken` if that cannot be."""
        if not self._consumed:
            return
        if self._start is None:
            raise ConnectionBroken("the upload broke off, and its source cannot rewind")
        self._file.seek(self._start)

    def read(self, limit: int) -> bytes:
        """Up to `limit` bytes; none at the end."""
        self._consumed = True
        data = self._file.read(limit)
        if data is None:
            raise BlockingIOError("the source has no bytes now; it must be blocking")
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError("a source is opened in binary mode")
        return bytes(data)

    def measure(self) -> None:
        """Have `size` known, if need be by reading all of it into a spool."""
        if self.size is not None:
            return
        spool: Any = tempfile.SpooledTemporaryFile(SPOOL_BYTES)
        try:
            while data := self.read(io.DEFAULT_BUFFER_SIZE):
                spool.write(data)
        except BaseException:
            spool.close()
            raise
        self.close()
        self.size = spool.tell()
        spool.seek(0)
        self._file, self._own, self._start = spool, True, 0


class Destination:
    """Where a download goes. A path gets the file only when all of it is there."""

    def __init__(self, file: Writable) -> None:
        self._path = os.fsdecode(file) if _is_path(file) else None
        self._file: Any = None if self._path is not None else file
        self._start: int | None = None
        self._written = 0
        self._kept = False
        self._temporary: Any = None
        if self._path is None and not hasattr(file, "write"):
            raise TypeError("a destination is a path or a file open for writing")

    def __enter__(self) -> Destination:
        return self

    def __exit__(self, *reason: object) -> None:
        if self._temporary is not None:
            self._file.close()
            if not self._kept:
                os.unlink(self._temporary)

    def begin(self) -> None:
        """The file exists: there will be bytes, or none, but not nothing."""
        if self._path is not None and self._temporary is None:
            folder = os.path.dirname(self._path) or os.curdir
            handle, self._temporary = tempfile.mkstemp(dir=folder, prefix=".koboldfs-")
            self._file = os.fdopen(handle, "wb")

    def write(self, data: bytes) -> None:
        """The next bytes; all of them are taken."""
        taken = self._file.write(data)
        while taken is not None and taken < len(data):
            if taken <= 0:
                raise BlockingIOError("the destination takes no bytes now")
            self._written += taken
            data = data[taken:]
            taken = self._file.write(data)
        if taken is None and isinstance(self._file, io.RawIOBase):
            raise BlockingIOError("the destination takes no bytes now")
        self._written += len(data)

    def rewind(self) -> bool:
        """Forget what was written; False if that cannot be undone."""
        if not self._written:
            return True
        try:
            self._file.seek(-self._written, os.SEEK_CUR)
            self._file.truncate()
        except (AttributeError, OSError, ValueError):
            return False
        self._written = 0
        return True

    def keep(self) -> None:
        """All is there: let the path name it."""
        if self._temporary is not None:
            self._file.close()
            os.chmod(self._temporary, 0o666 & ~_umask())
            os.replace(self._temporary, str(self._path))
            self._kept = True


def _umask() -> int:
    """The process's umask, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def fetch(run: Run[None], domain: bytes, key: bytes, target: Destination) -> None:
    """Have the whole file in `target`, checked.

    What breaks off goes on at the same place, from the next server. Raises
    `KeyMissing`; `ChecksumError` or `FileChanged` when it was so again and again, or
    the destination cannot begin anew; and what `run` raises.
    """
    for again in range(DOWNLOADS, 0, -1):
        download = _Download(domain, key, target)
        try:
            run(download.go_on)
            download.check()
        except (ChecksumError, FileChanged):
            if again == 1 or not target.rewind():
                raise
        else:
            return


class _Download:
    """A download so far: how many bytes, of which file, and their digest."""

    def __init__(self, domain: bytes, key: bytes, target: Destination) -> None:
        self._domain = domain
        self._key = key
        self._target = target
        self._digest = hashlib.sha256()
        self._count = 0
        self._fid: int | None = None
        self._checksum: str | None = None

    def go_on(self, exchange: Exchange) -> None:
        """Take the rest from this server."""
        try:
            transfer = exchange.get(
                self._domain, self._key, self._count, None, self._fid
            )
        except Unsupported as error:
            raise ConnectionBroken(f"{exchange.link.name}: {error}") from error
        self._target.begin()
        if transfer.stat is not None:
            self._fid = transfer.stat.fid
        for piece in transfer.pieces():
            self._target.write(piece)
            self._digest.update(piece)
            self._count += len(piece)
        self._checksum = transfer.checksum

    def check(self) -> None:
        """Raises `ChecksumError` if this is not the file that was stored."""
        if self._checksum is None:
            return
        kind, _, digest = self._checksum.partition(":")
        if kind == "SHA-256" and digest.lower() != self._digest.hexdigest():
            raise ChecksumError("what came is not the file that was stored")


class RemoteFile(io.RawIOBase):
    """A stored file, read in windows that grow while it is read in order.

    `stat` is the file's. Every window is of that very file: when the key gets another
    one, reading raises `FileChanged`.
    """

    def __init__(self, run: Run[bytes], domain: bytes, key: bytes, stat: Stat) -> None:
        self.stat = stat
        self._run = run
        self._domain = domain
        self._key = key
        self._position = 0
        self._window = b""
        self._window_start = 0
        self._window_bytes = FIRST_WINDOW_BYTES

    @classmethod
    def opened(
        cls, run: Callable[[Callable[[Exchange], Any]], Any], domain: bytes, key: bytes
    ) -> io.BufferedReader:
        """The file of a key, buffered. Raises `KeyMissing`."""
        stat: Stat = run(lambda exchange: exchange.stat(domain, key))
        return io.BufferedReader(cls(run, domain, key, stat), FIRST_WINDOW_BYTES)

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """The position in bytes."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go somewhere; reading beyond the end gives nothing."""
        base = {
            os.SEEK_SET: 0,
            os.SEEK_CUR: self._position,
            os.SEEK_END: self.stat.size,
        }[whence]
        if base + offset < 0:
            raise ValueError("a position before the beginning")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        """As many bytes as are at hand and fit; fetches when none are."""
        view = memoryview(buffer).cast("B")
        if self._position >= self.stat.size or not view:
            return 0
        at = self._position - self._window_start
        if not 0 <= at < len(self._window):
            self._fetch(len(view))
            at = 0
        part = self._window[at : at + len(view)]
        view[: len(part)] = part
        self._position += len(part)
        return len(part)

    def _fetch(self, wanted: int) -> None:
        follows = self._position == self._window_start + len(self._window)
        if follows and self._window:
            self._window_bytes = min(2 * self._window_bytes, LAST_WINDOW_BYTES)
        else:
            self._window_bytes = FIRST_WINDOW_BYTES
        count = min(max(wanted, self._window_bytes), LAST_WINDOW_BYTES)
        count = min(count, self.stat.size - self._position)
        self._window = self._run(lambda exchange: self._range(exchange, count))
        self._window_start = self._position

    def _range(self, exchange: Exchange, count: int) -> bytes:
        try:
            transfer = exchange.get(
                self._domain, self._key, self._position, count, self.stat.fid
            )
            data = b"".join(transfer.pieces())
        except KeyMissing as error:
            raise FileChanged("changed", "the key has no file any more") from error
        if len(data) != count:
            exchange.link.close()
            raise ConnectionBroken(f"{exchange.link.name}: it sent too little")
        return data
