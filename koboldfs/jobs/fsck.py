"""Checking files: the job `fsck`.

The tracker that `fsck_host` names puts the fids of all files, in ascending order, into
MogileFS's `file_to_queue`, a few thousand ahead of the work; every tracker takes them
from there. Where it stands is in the settings, written after the rows: a tracker that
is killed leaves no gap, the next one begins with rows that are queued already.

Some hundred rows are taken at a time, and each device is asked once for all of them.
That settles most files, with two more transactions for all of them together. Those
whose bytes are to be read, or that a search found, are worked on one by one.

What is decided is decided in `koboldfs.model.fsck`. It is recorded only while the
file's copies are recorded as they were when the check began (`ITasks.finish_checks`):
whoever copies or moves it meanwhile comes first, and the file is looked at again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater

from koboldfs.cluster.checks import (
    MOST_STALLED,
    TALLY_SECONDS,
    Checks,
    Standing,
)
from koboldfs.cluster.copies import Copies
from koboldfs.errors import KoboldError, NodeFault, NodeUnreachable
from koboldfs.interfaces import ILiveView, ITasks
from koboldfs.jobs.worker import LEASE_SECONDS, QueueWorker
from koboldfs.model import fsck as rules
from koboldfs.model.entities import (
    FSCK_TASK,
    HASH_TYPES,
    OWN_HASHTYPE,
    Checked,
    Checksum,
    CopyChange,
    FsckEvent,
    Located,
    Task,
)
from koboldfs.model.policy import SATISFIED
from koboldfs.model.view import View

#: A file that lost copies is due for replication after this long (MogileFS's number).
REPAIR_DELAY_SECONDS = 1
#: A file whose copies were changed by others while it was checked is looked at again.
RELOOK_SECONDS = 2
#: A device that refuses is asked for fewer and fewer files, so often: that finds a file
#: among 512 that cannot be asked for, so that it does not hold up the others.
QUESTIONS = 20
#: After so many files requests get a turn (a fraction of a millisecond's work each).
FILES_A_TURN = 64
#: What the policy says of so many sets of devices is remembered.
MOST_REMEMBERED = 10_000


@define(eq=False)
class Row:
    """A file that is being checked."""

    task: Task
    located: Located
    inspection: rules.Inspection
    #: The type of checksum that is wanted beside our own, and the recorded one.
    hashtype: int | None = None
    class_checksum: Checksum | None = None
    #: Devices where the search found a copy.
    found: dict[int, rules.Answer] = field(factory=dict)


class FsckWorker(QueueWorker[Row, Checked]):
    """See the module."""

    name = "fsck"
    parallel = 512
    batch = 128

    def __init__(
        self,
        checks: Checks,
        tasks: ITasks,
        copies: Copies,
        live: ILiveView,
        clock: Any,
    ) -> None:
        super().__init__()
        self._checks = checks
        self._tasks = tasks
        self._copies = copies
        self._live = live
        self._clock = clock
        self._tally_due = 0.0
        self._standing: Standing | None = None
        self._crowded = False
        self._taken: list[int] = []
        self._judged: tuple[View | None, dict[Any, bool]] = (None, {})

    # --- which files come next

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
            self._standing = None
            return False
        now = self._clock.seconds()
        if now >= self._tally_due:
            self._tally_due = now + TALLY_SECONDS
            await self._checks.add_up()
            stalled = await self._tasks.count_tasks(FSCK_TASK, MOST_STALLED)
            self._crowded = stalled >= MOST_STALLED
        rate, most = self._checks.queue_limits()
        waiting = await self._tasks.count_fresh(FSCK_TASK, most)
        if waiting >= most or self._crowded:
            return False
        # If anything fails from here on, it is read anew the next time.
        standing, self._standing = self._standing, None
        standing = standing or await self._checks.where()
        if standing is None:
            return False
        page = await self._tasks.files_between(standing.position, standing.end, rate)
        if not page:
            await self._checks.finish(standing)
            return False
        scope = self._checks.scope()
        rows = [(one.fid, None, None) for one in page if scope.covers(one)]
        await self._tasks.queue_tasks(FSCK_TASK, rows)
        last = page[-1].fid
        self._standing = await self._checks.advance(standing, last, len(rows))
        return True

    # --- some hundred files at once

    async def take(self, limit: int) -> list[Row]:
        """Lease rows that are due, and settle those that need no reading."""
        tasks = await self._tasks.take_tasks(FSCK_TASK, limit, LEASE_SECONDS)
        self._taken = [task.fid for task in tasks]
        try:
            return await self._look_at(tasks)
        finally:
            self._taken = []

    async def _look_at(self, tasks: Sequence[Task]) -> list[Row]:
        gone = [task.fid for task in tasks if task.located is None]
        rows: list[Row] = []
        await self._know_devices(tasks)
        for start in range(0, len(tasks), FILES_A_TURN):
            await self._let_others(start)
            some = tasks[start : start + FILES_A_TURN]
            rows += [self._begin_with(t, t.located) for t in some if t.located]
        asked = self._to_be_asked(rows)
        await self._hear(asked)
        await self._search([row for row in asked if row.inspection.wants_search])
        await self._find_class_checksums(filter(self._wants_class, asked))
        to_read = {row.task.fid for row in asked if self._wants_reading(row)}
        settled = [(fid, Checked(fid)) for fid in gone]
        for number, row in enumerate(rows):
            if not number % FILES_A_TURN:
                await self._let_others(number)
            if row.task.fid not in to_read:
                settled.append((row.task.fid, self._conclude(row)))
        await self.settle(settled)
        return [row for row in rows if row.task.fid in to_read]

    async def inspect(self, files: Sequence[Located]) -> list[Checked]:
        """What a check of these files comes to, in their order, without a queue: for
        the scrub. Every copy is read, if our checksums are wanted of `Checks`."""
        tasks = [Task(FSCK_TASK, one.file.fid, None, None, 0, one) for one in files]
        await self._know_devices(tasks)
        pairs = zip(tasks, files, strict=True)
        rows = [self._begin_with(task, located) for task, located in pairs]
        await self._hear(rows)
        await self._search([row for row in rows if row.inspection.wants_search])
        await self._find_class_checksums(filter(self._wants_class, rows))
        return [await self.work(row) for row in rows]

    async def _know_devices(self, tasks: Sequence[Task]) -> None:
        """A copy on a dead device is none, and one on a device that is not there: be
        sure of it, with a picture that is younger than what is recorded."""
        view = self._live.view
        on = {d for task in tasks if task.located for d in task.located.devids}
        if any(view.is_dead(devid) for devid in on):
            await self._live.refresh()

    async def _let_others(self, done: int) -> None:
        if done:
            await deferLater(self._clock, 0)

    def _begin_with(self, task: Task, located: Located) -> Row:
        counted = self._live.view.settings.get("skip_devcount", "0") in ("", "0")
        file = located.file

        def content(devids: Collection[int]) -> bool:
            return self._content(file.dmid, file.classid, frozenset(devids))

        begin = rules.Inspection.begin
        inspection = begin(file, located.devids, content, counted=counted)
        return Row(task, located, inspection, self._hashtype(located))

    def _content(self, dmid: int, classid: int, devids: frozenset[int]) -> bool:
        """Whether the policy is; remembered as long as the picture is the same."""
        view, known = self._judged
        if view is not self._live.view or len(known) > MOST_REMEMBERED:
            self._judged = (self._live.view, known := {})
        key = (dmid, classid, devids)
        if key not in known:
            verdict = self._copies.judge(dmid, classid, devids, 0)
            known[key] = verdict.word == SATISFIED
        return known[key]

    def _to_be_asked(self, rows: Sequence[Row]) -> list[Row]:
        """All; if only the policy is to be looked at, those that it is not content
        with (they are to be mended) or that have no copy recorded."""
        if not self._checks.policy_only():
            return list(rows)
        return [row for row in rows if row.inspection.events]

    async def _hear(self, rows: Sequence[Row]) -> None:
        view = self._live.view
        wanted: dict[int, list[int]] = {}
        for row in rows:
            for devid in row.located.devids:
                if not view.is_dead(devid):
                    wanted.setdefault(devid, []).append(row.task.fid)
        answers = await self._ask(wanted)
        for row in rows:
            devids = row.located.devids
            dead = [devid for devid in devids if view.is_dead(devid)]
            row.inspection.hear(answers.get(row.task.fid, {}), dead)

    async def _search(self, rows: Sequence[Row]) -> None:
        """Look for files without a good copy on all devices that were not asked; those
        that have just come are among them."""
        if rows:
            await self._live.refresh()
        view = self._live.view
        wanted: dict[int, list[int]] = {}
        for row in rows:
            for devid in view.devices:
                if devid not in row.located.devids and not view.is_dead(devid):
                    wanted.setdefault(devid, []).append(row.task.fid)
        answers = await self._ask(wanted)
        await self._find_class_checksums(r for r in rows if r.located.checksum is None)
        for row in rows:
            said = answers.get(row.task.fid, {})
            good = rules.look(row.located.file.length, said).good
            if good and (row.located.checksum or row.class_checksum):
                row.found = said  # to be read first
            else:
                row.inspection.search(said)

    async def _ask(
        self, wanted: Mapping[int, Sequence[int]]
    ) -> dict[int, dict[int, rules.Answer]]:
        """By fid, what each device says, asked for all of its fids at once."""
        ordered = sorted(wanted)
        found = await gatherResults(
            [Deferred.fromCoroutine(self._ask_one(d, wanted[d])) for d in ordered]
        )
        answers: dict[int, dict[int, rules.Answer]] = {}
        for devid, said in zip(ordered, found, strict=True):
            for fid, answer in said.items():
                answers.setdefault(fid, {})[devid] = answer
        return answers

    async def _ask_one(
        self, devid: int, fids: Sequence[int]
    ) -> Mapping[int, rules.Answer]:
        """What a device says of fids; `AWAY` for all if it cannot be asked."""
        view = self._live.view
        place = view.place(devid)
        if place is None or not view.readable(devid):
            return dict.fromkeys(fids, rules.AWAY)
        answers: dict[int, rules.Answer] = {}
        parts, questions = [fids], QUESTIONS
        while parts:
            part = parts.pop()
            try:
                answers.update(await self._copies.nodes.stat_many(place, part))
            except NodeFault as error:
                self._live.suspect(place.host.hostid)
                questions -= 1
                away = isinstance(error, NodeUnreachable) or not questions
                if away or len(part) == 1:
                    answers.update(dict.fromkeys(part, rules.AWAY))
                else:
                    # Perhaps it is only one of them, on a bad spot of the disk.
                    half = len(part) // 2
                    parts += [part[:half], part[half:]]
                if away:
                    break
        for part in parts:
            answers.update(dict.fromkeys(part, rules.AWAY))
        return answers

    # --- one file whose bytes are read

    def _hashtype(self, located: Located) -> int | None:
        """The type of checksum that is wanted of the file beside our own."""
        view, file = self._live.view, located.file
        chosen = view.settings.get("fsck_checksum", "class")
        if chosen in HASH_TYPES:
            return HASH_TYPES[chosen]
        if chosen == "off":
            return None
        return view.storage_class(file.dmid, file.classid).hashtype

    def _wants_class(self, row: Row) -> bool:
        """Whether the class's checksum is to be compared; where ours is not known yet
        and would be recorded, only what agrees with that of the class may be."""
        new = self._checks.own_checksums() and row.located.checksum is None
        return row.class_checksum is None and (row.hashtype is not None or new)

    async def _find_class_checksums(self, rows: Iterable[Row]) -> None:
        wanted = {row.task.fid: row for row in rows}
        sums = await self._tasks.class_checksums(list(wanted)) if wanted else {}
        for fid, checksum in sums.items():
            wanted[fid].class_checksum = checksum

    def _wants_reading(self, row: Row) -> bool:
        compared = self._checks.own_checksums() or row.hashtype is not None
        return bool(row.found) or (compared and bool(row.inspection.good))

    async def work(self, row: Row) -> Checked:
        """Read the copies of one file as far as that is wanted."""
        if row.found:
            await self._confirm(row)
        hashtype, known = row.hashtype, row.class_checksum
        if self._checks.own_checksums():
            await self._compare_ours(row)
            if hashtype is None and known and row.located.checksum is None:
                hashtype = known.hashtype
        if hashtype is not None:
            await self._compare_class(row, hashtype)
        return self._conclude(row)

    async def _confirm(self, row: Row) -> None:
        """Only bytes with the file's checksum are taken for its copy."""
        answers, wanted = dict(row.found), row.located.checksum or row.class_checksum
        assert wanted is not None
        good = rules.look(row.located.file.length, answers).good
        digests = await self._digests(good, row.task.fid, wanted.hashtype)
        for devid in good:
            digest = digests.get(devid)
            if digest is None:
                answers[devid] = rules.AWAY
            elif digest != wanted:
                answers[devid] = None
        row.inspection.search(answers)

    async def _compare_ours(self, row: Row) -> None:
        good = row.inspection.good
        digests = await self._digests(good, row.task.fid, OWN_HASHTYPE)
        recorded = row.located.checksum
        row.inspection.compare(digests, recorded, wanted=True, ours=True)

    async def _compare_class(self, row: Row, hashtype: int) -> None:
        """Record our own checksum, too, where it is missing and all copies agree."""
        inspection, file = row.inspection, row.located.file
        digests = await self._digests(inspection.good, file.fid, hashtype)
        of_class = self._live.view.storage_class(file.dmid, file.classid).hashtype
        agreed = inspection.compare(
            digests, row.class_checksum, wanted=hashtype == of_class, ours=False
        )
        if row.class_checksum not in (None, *digests.values()):
            # What all copies agree on is not the file: ours is not made of that.
            inspection.checksum = None
            return
        known = row.located.checksum or inspection.checksum
        if agreed and known is None and digests:
            one = min(digests)
            ours = await self._digests([one], file.fid, OWN_HASHTYPE)
            inspection.checksum = ours.get(one)

    async def _digests(
        self, devids: Collection[int], fid: int, hashtype: int
    ) -> dict[int, Checksum]:
        """The digests of those copies that can be read."""
        ordered = sorted(devids)
        found = await gatherResults(
            [
                Deferred.fromCoroutine(self._digest(devid, fid, hashtype))
                for devid in ordered
            ]
        )
        pairs = zip(ordered, found, strict=True)
        return {devid: one for devid, one in pairs if one is not None}

    async def _digest(self, devid: int, fid: int, hashtype: int) -> Checksum | None:
        place = self._live.view.place(devid)
        if place is None:
            return None
        try:
            return await self._copies.nodes.digest(place, fid, hashtype)
        except NodeFault:
            self._live.suspect(place.host.hostid)
            return None

    # --- what came of it

    def _conclude(self, row: Row) -> Checked:
        verdict, task = row.inspection.conclude(), row.task
        # What was told when the file was looked at before is not told again.
        events = verdict.news() if task.failcount else verdict.events
        change = CopyChange(
            task.fid,
            verdict.added,
            verdict.removed,
            verdict.checksum,
            verdict.class_checksum,
        )
        return Checked(
            task.fid,
            verdict.seen,
            change if verdict.changes else None,
            tuple(FsckEvent(task.fid, code, devid) for code, devid in events),
            verdict.replicate,
            rules.STALLED_SECONDS if verdict.stalled else None,
            task.failcount + 1 if verdict.stalled else 0,
        )

    async def report(self, reports: list[Checked]) -> None:
        """Record what checks came to; whatever is cut short is only done once more."""
        await self._tasks.finish_checks(reports, RELOOK_SECONDS, REPAIR_DELAY_SECONDS)

    async def keep_leases(self, fids: Sequence[int], lease_seconds: int) -> None:
        """Let the leases begin anew."""
        await self._tasks.keep_tasks(FSCK_TASK, fids, lease_seconds)

    async def keep(self) -> None:
        """As `QueueWorker`, also for rows whose devices are being asked."""
        await super().keep()
        if self._taken:
            await self.keep_leases(sorted(self._taken), LEASE_SECONDS)

    def number(self, row: Row) -> int:
        """The fid."""
        return row.task.fid
