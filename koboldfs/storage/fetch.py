"""A lean HTTP/1.1 client for GETs between storage nodes: kept connections, a bounded
number a host, bodies streamed into whoever wants them.

A kept connection may have been closed by the other side in the very moment it is used
again: such a request, of whose answer nothing has come, is sent once more on a new
connection.
"""

from __future__ import annotations

from collections.abc import Callable

import httptools
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IDelayedCall,
    IProtocol,
    IProtocolFactory,
    IPushProducer,
    IReactorTime,
    ITCPTransport,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import Attribute, Interface

from koboldfs.errors import (
    CopyMissing,
    DeviceUnavailable,
    KoboldError,
    NodeFault,
    NodeUnreachable,
)
from koboldfs.slots import Slots

#: Connections to one host: enough to keep its disks busy with small files.
MAX_CONNECTIONS_PER_HOST = 16
#: A new connection must be there within this time (seconds).
CONNECT_SECONDS = 5.0
#: A transfer that makes no progress for this long has failed (seconds).
PROGRESS_SECONDS = 30.0
#: A sink that wants no more for this long is one whose disk hangs (seconds); it may
#: wait for long flushes, its own and those of others.
SINK_SECONDS = 120.0
#: A connection that nobody used for this long is closed (seconds); shorter than the
#: time after which storage nodes close them.
IDLE_SECONDS = 30.0
#: So much is read from a socket at once (bytes).
READ_BYTES = 256 * 1024
#: All header lines of an answer together (bytes), and so for what comes in a row that
#: is not body: trailers, or what stands behind the length of a chunk.
MAX_HEADERS_BYTES = 64 * 1024

#: Connects a factory's protocol to (address, port) within `CONNECT_SECONDS`.
Connect = Callable[[str, int, IProtocolFactory], Deferred[IProtocol]]


class IBodySink(Interface):
    """Who takes the body of an answer."""

    congested: bool = Attribute("Whether the sender should pause now.")

    def begin(length: int | None) -> None:
        """The answer has a body of that length, or of one nobody knows. Raises
        `KoboldError` when it is not wanted; the fetch then fails with that."""

    def write(data: bytes) -> None:
        """Take bytes."""


class _Transport(ITCPTransport, IPushProducer):
    """What a TCP transport is: both."""


class PeerConnection(Protocol):
    """One connection; at most one request is under way on it.

    `answered`: bytes of an answer to the last request came. `reusable`: the connection
    is open and has no request.
    """

    transport: _Transport

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._parser: httptools.HttpResponseParser | None = None
        self._sink: IBodySink | None = None
        self._result: Deferred[None] | None = None
        self._error: Exception | None = None
        self._deadline: IDelayedCall | None = None
        self._length: int | None = None
        self._headers_bytes = 0
        self._head_done = self._complete = self._keep = self._paused = False
        self.answered = self.reusable = False
        self.ended: Callable[[PeerConnection], None] = lambda connection: None

    def connectionMade(self) -> None:
        """Small requests go out at once, and bodies come in large pieces."""
        self.transport.setTcpNoDelay(True)
        self.transport.bufferSize = READ_BYTES  # type: ignore[attr-defined]
        self.reusable = True

    def fetch(self, request: bytes, sink: IBodySink) -> Deferred[None]:
        """Send the request; fires when the whole body is with the sink. Raises
        `CopyMissing`, `NodeFault`, `NodeUnreachable`, `DeviceUnavailable` when the
        sink hangs, or what the sink does not want.
        """
        self._parser = httptools.HttpResponseParser(self)
        self._sink = sink
        self._result = result = Deferred[None]()
        self._error, self._length, self._headers_bytes = None, None, 0
        self._head_done = self._complete = self._keep = self._paused = False
        self.answered = self.reusable = False
        self._set_deadline(PROGRESS_SECONDS, self._stalled)
        self.transport.write(request)
        return result

    def give_up(self, error: Exception) -> None:
        """End the transfer with that error. Does nothing when none is under way."""
        if self._result is not None:
            self._fail(error)

    def pause(self) -> None:
        """The sink has enough. Its slowness is not the peer's; but a sink that hangs
        holds a connection, so after `SINK_SECONDS` this is `DeviceUnavailable`."""
        if not self._paused and self._result is not None:
            self._paused = True
            self._set_deadline(SINK_SECONDS, self._sink_hangs)
            self.transport.pauseProducing()

    def resume(self) -> None:
        """The sink wants more."""
        if self._paused:
            self._paused = False
            self._set_deadline(PROGRESS_SECONDS, self._stalled)
            self.transport.resumeProducing()

    def dataReceived(self, data: bytes) -> None:
        """Bytes of an answer."""
        if self._parser is None or self._result is None:
            self.transport.abortConnection()  # nobody asked
            return
        self.answered = True
        if self._deadline is not None and not self._paused:
            self._deadline.reset(PROGRESS_SECONDS)
        # The parser keeps what is no body until it is whole; `on_body` begins anew.
        room = MAX_HEADERS_BYTES - self._headers_bytes
        self._headers_bytes += len(data)
        try:
            if self._head_done or len(data) <= room:
                self._parser.feed_data(data)
            else:
                self._feed_head(self._parser, data, room)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if self._complete:
                self._keep = False  # the body is whole, whatever is behind it
            elif self._error is None:
                self._error = NodeFault(f"the answer is not HTTP: {error}")
        too_long = self._headers_bytes > MAX_HEADERS_BYTES
        if too_long and self._error is None and not self._complete:
            self._error = NodeFault("the answer's headers are too long")
        if self._error is not None:
            self._fail(self._error)
        elif self._complete:
            self._succeed()
        elif self._sink is not None and self._sink.congested:
            self.pause()

    def _feed_head(
        self, parser: httptools.HttpResponseParser, data: bytes, room: int
    ) -> None:
        """Whether a head is too long does not depend on how it is cut."""
        if room:
            parser.feed_data(data[:room])
        if self._head_done:
            parser.feed_data(data[room:])

    # --- called by the parser, which is not to be left by an exception

    def on_message_begin(self) -> None:
        """An answer; behind a whole one, to nothing that was asked."""
        if self._complete:
            self._keep = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header, or one trailer, which is ignored."""
        length = name.lower() == b"content-length" and value.isdigit()
        if length and not self._head_done:
            self._length = int(value)

    def on_headers_complete(self) -> None:
        """The body begins."""
        if self._parser is None or self._sink is None or self._head_done:
            return
        status = self._parser.get_status_code()
        if 100 <= status < 200:
            self._length = None  # it said so of itself
            return
        self._head_done = True
        self._keep = self._parser.should_keep_alive()
        try:
            if status == 404:
                raise CopyMissing("the source has no such file")
            if status != 200:
                raise NodeFault(f"the source answered {status}")
            self._sink.begin(self._length)
        except KoboldError as error:
            self._error = error

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        self._headers_bytes = 0
        if self._error is None and self._sink is not None and not self._complete:
            self._sink.write(data)

    def on_message_complete(self) -> None:
        """The end of the body."""
        self._complete = self._head_done

    # --- ends

    def _succeed(self) -> None:
        result, self._result = self._result, None
        self._sink = self._parser = None
        self.reusable = self._keep
        if self._keep:
            self._set_deadline(IDLE_SECONDS, self._close)
        else:
            self._close()
        if result is not None:
            result.callback(None)

    def _fail(self, error: Exception) -> None:
        result, self._result = self._result, None
        self._sink = self._parser = None
        self._set_deadline(None, self._stalled)
        self.reusable = False
        self.transport.abortConnection()
        if result is not None:
            result.errback(Failure(error))

    def _stalled(self) -> None:
        self._fail(NodeUnreachable("the source sent nothing for too long"))

    def _sink_hangs(self) -> None:
        self._fail(DeviceUnavailable("the disk took nothing for too long"))

    def _close(self) -> None:
        self.reusable = False
        self._set_deadline(None, self._close)
        self.transport.loseConnection()

    def _set_deadline(self, seconds: float | None, end: Callable[[], None]) -> None:
        deadline, self._deadline = self._deadline, None
        if deadline is not None and deadline.active():
            deadline.cancel()
        if seconds is not None:
            self._deadline = self._clock.callLater(seconds, end)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone."""
        self.reusable = False
        self._set_deadline(None, self._stalled)
        self.ended(self)
        if self._result is None:
            return
        if self._head_done and self._length is None and not self._keep:
            # Without a length the end of the connection ends the body; the sink
            # knows how long it should have been.
            self._succeed()
        else:
            self._fail(NodeUnreachable("the connection to the source was lost"))


@define(eq=False)
class _Host:
    slots: Slots = field(factory=lambda: Slots(MAX_CONNECTIONS_PER_HOST))
    idle: list[PeerConnection] = field(factory=list)


class PeerClient:
    """Fetches files from other nodes."""

    def __init__(self, clock: IReactorTime, connect: Connect) -> None:
        self._clock = clock
        self._connect = connect
        self._hosts: dict[tuple[str, int], _Host] = {}

    async def fetch(
        self,
        address: tuple[str, int],
        path: str,
        sink: IBodySink,
        started: Callable[[PeerConnection], None],
    ) -> None:
        """GET ``http://address/path`` into the sink. `started` is told the connection,
        for `pause`, `resume` and `give_up`. Errors: those of `PeerConnection.fetch`."""
        ip, port = address
        name = f"[{ip}]" if ":" in ip else ip
        request = f"GET {path} HTTP/1.1\r\nHost: {name}:{port}\r\n\r\n".encode("ascii")
        host = self._hosts.setdefault(address, _Host())
        await host.slots.acquire()
        try:
            while host.idle:
                connection = host.idle.pop()
                if not connection.reusable:
                    continue
                started(connection)
                try:
                    await connection.fetch(request, sink)
                except NodeUnreachable:
                    if connection.answered:
                        raise
                    break
                self._keep(host, connection)
                return
            connection = await self._open(host, address)
            started(connection)
            await connection.fetch(request, sink)
            self._keep(host, connection)
        finally:
            host.slots.release()

    def close(self) -> None:
        """End all connections that have no request."""
        for host in self._hosts.values():
            for connection in host.idle[:]:
                connection.transport.abortConnection()

    def _keep(self, host: _Host, connection: PeerConnection) -> None:
        if connection.reusable:
            host.idle.append(connection)

    async def _open(self, host: _Host, address: tuple[str, int]) -> PeerConnection:
        def build() -> PeerConnection:
            connection = PeerConnection(self._clock)
            connection.ended = forget
            return connection

        def forget(connection: PeerConnection) -> None:
            if connection in host.idle:
                host.idle.remove(connection)

        factory = Factory.forProtocol(build)
        factory.noisy = False
        try:
            found = await self._connect(*address, factory)
        except Exception as error:
            raise NodeUnreachable("no connection to the source") from error
        assert isinstance(found, PeerConnection)
        return found
