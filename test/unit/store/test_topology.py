"""The provider of `ITopology`: manners."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from koboldfs.errors import ValueRefused
from koboldfs.store.steps import Mode
from koboldfs.store.topology import SmallTables
from koboldfs.store.transactions_schema import Estate
from test.unit.store.fake_runner import scripted
from test.unit.store.play import rows


class Tables(SynchronousTestCase):
    """How transactions are run."""

    def setUp(self) -> None:
        """A provider over a script."""
        self.runner, self.database = scripted()
        self.watched: list[object] = []
        self.forgotten: list[int] = []
        self.tables = SmallTables(
            self.database, self.watched.append, self.forgotten.append
        )

    def test_watch(self) -> None:
        """The engine is told who watches."""
        self.tables.watch(print)
        self.assertEqual(self.watched, [print])

    def test_load_is_of_one_moment(self) -> None:
        """All tables are read in one snapshot."""
        self.runner.replies = [[rows()] * 5]
        self.tables.load()
        self.assertIs(self.runner.transactions[0].mode, Mode.SNAPSHOT)

    def test_old_schema(self) -> None:
        """A hash type where there is no column for it is refused."""
        self.database.estate = Estate(True, False, 14)
        self.runner.replies = [[rows((1,)), rows()]] * 2
        answer = self.tables.create_class(1, "c", 2, None, 1)
        self.failureResultOf(answer, ValueRefused)  # type: ignore[arg-type]

    def test_creations_are_made_once(self) -> None:
        """What may have been made is not made again."""
        self.runner.replies = [[rows(), rows(count=1)]]
        self.tables.create_domain("d")
        self.assertFalse(self.runner.transactions[0].repeatable)
        self.tables.set_setting("s", None)
        self.assertTrue(self.runner.transactions[1].repeatable)
