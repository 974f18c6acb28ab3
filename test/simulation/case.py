"""What the tests that run whole simulated clusters have in common."""

from __future__ import annotations

import gc

from twisted.trial.unittest import SynchronousTestCase

from test.remains import throw_away


class SimulatedCase(SynchronousTestCase):
    """Runs seeds; nothing of their clusters is left for the next test."""

    def setUp(self) -> None:
        """What is there already need not be looked through for garbage each time."""
        gc.collect()
        gc.freeze()
        self.addCleanup(gc.unfreeze)

    def tearDown(self) -> None:
        """Have the processes that were killed say what they say, and forget it.

        The simulation itself has judged what was logged while it ran.
        """
        throw_away()
        self.flushLoggedErrors()
