"""The provider of `IFiles`: limits, and what goes into batches."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from koboldfs.errors import UnknownKey, ValueRefused
from koboldfs.model.entities import Closing, Removal
from koboldfs.store.files import Files
from koboldfs.store.steps import Mode
from koboldfs.store.transactions_schema import Estate
from test.unit.store.fake_runner import scripted
from test.unit.store.play import rows

LONG = "k" * 1025


class FileLimits(SynchronousTestCase):
    """What is answered without asking the database."""

    def setUp(self) -> None:
        """A provider whose database must not be asked."""
        self.runner, self.database = scripted()
        self.files = Files(self.database)

    def tearDown(self) -> None:
        """It was not asked, and nothing is left behind."""
        self.database.stop()

    def test_not_there(self) -> None:
        """What no row can hold is not there."""
        files = self.files
        self.assertIsNone(self.successResultOf(files.find(1, LONG)))
        self.assertIs(self.successResultOf(files.delete(1, LONG)), False)
        self.assertIsNone(self.successResultOf(files.find(1, "a\0")))
        self.assertIs(self.successResultOf(files.delete(1, "a\0")), False)
        self.failureResultOf(files.rename(1, "a\0", "a"), UnknownKey)
        self.failureResultOf(files.rename(1, LONG, "a"), UnknownKey)
        self.assertIsNone(self.successResultOf(files.apply([Removal(1, "a")][:0])))
        self.assertIs(self.successResultOf(files.set_class(2**63, 1)), False)
        self.assertEqual(self.successResultOf(files.list_keys(1, "", "", 0)), [])
        self.assertEqual(self.runner.transactions, [])

    def test_refused(self) -> None:
        """What a row should hold and cannot is refused, and NUL bytes in lists."""
        files = self.files
        many = tuple(range(100, 200))
        for answer in (
            files.open_upload(1, "a\0", 0, (1,), None),
            files.close_upload(Closing(1, 1, "a\0", 0, 1, ())),
            files.rename(1, "a", "a\0"),
            files.list_keys(1, "a\0", "", 1),
            files.list_domain(1, "", "a\0", 1),
            files.rename(1, "a", LONG),
            files.open_upload(1, LONG, 0, (1,), None),
            files.open_upload(1, "a", 40_000, (1,), None),
            files.open_upload(1, "a", 0, many, None),
            files.open_upload(1, "a", 0, (1,), 2**63),
            files.close_upload(Closing(1, 1, LONG, 0, 1, ())),
            files.close_upload(Closing(1, 1, "a", 0, -1, ())),
            files.apply([Closing(1, 1, LONG, 0, 1, ())]),
            files.set_class(1, 2**15),
        ):
            self.failureResultOf(answer, ValueRefused)
        self.assertEqual(self.runner.transactions, [])

    def test_narrow_database(self) -> None:
        """A database of MogileFS's has narrower columns."""
        self.database.estate = Estate(True, False, 17)
        key = "k" * 256
        self.assertIsNone(self.successResultOf(self.files.find(1, key)))
        refused = self.files.open_upload(1, key, 0, (1,), None)
        self.failureResultOf(refused, ValueRefused)


class FileTransactions(SynchronousTestCase):
    """What is asked, and how."""

    def setUp(self) -> None:
        """A provider over a script."""
        self.runner, self.database = scripted()
        self.files = Files(self.database)
        self.addCleanup(self.database.stop)

    def test_manners(self) -> None:
        """Only what may be done twice is done twice."""
        closing = Closing(5, 1, "a", 0, 1, (1,))
        self.runner.replies = [
            [rows((None,)), rows((None, None, None, None))],
            [rows((5, None, None, None))],
            [rows()],
        ]
        files = self.files
        opened = files.open_upload(1, "a", 0, (1,), None)
        self.assertEqual(self.successResultOf(opened), 1)
        self.assertEqual(self.successResultOf(files.close_upload(closing)), "closed")
        self.assertIs(self.successResultOf(files.delete(1, "a")), False)
        manners = [(one.mode, one.repeatable) for one in self.runner.transactions]
        self.assertEqual(
            manners, [(Mode.SINGLE, True), (Mode.SINGLE, True), (Mode.SINGLE, False)]
        )
        self.assertTrue(self.runner.transactions[1].racing)

    def test_fid_zero(self) -> None:
        """Fid 0 means that any will do."""
        self.runner.replies = [[rows((8,)), rows((None, None, None, None))]]
        opened = self.files.open_upload(1, "a", 0, (1, 2), 0)
        self.assertEqual(self.successResultOf(opened), 9)
        self.assertEqual(self.runner.played[0].quiet[0].params, (9, 0, 1, "a", "1,2"))
