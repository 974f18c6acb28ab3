"""The job `rebalance`: runs with limits, runs that are stopped, devices that drain."""

from __future__ import annotations

from random import Random
from typing import Any

from attrs import evolve

from koboldfs.cluster.moving import Moving
from koboldfs.cluster.rebalancing import Rebalancing
from koboldfs.errors import DatabaseAway
from koboldfs.jobs.rebalance import DRAIN_REST_SECONDS, RebalanceWorker
from koboldfs.model.entities import REBALANCE_TASK
from koboldfs.model.rebalance import State, parse_state
from test.fakes.world import World, WorldCase


class BalanceCase(WorldCase):
    """Files with copies on two of three hosts, two devices each."""

    def setUp(self) -> None:
        """The world."""
        self.world = World.of(3, per_host=2, kobold_policy="MultipleHosts(2)")
        self.balance, self.worker = self.tracker("one")

    def tracker(self, name: str) -> tuple[Rebalancing, RebalanceWorker]:
        """The parts of a tracker of that name."""
        store, live = self.world.store, self.world.live
        balance = Rebalancing(store, store, live, Random(1), name)
        moving = Moving(self.world.copies, store)
        return balance, RebalanceWorker(balance, moving, store, live, self.world.clock)

    def turn(self, worker: RebalanceWorker | None = None) -> None:
        """Steps until nothing is left to do at once."""
        for _ in range(40):
            self.run_now((worker or self.worker).step())

    def files(self, count: int, *devids: int) -> None:
        """Files 1 to `count` with copies there."""
        for fid in range(1, count + 1):
            self.world.file(fid, list(devids))

    def count(self, devid: int) -> int:
        """How many files are recorded on the device; the disk has as many."""
        count = sum(one == devid for _, one in self.world.tables.file_on)
        self.assertEqual(count, sum(k[1] == devid for k in self.world.nodes.copies))
        return count

    def start(self, policy: str) -> None:
        """A run of that policy."""
        self.run_now(self.balance.set_policy(policy))
        self.run_now(self.balance.start())

    def status(self, devid: int) -> str:
        """The state of a device."""
        status: str = self.world.tables.devices[devid].status
        return status

    def state(self) -> State:
        """Where the run stands."""
        return parse_state(self.run_now(self.balance.status()))


class Runs(BalanceCase):
    """What a policy says."""

    def test_all_hosts(self) -> None:
        """With a copy on every host there is nothing to move between hosts; unless the
        devices are to stay in state drain: then their host shall have none."""
        self.world.tables.settings["kobold_policy"] = "AllHosts()"
        self.world.look()
        for fid in range(1, 4):
            self.world.file(fid, [10, 20, 30])
        self.start("from_hosts=2")
        self.turn()
        self.assertEqual([self.count(one) for one in (10, 20, 30)], [3, 3, 3])
        self.start("from_hosts=2 leave_in_drain_mode=1")
        self.turn()
        self.assertEqual([self.count(one) for one in (10, 20, 30)], [3, 0, 3])
        self.assertEqual(self.status(20), "drain")

    def test_whole_device(self) -> None:
        """All files of a device go to the targets; the device is as before."""
        self.files(7, 10, 20)
        self.start("from_devices=20 to_devices=30,31")
        self.run_now(self.worker.step())
        self.assertEqual(self.status(20), "drain")
        self.turn()
        self.assertEqual(self.count(20), 0)
        self.assertEqual(self.count(30) + self.count(31), 7)
        self.assertEqual(self.status(20), "alive")
        state = self.state()
        self.assertEqual((state.completed_devs, state.fids_queued), ((20,), 7))
        self.assertTrue(state.time_finished)
        self.assertNotIn("rebal_host", self.world.tables.settings)

    def test_limit_of_a_device(self) -> None:
        """No more files than the limit leave a device; the oldest first, or the
        newest."""
        self.files(7, 10, 20)
        self.start("from_devices=20 limit_by=count limit=3 leave_in_drain_mode=0")
        self.turn()
        self.assertEqual(self.count(20), 4)
        self.assertIn((7, 20), self.world.tables.file_on)
        self.start("from_devices=20 limit_by=count limit=1 fid_age=new")
        self.turn()
        self.assertNotIn((7, 20), self.world.tables.file_on)
        self.assertEqual(self.count(20), 3)

    def test_global_limit(self) -> None:
        """A limit on the whole is used up by the first device."""
        self.files(4, 10, 20)
        self.start(
            "from_devices=10,20 to_hosts=3 limit_by=size limit=20 limit_type=global"
        )
        self.turn()
        self.assertEqual(self.count(10) + self.count(20), 6)
        self.assertEqual(self.status(10) + self.status(20), "alivealive")

    def test_pages(self) -> None:
        """Pages are as large as the setting says, and the queue is bounded."""
        settings = self.world.tables.settings
        settings["queue_rate_for_rebal"] = "2"
        settings["queue_size_for_rebal"] = "3"
        self.world.look()
        self.assertEqual(self.balance.queue_limits(), (2, 3))
        self.files(9, 10, 20)
        self.start("from_devices=20")
        self.turn()
        self.assertEqual(self.count(20), 0)

    def test_few_targets(self) -> None:
        """With `use_dest_devs` each file is offered only some."""
        self.files(1, 10, 20)
        self.start("from_devices=20 use_dest_devs=1")
        self.run_now(self.balance.step())
        self.run_now(self.balance.step())
        (row,) = self.world.tables.tasks.values()
        self.assertEqual(len(row.arg.split(",")), 1)

    def test_no_targets(self) -> None:
        """A policy without any target ends without harm."""
        self.files(2, 10, 20)
        self.start("from_devices=20 to_devices=99")
        self.turn()
        self.assertEqual(self.count(20), 2)
        self.assertTrue(self.state().time_finished)

    def test_stop_and_go_on(self) -> None:
        """A run that was stopped goes on after the last file that it queued."""
        self.world.tables.settings["queue_rate_for_rebal"] = "2"
        self.files(6, 10, 20)
        self.start("from_devices=20")
        for _ in range(2):
            self.run_now(self.balance.step())
        self.run_now(self.balance.stop())
        self.assertEqual(self.status(20), "alive")
        self.assertEqual(self.state().sdev_lastfid, 2)
        self.assertTrue(self.state().time_stopped)
        self.turn()
        self.assertEqual(self.count(20), 4)
        self.run_now(self.balance.start())
        self.assertEqual(self.status(20), "drain")
        self.turn()
        self.assertEqual(self.count(20), 0)
        self.assertEqual(self.state().fids_queued, 6)

    def test_stopped_by_another(self) -> None:
        """A tracker that does not run it leaves word for the one that does."""
        self.files(2, 10, 20)
        self.start("from_devices=20")
        other, worker = self.tracker("two")
        self.turn(worker)
        self.run_now(other.stop())
        self.assertEqual(self.world.tables.settings["rebal_signal"], "stop")
        self.turn()
        self.assertEqual(self.count(20), 2)
        self.assertNotIn("rebal_signal", self.world.tables.settings)
        self.assertNotIn("rebal_host", self.world.tables.settings)

    def test_killed(self) -> None:
        """A tracker that died after queueing repeats rows, and leaves none out."""
        self.files(5, 10, 20)
        self.start("from_devices=20")
        self.run_now(self.balance.step())
        self.world.store.failing["set_settings"] = [DatabaseAway()]
        self.fail_now(self.balance.step(), DatabaseAway)
        _, worker = self.tracker("one")
        self.turn(worker)
        self.assertEqual(self.count(20), 0)

    def test_policy_broken_meanwhile(self) -> None:
        """A policy that somebody made nonsense of ends the run."""
        self.files(1, 10, 20)
        self.start("from_devices=20")
        self.world.tables.settings["rebal_policy"] = "nonsense=1"
        self.turn()
        self.assertNotIn("rebal_host", self.world.tables.settings)

    def test_odd_rows(self) -> None:
        """Rows of files that are gone, or without a device, only leave the queue."""
        self.files(1, 10, 20)
        rows = [(99, 20, None), (1, None, None)]
        self.run_now(self.world.store.queue_tasks(REBALANCE_TASK, rows))
        self.turn()
        self.assertEqual(self.world.tables.tasks, {})
        self.assertEqual(self.count(20), 1)

    def test_database_away(self) -> None:
        """A database that goes away in a unit leaves the copy where it is."""
        self.files(1, 10, 20)
        row: Any = (1, 20, None)
        self.run_now(self.world.store.queue_tasks(REBALANCE_TASK, [row]))
        self.world.store.failing["release_copy"] = [DatabaseAway()]
        self.run_now(self.worker.step())
        self.assertEqual(self.worker.status.failed, 1)
        self.assertIn((1, 20), self.world.tables.file_on)

    def test_leases(self) -> None:
        """What is under way is kept."""
        self.run_now(self.worker.keep_leases([5], 30))
        self.assertEqual(self.world.called("keep_tasks"), [(REBALANCE_TASK, (5,), 30)])


class Drains(BalanceCase):
    """Devices in state drain."""

    def drain(self, devid: int) -> None:
        """An operator's word."""
        devices = self.world.tables.devices
        devices[devid] = evolve(devices[devid], status="drain")
        self.world.look()

    def test_emptied(self) -> None:
        """A draining device loses all its files, and stays in that state."""
        self.files(9, 10, 20)
        self.drain(20)
        self.turn()
        self.assertEqual(self.count(20), 0)
        self.assertEqual(self.status(20), "drain")
        self.assertEqual(self.count(10), 9)

    def test_failing(self) -> None:
        """One whose disk takes no writes any more, because it fails, is emptied, too;
        one that takes none just now waits."""
        self.files(3, 20, 30)
        self.world.nodes.readonly.add(20)
        self.drain(20)
        self.turn()
        self.assertEqual(self.count(20), 3)
        self.world.nodes.distrusted[20] = "a flush failed"
        self.world.look()
        self.turn()
        for fid in (1, 2, 3):
            devids = self.world.tables.devids(fid)
            self.assertEqual((len(devids), 20 in devids), (2, False))

    def test_again_later(self) -> None:
        """What could not go is tried again after a rest, without spinning."""
        self.files(2, 10, 20)
        for devid in (11, 21, 30, 31):
            devices = self.world.tables.devices
            devices[devid] = evolve(devices[devid], status="readonly")
        self.drain(20)
        self.turn()
        self.assertEqual(self.count(20), 2)
        queued = len(self.world.called("queue_tasks"))
        self.turn()
        self.assertEqual(len(self.world.called("queue_tasks")), queued)
        devices[30] = evolve(devices[30], status="alive")
        self.world.look()
        self.world.clock.advance(DRAIN_REST_SECONDS)
        self.turn()
        self.assertEqual(self.count(20), 0)

    def test_bounded_queue(self) -> None:
        """Not more rows wait than the setting says."""
        self.world.tables.settings["queue_rate_for_rebal"] = "5"
        self.world.tables.settings["queue_size_for_rebal"] = "5"
        self.files(9, 10, 20)
        self.drain(20)
        for _ in range(3):
            self.run_now(self.worker._drain())
        self.assertEqual(len(self.world.tables.tasks), 5)

    def test_paused(self) -> None:
        """A job that is not wanted queues nothing."""
        self.files(2, 10, 20)
        self.drain(20)
        self.worker.want(0)
        self.turn()
        self.assertEqual(self.world.tables.tasks, {})

    def test_left_to_the_rebalance(self) -> None:
        """The device that a run with a limit is working on is not emptied."""
        self.files(6, 10, 20)
        self.start("from_devices=20 limit_by=count limit=2")
        self.run_now(self.balance.step())
        self.assertEqual(self.status(20), "drain")
        other, worker = self.tracker("two")
        self.turn(worker)
        self.assertEqual(self.count(20), 6)
        self.assertEqual(other.current_device(), 20)
