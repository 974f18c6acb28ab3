"""Ports that are opened, and ports that are shared."""

from __future__ import annotations

import errno
import socket
from typing import Any

from attrs import define, field
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.errors import ConfigError
from koboldfs.listening import (
    HURRY_SECONDS,
    MAX_VAIN,
    PAUSE_SECONDS,
    YIELD_SECONDS,
    Doors,
    SharedPort,
    address_words,
    open_shared,
)


class Reactor(MemoryReactorClock):
    """Knows who reads, and what was adopted; some ports are taken."""

    taken: frozenset[int] = frozenset()

    def __init__(self) -> None:
        super().__init__()
        self.adopted: list[int] = []
        self.refusal: Exception | None = None

    def listenTCP(self, port: int, *arguments: Any, **named: Any) -> Any:
        """See `IReactorTCP`."""
        if port in self.taken:
            raise CannotListenError("", port, OSError(98, "Address already in use"))
        found: Any = super().listenTCP(port, *arguments, **named)
        found.stopReading = lambda: None
        return found

    def adoptStreamConnection(self, fd: int, family: Any, factory: Any) -> None:
        """See `IReactorSocket`."""
        if self.refusal is not None:
            raise self.refusal
        self.adopted.append(fd)


@define
class Queue:
    """A listening socket, and who waits there: numbers, or errors."""

    waiting: list[Any] = field(factory=list)
    family: int = socket.AF_INET
    closed: bool = False

    def setblocking(self, flag: bool) -> None:
        """See `socket.socket`."""
        assert not flag

    def getsockname(self) -> Any:
        """See `socket.socket`."""
        return ("127.0.0.1", 7001)

    def accept(self) -> tuple[Any, Any]:
        """See `socket.socket`."""
        if not self.waiting:
            raise BlockingIOError(errno.EAGAIN, "nobody")
        one = self.waiting.pop(0)
        if isinstance(one, OSError):
            raise one
        return Connection(one), ("127.0.0.1", 4000)

    def close(self) -> None:
        """See `socket.socket`."""
        self.closed = True


@define
class Connection(Queue):
    """A connection, of a number."""

    number: int = 0

    def __init__(self, number: int) -> None:
        self.__attrs_init__(number=number)  # type: ignore[attr-defined]

    def fileno(self) -> int:
        """See `socket.socket`."""
        return self.number

    def __enter__(self) -> Connection:
        """See `socket.socket`."""
        return self

    def __exit__(self, *_: object) -> None:
        """See `socket.socket`."""
        self.close()


@define
class Others:
    """A turn that is ours when a test says so."""

    mine: bool = True
    count: int = 0

    def begin(self) -> None:
        """See `Turn`."""

    def is_mine(self) -> bool:
        """See `Turn`."""
        return self.mine

    def took(self) -> None:
        """See `Turn`."""
        self.count += 1


class Sharing(SynchronousTestCase):
    """`SharedPort`"""

    def setUp(self) -> None:
        """A port with three who wait."""
        self.reactor, self.queue, self.turn = Reactor(), Queue([11, 12, 13]), Others()
        self.factory = Factory()
        self.factory.noisy = False
        listening: Any = self.queue
        turn: Any = self.turn
        self.port = SharedPort(self.reactor, listening, self.factory, turn)
        self.port.startListening()

    @property
    def reading(self) -> bool:
        """Whether it looks for connections."""
        return self.port in self.reactor.readers

    def test_one_at_a_time(self) -> None:
        """A turn of the reactor, one connection."""
        self.port.doRead()
        self.assertEqual(self.reactor.adopted, [11])
        self.assertEqual(self.turn.count, 1)

    def test_others_first(self) -> None:
        """When it is another's turn, that one has a moment; then we take it, and the
        next one is left to the other as well."""
        self.turn.mine = False
        for taken in ([11], [11, 12]):
            self.port.doRead()
            self.assertFalse(self.reading)
            self.assertEqual(self.reactor.adopted, taken[:-1])
            self.reactor.advance(YIELD_SECONDS)
            self.assertTrue(self.reading)
            self.port.doRead()
            self.assertEqual(self.reactor.adopted, taken)

    def test_others_hang(self) -> None:
        """Who never takes what is left to it is not waited for, for a while."""
        self.turn.mine = False
        self.queue.waiting = list(range(100))
        for _ in range(MAX_VAIN):
            self.port.doRead()
            self.reactor.advance(YIELD_SECONDS)
            self.port.doRead()
        self.assertEqual(len(self.reactor.adopted), MAX_VAIN)
        for _ in range(20):
            self.port.doRead()
        self.assertEqual(len(self.reactor.adopted), MAX_VAIN + 20)
        self.reactor.advance(HURRY_SECONDS)
        self.port.doRead()
        self.assertFalse(self.reading)

    def test_nobody(self) -> None:
        """Another was faster, or the client has gone again: no harm."""
        self.queue.waiting = [OSError(errno.ECONNABORTED, "gone")]
        self.port.doRead()
        self.port.doRead()
        self.assertTrue(self.reading)
        self.assertEqual((self.reactor.adopted, self.turn.count), ([], 0))

    def test_no_descriptors(self) -> None:
        """Without a descriptor it rests, and lets others take what waits."""
        self.queue.waiting = [OSError(errno.EMFILE, "too many"), 12]
        self.port.doRead()
        self.assertFalse(self.reading)
        self.reactor.advance(PAUSE_SECONDS)
        self.assertTrue(self.reading)
        self.reactor.refusal = OSError(errno.EMFILE, "too many")
        self.port.doRead()
        self.assertFalse(self.reading)
        self.reactor.refusal = None

    def test_defect(self) -> None:
        """What goes wrong with one connection is logged, and closes no port."""
        self.reactor.refusal = ValueError("a defect")
        self.port.doRead()
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.reactor.refusal = None
        self.port.doRead()
        self.assertEqual(self.reactor.adopted, [12])

    def test_stop(self) -> None:
        """It stops once, in the middle of a rest as well, and tells its address."""
        self.turn.mine = False
        self.port.doRead()
        self.successResultOf(self.port.stopListening())
        self.successResultOf(self.port.stopListening())
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertTrue(self.queue.closed)
        self.assertEqual(self.factory.numPorts, 0)
        self.assertEqual(address_words(self.port.getHost()), "127.0.0.1:7001")


class Opening(SynchronousTestCase):
    """`Doors` and `open_shared`"""

    def refused(self, opening: Any) -> str:
        """The one line."""
        error = self.failureResultOf(opening, ConfigError).value
        self.assertNotIn("\n", error.message)
        return str(error.message)

    def test_doors(self) -> None:
        """What is free is opened; what is not, or is none, is told with its option."""
        reactor = Reactor()
        doors = Doors(reactor)
        self.successResultOf(doors.listen("--x", "tcp:7001", Factory()))
        self.assertEqual(reactor.tcpServers[0][0], 7001)
        reactor.taken = frozenset([7002])
        text = self.refused(doors.listen("--x", "tcp:7002", Factory()))
        self.assertIn("--x tcp:7002", text)
        self.assertIn("Address already in use", text)
        for wrong in ("", "tcp:x", "pigeon:1"):
            text = self.refused(doors.listen("--x", wrong, Factory()))
            self.assertIn(f"--x {wrong}", text)

    def test_shared(self) -> None:
        """What makes connections only in the kernel can be shared."""
        reactor = Reactor()
        self.successResultOf(open_shared(reactor, "--x", "tcp:7001"))
        for kind in ("ssl:7001", "pigeon:1", "systemd:domain=INET:index=0"):
            text = self.refused(open_shared(reactor, "--x", kind))
            self.assertIn(f"--x {kind}", text)
            self.assertIn("--processes 1", text)
