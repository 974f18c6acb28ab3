"""The work of fsck and rebalance: the provider of `ITasks`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from koboldfs.interfaces import ITasks
from koboldfs.model.entities import (
    Checked,
    Checksum,
    CopyChange,
    File,
    FsckLogRow,
    Located,
    Task,
    TaskDone,
)
from koboldfs.model.fid import MAX_FID
from koboldfs.store import transactions_tasks as work
from koboldfs.store.database import Database
from koboldfs.store.looks import Outset
from koboldfs.store.queues import MAX_ROWS, MAX_TAKEN
from koboldfs.store.steps import Steps

#: Events that one transaction forgets: all of a long log would take minutes.
CLEARED_ROWS = 10_000
#: Transactions of one `clear_events`; with the rows of each, a hundred million.
MAX_CLEARINGS = 10_000


@implementer(ITasks)
class Tasks:
    """Long lists are several transactions of `MAX_ROWS` rows."""

    def __init__(self, database: Database) -> None:
        self._database = database
        #: By kind of task, of which there are two.
        self._outsets: dict[int, Outset] = {}

    def queue_tasks(
        self, kind: int, rows: Sequence[tuple[int, int | None, str | None]]
    ) -> Awaitable[None]:
        """See `ITasks.queue_tasks`."""
        return self._each(work.queue_tasks, rows, kind)

    def take_tasks(
        self, kind: int, limit: int, lease_seconds: int
    ) -> Awaitable[list[Task]]:
        """See `ITasks.take_tasks`."""
        if limit < 1:
            return succeed([])
        count, lease = min(limit, MAX_TAKEN), max(0, int(lease_seconds))
        return Deferred.fromCoroutine(self._take_tasks(kind, count, lease))

    async def _take_tasks(self, kind: int, limit: int, lease: int) -> list[Task]:
        if kind not in self._outsets:
            self._outsets[kind] = Outset(self._database.clock)
        look, steps = self._outsets[kind].look(limit), work.take_tasks
        taken = await self._database.write("take_tasks", steps, kind, look, lease)
        self._outsets[kind].looked(look)
        return taken

    def keep_tasks(
        self, kind: int, fids: Sequence[int], lease_seconds: int
    ) -> Awaitable[None]:
        """See `ITasks.keep_tasks`."""

        def steps(sql: Any, kind: int, some: Sequence[int]) -> Steps[None]:
            return work.keep_tasks(sql, kind, some, max(0, int(lease_seconds)))

        return self._each(steps, sorted(set(fids)), kind)

    def finish_tasks(self, kind: int, done: Sequence[TaskDone]) -> Awaitable[None]:
        """See `ITasks.finish_tasks`."""
        return self._each(work.finish_tasks, done, kind)

    def drop_tasks(self, kind: int, limit: int) -> Awaitable[int]:
        """See `ITasks.drop_tasks`."""
        if limit < 1:
            return succeed(0)
        count = min(limit, MAX_TAKEN)
        return self._database.write("drop_tasks", work.drop_tasks, kind, count)

    def count_tasks(self, kind: int, most: int) -> Awaitable[int]:
        """See `ITasks.count_tasks`."""
        steps = work.count_tasks
        return self._database.read("count_tasks", steps, kind, max(0, most))

    def count_fresh(self, kind: int, most: int) -> Awaitable[int]:
        """See `ITasks.count_fresh`."""
        steps = work.count_fresh
        return self._database.read("count_fresh", steps, kind, max(0, most))

    def files_on(
        self, devid: int, after_fid: int, limit: int
    ) -> Awaitable[list[Located]]:
        """See `ITasks.files_on`."""
        return self._page(devid, after_fid, limit, newest=False)

    def newest_files_on(
        self, devid: int, before_fid: int, limit: int
    ) -> Awaitable[list[Located]]:
        """See `ITasks.newest_files_on`."""
        return self._page(devid, before_fid, limit, newest=True)

    def _page(
        self, devid: int, beyond_fid: int, limit: int, *, newest: bool
    ) -> Awaitable[list[Located]]:
        if limit < 1:
            return succeed([])
        fid, count = max(0, min(beyond_fid, MAX_FID)), min(limit, MAX_TAKEN)
        steps = work.files_on
        return self._database.read("files_on", steps, devid, fid, count, newest)

    def highest_fid(self) -> Awaitable[int]:
        """See `ITasks.highest_fid`."""
        return self._database.read("highest_fid", work.highest_fid)

    def files_between(
        self, after_fid: int, last_fid: int, limit: int
    ) -> Awaitable[list[File]]:
        """See `ITasks.files_between`."""
        after, last = (max(0, min(fid, MAX_FID)) for fid in (after_fid, last_fid))
        if limit < 1 or after >= last:
            return succeed([])
        steps, count = work.files_between, min(limit, MAX_TAKEN)
        return self._database.read("files_between", steps, after, last, count)

    def class_checksums(self, fids: Sequence[int]) -> Awaitable[Mapping[int, Checksum]]:
        """See `ITasks.class_checksums`."""
        if not fids:
            return succeed({})
        return self._database.read("class_checksums", work.class_checksums, fids)

    def change_copies(self, changes: Sequence[CopyChange]) -> Awaitable[None]:
        """See `ITasks.change_copies`."""
        return self._each(work.change_copies, changes)

    def release_copy(
        self, fid: int, devid: int, keep: Sequence[int]
    ) -> Awaitable[bool]:
        """See `ITasks.release_copy`."""
        steps = work.release_copy
        return self._database.write_once(
            "release_copy", steps, fid, devid, frozenset(keep)
        )

    def finish_checks(
        self, checks: Sequence[Checked], relook_seconds: int, repair_seconds: int
    ) -> Awaitable[None]:
        """See `ITasks.finish_checks`."""
        relook, repair = max(0, relook_seconds), max(0, repair_seconds)
        return self._each(work.finish_checks, checks, relook, repair)

    def events_after(self, logid: int, limit: int) -> Awaitable[list[FsckLogRow]]:
        """See `ITasks.events_after`."""
        if limit < 1:
            return succeed([])
        steps, count = work.events_after, min(limit, MAX_TAKEN)
        return self._database.read("events_after", steps, max(0, logid), count)

    def clear_events(self) -> Awaitable[None]:
        """See `ITasks.clear_events`."""
        return Deferred.fromCoroutine(self._clear_events())

    async def _clear_events(self) -> None:
        logid = 0
        for _ in range(MAX_CLEARINGS):
            logid = await self._database.write(
                "clear_events", work.clear_events, logid, CLEARED_ROWS
            )
            if not logid:
                break

    def tally(
        self, after_logid: int, older_than_seconds: int
    ) -> Awaitable[tuple[int, Mapping[str, int]]]:
        """See `ITasks.tally`."""
        after, age = max(0, after_logid), max(0, older_than_seconds)
        return self._database.read("tally", work.tally, after, age)

    def unix_time(self) -> Awaitable[int]:
        """See `ITasks.unix_time`."""
        return self._database.read("unix_time", work.unix_time)

    def _each(
        self, steps: Callable[..., Steps[None]], rows: Sequence[Any], *first: Any
    ) -> Deferred[None]:
        return Deferred.fromCoroutine(self._slices(steps, rows, first))

    async def _slices(
        self, steps: Callable[..., Steps[None]], rows: Sequence[Any], first: Any
    ) -> None:
        for start in range(0, len(rows), MAX_ROWS):
            some = rows[start : start + MAX_ROWS]
            await self._database.write(steps.__name__, steps, *first, some)
