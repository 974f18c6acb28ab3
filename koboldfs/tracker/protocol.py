"""The tracker's front door on TCP: lines in, replies out, in order.

The grammar is that of `koboldfs.wire.tracker`. A connection's requests run one after
another and are answered in order; connections do not wait for each other. Only requests
of one command that a client sends without waiting, and that cannot tell in which order
they are done (`TrackerCommand.together`), are under way at once, so that they share
trips to the database. What happens to a connection:

    too many lines wait, or bytes      reading stops until fewer do
    replies are not taken              nothing more is begun, reading stops; after
                                       `REPLY_SECONDS` the connection is cut
    a line is too long                 ERR line_too_long, the rest of it is swallowed
    the client ends its side           what it asked is answered, then we close
    the client is gone                 what is under way is done, the rest is not begun
    a command fails, however           ERR; the connection stays

A command that never has to wait is answered on the spot: its coroutine is run by hand,
and only one that does wait is tied to a Deferred. There is no idle time limit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Coroutine
from typing import Any

from attrs import define, field
from twisted.internet.interfaces import (
    IDelayedCall,
    IHalfCloseableProtocol,
    IPushProducer,
    IReactorTime,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from koboldfs.errors import KoboldError, LineTooLong
from koboldfs.sending import send
from koboldfs.tracker.admin_lines import AdminLines
from koboldfs.tracker.call import Pairs
from koboldfs.tracker.commands import Commands, error_words
from koboldfs.tracker.lines import LineBuffer
from koboldfs.tracker.stats import Statistics, shown_line
from koboldfs.tracker.watchers import Watchers
from koboldfs.wire.tracker import (
    AdminLine,
    Command,
    format_error,
    format_lines,
    format_ok,
    parse_line,
    printable,
)

#: Reading stops while so many requests of a connection wait, or so many bytes of them.
#: One read of the socket (64 KiB) may come on top.
MAX_WAITING_REQUESTS = 128
MAX_WAITING_BYTES = 256 * 1024
#: A connection gives way to others after so many requests that did not have to wait.
REQUESTS_PER_TURN = 64
#: Or after so long (seconds): some requests take a millisecond, and a hundred clients
#: may have sent thousands of them.
TURN_SECONDS = 0.002
#: So many requests of a connection are under way at once.
MAX_TOGETHER = 64
#: Replies are gathered while a turn lasts, up to this size (bytes).
REPLIES_BYTES = 64 * 1024
#: A client has so long to take its replies (MogileFS's figure).
REPLY_SECONDS = 120.0


@define(eq=False)
class Running:
    """A request that was begun. `arrived` and `began` in seconds of the clock.

    Beside one that is `shared` others may be under way; its `reply` is kept while some
    before it have none. One that never `waits` is answered on the spot.
    """

    work: Coroutine[Any, Any, Pairs]
    name: str
    line: bytes
    callid: str | None
    arrived: float
    began: float
    shared: bool
    waits: bool = False
    reply: bytes | None = None


@define(eq=False)
class FrontDoor:
    """What all connections share."""

    commands: Commands
    statistics: Statistics
    watchers: Watchers
    clock: IReactorTime
    admin_lines: AdminLines = field(init=False)
    connections: set[TrackerProtocol] = field(factory=set)


@implementer(IHalfCloseableProtocol, IPushProducer)
class TrackerProtocol(Protocol):
    """One client's connection."""

    log = Logger()
    transport: Any

    def __init__(self, door: FrontDoor) -> None:
        self._door = door
        self.client_ip = ""
        self._lines = LineBuffer()
        self._waiting: deque[tuple[bytes | None, float]] = deque()  # None: too long
        self._waiting_bytes = 0
        self._running: deque[Running] = deque()
        self._next: AdminLine | Command | None = None  # the first of the waiting
        self._replies: list[bytes] = []
        self._replies_bytes = 0
        self._blocked = False  # the transport asked us to pause
        self._reading = True
        self._ended = False  # no more requests will come
        self._closing = False  # loseConnection was called
        self._gone = False  # connectionLost was
        self._next_turn: IDelayedCall | None = None
        self._patience: IDelayedCall | None = None
        self._unnoticed = 0  # messages that a blocked watcher did not get

    # --- the connection's life

    def connectionMade(self) -> None:
        """Begin: small replies at once, dead peers found out, a say in the flow."""
        self.client_ip = _plain_ip(getattr(self.transport.getPeer(), "host", ""))
        for name in ("setTcpNoDelay", "setTcpKeepAlive"):
            set_option = getattr(self.transport, name, None)
            if set_option is not None:
                set_option(True)
        self.transport.registerProducer(self, True)
        self._door.connections.add(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """End: what is under way goes on without a reader, the rest is forgotten."""
        self._gone = self._ended = True
        self._waiting.clear()
        self._next = None
        self._lines.clear()
        self._replies.clear()
        self._stop_timers()
        self._door.connections.discard(self)
        self._door.watchers.discard(self)

    def readConnectionLost(self) -> None:
        """The client asks no more: answer what it asked, then close."""
        self.finish()

    def writeConnectionLost(self) -> None:
        """The client takes no more replies."""
        self.transport.abortConnection()

    def finish(self) -> None:
        """Take no more requests; close when those that came are answered."""
        self._ended = True
        self._lines.clear()
        if self._reading:
            self._reading = False
            self.transport.pauseProducing()
        self._close_if_done()

    def _close_if_done(self) -> None:
        if self._gone or self._closing or self._waiting or self._running:
            return
        if self._blocked:
            return  # `resumeProducing` comes back here, or patience ends
        self._closing = True
        self._start_patience()
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    # --- lines in

    def dataReceived(self, data: bytes) -> None:
        """Take the lines apart and begin what can be begun."""
        if self._ended:
            return
        lines = self._lines.feed(data)
        if not lines:
            return
        now = self._door.clock.seconds()
        for line in lines:
            if line is None:
                self._waiting.append((None, now))
            elif line and line != b"\r":
                self._waiting.append((line, now))
                self._waiting_bytes += len(line)
        self._take_turn()

    def waiting_lines(self) -> list[str]:
        """The requests that wait, for `!queue`."""
        return [shown_line(line) for line, _ in self._waiting if line is not None]

    # --- one after another

    def _take_turn(self) -> None:
        """Begin requests until one has to wait, or others should have their turn."""
        turns, clock = REQUESTS_PER_TURN, self._door.clock
        until = clock.seconds() + TURN_SECONDS
        while self._waiting and not self._blocked and self._may_begin():
            if self._next_turn is not None:
                break
            if turns == 0 or clock.seconds() > until:
                self._next_turn = clock.callLater(0, self._turn_again)
                break
            turns -= 1
            self._begin()
        if self._replies:
            self._flush()
        self._mind_reading()
        if self._ended:
            self._close_if_done()

    def _turn_again(self) -> None:
        self._next_turn = None
        self._take_turn()

    def _may_begin(self) -> bool:
        """Whether the first of the waiting may be begun beside what is under way."""
        running = self._running
        if not running:
            return True
        if not running[-1].shared or len(running) >= MAX_TOGETHER:
            return False
        request = self._first()
        return (
            isinstance(request, Command)
            and request.name == running[-1].name
            and self._door.commands.together(request.name, request.arguments)
        )

    def _first(self) -> AdminLine | Command | None:
        """The first of the waiting, understood; None for what is no request."""
        if self._next is None:
            line, _ = self._waiting[0]
            self._next = None if line is None else parse_line(line)
        return self._next

    def _begin(self) -> None:
        request, self._next = self._first(), None
        line, arrived = self._waiting.popleft()
        if line is None:
            self._reply(format_error(*error_words(LineTooLong())))
            return
        self._waiting_bytes -= len(line)
        if request is None:
            return
        if isinstance(request, AdminLine):
            self._answer_operator(request)
            return
        door, name = self._door, request.name
        began = door.clock.seconds()
        shared = door.commands.together(name, request.arguments)
        work = door.commands.run(name, request.arguments, self.client_ip)
        self._go_on(
            None, Running(work, name, line, request.callid, arrived, began, shared)
        )

    def _answer_operator(self, line: AdminLine) -> None:
        try:
            answer = self._door.admin_lines.answer(line, self)
        except Exception:
            self.log.failure("the line !{word} failed", word=line.word)
            answer = format_lines(["ERROR: that failed; the log says why"])
        if answer is not None:
            self._reply(answer)
        else:
            self._ended = True
            self._waiting.clear()

    def _go_on(self, result: object, running: Running) -> None:
        """Run a command's coroutine until it ends or waits for a Deferred.

        When that fires we are called again, as its callback: the coroutine takes its
        result by itself, a failure has to be thrown into it.
        """
        try:
            if isinstance(result, Failure):
                awaited = result.throwExceptionIntoGenerator(running.work)
            else:
                awaited = running.work.send(None)
        except StopIteration as end:
            reply = self._ok(end.value, running)
        except Exception as error:
            reply = self._error(error, running)
        else:
            if not running.waits:
                running.waits = True
                self._running.append(running)
                self._door.statistics.processing += 1
            awaited.addBoth(self._go_on, running)
            return
        now, statistics = self._door.clock.seconds(), self._door.statistics
        statistics.answered(
            self.client_ip, running.line, now - running.arrived, now - running.began
        )
        if statistics.timings is not None:
            statistics.timed(running.name, now - running.arrived)
        if not self._running:
            self._reply(reply)
            return
        running.reply = reply
        if not running.waits:
            self._running.append(running)  # behind those that it may not overtake
            return
        self._door.statistics.processing -= 1
        while self._running and self._running[0].reply is not None:
            self._reply(self._running.popleft().reply or b"")
        self._take_turn()

    def _ok(self, pairs: Pairs, running: Running) -> bytes:
        try:
            return format_ok(pairs, running.callid)
        except Exception as error:
            return self._error(error, running)

    def _error(self, error: Exception, running: Running) -> bytes:
        """The one place where an error becomes words of the protocol."""
        if not isinstance(error, KoboldError):
            self.log.failure(
                "the command {command} failed",
                failure=Failure(error),
                command=running.name,
            )
            error = KoboldError()
        return format_error(*error_words(error), running.callid)

    # --- replies out

    def _reply(self, reply: bytes) -> None:
        self._replies.append(reply)
        self._replies_bytes += len(reply)
        if self._replies_bytes >= REPLIES_BYTES:
            self._flush()

    def _flush(self) -> None:
        replies, self._replies = self._replies, []
        self._replies_bytes = 0
        if not self._gone:
            send(self.transport, replies[0] if len(replies) == 1 else b"".join(replies))

    def notice(self, message: str) -> None:
        """An event for a watcher; while it does not read, events are only counted."""
        if self._gone:
            return
        if self._blocked:
            self._unnoticed += 1
            return
        lines = f":: {printable(message)}\r\n"
        if self._unnoticed:
            lines = f":: ({self._unnoticed} messages were dropped)\r\n{lines}"
            self._unnoticed = 0
        self.transport.write(lines.encode("latin-1", "replace"))

    def _mind_reading(self) -> None:
        """Read only while there is room for what is read."""
        reading = not (
            self._blocked
            or len(self._waiting) >= MAX_WAITING_REQUESTS
            or self._waiting_bytes >= MAX_WAITING_BYTES
        )
        if reading != self._reading and not self._ended:
            self._reading = reading
            if reading:
                self.transport.resumeProducing()
            else:
                self.transport.pauseProducing()

    # --- IPushProducer: the transport tells us how its sending goes

    def pauseProducing(self) -> None:
        """Too much is not sent yet."""
        self._blocked = True
        self._start_patience()
        self._mind_reading()

    def resumeProducing(self) -> None:
        """All is sent."""
        self._blocked = False
        self._stop_timers(turn=False)
        self._take_turn()

    def stopProducing(self) -> None:
        """The connection is gone; `connectionLost` says so too."""

    def _start_patience(self) -> None:
        if self._patience is None:
            self._patience = self._door.clock.callLater(REPLY_SECONDS, self._cut)

    def _cut(self) -> None:
        self._patience = None
        self.log.info("{ip} did not take its replies", ip=self.client_ip)
        self.transport.abortConnection()

    def _stop_timers(self, *, turn: bool = True) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        if turn and self._next_turn is not None:
            self._next_turn.cancel()
            self._next_turn = None


def _plain_ip(host: str) -> str:
    """The address as hosts' netmasks know it: IPv4 in IPv6 is IPv4."""
    return host.removeprefix("::ffff:") if "." in host else host
