"""Tests of koboldfs.cli.adopt, on files of SQLite."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

from test.contract.mogilefs import tables, trouble
from test.unit.cli.case import CommandCase


class AdoptTests(CommandCase):
    """``koboldfs adopt``."""

    def setUp(self) -> None:
        """A database that MogileFS made."""
        super().setUp()
        self.path = Path(self.mktemp()).resolve()
        self.url = f"sqlite:///{self.path}"
        self.execute(tables("sqlite"))

    def execute(self, script: str) -> None:
        """Change it from outside."""
        with closing(sqlite3.connect(self.path)) as connection:
            connection.executescript(script)

    def test_report(self) -> None:
        """All of it, folded to lines that can be read; commands as they are typed."""
        self.execute(trouble(int(time.time())))
        text = self.done("adopt", "--database", self.url).stdout
        self.assertTrue(text.startswith("sqlite, made by MogileFS, schema version 17"))
        for words in (
            "\nHosts\n",
            "\nDevices\n",
            "\nClasses\n",
            "\nFiles\n",
            "\nWhat is broken already\n",
            "\nWhat to know before\n",
            "\nBy the way\n",
            "\nGoing over\n",
            "\nGoing back\n",
            "HostsPerNetwork(a=1)",
            "dev3 is dead, with 1 copy recorded there",
            "'caf\xe9'",
            "606 (606 B)",
            "25 %",
        ):
            self.assertIn(words, text)
        self.assertNotIn("stands in the way", text)
        self.assertTrue(text.endswith("\nIt can be taken over.\n"))
        command = (
            f"\n      twistd koboldfs --tracker --database {self.url} --jobs none\n"
        )
        self.assertIn(command, text)
        sentences = [
            one for one in text.split("\n") if one.startswith(("  * ", "    ->"))
        ]
        self.assertGreater(len(sentences), 20)
        self.assertLessEqual(max(map(len, sentences)), 88)
        self.assertNotIn("\x1b", text)

    def test_ours(self) -> None:
        """Of a database of ours it is not said that it can be taken over."""
        self.execute("insert into server_settings values ('kobold_created', '1.0')")
        text = self.done("adopt", "--database", self.url).stdout
        self.assertIn("nothing to take over", text)
        self.assertNotIn("can be taken over", text)

    def test_json(self) -> None:
        """The same for programs."""
        self.execute(trouble(int(time.time())))
        found = self.json("adopt", "--database", self.url)
        self.assertTrue(found["can_be_taken_over"])
        self.assertEqual(found["made_by"], "MogileFS")
        self.assertEqual(found["files"], {"number": 8, "kind": "exact"})
        self.assertEqual(found["hosts"][1]["host"], "h2")
        self.assertEqual(found["devices"][1]["full_percent"], 25.0)
        self.assertIsNone(found["devices"][3]["host"])
        by_name = {(one["domain"], one["class"]): one for one in found["classes"]}
        self.assertFalse(by_name["old", "zones"]["understood"])
        self.assertEqual(by_name["old", "many"]["hash"], "7")
        self.assertEqual(by_name["caf\xe9", "default"]["hash"], "NONE")
        queues = {one["queue"]: one for one in found["queues"]}
        self.assertEqual(queues["file_to_replicate"]["overdue"], 1)
        levels = [one["level"] for one in found["findings"]]
        self.assertEqual(levels, sorted(levels, key=["broken", "beware", "note"].index))
        self.assertIn("--tracker", found["steps_over"][2]["command"])
        self.assertTrue(found["steps_back"])

    def test_blocked(self) -> None:
        """What stands in the way: said first, exit status 1, and no way over."""
        self.execute("update server_settings set value = '18'")
        result = self.run_raw("adopt", "--database", self.url)
        self.assertEqual((result.exit_code, result.stderr), (1, ""))
        self.assertIn("What stands in the way\n  * schema version 18;", result.stdout)
        self.assertTrue(result.stdout.endswith("It cannot be taken over as it is.\n"))
        self.assertNotIn("Going over", result.stdout)
        as_json = self.run_raw("adopt", "--json", "--database", self.url)
        self.assertEqual(as_json.exit_code, 1)
        self.assertIn('"can_be_taken_over":false', as_json.stdout)

    def test_count(self) -> None:
        """Counting exactly changes nothing about few files."""
        once = self.json("adopt", "--database", self.url)
        self.assertEqual(self.json("adopt", "--count", "--database", self.url), once)

    def test_refused(self) -> None:
        """A URL that is none, a file that is not there, a database of somebody else:
        one line; no URL at all is wrong usage."""
        other = Path(self.mktemp()).resolve()
        with closing(sqlite3.connect(other)) as connection:
            connection.execute("create table t (a)")
        for url, words in (
            ("http://u:sekret@h/", "no database URL"),
            ("sqlite:////no/such/file", "No such file"),
            (f"sqlite:///{other}", "neither by MogileFS nor by KoboldFS"),
        ):
            result = self.done("adopt", "--database", url, status=1)
            self.assertIn(words, result.stderr)
            self.assertNotIn("sekret", result.output)
        self.done("adopt", status=2)
