"""The statements that do all in one trip."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from test.unit.store.play import MYSQL, POSTGRES, SQLITE


class Quick(SynchronousTestCase):
    """Where there are any."""

    def test_on_postgresql_only(self) -> None:
        """Others change rows in one statement a table."""
        for sql in (SQLITE, MYSQL):
            self.assertIsNone(sql.close_new)
            self.assertIsNone(sql.delete_keys)
        self.assertIsNotNone(POSTGRES.close_new)
        self.assertIsNotNone(POSTGRES.delete_keys)

    def test_all_or_nothing(self) -> None:
        """Every change of a closing hangs on the one condition."""
        assert POSTGRES.close_new is not None
        blanks = {blank: [] for blank in POSTGRES.close_new.blanks}
        sql = POSTGRES.close_new(**blanks).sql
        changes = sql.count("INSERT INTO") + sql.count("DELETE FROM")
        self.assertEqual(changes, 5)
        self.assertEqual(sql.count(", free"), changes + 1)

    def test_locks_first(self) -> None:
        """A deletion locks in the order in which everybody does."""
        assert POSTGRES.delete_keys is not None
        sql = POSTGRES.delete_keys(dmid=1, keys=["a"]).sql
        self.assertIn("ORDER BY one.fid", sql)
        self.assertIn("FOR UPDATE", sql)
