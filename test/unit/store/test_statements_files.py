"""The statements of `statements_files`, as text."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from test.unit.store.play import POSTGRES, SQLITE


class FileTexts(SynchronousTestCase):
    """Where the dialects must differ."""

    def test_keys_by_bytes(self) -> None:
        """PostgreSQL is told to compare and sort keys by bytes, in every place."""
        values = {"dmid": 1, "low": "a", "after": "", "limit": 1}
        for phrase in (POSTGRES.list_keys_to_the_end, POSTGRES.list_domain_to_the_end):
            said = phrase(**values).sql
            self.assertEqual(said.count('COLLATE "C"'), 3)
        self.assertNotIn("COLLATE", SQLITE.list_keys_to_the_end(**values).sql)

    def test_draw_looks_at_its_own_row(self) -> None:
        """Whether a fid is known is asked for the row that is inserted only."""
        row = {"classid": 0, "dmid": 1, "dkey": "k", "devids": "1"}
        said = POSTGRES.open.rows([row])
        assert said is not None
        self.assertEqual(said.sql.count("EXISTS"), 3)
        self.assertNotIn("tempfile WHERE", said.sql)
        self.assertNotIn("tempfile \n", said.sql)

    def test_asked_again(self) -> None:
        """Only a row in work is marked when it is asked for again."""
        said = SQLITE.queue_again.rows([{"fid": 1, "delay": 5}])
        assert said is not None
        self.assertIn("coalesce(nullif(file_to_replicate.flags, 1), 2)", said.sql)
        self.assertEqual(said.params, (1, 5))
