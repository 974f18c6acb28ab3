"""Background work, stepped with no database."""

from __future__ import annotations

from math import inf

from twisted.trial.unittest import SynchronousTestCase

from koboldfs.model.entities import Checksum, DeletionDone, ReplicationDone
from koboldfs.store import transactions_queues as work
from koboldfs.store.looks import Look
from test.unit.store.play import SQLITE, play, rows


class Replications(SynchronousTestCase):
    """Taking and finishing."""

    def test_take(self) -> None:
        """Rows are leased in the order in which they were due."""
        located = rows((2, 1, "k", 3, 0, 1, 7, None, None))
        due = rows((2, 0, None, 6), (1, 3, 9, 5))
        played = play(
            work.take_replications(SQLITE, Look(10, True, 0.0), 60), due, located
        )
        self.assertEqual([one.fid for one in played.result], [2, 1])
        self.assertIsNone(played.result[1].located)
        self.assertEqual(
            (played.result[1].failcount, played.result[1].fromdevid), (3, 9)
        )
        self.assertEqual(played.quietly("UPDATE file_to_replicate"), [(60, 2, 1)])

    def test_take_nothing(self) -> None:
        """Nothing is written when nothing is due."""
        played = play(work.take_replications(SQLITE, Look(10, True, 0.0), 60), rows())
        self.assertEqual((played.result, played.quiet), ([], []))

    def test_take_what_is_new(self) -> None:
        """Of a queue that is slow to look through: first what is due at once, from
        where the last such row was found; then what became due since."""
        look = Look(3, False, 0.0, age_seconds=70, fid=8)
        new, recent = rows((9, 0, None, 2**30)), rows((2, 1, None, 7))
        found = rows((2, 1, "k", 3, 0, 1, 7, None, None))
        played = play(work.take_replications(SQLITE, look, 60), *(new, recent, found))
        self.assertEqual([one.fid for one in played.result], [9, 2])
        asked = [one.params for one in played.asked]
        self.assertEqual(asked, [(8, 3, 0), (70, 2, 0), (9, 2)])
        self.assertEqual(look.found, [(9, 2**30), (2, 7)])

    def test_take_enough_that_is_new(self) -> None:
        """When there is no room for more, no more is looked for."""
        look = Look(1, False, 0.0, fid=1)
        new = rows((9, 0, None, 2**30))
        played = play(work.take_replications(SQLITE, look, 60), new, rows())
        self.assertEqual(len(played.asked), 2)

    def test_finish(self) -> None:
        """Each row by what became of it."""
        done = [
            ReplicationDone(1, added=(5,), removed=(6,), checksum=Checksum(4, b"x")),
            ReplicationDone(2, added=(5,), checksum=Checksum(4, b"y")),
            ReplicationDone(3, retry_seconds=59.6, failcount=2),
            ReplicationDone(4, retry_seconds=inf, failcount=9),
        ]
        played = play(work.finish_replications(SQLITE, done), rows((1,), (3,), (4,)))
        self.assertEqual(played.quietly("INSERT INTO file_on"), [(1, 5, 2, 5)])
        self.assertEqual(played.quietly("DELETE FROM file_on"), [(6, 1)])
        self.assertEqual(played.quietly("UPDATE file SET devcount"), [(1,)])
        self.assertEqual(played.quietly("INSERT INTO file_to_delete2"), [(2,)])
        self.assertEqual(played.quietly("INSERT INTO kobold_checksum"), [(1, 4, b"x")])
        self.assertEqual(played.quietly("DELETE FROM file_to_replicate"), [(1, 2)])
        late = played.quietly("UPDATE file_to_replicate SET nexttry=CASE")
        self.assertEqual(late, [(60, 2, 3), (9, 4)])


class Deletions(SynchronousTestCase):
    """Taking and finishing."""

    def test_take_never_hands_out_live_files(self) -> None:
        """A live file in the queue is taken out of it, and told."""
        due = rows((1, 0, 6), (2, 4, 5))
        copies = rows((2, 8), (2, 7))
        played = play(
            work.take_deletions(SQLITE, Look(9, True, 0.0), 60), due, rows((1,)), copies
        )
        taken, live = played.result
        self.assertEqual(live, [1])
        self.assertEqual([(one.fid, one.devids) for one in taken], [(2, (7, 8))])
        self.assertEqual(played.quietly("DELETE FROM file_to_delete2"), [(1,)])
        self.assertEqual(played.quietly("UPDATE file_to_delete2"), [(60, 2)])

    def test_take_only_live_ones(self) -> None:
        """Nothing is leased when nothing is left."""
        played = play(
            work.take_deletions(SQLITE, Look(9, True, 0.0), 60),
            rows((1, 0, 6)),
            rows((1,)),
        )
        self.assertEqual(played.result, ([], [1]))

    def test_finish(self) -> None:
        """A fid with a copy left stays; a live one is not touched at all."""
        done = [
            DeletionDone(1, (5, 6)),
            DeletionDone(2, (5,), retry_seconds=30.0, failcount=3),
            DeletionDone(3, (5,)),
            DeletionDone(4, (), retry_seconds=inf, failcount=1),
        ]
        played = play(
            work.finish_deletions(SQLITE, done),
            rows((1,), (2,), (3,), (4,)),
            rows((3,)),
            rows((2, 6), (4, 9)),
        )
        self.assertEqual(played.quietly("DELETE FROM file_on"), [(5, 1, 2), (6, 1)])
        self.assertEqual(played.quietly("DELETE FROM file_to_delete2"), [(1,)])
        self.assertEqual(played.quietly("DELETE FROM kobold_checksum"), [(1,)])
        late = played.quietly("INSERT INTO file_to_delete2")
        self.assertEqual(late, [(2, 30, 3), (4, 1)])

    def test_finish_only_live_ones(self) -> None:
        """Nothing is forgotten of a live file."""
        done = [DeletionDone(3, (5,))]
        played = play(work.finish_deletions(SQLITE, done), rows(), rows((3,)))
        self.assertEqual(played.quiet, [])


class Chores(SynchronousTestCase):
    """Uploads and dead devices."""

    def test_expire(self) -> None:
        """A live file only loses its upload row."""
        played = play(
            work.expire_uploads(SQLITE, 3600, 10),
            rows((1,), (2,)),
            rows((1, "5,6"), (2, "5")),
            rows((2,)),
        )
        self.assertEqual(played.result, 2)
        self.assertEqual(played.quietly("INSERT INTO file_on"), [(1, 5, 1, 6)])
        self.assertEqual(played.quietly("INSERT INTO file_to_delete2"), [(1,)])
        self.assertEqual(played.quietly("DELETE FROM tempfile"), [(1, 2)])

    def test_expire_what_others_hold(self) -> None:
        """Uploads that are being closed are left alone."""
        played = play(work.expire_uploads(SQLITE, 3600, 10), rows((1,)), rows())
        self.assertEqual((played.result, played.quiet), (0, []))

    def test_reap(self) -> None:
        """Only live files are queued; all copies on the device are forgotten."""
        played = play(work.reap(SQLITE, 7, 0, 10), rows((2,), (1,)), rows((2,)))
        self.assertEqual(played.result, [1, 2])
        self.assertEqual(played.quietly("DELETE FROM file_on"), [(7, 1, 2)])
        self.assertEqual(played.quietly("INSERT INTO file_to_replicate"), [(2, 1)])
        played = play(work.reap(SQLITE, 7, None, 10), rows())
        self.assertEqual((played.result, played.quiet), ([], []))

    def test_old_queues(self) -> None:
        """Both older delete queues are emptied into the one in use."""
        steps = work.move_old_deletions(SQLITE, 10)
        played = play(steps, rows((4,)), rows((5,), (6,)))
        self.assertEqual(played.result, 3)
        self.assertEqual(played.quietly("INSERT INTO file_to_delete2"), [(4,), (5, 6)])
        self.assertEqual(played.quietly("DELETE FROM file_to_delete_later"), [(5, 6)])
