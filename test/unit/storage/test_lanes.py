"""Threads for what blocks."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from queue import Queue
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from koboldfs.storage.lanes import (
    LANE_THREADS,
    LATENCY_WINDOW_SECONDS,
    ThreadLanes,
    _Lane,
)

#: No step of these tests takes longer (seconds).
LIMIT_SECONDS = 10.0


class Reactor:
    """As much of a reactor as lanes need: what threads want done is in a queue."""

    def __init__(self) -> None:
        self.wanted: Queue[Callable[[], None]] = Queue()

    def callFromThread(self, work: Callable[[], None]) -> None:
        """See `IReactorFromThreads`."""
        self.wanted.put(work)

    def turn(self) -> None:
        """Do one thing that a thread wanted."""
        self.wanted.get(timeout=LIMIT_SECONDS)()


class ThreadLanesTests(SynchronousTestCase):
    """`ThreadLanes`"""

    def setUp(self) -> None:
        """Lanes and their reactor."""
        self.reactor = Reactor()
        self.lanes = ThreadLanes(self.reactor)  # type: ignore[arg-type]
        self.addCleanup(self.lanes.stop)

    def test_result(self) -> None:
        """The work runs in another thread, its result comes back in the reactor's."""
        running = self.lanes.run(1, "read", lambda x: (x, threading.get_ident()), 5)
        self.assertNoResult(running)
        self.reactor.turn()
        value, thread = self.successResultOf(running)
        self.assertEqual(value, 5)
        self.assertNotEqual(thread, threading.get_ident())

    def test_failure(self) -> None:
        """An exception comes back as it is."""

        def fail() -> None:
            raise OSError(5, "broken")

        running = self.lanes.run(1, "read", fail)
        self.reactor.turn()
        self.assertEqual(self.failureResultOf(running, OSError).value.errno, 5)

    def test_bounded_threads(self) -> None:
        """A lane has no more threads than it may, and all work is done."""
        gate, before = threading.Event(), threading.active_count()
        running = [self.lanes.run(1, "write", gate.wait) for _ in range(50)]
        self.assertEqual(threading.active_count() - before, LANE_THREADS["write"])
        gate.set()
        while not all(one.called for one in running):
            self.reactor.turn()

    def test_no_threads(self) -> None:
        """Without a thread the work fails; with fewer than there may be it is done;
        and when the system has some again, they are started."""
        start, refusing = threading.Thread.start, [True]

        def starting(thread: threading.Thread) -> None:
            if refusing:
                raise RuntimeError("can't start new thread")
            start(thread)

        self.patch(threading.Thread, "start", starting)
        running = self.lanes.run(1, "batch", lambda: "done")
        self.assertEqual(
            self.failureResultOf(running, OSError).value.errno, errno.EAGAIN
        )
        refusing.clear()
        running = self.lanes.run(1, "batch", lambda: "done")
        self.reactor.turn()
        self.assertEqual(self.successResultOf(running), "done")
        gate = threading.Event()
        self.addCleanup(gate.set)
        held = self.lanes.run(1, "read", gate.wait)
        refusing.append(True)
        behind = self.lanes.run(1, "read", lambda: "behind")
        gate.set()
        while not (held.called and behind.called):
            self.reactor.turn()
        self.assertEqual(self.successResultOf(behind), "behind")

    def test_devices_are_apart(self) -> None:
        """A device whose threads all hang holds up no other device or lane."""
        gate = threading.Event()
        self.addCleanup(gate.set)
        hanging = [self.lanes.run(1, "read", gate.wait) for _ in range(9)]
        others: list[Any] = [
            self.lanes.run(2, "read", lambda: "two"),
            self.lanes.run(1, "check", lambda: "check"),
        ]
        while not all(one.called for one in others):
            self.reactor.turn()
        self.assertFalse(any(one.called for one in hanging))

    def test_one_wake_up_for_many(self) -> None:
        """Results that are ready together wake the reactor once."""
        gate = threading.Event()
        first = self.lanes.run(1, "batch", gate.wait)
        rest = [self.lanes.run(1, "batch", lambda: None) for _ in range(20)]
        gate.set()
        while not self.lanes._ready or len(self.lanes._ready) < 21:
            threading.Event().wait(0.001)
        self.reactor.turn()
        self.assertTrue(all(one.called for one in (first, *rest)))
        self.assertLessEqual(self.reactor.wanted.qsize(), 1)

    def test_stop(self) -> None:
        """Stopping ends the threads, after what is queued."""
        before = threading.active_count()
        running = self.lanes.run(1, "read", lambda: "done")
        self.lanes.stop()
        self.assertEqual(threading.active_count(), before)
        self.reactor.turn()
        self.assertEqual(self.successResultOf(running), "done")


class Latency(SynchronousTestCase):
    """How long work takes: `ThreadLanes.latency_seconds`."""

    def test_pending(self) -> None:
        """What is under way counts as long as it has taken, a digest does not."""
        reactor = Reactor()
        lanes = ThreadLanes(reactor)  # type: ignore[arg-type]
        self.addCleanup(lanes.stop)
        self.assertEqual(lanes.latency_seconds(1), 0.0)
        go_on, begun = threading.Event(), Queue[int]()

        def work() -> None:
            begun.put(1)
            go_on.wait(LIMIT_SECONDS)

        for lane in ("digest", "write"):
            lanes.run(1, lane, work)  # type: ignore[arg-type]
            begun.get(timeout=LIMIT_SECONDS)
            if lane == "digest":
                self.assertEqual(lanes.latency_seconds(1), 0.0)
        first = lanes.latency_seconds(1)
        self.assertGreater(first, 0.0)
        self.assertGreater(lanes.latency_seconds(1), first)
        go_on.set()
        reactor.turn()
        while not lanes._lanes[1, "write"].longest[0]:
            pass
        self.assertGreater(lanes.latency_seconds(1), first)
        self.assertEqual(lanes.latency_seconds(2), 0.0)

    def test_lately(self) -> None:
        """The longest of late is told, until it is long ago."""
        lane = _Lane()
        lane.note(100.0, 103.0)
        lane.note(104.0, 105.0)
        self.assertEqual(lane.latency_seconds(106.0), 3.0)
        lane.note(110.0, 114.0)
        self.assertEqual(lane.latency_seconds(114.0), 4.0)
        later = 115.0 + LATENCY_WINDOW_SECONDS
        self.assertEqual(lane.latency_seconds(later), 0.0)
        lane.note(later, later + 1)
        self.assertEqual(lane.latency_seconds(later + 1), 1.0)
