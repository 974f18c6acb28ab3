"""The operator of a simulated cluster: what he does in a run, by lines to a tracker.

A run has one duty or none: a device is drained, a rebalance is run, files are checked.
It begins while clients and faults are at work and is to have ended when all is quiet.
Whatever a tracker does not answer, he says again, to any tracker.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import Deferred

from test.simulation.adjusted import SURVEY_SECONDS
from test.simulation.clock import ProcessReactor
from test.simulation.speaking import NoAnswer, NotSent, Speaker

#: He waits so long for an answer, and says it again after at most so long (seconds).
PATIENCE_SECONDS, PAUSE_SECONDS = 5.0, 0.7
#: His duty begins after at most so long (seconds).
BEGIN_SECONDS = 3.0
#: Answers after which it may not have been done.
AGAIN = ("db", "failure", "busy")
#: Until every tracker has heard of what he said to one (seconds).
NEWS_SECONDS = SURVEY_SECONDS + 1.0
DUTIES = ("drain", "rebalance", "fsck")


class Operator:
    """See the module. `draining`: the device that he has set to drain, or 0; `leaves`:
    whether the rebalance shall leave devices so."""

    def __init__(self, world: Any) -> None:
        self._world, self._random = world, world.random
        host = world.network.host("10.0.9.100")
        self._reactor = ProcessReactor(world.clock, world.network, host)
        self._speaker = Speaker(self._reactor, PATIENCE_SECONDS)
        self.draining = 0
        self.leaves = False
        self._said_at = -NEWS_SECONDS
        #: Whether his duty is still to begin.
        self._has_duty = False
        #: What he is doing: each fires at its end, or fails with a broken rule.
        self.works: list[Deferred[None]] = []

    def begin(self) -> None:
        """Have him do his duty, soon."""
        duty = self._world.plan.duty
        if duty:
            work = getattr(self, f"_{duty}")
            self._has_duty = True
            seconds = self._random.random() * BEGIN_SECONDS
            self._world.clock.call_later(None, seconds, self.do, (work,))

    def do(self, work: Any, *arguments: Any) -> None:
        """Have him do something now."""
        self._has_duty = False
        begun: Coroutine[Any, Any, None] = work(*arguments)
        self.works.append(Deferred.fromCoroutine(begun))

    @property
    def busy(self) -> bool:
        """Whether something is to be said, or was not answered yet."""
        return self._has_duty or not all(work.called for work in self.works)

    def is_news(self, seconds: float) -> bool:
        """Whether a tracker may not have heard of all that he had said by then."""
        return seconds < self._said_at + NEWS_SECONDS

    def note(self, text: str) -> None:
        """A line of the trace."""
        self._world.note(f"operator: {text}")

    async def _pause(self, seconds: float) -> None:
        pause: Deferred[None] = Deferred()
        self._reactor.callLater(seconds, pause.callback, None)
        await pause

    async def tell(self, command: str, **words: Any) -> str:
        """Say it until somebody knows what became of it: OK, or an error's code."""
        pause_seconds = 0.0
        while True:
            await self._pause(self._random.random() * pause_seconds)
            pause_seconds = PAUSE_SECONDS
            ip = self._random.choice(self._world.tracker_ips)
            try:
                code, _ = await self._speaker.tracker(ip, command, **words)
            except (NoAnswer, NotSent):
                continue
            if code not in AGAIN:
                self._said_at = self._world.clock.now
                self.note(f"{command} {words}: {code}")
                return code

    async def _set_state(self, devid: int, state: str) -> str:
        host = f"node{self._world.host_of(devid)}"
        return await self.tell("set_state", host=host, device=devid, state=state)

    # --- what he does

    async def declare_dead(self, devid: int) -> None:
        """A device is lost for good."""
        while await self._set_state(devid, "dead") != "OK":
            continue
        self._world.dead_devices[devid] = self._world.clock.now

    async def _drain(self) -> None:
        devids = set(self._world.devices)
        if self._world.nemesis.disks.wiped_at is not None:
            devids.discard(self._world.nemesis.disks.unlucky)
        self.draining = self._random.choice(sorted(devids))
        await self._set_state(self.draining, "drain")

    async def end_drain(self, empty: bool) -> None:
        """The device is alive again, or, if it is empty, perhaps thrown away."""
        devid, self.draining = self.draining, 0
        if empty and self._random.random() < 0.5:
            await self.declare_dead(devid)
        else:
            await self._set_state(devid, "alive")

    async def _rebalance(self) -> None:
        random, devids = self._random, sorted(self._world.devices)
        words = [
            random.choice(
                (
                    f"from_devices={random.choice(devids)}",
                    f"from_hosts={random.randint(1, self._world.plan.hosts)}",
                    "from_all_devs=1",
                )
            ),
            random.choice(("fid_age=old", "fid_age=new", "")),
            random.choice(("limit_by=count limit=1", "limit_by=size limit=5k", "", "")),
            random.choice(("limit_type=global", "use_dest_devs=1", "", "")),
        ]
        if "limit_by" not in words[2]:
            words = [word for word in words if word != "limit_type=global"]
        self.leaves = random.random() < 0.2
        words.append("leave_in_drain_mode=1" if self.leaves else "")
        policy = " ".join(filter(None, words))
        await self.tell("rebalance_set_policy", policy=policy)
        await self.tell("rebalance_start")
        if random.random() < 0.3:
            await self._pause(random.random() * 3.0)
            await self.tell("rebalance_stop")

    async def _fsck(self) -> None:
        if self._random.random() < 0.5:
            await self.tell("fsck_start")
        else:
            await self.tell("fsck_start", own_checksums=1)
        if self._random.random() < 0.2:
            await self._pause(self._random.random() * 3.0)
            await self.tell("fsck_stop")

    async def check_all(self) -> None:
        """Every copy of every file is read and compared; findings begin anew."""
        await self.tell("fsck_clearlog")
        while await self.tell("fsck_start", own_checksums=1) == "rebal_running":
            continue

    async def set_alive(self) -> None:
        """The devices that the rebalance left draining get files again."""
        for (devid,) in self._world.server.rows(
            "SELECT devid FROM device WHERE status = 'drain' ORDER BY devid"
        ):
            await self._set_state(devid, "alive")
