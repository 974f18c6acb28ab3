"""Replication: what becomes of each queued file."""

from __future__ import annotations

from hashlib import md5
from random import Random

from koboldfs.cluster.moving import Moving
from koboldfs.errors import DatabaseAway, NodeFault
from koboldfs.jobs.replicate import LEASE_SECONDS, ReplicateWorker
from koboldfs.model.entities import MD5, Checksum, ReplicationDone
from test.fakes.nodes import own_checksum
from test.fakes.store import EPOCH
from test.fakes.world import World, WorldCase

DATA = b"the bytes"


class ReplicateCase(WorldCase):
    """Three hosts; the policy of files without a class is AllHosts."""

    def setUp(self) -> None:
        self.set_up(World.of(3))

    def set_up(self, world: World) -> None:
        """Another world than usual."""
        self.world = world
        moving = Moving(world.copies, world.store)
        self.worker = ReplicateWorker(world.store, world.copies, moving, Random(1))

    def step(self) -> bool:
        """One step."""
        return self.run_now(self.worker.step())

    def done(self) -> ReplicationDone:
        """The one report of the one row that was worked on."""
        [((report,),)] = self.world.called("finish_replications")
        return report  # type: ignore[no-any-return]

    def row(self, fid: int = 5) -> tuple[int, int]:
        """Failcount, and seconds until the row is due."""
        row = self.world.tables.to_replicate[fid]
        return row.failcount, row.nexttry - self.world.store.now()


class Verdicts(ReplicateCase):
    """What the policy may say of a file."""

    def test_copies(self) -> None:
        """A file that lacks copies gets them, and leaves the queue."""
        self.world.file(5, [10], DATA, queued=True)
        self.assertTrue(self.step())
        self.assertEqual(self.world.nodes.devices_with(5), {10, 20, 30})
        self.assertEqual(self.world.tables.devids(5), (10, 20, 30))
        self.assertEqual(self.world.tables.files[5].devcount, 3)
        self.assertEqual(self.world.tables.to_replicate, {})
        self.assertEqual(sorted(self.done().added), [20, 30])

    def test_satisfied(self) -> None:
        """A file that has its copies only leaves the queue."""
        self.world.file(5, [10, 20, 30], queued=True)
        self.step()
        self.assertEqual(self.done(), ReplicationDone(5))
        self.assertEqual(self.world.asked("copy"), [])

    def test_too_many(self) -> None:
        """A file that has more copies than wanted loses what it can spare, one a round,
        and then leaves the queue."""
        self.set_up(World.of(3, kobold_policy="MultipleHosts(1)"))
        self.world.file(5, [10, 20, 30], queued=True)
        self.step()
        self.assertEqual(self.done(), ReplicationDone(5, retry_seconds=0))
        self.assertEqual(len(self.world.nodes.devices_with(5)), 2)
        for _ in range(2):
            self.step()
        self.assertEqual(len(self.world.nodes.devices_with(5)), 1)
        self.assertEqual(self.world.tables.to_replicate, {})

    def test_too_many_for_now(self) -> None:
        """When none can be spared now, the row is put off; so too when the database
        goes away in between."""
        self.set_up(World.of(3, kobold_policy="MultipleHosts(1)"))
        self.world.file(5, [10, 20], queued=True)
        self.world.nodes.failing["stat"] = [NodeFault("x")] * 2
        self.step()
        self.assertEqual(self.row()[0], 1)
        self.world.clock.advance(60)
        self.world.store.failing["release_copy"] = [DatabaseAway()]
        self.step()
        self.assertEqual(self.row()[0], 2)
        self.assertEqual(self.world.nodes.devices_with(5), {10, 20})

    def test_one_too_many_made(self) -> None:
        """A file that has too many once a copy is made comes round again."""
        policy = "Union(MultipleHosts(1), AllHosts())"
        self.set_up(World.of(2, kobold_policy=policy))
        self.world.file(5, [10], queued=True)
        self.step()
        self.assertEqual(self.world.tables.devids(5), (10, 20))

    def test_gone(self) -> None:
        """A file that was deleted only leaves the queue."""
        self.world.queue(5)
        self.step()
        self.assertEqual(self.done(), ReplicationDone(5))
        self.assertEqual(self.world.tables.to_replicate, {})

    def test_wait(self) -> None:
        """A file whose host is away is put off, with the first step of the back-off."""
        self.world.file(5, [10, 20], queued=True)
        self.world.nodes.unreachable.add(3)
        self.world.look()
        self.step()
        failcount, seconds = self.row()
        self.assertEqual(failcount, 1)
        self.assertTrue(12 <= seconds <= 18, seconds)
        self.assertEqual(self.world.asked("copy"), [])

    def test_some_now_some_later(self) -> None:
        """What can be copied now is; for the rest the row stays."""
        self.world.file(5, [10], queued=True)
        self.world.nodes.unreachable.add(3)
        self.world.look()
        self.step()
        self.assertEqual(self.world.tables.devids(5), (10, 20))
        self.assertEqual(self.row()[0], 1)

    def test_own_policy_of_a_class(self) -> None:
        """The class's policy counts, not the default."""
        self.world.add_class(1, "two", policy="MultipleHosts(2)")
        self.world.look()
        self.world.file(5, [10], classid=1, queued=True)
        self.step()
        self.assertEqual(len(self.world.tables.devids(5)), 2)
        self.assertEqual(self.world.tables.to_replicate, {})

    def test_dead_device(self) -> None:
        """A copy on a dead device is none."""
        self.world.file(5, [10, 20, 30], queued=True)
        self.world.add_host(4)
        self.run_now(self.world.store.update_device(30, {"status": "dead"}))
        self.world.look()
        self.step()
        self.assertEqual(self.world.nodes.devices_with(5), {10, 20, 30, 40})


class Failures(ReplicateCase):
    """Copies that cannot be made."""

    def test_target_fails(self) -> None:
        """A target that fails is tried again later, and longer each time."""
        self.world.file(5, [10, 20], queued=True)
        waits = []
        for failcount in range(1, 5):
            # From either source.
            self.world.nodes.failing["copy"] = [NodeFault("no"), NodeFault("no")]
            self.step()
            self.assertEqual(self.row()[0], failcount)
            waits.append(self.row()[1])
            self.world.clock.advance(self.row()[1])
        steps = [15, 60, 300, 1800]
        for wait, step in zip(waits, steps, strict=True):
            self.assertTrue(0.79 * step <= wait <= 1.21 * step, (wait, step))
        self.step()
        self.assertEqual(self.world.tables.devids(5), (10, 20, 30))

    def test_one_of_two_targets_fails(self) -> None:
        """The copy that was made is recorded, though the other was not."""
        self.world.file(5, [10], queued=True)
        self.world.nodes.failing["copy"] = [NodeFault("no")]
        self.step()
        self.assertEqual(len(self.world.tables.devids(5)), 2)
        self.assertEqual(self.row()[0], 1)

    def test_missing_source(self) -> None:
        """A source that does not have the file is passed over for one that has; when
        that was noticed, it counts as a copy no more, and is made up for."""
        noticed = 0
        for seed in range(8):
            self.set_up(World.of(3))
            self.world.copies._random.seed(seed)
            self.world.file(5, [10, 20], queued=True)
            self.world.nodes.lose(self.world.place(10), 5)
            self.step()
            self.assertIn(30, self.world.nodes.devices_with(5))
            if self.world.tables.to_replicate:
                noticed += 1
                self.assertEqual(self.world.tables.devids(5), (20, 30))
                self.step()
                self.assertEqual(set(self.world.nodes.devices_with(5)), {10, 20, 30})
            self.assertEqual(self.world.tables.devids(5), (10, 20, 30))
            self.assertEqual(self.world.tables.to_replicate, {})
        self.assertTrue(0 < noticed < 8, noticed)

    def test_corrupt_source(self) -> None:
        """A source with other bytes is passed over; the new copy is the file."""
        for bad in (10, 20):
            self.set_up(World.of(3))
            self.world.file(5, [10, 20], DATA, queued=True)
            self.world.nodes.damage(self.world.place(bad), 5)
            self.step()
            self.assertEqual(self.world.nodes.copies[3, 30, 5], DATA)

    def test_no_good_source(self) -> None:
        """With no good copy left nothing is copied, and the row stays."""
        self.world.file(5, [10, 20], DATA, queued=True)
        for devid in (10, 20):
            self.world.nodes.damage(self.world.place(devid), 5)
        self.step()
        self.assertEqual(self.world.tables.devids(5), (10, 20))
        self.assertNotIn(30, self.world.nodes.devices_with(5))
        self.assertEqual(self.row()[0], 1)

    def test_source_away(self) -> None:
        """A file whose only copy cannot be read now waits."""
        self.world.file(5, [10], queued=True)
        self.world.nodes.unreachable.add(1)
        self.world.look()
        self.step()
        self.assertEqual(self.world.asked("copy"), [])
        self.assertEqual(self.row()[0], 1)

    def test_deleted_meanwhile(self) -> None:
        """Copies of a file that is deleted while it is copied are cleaned up."""
        self.world.file(5, [10], queued=True)

        async def delete(*_: object) -> None:
            await self.world.store.delete(1, "key5")
            # The delete worker of another tracker is faster than our report.
            [row] = await self.world.store.take_deletions(1, 1000) or [None]
            if row is not None:
                self.world.tables.file_on.clear()
                self.world.tables.to_delete.clear()

        self.world.nodes.before_copy = delete
        self.step()
        self.assertEqual(self.world.tables.devids(5), (20, 30))
        self.assertIn(5, self.world.tables.to_delete)


class Checksums(ReplicateCase):
    """Files that came without our checksum, as from MogileFS."""

    def test_is_recorded(self) -> None:
        """The first copy gives the file its checksum."""
        self.world.file(5, [10], DATA, checksum=False, queued=True)
        self.step()
        self.assertEqual(self.world.tables.own_checksums[5], own_checksum(DATA))

    def test_is_recorded_when_it_is_put_off(self) -> None:
        """Also when not all of the copies could be made."""
        self.world.file(5, [10], DATA, checksum=False, queued=True)
        self.world.nodes.failing["copy"] = [NodeFault("no")]
        self.step()
        self.assertEqual(self.world.tables.own_checksums[5], own_checksum(DATA))

    def test_known_one_stays(self) -> None:
        """A known checksum is not written again."""
        self.world.file(5, [10], DATA, queued=True)
        self.step()
        self.assertIsNone(self.done().checksum)

    def test_sources_that_differ(self) -> None:
        """Two sources of the same length with other bytes never make mixed copies."""
        for seed in range(8):
            self.set_up(World.of(4))
            self.world.copies._random.seed(seed)
            self.world.file(5, [10, 20], DATA, checksum=False, queued=True)
            self.world.nodes.put(self.world.place(20), 5, DATA[::-1])
            # So that both are under way before anybody knows a checksum.
            self.world.nodes.slow = {3: 1.0, 4: 1.0}
            self.step()
            self.world.clock.pump([1.0] * 3)
            self.assertEqual(self.world.tables.to_replicate, {})
            copies = self.world.nodes.copies
            recorded = self.world.tables.devids(5)
            new = {copies[devid // 10, devid, 5] for devid in recorded if devid > 20}
            self.assertEqual(len(new), 1, seed)
            # Nobody knows which source is right: none of them is condemned.
            self.assertEqual(self.world.tables.own_checksums, {})
            self.assertLessEqual({10, 20}, set(recorded))

    def test_one_rotted_copy(self) -> None:
        """Of copies that differ none is believed: the good ones stay, as they are."""
        for seed in range(6):
            self.set_up(World.of(4))
            self.world.copies._random.seed(seed)
            self.world.file(5, [10, 20, 30], DATA, checksum=False, queued=True)
            self.world.nodes.put(self.world.place(10), 5, DATA[::-1])
            for _ in range(3):
                self.step()
            self.assertEqual(self.world.tables.own_checksums, {})
            self.assertLessEqual({10, 20, 30}, set(self.world.tables.devids(5)))
            self.assertEqual(self.world.nodes.copies[2, 20, 5], DATA)
            self.assertEqual(self.world.nodes.copies[3, 30, 5], DATA)

    def test_rotted_as_the_class_says(self) -> None:
        """With the checksum that the class asked for, the bad copy is known: it is not
        copied on, and its row goes once there is another good one."""
        for seed in range(6):
            self.set_up(World.of(4))
            self.world.copies._random.seed(seed)
            self.world.file(5, [10, 20], DATA, checksum=False, queued=True)
            right = Checksum(MD5, md5(DATA).digest())
            self.world.tables.class_checksums[5] = right
            self.world.nodes.put(self.world.place(10), 5, DATA[::-1])
            self.world.nodes.slow = {3: 1.0, 4: 1.0}
            self.step()
            self.world.clock.pump([1.0] * 5)
            for _ in range(3):
                self.step()
                self.world.clock.pump([1.0] * 5)
            recorded = self.world.tables.devids(5)
            copies = self.world.nodes.copies
            found = {copies[d // 10, d, 5] for d in recorded if d != 10}
            self.assertEqual(found, {DATA}, seed)
            self.assertLessEqual({20, 30, 40}, set(recorded))

    def test_only_rotted(self) -> None:
        """When no copy has that checksum, nothing is made of them, and all stay."""
        self.world.file(5, [10], DATA, checksum=False, queued=True)
        self.world.tables.class_checksums[5] = Checksum(MD5, bytes(16))
        self.step()
        self.assertEqual(self.world.tables.devids(5), (10,))
        self.assertEqual(self.world.tables.own_checksums, {})

    def test_target_rots(self) -> None:
        """A target that has other bytes than it was sent says nothing of the source."""
        self.set_up(World.of(2))
        self.world.file(5, [10], DATA, checksum=False, queued=True)
        right = Checksum(MD5, md5(DATA).digest())
        self.world.tables.class_checksums[5] = right
        self.world.nodes.glitches[20, 5] = b"the bites"
        self.step()
        self.assertEqual(self.world.tables.devids(5), (10,))
        self.assertIn(5, self.world.tables.to_replicate)
        self.world.clock.advance(10_000)
        self.step()
        self.assertEqual(self.world.tables.devids(5), (10, 20))
        self.assertEqual(self.world.tables.own_checksums[5], own_checksum(DATA))

    def test_copies_that_agree(self) -> None:
        """When all known copies agree, their checksum is recorded."""
        self.world.file(5, [10, 20], DATA, checksum=False, queued=True)
        self.step()
        self.assertEqual(self.world.tables.own_checksums[5], own_checksum(DATA))


class Leases(ReplicateCase):
    """Rows that are ours for a while."""

    def test_lease(self) -> None:
        """A row in work is due again only after MogileFS's thousand seconds."""
        self.world.file(5, [10], queued=True)
        self.world.nodes.slow[2] = 1.0
        self.step()
        self.assertEqual(self.row(), (0, LEASE_SECONDS))
        self.assertEqual(self.worker.status.under_way, 1)
        self.world.clock.advance(1.0)
        self.assertEqual(self.world.tables.to_replicate, {})
        self.assertEqual(self.worker.status.done, 1)

    def test_asked_again_meanwhile(self) -> None:
        """A file whose class changes while it is copied stays queued, due at once."""
        self.world.add_class(1, "two", policy="MultipleHosts(1)")
        self.world.look()
        self.world.file(5, [10], queued=True)
        self.world.nodes.slow[2] = 1.0
        self.step()
        self.run_now(self.world.store.set_class(5, 1))
        self.world.clock.advance(1.0)
        row = self.world.tables.to_replicate[5]
        self.assertEqual((row.nexttry, row.failcount), (0, 0))


class Release(ReplicateCase):
    """What was put off is due again when a device is back."""

    def setUp(self) -> None:
        super().setUp()
        self.world.live.observe(self.worker.notice)
        self.world.file(5, [10, 20], queued=True)
        self.world.nodes.unreachable.add(3)
        self.world.look()
        self.step()
        self.assertEqual(self.row()[0], 1)

    def back(self) -> None:
        """Host 3 answers again, and that was seen."""
        self.world.nodes.unreachable.clear()
        self.world.look()

    def test_device_is_back(self) -> None:
        """The file is copied without waiting for the back-off."""
        self.back()
        self.step()
        self.assertEqual(self.world.tables.devids(5), (10, 20, 30))

    def test_only_then(self) -> None:
        """Looking again without anything being back releases nothing."""
        self.world.store.calls.clear()
        self.world.look()
        self.step()
        self.assertEqual(self.world.called("release_replications"), [])

    def test_all_of_them(self) -> None:
        """Rows are released until there are none left, and only once."""
        self.back()
        self.step()
        self.step()
        self.assertEqual(len(self.world.called("release_replications")), 2)

    def test_database_away(self) -> None:
        """A release that failed is made up for by the next step."""
        self.back()
        self.world.store.failing["release_replications"] = [DatabaseAway()]
        self.fail_now(self.worker.step(), DatabaseAway)
        self.step()
        self.assertEqual(self.world.tables.devids(5), (10, 20, 30))

    def test_paused(self) -> None:
        """A worker that is paused releases nothing, and does so when it goes on."""
        self.back()
        self.worker.want(0)
        self.step()
        self.assertEqual(self.world.called("release_replications"), [])
        self.worker.want(1)
        self.step()
        self.assertEqual(self.world.tables.devids(5), (10, 20, 30))

    def test_rows_in_work_and_given_up_stay(self) -> None:
        """A new device makes nothing due that is in work."""
        row = self.world.tables.to_replicate[5]
        row.flags, row.nexttry = 1, EPOCH + 900
        self.back()
        self.step()
        self.assertEqual(row.nexttry, EPOCH + 900)
