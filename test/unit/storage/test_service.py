"""The storage node, put together: starting, stopping, and what keeps it from that."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from twisted.internet.error import CannotListenError
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.errors import ConfigError
from koboldfs.storage.service import StorageNode
from test.fakes.lanes import InlineLanes


class Reactor(MemoryReactorClock):
    """Ports that are in use, when a test says so."""

    taken: frozenset[int] = frozenset()

    def listenTCP(  # type: ignore[override]
        self, port: int, factory: Any, backlog: int = 50, interface: str = ""
    ) -> Any:
        """See `IReactorTCP`."""
        if port in self.taken:
            error = OSError(98, "Address already in use")
            raise CannotListenError(interface, port, error)
        return super().listenTCP(port, factory, backlog, interface)


class StorageNodes(SynchronousTestCase):
    """`StorageNode`"""

    def setUp(self) -> None:
        """A place for a node."""
        self.reactor = Reactor()
        self.root = Path(self.mktemp()).absolute()

    def node(self, **changes: Any) -> StorageNode:
        """A node with device 1."""
        docroot = self.root / "devices"
        (docroot / "dev1").mkdir(parents=True, exist_ok=True)
        values = {"docroot": docroot, "data": self.root / "data", **changes}
        return StorageNode(self.reactor, lanes=InlineLanes(), **values)

    def refused(self, node: StorageNode) -> str:
        """The one line that says why the node does not start."""
        with self.assertRaises(ConfigError) as caught:
            node.startService()
        text = caught.exception.message
        self.assertNotIn("\n", text)
        return text

    def test_constructing_does_nothing(self) -> None:
        """Things start when the service does."""
        self.node(data=self.root / "new")
        self.assertEqual(self.reactor.tcpServers, [])
        self.assertFalse((self.root / "new").exists())

    def test_runs(self) -> None:
        """It listens, side channel first, looks at its devices, tells its port, and
        in the end leaves nothing behind."""
        node = self.node(wall_seconds=lambda: 5.0)
        node.startService()
        ports = [server[0] for server in self.reactor.tcpServers]
        self.assertEqual(ports, [7501, 7500])
        device = node.folders.reading(1)
        self.assertEqual(device.observed, "writeable")
        line = f"sidechannel: {node.sidechannel_port}\n".encode()
        self.assertIn(line, device.usage_text)
        self.assertIn(b"time: 5\n", device.usage_text)
        self.assertTrue(node.http_port)
        self.successResultOf(node.stopService())
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertEqual((node.http_port, node.sidechannel_port), (0, 0))

    def test_ports(self) -> None:
        """A port in use and an endpoint that is none: the option, the value, and
        what would be right; nothing listens afterwards."""
        self.reactor.taken = frozenset([7500])
        text = self.refused(self.node())
        self.assertIn("--storage-listen tcp:7500", text)
        self.assertIn("Address already in use", text)
        for value in ("x", "tcp:", "tcp:x", "tcp:port=1:nonsense=2", ""):
            text = self.refused(self.node(sidechannel_listen=value))
            self.assertIn(f"--sidechannel-listen {value}", text)
            self.assertIn("tcp:7500", text)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_folders(self) -> None:
        """A docroot that is a file, and data where nobody may write."""
        file = self.root / "file"
        file.parent.mkdir(parents=True)
        file.write_bytes(b"")
        self.assertIn("--docroot", self.refused(self.node(docroot=file)))
        self.assertIn("--data", self.refused(self.node(data=file / "below")))
        self.patch(os, "access", lambda path, mode: Path(path).name != "devices")
        self.assertIn("--docroot", self.refused(self.node()))

    def test_broken_memory(self) -> None:
        """A memory that cannot be read."""
        (self.root / "data").mkdir(parents=True)
        (self.root / "data" / "node.json").write_text("{")
        self.assertIn("node.json", self.refused(self.node()))

    def test_serve_looks_at_once(self) -> None:
        """A device that is claimed and served can be used without waiting."""
        node = self.node()
        node.startService()
        node.folders.claim(4, "cluster", "host")
        node.folders.serve("cluster", "host", [4])
        self.assertEqual(node.folders.writing(4).observed, "writeable")
        self.successResultOf(node.stopService())

    def test_connects(self) -> None:
        """Other nodes are reached by address, within a time."""
        node = self.node()
        node.startService()
        connecting = node.client._connect("127.0.0.1", 7500, node._http._factory)
        ((host, port, *_),) = self.reactor.tcpClients
        self.assertEqual((host, port), ("127.0.0.1", 7500))
        connecting.addErrback(lambda failure: None)
        connecting.cancel()
        self.successResultOf(node.stopService())
