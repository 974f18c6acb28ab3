"""The sweep: files that want a copy on a host that has joined."""

from __future__ import annotations

from random import Random

from attrs import evolve

from koboldfs.jobs import housekeeping
from koboldfs.jobs.housekeeping import (
    SWEEP_FID,
    SWEEP_GOAL,
    SWEEP_NEWS_SECONDS,
    SWEEP_SEEN,
    Sweep,
)
from test.fakes.world import World, WorldCase


class SweepCase(WorldCase):
    """A cluster with some hosts, and more to come."""

    def setUp(self) -> None:
        self.patch(housekeeping, "SWEEP_BATCH", 2)
        self.world = World.of(2)
        self.sweep = self.sweeper(self.world)

    def sweeper(self, world: World) -> Sweep:
        """The job, as a tracker starts it."""
        store = world.store
        room = (store, store, store, world.copies, world.live)
        return Sweep(*room, Random(1), world.clock)

    def run_until_idle(self) -> int:
        """Units until there is nothing more to do; returns how many did something."""
        done = 0
        for _ in range(100):
            if self.run_now(self.sweep()):
                done += 1
            elif self.setting(SWEEP_GOAL) is None:
                return done
            else:
                self.world.clock.advance(SWEEP_NEWS_SECONDS)
        self.fail("the sweep does not end")

    def steps(self, count: int) -> None:
        """So many units that do something."""
        while count:
            count -= self.run_now(self.sweep())
            self.world.clock.advance(SWEEP_NEWS_SECONDS)

    def queued(self) -> set[int]:
        """The fids in the replication queue."""
        return set(self.world.tables.to_replicate)

    def setting(self, name: str) -> str | None:
        """A setting, as the database has it."""
        value: str | None = self.world.tables.settings.get(name)
        return value

    def set_host(self, hostid: int, status: str) -> None:
        """The operator's word for a host."""
        self.run_now(self.world.store.update_host(hostid, {"status": status}))
        self.world.look()

    def new_host(self, hostid: int) -> None:
        """A host that joins, with one device."""
        self.world.add_host(hostid)
        self.world.look()


class Sweeping(SweepCase):
    """`Sweep`."""

    def test_first_start(self) -> None:
        """The first sweep looks at everything, and remembers for which hosts."""
        self.world.file(5, [10])
        self.world.file(6, [10, 20])
        self.run_until_idle()
        self.assertEqual(self.queued(), {5})
        self.assertEqual(self.setting(SWEEP_SEEN), "10,20")
        self.assertIsNone(self.setting(SWEEP_GOAL))
        self.assertIsNone(self.setting(SWEEP_FID))

    def test_news(self) -> None:
        """No file is looked at before every tracker has read of the new host; also a
        tracker that goes on with another one's sweep waits, which does no harm."""
        self.run_until_idle()
        self.world.file(1, [10, 20])
        self.new_host(3)
        self.assertTrue(self.run_now(self.sweep()))
        self.assertFalse(self.run_now(self.sweep()))
        self.world.clock.advance(SWEEP_NEWS_SECONDS - 0.1)
        self.assertFalse(self.run_now(self.sweep()))
        self.assertEqual(self.queued(), set())
        self.world.clock.advance(0.1)
        self.assertTrue(self.run_now(self.sweep()))
        self.assertEqual(self.queued(), {1})

    def test_nothing_new(self) -> None:
        """While no host joins no file is looked at."""
        self.run_until_idle()
        self.world.store.calls.clear()
        self.assertEqual(self.run_until_idle(), 0)
        self.assertEqual(self.world.called("list_files"), [])

    def test_new_host(self) -> None:
        """When a host joins, every file that lacks a copy there is queued."""
        self.run_until_idle()
        for fid in range(1, 8):
            self.world.file(fid, [10, 20])
        self.new_host(3)
        self.world.file(8, [10, 20, 30])
        self.run_until_idle()
        self.assertEqual(self.queued(), set(range(1, 8)))
        self.assertEqual(self.setting(SWEEP_SEEN), "10,20,30")

    def test_host_away(self) -> None:
        """Also when it has gone away again meanwhile: the queue waits for it."""
        self.run_until_idle()
        self.world.file(1, [10, 20])
        self.world.add_host(3)
        self.world.nodes.unreachable.add(3)
        self.world.look()
        self.run_until_idle()
        self.assertEqual(self.queued(), {1})

    def test_disk_replaced(self) -> None:
        """A host that got another device for its only one is as good as a new host."""
        self.run_until_idle()
        tables = self.world.tables
        tables.devices[20] = evolve(tables.devices[20], status="dead")
        self.world.file(1, [10])
        tables.devices[21] = evolve(tables.devices[20], devid=21, status="alive")
        self.world.look()
        self.run_until_idle()
        self.assertEqual(self.queued(), {1})
        self.assertEqual(self.setting(SWEEP_SEEN), "10,21")

    def test_disk_added(self) -> None:
        """One more device of a host that has some is not swept for."""
        self.run_until_idle()
        tables = self.world.tables
        tables.devices[21] = evolve(tables.devices[20], devid=21)
        self.world.file(1, [10])
        self.world.look()
        self.run_until_idle()
        self.assertEqual(self.queued(), set())
        self.assertEqual(self.setting(SWEEP_SEEN), "10,20,21")

    def test_only_files_that_want_it(self) -> None:
        """Files whose class is content without that host are left alone."""
        self.world.add_class(1, "two", policy="MultipleHosts(2)")
        self.world.look()
        self.run_until_idle()
        self.world.file(1, [10, 20], classid=1)
        self.world.file(2, [10, 20])
        self.new_host(3)
        self.run_until_idle()
        self.assertEqual(self.queued(), {2})

    def test_resumed(self) -> None:
        """Another tracker, or the next start, goes on where this one stood."""
        self.run_until_idle()
        for fid in range(1, 6):
            self.world.file(fid, [10, 20])
        self.new_host(3)
        self.steps(2)
        self.assertEqual(self.queued(), {1, 2})
        self.world.tables.to_replicate.clear()
        self.sweep = self.sweeper(self.world)
        self.run_until_idle()
        self.assertEqual(self.queued(), {3, 4, 5})

    def test_second_host_while_sweeping(self) -> None:
        """One more host makes it begin again, for all of them."""
        self.run_until_idle()
        for fid in range(1, 6):
            self.world.file(fid, [10, 20])
        self.new_host(3)
        self.steps(3)
        self.world.tables.to_replicate.clear()
        self.new_host(4)
        self.run_until_idle()
        self.assertEqual(self.queued(), set(range(1, 6)))
        self.assertEqual(self.setting(SWEEP_SEEN), "10,20,30,40")

    def test_host_leaves_while_sweeping(self) -> None:
        """A host that leaves does not make it begin again."""
        self.run_until_idle()
        for fid in range(1, 4):
            self.world.file(fid, [10, 20])
        self.new_host(3)
        self.steps(2)
        self.set_host(2, "readonly")
        self.world.store.calls.clear()
        self.run_until_idle()
        self.assertEqual([call[0] for call in self.world.called("list_files")], [2, 3])
        self.assertEqual(self.setting(SWEEP_SEEN), "10,30")

    def test_host_gone(self) -> None:
        """When a host goes no file needs a copy more; when it is back they may."""
        self.run_until_idle()
        self.world.file(1, [10])
        self.set_host(2, "readonly")
        self.world.store.calls.clear()
        self.run_until_idle()
        self.assertEqual(self.world.called("list_files"), [])
        self.assertEqual(self.setting(SWEEP_SEEN), "10")
        self.set_host(2, "alive")
        self.run_until_idle()
        self.assertEqual(self.queued(), {1})

    def test_all_hosts_gone(self) -> None:
        """While no host takes files there is nothing to sweep for; that is noted once,
        because whoever is back may lack what was moved meanwhile."""
        self.run_until_idle()
        for hostid in (1, 2):
            self.set_host(hostid, "readonly")
        self.world.store.calls.clear()
        self.assertEqual(self.run_until_idle(), 1)
        self.assertEqual(self.world.called("list_files"), [])
        self.world.file(1, [10])
        for hostid in (1, 2):
            self.set_host(hostid, "alive")
        self.run_until_idle()
        self.assertEqual(self.queued(), {1})

    def test_empty_cluster(self) -> None:
        """Without hosts, or before the first picture, there is nothing to do."""
        self.world = World()
        self.sweep = self.sweeper(self.world)
        self.assertEqual(self.run_until_idle(), 0)
        self.assertEqual(self.world.tables.settings, {})

    def test_late_word_of_a_finished_sweep(self) -> None:
        """Where an old sweep stood says nothing about a new one for the same hosts."""
        self.run_until_idle()
        for fid in range(1, 6):
            self.world.file(fid, [10, 20])
        self.new_host(3)
        self.run_now(self.sweep())
        word = f"5 {self.setting(SWEEP_GOAL)}"
        self.run_until_idle()
        self.set_host(3, "readonly")
        self.run_until_idle()
        self.run_now(self.world.store.set_setting(SWEEP_FID, word))
        self.world.tables.to_replicate.clear()
        self.set_host(3, "alive")
        self.run_until_idle()
        self.assertEqual(self.queued(), set(range(1, 6)))

    def test_stale_tracker(self) -> None:
        """A tracker that has not seen the new host yet makes us skip no file."""
        self.run_until_idle()
        for fid in range(1, 6):
            self.world.file(fid, [10, 20])
        self.new_host(3)
        self.steps(2)
        stale = World(self.world.clock)
        stale.store, stale.copies.live = self.world.store, stale.live
        stale.live.view = self.world.live.view
        other = self.sweeper(stale)
        self.assertFalse(self.run_now(other()))
        self.world.clock.advance(SWEEP_NEWS_SECONDS)
        self.new_host(4)
        self.run_now(self.sweep())
        self.world.tables.to_replicate.clear()
        self.run_now(other())
        written = self.setting(SWEEP_FID) or ""
        self.assertTrue(written.startswith("4 10,20,30 "), written)
        self.world.tables.to_replicate.clear()
        self.run_until_idle()
        self.assertEqual(self.queued(), set(range(1, 6)))


class SweepPolicies(SweepCase):
    """Whether any class cares for every host."""

    def assert_sweeps(self, wanted: bool, policy: str, class_policy: str = "") -> None:
        """With that default, and that policy of a class."""
        self.world = World.of(2, kobold_policy=policy)
        if class_policy:
            self.world.add_class(1, "c", policy=class_policy)
        self.world.look()
        self.sweep = self.sweeper(self.world)
        self.assertEqual(bool(self.run_until_idle()), wanted)

    def test_default(self) -> None:
        """The default policy counts; an unset one is AllHosts."""
        self.assert_sweeps(True, "AllHosts()")
        self.assert_sweeps(True, "")
        self.assert_sweeps(False, "MultipleHosts()")

    def test_classes(self) -> None:
        """One class is enough."""
        self.assert_sweeps(True, "MultipleHosts()", "AllHosts()")
        self.assert_sweeps(False, "MultipleHosts()", "MultipleDevices(3)")

    def test_union(self) -> None:
        """Also inside a union."""
        text = "Union(MultipleHosts(2), Union(AllHosts()))"
        self.assert_sweeps(True, "MultipleHosts()", text)
        self.assert_sweeps(False, "Union(MultipleHosts(2), MultipleDevices(2))")

    def test_not_understood(self) -> None:
        """A policy that is not known here is kept at MultipleHosts."""
        self.assert_sweeps(False, "MultipleHosts()", "HostsPerNetwork(a)")
