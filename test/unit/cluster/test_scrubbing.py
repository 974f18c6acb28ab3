"""The scrub as operators see it; `test.unit.jobs.test_scrub` runs its job."""

from __future__ import annotations

from attrs import evolve

from koboldfs import errors
from koboldfs.cluster.scrubbing import LOST_PAGE, Scrubbing
from test.fakes.world import World, WorldCase


class Operators(WorldCase):
    """`status`, `start` and `lost`."""

    def setUp(self) -> None:
        """Three hosts."""
        self.world = World.of(3)
        self.scrubs = self.world.store.scrubs
        self.scrubbing = Scrubbing(self.scrubs, self.world.live)

    def test_status(self) -> None:
        """Every device is known from the first look on, but for those that are dead."""
        devices = self.world.tables.devices
        devices[20] = evolve(devices[20], status="dead")
        self.world.look()
        found = self.run_now(self.scrubbing.status())
        self.assertEqual([one.devid for one in found], [10, 30])
        devices[30] = evolve(devices[30], status="dead")
        self.world.look()
        found = self.run_now(self.scrubbing.status())
        self.assertEqual([one.devid for one in found], [10])

    def test_start(self) -> None:
        """One device, all of them, or one that is not there."""
        self.run_now(self.scrubbing.start(20))
        self.assertTrue(self.scrubs.scrubs[20].asked)
        self.assertNotIn(10, self.scrubs.scrubs)
        self.run_now(self.scrubbing.start())
        self.assertTrue(all(one.asked for one in self.scrubs.scrubs.values()))
        self.assertEqual(len(self.scrubs.scrubs), 3)
        self.fail_now(self.scrubbing.start(99), errors.NoDevice)

    def test_lost(self) -> None:
        """Pages, with the names of the domains."""
        for fid in range(1, LOST_PAGE + 3):
            self.world.file(fid, [10])
        self.run_now(self.scrubs.note_lost(range(1, LOST_PAGE + 3)))
        page = self.run_now(self.scrubbing.lost(0))
        self.assertEqual(len(page), LOST_PAGE)
        lost, domain = page[0]
        self.assertEqual((lost.file.key, domain), ("key1", "d"))
        self.assertEqual(len(self.run_now(self.scrubbing.lost(LOST_PAGE))), 2)

    def test_lost_since(self) -> None:
        """Of one file: when it was found to be lost, if it was."""
        for fid in (3, 4):
            self.world.file(fid, [10])
        self.run_now(self.scrubs.note_lost([4]))
        self.assertIsNone(self.run_now(self.scrubbing.lost_since(3)))
        self.assertIsNone(self.run_now(self.scrubbing.lost_since(5)))
        now = self.world.store.now()
        self.assertEqual(self.run_now(self.scrubbing.lost_since(4)), now)

    def test_take(self) -> None:
        """No more than there is room for, those that run first; none that rest."""
        self.run_now(self.scrubbing.start())
        taken = self.run_now(self.scrubbing.take("me", 2, [10]))
        self.assertEqual([one.devid for one in taken], [20, 30])
        self.assertEqual(self.run_now(self.scrubbing.take("you", 9, [10])), [])
        self.world.clock.advance(61)
        (taken,) = self.run_now(self.scrubbing.take("you", 1))
        self.assertEqual(taken.devid, 20)
