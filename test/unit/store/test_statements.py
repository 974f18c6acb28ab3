"""Every statement in every dialect that has a provider."""

from __future__ import annotations

import ast
import re
import sqlite3
from contextlib import closing
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from koboldfs.store import statements
from koboldfs.store.schema import definitions
from koboldfs.store.statements import Statements, statements_for
from koboldfs.store.statements_inspection import InspectionStatements
from test.contract.plans import GROWING, RecordingTongue, phrases, samples
from test.unit.store.play import MYSQL, POSTGRES, SQLITE


class AllStatements(SynchronousTestCase):
    """As a whole."""

    def test_compiled_once(self) -> None:
        """The same object is handed out again."""
        self.assertIs(statements_for("sqlite"), SQLITE)

    def test_no_blank_is_left(self) -> None:
        """A statement that is filled in has a value for each mark."""
        for sql, mark in ((SQLITE, "?"), (POSTGRES, "%s"), (MYSQL, "%s")):
            self.assertGreater(len(list(samples(sql))), 70)
            for name, said in samples(sql):
                self.assertEqual(said.sql.count(mark), len(said.params), name)
                self.assertNotIn("POSTCOMPILE", said.sql, name)

    def test_none_escapes(self) -> None:
        """Whoever looks at all statements, to see what they cost, is given each."""
        for name in ("sqlite", "postgresql", "mysql"):
            for kind in (Statements, InspectionStatements):
                tongue = RecordingTongue(name)
                known = [phrase for _, phrase in phrases(kind(tongue))]
                missed = [one for one in tongue.made if one not in known]
                said = [one(**dict.fromkeys(one.blanks, [1])).sql for one in missed]
                self.assertFalse(said, name)

    def test_none_is_written_elsewhere(self) -> None:
        """No other file has the words of a statement about a table that grows."""
        tables = "|".join(GROWING)
        verb = r"(?:from|into|update|join|table) +"
        words = re.compile(rf"\b{verb}(?:{tables})\b", re.IGNORECASE)
        folder = Path(statements.__file__).parent
        for path in sorted(folder.rglob("*.py")):
            if path.name.startswith("statements_"):
                continue
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Call) and node.args:
                    for one in ast.walk(node.args[0]):
                        if isinstance(one, ast.Constant) and isinstance(one.value, str):
                            self.assertNotRegex(one.value, words, path.name)

    def test_sqlite_takes_them(self) -> None:
        """SQLite can prepare each of them."""
        with closing(sqlite3.connect(":memory:")) as connection:
            for text in definitions(SQLITE.tongue.dialect, set()):
                connection.execute(text)
            for _, said in samples(SQLITE):
                connection.execute(f"explain {said.sql}", said.params).fetchall()

    def test_locks(self) -> None:
        """What is read in order to be changed is locked; what others have locked is
        passed over by words at the very end."""
        locking = ("lock_closing", "lock_keys", "lock_fids", "lock_uploads")
        due = ("due_replications", "due_deletions", "take_uploads")
        for sql, names in ((POSTGRES, locking), (MYSQL, locking[1:])):
            said = dict(samples(sql))
            for name in (*names, *due):
                self.assertIn("FOR UPDATE", said[name].sql, name)
            for name in due:
                self.assertTrue(said[name].sql.endswith(" SKIP LOCKED"), name)

    def test_as_found(self) -> None:
        """A variant for databases of other people leaves the common one alone."""
        found = MYSQL.as_found(folds_keys=True, keeps_task_args=False, sorts_keys=True)
        self.assertTrue(found.folds_keys)
        self.assertFalse(found.keeps_task_args)
        self.assertNotIn("arg", found.queue_tasks.blanks)
        for phrase in (found.due_tasks, found.queue_rows["fsckqueue"]):
            said = phrase(**dict.fromkeys(phrase.blanks, 1)).sql
            self.assertNotIn("arg", said)
        self.assertFalse(statements_for("mysql").folds_keys)
        self.assertIn("arg", MYSQL.queue_tasks.blanks)
        self.assertEqual(len(MYSQL.queue_rows), len(found.queue_rows))

    def test_key_order(self) -> None:
        """Where the column sorts by bytes, its index is used by naming no collation."""
        found = POSTGRES.as_found(
            folds_keys=False, keeps_task_args=True, sorts_keys=False
        )
        values = {"dmid": 1, "low": "", "after": "", "high": "", "limit": 1}
        for name in ("list_keys", "list_domain"):
            self.assertNotIn("COLLATE", getattr(found, name)(**values).sql)
            self.assertIn("COLLATE", getattr(POSTGRES, name)(**values).sql)

    def test_notice(self) -> None:
        """Only PostgreSQL can tell others of a change."""
        self.assertIsNone(SQLITE.notice())
        notice = POSTGRES.notice()
        assert notice is not None
        self.assertEqual(notice.sql, "NOTIFY koboldfs_topology")

    def test_small_tables_are_compiled_on_demand(self) -> None:
        """An update of the same columns is the same phrase."""
        from koboldfs.store.schema import host

        sql: Statements = SQLITE
        first = sql.update(host, ["status"], ["hostid"])
        self.assertIs(sql.update(host, ["status"], ["hostid"]), first)
        self.assertIsNot(sql.update(host, ["hostip"], ["hostid"]), first)
        self.assertIs(sql.insert(host, ["hostid"]), sql.insert(host, ["hostid"]))
