"""Tests of koboldfs.running."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.running import run_now, together


class RunNowTests(SynchronousTestCase):
    """`run_now`."""

    def setUp(self) -> None:
        """Nothing has happened."""
        self.seen: list[Any] = []
        self.failures: list[Any] = []

    def run_it(self, *waits: Callable[[], Deferred[int]]) -> None:
        """Run a coroutine that waits for these."""

        async def work() -> None:
            for wait in waits:
                try:
                    self.seen.append(await wait())
                except ValueError as error:
                    self.seen.append(error)
            self.seen.append("end")

        run_now(work(), lambda failure: self.failures.append(failure.value))

    def test_at_once(self) -> None:
        """What need not wait is done when the call returns."""
        done: Deferred[int] = Deferred()
        done.callback(1)
        self.run_it(lambda: done)
        self.assertEqual(self.seen, [1, "end"])

    def test_waits(self) -> None:
        """It goes on when what it waits for has fired."""
        first, second = Deferred[int](), Deferred[int]()
        self.run_it(lambda: first, lambda: second)
        self.assertEqual(self.seen, [])
        first.callback(1)
        self.assertEqual(self.seen, [1])
        second.callback(2)
        self.assertEqual(self.seen, [1, 2, "end"])

    def test_failure(self) -> None:
        """A failure is raised where it was waited for, and is then dealt with."""
        error, waiting = ValueError(), Deferred[int]()
        self.run_it(lambda: waiting)
        waiting.errback(error)
        self.assertEqual(self.seen, [error, "end"])
        self.assertEqual(self.failures, [])

    def test_defect(self) -> None:
        """What nobody catches is told, early or late."""
        error = KeyError("x")
        failed: Deferred[int] = Deferred()
        failed.errback(error)
        waiting: Deferred[int] = Deferred()
        for wait in (failed, waiting):
            self.setUp()
            self.run_it(lambda wait=wait: wait)  # type: ignore[misc]
            if wait is waiting:
                waiting.errback(Failure(error))
            self.assertEqual((self.seen, self.failures), ([], [error]))

    def test_cancelled(self) -> None:
        """What is waited for may be cancelled."""
        waiting: Deferred[int] = Deferred()
        self.run_it(lambda: waiting)
        waiting.cancel()
        self.assertIsInstance(self.failures[0], CancelledError)


class TogetherTests(SynchronousTestCase):
    """`together`."""

    def results(self, *waits: Deferred[int]) -> Deferred[list[int]]:
        """Of coroutines that wait for these."""

        async def work(wait: Deferred[int]) -> int:
            return 2 * await wait

        return Deferred.fromCoroutine(together([work(wait) for wait in waits]))

    def test_order(self) -> None:
        """All are under way at once; the results are in the order of the works."""
        waits: list[Deferred[int]] = [Deferred() for _ in range(3)]
        answer = self.results(*waits)
        for number in (2, 0, 1):
            self.assertNoResult(answer)
            waits[number].callback(number)
        self.assertEqual(self.successResultOf(answer), [0, 2, 4])

    def test_one(self) -> None:
        """A single one fails as itself."""
        wait: Deferred[int] = Deferred()
        answer = self.results(wait)
        wait.errback(ValueError("x"))
        self.failureResultOf(answer, ValueError)

    def test_none(self) -> None:
        """Nothing to do is done."""
        self.assertEqual(self.successResultOf(self.results()), [])
