"""Tracker commands over TCP: the provider of `ITrackerCall` for other processes.

    request  = command SP arguments CRLF
    reply    = "OK" [SP [digits SP] arguments] | "ERR" SP code [SP escaped text]

Replies come in the order of the requests (arguments: `koboldfs.wire.escaping`). One
tracker is used for as long as it answers; then the next one, in turn. A command whose
reply did not come in time may have been carried out all the same.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, connectionDone
from twisted.logger import Logger
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

from koboldfs.client.connecting import Pulse, tcp_endpoint
from koboldfs.errors import CallerError, TooBusy, WorldError
from koboldfs.interfaces import ITrackerCall
from koboldfs.wire.escaping import format_arguments, parse_arguments, unescape

#: No reply is longer (bytes): a thousand keys of a thousand escaped bytes are near it.
MAX_REPLY_BYTES = 1024 * 1024
#: Commands under way; a tracker runs those of one connection one after another.
MAX_UNDER_WAY = 1000
_COMMAND = re.compile("[A-Za-z0-9_]{1,64}", re.ASCII)
_OK = re.compile(r"OK(?: (?:[0-9]+ )?(.*))?", re.ASCII)
_ERR = re.compile(r"ERR ([A-Za-z0-9_]{1,64})(?: (\S*).*)?", re.ASCII)


class TrackerRefusal(CallerError):
    """ERR with a code that has no class in `koboldfs.errors`; `code` is that code."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        vars(self)["code"] = code


class TrackerAway(WorldError):
    """No tracker answered in time."""

    text = "No tracker answers"


def _classes(base: type[CallerError]) -> Iterator[type[CallerError]]:
    for one in base.__subclasses__():
        if one.__module__ == CallerError.__module__:
            yield one
            yield from _classes(one)


_BY_CODE = {one.code: one for one in _classes(CallerError)}


def error_of(code: str, text: str) -> CallerError:
    """The error that stands for an ERR line."""
    kind = _BY_CODE.get(code)
    return kind(text or None) if kind is not None else TrackerRefusal(code, text)


def parse_reply(line: bytes) -> dict[str, str]:
    """The fields of OK; raises the `CallerError` of ERR, `ValueError` for neither."""
    text = line.decode("latin-1")
    match = _OK.fullmatch(text)
    if match is not None:
        return parse_arguments(match[1] or "")
    match = _ERR.fullmatch(text)
    if match is None:
        raise ValueError("not a tracker's reply")
    raise error_of(match[1], unescape(match[2] or ""))


@define(eq=False)
class _Call:
    """A command under way; `deadline` in seconds of the clock."""

    line: bytes
    deadline: float
    done: Deferred[dict[str, str]]


@implementer(ITrackerCall)
class TrackerCalls:
    """Runs commands on the first of `servers`, (host address, port), that answers."""

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        servers: Sequence[tuple[str, int]],
        timeout_seconds: float = 10.0,
    ) -> None:
        self._reactor = reactor
        self._servers = tuple(servers)
        self._timeout_seconds = timeout_seconds
        self._current = 0
        self._lines: _Lines | None = None
        self._connecting: Deferred[Any] | None = None
        self._ready: list[Deferred[None]] = []
        self._open: set[_Lines] = set()
        self._gone: list[Deferred[None]] = []
        self._stopped = False

    async def call(self, command: str, arguments: Mapping[str, str]) -> dict[str, str]:
        """See `ITrackerCall`. Every server is tried once (a single one twice: it may
        have been restarted), each time for at most `timeout_seconds`; raises
        `TrackerAway` when none answered."""
        if not _COMMAND.fullmatch(command):
            raise ValueError("not a tracker command")
        text = format_arguments(arguments.items())
        line = f"{command} {text}\r\n".encode("latin-1")
        for _ in range(max(2, len(self._servers))):
            try:
                return await self._try(line)
            except TrackerAway as error:
                self.log.info("tracker: {error}", error=error)
        raise TrackerAway()

    async def stop(self) -> None:
        """Close the connection; commands under way fail with `TrackerAway`."""
        self._stopped = True
        if self._connecting is not None:
            self._connecting.cancel()
        for lines in list(self._open):
            lines.give_up("stopped")
        if self._open:
            gone: Deferred[None] = Deferred()
            self._gone.append(gone)
            await gone

    async def _try(self, line: bytes) -> dict[str, str]:
        if self._stopped:
            raise TrackerAway("stopped")
        lines = await self._connected()
        if len(lines.calls) >= MAX_UNDER_WAY:
            raise TooBusy()
        deadline = self._reactor.seconds() + self._timeout_seconds
        call = _Call(line, deadline, Deferred())
        lines.send(call)
        return await call.done

    async def _connected(self) -> _Lines:
        """The connection in use, or one to the current server. Raises `TrackerAway`
        when it cannot be had; then another server is the current one."""
        while self._lines is None:
            if self._connecting is not None:
                ready: Deferred[None] = Deferred()
                self._ready.append(ready)
                await ready
                continue
            await self._connect()
        return self._lines

    async def _connect(self) -> None:
        host, port = self._servers[self._current]
        endpoint = tcp_endpoint(self._reactor, host, port)
        connecting: Deferred[Any] = endpoint.connect(_LinesFactory(self))
        self._connecting = connecting
        error: TrackerAway | None = None
        try:
            self._lines = await connecting
        except (ConnectError, DNSLookupError, OSError) as cause:
            self._next_server()
            error = TrackerAway(f"{host}:{port}: no connection: {cause}")
        except BaseException:
            error = TrackerAway("stopped")
            if not self._stopped:
                raise
        finally:
            self._connecting = None
            waiting, self._ready = self._ready, []
            for ready in waiting:
                if error is None:
                    ready.callback(None)
                else:
                    ready.errback(error)
        if error is not None:
            raise error

    def _next_server(self) -> None:
        self._current = (self._current + 1) % len(self._servers)

    def made(self, lines: _Lines) -> None:
        """A connection is there (told by the connection itself)."""
        self._open.add(lines)

    def dropped(self, lines: _Lines) -> None:
        """The connection is of no more use: the next one goes to another server."""
        if self._lines is lines:
            self._lines = None
            self._next_server()

    def lost(self, lines: _Lines) -> None:
        """A connection is gone."""
        self.dropped(lines)
        self._open.discard(lines)
        if not self._open:
            waiting, self._gone = self._gone, []
            for gone in waiting:
                gone.callback(None)

    def line_factory(self) -> _Lines:
        """A connection that is about to be made."""
        host, port = self._servers[self._current]
        return _Lines(self, self._reactor, f"{host}:{port}")


class _Lines(LineOnlyReceiver):
    """One connection to a tracker; replies belong to `calls` in order."""

    delimiter = b"\n"
    MAX_LENGTH = MAX_REPLY_BYTES
    transport: Any

    def __init__(self, owner: TrackerCalls, reactor: Any, peer: str) -> None:
        self.calls: deque[_Call] = deque()
        self._owner = owner
        self._clock = reactor
        self._peer = peer
        self._pulse = Pulse(reactor, self._sweep)

    def connectionMade(self) -> None:
        """The tracker accepted."""
        self.transport.setTcpNoDelay(True)
        self.transport.setTcpKeepAlive(True)
        self._owner.made(self)

    def send(self, call: _Call) -> None:
        """Send a command; its `done` fires with the fields of OK, or fails."""
        self.calls.append(call)
        self._pulse.wake()
        self.transport.write(call.line)

    def lineReceived(self, line: bytes) -> None:
        """The reply to the oldest command."""
        if not self.calls:
            self.give_up("a reply to nothing")
            return
        call = self.calls[0]
        try:
            fields = parse_reply(line.removesuffix(b"\r"))
        except CallerError as error:
            self.calls.popleft()
            call.done.errback(error)
        except ValueError as error:
            self.give_up(str(error))
        else:
            self.calls.popleft()
            call.done.callback(fields)

    def lineLengthExceeded(self, line: bytes) -> None:
        """A reply without end."""
        self.give_up("an endless reply")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone."""
        self._pulse.stop()
        self._owner.lost(self)
        self._fail_all(f"connection lost: {reason.getErrorMessage()}")

    def give_up(self, why: str) -> None:
        """Close at once; all commands under way fail."""
        self._pulse.stop()
        self._owner.dropped(self)
        self.transport.abortConnection()
        self._fail_all(why)

    def _fail_all(self, why: str) -> None:
        calls, self.calls = self.calls, deque()
        for call in calls:
            call.done.errback(TrackerAway(f"{self._peer}: {why}"))

    def _sweep(self, now: float) -> bool:
        if self.calls and self.calls[0].deadline < now:
            # Its reply may still come, and would be taken for the next one's.
            self.give_up("no reply in time")
        return bool(self.calls)


class _LinesFactory(Factory):
    """Makes the connections of a `TrackerCalls`."""

    noisy = False

    def __init__(self, owner: TrackerCalls) -> None:
        self._owner = owner

    def buildProtocol(self, addr: IAddress | None) -> _Lines:
        """A new connection."""
        return self._owner.line_factory()
