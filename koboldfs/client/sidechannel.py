"""One connection to the side channel of one of our storage nodes.

The grammar is in `koboldfs.wire.sidechannel`. Requests of one reactor turn leave in
one write; replies come in any order, each with the number of its request. The
connection is made when it is needed, kept, and made again after it broke; while the
node does not answer, calls fail at once (`Backoff`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import define
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import Factory, connectionDone
from twisted.logger import Logger
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from koboldfs.client.connecting import Backoff, Pulse, tcp_endpoint
from koboldfs.errors import NodeFault, NodeUnreachable
from koboldfs.sending import send
from koboldfs.wire.sidechannel import (
    MAX_LINE_BYTES,
    Reply,
    Request,
    SyntaxFault,
    parse_reply,
)

#: Requests under way on one channel. Each is some hundred bytes here and one task on
#: the node; a tracker with more than this waiting for one node is not helped by more.
MAX_UNDER_WAY = 4096


_NO_CONNECTION = (ConnectError, DNSLookupError, OSError)


class Refusal(NodeFault):
    """The node answered ERR; `refusal` is its code (see `wire.sidechannel`)."""

    def __init__(self, peer: str, refusal: str, text: str) -> None:
        super().__init__(f"{peer}: {refusal}: {text}")
        self.refusal = refusal


@define(eq=False)
class _Waiting:
    """A request under way; times in seconds of the clock."""

    done: Deferred[dict[str, str]]
    sent_at: float
    deadline: float


class SideChannel:
    """Requests to one node. All that wait fail at once when the connection breaks."""

    log = Logger()

    def __init__(self, reactor: Any, host: str, port: int) -> None:
        self.address = (host, port)
        self.peer = f"{host}:{port}"
        self._reactor = reactor
        self._clock: IReactorTime = reactor
        self._backoff = Backoff(reactor)
        self._pulse = Pulse(reactor, self._sweep)
        self._waiting: dict[int, _Waiting] = {}
        self._number = 0
        self._unsent: list[bytes] = []
        self._flushing = False
        self._lines: _Lines | None = None
        self._connecting: Deferred[Any] | None = None
        self._heard_at = 0.0
        self._open: set[_Lines] = set()
        self._gone: list[Deferred[None]] = []
        self._stopped = False

    def call(
        self, verb: str, arguments: Mapping[str, object], timeout_seconds: float
    ) -> Deferred[dict[str, str]]:
        """Fires with the fields of OK. Fails with `Refusal` for ERR, `NodeUnreachable`
        when the node does not answer in time, `NodeFault` for what is no reply."""
        if self._stopped:
            return fail(NodeUnreachable(f"{self.peer}: this client was stopped"))
        if self._lines is None and self._connecting is None and self._backoff.holds():
            return fail(NodeUnreachable(f"{self.peer}: did not answer a moment ago"))
        if len(self._waiting) >= MAX_UNDER_WAY:
            return fail(NodeFault(f"{self.peer}: too many requests under way"))
        self._number += 1
        number, now = self._number, self._clock.seconds()
        texts = {name: str(value) for name, value in arguments.items()}
        line = Request(number, verb, texts).line()
        if len(line) > MAX_LINE_BYTES:
            return fail(NodeFault(f"{self.peer}: the request is too long"))
        done: Deferred[dict[str, str]] = Deferred(lambda _: self._forget(number))
        self._waiting[number] = _Waiting(done, now, now + timeout_seconds)
        self._pulse.wake()
        self._unsent.append(line)
        if self._lines is not None:
            self._flush_soon()
        elif self._connecting is None:
            self._connect()
        return done

    def eager(self) -> None:
        """Try again at once, whatever failed before."""
        self._backoff.succeeded()

    def stop(self) -> Deferred[None]:
        """Close for good; fires when nothing of this channel is left."""
        self._stopped = True
        if self._connecting is not None:
            self._connecting.cancel()
        self._break(NodeUnreachable(f"{self.peer}: this client was stopped"))
        self._pulse.stop()
        gone: Deferred[None] = Deferred()
        self._gone.append(gone)
        self._tell_gone()
        return gone

    # --- connection

    def _connect(self) -> None:
        endpoint = tcp_endpoint(self._reactor, *self.address)
        self._connecting = endpoint.connect(_LinesFactory(self))
        self._connecting.addCallbacks(self._connected, self._refused)

    def _connected(self, lines: _Lines) -> None:
        self._connecting = None
        if self._stopped:
            lines.break_off()
        elif lines in self._open:
            self._heard_at = self._clock.seconds()
            self._lines = lines
            self._flush()
        else:
            self._fail_all(NodeUnreachable(f"{self.peer}: connection lost"))

    def _refused(self, failure: Failure) -> None:
        self._connecting = None
        self._backoff.failed()
        if not self._stopped and not failure.check(*_NO_CONNECTION):
            self.log.failure("{peer}: cannot connect", failure, peer=self.peer)
        why = f"{self.peer}: no connection: {failure.getErrorMessage()}"
        self._fail_all(NodeUnreachable(why))
        self._tell_gone()

    def made(self, lines: _Lines) -> None:
        """A connection is there (told by the connection itself)."""
        self._open.add(lines)

    def lost(self, lines: _Lines, why: str) -> None:
        """A connection is gone (told by the connection itself)."""
        self._open.discard(lines)
        if self._lines is lines:
            self._lines = None
            if self._waiting:
                self._backoff.failed()
            self._fail_all(NodeUnreachable(f"{self.peer}: connection lost: {why}"))
        self._tell_gone()

    def _break(self, error: NodeFault) -> None:
        """Give the connection up, because of `error`."""
        lines, self._lines = self._lines, None
        if lines is not None:
            lines.break_off()
        self._fail_all(error)

    def _tell_gone(self) -> None:
        if self._connecting is None and not self._open:
            waiting, self._gone = self._gone, []
            for gone in waiting:
                gone.callback(None)

    # --- requests

    def _flush_soon(self) -> None:
        # A turn of the reactor: what other callers ask until then goes out with it.
        if not self._flushing:
            self._flushing = True
            self._clock.callLater(0, self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if self._lines is not None and self._unsent:
            lines, self._unsent = self._unsent, []
            lines.append(b"")
            self._lines.send(b"\n".join(lines))

    def received(self, lines: _Lines, line: bytes) -> None:
        """One line came from the node."""
        if lines is not self._lines:
            return
        try:
            reply = parse_reply(line)
        except SyntaxFault as error:
            self._garbage(str(error))
            return
        if reply.number > self._number or reply.number < 1:
            self._garbage("a reply to a request that was never made")
            return
        self._heard_at = self._clock.seconds()
        self._backoff.succeeded()
        waiting = self._waiting.pop(reply.number, None)
        if waiting is None:
            return  # it comes too late: its deadline is over, or it was cancelled
        if reply.code is None:
            waiting.done.callback(reply.fields)
        else:
            waiting.done.errback(self._refusal(reply))

    def _refusal(self, reply: Reply) -> Refusal:
        return Refusal(self.peer, reply.code or "", reply.text)

    def garbage(self, lines: _Lines, why: str) -> None:
        """Something came that is no line of the grammar."""
        if lines is self._lines:
            self._garbage(why)

    def _garbage(self, why: str) -> None:
        self.log.warn("side channel of {peer}: {why}", peer=self.peer, why=why)
        self._backoff.failed()
        self._break(NodeFault(f"{self.peer}: not our side channel: {why}"))

    def _forget(self, number: int) -> None:
        self._waiting.pop(number, None)

    def _fail_all(self, error: NodeFault) -> None:
        waiting, self._waiting = self._waiting, {}
        self._unsent.clear()
        for one in waiting.values():
            one.done.errback(error)

    def _sweep(self, now: float) -> bool:
        late = [
            (number, one) for number, one in self._waiting.items() if one.deadline < now
        ]
        silent = any(one.sent_at >= self._heard_at for _, one in late)
        for number, one in late:
            if self._waiting.pop(number, None) is not None:
                error = NodeUnreachable(f"{self.peer}: no reply in time")
                one.done.errback(error)
        if silent and self._lines is not None:
            # Nothing at all came since that request left: the other end is gone
            # without a word (half-open), and the next call needs a new connection.
            self._backoff.failed()
            self._break(NodeUnreachable(f"{self.peer}: silent"))
        return bool(self._waiting)


class _Lines(LineOnlyReceiver):
    """The connection: bytes to lines, and lines to bytes."""

    delimiter = b"\n"
    MAX_LENGTH = MAX_LINE_BYTES
    transport: Any

    def __init__(self, channel: SideChannel) -> None:
        self._channel = channel

    def connectionMade(self) -> None:
        """The node accepted."""
        self.transport.setTcpNoDelay(True)
        self.transport.setTcpKeepAlive(True)
        self._channel.made(self)

    def send(self, data: bytes) -> None:
        """Write whole lines."""
        send(self.transport, data)

    def lineReceived(self, line: bytes) -> None:
        """One line, its LF taken off."""
        self._channel.received(self, line.removesuffix(b"\r"))

    def lineLengthExceeded(self, line: bytes) -> None:
        """More bytes than a line may have; what follows cannot be trusted."""
        self._channel.garbage(self, "a line without end")

    def break_off(self) -> None:
        """Close without waiting for anything."""
        self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone."""
        self._channel.lost(self, reason.getErrorMessage())


class _LinesFactory(Factory):
    """Makes the connections of one channel."""

    noisy = False

    def __init__(self, channel: SideChannel) -> None:
        self._channel = channel

    def buildProtocol(self, addr: IAddress | None) -> _Lines:
        """A new connection."""
        return _Lines(self._channel)
