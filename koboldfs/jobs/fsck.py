"""Checking files: the job `fsck`.

The tracker that `fsck_host` names puts the fids of all files, in ascending order, into
MogileFS's `file_to_queue`, a few thousand ahead of the work; every tracker takes them
from there. Where it stands is in the settings, written after the rows: a tracker that
is killed leaves no gap, the next one begins with rows that are queued already.

Files whose copies answer are done with a question per device for hundreds of files, so
that a check costs little more than its rows. A copy that cannot be asked is never taken
for lost: its file is looked at again later (`STALLED_SECONDS`), and searched for only
when every device has answered.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, gatherResults

from koboldfs.cluster.checks import Checks
from koboldfs.cluster.copies import Copies
from koboldfs.errors import KoboldError, NodeFault
from koboldfs.interfaces import IFiles, ILiveView, IQueues, ITasks
from koboldfs.jobs.worker import LEASE_SECONDS, QueueWorker
from koboldfs.model import fsck as rules
from koboldfs.model.entities import (
    FSCK_TASK,
    HASH_TYPES,
    OWN_HASHTYPE,
    Checksum,
    CopyChange,
    FsckEvent,
    Located,
    Task,
    TaskDone,
)
from koboldfs.model.policy import SATISFIED

#: A file that lost copies is due for replication after this long (MogileFS's number).
REPAIR_DELAY_SECONDS = 1
#: How often the counts of events are added up in the settings (seconds).
TALLY_SECONDS = 5.0


@frozen
class Row:
    """A task with what the database has beside it, and what its devices said."""

    task: Task
    class_checksum: Checksum | None = None
    answers: Mapping[int, rules.Answer] = field(factory=dict)


@define
class Finding:
    """What a check of one file came to."""

    fid: int
    events: list[FsckEvent] = field(factory=list)
    added: set[int] = field(factory=set)
    removed: set[int] = field(factory=set)
    checksum: Checksum | None = None
    class_checksum: Checksum | None = None
    recount: bool = False
    violates: bool = False
    replicate: bool = False
    retry_seconds: float | None = None
    failcount: int = 0

    def note(self, code: str, devid: int | None = None) -> None:
        """An event for the log."""
        self.events.append(FsckEvent(self.fid, code, devid))

    def change(self) -> CopyChange | None:
        """What is to be recorded, if anything."""
        if not (
            self.added
            or self.removed
            or self.checksum
            or self.class_checksum
            or self.recount
        ):
            return None
        return CopyChange(
            self.fid,
            tuple(sorted(self.added)),
            tuple(sorted(self.removed)),
            self.checksum,
            self.class_checksum,
        )


class FsckWorker(QueueWorker[Row, Finding]):
    """See the module."""

    name = "fsck"
    parallel = 512

    def __init__(
        self,
        checks: Checks,
        tasks: ITasks,
        files: IFiles,
        queues: IQueues,
        copies: Copies,
        live: ILiveView,
        clock: Any,
    ) -> None:
        super().__init__()
        self._checks = checks
        self._tasks = tasks
        self._files = files
        self._queues = queues
        self._copies = copies
        self._live = live
        self._clock = clock
        self._tally_due = 0.0

    async def step(self) -> bool:
        """Queue what comes next, if that is ours to do; then as `QueueWorker`."""
        if not self.parallel:
            return False
        # Side by side: while files are being looked at, the next ones are queued.
        planning = Deferred.fromCoroutine(self._plan())
        try:
            taken = await super().step()
        except KoboldError:
            # The planner has met the same trouble, or will say so the next time.
            planning.addErrback(lambda failure: failure.trap(KoboldError) and None)
            raise
        return await planning or taken

    async def _plan(self) -> bool:
        if not self._checks.runs_here():
            return False
        now = self._clock.seconds()
        if now >= self._tally_due:
            self._tally_due = now + TALLY_SECONDS
            await self._checks.add_up()
        rate, most = self._checks.queue_limits()
        if await self._tasks.count_tasks(FSCK_TASK, most) >= most:
            return False
        position, end = await self._checks.position()
        page = await self._files.list_files(position, rate) if position < end else []
        if not page:
            await self._checks.finish()
            return False
        scope = self._checks.scope()
        rows = [(one.file.fid, None, None) for one in page if scope.covers(one.file)]
        await self._tasks.queue_tasks(FSCK_TASK, rows)
        await self._checks.advance(page[-1].file.fid, len(rows))
        return True

    async def take(self, limit: int) -> list[Row]:
        """Lease rows that are due, and ask the devices of all of them: a question per
        device, not per file."""
        tasks = await self._tasks.take_tasks(FSCK_TASK, limit, LEASE_SECONDS)
        wanting = [
            task.fid for task in tasks if task.located and self._hashtype(task.located)
        ]
        sums: Mapping[int, Checksum] = {}
        if wanting:
            sums = await self._tasks.class_checksums(wanting)
        answers: Mapping[int, Mapping[int, rules.Answer]] = {}
        if not self._checks.policy_only():
            answers = await self._ask_all(tasks)
        return [
            Row(task, sums.get(task.fid), answers.get(task.fid, {})) for task in tasks
        ]

    async def _ask_all(
        self, tasks: Sequence[Task]
    ) -> dict[int, dict[int, rules.Answer]]:
        """By fid, what each living device that is recorded says."""
        view = self._live.view
        wanted: dict[int, list[int]] = {}
        for task in tasks:
            for devid in task.located.devids if task.located else ():
                if not view.is_dead(devid):
                    wanted.setdefault(devid, []).append(task.fid)
        ordered = sorted(wanted)
        found = await gatherResults(
            [
                Deferred.fromCoroutine(self._ask(devid, wanted[devid]))
                for devid in ordered
            ]
        )
        answers: dict[int, dict[int, rules.Answer]] = {}
        for devid, said in zip(ordered, found, strict=True):
            for fid, answer in said.items():
                answers.setdefault(fid, {})[devid] = answer
        return answers

    async def _ask(self, devid: int, fids: Sequence[int]) -> Mapping[int, rules.Answer]:
        """What a device says of fids; `AWAY` for all if it cannot be asked."""
        view = self._live.view
        place = view.place(devid)
        if place is None or not view.readable(devid):
            return dict.fromkeys(fids, rules.AWAY)
        try:
            return await self._copies.nodes.stat_many(place, fids)
        except NodeFault:
            self._live.suspect(place.host.hostid)
            return dict.fromkeys(fids, rules.AWAY)

    async def keep_leases(self, fids: Sequence[int], lease_seconds: int) -> None:
        """Let the leases begin anew."""
        await self._tasks.keep_tasks(FSCK_TASK, fids, lease_seconds)

    def number(self, row: Row) -> int:
        """The fid."""
        return row.task.fid

    async def report(self, reports: list[Finding]) -> None:
        """Record findings; whatever is cut short is only found once more."""
        changes = [change for one in reports if (change := one.change())]
        events = [event for one in reports for event in one.events]
        repairs = [one.fid for one in reports if one.replicate]
        if changes:
            await self._tasks.change_copies(changes)
        if repairs:
            await self._queues.queue_replications(repairs, REPAIR_DELAY_SECONDS)
        if events:
            await self._tasks.log_events(events)
        done = [TaskDone(one.fid, one.retry_seconds, one.failcount) for one in reports]
        await self._tasks.finish_tasks(FSCK_TASK, done)

    # --- one file

    async def work(self, row: Row) -> Finding:
        """Check one file."""
        finding, located = Finding(row.task.fid), row.task.located
        if located is None:
            return finding
        view, file = self._live.view, located.file
        recorded = set(located.devids)
        if not recorded:
            finding.note(rules.NOPA)
        else:
            finding.violates = self._violates(located, recorded)
            if finding.violates:
                finding.note(rules.POVI)
        if file.devcount != len(recorded):
            if view.settings.get("skip_devcount", "0") in ("", "0"):
                finding.note(rules.BCNT)
                finding.recount = True
        if self._checks.policy_only():
            self._conclude(finding)
            return finding
        asked = set(row.answers)
        finding.removed |= {d for d in recorded - asked if view.is_dead(d)}
        looked = rules.look(file, row.answers)
        for code, devid in looked.events:
            finding.note(code, devid)
        good = set(looked.good)
        # A copy of another length is kept as long as there is nothing better.
        missing = {devid for code, devid in looked.events if code == rules.MISS}
        finding.removed.update(looked.bad if good else missing)
        if not good and not looked.away:
            if not await self._search(finding, located, asked):
                return self._stalled(row, finding)
            good |= finding.added
            if good:
                finding.removed.update(looked.bad)
                finding.removed -= finding.added
        if good and not await self._sums(finding, row, good):
            return self._stalled(row, finding)
        if finding.added or finding.removed:
            left = (recorded | finding.added) - finding.removed
            finding.violates = bool(left) and self._violates(located, left)
        self._conclude(finding)
        return self._stalled(row, finding) if looked.away else finding

    def _violates(self, located: Located, devids: Collection[int]) -> bool:
        file = located.file
        verdict = self._copies.judge(file.dmid, file.classid, devids, file.length)
        return verdict.word != SATISFIED

    def _conclude(self, finding: Finding) -> None:
        if finding.violates:
            finding.replicate = True
            finding.note(rules.REPL)

    def _stalled(self, row: Row, finding: Finding) -> Finding:
        """It is looked at again. What was found is told and mended only the first time:
        the log is no clock."""
        if row.task.failcount:
            finding.events.clear()
        finding.retry_seconds = rules.STALLED_SECONDS
        finding.failcount = row.task.failcount + 1
        return finding

    async def _search(
        self, finding: Finding, located: Located, known: Collection[int]
    ) -> bool:
        """Look on every other device. False if one of them could not be asked and
        nothing was found on the others: then nobody knows that the file is gone."""
        view, file = self._live.view, located.file
        others = [d for d in view.devices if d not in known and not view.is_dead(d)]
        finding.note(rules.SRCH)
        asking = [Deferred.fromCoroutine(self._ask(d, [file.fid])) for d in others]
        said = await gatherResults(asking)
        answers = {d: one[file.fid] for d, one in zip(others, said, strict=True)}
        looked = rules.look(file, answers)
        for devid in looked.good:
            if await self._is_the_file(devid, located):
                finding.added.add(devid)
                finding.note(rules.FOND, devid)
        if finding.added:
            return True
        if looked.away:
            # Rows of copies that are not there stay, too: they cost nothing.
            finding.removed.clear()
            return False
        finding.note(rules.GONE)
        return True

    async def _is_the_file(self, devid: int, located: Located) -> bool:
        if located.checksum is None:
            return True
        found = await self._digest(devid, located.file.fid, OWN_HASHTYPE)
        return found == located.checksum

    # --- checksums

    def _hashtype(self, located: Located) -> int | None:
        """The type of checksum that is wanted of the file beside our own."""
        view, file = self._live.view, located.file
        chosen = view.settings.get("fsck_checksum", "class")
        if chosen in HASH_TYPES:
            return HASH_TYPES[chosen]
        if chosen == "off":
            return None
        return view.storage_class(file.dmid, file.classid).hashtype

    async def _sums(self, finding: Finding, row: Row, good: set[int]) -> bool:
        """Compare digests as far as they are wanted, and take bad copies out of `good`.
        False if a copy could not be read."""
        located = row.task.located
        assert located is not None
        if self._checks.own_checksums():
            digests = await self._digests(good, located.file.fid, OWN_HASHTYPE)
            if digests is None:
                return False
            verdict = rules.compare(digests, located.checksum, wanted=True)
            finding.checksum = verdict.record
            self._apply(finding, verdict, good)
        hashtype = self._hashtype(located)
        if hashtype is None:
            return True
        digests = await self._digests(good, located.file.fid, hashtype)
        if digests is None:
            return False
        file = located.file
        of_class = self._live.view.storage_class(file.dmid, file.classid).hashtype
        wanted = hashtype == of_class
        verdict = rules.compare(digests, row.class_checksum, wanted=wanted)
        if verdict.record is not None:
            finding.class_checksum = verdict.record
            finding.note(rules.NSUM)
        self._apply(finding, verdict, good)
        return True

    def _apply(
        self, finding: Finding, verdict: rules.SumVerdict, good: set[int]
    ) -> None:
        for code, devid in verdict.events:
            finding.note(code, devid)
        finding.removed.update(verdict.bad)
        finding.added -= set(verdict.bad)
        good -= set(verdict.bad)

    async def _digests(
        self, devids: Collection[int], fid: int, hashtype: int
    ) -> dict[int, Checksum] | None:
        """The digests of these copies; None if one could not be read."""
        ordered = sorted(devids)
        found = await gatherResults(
            [
                Deferred.fromCoroutine(self._digest(devid, fid, hashtype))
                for devid in ordered
            ]
        )
        pairs = zip(ordered, found, strict=True)
        digests = {devid: one for devid, one in pairs if one is not None}
        return digests if len(digests) == len(ordered) else None

    async def _digest(self, devid: int, fid: int, hashtype: int) -> Checksum | None:
        place = self._live.view.place(devid)
        if place is None:
            return None
        try:
            return await self._copies.nodes.digest(place, fid, hashtype)
        except NodeFault:
            self._live.suspect(place.host.hostid)
            return None
