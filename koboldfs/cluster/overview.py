"""How safe the files of the cluster are, now, at a cost that does not grow with them.

Counted now: files short of copies (by class, along an index, up to `COUNTED_FILES` in
each), copies on devices that cannot be read, and of the files there a few thousand by
looking at each. The index knows of recorded copies; those on lost devices do not count
(`View.counts`), which is found by looking. What the census counted is shown as of its
time.

The times of things are those of the database's clock. How long a device has been away
is known since this process saw it go.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Any

from attrs import define, frozen
from twisted.internet.defer import Deferred

from koboldfs.cluster.copies import Copies
from koboldfs.interfaces import IFiles, IQueues, ITasks, ITopology
from koboldfs.interfaces_health import IHealth
from koboldfs.model.entities import Located
from koboldfs.model.health import Census, Shortages
from koboldfs.model.view import View

#: Files of one class, and copies of one device, are counted up to here.
COUNTED_FILES = 100_000
#: Of the files on devices that are away so many are looked at, in pages.
LOOKED_AT_FILES, PAGE_FILES = 5_000, 1_000
#: Looking takes no longer than this (seconds); what was not asked is said to be so.
LOOKING_SECONDS = 3.0
#: Who asks again so soon is told the same (seconds).
REMEMBERED_SECONDS = 1.0

CENSUS_SETTING = "kobold_census"
PASS_SETTING = "kobold_census_pass"
OLDEST_SETTING = "kobold_oldest_short"


@frozen
class Away:
    """A device that cannot be read: `copies` recorded there (counted up to a limit),
    since when it is so as far as this process knows (Unix seconds), and whether it
    counts as `lost`."""

    devid: int
    copies: int
    since: int
    lost: bool


@frozen
class Oldest:
    """The file of the lowest fid that is short, with so many `copies` that count;
    `since` when it was first found so in the background (Unix seconds, 0: not yet)."""

    located: Located
    copies: int
    wanted: int
    since: int


@define
class Standing:
    """All of it. `unreadable` files of the `looked_at` ones on devices that are away
    have no copy that can be read now; `looked_at_all`: there are no others.
    `draining`: devices in state drain, with how many copies each has left."""

    now: int
    shortages: Shortages
    oldest: Oldest | None
    away: list[Away]
    unreadable: int
    looked_at: int
    looked_at_all: bool
    draining: Mapping[int, int]
    queues: Mapping[str, int]
    census: Census | None
    walk: Census | None
    highest_fid: int


class Overview:
    """See the module."""

    def __init__(
        self,
        health: IHealth,
        files: IFiles,
        tasks: ITasks,
        queues: IQueues,
        topology: ITopology,
        copies: Copies,
        clock: Any,
    ) -> None:
        self._health = health
        self._files = files
        self._tasks = tasks
        self._queues = queues
        self._topology = topology
        self._copies = copies
        self._clock = clock
        #: Of each device that cannot be read, when that was seen first (clock).
        self._gone: dict[int, float] = {}
        self._last: tuple[float, Standing] | None = None
        #: Who wants to know what is being looked at; None: nobody looks.
        self._waiting: list[Deferred[None]] | None = None

    # --- which devices are away

    def notice(self, before: View, after: View) -> None:
        """An observer of the picture."""
        now = self._clock.seconds()
        away = {d for d in after.devices if _is_away(after, d)}
        self._gone = {devid: self._gone.get(devid, now) for devid in away}

    def away_seconds(self, devid: int) -> float:
        """For how long a device has not been readable, as far as we know."""
        now = self._clock.seconds()
        return float(now - self._gone.get(devid, now))

    # --- looking

    async def standing(self) -> Standing:
        """All of it; raises `DatabaseFault`. Those who ask at once share one look."""
        while self._waiting is not None:
            waiter: Deferred[None] = Deferred()
            self._waiting.append(waiter)
            await waiter
        now = self._clock.seconds()
        if self._last is not None and now - self._last[0] < REMEMBERED_SECONDS:
            return self._last[1]
        waiting = self._waiting = []
        try:
            found = await self._look()
            self._last = self._clock.seconds(), found
        finally:
            self._waiting = None
            for waiter in waiting:
                waiter.callback(None)
        return found

    async def _look(self) -> Standing:
        unix = await self._health.unix_time()
        shortages = await self._recorded()
        away = [await self._away(devid, unix) for devid in sorted(self._gone)]
        devids = [one.devid for one in away]
        unreadable, looked, whole = await self._look_at(
            devids, shortages, LOOKED_AT_FILES
        )
        return Standing(
            unix,
            shortages,
            await self._oldest(shortages),
            away,
            unreadable,
            looked,
            whole,
            await self._draining(),
            await self._queues.lengths(),
            Census.of(await self._topology.setting(CENSUS_SETTING)),
            Census.of(await self._topology.setting(PASS_SETTING)),
            await self._tasks.highest_fid(),
        )

    def unix_time(self) -> Awaitable[int]:
        """The database's clock in Unix seconds."""
        return self._health.unix_time()

    async def shortages(self) -> Shortages:
        """Files with fewer copies that count than their classes want; of those on lost
        devices one page is looked at."""
        found = await self._recorded()
        lost = [devid for devid in self._gone if devid in self._copies.live.view.lost]
        await self._look_at(lost, found, PAGE_FILES)
        return found

    async def _recorded(self) -> Shortages:
        """Files with fewer recorded copies than their classes want."""
        view, found = self._copies.live.view, Shortages()
        deadline = self._clock.seconds() + LOOKING_SECONDS
        for domain in view.domains.values():
            for one in view.classes_of(domain.dmid):
                if self._clock.seconds() > deadline:
                    found.partial = True
                    return found
                wanted = self._copies.wanted(domain.dmid, one.classid, ())
                found.add(
                    await self._health.shortages(
                        domain.dmid, one.classid, wanted, COUNTED_FILES
                    ),
                    COUNTED_FILES,
                )
        return found

    async def _oldest(self, shortages: Shortages) -> Oldest | None:
        if shortages.lowest_fid is None:
            return None
        fid, since = oldest_of(await self._topology.setting(OLDEST_SETTING))
        located = await self._files.find_fid(fid or shortages.lowest_fid)
        if located is None or not self.is_short(located):
            since = 0
            located = await self._files.find_fid(shortages.lowest_fid)
        if located is None:
            return None
        return Oldest(located, *self._copies.counted(located), since)

    def is_short(self, located: Located) -> bool:
        """Whether a file has fewer copies that count than its policy wants."""
        counting, wanted = self._copies.counted(located)
        return counting < wanted

    async def _draining(self) -> dict[int, int]:
        devices = self._copies.live.view.devices
        return {
            devid: await self._health.copies_on(devid, COUNTED_FILES)
            for devid in sorted(devices)
            if devices[devid].status == "drain"
        }

    async def _away(self, devid: int, unix: int) -> Away:
        copies = await self._health.copies_on(devid, COUNTED_FILES)
        lost = devid in self._copies.live.view.lost
        return Away(devid, copies, unix - round(self.away_seconds(devid)), lost)

    async def _look_at(
        self, devids: list[int], shortages: Shortages, most: int
    ) -> tuple[int, int, bool]:
        """Of the files on these devices: how many cannot be read, of how many that
        were looked at (about `most`), and whether these are all. Those on lost devices
        are looked at first, and `shortages` corrected by what is found there."""
        view, seen, unreadable = self._copies.live.view, set[int](), 0
        deadline = self._clock.seconds() + LOOKING_SECONDS
        for devid in sorted(devids, key=lambda one: (one not in view.lost, one)):
            after, lost = 0, devid in view.lost
            while True:
                if len(seen) >= most or self._clock.seconds() > deadline:
                    shortages.partial = shortages.partial or lost
                    return unreadable, len(seen), False
                page = await self._tasks.files_on(devid, after, PAGE_FILES)
                for one in page:
                    if one.file.fid in seen:
                        continue
                    seen.add(one.file.fid)
                    unreadable += not any(map(view.readable, one.devids))
                    if lost:
                        recorded, counted = len(one.devids), self._copies.counted(one)
                        shortages.correct(one.file.fid, recorded, *counted)
                if len(page) < PAGE_FILES:
                    break
                after = page[-1].file.fid
        return unreadable, len(seen), True


def _is_away(view: View, devid: int) -> bool:
    """Whether its files count as there, and cannot be read."""
    return not view.is_dead(devid) and not view.readable(devid)


def oldest_of(text: str | None) -> tuple[int, int]:
    """Fid and Unix time of the setting; zeros if it is none."""
    fid, _, since = (text or "").partition(" ")
    if not (fid.isdecimal() and since.isdecimal() and len(fid + since) < 40):
        return 0, 0
    return int(fid), int(since)
