"""The desk of a connection, with a thread that works when the test says so."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.errors import DatabaseAway, DuplicateRow, TooBusy
from koboldfs.store import desk
from koboldfs.store.desk import Desk
from koboldfs.store.sqlite import connected
from koboldfs.store.steps import (
    MAX_ATTEMPTS,
    MEETING_PAUSE_SECONDS,
    Again,
    Lost,
    Mode,
    OutcomeUnknown,
    Statement,
    Steps,
    Transaction,
)


class FakeThreads:
    """A pool of one thread, which does one thing at a time, when told."""

    def __init__(self) -> None:
        self.work: list[Callable[[], None]] = []
        self.started = False

    def start(self) -> None:
        """See ThreadPool."""
        self.started = True

    def stop(self) -> None:
        """See ThreadPool."""
        self.started = False

    def callInThreadWithCallback(self, done: Any, work: Any, *args: Any) -> None:
        """See ThreadPool."""

        def do() -> None:
            try:
                result = work(*args)
            except Exception:
                from twisted.python.failure import Failure

                done(False, Failure())
            else:
                done(True, result)

        self.work.append(do)


class FakeReactor(Clock):
    """A clock whose thread is the only one."""

    def callFromThread(self, call: Any, *args: Any) -> None:
        """See IReactorFromThreads."""
        call(*args)


def said(sql: str, mode: Mode = Mode.WRITE) -> Transaction[Any]:
    """A transaction of one statement; its result is the rows."""

    def steps() -> Steps[Any]:
        reply = yield Statement(sql)
        return reply.rows

    return Transaction(sql, steps, mode)


class DeskCase(SynchronousTestCase):
    """A desk whose thread works when told; nothing is left behind at the end."""

    desk: Desk

    def new_desk(self, connect: Any) -> None:
        """Make the desk."""
        self.reactor, self.threads = FakeReactor(), FakeThreads()
        threads: Any = self.threads
        self.desk = Desk(connect, self.reactor, threads, 10.0)

    def work(self) -> None:
        """Let the thread do all it has to do."""
        while self.threads.work:
            self.threads.work.pop(0)()

    def rest(self) -> None:
        """As `work`, and let whoever met another have a rest, as often as needed."""
        for _ in range(MAX_ATTEMPTS):
            self.work()
            self.reactor.advance(MEETING_PAUSE_SECONDS * MAX_ATTEMPTS)
        self.work()

    def tearDown(self) -> None:
        """Stop it."""
        stopped = Deferred.fromCoroutine(self.desk.stop())
        self.work()
        self.successResultOf(stopped)
        self.assertFalse(self.threads.started)
        self.assertEqual(self.reactor.getDelayedCalls(), [])


class Desks(DeskCase):
    """Waiting, grouping, stopping."""

    def setUp(self) -> None:
        """A desk over a database in memory."""
        self.new_desk(partial(connected, ":memory:"))
        started = Deferred.fromCoroutine(self.desk.start())
        self.work()
        self.successResultOf(started)

    def submit(self, sql: str, mode: Mode = Mode.WRITE) -> Deferred[Any]:
        """Submit a transaction of one statement."""
        return self.desk.submit(said(sql, mode), False)

    def test_group(self) -> None:
        """What waits while the thread is busy is one piece of work afterwards."""
        answers = [self.submit("CREATE TABLE t (n)")]
        answers += [self.submit(f"INSERT INTO t VALUES ({n})") for n in range(5)]
        answers.append(self.submit("SELECT n FROM t", Mode.SINGLE))
        self.threads.work.pop()()
        self.assertEqual(len(self.threads.work), 1)
        self.threads.work.pop()()
        found = [self.successResultOf(one) for one in answers]
        self.assertEqual(len(found[-1]), 5)

    def test_modes_are_not_mixed(self) -> None:
        """A snapshot does not share a piece of work with others."""
        modes = (Mode.READ, Mode.READ, Mode.SNAPSHOT, Mode.READ, Mode.READ)
        for mode in modes:
            self.submit("SELECT 1", mode)
        pieces = 0
        while self.threads.work:
            pieces += 1
            self.threads.work.pop(0)()
        self.assertEqual(pieces, 4)

    def test_deadline(self) -> None:
        """Who waits too long is told; what the thread has is waited for."""
        first = self.submit("SELECT 1")
        second = self.submit("SELECT 2")
        self.reactor.advance(10.5)
        self.failureResultOf(second, DatabaseAway)
        self.work()
        self.assertEqual(self.successResultOf(first), [(1,)])

    def test_patient(self) -> None:
        """The patient are not told to go."""
        self.submit("SELECT 1")
        patient = self.desk.submit(said("SELECT 2"), True)
        self.reactor.advance(1000)
        self.work()
        self.assertEqual(self.successResultOf(patient), [(2,)])

    def test_too_busy(self) -> None:
        """The line has an end."""
        self.patch(desk, "MAX_WAITING", 2)
        answers = [self.submit("SELECT 1") for _ in range(4)]
        self.failureResultOf(answers[3], TooBusy)
        self.work()

    def test_again(self) -> None:
        """A transaction that met another is run again, so often."""
        runs = []

        def steps() -> Steps[str]:
            runs.append(1)
            yield Statement("SELECT 1")
            if len(runs) < 3:
                raise Again
            return "done"

        answer = self.desk.submit(Transaction("meet", steps, Mode.WRITE), False)
        self.rest()
        self.assertEqual(self.successResultOf(answer), "done")

        def never() -> Steps[None]:
            runs.append(1)
            yield Statement("SELECT 1")
            raise Again

        runs.clear()
        answer = self.desk.submit(Transaction("meet", never, Mode.WRITE), False)
        self.rest()
        self.failureResultOf(answer, Again)
        self.assertEqual(len(runs), MAX_ATTEMPTS)

    def test_stop_fails_who_waits(self) -> None:
        """What is under way ends; what waits is told that the database is away."""
        first, second = self.submit("SELECT 1"), self.submit("SELECT 2")
        stopped = Deferred.fromCoroutine(self.desk.stop())
        self.failureResultOf(second, DatabaseAway)
        self.assertNoResult(stopped)
        self.work()
        self.successResultOf(first)
        self.successResultOf(stopped)
        self.failureResultOf(self.submit("SELECT 3"), DatabaseAway)


class FakeRun:
    """A connection whose transactions end as the test wants."""

    def __init__(self, *outcomes: Any) -> None:
        self.outcomes = list(outcomes)
        self.groups: list[int] = []
        self.lost = False
        self.closed = False

    def __call__(self, group: list[Any], mode: Mode) -> list[Any]:
        """See `BlockingRun`."""
        self.groups.append(len(group))
        found = [self.outcomes.pop(0) if self.outcomes else "done" for _ in group]
        self.lost = any(isinstance(one, (Lost, OutcomeUnknown)) for one in found)
        return found

    def close(self) -> None:
        """See `BlockingRun`."""
        self.closed = True


class Broken(DeskCase):
    """Connections that break, and transactions that meet others."""

    def setUp(self) -> None:
        """A desk that connects in the background; `runs` are its connections."""
        self.runs: list[Any] = []
        self.new_desk(self.connect)
        self.losses = 0
        self.desk.lost = self.lose

    def lose(self) -> None:
        """The desk says that a connection broke."""
        self.losses += 1

    def connect(self) -> Any:
        """The next connection, or what the attempt fails with."""
        run = self.runs.pop(0)
        if isinstance(run, Exception):
            raise run
        return run

    def begun(self, *runs: Any) -> None:
        """Begin with these connections, one after the other."""
        self.runs += runs
        self.desk.begin()
        self.work()

    def submit(self, **words: Any) -> Deferred[Any]:
        """Submit a transaction."""
        steps = said("x").steps
        return self.desk.submit(Transaction("x", steps, Mode.WRITE, **words), False)

    def test_waits_for_the_server(self) -> None:
        """What comes before there is a connection waits for it, to its deadline."""
        late = self.submit()
        self.begun(DatabaseAway("no"), KeyError("defect"), FakeRun())
        self.reactor.advance(10.5)
        self.failureResultOf(late, DatabaseAway)
        early = self.submit()
        self.work()
        self.reactor.advance(1)
        self.work()
        self.assertEqual(self.successResultOf(early), "done")

    def test_lost_before_commit(self) -> None:
        """Nothing was done, so it is run again on the next connection."""
        first, second = FakeRun(Lost(), Lost()), FakeRun()
        self.begun(first, second)
        answers = [self.submit(), self.submit(), self.submit()]
        self.work()
        self.assertEqual([self.successResultOf(one) for one in answers], ["done"] * 3)
        self.assertTrue(first.closed)
        self.assertEqual(second.groups[0], 1)
        self.assertEqual(self.losses, 1)

    def test_lost_for_ever(self) -> None:
        """In the end the database is said to be away."""
        self.begun(*(FakeRun(Lost()) for _ in range(MAX_ATTEMPTS + 1)))
        answer = self.submit()
        self.work()
        self.failureResultOf(answer, DatabaseAway)

    def test_patience_ends(self) -> None:
        """Who has had a connection waits for the next one to a deadline."""
        self.begun(FakeRun(Lost()), *[DatabaseAway("no")] * 9)
        answer = self.desk.submit(said("x"), True)
        self.work()
        self.reactor.advance(9)
        self.assertNoResult(answer)
        self.reactor.advance(1)
        self.failureResultOf(answer, DatabaseAway)

    def test_outcome_unknown(self) -> None:
        """Only what may be done twice is run again after a COMMIT without answer."""
        self.begun(FakeRun(OutcomeUnknown()), FakeRun(OutcomeUnknown()), FakeRun())
        once = self.submit()
        self.rest()
        self.failureResultOf(once, OutcomeUnknown)
        twice = self.submit(repeatable=True)
        self.rest()
        self.assertEqual(self.successResultOf(twice), "done")

    def test_racing(self) -> None:
        """Somebody was faster: whoever may try again does."""
        self.begun(FakeRun(DuplicateRow(), DuplicateRow()))
        calm = self.submit()
        self.rest()
        self.failureResultOf(calm, DuplicateRow)
        racing = self.submit(racing=True)
        self.rest()
        self.assertEqual(self.successResultOf(racing), "done")

    def test_unlucky_are_alone(self) -> None:
        """Who met somebody is run by itself, lest a group fail again for one."""
        run = FakeRun("done", Again(), Again(), Again())
        self.begun(run)
        answers = [self.submit() for _ in range(5)]
        self.rest()
        self.assertEqual([self.successResultOf(one) for one in answers], ["done"] * 5)
        self.assertEqual(run.groups, [1, 4, 1, 1, 1])

    def test_rest(self) -> None:
        """Who met somebody rests, and others go on meanwhile; a stop finds it."""
        self.begun(FakeRun(Again(), "other", Again()))
        first, other = self.submit(), self.submit()
        self.work()
        self.assertEqual(self.successResultOf(other), "other")
        self.assertNoResult(first)
        self.assertEqual(self.desk.load, 1)
        self.reactor.advance(MEETING_PAUSE_SECONDS)
        self.work()
        stopped = Deferred.fromCoroutine(self.desk.stop())
        self.work()
        self.successResultOf(stopped)
        self.failureResultOf(first, DatabaseAway)

    def test_renew(self) -> None:
        """A connection is replaced when nothing is under way."""
        first, second, third = FakeRun(), FakeRun(), FakeRun()
        self.desk.renew()
        self.begun(first, second, third)
        self.desk.renew()
        self.work()
        self.assertTrue(first.closed)
        answer = self.submit()
        self.desk.renew()
        self.assertFalse(second.closed)
        self.work()
        self.successResultOf(answer)
        self.assertTrue(second.closed)
        self.assertFalse(third.closed)
        self.assertEqual(self.losses, 0)

    def test_stop_while_connecting(self) -> None:
        """A connection that comes too late is closed."""
        run = FakeRun()
        self.runs.append(run)
        self.desk.begin()
        waiting = self.submit()
        stopped = Deferred.fromCoroutine(self.desk.stop())
        self.failureResultOf(waiting, DatabaseAway)
        self.work()
        self.successResultOf(stopped)
        self.assertTrue(run.closed)
