"""Replication: every queued file gets the copies that its policy wants.

A row of the queue is due at once after a store (nexttry 0); a failure puts it off, and
longer each time. When a device is back, everything that was put off is due again, so
a host that was away is caught up without waiting for the back-off.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from koboldfs.cluster.copies import Copies
from koboldfs.cluster.moving import KEPT, Moving
from koboldfs.errors import DatabaseFault, KoboldError
from koboldfs.interfaces import ILocks, IQueues
from koboldfs.jobs.worker import LEASE_SECONDS, QueueWorker
from koboldfs.model.entities import Checksum, Located, Replication, ReplicationDone
from koboldfs.model.pacing import retry_seconds
from koboldfs.model.policy import COPY, SATISFIED, TOO_MANY
from koboldfs.model.view import View

#: How many put-off rows are made due in one statement.
RELEASE_BATCH = 5000


class ReplicateWorker(QueueWorker[Replication, ReplicationDone]):
    """See the module."""

    name = "replicate"
    parallel = 64

    def __init__(
        self,
        queues: IQueues,
        copies: Copies,
        moving: Moving,
        random: Random,
        locks: ILocks | None = None,
    ) -> None:
        super().__init__(locks)
        self._moving = moving
        self._queues = queues
        self._copies = copies
        self._random = random
        self._release = False

    def notice(self, before: View, after: View) -> None:
        """Watches the picture: a device that takes files again ends the waiting."""
        for devid in after.devices:
            if after.may_receive(devid) and not before.may_receive(devid):
                self._release = True

    async def step(self) -> bool:
        """As `QueueWorker`, and the release of what was put off."""
        if self._release and self.parallel:
            self._release = False
            try:
                while await self._queues.release_replications(RELEASE_BATCH):
                    pass
            except KoboldError:
                self._release = True
                raise
        return await super().step()

    async def take(self, limit: int) -> list[Replication]:
        """Lease rows that are due."""
        return await self._queues.take_replications(limit, LEASE_SECONDS)

    async def keep_leases(self, fids: Sequence[int], lease_seconds: int) -> None:
        """Let the leases begin anew."""
        await self._queues.keep_replications(fids, lease_seconds)

    def number(self, row: Replication) -> int:
        """The fid."""
        return row.fid

    async def report(self, reports: list[ReplicationDone]) -> None:
        """Record the copies."""
        await self._queues.finish_replications(reports)

    async def work(self, row: Replication) -> ReplicationDone:
        """Make the copies that are wanted and can be made now."""
        located = row.located
        if located is None:
            return ReplicationDone(row.fid)
        file = located.file
        verdict = self._copies.judge(
            file.dmid, file.classid, located.devids, file.length
        )
        if verdict.word == SATISFIED:
            return ReplicationDone(row.fid)
        if verdict.word == TOO_MANY:
            return await self._trimmed(row, located)
        if verdict.word != COPY:
            return self._later(row)
        done = await self._copies.spread(located, verdict.devids)
        added = tuple(d for d in done.devids if d not in located.devids)
        own = None
        if located.checksum is None and added:
            own = await self._copies.agreed_checksum(located, done)
        if added and done.lost:
            # A good copy exists, so these need not count as copies any longer; the
            # next round makes up for them, in their place.
            lost = tuple(sorted(done.lost))
            return ReplicationDone(row.fid, added, lost, 0, row.failcount, own)
        after = self._copies.judge(file.dmid, file.classid, done.devids, file.length)
        if after.word == SATISFIED:
            return ReplicationDone(row.fid, added, checksum=own)
        if after.word == TOO_MANY:
            # The next round sees to that, when the new copies are recorded.
            return ReplicationDone(row.fid, added, (), 0, row.failcount, own)
        return self._later(row, added, own)

    async def _trimmed(self, row: Replication, located: Located) -> ReplicationDone:
        """One copy is taken away; the next round looks whether that was enough."""
        try:
            outcome = await self._moving.trim(located)
        except DatabaseFault:
            outcome = KEPT
        if outcome == KEPT:
            return self._later(row)
        return ReplicationDone(row.fid, retry_seconds=0)

    def _later(
        self, row: Replication, added: tuple[int, ...] = (), own: Checksum | None = None
    ) -> ReplicationDone:
        return ReplicationDone(
            row.fid,
            added,
            retry_seconds=retry_seconds(row.failcount, self._random),
            failcount=row.failcount + 1,
            checksum=own,
        )
