"""The threads of a device, without threads: work is done at once, at a later moment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from koboldfs.storage.lanes import ILanes, LaneName
from test.simulation import adjusted
from test.simulation.disk import Crashed, Handle

#: How long a disk takes for anything (seconds).
LONGEST_SECONDS = 0.004


@implementer(ILanes)
class ClockedLanes:
    """Work waits, is done, and its result is told a moment later: in between the
    process may end, and it may end inside of the work."""

    def __init__(self, reactor: Any, handle: Handle) -> None:
        self._reactor, self._handle = reactor, handle

    def run(
        self, devid: int, lane: LaneName, work: Callable[..., Any], *arguments: Any
    ) -> Deferred[Any]:
        """See `ILanes`."""
        result: Deferred[Any] = Deferred()
        random = self._handle.disk.random
        seconds = LONGEST_SECONDS * random.random() + self._handle.slow_seconds(devid)
        self._reactor.callLater(seconds, self._do, result, work, arguments)
        return result

    def _do(
        self, result: Deferred[Any], work: Callable[..., Any], arguments: Any
    ) -> None:
        adjusted.current_pid = self._handle.pid
        try:
            outcome = work(*arguments)
        except Crashed:
            return
        except Exception:
            outcome = Failure()
        self._reactor.callLater(0, self._tell, result, outcome)

    def _tell(self, result: Deferred[Any], outcome: Any) -> None:
        if not result.called:
            result.callback(outcome)
        elif isinstance(outcome, Failure):
            outcome.trap(Exception)

    def latency_seconds(self, devid: int) -> float:
        """See `ILanes`."""
        return self._handle.slow_seconds(devid)

    def stop(self) -> None:
        """See `ILanes`."""
