"""Looking up, listing and deleting, stepped with no database."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.errors import DuplicateRow, KeyExists, UnknownKey
from koboldfs.model.entities import Checksum, File, Located
from koboldfs.store import transactions_files as look
from koboldfs.store.steps import Again
from test.unit.store.play import MYSQL, SQLITE, play, rows

FILE = (5, 1, "a", 10, 0, 2)
KEYS = some.text(some.characters(min_codepoint=1, max_codepoint=255), max_size=4)


class Rows(SynchronousTestCase):
    """From rows to files."""

    def test_gathered(self) -> None:
        """One file of all its rows; a row without device has none."""
        found = look.gathered([(*FILE, 3), (6, 1, "b", 0, 0, 0, None), (*FILE, 4)])
        self.assertEqual(
            found,
            [Located(File(*FILE), (3, 4)), Located(File(6, 1, "b", 0, 0, 0), ())],
        )

    def test_checksum(self) -> None:
        """It is filled in where the row has one; drivers give bytes or a view."""
        (one,) = look.gathered([(*FILE, 3, 4, memoryview(b"xy"))])
        self.assertEqual(one.checksum, Checksum(4, b"xy"))
        (one,) = look.gathered([(*FILE, 3, None, None)])
        self.assertIsNone(one.checksum)

    def test_devids(self) -> None:
        """A list of devices is parsed, and what is no number is left out."""
        for text, devids in (
            ("1,20,3", (1, 20, 3)),
            ("", ()),
            (None, ()),
            (",x,-1,7, 8", (7,)),
        ):
            self.assertEqual(look.devids_of(text), devids)


class Successor(SynchronousTestCase):
    """The end of a prefix."""

    @given(KEYS, KEYS)
    def test_successor(self, prefix: str, key: str) -> None:
        """Between a prefix and its successor are exactly the keys that begin so."""
        high = look.successor(prefix)
        within = key >= prefix and (high is None or key < high)
        self.assertEqual(within, key.startswith(prefix))


class Looking(SynchronousTestCase):
    """Reads."""

    def test_find(self) -> None:
        """One statement for each domain; each name gets its own file."""
        names = [(1, "a"), (2, "a"), (1, "gone"), (1, "a")]
        other = (6, 2, "a", 1, 0, 1)
        played = play(look.find(SQLITE, names), rows((*FILE, 3)), rows((*other, 1)))
        first = Located(File(*FILE), (3,))
        second = Located(File(*other), (1,))
        self.assertEqual(played.result, [first, second, None, first])
        self.assertEqual(played.asked[0].params, (1, "a", "gone"))

    def test_list_without_end(self) -> None:
        """A prefix that has no successor has no upper bound."""
        played = play(look.list_keys(SQLITE, 1, "\xff", "b", 7), rows(("\xff",)))
        self.assertEqual(played.asked[0].params[:4], (1, "\xff", "b", 7))
        played = play(look.list_keys(SQLITE, 1, "a", "", 7), rows(("a",)))
        self.assertEqual(played.asked[0].params[:4], (1, "a", "", "b"))


class Changing(SynchronousTestCase):
    """Writes."""

    def test_delete(self) -> None:
        """A name that comes twice was there once; only found fids are queued."""
        names = [(1, "a"), (1, "gone"), (1, "a")]
        played = play(look.delete(SQLITE, names), rows((5, 1, "a", 10)))
        self.assertEqual(played.result, [True, False, False])
        self.assertEqual(played.quietly("DELETE FROM file "), [(5,)])
        self.assertEqual(played.quietly("INSERT INTO file_to_delete2"), [(5,)])

    def test_delete_nothing(self) -> None:
        """Where nothing is there nothing is written."""
        played = play(look.delete(SQLITE, [(1, "a")]), rows())
        self.assertEqual((played.result, played.quiet), ([False], []))

    def test_rename(self) -> None:
        """What is in the way, or comes into it, is not overwritten."""
        old, new = (5, 1, "a", 10), (6, 1, "b", 1)
        play(look.rename(SQLITE, 1, "a", "b"), rows(old), rows(count=1))
        play(look.rename(SQLITE, 1, "a", "a"), rows(old))
        for replies, error in (
            ((rows(new),), UnknownKey),
            ((rows(old, new),), KeyExists),
            ((rows(old), DuplicateRow()), KeyExists),
        ):
            with self.assertRaises(error):
                play(look.rename(SQLITE, 1, "a", "b"), *replies)

    def test_set_class(self) -> None:
        """Only a file that is there is queued."""
        played = play(look.set_class(SQLITE, 5, 2), rows(count=0))
        self.assertEqual((played.result, played.quiet), (False, []))
        played = play(look.set_class(SQLITE, 5, 2), rows(count=1))
        self.assertIs(played.result, True)
        self.assertEqual(played.quietly("INSERT INTO file_to_replicate"), [(5, 0)])


class Folded(SynchronousTestCase):
    """On a database to which different keys are the same."""

    def setUp(self) -> None:
        """Its statements."""
        self.sql = MYSQL.as_found(
            folds_keys=True, keeps_task_args=True, sorts_keys=True
        )

    def test_found(self) -> None:
        """A key that is spelled otherwise means the file that was found."""
        row = (7, 1, "k", 3, 0, 1, 5)
        played = play(
            look.find(self.sql, [(1, "K"), (1, "x")]), rows(row), rows(("k",)), rows()
        )
        first, second = played.result
        self.assertEqual((first.file.fid, second), (7, None))

    def test_came_meanwhile(self) -> None:
        """One that was not there when rows were looked at is not taken for missing, nor
        for locked."""
        for steps in (look.find, look.delete):
            empty = [rows()] * (2 if steps is look.delete else 1)
            with self.assertRaises(Again):
                play(steps(self.sql, [(1, "K")]), *empty, rows(("k",)))
