"""What SQLite says, in our words."""

from __future__ import annotations

import sqlite3

from twisted.trial.unittest import SynchronousTestCase

from koboldfs.errors import (
    DatabaseAway,
    DatabaseFault,
    DuplicateRow,
    KeyExists,
    ValueRefused,
)
from koboldfs.store.sqlite import translate


class Translation(SynchronousTestCase):
    """Exceptions of sqlite3."""

    def test_kinds(self) -> None:
        """Each becomes the fault that it is."""
        for error, kind in (
            (sqlite3.IntegrityError("UNIQUE constraint failed: t.n"), DuplicateRow),
            (sqlite3.IntegrityError("CHECK constraint failed: n"), ValueRefused),
            (OverflowError("int too large"), ValueRefused),
            (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "no"), ValueRefused),
            (sqlite3.OperationalError("database is locked"), DatabaseAway),
            (sqlite3.OperationalError("disk I/O error"), DatabaseFault),
            (sqlite3.DatabaseError("malformed"), DatabaseFault),
        ):
            self.assertIs(type(translate(error)), kind, str(error))
        for other in (ValueError(), KeyExists(), ZeroDivisionError()):
            self.assertIsNone(translate(other))
