"""`IScrubs` over the tables of a `MemoryStore`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import define, evolve, field
from zope.interface import implementer

from koboldfs.interfaces_scrub import IScrubs
from koboldfs.model.entities import Checked
from koboldfs.model.numbering import FORGOTTEN_SETTING, parse_ranges
from koboldfs.model.scrub import Counts, LostFile, Scrub, Strays


@implementer(IScrubs)
@define(eq=False)
class MemoryScrubs:
    """See `IScrubs`; `store` is a `MemoryStore`."""

    store: Any
    scrubs: dict[int, Scrub] = field(factory=dict)
    #: fid -> since.
    lost: dict[int, int] = field(factory=dict)
    #: The highest fid that was given out, if that is not the highest that is known.
    highest: int = 0

    async def all(self) -> tuple[list[Scrub], int]:
        """See `IScrubs`."""
        await self.store.enter("all_scrubs")
        return [self.scrubs[n] for n in sorted(self.scrubs)], self.store.now()

    async def know(self, devids: Sequence[int]) -> None:
        """See `IScrubs`."""
        await self.store.enter("know", tuple(devids))
        for devid in devids:
            self.scrubs.setdefault(devid, Scrub(devid, self.store.now()))

    async def ask(self, devids: Sequence[int]) -> None:
        """See `IScrubs`."""
        await self.know(devids)
        for devid in devids:
            self.scrubs[devid] = evolve(self.scrubs[devid], asked=True)

    async def begin(
        self, devid: int, owner: str, period_seconds: int, lease_seconds: int
    ) -> Scrub | None:
        """See `IScrubs`."""
        await self.store.enter("begin_scrub", devid)
        scrub, now = self.scrubs.get(devid), self.store.now()
        if scrub is None or not scrub.free_for(owner, now):
            return None
        if not scrub.running:
            if not scrub.due(now, period_seconds):
                return None
            last = max(self.store.tables.files, default=0)
            scrub = evolve(
                Scrub(devid, scrub.known, now, scrub.ended, end_fid=last), running=True
            )
        until = now + lease_seconds
        self.scrubs[devid] = evolve(scrub, owner=owner, leased_until=until)
        return self.scrubs[devid]

    async def keep(self, devids: Sequence[int], owner: str, lease_seconds: int) -> None:
        """See `IScrubs`."""
        await self.store.enter("keep_scrubs", tuple(devids))
        for devid in devids:
            if devid in self.scrubs and self.scrubs[devid].owner == owner:
                until = self.store.now() + lease_seconds
                self.scrubs[devid] = evolve(self.scrubs[devid], leased_until=until)

    def _still(self, scrub: Scrub) -> bool:
        now = self.scrubs.get(scrub.devid)
        return now is not None and evolve(
            now, leased_until=0, known=0, asked=False
        ) == evolve(scrub, leased_until=0, known=0, asked=False)

    async def advance(
        self, scrub: Scrub, position: int, folder: int, more: Counts, lease_seconds: int
    ) -> Scrub | None:
        """See `IScrubs`."""
        await self.store.enter("advance_scrub", scrub.devid, position, folder)
        if not self._still(scrub):
            return None
        new = scrub.moved_on(position, folder, more)
        asked = self.scrubs[scrub.devid].asked
        until = self.store.now() + lease_seconds
        self.scrubs[scrub.devid] = evolve(new, asked=asked, leased_until=until)
        return new

    async def finish(self, scrub: Scrub) -> bool:
        """See `IScrubs`."""
        await self.store.enter("finish_scrub", scrub.devid)
        if not self._still(scrub):
            return False
        for fid in set(self.lost) - set(self.store.tables.files):
            del self.lost[fid]
        self.scrubs[scrub.devid] = evolve(
            self.scrubs[scrub.devid],
            running=False,
            ended=self.store.now(),
            owner="",
            leased_until=0,
        )
        return True

    async def strays(self, devid: int, fids: Sequence[int]) -> Strays:
        """See `IScrubs`."""
        await self.store.enter("strays", devid, tuple(fids))
        tables = self.store.tables
        busy = {*tables.uploads, *tables.to_delete, *tables.to_replicate}
        busy |= {fid for _, fid in tables.tasks}
        known = {*busy, *tables.files, *(fid for fid, _ in tables.file_on)}
        found = [
            (fid, tables.located(fid, checksum=True))
            for fid in sorted(fids)
            if fid not in busy and (fid, devid) not in tables.file_on
        ]
        highest = max(self.highest, tables.last_fid, *known, 0)
        forgotten = parse_ranges(tables.settings.get(FORGOTTEN_SETTING))
        return Strays(tuple(found), highest, forgotten)

    async def record(
        self, findings: Sequence[Checked], repair_seconds: int
    ) -> frozenset[int]:
        """See `IScrubs`."""
        await self.store.enter("record", tuple(findings), repair_seconds)
        tables, done = self.store.tables, set()
        for one in findings:
            if one.fid not in tables.files:
                continue
            if set(one.seen) != set(tables.devids(one.fid)):
                continue
            self.store._change_copies([one.change] if one.change else [])
            self.store.log(one.events)
            if one.replicate:
                self.store.queue_again(one.fid, repair_seconds)
            done.add(one.fid)
        return frozenset(done)

    async def note_lost(self, fids: Sequence[int]) -> frozenset[int]:
        """See `IScrubs`."""
        await self.store.enter("note_lost", tuple(fids))
        live = {fid for fid in fids if fid in self.store.tables.files}
        new = live - set(self.lost)
        self.lost |= dict.fromkeys(new, self.store.now())
        return frozenset(new)

    async def lost_among(self, fids: Sequence[int]) -> frozenset[int]:
        """See `IScrubs`."""
        await self.store.enter("lost_among", tuple(fids))
        return frozenset(fids) & frozenset(self.lost)

    async def forget_lost(self, fids: Sequence[int]) -> None:
        """See `IScrubs`."""
        await self.store.enter("forget_lost", tuple(fids))
        for fid in fids:
            self.lost.pop(fid, None)

    async def lost_after(self, fid: int, limit: int) -> list[LostFile]:
        """See `IScrubs`."""
        await self.store.enter("lost_after", fid, limit)
        files = self.store.tables.files
        return [
            LostFile(files[one], self.lost[one])
            for one in sorted(self.lost)
            if one > fid and one in files
        ][:limit]
