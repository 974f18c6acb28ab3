"""Handing out fids and closing uploads, stepped with no database."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from koboldfs.errors import DuplicateRow, FidInUse, NoUpload
from koboldfs.model.entities import Checksum, Closing, Removal
from koboldfs.store import transactions_uploads as uploads
from koboldfs.store.steps import Again
from koboldfs.store.transactions_uploads import Opening
from test.unit.store.play import MYSQL, POSTGRES, SQLITE, play, rows

ONE, TWO = Opening(1, "a", 0, "1"), Opening(1, "b", 0, "2")
OURS, THEIRS = Checksum(4, b"o"), Checksum(1, b"t")


def closing(fid: int, key: str = "k", dmid: int = 1) -> Closing:
    """A closing of three bytes on two devices."""
    return Closing(fid, dmid, key, 0, 3, (7, 8))


class Opens(SynchronousTestCase):
    """Fids."""

    def test_sqlite(self) -> None:
        """The next fids above all that any table knows, and that were ever drawn."""
        known = rows((11, None, 40, 3))
        played = play(uploads.open_uploads(SQLITE, [ONE, TWO]), known, rows((20,)))
        self.assertEqual(played.result, [41, 42])
        self.assertEqual(
            played.quietly("INSERT INTO tempfile"),
            [(41, 0, 1, "a", "1", 42, 0, 1, "b", "2")],
        )

    def test_first_of_all(self) -> None:
        """An empty database begins at 1."""
        nothing = rows((None, None, None, None))
        played = play(uploads.open_uploads(SQLITE, [ONE]), nothing, rows())
        self.assertEqual(played.result, [1])

    def test_postgres(self) -> None:
        """Each upload gets a fid of its own row, in whatever order rows come."""
        drawn = rows(
            (0, 1, "b", "2", 7, False),
            (0, 1, "a", "1", 8, False),
            (0, 1, "a", "1", 9, False),
        )
        played = play(uploads.open_uploads(POSTGRES, [ONE, TWO, ONE]), drawn)
        self.assertEqual((set(played.result), played.result[1]), ({7, 8, 9}, 7))
        self.assertEqual(played.quiet, [])

    def test_postgres_known_fid(self) -> None:
        """A fid that is known is thrown away, and the sequence pushed."""
        first = rows((0, 1, "a", "1", 7, True), (0, 1, "b", "2", 8, False))
        again = rows((0, 1, "a", "1", 99, False))
        played = play(uploads.open_uploads(POSTGRES, [ONE, TWO]), first, again)
        self.assertEqual(played.result, [99, 8])
        said = [one.sql.split()[0] for one in played.quiet]
        self.assertEqual(said, ["BEGIN", "LOCK", "SELECT", "DELETE", "COMMIT"])
        self.assertEqual(played.quiet[3].params, (7,))

    def test_postgres_gives_up(self) -> None:
        """A sequence that cannot be pushed is no endless loop."""
        known = rows((0, 1, "a", "1", 7, True))
        with self.assertRaises(Again):
            play(uploads.open_uploads(POSTGRES, [ONE]), *[known] * uploads.MAX_DRAWS)

    def test_chosen(self) -> None:
        """A chosen fid must be above all, and later ones are above it."""
        chosen = Opening(1, "a", 0, "1", 50)
        known = rows((11, None, 40, 3))
        steps = uploads.open_upload_as
        played = play(steps(POSTGRES, chosen), known, rows((49,)), rows(count=1))
        self.assertEqual(played.result, 50)
        self.assertEqual(played.quietly("SELECT setval"), [(50,)])
        self.assertTrue(played.quiet[0].sql.startswith("LOCK TABLE"))
        with self.assertRaises(FidInUse):
            play(steps(POSTGRES, chosen), known, rows((50,)))
        with self.assertRaises(FidInUse):
            play(steps(POSTGRES, chosen), known, rows((49,)), DuplicateRow())

    def test_mysql(self) -> None:
        """Rows of one INSERT have fids in steps from the first."""
        steps = uploads.open_uploads(MYSQL, [ONE, TWO, ONE])
        played = play(steps, rows((7, 2)), rows())
        self.assertEqual(played.result, [7, 9, 11])
        self.assertEqual(len(played.quiet), 1)

    def test_mysql_known_fid(self) -> None:
        """Fids that are known are thrown away, and the counter pushed."""
        steps = uploads.open_uploads(MYSQL, [ONE, TWO])
        highest = rows((40, 8, None, 3))
        played = play(steps, rows((7, 1)), rows((8,)), highest, rows((41, 1)), rows())
        self.assertEqual(played.result, [41, 42])
        said = [one.sql.split()[0] for one in played.quiet]
        self.assertEqual(said, ["INSERT", "DELETE", "INSERT", "DELETE", "INSERT"])
        self.assertEqual(played.quiet[1].params, (7, 8))
        self.assertEqual(played.quiet[2].params, (40,))
        with self.assertRaises(Again):
            more = [rows((7, 1)), rows((7,)), highest] * uploads.MAX_DRAWS
            play(uploads.open_uploads(MYSQL, [ONE]), *more)

    def test_mysql_chosen(self) -> None:
        """A chosen fid must be the next that would be drawn, or above it."""
        chosen = Opening(1, "a", 0, "1", 50)
        known = rows((11, None, 40, 3))
        steps = uploads.open_upload_as
        played = play(steps(MYSQL, chosen), rows((41, 1)), known, rows(count=1))
        self.assertEqual(played.result, 50)
        self.assertEqual(played.quietly("DELETE FROM tempfile"), [(41,)])
        played = play(steps(MYSQL, chosen), rows((50, 1)), known, rows(count=1))
        self.assertEqual(played.result, 50)
        with self.assertRaises(FidInUse):
            play(steps(MYSQL, chosen), rows((51, 1)))


class Closes(SynchronousTestCase):
    """From upload to file."""

    def test_new_key(self) -> None:
        """All that makes a file is said, and nothing is queued for deletion."""
        done = Closing(5, 1, "k", 2, 3, (7, 8, 7), OURS, THEIRS)
        played = play(
            uploads.close_uploads(POSTGRES, [done]), rows((5, None, None, None))
        )
        self.assertEqual(played.result, ["closed"])
        self.assertEqual(played.quietly("INSERT INTO file "), [(5, 1, "k", 3, 2, 2)])
        self.assertEqual(played.quietly("INSERT INTO checksum"), [(5, 1, b"t")])
        self.assertEqual(played.quietly("INSERT INTO kobold_checksum"), [(5, 4, b"o")])
        self.assertEqual(played.quietly("INSERT INTO file_to_replicate"), [(5,)])
        self.assertEqual(played.quietly("DELETE FROM tempfile"), [(5,)])
        self.assertEqual(len(played.quietly("INSERT INTO file_on")[0]), 4)
        self.assertEqual(played.quietly("INSERT INTO file_to_delete2"), [])

    def test_old_key(self) -> None:
        """The key's row is changed in place, and its older fid is queued."""
        found = rows((5, None, None, None), (3, 1, "k", 9))
        played = play(uploads.close_uploads(POSTGRES, [closing(5)]), found)
        self.assertEqual(played.result, ["closed"])
        (said,) = (
            one for one in played.quiet if one.sql.startswith("INSERT INTO file ")
        )
        self.assertIn("ON CONFLICT (dmid, dkey) DO UPDATE", said.sql)
        self.assertEqual(played.quietly("INSERT INTO file_to_delete2"), [(3,)])

    def test_upload_left_behind(self) -> None:
        """A live file of the upload's own fid is kept, under whatever key."""
        some = [closing(5), closing(6, "new"), closing(7, "x")]
        uploads_there = tuple((n, None, None, None) for n in (5, 6, 7))
        found = rows(*uploads_there, (5, 1, "k", 3), (7, 1, "new", 3))
        played = play(uploads.close_uploads(POSTGRES, some[:1]), found)
        self.assertEqual(played.result, ["repeated"])
        played = play(uploads.close_uploads(POSTGRES, some), found)
        self.assertEqual(played.result, ["repeated", "closed", "no_upload"])
        self.assertEqual(played.quietly("INSERT INTO file_to_delete2"), [(7,)])
        self.assertEqual(played.quietly("INSERT INTO file "), [(6, 1, "new", 3, 0, 2)])
        self.assertEqual(played.quietly("DELETE FROM tempfile"), [(5, 7), (6, 7)])

    def test_outcomes(self) -> None:
        """Each closing has its own; those that cannot be change nothing."""
        some = [closing(1, "new"), closing(2, "same"), closing(3, "other"), closing(4)]
        locked = rows((1, None, None, None), (2, 1, "same", 3))
        live = rows((2, 1, "same", 3), (3, 1, "elsewhere", 3))
        played = play(uploads.close_uploads(SQLITE, some), locked, live)
        self.assertEqual(
            played.result, ["closed", "repeated", "no_upload", "no_upload"]
        )
        self.assertEqual(played.quietly("DELETE FROM tempfile"), [(1,)])
        self.assertEqual(played.quietly("INSERT INTO file_to_replicate"), [(1,)])

    def test_repeated_with_another_length(self) -> None:
        """A fid that is live with another length is no repetition."""
        live = rows((2, 1, "k", 4))
        played = play(uploads.close_uploads(SQLITE, [closing(2)]), rows(), live)
        self.assertEqual((played.result, played.quiet), (["no_upload"], []))

    def test_domains(self) -> None:
        """Keys of different domains are different names."""
        some = [closing(1, "k", 1), closing(2, "k", 2)]
        both = ((1, None, None, None), (2, None, None, None))
        played = play(
            uploads.close_uploads(SQLITE, some),
            rows(*both, (9, 1, "k", 1)),
            rows(*both),
        )
        self.assertEqual(played.result, ["closed", "closed"])
        self.assertEqual(played.quietly("INSERT INTO file_to_delete2"), [(9,)])

    def test_abandon(self) -> None:
        """A live file is left alone."""
        played = play(uploads.abandon_upload(SQLITE, 5, (1,)), rows(), rows((5,)))
        self.assertEqual(played.quiet, [])
        played = play(uploads.abandon_upload(SQLITE, 5, (1,)), rows((5,)), rows())
        self.assertEqual(played.quietly("DELETE FROM tempfile"), [(5,)])


class Applies(SynchronousTestCase):
    """Several changes."""

    def runs(self, *changes: Closing | Removal) -> list[int]:
        """The lengths of the runs that changes are cut into."""
        return [len(run) for run in uploads._runs(changes)]

    def test_runs(self) -> None:
        """Order is kept where it matters, and only there."""
        a, b = closing(1, "a"), closing(2, "b")
        gone = Removal(1, "a")
        self.assertEqual(self.runs(a, b), [2])
        self.assertEqual(self.runs(a, gone, b), [1, 1, 1])
        self.assertEqual(self.runs(a, closing(3, "a"), b), [1, 2])
        self.assertEqual(self.runs(a, closing(1, "c")), [1, 1])
        self.assertEqual(self.runs(gone, Removal(2, "a"), gone), [2, 1])
        many = [Removal(1, str(n)) for n in range(uploads.MAX_RUN + 1)]
        self.assertEqual(self.runs(*many), [uploads.MAX_RUN, 1])

    def test_no_upload(self) -> None:
        """One closing without upload ends it with an error, so nothing is kept."""
        with self.assertRaises(NoUpload):
            play(uploads.apply(SQLITE, [closing(1)]), rows(), rows())
