"""The real `Nodes` keeps the contract towards nginx with DAV."""

from __future__ import annotations

from random import Random
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from koboldfs.client.nodes import Nodes
from koboldfs.model.entities import Host, Place
from test.contract.nodes import NodesContract
from test.functional.web_servers import WebServer

#: nginx is up long before this (seconds).
READY_SECONDS = 10.0


class NginxTests(NodesContract, TestCase):
    """Two of them."""

    timeout = 30

    def setUp(self) -> Deferred[None]:
        """Both answer."""
        self.servers = {
            number: WebServer("nginx", f"127.0.0.{30 + number}", 11 * number)
            for number in (1, 2)
        }
        for server in self.servers.values():
            self.addCleanup(server.remove)
            server.start()
        self.nodes = Nodes(reactor, Random(1))
        self.addCleanup(lambda: Deferred.fromCoroutine(self.nodes.stop()))
        self.source, self.target = (
            Place(
                Host(number, f"host{number}", "alive", server.address, server.port),
                server.devid,
            )
            for number, server in self.servers.items()
        )
        return Deferred.fromCoroutine(self._ready())

    async def _ready(self) -> None:
        clock: Any = reactor
        until = clock.seconds() + READY_SECONDS
        for place in (self.source, self.target):
            while True:
                report = await self.nodes.survey(place.host, [place.devid])
                if report.devices[0].observed == "writeable":
                    break
                assert clock.seconds() < until, report
                await deferLater(clock, 0.05, lambda: None)

    async def settle(self) -> None:
        """Let nginx read what is on the way to it."""
        await deferLater(reactor, 0.1, lambda: None)

    def plant(self, place: Place, fid: int, data: bytes) -> None:
        """See `NodesContract`."""
        path = self.servers[place.host.hostid].copy(fid)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def found(self, place: Place, fid: int) -> bytes | None:
        """See `NodesContract`."""
        path = self.servers[place.host.hostid].copy(fid)
        return path.read_bytes() if path.exists() else None

    def take_away(self, place: Place) -> None:
        """See `NodesContract`."""
        self.servers[place.host.hostid].stop()
