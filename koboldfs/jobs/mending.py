"""What a scrub does about copies that are not as they should be.

A copy whose first reading differs is read again, with all others of its file, by the
rules of fsck (`FsckWorker.inspect`). What comes then, in this order:

    some copy is good     the bad ones go into quarantine, then their rows go, the file
                          is copied from a good one, and what was copied is read back
    none is               all go into quarantine; rows and key stay, the file is noted
                          as lost. Beyond `MOST_LOST_MOVED` in a pass it is only noted:
                          then it is rather the checksums that are wrong
    some cannot be asked  the one that was found goes into quarantine; fsck looks at the
                          file until it can be mended

A row that stands while its bytes are moved keeps others from copying to that device
just then. The node itself reads a file once more before it moves it (`unless`), and
nothing is moved that reads well then: a fault of the memory or of the way is no bad
copy.

A file that no row knows is old when it is taken for an orphan: nobody is still at work
on it. One whose number the database never gave out, or has forgotten, is left alone:
that is an old state of the database, and the file may be all that is left of what came
after it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Sequence
from typing import TypeVar

from attrs import evolve
from twisted.internet.defer import (
    Deferred,
    FirstError,
    gatherResults,
)
from twisted.logger import Logger

from koboldfs.cluster.checks import Checks
from koboldfs.cluster.copies import Copies
from koboldfs.errors import NodeFault
from koboldfs.interfaces import IFiles, ITasks
from koboldfs.interfaces_scrub import IScrubNodes, IScrubs
from koboldfs.jobs.fsck import FsckWorker
from koboldfs.model import fsck as rules
from koboldfs.model.entities import (
    FSCK_TASK,
    Checked,
    Checksum,
    CopyChange,
    FsckEvent,
    Located,
)
from koboldfs.model.policy import COPY
from koboldfs.model.scrub import (
    BAD_COPY,
    FULL,
    GOOD,
    MISSING,
    MOVED,
    ORPHAN,
    Counts,
    Strays,
    beyond_belief,
)
from koboldfs.slots import Slots

_T = TypeVar("_T")

#: Files without a good copy whose copies are moved away in one pass over a device.
MOST_LOST_MOVED = 100
#: The replication looks after a file if we have not mended it by then (seconds).
REPAIR_SECONDS = 60
#: An orphan is at least this old (seconds): an upload may take an hour until it is
#: taken for abandoned, its removal some hours more if a node is away, and machines'
#: clocks are not all right.
ORPHAN_SECONDS = 6 * 3600
#: Files that are looked at, or mended, at once.
INSPECTED_AT_ONCE, MENDED_AT_ONCE = 32, 8
#: So many of the files that were found lost are named in one line of the log; all are
#: in the log of fsck, and in ``koboldfs scrub lost``.
MOST_LOST_NAMED = 5
#: These alone say nothing about bytes.
_HARMLESS = {rules.POVI, rules.BCNT, rules.REPL, rules.NSUM}


class OwnChecksums(Checks):
    """As a run of fsck that reads all copies, for its inspections."""

    def own_checksums(self) -> bool:
        """Always."""
        return True


class Mending:
    """See the module. What is done is counted; `sofar` is what the pass had before."""

    log = Logger()

    def __init__(
        self,
        inspector: FsckWorker,
        scrubs: IScrubs,
        files: IFiles,
        tasks: ITasks,
        copies: Copies,
        nodes: IScrubNodes,
    ) -> None:
        self._inspector = inspector
        self._scrubs = scrubs
        self._files = files
        self._tasks = tasks
        self._copies = copies
        self._nodes = nodes
        #: What was found lost and not logged yet, a few words each.
        self._lost: list[str] = []

    async def examine(
        self, devid: int, suspects: Sequence[Located], sofar: Counts
    ) -> Counts:
        """Look at all copies of files whose copy on the device is not known to be
        good, and do what is to be done."""
        done = Counts()
        try:
            for start in range(0, len(suspects), INSPECTED_AT_ONCE):
                some = suspects[start : start + INSPECTED_AT_ONCE]
                here = [one for one in await self._anew(some) if devid in one.devids]
                checks = await self._inspector.inspect(here)
                pairs = list(zip(here, checks, strict=True))
                await self._record_sound(pairs)
                done = done.plus(await self._judge_all(devid, pairs, sofar.plus(done)))
        finally:
            self._tell_lost()
        return done

    def _tell_lost(self) -> None:
        """One line for all of a page: there may be very many."""
        lost, self._lost = self._lost, []
        if lost:
            more = len(lost) - MOST_LOST_NAMED
            self.log.critical(
                "{count} files are LOST, none of their copies is good: {files}{more}",
                count=len(lost),
                files="; ".join(lost[:MOST_LOST_NAMED]),
                more=f"; and {more} more" if more > 0 else "",
            )

    async def _judge_all(
        self, devid: int, pairs: Sequence[tuple[Located, Checked]], sofar: Counts
    ) -> Counts:
        limit = Slots(MENDED_AT_ONCE)

        async def one(located: Located, checked: Checked) -> Counts:
            async with limit:
                return await self._judge(devid, located, checked, sofar)

        done = Counts()
        for more in await _all(one(*pair) for pair in pairs):
            done = done.plus(more)
        return done

    async def _anew(self, files: Sequence[Located]) -> list[Located]:
        """As they are recorded by now; without those that are gone."""
        found = await _all(self._files.find_fid(one.file.fid) for one in files)
        return [one for one in found if one is not None]

    async def _record_sound(self, pairs: Sequence[tuple[Located, Checked]]) -> None:
        """Checksums of files that had none, and whose copies agree."""
        sound = [
            evolve(checked, events=())
            for _, checked in pairs
            if checked.change is not None and _is_sound(checked)
        ]
        if sound:
            await self._scrubs.record(sound, REPAIR_SECONDS)

    async def _judge(
        self, devid: int, located: Located, checked: Checked, sofar: Counts
    ) -> Counts:
        if _is_lost(checked):
            return await self._lose(located, checked, sofar)
        if checked.retry_seconds is not None:
            return await self._put_off(devid, located, sofar)
        if _is_sound(checked):
            if located.checksum is not None:
                self.log.warn(
                    "fid {fid}: its copy on device {devid} was read wrongly once, and"
                    " well the second time",
                    fid=located.file.fid,
                    devid=devid,
                )
            return Counts()
        return await self._replace(located, checked)

    # --- some copy is good

    async def _replace(self, located: Located, checked: Checked) -> Counts:
        removed = checked.change.removed if checked.change else ()
        bad = [
            event.devid
            for event in checked.events
            if event.code in (rules.BSUM, rules.BLEN) and event.devid in removed
        ]
        missing = sum(event.code == rules.MISS for event in checked.events)
        for devid in bad:
            word = await self._set_aside(devid, located)
            if word == GOOD:
                return Counts()  # nothing that was found can be relied on
        differs = any(event.code == rules.MSUM for event in checked.events)
        counts = Counts(bad=len(bad) + differs, missing=missing)
        fid = located.file.fid
        self.log.error(
            "fid {fid}: bad or missing copies, good ones are elsewhere: {events}",
            fid=fid,
            events=_words(checked.events),
        )
        if fid not in await self._scrubs.record([checked], REPAIR_SECONDS):
            # Others changed its copies meanwhile: what is missing now is found later.
            await self._tasks.queue_tasks(FSCK_TASK, [(fid, None, None)])
            return counts
        await self._scrubs.forget_lost([fid])
        if checked.replicate:
            counts = counts.plus(Counts(mended=await self._mend(fid)))
        return counts

    async def _set_aside(
        self, devid: int, located: Located, *, beyond: bool = False
    ) -> str:
        """A word of `model.scrub`; empty if the node could not do it. `beyond`: its row
        stays, so that it would be served where it is."""
        known = await self._copies.known_checksum(located)
        fid = located.file.fid
        return await self._move(devid, fid, BAD_COPY, known, beyond=beyond)

    async def _move(
        self,
        devid: int,
        fid: int,
        reason: str,
        unless: Checksum | None,
        older: int = 0,
        beyond: bool = False,
    ) -> str:
        place = self._copies.live.view.place(devid)
        if place is None:
            return ""
        try:
            word = await self._nodes.set_aside(
                place,
                fid,
                reason,
                unless=unless,
                older_seconds=older,
                beyond=beyond,
            )
        except NodeFault as error:
            self.log.warn(
                "fid {fid}: not put into quarantine on device {devid}: {error}",
                fid=fid,
                devid=devid,
                error=error,
            )
            return ""
        if word == MOVED:
            self.log.warn(
                "fid {fid} on device {devid} is in quarantine: {reason}",
                fid=fid,
                devid=devid,
                reason=reason,
            )
        elif word == FULL:
            self.log.error(
                "fid {fid} stays where it is: the quarantine of device {devid} is full",
                fid=fid,
                devid=devid,
            )
        return word

    async def _mend(self, fid: int) -> int:
        """Make the copies that the file wants, and read them back; how many were as
        they should be. The rest is left to the replication."""
        located = await self._files.find_fid(fid)
        if located is None:
            return 0
        file, copies = located.file, self._copies
        verdict = copies.judge(file.dmid, file.classid, located.devids, file.length)
        if verdict.word != COPY:
            return 0
        done = await copies.spread(located, verdict.devids)
        added = [one for one in done.devids if one not in located.devids]
        good = [one for one in added if await self._reads_as(one, fid, done.checksum)]
        if not good:
            return 0
        own = None
        if located.checksum is None:
            own = await copies.agreed_checksum(located, done)
        await self._tasks.change_copies([CopyChange(fid, tuple(good), (), own)])
        return len(good)

    async def _reads_as(self, devid: int, fid: int, wanted: Checksum | None) -> bool:
        """Whether a copy, read from its disk now, has that checksum."""
        try:
            return wanted is not None and await self._copies.reads_as(
                devid, fid, wanted
            )
        except NodeFault:
            return False

    # --- none is, or nobody knows

    async def _lose(self, located: Located, checked: Checked, sofar: Counts) -> Counts:
        file, moved = located.file, 0
        known, many = located.checksum is not None, sofar.lost >= MOST_LOST_MOVED
        if known and not many and not await self._is_contradicted(located):
            for devid in sorted(located.devids):
                word = await self._set_aside(devid, located, beyond=True)
                if word == GOOD:
                    return Counts()
                moved += word == MOVED
        if moved:
            # Now that none is where it should be, all devices are searched.
            (again,) = await self._inspector.inspect([located])
            if again.retry_seconds is None and not _is_lost(again):
                return _moved(moved, await self._replace(located, again))
        if await self._scrubs.note_lost([file.fid]):
            self._lost.append(f"fid {file.fid} ({_words(checked.events)})")
            # Rows stay: they say where the copies were, and what may be put back.
            told = evolve(checked, change=None, replicate=False, retry_seconds=None)
            await self._scrubs.record([told], REPAIR_SECONDS)
        return Counts(bad=moved, lost=1)

    async def _is_contradicted(self, located: Located) -> bool:
        """Whether a copy that has not our checksum has that of the class: then it is
        ours that is wrong."""
        fid = located.file.fid
        of_class = (await self._tasks.class_checksums([fid])).get(fid)
        for devid in located.devids:
            if await self._reads_as(devid, fid, of_class):
                self.log.critical(
                    "fid {fid}: its copy on device {devid} has the checksum of its"
                    " class, but not ours: one of them is wrong",
                    fid=fid,
                    devid=devid,
                )
                return True
        return False

    async def _put_off(self, devid: int, located: Located, sofar: Counts) -> Counts:
        """Some of the others cannot be asked."""
        fid = located.file.fid
        if located.checksum is None:
            return Counts()
        word = ""
        if sofar.bad < MOST_LOST_MOVED:
            word = await self._set_aside(devid, located, beyond=True)
        if word == GOOD:
            return Counts()
        if word in (MOVED, MISSING):
            # One that could not be read is one that is missing now; and others may have
            # been moved away just as they were to be read, from another device's pass.
            (checked,) = await self._inspector.inspect([located])
            if checked.retry_seconds is None:
                found = await self._judge(devid, located, checked, sofar)
                return _moved(int(word == MOVED), found)
        await self._tasks.queue_tasks(FSCK_TASK, [(fid, None, None)])
        return Counts(bad=int(word != MISSING), missing=int(word == MISSING))

    # --- files that no row knows

    async def clear(self, devid: int, strays: Strays, sofar: Counts) -> Counts:
        """Deal with files on a device's disk that no row knows there."""
        left = strays.left_alone()
        if left:
            self.log.critical(
                "device {devid} has files whose numbers the database does not know to"
                " have given out (fid {first} and {more} more up to {last}): it is an"
                " old state of the database. They are left alone.",
                devid=devid,
                first=left[0],
                more=len(left) - 1,
                last=left[-1],
            )
        done = Counts(orphans=len(left))
        for fid, _ in strays.found:
            if fid not in left:
                done = done.plus(await self._clear(devid, fid, sofar.plus(done)))
        return done

    async def _clear(self, devid: int, fid: int, sofar: Counts) -> Counts:
        # As it stands by now: somebody may have begun to work on it.
        strays = await self._scrubs.strays(devid, [fid])
        if not strays.found:
            return Counts()
        located = strays.found[0][1]
        if located is not None and await self._is_wanted(devid, located):
            await self._adopt(devid, fid)
            return Counts(orphans=1)
        if beyond_belief(sofar.orphans + 1, sofar.sound):
            if not beyond_belief(sofar.orphans, sofar.sound):
                self.log.error(
                    "so many files on device {devid} are known to no row that the rows"
                    " seem to be wrong: fid {fid} and all after it are left alone",
                    fid=fid,
                    devid=devid,
                )
            return Counts(orphans=1)
        if located is not None and not await self._is_spare(devid, located):
            return Counts(orphans=1)
        word = await self._move(devid, fid, ORPHAN, None, ORPHAN_SECONDS)
        if located is not None and word in (MOVED, ""):
            # It lay in the node's queue meanwhile: was it recorded in that time?
            await self._tasks.queue_tasks(FSCK_TASK, [(fid, None, None)])
        return Counts(orphans=int(word == MOVED))

    async def _adopt(self, devid: int, fid: int) -> None:
        await self._tasks.change_copies([CopyChange(fid, (devid,))])
        await self._scrubs.forget_lost([fid])
        self.log.warn(
            "fid {fid}: a good copy on device {devid} was not recorded, and is now",
            fid=fid,
            devid=devid,
        )

    async def _is_spare(self, devid: int, located: Located) -> bool:
        """Whether a live file can do without this copy: all that are recorded are
        there, and read well. One that is good is recorded if they do not."""
        if located.checksum is None:
            return False  # nobody can tell what it is worth
        (checked,) = await self._inspector.inspect([located])
        if _is_sound(checked):
            return True
        fid = located.file.fid
        if await self._reads_as(devid, fid, located.checksum):
            await self._adopt(devid, fid)
        await self._tasks.queue_tasks(FSCK_TASK, [(fid, None, None)])
        return False

    async def _is_wanted(self, devid: int, located: Located) -> bool:
        """Whether a live file has too few copies, and this is a good one."""
        file = located.file
        verdict = self._copies.judge(
            file.dmid, file.classid, located.devids, file.length
        )
        if located.checksum is None or verdict.word != COPY:
            return False
        return await self._reads_as(devid, file.fid, located.checksum)


async def _all(works: Iterable[Awaitable[_T]]) -> list[_T]:
    """What comes of all of them, done at the same time; raises the first error at
    once; what is under way then goes on."""

    async def wait(work: Awaitable[_T]) -> _T:
        return await work

    waiting = [Deferred.fromCoroutine(wait(work)) for work in works]
    found: list[_T] = []
    try:
        found = await gatherResults(waiting, consumeErrors=True)
    except FirstError as error:
        error.subFailure.raiseException()
    return found


def _is_lost(checked: Checked) -> bool:
    """Whether no copy is good, and all could be asked."""
    return checked.retry_seconds is None and any(
        event.code == rules.GONE or (event.code == rules.BSUM and event.devid is None)
        for event in checked.events
    )


def _is_sound(checked: Checked) -> bool:
    return checked.retry_seconds is None and all(
        event.code in _HARMLESS for event in checked.events
    )


def _moved(count: int, found: Counts) -> Counts:
    """What was found after so many bad copies had been moved away: they are not missing
    copies, which they then looked like."""
    missing = max(0, found.missing - count)
    return evolve(found, bad=found.bad + count, missing=missing)


def _words(events: Sequence[FsckEvent]) -> str:
    """Codes with their devices, for people."""
    return ", ".join(
        event.code if event.devid is None else f"{event.code} dev{event.devid}"
        for event in events
    )
