"""What every provider of `INumbers` promises, with its `IFiles`."""

from __future__ import annotations

from zope.interface.verify import verifyObject

from koboldfs import errors
from koboldfs.interfaces_numbers import INumbers
from koboldfs.model.entities import DeletionDone
from koboldfs.model.numbering import (
    FORGOTTEN_SETTING,
    FidRange,
    is_forgotten,
    parse_ranges,
)
from test.contract.store import StoreContract


class NumbersContract(StoreContract):
    """Fids that lie on disks and that the database does not know."""

    async def noted(self) -> str | None:
        """What is noted as forgotten."""
        text: str | None = await self.store.topology.setting(FORGOTTEN_SETTING)
        return text

    async def test_numbers_interface(self) -> None:
        """It has the interface's methods with their arguments."""
        verifyObject(INumbers, self.store.numbers)

    async def test_highest_drawn(self) -> None:
        """What was drawn last, though it is nobody's any more where that is known; and
        what any table knows."""
        numbers = self.store.numbers
        self.assertLessEqual(await numbers.highest_drawn(), 1)
        fid = await self.stored(1, "a")
        self.assertEqual(await numbers.highest_drawn(), fid)

    async def test_lift(self) -> None:
        """Numbers are passed over, for all trackers, and that is noted."""
        numbers, other = self.store.numbers, await self.another()
        fid = await self.stored(1, "a")
        passed = await numbers.lift(fid + 500)
        self.assertEqual(passed, FidRange(fid + 1, fid + 500))
        self.assertEqual(await self.noted(), f"{fid + 1}-{fid + 500}")
        for store in (other, self.store):
            new = await store.files.open_upload(1, "b", 0, (1,), None)
            self.assertGreater(new, fid + 500)
            self.assertLess(new, fid + 510)
        await self.fault(
            errors.FidInUse, other.files.open_upload(1, "c", 0, (1,), fid + 500)
        )

    async def test_nothing_to_lift(self) -> None:
        """What was drawn by the database itself is nothing new, whatever came of it."""
        numbers = self.store.numbers
        kept = await self.stored(1, "a")
        gone = await self.upload(1, "b")
        await self.store.files.abandon_upload(gone, ())
        for done in await self.store.queues.take_deletions(10, 0):
            await self.store.queues.finish_deletions([DeletionDone(done.fid, ())])
        for fid in (kept, gone):
            self.assertIsNone(await numbers.lift(fid))
        self.assertIsNone(await self.noted())
        self.assertLess(await self.upload(1, "c"), gone + 5)

    async def test_twice(self) -> None:
        """Further numbers are added to those that are noted; the same are not."""
        numbers = self.store.numbers
        fid = await self.stored(1, "a")
        await numbers.lift(fid + 10)
        self.assertIsNone(await numbers.lift(fid + 10))
        await numbers.lift(fid + 20)
        new = await self.upload(1, "b")
        await numbers.lift(new + 5)
        ranges = parse_ranges(await self.noted())
        # MySQL has to draw to know what it has drawn.
        for one in (fid + 1, fid + 10, fid + 15, fid + 20, new + 3, new + 5):
            self.assertTrue(is_forgotten(one, ranges), (one, ranges))
        for one in (fid, new, new + 6):
            self.assertFalse(is_forgotten(one, ranges), (one, ranges))

    async def test_floor(self) -> None:
        """Uploads get fids above the floor, all that are opened at once; what was
        passed over is noted once."""
        fid = await self.stored(1, "a")
        floor = fid + 1000
        self.store.numbers.raise_floor(floor)
        self.store.numbers.raise_floor(fid)
        fids = await self.together(*(self.upload(1, f"k{n}") for n in range(20)))
        self.assertEqual(len(set(fids)), 20)
        self.assertGreater(min(fids), floor)
        self.assertLess(max(fids), floor + 100)
        self.assertEqual(await self.noted(), f"{fid + 1}-{floor}")
        other = await self.another()
        self.assertGreater(await other.files.open_upload(1, "b", 0, (1,), None), floor)

    async def test_low_floor(self) -> None:
        """A floor below what is drawn changes nothing."""
        fid = await self.stored(1, "a")
        self.store.numbers.raise_floor(fid)
        self.assertLess(await self.upload(1, "b"), fid + 5)
        self.assertIsNone(await self.noted())

    async def test_chosen(self) -> None:
        """A fid of the caller's must be above the floor, too."""
        files, fid = self.store.files, await self.stored(1, "a")
        self.store.numbers.raise_floor(fid + 10)
        for low in (fid + 1, fid + 10):
            await self.fault(errors.FidInUse, files.open_upload(1, "b", 0, (1,), low))
        self.assertEqual(
            await files.open_upload(1, "b", 0, (1,), fid + 11),
            fid + 11,
        )

    async def test_strays_are_told(self) -> None:
        """What is noted is said with the files that no row knows."""
        fid = await self.stored(1, "a")
        await self.store.numbers.lift(fid + 10)
        await self.upload(1, "b")
        strays = await self.store.scrubs.strays(1, [fid, fid + 3, fid + 10])
        self.assertEqual([one for one, _ in strays.found], [fid + 3, fid + 10])
        self.assertEqual(strays.left_alone(), [fid + 3, fid + 10])
