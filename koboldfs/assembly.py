"""The parts of one process, put together in the order in which they need each other.

    disks and their doors -> database -> picture of the cluster -> front doors -> jobs
    -> joining the cluster (through the tracker beside it, or over TCP)

and taken apart the other way round.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random, SystemRandom
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger, globalLogPublisher
from zope.interface import implementer

from koboldfs.client.nodes import Nodes
from koboldfs.client.tracker import TrackerCalls
from koboldfs.cluster.admin import Admin
from koboldfs.cluster.by_hand import ByHand
from koboldfs.cluster.checks import Checks
from koboldfs.cluster.file_report import FileReports
from koboldfs.cluster.joining import CLUSTER_ID, Identity, Membership
from koboldfs.cluster.live import LiveView
from koboldfs.cluster.namespace import Namespace
from koboldfs.cluster.numbering import Numbering
from koboldfs.cluster.overview import Overview
from koboldfs.cluster.rebalancing import Rebalancing
from koboldfs.cluster.scrubbing import Scrubbing
from koboldfs.config import Config
from koboldfs.errors import ConfigError, DomainExists, KoboldError
from koboldfs.interfaces import ITrackerCall
from koboldfs.job_control import JobControl
from koboldfs.listening import Doors, address_words
from koboldfs.model.absence import LOST_AFTER_SETTING
from koboldfs.model.policy import parse_policy
from koboldfs.model.view import MIN_FREE_MB, View
from koboldfs.siblings import Requests, Siblings
from koboldfs.storage.pull import IPeers
from koboldfs.storage.service import StorageNode
from koboldfs.tracker.call import Services
from koboldfs.tracker.commands import Commands, LocalCalls
from koboldfs.tracker.factory import TrackerFactory
from koboldfs.tracker.native_factory import NativeFactory

if TYPE_CHECKING:
    from koboldfs.metrics_page import Gathered
    from koboldfs.store.open import Store

#: How long a node waits for a tracker's answer before it asks the next one.
TRACKER_TIMEOUT_SECONDS = 10.0
#: How often the processes of an installation tell each other how much they have to do.
TELL_SECONDS = 0.5
#: On a new database: copies on different hosts before a store is answered.
NEW_ACK_COPIES = "2"
#: The same: seconds after which what is away counts as lost. MogileFS's trackers would
#: not know of it, so on their database an operator has to want it.
NEW_LOST_AFTER_SECONDS = "3600"


@implementer(IPeers)
class Installation:
    """What one process runs. `start` and `stop` are each called once.

    Of several processes of one installation, each has its `siblings` and `doors` that
    open the ports that they share. `shutdown` ends the program.
    """

    log = Logger()

    def __init__(
        self,
        config: Config,
        reactor: Any,
        *,
        siblings: Siblings | None = None,
        doors: Doors | None = None,
        shutdown: Callable[[], object] | None = None,
    ) -> None:
        self.config = config
        self._reactor = reactor
        self._siblings = siblings or Siblings()
        self._doors = doors or Doors(reactor)
        self._shutdown = shutdown or (lambda: reactor.callLater(0, reactor.stop))
        self._addresses: list[str] = []
        self._stops: list[Callable[[], Awaitable[object]]] = []
        #: How many requests came through each of the tracker's doors.
        self._requests: list[Callable[[], int]] = []
        self._node: StorageNode | None = None
        self._membership: Membership | None = None
        self._metrics: Gathered | None = None

    def check(self) -> None:
        """Raises `ConfigError` for what can be seen to be wrong before anything is
        opened."""
        _make_folder("--data", self.config.data)
        policy = self.config.policy
        try:
            parse_policy(policy or "AllHosts()")
        except ValueError as error:
            raise ConfigError(f"--policy: {policy!r} will not do: {error}") from error

    async def start(self) -> None:
        """Raises `ConfigError` for what the operator has to mend."""
        config = self.config
        self.check()
        if config.metrics_listen is not None:
            await self._start_metrics(config.metrics_listen)
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
            await self._join(calls, self._node)
        if self._siblings.alone:
            where = ", ".join(self._addresses)
            self.log.info("ready: {addresses}", addresses=where)

    async def _start_metrics(self, endpoint: str) -> None:
        # What nobody asked for shall cost neither time nor memory.
        from koboldfs.metrics_page import Gathered, process_source, site

        self._metrics = gathered = Gathered(self._siblings, self._reactor)
        gathered.own.append(process_source)
        gathered.start()
        self._stops.append(gathered.stop)
        if self._siblings.leads:
            # This one's alone: the others tell it what they have to tell.
            doors = Doors(self._reactor)
            page = site(gathered.families)
            await self._listen("--metrics-listen", endpoint, page, doors)

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
            doors=self._doors,
        )
        siblings = self._siblings
        node.folders.distrusts = lambda devid, reason: siblings.tell(
            "distrust", devid=devid, reason=reason
        )
        siblings.observe("distrust", node.folders.hear_distrust)
        node.startService()
        self._addresses += node.addresses()
        self._stops.append(_stopper(node))

    async def address(self, name: str) -> tuple[str, int] | None:
        """See `IPeers`: the hosts that this node's trackers know."""
        return await self._membership.address(name) if self._membership else None

    async def _join(self, calls: ITrackerCall, node: StorageNode) -> None:
        config = self.config

        def identity() -> Identity:
            return Identity(
                config.host_name, config.host_ip, node.http_port, config.devices
            )

        self._membership = Membership(calls, node.folders, identity, self._reactor)
        self._membership.startService()
        self._stops.append(_stopper(self._membership))
        if not self._siblings.alone:
            # The next process then finds this host and its devices made.
            await self._membership.tried()

    # --- what the processes of an installation tell each other

    def _count_requests(self) -> Requests:
        requests = Requests(
            self._siblings, lambda: sum(count() for count in self._requests)
        )
        if not self._siblings.alone:
            loop = LoopingCall(requests.tell)
            loop.clock = self._reactor
            loop.start(TELL_SECONDS, now=False)

            async def stop() -> None:
                loop.stop()

            self._stops.append(stop)
        return requests

    def _tell_changes(self, store: Store, live: LiveView) -> None:
        """PostgreSQL tells who is connected to it; elsewhere the others do."""
        if self._siblings.alone or store.engine == "postgresql":
            return
        heard = 0

        def tell(before: View, after: View) -> None:
            if not heard and _tables(before) != _tables(after):
                self._siblings.tell("changed")

        async def look() -> None:
            nonlocal heard
            heard += 1
            try:
                await live.refresh()
            except KoboldError as error:
                self.log.warn("the picture of the cluster is old: {error}", error=error)
            finally:
                heard -= 1

        live.observe(tell)

        def changed() -> None:
            Deferred.fromCoroutine(look())

        self._siblings.observe("changed", changed)

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
        topology = store.topology
        nodes = Nodes(reactor)
        self._stops.append(nodes.stop)
        live = LiveView(topology, nodes, reactor, min_free_mb=MIN_FREE_MB)
        nodes.set_skip_mkcol(lambda: live.view.settings.get("skip_mkcol") == "1")
        await live.refresh()
        live.startService()
        self._stops.append(_stopper(live))
        await self._make_domains(Admin(topology, live), live)
        numbering = Numbering(store.numbers, nodes, live, reactor)
        live.observe(numbering.notice)
        await live.survey()
        # Before anybody can be given a fid.
        await numbering.check()
        self._tell_changes(store, live)
        services, jobs = tracker_parts(
            store,
            nodes,
            live,
            random,
            reactor,
            config.host_name,
            self._count_requests().total,
            self._siblings,
            numbering,
        )
        commands = Commands(services)
        calls = LocalCalls(commands)
        await self._open_doors(commands, jobs, services, calls)
        jobs.start(config.jobs)
        self._stops.append(jobs.stop)
        return calls

    async def _first_settings(self, store: Store) -> None:
        """What a database has from the first start of KoboldFS on."""
        policy = self.config.policy
        ours = not store.made_by_mogilefs
        topology = store.topology
        default = "AllHosts()" if ours else "MultipleHosts()"
        await topology.default_setting(CLUSTER_ID, uuid4().hex)
        await topology.default_setting("kobold_policy", policy or default)
        await topology.default_setting(
            "kobold_ack_copies", NEW_ACK_COPIES if ours else "1"
        )
        await topology.default_setting(
            LOST_AFTER_SETTING, NEW_LOST_AFTER_SECONDS if ours else "0"
        )

    async def _make_domains(self, admin: Admin, live: LiveView) -> None:
        for name in self.config.domains:
            if name not in live.view.domains:
                try:
                    await admin.create_domain(name)
                except DomainExists:
                    await live.refresh()

    async def _open_doors(
        self,
        commands: Commands,
        jobs: JobControl,
        services: Services,
        calls: LocalCalls,
    ) -> None:
        reactor, config = self._reactor, self.config
        namespace = services.namespace
        text = TrackerFactory(
            commands,
            jobs,
            clock=reactor,
            call_from_thread=reactor.callFromThread,
            shutdown=self._shutdown,
            publisher=globalLogPublisher,
            process=self._siblings.number if not self._siblings.alone else None,
            counters=lambda: namespace.promises.keeping.counters(),
        )
        await self._listen("--tracker-listen", config.tracker_listen, text)
        native = NativeFactory(namespace, reactor)
        await self._listen("--native-listen", config.native_listen, native)
        if self._metrics is not None:
            from koboldfs.tracker.metrics import TrackerMetrics

            text.statistics.time_commands(commands.table)
            told = TrackerMetrics(
                services, text.statistics, lambda: native.requests, calls
            )
            self._metrics.own.append(told.own)
            self._metrics.common.append(told.common)
        self._requests += [
            lambda: text.statistics.queries,
            lambda: native.requests.total(),
        ]

    async def _listen(
        self, option: str, text: str, factory: Any, doors: Doors | None = None
    ) -> None:
        port = await (doors or self._doors).listen(option, text, factory)
        self._addresses.append(f"{option} {address_words(port.getHost())}")

        async def close() -> None:
            await _settled(port.stopListening())

        self._stops.append(close)


def tracker_parts(
    store: Store,
    nodes: Nodes,
    live: LiveView,
    random: Random,
    clock: Any,
    name: str,
    requests: Callable[[], int],
    siblings: Siblings,
    numbering: Numbering,
) -> tuple[Services, JobControl]:
    """What a tracker consists of, between its database and its doors: city hall and the
    jobs, which are not started. `live` has looked at the cluster; `name` is the
    tracker's, `requests` how many it got so far."""
    topology, tasks, leads = store.topology, store.tasks, siblings.leads
    namespace = Namespace(store.files, store.queues, nodes, live, random)
    checks = Checks(topology, tasks, live, name, plans=leads)
    balance = Rebalancing(topology, tasks, live, random, name, plans=leads)
    scrubbing = Scrubbing(store.scrubs, live)
    overview = Overview(
        store.health,
        store.files,
        tasks,
        store.queues,
        topology,
        namespace.copies,
        clock,
    )
    live.observe(overview.notice)
    jobs = JobControl(
        store,
        nodes,
        live,
        namespace,
        checks,
        balance,
        scrubbing,
        random,
        clock,
        requests,
        siblings,
        overview,
        numbering,
    )
    services = Services(
        namespace,
        Admin(topology, live),
        checks,
        balance,
        scrubbing,
        ByHand(namespace, tasks, store.queues),
        jobs,
        clock,
        overview,
        FileReports(namespace, nodes, clock),
        numbering,
    )
    return services, jobs


def _tables(view: View) -> tuple[object, ...]:
    """What of a picture comes from the tables."""
    return view.hosts, view.devices, view.domains, view.classes, view.settings


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
