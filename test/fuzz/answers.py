"""The HTTP answers of storage nodes, as a tracker and as another node read them.

The first byte of an input says what was asked for, the rest is the answer. Some of the
inputs are followed by letters without end: whoever reads them has to end that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from zlib import crc32

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from zope.interface import implementer

from koboldfs.client.http import NodeHttp
from koboldfs.client.http_connection import MAX_HEAD_BYTES, MAX_TEXT_BYTES, Answer
from koboldfs.errors import CopyCorrupt, KoboldError, NodeFault
from koboldfs.storage.fetch import (
    MAX_HEADERS_BYTES,
    IBodySink,
    PeerClient,
    PeerConnection,
)
from test.fakes.storage_node import Wire, lose
from test.fuzz.mutation import Source
from test.fuzz.target import READ_BYTES, Target, blocks, pieces, want, want_same
from test.unit.client.http_case import NODE, Reader
from test.unit.client.network import Network

_OK = b"HTTP/1.1 200 OK\r\n"
_CHUNKED = _OK + b"Transfer-Encoding: chunked\r\n\r\n"
_FIVE = _OK + b"Content-Length: 5\r\n\r\nhello"
_HEALTHY = _OK + b"Content-Length: 0\r\n\r\n"
_ANSWERS = (
    _FIVE,
    _OK + b"Server: nginx\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
    _CHUNKED + b"2\r\nhe\r\n3;ext=1\r\nllo\r\n0\r\nTrailer: 1\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n" + _FIVE,
    (
        b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 1-3/5\r\n"
        b"Content-Length: 3\r\n\r\nell"
    ),
    b"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nno\n",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    (
        b"HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */5\r\n"
        b"Content-Length: 0\r\n\r\n"
    ),
    b"HTTP/1.0 200 OK\r\n\r\nuntil the end",
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
)
WORDS = (
    b"\r\n",
    b"\n",
    b"\r\n\r\n",
    b": ",
    b" ",
    b"HTTP/1.1 ",
    b"HTTP/1.0 200 OK\r\n",
    b"0\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: 0\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n",
    b"Upgrade: x\r\n",
    b";x",
    b"Connection: upgrade\r\n",
    b"ffffffff\r\n",
    b"X: y\r\n",
    b"\x00",
    b"\xff",
    b"5\r\nhello",
    b"Content-Range: bytes 0-4/5\r\n",
    b"Content-Length: 18446744073709551616\r\n",
    _FIVE,
    b"0\r\n\r\n",
    b"Content-Length: \r\n",
    b"101",
    b"204",
    b"304",
    b"206",
)
#: One input in so many is followed by letters without end.
FLOOD_EVERY = 16
FLOOD = b"a" * 1024


def _flooded(data: bytes) -> bool:
    return crc32(data) % FLOOD_EVERY == 0


# --- a tracker


def run_node_http(data: bytes) -> None:
    """One request over `NodeHttp`."""
    if not data:
        return
    mode, answer = data[0], data[1:]
    want_same(_request(mode, blocks(answer)), _request(mode, pieces(answer)))
    if _flooded(data):
        _flood_request(mode, answer)


class Asked:
    """A request under way."""

    def __init__(self, mode: int) -> None:
        self.network = Network()
        self.http = NodeHttp(self.network.reactor)
        self.reader = Reader()
        self.outcome: object = None
        asking: Any
        if mode % 4 == 0:
            asking = self.http.request(NODE, b"GET", "/dev1/usage")
        elif mode % 4 == 1:
            asking = self.http.request(NODE, b"HEAD", "/dev1/x")
        elif mode % 4 == 2:
            asking = self.http.get(NODE, "/dev1/x", 0, None, self.reader)
        else:
            asking = self.http.get(NODE, "/dev1/x", 1, 3, self.reader)
        done: Deferred[Any] = Deferred.fromCoroutine(asking)
        done.addBoth(self._ended)
        self.wire = self.network.accept()
        (self.connection,) = self.http._pool(NODE)._open

    def _ended(self, result: Any) -> None:
        want(self.outcome is None, "a request is answered twice")
        error = getattr(result, "value", None)
        if error is not None:
            if not isinstance(error, NodeFault):
                raise error
            result = type(error)
        self.outcome = result
        if isinstance(result, Answer):
            want(len(result.body) <= MAX_TEXT_BYTES, "a text is too long")

    def feed(self, data: bytes) -> None:
        """Bytes of the node."""
        if not self.wire.disconnecting:
            self.wire.feed(data)
            kept = sum(map(len, self.connection._body))
            want(kept <= MAX_TEXT_BYTES, "too much is kept of a body")
            heads = [*self.connection._headers.items()]
            want(
                sum(len(name) + len(value) for name, value in heads)
                <= MAX_HEAD_BYTES + READ_BYTES,
                "too much is kept of a head",
            )


def _request(mode: int, parts: list[bytes]) -> object:
    asked = Asked(mode)
    for part in parts:
        asked.feed(part)
    kept = asked.connection.usable and asked.outcome is not None
    if not kept:
        asked.wire.lose()
    asked.network.turn()
    want(asked.outcome is not None, "a request is not answered")
    asked.http.eager(NODE)
    again = Deferred.fromCoroutine(asked.http.request(NODE, b"GET", "/dev1/usage"))
    statuses: list[int] = []
    again.addCallback(lambda answer: statuses.append(answer.status))
    wire = asked.wire if kept else asked.network.accept()
    wire.feed(_HEALTHY)
    want(statuses == [200], "the next request is not answered")
    # Empty lines behind an answer are let pass if they come with it.
    return asked.outcome, asked.reader.data


def _flood_request(mode: int, answer: bytes) -> None:
    asked = Asked(mode)
    reader, connection = asked.reader, asked.connection
    _flood(
        asked,
        answer,
        lambda: len(reader.data) + connection._body_bytes,
        MAX_TEXT_BYTES,
    )
    asked.wire.lose()


# --- another storage node


def run_fetch(data: bytes) -> None:
    """One fetch by `PeerClient`."""
    if not data:
        return
    mode, answer = data[0], data[1:]
    want_same(_fetch(mode, blocks(answer)), _fetch(mode, pieces(answer)))
    if _flooded(data):
        _flood_fetch(mode, answer)


@implementer(IBodySink)
class Sink:
    """Takes files of five bytes, or of any length."""

    def __init__(self, mode: int) -> None:
        self.congested = False
        self.data = b""
        self.begun = False
        self._length = None if mode % 2 else 5

    def begin(self, length: int | None) -> None:
        """See `IBodySink`."""
        want(not self.begun, "a body begins twice")
        self.begun = True
        if self._length is not None and length not in (None, self._length):
            raise CopyCorrupt("of another length")

    def write(self, data: bytes) -> None:
        """See `IBodySink`."""
        want(self.begun, "bytes of a body that has not begun")
        self.data += data


class Fetching:
    """A fetch under way."""

    def __init__(self, mode: int) -> None:
        self.clock = Clock()
        self.wires: list[tuple[PeerConnection, Wire]] = []
        self.client = PeerClient(self.clock, self._connect)
        self.sink = Sink(mode)
        self.outcome: object = None
        self.fetch(self.sink)
        self.connection, self.wire = self.wires[0]

    def _connect(self, ip: str, port: int, factory: Any) -> Deferred[Any]:
        protocol, wire = factory.buildProtocol(None), Wire()
        protocol.makeConnection(wire)
        self.wires.append((protocol, wire))
        return succeed(protocol)

    def fetch(self, sink: Sink) -> None:
        """Begin to."""
        self.outcome = None
        work = self.client.fetch(NODE, "/dev1/x", sink, lambda connection: None)
        Deferred.fromCoroutine(work).addBoth(self._ended)

    def _ended(self, result: Any) -> None:
        want(self.outcome is None, "a fetch ends twice")
        error = getattr(result, "value", None)
        if error is not None and not isinstance(error, KoboldError):
            raise error
        self.outcome = "done" if error is None else type(error)

    def feed(self, data: bytes) -> None:
        """Bytes of the peer, who closes when we do."""
        if not self.wire.disconnecting:
            self.connection.dataReceived(data)


def _fetch(mode: int, parts: list[bytes]) -> object:
    fetching = Fetching(mode)
    for part in parts:
        fetching.feed(part)
    kept = fetching.connection.reusable and not fetching.wire.disconnecting
    if not kept:
        lose(fetching.connection)
    first = fetching.outcome
    want(first is not None, "a fetch does not end")
    fetching.fetch(Sink(0))
    want(len(fetching.wires) == (1 if kept else 2), "a useless connection is kept")
    connection, wire = fetching.wires[-1]
    connection.dataReceived(_FIVE)
    want(fetching.outcome == "done", "the next fetch does not work")
    lose(connection)
    want(not fetching.clock.getDelayedCalls(), "a timer is left")
    return first, fetching.sink.data


def _flood_fetch(mode: int, answer: bytes) -> None:
    fetching = Fetching(mode)
    _flood(fetching, answer, lambda: len(fetching.sink.data), MAX_HEADERS_BYTES)
    lose(fetching.connection)


# --- both


def _flood(
    client: Asked | Fetching, answer: bytes, body_bytes: Callable[[], int], limit: int
) -> None:
    """An answer, and letters without end: those that are no body have an end."""
    for part in blocks(answer):
        client.feed(part)
    quiet_bytes, had = 0, body_bytes()
    for _ in range(4 * limit // len(FLOOD)):
        if client.outcome is not None or client.wire.disconnecting:
            return
        client.feed(FLOOD)
        body = body_bytes()
        quiet_bytes = quiet_bytes + len(FLOOD) if body == had else 0
        had = body
        want(quiet_bytes <= 2 * limit, "bytes without end that are no body")


def _asked_in(modes: int) -> tuple[bytes, ...]:
    return tuple(bytes((mode,)) + one for one in _ANSWERS for mode in range(modes))


NODE_HTTP = Target("node-http", run_node_http, Source(_asked_in(4), WORDS), 1000)
FETCH = Target("fetch", run_fetch, Source(_asked_in(2), WORDS), 1000)
