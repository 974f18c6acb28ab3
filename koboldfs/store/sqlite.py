"""SQLite: one thread that writes, one that reads, each with its own connection.

The file is in WAL mode with synchronous=FULL: what was answered is on the disk, and
readers do not wait for the writer. Everything that waits while the writer is busy goes
into its next COMMIT together. Several processes may share the file: writers of
different processes wait for each other up to `BUSY_SECONDS`. SQLite lets nobody queue:
who waits looks again now and then, soon only ten times a second, and beside a process
that writes without a break would wait for long. So a wait is cut into short ones.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from koboldfs.errors import (
    ConfigError,
    DatabaseAway,
    DatabaseFault,
    DuplicateRow,
    ValueRefused,
)
from koboldfs.store.batch import DEADLINE_SECONDS
from koboldfs.store.blocking import BlockingRun, Manner
from koboldfs.store.desk import Desk, one_thread
from koboldfs.store.steps import IRunner, Transaction

#: Seconds that a statement waits for a lock that another process has on the file.
BUSY_SECONDS = 5.0
#: One of the short waits (milliseconds): SQLite looks after 1, 3 and 8 ms.
WAIT_MS = 8
#: Prepared statements that a connection keeps.
CACHED_STATEMENTS = 256
#: Oldest SQLite whose SQL we speak (UPSERT with several rows, 32,766 parameters).
OLDEST_SQLITE = (3, 32, 0)


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


MANNER = Manner(
    "BEGIN IMMEDIATE", "BEGIN", translate, int(BUSY_SECONDS * 1000 / WAIT_MS)
)


def connected(path: str, writes: bool = True) -> BlockingRun:
    """The file, opened; raises `ConfigError` when that cannot be done."""
    try:
        connection = _open(path)
        if writes:
            connection.execute(f"PRAGMA busy_timeout = {WAIT_MS}").fetchall()
        return BlockingRun(connection, MANNER)
    except sqlite3.Error as error:
        raise ConfigError(f"--database: cannot use the file {path}: {error}") from error


def _open(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path,
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
    return connection


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
        connect = partial(connected, path)
        self._writer = Desk(connect, reactor, threads(), deadline_seconds)
        read = partial(connected, path, writes=False)
        self._reader = Desk(read, reactor, threads(), deadline_seconds)

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
