"""Short versions of what ``make torture`` does at length: see `test.torture`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from test.functional.proxy import SILENT
from test.torture import estate
from test.torture.crash_points import POINTS
from test.torture.crashes import crashes
from test.torture.disks import disk_full
from test.torture.failover import failover
from test.torture.kills import kills
from test.torture.partition import by_proxy
from test.torture.rot import rot
from test.torture.scenario import Outcome, Skipped

SEED = 1
#: What the product does twice a minute, for its users' sake, it does more often here,
#: so that nobody waits for it; a disk is called broken after the same time.
CONSTANTS = {
    "job_control:EXPIRE_SECONDS": 1.0,
    "storage.usage:CHECK_SECONDS": 0.5,
    "storage.usage:TEST_SECONDS": 1.5,
    "storage.usage:FAILED_TESTS": 30,
    "cluster.live:SURVEY_SECONDS": 1.0,
}


class Torture(SynchronousTestCase):
    """Real processes, real faults; nothing acknowledged is lost or changed."""

    def setUp(self) -> None:
        """Have no patience."""
        self.patch(estate, "CONSTANTS", CONSTANTS)

    def well(self, scenario: Callable[..., Outcome], *arguments: object) -> Outcome:
        """The scenario finds no fault, or cannot be played here."""
        try:
            outcome = scenario(*arguments)
        except Skipped as reason:
            raise SkipTest(str(reason)) from None
        outcome.must_be_well()
        return outcome

    def test_kills(self) -> None:
        """Trackers, storage nodes and PostgreSQL are killed at random under load."""
        outcome = self.well(partial(kills, 10, 100, SEED, hurry=True))
        self.assertGreaterEqual(int(outcome.times.split()[0]), 10)

    def test_crash_points(self) -> None:
        """A process dies at some of the steps of a put, a copy and a delete."""
        chosen = POINTS[::6]
        outcome = self.well(crashes, chosen, 1, SEED)
        self.assertIn(f"{len(chosen)} deaths", outcome.times)

    def test_failover(self) -> None:
        """The PostgreSQL primary dies, its standby is promoted, stores go on soon."""
        self.well(failover, 1, SEED)

    def test_disk(self) -> None:
        """A file system gets full, and turns read-only."""
        self.well(disk_full, SEED)

    def test_cut_off(self) -> None:
        """A host is cut off, and nobody is told."""
        self.well(by_proxy, 1, SEED, (SILENT,))

    def test_rot(self) -> None:
        """Bits flip and files change places on a disk."""
        self.well(rot, 60, SEED, 3)
