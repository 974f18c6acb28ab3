"""The job `fsck`: where a run stands, and runs that are interrupted."""

from __future__ import annotations

from koboldfs.cluster.checks import Wanted
from koboldfs.errors import DatabaseAway
from koboldfs.jobs import fsck
from koboldfs.model.entities import FSCK_TASK
from test.fakes.world import start
from test.unit.jobs.fsck_case import FsckCase


class Runs(FsckCase):
    """Where it stands."""

    def setting(self, name: str) -> str | None:
        """A setting of the database."""
        return self.world.tables.settings.get(name)

    def test_policy_only(self) -> None:
        """Nodes are asked only about files that something is wrong with, as MogileFS
        does: these are mended."""
        self.world.file(5, [10, 20])
        self.world.file(6, [10])
        self.world.file(7, [30])
        self.world.tables.file_on.discard((7, 30))
        self.run_now(self.checks.reset(policy_only=True, after_fid=0, wanted=Wanted()))
        self.check()
        codes = ["POVI", "REPL", "NOPA", "BCNT", "SRCH", "FOND", "REPL"]
        self.assertEqual([code for code, _ in self.events], codes)
        self.assertEqual({fid for _, fid in self.world.asked("stat")}, {6, 7})

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
        self.world.store.failing["change_settings"] = [DatabaseAway()]
        self.fail_now(self.worker.step(), DatabaseAway)
        self.assertEqual(len(self.world.called("queue_tasks")), 1)
        self.assertIsNone(self.setting("fsck_highest_fid_checked"))
        self.run_now(self.checks.stop())
        checks, worker = self.tracker("two")
        self.run_now(checks.start())
        self.turn(worker)
        self.assertEqual(
            {one.fid for one in self.world.tables.fsck_log}, set(range(1, 8))
        )
        self.assertEqual(self.status()["running"], 0)

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

    def test_database_away(self) -> None:
        """Without a database the step fails, once, and goes on when it is back."""
        self.world.file(5, [10])
        self.run_now(self.checks.start())
        self.world.store.away = True
        self.fail_now(self.worker.step(), DatabaseAway)
        self.world.store.away = False
        self.turn()
        self.assertEqual(self.status()["running"], 0)

    def test_begun_anew_behind_its_back(self) -> None:
        """A tracker that has not heard yet that another one began the run anew does not
        have it jump over files."""
        for fid in range(1, 10):
            self.world.file(fid, [10, 20])
        self.world.tables.settings["queue_rate_for_fsck"] = "3"
        self.run_now(self.checks.start())
        old = self.world.live.view
        self.run_now(self.worker.step())
        self.assertEqual(self.setting("fsck_highest_fid_checked"), "3")
        other, worker = self.tracker("two")
        self.run_now(other.stop())
        self.run_now(other.reset(policy_only=False, after_fid=0, wanted=Wanted()))
        self.run_now(other.start())
        for _ in range(2):
            self.world.live.view = old
            self.run_now(self.worker.step())
            self.assertEqual(self.setting("fsck_highest_fid_checked"), "0")
        self.world.look()
        self.turn(worker)
        self.assertEqual(self.status()["fids_checked"], 9)

    def test_last_file_deleted(self) -> None:
        """A run whose last files were deleted meanwhile is over; the next begins anew,
        also when a tracker of MogileFS ended it."""
        for fid in (1, 2, 3):
            self.world.file(fid, [10, 20])
        self.run_now(self.checks.start())
        self.run_now(self.world.store.delete(1, "key3"))
        self.turn()
        self.assertEqual(self.setting("fsck_highest_fid_checked"), "3")
        self.world.tables.settings["fsck_highest_fid_checked"] = "2"
        self.check()
        self.assertEqual(self.status()["fids_checked"], 2)

    def test_newer_files(self) -> None:
        """Files stored after the start are the next run's."""
        self.world.file(1, [10, 20])
        self.run_now(self.checks.start())
        self.world.file(2, [10])
        self.turn()
        self.assertEqual((self.status()["fids_checked"], self.events), (1, []))

    def test_stalled_hold_up_nobody(self) -> None:
        """Files that wait for a node that is away do not count when it is asked whether
        enough files are queued; only very many do."""
        self.world.tables.settings["queue_rate_for_fsck"] = "2"
        for fid in range(1, 20):
            self.world.file(fid, [10, 20])
        self.world.nodes.unreachable.add(2)
        self.world.look()
        self.check()
        status = self.status()
        self.assertEqual((status["running"], status["stalled"]), (0, 19))
        self.patch(fsck, "MOST_STALLED", 19)
        self.world.clock.advance(10)
        self.check()
        self.assertEqual(self.status()["running"], 1)
        self.assertEqual(self.setting("fsck_fids_checked"), "0")

    def test_many(self) -> None:
        """Requests get a turn after some files."""
        for fid in range(1, 201):
            self.world.file(fid, [10, 20])
        self.run_now(self.checks.start())
        for _ in range(3):
            self.long_step()
        self.assertEqual(self.status()["fids_checked"], 200)
        self.assertEqual(self.worker.status.done, 200)

    def test_scope_is_of_its_run(self) -> None:
        """When a tracker of MogileFS starts a run, what limited an older one of ours
        limits nothing, and asks nobody to read all copies."""
        self.world.file(5, [10, 20])
        self.check(domain="d", prefix="x", own_checksums=True)
        self.assertEqual(self.status()["prefix"], "x")
        settings = self.world.tables.settings
        settings.update(fsck_host="one", fsck_start_time="1234")
        settings.update(fsck_highest_fid_checked="0", fsck_fids_checked="0")
        self.world.look()
        self.assertFalse(self.checks.own_checksums())
        self.turn()
        status = self.status()
        self.assertEqual(status["fids_checked"], 1)
        self.assertNotIn("prefix", status)

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

    def test_sums_settle(self) -> None:
        """An event is added up when it is some seconds old: one with a smaller number
        may still be on its way from another tracker."""
        self.world.file(5, [10])
        self.check()
        self.run_now(self.checks.add_up())
        self.assertIsNone(self.setting("fsck_sum_evcount_POVI"))
        self.world.clock.advance(10)
        for _ in range(2):
            self.run_now(self.checks.add_up())
            self.assertEqual(self.setting("fsck_sum_evcount_POVI"), "1")
            self.assertEqual(self.status()["num_POVI"], 1)

    def test_leases(self) -> None:
        """What is under way is kept."""
        self.run_now(self.worker.keep_leases([5], 30))
        self.assertEqual(self.world.called("keep_tasks"), [(FSCK_TASK, (5,), 30)])

    def test_leases_while_asking(self) -> None:
        """So is what devices are being asked about, which may take long."""
        self.world.file(5, [10])
        self.world.file(6, [20])
        self.run_now(self.world.store.queue_tasks(FSCK_TASK, [(5, None, None)]))
        self.world.nodes.slow[1] = 20.0
        step = start(self.worker.step())
        self.world.clock.advance(8)
        self.run_now(self.worker.keep())
        self.assertEqual(self.world.called("keep_tasks"), [(FSCK_TASK, (5,), 30)])
        self.world.clock.advance(12)
        self.successResultOf(step)
        self.run_now(self.worker.keep())
        self.assertEqual(len(self.world.called("keep_tasks")), 1)
