"""The small jobs: reaping dead devices, sweeping files to new hosts, recording room.

reap     the files of a device that was declared dead are queued for replication, and
         the dead copies forgotten; a moment of grace lets the operator think again
sweep    when a host joins that takes files, every file is looked at once, and those
         whose policy wants a copy there are queued; where it stands is a setting, so
         another tracker, or the next start, goes on from there. It begins when all
         trackers have read of the host: one that has not would find files that are
         queued for it as they should be
monitor  writes what was observed of the devices' room into the database, and records
         a device that its own node does not trust any more as read-only
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from twisted.logger import Logger

from koboldfs.cluster.copies import Copies
from koboldfs.cluster.live import TABLES_SECONDS
from koboldfs.interfaces import IFiles, ILiveView, IQueues, ITopology
from koboldfs.model.policy import COPY, WAIT, AllHosts, Policy, Union, parse_policy
from koboldfs.model.view import View

#: A newly dead device is left alone this long (MogileFS's number).
GRACE_SECONDS = 16.0
#: How many copies of a dead device are handled in one transaction.
REAP_BATCH = 1000
#: A dead device that had nothing more is looked at again after this long.
REAP_AGAIN_SECONDS = 60.0
#: How many files a step of the sweep looks at.
SWEEP_BATCH = 1000
#: By then every tracker that can work at all has read the tables (seconds).
SWEEP_NEWS_SECONDS = 2 * TABLES_SECONDS
#: How often observed room is written (MogileFS's pace).
ROOM_SECONDS = 15.0

SWEEP_SEEN = "kobold_sweep_seen"
SWEEP_GOAL = "kobold_sweep_goal"
SWEEP_FID = "kobold_sweep_fid"


class Reaper:
    """The unit of the job `reap`."""

    log = Logger()

    def __init__(self, queues: IQueues, live: ILiveView, clock: Any) -> None:
        self._queues = queues
        self._live = live
        self._clock = clock
        self._due: dict[int, float] = {}

    async def __call__(self) -> bool:
        """Reap one batch of each dead device that is due."""
        now, more = self._clock.seconds(), False
        devices = self._live.view.devices.values()
        dead = {device.devid for device in devices if device.status == "dead"}
        self._due = {d: due for d, due in self._due.items() if d in dead}
        for devid in dead:
            if now < self._due.setdefault(devid, now + GRACE_SECONDS):
                continue
            count = await self._queues.reap(devid, REAP_BATCH)
            if count:
                more = True
                self.log.info(
                    "dead device {devid}: {count} files queued for replication",
                    devid=devid,
                    count=count,
                )
            else:
                self._due[devid] = now + REAP_AGAIN_SECONDS
        return more


class Sweep:
    """The unit of the job `sweep`."""

    log = Logger()

    def __init__(
        self,
        topology: ITopology,
        files: IFiles,
        queues: IQueues,
        copies: Copies,
        live: ILiveView,
        random: Random,
        clock: Any,
    ) -> None:
        self._random = random
        self._clock = clock
        #: The goal that was seen last, and since when.
        self._goal, self._goal_since = "", 0.0
        self._topology = topology
        self._files = files
        self._queues = queues
        self._copies = copies
        self._live = live

    async def __call__(self) -> bool:
        """Look at one batch of files if a sweep is on, or begin one."""
        view = self._live.view
        if not view.hosts or not _uses_all_hosts(view):
            return False
        now = {d.devid for d in view.devices.values() if view.wants_files(d.devid)}
        goal = view.settings.get(SWEEP_GOAL)
        if not now:
            return goal is None and await self._note_none(view)
        if goal is None:
            return await self._begin(view, now)
        if _has_new_host(view, now, _numbers(_devids_of(goal))):
            # One more host came while sweeping: begin again, for all of them.
            return await self._begin(view, now)
        if goal != self._goal:
            self._goal, self._goal_since = goal, self._clock.seconds()
        if self._clock.seconds() < self._goal_since + SWEEP_NEWS_SECONDS:
            return False
        return await self._go_on(view, goal)

    async def _note_none(self, view: View) -> bool:
        """No host is to have files: whichever comes back may lack some by then."""
        if not view.settings.get(SWEEP_SEEN):
            return False
        await self._topology.set_setting(SWEEP_SEEN, "")
        await self._live.refresh()
        return True

    async def _begin(self, view: View, now: set[int]) -> bool:
        seen, words = view.settings.get(SWEEP_SEEN), _words(now)
        if seen == words:
            return False
        if seen is not None and not _has_new_host(view, now, _numbers(seen)):
            # Hosts went away, or got another disk: no file needs a copy more for that.
            await self._topology.set_setting(SWEEP_SEEN, words)
        else:
            name = f"{self._random.getrandbits(64):016x}"
            await self._topology.set_setting(SWEEP_GOAL, f"{words} {name}")
            self.log.info("looking for files to copy to devices {devids}", devids=words)
        await self._live.refresh()
        return True

    async def _go_on(self, view: View, goal: str) -> bool:
        position = _position(await self._topology.setting(SWEEP_FID), goal)
        page = await self._files.list_files(position, SWEEP_BATCH)
        lacking = [
            located.file.fid
            for located in page
            if self._copies.judge(
                located.file.dmid,
                located.file.classid,
                located.devids,
                located.file.length,
            ).word
            in (COPY, WAIT)
        ]
        if lacking:
            await self._queues.queue_replications(lacking, 0)
        if page:
            last = page[-1].file.fid
            await self._topology.set_setting(SWEEP_FID, f"{last} {goal}")
            return True
        # In this order: whatever is cut short here only makes a sweep begin again.
        await self._topology.set_setting(SWEEP_FID, None)
        await self._topology.set_setting(SWEEP_SEEN, _devids_of(goal))
        await self._topology.set_setting(SWEEP_GOAL, None)
        await self._live.refresh()
        self.log.info(
            "every file was looked at for devices {devids}", devids=_devids_of(goal)
        )
        return True


def _devids_of(goal: str) -> str:
    """A goal is the devices and, so that no two are alike, a name."""
    return goal.partition(" ")[0]


def _has_new_host(view: View, now: set[int], seen: set[int]) -> bool:
    """Whether a host has devices now, and none of those that were seen. That may be a
    host whose lost disk was replaced: files that were stored in between, when it had
    none, are not on it, and nothing else queues them."""
    hosts = {view.devices[devid].hostid for devid in now}
    return not hosts <= {view.devices[devid].hostid for devid in now & seen}


def _position(text: str | None, goal: str) -> int:
    """Where the sweep for that goal stands. A tracker that has not seen yet that there
    is a new one may still write down where the old one stood: that is not ours."""
    fid, _, of = (text or "").partition(" ")
    return int(fid) if of == goal and fid.isdecimal() else 0


def _words(devids: set[int]) -> str:
    return ",".join(map(str, sorted(devids)))


def _numbers(words: str) -> set[int]:
    return {int(word) for word in words.split(",") if word.isdecimal()}


def _uses_all_hosts(view: View) -> bool:
    """Whether any class wants a copy on every host: else no host needs a sweep."""
    default = view.settings.get("kobold_policy", "")
    texts = {default, *(one.policy or default for one in view.classes.values())}
    for text in texts:
        try:
            if not text or _mentions_all_hosts(parse_policy(text)):
                return True
        except ValueError:
            continue
    return False


def _mentions_all_hosts(policy: Policy) -> bool:
    if isinstance(policy, Union):
        return any(map(_mentions_all_hosts, policy.parts))
    return isinstance(policy, AllHosts)


class FailingDevices:
    """A unit of the job `monitor`."""

    log = Logger()

    def __init__(self, topology: ITopology, live: ILiveView) -> None:
        self._topology = topology
        self._live = live
        #: Failing devices whose state somebody has set already, this tracker or an
        #: operator. Who sets one alive again all the same is not contradicted.
        self._judged: set[int] = set()

    async def __call__(self) -> bool:
        """Set every device read-only that is alive and failing, once."""
        view = self._live.view
        failing = {
            devid: seen.failing
            for devid, seen in view.health.devices.items()
            if seen.failing and devid in view.devices
        }
        self._judged &= set(failing)
        for devid in sorted(set(failing) - self._judged):
            if view.devices[devid].status == "alive":
                values = {"status": "readonly"}
                if await self._topology.update_device(devid, values, "alive"):
                    place = view.place(devid)
                    self.log.error(
                        "device {devid} of host {host} is set read-only: {reason}",
                        devid=devid,
                        host=place.host.name if place else "?",
                        reason=failing[devid],
                    )
                await self._live.refresh()
            self._judged.add(devid)
        return False


class RoomRecorder:
    """The unit of the job `monitor`."""

    def __init__(
        self,
        topology: ITopology,
        live: ILiveView,
        clock: Any,
        unix_time: Callable[[], float],
    ) -> None:
        self._topology = topology
        self._live = live
        self._clock = clock
        self._unix_time = unix_time
        self._due = 0.0

    async def __call__(self) -> bool:
        """Write the room of every device whose figures changed, in whole MB."""
        now = self._clock.seconds()
        if now < self._due:
            return False
        self._due = now + ROOM_SECONDS
        view, asof = self._live.view, int(self._unix_time())
        for devid, seen in view.health.devices.items():
            device = view.devices.get(devid)
            if device is None or seen.kib_total is None or seen.kib_used is None:
                continue
            total, used = seen.kib_total // 1024, seen.kib_used // 1024
            if (device.mb_total, device.mb_used) != (total, used):
                await self._topology.update_device(
                    devid, {"mb_total": total, "mb_used": used, "mb_asof": asof}
                )
        return False
