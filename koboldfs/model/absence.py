"""Devices that are away: for how long, and when their files count as lost.

What all trackers know of it together stands in settings, as words with blanks between:

    kobold_away   TIME *(DEVID ":" SECONDS)   TIME: when a tracker last counted, by
                                              the database's clock; SECONDS: so long
                                              has every tracker that looked missed it
    kobold_lost   *(DEVID)                    their copies count as no copies
    kobold_late   *(DEVID)                    were lost and came back; what is now one
                                              copy too many is being taken away
    kobold_lost_walk  *(DEVID ":" KIND ":" FID ":" QUEUED ":" DUE)   see `Walk`

Time is counted, not subtracted: a look adds what has passed since the last one, by the
same clock, and nothing when that is longer than `MOST_COUNTED_SECONDS` or less than
nothing. So no time counts in which nobody looked (all trackers were stopped, or had no
database), and none that a clock jumped over. Whoever sees a device takes its count
away, so only what EVERY tracker misses grows old.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from attrs import evolve, field, frozen

from koboldfs.model.entities import END_OF_TIME
from koboldfs.model.view import LATE_SETTING, LOST_SETTING, View

LOST_AFTER_SETTING = "kobold_lost_after_seconds"
AWAY_SETTING = "kobold_away"
WALK_SETTING = "kobold_lost_walk"

#: Longer than this nobody looked: it does not count as absence (seconds).
MOST_COUNTED_SECONDS = 60
_WORD = re.compile(r"([0-9]{1,9}):([0-9]{1,12})", re.ASCII)
_TIME = re.compile("[0-9]{1,12}", re.ASCII)
_WALK = re.compile(
    r"([0-9]{1,9}):(lost|late):([0-9]{1,19}):([0-9]{1,18}):([0-9]{1,12})", re.ASCII
)


@frozen
class Absences:
    """When somebody last counted (Unix seconds of the database), and for how many
    seconds each device has been away."""

    counted_at: int = 0
    seconds: Mapping[int, int] = field(factory=dict)

    @classmethod
    def parse(cls, text: str | None) -> Absences:
        """What the setting says; nothing if it makes no sense."""
        head, *words = (text or "").split() or [""]
        found = [_WORD.fullmatch(word) for word in words]
        if not _TIME.fullmatch(head) or None in found:
            return cls()
        return cls(int(head), {int(one[1]): int(one[2]) for one in found if one})

    def text(self) -> str | None:
        """For the setting; None when nothing is away."""
        if not self.seconds:
            return None
        words = (f"{devid}:{self.seconds[devid]}" for devid in sorted(self.seconds))
        return " ".join((str(self.counted_at), *words))


@frozen
class Standing:
    """What is known of all devices that are, or were, away too long."""

    absences: Absences = Absences()
    lost: frozenset[int] = frozenset()
    late: frozenset[int] = frozenset()

    @classmethod
    def of(cls, view: View, away: str | None) -> Standing:
        """As the picture has it, and the setting `kobold_away` as read just now."""
        return cls(Absences.parse(away), view.lost, view.late)


def numbers_text(devids: Iterable[int]) -> str | None:
    """For the settings `kobold_lost` and `kobold_late`."""
    return " ".join(map(str, sorted(devids))) or None


def settings_of(standing: Standing) -> dict[str, str | None]:
    """The settings that say it."""
    return {
        AWAY_SETTING: standing.absences.text(),
        LOST_SETTING: numbers_text(standing.lost),
        LATE_SETTING: numbers_text(standing.late),
    }


def lost_after_seconds(view: View) -> int:
    """After how long a device counts as lost; 0: never. A database on which the setting
    is not (a running tracker writes it at its start) is left alone."""
    text = view.settings.get(LOST_AFTER_SETTING, "")
    return int(text) if re.fullmatch("[0-9]{1,12}", text, re.ASCII) else 0


def word(view: View, devid: int) -> str:
    """``lost``, ``late`` (it was, and is back), or empty."""
    if devid in view.lost:
        return "lost"
    return "late" if devid in view.late else ""


def seen(view: View, devid: int) -> bool:
    """Whether this tracker sees the device."""
    return view.observed(devid) in ("readable", "writeable")


def expected(view: View, lost: Iterable[int]) -> set[int]:
    """The devices that should be there: not dead or down by the operator's word, as
    the host, and not mourned already."""
    found = set()
    for devid, device in view.devices.items():
        host = view.hosts.get(device.hostid)
        if (
            host is not None
            and device.status in ("alive", "readonly", "drain")
            and host.status in ("alive", "readonly")
        ):
            found.add(devid)
    return found.difference(lost)


def cut_off(view: View, devids: Iterable[int]) -> str:
    """Why this tracker is more likely cut off itself than all that it misses lost;
    empty when it may judge. `devids` are those that are `expected`.

    It may judge while it sees more than half of the hosts and more than half of the
    devices. Of two parts into which a network falls only one can have that, and what
    remains then is more than what is to be copied. Two hosts are too few: neither
    can tell whether it or the other is cut off; nor is there another host to copy to.
    """
    devids = list(devids)
    hosts = {view.devices[devid].hostid for devid in devids}
    there = {hostid for hostid in hosts if view.host_reachable(hostid)}
    if 2 * len(there) <= len(hosts):
        return f"only {len(there)} of {len(hosts)} hosts can be seen"
    found = sum(seen(view, devid) for devid in devids)
    if 2 * found <= len(devids):
        return f"only {found} of {len(devids)} devices can be seen"
    return ""


def after_look(
    standing: Standing, view: View, now: int, lost_after: int, *, counting: bool
) -> Standing:
    """What is known after this tracker has looked; `now` by the database's clock.

    `counting`: it has looked for long enough, without a break, to be believed. If not,
    or if it is `cut_off`, it only tells what it sees. Devices that it sees are away no
    more, and those that were lost are late; with `lost_after` 0 nothing is lost.
    """
    known = {devid for devid in view.devices if not view.is_dead(devid)}
    lost = standing.lost & known
    back = {devid for devid in lost if not lost_after or seen(view, devid)}
    lost -= back
    late = (standing.late & known) | back
    wanted = expected(view, lost)
    missing = {devid for devid in wanted if not seen(view, devid)}
    before = standing.absences
    if not lost_after:
        return Standing(Absences(), lost, late)
    if not counting or cut_off(view, wanted):
        kept = {d: s for d, s in before.seconds.items() if d in missing}
        return Standing(Absences(before.counted_at, kept), lost, late)
    step = now - before.counted_at
    if not 0 < step <= MOST_COUNTED_SECONDS:
        step = 0
    seconds = {
        devid: before.seconds[devid] + step if devid in before.seconds else 0
        for devid in missing
    }
    gone = {devid for devid, count in seconds.items() if count >= lost_after}
    left = {devid: count for devid, count in seconds.items() if devid not in gone}
    return Standing(Absences(now, left), lost | gone, late - gone)


@frozen
class Walk:
    """How far the files of a lost or late device (`kind`) were looked through: up to
    `fid`, of which so many were `queued`; not to go on before `due` (Unix seconds of
    the database's clock; `END_OF_TIME`: all is done)."""

    kind: str
    fid: int = 0
    queued: int = 0
    due: int = 0

    @property
    def done(self) -> bool:
        """Whether nothing is left to be looked at."""
        return self.due == END_OF_TIME

    def ended(self, now: int, again_seconds: int) -> Walk:
        """All files were looked at. If some lacked something, look again later:
        somebody else's tracker may have taken their rows, and found them well."""
        if not self.queued:
            return evolve(self, due=END_OF_TIME)
        return Walk(self.kind, due=now + again_seconds)


def parse_walks(text: str | None, lost: Iterable[int], late: Iterable[int]) -> Walks:
    """By device, where each walk stands; one that does not stand there, or is of
    another kind, begins."""
    walks = {devid: Walk("lost") for devid in lost}
    walks |= {devid: Walk("late") for devid in late}
    for word in (text or "").split():
        match = _WALK.fullmatch(word)
        if match is None:
            continue
        devid, kind = int(match[1]), match[2]
        if devid in walks and walks[devid].kind == kind:
            numbers = map(int, match.groups()[2:])
            walks[devid] = Walk(kind, *numbers)
    return walks


def walks_text(walks: Walks) -> str | None:
    """For the setting."""
    words = (
        f"{devid}:{one.kind}:{one.fid}:{one.queued}:{one.due}"
        for devid, one in sorted(walks.items())
    )
    return " ".join(words) or None


Walks = dict[int, Walk]
