"""Pauses between attempts to connect to a database."""

from __future__ import annotations

from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

#: Seconds between attempts to connect: doubled from the first to the last, and varied
#: by a quarter so that many trackers do not come back at the same moment.
FIRST_PAUSE_SECONDS, LAST_PAUSE_SECONDS = 0.1, 5.0


class BackOff:
    """Pauses between attempts that fail."""

    def __init__(self, reactor: Any, random: Random) -> None:
        self._reactor = reactor
        self._random = random
        self._seconds = FIRST_PAUSE_SECONDS
        self._pause: Deferred[None] | None = None

    def reset(self) -> None:
        """The last attempt was good."""
        self._seconds = FIRST_PAUSE_SECONDS

    @property
    def seconds(self) -> float:
        """About how long the next pause is."""
        return self._seconds

    async def pause(self) -> None:
        """Wait before the next attempt; raises CancelledError when stopped."""
        seconds = self._seconds * self._random.uniform(0.75, 1.25)
        self._seconds = min(self._seconds * 2, LAST_PAUSE_SECONDS)
        self._pause = deferLater(self._reactor, seconds)
        try:
            await self._pause
        finally:
            self._pause = None

    def stop(self) -> None:
        """End a pause with CancelledError."""
        if self._pause is not None:
            self._pause.cancel()
