"""Batches that form by themselves.

While a kind of request is under way, further ones of the kind gather; when a
connection is there for them, all that have gathered (to a limit) go in ONE
transaction. There is no timer that makes anybody wait for company: on an idle system
a request goes at once and alone.

A request that fails never fails its neighbours: when a batch is refused, its members
are run again one by one, unless nobody can know whether the batch was done. Requests
that concern the same thing keep their order: they are never in one batch, nor in two
at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any, Generic, TypeVar

from attrs import define, frozen
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from koboldfs.errors import DatabaseAway, DatabaseFault, KoboldError, TooBusy
from koboldfs.running import run_now
from koboldfs.store.steps import (
    IRunner,
    Mode,
    OutcomeUnknown,
    Steps,
    Transaction,
    nothing,
)

Q = TypeVar("Q")
R = TypeVar("R")

#: Requests that go in one transaction: more makes the first wait for the last.
MAX_BATCH = 256
#: Requests of one kind that may wait; beyond, the caller is told that we are busy.
MAX_WAITING = 20_000
#: A batch that takes longer than this (seconds) waits for a disk or a lock: requests
#: that come now get a lane of their own. Below it one lane with larger batches is best.
SLOW_BATCH_SECONDS = 0.001
#: Batches of one kind that may be under way at once.
MAX_LANES = 3
#: Seconds that a request waits for a connection.
DEADLINE_SECONDS = 10.0


@frozen
class Kind(Generic[Q, R]):
    """What a batch does: `steps` answers a sequence of requests with a list of their
    results; a result that is an exception fails that request alone.

    `marks` of a request: what it concerns, if order matters.
    """

    name: str
    steps: Callable[[Sequence[Q]], Steps[list[Any]]]
    mode: Mode = Mode.READ
    repeatable: bool = False
    racing: bool = False
    marks: Callable[[Q], set[Any]] | None = None
    lanes: int = MAX_LANES
    limit: int = MAX_BATCH
    max_waiting: int = MAX_WAITING


@define(eq=False)
class Member(Generic[Q, R]):
    """A request that waits, and where its result goes."""

    request: Q
    answer: Deferred[R]
    deadline: float


class Batch(Generic[Q, R]):
    """The gathering point of one kind of request. Use `ask`."""

    _log = Logger()

    def __init__(
        self,
        kind: Kind[Q, R],
        runner: IRunner,
        clock: IReactorTime,
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> None:
        self._kind = kind
        self._runner = runner
        self._clock = clock
        self._deadline_seconds = deadline_seconds
        self._waiting: deque[Member[Q, R]] = deque()
        self._busy: set[Hashable] = set()
        self._lanes = 0
        #: When the last batch got its connection, and whether one waits for its.
        self._began = 0.0
        self._acquiring = False
        self._alarm: IDelayedCall | None = None

    def ask(self, request: Q) -> Deferred[R]:
        """The result of a request. Fails with `TooBusy`, with `DatabaseAway` when
        no connection was had within the deadline, or with what the request does."""
        if len(self._waiting) >= self._kind.max_waiting:
            return fail(TooBusy())
        answer: Deferred[R] = Deferred()
        now = self._clock.seconds()
        self._waiting.append(Member(request, answer, now + self._deadline_seconds))
        if self._lanes == 0 or self._stuck(now):
            self._lanes += 1
            run_now(self._lane(), self._defect)
        if self._waiting and self._alarm is None:
            self._set_alarm()
        return answer

    def _stuck(self, now: float) -> bool:
        """Whether a further lane would help."""
        return (
            self._lanes < self._kind.lanes
            and not self._acquiring
            and now > self._began + SLOW_BATCH_SECONDS
        )

    def _defect(self, failure: Any) -> None:
        self._log.failure("a defect in batch {name}", failure, name=self._kind.name)

    # --- running

    async def _lane(self) -> None:
        try:
            while self._waiting:
                if not await self._run_gathered():
                    return
        finally:
            self._lanes -= 1

    async def _run_gathered(self) -> bool:
        """Run what has gathered; False if nothing could be run."""
        members: list[Member[Q, R]] = []
        called = False
        self._acquiring = True

        def steps() -> Steps[list[R]]:
            nonlocal called
            if not called:
                called = True
                self._acquiring = False
                self._began = self._clock.seconds()
                members.extend(self._gather())
            return self._steps(members)

        try:
            await self._run(steps, members, patient=True)
        finally:
            if self._kind.marks is not None:
                for member in members:
                    self._busy -= self._kind.marks(member.request)
        if not called:
            self._acquiring = False
            # The runner refused us before it looked at us: it has been stopped.
            while self._waiting:
                self._waiting.popleft().answer.errback(DatabaseAway())
        return bool(members)

    def _steps(self, members: Sequence[Member[Q, R]]) -> Steps[list[R]]:
        if not members:
            return nothing([])
        return self._kind.steps([member.request for member in members])

    async def _run(
        self,
        steps: Callable[[], Steps[list[R]]],
        members: Sequence[Member[Q, R]],
        patient: bool,
    ) -> bool:
        """Run and answer the members; False if the database is away."""
        kind = self._kind
        transaction = Transaction(
            kind.name, steps, kind.mode, kind.repeatable, kind.racing
        )
        try:
            outcomes = await self._runner.run(transaction, patient)
        except (DatabaseAway, OutcomeUnknown) as fault:
            self._fail(members, fault)
            return False
        except DatabaseFault as fault:
            if len(members) == 1:
                self._fail(members, fault)
            else:
                await self._run_one_by_one(members)
        except KoboldError as error:
            self._fail(members, error)
        except Exception as error:
            self._log.failure("a defect in batch {name}", name=kind.name)
            self._fail(members, error)
        else:
            for member, outcome in zip(members, outcomes, strict=True):
                if isinstance(outcome, Exception):
                    member.answer.errback(outcome)
                else:
                    member.answer.callback(outcome)
        return True

    async def _run_one_by_one(self, members: Sequence[Member[Q, R]]) -> None:
        for place, member in enumerate(members):
            alone = partial(self._steps, [member])
            if not await self._run(alone, [member], patient=False):
                self._fail(members[place + 1 :], DatabaseAway())
                return

    def _fail(self, members: Sequence[Member[Q, R]], error: Exception) -> None:
        for member in members:
            member.answer.errback(error)

    # --- gathering

    def _gather(self) -> list[Member[Q, R]]:
        """Take the next members out of the queue."""
        limit, marks_of, waiting = self._kind.limit, self._kind.marks, self._waiting
        if marks_of is None:
            return [waiting.popleft() for _ in range(min(limit, len(waiting)))]
        taken: list[Member[Q, R]] = []
        later: list[Member[Q, R]] = []
        blocked = set(self._busy)
        while waiting and len(taken) < limit and len(later) < limit:
            member = waiting.popleft()
            marks = marks_of(member.request)
            if marks & blocked:
                later.append(member)
            else:
                taken.append(member)
                self._busy |= marks
            blocked |= marks
        waiting.extendleft(reversed(later))
        return taken

    # --- deadlines

    def _set_alarm(self) -> None:
        """One alarm a batch, for the head of the queue: deadlines are in order."""
        delay = max(0.0, self._waiting[0].deadline - self._clock.seconds())
        self._alarm = self._clock.callLater(delay, self._expire)

    def _expire(self) -> None:
        self._alarm = None
        now = self._clock.seconds()
        while self._waiting and self._waiting[0].deadline <= now:
            self._waiting.popleft().answer.errback(DatabaseAway())
        if self._waiting:
            self._set_alarm()

    def stop(self) -> None:
        """Leave no alarm behind, and nobody waiting."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        while self._waiting:
            self._waiting.popleft().answer.errback(DatabaseAway())
