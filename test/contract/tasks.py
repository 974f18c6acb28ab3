"""What every provider of `ITasks` promises."""

from __future__ import annotations

from typing import Any

from zope.interface.verify import verifyObject

from koboldfs.interfaces import ITasks
from koboldfs.model.entities import (
    FSCK_TASK,
    REBALANCE_TASK,
    Checked,
    CopyChange,
    FsckEvent,
    ReplicationDone,
    TaskDone,
)
from koboldfs.store import tasks as tasks_of_store
from test.contract.queues import slowly
from test.contract.store import OURS, THEIRS, StoreContract

LEASE_SECONDS = 1000


class TasksContract(StoreContract):
    """The queue of fsck and rebalance, what they find, and their log."""

    async def test_tasks_interface(self) -> None:
        """It has the interface's methods with their arguments."""
        verifyObject(ITasks, self.store.tasks)

    async def taken(self, kind: int = FSCK_TASK, limit: int = 100) -> list[Any]:
        """Tasks that are now in work."""
        rows: list[Any] = await self.store.tasks.take_tasks(kind, limit, LEASE_SECONDS)
        return rows

    # --- the queue

    async def test_take_tasks(self) -> None:
        """A row comes as it was queued, with its file; without one if it is gone."""
        fid = await self.stored(1, "a", 1, 2)
        tasks = self.store.tasks
        await tasks.queue_tasks(REBALANCE_TASK, [(fid, 1, "3,4"), (999, None, None)])
        rows = {row.fid: row for row in await self.taken(REBALANCE_TASK)}
        row = rows[fid]
        self.assertEqual((row.kind, row.devid, row.arg), (REBALANCE_TASK, 1, "3,4"))
        self.assertEqual((row.failcount, row.located.checksum), (0, OURS))
        self.assertEqual(sorted(row.located.devids), [1, 2])
        self.assertEqual((rows[999].devid, rows[999].arg), (None, None))
        self.assertIsNone(rows[999].located)

    async def test_kinds_apart(self) -> None:
        """The same fid may be queued for both kinds, and each is taken by its own."""
        tasks = self.store.tasks
        await tasks.queue_tasks(FSCK_TASK, [(5, None, None)])
        await tasks.queue_tasks(REBALANCE_TASK, [(5, 1, None), (6, 1, None)])
        self.assertEqual([row.fid for row in await self.taken(FSCK_TASK)], [5])
        await tasks.finish_tasks(FSCK_TASK, [TaskDone(5)])
        self.assertEqual(await tasks.count_tasks(FSCK_TASK, 9), 0)
        self.assertEqual(await tasks.count_tasks(REBALANCE_TASK, 9), 2)
        self.assertEqual(await tasks.count_tasks(REBALANCE_TASK, 1), 1)
        self.assertEqual(len(await self.taken(REBALANCE_TASK)), 2)

    async def test_queued_already(self) -> None:
        """Queueing a fid again changes nothing, also while it is in work."""
        tasks = self.store.tasks
        await tasks.queue_tasks(FSCK_TASK, [(5, 1, "first")])
        self.assertEqual(len(await self.taken()), 1)
        await tasks.queue_tasks(FSCK_TASK, [(5, 2, "second")])
        self.assertEqual(await self.taken(), [])
        await self.pass_time(LEASE_SECONDS + 1)
        (row,) = await self.taken()
        self.assertEqual((row.devid, row.arg), (1, "first"))

    async def test_lease_of_tasks(self) -> None:
        """A row in work is nobody else's until the lease, kept or not, ends."""
        await self.store.tasks.queue_tasks(FSCK_TASK, [(5, None, None)])
        other = (await self.another()).tasks
        self.assertEqual(len(await self.taken()), 1)
        await self.pass_time(LEASE_SECONDS - 10)
        await self.store.tasks.keep_tasks(FSCK_TASK, [5, 77], LEASE_SECONDS)
        await self.pass_time(20)
        self.assertEqual(await other.take_tasks(FSCK_TASK, 9, 1), [])
        await self.pass_time(LEASE_SECONDS)
        self.assertEqual(len(await other.take_tasks(FSCK_TASK, 9, 1)), 1)

    async def test_tasks_are_shared(self) -> None:
        """Two trackers that take at once never get the same row."""
        rows = [(n, None, None) for n in range(1, 61)]
        await self.store.tasks.queue_tasks(FSCK_TASK, rows)
        other = await self.another()
        taken = await self.together(
            *(
                store.tasks.take_tasks(FSCK_TASK, 10, LEASE_SECONDS)
                for store in (self.store, other) * 4
            )
        )
        got = [row.fid for some in taken for row in some]
        self.assertEqual(len(set(got)), len(got))
        got += [row.fid for row in await self.taken()]
        self.assertEqual(sorted(got), [row[0] for row in rows])

    async def test_put_off_task(self) -> None:
        """A row that was put off comes back with its failures, at its time."""
        tasks = self.store.tasks
        await tasks.queue_tasks(FSCK_TASK, [(5, None, None), (6, None, None)])
        await self.taken()
        late = [TaskDone(5, 60.0, 2), TaskDone(6, float("inf"), 9)]
        self.assertEqual(await tasks.count_fresh(FSCK_TASK, 9), 2)
        await tasks.finish_tasks(FSCK_TASK, late)
        self.assertEqual(await tasks.count_fresh(FSCK_TASK, 9), 0)
        self.assertEqual(await tasks.count_tasks(FSCK_TASK, 9), 2)
        await self.pass_time(50)
        self.assertEqual(await self.taken(), [])
        await self.pass_time(11)
        self.assertEqual([(r.fid, r.failcount) for r in await self.taken()], [(5, 2)])

    async def test_slow_looks(self) -> None:
        """Where a look at the whole queue takes long, what is new is found without."""
        slowly(self)
        tasks = self.store.tasks
        self.assertEqual(await self.taken(), [])
        await tasks.queue_tasks(FSCK_TASK, [(5, None, None), (6, None, None)])
        await tasks.queue_tasks(REBALANCE_TASK, [(7, None, None)])
        self.assertEqual([row.fid for row in await self.taken()], [5, 6])
        await tasks.finish_tasks(FSCK_TASK, [TaskDone(5), TaskDone(6, 60.0, 1)])
        self.assertEqual(await self.taken(), [])
        await self.pass_time(61)
        self.assertEqual([row.fid for row in await self.taken()], [6])

    async def test_many_tasks(self) -> None:
        """More rows than one statement takes are queued, finished and dropped."""
        tasks = self.store.tasks
        await tasks.queue_tasks(FSCK_TASK, [(n, None, None) for n in range(1, 1202)])
        self.assertEqual(await tasks.count_tasks(FSCK_TASK, 5000), 1201)
        done = [TaskDone(n) for n in range(1, 702)]
        await tasks.finish_tasks(FSCK_TASK, done)
        self.assertEqual(await tasks.drop_tasks(FSCK_TASK, 300), 300)
        self.assertEqual(await tasks.drop_tasks(FSCK_TASK, 300), 200)
        self.assertEqual(await tasks.drop_tasks(FSCK_TASK, 300), 0)

    async def test_nothing_asked(self) -> None:
        """A limit of nothing, or an empty list, is answered with nothing."""
        tasks = self.store.tasks
        for empty in (
            await tasks.take_tasks(FSCK_TASK, 0, 9),
            await tasks.files_on(1, 0, 0),
            await tasks.events_after(0, 0),
            await tasks.drop_tasks(FSCK_TASK, 0),
            await tasks.class_checksums([]),
        ):
            self.assertFalse(empty)
        await tasks.finish_tasks(FSCK_TASK, [])
        await tasks.change_copies([])
        await tasks.finish_checks([], 1, 1)
        self.assertEqual(await tasks.files_between(5, 5, 9), [])
        self.assertEqual(await tasks.files_between(0, 5, 0), [])

    # --- files on a device

    async def test_files_on(self) -> None:
        """A device is walked by fid, from either end; only live files count."""
        fids = [await self.stored(1, f"k{n}", 1, 2) for n in range(5)]
        await self.stored(1, "elsewhere", 3)
        await self.store.files.delete(1, "k2")
        live = [fid for fid in fids if fid != fids[2]]
        tasks = self.store.tasks
        page = await tasks.files_on(2, 0, 3)
        self.assertEqual([one.file.fid for one in page], live[:3])
        self.assertEqual(sorted(page[0].devids), [1, 2])
        self.assertEqual(page[0].checksum, OURS)
        page = await tasks.files_on(2, live[2], 3)
        self.assertEqual([one.file.fid for one in page], live[3:])
        page = await tasks.newest_files_on(2, 2**62, 2)
        self.assertEqual([one.file.fid for one in page], live[:1:-1])
        page = await tasks.newest_files_on(2, live[1], 2)
        self.assertEqual([one.file.fid for one in page], live[:1])

    async def test_highest_fid(self) -> None:
        """Uploads do not count, files do."""
        self.assertEqual(await self.store.tasks.highest_fid(), 0)
        fid = await self.stored(1, "a")
        await self.upload(1, "b")
        self.assertEqual(await self.store.tasks.highest_fid(), fid)

    async def test_files_between(self) -> None:
        """Live files are walked by fid, up to an end."""
        fids = [await self.stored(1, f"k{n}", 1, 2) for n in range(5)]
        await self.store.files.delete(1, "k1")
        tasks = self.store.tasks
        page = await tasks.files_between(fids[0], fids[3], 9)
        self.assertEqual([one.fid for one in page], fids[2:4])
        self.assertEqual((page[0].key, page[0].length > 0), ("k2", True))
        page = await tasks.files_between(0, 2**63, 2)
        self.assertEqual([one.fid for one in page], [fids[0], fids[2]])

    # --- findings

    async def test_change_copies(self) -> None:
        """Copies and checksums are as was found, and counted; for live files only."""
        fid = await self.stored(1, "a", 1, 2)
        gone = await self.stored(1, "b", 1)
        await self.store.files.delete(1, "b")
        other = OURS.__class__(OURS.hashtype, b"\x07" * 32)
        changes = [
            CopyChange(fid, (3, 4), (1,), other, THEIRS),
            CopyChange(gone, (9,), (), other, THEIRS),
        ]
        for _ in range(2):
            await self.store.tasks.change_copies(changes)
        located = await self.store.files.find_fid(fid)
        self.assertEqual(sorted(located.devids), [2, 3, 4])
        self.assertEqual((located.file.devcount, located.checksum), (3, other))
        sums = await self.store.tasks.class_checksums([fid, gone])
        self.assertEqual(sums, {fid: THEIRS})
        self.assertEqual((await self.deletions())[gone], (1, 9))

    async def test_wrong_devcount(self) -> None:
        """A change that changes nothing still counts the copies."""
        fid = await self.stored(1, "a", 1, 2)
        await self.store.tasks.change_copies([CopyChange(fid)])
        located = await self.store.files.find_fid(fid)
        self.assertEqual((located.file.devcount, located.checksum), (2, OURS))

    async def test_release_copy(self) -> None:
        """A copy is forgotten only while those that shall stay are recorded."""
        fid = await self.stored(1, "a", 1, 2, 3)
        gone = await self.stored(1, "b", 1, 2)
        await self.store.files.delete(1, "b")
        release = self.store.tasks.release_copy
        for args in (
            (fid, 1, [2, 9]),
            (fid, 9, [1, 2]),
            (fid, 1, []),
            (fid, 1, [1, 2]),
            (gone, 1, [2]),
            (777, 1, [2]),
        ):
            self.assertFalse(await release(*args), args)
        self.assertTrue(await release(fid, 1, [2, 3]))
        located = await self.store.files.find_fid(fid)
        self.assertEqual(sorted(located.devids), [2, 3])
        self.assertEqual(located.file.devcount, 2)

    async def test_two_release(self) -> None:
        """Of two who would each leave the other's copy, one is refused."""
        fids = [await self.stored(1, f"k{n}", 1, 2) for n in range(10)]
        other = await self.another()
        answers = await self.together(
            *(
                store.tasks.release_copy(fid, devid, [keep])
                for fid in fids
                for store, devid, keep in ((self.store, 1, 2), (other, 2, 1))
            )
        )
        self.assertEqual(answers.count(True), len(fids))
        for fid in fids:
            self.assertEqual(len((await self.store.files.find_fid(fid)).devids), 1)

    async def checked(self, *checks: Checked) -> None:
        """They come to that."""
        await self.store.tasks.finish_checks(checks, 2, 1)

    async def queued(self, *fids: int) -> None:
        """They are to be checked, and in work."""
        rows = [(fid, None, None) for fid in fids]
        await self.store.tasks.queue_tasks(FSCK_TASK, rows)
        await self.taken()

    async def test_finish_checks(self) -> None:
        """Copies, log, replication and queue are as the checks came out."""
        sound = await self.stored(1, "a", 1, 2)
        bad = await self.stored(1, "b", 1, 2)
        away = await self.stored(1, "c", 1, 2)
        await self.queued(sound, bad, away)
        tasks, queues = self.store.tasks, self.store.queues
        for one in await queues.take_replications(9, LEASE_SECONDS):
            await queues.finish_replications([ReplicationDone(one.fid)])
        events = (FsckEvent(bad, "MISS", 2), FsckEvent(bad, "REPL"))
        change = CopyChange(bad, (), (2,), None, THEIRS)
        for _ in range(2):
            await self.checked(
                Checked(sound),
                Checked(bad, (2, 1), change, events, replicate=True),
                Checked(away, (1, 2), retry_seconds=1000.0, failcount=3),
            )
        located = await self.store.files.find_fid(bad)
        self.assertEqual((located.devids, located.file.devcount), ((1,), 1))
        self.assertEqual(await tasks.class_checksums([bad]), {bad: THEIRS})
        log = [(r.code, r.devid) for r in await tasks.events_after(0, 9)]
        self.assertEqual(log, [("MISS", 2), ("REPL", None)])
        self.assertEqual(await tasks.count_tasks(FSCK_TASK, 9), 1)
        self.assertEqual(await queues.take_replications(9, LEASE_SECONDS), [])
        await self.pass_time(2)
        rows = await queues.take_replications(9, LEASE_SECONDS)
        self.assertEqual([row.fid for row in rows], [bad])
        await self.pass_time(999)
        self.assertEqual(
            [(r.fid, r.failcount) for r in await self.taken()], [(away, 3)]
        )

    async def test_changed_while_checked(self) -> None:
        """What was found of other copies than there are now is not recorded; the file
        is looked at again soon, as if it had not been."""
        fid = await self.stored(1, "a", 1, 2)
        other = await self.stored(1, "b", 1)
        await self.queued(fid, other)
        tasks = self.store.tasks
        await tasks.change_copies([CopyChange(fid, (3,), (1,))])
        events = (FsckEvent(fid, "MISS", 1), FsckEvent(fid, "GONE"))
        change = CopyChange(fid, (), (1, 2))
        await self.checked(
            Checked(fid, (1, 2), change, events, True, 1000.0, 4),
            Checked(other, (1,), None, (FsckEvent(other, "POVI"),)),
        )
        located = await self.store.files.find_fid(fid)
        self.assertEqual(sorted(located.devids), [2, 3])
        self.assertEqual([r.fid for r in await tasks.events_after(0, 9)], [other])
        self.assertEqual(await self.taken(), [])
        await self.pass_time(3)
        self.assertEqual([(r.fid, r.failcount) for r in await self.taken()], [(fid, 0)])

    async def test_finished_by_others(self) -> None:
        """What somebody else finished meanwhile, or deleted, is not told again, and
        its copies are left to whoever removes the file."""
        twice = await self.stored(1, "a", 1, 2)
        gone = await self.stored(1, "b", 1, 2)
        await self.queued(twice, gone)
        await self.store.files.delete(1, "b")
        tasks = self.store.tasks
        await tasks.finish_tasks(FSCK_TASK, [TaskDone(twice)])
        await self.checked(
            *(
                Checked(
                    fid, (1, 2), CopyChange(fid, (), (1,)), (FsckEvent(fid, "MISS", 1),)
                )
                for fid in (twice, gone)
            )
        )
        self.assertEqual(await tasks.events_after(0, 9), [])
        self.assertEqual(await tasks.count_tasks(FSCK_TASK, 9), 0)
        self.assertEqual(sorted(await self.store.files.devices_of(gone)), [1, 2])
        self.assertEqual(sorted(await self.store.files.devices_of(twice)), [1, 2])

    # --- the log

    async def told(self, *events: FsckEvent) -> None:
        """They are in the log."""
        fids = sorted({one.fid for one in events})
        await self.queued(*fids)
        for fid in fids:
            located = await self.store.files.find_fid(fid)
            mine = tuple(one for one in events if one.fid == fid)
            await self.checked(Checked(fid, located.devids, None, mine))

    async def test_log(self) -> None:
        """Events are kept in their order, counted, and cleared; numbers go on."""
        tasks = self.store.tasks
        self.assertEqual(await tasks.tally(0, 0), (0, {}))
        first, second = await self.stored(1, "a", 1), await self.stored(1, "b", 1)
        await self.told(FsckEvent(first, "MISS", 3), FsckEvent(first, "REPL"))
        await self.told(FsckEvent(second, "MISS", 4))
        now = await tasks.unix_time()
        log = await tasks.events_after(0, 2)
        self.assertEqual(
            [(r.fid, r.code, r.devid) for r in log],
            [(first, "MISS", 3), (first, "REPL", None)],
        )
        self.assertLess(abs(log[0].utime - now), 30)
        (last,) = await tasks.events_after(log[1].logid, 9)
        self.assertEqual(last.fid, second)
        highest, counts = await tasks.tally(0, 0)
        self.assertEqual((highest, counts), (last.logid, {"MISS": 2, "REPL": 1}))
        after = await tasks.tally(log[0].logid, 0)
        self.assertEqual(after[1], {"MISS": 1, "REPL": 1})
        self.assertEqual(await tasks.tally(0, 1000), (0, {}))
        self.patch(tasks_of_store, "CLEARED_ROWS", 2)
        await tasks.clear_events()
        self.assertEqual(await tasks.events_after(0, 9), [])
        self.assertEqual(await tasks.tally(last.logid, 0), (last.logid, {}))
        await self.told(FsckEvent(first, "GONE"))
        self.assertGreater((await tasks.events_after(0, 9))[0].logid, last.logid)
