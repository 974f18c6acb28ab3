"""Batches, with a runner whose transactions end when the test says so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from koboldfs.errors import DatabaseAway, DatabaseFault, TooBusy, ValueRefused
from koboldfs.store.batch import SLOW_BATCH_SECONDS, Batch, Kind
from koboldfs.store.steps import IRunner, OutcomeUnknown, Steps, Transaction, nothing


@implementer(IRunner)
class FakeRunner:
    """Begins what it is given when a connection is `free`; `end` finishes it."""

    def __init__(self) -> None:
        self.free = True
        self.stopped = False
        self.waiting: list[Deferred[None]] = []
        self.running: list[tuple[list[Any], Deferred[Any]]] = []
        self.batches: list[list[Any]] = []

    async def run(self, transaction: Transaction[Any], patient: bool = False) -> Any:
        """See `IRunner`."""
        if self.stopped:
            raise DatabaseAway()
        if not self.free:
            waiting: Deferred[None] = Deferred()
            self.waiting.append(waiting)
            await waiting
        try:
            next(transaction.steps())
        except StopIteration as end:
            requests = end.value
        self.batches.append(requests)
        if not requests:
            return []
        ended: Deferred[Any] = Deferred()
        self.running.append((requests, ended))
        return await ended

    def come_free(self) -> None:
        """A connection is there for all that wait."""
        self.free = True
        waiting, self.waiting = self.waiting, []
        for one in waiting:
            one.callback(None)

    def end(self, error: Exception | None = None) -> None:
        """The oldest running transaction ends, with its requests as results."""
        requests, ended = self.running.pop(0)
        if error is not None:
            ended.errback(error)
        else:
            ended.callback([f"did {one}" for one in requests])


class BatchCase(SynchronousTestCase):
    """A batch over the fake."""

    def make(self, **options: Any) -> Batch[Any, Any]:
        """A batch whose steps return their requests."""

        def steps(requests: Sequence[Any]) -> Steps[list[Any]]:
            return nothing(list(requests))

        self.clock = Clock()
        self.clock.advance(1000)
        self.runner = FakeRunner()
        return Batch(Kind("test", steps, **options), self.runner, self.clock)


class Gathering(BatchCase):
    """How requests come together."""

    def test_idle(self) -> None:
        """On an idle system a request goes at once and alone."""
        batch = self.make()
        answer = batch.ask("a")
        self.assertEqual(self.runner.batches, [["a"]])
        self.runner.end()
        self.assertEqual(self.successResultOf(answer), "did a")

    def test_gathered_while_busy(self) -> None:
        """What comes while one is under way goes together afterwards."""
        batch = self.make()
        answers = [batch.ask(n) for n in range(5)]
        self.runner.end()
        self.assertEqual(self.runner.batches, [[0], [1, 2, 3, 4]])
        self.runner.end()
        results = [self.successResultOf(one) for one in answers]
        self.assertEqual(results, [f"did {n}" for n in range(5)])

    def test_gathered_until_a_connection_is_free(self) -> None:
        """A batch takes all that came before it got its connection."""
        batch = self.make()
        self.runner.free = False
        for n in range(4):
            batch.ask(n)
        self.runner.come_free()
        self.assertEqual(self.runner.batches, [[0, 1, 2, 3]])

    def test_limit(self) -> None:
        """A batch is not larger than its limit."""
        batch = self.make(limit=3)
        for n in range(8):
            batch.ask(n)
        while self.runner.running:
            self.runner.end()
        self.assertEqual([len(one) for one in self.runner.batches], [1, 3, 3, 1])

    def test_slow_batch_is_passed(self) -> None:
        """Behind a batch that takes long a second lane is opened, to a limit."""
        batch = self.make(lanes=2)
        batch.ask(1)
        batch.ask(2)
        self.assertEqual(self.runner.batches, [[1]])
        self.clock.advance(SLOW_BATCH_SECONDS * 2)
        batch.ask(3)
        self.assertEqual(self.runner.batches, [[1], [2, 3]])
        self.clock.advance(SLOW_BATCH_SECONDS * 2)
        batch.ask(4)
        self.assertEqual(len(self.runner.batches), 2)

    def test_order_of_one_thing(self) -> None:
        """Requests about the same thing are never together, and keep their order."""
        batch = self.make(marks=lambda request: {request[0]})
        for request in ("x0", "a1", "b1", "a2", "c1", "a3", "b2"):
            batch.ask(request)
        while self.runner.running:
            self.runner.end()
        self.assertEqual(
            self.runner.batches, [["x0"], ["a1", "b1", "c1"], ["a2", "b2"], ["a3"]]
        )

    def test_order_in_two_lanes(self) -> None:
        """A second lane leaves alone what the first is about."""
        batch = self.make(marks=lambda request: {request[0]}, lanes=2)
        batch.ask("a1")
        self.clock.advance(1)
        batch.ask("a2")
        batch.ask("b1")
        self.assertEqual([one for one in self.runner.batches if one], [["a1"]])
        self.clock.advance(1)
        batch.ask("c1")
        self.assertEqual(self.runner.batches[-1], ["b1", "c1"])
        self.runner.end()
        self.assertEqual(self.runner.batches[-1], ["a2"])


class Failing(BatchCase):
    """What goes wrong."""

    def test_neighbours(self) -> None:
        """When a batch is refused its members are run one by one."""
        batch = self.make()
        first = batch.ask("first")
        answers = [batch.ask(n) for n in range(3)]
        self.runner.end()
        self.successResultOf(first)
        self.runner.end(ValueRefused())
        self.runner.end()
        self.runner.end(ValueRefused())
        self.runner.end()
        self.assertEqual(self.runner.batches[2:], [[0], [1], [2]])
        self.assertEqual(self.successResultOf(answers[0]), "did 0")
        self.failureResultOf(answers[1], ValueRefused)
        self.assertEqual(self.successResultOf(answers[2]), "did 2")

    def test_alone(self) -> None:
        """A request that was alone is not run twice."""
        batch = self.make()
        answer = batch.ask("a")
        self.runner.end(ValueRefused())
        self.failureResultOf(answer, ValueRefused)
        self.assertEqual(len(self.runner.batches), 1)

    def test_unknown_outcome(self) -> None:
        """What may have been done is not done again, one by one."""
        batch = self.make()
        batch.ask("first").addErrback(lambda failure: None)
        answers = [batch.ask(n) for n in range(3)]
        self.runner.end()
        self.runner.end(OutcomeUnknown())
        for answer in answers:
            self.failureResultOf(answer, DatabaseFault)
        self.assertEqual(len(self.runner.batches), 2)

    def test_away_in_the_middle(self) -> None:
        """When the database goes while members are run alone, all the rest fail."""
        batch = self.make()
        batch.ask("first")
        answers = [batch.ask(n) for n in range(3)]
        self.runner.end()
        self.runner.end(ValueRefused())
        self.runner.end(DatabaseAway())
        for answer in answers:
            self.failureResultOf(answer, DatabaseAway)

    def test_result_that_is_an_error(self) -> None:
        """Steps can fail one member by its result."""
        batch = self.make()
        answer = batch.ask("a")
        _, ended = self.runner.running.pop()
        ended.callback([ValueRefused()])
        self.failureResultOf(answer, ValueRefused)

    def test_defect(self) -> None:
        """A defect is logged, told to those who asked, and the batch goes on."""
        batch = self.make()
        answer = batch.ask("a")
        self.runner.end(ZeroDivisionError())
        self.failureResultOf(answer, ZeroDivisionError)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        again = batch.ask("b")
        self.runner.end()
        self.successResultOf(again)

    def test_caller_gone(self) -> None:
        """A caller who lost patience harms nobody."""
        batch = self.make()
        first, second = batch.ask("a"), batch.ask("b")
        first.addErrback(lambda failure: None)
        first.cancel()
        self.runner.end()
        self.runner.end()
        self.assertEqual(self.successResultOf(second), "did b")


class Limits(BatchCase):
    """Queues and deadlines."""

    def test_too_busy(self) -> None:
        """The queue has an end."""
        batch = self.make(max_waiting=3)
        for n in range(4):
            batch.ask(n)
        self.failureResultOf(batch.ask("more"), TooBusy)

    def test_deadline(self) -> None:
        """A request waits for a connection so long and no longer; others still may."""
        batch = self.make()
        self.runner.free = False
        early = [batch.ask(n) for n in range(2)]
        self.clock.advance(6)
        late = batch.ask("late")
        self.clock.advance(3.9)
        self.assertNoResult(early[0])
        self.clock.advance(0.2)
        for answer in early:
            self.failureResultOf(answer, DatabaseAway)
        self.assertNoResult(late)
        self.runner.come_free()
        self.assertEqual(self.runner.batches, [["late"]])
        self.runner.end()
        self.successResultOf(late)

    def test_deadline_of_all(self) -> None:
        """A connection that comes when nobody waits any more is not kept."""
        batch = self.make()
        self.runner.free = False
        self.failureResultOf(self.after(batch.ask("a"), 11), DatabaseAway)
        self.runner.come_free()
        self.assertEqual(self.runner.batches, [[]])
        answer = batch.ask("b")
        self.runner.end()
        self.successResultOf(answer)

    def after(self, answer: Deferred[Any], seconds: float) -> Deferred[Any]:
        """The answer when that time has passed."""
        self.clock.advance(seconds)
        return answer

    def test_runner_stopped(self) -> None:
        """A runner that is stopped fails requests at once."""
        batch = self.make()
        self.runner.stopped = True
        self.failureResultOf(batch.ask("a"), DatabaseAway)

    def test_stop(self) -> None:
        """Nobody waits after a stop, and no alarm is left."""
        batch = self.make()
        self.runner.free = False
        answer = batch.ask("a")
        batch.stop()
        self.failureResultOf(answer, DatabaseAway)
        self.assertEqual(self.clock.getDelayedCalls(), [])
