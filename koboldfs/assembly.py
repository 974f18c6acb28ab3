"""The parts of one process, put together in the order in which they need each other.

    disks and their doors -> database -> picture of the cluster -> front doors -> jobs
    -> joining the cluster (through the tracker beside it, or over TCP)

and taken apart the other way round.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from random import Random, SystemRandom
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.logger import Logger, globalLogPublisher
from zope.interface import implementer

from koboldfs.client.nodes import Nodes
from koboldfs.client.tracker import TrackerCalls
from koboldfs.cluster.admin import Admin
from koboldfs.cluster.by_hand import ByHand
from koboldfs.cluster.checks import Checks
from koboldfs.cluster.joining import CLUSTER_ID, Identity, Membership
from koboldfs.cluster.live import LiveView
from koboldfs.cluster.moving import Moving
from koboldfs.cluster.namespace import Namespace
from koboldfs.cluster.rebalancing import Rebalancing
from koboldfs.config import Config, with_backlog
from koboldfs.errors import ConfigError, DomainExists
from koboldfs.interfaces import ITrackerCall
from koboldfs.jobs.delete import DeleteWorker, expiry
from koboldfs.jobs.fsck import FsckWorker
from koboldfs.jobs.housekeeping import Reaper, RoomRecorder, Sweep
from koboldfs.jobs.locks import REAPER_LOCK, UPLOADS_LOCK, alone
from koboldfs.jobs.rebalance import RebalanceWorker
from koboldfs.jobs.replicate import ReplicateWorker
from koboldfs.jobs.worker import Driver, PeriodicWorker
from koboldfs.model.pacing import Attention
from koboldfs.model.policy import parse_policy
from koboldfs.model.view import MIN_FREE_MB
from koboldfs.storage.pull import IPeers
from koboldfs.storage.service import StorageNode
from koboldfs.tracker.call import Services
from koboldfs.tracker.commands import Commands, LocalCalls
from koboldfs.tracker.factory import TrackerFactory
from koboldfs.tracker.native_factory import NativeFactory
from koboldfs.tracker.ports import IJobControl

if TYPE_CHECKING:
    from koboldfs.store.open import Store

#: How long a node waits for a tracker's answer before it asks the next one.
TRACKER_TIMEOUT_SECONDS = 10.0
#: Looking for abandoned uploads is not urgent.
EXPIRE_SECONDS = 30.0
REAP_SECONDS = 5.0
#: What background work may take of the time while requests come in as well.
BACKGROUND_SHARE = 0.5
#: On a new database: copies on different hosts before a store is answered.
NEW_ACK_COPIES = "2"

#: MogileFS's words for our jobs.
JOB_NAMES = {"reaper": "reap", "job_master": "sweep"}


@implementer(IPeers)
class Installation:
    """What one process runs. `start` and `stop` are each called once."""

    log = Logger()

    def __init__(self, config: Config, reactor: Any) -> None:
        self.config = config
        self._reactor = reactor
        self._stops: list[Callable[[], Awaitable[object]]] = []
        #: How many requests came through each of the tracker's doors.
        self._requests: list[Callable[[], int]] = []
        self._node: StorageNode | None = None
        self._membership: Membership | None = None

    async def start(self) -> None:
        """Raises `ConfigError` for what the operator has to mend."""
        config = self.config
        if config.processes > 1:
            raise ConfigError(
                f"--processes: {config.processes} will not do: this version runs 1"
            )
        _make_folder("--data", config.data)
        if config.storage:
            await self._start_node()
        calls: ITrackerCall | None = None
        if config.tracker:
            calls = await self._start_tracker()
        elif config.join:
            tcp = TrackerCalls(self._reactor, config.join, TRACKER_TIMEOUT_SECONDS)
            self._stops.append(tcp.stop)
            calls = tcp
        if self._node is not None and calls is not None:
            self._join(calls, self._node)

    async def stop(self) -> None:
        """Close what was started, the last first; one that fails does not keep the
        others from being closed."""
        while self._stops:
            stop = self._stops.pop()
            try:
                await stop()
            except Exception:
                self.log.failure("stopping failed in a part")

    # --- the storage node

    async def _start_node(self) -> None:
        config = self.config
        self._node = node = StorageNode(
            reactor=self._reactor,
            docroot=config.docroot,
            data=config.data,
            storage_listen=config.storage_listen,
            sidechannel_listen=config.sidechannel_listen,
            fsync=config.fsync,
            peers=self,
        )
        node.startService()
        self._stops.append(_stopper(node))

    async def address(self, name: str) -> tuple[str, int] | None:
        """See `IPeers`: the hosts that this node's trackers know."""
        return await self._membership.address(name) if self._membership else None

    def _join(self, calls: ITrackerCall, node: StorageNode) -> None:
        config = self.config

        def identity() -> Identity:
            return Identity(
                config.host_name, config.host_ip, node.http_port, config.devices
            )

        self._membership = Membership(calls, node.folders, identity, self._reactor)
        self._membership.startService()
        self._stops.append(_stopper(self._membership))

    # --- the tracker

    async def _start_tracker(self) -> ITrackerCall:
        # SQLAlchemy is a third of a storage node's memory, which has no use for it.
        from koboldfs.store.open import open_store

        config, reactor = self.config, self._reactor
        # Seeded by the system, which is far slower when asked for every number.
        random = Random(SystemRandom().getrandbits(128))
        store = open_store(config.database, reactor)
        self._stops.append(store.stop)
        await store.start()
        await self._first_settings(store)
        files, topology = store.files, store.topology
        nodes = Nodes(reactor)
        self._stops.append(nodes.stop)
        live = LiveView(topology, nodes, reactor, min_free_mb=MIN_FREE_MB)
        nodes.set_skip_mkcol(lambda: live.view.settings.get("skip_mkcol") == "1")
        await live.refresh()
        live.startService()
        self._stops.append(_stopper(live))
        namespace = Namespace(files, store.queues, nodes, live, random)
        admin = Admin(topology, live)
        await self._make_domains(admin, live)
        await live.survey()
        checks = Checks(topology, store.tasks, live, config.host_name)
        balance = Rebalancing(topology, store.tasks, live, random, config.host_name)
        jobs = JobControl(
            store,
            nodes,
            live,
            namespace,
            checks,
            balance,
            random,
            reactor,
            lambda: sum(count() for count in self._requests),
        )
        by_hand = ByHand(namespace, store.tasks, store.queues)
        services = Services(namespace, admin, checks, balance, by_hand, jobs, reactor)
        commands = Commands(services)
        await self._open_doors(commands, jobs, namespace)
        jobs.start(config.jobs)
        self._stops.append(jobs.stop)
        return LocalCalls(commands)

    async def _first_settings(self, store: Store) -> None:
        """What a database has from the first start of KoboldFS on."""
        policy = self.config.policy
        try:
            parse_policy(policy or "AllHosts()")
        except ValueError as error:
            raise ConfigError(f"--policy: {policy!r} will not do: {error}") from error
        ours = not store.made_by_mogilefs
        topology = store.topology
        default = "AllHosts()" if ours else "MultipleHosts()"
        await topology.default_setting(CLUSTER_ID, uuid4().hex)
        await topology.default_setting("kobold_policy", policy or default)
        await topology.default_setting(
            "kobold_ack_copies", NEW_ACK_COPIES if ours else "1"
        )

    async def _make_domains(self, admin: Admin, live: LiveView) -> None:
        for name in self.config.domains:
            if name not in live.view.domains:
                try:
                    await admin.create_domain(name)
                except DomainExists:
                    await live.refresh()

    async def _open_doors(
        self, commands: Commands, jobs: JobControl, namespace: Namespace
    ) -> None:
        reactor, config = self._reactor, self.config
        text = TrackerFactory(
            commands,
            jobs,
            clock=reactor,
            call_from_thread=reactor.callFromThread,
            shutdown=lambda: reactor.callLater(0, reactor.stop),
            publisher=globalLogPublisher,
        )
        await self._listen("--tracker-listen", config.tracker_listen, text)
        native = NativeFactory(namespace, reactor)
        await self._listen("--native-listen", config.native_listen, native)
        self._requests += [
            lambda: text.statistics.queries,
            lambda: native.requests.total(),
        ]

    async def _listen(self, option: str, text: str, factory: Any) -> None:
        try:
            port = await serverFromString(self._reactor, with_backlog(text)).listen(
                factory
            )
        except CannotListenError as error:
            why = getattr(error.socketError, "strerror", None) or error.socketError
            raise ConfigError(f"{option}: {text!r} will not do: {why}") from error
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise ConfigError(
                f"{option}: {text!r} will not do: give a Twisted endpoint such as "
                "tcp:7001 or tcp:7001:interface=127.0.0.1"
            ) from error
        self.log.info(
            "{option} is open at {address}", option=option, address=port.getHost()
        )

        async def close() -> None:
            await _settled(port.stopListening())

        self._stops.append(close)


@implementer(IJobControl)
class JobControl:
    """The background jobs of this process, and what operators may do with them."""

    def __init__(
        self,
        store: Store,
        nodes: Nodes,
        live: LiveView,
        namespace: Namespace,
        checks: Checks,
        balance: Rebalancing,
        random: Any,
        clock: Any,
        requests: Callable[[], int],
    ) -> None:
        self._queues = queues = store.queues
        files, topology = store.files, store.topology
        copies = namespace.copies
        moving = Moving(copies, store.tasks)
        locks = store.locks
        replicate = ReplicateWorker(queues, copies, moving, random, locks)
        live.observe(replicate.notice)
        sweep = Sweep(topology, files, queues, copies, live, random)
        expire = alone(locks, UPLOADS_LOCK, expiry(queues))
        reap = alone(locks, REAPER_LOCK, Reaper(queues, live, clock))
        workers: list[tuple[Any, float]] = [
            (replicate, 0.25),
            (DeleteWorker(queues, nodes, live, locks), 0.5),
            (
                RebalanceWorker(balance, moving, store.tasks, live, clock, locks),
                0.5,
            ),
            (
                FsckWorker(checks, store.tasks, copies, live, clock),
                0.5,
            ),
            (PeriodicWorker("expire", expire), EXPIRE_SECONDS),
            (PeriodicWorker("reap", reap), REAP_SECONDS),
            (PeriodicWorker("sweep", sweep), 1.0),
            (
                PeriodicWorker(
                    "monitor", RoomRecorder(topology, live, clock, time.time)
                ),
                1.0,
            ),
        ]
        attention = Attention(BACKGROUND_SHARE)

        def share() -> float:
            return attention.share_at(clock.seconds(), requests())

        self.drivers = {
            worker.name: Driver(worker, clock, share=share, idle_seconds=seconds)
            for worker, seconds in workers
        }
        self._wanted: dict[str, int] = {}

    def start(self, names: frozenset[str]) -> None:
        """Begin with these jobs; the others stay stopped until they are wanted."""
        for name, driver in self.drivers.items():
            self._wanted[name] = 1 if name in names else 0
            if name in names:
                driver.startService()

    async def stop(self) -> None:
        """Fires when no unit of work is under way."""
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

    def want(self, job: str, count: int) -> None:
        """See `IJobControl`."""
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


def _make_folder(option: str, path: Any) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".koboldfs-{uuid4().hex}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ConfigError(
            f"{option}: '{path}' will not do: {error.strerror or error}"
        ) from error


def _stopper(service: Any) -> Callable[[], Awaitable[object]]:
    async def stop() -> None:
        await _settled(service.stopService())

    return stop


async def _settled(result: Any) -> None:
    """Wait for what may or may not be worth waiting for."""
    if result is not None and (hasattr(result, "__await__")):
        await result
