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
- HTTP/1.0 connections are kept when the client asks for that.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import ServerFactory
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, Request
from twisted.web.iweb import INonQueuedRequestFactory
from zope.interface import directlyProvides

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


class StorageChannel(HTTPChannel):
    """One connection of a client. Its requests are `BodyRequest`."""

    totalHeadersSize = MAX_HEADERS_BYTES
    maxHeaders = MAX_HEADERS
    requests: list[Any]
    connection_header: bytes = b""

    def checkPersistence(self, request: Request, version: bytes) -> bool:
        """Whether the connection stays open; sets `connection_header` accordingly."""
        values = request.requestHeaders.getRawHeaders(b"Connection") or ()
        tokens = {
            token.strip().lower() for value in values for token in value.split(b",")
        }
        if version == b"HTTP/1.1":
            stays = b"close" not in tokens
            self.connection_header = b"" if stays else b"Connection: close\r\n"
        else:
            stays = b"keep-alive" in tokens
            self.connection_header = (
                b"Connection: keep-alive\r\n" if stays else b"Connection: close\r\n"
            )
        return stays

    def end_after_this(self) -> None:
        """The request under way is the last one on this connection."""
        self.persistent = False
        self.connection_header = b"Connection: close\r\n"

    def body_began(self) -> None:
        """A body is being received: it may stall less long than a connection."""
        self.setTimeout(BODY_STALL_SECONDS)

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
            self.setTimeout(IDLE_SECONDS)
        super().allContentReceived()

    def _maybeChooseTransferDecoder(self, header: bytes, data: bytes) -> bool:
        if header == b"Content-Length" and len(data) > MAX_LENGTH_DIGITS:
            return self._failChooseTransferDecoder()
        return bool(super()._maybeChooseTransferDecoder(header, data))

    def _finishRequestBody(self, data: bytes) -> None:
        trailers = getattr(self._transferDecoder, "_trailerHeaders", ())
        self.requests[-1].trailers = [bytes(line) for line in trailers]
        super()._finishRequestBody(data)

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
    """Makes channels, up to `MAX_CONNECTIONS`, whose requests `make_request` makes."""

    noisy = False
    protocol = StorageChannel

    def __init__(
        self, clock: IReactorTime, make_request: Callable[[StorageChannel], BodyRequest]
    ) -> None:
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
