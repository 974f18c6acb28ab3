"""The run of fsck: when it begins, where it stands, when it ends.

All of it is in MogileFS's settings, so that its trackers and ours, and a tracker that
takes over, see the same:

    fsck_host                  the tracker that queues the files; none: not running
    fsck_start_time            Unix seconds; none after a reset
    fsck_stop_time             when it was stopped, or came to its end
    fsck_highest_fid_checked   every fid up to this one is queued or checked
    fsck_fid_at_end            where it ends
    fsck_start_fid             where it began
    fsck_fids_checked          how many were queued since then
    fsck_opt_policy_only       1: ask no node
    fsck_start_maxlogid, fsck_logid_processed, fsck_sum_evcount_<CODE>
                               how far the log is added up, and the sums

What MogileFS cannot say is in settings of ours: `kobold_fsck_domain`, `_class`,
`_prefix` (only these files are checked) and `kobold_fsck_own_checksums` (every copy is
read and compared with our checksum). They are about the run that began at
`kobold_fsck_start_time` (`next`: that will begin): when a tracker of MogileFS starts
another one, they mean nothing.

A run that came to its end begins anew, over all files, when it is started; one that was
stopped goes on.

Where the run stands is only changed by whoever sees it as it is (`change_settings`): a
tracker that has not heard yet that it was stopped, or begun anew by another one, cannot
have it jump over files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from koboldfs import errors, job_errors
from koboldfs.interfaces import ILiveView, ITasks, ITopology
from koboldfs.model import fsck as rules
from koboldfs.model.entities import FSCK_TASK, FsckLogRow

HOST = "fsck_host"
REBALANCE_HOST = "rebal_host"
START_TIME, STOP_TIME = "fsck_start_time", "fsck_stop_time"
POSITION, END = "fsck_highest_fid_checked", "fsck_fid_at_end"
START_FID, CHECKED = "fsck_start_fid", "fsck_fids_checked"
POLICY_ONLY = "fsck_opt_policy_only"
FIRST_LOGID, LAST_LOGID = "fsck_start_maxlogid", "fsck_logid_processed"
SUM = "fsck_sum_evcount_"
OURS = "kobold_fsck_"
SCOPE = ("domain", "class", "prefix", "own_checksums")
SCOPE_TIME, NEXT_RUN = OURS + "start_time", "next"

#: Fids queued at a time, and how many may wait (MogileFS's settings and defaults).
RATE, RATE_DEFAULT = "queue_rate_for_fsck", 1000
SIZE, SIZE_DEFAULT = "queue_size_for_fsck", 20000
#: No page is larger, and no more rows need to wait than a few pages.
MAX_RATE = 5000
PAGES_AHEAD = 3
#: So many files with copies that cannot be asked may wait beside the others: a node
#: that is away stops nothing, but the queue shall not become the whole name space.
MOST_STALLED = 1_000_000
#: How often the events are added up in the settings, and how old they are then at the
#: least (seconds): until then a tracker may still be writing one with a smaller number.
TALLY_SECONDS, SETTLED_SECONDS = 5.0, 10
#: `fsck_getlog` gives so many entries (MogileFS's number).
LOG_PAGE = 100
#: The queue is counted no further than this for `fsck_status`.
MOST_COUNTED = 1_000_000


@frozen
class Wanted:
    """What a run shall be about; empty texts mean all."""

    domain: str = ""
    class_name: str = ""
    prefix: str = ""
    own_checksums: bool = False

    def settings(self) -> dict[str, str | None]:
        """The settings that say so."""
        values = (
            self.domain,
            self.class_name,
            self.prefix,
            "1" if self.own_checksums else "",
        )
        return {
            OURS + name: value or None
            for name, value in zip(SCOPE, values, strict=True)
        }


@frozen
class Standing:
    """Where a run stands: every fid up to `position` is queued, of those up to `end`;
    `checked` files so far. `settings` are those that say so."""

    position: int
    end: int
    checked: int
    settings: Mapping[str, str | None]


class Checks:
    """See the module. `host_name` is this tracker's; of several processes that are one
    tracker, one `plans`."""

    def __init__(
        self,
        topology: ITopology,
        tasks: ITasks,
        live: ILiveView,
        host_name: str,
        *,
        plans: bool = True,
    ) -> None:
        self._topology = topology
        self._tasks = tasks
        self._live = live
        self._host_name = host_name
        self._plans = plans

    # --- for operators

    async def start(self, wanted: Wanted | None = None) -> None:
        """Begin, or go on after the last fid. With `wanted` it begins anew.

        Raises `FsckRunning`, `RebalanceRunning`, `UnknownDomain`, `UnknownClass`,
        `NoDomain`.
        """
        settings = await self._settings()
        _refuse_running(settings)
        values: dict[str, Any] = {}
        if wanted is not None:
            values = await self._anew(settings, False, 0, wanted)
        elif await self._finished(settings):
            policy_only = _true(settings, POLICY_ONLY)
            values = await self._anew(settings, policy_only, 0, Wanted())
        elif START_TIME not in settings:
            # After a reset, or the first of all.
            values = {END: await self._tasks.highest_fid()}
        now = await self._tasks.unix_time()
        limited = values.get(SCOPE_TIME) if POSITION in values else _about(settings)
        values |= {
            STOP_TIME: None,
            CHECKED: 0,
            START_FID: values.get(POSITION, _number(settings, POSITION)),
            START_TIME: now,
            SCOPE_TIME: now if limited else None,
            HOST: self._host_name,
        }
        free = {name: settings.get(name) for name in (HOST, REBALANCE_HOST)}
        if not await self._change(free, values):
            _refuse_running(await self._settings())
            raise job_errors.FsckRunning()

    async def _finished(self, settings: Mapping[str, str]) -> bool:
        """Whether the last run came to its end: nothing is left behind its position."""
        if START_TIME not in settings:
            return False
        position, end = _number(settings, POSITION), _number(settings, END)
        return not await self._tasks.files_between(position, end, 1)

    async def stop(self) -> None:
        """Queue no more files; what is queued is still checked."""
        await self._set({HOST: None, STOP_TIME: await self._tasks.unix_time()})

    async def reset(self, *, policy_only: bool, after_fid: int, wanted: Wanted) -> None:
        """Have the next run begin after a fid, with counts of 0.

        Raises `UnknownDomain`, `UnknownClass`, `NoDomain`.
        """
        settings = await self._settings()
        await self._set(await self._anew(settings, policy_only, after_fid, wanted))

    async def _anew(
        self,
        settings: Mapping[str, str],
        policy_only: bool,
        after_fid: int,
        wanted: Wanted,
    ) -> dict[str, Any]:
        """The settings of a run that has not begun."""
        view = self._live.view
        if wanted.domain:
            domain = view.domains.get(wanted.domain)
            if domain is None:
                raise errors.UnknownDomain()
            name = wanted.class_name
            if name and view.class_named(domain.dmid, name) is None:
                raise errors.UnknownClass()
        elif wanted.class_name or wanted.prefix:
            raise errors.NoDomain()
        logid, _ = await self._tasks.tally(_number(settings, LAST_LOGID), 0)
        sums = [name for name in settings if name.startswith(SUM)]
        forgotten = (START_TIME, STOP_TIME, START_FID, CHECKED, *sums)
        scope = wanted.settings()
        return {
            **dict.fromkeys(forgotten),
            **scope,
            SCOPE_TIME: NEXT_RUN if any(scope.values()) else None,
            POLICY_ONLY: int(policy_only),
            POSITION: after_fid,
            END: await self._tasks.highest_fid(),
            FIRST_LOGID: logid,
            LAST_LOGID: logid,
        }

    async def status(self) -> dict[str, Any]:
        """The fields of `fsck_status`."""
        settings = await self._settings()
        logid, counts = await self._tasks.tally(_number(settings, LAST_LOGID), 0)
        now = await self._tasks.unix_time()
        queued = await self._tasks.count_tasks(FSCK_TASK, MOST_COUNTED)
        waiting = await self._tasks.count_fresh(FSCK_TASK, MOST_COUNTED)
        position, end = _number(settings, POSITION), _number(settings, END)
        running = bool(settings.get(HOST))
        fields: dict[str, Any] = {
            "running": int(running),
            "host": settings.get(HOST),
            "max_fid_checked": position,
            "policy_only": _number(settings, POLICY_ONLY),
            "end_fid": end,
            "start_time": _number(settings, START_TIME),
            "stop_time": _number(settings, STOP_TIME),
            "current_time": now,
            "max_logid": logid,
        }
        for code in rules.CODES:
            count = _number(settings, SUM + code) + counts.get(code, 0)
            if count:
                fields[f"num_{code}"] = count
        fields |= {"queued": queued, "stalled": queued - waiting}
        fields |= self._progress(settings, now, waiting)
        return fields | {name: settings[OURS + name] for name in _about(settings)}

    def _progress(
        self, settings: Mapping[str, str], now: int, waiting: int
    ) -> dict[str, Any]:
        """What MogileFS does not say: the rate, and the time that is left. Files that
        were looked at once count as checked, also if they will be looked at again.

        What is left is counted in fids, of which some belong to no file, and so is
        the rate: both by how far the position has come, less what still waits."""
        stop = _number(settings, STOP_TIME) or now
        elapsed = stop - _number(settings, START_TIME)
        position, end = _number(settings, POSITION), _number(settings, END)
        walked = position - _number(settings, START_FID) - waiting
        checked = max(0, _number(settings, CHECKED) - waiting)
        fields: dict[str, Any] = {"fids_checked": checked}
        if settings.get(HOST):
            left = max(0, end - position) + waiting
            _, seconds = rules.pace(walked, elapsed, left)
            if seconds is not None:
                fields["seconds_left"] = round(seconds)
        if START_TIME in settings:
            rate, _ = rules.pace(checked, elapsed, 0)
            fields["fids_per_second"] = f"{rate:.1f}"
        return fields

    async def log(self, after_logid: int) -> list[FsckLogRow]:
        """A page of what was found."""
        return await self._tasks.events_after(after_logid, LOG_PAGE)

    async def clear_log(self) -> None:
        """Empty the log; the counts stay."""
        await self.add_up(0)
        await self._tasks.clear_events()

    # --- for the job

    def runs_here(self) -> bool:
        """Whether this tracker is the one that queues the files."""
        return self._plans and self._live.view.settings.get(HOST) == self._host_name

    def policy_only(self) -> bool:
        """Whether nodes are not to be asked."""
        return _true(self._live.view.settings, POLICY_ONLY)

    def own_checksums(self) -> bool:
        """Whether every copy is to be read and compared with our checksum."""
        return "own_checksums" in _about(self._live.view.settings)

    def queue_limits(self) -> tuple[int, int]:
        """How many fids to queue at a time, and how many may wait before that."""
        settings = self._live.view.settings
        rate = min(_number(settings, RATE, RATE_DEFAULT) or RATE_DEFAULT, MAX_RATE)
        size = _number(settings, SIZE, SIZE_DEFAULT) or SIZE_DEFAULT
        return rate, min(size, PAGES_AHEAD * rate)

    def scope(self) -> rules.Scope:
        """Which files are checked."""
        view = self._live.view
        about = _about(view.settings)
        if "domain" not in about:
            return rules.Scope()
        domain = view.domains.get(view.settings[OURS + "domain"])
        dmid = domain.dmid if domain else -1
        classid = None
        if "class" in about:
            found = view.class_named(dmid, view.settings[OURS + "class"])
            classid = found.classid if found else -1
        return rules.Scope(dmid, classid, view.settings.get(OURS + "prefix", ""))

    async def where(self) -> Standing | None:
        """Where the run stands, read now; None when it is not this tracker's."""
        settings = await self._settings()
        if settings.get(HOST) != self._host_name:
            return None
        return Standing(
            _number(settings, POSITION),
            _number(settings, END),
            _number(settings, CHECKED),
            {name: settings.get(name) for name in (HOST, POSITION, END, CHECKED)},
        )

    async def advance(
        self, standing: Standing, fid: int, count: int
    ) -> Standing | None:
        """Files up to `fid` are queued, `count` more than before. None, and nothing
        changes, when the run does not stand there any more, or is another one's."""
        checked = standing.checked + count
        values = {POSITION: str(fid), CHECKED: str(checked)}
        seen = standing.settings
        if not await self._topology.change_settings(seen, values, False):
            return None
        return Standing(fid, standing.end, checked, {**seen, **values})

    async def finish(self, standing: Standing) -> bool:
        """Every file is queued: the run is over as soon as each was looked at once.
        Those whose nodes are away are looked at again, but not waited for."""
        if await self._tasks.count_fresh(FSCK_TASK, 1):
            return False
        values = {
            HOST: None,
            POSITION: max(standing.position, standing.end),
            STOP_TIME: await self._tasks.unix_time(),
        }
        return await self._change(standing.settings, values)

    async def add_up(self, age_seconds: int = SETTLED_SECONDS) -> None:
        """Add the new events of the log to the sums."""
        settings = await self._settings()
        last = settings.get(LAST_LOGID)
        after = _number(settings, LAST_LOGID)
        logid, counts = await self._tasks.tally(after, age_seconds)
        if not counts:
            return
        sums: dict[str, Any] = {
            SUM + code: _number(settings, SUM + code) + count
            for code, count in counts.items()
            if code in rules.CODES
        }
        # When somebody else has added them up meanwhile, it is done.
        await self._change({LAST_LOGID: last}, {**sums, LAST_LOGID: logid})

    # --- inside

    async def _settings(self) -> dict[str, str]:
        await self._live.refresh()
        return dict(self._live.view.settings)

    async def _set(self, values: Mapping[str, Any]) -> None:
        await self._topology.set_settings(_texts(values))
        await self._live.refresh()

    async def _change(
        self, expected: Mapping[str, str | None], values: Mapping[str, Any]
    ) -> bool:
        done = await self._topology.change_settings(expected, _texts(values), True)
        await self._live.refresh()
        return done


def _texts(values: Mapping[str, Any]) -> dict[str, str | None]:
    return {name: None if one is None else str(one) for name, one in values.items()}


def _true(settings: Mapping[str, str], name: str) -> bool:
    return settings.get(name, "0") not in ("", "0")


def _about(settings: Mapping[str, str]) -> list[str]:
    """The words of `SCOPE` that limit the run (or the next one, after a reset)."""
    if settings.get(SCOPE_TIME) != settings.get(START_TIME, NEXT_RUN):
        return []
    return [name for name in SCOPE if settings.get(OURS + name)]


def _refuse_running(settings: Mapping[str, str]) -> None:
    if settings.get(HOST):
        raise job_errors.FsckRunning()
    if settings.get(REBALANCE_HOST):
        raise job_errors.RebalanceRunning(
            "rebalance running; cannot run fsck at same time"
        )


def _number(settings: Mapping[str, str], name: str, default: int = 0) -> int:
    text = settings.get(name, "")
    return (
        int(text) if text.isascii() and text.isdigit() and len(text) < 20 else default
    )
