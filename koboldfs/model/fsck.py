"""What a check of one file concludes: pure rules, no node is asked here.

A check first compares what is recorded with the policy, then asks every device of the
file for the size of its copy, and reads copies only where checksums are wanted. What it
finds is told by MogileFS's codes:

    NOPA  no copies are recorded           POVI  too few or too many copies
    MISS  a copy is not there (device)     BLEN  a copy has another length (device)
    SRCH  all devices are searched         FOND  a copy was found (device)
    GONE  no good copy anywhere            REPL  queued to be copied
    BCNT  devcount was wrong               NSUM  a checksum was recorded
    BSUM  a copy has another checksum      MSUM  no checksum is known, and copies differ
    BALG  the recorded checksum is of another type

MogileFS gives BSUM without a device; ours names it.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

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


@frozen
class Looked:
    """What became of the copies: devices by how good their copy is, and the events
    (code, device) of the bad ones."""

    good: tuple[int, ...] = ()
    bad: tuple[int, ...] = ()
    away: tuple[int, ...] = ()
    events: tuple[tuple[str, int], ...] = ()


def look(file: File, answers: Mapping[int, Answer]) -> Looked:
    """Sort the devices by what they said, in the order of their numbers."""
    good, bad, away = list[int](), list[int](), list[int]()
    events: list[tuple[str, int]] = []
    for devid, answer in sorted(answers.items()):
        if answer is None:
            bad.append(devid)
            events.append((MISS, devid))
        elif isinstance(answer, str):
            away.append(devid)
        elif answer.size != file.length:
            bad.append(devid)
            events.append((BLEN, devid))
        else:
            good.append(devid)
    return Looked(tuple(good), tuple(bad), tuple(away), tuple(events))


@frozen
class SumVerdict:
    """What digests say: copies whose bytes are not the file's, the checksum to record
    if there is one to be recorded, and the events (code, device or None)."""

    bad: tuple[int, ...] = ()
    record: Checksum | None = None
    events: tuple[tuple[str, int | None], ...] = ()


def compare(
    digests: Mapping[int, Checksum], recorded: Checksum | None, *, wanted: bool
) -> SumVerdict:
    """Digests of one type, by device, against the recorded checksum.

    `wanted`: without a recorded one, what all copies agree on becomes it. A copy is bad
    only when another one is as recorded: where none is, nobody can tell which is right,
    and all are kept. A single good-looking copy is never condemned.
    """
    kinds = set(digests.values())
    if not kinds:
        return SumVerdict()
    if recorded is None:
        if len(kinds) > 1:
            return SumVerdict(events=((MSUM, None),))
        return SumVerdict(record=kinds.pop()) if wanted else SumVerdict()
    if recorded.hashtype != next(iter(kinds)).hashtype:
        code = BALG if len(kinds) == 1 else BSUM
        return SumVerdict(events=((code, None),))
    differing = sorted(devid for devid, one in digests.items() if one != recorded)
    if not differing:
        return SumVerdict()
    if len(differing) == len(digests):
        return SumVerdict(events=((BSUM, None),))
    return SumVerdict(tuple(differing), None, tuple((BSUM, one) for one in differing))


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
