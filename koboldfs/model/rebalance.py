"""Rebalancing: the policy language, the state of a run, and what comes next.

A policy is blank-separated ``name=value``; lists have commas. A device is a source when
it fits everything that is said after ``from_``; it is a destination when it fits
everything after ``to_`` and nothing after ``not_to_``, may take files, and is no
source:

    from_all_devs=1      0: only what the other words name
    from_hosts from_devices                       numbers
    from_percent_used from_percent_free           more than so many percent
    from_space_used from_space_free               more than so many MB
    to_all_devs=1 to_hosts to_devices to_percent_used to_percent_free
    to_space_used to_space_free not_to_hosts not_to_devices
    fid_age=old|new      begin with the oldest or the newest files
    limit_type=device|global
    limit_by=none|count|size       and `limit`: files, or bytes (b k m g t p)
    use_dest_devs=all|N  offer only N destinations, drawn anew for each file
    leave_in_drain_mode=0          1: a source stays in state drain when it is done

The state is text of the same form; names are MogileFS's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import evolve, field, frozen

from koboldfs.model.view import View

#: A policy or a state is never longer (bytes of a settings value).
MAX_TEXT_CHARS = 4096
_NUMBER = re.compile("[0-9]{1,18}", re.ASCII)
_SIZE = re.compile("([0-9]{1,15})([bkmgtp]?)", re.ASCII | re.IGNORECASE)
_UNITS: dict[str, int] = {unit: 1024**n for n, unit in enumerate("bkmgtp")}


def _number(text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise ValueError("is not a number")
    return int(text)


def _numbers(text: str) -> frozenset[int]:
    return frozenset(_number(word) for word in text.split(",") if word)


def _switch(text: str) -> bool:
    if text not in ("0", "1"):
        raise ValueError("is neither 0 nor 1")
    return text == "1"


def _one_of(*words: str) -> Callable[[str], str]:
    def word(text: str) -> str:
        if text not in words:
            raise ValueError(f"is none of {', '.join(words)}")
        return text

    return word


def _size(text: str) -> int:
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError("is no number, nor one with b, k, m, g, t or p")
    factor: int = _UNITS[match[2].lower() or "b"]
    return int(match[1]) * factor


def _destinations(text: str) -> int | None:
    return None if text == "all" else _number(text)


_LIMITS = ("percent_used", "percent_free", "space_used", "space_free")


@frozen
class Side:
    """What is said of the sources, or of the destinations."""

    all_devs: bool = True
    hosts: frozenset[int] = frozenset()
    devices: frozenset[int] = frozenset()
    percent_used: int | None = None
    percent_free: int | None = None
    space_used: int | None = None
    space_free: int | None = None

    def fits(self, devid: int, view: View) -> bool:
        """Whether a device is meant."""
        device = view.devices[devid]
        named = bool(self.hosts or self.devices)
        if named and not (device.hostid in self.hosts or devid in self.devices):
            return False
        limits = [getattr(self, name) for name in _LIMITS]
        if not self.all_devs and not named and limits.count(None) == len(limits):
            return False
        return all(
            limit is None or (value is not None and value > limit)
            for limit, value in zip(limits, _room(devid, view), strict=True)
        )


def _room(devid: int, view: View) -> tuple[float | None, ...]:
    """Percent used and free, MB used and free; None where it is not known."""
    total, free = view.total_mb(devid), view.free_mb(devid)
    if not total or free is None:
        return (None, None, None, None)
    used = total - free
    return (100 * used / total, 100 * free / total, used, free)


@frozen
class Policy:
    """What a rebalance shall do."""

    sources: Side = Side()
    targets: Side = Side()
    not_to_hosts: frozenset[int] = frozenset()
    not_to_devices: frozenset[int] = frozenset()
    fid_age: str = "old"
    limit_type: str = "device"
    limit_by: str = "none"
    limit: int = 0
    use_dest_devs: int | None = None
    leave_in_drain_mode: bool = False

    def source_devices(self, view: View) -> list[int]:
        """The devices to take from: readable ones, fullest first."""
        found = [
            devid
            for devid in view.devices
            if view.may_delete_from(devid) and self.sources.fits(devid, view)
        ]
        return sorted(found, key=lambda devid: (view.free_share(devid), devid))

    def target_devices(self, view: View, sources: Sequence[int]) -> list[int]:
        """The devices to give to."""
        return [
            devid
            for devid, device in view.devices.items()
            if devid not in sources
            and view.may_receive(devid)
            and device.hostid not in self.not_to_hosts
            and devid not in self.not_to_devices
            and self.targets.fits(devid, view)
        ]


_SIDE: dict[str, Callable[[str], Any]] = {
    "all_devs": _switch,
    "hosts": _numbers,
    "devices": _numbers,
    **dict.fromkeys(_LIMITS, _number),
}
_REST: dict[str, Callable[[str], Any]] = {
    "not_to_hosts": _numbers,
    "not_to_devices": _numbers,
    "fid_age": _one_of("old", "new"),
    "limit_type": _one_of("device", "global"),
    "limit_by": _one_of("none", "count", "size"),
    "limit": _size,
    "use_dest_devs": _destinations,
    "leave_in_drain_mode": _switch,
}


def parse_policy(text: str) -> Policy:
    """The policy that a text means; raises ValueError with a sentence."""
    if len(text) > MAX_TEXT_CHARS:
        raise ValueError("Invalid setting: the policy is too long")
    sides: dict[str, dict[str, Any]] = {"from": {}, "to": {}}
    rest: dict[str, Any] = {}
    for word in text.split():
        name, _, value = word.partition("=")
        side, _, part = name.partition("_")
        if side in sides and part in _SIDE:
            into, key, read = sides[side], part, _SIDE[part]
        elif name in _REST:
            into, key, read = rest, name, _REST[name]
        else:
            raise ValueError(f"Invalid setting {name}")
        try:
            into[key] = read(value)
        except ValueError as error:
            raise ValueError(f"Invalid setting {name}: {value!r} {error}") from None
    policy = Policy(Side(**sides["from"]), Side(**sides["to"]), **rest)
    if policy.limit_by != "none" and not policy.limit:
        raise ValueError("Invalid setting limit: limit_by needs a limit")
    return policy


_LISTS = ("completed_devs", "source_devs")


@frozen
class State:
    """Where a run stands. Times in Unix seconds; `sdev_current` 0 is none. What a
    tracker of MogileFS wrote beside these is kept in `others`."""

    completed_devs: tuple[int, ...] = ()
    source_devs: tuple[int, ...] = ()
    sdev_current: int = 0
    sdev_lastfid: int = 0
    sdev_limit: int = 0
    limit: int = 0
    fids_queued: int = 0
    bytes_queued: int = 0
    time_started: int = 0
    time_finished: int = 0
    time_stopped: int = 0
    time_latest_run: int = 0
    time_latest_empty_run: int = 0
    empty_runs: int = 0
    others: Mapping[str, str] = field(factory=dict)

    def __str__(self) -> str:
        values: dict[str, str] = {}
        for name in _FIELDS:
            value = getattr(self, name)
            text = ",".join(map(str, value)) if name in _LISTS else str(value)
            values[name] = text
        values.update(self.others)
        return " ".join(f"{name}={value}" for name, value in values.items())

    def queued(self, files: int, size_bytes: int, last: int, now: int) -> State:
        """After a page of the current device was queued."""
        return evolve(
            self,
            fids_queued=self.fids_queued + files,
            bytes_queued=self.bytes_queued + size_bytes,
            sdev_lastfid=last,
            time_latest_run=now,
        )

    def next_device(self, policy: Policy) -> State:
        """With the next source, at its first file, as current one."""
        return evolve(
            self,
            sdev_current=self.source_devs[0],
            source_devs=self.source_devs[1:],
            sdev_lastfid=0,
            sdev_limit=policy.limit if policy.limit_type == "device" else 0,
        )

    def device_done(self) -> State:
        """Without a current device."""
        return evolve(
            self,
            completed_devs=(*self.completed_devs, self.sdev_current),
            sdev_current=0,
            sdev_lastfid=0,
            sdev_limit=0,
        )


_FIELDS = [one.name for one in State.__attrs_attrs__ if one.name != "others"]


def parse_state(text: str) -> State:
    """The state that a text says; nonsense in it counts as 0."""
    values: dict[str, Any] = {}
    others: dict[str, str] = {}
    for word in text[:MAX_TEXT_CHARS].split():
        name, _, value = word.partition("=")
        if name in _LISTS:
            numbers = (int(one) for one in value.split(",") if _NUMBER.fullmatch(one))
            values[name] = tuple(numbers)
        elif name in _FIELDS:
            values[name] = int(value) if _NUMBER.fullmatch(value) else 0
        else:
            others[name] = value
    return State(**values, others=others)


def begin(policy: Policy, sources: Sequence[int], now: int) -> State:
    """The state of a run that begins."""
    whole = policy.limit if policy.limit_type == "global" else 0
    return State(source_devs=tuple(sources), limit=whole, time_started=now)


def within_limit(
    policy: Policy, state: State, lengths: Sequence[int]
) -> tuple[int, State]:
    """How many of the files with these lengths (bytes) may still be queued, and the
    state with the limit that is left. At 0 left the limit is reached: the answer is
    then less than all, or the next one will be 0."""
    if policy.limit_by == "none":
        return len(lengths), state
    left = state.limit if policy.limit_type == "global" else state.sdev_limit
    count = 0
    for length in lengths:
        cost = 1 if policy.limit_by == "count" else length
        if left < max(cost, 1):
            break
        left -= cost
        count += 1
    if count < len(lengths):
        left = 0
    if policy.limit_type == "global":
        return count, evolve(state, limit=left)
    return count, evolve(state, sdev_limit=left)


def limit_reached(policy: Policy, state: State) -> bool:
    """Whether nothing more of the current device may be queued."""
    if policy.limit_by == "none":
        return False
    return not (state.limit if policy.limit_type == "global" else state.sdev_limit)
