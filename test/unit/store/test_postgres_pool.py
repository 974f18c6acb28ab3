"""The line before the connections, with connections that are none."""

from __future__ import annotations

from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.errors import DatabaseAway, TooBusy
from koboldfs.store import postgres_pool
from koboldfs.store.back_off import LAST_PAUSE_SECONDS
from koboldfs.store.postgres_pool import Pool


class FakeLink:
    """A connection that only knows whether it is open."""

    def __init__(self) -> None:
        self.open = True
        self.lost: Any = None

    def shut(self) -> None:
        """See `Link`."""
        self.open, self.lost = False, None


class PoolCase(SynchronousTestCase):
    """A pool of two."""

    def setUp(self) -> None:
        """Connections are made at once, unless the server is `away`."""
        self.clock = Clock()
        self.away = False
        self.attempts: list[float] = []
        self.pool = Pool(self.connect, self.clock, 2, Random(1))  # type: ignore[arg-type]

    async def connect(self) -> FakeLink:
        """A new connection."""
        self.attempts.append(self.clock.seconds())
        if self.away:
            raise DatabaseAway("nobody there")
        return FakeLink()

    def acquired(self) -> Any:
        """A connection that must be there now."""
        return self.successResultOf(self.pool.acquire(10))


class Lines(PoolCase):
    """Acquiring and releasing."""

    def test_line(self) -> None:
        """Who comes first is served first."""
        self.pool.start()
        links = [self.acquired(), self.acquired()]
        waiting = [self.pool.acquire(10), self.pool.acquire(None)]
        self.pool.release(links[1])
        self.assertIs(self.successResultOf(waiting[0]), links[1])
        self.assertNoResult(waiting[1])
        self.pool.release(links[0])
        self.assertIs(self.successResultOf(waiting[1]), links[0])
        self.assertEqual(len(self.attempts), 2)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_deadline(self) -> None:
        """Who waits too long is told; the patient are not."""
        self.away = True
        self.pool.start()
        hurried, patient = self.pool.acquire(10), self.pool.acquire(None)
        self.clock.pump([0.5] * 19)
        self.assertNoResult(hurried)
        self.clock.pump([0.5] * 20)
        self.failureResultOf(hurried, DatabaseAway)
        self.away = False
        self.clock.pump([1] * 10)
        self.successResultOf(patient)

    def test_too_busy(self) -> None:
        """The line has an end."""
        self.patch(postgres_pool, "MAX_WAITING", 1)
        waiting = self.pool.acquire(None)
        self.failureResultOf(self.pool.acquire(None), TooBusy)
        self.pool.stop()
        self.failureResultOf(waiting, DatabaseAway)

    def test_discard(self) -> None:
        """A connection that is thrown away is replaced."""
        self.pool.start()
        link = self.acquired()
        self.pool.discard(link)
        self.assertFalse(link.open)
        self.assertEqual(len(self.attempts), 3)
        self.assertIsNot(self.acquired(), link)
        self.acquired()

    def test_lost_while_idle(self) -> None:
        """One that breaks in the pool is never handed out."""
        self.pool.start()
        link = self.acquired()
        self.pool.release(link)
        link.lost(link)
        self.assertIsNot(self.acquired(), link)
        self.assertIsNot(self.acquired(), link)

    def test_stop(self) -> None:
        """Everything is closed, also what comes back later; nobody waits on."""
        self.pool.start()
        busy, idle = self.acquired(), self.acquired()
        self.pool.release(idle)
        waiting = [self.pool.acquire(10)]
        waiting += [self.pool.acquire(10)]
        self.pool.stop()
        self.failureResultOf(waiting[1], DatabaseAway)
        self.pool.release(busy)
        self.assertFalse(busy.open)
        self.failureResultOf(self.pool.acquire(10), DatabaseAway)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class Connecting(PoolCase):
    """A server that does not answer."""

    def test_pauses_grow(self) -> None:
        """Pauses double up to a last one, and begin anew after success."""
        self.away = True
        self.pool.start()
        self.clock.pump([0.05] * 1000)
        pauses = [b - a for a, b in zip(self.attempts, self.attempts[1:], strict=False)]
        self.assertLess(pauses[0], 0.2)
        self.assertLess(max(pauses), LAST_PAUSE_SECONDS * 1.25 + 0.1)
        self.assertGreater(pauses[-1], LAST_PAUSE_SECONDS * 0.7)
        self.away = False
        self.clock.pump([1] * 10)
        link = self.acquired()
        self.away = True
        self.pool.discard(link)
        before = len(self.attempts)
        self.clock.advance(0.13)
        self.assertEqual(len(self.attempts), before + 1)
        self.pool.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_defects(self) -> None:
        """Whatever an attempt fails with, it is logged and there is another."""
        made: list[Any] = [KeyError("x"), OSError("y"), FakeLink()]

        async def connect() -> Any:
            answer = made.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

        pool = Pool(connect, self.clock, 1, Random(1))
        pool.start()
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        self.assertEqual(len(made), 2)
        self.clock.pump([0.1] * 10)
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)
        self.successResultOf(pool.acquire(10))
        pool.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_connected_too_late(self) -> None:
        """A connection that is made while we stop is closed."""
        made: Deferred[Any] = Deferred()

        async def slowly() -> Any:
            return await made

        pool = Pool(slowly, self.clock, 1, Random(1))
        pool.start()
        pool.stop()
        link = FakeLink()
        made.callback(link)
        self.assertFalse(link.open)
