"""A node that answers as it is told, for tests of `Nodes`."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.client.nodes import Nodes
from koboldfs.client.survey import (
    SURVEY_SECONDS,
)
from koboldfs.model.entities import Host, Place
from test.fakes.nodes import own_checksum
from test.unit.client.network import Network, Wire, start

FOREIGN = b"total: 1000\nused: 10\navailable: 990\n"
OURS = FOREIGN + b"kobold: 1\nsidechannel: 7501\n"
ABC = own_checksum(b"abc")


def http(status: int, body: bytes = b"") -> bytes:
    """An answer."""
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (status, len(body)) + body


class Node:
    """A host in memory: `answers` by "METHOD path" or METHOD, `replies` by verb."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.answers: dict[str, bytes | Callable[[bytes], bytes]] = {}
        self.replies: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.refusing: set[int] = set()
        self.wires: list[tuple[int, Wire]] = []

    def work(self) -> None:
        """Do what there is to do, until there is nothing left."""
        busy = True
        while busy:
            busy = False
            while self.network.attempts:
                busy = True
                port = self.network.reactor.tcpClients[0][1]
                if port in self.refusing:
                    self.network.refuse()
                else:
                    self.wires.append((port, self.network.accept()))
            self.network.turn()
            for port, wire in self.wires:
                data = wire.take()
                if data and not wire.gone:
                    busy = True
                    if port == 7501:
                        self._lines(wire, data)
                    else:
                        self._http(port, wire, data)

    def _lines(self, wire: Wire, data: bytes) -> None:
        for line in data.decode().splitlines():
            if not line.startswith("kobold "):
                self.asked.append(line)
                wire.feed(self.replies.get(line, b"") + b"\r\n")
                continue
            _, number, verb = line.split(" ")[:3]
            self.asked.append(line.split(" ", 2)[2])
            if verb in self.replies:
                wire.feed(f"kobold {number} ".encode() + self.replies[verb] + b"\r\n")

    def _http(self, port: int, wire: Wire, data: bytes) -> None:
        head, _, body = data.partition(b"\r\n\r\n")
        method, path = head.decode().split(" ")[:2]
        self.asked.append(f"{method} {path}")
        answer = self.answers.get(f"{method} {path}", self.answers.get(method))
        answer = self.answers.get(f"{port} {method} {path}", answer)
        if callable(answer):
            answer = answer(body)
        if answer is not None:
            wire.feed(answer)


class NodesCase(SynchronousTestCase):
    """`Nodes` and one host."""

    def setUp(self) -> None:
        """Nothing is known of the host."""
        self.network = Network()
        self.node = Node(self.network)
        self.nodes = Nodes(self.network.reactor, Random(1))
        self.host = Host(1, "one", "alive", "10.0.0.1", 7500)
        self.place = Place(self.host, 3)
        self.written = b""

    def run_now(self, work: Any) -> Deferred[Any]:
        """Start it, and let the node work."""
        result = start(work)
        self.node.work()
        return result

    def survey(self, *devids: int) -> Any:
        """What a survey says, when the time for it is over at the latest."""
        result = self.run_now(self.nodes.survey(self.host, devids))
        if not result.called:
            for _ in range(15):
                self.network.reactor.advance(SURVEY_SECONDS / 14)
                self.node.work()
        return self.successResultOf(result)

    def be_foreign(self) -> None:
        """A node that keeps one file."""

        def put(body: bytes) -> bytes:
            self.written = body
            return http(201)

        self.node.answers.update(
            {
                "GET /dev3/usage": http(200, FOREIGN),
                "GET /dev4/usage": http(200, FOREIGN),
                "MKCOL": http(201),
                "PUT": put,
                "GET": lambda _: http(200, self.written),
            }
        )

    def be_ours(self) -> None:
        """A node of ours, that is known to be."""
        self.node.answers["GET /dev3/usage"] = http(200, OURS)
        self.node.replies["usage"] = (
            b"OK devices=1&dev1_devid=3&dev1_observed=writeable&dev1_kib_total=9"
            b"&dev1_kib_used=1&dev1_utilization=2.5"
        )
        self.survey(3)
        self.node.asked.clear()
