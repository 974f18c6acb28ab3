"""Trackers of MogileFS run beside ours on one database, and may take over again.

They are played by `MogileTracker`, which does to the database what they do."""

from __future__ import annotations

import time
from typing import Any

from test.functional.beside import OnMaria, OnPostgres
from test.functional.cluster import DOMAIN
from test.functional.mogile_tracker import DONE

#: Our workers look for work twice a second: several times, then.
LOOKS_SECONDS = 2.0


class InWork:
    """Who has a row, or a file, is not disturbed by trackers of the other kind."""

    def _stored(self: Any, key: str) -> int:
        """A file of one copy, stored by the stand-in; its fid."""
        self.mogile_.store(DOMAIN, key, key.encode())
        return int(self.numbers(f"select fid from file where dkey = '{key}'")[0])

    def _copies(self: Any, fid: int) -> int:
        return int(self.numbers(f"select count(*) from file_on where fid = {fid}")[0])

    def test_rows_of_mogilefs(self: Any) -> None:
        """A row that MogileFS has grabbed is left to it, in both queues, and while
        other rows are worked off."""
        self.begin(3)
        mogile = self.mogile_ = self.mogile()
        self.want("replicate", 0)
        self.want("delete", 0)
        fid, gone = self._stored("grabbed"), self._stored("gone")
        mogile.delete(DOMAIN, "gone")
        grabbed = sorted(row[0] for row in mogile.grab_replications())
        self.assertEqual(grabbed, [fid, gone])
        self.assertEqual(mogile.grab_deletions(), [(gone, 0)])
        columns = "nexttry, failcount"
        copy = self.row("file_to_replicate", fid, f"{columns}, flags, fromdevid")
        deletion = self.row("file_to_delete2", gone, columns)
        other, other_gone = self._stored("other"), self._stored("other gone")
        mogile.delete(DOMAIN, "other gone")
        self.want("replicate", 1)
        self.want("delete", 1)
        self.wait_gone("file_to_replicate", other)
        self.wait_gone("file_to_delete2", other_gone)
        time.sleep(LOOKS_SECONDS)
        again = self.row("file_to_replicate", fid, f"{columns}, flags, fromdevid")
        self.assertEqual(again, copy)
        self.assertEqual(self.row("file_to_delete2", gone, columns), deletion)
        self.assertEqual((self._copies(fid), self._copies(gone)), (1, 1))
        self.assertEqual(mogile.replicate(fid), DONE)
        self.assertEqual(mogile.replicate(gone), DONE)
        self.assertEqual(mogile.remove(gone), DONE)
        self.wait_quiet()
        self.assert_sound({b"grabbed": b"grabbed", b"other": b"other"})


class PostgresInWork(InWork, OnPostgres):
    """On PostgreSQL."""


class MariaInWork(InWork, OnMaria):
    """On MariaDB."""
