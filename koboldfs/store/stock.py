"""Uploads that are recorded before anybody asks for them.

A small file is stored within a few milliseconds, and to record its upload durably took
a third of that. While many files are stored, rows of uploads are therefore drawn ahead,
many in one transaction; they are BLANK: they name domain and class, but neither key
nor devices. Whoever opens an upload gets one of them at once. If it is closed soon, as
most are, nobody ever needs to know what was in it: closing wants the row to be there,
and takes it away. If not, the row is described after `DESCRIBE_SECONDS`, so that the
upload can be closed with another tracker, and is cleaned up should it never be.

What stays as it was: a fid has a durable row before anybody is told of it, one row is
closed once, and a domain or a class with an open upload cannot be removed (their blank
rows are taken away then, and with them the right to close).

What is given: should a tracker be killed within `DESCRIBE_SECONDS` of opening an
upload, the upload cannot be closed any more (no tracker knows its devices), and bytes
that came for it are known to nobody until the scrub finds them.

Closing an upload that this tracker did not open waits until it is described. Should too
many uploads take so long, because they are large or because clients close with another
tracker than they open with, nothing is drawn ahead for a while.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import Any

from attrs import define, evolve, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from koboldfs.errors import DatabaseFault
from koboldfs.model.entities import Upload
from koboldfs.store.transactions_files import devids_of
from koboldfs.store.transactions_uploads import Opening

#: Seconds until an open upload is described: longer than a small file takes on a busy
#: disk, and no longer than who closes with another tracker may well wait.
DESCRIBE_SECONDS = 0.2
#: Seconds for which a blank row is handed out, much less than until uploads expire.
FRESH_SECONDS = 5.0
#: Demand is measured over so many seconds at least.
MEASURE_SECONDS = 0.5
#: What is drawn ahead is the demand of so many seconds: a power of two (there are few
#: different statements then), and nothing when it would be less than the least.
AHEAD_SECONDS = 0.25
LEAST_DRAWN, MOST_DRAWN = 8, 256
#: Uploads that may be open and not described; beyond, nothing comes out of the stock.
MAX_BLANK = 20_000
#: Rows that are described, or thrown away, in one transaction.
MAX_ROWS = 256
#: Of so many uploads, one in so many may last until it is described; beyond, nothing
#: is drawn ahead for the pause, which is doubled each time, up to the longest.
TRIAL_UPLOADS, TOLERATED_SHARE = 32, 4
PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 30.0, 600.0
#: Seconds between looks at a blank row whose upload another tracker opened, and how
#: often it is looked at: about as long as a busy tracker may take to describe it.
LOOK_AGAIN_SECONDS = (0.05, 0.1, 0.15, 0.3, 0.6, 0.8)
#: Seconds until a database that could not be written is tried again.
RETRY_SECONDS = 1.0
#: Seconds between looks for what is stale.
CLEAR_SECONDS = 1.0


@define(eq=False)
class Shelf:
    """What is drawn ahead for one class: fids, and until when they are good."""

    clock: IReactorTime
    fids: deque[tuple[int, float]] = field(factory=deque)
    refilling: bool = False
    #: How often everything was thrown away.
    emptied: int = 0
    asked: int = 0
    asked_since: float = 0.0
    target: int = 0

    def measure(self) -> None:
        """Count one request; sets `target`, the fids that should be there."""
        self.asked += 1
        passed = self.clock.seconds() - self.asked_since
        if passed < MEASURE_SECONDS:
            return
        wanted = self.asked / passed * AHEAD_SECONDS
        self.asked, self.asked_since = 0, self.clock.seconds()
        target = 1 << int(wanted).bit_length() >> 1
        self.target = min(target, MOST_DRAWN) if target >= LEAST_DRAWN else 0

    def take(self) -> int | None:
        """A fid that is still good, if there is one."""
        if self.fids and self.fids[0][1] > self.clock.seconds():
            return self.fids.popleft()[0]
        return None


class Stock:
    """Blank uploads of one tracker. `draw`, `describe` and `forget` are transactions.

    `draw(dmid, classid, count)` records blank uploads, `describe(openings)` gives rows
    their contents, `forget(fids)` takes blank rows away.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        draw: Callable[[int, int, int], Deferred[list[int]]],
        describe: Callable[[Sequence[Opening]], Deferred[None]],
        forget: Callable[[Sequence[int]], Deferred[None]],
    ) -> None:
        self._clock = clock
        self._draw, self._describe, self._forget = draw, describe, forget
        self._shelves: dict[tuple[int, int], Shelf] = {}
        #: Uploads that are open and not described: when each was opened, in that order.
        self._blank: dict[int, tuple[float, Opening]] = {}
        self._describing: set[int] = set()
        #: When uploads have to be described, and when shelves are looked through.
        self._alarms: dict[str, IDelayedCall] = {}
        self._stopped = False
        self._opened = self._lasted = 0
        self._paused_until, self._pause = 0.0, PAUSE_SECONDS

    def take(self, opening: Opening) -> int | None:
        """A fid for an upload, if one was drawn ahead."""
        now = self._clock.seconds()
        if self._stopped or now < self._paused_until:
            return None
        name = (opening.dmid, opening.classid)
        shelf = self._shelves.get(name)
        if shelf is None:
            shelf = self._shelves[name] = Shelf(self._clock, asked_since=now)
            self._call_later("clear", CLEAR_SECONDS, self._clear)
        shelf.measure()
        fid = shelf.take() if len(self._blank) < MAX_BLANK else None
        if not shelf.refilling and len(shelf.fids) < shelf.target // 2:
            self._refill(name, shelf)
        if fid is not None:
            self._opened += 1
            self._blank[fid] = (now, opening)
            self._call_later("describe", DESCRIBE_SECONDS, self._describe_due)
        return fid

    def closed(self, fid: int) -> None:
        """Nobody needs to know any more what an upload was."""
        self._blank.pop(fid, None)

    def drop(self, dmid: int | None = None) -> None:
        """What was drawn ahead, for one domain or for all, is of no use any more."""
        for (other, _), shelf in self._shelves.items():
            if dmid in (None, other):
                self._throw_away([fid for fid, _ in shelf.fids])
                shelf.fids.clear()
                shelf.emptied += 1

    async def described(
        self, look: Callable[[int], Deferred[Upload | None]], fid: int
    ) -> Upload | None:
        """The upload, once somebody has said what it is; None if nobody does."""
        upload = await look(fid)
        for seconds in LOOK_AGAIN_SECONDS:
            if upload is None or upload.devids:
                break
            own = self._blank.get(fid)
            if own is not None:
                devids = devids_of(own[1].devids)
                return evolve(upload, key=own[1].key, devids=devids)
            await deferLater(self._clock, seconds)
            upload = await look(fid)
        return upload if upload is None or upload.devids else None

    async def stop(self) -> None:
        """Leave nothing behind that others cannot use, as far as the database goes."""
        self._stopped = True
        while self._alarms:
            self._alarms.popitem()[1].cancel()
        shelves, self._shelves = self._shelves, {}
        try:
            await self._tell(list(self._blank))
            for shelf in shelves.values():
                if shelf.fids:
                    await self._forget([fid for fid, _ in shelf.fids])
        except DatabaseFault as fault:
            self._log.info(
                "uploads that were drawn ahead stay until they expire: {why}", why=fault
            )

    # --- drawing ahead

    def _refill(self, name: tuple[int, int], shelf: Shelf) -> None:
        shelf.refilling = True
        good_until, emptied = self._clock.seconds() + FRESH_SECONDS, shelf.emptied

        def drawn(fids: list[int]) -> None:
            if self._stopped or shelf.emptied != emptied:
                self._throw_away(fids)
                return
            shelf.fids.extend((fid, good_until) for fid in fids)

        def ended(_: object) -> None:
            shelf.refilling = False

        # Who finds the shelf empty asks the database itself, and learns what is wrong.
        answer = self._draw(*name, shelf.target).addCallback(drawn)
        answer.addErrback(lambda failure: failure.trap(DatabaseFault))
        answer.addErrback(self._defect).addBoth(ended)

    def _throw_away(self, fids: Sequence[int]) -> None:
        # If that fails they expire.
        for start in range(0, len(fids), MAX_ROWS):
            answer = self._forget(fids[start : start + MAX_ROWS])
            answer.addErrback(lambda failure: failure.trap(DatabaseFault))
            answer.addErrback(self._defect)

    def _defect(self, failure: Any) -> None:
        self._log.failure("a defect in the stock of uploads", failure)

    # --- what time brings

    def _call_later(self, name: str, seconds: float, call: Callable[[], None]) -> None:
        if name not in self._alarms and not self._stopped:
            self._alarms[name] = self._clock.callLater(seconds, call)

    def _describe_due(self) -> None:
        del self._alarms["describe"]
        latest = self._clock.seconds() - DESCRIBE_SECONDS
        old = takewhile(lambda item: item[1][0] <= latest, self._blank.items())
        due = [fid for fid, _ in old if fid not in self._describing]
        if due:
            self._judge(len(due))
            telling = Deferred.fromCoroutine(self._tell(due))
            telling.addErrback(self._wait, due).addErrback(self._defect)
        if self._blank:
            self._call_later("describe", DESCRIBE_SECONDS, self._describe_due)

    def _clear(self) -> None:
        """Throw away what is stale, and shelves that nobody asks any more."""
        del self._alarms["clear"]
        now = self._clock.seconds()
        for name, shelf in list(self._shelves.items()):
            stale = []
            while shelf.fids and shelf.fids[0][1] <= now:
                stale.append(shelf.fids.popleft()[0])
            self._throw_away(stale)
            idle = now - shelf.asked_since > FRESH_SECONDS
            if idle and not shelf.fids and not shelf.refilling:
                del self._shelves[name]
        if self._shelves:
            self._call_later("clear", CLEAR_SECONDS, self._clear)

    async def _tell(self, fids: Sequence[int]) -> None:
        """Describe uploads, those that are still open."""
        for start in range(0, len(fids), MAX_ROWS):
            some = [fid for fid in fids[start : start + MAX_ROWS] if fid in self._blank]
            self._describing.update(some)
            try:
                await self._describe(
                    [evolve(self._blank[fid][1], fid=fid) for fid in some]
                )
                for fid in some:
                    self._blank.pop(fid, None)
            finally:
                self._describing.difference_update(some)

    def _wait(self, failure: Any, fids: Sequence[int]) -> None:
        """The database does not take it: a while later again."""
        failure.trap(DatabaseFault)
        later = self._clock.seconds() + RETRY_SECONDS - DESCRIBE_SECONDS
        for fid in fids:
            if fid in self._blank:
                self._blank[fid] = (later, self._blank.pop(fid)[1])

    def _judge(self, lasted: int) -> None:
        """Whether drawing ahead is of use, from how many uploads lasted long."""
        self._lasted += lasted
        if self._opened < TRIAL_UPLOADS:
            return
        if self._lasted * TOLERATED_SHARE > self._opened:
            self._paused_until = self._clock.seconds() + self._pause
            self._pause = min(self._pause * 2, LONGEST_PAUSE_SECONDS)
        else:
            self._pause = PAUSE_SECONDS
        self._opened = self._lasted = 0
