"""A few connections that come back by themselves, and the line before them."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

from attrs import define
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from koboldfs.errors import DatabaseAway, TooBusy
from koboldfs.store.back_off import BackOff
from koboldfs.store.batch import MAX_WAITING
from koboldfs.store.postgres_link import Link


@define(eq=False)
class Place:
    """Somebody in the line."""

    answer: Deferred[Link]
    alarm: IDelayedCall | None = None


class Pool:
    """Keeps `size` connections open. Whoever acquires one releases or discards it."""

    _log = Logger()

    def __init__(
        self,
        connect: Callable[[], Awaitable[Link]],
        reactor: Any,
        size: int,
        random: Random,
    ) -> None:
        self._connect = connect
        self._reactor = reactor
        self._size = size
        self._back_off = BackOff(reactor, random)
        self._idle: list[Link] = []
        self._links: set[Link] = set()
        self._line: deque[Place] = deque()
        self._running = False
        self._stopped = False
        self._filling = False

    def start(self) -> None:
        """Begin to connect."""
        self._running = True
        self._fill()

    def acquire(self, deadline_seconds: float | None) -> Deferred[Link]:
        """A connection; fails with `DatabaseAway` after the deadline, if any."""
        if self._idle:
            link = self._idle.pop()
            link.lost = None
            return succeed(link)
        if self._stopped:
            return fail(DatabaseAway())
        if len(self._line) >= MAX_WAITING:
            return fail(TooBusy())
        place = Place(Deferred())
        if deadline_seconds is not None:
            place.alarm = self._reactor.callLater(deadline_seconds, self._late, place)
        self._line.append(place)
        return place.answer

    def _late(self, place: Place) -> None:
        place.alarm = None
        self._line.remove(place)
        place.answer.errback(DatabaseAway())

    def release(self, link: Link) -> None:
        """Give a connection back in good order."""
        if not self._running or link not in self._links:
            self.discard(link)
        elif self._line:
            place = self._line.popleft()
            if place.alarm is not None:
                place.alarm.cancel()
            place.answer.callback(link)
        else:
            link.lost = self.discard
            self._idle.append(link)

    def discard(self, link: Link) -> None:
        """Throw a connection away; another one is made."""
        link.shut()
        self._links.discard(link)
        if link in self._idle:
            self._idle.remove(link)
        self._fill()

    def _fill(self) -> None:
        if self._running and not self._filling and len(self._links) < self._size:
            self._filling = True
            Deferred.fromCoroutine(self._filled()).addErrback(self._ended)

    def _ended(self, failure: Any) -> None:
        if failure.check(CancelledError) is None:
            self._log.failure("a defect while connecting to the database", failure)

    def _report(self, fault: Exception) -> None:
        seconds = self._back_off.seconds
        if isinstance(fault, DatabaseAway):
            self._log.warn(
                "cannot reach the database, next attempt in about"
                " {seconds:.1f} s: {words}",
                seconds=seconds,
                words=fault.message,
            )
        else:
            self._log.failure(
                "a defect while connecting to the database, next attempt in about"
                " {seconds:.1f} s",
                Failure(fault),
                seconds=seconds,
            )

    async def _filled(self) -> None:
        failed = False
        try:
            while self._running and len(self._links) < self._size:
                try:
                    link = await self._connect()
                except Exception as fault:
                    # Whatever it is, to give up for good would be worse.
                    if not self._running:
                        return
                    failed = True
                    self._report(fault)
                    await self._back_off.pause()
                    continue
                if failed:
                    failed = False
                    self._log.info("the database is reachable again")
                self._back_off.reset()
                if not self._running:
                    link.shut()
                    return
                self._links.add(link)
                self.release(link)
        finally:
            self._filling = False

    def stop(self) -> None:
        """Close everything; whoever waits gets `DatabaseAway`."""
        self._running = False
        self._stopped = True
        self._back_off.stop()
        for link in list(self._links):
            if link in self._idle:
                self.discard(link)
        while self._line:
            place = self._line.popleft()
            if place.alarm is not None:
                place.alarm.cancel()
            place.answer.errback(DatabaseAway())
