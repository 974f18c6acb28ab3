"""twisted.web's HTTP channel, made fit for a storage node.

Everything here that leans on how twisted.web works inside (and is tested in
``test/unit/storage/test_channel.py``, so that a new Twisted which works otherwise is
noticed) is in this room:

- a request is told of its body when the headers are in (`gotLength`), and gets the
  body's pieces (`handleContentChunk`); method, path and version are then only on the
  channel, as ``_command``, ``_path`` and ``_version``;
- chunked trailers are in the decoder, as ``_trailerHeaders``, until the body ends;
- after a bad header or chunk twisted.web answers 400 and goes on parsing: here the rest
  of the connection is ignored, and the request is told;
- HTTP/1.0 connections are kept when the client asks for that;
- between two requests of its own (`_between_requests`) twisted.web does not mind when
  others are answered: plain ones (see `koboldfs.storage.plain`) are, without it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from socket import SHUT_RDWR
from typing import Any

from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import ServerFactory
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, Request
from twisted.web.iweb import INonQueuedRequestFactory
from zope.interface import directlyProvides

from koboldfs.sending import is_direct, send, unsent
from koboldfs.storage.passage import Passage
from koboldfs.storage.plain import Head, PlainRequest, persistence, read_head

#: All header lines of a request together (bytes), and how many there may be.
MAX_HEADERS_BYTES = 16 * 1024
MAX_HEADERS = 100
#: A Content-Length has no more digits than this; Python refuses thousands of them.
MAX_LENGTH_DIGITS = 20
#: Connections at a time; beyond it new ones are closed at once. MogileFS's default.
MAX_CONNECTIONS = 10_000
#: A connection without a request is closed after this time (seconds); trackers of
#: MogileFS keep theirs and use them every few seconds.
IDLE_SECONDS = 300
#: A body of which nothing came for this long is given up (seconds).
BODY_STALL_SECONDS = 60.0
#: How much is read from the socket at once while a body comes (bytes); Twisted's
#: 64 KiB would cost a third more of Python's time. A transfer holds one such read.
BODY_READ_BYTES = 256 * 1024
#: What may wait behind a plain request that is being answered (bytes), as twisted.web
#: has it; one read of the socket comes on top.
MAX_BEHIND_BYTES = 16 * 1024
#: A body of at most this (bytes) that comes in one piece with its head is stored as it
#: is; no longer one ever does, because a socket is not read further.
MAX_WHOLE_BYTES = 64 * 1024


MakePlain = Callable[["StorageChannel", Head], PlainRequest]


class StorageChannel(HTTPChannel):
    """One connection of a client. Its requests are `BodyRequest`, or, when they are
    plain and the site knows how to make these, `PlainRequest`."""

    totalHeadersSize = MAX_HEADERS_BYTES
    maxHeaders = MAX_HEADERS
    requests: list[Any]
    connection_header: bytes = b""
    make_plain: MakePlain | None = None
    #: The plain request under way, how much of its body has not come, and the bytes
    #: that came behind it.
    _plain: PlainRequest | None = None
    _left = 0
    _behind = b""
    _answering_plain = False
    _direct = False

    def connectionMade(self) -> None:
        """As in `HTTPChannel`."""
        super().connectionMade()
        self._direct = is_direct(self.transport)

    def write(self, data: bytes) -> None:
        """Send bytes, at once if that can be."""
        if self._direct:
            send(self.transport, data)
        else:
            super().write(data)

    def passage(self, fd: int) -> Passage | None:
        """A way for the bytes of an open file past us, if there is one. Who uses it
        has registered a producer, and asks `wait_for_room` when it is full."""
        transport: Any = self.transport
        if not (self._direct and Passage.possible and transport.connected):
            return None
        try:
            return Passage(fd, transport.fileno())
        except OSError:
            return None  # there are no descriptors left: the long way needs none

    @property
    def unsent(self) -> bool:
        """Whether bytes wait here to be sent."""
        return self._direct and unsent(self.transport)

    def wait_for_room(self) -> None:
        """Call the producer's `resumeProducing` when the socket takes bytes again."""
        transport: Any = self.transport
        if transport.connected:
            transport.producerPaused = True
            transport.startWriting()

    def cut(self) -> None:
        """End the connection at once, also when a `Passage` is still held."""
        transport: Any = self.transport
        if self._direct and transport.connected:
            try:
                transport.socket.shutdown(SHUT_RDWR)
            except OSError:
                pass  # it has ended by itself
        self.end_after_this()
        self.forceAbortClient()

    # --- plain requests

    def dataReceived(self, data: bytes) -> None:
        """Bytes of the client, to whom they belong."""
        if self._plain is not None or self._behind:
            self.resetTimeout()
            self._more(data)
        elif self._between_requests() and self.make_plain is not None:
            self.resetTimeout()
            self._answer_plain(data)
        else:
            super().dataReceived(data)

    def _between_requests(self) -> bool:
        return bool(
            self.line_mode
            and self.persistent
            and not (self.requests or self._buffer or self._busyReceiving)
            and not self._handlingRequest
        )

    def _answer_plain(self, data: bytes) -> None:
        """Answer plain requests until there are no more, one takes time, or nobody
        reads the answers; from the first that is not plain on twisted.web does."""
        start, end = 0, len(data)
        self._answering_plain = True
        try:
            while start < end:
                head = read_head(data, start)
                if head is None:
                    self._answering_plain = False
                    super().dataReceived(data[start:] if start else data)
                    return
                start = self._begin_plain(head, data)
                if self._left:
                    return
                if self._plain is not None:
                    self._handlingRequest = True
                    break
                if not self.persistent:
                    return
                if self._waitingForTransport:
                    break
            if start < end:
                self._keep_behind(data[start:])
        finally:
            self._answering_plain = False

    def _begin_plain(self, head: Head, data: bytes) -> int:
        """Begin a request with the body that is there, and answer it if that is all;
        returns where the next one begins."""
        rest, start = head.rest, head.stop
        self.persistent, self.connection_header = rest.persistent, rest.connection
        # As after each request: one empty line before the next is let pass.
        vars(self).update(_HTTPChannel__first_line=1)
        assert self.make_plain is not None
        request = self._plain = self.make_plain(self, head)
        length = rest.length or 0
        body = data[start : start + length] if length else b""
        if head.method == b"PUT" and len(body) == length <= MAX_WHOLE_BYTES:
            request.store(body)
        else:
            request.begin(length)
            if length:
                self._left = length - len(body)
                if body:
                    request.take(body)
                if self._left:
                    self.body_began()
                    return start + len(body)
            request.answer()
        return start + len(body)

    def _more(self, data: bytes) -> None:
        """Bytes of a plain request's body, or behind it."""
        left, request = self._left, self._plain
        if not left or request is None:
            self._keep_behind(data)
        elif len(data) < left:
            self._left = left - len(data)
            request.take(data)
        else:
            self._left = 0
            if len(data) > left:
                self._keep_behind(data[left:])
                data = data[:left]
            # What is behind is parsed when this is answered, which may be at once.
            self._handlingRequest = True
            request.take(data)
            self.body_ended()
            request.answer()

    def _keep_behind(self, data: bytes) -> None:
        self._behind += data
        if len(self._behind) > MAX_BEHIND_BYTES:
            self._networkProducer.pauseProducing()

    def plain_done(self) -> None:
        """The plain request under way has its answer."""
        self._plain = None
        self._handlingRequest = False
        if not self.persistent:
            self._behind = b""
            self.loseConnection()
        elif not self._answering_plain:
            self.resetTimeout()
            self._go_on()

    def _go_on(self) -> None:
        """Parse what came behind, if somebody reads the answers."""
        if self._waitingForTransport:
            self._networkProducer.pauseProducing()
            return
        self._networkProducer.resumeProducing()
        data, self._behind = self._behind, b""
        if data:
            self._answer_plain(data)

    def resumeProducing(self) -> None:
        """The client reads again."""
        self.paused = False
        super().resumeProducing()
        if self._behind and self._plain is None:
            self._go_on()
        elif self._buffer and not self._busyReceiving:
            super().dataReceived(b"")

    def requestDone(self, request: Request) -> None:
        """As in `HTTPChannel`; but while the client does not read, no more of its
        requests are answered, which would fill our memory with the answers."""
        if self._waitingForTransport:
            self.paused = True
            self._networkProducer.pauseProducing()
        super().requestDone(request)

    def loseConnection(self) -> None:
        """As in `HTTPChannel`; who does not read the last answer is not waited for
        for ever."""
        if self.timeOut is None and self._abortingCall is None:
            self._abortingCall = self.callLater(IDLE_SECONDS, self.forceAbortClient)
        super().loseConnection()

    def timeoutConnection(self) -> None:
        """Nothing came for too long; unless it is we who are slow."""
        if self._plain is not None and not self._left:
            self.setTimeout(IDLE_SECONDS)
        else:
            super().timeoutConnection()

    # --- all requests

    def checkPersistence(self, request: Request, version: bytes) -> bool:
        """Whether the connection stays open; sets `connection_header` accordingly."""
        values = request.requestHeaders.getRawHeaders(b"Connection") or []
        stays, self.connection_header = persistence(version, list(values))
        return stays

    def end_after_this(self) -> None:
        """The request under way is the last one on this connection."""
        self.persistent = False
        self.connection_header = b"Connection: close\r\n"

    def body_began(self) -> None:
        """A body is being received: it may stall less long than a connection."""
        # Another timer: to let one end sooner, the reactor looks through them all.
        self.setTimeout(None)
        self.setTimeout(BODY_STALL_SECONDS)
        vars(self.transport).update(bufferSize=BODY_READ_BYTES)

    def body_ended(self) -> None:
        """All of it has come."""
        self.setTimeout(IDLE_SECONDS)
        vars(self.transport).pop("bufferSize", None)

    def pause_body(self) -> None:
        """Take no more bytes of the body; we are the slow one, so there is no stall."""
        self.setTimeout(None)
        self._networkProducer.pauseProducing()

    def resume_body(self) -> None:
        """Take bytes again."""
        self.setTimeout(BODY_STALL_SECONDS)
        self._networkProducer.resumeProducing()

    def allContentReceived(self) -> None:
        """As in `HTTPChannel`, which remembers the time-out for the next request."""
        if self._transferDecoder is not None:
            # `timeOut` is no longer what it was: `setTimeout` changes it.
            self.body_ended()
        super().allContentReceived()

    def _maybeChooseTransferDecoder(self, header: bytes, data: bytes) -> bool:
        if header == b"Content-Length" and len(data) > MAX_LENGTH_DIGITS:
            return self._failChooseTransferDecoder()
        return bool(super()._maybeChooseTransferDecoder(header, data))

    def _finishRequestBody(self, data: bytes) -> None:
        trailers = getattr(self._transferDecoder, "_trailerHeaders", ())
        self.requests[-1].trailers = [bytes(line) for line in trailers]
        super()._finishRequestBody(data)
        # As for what comes later; twisted.web would read once more first.
        behind = sum(map(len, self._dataBuffer))
        if (
            self._handlingRequest
            and behind > self._optimisticEagerReadSize
            and not (self._waitingForTransport or self._ending())
        ):
            self._networkProducer.pauseProducing()

    def _ending(self) -> bool:
        return bool(getattr(self.transport, "disconnecting", False))

    def _send100Continue(self) -> None:
        if not self.requests[-1].startedWriting:
            super()._send100Continue()

    def _respondToBadRequestAndDisconnect(self) -> None:
        vars(self).update(lineReceived=_ignore, rawDataReceived=_ignore)
        for request in self.requests:
            request.spoiled()
        # The answer to a request before this one may be half sent, and an answer to
        # this one too: then all that is left to do is to hang up.
        if not any(request.startedWriting for request in self.requests):
            self.write(
                b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n"
                b"Connection: close\r\n\r\n"
            )
        self.loseConnection()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """The connection is gone."""
        super().connectionLost(reason)
        plain, self._plain, self._behind = self._plain, None, b""
        if plain is not None:
            plain.gone()
        self.factory.disconnected()


def _ignore(data: bytes) -> None:
    """What follows bytes that could not be understood is not understood either."""


class BodyRequest(Request, ABC):
    """A request whose body is streamed: what `HTTPChannel` calls, by better names.

    Subclasses implement `begin` (the headers are in; `length` None: chunked), `take`
    (bytes of the body), `answer` (the body is whole) and `lost` (it never will be, or
    nobody is there to answer to).
    """

    startedWriting: int
    channel: StorageChannel
    trailers: list[bytes]

    def __init__(self, channel: StorageChannel) -> None:
        super().__init__(channel)
        self.trailers = []
        self.ruined = False

    def gotLength(self, length: int | None) -> None:
        """The headers are in."""
        channel = self.channel
        self.method, self.uri = channel._command, channel._path
        self.clientproto = channel._version
        if length != 0:
            channel.body_began()
        self.begin(length)

    def handleContentChunk(self, data: bytes) -> None:
        """Bytes of the body."""
        self.take(data)

    def parseCookies(self) -> None:
        """There are none."""

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """The body is whole."""
        if not self.ruined:
            self.answer()

    def spoiled(self) -> None:
        """Bytes came that make no sense: there will be no whole body."""
        if not self.ruined:
            self.ruined = True
            self.lost()

    def connectionLost(self, reason: Failure) -> None:
        """Nobody is there any more."""
        super().connectionLost(reason)
        if not self.ruined:
            self.ruined = True
            self.lost()

    @abstractmethod
    def begin(self, length: int | None) -> None:
        """See the class."""

    @abstractmethod
    def take(self, data: bytes) -> None:
        """See the class."""

    @abstractmethod
    def answer(self) -> None:
        """See the class."""

    @abstractmethod
    def lost(self) -> None:
        """See the class."""


class StorageSite(ServerFactory):
    """Makes channels, up to `MAX_CONNECTIONS`, whose requests `make_request` makes;
    plain ones are made by `make_plain`, where it is given."""

    noisy = False
    protocol = StorageChannel

    def __init__(
        self,
        clock: IReactorTime,
        make_request: Callable[[StorageChannel], BodyRequest],
        make_plain: MakePlain | None = None,
    ) -> None:
        self._make_plain = make_plain
        self._clock = clock
        self._connections: int = 0

        def request_factory(channel: StorageChannel) -> BodyRequest:
            return make_request(channel)

        directlyProvides(request_factory, INonQueuedRequestFactory)
        self._request_factory = request_factory

    def buildProtocol(self, addr: IAddress | None) -> StorageChannel | None:
        """A channel for a new connection, or None when there are too many."""
        if self._connections >= MAX_CONNECTIONS:
            return None
        self._connections += 1
        channel = StorageChannel()
        channel.factory = self
        channel.make_plain = self._make_plain
        # Where twisted.web's own factory puts them, too.
        vars(channel).update(callLater=self._clock.callLater)
        channel.timeOut = IDLE_SECONDS
        channel.requestFactory = self._request_factory  # type: ignore[assignment]
        return channel

    def disconnected(self) -> None:
        """A channel ended."""
        self._connections -= 1

    def log(self, request: Request) -> None:
        """There is no log of accesses."""
