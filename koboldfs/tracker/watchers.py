"""`!watch`: a live feed of what goes wrong, for operators on tracker connections.

An observer of the log passes on events of level warn and above, one line each. Events
may come from any thread; they are delivered in the reactor's. Nobody watching costs
nothing, and a watcher who does not read loses lines, never our memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent
from zope.interface import implementer

#: One event is at most this long (characters).
MAX_MESSAGE_CHARS = 1000
#: Events on their way from other threads; what comes on top is dropped.
MAX_UNDELIVERED = 1000

_LEVELS = (LogLevel.warn, LogLevel.error, LogLevel.critical)


class Watcher(Protocol):
    """Who wants to be told."""

    def notice(self, message: str) -> None:
        """One event; called in the reactor's thread. Never raises, never waits."""


@implementer(ILogObserver)
class Watchers:
    """All who watch this tracker. `call_from_thread(function, *arguments)` has the
    function called in the reactor's thread, soon."""

    def __init__(self, call_from_thread: Callable[..., Any]) -> None:
        self._call_from_thread = call_from_thread
        self._watchers: set[Watcher] = set()
        self._undelivered = 0

    def toggle(self, watcher: Watcher) -> bool:
        """Add or remove a watcher; returns whether it watches now."""
        if watcher in self._watchers:
            self._watchers.remove(watcher)
            return False
        self._watchers.add(watcher)
        return True

    def discard(self, watcher: Watcher) -> None:
        """Remove a watcher, if it is one."""
        self._watchers.discard(watcher)

    def __call__(self, event: LogEvent) -> None:
        """Pass an event on, if it is bad enough and somebody watches."""
        if not self._watchers or event.get("log_level") not in _LEVELS:
            return
        if self._undelivered >= MAX_UNDELIVERED:
            return
        self._undelivered += 1
        self._call_from_thread(self._deliver, message(event))

    def _deliver(self, text: str) -> None:
        self._undelivered -= 1
        for watcher in list(self._watchers):
            watcher.notice(text)


def message(event: LogEvent) -> str:
    """``[where] what``: the event as one line, without a traceback."""
    text = formatEvent(event)
    failure = event.get("log_failure")
    if failure is not None:
        text = f"{text}: {failure.getErrorMessage()}"
    where = event.get("log_namespace", "")
    return f"[{where}] {text}"[:MAX_MESSAGE_CHARS]
