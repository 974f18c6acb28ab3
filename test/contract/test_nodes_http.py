"""The real `Nodes` keeps the contract towards foreign and our own nodes, over TCP."""

from __future__ import annotations

from random import Random
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from koboldfs.client.nodes import Nodes
from koboldfs.model.entities import Place
from test.contract.nodes import NodesContract
from test.fakes.servers import ForeignNode, OursNode


class _ServersContract(NodesContract):
    """Nodes that listen in this process."""

    source_kind: type[ForeignNode]
    target_kind: type[ForeignNode]

    def setUp(self) -> Deferred[None]:
        """Two hosts that listen, and have been looked at."""
        self.servers: dict[int, ForeignNode] = {
            1: self.source_kind(reactor, 1, (11,)),
            2: self.target_kind(reactor, 2, (22,)),
        }
        for server in self.servers.values():
            server.files.makes_folders = True
            server.start()
            if isinstance(server, OursNode):
                server.others = {f"host{n}": one for n, one in self.servers.items()}
        self.nodes = Nodes(reactor, Random(1))
        self.source = self.servers[1].place()
        self.target = self.servers[2].place()
        return Deferred.fromCoroutine(self._look())

    async def _look(self) -> None:
        for place in (self.source, self.target):
            await self.nodes.survey(place.host, [place.devid])

    def tearDown(self) -> Deferred[Any]:
        """Close everything."""
        stopped = Deferred.fromCoroutine(self.nodes.stop())
        return stopped.addCallback(
            lambda _: gatherResults([one.stop() for one in self.servers.values()])
        )

    async def settle(self) -> None:
        """Let the servers read what is on the way to them."""
        await deferLater(reactor, 0.02, lambda: None)

    def plant(self, place: Place, fid: int, data: bytes) -> None:
        """See `NodesContract`."""
        self.servers[place.host.hostid].plant(place, fid, data)

    def found(self, place: Place, fid: int) -> bytes | None:
        """See `NodesContract`."""
        return self.servers[place.host.hostid].found(place, fid)

    def take_away(self, place: Place) -> Deferred[Any]:
        """See `NodesContract`."""
        return self.servers[place.host.hostid].stop()


class ForeignTests(_ServersContract, TestCase):
    """From a foreign node to a foreign node."""

    source_kind = target_kind = ForeignNode


class OursTests(_ServersContract, TestCase):
    """From one of our nodes to another."""

    source_kind = target_kind = OursNode

    def test_kobold(self) -> Deferred[None]:
        """A survey knows our nodes, and asks them by the side channel from then on."""

        async def check() -> None:
            server = self.servers[1]
            assert isinstance(server, OursNode)
            server.files.log.clear()
            report = await self.nodes.survey(self.source.host, [11, 99])
            assert report.kobold
            assert [one.observed for one in report.devices] == [
                "writeable",
                "unreachable",
            ]
            assert report.devices[0].utilization == 1.5
            await self.nodes.stat(self.source, 1)
            await self.nodes.digest(self.source, 1, 1)
            await self.nodes.remove(self.source, 1)
            await self.nodes.prepare(self.source, 1)
            assert server.files.log == []

        return Deferred.fromCoroutine(check())

    def test_pull_from_an_unknown_host(self) -> Deferred[None]:
        """A node that does not know the source's host yet gets the copy through us."""

        async def check() -> None:
            server = self.servers[2]
            assert isinstance(server, OursNode)
            server.others.clear()
            self.plant(self.source, 1, b"one")
            await self.nodes.copy(self.source, self.target, 1, 3, None)
            assert self.found(self.target, 1) == b"one"

        return Deferred.fromCoroutine(check())


class OursToForeignTests(_ServersContract, TestCase):
    """From one of our nodes to a foreign one."""

    source_kind, target_kind = OursNode, ForeignNode


class ForeignToOursTests(_ServersContract, TestCase):
    """From a foreign node to one of ours."""

    source_kind, target_kind = ForeignNode, OursNode
