"""What the tracker counts of its own work."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.tracker.stats import RECENT_REQUESTS, SHOWN_LINE_BYTES, Statistics


class Counting(SynchronousTestCase):
    """`Statistics`."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.statistics = Statistics(self.clock)

    def test_uptime(self) -> None:
        """Whole seconds since the start, whatever the clock began with."""
        self.clock.advance(61.9)
        self.assertEqual(self.statistics.uptime_seconds(), 61)

    def test_counters(self) -> None:
        """A counter is absent until it counts."""
        self.assertEqual(self.statistics.all_counters(), {})
        self.statistics.count("x")
        self.statistics.count("x", 4)
        self.statistics.answered("127.0.0.1", b"noop", 0, 0)
        self.assertEqual(self.statistics.all_counters(), {"x": 5, "queries": 1})

    def test_timings(self) -> None:
        """Only when somebody wants to know; what is no command is all one."""
        self.statistics.timed("noop", 1.0)
        self.assertIsNone(self.statistics.timings)
        self.statistics.time_commands(["noop"])
        for name in ("noop", "x", "y"):
            self.statistics.timed(name, 1.0)
        timings = self.statistics.timings or {}
        self.assertEqual(sum(timings["noop"].counts), 1)
        self.assertEqual(sum(timings["unknown"].counts), 2)
        self.assertEqual(len(timings), 2)

    def test_recent(self) -> None:
        """The last fifty, oldest first, with four decimals."""
        for number in range(RECENT_REQUESTS + 5):
            self.statistics.answered("10.0.0.1", b"n %d\r" % number, 0.00126, 0.5)
        recent = self.statistics.recent()
        self.assertEqual(len(recent), RECENT_REQUESTS)
        self.assertEqual(recent[0], "10.0.0.1 n 5 0.0013 0.5000")
        self.assertEqual(recent[-1], "10.0.0.1 n 54 0.0013 0.5000")

    def test_long_lines(self) -> None:
        """A megabyte is not kept fifty times."""
        self.statistics.answered("::1", b"x" * 1_000_000, 0, 0)
        (line,) = self.statistics.recent()
        self.assertEqual(line, f"::1 {'x' * SHOWN_LINE_BYTES} 0.0000 0.0000")
