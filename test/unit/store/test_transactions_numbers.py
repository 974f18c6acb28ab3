"""Lifting what is drawn, stepped with no database."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from koboldfs.model.numbering import FidRange
from koboldfs.store import transactions_numbers as numbers
from koboldfs.store import transactions_uploads as uploads
from koboldfs.store.transactions_uploads import Opening
from test.unit.store.play import MYSQL, POSTGRES, SQLITE, play, rows

ONE, TWO = Opening(1, "a", 0, "1"), Opening(1, "b", 0, "2")
KNOWN = rows((11, None, 12, 3))
NOTHING = rows()


class Lifts(SynchronousTestCase):
    """`lift`."""

    def test_postgres(self) -> None:
        """Nobody draws meanwhile; what was noted before stays."""
        noted = rows(("3-4",))
        played = play(numbers.lift(POSTGRES, 50), KNOWN, rows((20,)), noted)
        self.assertEqual(played.result, FidRange(21, 50))
        self.assertTrue(played.quiet[0].sql.startswith("LOCK TABLE"))
        self.assertEqual(played.quietly("SELECT setval"), [(50,)])
        (written,) = played.quietly("INSERT INTO server_settings")
        self.assertEqual(written, ("kobold_forgotten_fids", "3-4,21-50"))

    def test_nothing(self) -> None:
        """What was drawn already is left alone."""
        played = play(numbers.lift(POSTGRES, 20), KNOWN, rows((20,)))
        self.assertIsNone(played.result)
        self.assertEqual(len(played.quiet), 1)
        played = play(numbers.lift(SQLITE, 12), KNOWN, rows((7,)))
        self.assertIsNone(played.result)

    def test_mysql(self) -> None:
        """What was drawn last only the next draw shows."""
        played = play(numbers.lift(MYSQL, 50), KNOWN, rows((51, 1)))
        self.assertIsNone(played.result)
        self.assertEqual(played.quietly("DELETE FROM tempfile"), [(51,)])
        played = play(numbers.lift(MYSQL, 50), KNOWN, rows((50, 1)), NOTHING)
        self.assertEqual(played.result, FidRange(50, 50))

    def test_others_drew(self) -> None:
        """Who drew a low one knows that the sequence was behind, whatever it says by
        now; but not if the tables know so many files."""
        played = play(
            numbers.lift(POSTGRES, 50, 13), KNOWN, rows((60,)), KNOWN, NOTHING
        )
        self.assertEqual(played.result, FidRange(13, 50))
        self.assertEqual(played.quietly("SELECT setval"), [])
        known = rows((50, None, None, None))
        played = play(numbers.lift(POSTGRES, 50, 13), known, rows((60,)), known)
        self.assertIsNone(played.result)


class Floors(SynchronousTestCase):
    """Uploads are opened above the floor."""

    def test_postgres(self) -> None:
        """Those that are not are thrown away, once: who draws in no order is not
        asked for ever."""
        low = rows((0, 1, "a", "1", 7, False), (0, 1, "b", "2", 9, False))
        again = rows((0, 1, "a", "1", 6, False))
        steps = uploads.open_uploads(POSTGRES, [ONE, TWO], 8)
        told = rows((5, 9, None, None))
        played = play(steps, low, told, rows((9,)), told, NOTHING, again)
        self.assertEqual(played.result, [6, 9])
        said = [one.sql.split()[0] for one in played.quiet]
        self.assertEqual(said[:5], ["BEGIN", "LOCK", "SELECT", "DELETE", "LOCK"])
        self.assertEqual(said[-1], "COMMIT")
        (written,) = played.quietly("INSERT INTO server_settings")
        self.assertEqual(written, ("kobold_forgotten_fids", "7-8"))

    def test_sqlite(self) -> None:
        """The counter is moved with it."""
        steps = uploads.open_uploads(SQLITE, [ONE], 50)
        seen = (KNOWN, rows((20,)))
        played = play(steps, *seen, *seen, NOTHING)
        self.assertEqual(played.result, [51])
        self.assertEqual(played.quietly("DELETE FROM tempfile"), [(50,)])
        (written,) = played.quietly("INSERT INTO server_settings")
        self.assertEqual(written, ("kobold_forgotten_fids", "21-50"))

    def test_mysql(self) -> None:
        """All of one INSERT are thrown away."""
        steps = uploads.open_uploads(MYSQL, [ONE, TWO], 50)
        drawn = rows((50, 1))
        played = play(
            steps, drawn, KNOWN, KNOWN, KNOWN, NOTHING, rows((52, 1)), NOTHING
        )
        self.assertEqual(played.result, [52, 53])
        (written,) = played.quietly("INSERT INTO server_settings")
        self.assertEqual(written, ("kobold_forgotten_fids", "50-50"))
