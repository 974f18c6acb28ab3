"""What every provider of `IScrubs` promises."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, gatherResults
from zope.interface.verify import verifyObject

from koboldfs.interfaces_scrub import IScrubs
from koboldfs.model.entities import (
    FSCK_TASK,
    Checked,
    Closing,
    CopyChange,
    FsckEvent,
    ReplicationDone,
)
from koboldfs.model.scrub import DAY_SECONDS, FIRST_PASS_SECONDS, Counts, Scrub
from test.contract.store import OURS, StoreContract

LEASE_SECONDS = 100
PERIOD = 30 * DAY_SECONDS
#: Uploads that are closed while somebody looks for strays.
CLOSED_MEANWHILE = 20


def _begun(work: Awaitable[Any]) -> Deferred[Any]:
    async def wait() -> Any:
        return await work

    return Deferred.fromCoroutine(wait())


class ScrubsContract(StoreContract):
    """Passes and their leases, strays, findings, and what is lost."""

    async def begun(
        self, owner: str = "a", devid: int = 7, period: int = PERIOD
    ) -> Any:
        """What `begin` says."""
        begin = self.store.scrubs.begin
        return await begin(devid, owner, period, LEASE_SECONDS)

    async def one(self, devid: int = 7) -> Scrub:
        """How a device's scrub stands."""
        found, _ = await self.store.scrubs.all()
        (scrub,) = [one for one in found if one.devid == devid]
        return scrub

    async def test_scrubs_interface(self) -> None:
        """It has the interface's methods with their arguments."""
        verifyObject(IScrubs, self.store.scrubs)

    async def test_first_pass(self) -> None:
        """A device is known, then left alone for a while, then due."""
        scrubs = self.store.scrubs
        none, now = await scrubs.all()
        self.assertEqual(none, [])
        self.assertIsNone(await self.begun())
        await scrubs.know([7, 3])
        await scrubs.know([7])
        self.assertEqual([one.devid for one in (await scrubs.all())[0]], [3, 7])
        self.assertLess(abs((await self.one()).known - now), 30)
        self.assertIsNone(await self.begun())
        await self.pass_time(FIRST_PASS_SECONDS + 1)
        self.assertIsNone(await self.begun(period=0))
        scrub = await self.begun()
        self.assertTrue(scrub.running)
        self.assertEqual((scrub.position, scrub.folder), (0, -1))

    async def test_pass(self) -> None:
        """A pass goes on, counts, and comes to its end; the next one is due later."""
        scrubs = self.store.scrubs
        fid = await self.stored(1, "a", 7)
        await scrubs.ask([7])
        begun = await self.begun(period=0)
        self.assertEqual((begun.asked, begun.end_fid), (False, fid))
        more = Counts(2, 2**40, 3, 4, 5, 6, 7)
        moved = await scrubs.advance(begun, fid, -1, more, LEASE_SECONDS)
        self.assertEqual(moved, begun.moved_on(fid, -1, more))
        moved = await scrubs.advance(moved, 9, 12, Counts(files=1), LEASE_SECONDS)
        found = await self.one()
        self.assertEqual((found.position, found.folder), (9, 12))
        self.assertEqual(found.counts, more.plus(Counts(files=1)))
        self.assertTrue(await scrubs.finish(moved))
        ended = await self.one()
        self.assertEqual((ended.running, ended.counts), (False, found.counts))
        self.assertGreater(ended.ended, 0)
        self.assertFalse(await scrubs.finish(moved))
        self.assertIsNone(await self.begun())
        await self.pass_time(PERIOD - 60)
        self.assertIsNone(await self.begun())
        await self.pass_time(61)
        self.assertEqual((await self.begun()).counts, Counts())

    async def test_asked_while_running(self) -> None:
        """Then one more pass follows."""
        scrubs = self.store.scrubs
        await scrubs.ask([7])
        begun = await self.begun(period=0)
        await scrubs.ask([7])
        moved = await scrubs.advance(begun, 5, -1, Counts(), LEASE_SECONDS)
        self.assertTrue(await scrubs.finish(moved))
        self.assertTrue((await self.begun(period=0)).running)

    async def test_lease(self) -> None:
        """A pass is nobody else's while its lease, kept or not, lasts; then others go
        on where it stood, and who had it may not any more."""
        scrubs = self.store.scrubs
        await scrubs.ask([7])
        mine = await self.begun()
        self.assertIsNone(await self.begun("b"))
        self.assertEqual((await self.begun()).owner, "a")
        await self.pass_time(LEASE_SECONDS - 10)
        await scrubs.keep([7], "b", LEASE_SECONDS)
        await scrubs.keep([7, 99], "a", LEASE_SECONDS)
        await scrubs.keep([], "a", LEASE_SECONDS)
        await self.pass_time(20)
        self.assertIsNone(await self.begun("b"))
        mine = await self.begun()  # with its times as they are by now
        mine = await scrubs.advance(mine, 5, -1, Counts(files=1), LEASE_SECONDS)
        await self.pass_time(LEASE_SECONDS + 1)
        theirs = await self.begun("b")
        self.assertEqual((theirs.position, theirs.counts.files), (5, 1))
        self.assertIsNone(await scrubs.advance(mine, 6, -1, Counts(), LEASE_SECONDS))
        self.assertFalse(await scrubs.finish(mine))
        self.assertEqual((await self.one()).position, 5)
        other = evolve(theirs, position=4)
        self.assertIsNone(await scrubs.advance(other, 6, -1, Counts(), LEASE_SECONDS))

    async def test_two_begin(self) -> None:
        """Of two trackers that begin at once, one has it."""
        await self.store.scrubs.ask([7])
        other = await self.another()
        got = await self.together(
            *(
                store.scrubs.begin(7, name, PERIOD, LEASE_SECONDS)
                for store, name in ((self.store, "a"), (other, "b"))
            )
        )
        self.assertEqual(len([one for one in got if one]), 1)

    # --- strays

    async def test_strays(self) -> None:
        """What some row knows, or somebody works on, is no stray."""
        scrubs, queues = self.store.scrubs, self.store.queues
        here = await self.stored(1, "here", 7)
        elsewhere = await self.stored(1, "elsewhere", 8)
        queued = await self.stored(1, "queued", 8)
        tasked = await self.stored(1, "tasked", 8)
        opened = await self.upload(1, "open", 7)
        deleted = await self.stored(1, "deleted", 8)
        await self.store.files.delete(1, "deleted")
        for one in await queues.take_replications(9, LEASE_SECONDS):
            await queues.finish_replications([ReplicationDone(one.fid)])
        await queues.queue_replications([queued], 60)
        await self.store.tasks.queue_tasks(FSCK_TASK, [(tasked, None, None)])
        gone = deleted + 1000
        fids = [here, elsewhere, queued, tasked, opened, deleted, gone]
        found = await scrubs.strays(7, fids)
        self.assertEqual([fid for fid, _ in found.found], [elsewhere, gone])
        live = dict(found.found)[elsewhere]
        self.assertEqual((live.devids, live.file.key), ((8,), "elsewhere"))
        self.assertIsNotNone(live.checksum)
        self.assertIsNone(dict(found.found)[gone])
        self.assertTrue(deleted <= found.highest_fid < gone)
        self.assertEqual((await scrubs.strays(7, [here])).found, ())
        self.assertEqual((await scrubs.strays(7, [])).found, ())

    async def test_strays_while_closed(self) -> None:
        """An upload that becomes a file between two looks is a stray at no moment."""
        fids = [await self.upload(1, f"k{n}", 7) for n in range(CLOSED_MEANWHILE)]
        answers = []
        for number, fid in enumerate(fids):
            closing = Closing(fid, 1, f"k{number}", 0, 3, (7,), OURS, None, True)
            works = [self.store.scrubs.strays(7, fids) for _ in range(3)]
            works.append(self.store.files.close_upload(closing))
            works += [self.store.scrubs.strays(7, fids) for _ in range(3)]
            answers += await gatherResults([_begun(work) for work in works])
        strays = [one for one in answers if one != "closed"]
        self.assertEqual(len(strays), 6 * CLOSED_MEANWHILE)
        self.assertEqual([one.found for one in strays if one.found], [])

    # --- findings

    async def test_record(self) -> None:
        """Copies, log and queue are as was found; only while that is true."""
        scrubs, queues = self.store.scrubs, self.store.queues
        bad = await self.stored(1, "bad", 1, 2)
        changed = await self.stored(1, "changed", 1, 2)
        for one in await queues.take_replications(9, LEASE_SECONDS):
            await queues.finish_replications([ReplicationDone(one.fid)])
        findings = [
            Checked(
                fid,
                seen,
                CopyChange(fid, (), (2,)),
                (FsckEvent(fid, "BSUM", 2),),
                replicate=True,
            )
            for fid, seen in ((bad, (2, 1)), (changed, (1, 3)), (777, (1, 2)))
        ]
        self.assertEqual(await scrubs.record(findings, 60), {bad})
        self.assertEqual(await scrubs.record([], 60), frozenset())
        self.assertEqual((await self.store.files.find_fid(bad)).devids, (1,))
        self.assertEqual(len((await self.store.files.find_fid(changed)).devids), 2)
        log = await self.store.tasks.events_after(0, 9)
        self.assertEqual([(r.fid, r.code, r.devid) for r in log], [(bad, "BSUM", 2)])
        self.assertEqual(await self.replications(), [])
        await self.pass_time(61)
        self.assertEqual(await self.replications(), [bad])

    # --- what is lost

    async def test_lost(self) -> None:
        """Lost files are listed by fid, with the time when that was found first."""
        scrubs = self.store.scrubs
        fids = [await self.stored(1, f"k{n}", 1) for n in range(3)]
        self.assertEqual(await scrubs.note_lost(fids[:2]), set(fids[:2]))
        self.assertEqual(await scrubs.note_lost([*fids[1:], 777]), {fids[2]})
        self.assertEqual(await scrubs.lost_among([*fids, 777]), set(fids))
        self.assertEqual(await scrubs.lost_among([]), set())
        page = await scrubs.lost_after(0, 2)
        self.assertEqual([one.file.fid for one in page], fids[:2])
        self.assertEqual((page[0].file.key, page[0].since > 0), ("k0", True))
        self.assertEqual(len(await scrubs.lost_after(fids[1], 9)), 1)
        self.assertEqual(await scrubs.lost_after(0, 0), [])
        await scrubs.forget_lost([fids[0]])
        await scrubs.forget_lost([])
        self.assertEqual(await scrubs.lost_among(fids), set(fids[1:]))

    async def test_lost_and_deleted(self) -> None:
        """A deleted file is lost no more, and its row goes with the next pass."""
        scrubs = self.store.scrubs
        fid, stays = await self.stored(1, "a", 1), await self.stored(1, "b", 1)
        await scrubs.note_lost([fid, stays])
        await self.store.files.delete(1, "a")
        self.assertEqual([o.file.fid for o in await scrubs.lost_after(0, 9)], [stays])
        await scrubs.ask([7])
        self.assertTrue(await scrubs.finish(await self.begun()))
        self.assertEqual(await scrubs.lost_among([fid, stays]), {stays})
