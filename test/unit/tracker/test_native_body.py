"""The body of an upload between the socket and the store."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.tracker.native_body import FULL_BYTES, Body, ClientGaveUp, ClientLost


class Bodies(SynchronousTestCase):
    """One body from its first byte to its trailer."""

    def setUp(self) -> None:
        """A body that notes what was looked at when it changed."""
        self.seen: list[tuple[bool, bool]] = []
        self.body = Body(lambda: self.seen.append((self.body.full, self.body.awaited)))

    def start(self, coroutine: Coroutine[Any, Any, Any]) -> Deferred[Any]:
        """Run it as far as it goes."""
        return Deferred.fromCoroutine(coroutine)

    def test_bytes_that_are_there(self) -> None:
        """What came is given in one piece, at once."""
        self.body.push(b"ab")
        self.body.push(b"c")
        read = self.start(self.body.read())
        self.assertEqual(self.successResultOf(read), b"abc")

    def test_bytes_that_come(self) -> None:
        """A reader waits, and is known to wait."""
        read = self.start(self.body.read())
        self.assertNoResult(read)
        self.assertTrue(self.body.awaited)
        self.body.push(b"x")
        self.assertEqual(self.successResultOf(read), b"x")
        self.assertFalse(self.body.awaited)

    def test_end(self) -> None:
        """After the last bytes come none, and the trailer."""
        self.body.push(b"x")
        self.body.end(b"sum")
        self.assertEqual(self.successResultOf(self.start(self.body.read())), b"x")
        self.assertEqual(self.successResultOf(self.start(self.body.read())), b"")
        self.assertEqual(self.body.trailer, b"sum")

    def test_full(self) -> None:
        """A full body says so, and says when there is room again."""
        self.body.push(bytes(FULL_BYTES - 1))
        self.assertFalse(self.body.full)
        self.body.push(b"x")
        self.assertTrue(self.body.full)
        self.successResultOf(self.start(self.body.read()))
        self.assertEqual(self.seen, [(False, False)])

    def test_size(self) -> None:
        """The declared size is waited for."""
        size = self.start(self.body.declared_size())
        self.assertNoResult(size)
        self.body.begin(5)
        self.assertEqual(self.successResultOf(size), 5)

    def test_lost(self) -> None:
        """A client that is lost is an error for who waits and for who comes."""
        read = self.start(self.body.read())
        self.body.fail(ClientLost())
        self.failureResultOf(read, ClientLost)
        self.body.push(b"x")
        self.failureResultOf(self.start(self.body.read()), ClientLost)

    def test_lost_after_the_end(self) -> None:
        """That the client is gone is known also when all bytes are there."""
        self.body.end(b"sum")
        self.body.require_client()
        self.body.fail(ClientLost())
        self.assertRaises(ClientLost, self.body.require_client)

    def test_given_up(self) -> None:
        """A client that gives up is an error, even with bytes left."""
        self.body.push(b"x")
        self.body.end(None)
        self.failureResultOf(self.start(self.body.read()), ClientGaveUp)
        self.successResultOf(self.start(self.body.discard()))

    def test_discard(self) -> None:
        """What is discarded is not kept, and makes nobody pause."""
        self.body.push(bytes(FULL_BYTES))
        done = self.start(self.body.discard())
        for _ in range(100):
            self.body.push(bytes(FULL_BYTES))
            self.assertFalse(self.body.full)
        self.assertNoResult(done)
        self.body.end(b"sum")
        self.successResultOf(done)

    def test_discard_lost(self) -> None:
        """A client that is lost while its bytes are dropped is not waited for."""
        done = self.start(self.body.discard())
        self.body.fail(ClientLost())
        self.failureResultOf(done, ClientLost)
