"""HTTP requests to storage nodes, ours and foreign ones.

    HEAD | GET | DELETE | MKCOL   one `request`; repeated once on a new connection when
                                  the node closed a kept one before it answered
    GET into a consumer           `get`: exact ranges, backpressure
    PUT                           `put`: an `Upload`

Every host has a pool of kept connections. All deadlines are per step: without any
progress for that long the node counts as away.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import gatherResults

from koboldfs.client.connecting import Pulse
from koboldfs.client.http_connection import (
    Answer,
    ConnectionStale,
    Exchange,
    Sink,
)
from koboldfs.client.http_pool import HostPool
from koboldfs.client.http_sink import RangeSink, range_header
from koboldfs.client.http_upload import Upload
from koboldfs.errors import CopyMissing, NodeFault

#: (IP address, port) of a storage node's HTTP server.
Address = tuple[str, int]
#: For an answer that the node has at hand, or finds with one look at the disk.
ANSWER_TIMEOUT_SECONDS = 10.0


class NodeHttp:
    """All HTTP connections to storage nodes of this process."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._pools: dict[Address, HostPool] = {}
        self._pulse = Pulse(reactor, self._sweep)

    async def request(
        self,
        address: Address,
        method: bytes,
        path: str,
        body: bytes = b"",
        *,
        headers: bytes = b"",
        sink: Sink | None = None,
        timeout_seconds: float = ANSWER_TIMEOUT_SECONDS,
    ) -> Answer:
        """One idempotent request and its answer, whatever the status. Raises
        `NodeUnreachable` when there is none in time, `NodeFault` for what is none."""
        pool = self._pool(address)
        data = self.head(address, method, path, len(body) if body else None, headers)
        connection = await pool.acquire()
        try:
            return await connection.run(
                Exchange(method, timeout_seconds, sink), data + body
            )
        except ConnectionStale:
            connection = await pool.acquire(fresh_seconds=0)
            return await connection.run(
                Exchange(method, timeout_seconds, sink), data + body
            )

    async def get(
        self,
        address: Address,
        path: str,
        start: int,
        length: int | None,
        consumer: Any,
        timeout_seconds: float = ANSWER_TIMEOUT_SECONDS,
    ) -> int:
        """Stream bytes of a file into an IConsumer; fires with their number, which is
        less than `length` only where the file ends. Raises `CopyMissing` for 404,
        `NodeFault` for another status, `NodeUnreachable` when it breaks off."""
        sink = RangeSink(_peer(address), start, length, consumer)
        try:
            answer = await self.request(
                address,
                b"GET",
                path,
                headers=range_header(start, length),
                sink=sink,
                timeout_seconds=timeout_seconds,
            )
        finally:
            sink.close()
        if answer.status == 416:
            return 0
        if answer.status == 404:
            raise CopyMissing(f"{_peer(address)}: {path} is not there")
        if answer.status not in (200, 206):
            raise refused(address, b"GET", path, answer)
        if sink.expected is not None and sink.count != sink.expected:
            raise NodeFault(f"{_peer(address)}: {path}: fewer bytes than said")
        return sink.count

    async def put(
        self, address: Address, path: str, size: int | None, *, proof: bool = False
    ) -> Upload:
        """Begin to store a file of that many bytes (None: not known yet); `proof` as
        `Upload` has it. Raises `NodeUnreachable` when there is no connection to be
        had."""
        upload = Upload(self, self._pool(address), address, path, size, proof=proof)
        await upload.begin()
        return upload

    def eager(self, address: Address) -> None:
        """Try that host again at once, whatever failed before."""
        self._pool(address).backoff.succeeded()

    async def stop(self) -> None:
        """Close everything; requests under way fail with `NodeUnreachable`."""
        await gatherResults([pool.stop() for pool in self._pools.values()])
        self._pulse.stop()

    def head(
        self,
        address: Address,
        method: bytes,
        path: str,
        size: int | None,
        headers: bytes = b"",
        *,
        chunked: bool = False,
    ) -> bytes:
        """The head of a request, with its empty line. The path is one of ours: it has
        nothing in it that would need an escape."""
        length = b""
        if chunked:
            length = b"Transfer-Encoding: chunked\r\n"
        elif size is not None or method in (b"PUT", b"MKCOL"):
            length = b"Content-Length: %d\r\n" % (size or 0)
        return (
            b"%s %s HTTP/1.1\r\nHost: %s:%d\r\nConnection: keep-alive\r\n%s%s\r\n"
            % (
                method,
                path.encode("ascii"),
                _bracketed(address[0]).encode("ascii"),
                address[1],
                length,
                headers,
            )
        )

    def _pool(self, address: Address) -> HostPool:
        pool = self._pools.get(address)
        if pool is None:
            pool = self._pools[address] = HostPool(self._reactor, *address)
        self._pulse.wake()
        return pool

    def _sweep(self, now: float) -> bool:
        busy = [pool.sweep(now) for pool in list(self._pools.values())]
        return any(busy)


def refused(address: Address, method: bytes, path: str, answer: Answer) -> NodeFault:
    """The error for a status that means no."""
    what = method.decode("ascii")
    return NodeFault(f"{_peer(address)}: {what} {path} answered {answer.status}")


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _peer(address: Address) -> str:
    return f"{address[0]}:{address[1]}"
