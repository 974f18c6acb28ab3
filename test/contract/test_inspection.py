"""What an inspection finds is what is there, on each engine, and nothing changes."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.errors import ConfigError, DatabaseAway, DatabaseFault
from koboldfs.model.adoption import AT_LEAST, ESTIMATED, Amount, Facts, Group, Queue
from koboldfs.model.adoption_rules import BLOCKS, judge
from koboldfs.store import inspection, reader, statements_inspection
from koboldfs.store.inspection import Inspection
from koboldfs.store.open import open_reader
from koboldfs.store.phrases import Tongue
from koboldfs.store.reader import Reader, TooSlow
from koboldfs.store.schema import definitions
from koboldfs.store.statements_inspection import InspectionStatements
from koboldfs.store.steps import Statement
from test.contract.mogilefs import tables, trouble
from test.contract.plans import samples
from test.contract.test_store_postgres import _whole_scans
from test.functional import mariadb
from test.functional.ports import free_port
from test.functional.postgresql import shared

#: A question that keeps any engine busy for longer than a test may take.
LONG = (
    "with recursive n (x) as (select 1 union all select x + 1 from n"
    " where x < 100000000) select max(x) from n"
)
#: MariaDB stops a recursion early, but can count by itself.
LONG_MARIADB = "select max(concat(seq, '') + 0) from seq_1_to_100000000"


class InspectionContract:
    """`engine`, `url`, `execute` and `evidence` are the case's."""

    engine = ""
    url = ""
    long_question = LONG
    #: One that is not a byte a character, where the engine can hold that.
    odd_key = "h\u0101"

    def execute(self, script: str) -> None:
        """Change the database from outside."""
        raise NotImplementedError

    def open(self) -> Reader:
        """A reader of it, closed with the test."""
        found = open_reader(self.url)
        self.addCleanup(found.close)  # type: ignore[attr-defined]
        return found

    def facts(self, exact: bool = False) -> Facts:
        """What an inspection finds."""
        return Inspection(self.open(), exact).facts()

    def troubled(self) -> None:
        """A database with much in it that is wrong."""
        self.execute(tables(self.engine))
        self.execute(trouble(int(time.time())))

    def test_versions(self: Any) -> None:
        """Databases of all the schema versions that we serve."""
        self.execute(tables(self.engine))
        self.execute("alter table class drop column hashtype")
        for version in range(10, 15):
            self.execute(f"update server_settings set value = '{version}'")
            facts = self.facts()
            self.assertEqual(facts.schema_version, str(version))
            self.assertTrue(facts.made_by_mogilefs)
            self.assertEqual(facts.missing_columns, ())
            self.assertEqual(facts.files, Amount(2))
            self.assertFalse([one for one in judge(facts) if one.level == BLOCKS])
        self.execute("alter table class add column hashtype smallint")
        for version in range(15, 18):
            self.execute(f"update server_settings set value = '{version}'")
            self.assertEqual(self.facts().missing_columns, ())

    def test_missing_columns(self: Any) -> None:
        """What the version promises and the tables lack is found; nothing else is then
        looked at."""
        self.execute(tables(self.engine, 12).replace("'12'", "'17'"))
        facts = self.facts()
        self.assertEqual(facts.missing_columns, ("class.hashtype",))
        self.assertEqual(facts.missing_late_columns, ("file_to_queue.arg",))
        self.assertIsNone(facts.files)

    def test_unknown_version(self: Any) -> None:
        """A version that we do not know is told, and nothing is read in that schema."""
        self.execute(tables(self.engine))
        self.execute("update server_settings set value = '18'")
        facts = self.facts()
        self.assertEqual((facts.schema_version, facts.files), ("18", None))

    def test_not_ours(self: Any) -> None:
        """An empty database, and one of somebody else."""
        with self.assertRaisesRegex(ConfigError, "empty"):
            self.facts()
        self.execute("create table file (name text)")
        with self.assertRaisesRegex(ConfigError, "neither by MogileFS"):
            self.facts()

    def test_trouble(self: Any) -> None:
        """Everything that is wrong is found, and told by its number."""
        self.troubled()
        facts = self.facts()
        self.assertEqual(facts.files, Amount(8))
        self.assertEqual(facts.copies, Amount(9))
        self.assertEqual(facts.size_bytes, Amount(606))
        self.assertEqual(facts.highest_fid, 2_000_000_001)
        self.assertEqual(
            facts.groups,
            (
                Group(1, 0, Amount(1), (20,)),
                Group(1, 1, Amount(0)),
                Group(1, 5, Amount(0)),
                Group(8, 0, Amount(0)),
            ),
        )
        self.assertEqual(facts.stray_copies, {3: Amount(1), 77: Amount(1)})
        self.assertEqual((facts.uploads, facts.old_uploads), (Amount(1), 1))
        self.assertEqual(
            {one.name: one for one in facts.queues},
            {
                one.name: one
                for one in (
                    Queue("file_to_replicate", Amount(3), 1, 1, Amount(1)),
                    Queue("file_to_delete2", Amount(1), 1, 1),
                    Queue("file_to_queue (fsck)", Amount(1), 1),
                    Queue("file_to_queue (rebalance)", Amount(1)),
                    Queue("file_to_delete", Amount(1)),
                    Queue("file_to_delete_later", Amount(2)),
                    Queue("unreachable_fids", Amount(1)),
                )
            },
        )
        self.assertTrue(facts.sample_is_all)
        found = {one.file.fid: one for one in facts.sample}
        self.assertEqual(len(found), 8)
        self.assertEqual(sorted(found[2_000_000_000].devids), [1, 2])
        self.assertEqual(found[20].devids, ())
        self.assertEqual(found[24].file.key, self.odd_key)
        names = {one.name for one in facts.topology.domains}
        self.assertEqual(names, {"old", "caf\xc3\xa9"})
        self.assertEqual(facts.unanswered, ())

    def test_nothing_changes(self: Any) -> None:
        """After all this the database is the same, to the last bit that can be seen."""
        self.troubled()
        before = self.evidence()
        for exact in (False, True):
            self.facts(exact)
        self.assertEqual(self.evidence(), before)

    def test_cannot_write(self: Any) -> None:
        """Not even by mistake."""
        self.troubled()
        reader = self.open()
        for sql in ("delete from file_on", "create table t (a int)"):
            with self.assertRaises(DatabaseFault):
                reader.ask(Statement(sql))
        self.assertEqual(len(reader.ask(Statement("select * from file_on"))), 9)

    def test_too_slow(self: Any) -> None:
        """A question has its time, unless its asker has more."""
        self.patch(reader, "QUESTION_SECONDS", 0.05)
        found = self.open()
        with self.assertRaises(TooSlow):
            found.ask(Statement(self.long_question))
        self.assertEqual(found.ask(Statement("select 1")), [(1,)])
        found.patient = True
        short = self.long_question.replace("100000000", "300000")
        self.assertEqual(found.ask(Statement(short)), [(300_000,)])

    def test_unanswered(self: Any) -> None:
        """What takes too long is left out, and named."""
        self.troubled()
        found = self.open()
        ask = found.ask

        def impatient(statement: Statement) -> Any:
            if "count" in statement.sql or "devcount = 0" in statement.sql:
                raise TooSlow
            return ask(statement)

        self.patch(found, "ask", impatient)
        facts = Inspection(found).facts()
        self.assertIsNone(facts.files)
        self.assertEqual(facts.groups[0], Group(1, 0))
        self.assertEqual(facts.stray_copies, {3: None, 77: None})
        self.assertEqual(facts.queues, ())
        self.assertIn("how many files there are", facts.unanswered)
        self.assertIn("what waits in file_to_replicate", facts.unanswered)
        self.assertIn("which uploads are open", facts.unanswered)

    def test_too_many_steps(self: Any) -> None:
        """Of values beyond the limit it is said that nobody looked at them."""
        self.patch(inspection, "MAX_STEPS", 2)
        self.troubled()
        facts = self.facts()
        self.assertEqual([one.classid for one in facts.groups], [0, 1, 0])
        self.assertIn("what there is above classid 1", facts.unanswered)

    def many(self: Any) -> Facts:
        """More files than are counted or looked at one by one."""
        self.patch(inspection, "COUNTED_ROWS", 30)
        self.patch(statements_inspection, "COUNTED_ROWS", 30)
        self.patch(inspection, "SAMPLE_PAGE", 4)
        self.patch(inspection, "MAX_EMPTY", 10)
        self.execute(tables(self.engine))
        rows = (f"({fid}, 1, 'f{fid}', 10, 0, 0)" for fid in range(1000, 1200))
        self.execute(f"insert into file values {', '.join(rows)}")
        facts: Facts = self.facts()
        return facts

    def test_many(self: Any) -> None:
        """Of many files some are looked at, from all over the range; numbers say that
        they are not exact, and are when that was asked for."""
        facts = self.many()
        self.assertIn(facts.files.kind, (AT_LEAST, ESTIMATED))
        self.assertGreaterEqual(facts.files.number, 30)
        self.assertEqual(facts.size_bytes.kind, facts.files.kind)
        self.assertFalse(facts.sample_is_all)
        fids = [one.file.fid for one in facts.sample]
        self.assertEqual(fids, sorted(set(fids)))
        self.assertLess(len(fids), 80)
        self.assertGreater(max(fids), 1130)
        self.assertEqual(facts.groups[0].empty, Amount(10, AT_LEAST))
        counted = self.facts(exact=True)
        self.assertEqual(counted.files, Amount(202))
        self.assertEqual(counted.size_bytes, Amount(2006))

    def test_our_own(self: Any) -> None:
        """One of ours is told apart, and can be read as well."""
        for sql in definitions(Tongue(self.engine).dialect, set()):
            self.execute(sql)
        self.execute(
            "insert into server_settings values ('schema_version', '17'),"
            " ('kobold_created', '1.0')"
        )
        facts = self.facts()
        self.assertFalse(facts.made_by_mogilefs)
        self.assertEqual(facts.files, Amount(0))
        self.assertEqual([one.code for one in judge(facts)], ["ours"])


class SqliteInspection(SynchronousTestCase, InspectionContract):
    """A file of SQLite."""

    engine = "sqlite"

    def setUp(self) -> None:
        """An empty one, in a folder of its own."""
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.path = self.folder / "m f.db"
        self.path.touch()
        self.url = f"sqlite:///{self.path}".replace(" ", "%20")

    def execute(self, script: str) -> None:
        """See the contract."""
        with closing(sqlite3.connect(self.path)) as connection:
            connection.executescript(script)

    def evidence(self) -> Any:
        """Every byte of the folder."""
        return {one.name: one.read_bytes() for one in self.folder.iterdir()}

    def test_wal(self) -> None:
        """Beside a file in WAL mode no log is made; where one is, it is read."""
        self.troubled()
        self.execute("pragma journal_mode = wal")
        before = self.evidence()
        self.assertEqual(self.facts().files, Amount(8))
        self.assertEqual(self.evidence(), before)
        with closing(sqlite3.connect(self.path)) as connection:
            connection.execute("delete from file where fid = 20")
            connection.commit()
            self.assertEqual(self.facts().files, Amount(7))

    def test_unusable(self) -> None:
        """No file, a folder, or no database: one line that names it."""
        odd = self.folder / "odd"
        odd.write_text("this is no database, but it is long enough to be read" * 99)
        for path in (self.folder / "none", self.folder, odd):
            with self.assertRaisesRegex(ConfigError, str(path)) as caught:
                open_reader(f"sqlite:///{path}")
            self.assertNotIn("\n", caught.exception.message)
        self.assertFalse((self.folder / "none").exists())

    def test_odd_key(self) -> None:
        """A key that is no text is told, not stumbled over."""
        self.troubled()
        self.execute("update file set dkey = cast(x'ff41' as text) where fid = 7")
        found = {one.code: one.text for one in judge(self.facts())}
        self.assertIn("fid 7, 24", found["keys_unfit"])


class PostgresInspection(SynchronousTestCase, InspectionContract):
    """A database of PostgreSQL."""

    engine = "postgresql"

    def setUp(self) -> None:
        """An empty one."""
        self.server = shared()
        self.url = self.server.new_database()
        self.addCleanup(self.server.drop, self.url)

    def execute(self, script: str) -> Any:
        """See the contract."""
        return self.server.execute(self.url, script)

    def evidence(self) -> Any:
        """Every relation as the catalog has it, and every row."""
        relations = self.execute(
            "select relname, relkind, relfilenode, relnatts, relacl from pg_class"
            " where relnamespace = 'public'::regnamespace order by 1"
        )
        rows = {
            name: self.execute(f"select ctid, xmin, t.* from {name} as t order by ctid")
            for name, kind, *_ in relations
            if kind == "r"
        }
        return relations, rows, self.execute("select * from tempfile_fid_seq")

    def test_estimate(self) -> None:
        """Where statistics are there, a large number is an estimate."""
        self.many()
        self.execute("analyze")
        facts = self.facts()
        assert facts.size_bytes is not None
        self.assertEqual(facts.files, Amount(202, ESTIMATED))
        self.assertEqual(facts.size_bytes.kind, ESTIMATED)
        self.assertLess(abs(facts.size_bytes.number - 2006), 200)

    def test_limits(self) -> None:
        """The last fid and the widest key are read from the catalog."""
        self.execute(tables("postgresql"))
        facts = self.facts()
        self.assertEqual((facts.last_fid, facts.key_chars), (2**31 - 1, 255))
        self.execute("alter table tempfile alter fid type bigint")
        self.execute("alter table file alter dkey type varchar(900)")
        facts = self.facts()
        self.assertEqual((facts.last_fid, facts.key_chars), (None, 900))

    def test_account(self) -> None:
        """What an account may not do is told before it tries."""
        self.troubled()
        server = self.facts().server
        assert server is not None
        self.assertEqual((server.encoding, server.collation), ("UTF8", "C"))
        self.assertEqual((server.may_create, server.locked), (True, ()))
        self.assertFalse(server.standby)
        name = f"reader_{self.url.rpartition('/')[2]}"
        self.execute(f"create role {name} login")
        self.addCleanup(
            self.server.execute, self.server.url("postgres"), f"drop role {name}"
        )
        self.addCleanup(self.execute, f"drop owned by {name}")
        self.execute(f"grant select on all tables in schema public to {name}")
        self.execute(f"grant insert, update, delete on file_on to {name}")
        self.url, owner = self.url.replace("postgres@", f"{name}@"), self.url
        server = self.facts().server
        self.url = owner
        assert server is not None
        self.assertFalse(server.may_create)
        self.assertIn("file", server.locked)
        self.assertNotIn("file_on", server.locked)

    def test_away(self) -> None:
        """A server that is not there: what the driver says, on one line."""
        url = f"postgresql://u:sekret@127.0.0.1:{free_port('127.0.0.1')}/db"
        with self.assertRaisesRegex(DatabaseAway, "refused") as caught:
            open_reader(url)
        self.assertNotIn("\n", caught.exception.message)
        self.assertNotIn("sekret", caught.exception.message)

    def test_statements_use_indexes(self) -> None:
        """No statement looks through a whole table that grows with the files, but for
        the one that adds up all sizes, for who asked for that."""
        self.troubled()
        own = InspectionStatements(Tongue("postgresql"))
        with closing(psycopg2.connect(self.url)) as connection:
            cursor = connection.cursor()
            for statement in self.open().limit():
                cursor.execute(statement.sql)
            for name, statement in _all(own):
                cursor.execute(
                    f"explain (format json) {statement.sql}", statement.params
                )
                ((plan,),) = cursor.fetchall()
                for node in _whole_scans(plan[0]["Plan"], False):
                    self.fail(f"{name}: {json.dumps(node, indent=1)}")


class MariaInspection(SynchronousTestCase, InspectionContract):
    """A database of MariaDB, whose keys are bytes."""

    engine = "mysql"
    long_question = LONG_MARIADB
    odd_key = "h\xc4\x81"

    def setUp(self) -> None:
        """An empty one."""
        self.server = mariadb.shared()
        self.url = self.server.new_database("character set latin1")
        self.addCleanup(self.server.drop, self.url)

    def execute(self, script: str) -> Any:
        """See the contract."""
        database = self.url.rpartition("/")[2]
        rows: list[Any] = []
        for statement in script.replace("h\u0101", "h\xc4\x81").split(";"):
            if statement.strip():
                rows = self.server.execute(statement, database=database)
        return rows

    def evidence(self) -> Any:
        """Every table as it would be made, with the next fid, and every row."""
        names = [row[0] for row in self.execute("show tables")]
        return {
            name: (
                self.execute(f"show create table `{name}`"),
                sorted(self.execute(f"select * from `{name}`"), key=str),
            )
            for name in names
        }

    def test_away(self) -> None:
        """A server that is not there: what the driver says, on one line."""
        url = f"mysql://u:sekret@127.0.0.1:{free_port('127.0.0.1')}/db"
        with self.assertRaisesRegex(DatabaseAway, "refused") as caught:
            open_reader(url)
        self.assertNotIn("\n", caught.exception.message)
        self.assertNotIn("sekret", caught.exception.message)


def _all(own: InspectionStatements) -> Iterator[tuple[str, Statement]]:
    """Every statement that is asked without `--count`."""
    for name, statement in samples(own):  # type: ignore[arg-type]
        if name != "whole_size":
            yield name, statement
    yield "rows_of", own.rows_of("file", exact=False)()
    for table, blanks in (("file_to_replicate", {}), ("file_to_queue", {"kind": 1})):
        for phrase in own.queue(table):
            yield table, phrase(**blanks)
