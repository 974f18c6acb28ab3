"""A network in memory: connections are accepted, fed and cut by the test."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.error import (
    ConnectionAborted,
    ConnectionDone,
    ConnectionRefusedError,
)
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure

from koboldfs.client.connecting import PULSE_SECONDS

T = TypeVar("T")


class Wire(StringTransport):
    """Our end of a connection, as its protocol sees it."""

    def __init__(self, clock: Any, protocol: Any) -> None:
        super().__init__()
        self.clock = clock
        self.protocol = protocol
        self.gone = False

    def setTcpNoDelay(self, enabled: bool) -> None:
        """As TCP has it."""

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """As TCP has it."""

    def take(self) -> bytes:
        """What was written since the last time."""
        data: bytes = self.value()
        self.clear()
        return data

    def feed(self, data: bytes) -> None:
        """Bytes come from the other end."""
        if not self.gone:
            self.protocol.dataReceived(data)

    def lose(self, reason: Exception | None = None) -> None:
        """The other end closes (or the network does)."""
        if not self.gone:
            self.gone = True
            self.protocol.connectionLost(Failure(reason or ConnectionDone()))

    def loseConnection(self) -> None:
        """We close."""
        self.clock.callLater(0, self.lose)

    def abortConnection(self) -> None:
        """We close at once; the protocol hears of it in the next turn, as with TCP."""
        self.disconnecting = True
        self.clock.callLater(0, self.lose, ConnectionAborted())


class Network:
    """Accepts or refuses the connections that are asked of its reactor."""

    def __init__(self) -> None:
        self.reactor: Any = MemoryReactorClock()

    @property
    def attempts(self) -> int:
        """How many connections wait to be accepted."""
        return len(self.reactor.tcpClients)

    def accept(self) -> Wire:
        """The oldest waiting connection is made."""
        _, _, factory, _, _ = self.reactor.tcpClients.pop(0)
        protocol = factory.buildProtocol(None)
        wire = Wire(self.reactor, protocol)
        protocol.makeConnection(wire)
        return wire

    def refuse(self) -> None:
        """The oldest waiting connection is refused."""
        _, _, factory, _, _ = self.reactor.tcpClients.pop(0)
        self.reactor.connectors.pop(0)
        factory.clientConnectionFailed(None, Failure(ConnectionRefusedError()))

    def turn(self) -> None:
        """One turn of the reactor."""
        self.reactor.advance(0)

    def wait(self, seconds: float) -> None:
        """Time passes, in steps as small as the pulse of deadlines."""
        steps = int(seconds / PULSE_SECONDS) + 2
        self.reactor.pump([PULSE_SECONDS] * steps)


def start(work: Coroutine[Any, Any, T]) -> Deferred[T]:
    """Run a coroutine as far as it gets."""
    return Deferred.fromCoroutine(work)
