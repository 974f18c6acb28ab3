"""A cluster on a database that MogileFS made: used, checked, and left as MogileFS
would leave it."""

from __future__ import annotations

from typing import Any

from test.functional.adopted import MadeOnMaria, MadeOnPostgres
from test.functional.case import FunctionalCase
from test.functional.cluster import DOMAIN, Cluster, wait_until

SECONDS = 60.0
FILES = 12
#: What MogileFS's trackers leave behind of files that were stored and replicated.
LEFT = {
    "tempfile": 0,
    "file_to_replicate": 0,
    "file_to_delete2": 0,
    "file_to_queue": 0,
    "file_to_delete": 0,
}


class Adopted:
    """Two of our trackers on MogileFS's tables."""

    def counts(self: Any) -> dict[str, int]:
        """Rows of the tables that ought to be empty when all is quiet."""
        return {t: self.execute(f"select count(*) from {t}")[0][0] for t in LEFT}

    def test_a_day(self: Any) -> None:
        """Store, replicate, lose a copy, check, delete; the rows are MogileFS's all
        along, and its tables have the columns that they had."""
        self.make_database()
        before = self.execute(self.columns)
        cluster = Cluster(2, self.url)
        self.clusters.append(cluster)
        self.addCleanup(cluster.stop)
        cluster.start()
        keys = [f"caf\xe9/{number}" for number in range(FILES)]
        with cluster.tracker() as tracker:
            for key in keys:
                tracker.store(DOMAIN, key, key.encode())
        for key in keys:
            cluster.wait_copies(key, 2, SECONDS)
        wait_until(lambda: self.counts() == LEFT, SECONDS, "the queues are empty")
        rows = self.execute("select distinct devcount, classid from file")
        self.assertEqual(rows, [(2, 0)])
        # Each byte of a key is one character, as MogileFS's driver writes it.
        names = [row[0] for row in self.execute("select dkey from file")]
        stored = [key.encode().decode("latin-1") for key in keys]
        self.assertEqual(sorted(names), sorted(stored))

        cluster.copies(keys[3])[0].unlink()
        with cluster.tracker() as tracker:
            tracker.ask("fsck_start")

        def mended() -> bool:
            with cluster.tracker() as tracker:
                status = tracker.ask("fsck_status")
            return status.get("num_MISS") == "1" and len(cluster.copies(keys[3])) == 2

        wait_until(mended, SECONDS, "fsck found the copy that is missing")
        log = self.execute("select evcode from fsck_log order by logid")
        self.assertEqual([row[0].strip() for row in log], ["MISS", "REPL"])
        with cluster.tracker() as tracker:
            for key in keys:
                tracker.ask("delete", domain=DOMAIN, key=key)

        def gone() -> bool:
            rows = self.execute("select count(*) from file_on")[0][0]
            return not rows and self.counts() == LEFT

        wait_until(gone, SECONDS, "bytes and rows are gone")
        settings = dict(self.execute("select field, value from server_settings"))
        self.assertEqual(settings["schema_version"], "17")
        names_before = {row[0] for row in before}
        after = [row for row in self.execute(self.columns) if row[0] in names_before]
        self.assertEqual(after, before)


class AdoptedPostgres(Adopted, MadeOnPostgres, FunctionalCase):
    """On PostgreSQL."""


class AdoptedMaria(Adopted, MadeOnMaria, FunctionalCase):
    """On MariaDB."""
