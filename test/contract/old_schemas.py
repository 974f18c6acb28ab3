"""Databases of every schema version that MogileFS had since 10, on each engine: files
are served, changed, queued and checked, and no table that was there has changed."""

from __future__ import annotations

from typing import Any

from koboldfs import errors
from koboldfs.model.entities import (
    FSCK_TASK,
    REBALANCE_TASK,
    Closing,
    DeletionDone,
    ReplicationDone,
    TaskDone,
)
from koboldfs.store.open import Store
from test.contract.store import THEIRS, StoreContract

VERSIONS = range(10, 18)


class OldSchemasContract(StoreContract):
    """`engine`, `execute` and `columns` are the case's."""

    engine = ""

    def execute(self, sql: str) -> list[Any]:
        """Look at the database from outside."""
        raise NotImplementedError

    def columns(self) -> list[Any]:
        """(table, what it has) of every table, in order."""
        raise NotImplementedError

    async def renewed(self: Any, version: int) -> Store:
        """A store on a new database of that version."""
        await self.tearDown()
        self.stores.clear()
        await self.setUp()
        return self.store  # type: ignore[no-any-return]

    async def test_a_life(self: Any) -> None:
        """The life of a file, on each version."""
        for self.version in VERSIONS:
            store = await self.renewed(self.version)
            self.assertTrue(store.made_by_mogilefs, self.version)
            await self.live(store)
            names = {row[0] for row in self.before}
            after = [row for row in self.columns() if row[0] in names]
            self.assertEqual(after, self.before, self.version)

    async def live(self: Any, store: Store) -> None:
        """Store, replace, look at, copy, check, move, delete."""
        files, queues, tasks = store.files, store.queues, store.tasks
        fid = await files.open_upload(1, "k", 0, (1,), None)
        self.assertGreater(fid, 9)
        closing = Closing(fid, 1, "k", 0, 3, (1,), None, THEIRS)
        self.assertEqual(await files.close_upload(closing), "closed")
        self.assertEqual(await files.class_checksum(fid), THEIRS)
        found = await files.find(1, "k")
        self.assertEqual((found.file.fid, found.devids), (fid, (1,)))
        await files.rename(1, "Z", "z2")
        self.assertEqual(await files.list_keys(1, "z", "", 9), ["z2"])
        (row,) = await queues.take_replications(9, 0)
        await queues.finish_replications([ReplicationDone(row.fid, (2,))])
        await tasks.queue_tasks(FSCK_TASK, [(fid, None, None)])
        await self.move(store, fid)
        rows = await files.queue_rows(fid)
        self.assertEqual(rows["fsckqueue"]["fid"], fid)
        (task,) = await tasks.take_tasks(FSCK_TASK, 9, 0)
        self.assertEqual((task.fid, task.located.devids), (fid, (1, 2)))
        await tasks.finish_tasks(FSCK_TASK, [TaskDone(fid)])
        self.assertTrue(await files.delete(1, "k"))
        taken = {one.fid: one.devids for one in await queues.take_deletions(9, 0)}
        self.assertEqual(taken, {4: (), 5: (), 7: (1,), fid: (1, 2)})
        await queues.finish_deletions(
            [DeletionDone(one, devids) for one, devids in taken.items()]
        )
        self.assertEqual(await queues.take_deletions(9, 0), [])
        self.assertEqual(self.execute("select fid from file_on"), [(9,)])
        await self.classes(store)

    async def move(self: Any, store: Store, fid: int) -> None:
        """Rebalance, where the queue can hold what that needs to know."""
        rows = [(fid, 1, "2,3")]
        queued = store.tasks.queue_tasks(REBALANCE_TASK, rows)
        if self.version in (11, 12):
            error = await self.fault(errors.ValueRefused, queued)
            self.assertIn("schema 13", str(error))
            await store.tasks.queue_tasks(REBALANCE_TASK, [(fid, 1, None)])
        else:
            await queued
        (task,) = await store.tasks.take_tasks(REBALANCE_TASK, 9, 0)
        arg = None if self.version in (11, 12) else "2,3"
        self.assertEqual((task.fid, task.devid, task.arg), (fid, 1, arg))
        await store.tasks.finish_tasks(REBALANCE_TASK, [TaskDone(fid)])

    async def classes(self: Any, store: Store) -> None:
        """A class has a hash type where the table has one."""
        classid = await store.topology.create_class(1, "c", 2, None, None)
        hashed = store.topology.update_class(1, classid, "c", 3, None, 1)
        if self.version < 15:
            await self.fault(errors.ValueRefused, hashed)
        else:
            await hashed
            (found,) = (await store.topology.load()).classes
            self.assertEqual((found.mindevcount, found.hashtype), (3, 1))
