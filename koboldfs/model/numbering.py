"""Fids that a database has forgotten: it is an old state of it that was restored.

Nodes say the highest fid that lies on each of their disks. One above all that the
database ever drew says that the database is older than the disks: numbers up to there
are not drawn any more, and are noted in a setting, as ranges:

    forgotten = [ range *( "," range ) ]      range = first "-" last

Bytes under these numbers that no row knows may be all that is left of a file, and are
left alone until an operator removes the setting. What nodes say is believed up to a
limit: a single file of a high number, which anybody may have put there, must not use
up the numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from attrs import frozen

#: The setting that has the ranges.
FORGOTTEN_SETTING = "kobold_forgotten_fids"
#: Numbers of more digits are not looked for: a folder is named by the first seven.
HIGHEST_LISTED = 9_999_999_999
#: So many numbers are passed over, all ranges together, before an operator has to look:
#: more files than a database loses that has a backup every week, and few of those that
#: there are, even where they have 32 bits.
MOST_LIFTED = 100_000_000
#: The setting is at most 255 characters long, in MogileFS's tables.
MOST_RANGES = 8
_RANGE = re.compile("([0-9]{1,19})-([0-9]{1,19})", re.ASCII)


@frozen
class FidRange:
    """Fids from `first` to `last`, both included."""

    first: int
    last: int

    @property
    def count(self) -> int:
        """How many numbers these are."""
        return max(0, self.last - self.first + 1)

    def __contains__(self, fid: int) -> bool:
        return self.first <= fid <= self.last

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"


def parse_ranges(text: str | None) -> tuple[FidRange, ...]:
    """What the setting says; words that are no range are passed over."""
    matches = map(_RANGE.fullmatch, (text or "")[:1000].split(","))
    return tuple(FidRange(int(one[1]), int(one[2])) for one in matches if one)


def ranges_text(ranges: Iterable[FidRange]) -> str:
    """As they are kept in the setting: in order, joined where they meet. Of too many,
    the last ones become one, with what is between them."""
    joined: list[FidRange] = []
    for one in sorted(ranges, key=lambda one: (one.first, one.last)):
        if joined and one.first <= joined[-1].last + 1:
            first = joined.pop()
            one = FidRange(first.first, max(first.last, one.last))
        joined.append(one)
    if len(joined) > MOST_RANGES:
        rest = joined[MOST_RANGES - 1 :]
        joined[MOST_RANGES - 1 :] = [FidRange(rest[0].first, rest[-1].last)]
    return ",".join(map(str, joined))


def is_forgotten(fid: int, ranges: Sequence[FidRange]) -> bool:
    """Whether it is in one of them."""
    return any(fid in one for one in ranges)


def believed_up_to(drawn: int, ranges: Iterable[FidRange]) -> int:
    """The highest fid that is believed to have been given out, when the database knows
    of `drawn` ones and these ranges have been passed over already."""
    return drawn + max(0, MOST_LIFTED - sum(one.count for one in ranges))
