"""The part of `MemoryStore` that provides `IQueues`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import evolve

from koboldfs.model.entities import (
    END_OF_TIME,
    Deletion,
    DeletionDone,
    Replication,
    ReplicationDone,
)
from test.fakes.store_tables import QueueRow

IN_WORK, ASKED_AGAIN = 1, 2
#: A row in work is due within that time.
LONGEST_LEASE_SECONDS = 1000
#: A delay beyond this (ten years, in seconds) means: given up.
GIVEN_UP_SECONDS = 315_360_000
#: Seconds after which the files of a dead device are due.
REAPED_DELAY_SECONDS = 1


class QueueCalls:
    """See `IQueues`; `self` is a `MemoryStore`."""

    tables: Any

    # --- what other transactions do to the queues

    def queue_new(self, fid: int) -> None:
        """A file that was just stored; due now."""
        self.tables.to_replicate.setdefault(fid, QueueRow(0))

    def queue_again(self, fid: int, delay_seconds: int) -> None:
        """Queue a file; a row in work is marked, so that it outlives that work."""
        row = self.tables.to_replicate.get(fid)
        if row is None:
            self.tables.to_replicate[fid] = QueueRow(self.now() + delay_seconds)
        elif row.flags == IN_WORK:
            row.flags = ASKED_AGAIN

    def queue_deletion(self, fid: int) -> None:
        """Queue a fid that is no live file any more."""
        self.tables.to_delete.setdefault(fid, QueueRow(self.now()))

    def _due(
        self, queue: Mapping[int, Any], limit: int, grace_seconds: int = 0
    ) -> list[int]:
        now = self.now() - grace_seconds
        due = [
            (row.nexttry, fid)
            for fid, row in queue.items()
            if row.nexttry <= now and row.nexttry != END_OF_TIME
        ]
        return [fid for _, fid in sorted(due)[:limit]]

    def _later(self, seconds: float) -> int:
        if seconds > GIVEN_UP_SECONDS:
            return END_OF_TIME
        return self.now() + max(0, round(seconds))

    # --- replication

    async def take_replications(
        self, limit: int, lease_seconds: int
    ) -> list[Replication]:
        """See `IQueues`."""
        await self.enter("take_replications", limit, lease_seconds)
        taken = []
        for fid in self._due(self.tables.to_replicate, limit):
            row = self.tables.to_replicate[fid]
            row.nexttry, row.flags = self.now() + lease_seconds, IN_WORK
            located = self.tables.located(fid, checksum=True)
            taken.append(Replication(fid, row.failcount, row.fromdevid, located))
        return taken

    async def keep_replications(self, fids: Sequence[int], lease_seconds: int) -> None:
        """See `IQueues`."""
        await self.enter("keep_replications", tuple(fids), lease_seconds)
        for fid in fids:
            row = self.tables.to_replicate.get(fid)
            if row is not None and row.flags:
                row.nexttry = self.now() + lease_seconds

    async def finish_replications(self, done: Sequence[ReplicationDone]) -> None:
        """See `IQueues`."""
        await self.enter("finish_replications", tuple(done))
        for one in done:
            self._finish_replication(one)

    def _finish_replication(self, one: ReplicationDone) -> None:
        tables, fid = self.tables, one.fid
        tables.file_on.update((fid, devid) for devid in one.added)
        tables.file_on.difference_update((fid, devid) for devid in one.removed)
        file = tables.files.get(fid)
        if file is not None:
            tables.files[fid] = evolve(file, devcount=len(tables.devids(fid)))
            if one.checksum is not None:
                tables.own_checksums.setdefault(fid, one.checksum)
        elif one.added:
            tables.to_delete[fid] = QueueRow(self.now())
        row = tables.to_replicate.get(fid)
        if row is None or not row.flags:
            return
        asked_again = row.flags == ASKED_AGAIN
        row.flags = 0
        if one.retry_seconds is not None:
            row.failcount = one.failcount
            row.nexttry = 0 if asked_again else self._later(one.retry_seconds)
        elif asked_again:
            row.nexttry, row.failcount = 0, 0
        else:
            del tables.to_replicate[fid]

    async def queue_replications(self, fids: Sequence[int], delay_seconds: int) -> None:
        """See `IQueues`."""
        await self.enter("queue_replications", tuple(fids), delay_seconds)
        for fid in fids:
            self.queue_again(fid, delay_seconds)

    async def release_replications(self, limit: int) -> int:
        """See `IQueues`."""
        await self.enter("release_replications", limit)
        now = self.now()
        rows = [
            row
            for row in self.tables.to_replicate.values()
            if row.failcount and self._waits(row) and row.nexttry < END_OF_TIME
        ][:limit]
        for row in rows:
            row.nexttry = now
        return len(rows)

    async def hasten_replications(self) -> int:
        """See `IQueues`."""
        await self.enter("hasten_replications")
        now = self.now()
        rows = [row for row in self.tables.to_replicate.values() if self._waits(row)]
        for row in rows:
            row.nexttry = now
        return len(rows)

    def _waits(self, row: QueueRow) -> bool:
        """Whether it is not due, and not in work."""
        ahead = row.nexttry - self.now()
        return ahead > 0 and (not row.flags or ahead > LONGEST_LEASE_SECONDS)

    # --- deletion

    async def take_deletions(
        self, limit: int, lease_seconds: int, grace_seconds: int = 0
    ) -> list[Deletion]:
        """See `IQueues`."""
        await self.enter("take_deletions", limit, lease_seconds)
        taken = []
        for fid in self._due(self.tables.to_delete, limit, grace_seconds):
            if fid in self.tables.files:
                # Against all rules: a live file is never handed out.
                del self.tables.to_delete[fid]
                continue
            row = self.tables.to_delete[fid]
            row.nexttry = self.now() + lease_seconds
            taken.append(Deletion(fid, row.failcount, self.tables.devids(fid)))
        return taken

    async def keep_deletions(self, fids: Sequence[int], lease_seconds: int) -> None:
        """See `IQueues`."""
        await self.enter("keep_deletions", tuple(fids), lease_seconds)
        for fid in fids:
            row = self.tables.to_delete.get(fid)
            if row is not None:
                row.nexttry = self.now() + lease_seconds

    async def finish_deletions(self, done: Sequence[DeletionDone]) -> None:
        """See `IQueues`."""
        await self.enter("finish_deletions", tuple(done))
        tables = self.tables
        for one in done:
            if one.fid in tables.files:
                continue
            tables.file_on.difference_update((one.fid, d) for d in one.removed)
            if tables.devids(one.fid):
                tables.to_delete[one.fid] = QueueRow(
                    self._later(one.retry_seconds or 0), one.failcount
                )
                continue
            for table in (
                tables.to_delete,
                tables.own_checksums,
                tables.class_checksums,
                tables.uploads,
            ):
                table.pop(one.fid, None)

    async def expire_uploads(self, older_than_seconds: int, limit: int) -> int:
        """See `IQueues`."""
        await self.enter("expire_uploads", older_than_seconds, limit)
        tables = self.tables
        old = [
            upload
            for _, upload in sorted(tables.uploads.items())
            if upload.createtime <= self.now() - older_than_seconds
        ][:limit]
        for upload in old:
            del tables.uploads[upload.fid]
            if upload.fid not in tables.files:
                tables.file_on.update((upload.fid, d) for d in upload.devids)
                tables.to_delete[upload.fid] = QueueRow(self.now())
        return len(old)

    # --- chores

    async def reap(self, devid: int, limit: int) -> int:
        """See `IQueues`."""
        await self.enter("reap", devid, limit)
        tables = self.tables
        fids = sorted(fid for fid, one in tables.file_on if one == devid)[:limit]
        for fid in fids:
            tables.file_on.discard((fid, devid))
            file = tables.files.get(fid)
            if file is not None:
                tables.files[fid] = evolve(file, devcount=len(tables.devids(fid)))
                self.queue_again(fid, REAPED_DELAY_SECONDS)
        return len(fids)

    async def lengths(self) -> Mapping[str, int]:
        """See `IQueues`."""
        await self.enter("lengths")
        tables = self.tables
        return {
            "replicate": len(tables.to_replicate),
            "delete": len(tables.to_delete),
            "upload": len(tables.uploads),
        }
