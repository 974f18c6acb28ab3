"""What is known of the safety of all files."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from koboldfs.cluster import overview
from koboldfs.cluster.overview import Overview, Standing, oldest_of
from koboldfs.errors import DatabaseAway
from test.fakes.world import World, WorldCase, start


class Looks(WorldCase):
    """Three hosts; files on some of them."""

    def setUp(self) -> None:
        self.make(World.of(3))

    def make(self, world: World) -> None:
        """Look at that world."""
        store = world.store
        self.world = world
        self.overview = Overview(
            store, store, store, store, store, world.copies, world.clock
        )
        world.live.observe(self.overview.notice)
        world.look()

    def standing(self) -> Standing:
        """What is known now."""
        self.world.clock.advance(overview.REMEMBERED_SECONDS)
        return self.run_now(self.overview.standing())

    def test_all_well(self) -> None:
        """Nothing is short, nothing is away."""
        self.world.file(1, [10, 20, 30])
        found = self.standing()
        self.assertEqual((found.shortages.total, found.oldest), (0, None))
        self.assertEqual((found.away, found.unreadable), ([], 0))
        self.assertEqual(found.highest_fid, 1)

    def test_short(self) -> None:
        """By number of copies; the file of the lowest fid is named."""
        self.world.file(1, [10, 20, 30])
        self.world.file(2, [10])
        self.world.file(3, [10, 20])
        self.world.file(4, [])
        short = self.standing().shortages
        self.assertEqual((short.none, short.one, short.fewer), (1, 1, 1))
        oldest = self.standing().oldest
        assert oldest is not None
        self.assertEqual((oldest.located.file.fid, oldest.wanted), (2, 3))
        self.assertEqual(oldest.since, 0)

    def test_known_oldest(self) -> None:
        """One that was found short before is named, until it is not short any more."""
        for fid in (2, 3):
            self.world.file(fid, [10])
        self.world.tables.settings["kobold_oldest_short"] = "3 1800000000"
        oldest = self.standing().oldest
        assert oldest is not None
        self.assertEqual((oldest.located.file.fid, oldest.since), (3, 1_800_000_000))
        self.world.tables.file_on.update({(3, 20), (3, 30)})
        oldest = self.standing().oldest
        assert oldest is not None
        self.assertEqual((oldest.located.file.fid, oldest.since), (2, 0))

    def test_away(self) -> None:
        """A host that does not answer: what is on its devices, and what cannot be read
        for that; a dead device's files count as gone, not as away."""
        self.world.file(1, [10, 20])
        self.world.file(2, [10])
        self.world.nodes.unreachable.add(1)
        self.world.look()
        self.world.clock.advance(50)
        found = self.standing()
        (away,) = found.away
        self.assertEqual((away.devid, away.copies), (10, 2))
        self.assertEqual(found.now - away.since, 50 + overview.REMEMBERED_SECONDS)
        self.assertEqual((found.unreadable, found.looked_at), (1, 2))
        self.assertTrue(found.looked_at_all)
        self.run_now(self.world.store.update_device(10, {"status": "dead"}))
        self.world.look()
        self.assertEqual(self.standing().away, [])

    def test_draining(self) -> None:
        """How many copies are left on devices that are being emptied."""
        for fid in (1, 2):
            self.world.file(fid, [10, 20])
        self.assertEqual(self.standing().draining, {})
        for devid in (10, 30):
            self.run_now(self.world.store.update_device(devid, {"status": "drain"}))
        self.world.look()
        self.assertEqual(self.standing().draining, {10: 2, 30: 0})

    def lose(self, devid: int) -> None:
        """A device whose host is away, and has been for too long."""
        self.world.nodes.unreachable.add(devid // 10)
        self.world.tables.settings["kobold_lost"] = str(devid)
        self.world.look()

    def test_lost(self) -> None:
        """Copies on a lost device do not count, recorded as they are."""
        world = self.world
        world.tables.settings["kobold_policy"] = "MultipleHosts(2)"
        world.file(1, [20, 30])
        world.file(2, [10, 20])
        world.file(3, [10])
        world.file(4, [10, 20, 30])
        self.lose(10)
        found = self.standing()
        short = found.shortages
        self.assertEqual((short.none, short.one, short.fewer), (1, 1, 0))
        self.assertEqual((found.unreadable, found.away[0].lost), (1, True))
        oldest = found.oldest
        assert oldest is not None
        self.assertEqual((oldest.located.file.fid, oldest.copies), (2, 1))
        self.assertEqual(self.run_now(self.overview.shortages()).lowest_fid, 2)
        world.tables.settings["kobold_lost"] = ""
        world.look()
        found = self.standing()
        self.assertEqual((found.shortages.one, found.away[0].lost), (1, False))

    def test_many_lost(self) -> None:
        """Where not all files on a lost device could be looked at, that is said; they
        are looked at before those on others."""
        self.patch(overview, "PAGE_FILES", 2)
        self.patch(overview, "LOOKED_AT_FILES", 4)
        for fid in range(1, 4):
            self.world.file(fid, [10])
        for fid in range(4, 7):
            self.world.file(fid, [20])
        self.world.nodes.unreachable.add(1)
        self.lose(20)
        found = self.standing()
        self.assertEqual((found.shortages.none, found.shortages.partial), (3, False))
        for fid in range(7, 10):
            self.world.file(fid, [20])
        found = self.standing()
        self.assertEqual((found.shortages.none, found.shortages.partial), (4, True))

    def test_limits(self) -> None:
        """Only so many files are looked at, and that is said."""
        self.patch(overview, "PAGE_FILES", 2)
        self.patch(overview, "LOOKED_AT_FILES", 4)
        self.patch(overview, "COUNTED_FILES", 3)
        for fid in range(1, 8):
            self.world.file(fid, [10])
        self.world.nodes.unreachable.add(1)
        self.world.look()
        found = self.standing()
        self.assertEqual((found.looked_at, found.looked_at_all), (4, False))
        self.assertEqual((found.away[0].copies, found.shortages.one), (3, 3))
        self.assertTrue(found.shortages.capped)

    def test_remembered(self) -> None:
        """Who asks at once is told the same, without a question to the database."""
        first = self.standing()
        self.world.store.away = True
        self.assertIs(self.run_now(self.overview.standing()), first)

    def test_shared(self) -> None:
        """Who asks while somebody looks waits for that look; if it fails, he looks."""
        self.world.clock.advance(overview.REMEMBERED_SECONDS)
        gate: Deferred[None] = Deferred()
        self.world.store.gates["lengths"] = gate
        first, second = (start(self.overview.standing()) for _ in range(2))
        self.assertNoResult(second)
        gate.callback(None)
        found = self.successResultOf(second)
        self.assertIs(self.successResultOf(first), found)
        self.assertEqual(len(self.world.called("lengths")), 1)
        self.world.clock.advance(overview.REMEMBERED_SECONDS)
        self.world.store.failing["lengths"] = [DatabaseAway()]
        self.fail_now(self.overview.standing(), DatabaseAway)
        self.run_now(self.overview.standing())

    def test_setting(self) -> None:
        """Nonsense says nothing."""
        for text in (None, "", "x", "1", "1 x", "9" * 50 + " 1"):
            self.assertEqual(oldest_of(text), (0, 0))
        self.assertEqual(oldest_of("5 6"), (5, 6))
