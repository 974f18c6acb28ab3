"""The run of a rebalance. `test.unit.jobs.test_rebalance` runs the job that belongs to
it, `test.unit.tracker.test_rebalance_commands` the commands."""

from __future__ import annotations

from random import Random

from koboldfs.cluster.rebalancing import Rebalancing
from test.fakes.world import World, WorldCase


class Rows(WorldCase):
    """What rows of the queue say, also those of MogileFS."""

    def test_targets(self) -> None:
        """Numbers with commas; nothing, or nothing of sense, means any device."""
        store = World.of(1).store
        live = World.of(1).live
        balance = Rebalancing(store, store, live, Random(1), "vm")
        for text, targets in (("3,4", [3, 4]), ("3,x,", [3]), ("", None), (None, None)):
            self.assertEqual(balance.targets_of(text), targets)
