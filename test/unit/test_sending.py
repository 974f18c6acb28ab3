"""Small answers, sent at once."""

from __future__ import annotations

import errno
from typing import Any

from twisted.internet import tcp
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.sending import MAX_DIRECT_BYTES, is_direct, send, unsent


class FakeSocket:
    """Takes some bytes of what is sent, or refuses."""

    def __init__(self) -> None:
        self.takes = 1000
        self.fault: OSError | None = None
        self.taken = b""

    def send(self, data: bytes) -> int:
        """See `socket.socket`."""
        if self.fault is not None:
            raise self.fault
        some = bytes(data)[: self.takes]
        self.taken += some
        return len(some)

    def setblocking(self, blocking: bool) -> None:
        """See `socket.socket`."""

    def fileno(self) -> int:
        """See `socket.socket`."""
        return 7


class FakeReactor:
    """Remembers whether the transport wants to write."""

    def __init__(self) -> None:
        self.writers: set[Any] = set()

    def addWriter(self, writer: Any) -> None:
        """See IReactorFDSet."""
        self.writers.add(writer)

    def removeWriter(self, writer: Any) -> None:
        """See IReactorFDSet."""
        self.writers.discard(writer)

    def removeReader(self, reader: Any) -> None:
        """See IReactorFDSet."""


class FakeProducer:
    """Remembers being paused."""

    paused = False

    def pauseProducing(self) -> None:
        """See IPushProducer."""
        self.paused = True


class Connections(SynchronousTestCase):
    """TCP, with Twisted's own transport around a socket of ours."""

    def setUp(self) -> None:
        """A connection that is made."""
        self.socket, self.reactor = FakeSocket(), FakeReactor()
        self.transport: Any = tcp.Connection(self.socket, None, self.reactor)
        self.transport.connected = 1

    def waits(self) -> bool:
        """Whether the reactor was asked to tell when there is room."""
        return bool(self.reactor.writers)

    def test_at_once(self) -> None:
        """An empty socket takes all, and the reactor is not bothered."""
        send(self.transport, b"one")
        send(self.transport, b"two")
        self.assertEqual(self.socket.taken, b"onetwo")
        self.assertFalse(self.waits())

    def test_in_part(self) -> None:
        """What the socket does not take goes when there is room, and in order."""
        self.socket.takes = 2
        send(self.transport, b"hello")
        self.socket.takes = 1000
        send(self.transport, b" world")
        self.assertEqual(self.socket.taken, b"he")
        self.assertTrue(self.waits())
        self.transport.doWrite()
        self.assertEqual(self.socket.taken, b"hello world")
        send(self.transport, b"!")
        self.assertEqual(self.socket.taken, b"hello world!")

    def test_long(self) -> None:
        """What is not sent in one go is left to Twisted."""
        send(self.transport, bytes(MAX_DIRECT_BYTES + 1))
        self.assertEqual(self.socket.taken, b"")
        self.assertTrue(self.waits())

    def test_which(self) -> None:
        """TCP without an encryption, and nothing else."""
        self.assertTrue(is_direct(self.transport))
        self.transport.TLS = True
        self.assertFalse(is_direct(self.transport))
        self.assertFalse(is_direct(StringTransport()))

    def test_unsent(self) -> None:
        """Bytes wait in either buffer."""
        self.assertFalse(unsent(self.transport))
        self.socket.takes = 1
        send(self.transport, b"abc")
        self.assertTrue(unsent(self.transport))
        self.transport.doWrite()
        self.assertTrue(unsent(self.transport))
        self.transport.doWrite()
        self.assertFalse(unsent(self.transport))

    def test_behind_what_waits(self) -> None:
        """Bytes that Twisted has taken go first, whichever buffer they are in."""
        self.transport.write(b"first ")
        send(self.transport, b"second")
        self.assertEqual(self.socket.taken, b"")
        self.socket.takes = 3
        self.transport.doWrite()
        send(self.transport, b"!")
        self.socket.takes = 1000
        while self.waits():
            self.transport.doWrite()
        self.assertEqual(self.socket.taken, b"first second!")

    def test_full(self) -> None:
        """A socket that is full takes nothing now and all later."""
        self.socket.fault = BlockingIOError(errno.EAGAIN, "full")
        send(self.transport, b"later")
        self.socket.fault = None
        self.assertTrue(self.waits())
        self.transport.doWrite()
        self.assertEqual(self.socket.taken, b"later")

    def test_broken(self) -> None:
        """A broken socket is found out by the reactor, and raises nothing here."""
        self.socket.fault = ConnectionResetError(errno.ECONNRESET, "reset")
        send(self.transport, b"lost")
        self.assertTrue(self.waits())
        self.assertIsInstance(self.transport.doWrite(), Exception)

    def test_closing(self) -> None:
        """After `loseConnection` nothing overtakes, and after the end nothing goes."""
        self.transport.write(b"last")
        self.transport.loseConnection()
        send(self.transport, b" words")
        self.assertEqual(self.socket.taken, b"")
        self.transport.connected = 0
        self.transport.dataBuffer, self.transport._tempDataLen = b"", 0
        send(self.transport, b"nobody")
        self.assertEqual(self.socket.taken, b"")

    def test_producer_is_paused(self) -> None:
        """Who produces learns that too much waits."""
        producer = FakeProducer()
        self.transport.registerProducer(producer, True)
        self.socket.takes = 0
        send(self.transport, b"x" * (self.transport.bufferSize + 1))
        self.assertTrue(producer.paused)

    def test_encrypted(self) -> None:
        """Nothing goes past an encryption."""
        self.transport.TLS = True
        written: list[bytes] = []
        self.transport.write = written.append
        send(self.transport, b"secret")
        self.assertEqual((self.socket.taken, written), (b"", [b"secret"]))


class Others(SynchronousTestCase):
    """Transports that are no sockets."""

    def test_written(self) -> None:
        """They are written to."""
        transport = StringTransport()
        send(transport, b"text")
        self.assertEqual(transport.value(), b"text")
