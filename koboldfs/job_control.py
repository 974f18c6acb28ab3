"""The background jobs of a process, put together, and what operators do with them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from attrs import astuple
from twisted.internet.task import LoopingCall
from zope.interface import implementer

from koboldfs.client.nodes import Nodes
from koboldfs.cluster.checks import Checks
from koboldfs.cluster.copies import Copies
from koboldfs.cluster.live import LiveView
from koboldfs.cluster.moving import Moving
from koboldfs.cluster.namespace import Namespace
from koboldfs.cluster.numbering import Numbering
from koboldfs.cluster.overview import Overview
from koboldfs.cluster.rebalancing import Rebalancing
from koboldfs.cluster.scrubbing import Scrubbing
from koboldfs.jobs.absence import Absence, AbsenceWalk
from koboldfs.jobs.census import UNIT_EVERY_SECONDS, CensusTaker
from koboldfs.jobs.delete import DeleteWorker, expiry
from koboldfs.jobs.fsck import FsckWorker
from koboldfs.jobs.housekeeping import (
    FailingDevices,
    Reaper,
    RoomRecorder,
    Sweep,
)
from koboldfs.jobs.locks import REAPER_LOCK, UPLOADS_LOCK, alone
from koboldfs.jobs.mending import Mending, OwnChecksums
from koboldfs.jobs.rebalance import RebalanceWorker
from koboldfs.jobs.replicate import ReplicateWorker
from koboldfs.jobs.scrub import ScrubWorker
from koboldfs.jobs.worker import Driver, PeriodicWorker, in_turn
from koboldfs.model.pacing import Attention, Progress, Rate
from koboldfs.siblings import Siblings
from koboldfs.tracker.ports import IJobControl

if TYPE_CHECKING:
    from koboldfs.store.open import Store

#: Looking for abandoned uploads is not urgent.
EXPIRE_SECONDS = 30.0
REAP_SECONDS = 5.0
#: How often what the jobs have done is noted, and told to the other processes.
SAMPLE_SECONDS = 10.0
#: So much of a job's last error is told.
MAX_ERROR_CHARS = 200
#: What background work may take of the time while requests come in as well.
BACKGROUND_SHARE = 0.5

#: What of that the scrub takes, also while no requests come in: it has a month.
SCRUB_SHARE = 0.5
#: A pass that is asked for begins so soon.
SCRUB_IDLE_SECONDS = 1.0

#: MogileFS's words for our jobs.
JOB_NAMES = {"reaper": "reap", "job_master": "sweep"}


@implementer(IJobControl)
class JobControl:
    """The background jobs of this process. `start` and `stop` are called once each.

    What an operator wants of a job, all processes of the installation want.
    """

    def __init__(
        self,
        store: Store,
        nodes: Nodes,
        live: LiveView,
        namespace: Namespace,
        checks: Checks,
        balance: Rebalancing,
        scrubbing: Scrubbing,
        random: Any,
        clock: Any,
        requests: Callable[[], int],
        siblings: Siblings,
        overview: Overview,
        numbering: Numbering,
    ) -> None:
        self._siblings = siblings
        self._queues = queues = store.queues
        files, topology, tasks = store.files, store.topology, store.tasks
        copies = namespace.copies
        moving = Moving(copies, tasks)
        locks = store.locks
        replicate = ReplicateWorker(queues, copies, moving, random, locks)
        live.observe(replicate.notice)
        sweep = Sweep(topology, files, queues, copies, live, random, clock)
        expire = alone(locks, UPLOADS_LOCK, expiry(queues, live))
        reap = alone(locks, REAPER_LOCK, Reaper(queues, live, clock))
        walk = AbsenceWalk(topology, tasks, queues, copies, live)
        room = RoomRecorder(topology, live, clock, time.time)
        absence = Absence(topology, tasks, live, clock)
        census = CensusTaker(topology, files, store.health, copies, overview, clock)
        failing = FailingDevices(topology, live)
        monitor = in_turn(failing, absence, room, numbering)
        workers: list[tuple[Any, float]] = [
            (replicate, 0.25),
            (DeleteWorker(queues, nodes, live, locks), 0.5),
            (RebalanceWorker(balance, moving, tasks, live, clock, locks), 0.5),
            (FsckWorker(checks, tasks, copies, live, clock), 0.5),
            (PeriodicWorker("expire", expire), EXPIRE_SECONDS),
            (PeriodicWorker("reap", in_turn(reap, walk)), REAP_SECONDS),
            (PeriodicWorker("sweep", sweep), 1.0),
            (PeriodicWorker("monitor", monitor), 1.0),
            (PeriodicWorker("census", census), UNIT_EVERY_SECONDS),
        ]
        attention = Attention(BACKGROUND_SHARE)

        def share() -> float:
            return attention.share_at(clock.seconds(), requests())

        self.drivers = {
            worker.name: Driver(worker, clock, share=share, idle_seconds=seconds)
            for worker, seconds in workers
        }
        owner = f"{random.getrandbits(64):016x}"
        self.drivers["scrub"] = Driver(
            _scrub(store, nodes, live, copies, scrubbing, clock, owner),
            clock,
            share=lambda: share() * SCRUB_SHARE,
            idle_seconds=SCRUB_IDLE_SECONDS,
        )
        self._wanted: dict[str, int] = {}
        self._clock = clock
        self._rates = {name: Rate() for name in self.drivers}
        self._own: dict[str, Progress] = {}
        #: What the other processes told of theirs, by their numbers.
        self._others: dict[int, dict[str, Progress]] = {}
        self._sampling = LoopingCall(self._sample)
        self._sampling.clock = clock

    def start(self, names: frozenset[str]) -> None:
        """Begin with these jobs; the others stay stopped until they are wanted."""
        for name, driver in self.drivers.items():
            self._wanted[name] = 1 if name in names else 0
            if name in names:
                driver.startService()
        self._siblings.observe("want", self._want)
        self._siblings.observe("jobs", self._hear)
        self._sampling.start(SAMPLE_SECONDS)

    async def stop(self) -> None:
        """Fires when no unit of work is under way."""
        if self._sampling.running:
            self._sampling.stop()
        for driver in self.drivers.values():
            if driver.running:
                await driver.stopService()

    def counts(self) -> Mapping[str, tuple[int, int]]:
        """See `IJobControl`; by MogileFS's names where it has one."""
        names = {ours: theirs for theirs, ours in JOB_NAMES.items()}
        return {
            names.get(name, name): (int(driver.running), self._wanted.get(name, 0))
            for name, driver in self.drivers.items()
        }

    def _sample(self) -> None:
        now = self._clock.seconds()
        for name, driver in self.drivers.items():
            status = driver.worker.status
            self._own[name] = Progress(
                int(driver.running and self._wanted.get(name, 0) > 0),
                status.done,
                status.failed,
                status.under_way,
                round(self._rates[name].sample(now, status.done), 2),
                status.last_error[:MAX_ERROR_CHARS],
            )
        if not self._siblings.alone:
            told = {name: astuple(one) for name, one in self._own.items()}
            number = self._siblings.number
            self._siblings.tell("jobs", number=number, jobs=told)

    def _hear(self, number: int, jobs: Mapping[str, Any]) -> None:
        self._others[number] = {name: Progress(*one) for name, one in jobs.items()}

    def progress(self) -> Mapping[str, Progress]:
        """See `IJobControl`."""
        self._sample()
        every = [self._own, *self._others.values()]
        return {
            name: Progress(
                sum(one.running for one in some),
                sum(one.done for one in some),
                sum(one.failed for one in some),
                sum(one.under_way for one in some),
                round(sum(one.rate for one in some), 2),
                next((one.error for one in some if one.error), ""),
            )
            for name in self._own
            for some in [[jobs[name] for jobs in every if name in jobs]]
        }

    def want(self, job: str, count: int) -> None:
        """See `IJobControl`."""
        self._want(job, count)
        self._siblings.tell("want", job=JOB_NAMES.get(job, job), count=count)

    def _want(self, job: str, count: int) -> None:
        name = JOB_NAMES.get(job, job)
        driver = self.drivers[name]
        self._wanted[name] = count
        driver.worker.want(count)
        if count and not driver.running:
            driver.startService()

    def tell(self, job: str, message: str) -> int:
        """See `IJobControl`: our jobs take no messages."""
        return 0

    async def hasten(self) -> int:
        """See `IJobControl`."""
        return await self._queues.hasten_replications()


def _scrub(
    store: Store,
    nodes: Nodes,
    live: LiveView,
    copies: Copies,
    scrubbing: Scrubbing,
    clock: Any,
    owner: str,
) -> ScrubWorker:
    tasks = store.tasks
    checks = OwnChecksums(store.topology, tasks, live, "", plans=False)
    inspector = FsckWorker(checks, tasks, copies, live, clock)
    mending = Mending(inspector, store.scrubs, store.files, tasks, copies, nodes)
    return ScrubWorker(scrubbing, mending, nodes, tasks, live, clock, owner)
