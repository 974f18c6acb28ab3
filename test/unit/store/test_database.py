"""What the providers share."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.store.steps import Mode, Steps, nothing
from test.unit.store.fake_runner import scripted


def doubled(sql: object, number: int) -> Steps[int]:
    """Twice the number."""
    return nothing(2 * number)


class Databases(SynchronousTestCase):
    """Transactions and their manners."""

    def test_manners(self) -> None:
        """Each way to run one says what it may do."""
        runner, database = scripted()
        ways = (database.read, database.snapshot, database.write, database.write_once)
        for way in ways:
            self.assertEqual(self.successResultOf(way("double", doubled, 4)), 8)
        self.assertEqual(
            [(one.mode, one.repeatable) for one in runner.transactions],
            [
                (Mode.READ, False),
                (Mode.SNAPSHOT, False),
                (Mode.WRITE, True),
                (Mode.WRITE, False),
            ],
        )

    def test_cancel(self) -> None:
        """A caller who goes away does not reach into what is under way."""
        runner, database = scripted()
        under_way: Deferred[int] = Deferred(lambda _: self.fail("it was reached"))

        async def run(transaction: object, patient: bool = False) -> int:
            return await under_way

        runner.run = run  # type: ignore[method-assign,assignment]
        answer = database.write("double", doubled, 4)
        answer.cancel()
        self.failureResultOf(answer, CancelledError)
        under_way.callback(8)
