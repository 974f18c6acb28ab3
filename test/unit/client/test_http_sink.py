"""Tests of koboldfs.client.http_sink, by `NodeHttp.get`."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from koboldfs.client.http import ANSWER_TIMEOUT_SECONDS
from koboldfs.client.http_connection import (
    CONSUMER_STALL_SECONDS,
)
from koboldfs.errors import CopyMissing, NodeFault, NodeUnreachable
from test.unit.client.http_case import EMPTY, HttpCase, Reader


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

    def test_connection_is_kept(self) -> None:
        """After exactly the bytes that were asked for, the connection serves others;
        after an answer that goes on, it does not."""
        part = b"HTTP/1.1 206 Partial\r\nContent-Range: bytes 3-6/10\r\n"
        whole = b"HTTP/1.1 200 OK\r\n"
        chunks = b"Transfer-Encoding: chunked\r\n\r\n"
        ten = b"Content-Length: 10\r\n\r\n0123456789"
        for answer, begin, kept in (
            (part + b"Content-Length: 4\r\n\r\n3456", 3, True),
            (part + chunks + b"4\r\n3456\r\n0\r\n\r\n", 3, True),
            (part + chunks + b"5\r\n34567\r\n0\r\n\r\n", 3, False),
            (whole + ten, 6, True),
            (whole + ten, 3, False),
            (whole + chunks + b"a\r\n0123456789\r\n0\r\n\r\n", 3, False),
        ):
            for piece in (1, len(answer)):
                self.setUp()
                got = self.get(Reader(), begin, 4)
                wire = self.network.accept()
                for at in range(0, len(answer), piece):
                    wire.feed(answer[at : at + piece])
                self.assertEqual(self.successResultOf(got), 4)
                self.ask()
                self.assertEqual(self.network.attempts, 0 if kept else 1, answer)

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
