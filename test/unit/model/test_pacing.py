"""How long background work waits."""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from koboldfs.model.pacing import (
    ATTENTION_SECONDS,
    RETRY_STEPS_SECONDS,
    Attention,
    Rate,
    rest_seconds,
    retry_seconds,
)


class FixedRandom(Random):
    """Draws the lowest, the middle or the highest value."""

    def __init__(self, where: float) -> None:
        super().__init__(0)
        self.where = where

    def uniform(self, a: float, b: float) -> float:
        """As told."""
        return a + (b - a) * self.where


class Retries(SynchronousTestCase):
    """`retry_seconds`."""

    def test_steps(self) -> None:
        """15 s, 1 and 5 min, half an hour, 1, 2, 4, 8 hours, then a day for ever."""
        middle = FixedRandom(0.5)
        waits = [retry_seconds(failcount, middle) for failcount in range(11)]
        wanted = [15, 60, 300, 1800, 3600, 7200, 14400, 28800, 86400, 86400, 86400]
        self.assertEqual([round(wait) for wait in waits], wanted)

    def test_spread(self) -> None:
        """A fifth to both sides, so that what failed together comes apart."""
        self.assertAlmostEqual(retry_seconds(0, FixedRandom(0)), 12)
        self.assertAlmostEqual(retry_seconds(0, FixedRandom(1)), 18)
        random = Random(1)
        waits = {retry_seconds(1, random) for _ in range(50)}
        self.assertTrue(all(48 <= wait <= 72 for wait in waits))
        self.assertEqual(len(waits), 50)

    def test_steps_grow(self) -> None:
        """Each step is longer than the one before."""
        self.assertEqual(list(RETRY_STEPS_SECONDS), sorted(set(RETRY_STEPS_SECONDS)))


class Rests(SynchronousTestCase):
    """`rest_seconds`."""

    def test_share(self) -> None:
        """Work and rest together have the share that was given to work."""
        self.assertAlmostEqual(rest_seconds(1.0, 0.5, 60), 1.0)
        self.assertAlmostEqual(rest_seconds(1.0, 0.25, 60), 3.0)
        self.assertAlmostEqual(rest_seconds(0.2, 0.1, 60), 1.8)

    def test_whole(self) -> None:
        """Who may have all of the time does not rest."""
        self.assertEqual(rest_seconds(7.0, 1.0, 60), 0.0)

    def test_longest(self) -> None:
        """However long a unit took, the rest has a bound."""
        self.assertEqual(rest_seconds(1000.0, 0.1, 5.0), 5.0)


class Requests(SynchronousTestCase):
    """`Attention`."""

    def test_idle_and_busy(self) -> None:
        """All of the time when nothing comes, the share while requests do."""
        attention = Attention(0.5)
        self.assertEqual(attention.share_at(10.0, 7), 1.0)
        self.assertEqual(attention.share_at(10.0 + ATTENTION_SECONDS, 700), 0.5)
        self.assertEqual(attention.share_at(11.5, 700), 1.0)

    def test_now_and_then(self) -> None:
        """A request now and then is no load."""
        attention = Attention(0.25)
        for second in range(20):
            self.assertEqual(attention.share_at(float(second), 3 * second), 1.0)
        self.assertEqual(attention.share_at(20.0, 1000), 0.25)

    def test_not_at_once(self) -> None:
        """What came is looked at only now and then."""
        attention = Attention(0.5)
        attention.share_at(10.0, 0)
        self.assertEqual(attention.share_at(10.1, 900), 1.0)
        self.assertEqual(attention.share_at(10.6, 900), 0.5)
        self.assertEqual(attention.share_at(10.7, 900), 0.5)


class Rates(SynchronousTestCase):
    """How much was done a second."""

    def test_window(self) -> None:
        """Since the oldest sample that is not too old; nothing from one sample."""
        rate = Rate(window_seconds=60.0)
        self.assertEqual(rate.sample(0.0, 100), 0.0)
        self.assertEqual(rate.sample(10.0, 150), 5.0)
        self.assertEqual(rate.sample(20.0, 150), 2.5)
        self.assertEqual(rate.sample(65.0, 260), 2.0)
        self.assertEqual(rate.sample(500.0, 999), 0.0)
