"""The statements of `statements_topology`, as text."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from test.unit.store.play import POSTGRES, SQLITE


class TopologyTexts(SynchronousTestCase):
    """Where the dialects must differ."""

    def test_schema_lock(self) -> None:
        """Trackers that start together wait for each other on PostgreSQL."""
        assert POSTGRES.lock_schema is not None
        self.assertIn("pg_advisory_xact_lock", POSTGRES.lock_schema.sql)
        self.assertIsNone(SQLITE.lock_schema)

    def test_old_classes(self) -> None:
        """An old schema has no hash type; the rows are of one shape."""
        self.assertIn("NULL AS hashtype", SQLITE.old_classes().sql)
        self.assertEqual(
            SQLITE.old_classes().sql.count(","), SQLITE.classes().sql.count(",")
        )
