"""The driver of background work."""

from __future__ import annotations

from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from koboldfs.errors import DatabaseAway
from koboldfs.jobs.worker import (
    ERROR_PAUSE_SECONDS,
    IDLE_SECONDS,
    KEEP_SECONDS,
    LEASE_SECONDS,
    LONGEST_REST_SECONDS,
    STOP_SECONDS,
    Driver,
    Status,
)
from test.fakes.world import WorldCase, start


@define(eq=False)
class Labourer:
    """A worker whose steps take time and end as planned."""

    clock: Clock
    name: str = "labour"
    status: Status = field(factory=Status)
    #: What each step answers, or raises; afterwards it is idle.
    answers: list[Any] = field(factory=list)
    step_seconds: float = 0.0
    began: list[float] = field(factory=list)
    stopping: Deferred[None] | None = None
    kept: list[float] = field(factory=list)
    keep_fails: Exception | None = None

    async def step(self) -> bool:
        """As planned."""
        self.began.append(self.clock.seconds())
        if self.step_seconds:
            done: Deferred[None] = Deferred()
            self.clock.callLater(self.step_seconds, done.callback, None)
            await done
        answer = self.answers.pop(0) if self.answers else False
        if isinstance(answer, Exception):
            raise answer
        return bool(answer)

    async def keep(self) -> None:
        """Notes when, or fails."""
        self.kept.append(self.clock.seconds())
        if self.keep_fails is not None:
            raise self.keep_fails

    async def stop(self) -> None:
        """Waits, if told so."""
        if self.stopping is not None:
            await self.stopping


class Drivers(WorldCase):
    """`Driver` with a clock."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.worker = Labourer(self.clock)
        self.driver = Driver(self.worker, self.clock)

    def start(self, **options: Any) -> None:
        """Start it, and see to it that it is stopped at the end."""
        self.driver = Driver(self.worker, self.clock, **options)
        self.driver.startService()
        self.addCleanup(self.stop)

    def stop(self) -> None:
        """Stop it, if it runs."""
        if self.driver.running:
            done = start(self.driver.stopService())
            self.clock.pump([100.0] * 3)
            self.successResultOf(done)

    def test_idle(self) -> None:
        """An idle worker is asked once in a while, and not at once."""
        self.start()
        self.assertEqual(self.worker.began, [])
        self.clock.pump([IDLE_SECONDS] * 3)
        self.assertEqual(self.worker.began, [0.5, 1.0, 1.5])

    def test_goes_on_while_there_is_more(self) -> None:
        """Units follow one another as long as there is more to do."""
        self.worker.answers = [True, True, True]
        self.start(idle_seconds=2.0)
        self.clock.advance(2.0)
        self.assertEqual(self.worker.began, [2.0] * 4)

    def test_one_unit_at_a_time(self) -> None:
        """A unit that takes longer than a tick is not begun a second time."""
        self.worker.step_seconds = 3.0
        self.start()
        self.clock.pump([0.5] * 6)
        self.assertEqual(self.worker.began, [0.5])
        self.clock.pump([0.5] * 2)
        self.assertEqual(self.worker.began, [0.5, 4.0])

    def test_share(self) -> None:
        """A worker with half of the time rests as long as it worked."""
        self.worker.answers = [True] * 10
        self.worker.step_seconds = 1.0
        self.start(share=lambda: 0.5)
        self.clock.pump([0.25] * 30)
        self.assertEqual(self.worker.began, [0.5, 2.5, 4.5, 6.5])

    def test_share_changes(self) -> None:
        """It may be another one after each unit."""
        shares = [1.0, 0.5, 0.5, 1.0, 1.0, 1.0]
        self.worker.answers = [True] * 10
        self.worker.step_seconds = 1.0
        self.start(share=lambda: shares.pop(0))
        self.clock.pump([0.25] * 26)
        self.assertEqual(self.worker.began, [0.5, 1.5, 3.5, 5.5, 6.5])

    def test_short_rests(self) -> None:
        """A rest that is shorter than a tick lasts as long as it should."""
        self.worker.answers = [True] * 1000
        self.worker.step_seconds = 0.01
        self.start(share=lambda: 0.5)
        self.clock.pump([0.01] * 150)
        self.assertApproximates(len(self.worker.began), 50, 2)

    def test_longest_rest(self) -> None:
        """However long a unit took, the rest has a bound."""
        self.worker.answers = [True, True]
        self.worker.step_seconds = 100.0
        self.start(share=lambda: 0.1)
        self.clock.pump([0.5] * 230)
        self.assertEqual(self.worker.began, [0.5, 100.5 + LONGEST_REST_SECONDS])

    def test_stop_ends_a_rest(self) -> None:
        """Who rests does not keep anybody waiting at the end."""
        self.worker.answers = [True] * 10
        self.worker.step_seconds = 4.0
        self.start(share=lambda: 0.5)
        self.clock.pump([0.5] * 10)
        self.successResultOf(start(self.driver.stopService()))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.clock.pump([1.0] * 10)
        self.assertEqual(len(self.worker.began), 1)

    def test_error_of_the_world(self) -> None:
        """After a fault of the database the worker pauses, and then goes on."""
        self.worker.answers = [DatabaseAway(), True]
        self.start()
        self.clock.pump([0.5] * 4)
        self.assertEqual(self.worker.began, [0.5])
        self.assertEqual(self.worker.status.failed, 1)
        self.assertIn("not reachable", self.worker.status.last_error)
        self.clock.pump([0.5])
        self.assertEqual(self.worker.began, [0.5] + [0.5 + ERROR_PAUSE_SECONDS] * 2)

    def test_defect(self) -> None:
        """A defect in a unit is logged, and does not end the work."""
        self.worker.answers = [ZeroDivisionError("oops")]
        self.start()
        self.clock.advance(0.5)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertIn("oops", self.worker.status.last_error)
        self.clock.pump([0.5] * 4)
        self.assertEqual(self.worker.began, [0.5, 2.5])

    def test_stop_waits_for_the_unit(self) -> None:
        """Stopping fires when the unit in hand is done, and begins no other."""
        self.worker.answers = [True, True]
        self.worker.step_seconds = 2.0
        self.start()
        self.clock.advance(0.5)
        done = start(self.driver.stopService())
        self.assertNoResult(done)
        self.clock.advance(2.0)
        self.successResultOf(done)
        self.clock.pump([1.0] * 5)
        self.assertEqual(self.worker.began, [0.5])

    def test_stop_waits_for_the_worker(self) -> None:
        """Stopping fires when the worker says that nothing is under way."""
        self.worker.stopping = Deferred()
        self.start()
        done = start(self.driver.stopService())
        self.assertNoResult(done)
        self.worker.stopping.callback(None)
        self.successResultOf(done)

    def test_stop_does_not_wait_for_ever(self) -> None:
        """A long copy does not keep the program from ending; what it says when it ends
        after all disturbs nobody."""
        self.worker.stopping = Deferred()
        driver = Driver(self.worker, self.clock)
        driver.startService()
        done = start(driver.stopService())
        self.clock.advance(STOP_SECONDS - 0.1)
        self.assertNoResult(done)
        self.clock.advance(0.2)
        self.successResultOf(done)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.worker.stopping.callback(None)

    def test_stop_without_start(self) -> None:
        """What was never started is stopped at once."""
        driver = Driver(self.worker, self.clock)
        self.successResultOf(start(driver.stopService()))


class Keeping(WorldCase):
    """Leases are kept while work is under way."""

    def test_rhythm(self) -> None:
        """The driver has it done regularly, also while a step takes long, and goes on
        when it fails."""
        clock = Clock()
        worker = Labourer(clock, step_seconds=100.0)
        driver = Driver(worker, clock)
        driver.startService()
        for fault in (None, DatabaseAway(), None, ZeroDivisionError(), None):
            worker.keep_fails = fault
            clock.pump([0.5] * int(2 * KEEP_SECONDS))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        times = [KEEP_SECONDS * count for count in range(1, 6)]
        self.assertEqual(worker.kept, times)
        self.assertLess(2 * KEEP_SECONDS, LEASE_SECONDS)
        stopping = start(driver.stopService())
        clock.pump([1.0] * 100)
        self.successResultOf(stopping)
        self.assertEqual(clock.getDelayedCalls(), [])
