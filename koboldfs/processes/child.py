"""One of several processes: an installation that was handed its ports.

Its standard input is the parent's word, and the end of that is the parent's end: then
it ends as well, in order, and if that takes too long by an alarm.
"""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import (
    ILogObserver,
    LogEvent,
    Logger,
    LogLevel,
    eventAsText,
    globalLogBeginner,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from koboldfs.assembly import Installation
from koboldfs.config import build
from koboldfs.errors import ConfigError
from koboldfs.listening import Doors
from koboldfs.processes.records import (
    BEAT_SECONDS,
    KEPT,
    Lines,
    decoded,
    encoded,
    log_records,
)
from koboldfs.siblings import Siblings
from koboldfs.turns import Turns

STDIN, STDOUT = 0, 1
#: So long (seconds) a process whose parent died may take to end in order.
ORPHAN_SECONDS = 6.0
READ_BYTES = 64 * 1024
#: What the parent has not taken yet and still matters: so many records at most, tried
#: again as often as this (seconds).
MAX_OWED = 1000
RETRY_SECONDS = 0.1


class Voice:
    """Says records to the parent, which may hang and must not stop its children.

    Lines of the log that it does not take are dropped, and counted; any thread may
    log. What still matters later (that the process is ready, that a disk is not to be
    trusted, see `records.KEPT`) waits, and is tried again `later`; that is for the
    reactor's thread.
    """

    def __init__(
        self,
        fd: int = STDOUT,
        later: Callable[[float, Callable[[], None]], object] = lambda *words: None,
    ) -> None:
        self._fd = fd
        self._later = later
        self._dropped = 0
        self._owed: deque[bytes] = deque()
        self._trying = False
        os.set_blocking(fd, False)

    def say(self, kind: str, values: Mapping[str, Any]) -> None:
        """One record."""
        if kind == "log" or (kind == "tell" and KEPT.get(values["what"]) is None):
            if self._owed:
                # It would come into the middle of what waits, and take its room.
                self._dropped += 1
            else:
                self._say_now(kind, values)
            return
        if kind == "beat" and self._owed:
            return  # what waits says as much
        if len(self._owed) < MAX_OWED:
            self._owed.append(encoded(kind, values))
        if not self._trying:
            self._pay()

    def _pay(self) -> None:
        self._trying = False
        owed = self._owed
        try:
            while owed:
                owed[0] = owed[0][os.write(self._fd, owed[0]) :]
                if not owed[0]:
                    owed.popleft()
        except BlockingIOError:
            self._trying = True
            self._later(RETRY_SECONDS, self._pay)
        except OSError:
            owed.clear()  # there is no parent any more

    def _say_now(self, kind: str, values: Mapping[str, Any]) -> None:
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            text = f"({dropped} lines of this process's log were dropped)"
            for record in log_records("warn", "koboldfs.processes", text):
                self._write(record)
        self._write(encoded(kind, values))

    def _write(self, record: bytes) -> None:
        try:
            while record:
                record = record[os.write(self._fd, record) :]
        except OSError:
            self._dropped += 1


@implementer(ILogObserver)
class LogVoice:
    """An observer of the log that says it to the parent."""

    def __init__(self, voice: Voice) -> None:
        self._voice = voice

    def __call__(self, event: LogEvent) -> None:
        text = eventAsText(event, includeTimestamp=False, includeSystem=False)
        level = event.get("log_level", LogLevel.info).name
        where = str(event.get("log_namespace") or "-")
        for record in log_records(level, where, text):
            found = decoded(record) or {}
            self._voice.say("log", {k: v for k, v in found.items() if k != "kind"})


@implementer(IReadDescriptor)
class Ear:
    """Hears the parent, in the reactor."""

    def __init__(self, child: Child, lines: Lines, reactor: Any) -> None:
        self._reactor = reactor
        self._child = child
        self._lines = lines
        os.set_blocking(STDIN, False)

    def fileno(self) -> int:
        """See `IFileDescriptor`."""
        return STDIN

    def logPrefix(self) -> str:
        """See `ILoggingContext`."""
        return "parent"

    def doRead(self) -> None:
        """See `IReadDescriptor`."""
        try:
            data = os.read(STDIN, READ_BYTES)
        except BlockingIOError:
            return
        if not data:
            self._reactor.removeReader(self)
            self._child.orphaned()
            return
        for line in self._lines.feed(data):
            record = decoded(line)
            if record is not None and record["kind"] == "heard":
                self._child.siblings.hear(record["what"], record["values"])

    def connectionLost(self, reason: Failure) -> None:
        """See `IFileDescriptor`: epoll tells the end of a pipe so, and not as
        something to be read; or the reactor ends."""
        self._child.orphaned()


class Child:
    """What runs in a child. `begin` is the parent's first record."""

    log = Logger()

    def __init__(self, begin: Mapping[str, Any], voice: Voice, reactor: Any) -> None:
        self._voice = voice
        self._reactor = reactor
        self._ending = False
        self._starting: Deferred[None] | None = None
        self.status = 0
        self.siblings = Siblings(
            begin["number"], begin["count"], self._tell, begin["past"]
        )
        turns = Turns(begin["turns"], begin["count"])
        config = build(begin["options"], host_name=begin["host_name"])
        self.installation = Installation(
            config,
            reactor,
            siblings=self.siblings,
            doors=Doors(reactor, begin["ports"], turns, begin["number"]),
            shutdown=lambda: voice.say("shutdown", {}),
        )

    def _tell(self, what: str, values: Mapping[str, Any]) -> None:
        self._voice.say("tell", {"what": what, "values": values})

    def start(self) -> None:
        """Begin; the parent is told when everything is open, or why it is not."""
        self._reactor.addSystemEventTrigger("before", "shutdown", self._stop)
        self._starting = Deferred.fromCoroutine(self.installation.start())
        self._starting.addCallbacks(self._ready, self._failed)

    def _ready(self, result: None) -> None:
        self._voice.say("ready", {})
        self._beat()

    def _beat(self) -> None:
        self._voice.say("beat", {})
        self._reactor.callLater(BEAT_SECONDS, self._beat)

    def _failed(self, failure: Failure) -> None:
        if self._ending:
            return
        if isinstance(failure.value, ConfigError):
            line = failure.value.message
        else:
            line = f"it could not be started: {failure.getErrorMessage()}"
            self.log.failure("starting failed", failure)
        self._voice.say("fault", {"line": line})
        self.status = 1
        self.end()

    def orphaned(self) -> None:
        """The parent is gone, or will be as soon as all children are."""
        if not self._ending:
            self.log.warn("the parent has ended, and so does this process")
        # Without a handler that is the end, even of a process that hangs.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, ORPHAN_SECONDS)
        self.end()

    def end(self) -> None:
        """Stop in order."""
        if not self._ending:
            self._ending = True
            self._reactor.callWhenRunning(self._reactor.callLater, 0, self._end)

    def _end(self) -> None:
        if self._reactor.running:
            self._reactor.stop()

    def _stop(self) -> Deferred[None]:
        self._ending = True
        if self._starting is not None:
            self._starting.cancel()
        return Deferred.fromCoroutine(self.installation.stop())


def first_record(lines: Lines) -> tuple[dict[str, Any] | None, list[bytes]]:
    """Wait for the parent's first record; None when the parent has nothing to say.
    With it comes what was said after it already."""
    while True:
        data = os.read(STDIN, READ_BYTES)
        if not data:
            return None, []
        complete = lines.feed(data)
        if complete:
            return decoded(complete[0]), complete[1:]


def main() -> None:
    """Run a child until its end."""
    # Ctrl-C goes to all; the parent will say what is to be done.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    lines = Lines()
    begin, more = first_record(lines)
    if begin is None:
        raise SystemExit(0)
    import_module(begin["reactor"]).install()
    from twisted.internet import reactor

    running: Any = reactor
    voice = Voice(later=running.callLater)
    globalLogBeginner.beginLoggingTo([LogVoice(voice)])
    child = Child(begin, voice, reactor)
    for line in more:
        record = decoded(line)
        if record is not None:
            child.siblings.hear(record["what"], record["values"])
    running.addReader(Ear(child, lines, reactor))
    running.callWhenRunning(child.start)
    # Not Twisted's own way to stop, which fails when there is another reason as well.
    signal.signal(signal.SIGTERM, lambda *_: running.callFromThread(child.end))
    running.run(installSignalHandlers=False)
    raise SystemExit(child.status)


if __name__ == "__main__":
    main()
