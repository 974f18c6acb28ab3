"""What every provider of `IQueues` promises."""

from __future__ import annotations

from math import inf
from typing import Any

from zope.interface.verify import verifyObject

from koboldfs.interfaces import IQueues
from koboldfs.model.entities import Checksum, Closing, DeletionDone, ReplicationDone
from koboldfs.store import looks
from test.contract.store import OURS, StoreContract

LEASE_SECONDS = 1000


def slowly(case: Any) -> None:
    """Have every whole look at a queue count as slow: there will be but one."""
    case.patch(looks, "SLOW_SECONDS", -1)
    case.patch(looks, "REST_TIMES", 10**9)


class QueuesContract(StoreContract):
    """Leases, and what finishing does."""

    async def test_queues_interface(self) -> None:
        """It has the interface's methods with their arguments."""
        verifyObject(IQueues, self.store.queues)

    async def taken(self, limit: int = 100) -> list[Any]:
        """Replications that are now in work."""
        rows: list[Any] = await self.store.queues.take_replications(
            limit, LEASE_SECONDS
        )
        return rows

    async def finish(self, *done: ReplicationDone) -> None:
        """Report them."""
        await self.store.queues.finish_replications(done)

    # --- replication

    async def test_take_replications(self) -> None:
        """A row comes with its file, devices and our checksum."""
        fid = await self.stored(1, "a", 1, 2)
        (row,) = await self.taken()
        self.assertEqual((row.fid, row.failcount, row.fromdevid), (fid, 0, None))
        self.assertEqual(row.located.file, (await self.store.files.find(1, "a")).file)
        self.assertEqual(sorted(row.located.devids), [1, 2])
        self.assertEqual(row.located.checksum, OURS)

    async def test_file_that_is_gone(self) -> None:
        """The row of a file that was deleted comes without a file."""
        await self.stored(1, "a")
        await self.store.files.delete(1, "a")
        (row,) = await self.taken()
        self.assertIsNone(row.located)
        await self.finish(ReplicationDone(row.fid))
        self.assertEqual(await self.replications(), [])

    async def test_lease(self) -> None:
        """A row in work is nobody else's until the lease ends."""
        fid = await self.stored(1, "a")
        other = (await self.another()).queues
        self.assertEqual(len(await self.taken()), 1)
        self.assertEqual(await other.take_replications(10, LEASE_SECONDS), [])
        await self.pass_time(LEASE_SECONDS - 10)
        self.assertEqual(await other.take_replications(10, LEASE_SECONDS), [])
        await self.pass_time(11)
        (row,) = await other.take_replications(10, LEASE_SECONDS)
        self.assertEqual(row.fid, fid)

    async def test_slow_looks(self: Any) -> None:
        """Where a look at the whole queue takes long, what is new is found without."""
        slowly(self)
        queues = self.store.queues
        first = await self.stored(1, "first")
        self.assertEqual([row.fid for row in await self.taken()], [first])
        self.assertEqual(await self.deletions(), {})
        fids = [await self.stored(1, key) for key in "abc"]
        taken = [row.fid for n in (1, 2, 9) for row in await self.taken(n)]
        self.assertEqual(taken, fids)
        await self.finish(ReplicationDone(fids[1]), ReplicationDone(fids[0], (), (), 5))
        self.assertEqual(await self.taken(), [])
        fid = await self.stored(1, "d")
        await self.pass_time(6)
        self.assertEqual([row.fid for row in await self.taken()], [fid, fids[0]])
        await self.store.files.delete(1, "a")
        self.assertEqual(await self.deletions(), {fids[0]: (1,)})
        await queues.finish_deletions([DeletionDone(fids[0], (), 30)])
        await self.pass_time(31)
        self.assertEqual(await self.deletions(), {fids[0]: (1,)})

    async def test_workers_share(self) -> None:
        """Two trackers that take at once never get the same row, and get all."""
        fids = await self.together(*(self.stored(1, f"k{n}") for n in range(60)))
        other = await self.another()
        taken = await self.together(
            *(
                store.queues.take_replications(10, LEASE_SECONDS)
                for store in (self.store, other) * 4
            )
        )
        got = [row.fid for rows in taken for row in rows]
        self.assertEqual(len(set(got)), len(got))
        got += [row.fid for row in await self.taken()]
        self.assertEqual(sorted(got), sorted(fids))

    async def test_oldest_first(self) -> None:
        """Rows are taken in the order in which they fell due."""
        for key in ("a", "b", "c"):
            await self.stored(1, key)
        rows = await self.taken()
        for row in rows:
            delay = {rows[0].fid: 300, rows[1].fid: 100, rows[2].fid: 200}[row.fid]
            await self.finish(
                ReplicationDone(row.fid, retry_seconds=delay, failcount=1)
            )
        await self.pass_time(400)
        order = [(await self.taken(1))[0].fid for _ in rows]
        self.assertEqual(order, [rows[1].fid, rows[2].fid, rows[0].fid])

    async def test_finish_with_copies(self) -> None:
        """New and lost copies are recorded, counted, and the row goes."""
        fid = await self.stored(1, "a", 1, 2)
        await self.taken()
        await self.finish(ReplicationDone(fid, added=(3, 4), removed=(1,)))
        located = await self.store.files.find(1, "a")
        self.assertEqual(sorted(located.devids), [2, 3, 4])
        self.assertEqual(located.file.devcount, 3)
        self.assertEqual((await self.store.queues.lengths())["replicate"], 0)

    async def test_finish_again(self) -> None:
        """The same report twice is no harm."""
        fid = await self.stored(1, "a", 1)
        await self.taken()
        done = ReplicationDone(fid, added=(2,), removed=(1,))
        await self.finish(done)
        await self.finish(done)
        self.assertEqual((await self.store.files.find(1, "a")).devids, (2,))

    async def test_finish_fills_in_the_checksum(self) -> None:
        """Our checksum is recorded where there is none, and never replaced."""
        fid = await self.upload(1, "a")
        await self.store.files.close_upload(Closing(fid, 1, "a", 0, 1, (1,)))
        await self.finish(ReplicationDone(fid, checksum=OURS))
        self.assertEqual(await self.store.files.own_checksum(fid), OURS)
        other = Checksum(4, b"\x09" * 32)
        await self.finish(ReplicationDone(fid, checksum=other))
        self.assertEqual(await self.store.files.own_checksum(fid), OURS)

    async def test_put_off(self) -> None:
        """A row that failed is due again after its time, with its failcount."""
        fid = await self.stored(1, "a")
        await self.taken()
        await self.finish(ReplicationDone(fid, retry_seconds=60.4, failcount=3))
        self.assertEqual(await self.taken(), [])
        await self.pass_time(61)
        (row,) = await self.taken()
        self.assertEqual((row.fid, row.failcount), (fid, 3))

    async def test_given_up(self) -> None:
        """A row without end is never due, until it is hastened."""
        fid = await self.stored(1, "a")
        await self.taken()
        await self.finish(ReplicationDone(fid, retry_seconds=inf, failcount=9))
        self.assertEqual(await self.store.queues.release_replications(10), 0)
        self.assertEqual(await self.taken(), [])
        self.assertEqual(await self.store.queues.hasten_replications(), 1)
        self.assertEqual(await self.replications(), [fid])

    async def test_copy_of_a_file_that_died(self) -> None:
        """A copy that was made while its file was deleted is cleaned as well."""
        fid = await self.stored(1, "a", 1)
        await self.taken()
        await self.store.files.delete(1, "a")
        (row,) = await self.store.queues.take_deletions(10, LEASE_SECONDS)
        await self.store.queues.finish_deletions([DeletionDone(fid, row.devids)])
        self.assertEqual(await self.deletions(), {})
        await self.finish(ReplicationDone(fid, added=(2,)))
        self.assertEqual(await self.store.files.devices_of(fid), (2,))
        self.assertEqual(await self.deletions(), {fid: (2,)})
        self.assertEqual(await self.replications(), [])

    async def test_asked_again_while_in_work(self) -> None:
        """A wish that comes while the row is in work outlives that work."""
        fid = await self.stored(1, "a", 1)
        queues = self.store.queues
        for done in (
            ReplicationDone(fid),
            ReplicationDone(fid, retry_seconds=600.0, failcount=2),
        ):
            self.assertEqual([row.fid for row in await self.taken()], [fid])
            await queues.queue_replications([fid], 0)
            self.assertEqual(await self.taken(), [])
            await self.finish(done)
        self.assertEqual([row.fid for row in await self.taken()], [fid])
        await self.finish(ReplicationDone(fid))
        self.assertEqual((await queues.lengths())["replicate"], 0)

    async def test_finish_of_what_is_not_in_work(self) -> None:
        """A late report does not remove a row that was queued anew."""
        fid = await self.stored(1, "a", 1)
        await self.taken()
        await self.finish(ReplicationDone(fid))
        await self.store.queues.queue_replications([fid], 0)
        await self.finish(ReplicationDone(fid))
        self.assertEqual(await self.replications(), [fid])

    async def test_queue_replications(self) -> None:
        """New rows are due after the delay; those that are there stay."""
        fids = [await self.stored(1, f"k{n}") for n in range(3)]
        for row in await self.taken():
            await self.finish(ReplicationDone(row.fid))
        queues = self.store.queues
        await queues.queue_replications(fids[:2], 100)
        await queues.queue_replications([], 0)
        await queues.queue_replications([*fids, *fids], 0)
        self.assertEqual([row.fid for row in await self.taken()], fids[2:])
        await self.pass_time(101)
        self.assertEqual(sorted(row.fid for row in await self.taken()), fids[:2])

    async def test_keep(self) -> None:
        """A lease that is kept does not end; what is not in work is not touched."""
        queues = self.store.queues
        fids = [await self.stored(1, f"k{number}") for number in range(3)]
        kept = {row.fid for row in await self.taken(2)}
        await self.pass_time(LEASE_SECONDS - 10)
        await queues.keep_replications([*fids, 999_999], LEASE_SECONDS)
        await queues.keep_replications([], LEASE_SECONDS)
        await self.pass_time(20)
        self.assertEqual({row.fid for row in await self.taken()}, set(fids) - kept)
        await self.pass_time(LEASE_SECONDS)
        self.assertEqual(kept - {row.fid for row in await self.taken()}, set())

    async def test_grace(self) -> None:
        """Rows are taken only when they have been due for the grace."""
        queues = self.store.queues
        await self.stored(1, "a")
        await self.store.files.delete(1, "a")
        self.assertEqual(await queues.take_deletions(10, LEASE_SECONDS, 100), [])
        await self.pass_time(90)
        self.assertEqual(await queues.take_deletions(10, LEASE_SECONDS, 100), [])
        await self.pass_time(20)
        (row,) = await queues.take_deletions(10, LEASE_SECONDS, 100)
        self.assertEqual(row.failcount, 0)

    async def test_keep_deletions(self) -> None:
        """The same for rows of the delete queue; a finished one does not come back."""
        queues = self.store.queues
        for key in ("a", "b"):
            await self.stored(1, key)
            await self.store.files.delete(1, key)
        first, second = await queues.take_deletions(2, LEASE_SECONDS)
        done = DeletionDone(second.fid, second.devids)
        await queues.finish_deletions([done])
        await self.pass_time(LEASE_SECONDS - 10)
        await queues.keep_deletions([first.fid, second.fid], LEASE_SECONDS)
        await self.pass_time(20)
        self.assertEqual(await queues.take_deletions(10, LEASE_SECONDS), [])
        await self.pass_time(LEASE_SECONDS)
        (row,) = await queues.take_deletions(10, LEASE_SECONDS)
        self.assertEqual(row.fid, first.fid)

    async def test_release(self) -> None:
        """Only what was put off after a failure is released, a few at a time."""
        fids = [await self.stored(1, f"k{n}") for n in range(6)]
        await self.taken()
        for fid in fids[:3]:
            await self.finish(ReplicationDone(fid, retry_seconds=500.0, failcount=1))
        await self.finish(ReplicationDone(fids[3], retry_seconds=500.0, failcount=0))
        queues = self.store.queues
        released = [await queues.release_replications(2) for _ in range(3)]
        self.assertEqual(released, [2, 1, 0])
        self.assertEqual(sorted(row.fid for row in await self.taken()), fids[:3])

    async def test_hasten(self) -> None:
        """All that waits is due, but for what is in work."""
        fids = [await self.stored(1, f"k{n}") for n in range(3)]
        await self.taken()
        await self.finish(ReplicationDone(fids[0], retry_seconds=500.0, failcount=0))
        await self.finish(ReplicationDone(fids[1], retry_seconds=500.0, failcount=1))
        self.assertEqual(await self.store.queues.hasten_replications(), 2)
        self.assertEqual(sorted(row.fid for row in await self.taken()), fids[:2])

    async def test_mark_that_was_left(self) -> None:
        """A row that one of ours died over, and MogileFS put off further than any
        lease goes, keeps our mark: it is not taken for one in work."""
        fid = await self.stored(1, "a")
        queues = self.store.queues
        self.assertEqual(len(await queues.take_replications(10, LEASE_SECONDS)), 1)
        self.assertEqual(await queues.hasten_replications(), 0)
        await self.pass_time(LEASE_SECONDS)
        self.assertEqual(len(await queues.take_replications(10, 3600)), 1)
        self.assertEqual(await queues.hasten_replications(), 1)
        self.assertEqual(await self.replications(), [fid])

    # --- deletion

    async def test_told_twice(self) -> None:
        """A row whose lease ended before what became of it could be told is told of
        twice at once, which is as good as once: it would be told for ever else."""
        files, queues = self.store.files, self.store.queues
        fid = await self.stored(1, "a", 1, 2)
        await files.delete(1, "a")
        await queues.take_deletions(10, LEASE_SECONDS)
        late = DeletionDone(fid, (1,), retry_seconds=60.0, failcount=4)
        await queues.finish_deletions([late, late])
        self.assertEqual(await files.devices_of(fid), (2,))
        done = DeletionDone(fid, (2,))
        await queues.finish_deletions([done, done])
        self.assertEqual((await queues.lengths())["delete"], 0)

    async def test_deletion(self) -> None:
        """A fid whose copies are all gone is forgotten, with its checksums."""
        files, queues = self.store.files, self.store.queues
        fid = await self.stored(1, "a", 1, 2)
        await files.delete(1, "a")
        (row,) = await queues.take_deletions(10, LEASE_SECONDS)
        self.assertEqual((row.fid, row.failcount, row.devids), (fid, 0, (1, 2)))
        other = (await self.another()).queues
        self.assertEqual(await other.take_deletions(10, LEASE_SECONDS), [])
        await queues.finish_deletions([DeletionDone(fid, (1, 2))])
        self.assertEqual(await files.devices_of(fid), ())
        self.assertIsNone(await files.own_checksum(fid))
        self.assertEqual((await queues.lengths())["delete"], 0)

    async def test_deletion_in_part(self) -> None:
        """While a copy is left the row stays, and is due after its time."""
        files, queues = self.store.files, self.store.queues
        fid = await self.stored(1, "a", 1, 2)
        await files.delete(1, "a")
        await queues.take_deletions(10, LEASE_SECONDS)
        done = DeletionDone(fid, (1,), retry_seconds=60.0, failcount=4)
        await queues.finish_deletions([done])
        self.assertEqual(await files.devices_of(fid), (2,))
        self.assertEqual(await queues.take_deletions(10, LEASE_SECONDS), [])
        await self.pass_time(61)
        (row,) = await queues.take_deletions(10, LEASE_SECONDS)
        self.assertEqual((row.failcount, row.devids), (4, (2,)))

    async def test_copy_added_during_deletion(self) -> None:
        """A copy that comes while the others go keeps the row, due at once."""
        files, queues = self.store.files, self.store.queues
        fid = await self.stored(1, "a", 1)
        await self.taken()
        await files.delete(1, "a")
        (row,) = await queues.take_deletions(10, LEASE_SECONDS)
        await self.finish(ReplicationDone(fid, added=(2,)))
        await queues.finish_deletions([DeletionDone(fid, row.devids)])
        self.assertEqual(await self.deletions(), {fid: (2,)})

    async def test_copy_and_deletion_race(self) -> None:
        """However two trackers interleave, no recorded copy of a dead fid is left
        without a row that will clean it."""
        other = (await self.another()).queues
        queues = self.store.queues
        for number in range(15):
            fid = await self.stored(1, f"k{number}", 1)
            await self.store.files.delete(1, f"k{number}")
            (row,) = await queues.take_deletions(10, 0)
            await self.together(
                queues.finish_deletions([DeletionDone(fid, row.devids)]),
                other.finish_replications([ReplicationDone(fid, added=(2,))]),
            )
            self.assertEqual(await self.deletions(), {fid: (2,)})
            await queues.finish_deletions([DeletionDone(fid, (2,))])

    # --- chores

    async def test_expire_uploads(self) -> None:
        """Uploads nobody closed are cleaned from all their devices."""
        files, queues = self.store.files, self.store.queues
        old = await self.upload(1, "old", 1, 2)
        await self.pass_time(3600)
        fresh = await self.upload(1, "fresh", 3)
        self.assertEqual(await queues.expire_uploads(3600, 10), 1)
        self.assertEqual(await queues.expire_uploads(3600, 10), 0)
        self.assertIsNone(await files.find_upload(old))
        self.assertIsNotNone(await files.find_upload(fresh))
        self.assertEqual(await self.deletions(), {old: (1, 2)})
        closing = Closing(old, 1, "old", 0, 1, (1,))
        self.assertEqual(await files.close_upload(closing), "no_upload")

    async def test_reap(self) -> None:
        """A dead device's copies are forgotten, a few at a time, and made anew."""
        files, queues = self.store.files, self.store.queues
        fids = [await self.stored(1, f"k{n}", 1, 2) for n in range(3)]
        safe = await self.stored(1, "safe", 2)
        for row in await self.taken():
            await self.finish(ReplicationDone(row.fid))
        self.assertEqual([await queues.reap(1, 2) for _ in range(3)], [2, 1, 0])
        await self.pass_time(2)
        self.assertEqual(sorted(row.fid for row in await self.taken()), fids)
        located = await files.find(1, "k0")
        self.assertEqual((located.devids, located.file.devcount), ((2,), 1))
        self.assertEqual((await files.find_fid(safe)).devids, (2,))

    async def test_reap_while_in_work(self) -> None:
        """A copy that is lost while its file is in work is looked at again."""
        fid = await self.stored(1, "a", 1, 2)
        await self.taken()
        await self.store.queues.reap(1, 10)
        await self.finish(ReplicationDone(fid))
        await self.pass_time(2)
        self.assertEqual(await self.replications(), [fid])

    async def test_lengths(self) -> None:
        """How many rows each queue has."""
        await self.upload(1, "u")
        for key in ("a", "b", "c"):
            await self.stored(1, key)
        await self.store.files.delete(1, "c")
        self.assertEqual(
            dict(await self.store.queues.lengths()),
            {"replicate": 3, "delete": 1, "upload": 1},
        )

    async def test_nothing_to_do(self) -> None:
        """Empty queues and empty reports are fine."""
        queues = self.store.queues
        self.assertEqual(await queues.take_replications(10, 1), [])
        self.assertEqual(await queues.take_deletions(10, 1), [])
        await queues.finish_replications([])
        await queues.finish_deletions([])
        self.assertEqual(await queues.expire_uploads(0, 10), 0)
        self.assertEqual(await queues.reap(1, 10), 0)
