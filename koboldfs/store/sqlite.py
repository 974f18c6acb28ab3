"""SQLite: one thread that writes, one that reads, each with its own connection.

The file is in WAL mode with synchronous=FULL: what was answered is on the disk, and
readers do not wait for the writer. Everything that waits while the writer is busy goes
into its next COMMIT together. Several processes may share the file: writers of
different processes wait for each other up to `BUSY_SECONDS`.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable
from typing import Any

from attrs import define
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from koboldfs.errors import (
    ConfigError,
    DatabaseAway,
    DatabaseFault,
    DuplicateRow,
    TooBusy,
    ValueRefused,
)
from koboldfs.store.batch import DEADLINE_SECONDS, MAX_WAITING
from koboldfs.store.blocking import BlockingRun, Manner
from koboldfs.store.steps import MAX_ATTEMPTS, Again, IRunner, Mode, Transaction

#: Seconds that a statement waits for a lock that another process has on the file.
BUSY_SECONDS = 5.0
#: Transactions that share a COMMIT, or a trip to the reading thread.
MAX_GROUP = 64
#: Prepared statements that a connection keeps.
CACHED_STATEMENTS = 256
#: Oldest SQLite whose SQL we speak (UPSERT with several rows, 32,766 parameters).
OLDEST_SQLITE = (3, 32, 0)


def one_thread() -> ThreadPool:
    """A pool of one thread, to be started by whoever uses it."""
    return ThreadPool(minthreads=1, maxthreads=1, name="store")


def translate(error: Exception) -> DatabaseFault | None:
    """Our fault for an exception of sqlite3; None for one that is no fault of it."""
    words = str(error)
    if isinstance(error, sqlite3.IntegrityError):
        return DuplicateRow() if "UNIQUE" in words else ValueRefused()
    if isinstance(error, (OverflowError, UnicodeError)):
        return ValueRefused()
    if isinstance(error, sqlite3.OperationalError) and (
        "locked" in words or "busy" in words
    ):
        return DatabaseAway("Database error: busy, try again")
    if isinstance(error, sqlite3.Error):
        return DatabaseFault()
    return None


MANNER = Manner("BEGIN IMMEDIATE", "BEGIN", translate)


@define(eq=False)
class Waiting:
    """A transaction that waits for a thread."""

    transaction: Transaction[Any]
    answer: Deferred[Any]
    attempt: int = 1
    alarm: IDelayedCall | None = None


class Desk:
    """One connection, used by one thread, and the transactions that wait for it."""

    _log = Logger()

    def __init__(
        self, path: str, reactor: Any, threads: ThreadPool, deadline_seconds: float
    ) -> None:
        self._path = path
        self._reactor = reactor
        self._threads = threads
        self._deadline_seconds = deadline_seconds
        self._waiting: deque[Waiting] = deque()
        self._busy = False
        self._open = False
        self._stopped = False
        self._idle: Deferred[None] | None = None
        self._connection: sqlite3.Connection | None = None
        self._run: BlockingRun | None = None

    async def start(self) -> None:
        """Open the file; raises `ConfigError` when that cannot be done."""
        self._threads.start()
        try:
            await deferToThreadPool(self._reactor, self._threads, self._connect)
        except sqlite3.Error as error:
            self._threads.stop()
            raise ConfigError(
                f"--database: cannot use the file {self._path}: {error}"
            ) from error
        self._open = True
        self._kick()

    def _connect(self) -> None:
        connection = sqlite3.connect(
            self._path,
            timeout=BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=CACHED_STATEMENTS,
        )
        try:
            for pragma in ("journal_mode = WAL", "synchronous = FULL"):
                connection.execute(f"PRAGMA {pragma}").fetchall()
            if connection.execute("PRAGMA query_only").fetchone()[0]:
                raise sqlite3.OperationalError("it is read-only")
        except sqlite3.Error:
            connection.close()
            raise
        self._connection = connection
        self._run = BlockingRun(connection, MANNER)

    def submit(self, transaction: Transaction[Any], patient: bool) -> Deferred[Any]:
        """The result of a transaction; see `IRunner.run`."""
        if self._stopped:
            return fail(DatabaseAway())
        if len(self._waiting) >= MAX_WAITING:
            return fail(TooBusy())
        one = Waiting(transaction, Deferred())
        if not patient:
            one.alarm = self._reactor.callLater(self._deadline_seconds, self._late, one)
        self._waiting.append(one)
        self._kick()
        return one.answer

    def _late(self, one: Waiting) -> None:
        one.alarm = None
        if one in self._waiting:
            self._waiting.remove(one)
            one.answer.errback(DatabaseAway())

    def _kick(self) -> None:
        if self._busy or not self._open or not self._waiting:
            return
        assert self._run is not None
        group = self._gather()
        steps = [one.transaction.steps() for one in group]
        self._busy = True
        running: Deferred[list[Any]] = deferToThreadPool(
            self._reactor, self._threads, self._run, steps, group[0].transaction.mode
        )
        running.addBoth(self._done, group)

    def _gather(self) -> list[Waiting]:
        mode = self._waiting[0].transaction.mode
        # Writers of either mode share a COMMIT.
        kindred = {one for one in Mode if one is mode or one.writes and mode.writes}
        group: list[Waiting] = []
        while (
            self._waiting
            and len(group) < MAX_GROUP
            and self._waiting[0].transaction.mode in kindred
        ):
            one = self._waiting.popleft()
            if one.alarm is not None:
                one.alarm.cancel()
                one.alarm = None
            group.append(one)
        return group

    def _done(self, outcomes: list[Any] | Failure, group: list[Waiting]) -> None:
        if isinstance(outcomes, Failure):
            self._log.failure("a defect while running transactions", outcomes)
            outcomes = [outcomes.value] * len(group)
        again = [
            one
            for one, outcome in zip(group, outcomes, strict=True)
            if isinstance(outcome, Again) and one.attempt < MAX_ATTEMPTS
        ]
        for one in again:
            one.attempt += 1
        self._waiting.extendleft(reversed(again))
        self._busy = False
        # The next group goes to the thread before the callers of this one go on.
        self._kick()
        if not self._busy and self._idle is not None:
            self._idle.callback(None)
        for one, outcome in zip(group, outcomes, strict=True):
            if one not in again:
                self._answer(one, outcome)

    def _answer(self, one: Waiting, outcome: Any) -> None:
        if not isinstance(outcome, BaseException):
            one.answer.callback(outcome)
            return
        if isinstance(outcome, DatabaseFault) and outcome.__cause__ is not None:
            self._log.warn(
                "database refused {name}: {words}",
                name=one.transaction.name,
                words=str(outcome.__cause__),
            )
        one.answer.errback(outcome)

    async def stop(self) -> None:
        """Let what is under way finish, fail what waits, and close the file."""
        was_open, self._open = self._open, False
        self._stopped = True
        while self._waiting:
            one = self._waiting.popleft()
            if one.alarm is not None:
                one.alarm.cancel()
            one.answer.errback(DatabaseAway())
        if not was_open:
            return
        if self._busy:
            self._idle = Deferred()
            await self._idle
        assert self._connection is not None
        await deferToThreadPool(self._reactor, self._threads, self._connection.close)
        self._threads.stop()


@implementer(IRunner)
class SqliteRunner:
    """Runs transactions on a file of SQLite."""

    dialect_name = "sqlite"

    def __init__(
        self,
        path: str,
        reactor: Any,
        threads: Callable[[], ThreadPool] = one_thread,
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> None:
        self._writer = Desk(path, reactor, threads(), deadline_seconds)
        self._reader = Desk(path, reactor, threads(), deadline_seconds)

    async def start(self) -> None:
        """Open the file, which is made if it is not there; raises `ConfigError`."""
        if sqlite3.sqlite_version_info < OLDEST_SQLITE:
            raise ConfigError(
                f"--database: this Python's SQLite is {sqlite3.sqlite_version};"
                f" KoboldFS needs {'.'.join(map(str, OLDEST_SQLITE))}"
            )
        await self._writer.start()
        try:
            await self._reader.start()
        except ConfigError:
            await self._writer.stop()
            raise

    async def stop(self) -> None:
        """Finish what is under way and close the file."""
        await self._reader.stop()
        await self._writer.stop()

    def run(
        self, transaction: Transaction[Any], patient: bool = False
    ) -> Deferred[Any]:
        """See `IRunner.run`."""
        desk = self._writer if transaction.mode.writes else self._reader
        return desk.submit(transaction, patient)

    def watch(self, changed: Callable[[], None]) -> None:
        """SQLite cannot tell: nobody is called."""
