"""Sockets for a client that blocks: while it waits, the world goes on.

Only one client of a run may block. Two that wait inside of each other would end in the
order of their calls, and not in that of the answers.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.error import ConnectionLost
from twisted.internet.protocol import ClientFactory, Protocol, connectionDone
from twisted.python.failure import Failure


class Sockets:
    """What the client has for the modules `socket` and `select`. `reactor`: that of the
    client's process; `asked`: the connections on which it has asked something since
    that was emptied."""

    IPPROTO_TCP, TCP_NODELAY = socket.IPPROTO_TCP, socket.TCP_NODELAY

    def __init__(self, clock: Any) -> None:
        self.clock = clock
        self.reactor: Any = None
        self.asked: set[BlockingSocket] = set()

    def create_connection(
        self, address: tuple[str, int], timeout: float
    ) -> BlockingSocket:
        """See `socket.create_connection`."""
        made = BlockingSocket(self, timeout)
        factory = _Once(made)
        self.reactor.connectTCP(*address, factory, timeout)
        self.wait(lambda: made.connected or factory.failed, timeout)
        if factory.failed:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "refused")
        return made

    def select(
        self, read: list[BlockingSocket], write: Any, other: Any, timeout: float
    ) -> tuple[list[BlockingSocket], list[Any], list[Any]]:
        """See `select.select`: whether there is something now."""
        return [one for one in read if one.readable], [], []

    def wait(self, ready: Callable[[], object], seconds: float) -> None:
        """Let time pass until it is so. Raises `TimeoutError`."""
        until = self.clock.now + seconds
        while not ready():
            if not self.clock.step(until) and not ready():
                raise TimeoutError


class BlockingSocket(Protocol):
    """One connection; see `socket.socket`."""

    def __init__(self, sockets: Sockets, seconds: float) -> None:
        self._sockets, self._seconds = sockets, seconds
        self._data = b""
        self._sends = 0
        self._lost: Failure | None = None

    @property
    def readable(self) -> bool:
        """Whether reading would not block."""
        return bool(self._data) or self._lost is not None

    def dataReceived(self, data: bytes) -> None:
        """See `Protocol`."""
        self._data += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `Protocol`."""
        self._lost = reason

    # --- as a socket

    def settimeout(self, seconds: float) -> None:
        """See `socket.socket`."""
        self._seconds = seconds

    def setsockopt(self, level: int, option: int, value: int) -> None:
        """See `socket.socket`."""

    def sendall(self, data: bytes) -> None:
        """See `socket.socket`. The first that is said on a connection is HELLO, which
        asks for nothing."""
        if self._lost is not None:
            raise ConnectionResetError(errno.ECONNRESET, "reset")
        self._sends += 1
        if self._sends > 1:
            self._sockets.asked.add(self)
        assert self.transport is not None
        self.transport.write(bytes(data))

    def recv(self, limit: int) -> bytes:
        """See `socket.socket`."""
        self._sockets.wait(lambda: self.readable, self._seconds)
        data, self._data = self._data[:limit], self._data[limit:]
        if not data and self._lost is not None and self._lost.check(ConnectionLost):
            raise ConnectionResetError(errno.ECONNRESET, "reset")
        return data

    def close(self) -> None:
        """See `socket.socket`: with bytes that nobody has read, it is reset."""
        transport: Any = self.transport
        if self._lost is None and transport is not None:
            if self._data:
                transport.abortConnection()
            else:
                transport.loseConnection()


class _Once(ClientFactory):
    noisy = False

    def __init__(self, made: BlockingSocket) -> None:
        self.made, self.failed = made, False

    def buildProtocol(self, addr: Any) -> BlockingSocket:
        self.made.factory = self
        return self.made

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        self.failed = True
