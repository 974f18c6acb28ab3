"""SQLite keeps the contract of a database."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import TestCase

from koboldfs import errors
from koboldfs.store.open import Store, open_store
from koboldfs.store.sqlite import BUSY_SECONDS
from test.contract.drawn_ahead import DrawnAheadContract
from test.contract.files import FilesContract
from test.contract.health import HealthContract
from test.contract.lists import ListsContract
from test.contract.numbers import NumbersContract
from test.contract.plans import GROWING, samples
from test.contract.queues import QueuesContract
from test.contract.scrubs import ScrubsContract
from test.contract.server import AGEING
from test.contract.tasks import TasksContract
from test.contract.topology import ColumnsContract, TopologyContract

#: These sort the few rows of the keys that they name.
SORTED = ("lock_keys", "lock_closing", "shortages")
#: It reads one page, from the beginning of the table.
PAGED = ("old_deletions",)


class SqliteCase(TestCase):
    """A store on a new file; further ones on the same file."""

    timeout = 60

    async def setUp(self) -> None:
        """Make the database."""
        self.path = Path(self.mktemp())
        self.stores: list[Store] = []
        self.store = await self.another()

    async def tearDown(self) -> None:
        """Close the database."""
        for store in self.stores:
            await store.stop()

    async def another(self) -> Store:
        """A store on the file."""
        store = open_store(f"sqlite:///{self.path}", reactor)
        await store.start()
        self.stores.append(store)
        return store

    def execute(self, sql: str, *params: Any) -> list[Any]:
        """Look at the file from outside."""
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            return connection.execute(sql, params).fetchall()

    async def pass_time(self, seconds: int) -> None:
        """See `StoreContract`."""
        for sql in AGEING:
            self.execute(sql.format(seconds))


class SqliteFiles(SqliteCase, FilesContract):
    """`IFiles`."""


class SqliteDrawnAhead(SqliteCase, DrawnAheadContract):
    """`IFiles`, while very many files are stored."""


class SqliteLists(SqliteCase, ListsContract):
    """`IFiles`, keys."""


class SqliteTopology(SqliteCase, TopologyContract):
    """`ITopology`."""


class SqliteColumns(SqliteCase, ColumnsContract):
    """`ITopology`, what does not fit."""


class SqliteQueues(SqliteCase, QueuesContract):
    """`IQueues`."""


class SqliteTasks(SqliteCase, TasksContract):
    """`ITasks`."""


class SqliteScrubs(SqliteCase, ScrubsContract):
    """`IScrubs`."""


class SqliteHealth(SqliteCase, HealthContract):
    """`IHealth`."""


class SqliteNumbers(SqliteCase, NumbersContract):
    """`INumbers`."""


class SqliteFile(SqliteCase):
    """What is SQLite's own."""

    async def test_origin(self) -> None:
        """A new file is known as ours, now and later."""
        self.assertTrue(self.store.created_now)
        self.assertFalse(self.store.made_by_mogilefs)
        other = await self.another()
        self.assertFalse(other.created_now)
        self.assertFalse(other.made_by_mogilefs)
        settings = dict((await other.topology.load()).settings)
        self.assertEqual(settings["schema_version"], "17")
        self.assertIn("kobold_created", settings)

    async def test_durability(self) -> None:
        """Commits reach the disk before they are answered."""
        self.assertEqual(self.execute("pragma journal_mode"), [("wal",)])
        writer = self.store._runner._writer._run._connection
        self.assertEqual(writer.execute("pragma synchronous").fetchall(), [(2,)])

    async def test_survives_reopening(self) -> None:
        """What was stored is there when the file is opened again."""
        fid = await self.store.files.open_upload(1, "k", 0, (1,), None)
        await self.store.stop()
        self.stores.clear()
        self.store = await self.another()
        self.assertIsNotNone(await self.store.files.find_upload(fid))
        new = await self.store.files.open_upload(1, "k", 0, (1,), None)
        self.assertGreater(new, fid)

    async def test_after_stop(self) -> None:
        """A store that was stopped says that the database is away, in time."""
        await self.store.stop()
        self.stores.clear()
        calls = (
            self.store.files.find(1, "k"),
            self.store.files.delete(1, "k"),
            self.store.topology.load(),
        )
        for call in calls:
            self.failureResultOf(call, errors.DatabaseAway)

    async def test_unusable_path(self) -> None:
        """A folder that is not there, or a file that is none, is the operator's."""
        odd = Path(self.mktemp())
        odd.write_text("this is no database, but it is long enough to be read" * 99)
        for path in (self.mktemp() + "/no/folder/x.db", str(odd), "/"):
            store = open_store(f"sqlite:///{path}", reactor)
            error = await self.failed(store)
            self.assertIn("--database", str(error))
            self.assertNotIn("\n", str(error))

    async def failed(self, store: Store) -> errors.ConfigError:
        """The error that a start must fail with."""
        try:
            await store.start()
        except errors.ConfigError as error:
            return error
        await store.stop()
        raise AssertionError("it started")

    async def test_unknown_schema(self) -> None:
        """A schema that we do not know is left alone."""
        for version in ("18", "9", "x"):
            await self.store.topology.set_setting("schema_version", version)
            error = await self.failed(open_store(f"sqlite:///{self.path}", reactor))
            self.assertIn(version, str(error))

    async def test_foreign_tables(self) -> None:
        """A database with tables of our names that is not one of ours is refused."""
        path = Path(self.mktemp())
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("create table file (name text)")
        await self.failed(open_store(f"sqlite:///{path}", reactor))
        with closing(sqlite3.connect(path)) as connection:
            tables = connection.execute("select name from sqlite_master").fetchall()
        self.assertEqual(tables, [("file",)])

    async def test_statements_use_indexes(self) -> None:
        """No statement looks through a whole table that grows with the files, or sorts
        what it found, lest that be all of one."""
        for name, statement in samples(self.store._database.sql):
            explain = f"explain query plan {statement.sql}"
            for row in self.execute(explain, *statement.params):
                words = row[3].split()
                if "TEMP B-TREE" in row[3]:
                    self.assertIn(name, SORTED)
                if words[0] == "SCAN" and name not in PAGED:
                    self.assertNotIn(words[1], GROWING, f"{name}: {row[3]}")

    async def test_busy_beside_others(self) -> None:
        """Those who write without a break let each other write: nobody is told that the
        database is busy, nor comes near to it."""
        stores = [self.store, await self.another(), await self.another()]
        longest = 0.0

        async def write(store: Store, number: int) -> None:
            nonlocal longest
            for count in range(150):
                began = reactor.seconds()  # type: ignore[attr-defined]
                await store.topology.set_setting(f"busy{number}", str(count))
                seconds = reactor.seconds() - began  # type: ignore[attr-defined]
                longest = max(longest, seconds)

        writers = [
            Deferred.fromCoroutine(write(store, 3 * number + many))
            for number, store in enumerate(stores)
            for many in range(3)
        ]
        await gatherResults(writers, consumeErrors=True)
        self.assertLess(longest, BUSY_SECONDS / 2)

    async def test_schema_race(self) -> None:
        """Many who start on a new file at once: one makes the tables, all have them."""
        path = Path(self.mktemp())
        stores = [open_store(f"sqlite:///{path}", reactor) for _ in range(5)]
        self.stores += stores
        await gatherResults([store.start() for store in stores], consumeErrors=True)
        self.assertEqual(sum(store.created_now for store in stores), 1)
        await gatherResults(
            [
                store.topology.default_setting("d", str(n))
                for n, store in enumerate(stores)
            ],
            consumeErrors=True,
        )
        found = {await store.topology.setting("d") for store in stores}
        self.assertEqual(len(found), 1)
