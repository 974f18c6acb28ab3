"""The work that trackers share: the provider of `IQueues`.

A row of the replication queue is ours to finish only while it is in work
(`file_to_replicate.flags`, see `schema`). A row that MogileFS's own trackers have in
work cannot be told from one that was put off: `release_replications` and
`hasten_replications` make such rows due, as MogileFS's ``replicate_now`` does.

A `retry_seconds` beyond ten years gives a row up: it is due only after somebody calls
`hasten_replications`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from zope.interface import implementer

from koboldfs.interfaces import IQueues
from koboldfs.model.entities import Deletion, DeletionDone, Replication, ReplicationDone
from koboldfs.model.fid import MAX_FID
from koboldfs.store import transactions_queues as work
from koboldfs.store.database import Database
from koboldfs.store.looks import Outset
from koboldfs.store.steps import Steps

T = TypeVar("T")

#: Rows that one transaction finishes or queues: engines limit a statement's size.
MAX_ROWS = 500
#: Rows that one call may take; more would only lie about, leased.
MAX_TAKEN = 10_000
#: Transactions of one `hasten_replications`; with the rows of each, ten million rows.
MAX_HASTENINGS = 10_000


def _slices(values: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(values), MAX_ROWS):
        yield values[start : start + MAX_ROWS]


@implementer(IQueues)
class Queues:
    """Every method is one transaction, or several where there are very many rows."""

    _log = Logger()

    def __init__(self, database: Database) -> None:
        self._database = database
        self._replications = Outset(database.clock)
        self._deletions = Outset(database.clock)
        #: Of dead devices that have more, up to which fid they were reaped.
        self._reaped: dict[int, int] = {}

    # --- replication

    def take_replications(
        self, limit: int, lease_seconds: int
    ) -> Awaitable[list[Replication]]:
        """See `IQueues.take_replications`."""
        if limit < 1:
            return succeed([])
        count, lease = min(limit, MAX_TAKEN), max(0, int(lease_seconds))
        return Deferred.fromCoroutine(self._take_replications(count, lease))

    async def _take_replications(self, limit: int, lease: int) -> list[Replication]:
        look = self._replications.look(limit)
        steps = work.take_replications
        taken = await self._database.write("take_replications", steps, look, lease)
        self._replications.looked(look)
        return taken

    def keep_replications(
        self, fids: Sequence[int], lease_seconds: int
    ) -> Awaitable[None]:
        """See `IQueues.keep_replications`."""
        keeping = self._keep(work.keep_replications, fids, lease_seconds)
        return Deferred.fromCoroutine(keeping)

    def finish_replications(self, done: Sequence[ReplicationDone]) -> Awaitable[None]:
        """See `IQueues.finish_replications`."""
        return Deferred.fromCoroutine(self._finish_replications(done))

    async def _finish_replications(self, done: Sequence[ReplicationDone]) -> None:
        for some in _slices(done):
            steps = work.finish_replications
            await self._database.write("finish_replications", steps, some)

    def queue_replications(
        self, fids: Sequence[int], delay_seconds: int
    ) -> Awaitable[None]:
        """See `IQueues.queue_replications`."""
        possible = sorted({fid for fid in fids if 0 < fid <= MAX_FID})
        delay = max(0, int(delay_seconds))
        return Deferred.fromCoroutine(self._queue_replications(possible, delay))

    async def _queue_replications(self, fids: Sequence[int], delay: int) -> None:
        for some in _slices(fids):
            steps = work.queue_replications
            await self._database.write("queue_replications", steps, some, delay)

    def release_replications(self, limit: int) -> Awaitable[int]:
        """See `IQueues.release_replications`."""
        if limit < 1:
            return succeed(0)
        steps = work.release_replications
        count = min(limit, MAX_TAKEN)
        return self._database.write("release_replications", steps, count)

    def hasten_replications(self) -> Awaitable[int]:
        """See `IQueues.hasten_replications`."""
        return Deferred.fromCoroutine(self._hasten_replications())

    async def _hasten_replications(self) -> int:
        total = 0
        for _ in range(MAX_HASTENINGS):
            steps = work.hasten_replications
            count = await self._database.write("hasten_replications", steps)
            total += count
            if count < work.HASTEN_ROWS:
                break
        return total

    # --- deletion

    def take_deletions(
        self, limit: int, lease_seconds: int, grace_seconds: int = 0
    ) -> Awaitable[list[Deletion]]:
        """See `IQueues.take_deletions`."""
        if limit < 1:
            return succeed([])
        count, lease = min(limit, MAX_TAKEN), max(0, int(lease_seconds))
        grace = max(0, int(grace_seconds))
        return Deferred.fromCoroutine(self._take_deletions(count, lease, grace))

    async def _take_deletions(
        self, limit: int, lease_seconds: int, grace: int
    ) -> list[Deletion]:
        database = self._database
        if database.estate.made_by_mogilefs:
            moved = work.move_old_deletions
            await database.write("move_old_deletions", moved, min(limit, MAX_ROWS))
        look, steps = self._deletions.look(limit), work.take_deletions
        taken, live = await database.write(
            "take_deletions", steps, look, lease_seconds, grace
        )
        self._deletions.looked(look)
        if live:
            self._log.critical(
                "live files were queued for deletion and are kept: {fids}", fids=live
            )
        return taken

    def keep_deletions(
        self, fids: Sequence[int], lease_seconds: int
    ) -> Awaitable[None]:
        """See `IQueues.keep_deletions`."""
        keeping = self._keep(work.keep_deletions, fids, lease_seconds)
        return Deferred.fromCoroutine(keeping)

    def finish_deletions(self, done: Sequence[DeletionDone]) -> Awaitable[None]:
        """See `IQueues.finish_deletions`."""
        return Deferred.fromCoroutine(self._finish_deletions(done))

    async def _finish_deletions(self, done: Sequence[DeletionDone]) -> None:
        for some in _slices(done):
            await self._database.write("finish_deletions", work.finish_deletions, some)

    async def _keep(
        self, steps: Callable[..., Steps[None]], fids: Sequence[int], lease: int
    ) -> None:
        for some in _slices(sorted(set(fids))):
            await self._database.write(steps.__name__, steps, some, max(0, lease))

    def expire_uploads(self, older_than_seconds: int, limit: int) -> Awaitable[int]:
        """See `IQueues.expire_uploads`."""
        if limit < 1:
            return succeed(0)
        return self._database.write(
            "expire_uploads",
            work.expire_uploads,
            max(0, int(older_than_seconds)),
            min(limit, MAX_ROWS),
        )

    def reap(self, devid: int, limit: int) -> Awaitable[int]:
        """See `IQueues.reap`."""
        if limit < 1:
            return succeed(0)
        return Deferred.fromCoroutine(self._reap(devid, min(limit, MAX_TAKEN)))

    async def _reap(self, devid: int, limit: int) -> int:
        """From where the last one ended: before that the index is full of what has
        just gone. When nothing more comes, once more from the start."""
        database, fids = self._database, list[int]()
        if database.walks_devices:
            after = self._reaped.pop(devid, 0)
            fids = await database.write("reap", work.reap, devid, after, limit)
            if after and not fids:
                fids = await database.write("reap", work.reap, devid, 0, limit)
            if fids:
                self._reaped[devid] = fids[-1]
        else:
            fids = await database.write("reap", work.reap, devid, None, limit)
        return len(fids)

    def lengths(self) -> Awaitable[Mapping[str, int]]:
        """See `IQueues.lengths`; counts stop at `statements_queues.COUNTED_ROWS`."""
        return self._database.read("lengths", work.lengths)
