"""Twisted's own TCP transport on a socket that is none."""

from __future__ import annotations

from typing import Any

from twisted.internet import tcp
from twisted.internet.interfaces import IProtocol
from twisted.internet.testing import MemoryReactor


class DirectWire:
    """A socket that takes `room` bytes more, and has `sent` some; and its transport."""

    def __init__(self, protocol: IProtocol) -> None:
        self.room = 1_000_000
        self.sent = b""
        self._reactor = MemoryReactor()
        self.transport: Any = tcp.Connection(self, protocol, self._reactor)  # type: ignore[arg-type]
        self.transport.connected = 1

    def writers(self) -> list[Any]:
        """Who waits for the socket to be writable."""
        return list(self._reactor.getWriters())

    def setblocking(self, flag: bool) -> None:
        """It never blocks."""

    def fileno(self) -> int:
        """It has none."""
        return -1

    def setsockopt(self, *words: Any) -> None:
        """As it likes."""

    def send(self, data: bytes) -> int:
        """As much as there is room for."""
        if not self.room and data:
            raise BlockingIOError(11, "full")
        taken = bytes(data[: self.room])
        self.sent += taken
        self.room -= len(taken)
        return len(taken)
