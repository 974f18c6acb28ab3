"""The run of fsck: what starts, stops and resets it. `test.unit.jobs.test_fsck` runs
the job that belongs to it."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from koboldfs import errors, job_errors
from koboldfs.cluster.checks import Checks, Wanted
from koboldfs.model.entities import FsckEvent, TaskDone
from test.fakes.world import World, WorldCase, start


class Starting(WorldCase):
    """Settings before and after."""

    def setUp(self) -> None:
        """Checks of the tracker `vm`."""
        self.world = World.of(1)
        store = self.world.store
        self.checks = Checks(store, store, self.world.live, "vm")

    @property
    def settings(self) -> dict[str, str]:
        """What the database has."""
        found: dict[str, str] = self.world.tables.settings
        return found

    def begin(self, *wanted: Wanted) -> None:
        """Start."""
        self.run_now(self.checks.start(*wanted))

    def reset(self, **more: Any) -> None:
        """Reset, for all files unless it is said."""
        values = {"policy_only": False, "after_fid": 0, "wanted": Wanted(), **more}
        self.run_now(self.checks.reset(**values))

    def where(self) -> tuple[int, int, int]:
        """Position, end, and files so far."""
        found = self.run_now(self.checks.where())
        assert found is not None
        return found.position, found.end, found.checked

    def advance(self, fid: int, count: int) -> None:
        """So many files were queued."""
        standing = self.run_now(self.checks.where())
        self.run_now(self.checks.advance(standing, fid, count))

    def test_start(self) -> None:
        """A first run goes from the first file to the last that there is now."""
        self.world.file(5, [10])
        self.assertFalse(self.checks.runs_here())
        self.begin()
        self.assertTrue(self.checks.runs_here())
        self.assertEqual(self.settings["fsck_host"], "vm")
        self.assertEqual(self.settings["fsck_fid_at_end"], "5")
        self.assertEqual(self.settings["fsck_fids_checked"], "0")
        self.assertEqual(self.where(), (0, 5, 0))

    def test_already(self) -> None:
        """One at a time, and not beside a rebalance."""
        self.begin()
        self.fail_now(self.checks.start(), job_errors.FsckRunning)
        del self.settings["fsck_host"]
        self.settings["rebal_host"] = "other"
        error = self.fail_now(self.checks.start(), job_errors.RebalanceRunning)
        self.assertIn("cannot run fsck at same time", error.message)

    def test_go_on(self) -> None:
        """A run that was stopped goes on where it was, with its scope."""
        self.world.file(5, [10])
        self.begin(Wanted("d", prefix="x"))
        self.advance(3, 2)
        self.run_now(self.checks.stop())
        self.assertIsNone(self.run_now(self.checks.where()))
        self.assertIn("fsck_stop_time", self.settings)
        self.begin()
        self.assertEqual(self.where(), (3, 5, 0))
        self.assertEqual(self.settings["fsck_start_fid"], "3")
        self.assertEqual(self.checks.scope().prefix, "x")
        self.assertNotIn("fsck_stop_time", self.settings)

    def test_start_position(self) -> None:
        """A reset may say after which fid to begin."""
        self.world.file(5, [10])
        self.reset(after_fid=4, policy_only=True)
        self.assertTrue(self.checks.policy_only())
        self.world.file(7, [10])
        self.begin()
        self.assertEqual(self.where(), (4, 7, 0))

    def test_scope_that_is_not_there(self) -> None:
        """A domain or class must be there; a class or prefix needs its domain."""
        for wanted, kind in (
            (Wanted("nix"), errors.UnknownDomain),
            (Wanted("d", "nix"), errors.UnknownClass),
            (Wanted(class_name="c"), errors.NoDomain),
            (Wanted(prefix="c"), errors.NoDomain),
        ):
            self.fail_now(self.checks.start(wanted), kind)
            self.assertNotIn("fsck_host", self.settings)

    def test_scope_that_went(self) -> None:
        """A domain or class that was removed meanwhile has no files: none is
        checked in its place."""
        self.begin(Wanted("d", "default"))
        self.assertEqual(self.checks.scope().classid, 0)
        self.settings["kobold_fsck_class"] = "gone"
        self.world.look()
        self.assertEqual(self.checks.scope().classid, -1)
        self.settings["kobold_fsck_domain"] = "gone"
        self.world.look()
        self.assertEqual(self.checks.scope().dmid, -1)

    def test_limits(self) -> None:
        """Settings that are nonsense mean the defaults; none is too large."""
        self.assertEqual(self.checks.queue_limits(), (1000, 3000))
        for rate, size, limits in (
            ("10", "20", (10, 20)),
            ("0", "x", (1000, 3000)),
            ("99999", "99999", (5000, 15000)),
        ):
            self.settings["queue_rate_for_fsck"] = rate
            self.settings["queue_size_for_fsck"] = size
            self.world.look()
            self.assertEqual(self.checks.queue_limits(), limits)

    def test_reset_clears_counts(self) -> None:
        """Counts begin at 0, also for events that are in the log already."""
        self.world.store.log([FsckEvent(5, "MISS", 1)])
        self.run_now(self.checks.add_up(0))
        self.assertEqual(self.settings["fsck_sum_evcount_MISS"], "1")
        self.reset()
        status = self.run_now(self.checks.status())
        self.assertNotIn("num_MISS", status)
        self.assertEqual(status["start_time"], 0)
        self.assertNotIn("fids_per_second", status)

    def test_progress(self) -> None:
        """Rate and time left come from what was walked, not from what waits."""
        self.world.file(100, [10])
        self.begin()
        self.advance(50, 40)
        self.run_now(
            self.world.store.queue_tasks(1, [(n, None, None) for n in range(15)])
        )
        # Five of them were looked at, and wait for nodes that are away.
        late = [TaskDone(n, 1000.0, 1) for n in range(5)]
        self.run_now(self.world.store.finish_tasks(1, late))
        self.world.clock.advance(10)
        status = self.run_now(self.checks.status())
        self.assertEqual((status["fids_checked"], status["queued"]), (30, 15))
        self.assertEqual(status["stalled"], 5)
        self.assertEqual(status["fids_per_second"], "3.0")
        self.assertEqual(status["seconds_left"], 15)

    def test_faster(self) -> None:
        """Of two trackers that begin at once one is told that the other was faster;
        the same with a rebalance."""
        for name, kind in (
            ("fsck_host", job_errors.FsckRunning),
            ("rebal_host", job_errors.RebalanceRunning),
            ("no_host", job_errors.FsckRunning),
        ):
            gate = self.world.store.gates["change_settings"] = Deferred()
            beginning = start(self.checks.start())
            self.settings[name] = "other"
            if name == "no_host":
                self.settings["fsck_host"] = ""
            gate.callback(None)
            self.failureResultOf(beginning, kind)
            del self.settings[name]

    def test_empty_host(self) -> None:
        """An empty setting means nobody, as for MogileFS."""
        self.settings.update(fsck_host="", rebal_host="")
        self.begin()
        self.assertEqual(self.settings["fsck_host"], "vm")

    def test_not_over(self) -> None:
        """A run ends only where it was seen to stand."""
        self.world.file(5, [10])
        self.begin()
        standing = self.run_now(self.checks.where())
        self.advance(3, 2)
        self.assertFalse(self.run_now(self.checks.finish(standing)))
        self.assertIsNone(self.run_now(self.checks.advance(standing, 4, 1)))
        self.assertEqual(self.where(), (3, 5, 2))

    def test_added_up_by_others(self) -> None:
        """Events are not added up twice by two who do it at once."""
        self.world.store.log([FsckEvent(5, "MISS", 1)])
        gate = self.world.store.gates["change_settings"] = Deferred()
        first, second = start(self.checks.add_up(0)), start(self.checks.add_up(0))
        gate.callback(None)
        self.successResultOf(first)
        self.successResultOf(second)
        self.assertEqual(self.settings["fsck_sum_evcount_MISS"], "1")
