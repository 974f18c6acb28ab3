"""The workers: the one that empties a queue, and the one that does chores."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from twisted.internet.defer import Deferred
from zope.interface.verify import verifyObject

from koboldfs.errors import DatabaseAway
from koboldfs.jobs.worker import (
    LEASE_SECONDS,
    IWorker,
    PeriodicWorker,
    QueueWorker,
    in_turn,
)
from test.fakes.locks import MemoryLocks
from test.fakes.world import WorldCase, start


class Digger(QueueWorker[int, str]):
    """Works on numbers; each is done when the test says so."""

    name = "dig"
    parallel = 3

    def __init__(self, locks: MemoryLocks | None = None) -> None:
        super().__init__(locks)
        self.rows: list[int] = []
        self.easy: list[int] = []
        self.asked: list[int] = []
        self.begun: list[int] = []
        self.ends: dict[int, Deferred[None]] = {}
        self.reported: list[list[str]] = []
        self.hold_take: Deferred[None] | None = None
        self.hold_report: Deferred[None] | None = None
        self.refuse: list[Exception] = []
        self.kept: list[tuple[list[int], int]] = []

    async def take(self, limit: int) -> list[int]:
        """Rows in order; some that need no work."""
        self.asked.append(limit)
        if self.hold_take is not None:
            await self.hold_take
        taken, self.rows = self.rows[:limit], self.rows[limit:]
        easy, self.easy = self.easy[:limit], self.easy[limit:]
        await self.settle([(row, f"easy {row}") for row in easy])
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
    """Which leases are kept."""

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


class Locked(WorldCase):
    """Rows whose files MogileFS's trackers may have in work."""

    def setUp(self) -> None:
        """A worker with locks."""
        self.locks = MemoryLocks()
        self.worker = Digger(self.locks)

    def test_locked_by_others(self) -> None:
        """Such a row is not begun, and not reported: it stays leased."""
        self.locks.others = {"mgfs:fid:2:replicate"}
        self.worker.rows = [1, 2]
        self.run_now(self.worker.step())
        self.assertEqual(self.worker.begun, [1])
        self.assertEqual(self.locks.held, {"mgfs:fid:1:replicate"})
        self.worker.end(1)
        self.assertEqual(self.worker.reported, [["done 1"]])
        self.assertEqual(self.locks.held, set())

    def test_kept_until_reported(self) -> None:
        """A lock outlives the work until its end is recorded."""
        self.worker.rows = [1]
        self.run_now(self.worker.step())
        self.worker.refuse = [DatabaseAway()]
        self.worker.end(1)
        self.assertEqual(self.locks.held, {"mgfs:fid:1:replicate"})
        self.run_now(self.worker.step())
        self.assertEqual(self.locks.held, set())

    def test_defect(self) -> None:
        """A row that fails without a report is given back."""
        self.worker.rows = [1]
        self.run_now(self.worker.step())
        self.worker.ends[1].errback(ZeroDivisionError())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.locks.held, set())

    def test_database_away(self) -> None:
        """Nothing is begun without locks."""
        self.worker.rows = [1]
        self.locks.failing = [DatabaseAway()]
        self.failureResultOf(start(self.worker.step()), DatabaseAway)
        self.assertEqual(self.worker.begun, [])


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

    def test_room_for_a_batch(self) -> None:
        """A worker that takes batches waits until there is room for one; with nothing
        under way, or with fewer wanted than that, it does not wait for ever."""
        self.worker.batch = 2
        self.worker.rows = [1, 2, 3, 4, 5, 6, 7]
        step = self.step()
        self.worker.end(1)
        self.assertNoResult(step)
        self.worker.end(3)
        self.assertIs(self.successResultOf(step), True)
        step = self.step()
        self.assertEqual(self.worker.asked, [3, 2])
        self.worker.parallel = 1
        self.worker.end(2, 4)
        self.assertNoResult(step)
        self.worker.end(5)
        self.successResultOf(step)
        step = self.step()
        self.worker.want(0)
        self.worker.end(6)
        self.successResultOf(step)

    def test_want(self) -> None:
        """Operators say how much: 0 pauses, 2 is twice the usual."""
        self.worker.rows = [1, 2, 3, 4, 5, 6, 7]
        self.worker.want(0)
        self.assertIs(self.successResultOf(self.step()), False)
        self.assertEqual(self.worker.asked, [])
        self.worker.want(2)
        step = self.step()
        self.assertEqual(self.worker.asked, [6])
        self.worker.want(1)
        self.assertIs(self.successResultOf(self.step()), False)
        self.worker.end(1, 2, 3, 4, 5, 6)
        self.assertIs(self.successResultOf(step), True)

    # --- rows that need no work

    def test_settled(self) -> None:
        """They are only reported; there may be more at once."""
        self.worker.easy = [1, 2, 3, 4]
        self.assertIs(self.successResultOf(self.step()), True)
        self.assertIs(self.successResultOf(self.step()), True)
        self.assertIs(self.successResultOf(self.step()), False)
        self.assertEqual(
            self.worker.reported, [["easy 1", "easy 2", "easy 3"], ["easy 4"]]
        )
        self.assertEqual((self.worker.begun, self.worker.status.done), ([], 4))

    def test_settled_one_batch_ahead(self) -> None:
        """The next ones are taken while they are being reported, and then no more."""
        hold = self.worker.hold_report = Deferred()
        self.worker.easy = [1, 2, 3, 4, 5, 6, 7, 8, 9]
        self.successResultOf(self.step())
        self.successResultOf(self.step())
        step = self.step()
        self.assertNoResult(step)
        done = start(self.worker.stop())
        self.assertNoResult(done)
        self.worker.hold_report = None
        hold.callback(None)
        self.assertIs(self.successResultOf(step), True)
        self.assertEqual([len(some) for some in self.worker.reported], [3, 3, 3])
        self.successResultOf(done)

    def test_settled_and_not_reported(self) -> None:
        """When the database does not take it, the next step says it again; a defect is
        logged, and the rows will be taken again."""
        self.worker.easy = [1]
        self.worker.refuse = [DatabaseAway()]
        self.assertIs(self.successResultOf(self.step()), True)
        self.assertIn("not reachable", self.worker.status.last_error)
        self.run_now(self.worker.keep())
        self.assertEqual(self.worker.kept, [([1], LEASE_SECONDS)])
        self.successResultOf(self.step())
        self.assertEqual(self.worker.reported, [["easy 1"]])
        self.worker.easy, self.worker.refuse = [2], [ZeroDivisionError("oops")]
        self.successResultOf(self.step())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.worker.status.failed, 1)

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
        """A subclass must say how rows are taken, worked on, reported and kept."""
        words = {"take", "work", "report", "keep_leases", "number"}
        self.assertEqual(QueueWorker.__abstractmethods__, words)


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

    def test_in_turn(self) -> None:
        """Several units are one: all are done, and there is more if one says so."""
        calls: list[int] = []

        def unit(number: int, more: bool) -> Callable[[], Awaitable[bool]]:
            async def one() -> bool:
                calls.append(number)
                return more

            return one

        self.assertIs(self.run_now(in_turn(unit(1, True), unit(2, False))()), True)
        self.assertIs(self.run_now(in_turn(unit(3, False), unit(4, False))()), False)
        self.assertEqual(calls, [1, 2, 3, 4])
