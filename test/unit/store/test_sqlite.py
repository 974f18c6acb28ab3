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
from koboldfs.store.sqlite import (
    BUSY_SECONDS,
    MANNER,
    WAIT_MS,
    connected,
    translate,
)


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


class Waiting(SynchronousTestCase):
    """Who writes while another process does."""

    def test_short_waits(self) -> None:
        """SQLite waits for a moment, and is asked again until `BUSY_SECONDS` are over:
        in one long wait it looks so seldom that a busy neighbour is always faster."""
        run = connected(self.mktemp())
        self.addCleanup(run.close)
        found = run._connection.execute("PRAGMA busy_timeout").fetchone()
        self.assertEqual(found, (WAIT_MS,))
        self.assertLess(WAIT_MS, 100)
        self.assertEqual(MANNER.begin_attempts * WAIT_MS, BUSY_SECONDS * 1000)
