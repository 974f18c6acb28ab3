"""A connection that blocks, the thread that uses it, and the line before it.

For engines whose driver blocks: SQLite and MySQL. Everything that waits while the
thread is busy goes into its next COMMIT together. A transaction that met another, or
lost its connection before the COMMIT was sent, has changed nothing and is run again,
alone. One whose COMMIT got no answer may have been done: it is run again only if it is
`repeatable`. A desk whose connection breaks gets another by itself, and what waits
meanwhile waits to its deadline. Whoever met another rests a moment first: on MySQL two
that give one key new files at once always meet, and who waits for the row loses.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any

from attrs import define
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from koboldfs.errors import DatabaseAway, DatabaseFault, DuplicateRow, TooBusy
from koboldfs.store.back_off import BackOff
from koboldfs.store.batch import MAX_WAITING
from koboldfs.store.blocking import BlockingRun
from koboldfs.store.steps import (
    MAX_ATTEMPTS,
    MEETING_PAUSE_SECONDS,
    Again,
    Lost,
    Mode,
    OutcomeUnknown,
    Transaction,
)

#: Transactions that share a COMMIT, or a trip to the reading thread.
MAX_GROUP = 64


def one_thread() -> ThreadPool:
    """A pool of one thread, to be started by whoever uses it."""
    return ThreadPool(minthreads=1, maxthreads=1, name="store")


@define(eq=False)
class Waiting:
    """A transaction that waits for a thread."""

    transaction: Transaction[Any]
    answer: Deferred[Any]
    patient: bool
    attempt: int = 1
    alarm: IDelayedCall | None = None

    def may_be_run_again(self, outcome: Any) -> bool:
        """Whether what came out means that it was only unlucky."""
        if self.attempt >= MAX_ATTEMPTS:
            return False
        if isinstance(outcome, OutcomeUnknown):
            return self.transaction.repeatable
        if isinstance(outcome, DuplicateRow):
            return self.transaction.racing
        return isinstance(outcome, (Again, Lost))


class Desk:
    """One connection, used by one thread, and the transactions that wait for it.

    `connect` is called in the thread. `start` or `begin` it once, and `stop` it.
    """

    _log = Logger()

    def __init__(
        self,
        connect: Callable[[], BlockingRun],
        reactor: Any,
        threads: ThreadPool,
        deadline_seconds: float,
        random: Random | None = None,
    ) -> None:
        self._connect = connect
        self._reactor = reactor
        self._threads = threads
        self._deadline_seconds = deadline_seconds
        self._random = random or Random()
        self._back_off = BackOff(reactor, self._random)
        self._waiting: deque[Waiting] = deque()
        self._resting: set[Waiting] = set()
        self._busy = False
        self._stopped = False
        self._idle: Deferred[None] | None = None
        self._connecting: Deferred[None] | None = None
        self._run: BlockingRun | None = None
        self._stale = False
        #: Called when the connection has broken.
        self.lost: Callable[[], None] = lambda: None

    @property
    def load(self) -> int:
        """How many transactions wait, and whether one is under way."""
        return len(self._waiting) + len(self._resting) + self._busy

    async def start(self) -> None:
        """Connect; raises what `connect` does."""
        self._threads.start()
        try:
            self._run = await self._in_thread(self._connect)
        except BaseException:
            self._threads.stop()
            raise
        self._kick()

    def begin(self) -> None:
        """Connect in the background, for as long as that takes."""
        self._threads.start()
        self._reconnect(None)

    def renew(self) -> None:
        """Connect anew, as soon as nothing is under way."""
        self._stale = self._run is not None
        if not self._busy:
            self._replace()

    def _in_thread(self, work: Callable[..., Any], *args: Any) -> Deferred[Any]:
        return deferToThreadPool(self._reactor, self._threads, work, *args)

    # --- the connection

    def _replace(self) -> None:
        """Let go of a connection that is of no use any more."""
        run = self._run
        if run is None or not (run.lost or self._stale):
            return
        if run.lost:
            self._log.warn("the connection to the database was lost")
            self.lost()
        self._run, self._stale = None, False
        self._reconnect(run)

    def _reconnect(self, old: BlockingRun | None) -> None:
        self._connecting = Deferred.fromCoroutine(self._connected(old))
        self._connecting.addErrback(self._ended)

    def _ended(self, failure: Failure) -> None:
        if failure.check(CancelledError) is None:
            self._log.failure("a defect while connecting to the database", failure)

    async def _connected(self, old: BlockingRun | None) -> None:
        if old is not None:
            await self._in_thread(old.close)
        failed = False
        while not self._stopped:
            try:
                self._run = await self._in_thread(self._connect)
            except Exception as fault:
                # Whatever it is, to give up for good would be worse.
                failed = True
                self._report_away(fault)
                if not self._stopped:
                    await self._back_off.pause()
                continue
            if failed:
                self._log.info("the database is reachable again")
            self._back_off.reset()
            self._kick()
            return

    def _report_away(self, fault: Exception) -> None:
        words = fault.message if isinstance(fault, DatabaseAway) else repr(fault)
        self._log.warn(
            "cannot reach the database, next attempt in about {seconds:.1f} s: {words}",
            seconds=self._back_off.seconds,
            words=words,
        )

    # --- the line

    def submit(self, transaction: Transaction[Any], patient: bool) -> Deferred[Any]:
        """The result of a transaction; see `IRunner.run`."""
        if self._stopped:
            return fail(DatabaseAway())
        if len(self._waiting) >= MAX_WAITING:
            return fail(TooBusy())
        one = Waiting(transaction, Deferred(), patient)
        self._set_alarm(one)
        self._waiting.append(one)
        self._kick()
        return one.answer

    def _set_alarm(self, one: Waiting) -> None:
        if not one.patient:
            one.alarm = self._reactor.callLater(self._deadline_seconds, self._late, one)

    def _late(self, one: Waiting) -> None:
        one.alarm = None
        if one in self._waiting:
            self._waiting.remove(one)
            one.answer.errback(DatabaseAway())

    def _kick(self) -> None:
        if self._busy or self._stopped or self._run is None or not self._waiting:
            return
        group = self._gather()
        steps = [one.transaction.steps() for one in group]
        self._busy = True
        mode = group[0].transaction.mode
        self._in_thread(self._run, steps, mode).addBoth(self._done, group)

    def _gather(self) -> list[Waiting]:
        first = self._waiting[0]
        mode = first.transaction.mode
        # Writers of either mode share a COMMIT.
        kindred = {one for one in Mode if one is mode or one.writes and mode.writes}
        # Who was unlucky is not to be so again for the sake of others.
        limit = MAX_GROUP if first.attempt == 1 else 1
        group: list[Waiting] = []
        while (
            self._waiting
            and len(group) < limit
            and self._waiting[0].transaction.mode in kindred
        ):
            one = self._waiting.popleft()
            if one.alarm is not None:
                one.alarm.cancel()
                one.alarm = None
            group.append(one)
        return group

    def _done(self, outcomes: list[Any] | Failure, group: list[Waiting]) -> None:
        if isinstance(outcomes, Failure):
            self._log.failure("a defect while running transactions", outcomes)
            outcomes = [outcomes.value] * len(group)
        self._busy = False
        again = []
        if not self._stopped:
            pairs = zip(group, outcomes, strict=True)
            again = [one for one, outcome in pairs if one.may_be_run_again(outcome)]
        for one, outcome in reversed(list(zip(group, outcomes, strict=True))):
            if one in again:
                self._repeat(one, met=not isinstance(outcome, Lost))
        self._replace()
        # The next group goes to the thread before the callers of this one go on.
        self._kick()
        if not self._busy and self._idle is not None:
            self._idle.callback(None)
        for one, outcome in zip(group, outcomes, strict=True):
            if one not in again:
                self._answer(one, outcome)

    def _repeat(self, one: Waiting, met: bool) -> None:
        """Put it at the head of the line; after a rest, if it met another."""
        # Patience was for the first connection.
        one.patient = False
        if met:
            self._resting.add(one)
            seconds = self._random.uniform(0, MEETING_PAUSE_SECONDS * one.attempt)
            one.alarm = self._reactor.callLater(seconds, self._rested, one)
        else:
            self._rejoin(one)
        one.attempt += 1

    def _rested(self, one: Waiting) -> None:
        self._resting.discard(one)
        self._rejoin(one)
        self._kick()

    def _rejoin(self, one: Waiting) -> None:
        self._set_alarm(one)
        self._waiting.appendleft(one)

    def _answer(self, one: Waiting, outcome: Any) -> None:
        if not isinstance(outcome, BaseException):
            one.answer.callback(outcome)
            return
        if isinstance(outcome, DatabaseFault) and outcome.__cause__ is not None:
            self._log.warn(
                "database refused {name}: {words}",
                name=one.transaction.name,
                words=" ".join(str(outcome.__cause__).split()),
            )
        if isinstance(outcome, Lost):
            outcome = DatabaseAway()
        one.answer.errback(outcome)

    async def stop(self) -> None:
        """Let what is under way finish, fail what waits, and disconnect."""
        if self._stopped:
            return
        self._stopped = True
        waiting = [*self._resting, *self._waiting]
        self._resting.clear()
        self._waiting.clear()
        for one in waiting:
            if one.alarm is not None:
                one.alarm.cancel()
            one.answer.errback(DatabaseAway())
        self._back_off.stop()
        if self._busy:
            self._idle = Deferred()
            await self._idle
        if self._connecting is not None:
            await self._connecting
        if self._threads.started:
            if self._run is not None:
                await self._in_thread(self._run.close)
            self._threads.stop()
