"""One connection to PostgreSQL on the reactor, and what its errors mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import psycopg2
from psycopg2 import errorcodes, extensions
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Cooperator
from twisted.python.failure import Failure
from txpostgres import txpostgres

from koboldfs.errors import DatabaseAway, DatabaseFault, DuplicateRow, ValueRefused
from koboldfs.store.steps import Again, Lost, Reply, Statement

#: Seconds for a connection to be made, the server's greeting included.
CONNECT_SECONDS = 5.0

_LOST = frozenset(
    {
        errorcodes.ADMIN_SHUTDOWN,
        errorcodes.CRASH_SHUTDOWN,
        errorcodes.CANNOT_CONNECT_NOW,
        errorcodes.READ_ONLY_SQL_TRANSACTION,
        errorcodes.IDLE_SESSION_TIMEOUT,
        errorcodes.IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
    }
)
_AGAIN = frozenset(
    {
        errorcodes.SERIALIZATION_FAILURE,
        errorcodes.DEADLOCK_DETECTED,
        errorcodes.LOCK_NOT_AVAILABLE,
    }
)
_REFUSED = frozenset(
    {
        errorcodes.STRING_DATA_RIGHT_TRUNCATION,
        errorcodes.NUMERIC_VALUE_OUT_OF_RANGE,
        errorcodes.CHARACTER_NOT_IN_REPERTOIRE,
        errorcodes.UNTRANSLATABLE_CHARACTER,
        errorcodes.CHECK_VIOLATION,
        errorcodes.NOT_NULL_VIOLATION,
    }
)
#: What every session is told before its first use: an answer that was sent must
#: survive a crash, whatever the server's default is.
_GREETING = Statement(
    "SELECT CASE current_setting('synchronous_commit') WHEN 'off' THEN"
    " set_config('synchronous_commit', 'on', false) END"
)


def translate(error: Exception) -> DatabaseFault | None:
    """Our fault for an exception of psycopg2; None for one that is no fault of it."""
    if isinstance(error, ConnectionDone):
        return Lost()
    if isinstance(error, (ValueError, UnicodeError, OverflowError)):
        # psycopg2 itself refuses NUL bytes and lone surrogates.
        return ValueRefused()
    if not isinstance(error, psycopg2.Error):
        return None
    code = error.pgcode
    if code is None:
        gone = isinstance(error, (psycopg2.OperationalError, psycopg2.InterfaceError))
        return Lost() if gone else DatabaseFault()
    if code in _LOST or code.startswith("08"):
        return Lost()
    if code in _AGAIN:
        return Again()
    if code == errorcodes.UNIQUE_VIOLATION:
        return DuplicateRow()
    return ValueRefused() if code in _REFUSED else DatabaseFault()


class Link(txpostgres.Connection):  # type: ignore[misc]
    """A connection that says when it is gone, also while nobody uses it."""

    def __init__(self, reactor: Any) -> None:
        cooperator = Cooperator(scheduler=lambda work: reactor.callLater(0, work))
        super().__init__(reactor, cooperator)
        #: Called once when the connection is lost while idle.
        self.lost: Callable[[Link], None] | None = None
        self._limit: IDelayedCall | None = None
        self._answered: Deferred[None] | None = None

    async def open(self, options: Mapping[str, str]) -> None:
        """Connect; raises `DatabaseAway` with the server's or the system's words."""
        self.limit(CONNECT_SECONDS)
        try:
            await self.connect(**options)
            await self.send([_GREETING])
        except (psycopg2.Error, ConnectionDone, DatabaseFault) as error:
            self.shut()
            cause = error.__cause__ or error
            words = " ".join(str(cause).split())
            if isinstance(cause, ConnectionDone):
                words = f"no answer within {CONNECT_SECONDS:g} seconds"
            raise DatabaseAway(words) from error
        finally:
            self.limit(None)

    def limit(self, seconds: float | None) -> None:
        """Cut the connection after that time, unless told otherwise before."""
        if self._limit is not None and self._limit.active():
            self._limit.cancel()
        self._limit = None
        if seconds is not None:
            self._limit = self.reactor.callLater(seconds, self.shut)

    async def send(self, statements: Sequence[Statement]) -> Reply:
        """Send statements in one trip; the reply is that of the last one.

        Raises faults; after `Lost` the connection is of no use any more.
        """
        query: str | bytes
        try:
            cursor = self._connection.cursor()
            if len(statements) == 1:
                query, params = statements[0].sql, statements[0].params or None
            else:
                texts = [
                    cursor.mogrify(one.sql, one.params or None) for one in statements
                ]
                query, params = b";\n".join(texts), None
            cursor.execute(query, params)
            answered: Deferred[None] = Deferred()
            self._answered = answered
            self._advance()
            await answered
            rows = cursor.fetchall() if cursor.description else []
        except Exception as error:
            fault = translate(error)
            if fault is None:
                raise
            raise fault from error
        return Reply(rows, cursor.rowcount)

    def _advance(self) -> None:
        """Take what has come, or send what is left.

        txpostgres would stop and start reading, and wait for another turn of the
        reactor, for each statement; a trip takes half as long without that.
        """
        try:
            state = self._connection.poll()
        except psycopg2.Error:
            self._end(Failure())
            return
        if state == extensions.POLL_OK:
            self._end(None)
            if not self._connection.closed:
                self.checkForNotifies()
        elif state == extensions.POLL_WRITE:
            self.reactor.addWriter(self)

    def _end(self, failure: Failure | None) -> None:
        """An answer is there, or failed; or we learn that the idle connection broke."""
        answered, self._answered = self._answered, None
        if answered is not None:
            if failure is None:
                answered.callback(None)
            else:
                answered.errback(failure)
        elif failure is not None:
            lost = self.lost
            self.shut()
            if lost is not None:
                lost(self)

    @property
    def _connecting(self) -> bool:
        return self._pollingD is not None

    def doRead(self) -> None:
        """There are bytes: of an answer, of a notice, or the end of all."""
        if self._connecting:
            super().doRead()
        elif not self._connection.closed:
            self._advance()

    def doWrite(self) -> None:
        """There is room for the rest of a statement."""
        if self._connecting:
            super().doWrite()
            return
        self.reactor.removeWriter(self)
        if not self._connection.closed:
            self._advance()

    def connectionLost(self, reason: Failure) -> None:
        """The reactor has given the socket up, or we have."""
        if self._connecting:
            super().connectionLost(reason)
            return
        if not self._connection.closed:
            self._advance()  # which has better words for it
        if not self._connection.closed:
            self._end(reason)
            self.shut()
        elif self._answered is not None:
            self._end(reason)

    def shut(self) -> None:
        """Close the connection, whatever state it is in; `lost` is not called."""
        self.limit(None)
        self.lost = None
        if self._connection is not None:
            self.close()
