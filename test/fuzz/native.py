"""The native protocol as the server has it: the parser, and a whole door."""

from __future__ import annotations

from hashlib import md5, sha256

from koboldfs.tracker.native_body import FULL_BYTES
from koboldfs.wire import native
from koboldfs.wire.native import (
    ABANDON,
    MAX_ARGUMENTS,
    MAX_REQUEST_BYTES,
    Code,
    Command,
    Stat,
    SyntaxFault,
    ValueFault,
    u32,
    u64,
)
from koboldfs.wire.native_parser import End, Request, RequestParser, Size
from test.fakes.namespace import (
    DOMAIN,
    Live,
    MemoryNamespace,
    closing_of,
    picture,
)
from test.fakes.native_door import Door, v2
from test.fuzz.mutation import Source
from test.fuzz.target import READ_BYTES, Target, blocks, pieces, want, want_same

#: What may be kept of a request that is not whole: its arguments, and their lengths.
MAX_KEPT_BYTES = MAX_REQUEST_BYTES + 2 + 4 * MAX_ARGUMENTS

_DATA = b"the bytes of a file"
_V1_PUT = (
    native.request(Command.PUT, b"d", b"k")
    + u32(len(_DATA))
    + _DATA
    + md5(_DATA).hexdigest().encode()
)
_BODY = u32(9) + _DATA[:9] + u32(10) + _DATA[9:] + u32(0) + sha256(_DATA).digest()
_NAMES = (b"d", b"key")
SAMPLES = (
    native.request(Command.PING) * 2,
    _V1_PUT,
    _V1_PUT + native.request(Command.GET, b"d", b"k"),
    native.request(Command.GET, *_NAMES) + native.request(Command.GET_URL, *_NAMES),
    native.request(Command.DELETE, *_NAMES),
    native.request(Command.BEGIN) + _V1_PUT + native.request(Command.COMMIT),
    native.request(Command.BEGIN) + _V1_PUT + native.request(Command.ABORT),
    native.request(Command.PREPARE),
    v2(Command.HELLO, u32(2), b"list,range"),
    v2(Command.PING2),
    v2(Command.PUT2, *_NAMES, b"gold", u64(len(_DATA))) + _BODY,
    v2(Command.PUT2, *_NAMES, b"", b"") + u32(9) + _DATA[:9] + u32(ABANDON),
    v2(Command.PUT2, b"no", b"key", b"", b"") + _BODY + v2(Command.PING2),
    v2(Command.GET2, *_NAMES, u64(3), u64(7), b""),
    v2(Command.GET2, *_NAMES, u64(0), b"", u64(1)),
    v2(Command.GET2, b"d", b"big", u64(0), b"", b""),
    v2(Command.URLS, *_NAMES) + v2(Command.STAT, *_NAMES),
    v2(Command.LIST, b"d", b"", b"", u32(2)),
    v2(Command.RENAME, *_NAMES, b"other") + v2(Command.DELETE2, b"d", b"other"),
    v2(Command.BEGIN2)
    + v2(Command.PUT2, *_NAMES, b"", b"")
    + _BODY
    + v2(Command.DELETE2, *_NAMES)
    + v2(Command.PREPARE2)
    + v2(Command.COMMIT2),
    v2(Command.BEGIN2) + v2(Command.DELETE2, *_NAMES) + v2(Command.ABORT2),
)
WORDS = (
    u32(0),
    u32(1),
    u32(7),
    u32(ABANDON),
    u32(MAX_REQUEST_BYTES),
    u64(2**63),
    b"",
    b"d",
    b"key",
    b"gold",
    b"\x11\x02",
    b"\x91\x05",
    b"\x92\x06",
    b"\x30\x03",
    b"\x22\x00",
    b"\xa1\x01" + u32(4) + u32(7),
    native.request(Command.PING),
    b"\xff\xff",
)


def run_parser(data: bytes) -> None:
    """Events, as a server asks for them that takes every PUT."""
    want_same(_events(blocks(data)), _events(pieces(data)))


def _events(parts: list[bytes]) -> list[object]:
    parser, found, body = RequestParser(), list[object](), b""
    for part in parts:
        parser.feed(part)
        try:
            while (event := parser.next()) is not None:
                if isinstance(event, bytes):
                    want(event, "a piece of a body is empty")
                    body += event
                    continue
                if isinstance(event, End):
                    found.append(body)
                    body = b""
                found.append(event)
                _go_on(parser, event)
        except SyntaxFault as fault:
            return [*found, body, str(fault)]
        want(parser.unread_bytes <= MAX_KEPT_BYTES, "too much is kept of a request")
    return [*found, body]


def _go_on(parser: RequestParser, event: Request | Size | End) -> None:
    if isinstance(event, Request):
        for value in event.arguments:
            try:
                native.optional64(value)
            except ValueFault:
                pass
        if event.command == Command.PUT:
            parser.expect_sized_body()
            return
        if event.command == Command.PUT2:
            parser.expect_chunked_body()
            return
    if not isinstance(event, Size):
        parser.next_request()


def run_frames(data: bytes) -> None:
    """The frames of a server, as a client takes them apart."""
    if len(data) >= native.FRAME_HEAD_BYTES:
        head, payload = data[: native.FRAME_HEAD_BYTES], data[native.FRAME_HEAD_BYTES :]
        try:
            code, number, length = native.frame_head(head)
            want(length <= native.MAX_FRAME_BYTES, "a frame is too long")
            values = native.frame_values(payload)
            again = native.frame(code, number, values)[native.FRAME_HEAD_BYTES :]
            want(again == payload, "a frame does not come out as it went in")
            Stat.of(values)
        except (SyntaxFault, ValueFault):
            pass


def run_door(data: bytes) -> None:
    """A connection to the door over a name space in memory."""
    want_same(_door(blocks(data)), _door(pieces(data)))


#: What no input changes, and takes long to make.
_PICTURE = Live(picture())
_FILES = tuple(
    (closing_of(fid, DOMAIN, key, data), data)
    for fid, key, data in ((1, "key", _DATA), (2, "big", bytes(70_000)))
)


def _door(parts: list[bytes]) -> tuple[bytes, bool, object]:
    door = Door(MemoryNamespace(live=_PICTURE, last_fid=len(_FILES)))
    for closing, data in _FILES:
        door.names._record(closing, data)
    line = door.connect()
    protocol = line.protocol
    for part in parts:
        if line.closed:
            break
        want(not line.paused, "a client is paused and never resumed")
        protocol.dataReceived(part)
        body = protocol._body
        want(
            protocol._parser.unread_bytes <= MAX_KEPT_BYTES + READ_BYTES,
            "too much is kept of a request",
        )
        want(
            body is None or body._held_bytes <= FULL_BYTES + READ_BYTES,
            "too much is kept of a body",
        )
        want(not protocol._replies, "a reply is not sent")
    answer, closed = line.heard(), line.closed
    line.leave()
    want(not door.names.uploads, "an upload is left behind")
    want(not door.factory.connections, "a connection is not forgotten")
    want(protocol.session.transaction is None, "a transaction is left open")
    fresh = door.connect()
    want(
        fresh.say(native.request(Command.PING)) == bytes((Code.OK,)),
        "a new connection is not answered",
    )
    want(
        fresh.say(v2(Command.PING2)) == native.frame(Code.OK, 7),
        "a new connection is not answered in version 2",
    )
    return answer, closed, (door.names.keys, door.names.contents)


_STAT = Stat(1, 19, 2, f"SHA-256:{'0' * 64}").values()
FRAME_SAMPLES = (
    native.frame(Code.OK, 7, _STAT),
    native.frame(Code.OK, 7),
    native.frame(Code.KO, 7, (b"key_exists", b"There is such a key")),
)
PARSER = Target("native-parser", run_parser, Source(SAMPLES, WORDS), 4000)
FRAMES = Target("native-frames", run_frames, Source(FRAME_SAMPLES, WORDS), 4000)
DOOR = Target("native-door", run_door, Source(SAMPLES, WORDS), 800)
