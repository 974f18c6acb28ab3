"""The native door's connections, up to a limit, and the service that listens for them."""

from __future__ import annotations

from collections import Counter
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IReactorTime,
    IStreamServerEndpoint,
)
from twisted.internet.protocol import Factory
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger

from koboldfs.cluster.namespace import Namespace
from koboldfs.tracker.native import NativeProtocol
from koboldfs.tracker.native_session import Checksums

#: How often the deadlines are looked at; they are that much less exact.
SWEEP_SECONDS = 5.0
#: Connections at once; each idle one takes a descriptor and about 10 KiB.
MAX_CONNECTIONS = 4096
#: At the end of the service, what is under way gets this long to end by itself.
GRACE_SECONDS = 5.0
#: How often it is looked whether it has.
GRACE_STEP_SECONDS = 0.05


class NativeFactory(Factory):
    """Makes the connections of the native door and keeps them within limits.

    `requests` counts what was asked, by command.
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

    def buildProtocol(self, addr: IAddress | None) -> NativeProtocol:
        """See `Factory`."""
        connection = NativeProtocol()
        connection.factory = self
        return connection

    def startFactory(self) -> None:
        """Begin to look at the deadlines."""
        self._sweeping = LoopingCall(self.sweep)
        self._sweeping.clock = self.clock
        self._sweeping.start(SWEEP_SECONDS, now=False)

    def stopFactory(self) -> None:
        """No more deadlines."""
        if self._sweeping is not None:
            self._sweeping.stop()
            self._sweeping = None

    def admit(self, connection: NativeProtocol) -> bool:
        """Whether there is room; the connection that was idle longest makes some."""
        if len(self.connections) >= self._max_connections:
            idle = [one for one in self.connections if one.idle and not one.closing]
            if not idle:
                self.log.warn(
                    "a native connection was refused: {count} are busy",
                    count=len(self.connections),
                )
                return False
            oldest = min(idle, key=lambda one: one.active_at)
            oldest.transport.abortConnection()
        self.connections[connection] = True
        return True

    def sweep(self) -> None:
        """End the connections whose deadline has passed."""
        now = self.clock.seconds()
        for connection in list(self.connections):
            why = connection.overdue(now)
            if why is not None:
                self.log.info("a native connection is ended: waited for {why}", why=why)
                connection.closing = True
                connection.transport.abortConnection()


class NativeService(Service):
    """The native door as a service: listens between start and stop.

    At the stop, idle connections end at once and the others after their request, or
    after `GRACE_SECONDS`.
    """

    log = Logger()

    def __init__(self, endpoint: IStreamServerEndpoint, factory: NativeFactory) -> None:
        self.factory = factory
        self._endpoint = endpoint
        self._listening: Deferred[IListeningPort] | None = None

    def startService(self) -> None:
        """Listen; a port that is taken is logged and stays in `listening`."""
        super().startService()
        self._listening = self._endpoint.listen(self.factory)

    def stopService(self) -> Deferred[None]:
        """Fires when no connection is left."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def listening(self) -> IListeningPort:
        """The port, once it listens; raises why it does not."""
        if self._listening is None:
            raise RuntimeError("the service is not started")
        waiter: Deferred[IListeningPort] = Deferred()

        def passed(result: Any) -> Any:
            waiter.callback(result)
            return result

        self._listening.addBoth(passed)
        return await waiter

    async def _stop(self) -> None:
        factory = self.factory
        try:
            port = await self.listening()
        except Exception:
            return
        stopped: Any = port.stopListening()
        if stopped is not None:
            await stopped
        for connection in list(factory.connections):
            connection.close()
        end = factory.clock.seconds() + GRACE_SECONDS
        while factory.connections and factory.clock.seconds() < end:
            await deferLater(factory.clock, GRACE_STEP_SECONDS, lambda: None)
        for connection in list(factory.connections):
            connection.transport.abortConnection()
