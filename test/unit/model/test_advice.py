"""What the operator is told to do."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.model.advice import (
    DeviceState,
    JobState,
    Situation,
    advice,
    span_text,
)

WELL = DeviceState("dev1", "node1", "alive", "writeable", 50.0)
JOBS = tuple(JobState(name, 1) for name in ("replicate", "delete", "reap", "expire"))
GOOD = Situation(promised=2, able_hosts=2, hosts=2, devices=(WELL,), jobs=JOBS)


class Advice(SynchronousTestCase):
    """One situation after the other."""

    def said(self, **changes: object) -> str:
        """The only line that is said of a good cluster with these changes."""
        lines = advice(evolve(GOOD, **changes))
        self.assertEqual(len(lines), 1, lines)
        return lines[0]

    def device(self, **changes: object) -> str:
        """The only line about a device."""
        return self.said(devices=(evolve(WELL, **changes),))

    def test_nothing(self) -> None:
        """A healthy cluster, and one whose dead device is dealt with."""
        self.assertEqual(advice(GOOD), [])
        dead = evolve(WELL, state="dead", observed="unreachable", full_percent=99.0)
        self.assertEqual(advice(evolve(GOOD, devices=(dead,))), [])

    def test_files(self) -> None:
        """None, unreadable, bad everywhere, short and forgotten."""
        self.assertIn("1 file without any copy that counts", self.said(none=1))
        self.assertIn("at least 100,000 files", self.said(none=100_000, capped=True))
        self.assertIn("3 files cannot be read", self.said(unreadable=3))
        self.assertIn("no good copy", self.said(lost_files=2))
        queued = (evolve(JOBS[0], waiting=0), *JOBS[1:])
        self.assertIn("none of them is queued", self.said(one=2, jobs=queued))
        at_work = (evolve(JOBS[0], waiting=2, rate=1.0), *JOBS[1:])
        self.assertEqual(advice(evolve(GOOD, one=2, jobs=at_work)), [])

    def test_numbers(self) -> None:
        """What an old database has forgotten, and what cannot be."""
        said = self.said(forgotten=((5, 9), (20, 30)))
        self.assertIn("fids 5 to 9, 20 to 30 were given out", said)
        said = self.said(unbelieved=(("dev3", 9_999_999_999),))
        self.assertIn("dev3 has a file of the fid 9999999999", said)

    def test_devices(self) -> None:
        """Down, away, read-only by order or by itself, nearly full."""
        self.assertIn("dev1 on node1 is set down", self.device(state="down"))
        away = self.device(observed="unreachable", away_seconds=3700, copies=5)
        self.assertIn("has not answered for 1 h 1 min, with 5 copies", away)
        self.assertIn("mark it dead", away)
        self.assertIn("set read-only: mark it alive", self.device(state="readonly"))
        self.assertIn("takes no writes: its node", self.device(observed="readable"))
        self.assertIn("91 % full", self.device(full_percent=91.2))
        self.assertIn("is slow (2.5 s)", self.device(slow_seconds=2.5))
        busy = evolve(WELL, slow_seconds=0.7)
        self.assertEqual(advice(evolve(GOOD, devices=(busy,))), [])

    def test_lost(self) -> None:
        """When a device counts as lost, that it does, and that none does now."""
        away = evolve(WELL, observed="unreachable", away_seconds=90)
        said = self.said(devices=(away,), lost_after_seconds=3600)
        self.assertIn("after 1 h 0 min it counts as lost", said)
        self.assertNotIn("dead", said)
        barred = "only 1 of 2 hosts can be seen"
        said = self.said(devices=(away,), lost_after_seconds=3600, lost_barred=barred)
        self.assertIn(f"by itself now ({barred}); if it is lost, mark it dead", said)
        lost = evolve(away, away_seconds=7200, lost=True, copies=12_000)
        said = self.said(devices=(lost,), lost_after_seconds=3600)
        self.assertIn("for 2 h 0 min, with 12,000 copies, and counts as lost", said)
        self.assertIn("mark it dead to forget", said)
        last = advice(evolve(GOOD, devices=(lost,), unreadable=1))[-1]
        self.assertIn("takes files with it that have no other copy", last)
        queued = (evolve(JOBS[0], waiting=0), *JOBS[1:])
        self.said(devices=(lost,), one=7, jobs=queued)

    def test_failing(self) -> None:
        """A disk that fails: why, and how its files are saved."""
        for state, observed in (("readonly", "readable"), ("alive", "writeable")):
            said = self.device(state=state, observed=observed, failing="a flush failed")
            self.assertIn("its disk fails (a flush failed)", said)
            self.assertIn("mark it drain, and when it is empty, dead", said)
        drain = evolve(WELL, state="drain", failing="x", copies_left=7)
        self.assertEqual(advice(evolve(GOOD, devices=(drain,))), [])
        said = self.said(devices=(evolve(drain, copies_left=0),))
        self.assertIn("is drained, no file is there", said)
        self.assertNotIn("alive", said)
        said = self.said(devices=(evolve(drain, copies_left=0, failing=""),))
        self.assertIn("or mark it alive to use it again", said)

    def test_scrub(self) -> None:
        """A full quarantine, and so many files without a row that it is rather the
        rows that are wrong; a few are usual."""
        self.assertIn("a full quarantine (10,000", self.device(quarantined=10_000))
        self.assertEqual(advice(evolve(GOOD, devices=(evolve(WELL, orphans=9),))), [])
        said = self.device(orphans=101, scrubbed_files=500)
        self.assertIn("101 files that no row knows", said)

    def test_hosts(self) -> None:
        """Fewer than are promised, and those that do not flush."""
        self.assertIn("promised on 2 hosts, and 1 can", self.said(able_hosts=1))
        self.assertIn("on one host", self.said(able_hosts=1, hosts=1))
        self.assertIn("node7 answers before", self.said(unsynced=("node7",)))

    def test_jobs(self) -> None:
        """A job that runs nowhere, and one that does not get on."""
        idle = (evolve(JOBS[0], running=0), *JOBS[1:])
        self.assertIn("missing copies are not made", self.said(jobs=idle))
        extra = (*JOBS, JobState("sweep", 0))
        self.assertEqual(advice(evolve(GOOD, jobs=extra)), [])
        stuck = (*JOBS[1:], evolve(JOBS[0], waiting=9, error="no host"))
        self.assertIn("its last error: no host", self.said(jobs=stuck))

    def test_rest(self) -> None:
        """Trackers that are silent, clocks that differ."""
        self.assertIn("a:7001", self.said(silent_trackers=("a:7001",)))
        self.assertIn("9 s apart", self.said(clock_difference_seconds=-9))
        self.assertEqual(advice(evolve(GOOD, clock_difference_seconds=3)), [])

    def test_spans(self) -> None:
        """By the largest units."""
        for seconds, text in (
            (-1, "0 s"),
            (59, "59 s"),
            (61, "1 min 1 s"),
            (3660, "1 h 1 min"),
            (90000, "1 d 1 h"),
        ):
            self.assertEqual(span_text(seconds), text)
