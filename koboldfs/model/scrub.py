"""The scrub of a device, as values: where it stands, when it is due, how far it is.

A pass reads, in ascending order of their fids, all copies that are recorded on the
device; then it looks, folder by folder, for files on its disk that no row knows.
"""

from __future__ import annotations

from attrs import evolve, frozen

from koboldfs.model.entities import Checksum, File, Located
from koboldfs.model.numbering import FidRange, is_forgotten

#: What a node says of a file that was to be put into its quarantine.
MOVED = "moved"  # it is there now
MISSING = "missing"  # there is no such file
GOOD = "good"  # it has the checksum with which it was to stay
YOUNG = "young"  # it was written too short a time ago
FULL = "full"  # the quarantine is
FOREIGN = "foreign"  # the node has no quarantine
SET_ASIDE_WORDS = (MOVED, MISSING, GOOD, YOUNG, FULL)
#: Files in the quarantine of a device: beyond that nothing more is put there, because
#: then nobody looks after it, and the disk shall not fill with what is of no use.
MOST_QUARANTINED = 10_000
#: What must not be served, and is not replaced by a good copy, takes no more room there
#: than where it lay: of such files there may be so many.
MOST_QUARANTINED_BEYOND = 10 * MOST_QUARANTINED
#: Why a file is there; part of its name.
BAD_COPY, ORPHAN = "bad", "orphan"

#: A copy whose bytes the disk did not give.
UNREADABLE = "unreadable"
#: What a node says of a copy that it was to read: its digest, None if it is not there.
Digest = Checksum | None | str

#: A device is first scrubbed this long after a tracker saw it first (seconds): what has
#: just been written needs no reading, and a cluster that starts has other work.
FIRST_PASS_SECONDS = 3600
DAY_SECONDS = 86_400
#: What a pass has reached when all copies are read, in percent.
_ALL_READ_PERCENT = 99
#: There are no folders above this number: they are named by seven digits.
LAST_FOLDER = 9_999_999


@frozen
class Counts:
    """What a pass has done and found: `files` copies read, of `size_bytes` together;
    copies that were `bad` or `missing`, and those `mended`: made anew and read back;
    files that no row knew (`orphans`), and files without any good copy (`lost`)."""

    files: int = 0
    size_bytes: int = 0
    bad: int = 0
    mended: int = 0
    missing: int = 0
    orphans: int = 0
    lost: int = 0

    @property
    def sound(self) -> int:
        """At least so many of the copies are as they should be."""
        return max(0, self.files - self.bad - self.missing - self.lost)

    def plus(self, more: Counts) -> Counts:
        """The sums."""
        return Counts(
            self.files + more.files,
            self.size_bytes + more.size_bytes,
            self.bad + more.bad,
            self.mended + more.mended,
            self.missing + more.missing,
            self.orphans + more.orphans,
            self.lost + more.lost,
        )


@frozen
class Scrub:
    """How a device's scrub stands. Times in Unix seconds of the database's clock, 0 for
    never. `began` and the counts are those of the pass that is `running`, or else of
    the last one; `ended` is when one last came to its end. `folder` is below 0 while
    rows are walked, and then the one that is looked at; `position` is the last fid that
    was dealt with (in that folder). `end_fid` was the highest fid when it began."""

    devid: int
    known: int
    began: int = 0
    ended: int = 0
    asked: bool = False
    running: bool = False
    position: int = 0
    folder: int = -1
    end_fid: int = 0
    counts: Counts = Counts()
    owner: str = ""
    leased_until: int = 0

    def due(self, now: int, period_seconds: int) -> bool:
        """Whether a pass is to begin; with a period of 0 only when one was asked
        for."""
        if self.running:
            return False
        if self.asked:
            return True
        if period_seconds <= 0:
            return False
        if not self.began:
            return now >= self.known + FIRST_PASS_SECONDS
        return now >= self.began + period_seconds

    def free_for(self, owner: str, now: int) -> bool:
        """Whether nobody else has it in work."""
        return self.owner in ("", owner) or self.leased_until <= now

    def percent(self) -> int:
        """How much of the pass is done."""
        if not self.running:
            return 100 if self.ended else 0
        if self.folder >= 0:
            return _ALL_READ_PERCENT
        share = self.position * 100 // max(1, self.end_fid)
        return min(_ALL_READ_PERCENT, share)

    def moved_on(self, position: int, folder: int, more: Counts) -> Scrub:
        """The same, further on."""
        counts = self.counts.plus(more)
        return evolve(self, position=position, folder=folder, counts=counts)


@frozen
class Listing:
    """Some files of a device's `folder`, by fid. `more`: there are further ones in it;
    else the next folder to be asked for is `following`, None when it was the last."""

    folder: int
    fids: tuple[int, ...]
    more: bool
    following: int | None


@frozen
class Strays:
    """Those of some fids on a device that no row knows, each with its file if it lives
    (with other copies); the highest fid that the database ever gave out, and those that
    it has `forgotten`."""

    found: tuple[tuple[int, Located | None], ...]
    highest_fid: int
    forgotten: tuple[FidRange, ...] = ()

    def left_alone(self) -> list[int]:
        """Those that may be all that is left of a file which an old state of the
        database does not know."""
        return [
            fid
            for fid, located in self.found
            if fid > self.highest_fid
            or (located is None and is_forgotten(fid, self.forgotten))
        ]


@frozen
class LostFile:
    """A live file without a good copy, and when that was found (Unix seconds)."""

    file: File
    since: int


def period_seconds(days: str) -> int:
    """The setting `kobold_scrub_days` in seconds; what is no number is the default."""
    known = days if days.isascii() and days.isdigit() and len(days) < 6 else "30"
    return int(known) * DAY_SECONDS


def beyond_belief(found: int, files: int) -> bool:
    """Whether so many files of a device that no row knows, beside `files` that are as
    they should be, say rather that the rows are wrong: another database, or an old
    one. A hundred are believed, and a tenth."""
    return found > max(100, files // 10)
