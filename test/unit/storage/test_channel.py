"""What the storage node relies on in twisted.web: breaks when that works otherwise."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.storage import channel as rooms
from koboldfs.storage.channel import (
    BODY_STALL_SECONDS,
    IDLE_SECONDS,
    BodyRequest,
    StorageChannel,
    StorageSite,
)
from test.fakes.storage_node import Wire, lose

HEAD = b"PUT /path HTTP/1.1\r\nHost: x\r\n"


class Recorder(BodyRequest):
    """Notes what it is told."""

    notes: list[Any]

    def begin(self, length: int | None) -> None:
        """See `BodyRequest`."""
        self.notes.append(("begin", self.method, self.uri, self.clientproto, length))

    def take(self, data: bytes) -> None:
        """See `BodyRequest`."""
        self.notes.append(data)

    def answer(self) -> None:
        """See `BodyRequest`."""
        self.notes.append(("answer", self.trailers))
        self.startedWriting = 1
        self.channel.write(b"answer ")
        self.finish()

    def lost(self) -> None:
        """See `BodyRequest`."""
        self.notes.append("lost")


class ChannelCase(SynchronousTestCase):
    """One connection."""

    def setUp(self) -> None:
        """The connection."""
        self.clock = Clock()
        self.notes: list[Any] = []

        def make(channel: StorageChannel) -> Recorder:
            request = Recorder(channel)
            request.notes = self.notes
            return request

        self.site = StorageSite(self.clock, make)
        self.channel, self.wire = self.connect()

    def connect(self) -> tuple[Any, Wire]:
        """Another connection."""
        channel, wire = self.site.buildProtocol(None), Wire()
        assert channel is not None
        channel.makeConnection(wire)
        return channel, wire


class Bodies(ChannelCase):
    """Requests hear of their body as it comes."""

    def test_length(self) -> None:
        """At the end of the headers all is known; the pieces come as they come."""
        self.channel.dataReceived(HEAD + b"Content-Length: 6\r\n\r")
        self.assertEqual(self.notes, [])
        self.channel.dataReceived(b"\nabc")
        begin = ("begin", b"PUT", b"/path", b"HTTP/1.1", 6)
        self.assertEqual(self.notes, [begin, b"abc"])
        self.channel.dataReceived(b"def")
        self.assertEqual(self.notes[2:], [b"def", ("answer", [])])

    def test_chunked(self) -> None:
        """A chunked body has no length, and its trailers come with the answer."""
        self.channel.dataReceived(
            HEAD
            + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nA: b\r\nC: d\r\n"
        )
        begin = ("begin", b"PUT", b"/path", b"HTTP/1.1", None)
        self.assertEqual(self.notes, [begin, b"abc"])
        self.channel.dataReceived(b"\r\n")
        self.assertEqual(self.notes[2:], [("answer", [b"A: b", b"C: d"])])

    def test_peer_goes(self) -> None:
        """A connection lost in the middle of a body is told once; one lost after the
        answer is not."""
        self.channel.dataReceived(HEAD + b"Content-Length: 6\r\n\r\nabc")
        lose(self.channel)
        self.assertEqual(self.notes[-2:], [b"abc", "lost"])
        self.notes.clear()
        channel, _ = self.connect()
        channel.dataReceived(HEAD + b"Content-Length: 0\r\n\r\n")
        lose(channel)
        self.assertEqual([note[0] for note in self.notes], ["begin", "answer"])

    def test_pipelined(self) -> None:
        """The next request is parsed when the last one was answered."""
        self.channel.dataReceived((HEAD + b"Content-Length: 1\r\n\r\nx") * 3)
        self.assertEqual(self.wire.value(), b"answer " * 3)

    def test_large_body_is_not_kept(self) -> None:
        """Nothing of twisted.web keeps what was handed on."""
        self.channel.dataReceived(HEAD + b"Content-Length: 99999999\r\n\r\n")
        self.channel.dataReceived(b"x" * 100_000)
        request = self.channel.requests[-1]
        self.assertIsNone(request.content)
        self.assertEqual(self.channel._dataBuffer, [])
        lose(self.channel)


class BadBytes(ChannelCase):
    """Bytes that make no sense end a connection, and a body that has begun."""

    BAD = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

    def refused(self, *pieces: bytes) -> None:
        """The bytes are answered 400 once; no request is answered, now or later."""
        channel, wire = self.connect()
        self.notes.clear()
        for piece in pieces:
            channel.dataReceived(piece)
        channel.dataReceived(b"\r\n\r\n0\r\n\r\n" + HEAD + b"Content-Length: 0\r\n\r\n")
        self.assertEqual(wire.value(), self.BAD, pieces)
        self.assertTrue(wire.disconnecting)
        self.assertNotIn("answer", [note[0] for note in self.notes])
        lose(channel)

    def test_heads(self) -> None:
        """Lengths that contradict each other or are none, unknown encodings, names
        that are none, NULs, and far too much of it."""
        for line in (
            b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
            b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nhello",
            b"Content-Length: -5\r\n\r\n",
            b"Content-Length: +5\r\n\r\nhello",
            b"Content-Length: 0x5\r\n\r\nhello",
            b"Content-Length: 5, 5\r\n\r\nhello",
            b"Content-Length: %s\r\n\r\nhello" % (b"9" * 5000),
            b"Transfer-Encoding: gzip\r\n\r\n",
            b"no colon\r\n\r\n",
            b"Name : x\r\n\r\n",
            b"X: \0\r\n\r\n",
            b"X: y\r\n" * 101 + b"\r\n",
            b"X: " + b"y" * 8000 + b"\r\nZ: " + b"y" * 9000 + b"\r\n\r\n",
        ):
            self.refused(HEAD + line)

    def test_request_lines(self) -> None:
        """What is no request of HTTP/1.0 or 1.1."""
        for line in (
            b"GET /\r\n",
            b"GET / HTTP/2.0\r\n",
            b"GET /\0 HTTP/1.1\r\n",
            b"G@T / HTTP/1.1\r\n",
            b"GET  / HTTP/1.1\r\n",
            b"\r\n\r\n",
        ):
            self.refused(line)

    def test_chunks(self) -> None:
        """A broken chunk spoils the body: there will be no end of it."""
        head = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
        for body in (
            b"x\r\nabc\r\n0\r\n\r\n",
            b"-3\r\nabc\r\n0\r\n\r\n",
            b"3\r\nabcX\r\n0\r\n\r\n",
            b"3" * 2000,
        ):
            self.refused(head + body)
            self.assertEqual(self.notes[-1], "lost")
            self.assertEqual(self.notes.count("lost"), 1)

    def test_after_an_answer_began(self) -> None:
        """When an answer to the request is out already, there is no second one."""
        channel, wire = self.connect()
        channel.dataReceived(HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
        request = channel.requests[-1]
        request.startedWriting = 1
        channel.dataReceived(b"nonsense\r\n")
        self.assertEqual(wire.value(), b"")
        self.assertTrue(wire.disconnecting)
        lose(channel)

    def test_long_line(self) -> None:
        """A line without an end is not kept for ever."""
        channel, wire = self.connect()
        channel.dataReceived(b"GET /" + b"x" * 20_000)
        self.assertTrue(wire.disconnecting)
        lose(channel)


class Persistence(ChannelCase):
    """Which connections stay open."""

    def test_versions(self) -> None:
        """HTTP/1.1 unless it says close, HTTP/1.0 only when it says keep-alive."""
        for version, line, stays in (
            (b"1.1", b"", True),
            (b"1.1", b"Connection: close\r\n", False),
            (b"1.1", b"Connection: x, Close\r\n", False),
            (b"1.1", b"Connection: x\r\nConnection: close\r\n", False),
            (b"1.0", b"", False),
            (b"1.0", b"Connection: Keep-Alive, keep-alive\r\n", True),
            (b"1.0", b"Connection: close\r\n", False),
        ):
            channel, wire = self.connect()
            channel.dataReceived(b"GET / HTTP/%s\r\n%s\r\n" % (version, line))
            self.assertEqual(not wire.disconnecting, stays, (version, line))
            lose(channel)


class Times(ChannelCase):
    """How long a connection may be silent."""

    def test_idle(self) -> None:
        """A connection without a request, and one between two of them."""
        self.clock.advance(IDLE_SECONDS - 1)
        self.channel.dataReceived(HEAD + b"Content-Length: 1\r\n\r\nx")
        self.clock.advance(IDLE_SECONDS - 1)
        self.assertFalse(self.wire.disconnecting)
        self.clock.advance(1)
        self.assertTrue(self.wire.disconnecting)
        lose(self.channel)

    def test_stalled_body(self) -> None:
        """A body of which nothing comes; one of which something comes is fine."""
        self.channel.dataReceived(HEAD + b"Content-Length: 9\r\n\r\nx")
        for _ in range(5):
            self.clock.advance(BODY_STALL_SECONDS - 1)
            self.channel.dataReceived(b"x")
        self.clock.advance(BODY_STALL_SECONDS)
        self.assertTrue(self.wire.disconnecting)
        lose(self.channel)

    def test_paused_body(self) -> None:
        """While we are the slow one nothing is read and nobody stalls."""
        self.channel.dataReceived(HEAD + b"Content-Length: 9\r\n\r\nx")
        self.channel.pause_body()
        self.assertFalse(self.wire.reading)
        self.clock.advance(BODY_STALL_SECONDS * 10)
        self.assertFalse(self.wire.disconnecting)
        self.channel.resume_body()
        self.assertTrue(self.wire.reading)
        self.clock.advance(BODY_STALL_SECONDS)
        self.assertTrue(self.wire.disconnecting)
        lose(self.channel)

    def test_unread_answer(self) -> None:
        """The last answer is not waited for to be read for ever."""
        self.channel.dataReceived(b"GET / HTTP/1.0\r\n\r\n")
        self.assertTrue(self.wire.disconnecting)
        self.clock.advance(IDLE_SECONDS - 1)
        self.assertFalse(self.wire.aborted)
        self.clock.advance(1)
        self.assertTrue(self.wire.aborted)
        lose(self.channel)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_reader_that_does_not_read(self) -> None:
        """While answers wait to be sent no more requests are read or answered, also
        of those that came already; then they are, in order."""
        write = self.wire.write

        def fill(data: bytes) -> None:
            write(data)
            self.channel.pauseProducing()

        self.patch(self.wire, "write", fill)
        get = b"GET / HTTP/1.1\r\n\r\n"
        self.channel.dataReceived(get * 2 + get[:5])
        self.assertEqual(self.wire.value(), b"answer ")
        self.assertFalse(self.wire.reading)
        self.channel.resumeProducing()
        self.assertEqual(self.wire.value(), b"answer " * 2)
        self.assertFalse(self.wire.reading)
        self.channel.resumeProducing()
        self.assertTrue(self.wire.reading)
        self.channel.dataReceived(get[5:])
        self.assertEqual(self.wire.value(), b"answer " * 3)
        lose(self.channel)


class Sites(ChannelCase):
    """`StorageSite`"""

    def test_too_many_connections(self) -> None:
        """Beyond the limit there is none, until one ends."""
        self.patch(rooms, "MAX_CONNECTIONS", 2)
        other, _ = self.connect()
        self.assertIsNone(self.site.buildProtocol(None))
        lose(other)
        self.connect()

    def test_abstract(self) -> None:
        """`BodyRequest` itself answers nothing."""
        words = {"begin", "take", "answer", "lost"}
        self.assertEqual(BodyRequest.__abstractmethods__, words)
