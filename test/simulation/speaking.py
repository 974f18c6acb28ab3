"""How a simulated client speaks: lines to a tracker, HTTP to a storage node.

Written anew and plainly, so that what is tested does not test itself.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import ClientFactory, Protocol, connectionDone
from twisted.python.failure import Failure

from koboldfs.wire.escaping import format_arguments, parse_arguments
from test.simulation.processes import HTTP_PORT, TRACKER_PORT

CONNECT_SECONDS = 2.0


class NoAnswer(Exception):
    """Nobody knows whether it was done."""


class NotSent(Exception):
    """It was not even asked."""


class Wire(Protocol):
    """A connection on which answers come in the order of the questions."""

    def __init__(self) -> None:
        self.waiting: deque[Deferred[Any]] = deque()
        self.gone = False
        self.left = b""

    def ask(self, data: bytes) -> Deferred[Any]:
        """Send; fires with the answer, or fails with `NoAnswer`."""
        answer: Deferred[Any] = Deferred()
        self.waiting.append(answer)
        self.transport.write(data)
        return answer

    def tell(self, answer: Any) -> None:
        """The answer to the first of those who wait."""
        if self.waiting:
            self.waiting.popleft().callback(answer)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `Protocol`."""
        self.gone = True
        waiting, self.waiting = self.waiting, deque()
        for answer in waiting:
            answer.errback(NoAnswer())

    def cut(self) -> None:
        """Have no more of it."""
        self.transport.abortConnection()
        self.connectionLost()


class LineWire(Wire):
    """To a tracker."""

    def dataReceived(self, data: bytes) -> None:
        """See `Protocol`."""
        *lines, self.left = (self.left + data).split(b"\r\n")
        for line in lines:
            self.tell(line.decode("latin-1"))


class HttpWire(Wire):
    """To a storage node; answers have a length."""

    def dataReceived(self, data: bytes) -> None:
        """See `Protocol`."""
        self.left += data
        while True:
            head, end, body = self.left.partition(b"\r\n\r\n")
            if not end:
                return
            status = int(head.split(b" ", 2)[1])
            length = 0
            for line in head.split(b"\r\n")[1:]:
                name, _, value = line.partition(b":")
                if name.strip().lower() == b"content-length":
                    length = int(value)
            if len(body) < length:
                return
            self.left = body[length:]
            self.tell((status, body[:length]))


class _Once(ClientFactory):
    noisy = False

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.made: Deferred[Wire] = Deferred()

    def buildProtocol(self, addr: Any) -> Wire:
        self.wire.factory = self
        self.wire.connectionMade = self._connected  # type: ignore[method-assign]
        return self.wire

    def _connected(self) -> None:
        self.made.callback(self.wire)

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        self.made.errback(NotSent())


class Speaker:
    """One client's connections; each is kept, and used for one question at a time."""

    def __init__(self, reactor: Any, patience_seconds: float) -> None:
        self._reactor = reactor
        self._patience_seconds = patience_seconds
        self._wires: dict[tuple[str, int], Wire] = {}

    def hang_up(self) -> None:
        """Use no connection again that was made before now."""
        for wire in self._wires.values():
            if not wire.gone:
                wire.cut()

    async def _wire(self, ip: str, port: int) -> Wire:
        wire = self._wires.get((ip, port))
        if wire is None or wire.gone:
            factory = _Once(LineWire() if port == TRACKER_PORT else HttpWire())
            self._reactor.connectTCP(ip, port, factory, CONNECT_SECONDS)
            wire = self._wires[ip, port] = await factory.made
        return wire

    async def _ask(self, ip: str, port: int, data: bytes) -> Any:
        wire = await self._wire(ip, port)
        answer = wire.ask(data)
        alarm = self._reactor.callLater(self._patience_seconds, wire.cut)
        try:
            return await answer
        finally:
            if alarm.active():
                alarm.cancel()

    async def tracker(
        self, ip: str, command: str, **words: Any
    ) -> tuple[str, dict[str, str]]:
        """``OK`` or the code of an error, and the fields. Raises `NoAnswer`."""
        line = f"{command} {format_arguments(words.items())}\r\n"
        reply: str = await self._ask(ip, TRACKER_PORT, line.encode("latin-1"))
        word, _, rest = reply.partition(" ")
        if word == "OK":
            return word, parse_arguments(rest)
        return rest.partition(" ")[0], {}

    async def put(self, url: str, data: bytes) -> int:
        """The status. Raises `NoAnswer`, `NotSent`."""
        ip, path = _parts(url)
        head = f"PUT {path} HTTP/1.1\r\nHost: {ip}\r\nContent-Length: {len(data)}\r\n"
        status, _ = await self._ask(ip, HTTP_PORT, f"{head}\r\n".encode() + data)
        return int(status)

    async def get(self, url: str) -> tuple[int, bytes]:
        """Status and body. Raises `NoAnswer`, `NotSent`."""
        ip, path = _parts(url)
        head = f"GET {path} HTTP/1.1\r\nHost: {ip}\r\n\r\n"
        try:
            status, body = await self._ask(ip, HTTP_PORT, head.encode())
        except NoAnswer:
            # The connection was kept from before; a second one is new.
            status, body = await self._ask(ip, HTTP_PORT, head.encode())
        return status, body


def _parts(url: str) -> tuple[str, str]:
    place, _, path = url.removeprefix("http://").partition("/")
    return place.partition(":")[0], f"/{path}"
