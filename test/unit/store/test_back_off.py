"""Pauses between attempts."""

from __future__ import annotations

from random import Random

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.store.back_off import FIRST_PAUSE_SECONDS, LAST_PAUSE_SECONDS, BackOff


class Pauses(SynchronousTestCase):
    """How long they are."""

    def setUp(self) -> None:
        """New pauses."""
        self.clock = Clock()
        self.back_off = BackOff(self.clock, Random(1))

    def paused(self) -> float:
        """Seconds that the next pause takes."""
        pause = Deferred.fromCoroutine(self.back_off.pause())
        begin = self.clock.seconds()
        while not pause.called:
            self.clock.advance(0.01)
        return self.clock.seconds() - begin

    def test_growth(self) -> None:
        """They double to the last, and begin anew after a reset."""
        pauses = [self.paused() for _ in range(12)]
        self.assertLess(pauses[0], FIRST_PAUSE_SECONDS * 1.25 + 0.02)
        self.assertGreater(pauses[-1], LAST_PAUSE_SECONDS * 0.75 - 0.02)
        self.assertLess(max(pauses), LAST_PAUSE_SECONDS * 1.25 + 0.02)
        self.assertEqual(self.back_off.seconds, LAST_PAUSE_SECONDS)
        self.back_off.reset()
        self.assertLess(self.paused(), FIRST_PAUSE_SECONDS * 1.25 + 0.02)

    def test_stop(self) -> None:
        """A pause can be ended; without one nothing happens."""
        self.back_off.stop()
        pause = Deferred.fromCoroutine(self.back_off.pause())
        self.back_off.stop()
        self.failureResultOf(pause, CancelledError)
        self.assertEqual(self.clock.getDelayedCalls(), [])
