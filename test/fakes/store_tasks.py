"""The part of `MemoryStore` that provides `ITasks`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import evolve

from koboldfs.model.entities import (
    END_OF_TIME,
    FSCK_TASK,
    Checked,
    Checksum,
    CopyChange,
    File,
    FsckEvent,
    FsckLogRow,
    Located,
    Task,
    TaskDone,
)
from test.fakes.store_tables import QueueRow, TaskRow

#: A task is put off this long at the most (seconds).
TEN_YEARS = 315_360_000


class TaskCalls:
    """See `ITasks`; `self` is a `MemoryStore`."""

    tables: Any

    async def queue_tasks(
        self, kind: int, rows: Sequence[tuple[int, int | None, str | None]]
    ) -> None:
        """See `ITasks`."""
        await self.enter("queue_tasks", kind, tuple(rows))
        for fid, devid, arg in rows:
            row = TaskRow(devid, arg, self.now())
            self.tables.tasks.setdefault((kind, fid), row)

    async def take_tasks(self, kind: int, limit: int, lease_seconds: int) -> list[Task]:
        """See `ITasks`."""
        await self.enter("take_tasks", kind, limit, lease_seconds)
        due = [
            (row.nexttry, fid)
            for (one, fid), row in self.tables.tasks.items()
            if one == kind and row.nexttry <= self.now() and row.nexttry != END_OF_TIME
        ]
        taken = []
        for _, fid in sorted(due)[:limit]:
            row = self.tables.tasks[kind, fid]
            row.nexttry = self.now() + lease_seconds
            located = self.tables.located(fid, checksum=True)
            taken.append(Task(kind, fid, row.devid, row.arg, row.failcount, located))
        return taken

    async def keep_tasks(
        self, kind: int, fids: Sequence[int], lease_seconds: int
    ) -> None:
        """See `ITasks`."""
        await self.enter("keep_tasks", kind, tuple(fids), lease_seconds)
        for fid in fids:
            if (kind, fid) in self.tables.tasks:
                self.tables.tasks[kind, fid].nexttry = self.now() + lease_seconds

    async def finish_tasks(self, kind: int, done: Sequence[TaskDone]) -> None:
        """See `ITasks`."""
        await self.enter("finish_tasks", kind, tuple(done))
        for one in done:
            if one.retry_seconds is None:
                self.tables.tasks.pop((kind, one.fid), None)
            elif (kind, one.fid) in self.tables.tasks:
                row = self.tables.tasks[kind, one.fid]
                row.nexttry = self.now() + round(min(one.retry_seconds, TEN_YEARS))
                row.failcount = one.failcount

    async def drop_tasks(self, kind: int, limit: int) -> int:
        """See `ITasks`."""
        await self.enter("drop_tasks", kind, limit)
        rows = [name for name in self.tables.tasks if name[0] == kind][:limit]
        for name in rows:
            del self.tables.tasks[name]
        return len(rows)

    async def count_tasks(self, kind: int, most: int) -> int:
        """See `ITasks`."""
        await self.enter("count_tasks", kind, most)
        return min(most, sum(one == kind for one, _ in self.tables.tasks))

    async def count_fresh(self, kind: int, most: int) -> int:
        """See `ITasks`."""
        await self.enter("count_fresh", kind, most)
        rows = self.tables.tasks.items()
        return min(most, sum(n[0] == kind and not r.failcount for n, r in rows))

    def _on(self, devid: int) -> list[int]:
        return sorted(
            fid
            for fid, one in self.tables.file_on
            if one == devid and fid in self.tables.files
        )

    async def files_on(self, devid: int, after_fid: int, limit: int) -> list[Located]:
        """See `ITasks`."""
        await self.enter("files_on", devid, after_fid, limit)
        fids = [fid for fid in self._on(devid) if fid > after_fid][:limit]
        return [self.tables.located(fid, checksum=True) for fid in fids]

    async def newest_files_on(
        self, devid: int, before_fid: int, limit: int
    ) -> list[Located]:
        """See `ITasks`."""
        await self.enter("newest_files_on", devid, before_fid, limit)
        fids = [fid for fid in self._on(devid) if fid < before_fid][::-1][:limit]
        return [self.tables.located(fid, checksum=True) for fid in fids]

    async def highest_fid(self) -> int:
        """See `ITasks`."""
        await self.enter("highest_fid")
        return max(self.tables.files, default=0)

    async def files_between(
        self, after_fid: int, last_fid: int, limit: int
    ) -> list[File]:
        """See `ITasks`."""
        await self.enter("files_between", after_fid, last_fid, limit)
        files = self.tables.files
        return [files[n] for n in sorted(files) if after_fid < n <= last_fid][:limit]

    async def class_checksums(self, fids: Sequence[int]) -> Mapping[int, Checksum]:
        """See `ITasks`."""
        await self.enter("class_checksums", tuple(fids))
        known = self.tables.class_checksums
        return {fid: known[fid] for fid in fids if fid in known}

    async def change_copies(self, changes: Sequence[CopyChange]) -> None:
        """See `ITasks`."""
        await self.enter("change_copies", tuple(changes))
        self._change_copies(changes)

    def _change_copies(self, changes: Sequence[CopyChange]) -> None:
        tables = self.tables
        for one in changes:
            tables.file_on.update((one.fid, devid) for devid in one.added)
            tables.file_on.difference_update((one.fid, d) for d in one.removed)
            file = tables.files.get(one.fid)
            if file is None:
                if one.added:
                    tables.to_delete[one.fid] = QueueRow(self.now())
                continue
            count = len(tables.devids(one.fid))
            tables.files[one.fid] = evolve(file, devcount=count)
            if one.checksum is not None:
                tables.own_checksums[one.fid] = one.checksum
            if one.class_checksum is not None:
                tables.class_checksums[one.fid] = one.class_checksum

    async def release_copy(self, fid: int, devid: int, keep: Sequence[int]) -> bool:
        """See `ITasks`."""
        await self.enter("release_copy", fid, devid, tuple(keep))
        tables = self.tables
        recorded = set(tables.devids(fid))
        if fid not in tables.files or not keep or devid in keep:
            return False
        if not {*keep, devid} <= recorded:
            return False
        tables.file_on.discard((fid, devid))
        tables.files[fid] = evolve(tables.files[fid], devcount=len(recorded) - 1)
        return True

    async def finish_checks(
        self, checks: Sequence[Checked], relook_seconds: int, repair_seconds: int
    ) -> None:
        """See `ITasks`."""
        await self.enter("finish_checks", tuple(checks), relook_seconds, repair_seconds)
        tables = self.tables
        for one in checks:
            row = tables.tasks.get((FSCK_TASK, one.fid))
            news = one.change or one.events or one.replicate
            if news and row is not None and one.fid in tables.files:
                if set(one.seen) != set(tables.devids(one.fid)):
                    row.nexttry = self.now() + relook_seconds
                    continue
                self._change_copies([one.change] if one.change else [])
                self.log(one.events)
                if one.replicate:
                    self.queue_again(one.fid, repair_seconds)
            if row is not None and one.retry_seconds is None:
                del tables.tasks[FSCK_TASK, one.fid]
            elif row is not None:
                row.nexttry = self.now() + round(min(one.retry_seconds, TEN_YEARS))
                row.failcount = one.failcount

    def log(self, events: Sequence[FsckEvent]) -> None:
        """For tests: these events were found."""
        for one in events:
            self.tables.last_logid += 1
            self.tables.fsck_log.append(
                FsckLogRow(
                    self.tables.last_logid, self.now(), one.fid, one.code, one.devid
                )
            )

    async def events_after(self, logid: int, limit: int) -> list[FsckLogRow]:
        """See `ITasks`."""
        await self.enter("events_after", logid, limit)
        return [one for one in self.tables.fsck_log if one.logid > logid][:limit]

    async def clear_events(self) -> None:
        """See `ITasks`."""
        await self.enter("clear_events")
        self.tables.fsck_log.clear()

    async def tally(
        self, after_logid: int, older_than_seconds: int
    ) -> tuple[int, Mapping[str, int]]:
        """See `ITasks`."""
        await self.enter("tally", after_logid, older_than_seconds)
        latest = self.now() - older_than_seconds
        log = [one for one in self.tables.fsck_log if one.utime <= latest]
        counts = Counter(one.code for one in log if one.logid > after_logid)
        return max((after_logid, *(one.logid for one in log))), dict(counts)

    async def unix_time(self) -> int:
        """See `ITasks`."""
        return int(self.now())
