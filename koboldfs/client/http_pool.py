"""The connections to one address: kept alive, bounded, handed out one by one."""

from __future__ import annotations

from collections import deque
from typing import Any

from attrs import define
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import (
    ConnectError,
    ConnectingCancelledError,
    DNSLookupError,
)
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory
from twisted.logger import Logger

from koboldfs.client.connecting import Backoff, tcp_endpoint
from koboldfs.client.http_connection import HttpConnection
from koboldfs.errors import NodeFault, NodeUnreachable

#: Connections to one address. A disk does not get faster by more requests at once, and
#: a node accepts some hundreds from several trackers.
MAX_CONNECTIONS_PER_HOST = 64
#: Connections being made to one address at the same time: a listener's queue is often
#: not longer than 50, and what does not fit into it is tried again a second later.
MAX_CONNECTING_PER_HOST = 16
#: Requests that wait for one of them; more are refused.
MAX_WAITING_PER_HOST = 4096
#: How long a request waits for a connection (seconds), before the host counts as away.
TURN_TIMEOUT_SECONDS = 10.0
#: A connection that was not used for so long is closed (seconds); storage nodes close
#: theirs after 30 and more.
IDLE_SECONDS = 20.0


@define(eq=False)
class _Turn:
    """Somebody who waits: fires with a connection, or None to look again."""

    ready: Deferred[HttpConnection | None]
    deadline: float


class HostPool:
    """All connections to one address."""

    log = Logger()

    def __init__(self, reactor: Any, host: str, port: int) -> None:
        self.peer = f"{host}:{port}"
        self.backoff = Backoff(reactor)
        self._reactor = reactor
        self._address = (host, port)
        self._idle: list[HttpConnection] = []
        self._open: set[HttpConnection] = set()
        #: Connections being made, and those that were handed out and are not lost.
        self._places = 0
        self._connecting: set[Deferred[Any]] = set()
        self._turns: deque[_Turn] = deque()
        self._gone: list[Deferred[None]] = []
        self._stopped = False

    async def acquire(self, fresh_seconds: float | None = None) -> HttpConnection:
        """A connection for one request, to be given to `HttpConnection.run` or back
        by `release`; with `fresh_seconds` one that was used within that time (0: a
        new one). Raises `NodeUnreachable`, `NodeFault` when too many wait."""
        while True:
            kept = self._take_idle(fresh_seconds)
            if kept is not None:
                return kept
            if self._stopped:
                raise NodeUnreachable(f"{self.peer}: this client was stopped")
            if self.backoff.holds():
                raise NodeUnreachable(f"{self.peer}: did not answer a moment ago")
            if self._idle and self._places >= MAX_CONNECTIONS_PER_HOST:
                self._drop(self._idle.pop(0))
                return await self._connect()
            if self._has_room():
                return await self._connect()
            kept = await self._wait_for_turn()
            if kept is not None:
                return kept

    def release(self, connection: HttpConnection) -> None:
        """The connection can take another request."""
        if not connection.usable:
            return
        while self._turns:
            turn = self._turns.popleft()
            if not turn.ready.called:
                turn.ready.callback(connection)
                return
        self._idle.append(connection)

    def sweep(self, now: float) -> bool:
        """Look at all deadlines; whether there is anything left to watch."""
        while self._turns and self._turns[0].deadline < now:
            error = NodeUnreachable(f"{self.peer}: all its connections are busy")
            self._turns.popleft().ready.errback(error)
        for connection in list(self._open):
            if connection.deadline is not None and connection.deadline < now:
                connection.expire()
        while self._idle and self._idle[0].used_at + IDLE_SECONDS < now:
            self._drop(self._idle.pop(0))
        return bool(self._open or self._turns or self._connecting)

    def stop(self) -> Deferred[None]:
        """Close for good; fires when the last connection is gone."""
        self._stopped = True
        error = NodeUnreachable(f"{self.peer}: this client was stopped")
        for attempt in list(self._connecting):
            attempt.cancel()
        while self._turns:
            self._turns.popleft().ready.errback(error)
        for connection in list(self._open):
            connection.give_up(error)
        gone: Deferred[None] = Deferred()
        self._gone.append(gone)
        self._tell_gone()
        return gone

    # --- inside

    def _take_idle(self, fresh_seconds: float | None) -> HttpConnection | None:
        while self._idle:
            kept = self._idle[-1]
            if kept.usable and fresh_seconds is not None:
                if kept.used_at + fresh_seconds <= self._reactor.seconds():
                    return None  # the others are older still
            self._idle.pop()
            if kept.usable:
                return kept
        return None

    async def _wait_for_turn(self) -> HttpConnection | None:
        if len(self._turns) >= MAX_WAITING_PER_HOST:
            raise NodeFault(f"{self.peer}: too many requests wait for it")
        ready: Deferred[HttpConnection | None] = Deferred()
        deadline = self._reactor.seconds() + TURN_TIMEOUT_SECONDS
        turn = _Turn(ready, deadline)
        self._turns.append(turn)
        try:
            return await ready
        except CancelledError:
            if turn in self._turns:
                self._turns.remove(turn)
            raise

    async def _connect(self) -> HttpConnection:
        self._places += 1
        endpoint = tcp_endpoint(self._reactor, *self._address)
        attempt: Deferred[Any] = endpoint.connect(_ConnectionFactory(self))
        self._connecting.add(attempt)
        try:
            connection: HttpConnection = await attempt
            self.backoff.succeeded()
        except BaseException as error:
            self._places -= 1
            if isinstance(error, (ConnectError, DNSLookupError, OSError)):
                self.backoff.failed()
                why = f"{self.peer}: no connection: {error}"
                raise NodeUnreachable(why) from error
            if self._stopped:
                raise NodeUnreachable(f"{self.peer}: this client was stopped") from None
            if isinstance(error, ConnectingCancelledError):
                raise CancelledError from error  # what our own caller expects
            raise
        finally:
            self._connecting.discard(attempt)
            self._let_in()
            self._tell_gone()
        return connection

    def _drop(self, connection: HttpConnection) -> None:
        connection.give_up(NodeFault("not needed"))

    def _has_room(self) -> bool:
        """Whether another connection may be made now."""
        return (
            self._places < MAX_CONNECTIONS_PER_HOST
            and len(self._connecting) < MAX_CONNECTING_PER_HOST
        )

    def _let_in(self) -> None:
        """Something changed: those who wait look again, as far as that has a sense."""
        while self._turns and (self._has_room() or self.backoff.holds()):
            turn = self._turns.popleft()
            if not turn.ready.called:
                turn.ready.callback(None)

    def build(self) -> HttpConnection:
        """A connection that is about to be made."""
        connection = HttpConnection(self._reactor, self.peer, self.release, self._lost)
        self._open.add(connection)
        return connection

    def _lost(self, connection: HttpConnection) -> None:
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self._places -= 1
        self._let_in()
        self._tell_gone()

    def _tell_gone(self) -> None:
        if not self._open and not self._connecting:
            waiting, self._gone = self._gone, []
            for gone in waiting:
                gone.callback(None)


class _ConnectionFactory(Factory):
    """Makes the connections of a pool."""

    noisy = False

    def __init__(self, pool: HostPool) -> None:
        self._pool = pool

    def buildProtocol(self, addr: IAddress | None) -> HttpConnection:
        """A new connection."""
        return self._pool.build()
