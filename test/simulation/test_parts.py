"""What the simulation is made of does what it says."""

from __future__ import annotations

from hashlib import sha256
from random import Random
from typing import Any

from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import SynchronousTestCase

from test.simulation.blocking import Sockets
from test.simulation.clock import ProcessReactor, SimulatedClock
from test.simulation.disk import Crashed, Disk, Faults, Handle
from test.simulation.network import Network
from test.simulation.truth import Truth, Version


class Disks(SynchronousTestCase):
    """`Disk` and `Handle`."""

    def setUp(self) -> None:
        """A disk with a device."""
        self.disk = Disk(Random(1), lambda: 0.0)
        self.disk.make_folders("/docroot/dev1/tmp")
        self.handle = Handle(self.disk)

    def write(self, path: str, data: bytes, *, flush: bool) -> None:
        """A file."""
        fd = self.handle.create(path)
        self.handle.write(fd, data)
        if flush:
            self.handle.sync([fd])
        self.handle.close(fd)

    def after_failures(self, path: str) -> set[bytes | None]:
        """What is left of a file after a power failure, in many worlds."""
        found: set[bytes | None] = set()
        for seed in range(60):
            self.setUp()
            self.disk.random.seed(seed)
            self.write("/docroot/dev1/tmp/x", b"bytes", flush=bool(seed % 2))
            self.handle.rename("/docroot/dev1/tmp/x", "/docroot/dev1/x")
            self.disk.power_failure()
            files = self.disk.files("/docroot/dev1")
            found.add(bytes(files[path].data) if path in files else None)
        return found

    def test_unflushed(self) -> None:
        """Without flushes a file is there, or not, or spoilt, under one name only."""
        found = self.after_failures("x")
        self.assertTrue({None, b"", b"bytes"} <= found, found)
        self.assertTrue(any(data and data.endswith(b"\0") for data in found), found)

    def test_flushed(self) -> None:
        """What was flushed, with its name, is there whatever happens; so is a new
        folder that it lies in."""
        for seed in range(30):
            self.setUp()
            self.disk.random.seed(seed)
            self.write("/docroot/dev1/tmp/x", b"bytes", flush=True)
            self.handle.make_folder("/docroot/dev1/0")
            self.handle.rename("/docroot/dev1/tmp/x", "/docroot/dev1/0/x")
            self.handle.sync_folder("/docroot/dev1/0")
            self.disk.power_failure()
            files = self.disk.files("/docroot/dev1")
            self.assertEqual(
                {n: bytes(f.data) for n, f in files.items()}["0/x"], b"bytes"
            )
            self.assertEqual(len(files), 1)

    def test_removed(self) -> None:
        """A file that was removed may come back, which is noted."""
        back = set()
        for seed in range(30):
            self.setUp()
            self.disk.random.seed(seed)
            self.disk.put("/docroot/dev1/x", b"bytes")
            self.handle.remove("/docroot/dev1/x")
            self.disk.power_failure()
            there = "x" in self.disk.files("/docroot/dev1")
            self.assertEqual("/docroot/dev1/x" in self.disk.resurrected, there)
            back.add(there)
        self.assertEqual(back, {True, False})

    def test_faults(self) -> None:
        """A full device takes nothing, the N-th call fails, a process ends in one."""
        faults = self.disk.faults["dev1"] = Faults(full=True)
        self.assertRaises(OSError, self.handle.create, "/docroot/dev1/x")
        faults.full, faults.calls = False, 2
        self.handle.folder("/docroot/dev1")
        self.assertRaises(OSError, self.handle.folder, "/docroot/dev1")
        self.handle.folder("/docroot/dev1")
        self.handle.crash_in = 1
        self.assertRaises(Crashed, self.handle.folder, "/docroot/dev1")


class Recorder(Protocol):
    """Keeps what comes."""

    def __init__(self) -> None:
        self.came = b""
        self.lost = False

    def dataReceived(self, data: bytes) -> None:
        """See `Protocol`."""
        self.came += data

    def connectionLost(self, reason: Any = None) -> None:
        """See `Protocol`."""
        self.lost = True


class Networks(SynchronousTestCase):
    """`Network` and `End`."""

    def setUp(self) -> None:
        """Two hosts, one of which connects to the other."""
        self.clock = SimulatedClock()
        self.network = Network(self.clock, Random(1))
        self.reactors = [
            ProcessReactor(self.clock, self.network, self.network.host(ip))
            for ip in ("10.0.0.1", "10.0.0.2")
        ]
        self.ends = [Recorder(), Recorder()]
        self.reactors[1].listenTCP(80, Factory.forProtocol(lambda: self.ends[1]))
        connected: list[Any] = []
        endpoint = TCP4ClientEndpoint(self.reactors[0], "10.0.0.2", 80)  # type: ignore
        endpoint.connect(Factory.forProtocol(lambda: self.ends[0])).addBoth(
            connected.append
        )
        self.clock.run(1.0)
        self.assertEqual(connected, [self.ends[0]])

    def test_order(self) -> None:
        """What is written comes in its order, and then the end."""
        for number in range(50):
            self.ends[0].transport.write(b"%d," % number)
            self.clock.run(0.0005)
        self.ends[0].transport.loseConnection()
        self.clock.run(1.0)
        self.assertEqual(self.ends[1].came, b"".join(b"%d," % n for n in range(50)))
        self.assertTrue(self.ends[1].lost)

    def test_cut(self) -> None:
        """On a path that is cut nothing arrives before it is mended; on the way back
        it does."""
        path = ("10.0.0.1", "10.0.0.2")
        self.network.cut.add(path)
        self.ends[0].transport.write(b"there")
        self.ends[1].transport.write(b"back")
        self.clock.run(60.0)
        self.assertEqual((self.ends[0].came, self.ends[1].came), (b"back", b""))
        self.network.mend(path)
        self.clock.run(1.0)
        self.assertEqual(self.ends[1].came, b"there")

    def test_dead_process(self) -> None:
        """A process that is gone is noticed at the next write; without power, never."""
        self.reactors[1].dead = True
        self.reactors[1].host.powered = False
        self.ends[0].transport.write(b"x")
        self.clock.run(60.0)
        self.assertFalse(self.ends[0].lost)
        self.reactors[1].host.powered = True
        self.ends[0].transport.write(b"x")
        self.clock.run(1.0)
        self.assertTrue(self.ends[0].lost)


class BlockingSockets(SynchronousTestCase):
    """`Sockets`: time goes on while a client waits."""

    def setUp(self) -> None:
        """A server that says what is said to it."""
        self.clock = SimulatedClock()
        self.network = Network(self.clock, Random(1))
        client, self.server = [
            ProcessReactor(self.clock, self.network, self.network.host(ip))
            for ip in ("10.0.0.1", "10.0.0.2")
        ]
        self.server.listenTCP(80, Factory.forProtocol(Echo))
        self.sockets = Sockets(self.clock)
        self.sockets.reactor = client
        self.socket = self.sockets.create_connection(("10.0.0.2", 80), 5.0)

    def test_answer(self) -> None:
        """An answer comes a moment later; the first that is said is no question."""
        self.assertEqual(self.sockets.select([self.socket], [], [], 0)[0], [])
        self.socket.sendall(b"hello")
        self.assertEqual(self.socket.recv(3), b"hel")
        self.assertEqual(self.socket.recv(9), b"lo")
        self.assertEqual(self.sockets.asked, set())
        self.socket.sendall(b"question")
        self.assertEqual(self.socket.recv(99), b"question")
        self.assertEqual(self.sockets.asked, {self.socket})
        self.assertTrue(0 < self.clock.now < 1)

    def test_silence(self) -> None:
        """Waiting has an end."""
        self.network.cut.add(("10.0.0.2", "10.0.0.1"))
        self.socket.sendall(b"hello")
        began = self.clock.now
        self.assertRaises(TimeoutError, self.socket.recv, 9)
        self.assertEqual(self.clock.now, began + 5.0)

    def test_ends(self) -> None:
        """A server that is gone refuses, one that went resets, and a client may."""
        self.server.dead = True
        self.socket.sendall(b"hello")
        self.assertRaises(ConnectionResetError, self.socket.recv, 9)
        self.assertRaises(ConnectionResetError, self.socket.sendall, b"x")
        connect = self.sockets.create_connection
        self.assertRaises(ConnectionRefusedError, connect, ("10.0.0.2", 80), 5.0)
        self.socket.close()


class Echo(Protocol):
    """Says it again."""

    def dataReceived(self, data: bytes) -> None:
        """See `Protocol`."""
        assert self.transport is not None
        self.transport.write(data)


class Truths(SynchronousTestCase):
    """`Truth`."""

    def setUp(self) -> None:
        """A key with a file since the second 1."""
        self.now = 1.0
        self.opened: dict[int, tuple[str, bytes | None]] = {}
        self.truth = Truth(
            lambda: self.now, lambda fid: self.opened.get(fid, ("", None))
        )
        self.key = self.truth.key("k")
        version = self.truth.versions[1] = Version(1, "k", b"1")
        self.first = self.truth.begin(self.key, version)
        self.truth.answered(self.key, self.first)

    def test_answered(self) -> None:
        """After an answer only the new is possible; for who asked before, both."""
        self.now = 2.0
        state = self.truth.begin(self.key, None)
        self.now = 3.0
        self.truth.answered(self.key, state)
        self.assertFalse(self.truth.may_be(self.key, 1, 3.5))
        self.assertTrue(self.truth.may_be(self.key, 1, 2.5))
        self.assertTrue(self.truth.may_be(self.key, None, 3.5))

    def test_unanswered(self) -> None:
        """Without an answer, both are possible until all is quiet."""
        self.truth.begin(self.key, None)
        self.now = 100.0
        self.assertIsNone(self.key.certain)
        for fid in (1, None):
            self.assertTrue(self.truth.may_be(self.key, fid, 99.0))
        self.truth.settle(self.key, 1)
        self.assertFalse(self.truth.may_be(self.key, None, 100.0))

    def test_without_fid(self) -> None:
        """What was sent without a fid is found by its key, and of several by what is
        recorded of the bytes."""
        sent = [Version(0, "k", data) for data in (b"2", b"3")]
        self.truth.sent(sent[0])
        self.assertIsNone(self.truth.version(7))
        self.opened[7] = ("k", None)
        self.assertIs(self.truth.version(7), sent[0])
        self.truth.sent(sent[1])
        self.opened[8] = ("k", None)
        self.assertIsNone(self.truth.version(8))
        self.opened[8] = ("k", sha256(b"3").digest())
        self.assertIs(self.truth.version(8), sent[1])
        self.opened[9] = ("k", sha256(b"4").digest())
        self.assertIsNone(self.truth.version(9))
