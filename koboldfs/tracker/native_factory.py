"""Makes the native door's connections, up to a limit, and watches their deadlines."""

from __future__ import annotations

from collections import Counter

from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from koboldfs.cluster.namespace import Namespace
from koboldfs.tracker.native import NativeProtocol
from koboldfs.tracker.native_session import Checksums

#: How often the deadlines are looked at; they are that much less exact.
SWEEP_SECONDS = 5.0
#: Connections at once, as many as the other doors have; each idle one takes a
#: descriptor and less than 10 KB.
MAX_CONNECTIONS = 10_000
#: When the last port is closed, what is under way gets this long to end by itself.
GRACE_SECONDS = 5.0


class NativeFactory(Factory):
    """The native door, for any number of listening ports.

    When the last port closes, idle connections end at once and the others after their
    request, or after `GRACE_SECONDS`. `requests` counts what was asked, by command.
    """

    noisy = False
    log = Logger()

    def __init__(
        self,
        namespace: Namespace,
        clock: IReactorTime,
        *,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        self.namespace = namespace
        self.clock = clock
        self.checksums = Checksums(namespace)
        self.connections: dict[NativeProtocol, bool] = {}
        self.requests: Counter[str] = Counter()
        self._max_connections = max_connections
        self._sweeping: LoopingCall | None = None
        self._last_call: IDelayedCall | None = None

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        """See `Factory`."""
        connection = NativeProtocol()
        connection.factory = self
        return connection

    def startFactory(self) -> None:
        """The first port opens: begin to look at the deadlines."""
        self._sweeping = LoopingCall(self.sweep)
        self._sweeping.clock = self.clock
        self._sweeping.start(SWEEP_SECONDS, now=False)

    def stopFactory(self) -> None:
        """The last port closed: end the connections when their request is done."""
        if self._sweeping is not None:
            self._sweeping.stop()
            self._sweeping = None
        for connection in list(self.connections):
            connection.close()
        if self.connections:
            self._last_call = self.clock.callLater(GRACE_SECONDS, self._end_all)

    def _end_all(self) -> None:
        self._last_call = None
        for connection in list(self.connections):
            connection.end()

    def admit(self, connection: NativeProtocol) -> bool:
        """Whether there is room; the connection that was idle longest makes some."""
        if len(self.connections) >= self._max_connections:
            idle = [one for one in self.connections if one.idle]
            if not idle:
                self.log.warn(
                    "a native connection was refused: {count} are busy",
                    count=len(self.connections),
                )
                return False
            min(idle, key=lambda one: one.active_at).end()
        self.connections[connection] = True
        return True

    def forget(self, connection: NativeProtocol) -> bool:
        """The connection is gone; False if it never was let in."""
        known = self.connections.pop(connection, False)
        if self._last_call is not None and not self.connections:
            self._last_call.cancel()
            self._last_call = None
        return known

    def sweep(self) -> None:
        """End the connections whose deadline has passed."""
        now = self.clock.seconds()
        for connection in list(self.connections):
            why = connection.overdue(now)
            if why is not None:
                self.log.info("a native connection is ended: waited for {why}", why=why)
                connection.end()
