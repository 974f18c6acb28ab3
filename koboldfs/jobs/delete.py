"""Deletion: the bytes of files that are gone, and what abandoned uploads left.

Bytes stay for a grace after their key was deleted or overwritten: whoever was told
where they are just before that still finds them. A copy on a dead device is forgotten;
one that cannot be reached now is tried again later, for as long as it takes. The queue
row goes when no copy is left.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from koboldfs import errors
from koboldfs.interfaces import ILiveView, ILocks, INodes, IQueues
from koboldfs.jobs.worker import LEASE_SECONDS, QueueWorker
from koboldfs.model.entities import Deletion, DeletionDone
from koboldfs.model.numbering import FORGOTTEN_SETTING
from koboldfs.running import together

#: Put-off times, as MogileFS has them: not observed writeable, not allowed, refused.
AWAY_SECONDS = 60
NOT_ALLOWED_SECONDS = 3600
REFUSED_SECONDS = 1800
LONGEST_SECONDS = 86400
#: An upload that was not closed for this long is abandoned (MogileFS's number).
ABANDONED_SECONDS = 3600
EXPIRE_BATCH = 500
#: How long bytes stay after their key is gone (seconds), unless the setting says
#: otherwise: get_paths and the GET that follows take far less.
GRACE_SETTING, GRACE_SECONDS = "kobold_delete_grace_seconds", 5
#: No longer, whatever the setting says (a day): deleted files take room.
LONGEST_GRACE_SECONDS = 86_400


class DeleteWorker(QueueWorker[Deletion, DeletionDone]):
    """See the module."""

    name = "delete"
    parallel = 64

    def __init__(
        self,
        queues: IQueues,
        nodes: INodes,
        live: ILiveView,
        locks: ILocks | None = None,
    ) -> None:
        super().__init__(locks)
        self._queues = queues
        self._nodes = nodes
        self._live = live

    async def take(self, limit: int) -> list[Deletion]:
        """Lease rows whose grace is over."""
        grace = grace_seconds(self._live.view.settings)
        return await self._queues.take_deletions(limit, LEASE_SECONDS, grace)

    async def keep_leases(self, fids: Sequence[int], lease_seconds: int) -> None:
        """Let the leases begin anew."""
        await self._queues.keep_deletions(fids, lease_seconds)

    def number(self, row: Deletion) -> int:
        """The fid."""
        return row.fid

    async def report(self, reports: list[DeletionDone]) -> None:
        """Record which copies are gone."""
        await self._queues.finish_deletions(reports)

    async def work(self, row: Deletion) -> DeletionDone:
        """Remove every copy that can be removed now."""
        waits = await together([self._remove(row, d) for d in row.devids])
        gone = tuple(d for d, wait in zip(row.devids, waits, strict=True) if wait == 0)
        if len(gone) == len(row.devids):
            return DeletionDone(row.fid, gone)
        return DeletionDone(
            row.fid, gone, min(max(waits), LONGEST_SECONDS), row.failcount + 1
        )

    async def _remove(self, row: Deletion, devid: int) -> int:
        """0 when the copy is gone, else after how many seconds to try again."""
        view = self._live.view
        place = view.place(devid)
        if place is None:
            # Nothing is known of it yet: another tracker may have made it just now.
            return AWAY_SECONDS * (10 + row.failcount)
        if view.is_dead(devid):
            return 0
        if not view.may_delete_from(devid):
            device = view.devices[devid]
            if device.status in ("alive", "drain") and place.host.status == "alive":
                return AWAY_SECONDS * (10 + row.failcount)
            return NOT_ALLOWED_SECONDS * (1 + row.failcount)
        try:
            await self._nodes.remove(place, row.fid)
        except errors.NodeUnreachable:
            self._live.suspect(place.host.hostid)
            return AWAY_SECONDS * (10 + row.failcount)
        except errors.WorldError as error:
            self.log.warn(
                "fid {fid}: not deleted from device {devid}: {error}",
                fid=row.fid,
                devid=devid,
                error=error,
            )
            return REFUSED_SECONDS * (1 + row.failcount)
        return 0


def grace_seconds(settings: Mapping[str, str]) -> int:
    """How long bytes stay after their key is gone."""
    text = settings.get(GRACE_SETTING, "")
    if not (text.isascii() and text.isdigit()) or len(text) > 9:
        return GRACE_SECONDS
    return min(int(text), LONGEST_GRACE_SECONDS)


def expiry(queues: IQueues, live: ILiveView) -> Callable[[], Awaitable[bool]]:
    """The unit of the job that gives abandoned uploads to the delete queue. To an old
    state of the database, uploads seem open that became files since."""

    async def unit() -> bool:
        if live.view.settings.get(FORGOTTEN_SETTING):
            return False
        expired = await queues.expire_uploads(ABANDONED_SECONDS, EXPIRE_BATCH)
        return expired >= EXPIRE_BATCH

    return unit
