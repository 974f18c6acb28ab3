"""The synchronous Python client, which a server tells whatever it likes.

The first byte of an input says what the client asks; the rest is what it is told.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import md5, sha256
from io import BytesIO

from koboldfs import native_exchange
from koboldfs.native_exchange import Modern, Old
from koboldfs.native_link import READ_BYTES as MAX_READ_BYTES
from koboldfs.native_link import ClientError, ConnectionBroken, Link
from koboldfs.wire import native
from koboldfs.wire.native import Code, Stat, u32, u64
from test.fuzz.mutation import Source
from test.fuzz.target import Target, blocks, pieces, want, want_same

#: The number of the first request, in a link that has just been made.
NUMBER = 7


class Socket:
    """One that gives what a test has for it, then ends."""

    def __init__(self, parts: list[bytes]) -> None:
        self._parts = [part for part in parts if part]
        self.closed = False

    def recv(self, limit: int) -> bytes:
        """The next bytes, as many as fit."""
        want(not self.closed, "a closed socket is read")
        want(0 < limit <= MAX_READ_BYTES, "a read of any size")
        if not self._parts:
            return b""
        part = self._parts.pop(0)
        if len(part) > limit:
            self._parts.insert(0, part[limit:])
        return part[:limit]

    def sendall(self, data: bytes) -> None:
        """Whatever it is."""

    def close(self) -> None:
        """See `socket.socket`."""
        self.closed = True


class MemoryLink(Link):
    """A link without a network."""

    def __init__(self, parts: list[bytes]) -> None:
        # What `Link` has, but for the socket: its own `__init__` would connect.
        self.address, self.name = ("server", 1), "server:1"
        self.closed = self.sent = False
        self.timeout_seconds = None
        self._number = NUMBER - 1
        self._data, self._at = b"", 0
        self._socket = Socket(parts)  # type: ignore[assignment]

    def has_input(self) -> bool:
        """A server that answers early is another target's."""
        return self.closed or self._at < len(self._data)


def _get(client: Modern | Old) -> object:
    transfer = client.get(b"d", b"k", 0, None, None)
    data = b"".join(transfer.pieces())
    return data, transfer.stat, transfer.checksum


def _put(client: Modern | Old) -> object:
    return client.put(b"d", b"k", b"", 5, BytesIO(b"bytes").read)


ASKED: tuple[Callable[[Link], object], ...] = (
    lambda link: link.hello(),
    lambda link: _get(Modern(link)),
    lambda link: _put(Modern(link)),
    lambda link: Modern(link).urls(b"d", b"k"),
    lambda link: Modern(link).list_page(b"d", b"", b"", 10),
    lambda link: Modern(link).stat(b"d", b"k"),
    lambda link: Modern(link).rename(b"d", b"k", b"l"),
    lambda link: _get(Old(link)),
    lambda link: _put(Old(link)),
    lambda link: Old(link).urls(b"d", b"k"),
    lambda link: Old(link).delete(b"d", b"k"),
)


def run(data: bytes) -> None:
    """One question, one answer."""
    if data:
        want_same(_ask(data[0], blocks(data[1:])), _ask(data[0], pieces(data[1:])))


def _ask(number: int, parts: list[bytes]) -> object:
    link = MemoryLink(parts)
    connect = native_exchange.Link
    native_exchange.Link = _nowhere  # type: ignore[assignment,misc]
    try:
        outcome: object = ASKED[number % len(ASKED)](link)
    except ClientError as error:
        want("\n" not in str(error), "a message is not one line")
        outcome = type(error), str(error)
    finally:
        native_exchange.Link = connect  # type: ignore[misc]
    kept = len(link._data) - link._at
    want(kept <= MAX_READ_BYTES, "more is kept than was read")
    return outcome, link.closed


def _nowhere(*arguments: object) -> Link:
    raise ConnectionBroken("nobody is there")


def _frame(*values: bytes, code: int = Code.OK) -> bytes:
    return native.frame(code, NUMBER, values)


_DATA = b"some bytes"
_STAT = Stat(5, len(_DATA), 2, f"SHA-256:{'a' * 64}").values()
_CHUNKS = u32(4) + _DATA[:4] + u32(6) + _DATA[4:] + u32(0)
_MODERN_GET = (
    _frame(*_STAT, u64(0), u64(10), code=Code.TRANSFER)
    + _CHUNKS
    + _frame(sha256(_DATA).digest(), b"SHA-256:" + b"a" * 64)
)
_URL = b"http://127.0.0.1:7500/dev1/0/000/000/0000000001.fid"
_TRANSFER = bytes((Code.TRANSFER,))
SAMPLES = (
    b"\x00"
    + _frame(u32(2), b"list,range", u32(1024), u32(255), u32(1000), b"KoboldFS/1"),
    b"\x00\x06",
    b"\x01" + _MODERN_GET,
    b"\x02" + _frame(*_STAT),
    b"\x03" + _frame(_URL, _URL),
    b"\x04" + _frame(b"\1", b"key", b"other"),
    b"\x05" + _frame(*_STAT),
    b"\x06" + _frame(),
    b"\x06" + _frame(b"key_exists", b"There is such a key", code=Code.KO),
    b"\x06" + _frame(b"unreg_domain", b"No such domain", code=Code.ERR_DOMAIN),
    b"\x07" + _TRANSFER + u32(10) + _DATA + md5(_DATA).hexdigest().encode(),
    b"\x07" + b"\x00" + u32(14) + b"127.0.0.1:9876",
    b"\x07" + b"\x00" + u32(8) + b"[::1]:99",
    b"\x08" + b"\x02\x01\x01",
    b"\x09" + _TRANSFER + u32(len(_URL)) + _URL,
    b"\x09" + _TRANSFER + u32(17) + b"http://[::1]:80/x",
    b"\x0a" + b"\x01\x01",
)
WORDS = (
    u32(0),
    u32(NUMBER),
    u32(0xFFFFFFFF),
    u64(2**63),
    b"[",
    b"]",
    b":",
    b"//",
    b"\n",
    b"\x01",
    b"\x03",
    b"\x04",
    b"\x06",
    b"\x08",
    b"\xe2\x84\x80",
    b"\xff",
    b"http://[",
)
CLIENT = Target("native-client", run, Source(SAMPLES, WORDS), 2000)
