"""What the three providers share: a runner, its statements, the database's limits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from koboldfs.store.batch import DEADLINE_SECONDS, Batch, Kind
from koboldfs.store.statements import Statements
from koboldfs.store.steps import IRunner, Mode, Steps, Transaction
from koboldfs.store.transactions_schema import Estate

Q = TypeVar("Q")
R = TypeVar("R")


class Database:
    """An engine with its statements. `estate` is true once the store has started. No
    fid is given out that is not above `floor`."""

    def __init__(
        self,
        runner: IRunner,
        sql: Statements,
        clock: IReactorTime,
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> None:
        self.sql = sql
        self.estate = Estate(
            made_by_mogilefs=False, created_now=False, schema_version=17
        )
        self.floor = 0
        self._runner = runner
        self.clock = clock
        self._deadline_seconds = deadline_seconds
        self._batches: list[Batch[Any, Any]] = []

    @property
    def walks_devices(self) -> bool:
        """Whether an index has the copies of a device in order of their fids."""
        theirs = self.estate.made_by_mogilefs and self.sql.tongue.name == "postgresql"
        return not theirs

    def raise_floor(self, fid: int) -> None:
        """No fid up to this one is given out from now on."""
        if fid > self.floor:
            self.floor = fid

    def steps(
        self, function: Callable[[Statements, Sequence[Q]], Steps[list[R]]]
    ) -> Callable[[Sequence[Q]], Steps[list[R]]]:
        """The steps of a kind of request, said in the statements that are valid then:
        which these are, the start finds out."""
        return lambda requests: function(self.sql, requests)

    def batch(self, kind: Kind[Q, R]) -> Batch[Q, R]:
        """A new gathering point."""
        batch = Batch(kind, self._runner, self.clock, self._deadline_seconds)
        self._batches.append(batch)
        return batch

    def read(
        self, name: str, steps: Callable[..., Steps[R]], *args: Any
    ) -> Deferred[R]:
        """The result of a transaction that changes nothing."""
        return self._run(name, steps, args, Mode.READ, False)

    def snapshot(
        self, name: str, steps: Callable[..., Steps[R]], *args: Any
    ) -> Deferred[R]:
        """As `read`, with all statements as of one moment."""
        return self._run(name, steps, args, Mode.SNAPSHOT, False)

    def write_once(
        self,
        name: str,
        steps: Callable[..., Steps[R]],
        *args: Any,
        racing: bool = False,
    ) -> Deferred[R]:
        """The result of a change that must not be made twice; `racing` is that of
        `Transaction`."""
        return self._run(name, steps, args, Mode.WRITE, False, racing=racing)

    def write(
        self,
        name: str,
        steps: Callable[..., Steps[R]],
        *args: Any,
        patient: bool = False,
    ) -> Deferred[R]:
        """The result of a change that may be made twice without harm."""
        return self._run(name, steps, args, Mode.WRITE, True, patient)

    def _run(
        self,
        name: str,
        steps: Callable[..., Steps[R]],
        args: tuple[Any, ...],
        mode: Mode,
        repeatable: bool,
        patient: bool = False,
        racing: bool = False,
    ) -> Deferred[R]:
        transaction = Transaction(
            name, lambda: steps(self.sql, *args), mode, repeatable, racing
        )
        # A caller who loses patience must not reach into a connection at work.
        answer: Deferred[R] = Deferred()
        running: Deferred[R] = Deferred.fromCoroutine(self._await(transaction, patient))
        running.addCallbacks(answer.callback, answer.errback)
        return answer

    async def _await(self, transaction: Transaction[R], patient: bool) -> R:
        result: R = await self._runner.run(transaction, patient)
        return result

    def stop(self) -> None:
        """Fail whoever still waits in a batch."""
        for batch in self._batches:
            batch.stop()
