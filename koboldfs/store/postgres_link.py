"""One connection to PostgreSQL on the reactor, and what its errors mean.

txpostgres connects and closes, psycopg2 talks, asynchronously. Two things are ours:

* The reactor never sees libpq's own socket but a duplicate of it (`Duplicates`). libpq
  closes its socket without asking as soon as it fails, and may use the number for
  another one while it tries several addresses; a reactor that is based on epoll loses
  its books when that happens to a descriptor that it watches.
* Statements are sent without txpostgres's cursor, which would stop and start reading,
  and wait for another turn of the reactor, for each one: a trip takes half as long.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import psycopg2
from psycopg2 import errorcodes, extensions
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionClosed
from twisted.internet.interfaces import IDelayedCall, IReadWriteDescriptor
from twisted.python.failure import Failure
from txpostgres import txpostgres
from zope.interface import implementer

from koboldfs.errors import DatabaseAway, DatabaseFault, DuplicateRow, ValueRefused
from koboldfs.store.prepared import Prepared
from koboldfs.store.steps import Again, Lost, Reply, Statement, Unfit

#: Seconds for a connection to be made, the server's greeting included.
CONNECT_SECONDS = 5.0

_LOST = frozenset(
    {
        errorcodes.ADMIN_SHUTDOWN,
        errorcodes.CRASH_SHUTDOWN,
        errorcodes.CANNOT_CONNECT_NOW,
        errorcodes.IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
        "57P05",  # idle_session_timeout, which psycopg2 may be too old to know
    }
)
_UNFIT = frozenset(
    {
        # It has become a standby.
        errorcodes.READ_ONLY_SQL_TRANSACTION,
        # Somebody changed a table under a prepared statement, or dropped that.
        errorcodes.FEATURE_NOT_SUPPORTED,
        errorcodes.INVALID_SQL_STATEMENT_NAME,
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
#: Every statement of ours is made for an index and nested loops. Left to itself the
#: planner takes other ways while its statistics are missing or old, for example after
#: many files were stored at once, and reads a whole domain for a page of a list.
PLANNING = {
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
    # For what is prepared, which is planned once.
    "plan_cache_mode": "force_generic_plan",
    # So that a backslash in a text is one.
    "standard_conforming_strings": "on",
}
#: What every session is told before its first use: how to plan, as far as the server
#: knows the names; and that an answer that was sent must survive a crash, whatever
#: its default is.
_GREETING = Statement(
    "SELECT set_config(name, value, false) FROM (VALUES"
    + ", ".join(f"('{name}', '{value}')" for name, value in PLANNING.items())
    + ") AS wanted (name, value) WHERE name IN (SELECT name FROM pg_settings)"
    " UNION ALL SELECT set_config('synchronous_commit', 'on', false)"
    " WHERE current_setting('synchronous_commit') = 'off'"
)


def translate(error: Exception) -> DatabaseFault | None:
    """Our fault for an exception of psycopg2; None for one that is no fault of it."""
    if isinstance(error, ConnectionClosed):
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
    if code in _UNFIT:
        return Unfit()
    if code in _AGAIN:
        return Again()
    if code == errorcodes.UNIQUE_VIOLATION:
        return DuplicateRow()
    return ValueRefused() if code in _REFUSED else DatabaseFault()


@implementer(IReadWriteDescriptor)
class Watch:
    """The reactor's duplicate of a socket; events go to `owner`."""

    def __init__(self, descriptor: int, reactor: Any, owner: Any) -> None:
        self._descriptor = os.dup(descriptor)
        self._reactor = reactor
        self._owner = owner

    def is_of(self, descriptor: int) -> bool:
        """Whether it is a duplicate of the socket that has this number now."""
        ours, theirs = os.fstat(self._descriptor), os.fstat(descriptor)
        return os.path.samestat(ours, theirs)

    def fileno(self) -> int:
        """The duplicate's number; -1 when it is closed."""
        return self._descriptor

    def logPrefix(self) -> str:
        """What the reactor calls us in its log."""
        return "postgresql"

    def doRead(self) -> None:
        """Called by the reactor."""
        self._owner.doRead()

    def doWrite(self) -> None:
        """Called by the reactor."""
        self._owner.doWrite()

    def connectionLost(self, reason: Failure) -> None:
        """Called by the reactor, which does not watch any more."""
        if self._descriptor != -1:
            self._owner.connectionLost(reason)

    def end(self) -> None:
        """Stop watching, and close the duplicate."""
        if self._descriptor != -1:
            self._reactor.removeReader(self)
            self._reactor.removeWriter(self)
            os.close(self._descriptor)
            self._descriptor = -1


class Duplicates:
    """The reactor as txpostgres sees it: what it asks for its connection is done with
    a duplicate of the connection's socket."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._watch: Watch | None = None
        self.callLater = reactor.callLater

    def addReader(self, connection: Any) -> None:
        """See IReactorFDSet."""
        watch = self._watch_of(connection)
        if watch is not None:
            self._reactor.addReader(watch)

    def addWriter(self, connection: Any) -> None:
        """See IReactorFDSet."""
        watch = self._watch_of(connection)
        if watch is not None:
            self._reactor.addWriter(watch)

    def removeReader(self, connection: Any) -> None:
        """See IReactorFDSet."""
        if self._watch is not None:
            self._reactor.removeReader(self._watch)

    def removeWriter(self, connection: Any) -> None:
        """See IReactorFDSet."""
        if self._watch is not None:
            self._reactor.removeWriter(self._watch)

    def _watch_of(self, connection: Any) -> Watch | None:
        """The duplicate; None if libpq has closed its socket, which the connection is
        then told soon."""
        try:
            descriptor = connection.fileno()
            if self._watch is not None and not self._watch.is_of(descriptor):
                self.end()  # libpq went on to another address
            if self._watch is None:
                self._watch = Watch(descriptor, self._reactor, connection)
        except (OSError, psycopg2.Error):
            self.callLater(0, connection.connectionLost, Failure())
            return None
        return self._watch

    def end(self) -> None:
        """Stop watching, and close the duplicate."""
        if self._watch is not None:
            self._watch.end()
            self._watch = None


class Link(txpostgres.Connection):  # type: ignore[misc]
    """A connection that says when it is gone, also while nobody uses it."""

    def __init__(self, reactor: Any) -> None:
        self._duplicates = Duplicates(reactor)
        self._prepared = Prepared(reactor.seconds)
        super().__init__(self._duplicates)
        self._answered: Deferred[None] | None = None
        self._limit: IDelayedCall | None = None
        #: Called once when the connection is lost while idle.
        self.lost: Callable[[Link], None] | None = None
        #: Called when the server has notices for us.
        self.noticed: Callable[[], None] | None = None

    async def open(self, options: Mapping[str, str]) -> None:
        """Connect; raises `DatabaseAway` with the server's or the system's words."""
        self.limit(CONNECT_SECONDS)
        try:
            await self.connect(**options)
            await self.send([_GREETING])
        except (psycopg2.Error, ConnectionClosed, DatabaseFault) as error:
            self.shut()
            cause = error.__cause__ or error
            words = " ".join(str(cause).split())
            if isinstance(cause, ConnectionClosed):
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
            self._limit = self._duplicates.callLater(seconds, self.shut)

    async def send(self, statements: Sequence[Statement]) -> Reply:
        """Send statements in one trip; the reply is that of the last one.

        Raises faults; after `Lost` the connection is of no use any more.
        """
        done = False
        try:
            cursor = self._connection.cursor()
            cursor.execute(self._prepared.text(statements, cursor.mogrify))
            answered: Deferred[None] = Deferred()
            self._answered = answered
            self._advance()
            await answered
            rows = cursor.fetchall() if cursor.description else []
            done = True
        except Exception as error:
            fault = translate(error)
            if fault is None:
                raise
            raise fault from error
        finally:
            self._prepared.sent(done)
        return Reply(rows, cursor.rowcount)

    # --- what the reactor tells

    @property
    def _connecting(self) -> bool:
        """Whether txpostgres is at work, which has its own way to go on."""
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
        self._duplicates.removeWriter(self)
        if not self._connection.closed:
            self._advance()

    def connectionLost(self, reason: Failure) -> None:
        """The reactor has given the socket up, or we have."""
        if self._connecting:
            super().connectionLost(reason)
            return
        if not self._connection.closed:
            self._advance()  # which has better words for it
        if self._answered is not None or not self._connection.closed:
            self._end(reason)

    def _advance(self) -> None:
        """Take what has come, or send what is left."""
        try:
            state = self._connection.poll()
            if state == extensions.POLL_WRITE:
                self._duplicates.addWriter(self)
        except (psycopg2.Error, OSError):
            self._end(Failure())
            return
        if state == extensions.POLL_OK:
            self._end(None)
            self._take_notices()

    def _take_notices(self) -> None:
        if self._connection.closed or not self._connection.notifies:
            return
        self._connection.notifies.clear()
        if self.noticed is not None:
            self.noticed()

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

    def shut(self) -> None:
        """Close the connection, whatever state it is in; `lost` is not called."""
        self.limit(None)
        self.lost = self.noticed = None
        if self._connection is not None:
            self.close()
        self._duplicates.end()
