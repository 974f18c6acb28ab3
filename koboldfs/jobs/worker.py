"""Background work: what a worker is, and what drives it.

A worker does small units that may be repeated without harm; where it stands is in the
database, so any tracker may go on with it at any time. The `Driver` calls it from a
LoopingCall and keeps it to its share of the machine: after a unit it rests in
proportion to what the unit took.

A `QueueWorker` works off leased rows, many at once: rows are taken when there is room,
and what became of them is reported in batches that form while a report is under way.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar

from attrs import define
from twisted.application.service import Service
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import Attribute, Interface, implementer

from koboldfs.errors import KoboldError
from koboldfs.interfaces import ILocks
from koboldfs.jobs.locks import Lent, file_lock
from koboldfs.model.pacing import rest_seconds
from koboldfs.running import run_now

#: How often an idle worker looks for work.
IDLE_SECONDS = 0.5
#: The longest rest between two units of a busy worker.
LONGEST_REST_SECONDS = 5.0
#: How long a taken row is ours unless we say that we are still at it, and how often we
#: say so. A tracker that was killed says no more, and others take its rows soon.
LEASE_SECONDS = 30
KEEP_SECONDS = 8.0
#: How long a stop waits for what is under way.
STOP_SECONDS = 10.0
#: After an error of the world (database, node) a worker pauses this long.
ERROR_PAUSE_SECONDS = 2.0


Row = TypeVar("Row")
Report = TypeVar("Report")


@define
class Status:
    """What a worker has done since it started, for operators."""

    done: int = 0
    failed: int = 0
    under_way: int = 0
    last_error: str = ""


class IWorker(Interface):
    """One kind of background work."""

    name: str = Attribute("What operators call it (`--jobs`, `!want`).")
    status: Status = Attribute("What it has done so far.")

    def step() -> Awaitable[bool]:
        """Do one small unit. True: there is more to do at once; False: idle.

        Promises to be repeatable: a unit that was cut short or done twice does no
        harm. Raises `KoboldError` when the world does not let it work now.
        """

    def keep() -> Awaitable[None]:
        """Tell whoever shares the work that what is under way still is. Called every
        `KEEP_SECONDS`; raises `KoboldError`."""

    def want(parallel: int) -> None:
        """How much of it may run at once from now on; 0 pauses it."""

    def stop() -> Awaitable[None]:
        """Fires when what is under way has ended (nothing new begins)."""


class Driver(Service):
    """Runs one worker, while started, at the share of time that it is given at each
    moment."""

    log = Logger()

    def __init__(
        self,
        worker: Any,
        clock: Any,
        *,
        share: Callable[[], float] = lambda: 1.0,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self.worker = worker
        self.share = share
        self._clock = clock
        self._idle_seconds = idle_seconds
        self._loop = LoopingCall(self._turn)
        self._loop.clock = clock
        self._keeper = LoopingCall(self._keep)
        self._keeper.clock = clock
        self._ended: Deferred[Any] | None = None
        self._not_before = 0.0
        self._rest: Deferred[None] | None = None

    def startService(self) -> None:
        """Begin to work."""
        super().startService()
        self._ended = self._loop.start(self._idle_seconds, now=False)
        self._keeper.start(KEEP_SECONDS, now=False)

    async def stopService(self) -> None:
        """End; fires when the unit in hand is done."""
        super().stopService()
        ended, self._ended = self._ended, None
        if ended is None:
            return
        self._loop.stop()
        self._wake()
        stopping = Deferred.fromCoroutine(self._finish(ended))
        try:
            await stopping.addTimeout(STOP_SECONDS, self._clock)
        except TimeoutError:
            # A long copy ends with its connection; its row is leased only shortly.
            self.log.warn("{job} stops in the middle", job=self.worker.name)
        self._keeper.stop()

    async def _finish(self, ended: Deferred[Any]) -> None:
        await self.worker.stop()
        await ended

    async def _keep(self) -> None:
        try:
            await self.worker.keep()
        except KoboldError:
            pass  # the worker will meet the same trouble, and tell
        except Exception:
            self.log.failure("{job} could not keep its leases", job=self.worker.name)

    async def _turn(self) -> None:
        """Units, with rests between them, until the worker is idle."""
        while self.running and self._clock.seconds() >= self._not_before:
            began = self._clock.seconds()
            try:
                more = await self.worker.step()
            except KoboldError as error:
                self._failed(str(error))
                self.log.warn(
                    "{job} pauses: {error}", job=self.worker.name, error=error
                )
                return
            except Exception as error:
                self._failed(repr(error))
                self.log.failure("{job} failed in a unit", job=self.worker.name)
                return
            if not more:
                return
            worked = self._clock.seconds() - began
            rest = rest_seconds(worked, self.share(), LONGEST_REST_SECONDS)
            if rest > 0:
                # Not left to the loop: its ticks are far longer than most rests.
                self._rest = Deferred()
                call = self._clock.callLater(rest, self._wake)
                await self._rest
                if call.active():
                    call.cancel()

    def _wake(self) -> None:
        rest, self._rest = self._rest, None
        if rest is not None:
            rest.callback(None)

    def _failed(self, error: str) -> None:
        self.worker.status.failed += 1
        self.worker.status.last_error = error
        self._not_before = self._clock.seconds() + ERROR_PAUSE_SECONDS


@implementer(IWorker)
class QueueWorker(ABC, Generic[Row, Report]):
    """Works off a leased queue, up to `parallel` rows at once.

    Subclasses say how rows are taken, worked on and reported.
    """

    log = Logger()
    name = "queue"
    #: Rows under way at once, unless the operator wants otherwise.
    parallel = 32
    #: Rows are taken again when there is room for so many.
    batch = 1

    def __init__(self, locks: ILocks | None = None) -> None:
        self.status = Status()
        self._locks = Lent(locks) if locks is not None else None
        self._under_way: set[int] = set()
        self._reports: list[tuple[int, Report]] = []
        self._reporting = False
        self._taking = False
        self._settled = False
        self._idle: list[Deferred[None]] = []
        self._ahead: list[Deferred[None]] = []
        self._room: Deferred[None] | None = None
        self._stopping = False

    @abstractmethod
    async def take(self, limit: int) -> list[Row]:
        """Lease up to `limit` rows."""

    @abstractmethod
    async def work(self, row: Row) -> Report:
        """Do what the row asks; must not raise `KoboldError`."""

    @abstractmethod
    async def report(self, reports: list[Report]) -> None:
        """Record what became of rows."""

    @abstractmethod
    async def keep_leases(self, fids: Sequence[int], lease_seconds: int) -> None:
        """Say that these are still being worked on."""

    @abstractmethod
    def number(self, row: Row) -> int:
        """The fid of a row: one that is under way is not begun again."""

    def want(self, parallel: int) -> None:
        """See `IWorker`; one worker of MogileFS counts for the usual many rows."""
        self.parallel = parallel * type(self).parallel

    async def step(self) -> bool:
        """Take rows if there is room, begin them, and wait for room again."""
        if self._reports and not self._reporting:
            await self._report_all()
        if not self._has_room() or self._stopping:
            return False
        room = self.parallel - len(self._under_way)
        self._taking, self._settled = True, False
        try:
            rows = await self.take(room)
            # Also while stopping: they are leased to us, nobody else would do them.
            for row in await self._free(rows):
                self._begin(row)
        finally:
            self._taking = False
            self._tell_if_idle()
        if not rows:
            return self._settled
        if not self._has_room():
            self._room = Deferred()
            await self._room
        return True

    async def _free(self, rows: list[Row]) -> list[Row]:
        """Those of the rows that neither we nor a tracker of MogileFS have begun."""
        rows = [row for row in rows if self.number(row) not in self._under_way]
        if self._locks is None or not rows:
            return rows
        names = [file_lock(self.number(row)) for row in rows]
        taken = await self._locks.take(names)
        pairs = zip(rows, names, strict=True)
        return [row for row, name in pairs if name in taken]

    async def _give_back(self, fids: Iterable[int]) -> None:
        if self._locks is not None:
            await self._locks.release(map(file_lock, fids))

    def _has_room(self) -> bool:
        room = self.parallel - len(self._under_way)
        return room >= max(1, min(self.batch, self.parallel))

    async def settle(self, reports: Sequence[tuple[int, Report]]) -> None:
        """For `take`: rows, by their fids, that need no work after all. They are
        reported with the others; returns when the reports before them were recorded,
        so that whoever takes quickly is no more than one batch ahead."""
        while self._reporting and self._reports:
            waiter: Deferred[None] = Deferred()
            self._ahead.append(waiter)
            await waiter
        self._reports += reports
        self._settled = self._settled or bool(reports)
        if not self._reporting:
            Deferred.fromCoroutine(self._report_settled())

    async def _report_settled(self) -> None:
        try:
            await self._report_all()
        except KoboldError as error:
            # They are kept; the next step meets the same trouble, and pauses.
            self.status.last_error = str(error)
        except Exception as error:
            self.status.failed += 1
            self.status.last_error = repr(error)
            self.log.failure("{job}: reporting failed", job=self.name)

    async def keep(self) -> None:
        """See `IWorker`: what is under way, and what could not be reported yet."""
        fids = self._under_way.union(number for number, _ in self._reports)
        if fids:
            await self.keep_leases(sorted(fids), LEASE_SECONDS)

    async def stop(self) -> None:
        """See `IWorker`."""
        self._stopping = True
        if self._busy():
            waiter: Deferred[None] = Deferred()
            self._idle.append(waiter)
            await waiter

    def _begin(self, row: Row) -> None:
        number = self.number(row)
        self._under_way.add(number)
        self.status.under_way = len(self._under_way)
        run_now(self._one(row, number), self._defect)

    def _defect(self, failure: Failure) -> None:
        self.log.failure("a defect in job {job}", failure, job=self.name)

    async def _one(self, row: Row, number: int) -> None:
        try:
            # Not `append(await ...)`: that would look the list up before the work.
            report = await self.work(row)
            self._reports.append((number, report))
            if not self._reporting:
                await self._report_all()
        except KoboldError as error:
            self.status.last_error = str(error)
            self.log.warn("{job} pauses: {error}", job=self.name, error=error)
        except Exception as error:
            # The lease runs out and the row is taken again; nothing is lost.
            self.status.failed += 1
            self.status.last_error = repr(error)
            self.log.failure("{job}: fid {fid} failed", job=self.name, fid=number)
            await self._give_back([number])
        finally:
            self._under_way.discard(number)
            self.status.under_way = len(self._under_way)
            self._wake()

    async def _report_all(self) -> None:
        self._reporting = True
        try:
            while self._reports:
                reports, self._reports = self._reports, []
                self._let_on()
                try:
                    await self.report([report for _, report in reports])
                except KoboldError:
                    # The next step, or the next row that ends, says it again.
                    self._reports = reports + self._reports
                    raise
                await self._give_back(number for number, _ in reports)
                self.status.done += len(reports)
        finally:
            self._reporting = False
            self._let_on()
            self._tell_if_idle()

    def _let_on(self) -> None:
        waiting, self._ahead = self._ahead, []
        for one in waiting:
            one.callback(None)

    def _busy(self) -> bool:
        return bool(self._under_way) or self._reporting or self._taking

    def _tell_if_idle(self) -> None:
        if not self._busy():
            waiters, self._idle = self._idle, []
            for waiter in waiters:
                waiter.callback(None)

    def _wake(self) -> None:
        if self._has_room() or not self._under_way:
            room, self._room = self._room, None
            if room is not None:
                room.callback(None)
        self._tell_if_idle()


@implementer(IWorker)
class PeriodicWorker:
    """A worker whose unit is one call of a coroutine function, `more` if it says so."""

    def __init__(self, name: str, unit: Callable[[], Awaitable[bool]]) -> None:
        self.name = name
        self.status = Status()
        self._unit = unit
        self._wanted = True

    def want(self, parallel: int) -> None:
        """See `IWorker`: 0 pauses, everything else lets it run."""
        self._wanted = parallel > 0

    async def step(self) -> bool:
        """One unit, unless it is paused."""
        if not self._wanted:
            return False
        more = await self._unit()
        self.status.done += 1
        return more

    async def keep(self) -> None:
        """Nothing is leased."""

    async def stop(self) -> None:
        """Units are short; there is nothing to wait for."""


def in_turn(*units: Callable[[], Awaitable[bool]]) -> Callable[[], Awaitable[bool]]:
    """One unit of work that is one of each of these, in this order."""

    async def unit() -> bool:
        return any([await one() for one in units])

    return unit
