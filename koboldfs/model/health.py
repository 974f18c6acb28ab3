"""How safe the files are, as values, and how they are added up.

Two sources, because neither can be had from the other. What is *short* is counted now,
along an index, up to a limit: exact while there is little of it, "at least" beyond. All
files and their bytes are counted by the *census*, which walks through them in the
background: exact, as of the time that it took.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from attrs import asdict, define, evolve, frozen

#: No text of a census is longer (characters); what is longer is none of ours.
MAX_CENSUS_CHARS = 2000


@frozen
class Shortage:
    """`files` of a class with `copies` recorded ones each; `lowest_fid` of them."""

    copies: int
    files: int
    lowest_fid: int


@define
class Shortages:
    """Files with fewer copies than their policy wants. Those with fewer copies than
    `exact_below` are all counted (None: all are), of the others some are not;
    `partial`: not all classes were asked in the time that there was."""

    none: int = 0
    one: int = 0
    fewer: int = 0
    exact_below: int | None = None
    partial: bool = False
    lowest_fid: int | None = None

    @property
    def capped(self) -> bool:
        """Whether some are not counted."""
        return self.exact_below is not None

    @property
    def total(self) -> int:
        """All of them."""
        return self.none + self.one + self.fewer

    def add(self, found: Sequence[Shortage], limit: int) -> None:
        """Those of one more class, of which up to `limit` were counted."""
        for one in found:
            if one.copies <= 0:
                self.none += one.files
            elif one.copies == 1:
                self.one += one.files
            else:
                self.fewer += one.files
            if self.lowest_fid is None or one.lowest_fid < self.lowest_fid:
                self.lowest_fid = one.lowest_fid
        if sum(one.files for one in found) >= limit:
            # Those with the fewest come first, so only of the last kind some may lack.
            last = max(one.copies for one in found)
            below = self.exact_below
            self.exact_below = last if below is None else min(last, below)

    def correct(self, fid: int, recorded: int, counting: int, wanted: int) -> None:
        """Of a file's `recorded` copies only `counting` ones count, because others are
        on lost devices; as many as are recorded were added."""
        if recorded < wanted:
            self._change(recorded, -1)
        if counting < wanted:
            self._change(counting, 1)
            if self.lowest_fid is None or fid < self.lowest_fid:
                self.lowest_fid = fid

    def _change(self, copies: int, more: int) -> None:
        # Where not all were added, less than none may be left: that is none, at least.
        if copies <= 0:
            self.none = max(0, self.none + more)
        elif copies == 1:
            self.one = max(0, self.one + more)
        else:
            self.fewer = max(0, self.fewer + more)


@frozen
class Census:
    """A walk through all files by their fids, as far as `fid`. Times in Unix seconds;
    `ended` 0: under way. Copies on devices that are dead, lost or unknown do not
    count.

    `whole` have all copies that their policy wants, `fewer` have at least two, `one`
    have one, `none` have none. `unreadable` have no copy on a device that could be
    read when they were looked at, whatever is recorded.
    """

    began: int
    ended: int = 0
    fid: int = 0
    files: int = 0
    bytes: int = 0
    whole: int = 0
    fewer: int = 0
    one: int = 0
    none: int = 0
    unreadable: int = 0

    def with_files(self, seen: Iterable[Seen]) -> Census:
        """One page further."""
        fid, count, size = self.fid, self.files, self.bytes
        whole, fewer, one, none, away = (
            self.whole,
            self.fewer,
            self.one,
            self.none,
            self.unreadable,
        )
        for file in seen:
            fid, count, size = file.fid, count + 1, size + file.length
            if file.copies <= 0:
                none += 1
            elif file.copies >= file.wanted:
                whole += 1
            elif file.copies == 1:
                one += 1
            else:
                fewer += 1
            away += not file.readable
        return Census(
            self.began, self.ended, fid, count, size, whole, fewer, one, none, away
        )

    def finished(self, now: int) -> Census:
        """It has come to the end."""
        return evolve(self, ended=max(now, self.began))

    def text(self) -> str:
        """As it is kept in a setting."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def of(cls, text: str | None) -> Census | None:
        """What such a text says; None if it is no such text."""
        if not text or len(text) > MAX_CENSUS_CHARS:
            return None
        try:
            values = json.loads(text)
            numbers = {name: int(value) for name, value in values.items()}
            return cls(**numbers)
        except (ValueError, TypeError, AttributeError):
            return None


@frozen
class Seen:
    """What the census sees of a file: how many copies that count it has, how many it
    should have, and whether one of them can be read now. `length` in bytes."""

    fid: int
    length: int
    copies: int
    wanted: int
    readable: bool
