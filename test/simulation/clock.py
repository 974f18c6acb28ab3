"""Simulated time: one line of calls for everybody, and a reactor for each process.

Two calls that are due at the same moment come in the order in which they were made, so
a run depends on nothing but its seed. What a process that has crashed wanted to do
later is not done.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import (
    IReactorPluggableNameResolver,
    IReactorTCP,
    IReactorTime,
)
from zope.interface import implementer

from test.simulation.network import Host, Network

#: When a run begins (Unix seconds), for those who ask for the date.
EPOCH = 1_700_000_000


class Call:
    """A call that is to come; see `IDelayedCall`. Times in seconds."""

    __slots__ = ("arguments", "clock", "done", "due", "function", "owner", "words")

    def __init__(
        self,
        clock: SimulatedClock,
        due: float,
        owner: Any,
        function: Callable[..., Any],
        arguments: tuple[Any, ...],
        words: dict[str, Any],
    ) -> None:
        self.clock, self.due, self.owner = clock, due, owner
        self.function, self.arguments, self.words = function, arguments, words
        self.done = ""

    def active(self) -> bool:
        """Whether it is still to come."""
        return not self.done

    def cancel(self) -> None:
        """It shall not come."""
        self._must_be_active()
        self.done = "cancelled"
        self.function, self.arguments = _nothing, ()

    def reset(self, seconds: float) -> None:
        """It shall come so long from now."""
        self._must_be_active()
        sooner = self.clock.now + seconds < self.due
        self.due = self.clock.now + seconds
        if sooner:
            self.clock.push(self)

    def delay(self, seconds: float) -> None:
        """It shall come so much later."""
        self._must_be_active()
        self.due += seconds

    def getTime(self) -> float:
        """When it comes."""
        return self.due

    def _must_be_active(self) -> None:
        if self.done == "cancelled":
            raise AlreadyCancelled
        if self.done:
            raise AlreadyCalled


def _nothing() -> None:
    """What is left of a cancelled call."""


class SimulatedClock:
    """`now` in seconds; `events` counts the calls that were made."""

    def __init__(self) -> None:
        self.now = 0.0
        self.events = 0
        self._line: list[tuple[float, int, Call]] = []
        self._number = 0

    def seconds(self) -> float:
        """The time."""
        return self.now

    def call_later(
        self,
        owner: Any,
        seconds: float,
        function: Callable[..., Any],
        arguments: tuple[Any, ...] = (),
        words: dict[str, Any] | None = None,
    ) -> Call:
        """Have it called, unless its owner is dead by then."""
        call = Call(self, self.now + seconds, owner, function, arguments, words or {})
        self.push(call)
        return call

    def push(self, call: Call) -> None:
        """Put a call in line, by when it is due."""
        self._number += 1
        heappush(self._line, (call.due, self._number, call))

    def step(self, until: float) -> bool:
        """Make the next call, if one is due up to then; else move on to that time."""
        line = self._line
        while line and line[0][0] <= until:
            due, _, call = heappop(line)
            if call.done or (call.owner is not None and call.owner.dead):
                continue
            if call.due > due:
                self.push(call)
                continue
            if due > self.now:
                self.now = due
            call.done = "called"
            self.events += 1
            call.function(*call.arguments, **call.words)
            return True
        self.now = max(self.now, until)
        return False

    def run(self, seconds: float) -> None:
        """Let so much time pass."""
        until = self.now + seconds
        while self.step(until):
            pass


class _Resolver:
    """Names are addresses here."""

    def resolveHostName(
        self, receiver: Any, hostName: str, portNumber: int = 0, **words: Any
    ) -> Any:
        """See `IHostnameResolver`."""
        receiver.resolutionBegan(None)
        receiver.addressResolved(IPv4Address("TCP", hostName, portNumber))
        receiver.resolutionComplete()
        return receiver


@implementer(IReactorTime, IReactorTCP, IReactorPluggableNameResolver)
class ProcessReactor:
    """What one process on a host has for a reactor. `dead`: the process is no more."""

    def __init__(self, clock: SimulatedClock, network: Network, host: Host) -> None:
        self.clock, self.network, self.host = clock, network, host
        self.dead = False
        #: The ends of connections that are its.
        self.ends: dict[Any, None] = {}
        self.seconds = clock.seconds
        self.nameResolver = _Resolver()

    def callLater(
        self, delay: float, callable: Callable[..., Any], *args: Any, **kw: Any
    ) -> Call:
        """See `IReactorTime`."""
        return self.clock.call_later(self, delay, callable, args, kw)

    def callFromThread(self, callable: Callable[..., Any], *args: Any) -> None:
        """There are no threads: in the next turn."""
        self.clock.call_later(self, 0, callable, args)

    def getDelayedCalls(self) -> list[Any]:
        """See `IReactorTime`; nobody asks."""
        return []

    def connectTCP(
        self,
        host: str,
        port: int,
        factory: Any,
        timeout: float = 30,
        bindAddress: Any = None,
    ) -> Any:
        """See `IReactorTCP`."""
        return self.network.connect(self, host, port, factory, timeout)

    def listenTCP(
        self, port: int, factory: Any, backlog: int = 50, interface: str = ""
    ) -> Any:
        """See `IReactorTCP`."""
        return self.network.listen(self, port, factory)
