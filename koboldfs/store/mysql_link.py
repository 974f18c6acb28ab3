"""A connection to MySQL or MariaDB: PyMySQL, made to speak in bytes.

Keys, names and what else is text are bytes to us, one character each. The connection's
character set must be the one that MogileFS's trackers used (``charset`` in the URL), so
that the server stores the same bytes that they stored; Latin-1 is what Perl's driver
does unasked. PyMySQL would encode text by that character set. So parameters are filled
in here, as bytes, and results are decoded here.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any

import pymysql
from attrs import frozen
from pymysql.constants import CLIENT, CR, ER, FIELD_TYPE
from pymysql.converters import escape_string

from koboldfs.errors import (
    ConfigError,
    DatabaseAway,
    DatabaseFault,
    DuplicateRow,
    ValueRefused,
)
from koboldfs.store.blocking import Manner
from koboldfs.store.mysql_url import MysqlOptions
from koboldfs.store.steps import Again, Lost, Row

#: Seconds that a host may take to let us in.
CONNECT_SECONDS = 5
#: Seconds that a statement may take; then the connection is given up.
STATEMENT_SECONDS = 30
#: Seconds that a statement waits for a row that somebody else has locked.
LOCK_SECONDS = 5

#: Values that do not fit are refused, and columns without sign give results with one.
_SQL_MODE = "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,NO_UNSIGNED_SUBTRACTION"
_SKIP_LOCKED = " SKIP LOCKED"
#: First versions with SKIP LOCKED, of MariaDB and of MySQL.
_SKIPPING_MARIADB, _SKIPPING_MYSQL = (10, 6), (8, 0, 1)

#: Deadlock, lock wait timeout, row changed since it was read (MariaDB's snapshots),
#: refused at the COMMIT (Galera).
_AGAIN = {1213, 1205, 1020, 1180}
_DUPLICATE = {ER.DUP_ENTRY, 1586}
_GONE = {
    *(CR.CR_SERVER_GONE_ERROR, CR.CR_SERVER_LOST, CR.CR_CONN_HOST_ERROR),
    *(CR.CR_CONNECTION_ERROR, CR.CR_SERVER_LOST_EXTENDED, 0),
    # The server shuts down, or an operator ended the session.
    *(1053, 1077, 1152, 1158, 1159, 1160, 1161, 1927, 3169, 4031),
    # It has become a standby: another host takes writes now.
    *(1290, 1792, 1836),
}
_UNFIT = {
    *(1048, 1264, 1265, 1292, 1300, 1364, 1366, 1406, 1690, 3819, 3988, 4025),
}
#: A statement that took longer than the session lets it: of MariaDB and of MySQL.
TOO_SLOW = {1969, 3024}
#: Columns that hold bytes which are no text.
_RAW = {"checksum"}
_TEXTS = {
    *(FIELD_TYPE.VARCHAR, FIELD_TYPE.VAR_STRING, FIELD_TYPE.STRING),
    *(FIELD_TYPE.BLOB, FIELD_TYPE.TINY_BLOB),
    *(FIELD_TYPE.MEDIUM_BLOB, FIELD_TYPE.LONG_BLOB),
}


def translate(error: Exception) -> DatabaseFault | None:
    """Our fault for an exception of PyMySQL; None for one that is no fault of it."""
    if isinstance(error, (OverflowError, UnicodeError)):
        return ValueRefused()
    if isinstance(error, (OSError, pymysql.InterfaceError)):
        return Lost()
    if not isinstance(error, pymysql.MySQLError):
        return None
    number = error.args[0] if error.args else None
    if number in _DUPLICATE:
        return DuplicateRow()
    if number in _AGAIN:
        return Again()
    if number in _UNFIT or isinstance(error, pymysql.DataError):
        return ValueRefused()
    if number in _GONE or not isinstance(number, int):
        # Without a number it is PyMySQL's own: what came was no answer to us.
        return Lost()
    return DatabaseFault()


WRITING = Manner("BEGIN", "BEGIN", translate)
READING = Manner("BEGIN", "START TRANSACTION WITH CONSISTENT SNAPSHOT", translate)


def literal(value: Any) -> bytes:
    """A parameter as it stands in a statement. Raises UnicodeEncodeError."""
    if value is None:
        return b"NULL"
    if isinstance(value, int):
        return b"%d" % value
    if isinstance(value, (bytes, memoryview)):
        return b"x'%s'" % bytes(value).hex().encode()
    return b"'%s'" % escape_string(value).encode("latin-1")


@lru_cache(maxsize=1024)
def _pieces(sql: str) -> tuple[bytes, ...]:
    return tuple(part.replace("%%", "%").encode() for part in sql.split("%s"))


def filled(sql: str, params: Sequence[Any]) -> bytes:
    """The statement with its parameters in place of every ``%s``."""
    pieces = _pieces(sql)
    if len(pieces) != len(params) + 1:
        raise ValueError("as many parameters as places are needed")
    whole = [pieces[0]]
    for value, piece in zip(params, pieces[1:], strict=True):
        whole += (literal(value), piece)
    return b"".join(whole)


def _number(raw: bytes) -> Decimal:
    return Decimal(raw.decode())


class Cursor:
    """What `BlockingRun` needs of a cursor, over one of PyMySQL."""

    def __init__(self, cursor: Any, skips_locked: bool) -> None:
        self._cursor = cursor
        self._skips_locked = skips_locked

    def execute(self, sql: str, params: Sequence[Any]) -> None:
        """Run a statement."""
        if not self._skips_locked and sql.endswith(_SKIP_LOCKED):
            sql = sql.removesuffix(_SKIP_LOCKED)
        self._cursor.execute(filled(sql, params))

    @property
    def description(self) -> Any:
        """Of the columns, if there is a result."""
        return self._cursor.description

    @property
    def rowcount(self) -> int:
        """Rows that were changed, or found to be so already."""
        count: int = self._cursor.rowcount
        return count

    def fetchall(self) -> list[Row]:
        """The rows, text decoded."""
        texts = [
            place
            for place, column in enumerate(self._cursor.description)
            if column[1] in _TEXTS and column[0] not in _RAW
        ]
        rows: list[Row] = list(self._cursor.fetchall())
        return [_decoded(row, texts) for row in rows] if texts else rows

    def close(self) -> None:
        """Nothing is left on the server."""
        self._cursor.close()


def _decoded(row: Row, texts: Sequence[int]) -> Row:
    values = list(row)
    for place in texts:
        if values[place] is not None:
            values[place] = values[place].decode("latin-1")
    return tuple(values)


_WHOLE = ("TINY", "SHORT", "INT24", "LONG", "LONGLONG")
_BROKEN = ("FLOAT", "DOUBLE", "DECIMAL", "NEWDECIMAL")
#: What becomes of numbers; all else comes as bytes.
_NUMBERS: dict[int, Any] = {
    **{getattr(FIELD_TYPE, name): int for name in _WHOLE},
    **{getattr(FIELD_TYPE, name): _number for name in _BROKEN},
}


@frozen
class Purpose:
    """What a connection is for. `statement_seconds` None: as long as it takes."""

    isolation: str
    standby_will_do: bool = False
    statement_seconds: int | None = STATEMENT_SECONDS


#: To write; to read what may be written next; only to look.
WRITER = Purpose("READ COMMITTED")
READER = Purpose("REPEATABLE READ")
ONLOOKER = Purpose("REPEATABLE READ", True, None)


class _Connection(pymysql.connections.Connection):  # type: ignore[misc]
    """One whose TLS, if the URL says nothing of it, shares its context with others:
    PyMySQL would read all of the system's certificates, which takes 50 ms and of which
    it then uses none, for every connection."""

    _shared_context: Any = None

    def _create_ssl_ctx(self, options: Any) -> Any:
        if options:
            return super()._create_ssl_ctx(options)
        if _Connection._shared_context is None:
            _Connection._shared_context = super()._create_ssl_ctx(options)
        return _Connection._shared_context


class Link:
    """An open connection in autocommit mode."""

    def __init__(
        self, options: MysqlOptions, host: tuple[str, int], purpose: Purpose
    ) -> None:
        """Connect; raises what PyMySQL raises, and `DatabaseAway` for a standby."""
        self._connection: Any = _Connection(
            host=host[0],
            port=host[1],
            user=options.user,
            password=options.password,
            database=options.database,
            unix_socket=options.unix_socket,
            charset=options.charset,
            use_unicode=False,
            conv=_NUMBERS,
            autocommit=True,
            client_flag=CLIENT.FOUND_ROWS,
            connect_timeout=CONNECT_SECONDS,
            read_timeout=purpose.statement_seconds,
            write_timeout=purpose.statement_seconds,
            program_name="koboldfs",
            **dict(options.tls),
        )
        self._skips_locked = True
        try:
            self._greet(purpose)
        except BaseException:
            self.close()
            raise

    def _greet(self, purpose: Purpose) -> None:
        self.execute(f"SET SESSION sql_mode = '{_SQL_MODE}'")
        self.execute(f"SET SESSION innodb_lock_wait_timeout = {LOCK_SECONDS}")
        self.execute(f"SET SESSION TRANSACTION ISOLATION LEVEL {purpose.isolation}")
        ((version, standby),) = self.execute("SELECT VERSION(), @@global.read_only")
        self._skips_locked = skips_locked(version)
        if standby and not purpose.standby_will_do:
            raise DatabaseAway("it is read-only")

    def execute(self, sql: str, *params: Any) -> list[Row]:
        """The rows of a statement."""
        cursor = self.cursor()
        try:
            cursor.execute(sql, params)
            return cursor.fetchall() if cursor.description else []
        finally:
            cursor.close()

    def cursor(self) -> Cursor:
        """For one statement."""
        return Cursor(self._connection.cursor(), self._skips_locked)

    def close(self) -> None:
        """Disconnect, whatever state it is in."""
        if self._connection.open:
            try:
                self._connection.close()
            except (OSError, pymysql.MySQLError):
                pass  # it is gone already


def skips_locked(version: str) -> bool:
    """Whether a server of that version knows SKIP LOCKED."""
    numbers = version.partition("-")[0].split(".")
    known = tuple(int(number) for number in numbers if number.isdecimal())
    oldest = _SKIPPING_MARIADB if "mariadb" in version.lower() else _SKIPPING_MYSQL
    return known >= oldest


class Hosts:
    """Connects to the first host of several that takes writes, the last good first.

    Used by one thread.
    """

    def __init__(self, options: MysqlOptions, purpose: Purpose) -> None:
        self._options = options
        self._purpose = purpose
        self._hosts = list(options.hosts)

    def connect(self) -> Link:
        """A new connection; raises `DatabaseAway` with what each host said, and
        `ConfigError` for options that can never work."""
        words = []
        for host in list(self._hosts):
            try:
                return Link(self._options, host, self._purpose)
            except DatabaseAway as away:
                words.append(f"{_named(host)}: {away.message}")
            except (OSError, UnicodeError, RuntimeError, pymysql.MySQLError) as error:
                words.append(f"{_named(host)}: {said(error)}")
            except ValueError as error:
                raise ConfigError(f"--database: {said(error)}") from error
            # The next one first, should this attempt be the last for now.
            self._hosts.append(self._hosts.pop(0))
        raise DatabaseAway("; ".join(words))


def _named(host: tuple[str, int]) -> str:
    return f"{host[0]}:{host[1]}"


def said(error: Exception) -> str:
    """The words of an exception, in one line."""
    words = error.args[1] if len(error.args) == 2 else error
    return " ".join(str(words).split())
