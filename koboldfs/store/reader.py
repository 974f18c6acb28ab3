"""Looks into a database that must not be changed, and blocks while it does.

Every question is a transaction of its own that the database itself lets write nothing:
READ ONLY on PostgreSQL, and a file that is opened for reading only. A question has
`QUESTION_SECONDS`, unless its asker is ready to wait; then the database gives it up.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from koboldfs.errors import ConfigError, DatabaseAway, DatabaseFault
from koboldfs.store.blocking import BlockingRun, Manner
from koboldfs.store.mysql_url import MysqlOptions
from koboldfs.store.steps import Mode, Row, Statement, Steps, quiet

T = TypeVar("T")

#: How long a question may take the database.
QUESTION_SECONDS = 20.0
#: How long a server may take to let us in.
CONNECT_SECONDS = 10
#: Steps of SQLite's machine between two looks at the clock.
_STEPS_PER_LOOK = 10_000
#: Where the header of a file of SQLite says that it is in WAL mode.
_WAL_MARK = slice(18, 20), b"\2\2"


class TooSlow(DatabaseFault):
    """The question took longer than it may."""

    text = "Database error: the question took too long"


class Reader:
    """An open database. `connection` is of a blocking driver, in autocommit mode."""

    dialect_name = ""

    def __init__(self, connection: Any, manner: Manner) -> None:
        self._connection = connection
        self._run = BlockingRun(connection, manner)
        #: Whether questions may take as long as they need.
        self.patient = False

    def limit(self) -> tuple[Statement, ...]:
        """What makes the database keep to the time (any, for the patient), said before
        each question."""
        return ()

    def play(self, steps: Steps[T]) -> T:
        """The result of a transaction that only reads. Raises what that raises,
        `TooSlow`, and `DatabaseFault` with the database's own words."""
        (outcome,) = self._run([self._limited(steps)], Mode.SNAPSHOT)
        if isinstance(outcome, BaseException):
            raise outcome
        result: T = outcome
        return result

    def _limited(self, steps: Steps[T]) -> Steps[T]:
        yield quiet(*self.limit())
        return (yield from steps)

    def ask(self, statement: Statement) -> list[Row]:
        """The rows of one statement."""

        def steps() -> Steps[list[Row]]:
            return (yield statement).rows

        return self.play(steps())

    def close(self) -> None:
        """Let go of the database."""
        self._connection.close()


class SqliteReader(Reader):
    """A file of SQLite. Raises `ConfigError` if there is none."""

    dialect_name = "sqlite"

    def __init__(self, path: str) -> None:
        self._deadline = 0.0
        try:
            connection = sqlite3.connect(_uri(path), uri=True, isolation_level=None)
            # A key may be no text at all; what is none becomes lone surrogates.
            connection.text_factory = _text
            connection.execute("PRAGMA schema_version").fetchall()
        except (OSError, sqlite3.Error) as error:
            words = error.strerror if isinstance(error, OSError) else error
            raise ConfigError(
                f"--database: cannot read the file {path}: {words}"
            ) from error
        connection.set_progress_handler(self._late, _STEPS_PER_LOOK)
        super().__init__(connection, Manner("", "BEGIN", _sqlite_fault))

    def limit(self) -> tuple[Statement, ...]:
        """SQLite has no statement for that: it asks us now and then."""
        self._deadline = time.monotonic() + QUESTION_SECONDS
        return ()

    def _late(self) -> bool:
        return not self.patient and time.monotonic() > self._deadline


def _uri(path: str) -> str:
    header = _header(path)
    where, mark = _WAL_MARK
    # Even a reader makes a log beside a file in WAL mode when there is none. Where
    # there is none, nobody has the file open, and it can be read as it stands.
    still = header[where] == mark and not Path(f"{path}-wal").exists()
    return f"file:{quote(path)}?{'immutable=1' if still else 'mode=ro'}"


def _header(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(100)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _sqlite_fault(error: Exception) -> DatabaseFault | None:
    if not isinstance(error, sqlite3.Error):
        return None
    return TooSlow() if "interrupted" in str(error) else _in_its_words(error)


class PostgresReader(Reader):
    """A database of PostgreSQL; a standby will do. Raises `DatabaseAway`."""

    dialect_name = "postgresql"

    def __init__(self, options: Mapping[str, str]) -> None:
        import psycopg2

        given = {
            "connect_timeout": CONNECT_SECONDS,
            "application_name": "koboldfs adopt",
            **options,
            "client_encoding": "UTF8",
        }
        try:
            connection = psycopg2.connect(**given)
        except (psycopg2.Error, UnicodeError) as error:
            raise DatabaseAway(f"--database: {_words(error)}") from error
        connection.autocommit = True
        super().__init__(connection, Manner("", "BEGIN READ ONLY", _postgres_fault))

    def limit(self) -> tuple[Statement, ...]:
        """Ends with the transaction: the session may be a pooler's. All questions that
        are to be quick are made for indexes."""
        if self.patient:
            return ()
        return (
            Statement(f"SET LOCAL statement_timeout = {int(QUESTION_SECONDS * 1000)}"),
            Statement("SET LOCAL enable_seqscan = off"),
            Statement("SET LOCAL enable_bitmapscan = off"),
        )


def _postgres_fault(error: Exception) -> DatabaseFault | None:
    import psycopg2
    from psycopg2.errors import QueryCanceled

    if isinstance(error, QueryCanceled):
        return TooSlow()
    return _in_its_words(error) if isinstance(error, psycopg2.Error) else None


class MysqlReader(Reader):
    """A database of MySQL or MariaDB; a standby will do. Raises `DatabaseAway`."""

    dialect_name = "mysql"

    def __init__(self, options: MysqlOptions) -> None:
        from koboldfs.store.mysql_link import ONLOOKER, Hosts

        try:
            link = Hosts(options, ONLOOKER).connect()
        except DatabaseAway as away:
            raise DatabaseAway(f"--database: {away.message}") from away
        link.execute("SET SESSION TRANSACTION READ ONLY")
        version = link.execute("SELECT VERSION()")[0][0]
        # Both count SELECTs only; ours are nothing else.
        self._limit = "SET SESSION max_execution_time = {:.0f}", 1000
        if "mariadb" in version.lower():
            self._limit = "SET SESSION max_statement_time = {:g}", 1
        super().__init__(link, Manner("", "START TRANSACTION", _mysql_fault))

    def limit(self) -> tuple[Statement, ...]:
        """For the session, of which we are the only user."""
        words, unit = self._limit
        seconds = 0 if self.patient else QUESTION_SECONDS
        return (Statement(words.format(seconds * unit)),)


def _mysql_fault(error: Exception) -> DatabaseFault | None:
    from pymysql import MySQLError

    from koboldfs.store.mysql_link import TOO_SLOW

    if not isinstance(error, MySQLError):
        return None
    slow = error.args and error.args[0] in TOO_SLOW
    return TooSlow() if slow else _in_its_words(error)


def _in_its_words(error: Exception) -> DatabaseFault:
    return DatabaseFault(f"the database says: {_words(error)}")


def _words(error: Exception) -> str:
    return " ".join(str(error).split())
