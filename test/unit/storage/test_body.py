"""A long file on its way out."""

from __future__ import annotations

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.storage.body import (
    PASS_BYTES,
    PIECE_BYTES,
    STALL_SECONDS,
    BodyBroken,
    FileBody,
    PassedBody,
)


class Bodies(SynchronousTestCase):
    """`FileBody`"""

    def setUp(self) -> None:
        """A file of two and a half pieces."""
        self.data = b"".join(bytes([n % 251]) * 1024 for n in range(640))
        self.assertEqual(len(self.data), 2 * PIECE_BYTES + PIECE_BYTES // 2)
        self.clock = Clock()
        self.sent: list[bytes] = []
        self.reads: list[tuple[int, int]] = []

    def read(self, length: int, offset: int) -> Deferred[bytes]:
        """Bytes of the file."""
        self.reads.append((length, offset))
        return succeed(self.data[offset : offset + length])

    def body(self, start: int = 0, stop: int | None = None) -> FileBody:
        """A body of a part of the file."""
        stop = len(self.data) if stop is None else stop
        return FileBody(self.clock, self.read, self.sent.append, start, stop)

    def test_whole_and_parts(self) -> None:
        """All bytes of the span, and not one more."""
        for start, stop in ((0, None), (5, 10), (PIECE_BYTES, 2 * PIECE_BYTES), (9, 9)):
            self.sent.clear()
            running = Deferred.fromCoroutine(self.body(start, stop).run())
            self.assertTrue(self.successResultOf(running))
            self.assertEqual(b"".join(self.sent), self.data[start:stop])

    def test_pauses(self) -> None:
        """A paused body reads one piece ahead, and waits."""
        body = self.body()
        body.pauseProducing()
        running = Deferred.fromCoroutine(body.run())
        self.assertEqual((len(self.sent), len(self.reads)), (1, 2))
        body.pauseProducing()
        body.resumeProducing()
        self.assertTrue(self.successResultOf(running))
        self.assertEqual(b"".join(self.sent), self.data)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_peer_goes(self) -> None:
        """A body that nobody wants ends, once the read under way has."""
        reading: Deferred[bytes] = Deferred()
        body = FileBody(self.clock, lambda *_: reading, self.sent.append, 0, 10)
        running = Deferred.fromCoroutine(body.run())
        body.stopProducing()
        self.assertNoResult(running)
        reading.callback(b"x")
        self.assertFalse(self.successResultOf(running))
        self.assertEqual(self.sent, [])

    def test_peer_goes_while_paused(self) -> None:
        """The same while it waits for the peer."""
        body = self.body()
        body.pauseProducing()
        running = Deferred.fromCoroutine(body.run())
        body.stopProducing()
        self.assertFalse(self.successResultOf(running))

    def test_stall(self) -> None:
        """A peer that takes nothing is given up."""
        body = self.body()
        body.pauseProducing()
        running = Deferred.fromCoroutine(body.run())
        self.clock.advance(STALL_SECONDS - 1)
        self.assertNoResult(running)
        self.clock.advance(1)
        self.failureResultOf(running, BodyBroken)

    def test_shorter_than_it_was(self) -> None:
        """A file that ends early is broken, and never filled up."""
        body = self.body(stop=len(self.data) + 1)
        running = Deferred.fromCoroutine(body.run())
        self.failureResultOf(running, BodyBroken)
        self.assertEqual(b"".join(self.sent), self.data)

    def test_disk_fails(self) -> None:
        """What the disk said is told."""
        body = FileBody(self.clock, lambda *_: fail(OSError(5, "x")), print, 0, 10)
        self.failureResultOf(Deferred.fromCoroutine(body.run()), OSError)


class Passed(SynchronousTestCase):
    """`PassedBody`"""

    def setUp(self) -> None:
        """A socket that takes what the test says."""
        self.clock = Clock()
        self.takes: list[int] = []
        self.asked: list[tuple[int, int]] = []
        self.full = 0

    def send(self, length: int, offset: int) -> Deferred[int]:
        """The socket has room for so many."""
        self.asked.append((length, offset))
        return succeed(min(length, self.takes.pop(0)))

    def is_full(self) -> None:
        """The body says so."""
        self.full += 1

    def test_whole(self) -> None:
        """In spans that leave others their turn, waiting whenever it is full."""
        stop = 5 + 2 * PASS_BYTES
        self.takes = [PASS_BYTES, 7, PASS_BYTES, PASS_BYTES]
        body = PassedBody(self.clock, self.send, self.is_full, 5, stop)
        running = Deferred.fromCoroutine(body.run())
        self.assertNoResult(running)
        left = PASS_BYTES - 7
        spans = [(PASS_BYTES, 5), (PASS_BYTES, 5 + PASS_BYTES)]
        self.assertEqual((self.asked, self.full), (spans, 1))
        body.resumeProducing()
        self.assertTrue(self.successResultOf(running))
        self.assertEqual(self.asked, [*spans, (left, stop - left)])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_head_before_it(self) -> None:
        """A body that is paused before it begins waits."""
        body = PassedBody(self.clock, self.send, self.is_full, 0, 3)
        body.pauseProducing()
        running = Deferred.fromCoroutine(body.run())
        self.assertEqual(self.asked, [])
        self.takes = [3]
        body.resumeProducing()
        self.assertTrue(self.successResultOf(running))

    def test_peer_stalls(self) -> None:
        """A peer that takes nothing for too long."""
        self.takes = [0]
        body = PassedBody(self.clock, self.send, self.is_full, 0, 3)
        running = Deferred.fromCoroutine(body.run())
        self.clock.advance(STALL_SECONDS - 1)
        self.assertNoResult(running)
        self.clock.advance(1)
        self.failureResultOf(running, BodyBroken)

    def test_peer_goes(self) -> None:
        """Nothing more is sent."""
        self.takes = [1]
        body = PassedBody(self.clock, self.send, self.is_full, 0, 3)
        running = Deferred.fromCoroutine(body.run())
        body.stopProducing()
        self.assertFalse(self.successResultOf(running))
        self.assertEqual(len(self.asked), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])
