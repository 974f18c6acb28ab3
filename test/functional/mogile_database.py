"""The database as a process of MogileFS's tracker uses it: one session, its locks.

Statements are single and commit by themselves, but where MogileFS has a transaction.
Bytes of a key are Latin-1 characters to both drivers.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import psycopg2
import psycopg2.errors
import pymysql

Rows = list[tuple[Any, ...]]

#: Deadlock found; waited too long for a lock.
_DEADLOCK, _LOCK_WAIT = 1213, 1205
#: How often a statement is said again after a deadlock, and how long one waits for a
#: row that somebody has locked: long enough for a test, which must have an end.
ATTEMPTS = 20
WAIT_SECONDS = 10
#: For how long a row that was grabbed is not due.
GRABBED_SECONDS = 1000


class Taken(Exception):
    """A unique value is there already."""


class SecondLock(Exception):
    """A process of MogileFS has one named lock at a time."""


def lock_number(text: str) -> int:
    """31 bits of the MD5 of a name."""
    digest = hashlib.md5(text.encode(), usedforsecurity=False).digest()
    return int.from_bytes(digest[:4], "big") & 0x7FFFFFFF


class Session:
    """What the two databases have in common."""

    #: The clock of the database, as whole seconds.
    now = ""
    #: Around an INSERT that a row which is there already does not hurt.
    ignore = ("insert", "")

    def __init__(self, url: str, host_name: str) -> None:
        self.url = url
        self.host_name = host_name
        self.lock_name = ""
        self.connection = self._connect()

    def _connect(self) -> Any:
        raise NotImplementedError

    def _error(self, error: Exception) -> str:
        """What became of a statement: ``taken``, ``again`` (a deadlock), ``waited``
        (for a row, in vain) or nothing known."""
        raise NotImplementedError

    def close(self) -> None:
        """Disconnect, which gives a lock back."""
        self.connection.close()

    def run(self, sql: str, *values: Any) -> int:
        """A statement; returns how many rows it changed. Raises `Taken`."""
        return int(self._say(sql, values)[0])

    def ask(self, sql: str, *values: Any) -> Rows:
        """The rows of a statement."""
        return self._say(sql, values)[1]

    def insert_new(self, table: str, *values: Any) -> int:
        """A row, unless there is one; how many there are more."""
        verb, rest = self.ignore
        places = ", ".join(["%s"] * len(values))
        return self.run(f"{verb} into {table} values ({places}) {rest}", *values)

    def time(self) -> int:
        """The database's time."""
        return int(self.ask(f"select {self.now}")[0][0])

    def _say(self, sql: str, values: Sequence[Any]) -> tuple[int, Rows, int]:
        for _ in range(ATTEMPTS):
            try:
                return self._once(sql, values)
            except Exception as error:
                kind = self._error(error)
                if kind == "taken":
                    raise Taken from error
                if kind != "again":
                    raise
            time.sleep(0.01)
        raise AssertionError(f"deadlocks without an end: {sql}")

    def _once(self, sql: str, values: Sequence[Any]) -> tuple[int, Rows, int]:
        with self.connection.cursor() as cursor:
            cursor.execute(sql, tuple(values) or None)
            rows = list(cursor.fetchall()) if cursor.description else []
            return cursor.rowcount, rows, getattr(cursor, "lastrowid", 0) or 0

    @contextmanager
    def transaction(self) -> Iterator[Callable[[str], object]]:
        """Statements that are one: what is locked is locked until the end."""
        with self.connection.cursor() as cursor:
            cursor.execute("begin")
            try:
                yield cursor.execute
            finally:
                cursor.execute("commit")

    # --- locks

    @contextmanager
    def lock(self, name: str, seconds: int) -> Iterator[bool]:
        """A named lock for a while; False if it was not to be had in that time."""
        if self.lock_name:
            raise SecondLock(f"{self.lock_name}, {name}")
        had = self._take(name)
        for _ in range(seconds):
            if not had:
                time.sleep(1)
                had = self._take(name)
        if not had:
            yield False
            return
        self.lock_name = name
        try:
            yield True
        finally:
            self.lock_name = ""
            self._release(name)

    def _take(self, name: str) -> bool:
        raise NotImplementedError

    def _release(self, name: str) -> None:
        raise NotImplementedError

    # --- what is said differently

    def draw(self, *values: Any) -> int:
        """A row of tempfile (createtime is now); returns its fid."""
        raise NotImplementedError

    def put_file(self, *values: Any) -> bool:
        """The row of a file; False if somebody took the key meanwhile, and one of the
        two files is lost without a word."""
        raise NotImplementedError

    def recount(self, fid: int) -> None:
        """Set devcount to the number of copies."""
        raise NotImplementedError

    def grab(self, queue: str, columns: str, limit: int) -> Rows:
        """Rows that are due, oldest first, which are not due from now on."""
        try:
            return self._grab(queue, columns, limit)
        except Exception as error:
            if self._error(error) not in ("again", "waited"):
                raise
            return []

    def _grab(self, queue: str, columns: str, limit: int) -> Rows:
        with self.connection.cursor() as cursor:
            cursor.execute("begin")
            try:
                cursor.execute(
                    f"select {columns} from {queue} where nexttry <= {self.now}"
                    f" order by nexttry limit {limit} for update"
                )
                rows = list(cursor.fetchall())
                if rows:
                    fids = ", ".join(str(row[0]) for row in rows)
                    cursor.execute(
                        f"update {queue} set nexttry = {self.now} + {GRABBED_SECONDS}"
                        f" where fid in ({fids})"
                    )
                cursor.execute("commit")
            except Exception:
                cursor.execute("rollback")
                raise
        return rows


class PostgresSession(Session):
    """On PostgreSQL: a lock has the tracker's host name in it."""

    now = "extract(epoch from now())::int4"
    ignore = ("insert", "on conflict do nothing")

    def _connect(self) -> Any:
        wait = f"-c lock_timeout={WAIT_SECONDS}s"
        connection = psycopg2.connect(self.url, options=wait)
        connection.autocommit = True
        return connection

    def _error(self, error: Exception) -> str:
        if isinstance(error, psycopg2.errors.UniqueViolation):
            return "taken"
        if isinstance(error, psycopg2.errors.LockNotAvailable):
            return "waited"
        deadlock = psycopg2.errors.DeadlockDetected
        return "again" if isinstance(error, deadlock) else ""

    def _take(self, name: str) -> bool:
        return self._lock("pg_try_advisory_lock", name)

    def _release(self, name: str) -> None:
        self._lock("pg_advisory_unlock", name)

    def _lock(self, function: str, name: str) -> bool:
        pair = lock_number(self.host_name), lock_number(name)
        return bool(self.ask(f"select {function}(%s, %s)", *pair)[0][0])

    def draw(self, *values: Any) -> int:
        """See `Session`."""
        rows = self.ask(
            "insert into tempfile (createtime, classid, dmid, dkey, devids)"
            f" values ({self.now}, %s, %s, %s, %s) returning fid",
            *values,
        )
        return int(rows[0][0])

    def put_file(self, *values: Any) -> bool:
        """See `Session`: who comes second is lost."""
        try:
            self.run(
                "insert into file (fid, dmid, dkey, length, classid, devcount)"
                " values (%s, %s, %s, %s, %s, 1)",
                *values,
            )
            return True
        except Taken:
            fid, dmid, key, length, classid = values
            return 1 == self.run(
                "update file set dmid = %s, dkey = %s, length = %s, classid = %s,"
                " devcount = 1 where fid = %s",
                *(dmid, key, length, classid, fid),
            )

    def recount(self, fid: int) -> None:
        """See `Session`: the file's row is locked meanwhile."""
        with self.connection.cursor() as cursor:
            cursor.execute("begin")
            cursor.execute("select 1 from file where fid = %s for update", (fid,))
            cursor.execute(
                "update file set devcount ="
                " (select count(devid) from file_on where file_on.fid = file.fid)"
                " where fid = %s",
                (fid,),
            )
            cursor.execute("commit")


class MariaSession(Session):
    """On MariaDB and MySQL: locks have a name for the whole server."""

    now = "unix_timestamp()"
    ignore = ("insert ignore", "")

    def _connect(self) -> Any:
        parts = urlsplit(self.url)
        connection = pymysql.connect(
            host=parts.hostname,
            port=parts.port or 3306,
            user=parts.username,
            password=parts.password or "",
            database=parts.path.lstrip("/"),
            autocommit=True,
            charset="latin1",
            ssl_disabled=True,
            init_command=f"set innodb_lock_wait_timeout = {WAIT_SECONDS}",
        )
        # A byte is a character; what MySQL calls latin1 Python has no name for.
        connection.encoding = "latin-1"
        return connection

    def _error(self, error: Exception) -> str:
        if isinstance(error, pymysql.IntegrityError):
            return "taken"
        if isinstance(error, pymysql.OperationalError):
            kinds = {_DEADLOCK: "again", _LOCK_WAIT: "waited"}
            return kinds.get(error.args[0], "")
        return ""

    def _take(self, name: str) -> bool:
        return bool(self.ask("select get_lock(%s, 0)", name)[0][0])

    def _release(self, name: str) -> None:
        self.ask("select release_lock(%s)", name)

    def draw(self, *values: Any) -> int:
        """See `Session`."""
        return self._say(
            "insert into tempfile set createtime = unix_timestamp(), classid = %s,"
            " dmid = %s, dkey = %s, devids = %s",
            values,
        )[2]

    def put_file(self, *values: Any) -> bool:
        """See `Session`: who came first is lost."""
        return 1 == self.run(
            "replace into file (fid, dmid, dkey, length, classid, devcount)"
            " values (%s, %s, %s, %s, %s, 1)",
            *values,
        )

    def recount(self, fid: int) -> None:
        """See `Session`: under a lock, unless the process has one already."""
        if self.lock_name:
            self._recount(fid)
            return
        with self.lock(f"mgfs:fid:{fid}", 10) as had:
            if had:
                self._recount(fid)

    def _recount(self, fid: int) -> None:
        copies = "select count(devid) from file_on where fid = %s"
        count = self.ask(copies, fid)[0][0]
        self.run("update file set devcount = %s where fid = %s", count, fid)

    def _grab(self, queue: str, columns: str, limit: int) -> Rows:
        with self.lock(f"mfsd:{queue}", 30) as had:
            return super()._grab(queue, columns, limit) if had else []


def open_session(url: str, host_name: str) -> Session:
    """A new session of the database of that URL."""
    kind = PostgresSession if url.startswith("postgresql") else MariaSession
    return kind(url, host_name)
