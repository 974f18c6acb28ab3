"""Where the scrubs of devices stand, and what they find: the provider of `IScrubs`."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from koboldfs.interfaces_scrub import IScrubs
from koboldfs.model.entities import Checked
from koboldfs.model.fid import MAX_FID
from koboldfs.model.scrub import Counts, LostFile, Scrub, Strays
from koboldfs.store import transactions_scrubs as work
from koboldfs.store.database import Database
from koboldfs.store.queues import MAX_ROWS, MAX_TAKEN
from koboldfs.store.transactions_tasks import record_findings

#: Pages of `MAX_ROWS` of files noted as lost that the end of a pass looks through.
MAX_CLEANINGS = 1000


@implementer(IScrubs)
class Scrubs:
    """Every method is one transaction, or several where there are very many rows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> Awaitable[tuple[list[Scrub], int]]:
        """See `IScrubs.all`."""
        return self._database.read("all_scrubs", work.all_scrubs)

    def know(self, devids: Sequence[int]) -> Awaitable[None]:
        """See `IScrubs.know`."""
        return self._database.write("know_devices", work.know_devices, sorted(devids))

    def ask(self, devids: Sequence[int]) -> Awaitable[None]:
        """See `IScrubs.ask`."""
        return self._database.write("ask_scrubs", work.ask_scrubs, sorted(devids))

    def begin(
        self, devid: int, owner: str, period_seconds: int, lease_seconds: int
    ) -> Awaitable[Scrub | None]:
        """See `IScrubs.begin`. To do it twice is to lease it twice."""
        values = (devid, owner, period_seconds, max(0, lease_seconds))
        return self._database.write("begin_scrub", work.begin_scrub, *values)

    def keep(
        self, devids: Sequence[int], owner: str, lease_seconds: int
    ) -> Awaitable[None]:
        """See `IScrubs.keep`."""
        if not devids:
            return succeed(None)
        values = (devids, owner, max(0, lease_seconds))
        return self._database.write("keep_scrubs", work.keep_scrubs, *values)

    def advance(
        self, scrub: Scrub, position: int, folder: int, more: Counts, lease_seconds: int
    ) -> Awaitable[Scrub | None]:
        """See `IScrubs.advance`."""
        new = scrub.moved_on(position, folder, more)
        steps, lease = work.advance_scrub, max(0, lease_seconds)
        return self._database.write_once("advance_scrub", steps, scrub, new, lease)

    def finish(self, scrub: Scrub) -> Awaitable[bool]:
        """See `IScrubs.finish`."""
        return Deferred.fromCoroutine(self._finish(scrub))

    async def _finish(self, scrub: Scrub) -> bool:
        position = 0
        for _ in range(MAX_CLEANINGS):
            position = await self._database.write(
                "clean_lost", work.clean_lost, position, MAX_ROWS
            )
            if not position:
                break
        return await self._database.write_once("finish_scrub", work.finish_scrub, scrub)

    def strays(self, devid: int, fids: Sequence[int]) -> Awaitable[Strays]:
        """See `IScrubs.strays`."""
        return self._database.snapshot("strays", work.strays, devid, sorted(fids))

    def record(
        self, findings: Sequence[Checked], repair_seconds: int
    ) -> Awaitable[frozenset[int]]:
        """See `IScrubs.record`."""
        return Deferred.fromCoroutine(self._record(findings, max(0, repair_seconds)))

    async def _record(
        self, findings: Sequence[Checked], repair_seconds: int
    ) -> frozenset[int]:
        done: set[int] = set()
        for start in range(0, len(findings), MAX_ROWS):
            some = findings[start : start + MAX_ROWS]
            done |= set(
                await self._database.write_once(
                    "record_findings", record_findings, repair_seconds, some
                )
            )
        return frozenset(done)

    def note_lost(self, fids: Sequence[int]) -> Awaitable[frozenset[int]]:
        """See `IScrubs.note_lost`."""
        return Deferred.fromCoroutine(self._note_lost(sorted(set(fids))))

    async def _note_lost(self, fids: Sequence[int]) -> frozenset[int]:
        new: set[int] = set()
        for start in range(0, len(fids), MAX_ROWS):
            some = fids[start : start + MAX_ROWS]
            noted = await self._database.write("note_lost", work.note_lost, some)
            new |= set(noted)
        return frozenset(new)

    def lost_among(self, fids: Sequence[int]) -> Awaitable[frozenset[int]]:
        """See `IScrubs.lost_among`."""
        return Deferred.fromCoroutine(self._lost_among(fids))

    async def _lost_among(self, fids: Sequence[int]) -> frozenset[int]:
        if not fids:
            return frozenset()
        found = await self._database.read("lost_among", work.lost_among, fids)
        return frozenset(found)

    def forget_lost(self, fids: Sequence[int]) -> Awaitable[None]:
        """See `IScrubs.forget_lost`."""
        if not fids:
            return succeed(None)
        return self._database.write("forget_lost", work.forget_lost, fids)

    def lost_after(self, fid: int, limit: int) -> Awaitable[list[LostFile]]:
        """See `IScrubs.lost_after`."""
        if limit < 1:
            return succeed([])
        after, count = max(0, min(fid, MAX_FID)), min(limit, MAX_TAKEN)
        return self._database.read("lost_after", work.lost_after, after, count)
