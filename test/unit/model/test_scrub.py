"""When a device's scrub is due, and how far it is."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.model.scrub import (
    DAY_SECONDS,
    FIRST_PASS_SECONDS,
    Counts,
    Scrub,
    beyond_belief,
    period_seconds,
)

NEW = Scrub(7, known=1000)
PERIOD = 30 * DAY_SECONDS


class Due(SynchronousTestCase):
    """`due` and `free_for`."""

    def test_new(self) -> None:
        """A new device has time."""
        first = 1000 + FIRST_PASS_SECONDS
        self.assertFalse(NEW.due(first - 1, PERIOD))
        self.assertTrue(NEW.due(first, PERIOD))

    def test_period(self) -> None:
        """A pass is due so long after the last one began."""
        scrub = evolve(NEW, began=5000, ended=6000)
        self.assertFalse(scrub.due(5000 + PERIOD - 1, PERIOD))
        self.assertTrue(scrub.due(5000 + PERIOD, PERIOD))
        self.assertFalse(scrub.due(5000 + PERIOD, 0))

    def test_asked(self) -> None:
        """Who asks gets one at once, unless one is running."""
        self.assertTrue(evolve(NEW, asked=True).due(0, 0))
        self.assertFalse(evolve(NEW, asked=True, running=True).due(0, 0))

    def test_free(self) -> None:
        """Nobody takes what another one has in work."""
        self.assertTrue(NEW.free_for("a", 0))
        held = evolve(NEW, owner="b", leased_until=50)
        self.assertFalse(held.free_for("a", 49))
        self.assertTrue(held.free_for("b", 49))
        self.assertTrue(held.free_for("a", 50))


class Progress(SynchronousTestCase):
    """`percent`, sums, and what is believed."""

    def test_percent(self) -> None:
        """Nothing, then the share of the fids, then the folders, then all."""
        self.assertEqual(NEW.percent(), 0)
        running = evolve(NEW, running=True, end_fid=200)
        self.assertEqual(running.percent(), 0)
        self.assertEqual(running.moved_on(100, -1, Counts()).percent(), 50)
        self.assertEqual(running.moved_on(900, -1, Counts()).percent(), 99)
        self.assertEqual(running.moved_on(0, 0, Counts()).percent(), 99)
        self.assertEqual(evolve(running, end_fid=0).percent(), 0)
        self.assertEqual(evolve(running, running=False, ended=9).percent(), 100)

    def test_sums(self) -> None:
        """Every count is added to its own."""
        one, two = Counts(1, 2, 3, 4, 5, 6, 7), Counts(10, 20, 30, 40, 50, 60, 70)
        self.assertEqual(one.plus(two), Counts(11, 22, 33, 44, 55, 66, 77))

    def test_days(self) -> None:
        """The setting; nonsense is the default."""
        for text, days in (("7", 7), ("0", 0), ("", 30), ("x", 30), ("9" * 9, 30)):
            self.assertEqual(period_seconds(text), days * DAY_SECONDS)

    def test_belief(self) -> None:
        """A hundred strays are believed, or a tenth of a device's files."""
        self.assertFalse(beyond_belief(100, 0))
        self.assertTrue(beyond_belief(101, 0))
        self.assertFalse(beyond_belief(5000, 50_000))
        self.assertTrue(beyond_belief(5001, 50_000))
