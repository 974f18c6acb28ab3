"""The desk of a connection, with a thread that works when the test says so."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.errors import (
    DatabaseAway,
    DatabaseFault,
    DuplicateRow,
    KeyExists,
    TooBusy,
    ValueRefused,
)
from koboldfs.store import sqlite
from koboldfs.store.sqlite import Desk, translate
from koboldfs.store.steps import (
    MAX_ATTEMPTS,
    Again,
    Mode,
    Statement,
    Steps,
    Transaction,
)


class FakeThreads:
    """A pool of one thread, which does one thing at a time, when told."""

    def __init__(self) -> None:
        self.work: list[Callable[[], None]] = []
        self.alive = False

    def start(self) -> None:
        """See ThreadPool."""
        self.alive = True

    def stop(self) -> None:
        """See ThreadPool."""
        self.alive = False

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


class Desks(SynchronousTestCase):
    """Waiting, grouping, stopping."""

    def setUp(self) -> None:
        """A desk over a database in memory."""
        self.reactor, self.threads = FakeReactor(), FakeThreads()
        threads: Any = self.threads
        self.desk = Desk(":memory:", self.reactor, threads, 10.0)
        started = Deferred.fromCoroutine(self.desk.start())
        self.work()
        self.successResultOf(started)

    def work(self) -> None:
        """Let the thread do all it has to do."""
        while self.threads.work:
            self.threads.work.pop(0)()

    def submit(self, sql: str, mode: Mode = Mode.WRITE) -> Deferred[Any]:
        """Submit a transaction of one statement."""
        return self.desk.submit(said(sql, mode), False)

    def tearDown(self) -> None:
        """Close the database; nothing is left behind."""
        stopped = Deferred.fromCoroutine(self.desk.stop())
        self.work()
        self.successResultOf(stopped)
        self.assertFalse(self.threads.alive)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

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
        self.patch(sqlite, "MAX_WAITING", 2)
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
        self.work()
        self.assertEqual(self.successResultOf(answer), "done")

        def never() -> Steps[None]:
            runs.append(1)
            yield Statement("SELECT 1")
            raise Again

        runs.clear()
        answer = self.desk.submit(Transaction("meet", never, Mode.WRITE), False)
        self.work()
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


class Translation(SynchronousTestCase):
    """Exceptions of sqlite3."""

    def test_kinds(self) -> None:
        """Each becomes the fault that it is."""
        for error, kind in (
            (sqlite3.IntegrityError("UNIQUE constraint failed: t.n"), DuplicateRow),
            (sqlite3.IntegrityError("CHECK constraint failed: n"), ValueRefused),
            (OverflowError("int too large"), ValueRefused),
            (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "no"), ValueRefused),
            (sqlite3.OperationalError("database is locked"), DatabaseAway),
            (sqlite3.OperationalError("disk I/O error"), DatabaseFault),
            (sqlite3.DatabaseError("malformed"), DatabaseFault),
        ):
            self.assertIs(type(translate(error)), kind, str(error))
        for other in (ValueError(), KeyExists(), ZeroDivisionError()):
            self.assertIsNone(translate(other))
