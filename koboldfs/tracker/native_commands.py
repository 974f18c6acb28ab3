"""The commands of the native protocol, versions 1 and 2 (grammar: `wire.native`).

Each command is a function of the exchange that runs it and of its arguments; what it
returns is sent. What it raises becomes an error reply here, in one place: `v1_code` and
`v2_error`. Anything that is no `KoboldError` is a defect: logged, and answered as a
plain failure.
"""

from __future__ import annotations

import hashlib
from binascii import Error as NotHex
from binascii import unhexlify
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

from attrs import frozen

from koboldfs import errors
from koboldfs.model.entities import Checksum, Located
from koboldfs.tracker.native_body import Body, ClientGaveUp, ClientLost
from koboldfs.tracker.native_download import SMALL_BYTES, Download
from koboldfs.tracker.native_session import Session
from koboldfs.version import __version__
from koboldfs.wire import native
from koboldfs.wire.native import Code, Command, ValueFault

#: The URLs that URLS answers at most; a file has few copies.
MAX_URLS: Final = 16

OK: Final = bytes((Code.OK,))
KO: Final = bytes((Code.KO,))
WAITING: Final = bytes((Code.WAITING,))


class Exchange(Protocol):
    """One connection, as commands see it: its session, and what moves bytes."""

    session: Session

    def send(self, data: bytes) -> None:
        """Send bytes to the client."""

    def sized_body(self) -> Body:
        """The body of a version 1 PUT comes now."""

    def chunked_body(self) -> Body:
        """The body of a version 2 PUT comes now."""

    def download(self, head: bytes, digests: list[Any], *, chunked: bool) -> Download:
        """A consumer that sends a file to the client."""


class BrokenTransfer(Exception):
    """A version 1 GET broke after its first byte: the connection has to end."""


# --- errors to replies


def v1_code(error: Exception) -> Code:
    """The one byte that version 1 has for an error."""
    if isinstance(error, (errors.UnknownDomain, errors.NoDomain)):
        return Code.ERR_DOMAIN
    if isinstance(error, errors.UnknownKey):
        return Code.ERR_NOTFOUND
    return Code.KO


def v2_error(error: Exception) -> tuple[Code, bytes, bytes]:
    """The code, the word and the sentence that version 2 has for an error."""
    code = v1_code(error)
    if isinstance(error, errors.KoboldError):
        if isinstance(error, MAY_PASS) and not isinstance(error, errors.ValueRefused):
            code = Code.FAULT
        word = WORDS.get(type(error), error.code)
        return (code, *native.error_values(word, error.message))
    if isinstance(error, ValueFault):
        return (code, *native.error_values("bad_params", str(error)))
    if isinstance(error, ClientGaveUp):
        return (code, *native.error_values("abandoned", "The upload was given up"))
    fault = errors.KoboldError()
    return (Code.FAULT, *native.error_values(fault.code, fault.message))


def is_defect(error: Exception) -> bool:
    """Whether an error is nobody's fault but ours, and is to be logged."""
    expected = (errors.KoboldError, ValueFault, ClientGaveUp, ClientLost)
    return not isinstance(error, expected)


#: Errors that another server, or another time, may not have.
MAY_PASS: Final = (errors.WorldError, errors.TooBusy, errors.NoDevices)
#: Errors of the cluster that have no word of their own elsewhere.
WORDS: Final[dict[type[errors.KoboldError], str]] = {
    errors.NodeFault: "node",
    errors.NodeUnreachable: "node",
    errors.CopyMissing: "copy_missing",
    errors.CopyCorrupt: "copy_corrupt",
    errors.ValueRefused: "key_too_long",
}


# --- version 1


async def ping_v1(exchange: Exchange) -> bytes:
    """PING."""
    return OK


async def put_v1(exchange: Exchange, domain: bytes, key: bytes) -> bytes:
    """PUT: what cannot be is said before WAITING; the rest when all bytes came."""
    session = exchange.session
    where, name = await session.domain(domain), session.new_key(key)
    body = exchange.sized_body()
    exchange.send(WAITING)
    size = await body.declared_size()
    await session.store(where, name, body, _md5, size=size)
    return OK


def _md5(trailer: bytes) -> bytes:
    try:
        return unhexlify(trailer)
    except NotHex:
        raise errors.ChecksumMismatch("the md5 is not 32 hex digits") from None


async def get_v1(exchange: Exchange, domain: bytes, key: bytes) -> bytes:
    """GET: a small file is checked first and goes out in one piece."""
    session = exchange.session
    located = await session.locate(await session.domain(domain), session.text(key))
    size = located.file.length
    if size > native.MAX_V1_SIZE_BYTES:
        raise errors.BadArguments("too large for this version of the protocol")
    head = bytes((Code.TRANSFER,)) + native.u32(size)
    if size <= SMALL_BYTES:
        data, _ = await session.collect(located, 0, size)
        md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
        return b"".join((head, data, md5.encode("ascii")))
    md5_digest = hashlib.md5(usedforsecurity=False)
    sha256 = hashlib.sha256()
    download = exchange.download(head, [md5_digest, sha256], chunked=False)
    try:
        await session.stream(located, 0, size, download)
        await session.check(located, sha256.digest())
    except Exception as error:
        if download.begun:
            raise BrokenTransfer() from error
        raise
    return md5_digest.hexdigest().encode("ascii")


async def get_url_v1(exchange: Exchange, domain: bytes, key: bytes) -> bytes:
    """GET_URL: the best URL; KO when there is none."""
    session = exchange.session
    urls = await session.urls(await session.domain(domain), session.text(key), 1)
    if not urls:
        return KO
    url = urls[0].encode("latin-1")
    return bytes((Code.TRANSFER,)) + native.u32(len(url)) + url


async def delete_v1(exchange: Exchange, domain: bytes, key: bytes) -> bytes:
    """DELETE."""
    session = exchange.session
    await session.remove(await session.domain(domain), session.text(key))
    return OK


async def begin_v1(exchange: Exchange) -> bytes:
    """BEGIN; KO when a transaction is open."""
    exchange.session.begin()
    return OK


async def prepare_v1(exchange: Exchange) -> bytes:
    """PREPARE: every upload that was answered is already durable."""
    return OK


async def commit_v1(exchange: Exchange) -> bytes:
    """COMMIT."""
    await exchange.session.commit()
    return OK


async def abort_v1(exchange: Exchange) -> bytes:
    """ABORT."""
    await exchange.session.abort()
    return OK


# --- version 2: `number` is the request's, ready for the reply


async def hello(exchange: Exchange, number: int, version: bytes, wants: bytes) -> bytes:
    """HELLO: the version that both speak, and this side's features and limits."""
    asked = native.number32(version)
    return native.frame(
        Code.OK,
        number,
        (
            native.u32(max(1, min(asked, native.VERSION))),
            ",".join(native.FEATURES).encode("ascii"),
            native.u32(native.MAX_KEY_BYTES),
            native.u32(native.MAX_DOMAIN_BYTES),
            native.u32(native.MAX_PAGE_KEYS),
            f"KoboldFS/{__version__}".encode("ascii"),
        ),
    )


async def ping(exchange: Exchange, number: int) -> bytes:
    """PING."""
    return native.frame(Code.OK, number)


async def put(
    exchange: Exchange,
    number: int,
    domain: bytes,
    key: bytes,
    class_name: bytes,
    size: bytes,
) -> bytes:
    """PUT: the data come at once; an error is told at once, the rest is dropped."""
    body = exchange.chunked_body()
    session = exchange.session
    where, name = await session.domain(domain), session.new_key(key)
    length = native.optional64(size)
    if length is not None and length > native.MAX_V2_SIZE_BYTES:
        raise ValueFault("a size has 63 bits")
    closing = await session.store(
        where,
        name,
        body,
        lambda trailer: None,
        class_name=class_name.decode("latin-1") or None,
        size=length,
    )
    stat = session.stat(closing, closing.checksum, len(closing.devids))
    promise = session.promise(closing)
    short: tuple[bytes, ...] = ()
    if not promise.kept:
        short = native.u32(promise.hosts), native.u32(promise.promised)
    return native.frame(Code.OK, number, (*stat.values(), *short))


async def get(
    exchange: Exchange,
    number: int,
    domain: bytes,
    key: bytes,
    start: bytes,
    length: bytes,
    fid: bytes,
) -> bytes:
    """GET of a range: data in chunks, then the verdict on them."""
    session = exchange.session
    first, wanted = native.number64(start), native.optional64(length)
    only = native.optional64(fid)
    located = await session.locate(await session.domain(domain), session.text(key))
    file = located.file
    if only is not None and only != file.fid:
        raise errors.FileChanged()
    first = min(first, file.length)
    count = file.length - first if wanted is None else min(wanted, file.length - first)
    head = _transfer_head(session, number, located, first, count)
    whole = count == file.length
    if count <= SMALL_BYTES:
        data, digest = await session.collect(located, first, count)
        chunk = native.u32(count) + data if data else b""
        verdict = await _verdict(session, number, located, digest)
        return b"".join((head, chunk, native.u32(0), verdict))
    sha256 = hashlib.sha256()
    download = exchange.download(head, [sha256], chunked=True)
    try:
        await session.stream(located, first, count, download)
        if whole:
            await session.check(located, sha256.digest())
        verdict = await _verdict(session, number, located, sha256.digest())
    except Exception:
        if download.begun:
            exchange.send(native.u32(0))
        raise
    return native.u32(0) + verdict


def _transfer_head(
    session: Session, number: int, located: Located, start: int, length: int
) -> bytes:
    stat = session.stat(located, located.checksum, len(located.devids))
    values = (*stat.values(), native.u64(start), native.u64(length))
    return native.frame(Code.TRANSFER, number, values)


async def _verdict(
    session: Session, number: int, located: Located, digest: bytes
) -> bytes:
    checksum = await session.checksum(located)
    text = b"" if checksum is None else str(checksum).encode("ascii")
    return native.frame(Code.OK, number, (digest, text))


async def urls(exchange: Exchange, number: int, domain: bytes, key: bytes) -> bytes:
    """URLS: of all copies, best first."""
    session = exchange.session
    found = await session.urls(
        await session.domain(domain), session.text(key), MAX_URLS
    )
    return native.frame(Code.OK, number, [url.encode("latin-1") for url in found])


async def delete(exchange: Exchange, number: int, domain: bytes, key: bytes) -> bytes:
    """DELETE."""
    session = exchange.session
    await session.remove(await session.domain(domain), session.text(key))
    return native.frame(Code.OK, number)


async def list_keys(
    exchange: Exchange,
    number: int,
    domain: bytes,
    prefix: bytes,
    after: bytes,
    limit: bytes,
) -> bytes:
    """LIST: a page of keys; `more` when it is full."""
    session = exchange.session
    where = await session.domain(domain)
    if max(len(prefix), len(after)) > native.MAX_KEY_BYTES:
        raise errors.KeyTooLong()
    count = min(native.number32(limit) or native.MAX_PAGE_KEYS, native.MAX_PAGE_KEYS)
    keys = await session.list_keys(
        where, prefix.decode("latin-1"), after.decode("latin-1"), count
    )
    more = b"\1" if len(keys) >= count else b"\0"
    return native.frame(
        Code.OK, number, (more, *(key.encode("latin-1") for key in keys))
    )


async def stat(exchange: Exchange, number: int, domain: bytes, key: bytes) -> bytes:
    """STAT."""
    session = exchange.session
    located = await session.locate(await session.domain(domain), session.text(key))
    checksum: Checksum | None = await session.checksum(located)
    found = session.stat(located, checksum, len(located.devids))
    return native.frame(Code.OK, number, found.values())


async def rename(
    exchange: Exchange, number: int, domain: bytes, old: bytes, new: bytes
) -> bytes:
    """RENAME; never overwrites."""
    session = exchange.session
    await session.rename(
        await session.domain(domain), session.text(old), session.text(new)
    )
    return native.frame(Code.OK, number)


async def begin(exchange: Exchange, number: int) -> bytes:
    """BEGIN."""
    exchange.session.begin()
    return native.frame(Code.OK, number)


async def prepare(exchange: Exchange, number: int) -> bytes:
    """PREPARE."""
    return native.frame(Code.OK, number)


async def commit(exchange: Exchange, number: int) -> bytes:
    """COMMIT."""
    await exchange.session.commit()
    return native.frame(Code.OK, number)


async def abort(exchange: Exchange, number: int) -> bytes:
    """ABORT."""
    await exchange.session.abort()
    return native.frame(Code.OK, number)


@frozen
class Entry:
    """A command: its function, and how many arguments it has on the wire."""

    run: Callable[..., Awaitable[bytes]]
    arguments: int


V1: Final[dict[int, Entry]] = {
    Command.PING: Entry(ping_v1, 0),
    Command.PUT: Entry(put_v1, 2),
    Command.GET: Entry(get_v1, 2),
    Command.GET_URL: Entry(get_url_v1, 2),
    Command.DELETE: Entry(delete_v1, 2),
    Command.BEGIN: Entry(begin_v1, 0),
    Command.PREPARE: Entry(prepare_v1, 0),
    Command.COMMIT: Entry(commit_v1, 0),
    Command.ABORT: Entry(abort_v1, 0),
}
V2: Final[dict[int, Entry]] = {
    Command.HELLO: Entry(hello, 3),
    Command.PING2: Entry(ping, 1),
    Command.PUT2: Entry(put, 5),
    Command.GET2: Entry(get, 6),
    Command.URLS: Entry(urls, 3),
    Command.DELETE2: Entry(delete, 3),
    Command.LIST: Entry(list_keys, 5),
    Command.STAT: Entry(stat, 3),
    Command.RENAME: Entry(rename, 4),
    Command.BEGIN2: Entry(begin, 1),
    Command.PREPARE2: Entry(prepare, 1),
    Command.COMMIT2: Entry(commit, 1),
    Command.ABORT2: Entry(abort, 1),
}
