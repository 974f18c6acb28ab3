"""Trackers of MogileFS run beside ours on one database, and may take over again.

They are played by `MogileTracker`, which does to the database what they do."""

from __future__ import annotations

import time
from typing import Any

from test.functional.beside import ORPHANS, OnMaria, OnPostgres, Workers
from test.functional.beside_load import Load, Ours, Side
from test.functional.cluster import DOMAIN
from test.functional.mogile_tracker import DONE, MogileTracker

#: Long enough for some hundred changes.
LOAD_SECONDS = 4.0
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


class Together:
    """Both kinds of trackers serve clients and do the jobs, at the same time."""

    def test_mixed_load(self: Any) -> None:
        """Clients of both change the same keys, while both do the jobs: every answer
        is what it would be with one tracker; and when it is quiet, either has what was
        acknowledged, there is a row for each key, and nothing is left over."""
        self.begin(4)
        workers = Workers(self.url).start()
        self.addCleanup(workers.stop)

        def sides() -> list[Side]:
            node = self.cluster_.nodes[0]
            return [Ours(node.tracker()), MogileTracker(self.url)]

        load = Load(sides).start()
        self.addCleanup(load.stop)
        time.sleep(LOAD_SECONDS)
        load.stop()
        workers.stop()
        self.assertEqual(load.broken + workers.broken, [])
        self.assertGreater(load.steps, 50)
        self.assertGreater(workers.rows, 0)
        # What was met locked, MogileFS would look at in 1000 s again, and ours in 30 s.
        self.hasten()
        self.wait_quiet()
        mogile, ours = self.mogile(), Ours(self.line())
        load.settle_hot(ours)
        load.read_all(ours)
        load.read_all(mogile)
        self.assertEqual(load.broken, [])
        self.assert_sound(load.contents)
        self.assertLessEqual(len(self.numbers(ORPHANS)), load.overruns)
        self.assertEqual(self.copies_on_disks(), self.known_copies())


class PostgresInWork(InWork, OnPostgres):
    """On PostgreSQL."""


class MariaInWork(InWork, OnMaria):
    """On MariaDB."""


class PostgresTogether(Together, OnPostgres):
    """On PostgreSQL."""


class MariaTogether(Together, OnMaria):
    """On MariaDB."""
