"""Threads for what blocks: every device has its own, so that a disk which hangs holds
up nobody but its own files.

A lane is a queue with a bounded number of threads, made when they are first needed.
Results come back to the reactor in batches: one wake-up for all that are ready.
"""

from __future__ import annotations

import errno
import threading
import time
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Literal

from attrs import define, field
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import Interface, implementer

LaneName = Literal["read", "write", "batch", "check", "digest", "background"]
#: Threads of a device by what they do. More than a few only fight for Python's lock;
#: a batch lane has one, because what waits for it then gathers into one flush.
LANE_THREADS: dict[str, int] = {
    "read": 2,
    "write": 4,
    "batch": 1,
    "check": 1,
    "digest": 2,
    "background": 1,
}
#: How long the end of the service waits for all threads to end their work (seconds).
STOP_SECONDS = 2.0
#: What a piece of work took is told of for so long (seconds): longer than the time
#: between two tests of a device, so that a slow disk is known all the time.
LATENCY_WINDOW_SECONDS = 40.0
#: The lanes whose pieces are short: a digest takes as long as its file.
_SHORT = ("read", "write", "batch", "check")


class ILanes(Interface):
    """A way to run blocking functions without holding up the reactor."""

    def run(
        devid: int, lane: LaneName, work: Callable[..., Any], *arguments: Any
    ) -> Deferred[Any]:
        """Run ``work(*arguments)``; fires with its result or its exception. There is
        no deadline here: whoever must not wait for ever sets one. Fails with
        `OSError` when the system has no thread for it."""

    def latency_seconds(devid: int) -> float:
        """The longest that any piece of short work on the device took lately, or has
        been taking until now."""

    def stop() -> None:
        """End the threads when they have done what is queued."""


@define(eq=False)
class _Lane:
    queue: SimpleQueue[Any] = field(factory=SimpleQueue)
    threads: list[threading.Thread] = field(factory=list)
    waiting: int = 0
    #: By thread, since when it is at its work; and when the longest of late ended, and
    #: how long it took. Threads write these, each by itself.
    begun: dict[int, float] = field(factory=dict)
    longest: tuple[float, float] = (0.0, 0.0)

    def latency_seconds(self, now: float) -> float:
        """See `ILanes`."""
        ended, took = self.longest
        if ended < now - LATENCY_WINDOW_SECONDS:
            took = 0.0
        return max([took, *(now - since for since in list(self.begun.values()))])

    def note(self, began: float, now: float) -> None:
        """A piece of work has ended."""
        ended, took = self.longest
        if now - began >= took or ended < now - LATENCY_WINDOW_SECONDS:
            self.longest = now, now - began


@implementer(ILanes)
class ThreadLanes:
    """Lanes of real threads. `run` and `stop` belong to the reactor's thread."""

    _log = Logger()

    def __init__(self, reactor: IReactorFromThreads) -> None:
        self._reactor = reactor
        self._lanes: dict[tuple[int, str], _Lane] = {}
        self._ready: deque[tuple[_Lane, Deferred[Any], Any]] = deque()
        self._woken = False

    def run(
        self, devid: int, lane: LaneName, work: Callable[..., Any], *arguments: Any
    ) -> Deferred[Any]:
        """See `ILanes`."""
        found = self._lanes.get((devid, lane))
        if found is None:
            found = self._lanes[devid, lane] = _Lane()
        result: Deferred[Any] = Deferred()
        found.waiting += 1
        threads = len(found.threads)
        if found.waiting > threads and threads < LANE_THREADS[lane]:
            try:
                self._add_thread(found, f"dev{devid}-{lane}-{threads}")
            except RuntimeError:
                # The system has no room for a thread now. Those that are there do the
                # work; where there is none, nobody would.
                if not threads:
                    found.waiting -= 1
                    return fail(OSError(errno.EAGAIN, "no thread could be started"))
        found.queue.put((result, found, work, arguments))
        return result

    def _add_thread(self, lane: _Lane, name: str) -> None:
        thread = threading.Thread(
            target=self._work, args=(lane.queue,), name=name, daemon=True
        )
        thread.start()
        lane.threads.append(thread)

    def _work(self, queue: SimpleQueue[Any]) -> None:
        thread = threading.get_ident()
        while True:
            job = queue.get()
            if job is None:
                return
            result, lane, work, arguments = job
            began = lane.begun[thread] = time.monotonic()
            try:
                outcome = work(*arguments)
            except BaseException as error:
                outcome = Failure(error)
            lane.note(began, time.monotonic())
            del lane.begun[thread]
            self._ready.append((lane, result, outcome))
            # The flag is cleared before the queue is emptied, so a result that is
            # appended while the flag is set is seen by the wake-up under way.
            if not self._woken:
                self._woken = True
                self._reactor.callFromThread(self._deliver)
            del job, result, lane, work, arguments, outcome

    def _deliver(self) -> None:
        self._woken = False
        while self._ready:
            lane, result, outcome = self._ready.popleft()
            lane.waiting -= 1
            result.callback(outcome)

    def latency_seconds(self, devid: int) -> float:
        """See `ILanes`."""
        now = time.monotonic()
        lanes = (self._lanes.get((devid, lane)) for lane in _SHORT)
        return max((one.latency_seconds(now) for one in lanes if one), default=0.0)

    def stop(self) -> None:
        """See `ILanes`. A thread that hangs in a disk is left behind."""
        for lane in self._lanes.values():
            for _ in lane.threads:
                lane.queue.put(None)
        deadline = time.monotonic() + STOP_SECONDS
        for lane in self._lanes.values():
            for thread in lane.threads:
                thread.join(max(0.0, deadline - time.monotonic()))
        self._lanes.clear()
