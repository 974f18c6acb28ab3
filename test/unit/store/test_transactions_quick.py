"""Closing and deleting in one trip, and what is left then."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from koboldfs.errors import DatabaseFault
from koboldfs.model.entities import MD5, OWN_HASHTYPE, Checksum, Closing
from koboldfs.store.steps import MAX_ATTEMPTS, Again
from koboldfs.store.transactions_quick import close_quickly, delete_quickly
from test.unit.store.play import POSTGRES, SQLITE, play, rows

OWN = Checksum(OWN_HASHTYPE, b"s" * 32)
NEW = Closing(5, 1, "a", 2, 77, (1, 3, 3), OWN)
SETTLED = Closing(6, 1, "b", 2, 78, (2,), settled=True)
UPLOAD = (None, None, None)
DONE = rows()  # of a COMMIT


class Close(SynchronousTestCase):
    """Of uploads."""

    def test_at_once(self) -> None:
        """New keys take one trip, which has everything."""
        played = play(close_quickly(POSTGRES, [NEW, SETTLED]), rows((True,)))
        self.assertEqual(played.result, ["closed", "closed"])
        self.assertEqual(played.quiet, [])
        self.assertEqual(
            played.asked[0].params,
            ([5, 6], [1, 1], ["a", "b"], [77, 78], [2, 2], [2, 1])
            + ([5, 5, 6], [1, 3, 2], [5], [OWN.hashtype], [OWN.digest], [5]),
        )

    def test_what_is_not_new(self) -> None:
        """A key that has a file goes the general way, as a transaction of its own."""
        looked = rows((5, *UPLOAD), (9, 1, "a", 70))
        played = play(close_quickly(POSTGRES, [NEW]), rows(), looked, DONE)
        self.assertEqual(played.result, ["closed"])
        self.assertEqual(played.quiet[0].sql, "BEGIN")
        self.assertEqual(played.asked[-1].sql, "COMMIT")
        self.assertEqual(played.quietly("INSERT INTO file_to_delete2"), [(9,)])
        self.assertEqual(played.quietly("INSERT INTO file_to_replicate"), [(5,)])

    def test_settled(self) -> None:
        """What has all its copies is not queued on the general way either."""
        for sql in (POSTGRES, SQLITE):
            looked = [rows((6, *UPLOAD))]
            if sql is POSTGRES:
                looked = [rows(), *looked, DONE]
            played = play(close_quickly(sql, [SETTLED]), *looked)
            self.assertEqual(played.quietly("INSERT INTO file_to_replicate"), [])

    def test_class_checksum(self) -> None:
        """A table that old databases lack is left out of the one statement."""
        closing = Closing(5, 1, "a", 0, 1, (1,), OWN, Checksum(MD5, b"m" * 16))
        played = play(close_quickly(POSTGRES, [closing]), rows((5, *UPLOAD)), DONE)
        self.assertEqual(played.result, ["closed"])
        self.assertEqual(played.quiet[0].sql, "BEGIN")
        self.assertEqual(len(played.quietly("INSERT INTO checksum")), 1)
        self.assertNotIn(" checksum ON", POSTGRES.close_new(**_nothing()).sql)

    def test_elsewhere(self) -> None:
        """Other databases have the general way alone; who runs it begins and ends."""
        played = play(close_quickly(SQLITE, [NEW]), rows((5, *UPLOAD)))
        self.assertEqual(played.result, ["closed"])
        self.assertNotIn("COMMIT", [one.sql for one in played.asked + played.quiet])


class Delete(SynchronousTestCase):
    """Of keys."""

    def test_at_once(self) -> None:
        """One trip says which were there."""
        names = [(1, "a"), (1, "b"), (1, "c")]
        told = rows(("c", True), ("a", True))
        played = play(delete_quickly(POSTGRES, names), told)
        self.assertEqual(played.result, [True, False, True])
        self.assertEqual(played.quiet, [])

    def test_replaced_meanwhile(self) -> None:
        """A key that got another file while we waited is deleted in a second one."""
        names = [(1, "a"), (1, "b")]
        told, again = rows(("a", True), ("b", False)), rows((9, 1, "b", 0))
        played = play(delete_quickly(POSTGRES, names), told, again, DONE)
        self.assertEqual(played.result, [True, True])
        self.assertEqual(played.quiet[0].sql, "BEGIN")
        self.assertEqual(played.quietly("INSERT INTO file_to_delete2"), [(9,)])
        self.assertEqual(played.asked[-1].sql, "COMMIT")

    def test_fault_in_the_second(self) -> None:
        """It is the fate of those alone that were not deleted before."""
        fault = DatabaseFault()
        told = rows(("a", True), ("b", False))
        again = rows((9, 1, "b", 0))
        for replies in ([told, fault], [told, again, fault]):
            steps = delete_quickly(POSTGRES, [(1, "a"), (1, "b"), (1, "c")])
            played = play(steps, *replies)
            self.assertEqual(played.result, [True, fault, False])
            self.assertEqual(played.quiet[-1].sql, "ROLLBACK")

    def test_meeting_in_the_second(self) -> None:
        """Who met somebody there tries again, so many times."""
        told, again = rows(("a", True), ("b", False)), rows((9, 1, "b", 0))
        names = [(1, "a"), (1, "b")]
        meetings = [Again()] * (MAX_ATTEMPTS - 1)
        steps = delete_quickly(POSTGRES, names)
        played = play(steps, told, *meetings, again, DONE)
        self.assertEqual(played.result, [True, True])
        verbs = [one.sql for one in played.quiet[:3]]
        self.assertEqual(verbs, ["BEGIN", "ROLLBACK", "BEGIN"])
        last = Again()
        played = play(delete_quickly(POSTGRES, names), told, *meetings, last)
        self.assertEqual(played.result, [True, last])

    def test_many_domains(self) -> None:
        """Keys of several domains are one transaction, of the general kind."""
        found = [rows((5, 1, "a", 0)), rows(), DONE]
        played = play(delete_quickly(POSTGRES, [(1, "a"), (2, "a")]), *found)
        self.assertEqual(played.result, [True, False])
        self.assertEqual(played.quiet[0].sql, "BEGIN")

    def test_elsewhere(self) -> None:
        """Other databases have the general way alone."""
        played = play(delete_quickly(SQLITE, [(1, "a")]), rows((5, 1, "a", 0)))
        self.assertEqual(played.result, [True])
        self.assertEqual(played.quietly("BEGIN"), [])


def _nothing() -> dict[str, list[int]]:
    assert POSTGRES.close_new is not None
    return {blank: [] for blank in POSTGRES.close_new.blanks}
