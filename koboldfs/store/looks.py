"""Where a look at a queue begins, when a whole one takes long.

Rows that are due are found along an index, from its beginning. While somebody keeps an
old snapshot open (a backup, for hours), or nobody has vacuumed, that beginning is full
of rows that are gone: a million of them cost a tenth of a second, at every look. So a
look that took long is not repeated at once. Until then only what may be new is looked
at: rows that became due since, and rows that are due at once with the higher fids.

Nothing is lost by that: what is passed over, such as a row that was queued by somebody
whose clock is behind, the next whole look finds.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from koboldfs.store.steps import Row

#: A look that took no longer is repeated as often as anybody wants.
SLOW_SECONDS = 0.05
#: After one that did, the next whole one comes after so many times as long, so that
#: they take a twentieth of the time; and after this many seconds at the latest.
REST_TIMES, LONGEST_REST_SECONDS = 20, 60.0
#: A row may be queued by a transaction that began so much earlier than it was seen.
SLACK_SECONDS = 60
#: Of files that are closed at the same time, the fids are as far apart as that.
SLACK_FIDS = 10_000
FIRST_FID = 1
#: A row that is late by more (three decades) is one that is due at once: its time is 0.
AT_ONCE_SECONDS = 1_000_000_000


@define(eq=False)
class Look:
    """One look at a queue for up to `limit` rows: a `whole` one, or one at rows that
    became due in the last `age_seconds`, and at those due at once from `fid` on (0: not
    at those, as that would be a whole one, too)."""

    limit: int
    whole: bool
    began: float
    age_seconds: int = 0
    fid: int = 0
    #: Of each row found, its fid and for how long it has been due (seconds).
    found: list[tuple[int, int]] = field(factory=list)

    def note(self, rows: Sequence[Row]) -> None:
        """What was found; again if the transaction is run again."""
        self.found = [(row[0], row[-1]) for row in rows]


@define(eq=False)
class Outset:
    """What is known of the beginning of one queue; times by our clock."""

    _clock: IReactorTime
    _whole_due: float = 0.0
    #: Everything that was due before this has been taken.
    _since: float = 0.0
    #: Everything that is due at once with a lower fid has been taken; 0: who knows.
    _fid: int = 0

    def look(self, limit: int) -> Look:
        """The next one."""
        now = self._clock.seconds()
        # A clock that was put back must not end the looking.
        whole = not now < self._whole_due <= now + LONGEST_REST_SECONDS
        age = max(0, round(now - self._since)) + SLACK_SECONDS
        return Look(
            limit,
            whole,
            now,
            min(age, AT_ONCE_SECONDS),
            self._fid and max(FIRST_FID, self._fid - SLACK_FIDS),
        )

    def looked(self, look: Look) -> None:
        """Learn from one that is over."""
        at_once = [fid for fid, late in look.found if late > AT_ONCE_SECONDS]
        later = [late for _, late in look.found if late <= AT_ONCE_SECONDS]
        full = len(look.found) >= look.limit
        if not full:
            self._since = look.began
        elif later:
            self._since = look.began - later[-1]
        if look.whole and full and not later:
            self._fid = FIRST_FID  # more will be there, and they came in any order
        elif self._fid == FIRST_FID and not at_once:
            self._fid = 0
        else:
            self._fid = max([self._fid, *at_once])
        if look.whole:
            took = self._clock.seconds() - look.began
            rest = min(LONGEST_REST_SECONDS, REST_TIMES * took)
            self._whole_due = look.began + rest if took > SLOW_SECONDS else 0.0
