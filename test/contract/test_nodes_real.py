"""The real `Nodes` keeps the contract towards real storage nodes, on real folders."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

from attrs import evolve
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from koboldfs.client.nodes import Nodes
from koboldfs.model.entities import Place
from koboldfs.model.fid import relative_path
from koboldfs.storage.service import StorageNode
from test.contract.nodes import NodesContract, host
from test.contract.nodes_scrub import ScrubNodesContract

#: A node has looked at its devices and tested them long before this (seconds).
READY_SECONDS = 10.0


class RealNodesTests(NodesContract, ScrubNodesContract, TestCase):
    """`Nodes` with two `StorageNode`, pulls and all."""

    timeout = 30

    def setUp(self) -> Deferred[None]:
        """Two storage nodes that know each other, ready to take writes."""
        self.root = Path(self.mktemp()).absolute()
        self.storage: dict[int, StorageNode] = {}
        self.connections: dict[int, list[Any]] = {1: [], 2: []}
        self.nodes = Nodes(reactor, Random(1))
        self.addCleanup(self._stop)
        return Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        for hostid, devid in ((1, 11), (2, 22)):
            (self._docroot(hostid) / f"dev{devid}").mkdir(parents=True)
            node = StorageNode(
                reactor,
                self._docroot(hostid),
                self.root / f"data{hostid}",
                "tcp:0:interface=127.0.0.1:backlog=128",
                "tcp:0:interface=127.0.0.1",
                fsync=False,
                peers=self,  # type: ignore[arg-type]
            )
            for listener in (node._http, node._side_channel):
                self._remember(hostid, listener._factory)
            node.startService()
            self.storage[hostid] = node
        ports = {hostid: node.http_port for hostid, node in self.storage.items()}
        self.source = Place(host(1, ports[1]), 11)
        self.target = Place(host(2, ports[2]), 22)
        self.by_name = {
            place.host.name: (place.host.ip, place.host.http_port)
            for place in (self.source, self.target)
        }
        clock: Any = reactor
        until = clock.seconds() + READY_SECONDS
        for place in (self.source, self.target):
            while True:
                report = await self.nodes.survey(place.host, [place.devid])
                if report.devices[0].observed == "writeable":
                    break
                assert clock.seconds() < until, report
                await deferLater(clock, 0.02, lambda: None)
            assert report.kobold

    def _remember(self, hostid: int, factory: Any) -> None:
        build = factory.buildProtocol

        def remember(address: Any) -> Any:
            connection = build(address)
            if connection is not None:
                self.connections[hostid].append(connection)
            return connection

        factory.buildProtocol = remember

    async def address(self, name: str) -> tuple[str, int] | None:
        """See `storage.pull.IPeers`."""
        return self.by_name.get(name)

    def _docroot(self, hostid: int) -> Path:
        return self.root / f"host{hostid}"

    def _path(self, place: Place, fid: int) -> Path:
        docroot = self._docroot(place.host.hostid)
        return docroot / f"dev{place.devid}" / relative_path(fid)

    def _stop(self) -> Deferred[Any]:
        stopped = Deferred.fromCoroutine(self.nodes.stop())
        return stopped.addCallback(
            lambda _: gatherResults(
                [self._end(hostid) for hostid in list(self.storage)]
            )
        )

    def _end(self, hostid: int) -> Deferred[Any]:
        for connection in self.connections[hostid]:
            if connection.transport is not None:
                connection.transport.abortConnection()
        ended = self.storage.pop(hostid).stopService()
        clock: Any = reactor
        return ended.addCallback(lambda _: deferLater(clock, 0.01, lambda: None))

    async def settle(self) -> None:
        """Let the nodes notice what happened to their connections."""
        clock: Any = reactor
        await deferLater(clock, 0.05, lambda: None)

    def plant(self, place: Place, fid: int, data: bytes) -> None:
        """See `NodesContract`."""
        path = self._path(place, fid)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def found(self, place: Place, fid: int) -> bytes | None:
        """See `NodesContract`."""
        path = self._path(place, fid)
        return path.read_bytes() if path.exists() else None

    def take_away(self, place: Place) -> Deferred[Any]:
        """See `NodesContract`."""
        return self._end(place.host.hostid)

    def test_pull_from_a_host_that_is_not_known(self) -> Deferred[None]:
        """A node that does not know the source yet gets the copy through us."""

        async def check() -> None:
            self.plant(self.source, 1, b"one")
            source = Place(evolve(self.source.host, name="stranger"), 11)
            await self.nodes.copy(source, self.target, 1, 3, None)
            assert self.found(self.target, 1) == b"one"

        return Deferred.fromCoroutine(check())
