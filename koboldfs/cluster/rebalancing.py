"""The run of a rebalance: its policy, where it stands, and what comes next.

All of it is in MogileFS's settings: `rebal_policy`, `rebal_state` (see
`koboldfs.model.rebalance`), `rebal_host` (the tracker that queues the files; none: not
running) and `rebal_signal` (``stop``: that tracker shall stop). A device that files are
taken from is in state `drain` meanwhile.
"""

from __future__ import annotations

from random import Random

from attrs import evolve
from twisted.logger import Logger

from koboldfs import errors, job_errors
from koboldfs.cluster.checks import HOST as FSCK_HOST
from koboldfs.cluster.checks import REBALANCE_HOST as HOST
from koboldfs.interfaces import ILiveView, ITasks, ITopology
from koboldfs.model import rebalance as rules
from koboldfs.model.entities import REBALANCE_TASK
from koboldfs.model.fid import MAX_FID

POLICY, STATE, SIGNAL = "rebal_policy", "rebal_state", "rebal_signal"
STOP = "stop"
#: Fids queued at a time, and how many may wait (MogileFS's settings and defaults).
RATE, RATE_DEFAULT = "queue_rate_for_rebal", 500
SIZE, SIZE_DEFAULT = "queue_size_for_rebal", 10000
MAX_RATE = 5000


class Rebalancing:
    """See the module. `host_name` is this tracker's; of several processes that are one
    tracker, one `plans`."""

    log = Logger()

    def __init__(
        self,
        topology: ITopology,
        tasks: ITasks,
        live: ILiveView,
        random: Random,
        host_name: str,
        *,
        plans: bool = True,
    ) -> None:
        self._random = random
        self._topology = topology
        self._tasks = tasks
        self._live = live
        self._host_name = host_name
        self._plans = plans

    # --- for operators

    async def set_policy(self, text: str) -> None:
        """Another policy; an empty one means none. What was begun is forgotten.
        Raises `PolicyInUse`, `BadRebalancePolicy`."""
        if await self._topology.setting(HOST):
            raise job_errors.PolicyInUse()
        if text:
            _parse(text)
        await self._set({POLICY: text or None, STATE: None})

    async def test(self) -> tuple[list[int], list[int]]:
        """The source and the target devices that the policy means now.
        Raises `NoRebalancePolicy`, `BadRebalancePolicy`."""
        policy = await self._policy()
        await self._live.refresh()
        sources = policy.source_devices(self._live.view)
        return sources, policy.target_devices(self._live.view, sources)

    async def start(self) -> rules.State:
        """Begin, or go on; returns where it stands. Raises `RebalanceRunning`,
        `FsckRunning`, `NoRebalancePolicy`, `BadRebalancePolicy`."""
        free = {one: await self._topology.setting(one) for one in (HOST, FSCK_HOST)}
        if free[HOST]:
            raise job_errors.RebalanceRunning()
        if free[FSCK_HOST]:
            raise job_errors.FsckRunning(
                "fsck running; cannot run rebalance at same time"
            )
        policy = await self._policy()
        text = await self._topology.setting(STATE)
        state = rules.parse_state(text) if text else None
        if state is None or state.time_finished:
            await self._live.refresh()
            sources = policy.source_devices(self._live.view)
            state = rules.begin(policy, sources, await self._tasks.unix_time())
        if state.sdev_current:
            await self._set_device(state.sdev_current, "alive", "drain")
        state = evolve(state, time_stopped=0)
        begun = {STATE: str(state), SIGNAL: None, HOST: self._host_name}
        if not await self._topology.change_settings(free, begun, True):
            # Another tracker was faster; the next try will say with what.
            raise job_errors.RebalanceRunning()
        await self._live.refresh()
        return state

    async def stop(self) -> None:
        """Have it stop. Raises `RebalanceNotStarted`."""
        host = await self._topology.setting(HOST)
        if not host:
            raise job_errors.RebalanceNotStarted()
        if self._plans and host == self._host_name:
            await self._stop()
        else:
            await self._set({SIGNAL: STOP})

    async def status(self) -> str:
        """The state's text. Raises `NoRebalanceState`."""
        text = await self._topology.setting(STATE)
        if not text:
            raise job_errors.NoRebalanceState()
        return text

    async def reset(self) -> None:
        """Forget where it stands. Raises `RebalanceRunning`."""
        if await self._topology.setting(HOST):
            raise job_errors.RebalanceRunning()
        await self._set({STATE: None})

    # --- for the job

    def current_device(self) -> int:
        """The device that the run is taking files from, whoever runs it; else 0."""
        settings = self._live.view.settings
        if not settings.get(HOST):
            return 0
        return rules.parse_state(settings.get(STATE, "")).sdev_current

    def queue_limits(self) -> tuple[int, int]:
        """How many fids to queue at a time, and how many may wait before that."""
        settings = self._live.view.settings
        rate = _number(settings.get(RATE)) or RATE_DEFAULT
        size = _number(settings.get(SIZE)) or SIZE_DEFAULT
        return min(rate, MAX_RATE), size

    def targets_of(self, text: str | None) -> list[int] | None:
        """The devices that a row of the queue names; None: any."""
        words = (text or "").split(",")
        return [int(word) for word in words if word.isdecimal()] or None

    def leaves_draining(self) -> bool:
        """Whether devices shall stay in state drain when the run is through."""
        text = self._live.view.settings.get(POLICY, "")
        try:
            return rules.parse_policy(text).leave_in_drain_mode
        except ValueError:
            return False

    async def step(self) -> bool:
        """Queue the next files, if this tracker is the one to do that; whether there
        is more to queue at once."""
        if not self._plans or self._live.view.settings.get(HOST) != self._host_name:
            return False
        if await self._topology.setting(HOST) != self._host_name:
            return False
        if await self._topology.setting(SIGNAL) == STOP:
            await self._stop()
            return False
        rate, size = self.queue_limits()
        waiting = await self._tasks.count_tasks(REBALANCE_TASK, size)
        if waiting >= size:
            return False
        try:
            policy = await self._policy()
        except errors.CallerError as error:
            self.log.error("rebalance ends: {error}", error=error)
            await self._finish(rules.parse_state(await self.status()))
            return False
        state = rules.parse_state(await self.status())
        if not state.sdev_current:
            if not state.source_devs or _used_up(policy, state):
                if not waiting:
                    await self._finish(state)
                return False
            state = state.next_device(policy)
            await self._set_device(state.sdev_current, "alive", "drain")
            await self._set({STATE: str(state)})
            return True
        await self._queue(policy, state, rate)
        return True

    async def _queue(self, policy: rules.Policy, state: rules.State, rate: int) -> None:
        devid, last = state.sdev_current, state.sdev_lastfid
        if policy.fid_age == "new":
            page = await self._tasks.newest_files_on(devid, last or MAX_FID, rate)
        else:
            page = await self._tasks.files_on(devid, last, rate)
        lengths = [one.file.length for one in page]
        count, state = rules.within_limit(policy, state, lengths)
        chosen = page[:count]
        now = await self._tasks.unix_time()
        sources = (devid, *state.source_devs, *state.completed_devs)
        targets = policy.target_devices(self._live.view, sources)
        if chosen and targets:
            rows = [
                (one.file.fid, devid, self._drawn(policy, targets)) for one in chosen
            ]
            await self._tasks.queue_tasks(REBALANCE_TASK, rows)
            size = sum(lengths[:count])
            state = state.queued(count, size, chosen[-1].file.fid, now)
        if not targets:
            self.log.warn("rebalance: no device may take files of the policy now")
        if not targets or not page or rules.limit_reached(policy, state):
            if not page:
                state = evolve(
                    state, empty_runs=state.empty_runs + 1, time_latest_empty_run=now
                )
            if not policy.leave_in_drain_mode:
                await self._set_device(devid, "drain", "alive")
            state = state.device_done()
        await self._set({STATE: str(state)})

    def _drawn(self, policy: rules.Policy, targets: list[int]) -> str:
        count = policy.use_dest_devs
        if count is not None and count < len(targets):
            targets = self._random.sample(targets, max(1, count))
        return ",".join(map(str, targets))

    # --- inside

    async def _policy(self) -> rules.Policy:
        text = await self._topology.setting(POLICY)
        if not text:
            raise job_errors.NoRebalancePolicy()
        return _parse(text)

    async def _finish(self, state: rules.State) -> None:
        now = await self._tasks.unix_time()
        await self._set({STATE: str(evolve(state, time_finished=now)), HOST: None})

    async def _stop(self) -> None:
        state = rules.parse_state(await self._topology.setting(STATE) or "")
        now = await self._tasks.unix_time()
        if state.sdev_current:
            await self._set_device(state.sdev_current, "drain", "alive")
        stopped = str(evolve(state, time_stopped=now))
        await self._set({STATE: stopped, HOST: None, SIGNAL: None})

    async def _set_device(self, devid: int, before: str, after: str) -> None:
        """From one state to the other; a device that is in a third one stays so."""
        await self._live.refresh()
        device = self._live.view.devices.get(devid)
        if device is not None and device.status == before:
            await self._topology.update_device(devid, {"status": after}, before)
            await self._live.refresh()

    async def _set(self, values: dict[str, str | None]) -> None:
        await self._topology.set_settings(values)
        await self._live.refresh()


def _parse(text: str) -> rules.Policy:
    try:
        return rules.parse_policy(text)
    except ValueError as error:
        raise job_errors.BadRebalancePolicy(str(error)) from error


def _used_up(policy: rules.Policy, state: rules.State) -> bool:
    """Whether a limit on the whole run leaves nothing for a further device."""
    return policy.limit_type == "global" and rules.limit_reached(policy, state)


def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() and len(text) < 10 else 0
