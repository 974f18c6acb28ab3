"""A real MariaDB keeps the contract of a database."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from twisted.internet import reactor
from twisted.internet.task import deferLater

from koboldfs import errors
from koboldfs.model.entities import Closing
from koboldfs.store.mysql_link import WRITER, Hosts
from koboldfs.store.mysql_url import mysql_options
from koboldfs.store.statements import Statements
from koboldfs.store.steps import Steps, quiet
from test.contract.drawn_ahead import DrawnAheadContract
from test.contract.files import FilesContract
from test.contract.health import HealthContract
from test.contract.lists import ListsContract
from test.contract.numbers import NumbersContract
from test.contract.plans import GROWING, samples
from test.contract.queues import QueuesContract
from test.contract.scrubs import ScrubsContract
from test.contract.server import ServerCase, ServerContract
from test.contract.tasks import TasksContract
from test.contract.topology import ColumnsContract, TopologyContract
from test.functional.mariadb import MariaDB, shared


class MariaCase(ServerCase):
    """A store on a new database of the shared server."""

    def server_of_test(self) -> MariaDB:
        """See `ServerCase`."""
        return shared()

    def database_words(self) -> str:
        """What is said when the database is made."""
        return ""

    def new_database(self) -> str:
        """See `ServerCase`."""
        url: str = self.server.new_database(self.database_words())
        return url

    def execute(self, sql: str, *params: Any) -> list[Any]:
        """See `ServerCase`."""
        database = urlsplit(self.url).path.lstrip("/")
        rows: list[Any] = self.server.execute(sql, params, database)
        return rows


class MariaFiles(MariaCase, FilesContract):
    """`IFiles`."""


class MariaDrawnAhead(MariaCase, DrawnAheadContract):
    """`IFiles`, while very many files are stored."""


class MariaLists(MariaCase, ListsContract):
    """`IFiles`, keys."""


class MariaTopology(MariaCase, TopologyContract):
    """`ITopology`."""


class MariaColumns(MariaCase, ColumnsContract):
    """`ITopology`, what does not fit."""


class MariaQueues(MariaCase, QueuesContract):
    """`IQueues`."""


class MariaTasks(MariaCase, TasksContract):
    """`ITasks`."""


class MariaScrubs(MariaCase, ScrubsContract):
    """`IScrubs`."""


class MariaHealth(MariaCase, HealthContract):
    """`IHealth`."""


class MariaNumbers(MariaCase, NumbersContract):
    """`INumbers`."""


class MariaOwn(MariaCase, ServerContract):
    """What is MariaDB's own."""

    async def test_interrupted_creation(self) -> None:
        """What was begun is finished: MariaDB commits every table by itself."""
        self.execute("drop table file")
        self.execute("drop table kobold_checksum")
        other = await self.another()
        self.assertFalse(other.made_by_mogilefs)
        await self.stored(1, "k")
        for (table,) in self.execute("show tables"):
            if table != "server_settings":
                self.execute(f"drop table `{table}`")
        self.execute("delete from server_settings")
        again = await self.another()
        self.assertTrue(again.created_now)
        self.assertFalse((await self.another()).made_by_mogilefs)

    async def test_unknown_schema(self) -> None:
        """A schema that we do not know is the operator's matter; nobody is stopped
        from trying again."""
        await self.store.topology.set_setting("schema_version", "18")
        error = await self.fault(errors.ConfigError, self.another())
        self.assertIn("18", str(error))
        await self.store.topology.set_setting("schema_version", "17")
        await self.another()

    async def test_keys_are_bytes(self) -> None:
        """Keys that MySQL's own text would take for the same are different files."""
        keys = ["a", "A", "a ", "\xe4", "\xc4", "'", "\\", '"%s', "%", "\x80\xff"]
        fids = {key: await self.stored(1, key) for key in keys}
        for key, fid in fids.items():
            self.assertEqual((await self.store.files.find(1, key)).file.fid, fid)
        listed = await self.store.files.list_keys(1, "", "", 99)
        self.assertEqual(listed, sorted(keys))
        self.assertEqual(await self.store.files.list_keys(1, "a", "", 9), ["a", "a "])

    async def test_counter_behind(self) -> None:
        """A counter that lags behind the files never gives their fids again."""
        fids = [await self.stored(1, f"k{n}") for n in range(5)]
        self.execute(f"insert into file_on values ({max(fids) + 3}, 1)")
        drawn = await self.together(*(self.upload(1, "x") for _ in range(8)))
        self.assertFalse(set(drawn) & {*fids, max(fids) + 3})
        self.assertEqual(self.execute("select count(*) from tempfile"), [(8,)])
        self.execute(f"update file set fid = {max(drawn) + 100} where fid = {fids[0]}")
        other = await self.another()
        fid = await other.files.open_upload(1, "y", 0, (1,), None)
        self.assertGreater(fid, max(drawn) + 100)
        count = self.execute("select count(*) from tempfile where createtime = 0")
        self.assertEqual(count, [(0,)])

    async def test_lock_is_waited_for(self) -> None:
        """A row that somebody holds stops those who need it, and nobody else."""
        held = await self.stored(1, "held")
        fids = [await self.upload(1, "k") for _ in range(2)]
        link = Hosts(mysql_options(self.url), WRITER).connect()
        try:
            link.execute("begin")
            link.execute(f"select * from file where fid = {held} for update")
            close = self.store.files.close_upload
            stuck = close(Closing(fids[0], 1, "held", 0, 1, (1,)))
            await deferLater(reactor, 0.2)
            self.assertEqual(
                await close(Closing(fids[1], 1, "b", 0, 1, (1,))), "closed"
            )
            self.assertNoResult(stuck)
            link.execute("rollback")
            self.assertEqual(await stuck, "closed")
        finally:
            link.close()

    async def test_delete_meets_close(self) -> None:
        """A key that always has a file is never said to be unknown, though its fid
        becomes a lower one while the delete waits for the row."""
        fid = await self.upload(1, "k")
        await self.stored(1, "k")
        link = Hosts(mysql_options(self.url), WRITER).connect()
        try:
            link.execute("begin")
            link.execute("select * from file where dkey = 'k' for update")
            link.execute(f"update file set fid = {fid} where dkey = 'k'")
            deleted = self.store.files.delete(1, "k")
            await deferLater(reactor, 0.3)
            self.assertNoResult(deleted)
            link.execute("commit")
            self.assertTrue(await deleted)
        finally:
            link.close()

    async def test_deadlock(self) -> None:
        """Who met somebody crosswise, and had to give way, is run again."""
        fids = [await self.stored(1, key) for key in ("a", "b")]
        link = Hosts(mysql_options(self.url), WRITER).connect()
        runs = []

        def steps(sql: Statements) -> Steps[str]:
            runs.append(1)
            yield quiet(sql.queue_deletion.rows([{"fid": 900}]))
            yield sql.lock_fids(fids=[fids[0]])
            yield sql.lock_fids(fids=[fids[1]])
            return "done"

        self.addCleanup(link.close)
        link.execute("begin")
        # Who has changed more is not the one to give way.
        link.execute("insert into unreachable_fids select seq, 1 from seq_1_to_100")
        link.execute(f"select * from file where fid = {fids[1]} for update")
        done = self.store._database.write("crosswise", steps)
        await self.until(
            lambda: (
                self.execute(
                    "select count(*) from information_schema.innodb_trx"
                    " where trx_state = 'LOCK WAIT'"
                )
                == [(1,)]
            ),
            # Who asks again within 0.1 s is told the same.
            0.15,
        )
        link.execute(f"select * from file where fid = {fids[0]} for update")
        link.execute("commit")
        self.assertEqual(await done, "done")
        self.assertEqual(len(runs), 2)
        self.assertEqual(self.execute("select fid from file_to_delete2"), [(900,)])

    async def test_closes_at_once(self) -> None:
        """Two trackers replace the same files in different orders: no copy leaks."""
        keys = [f"k{n}" for n in range(6)]
        other = await self.another()
        for _ in range(5):
            fids = [await self.upload(1, "k") for _ in range(12)]
            closings = [
                Closing(fid, 1, key, 0, 3, (1,))
                for fid, key in zip(fids, keys + keys[::-1], strict=True)
            ]
            await self.together(
                self.store.files.apply(closings[:6]),
                other.files.apply(closings[6:]),
            )
        self.assertEqual(await self.store.files.list_keys(1, "", "", 99), keys)
        live = self.execute("select fid from file")
        dead = self.execute("select fid from file_to_delete2")
        self.assertEqual(len({*live, *dead}), 60)
        self.assertEqual(len(live) + len(dead), 60)

    async def test_statements_use_indexes(self) -> None:
        """No statement must look through a whole table that grows with the files."""
        rows = "from seq_1_to_5000"
        for sql in (
            f"insert into file select seq, seq % 3, concat('k', seq), 1, 0, 1 {rows}",
            f"insert into file_on select f.seq, d.seq {rows} f, seq_1_to_3 d",
            "insert into tempfile select seq, 0, 0, 1, 'k', '1' from seq_5001_to_9000",
            f"insert into file_to_replicate (fid, nexttry) select seq, seq {rows}",
            f"insert into file_to_delete2 (fid, nexttry) select seq, seq {rows}",
            f"insert into file_to_queue (fid, type, nexttry) select seq, 1, 1 {rows}",
            f"insert into kobold_checksum select seq, 4, 'x' {rows}",
            f"insert into kobold_lost select seq, 1 {rows}",
            f"insert into checksum select seq, 1, 'x' {rows}",
            f"insert into file_to_delete select seq {rows}",
            f"insert into file_to_delete_later select seq, seq {rows}",
            f"insert into fsck_log (utime, fid, evcode) select 1, seq, 'NOPA' {rows}",
        ):
            self.execute(sql)
        for table in GROWING:
            self.execute(f"analyze table {table}")
        link = Hosts(mysql_options(self.url), WRITER).connect()
        try:
            explained = 0
            for name, statement in samples(self.store._database.sql):
                if not statement.sql.startswith(("SELECT", "UPDATE", "DELETE")):
                    continue
                explained += 1
                rows = link.execute("explain " + statement.sql, *statement.params)
                for row in rows:
                    table, kind = row[2], row[3]
                    limited = " LIMIT " in statement.sql
                    if table in GROWING and kind in ("ALL", "index") and not limited:
                        self.fail(f"{name}: {row}\n{statement.sql}")
            self.assertGreater(explained, 70)
        finally:
            link.close()
