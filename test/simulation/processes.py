"""The processes of a simulated cluster, put together from the product's own parts.

What of `koboldfs.assembly` opens real files and sockets is done here in another way.
A process that is killed does nothing more: its reactor, its disk and its connections
are dead, whatever coroutines are left of it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IListeningPort
from twisted.logger import LogPublisher
from zope.interface import implementer

from koboldfs.assembly import tracker_parts
from koboldfs.client.nodes import Nodes
from koboldfs.client.tracker import TrackerCalls
from koboldfs.cluster.joining import Identity, Membership
from koboldfs.cluster.live import LiveView
from koboldfs.cluster.numbering import Numbering
from koboldfs.config import JOBS
from koboldfs.errors import KoboldError
from koboldfs.model.view import MIN_FREE_MB
from koboldfs.siblings import Siblings
from koboldfs.storage.pull import IPeers
from koboldfs.storage.service import StorageNode
from koboldfs.tracker.commands import Commands
from koboldfs.tracker.factory import TrackerFactory
from koboldfs.tracker.native_factory import NativeFactory
from test.simulation.clock import EPOCH, ProcessReactor
from test.simulation.database import store_on
from test.simulation.disk import Handle
from test.simulation.lanes import ClockedLanes

TRACKER_PORT, NATIVE_PORT, HTTP_PORT, SIDE_PORT = 7001, 7003, 7500, 7501
DOCROOT, DATA = "/docroot", "/data"
#: How often an idle job looks for work (seconds): seldom, for the sake of speed.
IDLE_SECONDS = {
    **{"replicate": 1.0, "delete": 1.0, "scrub": 1.0},
    # These have next to nothing to do here.
    **{"monitor": 4.0, "fsck": 8.0, "rebalance": 8.0, "census": 8.0},
}
OTHER_IDLE_SECONDS = 1.2
#: The jobs that have something to do when the operator has such a duty.
DUTY_IDLE_SECONDS = {
    "fsck": {"fsck": 0.6},
    "drain": {"rebalance": 0.8},
    "rebalance": {"rebalance": 0.8},
}
JOIN_SECONDS = 5.0


class PlainDoors:
    """Opens ports by their numbers, without a look at all kinds of endpoints."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def listen(self, option: str, text: str, factory: Any) -> Deferred[IListeningPort]:
        """See `koboldfs.listening.Doors`."""
        number = int(text.partition(":")[2])
        return succeed(self._reactor.listenTCP(number, factory))


class Process:
    """What a host runs. `name` is for the trace."""

    name = "process"

    def __init__(self, world: Any, ip: str, number: int) -> None:
        self.world, self.ip, self.number = world, ip, number
        self.host = world.network.host(ip)
        self.reactor = ProcessReactor(world.clock, world.network, self.host)
        #: As long as it runs, its own; none of it is anybody else's.
        self.random = Random(world.random.getrandbits(64))
        self.pid = world.next_pid()

    @property
    def dead(self) -> bool:
        """Whether it was killed."""
        return self.reactor.dead

    def kill(self) -> None:
        """It is no more. Its connections are reset, if the host has power."""
        self.reactor.dead = True
        for number, port in list(self.host.ports.items()):
            if port.reactor is self.reactor:
                del self.host.ports[number]
        if self.host.powered:
            self.world.network.cut_off(self.reactor)


class TrackerProcess(Process):
    """A tracker with all its jobs."""

    def __init__(self, world: Any, ip: str, number: int) -> None:
        super().__init__(world, ip, number)
        self.name = f"tracker{number}"
        Deferred.fromCoroutine(self._start()).addErrback(self._failed)

    def _failed(self, failure: Any) -> None:
        if not self.dead:
            self.world.defect(f"{self.name} did not start: {failure.getTraceback()}")

    async def _start(self) -> None:
        reactor, random, world = self.reactor, self.random, self.world
        store = store_on(world.server, reactor, random)
        await store.start()
        nodes = Nodes(reactor, random)
        live = LiveView(store.topology, nodes, reactor, min_free_mb=MIN_FREE_MB)
        await self._patiently(live.refresh)
        live.startService()
        numbering = Numbering(store.numbers, nodes, live, reactor)
        live.observe(numbering.notice)
        await live.survey()
        await self._patiently(numbering.check)
        services, jobs = tracker_parts(
            store,
            nodes,
            live,
            random,
            reactor,
            self.name,
            lambda: 0,
            Siblings(),
            numbering,
        )
        idle = IDLE_SECONDS | DUTY_IDLE_SECONDS.get(world.plan.duty, {})
        for name, driver in jobs.drivers.items():
            driver._idle_seconds = idle.get(name, OTHER_IDLE_SECONDS)
        text = TrackerFactory(
            Commands(services),
            jobs,
            clock=reactor,
            call_from_thread=reactor.callFromThread,
            shutdown=lambda: None,
            publisher=LogPublisher(),
        )
        reactor.listenTCP(TRACKER_PORT, text)
        native = NativeFactory(services.namespace, reactor)
        reactor.listenTCP(NATIVE_PORT, native)
        jobs.start(frozenset(JOBS))

    async def _patiently(self, look: Callable[[], Any]) -> None:
        """In the product the process ends, and is started again by its supervisor."""
        while True:
            try:
                await look()
                return
            except KoboldError:
                pause: Deferred[None] = Deferred()
                self.reactor.callLater(0.5, pause.callback, None)
                await pause


class _Node(StorageNode):
    """A node whose folders are on no real disk."""

    def prepare(self) -> None:
        """Read what it remembers; the folders are there."""
        self.folders.load()


@implementer(IPeers)
class NodeProcess(Process):
    """A storage node that is part of the cluster."""

    def __init__(self, world: Any, ip: str, number: int) -> None:
        super().__init__(world, ip, number)
        self.name = f"node{number}"
        self.handle = Handle(world.disks[ip], self.pid)
        self.handle.crashed = lambda: world.crashed(self)
        reactor = self.reactor
        self.node = _Node(
            reactor,
            Path(DOCROOT),
            Path(DATA),
            f"tcp:{HTTP_PORT}",
            f"tcp:{SIDE_PORT}",
            peers=self,
            disk=self.handle,
            lanes=ClockedLanes(reactor, self.handle),
            doors=PlainDoors(reactor),  # type: ignore[arg-type]
            wall_seconds=lambda: EPOCH + reactor.seconds(),
        )
        self.node.startService()
        servers = [(one, TRACKER_PORT) for one in world.tracker_ips]
        self.random.shuffle(servers)
        calls = TrackerCalls(reactor, servers, JOIN_SECONDS)
        self.membership = Membership(calls, self.node.folders, self._identity, reactor)
        self.membership.startService()

    def _identity(self) -> Identity:
        return Identity(self.name, self.ip, HTTP_PORT, None)

    async def address(self, name: str) -> tuple[str, int] | None:
        """See `IPeers`."""
        return await self.membership.address(name)

    def distrusts(self) -> bool:
        """Whether it takes no writes for a device until it is started anew."""
        return any(one.distrusted for one in self.node.folders.devices())

    def kill(self) -> None:
        """See `Process`."""
        self.handle.dead = True
        super().kill()
