"""One end of a simulated connection: what a protocol has for a transport."""

from __future__ import annotations

from collections import deque
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IConsumer,
    IHalfCloseableProtocol,
    IPushProducer,
    ITCPTransport,
)
from twisted.python.failure import Failure
from zope.interface import implementer

#: With more than this on its way (bytes), a producer is paused.
FULL_BYTES = 64 * 1024
#: How often what was written in one go arrives in two pieces.
SPLIT = 0.1

FIN, RESET = object(), object()


@implementer(ITCPTransport, IPushProducer, IConsumer)
class End:
    """See the module. `other` is the other end."""

    other: End
    TLS = False

    def __init__(
        self, network: Any, reactor: Any, here: IPv4Address, there: IPv4Address
    ) -> None:
        self._network, self._reactor = network, reactor
        self._here, self._there = here, there
        self._protocol: Any = None
        self.connected = False
        self.disconnecting = False
        self.disconnected = False
        self._gone = False  # for this end, the connection is over
        self._outgoing: deque[Any] = deque()
        self._paused = False
        self._inbox: deque[Any] = deque()
        self._reading = False
        self._on_way_bytes = 0
        self._arrival = 0.0
        self._producer: Any = None
        self._streaming = False
        self._producer_paused = False
        self._last: list[Any] | None = None
        reactor.ends[self] = None

    def begin(self, protocol: Any) -> None:
        """The connection is made, for this end."""
        self._protocol = protocol
        self.connected = True
        protocol.makeConnection(self)
        self._read_on()

    @property
    def dead(self) -> bool:
        """Whether nobody is there."""
        return bool(self._reactor.dead)

    # --- ITransport

    def write(self, data: bytes) -> None:
        """See `ITransport`."""
        if not data or self._gone or self.disconnecting or self._reactor.dead:
            return
        self._on_way_bytes += len(data)
        now = self._network.clock.now
        last = self._last
        if last is not None and last[0] == now:
            last[1].append(bytes(data))
        else:
            self._last = [now, [bytes(data)]]
            self.send(self._last[1])
        if self._on_way_bytes > FULL_BYTES and self._producer is not None:
            self._pause_producer()

    def writeSequence(self, data: Any) -> None:
        """See `ITransport`."""
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        """See `ITransport`: after what was written."""
        if self._gone or self.disconnecting:
            return
        self.disconnecting = True
        if self._producer is None:
            self._close()

    def _close(self) -> None:
        self._last = None
        self.send(FIN)
        self._reactor.callLater(0, self._lose, ConnectionDone())

    def loseWriteConnection(self) -> None:
        """See `IHalfCloseableDescriptor`."""
        self._last = None
        self.send(FIN)

    def abortConnection(self) -> None:
        """See `ITCPTransport`."""
        if self._gone or self._reactor.dead:
            return
        self.disconnecting = True
        self.reset_other()
        self._reactor.callLater(0, self._lose, ConnectionAborted())

    def getPeer(self) -> IPv4Address:
        """See `ITransport`."""
        return self._there

    def getHost(self) -> IPv4Address:
        """See `ITransport`."""
        return self._here

    def setTcpNoDelay(self, enabled: bool) -> None:
        """See `ITCPTransport`."""

    def getTcpNoDelay(self) -> bool:
        """See `ITCPTransport`."""
        return True

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """See `ITCPTransport`."""

    def getTcpKeepAlive(self) -> bool:
        """See `ITCPTransport`."""
        return True

    # --- the way to the other end

    def send(self, packet: Any) -> None:
        """Put something on its way: bytes, `FIN` or `RESET`."""
        network = self._network
        if self._last is not None and packet is not self._last[1]:
            self._last = None
        if network.is_cut(self._here.host, self._there.host):
            network.hold(self, packet)
            return
        due = network.clock.now + network.latency()
        if packet is not RESET:
            due = self._arrival = max(due, self._arrival)
        network.clock.call_later(None, due - network.clock.now, self._arrive, (packet,))

    def reset_other(self) -> None:
        """Tell the other end that there is no connection."""
        self.send(RESET)

    def _arrive(self, packet: Any) -> None:
        other = self.other
        if self._last is not None and packet is self._last[1]:
            self._last = None
        if other._reactor.dead or other._gone:
            host = other._reactor.host
            if packet is not RESET and host.powered and not self._gone:
                other.send(RESET)
            return
        if packet is RESET:
            other._inbox.clear()
            other._lose(ConnectionLost())
            return
        other._inbox.append(packet if packet is FIN else b"".join(packet))
        other._read_on()

    def _read_on(self) -> None:
        """Hand in what has come, unless the protocol has paused us."""
        if self._reading or not self.connected:
            return
        self._reading = True
        try:
            while self._inbox and not self._paused and not self._gone:
                packet = self._inbox.popleft()
                if packet is FIN:
                    self._ended()
                    continue
                if len(packet) > 1 and self._network.random.random() < SPLIT:
                    cut = self._network.random.randrange(1, len(packet))
                    self._inbox.appendleft(packet[cut:])
                    packet = packet[:cut]
                self.other.taken(len(packet))
                if not self.disconnecting:
                    self._protocol.dataReceived(packet)
        finally:
            self._reading = False

    def _ended(self) -> None:
        half = IHalfCloseableProtocol(self._protocol, None)
        if half is not None:
            half.readConnectionLost()
        else:
            self._lose(ConnectionDone())

    def _lose(self, reason: Exception) -> None:
        if self._gone or self._reactor.dead:
            return
        self._gone = self.disconnected = True
        self.connected = False
        self._reactor.ends.pop(self, None)
        if self._producer is not None:
            producer, self._producer = self._producer, None
            producer.stopProducing()
        if self._protocol is not None:
            self._protocol.connectionLost(Failure(reason))

    # --- IPushProducer: our protocol reads no more, or again

    def pauseProducing(self) -> None:
        """See `IPushProducer`."""
        self._paused = True

    def resumeProducing(self) -> None:
        """See `IPushProducer`."""
        if self._paused and not self.disconnecting:
            self._paused = False
            if self._inbox:
                self._reactor.callLater(0, self._read_on)

    def stopProducing(self) -> None:
        """See `IPushProducer`."""
        self.loseConnection()

    # --- IConsumer: our protocol has a producer

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """See `IConsumer`."""
        if self._producer is not None:
            raise RuntimeError("there is a producer")
        if self._gone:
            producer.stopProducing()
            return
        self._producer, self._streaming = producer, streaming
        self._producer_paused = False
        if not streaming:
            self._reactor.callLater(0, self._pull)

    def unregisterProducer(self) -> None:
        """See `IConsumer`."""
        self._producer = None
        if self.disconnecting and not self._gone:
            self._close()

    def _pull(self) -> None:
        if self._producer is not None and not self._streaming and not self._gone:
            self._producer.resumeProducing()

    def _pause_producer(self) -> None:
        if self._streaming and not self._producer_paused:
            self._producer_paused = True
            self._producer.pauseProducing()

    def taken(self, count: int) -> None:
        """The other end took so many bytes of ours."""
        if self._reactor.dead:
            return
        self._on_way_bytes -= count
        if self._on_way_bytes > 0 or self._producer is None or self._gone:
            return
        if not self._streaming:
            self._reactor.callLater(0, self._pull)
        elif self._producer_paused:
            self._reactor.callLater(0, self._resume)

    def _resume(self) -> None:
        if self._producer is not None and self._producer_paused and not self._gone:
            self._producer_paused = False
            self._producer.resumeProducing()
