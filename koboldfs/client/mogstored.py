"""Digests that MogileFS's storage daemon computes beside its disks.

It listens on port 7501 of its host, whatever serves the files there:

    MD5 <uri> | SHA-1 <uri>      ->  <uri> MD5=<hex>     (-1: not there)
                                     ERR ... | ERROR: ...

Each digest has a connection of its own, which ends with it. Whatever goes wrong, no
such daemon included, means only that the file has to be read over the network.
"""

from __future__ import annotations

import re
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.protocol import Factory, connectionDone
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from koboldfs.client.connecting import tcp_endpoint
from koboldfs.errors import NodeUnreachable
from koboldfs.model.entities import DIGEST_BYTES, HASH_NAMES, MD5, SHA1, Checksum

#: Where MogileFS's storage daemon listens.
MOGSTORED_PORT = 7501
#: A host without it is not asked again for this long (seconds).
REMEMBER_SECONDS = 60.0
#: How long a digest may take: MogileFS's time for a step (seconds), and for each byte
#: that of a slow disk (bytes a second).
STEP_SECONDS = 2.0
SLOWEST_BYTES_PER_SECOND = 2_000_000
#: Shorter files are read over the connection that there is anyway (bytes).
MIN_BYTES = 64 * 1024
#: An answer has a path and a digest (bytes).
MAX_ANSWER_BYTES = 1024
#: What it computes.
MOGSTORED_TYPES = (MD5, SHA1)


class Mogstored:
    """What is asked of all such daemons of a cluster."""

    def __init__(self, reactor: Any, port: int = MOGSTORED_PORT) -> None:
        self._reactor = reactor
        self._port = port
        self._without: dict[str, float] = {}

    async def digest(
        self, ip: str, path: str, size: int, hashtype: int
    ) -> Checksum | None:
        """The digest of a file of `size` bytes on the host; None: read it instead."""
        now = self._reactor.seconds()
        if hashtype not in MOGSTORED_TYPES or size < MIN_BYTES:
            return None
        if self._without.get(ip, 0.0) > now:
            return None
        name = HASH_NAMES[hashtype]
        seconds = STEP_SECONDS + size / SLOWEST_BYTES_PER_SECOND
        try:
            answer = await self._ask(ip, f"{name} {path}".encode("ascii"), seconds)
        except (
            ConnectError,
            DNSLookupError,
            OSError,
            NodeUnreachable,
            DeferredTimeout,
            CancelledError,
        ):
            self._without[ip] = now + REMEMBER_SECONDS
            return None
        found = re.fullmatch(
            re.escape(path) + f" {name}=([0-9a-fA-F]+)", answer.decode("latin-1")
        )
        if found is None or len(found[1]) != 2 * DIGEST_BYTES[hashtype]:
            return None
        return Checksum(hashtype, bytes.fromhex(found[1]))

    async def _ask(self, ip: str, line: bytes, seconds: float) -> bytes:
        protocol: _Answer = await tcp_endpoint(self._reactor, ip, self._port).connect(
            Factory.forProtocol(_Answer)
        )  # type: ignore[assignment]
        try:
            return await protocol.ask(line).addTimeout(seconds, self._reactor)
        finally:
            protocol.hang_up()


class _Answer(LineOnlyReceiver):
    """One line there, one line back."""

    delimiter = b"\n"
    MAX_LENGTH = MAX_ANSWER_BYTES
    transport: Any

    def __init__(self) -> None:
        self._waiting: Deferred[bytes] | None = None

    def ask(self, line: bytes) -> Deferred[bytes]:
        """Fires with the answer, or fails with `NodeUnreachable`."""
        self._waiting = Deferred()
        self.transport.write(line + b"\r\n")
        return self._waiting

    def hang_up(self) -> None:
        """No more is wanted."""
        waiting, self._waiting = self._waiting, None
        if waiting is None:
            self.transport.loseConnection()
        else:
            self.transport.abortConnection()

    def lineReceived(self, line: bytes) -> None:
        """The answer."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(line.rstrip(b"\r"))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """There will be no answer."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.errback(NodeUnreachable("the connection ended"))
