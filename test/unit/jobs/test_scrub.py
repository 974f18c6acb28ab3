"""The job `scrub`: passes, pages, and several trackers."""

from __future__ import annotations

from attrs import evolve
from zope.interface.verify import verifyObject

from koboldfs.errors import DatabaseAway, NodeFault, NodeUnreachable
from koboldfs.jobs import scrub
from koboldfs.jobs.worker import IWorker
from koboldfs.model.scrub import DAY_SECONDS, FIRST_PASS_SECONDS
from test.fakes.world import start
from test.unit.jobs.scrub_case import DATA, ScrubCase


class Passes(ScrubCase):
    """When devices are read, and how."""

    def test_provides(self) -> None:
        """It is a worker."""
        self.assertTrue(verifyObject(IWorker, self.worker))

    def test_all_well(self) -> None:
        """Every copy of every device is read once, and counted; nothing is written."""
        self.patch(scrub, "PAGE_FILES", 5)
        for fid in range(1, 8):
            self.file(fid)
        self.scrub()
        for devid in (10, 20, 30):
            counts = self.stands(devid).counts
            self.assertEqual((counts.files, counts.size_bytes), (7, 7 * len(DATA)))
            self.assertEqual(self.found(devid), {})
        read = [(call[0], call[1]) for call in self.world.asked("digest")]
        self.assertEqual(len(read), len(set(read)))
        self.assertEqual(len(read), 21)
        self.assertEqual(self.worker.status.done, 21)
        self.assertEqual(self.world.tables.to_replicate, {})

    def test_due(self) -> None:
        """A new device is left alone for a while, then read, then not for a month."""
        self.file(1)
        self.turns()
        self.assertEqual(self.stands(10).began, 0)
        self.world.clock.advance(FIRST_PASS_SECONDS)
        self.turns()
        began = self.stands(10).began
        self.assertGreater(began, 0)
        self.world.clock.advance(29 * DAY_SECONDS)
        self.turns()
        self.assertEqual(self.stands(10).began, began)
        self.world.clock.advance(DAY_SECONDS)
        self.turns()
        self.assertGreater(self.stands(10).began, began)

    def test_never(self) -> None:
        """With 0 days only who asks gets a pass."""
        self.world.tables.settings["kobold_scrub_days"] = "0"
        self.world.look()
        self.world.clock.advance(99 * DAY_SECONDS)
        self.turns()
        self.world.clock.advance(99 * DAY_SECONDS)
        self.turns()
        self.assertEqual(self.stands(10).began, 0)
        self.scrub(10)
        self.assertGreater(self.stands(10).began, 0)
        self.assertEqual(self.stands(20).began, 0)

    def test_paused(self) -> None:
        """Not wanted, or stopping, it does nothing; a pass waits where it is."""
        self.patch(scrub, "PAGE_FILES", 1)
        for fid in (1, 2, 3):
            self.file(fid)
        self.run_now(self.scrubbing.start(10))
        self.turns(count=2)
        self.worker.want(0)
        self.turns()
        self.assertTrue(self.stands(10).running)
        self.worker.want(1)
        self.turns()
        self.assertFalse(self.stands(10).running)
        self.run_now(self.worker.stop())
        self.run_now(self.scrubbing.start(10))
        self.assertFalse(self.run_now(self.worker.step()))

    def test_goes_on(self) -> None:
        """Another tracker goes on where one ended, once its lease has."""
        self.patch(scrub, "PAGE_FILES", 1)
        for fid in range(1, 6):
            self.file(fid)
        self.run_now(self.scrubbing.start(10))
        self.turns(count=2)
        position = self.stands(10).position
        self.assertTrue(0 < position < 5)
        _, other = self.tracker("two")
        self.turns(other, count=3)
        self.assertEqual(self.stands(10).position, position)
        self.run_now(self.worker.keep())
        self.world.clock.advance(61)
        self.turns(other)
        self.assertFalse(self.stands(10).running)
        self.assertEqual(self.stands(10).counts.files, 5)
        # The first one finds out that it is not its pass any more.
        self.turns()
        self.assertEqual(self.stands(10).counts.files, 5)

    def test_node_away(self) -> None:
        """A device that fails rests, and holds up no other one."""
        self.file(1)
        self.world.nodes.failing["digests"] = [NodeUnreachable("gone")]
        self.run_now(self.scrubbing.start(None))
        self.turns(count=8)
        running = [d for d in (10, 20, 30) if self.stands(d).running]
        self.assertEqual(len(running), 1)
        self.turns(count=40)
        self.assertFalse(self.stands(running[0]).running)

    def test_slow_device(self) -> None:
        """One that takes very long holds up the others no longer than a round, and its
        pass stays ours as long as it takes."""
        self.patch(scrub, "PAGE_FILES", 1)
        for fid in (1, 2, 3):
            self.file(fid)
        self.world.nodes.slow[1] = 500.0
        self.run_now(self.scrubbing.start(None))
        step = start(self.worker.step())
        self.world.clock.advance(0)
        self.assertNoResult(step)
        self.world.clock.advance(scrub.ROUND_SECONDS)
        self.assertTrue(self.successResultOf(step))
        self.turns()
        self.assertFalse(self.stands(20).running)
        self.assertTrue(self.stands(10).running)
        self.assertFalse(self.run_now(self.worker.step()))
        for _ in range(300):
            self.world.clock.advance(20)
            self.run_now(self.worker.keep())
            step = start(self.worker.step())
            self.world.clock.advance(60)
            self.successResultOf(step)
        self.assertFalse(self.stands(10).running)
        self.assertEqual(self.stands(10).counts.files, 3)

    def test_defect(self) -> None:
        """A defect in one page is logged; the others go on, and it is tried again."""
        self.file(1)
        self.world.nodes.failing["digests"] = [ZeroDivisionError()]
        self.scrub()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_no_answers(self) -> None:
        """A node that answers nothing is asked again later, not for ever."""
        self.file(1)
        self.run_now(self.scrubbing.start(10))

        async def none(place: object, fids: object, hashtype: int) -> dict[int, None]:
            return {}

        kind = type(self.world.nodes)
        self.patch(kind, "digests", lambda self, *args: none(*args))
        self.turns(count=3)
        self.assertTrue(self.stands(10).running)

    def test_not_readable(self) -> None:
        """A device that goes down in a pass waits; one that is dead is not begun."""
        self.file(1)
        devices = self.world.tables.devices
        devices[20] = evolve(devices[20], status="dead")
        devices[30] = evolve(devices[30], status="down")
        self.world.look()
        self.run_now(self.scrubbing.start(None))
        self.turns()
        self.assertNotIn(20, self.world.store.scrubs.scrubs)
        self.assertEqual(self.stands(30).began, 0)
        self.assertGreater(self.stands(10).ended, 0)
        devices[30] = evolve(devices[30], status="alive")
        self.world.look()
        self.patch(scrub, "PAGE_FILES", 1)
        self.file(2)
        self.turns(count=1)
        self.assertTrue(self.stands(30).running)
        devices[30] = evolve(devices[30], status="down")
        self.world.look()
        self.turns()
        self.assertTrue(self.stands(30).running)

    def test_database_away(self) -> None:
        """It is told, and the page is done once more."""
        self.file(1)
        self.run_now(self.scrubbing.start(10))
        self.world.store.failing["advance_scrub"] = [DatabaseAway()]
        self.failureResultOf(start(self.worker.step()), DatabaseAway)
        self.turns()
        self.assertEqual(self.stands(10).counts.files, 1)

    def test_database_away_in_a_repair(self) -> None:
        """Also when it goes away while a file is being mended."""
        self.file(1)
        self.lose(10, 1)
        self.run_now(self.scrubbing.start(10))
        self.world.store.failing["record"] = [DatabaseAway()]
        self.failureResultOf(start(self.worker.step()), DatabaseAway)
        self.turns()
        self.assertEqual(self.found(10), {"missing": 1, "mended": 1})

    def test_lists_fail(self) -> None:
        """A list that fails is asked for again."""
        self.file(1)
        self.world.nodes.failing["list_fids"] = [NodeFault("no")]
        self.run_now(self.scrubbing.start(10))
        self.turns(count=60)
        self.assertFalse(self.stands(10).running)
