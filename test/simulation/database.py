"""The database server of a simulation: SQLite in memory, with the product's own
transactions, desk and batches before it, and a server's faults.

Its clock is simulated, too. There is one for each process that tests, which is emptied
between runs, so that its statements stay prepared.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from koboldfs.errors import DatabaseAway, DatabaseFault
from koboldfs.store.blocking import BlockingRun
from koboldfs.store.database import Database
from koboldfs.store.desk import Desk
from koboldfs.store.open import Store
from koboldfs.store.schema import definitions
from koboldfs.store.sqlite import MANNER, translate
from koboldfs.store.statements import statements_for
from koboldfs.store.steps import IRunner, Lost, Transaction
from test.simulation.clock import EPOCH

LONGEST_SECONDS = 0.003
DEADLINE_SECONDS = 10.0


#: Which key an upload was begun for is known here also when its row is gone.
_NOTED = """
CREATE TABLE noted_opened (fid INTEGER PRIMARY KEY, dkey TEXT);
CREATE TRIGGER note_opened AFTER INSERT ON tempfile BEGIN
    INSERT OR REPLACE INTO noted_opened VALUES (new.fid, new.dkey);
END;
"""
_PASS_OVER = "UPDATE sqlite_sequence SET seq = seq + ? WHERE name = 'tempfile'"


class ConnectionBroke(Exception):
    """The way to the server is gone."""


def _translate(error: Exception) -> DatabaseFault | None:
    return Lost() if isinstance(error, ConnectionBroke) else translate(error)


_MANNER = evolve(MANNER, translate=_translate, begin_attempts=1)


class Server:
    """The database, and what is wrong with it. `away`: nobody gets through;
    `unanswered`: so many COMMITs from now on are done and not answered; `refused`: so
    many connections break before their COMMIT."""

    _kept: sqlite3.Connection | None = None
    _current: Server | None = None

    def __init__(self, seconds: Callable[[], float], random: Random) -> None:
        self._seconds, self.random = seconds, random
        self.ahead_seconds = 0
        self.away = False
        self.unanswered = self.refused = 0
        self.slow_seconds = 0.0
        #: How many fids are passed over after each that was handed out.
        self.passed_over = 0
        self.connection = self._emptied()
        type(self)._current = self

    @classmethod
    def _emptied(cls) -> sqlite3.Connection:
        if cls._kept is None:
            cls._kept = cls._made()
        connection = cls._kept
        if connection.in_transaction:
            connection.rollback()
        names = "SELECT name FROM sqlite_master WHERE type = 'table'"
        for (name,) in connection.execute(names).fetchall():
            connection.execute(f"DELETE FROM {name}")
        return connection

    @classmethod
    def _made(cls) -> sqlite3.Connection:
        connection = sqlite3.connect(
            ":memory:",
            isolation_level=None,
            check_same_thread=False,
            cached_statements=512,
        )
        for text in definitions(statements_for("sqlite").tongue.dialect, set()):
            connection.execute(text)
        connection.executescript(_NOTED)
        connection.create_function("strftime", 2, cls._strftime)
        return connection

    @classmethod
    def _strftime(cls, form: str, when: str) -> str:
        assert cls._current is not None and (form, when) == ("%s", "now")
        return str(cls._current.unix_time())

    def unix_time(self) -> int:
        """The server's clock."""
        return EPOCH + int(self._seconds()) + self.ahead_seconds

    def rows(self, sql: str, *params: Any) -> list[tuple[Any, ...]]:
        """What is in the database; for those who check."""
        return self.connection.execute(sql, params).fetchall()

    def opened(self, fid: int) -> tuple[str, bytes | None]:
        """The key that an upload was begun for, and the sha256 of its file, if it has
        one yet; for `Truth`."""
        keys = self.rows("SELECT dkey FROM noted_opened WHERE fid = ?", fid)
        sums = self.rows("SELECT checksum FROM kobold_checksum WHERE fid = ?", fid)
        return keys[0][0] if keys else "", sums[0][0] if sums else None

    def connect(self) -> BlockingRun:
        """A connection of a tracker; raises `DatabaseAway`."""
        if self.away:
            raise DatabaseAway()
        return BlockingRun(_Connection(self), _MANNER)


class _Connection:
    def __init__(self, server: Server) -> None:
        self._server = server
        self._broken = self._opens = False

    def cursor(self) -> _Connection:
        return self

    def close(self) -> None:
        """For the cursor and for the connection: there is nothing to give back."""

    def execute(self, sql: str, params: Sequence[Any] = ()) -> None:
        server = self._server
        if server.away or self._broken:
            self._break()
        if sql == "COMMIT":
            if server.refused:
                server.refused -= 1
                self._break()
            if self._opens and server.passed_over:
                server.connection.execute(_PASS_OVER, (server.passed_over,))
            server.connection.execute(sql)
            self._opens = False
            if server.unanswered:
                server.unanswered -= 1
                self._break()
            self._cursor = None
            self.description, self.rowcount = None, -1
            return
        self._opens = self._opens or "INTO tempfile" in sql
        cursor = server.connection.execute(sql, params)
        self._cursor: Any = cursor
        self.description, self.rowcount = cursor.description, cursor.rowcount

    def fetchall(self) -> list[Any]:
        rows: list[Any] = self._cursor.fetchall()
        self.rowcount = self._cursor.rowcount
        return rows

    def _break(self) -> None:
        self._broken = True
        if self._server.connection.in_transaction:
            self._server.connection.rollback()
        raise ConnectionBroke


class _Threads:
    """A pool of one thread: work is done in one go, at a later moment."""

    started = False

    def __init__(self, reactor: Any, server: Server) -> None:
        self._reactor, self._server = reactor, server

    def start(self) -> None:
        self.started = True

    def stop(self) -> None:
        self.started = False

    def callInThreadWithCallback(
        self, told: Callable[[bool, Any], None], work: Callable[..., Any], *args: Any
    ) -> None:
        server = self._server
        seconds = LONGEST_SECONDS * server.random.random() + server.slow_seconds
        self._reactor.callLater(seconds, self._do, told, work, args)

    def _do(
        self, told: Callable[[bool, Any], None], work: Callable[..., Any], args: Any
    ) -> None:
        try:
            result = work(*args)
        except Exception:
            told(False, Failure())
        else:
            told(True, result)


@implementer(IRunner)
class Runner:
    """As those of engines whose drivers block: a desk that writes, one that reads."""

    dialect_name = "sqlite"

    def __init__(self, reactor: Any, server: Server, random: Random) -> None:
        self._desks = [
            Desk(
                server.connect,
                reactor,
                _Threads(reactor, server),  # type: ignore[arg-type]
                DEADLINE_SECONDS,
                random,
            )
            for _ in range(2)
        ]

    async def start(self) -> None:
        """Connect, sooner or later."""
        for desk in self._desks:
            desk.begin()

    async def stop(self) -> None:
        """Disconnect."""
        for desk in self._desks:
            await desk.stop()

    def run(
        self, transaction: Transaction[Any], patient: bool = False
    ) -> Deferred[Any]:
        """See `IRunner`."""
        desk = self._desks[0 if transaction.mode.writes else 1]
        return desk.submit(transaction, patient)

    def watch(self, changed: Callable[[], None]) -> None:
        """Nobody is told."""


def store_on(server: Server, reactor: Any, random: Random) -> Store:
    """A tracker's store on the server."""
    runner = Runner(reactor, server, random)
    sql = statements_for("sqlite")
    database = Database(runner, sql, reactor, DEADLINE_SECONDS)
    return Store(runner, database, _no_locks)


def _no_locks() -> Any:
    raise AssertionError("it is not a database of MogileFS")
