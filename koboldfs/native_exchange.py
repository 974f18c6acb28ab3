"""What the synchronous Python client asks of a server, in either protocol version.

`Modern` speaks version 2, `Old` version 1 of a 0.3 server; both have the methods that
`Client` uses. Keys and domains are bytes here. A file that does not exist is
`KeyMissing`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Protocol
from urllib.parse import urlsplit

from koboldfs.native_link import (
    ChecksumError,
    ClientError,
    Link,
    ProtocolError,
    ServerError,
    Unsupported,
    error_of,
    parse_address,
)
from koboldfs.wire import native
from koboldfs.wire.native import Code, Command, Stat, ValueFault, u32

#: A piece of an upload (bytes); one system call each, and a look for an early reply.
CHUNK_BYTES = 256 * 1024

#: Gives up to that many bytes of an upload; none at its end.
Read = Callable[[int], bytes]


class Transfer(Protocol):
    """A file on its way to us."""

    @property
    def stat(self) -> Stat | None:
        """What the server says of the file, if it does."""

    @property
    def checksum(self) -> str | None:
        """The whole file's checksum as stored; known when `pieces` is through."""

    def pieces(self) -> Iterator[bytes]:
        """The bytes; after the last, what came was checked for its way here.

        Raises `ChecksumError`, `ServerError`, `ConnectionBroken`.
        """


class Exchange(Protocol):
    """One server, as `Client` sees it."""

    link: Link

    def ping(self) -> None:
        """Raises if the server does not answer well."""

    def put(
        self, domain: bytes, key: bytes, class_name: bytes, size: int | None, read: Read
    ) -> Stat | None:
        """Store what `read` gives; None where the server does not tell."""

    def get(
        self, domain: bytes, key: bytes, start: int, length: int | None, fid: int | None
    ) -> Transfer:
        """Begin to read a range."""

    def urls(self, domain: bytes, key: bytes) -> list[str]:
        """URLs of the copies, best first."""

    def delete(self, domain: bytes, key: bytes) -> None:
        """Delete it."""

    def list_page(
        self, domain: bytes, prefix: bytes, after: bytes, limit: int
    ) -> tuple[list[bytes], bool]:
        """Up to `limit` keys, and whether there may be more."""

    def stat(self, domain: bytes, key: bytes) -> Stat:
        """What is known of the file."""

    def rename(self, domain: bytes, old: bytes, new: bytes) -> None:
        """Give it another key."""

    def begin(self) -> None:
        """BEGIN."""

    def prepare(self) -> None:
        """PREPARE."""

    def commit(self) -> None:
        """COMMIT."""

    def abort(self) -> None:
        """ABORT."""


def greet(link: Link, reconnect: Callable[[], Link]) -> Exchange:
    """The exchange for the version that the server speaks."""
    if link.hello():
        return Modern(link)
    # A 0.3 server may have taken HELLO's arguments for further commands.
    return Old(reconnect() if link.closed else link)


class Modern:
    """Version 2."""

    def __init__(self, link: Link) -> None:
        self.link = link

    def ping(self) -> None:
        """See `Exchange`."""
        self.link.call(Command.PING2)

    def put(
        self, domain: bytes, key: bytes, class_name: bytes, size: int | None, read: Read
    ) -> Stat | None:
        """See `Exchange`. An error that comes early ends the sending."""
        link, digest = self.link, hashlib.sha256()
        size_value = native.optional_u64(size)
        parts = [link.request(Command.PUT2, domain, key, class_name, size_value)]
        begun = False
        chunk = read(CHUNK_BYTES)  # nothing was sent yet: its errors need no care
        while chunk:
            # One behind, so that a small upload leaves in one piece with its end.
            digest.update(chunk)
            parts += (u32(len(chunk)), chunk)
            try:
                following = read(CHUNK_BYTES)
            except BaseException:
                if begun:
                    self._give_up(parts)
                raise
            if following:
                link.send(b"".join(parts))
                parts, begun = [], True
                if link.has_input():
                    return self._refused()
            chunk = following
        parts += (u32(0), digest.digest())
        link.send(b"".join(parts))
        return self._stat(link.reply(), Stat.stored)

    def _give_up(self, parts: list[bytes]) -> None:
        """The source failed: have the server throw away what it got."""
        try:
            self.link.send(b"".join((*parts, u32(native.ABANDON))))
            self.link.reply()
        except ClientError:
            pass  # the reply says that the upload was given up, or the link is gone

    def _refused(self) -> Stat | None:
        """The reply came before the end: it can only be an error."""
        self.link.send(u32(native.ABANDON))
        self.link.reply()
        raise self.link.nonsense("an upload was answered before its end")

    def _stat(
        self, values: list[bytes], of: Callable[[list[bytes]], Stat] = Stat.of
    ) -> Stat:
        try:
            return of(values)
        except ValueFault as fault:
            raise self.link.nonsense(str(fault)) from fault

    def get(
        self, domain: bytes, key: bytes, start: int, length: int | None, fid: int | None
    ) -> ModernTransfer:
        """See `Exchange`."""
        link = self.link
        values = (
            native.u64(start),
            native.optional_u64(length),
            native.optional_u64(fid),
        )
        link.send(link.request(Command.GET2, domain, key, *values))
        return ModernTransfer(link, self._stat(link.reply(Code.TRANSFER)))

    def urls(self, domain: bytes, key: bytes) -> list[str]:
        """See `Exchange`."""
        values = self.link.call(Command.URLS, domain, key)
        return [value.decode("latin-1") for value in values]

    def delete(self, domain: bytes, key: bytes) -> None:
        """See `Exchange`."""
        self.link.call(Command.DELETE2, domain, key)

    def list_page(
        self, domain: bytes, prefix: bytes, after: bytes, limit: int
    ) -> tuple[list[bytes], bool]:
        """See `Exchange`."""
        values = self.link.call(Command.LIST, domain, prefix, after, u32(limit))
        if not values:
            raise self.link.nonsense("a page without its first value")
        return values[1:], values[0] != b"\0" and len(values) > 1

    def stat(self, domain: bytes, key: bytes) -> Stat:
        """See `Exchange`."""
        return self._stat(self.link.call(Command.STAT, domain, key))

    def rename(self, domain: bytes, old: bytes, new: bytes) -> None:
        """See `Exchange`."""
        self.link.call(Command.RENAME, domain, old, new)

    def begin(self) -> None:
        """See `Exchange`."""
        self.link.call(Command.BEGIN2)

    def prepare(self) -> None:
        """See `Exchange`."""
        self.link.call(Command.PREPARE2)

    def commit(self) -> None:
        """See `Exchange`."""
        self.link.call(Command.COMMIT2)

    def abort(self) -> None:
        """See `Exchange`."""
        self.link.call(Command.ABORT2)


class ModernTransfer:
    """See `Transfer`."""

    def __init__(self, link: Link, stat: Stat) -> None:
        self.stat: Stat | None = stat
        self.checksum: str | None = None
        self._link = link

    def pieces(self) -> Iterator[bytes]:
        """See `Transfer`."""
        link, digest, done = self._link, hashlib.sha256(), False
        try:
            while left := link.number():
                while left:
                    piece = link.read_some(left)
                    left -= len(piece)
                    digest.update(piece)
                    yield piece
            done = True
        finally:
            if not done:  # what is left would be taken for the next reply
                link.close()
        values = link.reply()
        if len(values) < 2:
            raise link.nonsense("no verdict on what was sent")
        if values[0] != digest.digest():
            raise ChecksumError("the bytes were changed on their way")
        self.checksum = values[1].decode("ascii", "replace") or None


class Old:
    """Version 1: a server of 0.3, where every change waits for COMMIT."""

    def __init__(self, link: Link, *, asked: bool = False) -> None:
        self.link = link
        self._asked = asked
        self._transaction = False

    def _call(self, command: int, *arguments: bytes) -> int:
        self.link.send(native.request(command, *arguments))
        return self.link.code()

    def _do(self, command: int, *arguments: bytes) -> None:
        self._must(self._call(command, *arguments), Code.OK)

    def _must(self, code: int, wanted: int) -> None:
        if code != wanted:
            error = error_of(code, ())
            if isinstance(error, ProtocolError):
                self.link.close()
            raise error

    def _settle(self) -> None:
        if not self._transaction:
            self._do(Command.COMMIT)

    def ping(self) -> None:
        """See `Exchange`."""
        self._do(Command.PING)

    def put(
        self, domain: bytes, key: bytes, class_name: bytes, size: int | None, read: Read
    ) -> Stat | None:
        """See `Exchange`. The size must be known."""
        if class_name:
            raise Unsupported("the server knows no storage classes")
        if size is None or size > native.MAX_V1_SIZE_BYTES:
            raise Unsupported("the server takes files of less than 4 GiB only")
        self._must(self._call(Command.PUT, domain, key), Code.WAITING)
        parts, left = [u32(size)], size
        md5 = hashlib.md5(usedforsecurity=False)
        try:
            while left:
                chunk = read(min(CHUNK_BYTES, left))
                if not chunk:
                    raise ServerError("size_mismatch", "the source became shorter")
                left -= len(chunk)
                md5.update(chunk)
                parts.append(chunk)
                if left:
                    self.link.send(b"".join(parts))
                    parts = []
        except BaseException:
            self.link.close()  # the server waits for the rest: there is no other way
            raise
        parts.append(md5.hexdigest().encode("ascii"))
        self.link.send(b"".join(parts))
        self._must(self.link.code(), Code.OK)
        self._settle()
        return None

    def get(
        self, domain: bytes, key: bytes, start: int, length: int | None, fid: int | None
    ) -> OldTransfer:
        """See `Exchange`. Whole files only; another server is asked once."""
        if start or length is not None:
            raise Unsupported("the server reads whole files only")
        code = self._call(Command.GET, domain, key)
        if code == Code.REDIRECT and not self._asked:
            try:
                address = parse_address(self.link.text())
            except ValueError as error:
                raise self.link.nonsense(str(error)) from error
            other = Link(address, self.link.timeout_seconds)
            transfer = Old(other, asked=True).get(domain, key, start, length, fid)
            transfer.last = True
            return transfer
        self._must(code, Code.TRANSFER)
        return OldTransfer(self.link)

    def urls(self, domain: bytes, key: bytes) -> list[str]:
        """See `Exchange`."""
        self._must(self._call(Command.GET_URL, domain, key), Code.TRANSFER)
        url = self.link.text()
        try:
            scheme = urlsplit(url).scheme
        except ValueError as error:  # brackets that hold no address, and the like
            raise self.link.nonsense("no URL") from error
        if scheme not in ("http", "https"):
            raise self.link.nonsense("no URL")
        return [url]

    def delete(self, domain: bytes, key: bytes) -> None:
        """See `Exchange`."""
        self._do(Command.DELETE, domain, key)
        self._settle()

    def list_page(
        self, domain: bytes, prefix: bytes, after: bytes, limit: int
    ) -> tuple[list[bytes], bool]:
        """See `Exchange`: not here."""
        raise Unsupported("the server cannot list keys")

    def stat(self, domain: bytes, key: bytes) -> Stat:
        """See `Exchange`: not here."""
        raise Unsupported("the server cannot tell about a file")

    def rename(self, domain: bytes, old: bytes, new: bytes) -> None:
        """See `Exchange`: not here."""
        raise Unsupported("the server cannot rename")

    def begin(self) -> None:
        """See `Exchange`."""
        self._transaction = True

    def prepare(self) -> None:
        """See `Exchange`."""
        self._do(Command.PREPARE)

    def commit(self) -> None:
        """See `Exchange`."""
        self._transaction = False
        self._do(Command.COMMIT)

    def abort(self) -> None:
        """See `Exchange`."""
        self._transaction = False
        self._do(Command.ABORT)


class OldTransfer:
    """See `Transfer`. With `last`, its link is closed at its end."""

    def __init__(self, link: Link) -> None:
        self.stat: Stat | None = None
        self.checksum: str | None = None
        self.last = False
        self._link = link
        self._left = link.number()

    def pieces(self) -> Iterator[bytes]:
        """See `Transfer`."""
        link, done = self._link, False
        md5 = hashlib.md5(usedforsecurity=False)
        try:
            while self._left:
                piece = link.read_some(self._left)
                self._left -= len(piece)
                md5.update(piece)
                yield piece
            wanted = link.read(native.MD5_HEX_BYTES)
            done = not self.last
        finally:
            if not done:
                link.close()
        if wanted.lower() != md5.hexdigest().encode("ascii"):
            raise ChecksumError("the bytes were changed on their way")
