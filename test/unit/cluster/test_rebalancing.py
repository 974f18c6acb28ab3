"""The run of a rebalance. `test.unit.jobs.test_rebalance` runs the job that belongs to
it, `test.unit.tracker.test_rebalance_commands` the commands."""

from __future__ import annotations

from random import Random

from twisted.internet.defer import Deferred

from koboldfs import job_errors
from koboldfs.cluster.rebalancing import Rebalancing
from test.fakes.world import World, WorldCase, start


class Rows(WorldCase):
    """What rows of the queue say, also those of MogileFS."""

    def test_targets(self) -> None:
        """Numbers with commas; nothing, or nothing of sense, means any device."""
        store = World.of(1).store
        live = World.of(1).live
        balance = Rebalancing(store, store, live, Random(1), "vm")
        for text, targets in (("3,4", [3, 4]), ("3,x,", [3]), ("", None), (None, None)):
            self.assertEqual(balance.targets_of(text), targets)

    def test_another_was_faster(self) -> None:
        """A check that began meanwhile on another tracker is not joined."""
        world = World.of(2)
        store = world.store
        balance = Rebalancing(store, store, world.live, Random(1), "vm")
        self.run_now(balance.set_policy("from_devices=10 to_devices=20"))
        gate = store.gates["change_settings"] = Deferred()
        beginning = start(balance.start())
        world.tables.settings["fsck_host"] = "other"
        gate.callback(None)
        self.failureResultOf(beginning, job_errors.RebalanceRunning)
        self.assertNotIn("rebal_host", world.tables.settings)

    def test_one_plans(self) -> None:
        """Of the processes of one tracker only one takes the next step, and another one
        asks it to stop."""
        world = World.of(2)
        tables, live = world.store, world.live
        other, planner = (
            Rebalancing(tables, tables, live, Random(1), "vm", plans=plans)
            for plans in (False, True)
        )
        self.run_now(tables.set_setting("rebal_policy", "from_devices=10"))
        self.run_now(other.start())
        self.assertFalse(self.run_now(other.step()))
        self.assertTrue(self.run_now(planner.step()))
        self.run_now(other.stop())
        self.assertEqual(self.run_now(tables.setting("rebal_host")), "vm")
        self.run_now(planner.step())
        self.assertIsNone(self.run_now(tables.setting("rebal_host")))
