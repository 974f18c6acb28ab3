"""Work that keeps out of the way of MogileFS's trackers."""

from __future__ import annotations

from koboldfs.errors import DatabaseAway
from koboldfs.jobs.locks import FileLocks, alone
from test.fakes.locks import MemoryLocks
from test.fakes.world import WorldCase, start


class Files(WorldCase):
    """`FileLocks`."""

    def setUp(self) -> None:
        """Nobody holds anything."""
        self.locks = MemoryLocks()
        self.files = FileLocks(self.locks)

    def test_taken_and_released(self) -> None:
        """By MogileFS's names; those that others hold are left out."""
        self.locks.others = {"mgfs:fid:8:replicate"}
        self.assertEqual(self.run_now(self.files.take([7, 8, 9])), {7, 9})
        self.assertEqual(
            self.locks.held, {"mgfs:fid:7:replicate", "mgfs:fid:9:replicate"}
        )
        self.run_now(self.files.release([7]))
        self.assertEqual(self.locks.held, {"mgfs:fid:9:replicate"})

    def test_release_is_owed(self) -> None:
        """What the database does not take is said again by the next call."""
        self.run_now(self.files.take([7, 8]))
        self.locks.failing = [DatabaseAway()]
        self.run_now(self.files.release([7]))
        self.assertEqual(len(self.locks.held), 2)
        self.run_now(self.files.release([8]))
        self.assertEqual(self.locks.held, set())


class Alone(WorldCase):
    """`alone`."""

    def test_alone(self) -> None:
        """While somebody else is at it the unit is idle; a lock outlives no unit."""
        locks, runs = MemoryLocks(), []

        async def unit() -> bool:
            runs.append(set(locks.held))
            if len(runs) > 1:
                raise DatabaseAway
            return True

        guarded = alone(locks, "mgfs:x", unit)
        locks.others = {"mgfs:x"}
        self.assertFalse(self.run_now(guarded()))
        locks.others = set()
        self.assertTrue(self.run_now(guarded()))
        self.assertEqual((runs, locks.held), ([{"mgfs:x"}], set()))
        self.failureResultOf(start(guarded()), DatabaseAway)
        self.assertEqual(locks.held, set())
