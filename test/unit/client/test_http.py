"""Tests of koboldfs.client.http and the rooms below it: connections, pool, ranges."""

from __future__ import annotations

from koboldfs.client import http_pool
from koboldfs.client.http import ANSWER_TIMEOUT_SECONDS
from koboldfs.client.http_connection import (
    MAX_HEAD_BYTES,
    MAX_TEXT_BYTES,
)
from koboldfs.errors import NodeFault, NodeUnreachable
from test.unit.client.http_case import CHUNKED, EMPTY, FIVE, NODE, HttpCase, Reader
from test.unit.client.network import start


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

    def test_endless_trailers(self) -> None:
        """Nor is there an end of the limit behind the head, where no body comes."""
        for begun in (b"0\r\nX: ", b"5;x="):
            asked = self.answered(CHUNKED + b"5\r\nhello\r\n" + begun)
            (connection,) = self.http._pool(NODE)._open
            for _ in range(MAX_HEAD_BYTES // 1000 + 1):
                self.assertNoResult(asked)
                connection.dataReceived(b"y" * 1000)
            self.failureResultOf(asked, NodeFault)

    def test_head_in_pieces(self) -> None:
        """A head is as long as it is, in however many pieces it comes."""
        head = FIVE + (b"X: " + b"y" * 1000 + b"\r\n") * 12 + b"\r\n"
        asked = self.answered(b"")
        (connection,) = self.http._pool(NODE)._open
        for at in range(0, len(head), 100):
            connection.dataReceived(head[at : at + 100])
        connection.dataReceived(b"hello")
        self.assertEqual(self.successResultOf(asked).body, b"hello")

    def test_long_text_in_pieces(self) -> None:
        """A text is too long also when a piece of it ends at the limit."""
        asked = self.answered(b"HTTP/1.1 500 No\r\nContent-Length: 99999\r\n\r\n")
        (connection,) = self.http._pool(NODE)._open
        connection.dataReceived(b"x" * MAX_TEXT_BYTES)
        self.assertNoResult(asked)
        connection.dataReceived(b"x")
        self.assertTrue(self.successResultOf(asked).truncated)

    def test_long_head(self) -> None:
        """A head may be so long and no longer, however it is cut."""
        start, end = b"HTTP/1.1 200 ", b"\r\nContent-Length: 5\r\n\r\n"
        for length in (MAX_HEAD_BYTES, MAX_HEAD_BYTES + 1):
            head = start + b"y" * (length - len(start) - len(end)) + end
            answer = head + b"hello"
            for cut in (0, 1, length - 100, length - 1, length, length + 2):
                asked = self.answered(b"")
                (connection,) = self.http._pool(NODE)._open
                for piece in (answer[:cut], answer[cut:]):
                    if piece and not asked.called:
                        connection.dataReceived(piece)
                if length > MAX_HEAD_BYTES:
                    self.failureResultOf(asked, NodeFault)
                else:
                    self.assertEqual(self.successResultOf(asked).body, b"hello")
                self.setUp()

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
