"""What a check of one file concludes: pure rules, no node is asked here.

A check first compares what is recorded with the policy, then asks every device of the
file for the size of its copy, searches all other devices when none has a good one, and
reads copies only where checksums are wanted. An `Inspection` is led through these
steps; `conclude` gives the verdict. What is found is told by MogileFS's codes, in this
order:

    NOPA  no copies are recorded           POVI  too few or too many copies
    BCNT  devcount was wrong
    MISS  a copy is not there (device)     BLEN  a copy has another length (device)
    SRCH  all devices are searched         FOND  a copy was found (device)
    GONE  no good copy anywhere
    BSUM  a copy has another checksum      MSUM  no checksum is known, and copies differ
    BALG  the recorded checksum is of another type
    NSUM  a checksum was recorded          REPL  queued to be copied

MogileFS gives BSUM without a device; ours names it where it knows which is wrong.

A copy that cannot be asked is never taken for bad, and holds up nothing that the
others say; the file is `stalled`: looked at again later. It is GONE only when every
device that is not dead has answered.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from attrs import define, field, frozen

from koboldfs.model.entities import Checksum, CopyStat, File

NOPA, POVI, MISS, BLEN, GONE = "NOPA", "POVI", "MISS", "BLEN", "GONE"
SRCH, FOND, REPL, BCNT = "SRCH", "FOND", "REPL", "BCNT"
BSUM, NSUM, MSUM, BALG = "BSUM", "NSUM", "MSUM", "BALG"
#: Every code, as `fsck_status` counts them.
CODES = (
    *(NOPA, POVI, MISS, BLEN, GONE, SRCH, FOND),
    *(REPL, BCNT, BSUM, NSUM, MSUM, BALG),
)

#: A copy whose node does not answer.
AWAY = "away"
#: What a device said of a copy: its size (and perhaps our checksum), that there is
#: none, or nothing.
Answer = CopyStat | None | str

#: A file with a copy that cannot be looked at is looked at again after this time.
STALLED_SECONDS = 1000.0

#: Code and device, if one is to blame.
Event = tuple[str, int | None]


@frozen
class Looked:
    """What became of the copies: devices by how good their copy is."""

    good: tuple[int, ...] = ()
    missing: tuple[int, ...] = ()
    short: tuple[int, ...] = ()
    away: tuple[int, ...] = ()


def look(length: int, answers: Mapping[int, Answer]) -> Looked:
    """Sort the devices by what they said, in the order of their numbers. `short` are
    copies of another length, whichever."""
    good, missing, short, away = list[int](), list[int](), list[int](), list[int]()
    for devid, answer in sorted(answers.items()):
        if answer is None:
            missing.append(devid)
        elif isinstance(answer, str):
            away.append(devid)
        elif answer.size != length:
            short.append(devid)
        else:
            good.append(devid)
    return Looked(tuple(good), tuple(missing), tuple(short), tuple(away))


@frozen
class SumVerdict:
    """What digests say: copies whose bytes are not the file's, the checksum to record
    if there is one to be recorded, and the events."""

    bad: tuple[int, ...] = ()
    record: Checksum | None = None
    events: tuple[Event, ...] = ()


def compare(
    digests: Mapping[int, Checksum],
    recorded: Checksum | None,
    *,
    wanted: bool,
    complete: bool = True,
) -> SumVerdict:
    """Digests of one type, by device, against the recorded checksum.

    `wanted`: without a recorded one, what all copies agree on becomes it. `complete`:
    these are all the copies; when some could not be read, nothing is said of all of
    them. A copy is bad only when another one is as recorded: where none is, nobody can
    tell which is right, and all are kept. A single copy is never condemned.
    """
    kinds = set(digests.values())
    if not kinds:
        return SumVerdict()
    if recorded is None:
        if len(kinds) > 1:
            return SumVerdict(events=((MSUM, None),))
        agreed = wanted and complete
        return SumVerdict(record=kinds.pop()) if agreed else SumVerdict()
    if recorded.hashtype != next(iter(kinds)).hashtype:
        code = BALG if len(kinds) == 1 else BSUM
        return SumVerdict(events=((code, None),) if complete else ())
    differing = sorted(devid for devid, one in digests.items() if one != recorded)
    if not differing:
        return SumVerdict()
    if len(differing) == len(digests):
        return SumVerdict(events=((BSUM, None),) if complete else ())
    return SumVerdict(tuple(differing), None, tuple((BSUM, one) for one in differing))


#: Whether the policy is content with copies on these devices.
Content = Callable[[Collection[int]], bool]
#: Events that say something new also when a file is looked at once more.
_ALWAYS_NEWS = (FOND, GONE, BCNT, NSUM, MSUM, BALG)


@frozen
class Verdict:
    """What is to be done about a file. `seen` are the devices that were recorded when
    the check began: if they are others by now, the verdict is worth nothing."""

    seen: tuple[int, ...]
    events: tuple[Event, ...] = ()
    added: tuple[int, ...] = ()
    removed: tuple[int, ...] = ()
    checksum: Checksum | None = None
    class_checksum: Checksum | None = None
    recount: bool = False
    replicate: bool = False
    stalled: bool = False

    @property
    def changes(self) -> bool:
        """Whether anything but the log and the queues is to be written."""
        return self.recount or bool(
            self.added or self.removed or self.checksum or self.class_checksum
        )

    def news(self) -> tuple[Event, ...]:
        """The events that are told when the file was looked at before: what was said
        then is not said again every time."""
        told = [
            (code, devid)
            for code, devid in self.events
            if code in _ALWAYS_NEWS or devid in self.removed
        ]
        return (*told, (REPL, None)) if told and self.replicate else tuple(told)


@define
class Inspection:
    """A file on its way to a verdict: `hear` what its devices say, then `search` if
    that is wanted, then compare sums as far as that is wanted, then `conclude`."""

    file: File
    recorded: frozenset[int]
    content: Content
    #: Devices whose copy is there and as long as the file (as far as is known).
    good: set[int] = field(factory=set)
    events: list[Event] = field(factory=list)
    added: set[int] = field(factory=set)
    removed: set[int] = field(factory=set)
    checksum: Checksum | None = None
    class_checksum: Checksum | None = None
    stalled: bool = False
    recount: bool = False
    _short: tuple[int, ...] = ()
    _searched: bool = False
    _lost: bool = False

    @classmethod
    def begin(
        cls,
        file: File,
        recorded: Collection[int],
        content: Content,
        *,
        counted: bool = True,
    ) -> Inspection:
        """What the database alone tells. `counted`: devcount is kept there."""
        self = cls(file, frozenset(recorded), content)
        if not self.recorded:
            self.events.append((NOPA, None))
        elif not content(self.recorded):
            self.events.append((POVI, None))
        if counted and file.devcount != len(self.recorded):
            self.events.append((BCNT, None))
            self.recount = True
        return self

    def hear(self, answers: Mapping[int, Answer], dead: Collection[int]) -> None:
        """What the devices said that are recorded and not `dead`; rows of copies on
        dead ones go."""
        looked = look(self.file.length, answers)
        self.good.update(looked.good)
        self.stalled = bool(looked.away)
        # A copy of another length is kept as long as there is nothing better.
        self._short = looked.short
        self.removed.update(dead, looked.missing, looked.short if self.good else ())
        told = [(devid, MISS) for devid in looked.missing]
        told += [(devid, BLEN) for devid in looked.short]
        self.events += [(code, devid) for devid, code in sorted(told)]

    @property
    def wants_search(self) -> bool:
        """Whether all other devices are to be asked: every one that should have a copy
        has answered, and none has a good one."""
        return not (self.good or self.stalled or self._searched)

    def search(self, answers: Mapping[int, Answer]) -> None:
        """What all other devices said that are not dead. One that has a copy but could
        not be read, where a checksum has to tell whether it is the file's, is away."""
        self._searched = True
        looked = look(self.file.length, answers)
        self.events.append((SRCH, None))
        self.events += [(FOND, devid) for devid in looked.good]
        self.added.update(looked.good)
        self.good.update(looked.good)
        self._lost = not looked.good
        if looked.good:
            self.removed.update(self._short)
        elif looked.away:
            # Rows of copies that are not there stay, too: they cost nothing.
            self.removed.clear()
            self.stalled = True
        else:
            self.events.append((GONE, None))

    def compare(
        self,
        digests: Mapping[int, Checksum],
        recorded: Checksum | None,
        *,
        wanted: bool,
        ours: bool,
    ) -> bool:
        """What digests of the `good` copies say; those that are not among them could
        not be read. Bad copies are good no more. True if all copies are there and
        agree with each other, and with what is recorded."""
        complete = self.good <= set(digests)
        verdict = compare(digests, recorded, wanted=wanted, complete=complete)
        self.stalled = self.stalled or not complete
        self.events += verdict.events
        bad = set(verdict.bad)
        self.removed |= bad - self.added
        self.added -= bad
        self.good -= bad
        if verdict.record is not None and ours:
            self.checksum = verdict.record
        elif verdict.record is not None:
            self.class_checksum = verdict.record
            self.events.append((NSUM, None))
        return complete and not verdict.events

    def conclude(self) -> Verdict:
        """The end."""
        left = (self.recorded | self.added) - self.removed
        # There is nothing to copy from when a search has found nothing.
        replicate = bool(left) and not self._lost and not self.content(left)
        if replicate:
            self.events.append((REPL, None))
        return Verdict(
            tuple(sorted(self.recorded)),
            tuple(self.events),
            tuple(sorted(self.added)),
            tuple(sorted(self.removed & self.recorded)),
            self.checksum,
            self.class_checksum,
            self.recount,
            replicate,
            self.stalled,
        )


@frozen
class Scope:
    """Which files a check is about: a domain, a class of it, keys with a prefix."""

    dmid: int | None = None
    classid: int | None = None
    prefix: str = ""

    def covers(self, file: File) -> bool:
        """Whether the file is one of them."""
        return (
            self.dmid in (None, file.dmid)
            and self.classid in (None, file.classid)
            and file.key.startswith(self.prefix)
        )


def pace(checked: int, elapsed_seconds: float, left: int) -> tuple[float, float | None]:
    """Files a second so far, and the seconds that the rest will take at that rate
    (None when nothing is known of it)."""
    if checked <= 0 or elapsed_seconds <= 0:
        return 0.0, 0.0 if left <= 0 else None
    rate = checked / elapsed_seconds
    return rate, max(0, left) / rate
