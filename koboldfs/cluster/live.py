"""The live view: the cluster's picture, and the two loops that keep it true.

One loop reads the small tables again (other trackers change them too; where the
database can notify, it does so at once), the other looks at every host. What anybody
finds out in between is welcome: `changed` after a management command, `suspect` when a
host did not answer. Both loops are single-flight: who asks while one is under way gets
the result of the next.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from attrs import evolve
from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger, LogLevel
from zope.interface import implementer

from koboldfs.errors import KoboldError
from koboldfs.interfaces import ILiveView, INodes, ITopology
from koboldfs.model.entities import HostReport
from koboldfs.model.view import Health, View
from koboldfs.slots import Slots

#: How often the tables are read again, in case nobody notified us.
TABLES_SECONDS = 4.0
#: How often every host is looked at (MogileFS's pace).
SURVEY_SECONDS = 2.5
#: A host with a device that was never seen in use is looked at this much sooner (a node
#: that has just joined is opening its doors), this many times.
EAGER_SECONDS = 0.2
EAGER_LOOKS = 15
#: How many hosts are looked at side by side.
SURVEYS_AT_ONCE = 64
#: Names that nobody knows are looked up again at most once in this time, whoever asks
#: for how many: so long may the answer to a wrong name take, twice over.
RENEW_SECONDS = 0.1
#: A host that is suspected is not looked at more often than this.
SUSPECT_SECONDS = 0.1

#: Told about each new picture: (before, after).
Observer = Callable[[View, View], None]


class SingleFlight:
    """Runs one asynchronous action at a time for any number who ask.

    Who asks while a run is under way shares the run that begins after it, so that
    everybody gets a result that is younger than the question.
    """

    def __init__(self, action: Callable[[], Any]) -> None:
        self._action = action
        self._running = False
        self._next: list[Deferred[None]] = []

    async def __call__(self) -> None:
        """Fires when a run that began after this call has ended; raises its error."""
        waiting: Deferred[None] = Deferred()
        self._next.append(waiting)
        if not self._running:
            Deferred.fromCoroutine(self._run())
        await waiting

    async def _run(self) -> None:
        self._running = True
        try:
            while self._next:
                waiters, self._next = self._next, []
                try:
                    await self._action()
                except Exception as error:
                    for waiter in waiters:
                        waiter.errback(error)
                else:
                    for waiter in waiters:
                        waiter.callback(None)
        finally:
            self._running = False


@implementer(ILiveView)
class LiveView(Service):
    """See `ILiveView`. A service: its loops run between start and stop."""

    log = Logger()
    view: View

    def __init__(
        self, topology: ITopology, nodes: INodes, clock: Any, *, min_free_mb: int
    ) -> None:
        self.view = View(min_free_mb=min_free_mb)
        self._topology = topology
        self._nodes = nodes
        self._clock = clock
        self._observers: list[Observer] = []
        self._suspected: dict[int, float] = {}
        self._eager_looks: dict[int, int] = {}
        self._loops: list[LoopingCall] = []
        self._refresh = SingleFlight(self._read_tables)
        self._survey = SingleFlight(self._look_at_all)
        self._renewal = SingleFlight(self._renew)
        self._renewed = float("-inf")

    def observe(self, observer: Observer) -> None:
        """Have `observer` called with the picture before and after each change."""
        self._observers.append(observer)

    def startService(self) -> None:
        """Begin the loops; the first picture is there when `refresh` has fired."""
        super().startService()
        self._topology.watch(lambda: self._spawn(self._refresh()))
        for action, seconds in (
            (self._refresh, TABLES_SECONDS),
            (self._survey, SURVEY_SECONDS),
        ):
            loop = LoopingCall(self._quietly, action)
            loop.clock = self._clock
            self._loops.append(loop)
            loop.start(seconds, now=False)

    def stopService(self) -> None:
        """End the loops."""
        super().stopService()
        for loop in self._loops:
            loop.stop()
        self._loops.clear()

    async def refresh(self) -> None:
        """Read the tables now; raises `DatabaseFault`."""
        await self._refresh()

    async def survey(self) -> None:
        """Look at every host now; fires when all have answered or were given up."""
        await self._survey()

    async def changed(self, hostids: Sequence[int]) -> None:
        """Read the tables, then look at these hosts, before this fires."""
        await self._refresh()
        await gatherResults(
            [
                Deferred.fromCoroutine(self._look_at(hostid))
                for hostid in hostids
                if hostid in self.view.hosts
            ],
            consumeErrors=True,
        )

    async def renew(self) -> bool:
        """See `ILiveView`."""
        before = self.view
        await self._renewal()
        after = self.view
        return any(
            getattr(before, table) != getattr(after, table)
            for table in ("domains", "classes", "hosts", "devices")
        )

    async def _renew(self) -> None:
        wait = self._renewed + RENEW_SECONDS - self._clock.seconds()
        if wait > 0:
            await deferLater(self._clock, wait)
        self._renewed = self._clock.seconds()
        known = self.view.devices
        await self._refresh()
        new = {d.hostid for d in self.view.devices.values() if d.devid not in known}
        await gatherResults(
            [Deferred.fromCoroutine(self._look_at(hostid)) for hostid in sorted(new)],
            consumeErrors=True,
        )

    def suspect(self, hostid: int) -> None:
        """Look at the host soon: somebody could not reach it."""
        if not self.running:
            return
        now = self._clock.seconds()
        if now - self._suspected.get(hostid, -SUSPECT_SECONDS) >= SUSPECT_SECONDS:
            self._suspected[hostid] = now
            if hostid in self.view.hosts:
                self._spawn(self._look_at(hostid))

    # --- inside

    async def _quietly(self, action: Callable[[], Any]) -> None:
        """For the loops: a failure is logged, and the next turn tries again."""
        try:
            await action()
        except KoboldError as error:
            self.log.warn("the picture of the cluster is old: {error}", error=error)
        except Exception:
            self.log.failure("keeping the picture of the cluster failed")

    def _spawn(self, work: Any) -> None:
        Deferred.fromCoroutine(self._quietly(lambda: work))

    async def _read_tables(self) -> None:
        topology = await self._topology.load()
        health = self.view.health
        known = {host.hostid for host in topology.hosts}
        devids = {device.devid for device in topology.devices}
        health = Health(
            {hostid: one for hostid, one in health.hosts.items() if hostid in known},
            {devid: one for devid, one in health.devices.items() if devid in devids},
        )
        self._offer(View.of(topology, health, self.view.min_free_mb))

    async def _look_at_all(self) -> None:
        limit = Slots(SURVEYS_AT_ONCE)

        async def look(hostid: int) -> None:
            async with limit:
                await self._look_at(hostid)

        await gatherResults(
            [Deferred.fromCoroutine(look(hostid)) for hostid in self.view.hosts],
            consumeErrors=True,
        )

    async def _look_at(self, hostid: int) -> None:
        host = self.view.hosts.get(hostid)
        if host is None:
            return
        if host.status in ("dead", "down"):
            report = HostReport(hostid, reachable=False)
        else:
            devids = [
                device.devid
                for device in self.view.devices.values()
                if device.hostid == hostid and device.status not in ("dead", "down")
            ]
            report = await self._nodes.survey(host, devids)
        if hostid in self.view.hosts:
            health = self.view.health.with_report(report)
            self._offer(evolve(self.view, health=health))
            self._look_again_if_new(report)

    def _look_again_if_new(self, report: HostReport) -> None:
        """Do not let a device that is just coming up wait for the next round."""
        for seen in report.devices:
            if seen.observed != "unreachable":
                self._eager_looks[seen.devid] = EAGER_LOOKS
                continue
            looks = self._eager_looks.get(seen.devid, 0)
            if self.running and report.reachable and looks < EAGER_LOOKS:
                self._eager_looks[seen.devid] = looks + 1
                self._clock.callLater(EAGER_SECONDS, self.suspect, report.hostid)
                return

    def _offer(self, view: View) -> None:
        before, self.view = self.view, view
        self._log_changes(before, view)
        for observer in self._observers:
            observer(before, view)

    def _log_changes(self, before: View, after: View) -> None:
        for hostid, report in after.health.hosts.items():
            was = before.health.hosts.get(hostid)
            if was is not None and was.reachable != report.reachable:
                host = after.hosts.get(hostid)
                self.log.emit(
                    LogLevel.info if report.reachable else LogLevel.warn,
                    "host {name} is {state}",
                    name=host.name if host else hostid,
                    state="back" if report.reachable else "unreachable",
                )
        for devid, seen in after.health.devices.items():
            had = before.health.devices.get(devid)
            if had is not None and had.observed != seen.observed:
                better = _rank(seen.observed) > _rank(had.observed)
                self.log.emit(
                    LogLevel.info if better else LogLevel.warn,
                    "device {devid} is {state}, was {was}",
                    devid=devid,
                    state=seen.observed,
                    was=had.observed,
                )


def _rank(observed: str) -> int:
    """The better a device is, the more."""
    return ("unreachable", "readable", "writeable").index(observed)
