"""The job `scrub`: every device's copies are read again, now and then, and compared.

A pass over a device is one tracker's at a time (`IScrubs.begin`), some devices at once.
It walks the fids that are recorded there, a page at a time; the node reads many copies
for one request. Then it walks the folders of the disk for files that no row knows.
Where it stands is in the database after each page: who goes on repeats a page at the
most. What is not as it should be, `koboldfs.jobs.mending` deals with.

The job takes half of the time that other jobs may take: a disk that is scrubbed has
other work to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from koboldfs.cluster.scrubbing import LEASE_SECONDS, Scrubbing
from koboldfs.errors import KoboldError, NodeFault
from koboldfs.interfaces import ILiveView, ITasks
from koboldfs.interfaces_scrub import IScrubNodes
from koboldfs.jobs.mending import Mending
from koboldfs.jobs.worker import IWorker, Status
from koboldfs.model.entities import OWN_HASHTYPE, Place
from koboldfs.model.scrub import Counts, Digest, Scrub

#: Devices that a tracker scrubs at once: each is another disk.
DEVICES_AT_ONCE = 4
#: Copies of one page.
PAGE_FILES = 512
#: How often a tracker looks for devices that are due (seconds).
LOOK_SECONDS = 1.0
#: A device may take longer for its page (a file of many gigabytes, a disk that hangs),
#: but the others do not wait for it longer than this (seconds).
ROUND_SECONDS = 60.0
#: A device whose node failed is left alone for so long (seconds).
REST_SECONDS = 30.0


@implementer(IWorker)
class ScrubWorker:
    """See the module. `owner` is a name that no other worker has."""

    log = Logger()
    name = "scrub"

    def __init__(
        self,
        scrubbing: Scrubbing,
        mending: Mending,
        nodes: IScrubNodes,
        tasks: ITasks,
        live: ILiveView,
        clock: Any,
        owner: str,
    ) -> None:
        self.status = Status()
        self._scrubbing = scrubbing
        self._scrubs = scrubbing.scrubs
        self._mending = mending
        self._nodes = nodes
        self._tasks = tasks
        self._live = live
        self._clock = clock
        self._owner = owner
        self._wanted = True
        self._stopping = False
        self._look_at = 0.0
        #: By device: passes that are ours, and until when others are left alone.
        self._held: dict[int, Scrub] = {}
        self._resting: dict[int, float] = {}
        #: Devices of which a page is being done; those of them that the step in hand
        #: waits for, and what they had to say against it.
        self._busy: set[int] = set()
        self._round: set[int] = set()
        self._waiting: Deferred[None] | None = None
        self._errors: list[KoboldError] = []

    def want(self, parallel: int) -> None:
        """See `IWorker`: 0 pauses, everything else lets it run."""
        self._wanted = parallel > 0

    async def keep(self) -> None:
        """See `IWorker`."""
        await self._scrubs.keep(sorted(self._held), self._owner, LEASE_SECONDS)

    async def stop(self) -> None:
        """See `IWorker`: what is under way is a page, which may be repeated."""
        self._stopping = True

    async def step(self) -> bool:
        """A page of each device that is in work here."""
        if not self._wanted or self._stopping:
            self._held.clear()
            return False
        await self._look()
        self._round = {devid for devid in self._held if devid not in self._busy}
        if not self._round:
            return False
        for devid in sorted(self._round):
            self._busy.add(devid)
            page = Deferred.fromCoroutine(self._one(self._held[devid]))
            page.addBoth(self._ended, devid)
        await self._end_of_round()
        self.status.under_way = len(self._held)
        errors, self._errors = self._errors, []
        for error in errors:
            raise error
        return bool(self._held)

    def _ended(self, outcome: KoboldError | Failure | None, devid: int) -> None:
        self._busy.discard(devid)
        self._round.discard(devid)
        if isinstance(outcome, Failure):
            self._held.pop(devid, None)
            self._resting[devid] = self._clock.seconds() + REST_SECONDS
            self.log.failure("the scrub of device {devid} failed", outcome, devid=devid)
        elif outcome is not None:
            self._errors.append(outcome)
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not self._round:
            waiting.callback(None)
        else:
            self._waiting = waiting

    async def _end_of_round(self) -> None:
        """Until every device has done its page, or the others need not wait longer."""
        if not self._round:
            return
        self._waiting = Deferred()
        try:
            await self._waiting.addTimeout(ROUND_SECONDS, self._clock)
        except TimeoutError:
            self._waiting = None

    async def _look(self) -> None:
        now = self._clock.seconds()
        room = DEVICES_AT_ONCE - len(self._held)
        if now < self._look_at or room < 1:
            return
        self._look_at = now + LOOK_SECONDS
        self._resting = {d: due for d, due in self._resting.items() if due > now}
        busy = {*self._held, *self._busy, *self._resting}
        for scrub in await self._scrubbing.take(self._owner, room, busy):
            self._held[scrub.devid] = scrub

    async def _one(self, scrub: Scrub) -> KoboldError | None:
        """A page of a device; what the database has to say against it."""
        devid = scrub.devid
        try:
            further = await self._page(scrub)
        except NodeFault as error:
            self.log.warn(
                "the scrub of device {devid} rests: {error}", devid=devid, error=error
            )
            self._resting[devid] = self._clock.seconds() + REST_SECONDS
            further = None
        except KoboldError as error:
            # Where it stands is read again: perhaps it was recorded.
            self._held.pop(devid, None)
            return error
        if further is None:
            self._held.pop(devid, None)
        elif devid in self._held:
            self._held[devid] = further
        return None

    async def _page(self, scrub: Scrub) -> Scrub | None:
        place = self._live.view.place(scrub.devid)
        if place is None or not self._live.view.readable(scrub.devid):
            raise NodeFault(f"dev{scrub.devid} cannot be read now")
        if scrub.folder < 0:
            return await self._rows(scrub, place)
        return await self._folder(scrub, place)

    # --- what is recorded

    async def _rows(self, scrub: Scrub, place: Place) -> Scrub | None:
        devid = scrub.devid
        page = await self._tasks.files_on(devid, scrub.position, PAGE_FILES)
        if not page:
            return await self._advance(scrub, 0, 0, Counts())
        known = [one for one in page if one.checksum is not None]
        digests = await self._digests(place, [one.file.fid for one in known])
        good = {one.file.fid for one in known if digests[one.file.fid] == one.checksum}
        size = sum(one.file.length for one in page)
        counts = Counts(files=len(page), size_bytes=size)
        suspects = [one for one in page if one.file.fid not in good]
        if suspects:
            sofar = scrub.counts.plus(counts)
            counts = counts.plus(await self._mending.examine(devid, suspects, sofar))
        await self._find_again(good)
        self.status.done += len(page)
        return await self._advance(scrub, page[-1].file.fid, -1, counts)

    async def _digests(self, place: Place, fids: Sequence[int]) -> dict[int, Digest]:
        found: dict[int, Digest] = {}
        left = list(fids)
        while left:
            some = await self._nodes.digests(place, left, OWN_HASHTYPE)
            if not some:
                raise NodeFault(f"dev{place.devid}: no digests")
            found.update(some)
            left = [fid for fid in left if fid not in some]
        return found

    async def _find_again(self, good: set[int]) -> None:
        """Files that were lost and have a good copy: somebody has put it back."""
        found = await self._scrubs.lost_among(sorted(good))
        if found:
            await self._scrubs.forget_lost(sorted(found))
            self.log.warn("files are not lost any more: {fids}", fids=sorted(found))

    # --- what is on the disk

    async def _folder(self, scrub: Scrub, place: Place) -> Scrub | None:
        devid = scrub.devid
        found = await self._nodes.list_fids(place, scrub.folder, scrub.position)
        if found is None:
            await self._finish(scrub)
            return None
        counts = Counts()
        if found.fids:
            strays = await self._scrubs.strays(devid, found.fids)
            if strays.found:
                counts = await self._mending.clear(devid, strays, scrub.counts)
        if found.more:
            return await self._advance(scrub, found.fids[-1], found.folder, counts)
        if found.following is not None:
            return await self._advance(scrub, 0, found.following, counts)
        if counts != Counts():
            further = await self._advance(scrub, 0, found.folder, counts)
            if further is None:
                return None
            scrub = further
        await self._finish(scrub)
        return None

    async def _advance(
        self, scrub: Scrub, position: int, folder: int, counts: Counts
    ) -> Scrub | None:
        return await self._scrubs.advance(
            scrub, position, folder, counts, LEASE_SECONDS
        )

    async def _finish(self, scrub: Scrub) -> None:
        """The end; nothing is left to be held."""
        if await self._scrubs.finish(scrub):
            self.log.info(
                "device {devid} was scrubbed: {counts}",
                devid=scrub.devid,
                counts=scrub.counts,
            )
