"""The census: a walk through all files that counts them, their bytes and their copies.

It takes a small share of the time, for ever: a pass, a rest as long as the pass, and so
on. Where it stands is a setting, so any tracker may go on, and two that try at once
cannot both: each changes the setting only from what it saw. What a pass came to is
another setting, which `cluster.overview` shows with the time that it is from.

It also keeps, in a setting, which file has been short of copies for the longest time.
"""

from __future__ import annotations

from typing import Any

from twisted.logger import Logger

from koboldfs.cluster.copies import Copies
from koboldfs.cluster.overview import (
    CENSUS_SETTING,
    OLDEST_SETTING,
    PASS_SETTING,
    Overview,
    oldest_of,
)
from koboldfs.interfaces import IFiles, ITopology
from koboldfs.interfaces_health import IHealth
from koboldfs.model.entities import Located
from koboldfs.model.health import Census, Seen

#: Files looked at between two looks at the reactor: some 2 ms, for which requests wait.
PAGE_FILES = 100
#: A unit takes so long (seconds), and begins once in a `UNIT_EVERY_SECONDS`: a tenth of
#: one connection to the database.
UNIT_SECONDS, UNIT_EVERY_SECONDS = 0.1, 1.0
#: Where a pass stands is written down so often (seconds).
SAVE_SECONDS = 5.0
#: A pass that nobody has taken further for so long is taken over (seconds).
STALLED_SECONDS = 30.0
#: The shortest rest between two passes (seconds); a longer pass rests as long as it
#: took.
REST_SECONDS = 10
#: How often it is looked which file is short for the longest time (seconds).
OLDEST_SECONDS = 15.0


class CensusTaker:
    """The unit of the job `census`."""

    log = Logger()

    def __init__(
        self,
        topology: ITopology,
        files: IFiles,
        health: IHealth,
        copies: Copies,
        overview: Overview,
        clock: Any,
    ) -> None:
        self._topology = topology
        self._files = files
        self._health = health
        self._copies = copies
        self._overview = overview
        self._clock = clock
        #: Our pass, the text of it that is in the setting, and when it was written.
        self._pass: Census | None = None
        self._written: str | None = None
        self._written_at = 0.0
        #: Another one's pass, and since when it has been the same.
        self._theirs: tuple[str, float] | None = None
        #: How many copies the files of a class want, by dmid and classid.
        self._wanted: dict[tuple[int, int], int] = {}
        self._due = 0.0
        self._oldest_due = 0.0

    async def __call__(self) -> bool:
        """A tenth of a second of it, if it is time; never `more` at once."""
        now = self._clock.seconds()
        if now >= self._oldest_due:
            self._oldest_due = now + OLDEST_SECONDS
            await self._keep_oldest()
        if now < self._due:
            return False
        if self._pass is None and not await self._begin():
            return False
        await self._walk()
        return False

    # --- passes

    async def _begin(self) -> bool:
        """Take a pass over, or begin one; False if there is nothing to do now."""
        now = self._clock.seconds()
        text = await self._topology.setting(PASS_SETTING)
        theirs = Census.of(text)
        if text is not None and theirs is not None:
            if self._theirs is None or self._theirs[0] != text:
                self._theirs = text, now
            if now - self._theirs[1] < STALLED_SECONDS:
                return False
            self._pass, self._written, self._written_at = theirs, text, now
            return True
        unix = await self._health.unix_time()
        last = Census.of(await self._topology.setting(CENSUS_SETTING))
        if last is not None:
            rest = max(REST_SECONDS, last.ended - last.began)
            if last.ended <= unix < last.ended + rest:
                self._due = now + min(rest, REST_SECONDS) / 4
                return False
        return await self._save(Census(unix), text)

    async def _save(self, walk: Census, expected: str | None) -> bool:
        text = walk.text()
        if await self._change({PASS_SETTING: expected}, {PASS_SETTING: text}):
            self._pass, self._written = walk, text
            self._written_at = self._clock.seconds()
            return True
        self._drop()
        return False

    async def _change(
        self, expected: dict[str, str | None], values: dict[str, str | None]
    ) -> bool:
        return await self._topology.change_settings(expected, values, False)

    def _drop(self) -> None:
        """Somebody else has taken the pass over."""
        self._pass = self._written = self._theirs = None

    async def _walk(self) -> None:
        self._wanted.clear()
        began = self._clock.seconds()
        while self._pass is not None:
            page = await self._files.list_files(self._pass.fid, PAGE_FILES)
            self._pass = self._pass.with_files(map(self._seen, page))
            now = self._clock.seconds()
            if len(page) < PAGE_FILES:
                await self._finish(self._pass)
            elif now - self._written_at >= SAVE_SECONDS:
                await self._save(self._pass, self._written)
            if now - began >= UNIT_SECONDS:
                break

    async def _finish(self, walk: Census) -> None:
        done = walk.finished(await self._health.unix_time())
        expected = {PASS_SETTING: self._written}
        await self._change(expected, {PASS_SETTING: None, CENSUS_SETTING: done.text()})
        self._drop()

    def _seen(self, located: Located) -> Seen:
        file, view = located.file, self._copies.live.view
        there = list(filter(view.counts, located.devids))
        kind = file.dmid, file.classid
        if kind not in self._wanted:
            self._wanted[kind] = self._copies.wanted(*kind, ())
        return Seen(
            file.fid,
            file.length,
            len(there),
            self._wanted[kind],
            any(map(view.readable, there)),
        )

    # --- the oldest

    async def _keep_oldest(self) -> None:
        text = await self._topology.setting(OLDEST_SETTING)
        fid, _ = oldest_of(text)
        if fid:
            located = await self._files.find_fid(fid)
            if located is not None and self._overview.is_short(located):
                return
        lowest = (await self._overview.shortages()).lowest_fid
        new = None
        if lowest is not None:
            new = f"{lowest} {await self._health.unix_time()}"
        if new != text:
            await self._change({OLDEST_SETTING: text}, {OLDEST_SETTING: new})
