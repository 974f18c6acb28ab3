"""Core statements become text with blanks."""

from __future__ import annotations

from sqlalchemy import bindparam, select
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.store.phrases import Tongue, listed, unix_now
from koboldfs.store.schema import file, file_to_delete2


class Phrases(SynchronousTestCase):
    """Filling in."""

    def setUp(self) -> None:
        """A phrase with a list in the middle."""
        self.tongue = Tongue("sqlite")
        chosen = select(file.c.fid).where(
            file.c.dmid == bindparam("dmid"),
            file.c.dkey.in_(listed("keys")),
            file.c.length == bindparam("length"),
        )
        self.phrase = self.tongue.phrase(chosen)

    def test_places(self) -> None:
        """Values come in the order of their places, whatever they are called."""
        self.assertEqual(self.phrase.blanks, ("dmid", "keys", "length"))
        said = self.phrase(length=9, keys=["a"], dmid=1)
        self.assertEqual(said.params, (1, "a", 9))
        self.assertIn("IN (?)", said.sql)

    def test_lists_are_padded(self) -> None:
        """A list is filled up to a power of two with its last value."""
        for size, padded in ((1, 1), (2, 2), (3, 4), (5, 8), (8, 8), (9, 16)):
            keys = [f"k{n}" for n in range(size)]
            said = self.phrase(dmid=1, keys=keys, length=0)
            self.assertEqual(said.sql.count("?"), padded + 2)
            self.assertEqual(len(said.params), padded + 2)
            self.assertEqual(set(said.params[1:-1]), set(keys))

    def test_missing_value(self) -> None:
        """A blank that is not filled in is a mistake."""
        with self.assertRaises(KeyError):
            self.phrase(dmid=1, keys=["a"])


class Inserts(SynchronousTestCase):
    """Rows."""

    def test_rows(self) -> None:
        """The row is repeated, with expressions that have parentheses of their own."""
        for name in ("sqlite", "postgresql", "mysql"):
            phrase = Tongue(name).insert_new(
                file_to_delete2, "fid", nexttry=unix_now(), failcount=0
            )
            said = phrase.rows([{"fid": 1}, {"fid": 2}, {"fid": 3}])
            assert said is not None
            self.assertEqual(said.params, (1, 2, 3))
            mark = Tongue(name).mark
            self.assertEqual(said.sql.count(f"({mark}, "), 3)
            self.assertEqual(said.sql.count("(") - said.sql.count(")"), 0)

    def test_no_rows(self) -> None:
        """Nothing to insert is no statement."""
        self.assertIsNone(Tongue("sqlite").insert(file, "fid").rows([]))

    def test_on_duplicate(self) -> None:
        """Each dialect has its own words for a row that is there."""
        words = {
            "sqlite": "ON CONFLICT (dmid, dkey) DO UPDATE SET fid = excluded.fid",
            "postgresql": "ON CONFLICT (dmid, dkey) DO UPDATE SET fid = excluded.fid",
            "mysql": "ON DUPLICATE KEY UPDATE fid = VALUES(fid)",
        }
        for name, expected in words.items():
            phrase = Tongue(name).upsert(file, ["dmid", "dkey"], "fid", "dmid", "dkey")
            said = phrase.rows([{"fid": 1, "dmid": 2, "dkey": "k"}])
            assert said is not None
            self.assertTrue(said.sql.endswith(expected), said.sql)
            self.assertEqual(said.params, (1, 2, "k"))

    def test_update(self) -> None:
        """Columns and keys have blanks of different names, also when they agree."""
        phrase = Tongue("sqlite").update(file, ["fid", "dkey"], ["fid"])
        said = phrase(fid=2, dkey="k", key_fid=1)
        self.assertEqual(said.sql, "UPDATE file SET fid=?, dkey=? WHERE file.fid = ?")
        self.assertEqual(said.params, (2, "k", 1))
