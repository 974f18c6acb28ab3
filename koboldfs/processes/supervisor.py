"""The parent: opens the ports, starts the children, and starts anew those that die.

It serves nobody and knows nothing of databases and disks, so there is little in it
that could fail. The first child alone makes what is not there yet (tables, settings,
domains, devices); the others start when it is ready.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from attrs import define, field
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessExitedAlready
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import LoopingCall
from twisted.logger import InvalidLogLevelError, Logger, LogLevel
from twisted.python.failure import Failure
from zope.interface import implementer

from koboldfs.config import Config
from koboldfs.listening import address_words, open_shared
from koboldfs.processes.records import BEAT_SECONDS, KEPT, Lines, decoded, encoded
from koboldfs.turns import Turns, new_memory

CHILD = "koboldfs.processes.child"
#: A child that died is started again after this long (seconds), twice as long each
#: time, up to the limit; who was ready for a while is forgiven.
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 30.0
FORGIVEN_SECONDS = 60.0
#: So many deaths in a row are called a crash loop.
LOOP_DEATHS = 4
#: From SIGTERM to SIGKILL: background jobs may take 10 s to let go.
STOP_SECONDS = 15.0
#: A ready child of which nothing was heard in so many turns of the parent, who has one
#: every `BEAT_SECONDS`, hangs, and is killed. Turns are counted, and not time: when the
#: machine was suspended, or is much too busy, the parent has none either.
MAX_SILENT_TURNS = 12
#: What the parent remembers for children to come, at most so many of each kind.
MAX_KEPT = 1000
#: Descriptors of ports in a child, from this one on.
FIRST_PORT_FD = 3


@implementer(IPushProducer)
class Place(ProcessProtocol):
    """The place of one child, by number; somebody is in it or will be again."""

    transport: Any = None

    def __init__(self, parent: Supervisor, number: int) -> None:
        self.number = number
        #: Whether the child in it now is ready, and whether one ever was.
        self.ready = self.proven = False
        self.deaths = 0
        self.ready_since = 0.0
        self.alive = False
        #: Turns of the parent since it was last heard.
        self.silent_turns = 0
        self.again: Any = None
        #: Whether it does not take what it is told.
        self.deaf = False
        self._parent = parent
        self._out, self._err = Lines(), Lines()

    def say(self, kind: str, values: Mapping[str, Any]) -> None:
        """Have the child hear a record; one that does not listen misses it."""
        if self.alive and not self.deaf and self.transport is not None:
            pipe = self.transport.pipes.get(0)
            if pipe is not None:
                pipe.write(encoded(kind, values))

    def signal(self, name: str) -> None:
        """Send it a signal, if it lives."""
        try:
            if self.alive and self.transport is not None:
                self.transport.signalProcess(name)
        except ProcessExitedAlready:
            pass

    # --- ProcessProtocol

    def connectionMade(self) -> None:
        """It has been started."""
        self.alive, self.ready, self.deaf = True, False, False
        self.silent_turns = 0
        self._out, self._err = Lines(), Lines()
        if self.transport is not None:
            self.transport.pipes[0].registerProducer(self, True)

    def outReceived(self, data: bytes) -> None:
        """Records."""
        self.silent_turns = 0
        for line in self._out.feed(data):
            self._parent.hear(self, line)

    def errReceived(self, data: bytes) -> None:
        """What nobody meant to say."""
        for line in self._err.feed(data):
            self._parent.show(self, line)

    def processEnded(self, reason: Failure) -> None:
        """It is gone, and all that it said has been read."""
        for line in (*self._out.end(), *self._err.end()):
            self._parent.show(self, line)
        was_ready = self.ready
        self.alive = self.ready = False
        self._parent.ended(self, reason, was_ready)

    # --- IPushProducer: how the child takes what it is told

    def pauseProducing(self) -> None:
        """It does not."""
        self.deaf = True

    def resumeProducing(self) -> None:
        """It does again: what it missed and still matters is repeated."""
        if self.deaf:
            self.deaf = False
            self._parent.repeat(self)

    def stopProducing(self) -> None:
        """It has closed its ears; its end will be told."""
        self.deaf = True


@define
class _Memory:
    """What was told and still matters, by kind and by what it is about."""

    told: dict[str, dict[Any, Mapping[str, Any]]] = field(factory=dict)

    def keep(self, what: str, values: Mapping[str, Any]) -> None:
        about = KEPT.get(what)
        if about is not None and about in values:
            kept = self.told.setdefault(what, {})
            kept[values[about]] = values
            if len(kept) > MAX_KEPT:
                del kept[next(iter(kept))]

    def all(self) -> dict[str, list[Mapping[str, Any]]]:
        return {what: list(kept.values()) for what, kept in self.told.items()}


class Supervisor(Service):
    """See the module. `options` are the texts of `config`; `fatal` is told the one line
    that says why the program cannot start."""

    log = Logger()

    def __init__(
        self,
        config: Config,
        options: Mapping[str, Sequence[str]],
        reactor: Any,
        fatal: Callable[[str], None],
    ) -> None:
        self._config = config
        self._options = {name: list(texts) for name, texts in options.items()}
        self._reactor = reactor
        self._fatal = fatal
        self._ports: dict[str, Any] = {}
        self._memory = _Memory()
        self._turns_fd = new_memory()
        self._turns = Turns(self._turns_fd, config.processes)
        self._stopping: Deferred[None] | None = None
        self._kill: Any = None
        self._listening = LoopingCall(self._listen_for_beats)
        self._listening.clock = reactor
        self._told_ready = False
        self.places = [Place(self, n + 1) for n in range(config.processes)]
        for place in self.places:
            self._turns.leave(place.number)

    # --- starting

    def privilegedStartService(self) -> None:
        """Open the ports; raises `ConfigError`."""
        super().privilegedStartService()
        self._open()

    def _open(self) -> None:
        config = self._config
        wanted = {}
        if config.storage:
            wanted["--sidechannel-listen"] = config.sidechannel_listen
            wanted["--storage-listen"] = config.storage_listen
        if config.tracker:
            wanted["--tracker-listen"] = config.tracker_listen
            wanted["--native-listen"] = config.native_listen
        failed: list[Failure] = []
        for option, text in wanted.items():
            if option not in self._ports and not failed:
                opening = open_shared(self._reactor, option, text)
                opening.addCallbacks(
                    partial(self._ports.__setitem__, option), failed.append
                )
        if failed:
            self._close()
            failed[0].raiseException()

    def startService(self) -> None:
        """Open what is not open yet, and start the first child."""
        self._open()
        super().startService()
        self._listening.start(BEAT_SECONDS, now=False)
        self._spawn(self.places[0])

    def _spawn(self, place: Place) -> None:
        place.again = None
        fds: dict[int, Any] = {0: "w", 1: "r", 2: "r"}
        ports = {}
        for fd, (option, port) in enumerate(self._ports.items(), FIRST_PORT_FD):
            fds[fd] = port.fileno()
            ports[option] = fd
        turns_fd = FIRST_PORT_FD + len(ports)
        fds[turns_fd] = self._turns_fd
        count = len(self.places)
        words = ["process", str(place.number), "of", str(count)]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
        }
        try:
            self._reactor.spawnProcess(
                place,
                sys.executable,
                [sys.executable, "-m", CHILD, *words],
                env=environment,
                childFDs=fds,
            )
        except OSError as error:
            self.log.error(
                "process {number} cannot be started: {words}",
                number=place.number,
                words=error.strerror,
            )
            place.deaths += 1
            self._later(place)
            return
        begin = {
            "number": place.number,
            "count": count,
            "options": self._options,
            "host_name": self._config.host_name,
            "ports": ports,
            "turns": turns_fd,
            "past": self._memory.all(),
            "reactor": type(self._reactor).__module__,
        }
        place.say("begin", begin)

    # --- what children say

    def hear(self, place: Place, line: bytes) -> None:
        """One line of a child."""
        record = decoded(line)
        try:
            if record is None:
                self.show(place, line)
            elif record["kind"] == "log":
                self._show(place, record["level"], record["where"], record["text"])
            elif record["kind"] == "tell":
                self._pass_on(place, str(record["what"]), dict(record["values"]))
            elif record["kind"] == "ready":
                self._is_ready(place)
            elif record["kind"] == "fault":
                self._has_failed(place, str(record["line"]))
            elif record["kind"] == "shutdown":
                self._reactor.callLater(0, self._reactor.stop)
        except (LookupError, TypeError, ValueError):
            self.show(place, line)

    def show(self, place: Place, line: bytes) -> None:
        """Words of a child that are no record, in the log."""
        self._show(place, "warn", "-", line.decode("utf-8", "replace"))

    def _show(self, place: Place, level: str, where: str, text: str) -> None:
        try:
            found = LogLevel.levelWithName(level)
        except InvalidLogLevelError:
            found = LogLevel.warn
        Logger(namespace=where).emit(
            found, "process {number}: {text}", number=place.number, text=text
        )

    def _pass_on(self, place: Place, what: str, values: Mapping[str, Any]) -> None:
        if what not in KEPT:
            raise LookupError(what)
        self._memory.keep(what, values)
        for other in self.places:
            if other is not place:
                other.say("heard", {"what": what, "values": values})

    def repeat(self, place: Place) -> None:
        """Tell a child again what still matters."""
        for what, told in self._memory.all().items():
            for values in told:
                place.say("heard", {"what": what, "values": values})

    def _is_ready(self, place: Place) -> None:
        place.ready = place.proven = True
        place.ready_since = self._reactor.seconds()
        if place.number == 1 and self._stopping is None:
            for other in self.places[1:]:
                if not other.alive and not other.proven and other.again is None:
                    self._spawn(other)
        if not self._told_ready and all(one.ready for one in self.places):
            self._told_ready = True
            self.log.info(
                "ready: {count} processes serve {addresses}",
                count=len(self.places),
                addresses=", ".join(
                    f"{option} {address_words(port.getHost())}"
                    for option, port in self._ports.items()
                ),
            )

    def _has_failed(self, place: Place, line: str) -> None:
        self.log.critical("process {number}: {line}", number=place.number, line=line)
        if not place.proven and self._stopping is None:
            self._fatal(line)

    def _listen_for_beats(self) -> None:
        for place in self.places:
            place.silent_turns += 1
            if place.ready and place.silent_turns > MAX_SILENT_TURNS:
                self.log.critical(
                    "process {number} hangs and is killed: nothing was heard of it for"
                    " {seconds:.0f} s",
                    number=place.number,
                    seconds=place.silent_turns * BEAT_SECONDS,
                )
                place.signal("KILL")

    # --- the end of a child

    def ended(self, place: Place, reason: Failure, was_ready: bool) -> None:
        """A child is gone."""
        self._turns.leave(place.number)
        if self._stopping is not None:
            self._all_gone()
            return
        seconds = self._reactor.seconds()
        if was_ready and seconds - place.ready_since > FORGIVEN_SECONDS:
            place.deaths = 0
        place.deaths += 1
        if self.running:
            how = _how(reason)
            self.log.error(
                "process {number} has ended ({how})", number=place.number, how=how
            )
            self._later(place)

    def _later(self, place: Place) -> None:
        pause = FIRST_PAUSE_SECONDS * 2.0 ** min(max(0, place.deaths - 1), 20)
        pause = min(pause, LONGEST_PAUSE_SECONDS)
        if place.deaths >= LOOP_DEATHS:
            self.log.critical(
                "process {number} dies again and again ({deaths} times in a row); it is"
                " started anew in {pause:.1f} s: what it said last stands above",
                number=place.number,
                deaths=place.deaths,
                pause=pause,
            )
        place.again = self._reactor.callLater(pause, self._spawn, place)

    # --- the end

    def stopService(self) -> Deferred[None]:
        """Ask all children to end, and fire when they have; see `STOP_SECONDS`."""
        super().stopService()
        if self._listening.running:
            self._listening.stop()
        self._close()
        done: Deferred[None] = Deferred()
        self._stopping = done
        for place in self.places:
            if place.again is not None:
                place.again.cancel()
                place.again = None
            place.signal("TERM")
        self._kill = self._reactor.callLater(STOP_SECONDS, self._kill_all)
        self._all_gone()
        return done

    def _kill_all(self) -> None:
        self._kill = None
        for place in self.places:
            if place.alive:
                self.log.warn("process {number} does not end", number=place.number)
            place.signal("KILL")

    def _all_gone(self) -> None:
        if any(place.alive for place in self.places):
            return
        if self._kill is not None:
            self._kill.cancel()
            self._kill = None
        done = self._stopping
        if done is not None and not done.called:
            done.callback(None)

    def _close(self) -> None:
        for port in self._ports.values():
            stopping = port.stopListening()
            if stopping is not None:
                stopping.addErrback(
                    lambda failure: self.log.failure("closing a port failed", failure)
                )
        self._ports.clear()


def _how(reason: Failure) -> str:
    error: Any = reason.value
    if isinstance(error, ProcessDone):
        return "by itself"
    if getattr(error, "signal", None):
        try:
            return signal.Signals(error.signal).name
        except ValueError:  # most real-time signals have no name
            return f"signal {error.signal}"
    return f"exit status {getattr(error, 'exitCode', None)}"
