"""What the tests of HTTP towards nodes begin with."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.client.http import NodeHttp
from koboldfs.client.http_connection import (
    Answer,
)
from test.unit.client.network import Network, Wire, start

NODE = ("10.0.0.1", 7500)
FIVE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Reader:
    """An IConsumer that keeps what it gets."""

    def __init__(self, fault: Exception | None = None) -> None:
        self.data = b""
        self.producer: Any = None
        self.fault = fault

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Bytes will come."""
        self.producer = producer

    def unregisterProducer(self) -> None:
        """No more bytes will come."""
        self.producer = None

    def write(self, data: bytes) -> None:
        """Take bytes."""
        if self.fault is not None:
            raise self.fault
        self.data += data


class HttpCase(SynchronousTestCase):
    """A `NodeHttp` on a network in memory."""

    def setUp(self) -> None:
        """No connection yet."""
        self.network = Network()
        self.http = NodeHttp(self.network.reactor)

    def ask(
        self, method: bytes = b"GET", path: str = "/dev1/usage"
    ) -> Deferred[Answer]:
        """One request."""
        return start(self.http.request(NODE, method, path))

    def get(
        self, reader: Reader, begin: int = 0, length: int | None = None
    ) -> Deferred[int]:
        """One GET into a reader."""
        return start(self.http.get(NODE, "/dev1/x", begin, length, reader))

    def answered(self, answer: bytes, method: bytes = b"GET") -> Deferred[Answer]:
        """A request that was answered so, on a new connection."""
        self.setUp()
        asked = self.ask(method)
        self.network.accept().feed(answer)
        return asked

    def kept(self) -> Wire:
        """A connection that has served one request and is kept."""
        asked = self.ask()
        wire = self.network.accept()
        wire.feed(EMPTY)
        self.successResultOf(asked)
        wire.take()
        return wire
