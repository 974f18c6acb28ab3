"""Tests of koboldfs.demo.nodes."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path

from koboldfs.demo import nodes
from koboldfs.demo.nodes import DemoFailed, Node, choose_ports, stop_all
from test.unit.demo.case import OTHER, DemoCase


class PortTests(DemoCase):
    """Which ports are taken."""

    def test_usual(self) -> None:
        """The usual ports where they are free, everywhere."""
        asked = []
        self.patch(nodes, "is_free", lambda *where: asked.append(where) or True)
        self.assertTrue(choose_ports().usual)
        self.assertIn(("127.0.0.3", 7501), asked)

    def test_in_use(self) -> None:
        """A port in use on one address is replaced by one that is free on all."""
        taken = ("127.0.0.2", 7500)
        real = nodes.is_free
        self.patch(
            nodes,
            "is_free",
            lambda *where: (
                where != taken and (where[1] in nodes.USUAL_PORTS or real(*where))
            ),
        )
        ports = choose_ports()
        self.assertFalse(ports.usual)
        self.assertEqual((ports.tracker, ports.sidechannel), (7001, 7501))
        self.assertNotIn(ports.storage, nodes.USUAL_PORTS)

    def test_nothing_free(self) -> None:
        """No free port at all is said, not tried for ever."""
        self.patch(nodes, "is_free", lambda *where: False)
        self.assertRaises(DemoFailed, choose_ports)

    def test_is_free(self) -> None:
        """A port on which somebody listens is not free; a foreign address is said."""
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen(1)
            port = other.getsockname()[1]
            self.assertFalse(nodes.is_free("127.0.0.1", port))
        self.assertTrue(nodes.is_free("127.0.0.1", port))
        error = self.assertRaises(DemoFailed, nodes.is_free, "192.0.2.1", port)
        self.assertIn("192.0.2.1", error.message)


class NodeTests(DemoCase):
    """One process."""

    def test_options(self) -> None:
        """The first node is the tracker; the others join it, each on its address."""
        first, second = (Node(n, self.folder / f"node{n}", OTHER) for n in (1, 2))
        self.assertIn("--tracker", first.options())
        self.assertIn("tcp:1:interface=127.0.0.1", first.options())
        self.assertNotIn("--tracker", second.options())
        words = " ".join(second.options())
        self.assertIn("--join 127.0.0.1:1", words)
        self.assertIn("--host-name node2 --host-ip 127.0.0.2", words)
        self.assertIn("--storage-listen tcp:3:interface=127.0.0.2", words)
        self.assertEqual(first.command()[-len(first.options()) :], first.options())

    def test_life(self) -> None:
        """It starts, is killed, and its last words are kept."""
        node = self.node("print('ready', flush=True); import time; time.sleep(60)")
        self.assertFalse(node.running)
        self.assertEqual((node.pid, node.tail()), (0, ""))
        node.start()
        self.assertTrue(node.running)
        node.kill()
        self.assertFalse(node.running)
        assert node.process is not None
        self.assertEqual(node.process.returncode, -signal.SIGKILL)
        node.kill()

    def test_tail(self) -> None:
        """The last lines of a long log."""
        node = self.node("for i in range(9999): print('line', i)")
        node.start()
        assert node.process is not None
        node.process.wait(30)
        lines = node.tail().splitlines()
        self.assertEqual(len(lines), nodes.TAIL_LINES)
        self.assertEqual(lines[-1], "line 9998")

    def test_stop_all(self) -> None:
        """All end by SIGTERM, also a paused one; a deaf one is killed."""
        self.patch(nodes, "STOP_SECONDS", 1.0)
        deaf = self.node(
            "import signal, time; signal.signal(15, signal.SIG_IGN)\n"
            "open('deaf', 'w'); time.sleep(60)",
            number=1,
        )
        paused = self.node("import time; time.sleep(60)")
        for node in (deaf, paused):
            node.start()
        assert paused.process is not None and deaf.process is not None
        paused.process.send_signal(signal.SIGSTOP)
        deadline = time.monotonic() + 30
        while not (deaf.folder / "deaf").exists() and time.monotonic() < deadline:
            os.sched_yield()
        stop_all([deaf, paused, self.node("never started", number=3)])
        self.assertEqual(paused.process.returncode, -signal.SIGTERM)
        self.assertEqual(deaf.process.returncode, -signal.SIGKILL)

    def test_environment(self) -> None:
        """A node sees this package, and none of the user's KOBOLDFS_ variables."""
        self.patch(os, "environ", {"KOBOLDFS_DOMAIN": "x", "PYTHONPATH": "/other"})
        found = nodes.environment()
        self.assertNotIn("KOBOLDFS_DOMAIN", found)
        root, other = found["PYTHONPATH"].split(os.pathsep)
        self.assertTrue((Path(root) / "koboldfs" / "demo").is_dir())
        self.assertEqual(other, "/other")
