"""``koboldfs adopt`` as an operator types it, and then what it says to do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from test.contract.mogilefs import tables, trouble
from test.functional import postgresql
from test.functional.case import FunctionalCase
from test.functional.cluster import Cluster

SECONDS = 60.0
PASSWORD = "sekret"


def adopt(*words: str) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    command = Path(sys.executable).parent / "koboldfs"
    environment = {**os.environ, "LANG": "C.UTF-8"}
    return subprocess.run(
        [str(command), "adopt", *words],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        env=environment,
    )


class Adopt(FunctionalCase):
    """On a real PostgreSQL, filled and broken as years leave it."""

    def setUp(self) -> None:
        """The database, and its URL with a password."""
        super().setUp()
        self.server = postgresql.shared()
        self.plain_url = self.server.new_database()
        self.addCleanup(self.server.drop, self.plain_url)
        self.url = self.plain_url.replace("postgres@", f"postgres:{PASSWORD}@")
        self.execute(tables("postgresql"))
        self.execute(trouble(int(time.time())))

    def execute(self, sql: str) -> list[Any]:
        """Look at the database from outside."""
        return self.server.execute(self.plain_url, sql)

    def evidence(self) -> Any:
        """The catalog, every row with its version, the sequence, and the settings."""
        relations = self.execute(
            "select relname, relkind, relfilenode, relnatts, relacl, reloptions"
            " from pg_class where relnamespace = 'public'::regnamespace order by 1"
        )
        columns = self.execute(
            "select attrelid::regclass::text, attname, atttypid, atttypmod, attnotnull"
            " from pg_attribute join pg_class on attrelid = pg_class.oid"
            " where relnamespace = 'public'::regnamespace order by 1, attnum"
        )
        rows = {
            name: self.execute(f"select ctid, xmin, xmax, t.* from {name} t order by 1")
            for name, kind, *_ in relations
            if kind == "r"
        }
        sequence = self.execute("select last_value, is_called from tempfile_fid_seq")
        return relations, columns, rows, sequence

    def test_looks_and_changes_nothing(self) -> None:
        """It tells what is there and what is broken, in any way it is asked, without
        the password; and afterwards every row and every column is as before."""
        before = self.evidence()
        self.assertGreater(len(before[2]["file"]), 5)
        reports = [
            adopt("--database", self.url, *more)
            for more in ((), ("--json",), ("--json", "--count"))
        ]
        for report in reports:
            self.assertEqual((report.returncode, report.stderr), (0, ""))
            self.assertNotIn(PASSWORD, report.stdout)
            self.assertIn("postgres:PASSWORD@127.0.0.1", report.stdout)
        self.assertEqual(self.evidence(), before)
        found = json.loads(reports[1].stdout)
        self.assertEqual(found["files"], {"number": 8, "kind": "exact"})
        codes = {one["code"] for one in found["findings"]}
        expected = {
            "class_missing",
            "copies_on_dead_devices",
            "dead_device_has_files",
            "default_class",
            "device_without_host",
            "domain_missing",
            "fids_run_out",
            "fsck_left",
            "hash_unknown",
            "keys_unfit",
            "no_copies",
            "no_copies_recorded",
            "old_delete_queue",
            "old_uploads",
            "policy_not_met",
            "policy_union",
            "policy_unknown",
            "queue_failing",
            "queue_given_up",
            "queue_overdue",
            "rebalance_running",
            "setting_ignored",
            "unknown_device_has_files",
            "unreachable_fids",
        }
        self.assertEqual(codes, expected)

    def test_blocked(self) -> None:
        """A schema that is too new: status 1, and no step is recommended."""
        self.execute("update server_settings set value = '18' where field like 'sch%'")
        report = adopt("--database", self.url)
        self.assertEqual((report.returncode, report.stderr), (1, ""))
        self.assertIn("schema version 18", report.stdout)
        self.assertNotIn("twistd", report.stdout)

    def test_refused(self) -> None:
        """A database that is not there or is somebody else's: one line, status 1."""
        gone = self.url.rpartition("/")[0] + "/no_such_database"
        self.execute("drop table file_on")
        for url, words in ((gone, "does not exist"), (self.url, "neither by MogileFS")):
            report = adopt("--database", url)
            self.assertEqual((report.returncode, report.stdout), (1, ""))
            self.assertEqual(report.stderr.count("\n"), 1)
            self.assertTrue(report.stderr.startswith("koboldfs: "))
            self.assertIn(words, report.stderr)
            self.assertNotIn(PASSWORD, report.stderr)

    def test_as_it_says(self) -> None:
        """What is said to be possible is: trackers serve that database, and then it is
        told that they have; what it says to remove leaves nothing of us behind."""
        before = {row[0] for row in self.execute("select relname from pg_class")}
        back = json.loads(adopt("--json", "--database", self.url).stdout)["steps_back"]
        cluster = Cluster(1, self.plain_url)
        self.clusters.append(cluster)
        self.addCleanup(cluster.stop)
        cluster.start()
        cluster.stop()
        report = adopt("--json", "--database", self.url)
        self.assertEqual(report.returncode, 0)
        codes = {one["code"] for one in json.loads(report.stdout)["findings"]}
        self.assertIn("served_before", codes)
        for step in back:
            if step["command"].endswith(";"):
                self.execute(step["command"])
        after = {row[0] for row in self.execute("select relname from pg_class")}
        ours = "select field from server_settings where field like 'kobold%'"
        self.assertEqual(self.execute(ours), [])
        named = {name for name in after - before if "kobold" in name}
        self.assertEqual(named, set())
