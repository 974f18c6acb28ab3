"""The driver of background work, and the worker that empties a queue."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from koboldfs.errors import DatabaseAway
from koboldfs.jobs.worker import (
    ERROR_PAUSE_SECONDS,
    IDLE_SECONDS,
    KEEP_SECONDS,
    LEASE_SECONDS,
    LONGEST_REST_SECONDS,
    Driver,
    IWorker,
    PeriodicWorker,
    QueueWorker,
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
        self.start(share=0.5)
        self.clock.pump([0.25] * 30)
        self.assertEqual(self.worker.began, [0.5, 2.5, 4.5, 6.5])

    def test_short_rests(self) -> None:
        """A rest that is shorter than a tick lasts as long as it should."""
        self.worker.answers = [True] * 1000
        self.worker.step_seconds = 0.01
        self.start(share=0.5)
        self.clock.pump([0.01] * 150)
        self.assertApproximates(len(self.worker.began), 50, 2)

    def test_longest_rest(self) -> None:
        """However long a unit took, the rest has a bound."""
        self.worker.answers = [True, True]
        self.worker.step_seconds = 100.0
        self.start(share=0.1)
        self.clock.pump([0.5] * 230)
        self.assertEqual(self.worker.began, [0.5, 100.5 + LONGEST_REST_SECONDS])

    def test_stop_ends_a_rest(self) -> None:
        """Who rests does not keep anybody waiting at the end."""
        self.worker.answers = [True] * 10
        self.worker.step_seconds = 4.0
        self.start(share=0.5)
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

    def test_stop_without_start(self) -> None:
        """What was never started is stopped at once."""
        driver = Driver(self.worker, self.clock)
        self.successResultOf(start(driver.stopService()))


class Digger(QueueWorker[int, str]):
    """Works on numbers; each is done when the test says so."""

    name = "dig"
    parallel = 3

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[int] = []
        self.asked: list[int] = []
        self.begun: list[int] = []
        self.ends: dict[int, Deferred[None]] = {}
        self.reported: list[list[str]] = []
        self.hold_take: Deferred[None] | None = None
        self.hold_report: Deferred[None] | None = None
        self.refuse: list[Exception] = []
        self.kept: list[tuple[list[int], int]] = []

    async def take(self, limit: int) -> list[int]:
        """Rows in order."""
        self.asked.append(limit)
        if self.hold_take is not None:
            await self.hold_take
        taken, self.rows = self.rows[:limit], self.rows[limit:]
        return taken

    async def keep_leases(self, fids: Sequence[int], lease_seconds: int) -> None:
        """Noted."""
        self.kept.append((list(fids), lease_seconds))

    def number(self, row: int) -> int:
        """The row itself."""
        return row

    async def work(self, row: int) -> str:
        """Until the test says so."""
        self.begun.append(row)
        end = self.ends.setdefault(row, Deferred())
        await end
        return f"done {row}"

    async def report(self, reports: list[str]) -> None:
        """Held up, refused or noted."""
        if self.hold_report is not None:
            await self.hold_report
        if self.refuse:
            raise self.refuse.pop(0)
        self.reported.append(list(reports))

    def end(self, *rows: int) -> None:
        """These rows are done."""
        for row in rows:
            self.ends.setdefault(row, Deferred()).callback(None)


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

    def test_what_is_under_way(self) -> None:
        """Rows that are worked on, and those whose end could not be reported."""
        worker = Digger()
        self.run_now(worker.keep())
        worker.rows = [1, 2]
        self.run_now(worker.step())
        worker.refuse = [DatabaseAway()]
        worker.end(1)
        self.run_now(worker.keep())
        worker.end(2)
        self.run_now(worker.keep())
        self.assertEqual(worker.kept, [([1, 2], LEASE_SECONDS)])


class QueueWorkers(WorldCase):
    """`QueueWorker`."""

    def setUp(self) -> None:
        self.worker = Digger()

    def step(self) -> Deferred[bool]:
        """One step, on its way."""
        return start(self.worker.step())

    def test_interface(self) -> None:
        """It is an `IWorker`."""
        verifyObject(IWorker, self.worker)

    def test_nothing_to_do(self) -> None:
        """Without rows it is idle."""
        self.assertIs(self.successResultOf(self.step()), False)
        self.assertEqual(self.worker.asked, [3])

    def test_parallel(self) -> None:
        """So many rows are under way at once, and no more are taken."""
        self.worker.rows = [1, 2, 3, 4, 5]
        step = self.step()
        self.assertNoResult(step)
        self.assertEqual(self.worker.begun, [1, 2, 3])
        self.assertEqual(self.worker.status.under_way, 3)
        self.worker.end(2)
        self.assertIs(self.successResultOf(step), True)
        self.assertEqual(self.worker.status.under_way, 2)
        step = self.step()
        self.assertEqual(self.worker.asked, [3, 1])
        self.assertEqual(self.worker.begun, [1, 2, 3, 4])
        self.worker.end(1, 3, 4)
        self.successResultOf(step)

    def test_few_rows(self) -> None:
        """With room left it does not wait for what is under way."""
        self.worker.rows = [1]
        self.assertIs(self.successResultOf(self.step()), True)
        self.assertIs(self.successResultOf(self.step()), False)
        self.assertEqual(self.worker.asked, [3, 2])
        self.worker.end(1)
        self.assertEqual(self.worker.reported, [["done 1"]])
        self.assertEqual(
            (self.worker.status.done, self.worker.status.under_way), (1, 0)
        )

    def test_many_ends_before_a_report(self) -> None:
        """Rows that end at the same time are each reported once."""
        self.worker.rows = [1, 2, 3]
        self.step()
        self.worker.end(3, 1, 2)
        found = sorted(one for batch in self.worker.reported for one in batch)
        self.assertEqual(found, ["done 1", "done 2", "done 3"])

    def test_reports_gather(self) -> None:
        """While a report is under way, the next one gathers."""
        self.worker.rows = [1, 2, 3]
        self.step()
        hold = self.worker.hold_report = Deferred()
        self.worker.end(1, 2, 3)
        self.assertEqual(self.worker.reported, [])
        self.worker.hold_report = None
        hold.callback(None)
        self.assertEqual(self.worker.reported, [["done 1"], ["done 2", "done 3"]])
        self.assertEqual(self.worker.status.done, 3)

    def test_failed_report_is_repeated_by_the_next_step(self) -> None:
        """A report that the database did not take is made again."""
        self.worker.rows = [1]
        self.step()
        self.worker.refuse = [DatabaseAway(), DatabaseAway()]
        self.worker.end(1)
        self.assertIn("not reachable", self.worker.status.last_error)
        self.assertEqual(self.worker.status.done, 0)
        self.failureResultOf(self.step(), DatabaseAway)
        self.assertEqual(self.worker.asked, [3])
        self.successResultOf(self.step())
        self.assertEqual(self.worker.reported, [["done 1"]])
        self.assertEqual(self.worker.status.done, 1)

    def test_failed_report_is_repeated_by_the_next_row(self) -> None:
        """It is made together with the report of the row that ends next."""
        self.worker.rows = [1, 2]
        self.step()
        self.worker.refuse = [DatabaseAway()]
        self.worker.end(1, 2)
        self.assertEqual(self.worker.reported, [["done 1", "done 2"]])

    def test_nothing_is_begun_twice(self) -> None:
        """A row that comes again while it is under way is left alone."""
        self.worker.rows = [1]
        self.step()
        self.worker.rows = [1, 2]
        self.step()
        self.assertEqual(self.worker.begun, [1, 2])
        self.worker.end(1, 2)
        self.worker.ends.clear()
        self.worker.rows = [1]
        self.step()
        self.assertEqual(self.worker.begun, [1, 2, 1])

    def test_a_row_that_fails(self) -> None:
        """A defect in one row is logged; the row is not reported, others go on."""
        self.worker.rows = [1, 2]
        self.step()
        self.worker.ends[1].errback(ZeroDivisionError("oops"))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.worker.status.failed, 1)
        self.assertIn("oops", self.worker.status.last_error)
        self.worker.end(2)
        self.assertEqual(self.worker.reported, [["done 2"]])

    def test_want(self) -> None:
        """Operators say how much: 0 pauses, 2 is twice the usual."""
        self.worker.rows = [1, 2, 3, 4, 5, 6, 7]
        self.worker.want(0)
        self.assertIs(self.successResultOf(self.step()), False)
        self.assertEqual(self.worker.asked, [])
        self.worker.want(2)
        self.step()
        self.assertEqual(self.worker.asked, [6])
        self.worker.want(1)
        self.assertIs(self.successResultOf(self.step()), False)

    def test_stop_when_idle(self) -> None:
        """With nothing under way stopping fires at once, and no row is taken."""
        self.successResultOf(start(self.worker.stop()))
        self.worker.rows = [1]
        self.assertIs(self.successResultOf(self.step()), False)
        self.assertEqual(self.worker.begun, [])

    def test_stop_waits_for_rows_and_reports(self) -> None:
        """Stopping fires when the last row is reported."""
        self.worker.rows = [1, 2]
        self.step()
        done = start(self.worker.stop())
        hold = self.worker.hold_report = Deferred()
        self.worker.end(1, 2)
        self.assertNoResult(done)
        hold.callback(None)
        self.successResultOf(done)
        self.assertEqual(self.worker.status.done, 2)

    def test_stop_while_a_report_is_repeated(self) -> None:
        """Also when it is a step that reports."""
        self.worker.rows = [1]
        self.step()
        self.worker.refuse = [DatabaseAway()]
        self.worker.end(1)
        hold = self.worker.hold_report = Deferred()
        step = self.step()
        done = start(self.worker.stop())
        self.assertNoResult(done)
        hold.callback(None)
        self.successResultOf(done)
        self.assertIs(self.successResultOf(step), False)

    def test_stop_while_rows_are_taken(self) -> None:
        """Rows that were leased to us when we stopped are done before that ends."""
        self.worker.rows = [1]
        hold = self.worker.hold_take = Deferred()
        self.step()
        done = start(self.worker.stop())
        self.assertNoResult(done)
        hold.callback(None)
        self.assertNoResult(done)
        self.worker.end(1)
        self.successResultOf(done)
        self.assertEqual(self.worker.reported, [["done 1"]])

    def test_stop_while_nothing_is_taken(self) -> None:
        """A question that is answered with nothing does not keep it from stopping."""
        for answer in (None, DatabaseAway()):
            worker = self.worker = Digger()
            hold = worker.hold_take = Deferred()
            step = self.step()
            done = start(worker.stop())
            self.assertNoResult(done)
            (hold.errback if answer else hold.callback)(answer)
            self.successResultOf(done)
            step.addErrback(lambda failure: failure.trap(DatabaseAway))

    def test_abstract(self) -> None:
        """A subclass must say how rows are taken, worked on and reported."""
        bare: QueueWorker[int, str] = QueueWorker()
        calls = bare.take(1), bare.work(1), bare.report([]), bare.keep_leases([], 1)
        for call in calls:
            self.failureResultOf(start(call), AssertionError)
        self.assertRaises(AssertionError, bare.number, 1)


class PeriodicWorkers(WorldCase):
    """`PeriodicWorker`."""

    def worker(self, unit: Callable[[], Awaitable[bool]]) -> PeriodicWorker:
        """A worker of that unit."""
        return PeriodicWorker("chore", unit)

    def test_unit(self) -> None:
        """A step is one call, and says what the unit says."""
        answers = [True, False]

        async def unit() -> bool:
            return answers.pop(0)

        worker = self.worker(unit)
        verifyObject(IWorker, worker)
        self.assertIs(self.run_now(worker.step()), True)
        self.assertIs(self.run_now(worker.step()), False)
        self.assertEqual((worker.name, worker.status.done), ("chore", 2))
        self.run_now(worker.stop())

    def test_want(self) -> None:
        """0 pauses it; any other number lets it run."""
        calls: list[None] = []

        async def unit() -> bool:
            calls.append(None)
            return True

        worker = self.worker(unit)
        worker.want(0)
        self.assertIs(self.run_now(worker.step()), False)
        self.assertEqual(calls, [])
        worker.want(5)
        self.assertIs(self.run_now(worker.step()), True)
