"""Lanes without threads: at once, or when a test says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from zope.interface import implementer

from koboldfs.storage.lanes import ILanes, LaneName


@implementer(ILanes)
class InlineLanes:
    """Everything runs at once, in the caller's thread; `latencies` are as they are."""

    def __init__(self) -> None:
        self.latencies: dict[int, float] = {}

    def run(
        self, devid: int, lane: LaneName, work: Callable[..., Any], *arguments: Any
    ) -> Deferred[Any]:
        """See `ILanes`."""
        return maybeDeferred(work, *arguments)

    def latency_seconds(self, devid: int) -> float:
        """See `ILanes`."""
        return self.latencies.get(devid, 0.0)

    def stop(self) -> None:
        """See `ILanes`."""


@implementer(ILanes)
class HeldLanes:
    """Everything waits in `jobs` until the test calls `step` or `run_all`."""

    def __init__(self) -> None:
        self.latencies: dict[int, float] = {}
        self.jobs: list[tuple[str, Deferred[Any], Callable[..., Any], Any]] = []

    def run(
        self, devid: int, lane: LaneName, work: Callable[..., Any], *arguments: Any
    ) -> Deferred[Any]:
        """See `ILanes`."""
        result: Deferred[Any] = Deferred()
        self.jobs.append((lane, result, work, arguments))
        return result

    def step(self) -> None:
        """Do the first job and tell its result."""
        _, result, work, arguments = self.jobs.pop(0)
        maybeDeferred(work, *arguments).chainDeferred(result)

    def run_all(self) -> None:
        """Do jobs until there are none."""
        while self.jobs:
            self.step()

    def latency_seconds(self, devid: int) -> float:
        """See `ILanes`."""
        return self.latencies.get(devid, 0.0)

    def stop(self) -> None:
        """See `ILanes`."""
