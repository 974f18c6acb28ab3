"""The in-memory provider of `INodes` keeps the contract."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from koboldfs.model.entities import Place
from test.contract.nodes import NodesContract, host
from test.contract.nodes_scrub import ScrubNodesContract
from test.fakes.nodes import MemoryNodes


class MemoryNodesTests(NodesContract, ScrubNodesContract, TestCase):
    """`MemoryNodes`."""

    def setUp(self) -> None:
        """Two hosts."""
        self.nodes = MemoryNodes()
        self.source = Place(host(1), 11)
        self.target = Place(host(2), 22)

    def plant(self, place: Place, fid: int, data: bytes) -> None:
        """See `NodesContract`."""
        self.nodes.put(place, fid, data)

    def found(self, place: Place, fid: int) -> bytes | None:
        """See `NodesContract`."""
        data: bytes | None = self.nodes.copies.get(
            (place.host.hostid, place.devid, fid)
        )
        return data

    def take_away(self, place: Place) -> None:
        """See `NodesContract`."""
        self.nodes.unreachable.add(place.host.hostid)
