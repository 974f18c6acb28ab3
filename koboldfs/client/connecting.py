"""How to connect to a node, when to leave it alone, and a pulse for deadlines.

A dead host must cost nothing per call: after a failed connection, calls fail at once
until a short pause is over; the pause doubles with each failure in a row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ClientEndpoint,
    TCP6ClientEndpoint,
)
from twisted.internet.interfaces import (
    IDelayedCall,
    IReactorTime,
    IStreamClientEndpoint,
)

#: A node on the same network that does not accept within this time is away (seconds).
CONNECT_TIMEOUT_SECONDS = 2.0
#: The pause after the first failure in a row, and the longest one (seconds). Short: a
#: node that was restarted shall be used again before anybody notices.
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 2.0
#: How exactly deadlines are kept (seconds): all that wait are looked at this often.
#: One timer for all of them is far cheaper than one for each request.
PULSE_SECONDS = 0.25


def tcp_endpoint(reactor: Any, host: str, port: int) -> IStreamClientEndpoint:
    """How to connect to an IPv4 or IPv6 address, or to a name."""
    kind: Any = HostnameEndpoint
    if isIPAddress(host):
        kind = TCP4ClientEndpoint
    elif isIPv6Address(host):
        kind = TCP6ClientEndpoint
    endpoint = kind(reactor, host, port, timeout=CONNECT_TIMEOUT_SECONDS)
    return cast(IStreamClientEndpoint, endpoint)


class Backoff:
    """Whether an address may be tried now. Times are those of the given clock."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._pause_seconds = 0.0
        self._until = 0.0

    def holds(self) -> bool:
        """Whether calls should fail at once instead of trying to connect."""
        return self._pause_seconds > 0 and self._clock.seconds() < self._until

    def failed(self) -> None:
        """A connection could not be made, or was useless."""
        doubled = max(FIRST_PAUSE_SECONDS, 2 * self._pause_seconds)
        self._pause_seconds = min(LONGEST_PAUSE_SECONDS, doubled)
        self._until = self._clock.seconds() + self._pause_seconds

    def succeeded(self) -> None:
        """The address works (or shall be tried at once)."""
        self._pause_seconds = 0.0


class Pulse:
    """Calls `sweep` with the time every `PULSE_SECONDS`, for as long as it returns
    True (there is still something to watch); `wake` starts it again."""

    def __init__(self, clock: IReactorTime, sweep: Callable[[float], bool]) -> None:
        self._clock = clock
        self._sweep = sweep
        self._next: IDelayedCall | None = None

    def wake(self) -> None:
        """There is something to watch now; does nothing if it beats already."""
        if self._next is None:
            self._next = self._clock.callLater(PULSE_SECONDS, self._beat)

    def stop(self) -> None:
        """No more beats until the next `wake`."""
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _beat(self) -> None:
        self._next = None
        if self._sweep(self._clock.seconds()):
            self.wake()
