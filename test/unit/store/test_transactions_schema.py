"""Making or taking over a database, stepped with none."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from koboldfs.errors import ConfigError
from koboldfs.store.schema import metadata
from koboldfs.store.transactions_schema import prepare
from test.unit.store.play import POSTGRES, SQLITE, Played, play, rows

ALL = [(name,) for name in metadata.tables]


class Preparing(SynchronousTestCase):
    """What is there decides."""

    def prepared(self, tables: list[tuple[str]], *settings: Any) -> Played:
        """Prepare a database with these tables and settings."""
        replies = (rows(*([(value,)] if value else [])) for value in settings)
        return play(prepare(SQLITE, "1.0"), rows(*tables), *replies)

    def test_new(self) -> None:
        """An empty database gets all tables and says who made it."""
        played = self.prepared([])
        estate = played.result
        self.assertTrue(estate.created_now)
        self.assertFalse(estate.made_by_mogilefs)
        self.assertEqual(len(played.quietly("CREATE TABLE")), len(metadata.tables))
        self.assertEqual(
            played.quietly("INSERT INTO server_settings"),
            [("schema_version", "17", "kobold_created", "1.0")],
        )

    def test_ours(self) -> None:
        """One of ours is left as it is."""
        played = self.prepared(ALL, "17", "0.9")
        self.assertEqual(played.quiet, [])
        self.assertFalse(played.result.made_by_mogilefs)
        self.assertFalse(played.result.created_now)
        self.assertEqual(played.result.key_bytes, 1024)

    def test_mogilefs(self) -> None:
        """One of MogileFS's gets only the tables that it lacks."""
        theirs = [row for row in ALL if not row[0].startswith("kobold_")]
        for version in range(10, 18):
            played = self.prepared(theirs, str(version), None)
            made = {one.sql.split("(")[0].strip() for one in played.quiet}
            names = ("kobold_checksum", "kobold_scrub", "kobold_lost")
            self.assertEqual(made, {f"CREATE TABLE {name}" for name in names})
            estate = played.result
            self.assertTrue(estate.made_by_mogilefs)
            self.assertEqual((estate.key_bytes, estate.devids_chars), (255, 60))
            self.assertEqual(estate.has_hashtype, version >= 15)

    def test_key_collation(self) -> None:
        """It is asked of MogileFS's databases: whether they sort keys by bytes
        (PostgreSQL), and whether different keys are the same to them (MySQL)."""
        theirs = [row for row in ALL if not row[0].startswith("kobold_")]
        for collation, sorts in (("C", False), ("POSIX", False), ("en_US.utf8", True)):
            lock, settings = rows((None,)), (rows(("17",)), rows())
            played = play(
                prepare(POSTGRES, "1.0"),
                *(lock, rows(*theirs), *settings, rows((collation,))),
            )
            self.assertEqual(played.result.sorts_keys, sorts, collation)
            self.assertFalse(played.result.folds_keys)

    def test_refused(self) -> None:
        """What we do not know is refused in one line, before anything is written."""
        for tables, settings in (
            (ALL, ("18", None)),
            (ALL, ("9", None)),
            (ALL, ("seventeen", None)),
            (ALL, (None,)),
            ([("file",)], ()),
        ):
            with self.assertRaises(ConfigError) as caught:
                replies = [rows(*([(v,)] if v else [])) for v in settings]
                play(prepare(SQLITE, "1.0"), rows(*tables), *replies)
            self.assertNotIn("\n", caught.exception.message)

    def test_together(self) -> None:
        """On PostgreSQL the lock comes before the look, and fids are pushed last."""
        played = play(prepare(POSTGRES, "1.0"), rows((None,)), rows())
        self.assertIn("advisory", played.asked[0].sql)
        self.assertIn("setval", played.quiet[-1].sql)
