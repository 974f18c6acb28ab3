"""Every seed of a fixed range goes well, and goes the same way each time."""

from __future__ import annotations

import os
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from test.simulation import seeds
from test.simulation.case import SimulatedCase
from test.simulation.kept import KEPT
from test.tree.source import ROOT

#: Into how many tests the seeds are cut, so that none of them takes long.
PARTS = 20
#: Seeds that are run again in other processes.
AGAIN = (3, 17, 29, 1018)
LIMIT_SECONDS = 120.0


class SeedsCase(SimulatedCase):
    """Runs seeds that have to go well."""

    def assert_well(self, numbers: range | tuple[int, ...]) -> None:
        """None of them fails."""
        reports = [outcome.report() for outcome in seeds.failures(numbers)]
        self.assertEqual(reports, [], "\n".join(reports))


class Seeds(SeedsCase):
    """The seeds that everybody runs; each test has a part of them."""


def _part(number: int) -> None:
    def test(self: Seeds) -> None:
        self.assert_well(range(first, first + count))

    count = seeds.SEEDS // PARTS
    first = seeds.FIRST + number * count
    test.__doc__ = f"Seeds {first} to {first + count - 1}."
    test.__name__ = f"test_{first:04d}"
    setattr(Seeds, test.__name__, test)


for _number in range(PARTS):
    _part(_number)


class Kept(SeedsCase):
    """Seeds that once found something."""

    def test_kept(self) -> None:
        """None of them fails any more."""
        self.assert_well(tuple(KEPT))


class Alike(SynchronousTestCase):
    """A seed is all that a run depends on."""

    def test_in_other_processes(self) -> None:
        """In processes that hash differently, everything happens alike."""
        digests = [self.digests(hash_seed) for hash_seed in ("1", "2")]
        self.assertEqual(digests[0], digests[1])
        self.assertEqual(len(set(digests[0])), len(AGAIN))

    def digests(self, hash_seed: str) -> list[str]:
        """Those of the seeds, run in a process of their own."""
        code = (
            "from test.simulation import seeds\n"
            "from twisted.logger import globalLogBeginner\n"
            "globalLogBeginner.beginLoggingTo([lambda event: None],"
            " discardBuffer=True, redirectStandardIO=False)\n"
            f"for seed in {AGAIN}: print(seeds.run(seed).digest)"
        )
        ended = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={
                **os.environ,
                "PYTHONHASHSEED": hash_seed,
                "PYTHONPATH": os.pathsep.join(
                    [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
                ),
            },
            capture_output=True,
            text=True,
            timeout=LIMIT_SECONDS,
            check=True,
        )
        return ended.stdout.split()
