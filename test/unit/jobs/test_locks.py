"""Work that keeps out of the way of MogileFS's trackers."""

from __future__ import annotations

from collections.abc import Sequence

from koboldfs.errors import DatabaseAway
from koboldfs.jobs.locks import Lent, alone, file_lock
from test.fakes.locks import MemoryLocks
from test.fakes.world import WorldCase, start


class Lending(WorldCase):
    """`Lent`."""

    def setUp(self) -> None:
        """Nobody holds anything."""
        self.locks = MemoryLocks()
        self.lent = Lent(self.locks)

    def test_taken_and_released(self) -> None:
        """Those that others hold are left out."""
        self.locks.others = {"b"}
        self.assertEqual(self.run_now(self.lent.take("abc")), {"a", "c"})
        self.assertEqual(self.locks.held, {"a", "c"})
        self.run_now(self.lent.release(["a"]))
        self.assertEqual(self.locks.held, {"c"})

    def test_release_is_owed(self) -> None:
        """What the database does not take is said again by the next call."""
        self.run_now(self.lent.take("ab"))
        self.locks.failing = [DatabaseAway()]
        self.run_now(self.lent.release("a"))
        self.assertEqual(self.locks.held, {"a", "b"})
        self.run_now(self.lent.release("b"))
        self.assertEqual(self.locks.held, set())

    def test_name(self) -> None:
        """The name of a file's lock is MogileFS's."""
        self.assertEqual(file_lock(7), "mgfs:fid:7:replicate")


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

    def test_release_is_owed(self) -> None:
        """A lock that could not be given back is, with the next unit's."""
        locks = MemoryLocks()

        async def unit() -> bool:
            return True

        guarded = alone(locks, "mgfs:x", unit)
        taking = locks.take

        async def take_then_fail(names: Sequence[str]) -> frozenset[str]:
            taken = await taking(names)
            locks.failing = [DatabaseAway()]
            return taken

        self.patch(locks, "take", take_then_fail)
        self.assertTrue(self.run_now(guarded()))
        self.assertEqual(locks.held, {"mgfs:x"})
        self.patch(locks, "take", taking)
        self.assertTrue(self.run_now(guarded()))
        self.assertEqual(locks.held, set())
