"""The census: it counts everything, once at a time, and goes on where it stood."""

from __future__ import annotations

from koboldfs.cluster.overview import (
    CENSUS_SETTING,
    OLDEST_SETTING,
    PASS_SETTING,
    Overview,
)
from koboldfs.jobs import census
from koboldfs.jobs.census import CensusTaker
from koboldfs.model.health import Census
from test.fakes.world import World, WorldCase


class Taken(WorldCase):
    """Two hosts and some files."""

    def setUp(self) -> None:
        self.patch(census, "PAGE_FILES", 2)
        self.world = World.of(2)
        self.taker = self.make()

    def make(self) -> CensusTaker:
        """The job, as a tracker starts it."""
        world, store = self.world, self.world.store
        overview = Overview(
            store, store, store, store, store, world.copies, world.clock
        )
        return CensusTaker(store, store, store, world.copies, overview, world.clock)

    def setting(self, name: str) -> str | None:
        """A setting, as the database has it."""
        value: str | None = self.world.tables.settings.get(name)
        return value

    def files(self, count: int) -> None:
        """So many files: the first has no copy, the second one."""
        for fid in range(1, count + 1):
            self.world.file(fid, [[], [10]][fid - 1] if fid < 3 else [10, 20])

    def test_whole(self) -> None:
        """All files are counted, with their bytes and copies."""
        self.files(5)
        self.world.nodes.unreachable.add(1)
        self.world.look()
        self.assertIs(self.run_now(self.taker()), False)
        found = Census.of(self.setting(CENSUS_SETTING))
        assert found is not None
        self.assertEqual((found.files, found.bytes), (5, 5 * len(b"the bytes")))
        self.assertEqual((found.whole, found.one, found.none), (3, 1, 1))
        self.assertEqual(found.unreadable, 2)
        self.assertIsNone(self.setting(PASS_SETTING))

    def test_lost(self) -> None:
        """Copies on a lost device count as none."""
        self.files(5)
        self.world.tables.settings["kobold_policy"] = "MultipleHosts(2)"
        self.world.tables.settings["kobold_lost"] = "20"
        self.world.look()
        self.run_now(self.taker())
        found = Census.of(self.setting(CENSUS_SETTING))
        assert found is not None
        self.assertEqual((found.whole, found.one, found.none), (0, 4, 1))

    def test_rests(self) -> None:
        """The next pass comes after a while."""
        self.files(3)
        self.run_now(self.taker())
        first = self.setting(CENSUS_SETTING)
        self.world.file(9, [10, 20])
        self.world.clock.advance(census.REST_SECONDS - 1)
        self.run_now(self.taker())
        self.assertEqual(self.setting(CENSUS_SETTING), first)
        self.world.clock.advance(census.REST_SECONDS)
        self.run_now(self.taker())
        found = Census.of(self.setting(CENSUS_SETTING))
        assert found is not None
        self.assertEqual(found.files, 4)

    def test_taken_over(self) -> None:
        """A pass of a tracker that is gone is gone on with, and not before."""
        self.files(5)
        self.world.tables.settings[PASS_SETTING] = Census(1, 0, 4, 4, 40, 4).text()
        self.run_now(self.taker())
        self.world.clock.advance(census.STALLED_SECONDS - 1)
        self.run_now(self.taker())
        self.assertIsNone(self.setting(CENSUS_SETTING))
        self.world.clock.advance(1)
        self.run_now(self.taker())
        found = Census.of(self.setting(CENSUS_SETTING))
        assert found is not None
        self.assertEqual((found.began, found.files), (1, 5))

    def test_two(self) -> None:
        """Whoever finds that another one took the pass over drops his."""
        self.files(5)
        self.patch(census, "UNIT_SECONDS", 0.0)
        self.patch(census, "SAVE_SECONDS", 0.0)
        self.run_now(self.taker())
        mine = self.setting(PASS_SETTING)
        other = Census(7, 0, 1, 1).text()
        self.world.tables.settings[PASS_SETTING] = other
        self.run_now(self.taker())
        self.assertNotEqual(mine, other)
        self.assertEqual(self.setting(PASS_SETTING), other)
        self.assertIsNone(self.setting(CENSUS_SETTING))

    def test_two_at_the_end(self) -> None:
        """Nor does he who comes to the end of a pass that is not his any more record
        what he counted."""
        self.files(5)
        self.patch(census, "UNIT_SECONDS", 0.0)
        self.run_now(self.taker())
        other = Census(7, 0, 1, 1).text()
        self.world.tables.settings[PASS_SETTING] = other
        for _ in range(3):
            self.run_now(self.taker())
        self.assertIsNone(self.setting(CENSUS_SETTING))
        self.assertEqual(self.setting(PASS_SETTING), other)

    def test_oldest(self) -> None:
        """Which file has been short for the longest time is remembered until it is
        well, or gone."""
        self.files(3)
        self.run_now(self.taker())
        now = self.world.store.now()
        self.assertEqual(self.setting(OLDEST_SETTING), f"1 {now}")
        self.world.clock.advance(100)
        self.run_now(self.taker())
        self.assertEqual(self.setting(OLDEST_SETTING), f"1 {now}")
        self.run_now(self.world.store.delete(1, "key1"))
        self.world.clock.advance(100)
        self.run_now(self.taker())
        self.assertEqual(self.setting(OLDEST_SETTING), f"2 {now + 200}")
        self.run_now(self.world.store.delete(1, "key2"))
        self.world.clock.advance(100)
        self.run_now(self.taker())
        self.assertIsNone(self.setting(OLDEST_SETTING))
