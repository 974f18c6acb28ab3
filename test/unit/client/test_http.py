"""Tests of koboldfs.client.http and the rooms below it: connections, pool, ranges."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.client import http_pool
from koboldfs.client.http import ANSWER_TIMEOUT_SECONDS, Answer, NodeHttp
from koboldfs.client.http_connection import (
    CONSUMER_STALL_SECONDS,
    MAX_HEAD_BYTES,
    MAX_TEXT_BYTES,
)
from koboldfs.errors import CopyMissing, NodeFault, NodeUnreachable
from test.unit.client.network import Network, Wire, start

NODE = ("10.0.0.1", 7500)
FIVE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Reader:
    """An IConsumer that keeps what it gets."""

    def __init__(self, fault: Exception | None = None) -> None:
        self.data = b""
        self.producer: Any = None
        self.fault = fault

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Bytes will come."""
        self.producer = producer

    def unregisterProducer(self) -> None:
        """No more bytes will come."""
        self.producer = None

    def write(self, data: bytes) -> None:
        """Take bytes."""
        if self.fault is not None:
            raise self.fault
        self.data += data


class HttpCase(SynchronousTestCase):
    """A `NodeHttp` on a network in memory."""

    def setUp(self) -> None:
        """No connection yet."""
        self.network = Network()
        self.http = NodeHttp(self.network.reactor)

    def ask(
        self, method: bytes = b"GET", path: str = "/dev1/usage"
    ) -> Deferred[Answer]:
        """One request."""
        return start(self.http.request(NODE, method, path))

    def get(
        self, reader: Reader, begin: int = 0, length: int | None = None
    ) -> Deferred[int]:
        """One GET into a reader."""
        return start(self.http.get(NODE, "/dev1/x", begin, length, reader))

    def answered(self, answer: bytes, method: bytes = b"GET") -> Deferred[Answer]:
        """A request that was answered so, on a new connection."""
        self.setUp()
        asked = self.ask(method)
        self.network.accept().feed(answer)
        return asked

    def kept(self) -> Wire:
        """A connection that has served one request and is kept."""
        asked = self.ask()
        wire = self.network.accept()
        wire.feed(EMPTY)
        self.successResultOf(asked)
        wire.take()
        return wire


class RequestTests(HttpCase):
    """`NodeHttp.request`."""

    def test_bytes(self) -> None:
        """Requests are written so, in one piece."""
        self.ask(b"DELETE", "/dev1/x")
        self.assertEqual(
            self.network.accept().take(),
            b"DELETE /dev1/x HTTP/1.1\r\nHost: 10.0.0.1:7500\r\n"
            b"Connection: keep-alive\r\n\r\n",
        )
        start(self.http.request(NODE, b"PUT", "/dev1/x", b"abc"))
        self.assertEqual(
            self.network.accept().take(),
            b"PUT /dev1/x HTTP/1.1\r\nHost: 10.0.0.1:7500\r\n"
            b"Connection: keep-alive\r\nContent-Length: 3\r\n\r\nabc",
        )

    def test_answers_split_at_every_byte(self) -> None:
        """An answer is understood however it is cut."""
        for answer in (
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: 1\r\n\r\nhello",
            CHUNKED + b"2\r\nhe\r\n3\r\nllo\r\n0\r\nTrailer: 1\r\n\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\n" + FIVE + b"\r\nhello",
        ):
            for cut in range(1, len(answer)):
                self.setUp()
                asked = self.ask()
                wire = self.network.accept()
                wire.feed(answer[:cut])
                self.assertNoResult(asked)
                wire.feed(answer[cut:])
                result = self.successResultOf(asked)
                self.assertEqual((result.status, result.body), (200, b"hello"))
                again = self.ask()
                wire.feed(EMPTY)
                self.successResultOf(again)

    def test_head(self) -> None:
        """The answer to a HEAD has no body, whatever length it says."""
        wire = self.kept()
        for length in (b"0", b"100", b"5000000000"):
            asked = self.ask(b"HEAD")
            wire.feed(b"HTTP/1.1 200 OK\r\nContent-Length: " + length + b"\r\n\r\n")
            answer = self.successResultOf(asked)
            self.assertEqual(answer.headers[b"content-length"], length)
        self.assertEqual(self.network.attempts, 0)

    def test_until_the_end(self) -> None:
        """A text without a length ends with the connection."""
        asked = self.ask()
        wire = self.network.accept()
        wire.feed(b"HTTP/1.0 200 OK\r\n\r\nall of it")
        self.assertNoResult(asked)
        wire.lose()
        self.assertEqual(self.successResultOf(asked).body, b"all of it")

    def test_garbage(self) -> None:
        """What is no HTTP fails the request and closes the connection."""
        for answer in (
            b"SSH-2.0-OpenSSH\r\n",
            b"HTTP/1.1 abc\r\n\r\n",
            b"\x00\x01\x02",
            b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
            FIVE + b"Transfer-Encoding: chunked\r\n\r\n",
            CHUNKED + b"xyz\r\n",
            b"HTTP/1.1 200 OK\r\nBad Header\r\n\r\n",
            b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        ):
            asked = self.answered(answer)
            self.failureResultOf(asked, NodeFault)
            self.network.turn()
            self.ask()
            self.assertEqual(self.network.attempts, 1, answer)

    def test_endless_headers(self) -> None:
        """Headers have a limit, one by one and together."""
        for header in (b"X: " + b"y" * 1000 + b"\r\n", b"y" * 1000):
            self.setUp()
            asked = self.ask()
            wire = self.network.accept()
            wire.feed(b"HTTP/1.1 200 OK\r\n")
            for _ in range(MAX_HEAD_BYTES // 1000 + 1):
                wire.feed(header)
            self.failureResultOf(asked, NodeFault)

    def test_endless_informational_answers(self) -> None:
        """A server cannot go on with 100 Continue for ever."""
        asked = self.answered(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)
        self.failureResultOf(asked, NodeFault)

    def test_long_text(self) -> None:
        """Of a text that is too long only the beginning is kept."""
        body = b"x" * (MAX_TEXT_BYTES + 1)
        asked = self.answered(
            b"HTTP/1.1 500 No\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )
        answer = self.successResultOf(asked)
        self.assertEqual((answer.status, answer.truncated), (500, True))
        self.assertEqual(len(answer.body), MAX_TEXT_BYTES)

    def test_bytes_too_many(self) -> None:
        """Bytes behind an answer are nobody's, and end the connection."""
        asked = self.answered(EMPTY + EMPTY)
        self.assertEqual(self.successResultOf(asked).status, 200)
        again = self.ask()
        self.assertEqual(self.network.attempts, 1)
        self.assertNoResult(again)

    def test_unasked_bytes(self) -> None:
        """Bytes on an idle connection end it; they answer no later request."""
        wire = self.kept()
        wire.feed(b"HTTP/1.1 408 Timeout\r\nContent-Length: 0\r\n\r\n")
        asked = self.ask()
        self.assertEqual(self.network.attempts, 1)
        self.assertNoResult(asked)

    def test_deadline(self) -> None:
        """A node that does not answer is away; dribbling headers do not help it."""
        asked = self.ask()
        wire = self.network.accept()
        for _ in range(int(ANSWER_TIMEOUT_SECONDS) - 1):
            self.network.wait(0.5)
            wire.feed(b"HTTP/1.1 200 OK\r\n" if _ == 0 else b"X: y\r\n")
        self.assertNoResult(asked)
        self.network.wait(ANSWER_TIMEOUT_SECONDS)
        self.failureResultOf(asked, NodeUnreachable)
        self.assertTrue(wire.gone)

    def test_cancel(self) -> None:
        """A cancelled request closes its connection."""
        asked = self.ask()
        wire = self.network.accept()
        asked.cancel()
        self.failureResultOf(asked)
        self.network.turn()
        self.assertTrue(wire.gone)


class PoolTests(HttpCase):
    """Connections are kept, bounded, and made anew when they were closed."""

    def test_kept(self) -> None:
        """The next request uses the same connection."""
        wire = self.kept()
        self.ask()
        self.assertEqual(self.network.attempts, 0)
        self.assertIn(b"GET", wire.take())

    def test_not_kept(self) -> None:
        """A node that closes after its answer is not asked again on it."""
        for answer in (
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        ):
            self.successResultOf(self.answered(answer))
            self.ask()
            self.assertEqual(self.network.attempts, 1)

    def test_kept_by_http_1_0(self) -> None:
        """An old server that says keep-alive is taken at its word."""
        asked = self.answered(
            b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n"
        )
        self.successResultOf(asked)
        self.ask()
        self.assertEqual(self.network.attempts, 0)

    def test_stale(self) -> None:
        """A kept connection that turns out to be closed is replaced, once."""
        wire = self.kept()
        asked = self.ask()
        wire.lose()
        self.network.accept().feed(EMPTY)
        self.successResultOf(asked)

    def test_stale_twice(self) -> None:
        """A new connection that is closed without an answer is an error."""
        wire = self.kept()
        asked = self.ask()
        wire.lose()
        self.network.accept().lose()
        self.failureResultOf(asked, NodeUnreachable)
        self.assertEqual(self.network.attempts, 0)

    def test_broken_in_the_answer(self) -> None:
        """A connection that breaks within an answer is not tried again."""
        wire = self.kept()
        asked = self.ask()
        wire.feed(b"HTTP/1.1 200 OK\r\nContent-Le")
        wire.lose()
        self.failureResultOf(asked, NodeUnreachable)

    def test_idle(self) -> None:
        """A connection that nobody needs is closed, and the timer ends."""
        wire = self.kept()
        self.network.wait(http_pool.IDLE_SECONDS + 1)
        self.assertTrue(wire.gone)
        self.network.wait(1)
        self.assertEqual(self.network.reactor.getDelayedCalls(), [])

    def test_limit(self) -> None:
        """Requests beyond the limit wait for a connection, in order."""
        self.patch(http_pool, "MAX_CONNECTIONS_PER_HOST", 2)
        asked = [self.ask(path=f"/{number}") for number in range(4)]
        wires = [self.network.accept(), self.network.accept()]
        self.assertEqual(self.network.attempts, 0)
        wires[1].take()
        wires[1].feed(EMPTY)
        self.successResultOf(asked[1])
        self.assertIn(b"GET /2 ", wires[1].take())
        wires[0].lose()
        self.failureResultOf(asked[0], NodeUnreachable)
        self.assertIn(b"GET /3 ", self.network.accept().take())

    def test_wait_has_an_end(self) -> None:
        """Who waits for a connection waits so long and no longer."""
        self.patch(http_pool, "MAX_CONNECTIONS_PER_HOST", 1)
        start(self.http.get(NODE, "/x", 0, None, Reader(), timeout_seconds=1000))
        self.network.accept()
        asked = self.ask()
        self.network.wait(http_pool.TURN_TIMEOUT_SECONDS + 1)
        self.failureResultOf(asked, NodeUnreachable)

    def test_too_many_wait(self) -> None:
        """There is a limit to those who wait."""
        self.patch(http_pool, "MAX_CONNECTIONS_PER_HOST", 1)
        self.patch(http_pool, "MAX_WAITING_PER_HOST", 1)
        self.ask()
        self.ask()
        self.failureResultOf(self.ask(), NodeFault)

    def test_bursts(self) -> None:
        """Connections are not made all at once."""
        self.patch(http_pool, "MAX_CONNECTING_PER_HOST", 2)
        for _ in range(5):
            self.ask()
        self.assertEqual(self.network.attempts, 2)
        for left in (2, 2, 2, 1, 0):
            self.network.accept()
            self.assertEqual(self.network.attempts, left)

    def test_refused(self) -> None:
        """A host that refuses connections costs nothing for a while; all that wait
        for it fail at once."""
        self.patch(http_pool, "MAX_CONNECTING_PER_HOST", 1)
        asked = [self.ask() for _ in range(3)]
        self.network.refuse()
        for one in asked:
            self.failureResultOf(one, NodeUnreachable)
        self.failureResultOf(self.ask(), NodeUnreachable)
        self.assertEqual(self.network.attempts, 0)
        self.http.eager(NODE)
        self.ask()
        self.assertEqual(self.network.attempts, 1)

    def test_stop(self) -> None:
        """Stopping closes what is idle, busy and being made, and waits for it."""
        wire = self.kept()
        busy = self.ask()
        connecting = self.ask()
        stopped = start(self.http.stop())
        self.failureResultOf(busy, NodeUnreachable)
        self.failureResultOf(connecting, NodeUnreachable)
        self.assertNoResult(stopped)
        self.network.turn()
        self.successResultOf(stopped)
        self.assertTrue(wire.gone)
        self.failureResultOf(self.ask(), NodeUnreachable)


class GetTests(HttpCase):
    """`NodeHttp.get`."""

    def served(
        self, answer: bytes, begin: int = 0, length: int | None = None
    ) -> tuple[Deferred[int], Reader]:
        """A GET that was answered so."""
        self.setUp()
        reader = Reader()
        got = self.get(reader, begin, length)
        self.network.accept().feed(answer)
        return got, reader

    def test_range_request(self) -> None:
        """A range is asked for exactly; no range for a whole file."""
        for begin, length, header in (
            (0, None, None),
            (5, None, b"bytes=5-"),
            (0, 1, b"bytes=0-0"),
            (5, 10, b"bytes=5-14"),
        ):
            self.setUp()
            self.get(Reader(), begin, length)
            sent = self.network.accept().take()
            if header is None:
                self.assertNotIn(b"Range", sent)
            else:
                self.assertIn(b"\r\nRange: " + header + b"\r\n", sent)

    def test_server_without_ranges(self) -> None:
        """Of a whole file that comes instead, only what was asked for is passed on."""
        whole = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789"
        for begin, length in ((3, 4), (0, 10), (9, 5), (10, 5), (20, 1), (0, 1)):
            got, reader = self.served(whole, begin, length)
            self.assertEqual(reader.data, b"0123456789"[begin : begin + length])
            self.assertEqual(self.successResultOf(got), len(reader.data))

    def test_wrong_ranges(self) -> None:
        """A part that is not the one that was asked for is an error, not data."""
        for span, size in (
            (b"bytes 0-3/10", 4),
            (b"bytes 3-7/10", 5),
            (b"bytes 3-5/10", 3),
            (b"bytes 3-6/10", 5),
            (b"bytes 3-7/*", 5),
            (b"bytes 6-3/10", 4),
            (b"nonsense", 4),
        ):
            got, reader = self.served(
                b"HTTP/1.1 206 Partial\r\nContent-Range: %s\r\n"
                b"Content-Length: %d\r\n\r\n" % (span, size) + b"x" * size,
                3,
                4,
            )
            self.failureResultOf(got, NodeFault)
            self.assertEqual(reader.data, b"", span)

    def test_right_ranges(self) -> None:
        """Parts that are right, with and without the size of the whole."""
        for total in (b"10", b"*"):
            got, reader = self.served(
                b"HTTP/1.1 206 Partial\r\nContent-Range: bytes 3-6/" + total + b"\r\n"
                b"Content-Length: 4\r\n\r\n3456",
                3,
                4,
            )
            self.assertEqual(self.successResultOf(got), 4)
            self.assertEqual(reader.data, b"3456")

    def test_statuses(self) -> None:
        """404 is a missing copy, 416 no bytes, anything else an error."""
        for status, kind in ((404, CopyMissing), (500, NodeFault), (302, NodeFault)):
            got, reader = self.served(
                b"HTTP/1.1 %d X\r\nContent-Length: 4\r\n\r\noops" % status
            )
            self.failureResultOf(got, kind)
            self.assertEqual(reader.data, b"")
        got, _ = self.served(b"HTTP/1.1 416 X\r\nContent-Length: 0\r\n\r\n", 5, 5)
        self.assertEqual(self.successResultOf(got), 0)

    def test_no_length(self) -> None:
        """A file whose end cannot be told from a broken connection is not taken."""
        got, reader = self.served(b"HTTP/1.0 200 OK\r\n\r\nbytes")
        self.failureResultOf(got, NodeFault)
        self.assertEqual(reader.data, b"")
        self.assertIsNone(reader.producer)

    def test_breaks_off(self) -> None:
        """Bytes that came are passed on, and then it is said that some are missing."""
        for broken in (
            b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n",
        ):
            self.setUp()
            reader = Reader()
            got = self.get(reader)
            wire = self.network.accept()
            wire.feed(broken)
            wire.lose()
            self.failureResultOf(got, NodeUnreachable)
            self.assertEqual(reader.data, b"01234")
            self.assertIsNone(reader.producer)

    def test_stalls(self) -> None:
        """A node that stops in the middle is away after a while; one that goes on
        slowly is not."""
        got = self.get(Reader())
        wire = self.network.accept()
        wire.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
        for _ in range(5):
            self.network.wait(ANSWER_TIMEOUT_SECONDS - 2)
            wire.feed(b"x")
        self.assertNoResult(got)
        self.network.wait(ANSWER_TIMEOUT_SECONDS + 1)
        self.failureResultOf(got, NodeUnreachable)

    def test_backpressure(self) -> None:
        """A reader that pauses stops the connection, and may take its time."""
        reader = Reader()
        got = self.get(reader)
        wire = self.network.accept()
        wire.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n01")
        reader.producer.pauseProducing()
        self.assertEqual(wire.producerState, "paused")
        self.network.wait(2 * ANSWER_TIMEOUT_SECONDS)
        self.assertNoResult(got)
        reader.producer.resumeProducing()
        self.assertEqual(wire.producerState, "producing")
        wire.feed(b"23")
        self.assertEqual(self.successResultOf(got), 4)

    def test_paused_at_the_end(self) -> None:
        """A connection whose reader paused on the last byte serves others again."""
        reader = Reader()
        got = self.get(reader)
        wire = self.network.accept()
        wire.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n01")
        reader.producer.pauseProducing()
        wire.feed(b"23")  # was on its way already
        self.successResultOf(got)
        self.assertEqual(wire.producerState, "producing")
        asked = self.ask()
        wire.feed(EMPTY)
        self.successResultOf(asked)

    def test_reader_hangs(self) -> None:
        """A reader that pauses for ever does not hold the connection for ever."""
        reader = Reader()
        got = self.get(reader)
        wire = self.network.accept()
        wire.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n01")
        reader.producer.pauseProducing()
        self.network.wait(CONSUMER_STALL_SECONDS + 1)
        self.failureResultOf(got, NodeFault)

    def test_reader_goes_away(self) -> None:
        """A reader that stops ends the transfer and its connection."""
        reader = Reader()
        got = self.get(reader)
        wire = self.network.accept()
        wire.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n01")
        reader.producer.stopProducing()
        self.failureResultOf(got, NodeFault)
        self.network.turn()
        self.assertTrue(wire.gone)

    def test_reader_fails(self) -> None:
        """A defect of the reader is logged, and is an error of this transfer only."""
        got = self.get(Reader(ZeroDivisionError()))
        self.network.accept().feed(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n0")
        self.failureResultOf(got, NodeFault)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_stale_is_tried_again(self) -> None:
        """A GET goes on a new connection when the kept one was closed."""
        wire = self.kept()
        reader = Reader()
        got = self.get(reader)
        wire.lose()
        wire = self.network.accept()
        wire.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        self.assertEqual(self.successResultOf(got), 2)
        self.assertEqual(reader.data, b"ok")
