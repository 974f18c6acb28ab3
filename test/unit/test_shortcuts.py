"""Tests of koboldfs.shortcuts."""

from __future__ import annotations

from collections.abc import Callable
from errno import EAGAIN
from typing import Any

from twisted.internet import tcp
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Protocol
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.shortcuts import run_now, send_now


class Socket:
    """A socket that takes `room` bytes, or raises `fault`."""

    def __init__(self, room: int = 1000, fault: OSError | None = None) -> None:
        self.sent = b""
        self.room = room
        self.fault = fault

    def send(self, data: Any) -> int:
        """As a socket that does not block."""
        if self.fault is not None:
            raise self.fault
        taken = bytes(data)[: self.room]
        if not taken:
            raise BlockingIOError(EAGAIN, "it would block")
        self.room -= len(taken)
        self.sent += taken
        return len(taken)

    def setblocking(self, flag: bool) -> None:
        """It never blocks."""

    def fileno(self) -> int:
        """None that anybody would ask the system about."""
        return 1000


class SendNowTests(SynchronousTestCase):
    """`send_now`, on Twisted's own transport: this breaks when that changes."""

    def transport(self, socket: Socket) -> Any:
        """A connection of a server."""
        self.reactor: Any = MemoryReactorClock()
        client = ("10.0.0.1", 1)
        return tcp.Server(
            socket,  # type: ignore[arg-type]
            Protocol(),  # type: ignore[arg-type]
            client,
            None,  # type: ignore[arg-type]
            1,
            self.reactor,
        )

    def test_at_once(self) -> None:
        """What the kernel takes is sent, and the reactor is not bothered."""
        socket = Socket()
        transport = self.transport(socket)
        send_now(transport, b"abc")
        self.assertEqual(socket.sent, b"abc")
        self.assertEqual(self.reactor.getWriters(), [])

    def test_what_is_left(self) -> None:
        """What the kernel does not take is sent when it does, in its order."""
        for room in (0, 2):
            socket = Socket(room)
            transport = self.transport(socket)
            send_now(transport, b"abc")
            self.assertEqual(socket.sent, b"abc"[:room])
            self.assertEqual(self.reactor.getWriters(), [transport])
            socket.room = 1
            send_now(transport, b"def")
            transport.doWrite()
            send_now(transport, b"ghi")
            transport.write(b"jkl")
            socket.room = 1000
            transport.doWrite()
            transport.doWrite()
            self.assertEqual(socket.sent, b"abcdefghijkl")
            send_now(transport, b"m")
            self.assertEqual(socket.sent, b"abcdefghijklm")

    def test_broken(self) -> None:
        """A broken connection raises nothing here; the transport finds out itself."""
        transport = self.transport(Socket(fault=ConnectionResetError()))
        send_now(transport, b"abc")
        self.assertEqual(self.reactor.getWriters(), [transport])

    def test_ended(self) -> None:
        """Nothing is sent on a connection that is gone."""
        socket = Socket()
        transport = self.transport(socket)
        transport.connected = 0
        send_now(transport, b"abc")
        self.assertEqual(socket.sent, b"")

    def test_half_closed(self) -> None:
        """Once the end of our half was asked for, the transport has the say."""
        socket = Socket()
        transport = self.transport(socket)
        transport.loseWriteConnection()
        send_now(transport, b"abc")
        self.assertEqual(socket.sent, b"")

    def test_encrypted(self) -> None:
        """What is to be encrypted goes the usual way."""
        socket = Socket()
        transport = self.transport(socket)
        transport.TLS = True
        transport.protocol = StringTransport()
        send_now(transport, b"abc")
        self.assertEqual(socket.sent, b"")

    def test_other_transports(self) -> None:
        """Any other transport is written to."""
        transport = StringTransport()
        send_now(transport, b"abc")
        self.assertEqual(transport.value(), b"abc")


class RunNowTests(SynchronousTestCase):
    """`run_now`."""

    def setUp(self) -> None:
        """Nothing has happened."""
        self.seen: list[Any] = []
        self.failures: list[Any] = []

    def run_it(self, *waits: Callable[[], Deferred[int]]) -> None:
        """Run a coroutine that waits for these."""

        async def work() -> None:
            for wait in waits:
                try:
                    self.seen.append(await wait())
                except ValueError as error:
                    self.seen.append(error)
            self.seen.append("end")

        run_now(work(), lambda failure: self.failures.append(failure.value))

    def test_at_once(self) -> None:
        """What need not wait is done when the call returns."""
        done: Deferred[int] = Deferred()
        done.callback(1)
        self.run_it(lambda: done)
        self.assertEqual(self.seen, [1, "end"])

    def test_waits(self) -> None:
        """It goes on when what it waits for has fired."""
        first, second = Deferred[int](), Deferred[int]()
        self.run_it(lambda: first, lambda: second)
        self.assertEqual(self.seen, [])
        first.callback(1)
        self.assertEqual(self.seen, [1])
        second.callback(2)
        self.assertEqual(self.seen, [1, 2, "end"])

    def test_failure(self) -> None:
        """A failure is raised where it was waited for, and is then dealt with."""
        error, waiting = ValueError(), Deferred[int]()
        self.run_it(lambda: waiting)
        waiting.errback(error)
        self.assertEqual(self.seen, [error, "end"])
        self.assertEqual(self.failures, [])

    def test_defect(self) -> None:
        """What nobody catches is told, early or late."""
        error = KeyError("x")
        failed: Deferred[int] = Deferred()
        failed.errback(error)
        waiting: Deferred[int] = Deferred()
        for wait in (failed, waiting):
            self.setUp()
            self.run_it(lambda wait=wait: wait)  # type: ignore[misc]
            if wait is waiting:
                waiting.errback(Failure(error))
            self.assertEqual((self.seen, self.failures), ([], [error]))

    def test_cancelled(self) -> None:
        """What is waited for may be cancelled."""
        waiting: Deferred[int] = Deferred()
        self.run_it(lambda: waiting)
        waiting.cancel()
        self.assertIsInstance(self.failures[0], CancelledError)
