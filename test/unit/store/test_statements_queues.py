"""The statements of `statements_queues`, as text."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from test.unit.store.play import POSTGRES, SQLITE


class QueueTexts(SynchronousTestCase):
    """What must not be forgotten."""

    def test_given_up_rows_are_never_due(self) -> None:
        """The end of time is later than any clock."""
        for statement in (
            SQLITE.due_replications(limit=1),
            SQLITE.due_deletions(limit=1, grace=0),
        ):
            self.assertIn("nexttry < 2147483647", statement.sql)

    def test_only_rows_in_work_are_finished(self) -> None:
        """A row that is not in work is neither removed nor put off."""
        removed = POSTGRES.drop_replications(fids=[1]).sql
        self.assertIn("file_to_replicate.flags = 1", removed)
        late = POSTGRES.put_off_replications(fids=[1], delay=5, failcount=1).sql
        self.assertIn("file_to_replicate.flags != 0", late)

    def test_rows_in_work_are_not_hastened(self) -> None:
        """Neither release nor hasten touches them."""
        for phrase in (SQLITE.failed_replications, SQLITE.waiting_replications):
            self.assertIn("file_to_replicate.flags = 0", phrase(limit=1).sql)

    def test_counting_ends(self) -> None:
        """Queues are counted up to a cap."""
        self.assertEqual(SQLITE.lengths().sql.count("LIMIT 100000"), 3)
