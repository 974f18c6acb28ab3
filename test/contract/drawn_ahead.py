"""What a database of our own promises of uploads that were drawn ahead."""

from __future__ import annotations

from unittest.mock import patch

from twisted.internet import reactor
from twisted.internet.task import deferLater

from koboldfs import errors
from koboldfs.model.entities import Closing, Removal
from koboldfs.store import stock
from test.contract.store import StoreContract

#: Uploads of a burst after which some are there.
BURST = 4


class DrawnAheadContract(StoreContract):
    """As if very many files were stored."""

    def demand(self) -> None:
        """From now on any demand is a great one; but not more is drawn ahead than can
        be looked through."""
        self.change("MEASURE_SECONDS", 1e-6)
        self.change("MOST_DRAWN", 8)

    def change(self, name: str, value: object) -> None:
        """Another value for a limit, in this test."""
        changed = patch.object(stock, name, value)
        changed.start()
        self.addCleanup(changed.stop)  # type: ignore[attr-defined]

    def blank(self) -> set[int]:
        """The uploads of which nothing is known."""
        rows = self.execute(  # type: ignore[attr-defined]
            "select fid from tempfile where devids = ''"
        )
        return {row[0] for row in rows}

    async def drawn(self, dmid: int, classid: int = 0) -> int:
        """A fid that was drawn ahead and handed out just now."""
        self.demand()
        for n in range(100):
            before = self.blank()
            fid = await self.upload(dmid, f"drawn{n}", 3, 4, classid=classid)
            if fid in before:
                return fid
            await self.store.files.abandon_upload(fid, ())
            await self.passed(0.01)
        raise AssertionError("nothing was drawn ahead")

    async def passed(self, seconds: float) -> None:
        """Let time go by."""
        await deferLater(reactor, seconds)  # type: ignore[arg-type]

    async def test_closed(self) -> None:
        """It becomes a file as any upload, and can be closed once."""
        fid = await self.drawn(7)
        closing = Closing(fid, 7, "k", 0, 3, (3,))
        files = self.store.files
        self.assertEqual(await files.close_upload(closing), "closed")
        self.assertEqual(await files.close_upload(closing), "repeated")
        self.assertEqual((await files.find(7, "k")).file.fid, fid)
        self.assertNotIn(fid, self.blank())

    async def test_fids_differ(self) -> None:
        """Those of several trackers, drawn ahead or not, all differ, and are new."""
        self.demand()
        stores = [self.store, await self.another()] * 50
        kept: list[int] = []
        for _ in range(BURST):
            kept += await self.together(
                *(one.files.open_upload(1, "k", 0, (1,), None) for one in stores)
            )
        self.assertEqual(len(set(kept)), BURST * 100)

    async def test_described(self) -> None:
        """Another tracker learns soon what it is, and may close it."""
        other = await self.another()
        fid = await self.drawn(7)
        self.assertIn(fid, self.blank())
        own = await self.store.files.find_upload(fid)
        found = await other.files.find_upload(fid)
        for upload in (own, found):
            self.assertEqual((upload.dmid, upload.devids), (7, (3, 4)))
            self.assertEqual(upload.key[:5], "drawn")
        closing = Closing(fid, 7, found.key, 0, 3, (3,))
        self.assertEqual(await other.files.close_upload(closing), "closed")

    async def test_never_described(self) -> None:
        """What a tracker that was killed did not say is no upload to others."""
        self.change("DESCRIBE_SECONDS", 60.0)
        self.change("LOOK_AGAIN_SECONDS", (0.01, 0.01))
        other = await self.another()
        fid = await self.drawn(7)
        self.assertIsNone(await other.files.find_upload(fid))
        self.assertIsNotNone(await self.store.files.find_upload(fid))

    async def test_abandoned(self) -> None:
        """What came for it is deleted."""
        fid = await self.drawn(1)
        await self.store.files.abandon_upload(fid, (3,))
        self.assertEqual((await self.deletions())[fid], (3,))
        self.assertNotIn(fid, self.blank())

    async def test_applied(self) -> None:
        """It can be closed with other changes."""
        fid = await self.drawn(1)
        await self.stored(1, "old")
        changes = [Closing(fid, 1, "new", 0, 3, (3,)), Removal(1, "old")]
        await self.store.files.apply(changes)
        self.assertEqual((await self.store.files.find(1, "new")).file.fid, fid)
        self.assertIsNone(await self.store.files.find(1, "old"))

    async def test_domain_goes(self) -> None:
        """What was drawn ahead keeps no domain; what was handed out cannot be closed
        any more then, and is the next domain's neither."""
        self.change("DESCRIBE_SECONDS", 60.0)
        topology, files = self.store.topology, self.store.files
        dmid = await topology.create_domain("d")
        fid = await self.drawn(dmid)
        await topology.delete_domain(dmid)
        closing = Closing(fid, dmid, "k", 0, 3, (3,))
        self.assertEqual(await files.close_upload(closing), "no_upload")
        self.assertEqual(await topology.create_domain("next"), dmid)
        for n in range(3):
            await self.stored(dmid, f"k{n}")

    async def test_domain_stays(self) -> None:
        """What was handed out can be closed after an attempt to remove its domain."""
        self.change("DESCRIBE_SECONDS", 60.0)
        topology, files = self.store.topology, self.store.files
        dmid = await topology.create_domain("d")
        await self.stored(dmid, "there")
        fid = await self.drawn(dmid)
        await self.fault(errors.DomainHasFiles, topology.delete_domain(dmid))
        closing = Closing(fid, dmid, "k", 0, 3, (3,))
        self.assertEqual(await files.close_upload(closing), "closed")

    async def test_domain_with_a_described_one(self) -> None:
        """An upload that lasts counts as a file of its domain."""
        topology = self.store.topology
        dmid = await topology.create_domain("d")
        fid = await self.drawn(dmid)
        while fid in self.blank():
            await self.passed(0.02)
        await self.fault(errors.DomainHasFiles, topology.delete_domain(dmid))

    async def test_floor(self) -> None:
        """What was drawn before it was known what lies on the disks is not given out
        when that is higher."""
        fid = await self.drawn(7)
        self.store.numbers.raise_floor(fid + 1000)
        for n in range(20):
            self.assertGreater(await self.upload(7, f"k{n}"), fid + 1000)

    async def test_class_goes(self) -> None:
        """The same of a class, and nothing of another one."""
        self.change("DESCRIBE_SECONDS", 60.0)
        topology, files = self.store.topology, self.store.files
        dmid = await topology.create_domain("d")
        classid = await topology.create_class(dmid, "c", 2, None, None)
        mine = await self.drawn(dmid, classid)
        other = await self.drawn(dmid)
        await topology.delete_class(dmid, classid)
        gone = Closing(mine, dmid, "k", classid, 3, (3,))
        self.assertEqual(await files.close_upload(gone), "no_upload")
        there = Closing(other, dmid, "k", 0, 3, (3,))
        self.assertEqual(await files.close_upload(there), "closed")

    async def test_left_behind(self) -> None:
        """A tracker that stops takes back what nobody was told of, and says what the
        others are."""
        self.change("DESCRIBE_SECONDS", 60.0)
        other = await self.another()
        fid = await self.drawn(7)
        await self.store.stop()
        self.assertEqual(self.blank(), set())
        self.assertEqual((await other.files.find_upload(fid)).devids, (3, 4))

    async def test_expired(self) -> None:
        """What a killed tracker left is thrown away with other old uploads."""
        fid = await self.drawn(7)
        await self.store.files.close_upload(Closing(fid, 7, "k", 0, 3, (3,)))
        before = self.blank()
        self.assertTrue(before)
        await self.pass_time(7200)
        await self.store.queues.expire_uploads(3600, 1000)
        self.assertFalse(before & self.blank())
        self.assertIsNotNone(await self.store.files.find(7, "k"))

    async def test_not_counted(self) -> None:
        """Only what somebody uploads counts as an upload."""
        fid = await self.drawn(7)
        self.assertTrue(self.blank() - {fid})
        while fid in self.blank():
            await self.passed(0.02)
        self.assertEqual((await self.store.queues.lengths())["upload"], 1)
