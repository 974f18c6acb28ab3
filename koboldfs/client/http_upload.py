"""A PUT whose bytes come piece by piece.

What fits into `BUFFER_BYTES` is sent as one request when it is finished (and sent again
if a kept connection turns out to be closed). Of more, all but the newest piece is on
its way: the node never has the whole file, and so cannot take it for one, before
`finish` is called. Sizes that are not known go out chunked.

With `proof`, what leaves as one request has a Content-MD5: one of our nodes answers 201
only when it has these very bytes. Afterwards `proven` says whether that was so.

    collecting --piece too many--> streaming --finish--> answered
         |                             |
         +---finish--> answered        +--node answers early, breaks--> over
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure
from zope.interface import implementer

from koboldfs.client.http_connection import (
    Answer,
    ConnectionStale,
    Exchange,
    HttpConnection,
)
from koboldfs.client.http_pool import HostPool
from koboldfs.errors import NodeFault

if TYPE_CHECKING:
    from koboldfs.client.http import NodeHttp

#: Kept in memory for each upload (bytes), beside what the transport holds (as much).
BUFFER_BYTES = 64 * 1024
#: A kept connection that was used within this time (seconds) is trusted with bytes
#: that cannot be sent twice; an older one the node may just be closing.
FRESH_SECONDS = 1.0
#: The node takes bytes, or answers: both may wait for its disk (seconds).
STORE_TIMEOUT_SECONDS = 30.0


@implementer(IPushProducer)
class Upload:
    """One PUT. Every method raises `NodeFault` when the node does not go along."""

    def __init__(
        self,
        http: NodeHttp,
        pool: HostPool,
        address: tuple[str, int],
        path: str,
        size: int | None,
        *,
        proof: bool = False,
    ) -> None:
        self.peer = pool.peer
        self.proven = False
        self._proof = proof
        self.written_bytes = 0
        self._http = http
        self._pool = pool
        self._address = address
        self._path = path
        self._size = size
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._connection: HttpConnection | None = None
        self._exchange: Exchange | None = None
        self._outcome: Answer | NodeFault | None = None
        self._paused = False
        self._waiting: list[Deferred[None]] = []

    async def begin(self) -> None:
        """Get a connection."""
        small = self._size is not None and self._size <= BUFFER_BYTES
        self._connection = await self._pool.acquire(None if small else FRESH_SECONDS)

    async def write(self, data: bytes) -> None:
        """Take bytes; fires when more are wanted."""
        self._check()
        self.written_bytes += len(data)
        if self._size is not None and self.written_bytes > self._size:
            self._fail(NodeFault(f"more bytes than the {self._size} that were said"))
            self._check()
        if not data:
            return
        if self._exchange is None and self._held_bytes + len(data) <= BUFFER_BYTES:
            self._held.append(data)
            self._held_bytes += len(data)
            return
        if self._exchange is None:
            await self._start_streaming()
        self._send_held()
        self._held = [data]
        if self._paused:
            drained: Deferred[None] = Deferred()
            self._waiting.append(drained)
            await drained
        self._check()

    async def finish(self) -> Answer:
        """The end of the bytes; fires with the answer, which is a 2xx."""
        self._check()
        if self._size is not None and self.written_bytes != self._size:
            said, came = self._size, self.written_bytes
            self._fail(NodeFault(f"{came} bytes where {said} were said"))
            self._check()
        if self._exchange is None:
            answer = await self._send_small()
        else:
            answer = await self._end_streaming()
        if not answer.ok:
            raise self._refused(answer)
        return answer

    def abort(self) -> None:
        """Give up; the node throws away what it got. After `finish` it is too late
        for a promise, but the connection is closed all the same."""
        self._fail(NodeFault("the copy was given up"))

    # --- small

    async def _send_small(self) -> Answer:
        body = b"".join(self._held)
        headers = b""
        if self._proof:
            digest = hashlib.md5(body, usedforsecurity=False).digest()
            headers = b"Content-MD5: %s\r\n" % b64encode(digest)
        head = self._http.head(self._address, b"PUT", self._path, len(body), headers)
        try:
            answer = await self._run(head + body)
        except ConnectionStale:
            self._exchange = None
            self._connection = await self._pool.acquire(fresh_seconds=0)
            answer = await self._run(head + body)
        finally:
            self._held = []
        self.proven = self._proof and answer.status == 201
        return answer

    async def _run(self, data: bytes) -> Answer:
        self._check()
        connection = self._connection
        assert connection is not None
        self._exchange = Exchange(b"PUT", STORE_TIMEOUT_SECONDS)
        return await connection.run(self._exchange, data)

    # --- large

    async def _start_streaming(self) -> None:
        connection = self._connection
        if connection is None or not connection.usable:
            connection = await self._pool.acquire(FRESH_SECONDS)
            self._connection = connection
            self._check()
        chunked = self._size is None
        head = self._http.head(
            self._address, b"PUT", self._path, self._size, chunked=chunked
        )
        exchange = Exchange(b"PUT", STORE_TIMEOUT_SECONDS, sent=False)
        self._exchange = exchange
        connection.run(exchange, head).addBoth(self._over)
        if connection.usable:
            connection.transport.registerProducer(self, True)
            connection.deadline = None

    def _send_held(self) -> None:
        if self._connection is None or self._outcome is not None:
            return
        transport = self._connection.transport
        for data in self._held:
            if self._size is None:
                transport.writeSequence((b"%x\r\n" % len(data), data, b"\r\n"))
            else:
                transport.write(data)
        self._held = []

    async def _end_streaming(self) -> Answer:
        connection, exchange = self._connection, self._exchange
        assert connection is not None and exchange is not None
        self._send_held()
        if self._outcome is None:
            if self._size is None:
                connection.transport.write(b"0\r\n\r\n")
            exchange.sent = True
            connection.transport.unregisterProducer()
            connection.progress()
            answered: Deferred[None] = Deferred()
            self._waiting.append(answered)
            await answered
        outcome = self._outcome
        if isinstance(outcome, Answer):
            return outcome
        raise outcome or NodeFault(f"{self.peer}: no answer")

    def _over(self, result: Answer | Failure) -> None:
        """The node has answered (perhaps before it had all), or broke."""
        if self._outcome is None:
            if isinstance(result, Answer):
                self._outcome = result
            elif isinstance(result.value, NodeFault):
                self._outcome = result.value
            else:
                self._outcome = NodeFault(f"{self.peer}: {result.value}")
        self._connection = None
        self._wake()

    # --- inside

    def _check(self) -> None:
        """Raises the error that ended the upload, if one did."""
        outcome = self._outcome
        if isinstance(outcome, Answer):
            raise self._refused(outcome)
        if outcome is not None:
            raise outcome

    def _refused(self, answer: Answer) -> NodeFault:
        if answer.ok:
            return NodeFault(f"{self.peer}: PUT {self._path} was answered too early")
        return NodeFault(f"{self.peer}: PUT {self._path} answered {answer.status}")

    def _fail(self, error: NodeFault) -> None:
        if self._outcome is None:
            self._outcome = error
        self._held = []
        connection, self._connection = self._connection, None
        if connection is not None:
            if self._exchange is None:
                self._pool.release(connection)  # nothing was sent on it
            else:
                connection.cancel(self._exchange, error)
        self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.callback(None)

    # --- IPushProducer, for the transport

    def pauseProducing(self) -> None:
        """The transport has enough: from now on the node must take some."""
        self._paused = True
        if self._connection is not None:
            self._connection.progress()

    def resumeProducing(self) -> None:
        """The transport wants more; until the caller has some, the node may wait."""
        self._paused = False
        if self._connection is not None:
            self._connection.deadline = None
        self._wake()

    def stopProducing(self) -> None:
        """The connection is gone; `_over` says why."""
        self._paused = False
