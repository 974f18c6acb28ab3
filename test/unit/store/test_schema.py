"""The tables, and what their columns hold."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from twisted.trial.unittest import SynchronousTestCase

from koboldfs.errors import ValueRefused
from koboldfs.store.phrases import Tongue
from koboldfs.store.schema import (
    definitions,
    device,
    domain,
    file,
    metadata,
    refuse_unfit,
    refuse_unfit_text,
)


class Definitions(SynchronousTestCase):
    """DDL."""

    def test_all_tables(self) -> None:
        """SQLite takes the text of every table and index."""
        with closing(sqlite3.connect(":memory:")) as connection:
            for text in definitions(Tongue("sqlite").dialect, set()):
                connection.execute(text)
            found = connection.execute(
                "select name from sqlite_master where type = 'table'"
            ).fetchall()
        names = {row[0] for row in found} - {"sqlite_sequence"}
        self.assertEqual(names, set(metadata.tables))
        self.assertLessEqual({"file", "class", "kobold_checksum", "lock"}, names)

    def test_only_what_is_missing(self) -> None:
        """A table that is there is not mentioned."""
        present = set(metadata.tables) - {"file_to_queue"}
        texts = definitions(Tongue("postgresql").dialect, present)
        self.assertEqual(len(texts), 2)
        self.assertTrue(all("file_to_queue" in text for text in texts))

    def test_postgres_types(self) -> None:
        """Fids have 64 bits everywhere, and keys are sorted by bytes."""
        texts = definitions(Tongue("postgresql").dialect, set())
        (uploads,) = (one for one in texts if one.startswith("CREATE TABLE tempfile"))
        self.assertIn("fid BIGSERIAL", uploads)
        self.assertIn('dkey VARCHAR(1024) COLLATE "C"', uploads)


class Columns(SynchronousTestCase):
    """What does not fit."""

    def test_fits(self) -> None:
        """The greatest values fit, and NULL."""
        refuse_unfit(device, {"devid": 32767, "mb_total": 2**31 - 1, "status": "down"})
        refuse_unfit(file, {"fid": 2**63 - 1, "length": 0, "dkey": "\xff" * 1024})
        refuse_unfit(device, {"mb_used": None})

    def test_does_not_fit(self) -> None:
        """One more does not, nor what is of another kind."""
        for table, values in (
            (device, {"devid": 32768}),
            (device, {"devid": -1}),
            (device, {"mb_total": 2**31}),
            (device, {"weight": "heavy"}),
            (file, {"fid": 2**63}),
            (domain, {"namespace": "d" * 256}),
            (domain, {"namespace": "\0"}),
            (domain, {"namespace": 7}),
        ):
            with self.assertRaises(ValueRefused, msg=str(values)):
                refuse_unfit(table, values)

    def test_text(self) -> None:
        """Every byte but NUL, one character each."""
        refuse_unfit_text("".join(map(chr, range(1, 256))))
        for text in ("\0", "a\0b", "\u0100", "\ud800"):
            with self.assertRaises(ValueRefused):
                refuse_unfit_text(text)
