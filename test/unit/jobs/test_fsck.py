"""The job `fsck`: every event provoked, and runs that are interrupted."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from koboldfs.cluster.checks import Checks, Wanted
from koboldfs.errors import DatabaseAway
from koboldfs.jobs.fsck import FsckWorker
from koboldfs.model.entities import FSCK_TASK, MD5, Checksum
from test.fakes.nodes import own_checksum
from test.fakes.world import World, WorldCase

DATA = b"the bytes"


class FsckCase(WorldCase):
    """A worker over three hosts, whose files want copies on two of them."""

    def setUp(self) -> None:
        """The world."""
        self.world = World.of(3, kobold_policy="MultipleHosts(2)")
        self.checks, self.worker = self.tracker("one")

    def tracker(self, name: str) -> tuple[Checks, FsckWorker]:
        """The parts of a tracker of that name."""
        world = self.world
        checks = Checks(world.store, world.store, world.live, name)
        worker = FsckWorker(
            checks,
            world.store,
            world.store,
            world.store,
            world.copies,
            world.live,
            world.clock,
        )
        return checks, worker

    def turn(self, worker: FsckWorker | None = None) -> None:
        """Steps until nothing is left to do at once."""
        for _ in range(20):
            self.run_now((worker or self.worker).step())
            self.world.clock.advance(0)

    def check(self, **wanted: Any) -> None:
        """A whole run."""
        self.run_now(self.checks.start(Wanted(**wanted) if wanted else None))
        self.turn()

    @property
    def events(self) -> list[tuple[str, int | None]]:
        """The log's codes and devices."""
        return [(one.code, one.devid) for one in self.world.tables.fsck_log]

    def status(self) -> dict[str, Any]:
        """The fields of fsck_status."""
        fields: dict[str, Any] = self.run_now(self.checks.status())
        return fields


class Events(FsckCase):
    """What is found of one file."""

    def lose(self, devid: int, fid: int = 5) -> None:
        """A copy vanishes from its disk."""
        self.world.nodes.lose(self.world.place(devid), fid)

    def overwrite(self, devid: int, data: bytes, fid: int = 5) -> None:
        """A copy has other bytes."""
        self.world.nodes.put(self.world.place(devid), fid, data)

    def test_all_well(self) -> None:
        """A sound file is only counted."""
        self.world.file(5, [10, 20])
        self.check()
        self.assertEqual(self.events, [])
        status = self.status()
        self.assertEqual((status["running"], status["fids_checked"]), (0, 1))
        self.assertEqual(self.world.tables.tasks, {})
        self.assertEqual(self.world.tables.to_replicate, {})

    def test_missing(self) -> None:
        """A copy that is not there is forgotten, and the file queued."""
        self.world.file(5, [10, 20])
        self.lose(20)
        self.check()
        self.assertEqual(self.events, [("MISS", 20), ("REPL", None)])
        self.assertEqual(self.world.tables.devids(5), (10,))
        self.assertIn(5, self.world.tables.to_replicate)
        self.assertEqual(self.world.tables.files[5].devcount, 1)

    def test_wrong_length(self) -> None:
        """So is a copy of another length."""
        self.world.file(5, [10, 20])
        self.overwrite(20, b"short")
        self.check()
        self.assertEqual(self.events, [("BLEN", 20), ("REPL", None)])
        self.assertEqual(self.world.tables.devids(5), (10,))

    def test_policy(self) -> None:
        """A file with too few copies is queued."""
        self.world.file(5, [10])
        self.check()
        self.assertEqual(self.events, [("POVI", None), ("REPL", None)])

    def test_too_many(self) -> None:
        """So is one with too many; replication takes away what can be spared."""
        self.world.file(5, [10, 20, 30])
        self.check()
        self.assertEqual(self.events, [("POVI", None), ("REPL", None)])

    def test_devcount(self) -> None:
        """A wrong devcount is put right; a database that keeps none is left alone."""
        self.world.file(5, [10, 20])
        self.world.tables.files[5] = evolve(self.world.tables.files[5], devcount=7)
        self.world.tables.settings["skip_devcount"] = "1"
        self.check()
        self.assertEqual(self.events, [])
        del self.world.tables.settings["skip_devcount"]
        self.check()
        self.assertEqual(self.events, [("BCNT", None)])
        self.assertEqual(self.world.tables.files[5].devcount, 2)

    def test_dead_device(self) -> None:
        """A copy on a dead device is none, and its row goes."""
        self.world.file(5, [10, 20])
        devices = self.world.tables.devices
        devices[20] = evolve(devices[20], status="dead")
        self.world.look()
        self.check()
        self.assertEqual(self.events, [("POVI", None), ("REPL", None)])
        self.assertEqual(self.world.tables.devids(5), (10,))

    def test_found(self) -> None:
        """A file without rows is searched for on every device."""
        self.world.file(5, [10, 20])
        self.world.tables.file_on.clear()
        self.world.tables.file_on.add((5, 30))
        self.check()
        codes = ["POVI", "BCNT", "MISS", "SRCH", "FOND", "FOND"]
        self.assertEqual([code for code, _ in self.events], codes)
        self.assertEqual(self.world.tables.devids(5), (10, 20))

    def test_no_rows(self) -> None:
        """NOPA comes before the search; a copy with wrong bytes is not taken."""
        self.world.file(5, [10, 20])
        self.overwrite(10, DATA[::-1])
        self.world.tables.file_on.clear()
        self.check()
        codes = ["NOPA", "BCNT", "SRCH", "FOND", "REPL"]
        self.assertEqual([code for code, _ in self.events], codes)
        self.assertEqual(self.world.tables.devids(5), (20,))

    def test_gone(self) -> None:
        """When every device has answered and none has it, the rows go, the file
        stays, and so does the row of a copy of another length."""
        self.world.file(5, [10, 20])
        self.lose(10)
        self.overwrite(20, b"short")
        self.check()
        self.assertEqual(self.events[2:4], [("SRCH", None), ("GONE", None)])
        self.assertEqual(self.world.tables.devids(5), (20,))
        self.assertIn(5, self.world.tables.files)

    def test_not_gone_while_somebody_is_away(self) -> None:
        """A device that cannot be asked may have it: nothing is forgotten."""
        self.world.file(5, [10, 20])
        self.lose(10)
        self.lose(20)
        self.world.nodes.unreachable.add(3)
        self.world.look()
        self.check()
        self.assertNotIn("GONE", [code for code, _ in self.events])
        self.assertEqual(self.world.tables.devids(5), (10, 20))
        row = self.world.tables.tasks[FSCK_TASK, 5]
        self.assertEqual(
            (row.failcount, row.nexttry - self.world.store.now()), (1, 1000)
        )

    def test_stalled(self) -> None:
        """A copy that cannot be asked is no bad one; its file is looked at again, told
        of once, and not waited for."""
        self.world.file(5, [10, 20])
        self.world.file(6, [10, 30])
        self.world.nodes.unreachable.add(2)
        self.world.look()
        self.check()
        self.assertEqual(self.world.tables.devids(5), (10, 20))
        self.assertEqual(self.status()["running"], 0)
        self.assertEqual(list(self.world.tables.tasks), [(FSCK_TASK, 5)])
        self.lose(10)
        for _ in range(2):
            self.world.clock.advance(1001)
            self.turn()
        self.assertEqual(self.events, [])
        self.world.nodes.unreachable.clear()
        self.world.look()
        self.world.clock.advance(1001)
        self.turn()
        self.assertEqual(self.world.tables.tasks, {})
        self.assertEqual(self.world.tables.devids(5), (20,))

    def test_gone_meanwhile(self) -> None:
        """A file that was deleted only leaves the queue."""
        self.run_now(self.world.store.queue_tasks(FSCK_TASK, [(99, None, None)]))
        self.turn()
        self.assertEqual((self.world.tables.tasks, self.events), ({}, []))

    # --- checksums

    def test_class_checksum(self) -> None:
        """A class that wants a checksum gets its row."""
        self.world.add_class(1, "sums", hashtype=MD5)
        self.world.look()
        self.world.file(5, [10, 20], classid=1)
        self.world.tables.class_checksums.clear()
        self.check()
        self.assertEqual(self.events, [("NSUM", None)])
        self.check()
        self.assertEqual(len(self.events), 1)
        self.assertEqual(self.world.tables.class_checksums[5].hashtype, MD5)

    def test_class_checksum_wrong(self) -> None:
        """A copy that differs from the row is forgotten, not the one that is right."""
        from hashlib import md5

        self.world.add_class(1, "sums", hashtype=MD5)
        self.world.look()
        self.world.file(5, [10, 20], classid=1)
        right = Checksum(MD5, md5(DATA).digest())
        self.world.tables.class_checksums[5] = right
        self.world.nodes.damage(self.world.place(20), 5)
        self.world.tables.settings["fsck_checksum"] = "off"
        self.check()
        self.assertEqual(self.events, [])
        self.world.tables.settings["fsck_checksum"] = "MD5"
        self.check()
        self.assertEqual(self.events, [("BSUM", 20), ("REPL", None)])
        self.assertEqual(self.world.tables.devids(5), (10,))

    def test_own_checksums(self) -> None:
        """Every copy is read: one that rotted is forgotten, a missing sum recorded."""
        self.world.file(5, [10, 20])
        self.world.file(6, [10, 20], checksum=False)
        self.world.nodes.damage(self.world.place(10), 5)
        self.check()
        self.assertEqual(self.events, [])
        self.check(own_checksums=True)
        self.assertEqual(self.events, [("BSUM", 10), ("REPL", None)])
        self.assertEqual(self.world.tables.devids(5), (20,))
        self.assertEqual(self.world.tables.own_checksums[6], own_checksum(DATA))

    def test_all_copies_rotted(self) -> None:
        """Then nothing is forgotten, and it is said."""
        self.world.file(5, [10, 20])
        for devid in (10, 20):
            self.world.nodes.damage(self.world.place(devid), 5)
        self.check(own_checksums=True)
        self.assertEqual(self.events, [("BSUM", None)])
        self.assertEqual(self.world.tables.devids(5), (10, 20))

    def test_unreadable_copy(self) -> None:
        """A copy that cannot be read stalls the file; it is no wrong one."""
        from koboldfs.errors import NodeFault

        self.world.file(5, [10, 20])
        self.world.nodes.failing["digest"] = [NodeFault("read error")]
        self.check(own_checksums=True)
        self.assertEqual(self.world.tables.devids(5), (10, 20))
        self.assertEqual(self.world.tables.tasks[FSCK_TASK, 5].failcount, 1)


class Runs(FsckCase):
    """Where it stands."""

    def setting(self, name: str) -> str | None:
        """A setting of the database."""
        return self.world.tables.settings.get(name)

    def test_policy_only(self) -> None:
        """No node is asked."""
        self.world.file(5, [10])
        self.run_now(self.checks.reset(policy_only=True, after_fid=0, wanted=Wanted()))
        self.check()
        self.assertEqual([code for code, _ in self.events], ["POVI", "REPL"])
        self.assertEqual(self.world.asked("stat"), [])

    def test_scope(self) -> None:
        """Only the files that are meant are checked; the next run is over all."""
        self.world.add_class(1, "c")
        self.world.look()
        for fid, key, classid in ((5, "a/1", 0), (6, "a/2", 1), (7, "b/1", 1)):
            self.world.file(fid, [10], key=key, classid=classid)
        self.check(domain="d", class_name="c", prefix="a/")
        checked = {one.fid for one in self.world.tables.fsck_log}
        self.assertEqual(checked, {6})
        self.assertEqual(self.status()["prefix"], "a/")
        self.check()
        self.assertEqual({one.fid for one in self.world.tables.fsck_log}, {5, 6, 7})
        self.assertNotIn("prefix", self.status())

    def test_pages(self) -> None:
        """Files are queued in pages, no more than the settings let wait."""
        self.world.tables.settings["queue_rate_for_fsck"] = "2"
        for fid in range(1, 12):
            self.world.file(fid, [10, 20])
        self.run_now(self.checks.start())
        self.worker.want(0)
        self.worker.parallel = 0
        self.run_now(self.worker.step())
        self.assertEqual(self.world.tables.tasks, {})
        self.worker.want(1)
        self.turn()
        self.assertEqual(self.status()["fids_checked"], 11)
        self.assertEqual(self.setting("fsck_highest_fid_checked"), "11")
        self.assertIsNone(self.setting("fsck_host"))

    def test_killed_and_resumed(self) -> None:
        """Another tracker goes on: no file is left out, also when the first died
        between queueing and writing down where it stands."""
        for fid in range(1, 8):
            self.world.file(fid, [10])
        self.world.tables.settings["queue_rate_for_fsck"] = "3"
        self.run_now(self.checks.start())
        self.world.store.failing["set_settings"] = [DatabaseAway()]
        self.failureResultOf_step()
        self.assertIsNone(self.setting("fsck_highest_fid_checked"))
        self.run_now(self.checks.stop())
        checks, worker = self.tracker("two")
        self.run_now(checks.start())
        self.turn(worker)
        self.assertEqual(
            {one.fid for one in self.world.tables.fsck_log}, set(range(1, 8))
        )
        self.assertEqual(self.status()["running"], 0)

    def failureResultOf_step(self) -> None:
        """A step that the database does not let happen."""
        self.fail_now(self.worker.step(), DatabaseAway)

    def test_others_queue(self) -> None:
        """A tracker that is not `fsck_host` queues nothing, but takes its share."""
        self.world.file(5, [10])
        self.run_now(self.checks.start())
        _, worker = self.tracker("two")
        self.turn(worker)
        self.assertEqual(self.world.tables.tasks, {})
        self.run_now(self.world.store.queue_tasks(FSCK_TASK, [(5, None, None)]))
        self.turn(worker)
        self.assertEqual([code for code, _ in self.events], ["POVI", "REPL"])

    def test_sums(self) -> None:
        """Events are added up, also those of a log that was cleared."""
        self.world.file(5, [10])
        self.check()
        self.assertEqual(self.status()["num_POVI"], 1)
        self.run_now(self.checks.clear_log())
        self.assertEqual(self.status()["num_POVI"], 1)
        self.assertEqual(self.setting("fsck_sum_evcount_POVI"), "1")
        self.check()
        self.assertEqual(self.status()["num_POVI"], 1)

    def test_leases(self) -> None:
        """What is under way is kept."""
        self.run_now(self.worker.keep_leases([5], 30))
        self.assertEqual(self.world.called("keep_tasks"), [(FSCK_TASK, (5,), 30)])
