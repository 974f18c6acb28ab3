"""The lean client: answers of every kind, kept connections, and peers that fail."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from koboldfs.errors import (
    CopyCorrupt,
    CopyMissing,
    DeviceUnavailable,
    NodeFault,
    NodeUnreachable,
)
from koboldfs.storage.fetch import (
    IDLE_SECONDS,
    MAX_CONNECTIONS_PER_HOST,
    MAX_HEADERS_BYTES,
    PROGRESS_SECONDS,
    SINK_SECONDS,
    IBodySink,
    PeerClient,
    PeerConnection,
)
from test.fakes.storage_node import Wire, lose

ADDRESS = ("10.0.0.1", 7500)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
INTERIM = b"HTTP/1.1 102 Processing\r\nContent-Length: 3\r\n\r\n"
SWITCHING = b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
)


@implementer(IBodySink)
class Sink:
    """Collects."""

    def __init__(self, limit: int | None = None) -> None:
        self.data = b""
        self.length: object = "never"
        self.limit = limit
        self.congested = False

    def begin(self, length: int | None) -> None:
        """See `IBodySink`."""
        self.length = length
        if self.limit is not None and length != self.limit:
            raise CopyCorrupt("a test")

    def write(self, data: bytes) -> None:
        """See `IBodySink`."""
        self.data += data


class Peers:
    """Connects to nowhere; the test is the peer."""

    def __init__(self) -> None:
        self.connections: list[tuple[Any, Wire]] = []
        self.refuse = False

    def connect(self, ip: str, port: int, factory: Any) -> Deferred[Any]:
        """See `koboldfs.storage.fetch.Connect`."""
        if self.refuse:
            return fail(OSError("refused"))
        protocol, wire = factory.buildProtocol(None), Wire()
        protocol.makeConnection(wire)
        self.connections.append((protocol, wire))
        return succeed(protocol)


class FetchCase(SynchronousTestCase):
    """A client."""

    def setUp(self) -> None:
        """The client."""
        self.clock, self.peers = Clock(), Peers()
        self.client = PeerClient(self.clock, self.peers.connect)
        self.started: list[PeerConnection] = []

    def fetch(self, sink: Sink, address: tuple[str, int] = ADDRESS) -> Deferred[None]:
        """Begin to fetch a file."""
        return Deferred.fromCoroutine(
            self.client.fetch(address, "/dev1/x", sink, self.started.append)
        )

    def say(self, data: bytes, number: int = -1) -> Wire:
        """The peer of a connection says something."""
        protocol, wire = self.peers.connections[number]
        protocol.dataReceived(data)
        return wire


class Answers(FetchCase):
    """One answer."""

    def test_whole(self) -> None:
        """The request as it goes out, and the body as it comes, byte by byte."""
        sink = Sink(5)
        running = self.fetch(sink)
        _, wire = self.peers.connections[0]
        request = b"GET /dev1/x HTTP/1.1\r\nHost: 10.0.0.1:7500\r\n\r\n"
        self.assertEqual(wire.value(), request)
        for number in range(len(OK)):
            self.assertNoResult(running)
            self.say(OK[number : number + 1])
        self.successResultOf(running)
        self.assertEqual((sink.data, sink.length), (b"hello", 5))

    def test_ipv6(self) -> None:
        """An IPv6 address has brackets in Host."""
        self.fetch(Sink(), ("fd00::1", 80))
        self.assertIn(b"Host: [fd00::1]:80\r\n", self.peers.connections[0][1].value())

    def test_other_shapes(self) -> None:
        """Chunked, empty, behind an interim answer, and ended by the connection."""
        for answer, body, ends in (
            (CHUNKED, b"hello", False),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"", False),
            (b"HTTP/1.1 102 Processing\r\n\r\n" + OK, b"hello", False),
            (b"HTTP/1.0 200 OK\r\n\r\nhello", b"hello", True),
            (INTERIM + b"HTTP/1.0 200 OK\r\n\r\nhello", b"hello", True),
        ):
            self.setUp()
            sink = Sink()
            running = self.fetch(sink)
            self.say(answer)
            if ends:
                self.assertNoResult(running)
                lose(self.peers.connections[0][0])
            self.successResultOf(running)
            self.assertEqual(sink.data, body)

    def test_refusals(self) -> None:
        """Missing, anything but 200, not wanted, not HTTP: the connection is cut."""
        for answer, kind in (
            (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", CopyMissing),
            (b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", NodeFault),
            (b"HTTP/1.1 206 Part\r\nContent-Length: 5\r\n\r\nhello", NodeFault),
            (b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", NodeFault),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n", CopyCorrupt),
            (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", NodeFault),
            (b"SSH-2.0-OpenSSH\r\n", NodeFault),
            (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000, NodeFault),
            (SWITCHING, NodeFault),
        ):
            self.setUp()
            sink = Sink(5)
            running = self.fetch(sink)
            wire = self.say(answer)
            self.failureResultOf(running, kind)
            self.assertTrue(wire.aborted)
            self.assertEqual(sink.data, b"")
            lose(self.peers.connections[0][0])
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_behind(self) -> None:
        """What comes behind an answer is no part of it, and ends the connection, also
        when both come in one piece."""
        for behind in (OK, b"\x00nonsense", OK[:-1]):
            self.setUp()
            sink = Sink(5)
            running = self.fetch(sink)
            wire = self.say(OK + behind)
            self.successResultOf(running)
            self.assertEqual(sink.data, b"hello")
            self.assertTrue(wire.disconnecting)

    def test_in_pieces(self) -> None:
        """The rest of a long body goes to the sink as it comes, up to its length; an
        answer on the same connection follows if nothing is behind the first."""
        for last, kept in ((b"lo", True), (b"lo" + OK, False), (b"lo!", False)):
            self.setUp()
            sink = Sink(5)
            running = self.fetch(sink)
            self.say(OK[:-4])
            self.say(b"el")
            self.assertNoResult(running)
            self.assertEqual(sink.data, b"hel")
            wire = self.say(last)
            self.successResultOf(running)
            self.assertEqual(sink.data, b"hello")
            self.assertEqual(wire.disconnecting, not kept)
            if kept:
                running = self.fetch(sink := Sink(5))
                self.say(OK)
                self.successResultOf(running)
                self.assertEqual(sink.data, b"hello")
                self.assertEqual(len(self.peers.connections), 1)

    def test_both_lengths(self) -> None:
        """Chunks are never taken for bytes of the body, whatever length is said."""
        running = self.fetch(sink := Sink())
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n"
        self.say(head + b"Transfer-Encoding: chunked\r\n\r\n")
        self.say(b"5\r\nhello\r\n0\r\n\r\n")
        self.assertIn(sink.data, (b"", b"hello"))
        running.addErrback(lambda failure: failure.trap(NodeFault))
        self.successResultOf(running)

    def test_endless(self) -> None:
        """What is no body is not kept without end: trailers, heads of chunks."""
        for begun in (CHUNKED[:-2] + b"X: ", CHUNKED[:-5] + b"5;x="):
            self.setUp()
            running = self.fetch(Sink())
            self.say(begun)
            for _ in range(MAX_HEADERS_BYTES // 1000):
                self.assertNoResult(running)
                self.say(b"y" * 1000)
            self.say(b"y" * 1000)
            self.failureResultOf(running, NodeFault)

    def test_long_head(self) -> None:
        """A head may be so long and no longer, however it is cut."""
        start, end = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: ", b"\r\n\r\n"
        for length in (MAX_HEADERS_BYTES, MAX_HEADERS_BYTES + 1):
            head = start + b"y" * (length - len(start) - len(end)) + end
            for cut in (0, 1, length - 100, length - 1, length, length + 2):
                self.setUp()
                sink = Sink()
                running = self.fetch(sink)
                answer = head + b"hello"
                for piece in (answer[:cut], answer[cut:]):
                    if piece and not running.called:
                        self.say(piece)
                if length > MAX_HEADERS_BYTES:
                    self.failureResultOf(running, NodeFault)
                else:
                    self.successResultOf(running)

    def test_peer_goes(self) -> None:
        """A connection lost before the end of the body is no success."""
        for said in (b"", b"HTTP/1.1 200", OK[:-1]):
            self.setUp()
            running = self.fetch(Sink())
            self.say(said)
            self.peers.connections[0][0].connectionLost(Failure(ConnectionLost()))
            self.failureResultOf(running, NodeUnreachable)

    def test_no_connection(self) -> None:
        """A peer that cannot be reached."""
        self.peers.refuse = True
        self.failureResultOf(self.fetch(Sink()), NodeUnreachable)


class Flow(FetchCase):
    """Time and backpressure."""

    def test_stall(self) -> None:
        """Progress is what counts, not the whole."""
        running = self.fetch(Sink())
        for number in range(len(OK) - 1):
            self.clock.advance(PROGRESS_SECONDS - 1)
            self.say(OK[number : number + 1])
        self.assertNoResult(running)
        self.clock.advance(PROGRESS_SECONDS)
        self.failureResultOf(running, NodeUnreachable)

    def test_pauses(self) -> None:
        """A congested sink stops the reading, and its slowness is not the peer's."""
        sink = Sink()
        running = self.fetch(sink)
        sink.congested = True
        wire = self.say(OK[:-2])
        self.assertFalse(wire.reading)
        self.clock.advance(1)
        self.say(OK[-2:-1])  # was on its way
        self.clock.advance(SINK_SECONDS - 2)
        self.assertNoResult(running)
        sink.congested = False
        self.started[0].resume()
        self.assertTrue(wire.reading)
        self.say(OK[-1:])
        self.successResultOf(running)

    def test_hanging_sink(self) -> None:
        """A sink that stays congested loses its connection, by a fault of its own."""
        sink = Sink()
        running = self.fetch(sink)
        sink.congested = True
        wire = self.say(OK[:-2])
        self.clock.advance(SINK_SECONDS)
        self.failureResultOf(running, DeviceUnavailable)
        self.assertTrue(wire.aborted)

    def test_given_up(self) -> None:
        """Whoever wants no more ends it with a reason; later that changes nothing."""
        running = self.fetch(Sink())
        wire = self.say(OK[:-2])
        self.started[0].give_up(CopyCorrupt("a test"))
        self.started[0].give_up(CopyCorrupt("again"))
        self.failureResultOf(running, CopyCorrupt)
        self.assertTrue(wire.aborted)


class Keeping(FetchCase):
    """Kept connections."""

    def test_reused(self) -> None:
        """The next fetch takes the kept connection."""
        for _ in range(3):
            running = self.fetch(Sink(5))
            self.say(OK)
            self.successResultOf(running)
        self.assertEqual(len(self.peers.connections), 1)

    def test_not_kept(self) -> None:
        """One that the peer will close is not kept."""
        running = self.fetch(Sink())
        wire = self.say(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        self.successResultOf(running)
        self.assertTrue(wire.disconnecting)
        self.fetch(Sink())
        self.assertEqual(len(self.peers.connections), 2)

    def test_closed_meanwhile(self) -> None:
        """A kept connection that the peer closes is forgotten, or the request that
        crossed with the closing is sent again, once."""
        self.fetch(Sink())
        self.say(OK)
        lose(self.peers.connections[0][0])
        running = self.fetch(Sink())
        self.say(OK)
        self.successResultOf(running)
        self.assertEqual(len(self.peers.connections), 2)
        sink = Sink()
        running = self.fetch(sink)
        lose(self.peers.connections[1][0])
        self.assertEqual(len(self.peers.connections), 3)
        self.say(OK)
        self.successResultOf(running)
        self.assertEqual(sink.data, b"hello")

    def test_not_repeated_once_answered(self) -> None:
        """After the first byte of an answer nothing is sent again: the sink has it."""
        self.fetch(Sink())
        self.say(OK)
        running = self.fetch(Sink())
        self.say(OK[:-1])
        lose(self.peers.connections[0][0])
        self.failureResultOf(running, NodeUnreachable)
        self.assertEqual(len(self.peers.connections), 1)

    def test_idle_end(self) -> None:
        """A connection that nobody uses is closed; so is one that talks unasked."""
        self.fetch(Sink())
        wire = self.say(OK)
        self.clock.advance(IDLE_SECONDS)
        self.assertTrue(wire.disconnecting)
        lose(self.peers.connections[0][0])
        self.fetch(Sink())
        self.say(OK)
        self.assertTrue(self.say(b"HTTP/1.1 200 OK\r\n").aborted)

    def test_limit(self) -> None:
        """So many connections to a host, and no more; the others wait their turn."""
        waiting = [self.fetch(Sink()) for _ in range(MAX_CONNECTIONS_PER_HOST + 3)]
        self.assertEqual(len(self.peers.connections), MAX_CONNECTIONS_PER_HOST)
        self.fetch(Sink(), ("10.0.0.2", 7500))
        self.assertEqual(len(self.peers.connections), MAX_CONNECTIONS_PER_HOST + 1)
        for _ in range(4):
            self.say(OK, 0)
        self.assertEqual(sum(one.called for one in waiting), 4)
        self.assertEqual(len(self.peers.connections), MAX_CONNECTIONS_PER_HOST + 1)

    def test_close(self) -> None:
        """At the end, kept connections are cut."""
        self.fetch(Sink())
        wire = self.say(OK)
        self.client.close()
        self.assertTrue(wire.aborted)
