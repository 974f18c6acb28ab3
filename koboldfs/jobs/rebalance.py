"""Moving copies off devices: the job `rebalance`, which also empties draining ones.

Both put rows into MogileFS's `file_to_queue`, which any tracker works off: (fid, source
device, devices that may get it; none: any). A rebalance goes as `cluster.rebalancing`
says. A device in state `drain` is walked from its first file to its last, again and
again with a rest between, until nothing is recorded on it; that which a rebalance is
working on is left to it, so that its limits hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from koboldfs.cluster.moving import KEPT, Moving
from koboldfs.cluster.rebalancing import Rebalancing
from koboldfs.errors import DatabaseFault
from koboldfs.interfaces import ILiveView, ILocks, ITasks
from koboldfs.jobs.worker import LEASE_SECONDS, QueueWorker
from koboldfs.model.entities import REBALANCE_TASK, Task, TaskDone

#: Between two walks over a draining device that still has files (seconds).
DRAIN_REST_SECONDS = 60.0


class RebalanceWorker(QueueWorker[Task, TaskDone]):
    """See the module."""

    name = "rebalance"
    parallel = 64

    def __init__(
        self,
        balance: Rebalancing,
        moving: Moving,
        tasks: ITasks,
        live: ILiveView,
        clock: Any,
        locks: ILocks | None = None,
    ) -> None:
        super().__init__(locks)
        self._balance = balance
        self._moving = moving
        self._tasks = tasks
        self._live = live
        self._clock = clock
        #: By draining device: up to which fid it was walked, and when to go on.
        self._walks: dict[int, tuple[int, float]] = {}
        self._empty: set[int] = set()

    async def step(self) -> bool:
        """Queue what comes next; then as `QueueWorker`."""
        planned = False
        if self.parallel:
            planned = await self._balance.step()
            planned = await self._drain() or planned
        return await super().step() or planned

    async def _drain(self) -> bool:
        """Queue a page of one draining device; whether there was one."""
        view, now = self._live.view, self._clock.seconds()
        busy = self._balance.current_device()
        draining = {
            device.devid
            for device in view.devices.values()
            if device.status == "drain" and device.devid != busy
        }
        self._walks = {d: one for d, one in self._walks.items() if d in draining}
        self._empty &= draining
        for devid in sorted(draining):
            position, due = self._walks.get(devid, (0, now))
            if now < due or not view.may_be_emptied(devid):
                continue
            rate, size = self._balance.queue_limits()
            if await self._tasks.count_tasks(REBALANCE_TASK, size) >= size:
                return False
            page = await self._tasks.files_on(devid, position, rate)
            if page:
                rows = [(one.file.fid, devid, None) for one in page]
                await self._tasks.queue_tasks(REBALANCE_TASK, rows)
                self._walks[devid] = (page[-1].file.fid, now)
                self._empty.discard(devid)
                return True
            self._walks[devid] = (0, now + DRAIN_REST_SECONDS)
            if position == 0:
                self._tell_empty(devid)
            else:
                self.log.info("device {devid} was walked once", devid=devid)
        return False

    def _tell_empty(self, devid: int) -> None:
        if devid not in self._empty:
            self._empty.add(devid)
            self.log.info("device {devid} is drained: it has no files", devid=devid)

    async def take(self, limit: int) -> list[Task]:
        """Lease rows that are due."""
        return await self._tasks.take_tasks(REBALANCE_TASK, limit, LEASE_SECONDS)

    async def keep_leases(self, fids: Sequence[int], lease_seconds: int) -> None:
        """Let the leases begin anew."""
        await self._tasks.keep_tasks(REBALANCE_TASK, fids, lease_seconds)

    def number(self, row: Task) -> int:
        """The fid."""
        return row.fid

    async def report(self, reports: list[TaskDone]) -> None:
        """The rows go, whatever came of them: a planner queues them again."""
        await self._tasks.finish_tasks(REBALANCE_TASK, reports)

    async def work(self, row: Task) -> TaskDone:
        """Move one copy."""
        if row.located is not None and row.devid is not None:
            targets = self._balance.targets_of(row.arg)
            stays = targets is not None and not self._balance.leaves_draining()
            try:
                outcome = await self._moving.off(
                    row.located, row.devid, targets, stays=stays
                )
            except DatabaseFault:
                outcome = KEPT
            if outcome == KEPT:
                self.status.failed += 1
        return TaskDone(row.fid)
