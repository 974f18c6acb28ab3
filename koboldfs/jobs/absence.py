"""Devices that are away too long: told by the job `monitor`, acted upon by `reap`.

What counts as away, and who may judge, is in `model.absence`. Nothing that is recorded
is forgotten while a device is lost: its copies only count as none, so replication makes
others. When it is back they count again, and where that makes one too many, one is
taken away as ever: after the others were looked at. A copy whose file has no other is
never touched, whatever happened in between.
"""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.logger import Logger

from koboldfs.cluster.copies import Copies
from koboldfs.interfaces import ILiveView, IQueues, ITasks, ITopology
from koboldfs.model import absence as rules
from koboldfs.model.absence import AWAY_SETTING, WALK_SETTING, Standing, Walk
from koboldfs.model.entities import Located
from koboldfs.model.policy import COPY, SATISFIED, WAIT
from koboldfs.model.view import LATE_SETTING, LOST_SETTING, View

#: How often what is missing is counted (seconds), and how many times at least before
#: something counts as lost.
COUNT_SECONDS = 15.0
COUNTS = 4
#: A tracker has looked for this long without a break before it is believed (seconds).
STEADY_SECONDS = 30.0
#: Files that one step looks through: some 20 ms of work, most of it the database's.
WALK_BATCH = 500
#: A lost device some of whose files lacked a copy is looked through again after this
#: time (seconds): trackers of MogileFS may have taken the rows, and done nothing.
WALK_AGAIN_SECONDS = 600


class Absence:
    """A unit of the job `monitor`: counts who is away."""

    log = Logger()

    def __init__(
        self, topology: ITopology, tasks: ITasks, live: ILiveView, clock: Any
    ) -> None:
        self._topology = topology
        self._tasks = tasks
        self._live = live
        self._clock = clock
        self._away: set[int] = set()
        self._looks_since = self._looked_at = float("-inf")
        self._due = float("-inf")
        self._barred_since: float | None = None
        self._barred_told = False

    async def __call__(self) -> bool:
        """Count when that is due, or when something that was missed is seen."""
        view: View = self._live.view
        now = self._clock.seconds()
        lost_after = rules.lost_after_seconds(view)
        missing = {
            devid
            for devid in rules.expected(view, view.lost)
            if not rules.seen(view, devid)
        }
        if not (missing or self._away or view.lost or AWAY_SETTING in view.settings):
            self._looks(now)
            self._barred_since, self._barred_told = None, False
            return False
        back = any(rules.seen(view, one) for one in self._away.union(view.lost))
        marked = bool(view.lost) or AWAY_SETTING in view.settings
        undone = not lost_after and marked
        if not lost_after and not undone:
            return False
        if now < self._due and not back and not undone:
            return False
        pace = min(COUNT_SECONDS, max(1.0, lost_after / COUNTS))
        self._due = now + pace
        await self._count(view, lost_after)
        self._looks(now)
        return False

    def _looks(self, now: float) -> None:
        """It looks, and could have written what it saw. A break (it was stopped, or had
        no database) begins its time anew."""
        if now - self._looked_at > rules.MOST_COUNTED_SECONDS:
            self._looks_since = now
        self._looked_at = now

    def _steady(self, lost_after: int) -> bool:
        now: float = self._clock.seconds()
        if now - self._looked_at > rules.MOST_COUNTED_SECONDS:
            return False
        return now - self._looks_since >= min(STEADY_SECONDS, lost_after)

    async def _count(self, view: View, lost_after: int) -> None:
        text = await self._topology.setting(AWAY_SETTING)
        before = Standing.of(view, text)
        after = rules.after_look(
            before,
            view,
            await self._tasks.unix_time(),
            lost_after,
            counting=self._steady(lost_after),
        )
        self._away = set(after.absences.seconds)
        self._tell_barred(view, lost_after)
        new = rules.settings_of(after)
        old = {
            AWAY_SETTING: text,
            LOST_SETTING: view.settings.get(LOST_SETTING),
            LATE_SETTING: view.settings.get(LATE_SETTING),
        }
        changes = {name: value for name, value in new.items() if value != old[name]}
        if not changes:
            return
        news = (before.lost, before.late) != (after.lost, after.late)
        if not await self._topology.change_settings(old, changes, news):
            # Another tracker was faster: look at what it wrote, soon.
            self._due = float("-inf")
            await self._live.refresh()
        elif news:
            self._tell(view, before, after, lost_after)
            await self._live.refresh()

    def _tell_barred(self, view: View, lost_after: int) -> None:
        why, now = "", self._clock.seconds()
        if lost_after:
            why = rules.cut_off(view, rules.expected(view, view.lost))
        if not why:
            self._barred_since, self._barred_told = None, False
            return
        if self._barred_since is None:
            self._barred_since = now
        # A moment of it, as at a start, is not worth a word.
        lasting = now - self._barred_since >= min(STEADY_SECONDS, lost_after)
        if lasting and not self._barred_told:
            self._barred_told = True
            self.log.warn(
                "nothing is treated as lost: {why}, this tracker may be cut off",
                why=why,
            )

    def _tell(
        self, view: View, before: Standing, after: Standing, seconds: int
    ) -> None:
        for devid in sorted(after.lost - before.lost):
            self.log.error(
                "device {devid} of host {host} was away for {seconds} s and is treated"
                " as lost: its files are copied elsewhere",
                devid=devid,
                host=_host_name(view, devid),
                seconds=seconds,
            )
        for devid in sorted(before.lost & after.late):
            self.log.warn(
                "device {devid} of host {host} is not treated as lost any more: its"
                " copies count, and those that are too many are taken away",
                devid=devid,
                host=_host_name(view, devid),
            )


class AbsenceWalk:
    """A unit of the job `reap`: looks through the files of devices that are lost, for
    those that need another copy, and of late ones, for those that have one too many."""

    log = Logger()

    def __init__(
        self,
        topology: ITopology,
        tasks: ITasks,
        queues: IQueues,
        copies: Copies,
        live: ILiveView,
    ) -> None:
        self._topology = topology
        self._tasks = tasks
        self._queues = queues
        self._copies = copies
        self._live = live

    async def __call__(self) -> bool:
        """One batch of one device."""
        view = self._live.view
        if not (view.lost or view.late):
            return False
        text = await self._topology.setting(WALK_SETTING)
        walks = rules.parse_walks(text, view.lost, view.late)
        now = await self._tasks.unix_time()
        due = [devid for devid, walk in sorted(walks.items()) if walk.due <= now]
        if not due:
            return False
        devid = due[0]
        walk, queued = await self._step(devid, walks[devid])
        late = view.late
        if walk is None and walks[devid].kind == "late":
            del walks[devid]
            late -= {devid}
        else:
            ended = walks[devid].ended(now, WALK_AGAIN_SECONDS)
            walks[devid] = walk or ended
        changes = {WALK_SETTING: rules.walks_text(walks)}
        changes[LATE_SETTING] = rules.numbers_text(late)
        expected = {
            WALK_SETTING: text,
            LOST_SETTING: view.settings.get(LOST_SETTING),
            LATE_SETTING: view.settings.get(LATE_SETTING),
        }
        news = late != view.late
        if not await self._topology.change_settings(expected, changes, news):
            await self._live.refresh()
        elif walk is None:
            self._tell(devid, walks.get(devid), queued)
            await self._live.refresh()
        return True

    async def _step(self, devid: int, walk: Walk) -> tuple[Walk | None, int]:
        """Where the walk stands after a batch (None: at the end), and how many files
        were queued in all of it."""
        page = await self._tasks.files_on(devid, walk.fid, WALK_BATCH)
        if not page:
            return None, walk.queued
        words: dict[tuple[int, int, tuple[int, ...]], str] = {}
        fids = [
            one.file.fid
            for one in page
            if self._word(one, words) in (COPY, WAIT)
            or (walk.kind == "late" and self._word(one, words) != SATISFIED)
        ]
        if fids:
            await self._queues.queue_replications(fids, 0)
        queued = walk.queued + len(fids)
        return evolve(walk, fid=page[-1].file.fid, queued=queued, due=0), queued

    def _word(
        self, located: Located, words: dict[tuple[int, int, tuple[int, ...]], str]
    ) -> str:
        """What the policy says; it is asked once for all files that lie alike."""
        file = located.file
        alike = file.dmid, file.classid, tuple(sorted(located.devids))
        if alike not in words:
            verdict = self._copies.judge(file.dmid, file.classid, alike[2], 0)
            words[alike] = verdict.word
        return words[alike]

    def _tell(self, devid: int, walk: Walk | None, queued: int) -> None:
        if walk is None:
            text = "device {devid} is in use again: {count} files were queued"
        else:
            text = "lost device {devid}: {count} files were queued for replication"
        self.log.info(text, devid=devid, count=queued)


def _host_name(view: View, devid: int) -> str:
    place = view.place(devid)
    return place.host.name if place else "?"
