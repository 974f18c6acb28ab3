"""A network in one process: hosts, connections between them, and what goes wrong.

Bytes of one direction of a connection keep their order, as TCP has it; between
connections there is none. A lost packet is one that comes late. A path that is cut
holds what is sent on it until it is mended, or for ever. A host without power says
nothing; one whose process is gone answers that there is no such connection.
"""

from __future__ import annotations

from collections import deque
from random import Random
from typing import Any

from attrs import define, field
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import (
    ConnectionRefusedError,
    TimeoutError,
    UserError,
)
from twisted.python.failure import Failure

from test.simulation.wires import End

#: The way of a packet (seconds), and the time until a lost one is sent again.
SHORTEST_SECONDS, LONGEST_SECONDS = 0.0001, 0.003
RESENT_SECONDS = (0.2, 1.5)


@define(eq=False)
class Host:
    """A machine. `ports`: who listens, by number."""

    ip: str
    powered: bool = True
    ports: dict[int, Port] = field(factory=dict)
    next_port: int = 40_000


@define(eq=False)
class Port:
    """A listening port; see `IListeningPort`."""

    reactor: Any
    number: int
    factory: Any

    def getHost(self) -> IPv4Address:
        """See `IListeningPort`."""
        return IPv4Address("TCP", self.reactor.host.ip, self.number)

    def stopListening(self) -> Deferred[None]:
        """See `IListeningPort`."""
        ports = self.reactor.host.ports
        if ports.get(self.number) is self:
            del ports[self.number]
            self.factory.doStop()
        return succeed(None)


class Network:
    """All hosts and what is between them."""

    def __init__(self, clock: Any, random: Random) -> None:
        self.clock, self.random = clock, random
        self.hosts: dict[str, Host] = {}
        #: Paths (from, to) on which nothing arrives.
        self.cut: set[tuple[str, str]] = set()
        #: How much of what is sent gets lost at first, and how slow the rest is.
        self.loss = 0.0
        self.slowness = 1.0
        self._held: deque[tuple[End, Any]] = deque()

    def host(self, ip: str) -> Host:
        """The host of that address, which is made if there is none."""
        if ip not in self.hosts:
            self.hosts[ip] = Host(ip)
        return self.hosts[ip]

    def latency(self) -> float:
        """How long a packet takes (seconds)."""
        random = self.random
        seconds = SHORTEST_SECONDS + LONGEST_SECONDS * random.random() * self.slowness
        if self.loss and random.random() < self.loss:
            seconds += random.uniform(*RESENT_SECONDS)
        return seconds

    def is_cut(self, source: str, target: str) -> bool:
        """Whether nothing arrives there."""
        return (source, target) in self.cut

    def mend(self, *paths: tuple[str, str]) -> None:
        """Let bytes through on these paths again, those that were held first."""
        self.cut.difference_update(paths)
        held, self._held = self._held, deque()
        for end, packet in held:
            end.send(packet)

    def hold(self, end: End, packet: Any) -> None:
        """Keep what cannot go now."""
        self._held.append((end, packet))

    def cut_off(self, reactor: Any) -> None:
        """The kernel of a process that ended resets its connections."""
        for end in list(reactor.ends):
            end.reset_other()

    # --- connections

    def listen(self, reactor: Any, number: int, factory: Any) -> Port:
        """A port of the reactor's host; there is nobody on it yet."""
        ports = reactor.host.ports
        if number in ports and not ports[number].reactor.dead:
            raise AssertionError(f"{reactor.host.ip}:{number} is taken")
        port = ports[number] = Port(reactor, number, factory)
        factory.doStart()
        return port

    def connect(
        self, reactor: Any, ip: str, number: int, factory: Any, timeout: float
    ) -> Connector:
        """Begin to connect; the factory is told what comes of it."""
        connector = Connector(self, reactor, ip, number, factory)
        factory.doStart()
        factory.startedConnecting(connector)
        connector.begin(timeout)
        return connector


class Connector:
    """A connection that is being made; see `IConnector`."""

    def __init__(
        self, network: Network, reactor: Any, ip: str, number: int, factory: Any
    ) -> None:
        self._network, self._reactor = network, reactor
        self._ip, self._number, self._factory = ip, number, factory
        self._over = False
        self._alarm: Any = None
        self._mine: End | None = None

    def getDestination(self) -> IPv4Address:
        """See `IConnector`."""
        return IPv4Address("TCP", self._ip, self._number)

    def begin(self, timeout: float) -> None:
        """Send the first packet."""
        self._alarm = self._reactor.callLater(timeout, self._late)
        mine, network = self._reactor.host.ip, self._network
        if not network.is_cut(mine, self._ip):
            network.clock.call_later(None, network.latency(), self._arrived)

    def _arrived(self) -> None:
        network, mine = self._network, self._reactor.host.ip
        host = network.host(self._ip)
        if not host.powered or network.is_cut(self._ip, mine) or self._over:
            return
        port = host.ports.get(self._number)
        if port is None or port.reactor.dead:
            self._reactor.callLater(network.latency(), self._refused)
            return
        self._reactor.host.next_port += 1
        here = IPv4Address("TCP", mine, self._reactor.host.next_port)
        there = IPv4Address("TCP", self._ip, self._number)
        protocol = port.factory.buildProtocol(here)
        if protocol is None:
            self._reactor.callLater(network.latency(), self._refused)
            return
        ours = End(network, self._reactor, here, there)
        theirs = End(network, port.reactor, there, here)
        ours.other, theirs.other = theirs, ours
        self._mine = ours
        theirs.begin(protocol)
        self._reactor.callLater(network.latency(), self._made, ours)

    def _made(self, end: End) -> None:
        if self._over:
            return
        self._finish()
        protocol = self._factory.buildProtocol(end.getPeer())
        if protocol is None:
            end.reset_other()
        else:
            end.begin(protocol)

    def _refused(self) -> None:
        self._fail(ConnectionRefusedError())

    def _late(self) -> None:
        self._alarm = None
        self._fail(TimeoutError())

    def _fail(self, error: Exception) -> None:
        if not self._over:
            self._finish()
            if self._mine is not None:
                self._mine.reset_other()
            self._factory.clientConnectionFailed(self, Failure(error))
            self._factory.doStop()

    def _finish(self) -> None:
        self._over = True
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def stopConnecting(self) -> None:
        """See `IConnector`."""
        self._fail(UserError())

    def disconnect(self) -> None:
        """See `IConnector`."""
        self.stopConnecting()
