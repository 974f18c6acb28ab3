"""The native door in memory: a factory over `MemoryNamespace`, and its connections.

door = Door()                       # a clock, a name space, a factory
line = door.connect()               # a client
line.say(b"...")                    # -> what the door answered to that
line.leave()                        # the client is gone
line.closed                         # whether the door ended the connection
"""

from __future__ import annotations

from typing import Any

from attrs import define, field
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from koboldfs.tracker.native import NativeProtocol
from koboldfs.tracker.native_factory import NativeFactory
from koboldfs.wire import native
from test.fakes.namespace import MemoryNamespace

CLIENT_IP = "192.0.2.7"


@define(eq=False)
class Line:
    """A client's connection."""

    protocol: NativeProtocol
    transport: StringTransport

    def say(self, *pieces: bytes) -> bytes:
        """Send the pieces one after another; what came back."""
        for data in pieces:
            self.protocol.dataReceived(data)
        return self.heard()

    def heard(self) -> bytes:
        """What came back since the last time."""
        data: bytes = self.transport.value()
        self.transport.clear()
        return data

    def leave(self) -> None:
        """The client is gone."""
        if self.transport.producer is not None:
            self.transport.producer.stopProducing()
        self.protocol.connectionLost(Failure(ConnectionDone()))

    @property
    def closed(self) -> bool:
        """Whether the door has ended the connection."""
        return self.transport.disconnecting

    @property
    def paused(self) -> bool:
        """Whether the door does not read what is sent."""
        return self.transport.producerState == "paused"


@define(eq=False)
class Door:
    """The door, and the time."""

    names: Any = field(factory=MemoryNamespace)
    clock: Clock = field(factory=Clock)
    max_connections: int = 10
    factory: NativeFactory = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.factory = NativeFactory(
            self.names, self.clock, max_connections=self.max_connections
        )

    def connect(self) -> Line:
        """A new client."""
        protocol = self.factory.buildProtocol(None)
        assert isinstance(protocol, NativeProtocol)
        transport = StringTransport(peerAddress=IPv4Address("TCP", CLIENT_IP, 4242))
        line = Line(protocol, transport)
        protocol.makeConnection(transport)
        return line


def v2(command: int, *arguments: bytes, number: int = 7) -> bytes:
    """A request of version 2."""
    return native.request(command, native.u32(number), *arguments)


def frames(data: bytes) -> list[tuple[int, int, list[bytes]]]:
    """(code, number, values) of each frame in `data`, which holds nothing else."""
    found = []
    while data:
        code, number, length = native.frame_head(data[: native.FRAME_HEAD_BYTES])
        end = native.FRAME_HEAD_BYTES + length
        values = native.frame_values(data[native.FRAME_HEAD_BYTES : end])
        found.append((code, number, values))
        data = data[end:]
    return found
