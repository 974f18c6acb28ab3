"""One HTTP/1.1 connection to a storage node: one request at a time, kept alive.

    request  = method SP path SP "HTTP/1.1" CRLF *header CRLF [body]
    answer   = *(1xx answer) status line, headers (at most `MAX_HEAD_BYTES`), body
    body     = as Content-Length says | chunked | until the end of the connection

The parser is llhttp (by httptools), as strict as it comes. An answer whose end is the
end of the connection cannot be told from one that broke off, so it is only taken where
nothing depends on its being whole. Bytes that nobody asked for close the connection.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import httptools
from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IPushProducer, IReactorTime
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from koboldfs.errors import NodeFault, NodeUnreachable
from koboldfs.sending import send

#: The head of an answer, all headers together (bytes); nginx sends some 300.
MAX_HEAD_BYTES = 16 * 1024
#: The body of an answer that is no file: a usage text, an error page (bytes).
MAX_TEXT_BYTES = 64 * 1024
#: 1xx answers before the real one; more is a server that plays with us.
MAX_INFORMATIONAL = 8
#: How long a reader may pause us before its connection to the node is given up, so
#: that one that hangs does not hold it for ever (seconds; MogileFS: 120).
CONSUMER_STALL_SECONDS = 120.0


class ConnectionStale(NodeUnreachable):
    """A kept connection was closed by the node before it answered anything."""


@frozen
class Answer:
    """Status, headers (names in lower case) and, if it went nowhere else, the body.

    `truncated`: the body was longer than `MAX_TEXT_BYTES`; only its beginning is here.
    """

    status: int
    headers: dict[bytes, bytes]
    body: bytes = b""
    truncated: bool = False

    @property
    def ok(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300


class Sink(Protocol):
    """Where the body of an answer goes instead of into memory."""

    def accepts(self, answer: Answer, length: int | None, producer: Any) -> bool:
        """Whether it takes the body of this answer (headers only, so far) of that
        many bytes, None if chunked. Raises `NodeFault` for what cannot be right."""

    def received(self, data: bytes) -> bool:
        """Take a piece; False means that no more is wanted."""


@define(eq=False)
class Exchange:
    """One request and what comes back. `sent`: its last byte is written."""

    method: bytes
    #: Without any progress of the answer for this long, the node is away (seconds).
    timeout_seconds: float
    sink: Sink | None = None
    sent: bool = True
    done: Deferred[Answer] = field(factory=Deferred)


@implementer(IPushProducer)
class HttpConnection(TwistedProtocol):
    """A connection that belongs to a pool.

    `released` is called when it can take another request, `lost` when it is gone.
    """

    transport: Any

    def __init__(
        self,
        clock: IReactorTime,
        peer: str,
        released: Callable[[HttpConnection], None],
        lost: Callable[[HttpConnection], None],
    ) -> None:
        self.peer = peer
        self.usable = False
        self.used_at = 0.0
        #: When the sweep of the pool shall call `expire`; None: not waiting.
        self.deadline: float | None = None
        self._clock = clock
        self._released = released
        self._lost = lost
        self._exchange: Exchange | None = None
        self._served = 0
        self._paused = False
        self._parser: Any = httptools.HttpResponseParser(self)
        self._reset()

    def _reset(self) -> None:
        self._headers: dict[bytes, bytes] = {}
        self._head_bytes = 0
        self._unfinished_bytes = 0
        self._heard = False
        self._informational = 0
        self._head_done = False
        self._complete = False
        self._keep = False
        self._until_close = False
        self._excess = False
        self._to_sink = False
        self._answer: Answer | None = None
        self._body: list[bytes] = []
        self._body_bytes = 0

    # --- for the pool and its users

    def connectionMade(self) -> None:
        """The node accepted."""
        self.usable = True
        self.used_at = self._clock.seconds()
        self.transport.setTcpNoDelay(True)
        self.transport.setTcpKeepAlive(True)

    def run(self, exchange: Exchange, data: bytes) -> Deferred[Answer]:
        """Send a request (or its beginning, if it is not all `sent`) and await the
        answer. Fails with `ConnectionStale` if a kept connection was closed before
        anything came, `NodeUnreachable` if it breaks later or nothing comes in time,
        `NodeFault` for what is no answer."""
        if self._exchange is not None:
            raise RuntimeError("a request is under way")
        exchange.done = Deferred(self._cancelled)
        if not self.usable:
            exchange.done.errback(ConnectionStale(f"{self.peer}: closed"))
            return exchange.done
        self._reset()
        self._exchange = exchange
        self.deadline = self._clock.seconds() + exchange.timeout_seconds
        send(self.transport, data)
        return exchange.done

    def progress(self) -> None:
        """The node took bytes: it gets its whole time again."""
        if self._exchange is not None and not self._paused:
            now = self._clock.seconds()
            self.deadline = now + self._exchange.timeout_seconds

    def expire(self) -> None:
        """The deadline is over."""
        if self._paused:
            self.give_up(NodeFault(f"{self.peer}: the reader did not go on reading"))
        else:
            self.give_up(NodeUnreachable(f"{self.peer}: no answer in time"))

    def give_up(self, error: NodeFault) -> None:
        """Close at once; a request under way fails with `error`."""
        self.usable = False
        self.deadline = None
        exchange, self._exchange = self._exchange, None
        self.transport.abortConnection()
        if exchange is not None and not exchange.done.called:
            exchange.done.errback(error)

    def cancel(self, exchange: Exchange, error: NodeFault) -> None:
        """Close at once if this exchange is the one under way."""
        if self._exchange is exchange:
            self.give_up(error)

    def _cancelled(self, done: Deferred[Answer]) -> None:
        self._exchange = None
        self.give_up(NodeFault("cancelled"))

    # --- the connection

    def dataReceived(self, data: bytes) -> None:
        """Bytes of an answer; anything else closes the connection."""
        exchange = self._exchange
        if exchange is None:
            self.give_up(NodeFault("unasked bytes"))
            return
        self._heard = True
        # The parser keeps what is no body until it is whole: a line of the head, of
        # the trailers, of a chunk. `on_body` begins anew.
        room = MAX_HEAD_BYTES - self._unfinished_bytes
        self._unfinished_bytes += len(data)
        try:
            if self._head_done or len(data) <= room:
                self._parser.feed_data(data)
            else:
                self._feed_head(exchange, data, room)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._excess = True
            if not self._complete:
                cause = error.__context__
                if not isinstance(cause, NodeFault):
                    cause = NodeFault(f"{self.peer}: not HTTP: {error}")
                self.give_up(cause)
        if self._exchange is not exchange:
            return
        if self._complete:
            self._finish(exchange)
        elif self._unfinished_bytes > MAX_HEAD_BYTES:
            self.give_up(NodeFault(f"{self.peer}: endless headers"))
        # The deadline moves with bytes of the body only (see `on_body`): a server
        # that dribbles headers or chunk sizes does not hold us.

    def _feed_head(self, exchange: Exchange, data: bytes, room: int) -> None:
        """Whether a head is too long does not depend on how it is cut."""
        if room:
            self._parser.feed_data(data[:room])
        if self._head_done and self._exchange is exchange:
            self._parser.feed_data(data[room:])

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone."""
        self.usable = False
        self.deadline = None
        exchange, self._exchange = self._exchange, None
        if exchange is not None and not exchange.done.called:
            if self._until_close and reason.check(ConnectionDone):
                exchange.done.callback(self._whole_answer())
            elif self._heard or not self._served:
                why = f"{self.peer}: connection lost: {reason.getErrorMessage()}"
                exchange.done.errback(NodeUnreachable(why))
            else:
                exchange.done.errback(ConnectionStale(f"{self.peer}: closed"))
        self._lost(self)

    # --- what the parser finds

    def on_message_begin(self) -> None:
        """An answer begins; there must be a request for it."""
        if self._complete:
            self._excess = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header, or one trailer after the last chunk (which is ignored)."""
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > MAX_HEAD_BYTES:
            raise NodeFault(f"{self.peer}: endless headers")
        if not self._head_done:
            name = name.lower()
            if name in self._headers:
                value = self._headers[name] + b", " + value
            self._headers[name] = value

    def on_headers_complete(self) -> None:
        """The head is there: decide where the body goes."""
        exchange = self._exchange
        if exchange is None or self._complete:
            return
        status = self._parser.get_status_code()
        if status < 200:
            self._informational += 1
            if self._informational > MAX_INFORMATIONAL:
                raise NodeFault(f"{self.peer}: endless 1xx answers")
            return
        self._head_done = True
        self._answer = answer = Answer(status, self._headers)
        if exchange.method == b"HEAD":
            self._complete = True
            self._keep = self._parser.should_keep_alive()
            return
        length = self._body_length(status)
        if exchange.sink is not None:
            if exchange.sink.accepts(answer, length, self):
                if self._until_close:
                    raise NodeFault(f"{self.peer}: an answer without its length")
                self._to_sink = True
        self.progress()

    def _body_length(self, status: int) -> int | None:
        """Bytes of the body, None if chunked or not known."""
        if status in (204, 304):
            return 0
        length = self._headers.get(b"content-length")
        if length is not None:
            return int(length)  # llhttp has seen that it is one number
        self._until_close = b"transfer-encoding" not in self._headers
        return None

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        self._unfinished_bytes = 0
        if self._complete or self._exchange is None:
            self._excess = True
            return
        self.progress()
        if self._to_sink:
            sink = self._exchange.sink
            if sink is not None and not sink.received(data):
                self._complete = self._excess = True
        elif self._body_bytes <= MAX_TEXT_BYTES:
            self._body.append(data[: MAX_TEXT_BYTES - self._body_bytes])
            self._body_bytes += len(data)
        if self._body_bytes > MAX_TEXT_BYTES:
            self._complete = self._excess = True

    def on_message_complete(self) -> None:
        """The answer is whole (or it was a 1xx, and the real one comes)."""
        if self._complete:
            return
        if self._head_done:
            self._complete = True
            self._keep = self._parser.should_keep_alive()
        else:
            self._headers = {}

    def _whole_answer(self) -> Answer:
        answer = self._answer or Answer(0, {})
        too_long = self._body_bytes > MAX_TEXT_BYTES
        return Answer(answer.status, answer.headers, b"".join(self._body), too_long)

    def _finish(self, exchange: Exchange) -> None:
        answer = self._whole_answer()  # before anybody else uses the connection
        keep = exchange.sent and self._keep and not self._excess
        self._exchange = None
        self._served += 1
        if self._paused:
            self._paused = False
            self.transport.resumeProducing()
        if keep:
            if exchange.method == b"HEAD":
                # It still waits for the body that the headers spoke of.
                self._parser = httptools.HttpResponseParser(self)
            self.deadline = None
            self.used_at = self._clock.seconds()
            self._released(self)
        else:
            self.give_up(NodeFault("closed"))
        exchange.done.callback(answer)

    # --- IPushProducer, for whoever reads the body

    def pauseProducing(self) -> None:
        """The reader has enough for now."""
        if self._exchange is not None and not self._paused:
            self._paused = True
            self.deadline = self._clock.seconds() + CONSUMER_STALL_SECONDS
            self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """The reader wants more."""
        if self._exchange is not None and self._paused:
            self._paused = False
            self.progress()
            self.transport.resumeProducing()

    def stopProducing(self) -> None:
        """The reader went away."""
        self.give_up(NodeFault("the reader went away"))
