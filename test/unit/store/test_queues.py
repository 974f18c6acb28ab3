"""The provider of `IQueues`: limits and slices."""

from __future__ import annotations

from typing import Any

from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.model.entities import ReplicationDone
from koboldfs.store import queues
from koboldfs.store.queues import MAX_ROWS, Queues
from koboldfs.store.transactions_queues import HASTEN_ROWS
from koboldfs.store.transactions_schema import Estate
from test.unit.store.fake_runner import scripted
from test.unit.store.play import POSTGRES, rows


class Slices(SynchronousTestCase):
    """Long lists."""

    def setUp(self) -> None:
        """A provider over a script."""
        self.runner, self.database = scripted()
        self.queues = Queues(self.database)

    def result(self, answer: Any) -> Any:
        """What a call returned."""
        return self.successResultOf(answer)

    def test_limits(self) -> None:
        """Nothing is taken when nothing is wanted, and never too much."""
        q = self.queues
        self.assertEqual(self.result(q.take_replications(0, 1)), [])
        self.assertEqual(self.result(q.take_deletions(0, 1)), [])
        for nothing in (
            q.release_replications(0),
            q.expire_uploads(1, 0),
            q.reap(1, 0),
        ):
            self.assertEqual(self.result(nothing), 0)
        self.assertEqual(self.runner.transactions, [])
        self.runner.replies = [[rows()]]
        self.result(q.take_replications(10**9, 1))
        self.assertEqual(self.runner.played[0].asked[0].params[0], queues.MAX_TAKEN)

    def test_slices(self) -> None:
        """A long report is several transactions."""
        done = [ReplicationDone(n) for n in range(1, MAX_ROWS * 2 + 2)]
        self.runner.replies = [[rows()]] * 3
        self.result(self.queues.finish_replications(done))
        self.assertEqual(len(self.runner.transactions), 3)

    def test_queueing(self) -> None:
        """Fids are queued once each, and only those that can be."""
        self.result(self.queues.queue_replications([3, 1, 3, 0, -1, 2**63], 5))
        self.assertEqual(self.runner.played[0].quiet[0].params, (1, 5, 3, 5))

    def test_hasten(self) -> None:
        """It goes on until a transaction finds fewer than it could change."""
        full = rows(*((n,) for n in range(HASTEN_ROWS)))
        self.runner.replies = [[full], [full], [rows((1,))]]
        count = self.result(self.queues.hasten_replications())
        self.assertEqual(count, 2 * HASTEN_ROWS + 1)

    def reaped(self, *replies: Any) -> tuple[int, list[tuple[Any, ...]]]:
        """What a call of `reap` returned, and what its transactions asked first."""
        before = len(self.runner.played)
        self.runner.replies = list(replies)
        count = self.result(self.queues.reap(7, 2))
        return count, [one.asked[0].params[:3] for one in self.runner.played[before:]]

    def test_reap(self) -> None:
        """It goes on where it was, and at the end looks at the beginning again, for
        copies that were recorded late."""
        full = [rows((4,), (6,)), rows()]
        self.assertEqual(self.reaped(full), (2, [(7, 0, 2)]))
        found = self.reaped([rows()], [rows((5,)), rows()])
        self.assertEqual(found, (1, [(7, 6, 2), (7, 0, 2)]))
        self.assertEqual(self.reaped([rows()], [rows()]), (0, [(7, 5, 2), (7, 0, 2)]))
        self.assertEqual(self.reaped([rows()]), (0, [(7, 0, 2)]))

    def test_reap_without_order(self) -> None:
        """MogileFS's index on PostgreSQL has the device alone: any copies will do."""
        estate = Estate(made_by_mogilefs=True, created_now=False, schema_version=17)
        self.database.estate = estate
        self.database.sql = POSTGRES
        self.assertEqual(self.reaped([rows((4,)), rows()]), (1, [(7, 2)]))

    def test_live_file_in_the_delete_queue(self) -> None:
        """It is kept, and somebody is told."""
        told: list[Any] = []
        globalLogPublisher.addObserver(told.append)
        self.addCleanup(globalLogPublisher.removeObserver, told.append)
        self.runner.replies = [[rows((7, 0)), rows((7,))]]
        self.assertEqual(self.result(self.queues.take_deletions(5, 5)), [])
        self.assertIn([7], [event.get("fids") for event in told])

    def test_older_delete_queues(self) -> None:
        """They are looked at only where MogileFS has been."""
        self.runner.replies = [[rows()]]
        self.result(self.queues.take_deletions(5, 5))
        self.database.estate = Estate(True, False, 17)
        self.runner.replies = [[rows(), rows()], [rows()]]
        self.result(self.queues.take_deletions(5, 5))
        names = [one.name for one in self.runner.transactions]
        expected = ["take_deletions", "move_old_deletions", "take_deletions"]
        self.assertEqual(names, expected)
