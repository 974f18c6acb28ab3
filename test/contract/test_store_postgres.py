"""A real PostgreSQL keeps the contract of a database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from twisted.internet import reactor
from twisted.internet.task import deferLater

from koboldfs import errors
from koboldfs.model.entities import Closing
from koboldfs.model.numbering import FORGOTTEN_SETTING
from koboldfs.store import prepared
from koboldfs.store.postgres_link import PLANNING
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
from test.functional.postgresql import PostgreSQL, shared


class PostgresCase(ServerCase):
    """A store on a new database of the shared server."""

    async def setUp(self) -> None:
        """Every statement is prepared from its first use on."""
        self.patch(prepared, "USES", 1)
        await super().setUp()

    def server_of_test(self) -> PostgreSQL:
        """See `ServerCase`."""
        return shared()

    def execute(self, sql: str, *params: Any) -> list[Any]:
        """See `ServerCase`."""
        return self.server.execute(self.url, sql)  # type: ignore[no-any-return]


class PostgresFiles(PostgresCase, FilesContract):
    """`IFiles`."""


class PostgresDrawnAhead(PostgresCase, DrawnAheadContract):
    """`IFiles`, while very many files are stored."""


class PostgresLists(PostgresCase, ListsContract):
    """`IFiles`, keys."""


class PostgresTopology(PostgresCase, TopologyContract):
    """`ITopology`."""


class PostgresColumns(PostgresCase, ColumnsContract):
    """`ITopology`, what does not fit."""


class PostgresQueues(PostgresCase, QueuesContract):
    """`IQueues`."""


class PostgresTasks(PostgresCase, TasksContract):
    """`ITasks`."""


class PostgresScrubs(PostgresCase, ScrubsContract):
    """`IScrubs`."""


class PostgresHealth(PostgresCase, HealthContract):
    """`IHealth`."""


class PostgresNumbers(PostgresCase, NumbersContract):
    """`INumbers`."""


class PostgresOwn(PostgresCase, ServerContract):
    """What is PostgreSQL's own."""

    async def test_unknown_schema(self) -> None:
        """A schema that we do not know is the operator's matter."""
        await self.store.topology.set_setting("schema_version", "18")
        error = await self.fault(errors.ConfigError, self.another())
        self.assertIn("18", str(error))

    async def test_watch(self) -> None:
        """Changes by anyone are told; a tracker's own measurements are not."""
        noticed: list[str] = []
        other = await self.another()
        self.store.topology.watch(lambda: noticed.append("late watcher"))
        other.topology.watch(lambda: noticed.append("other"))
        await self.until(lambda: len(noticed) == 2)
        noticed.clear()
        hostid = await self.store.topology.create_host("h", {"ip": "10.0.0.1"})
        await self.until(lambda: len(noticed) == 2)
        self.assertEqual(set(noticed), {"late watcher", "other"})
        await self.store.topology.create_device(1, hostid, "alive")
        await self.until(lambda: len(noticed) == 4)
        await self.store.topology.update_device(1, {"mb_used": 1})
        await self.store.topology.set_setting("s", "v")
        await self.until(lambda: len(noticed) == 6)

    async def test_sequence_behind(self) -> None:
        """A sequence that lags behind the files never gives their fids again."""
        fids = [await self.stored(1, f"k{n}") for n in range(5)]
        self.execute("select setval('tempfile_fid_seq', 1)")
        drawn = await self.together(*(self.upload(1, "x") for _ in range(5)))
        self.assertFalse(set(drawn) & set(fids))
        self.execute("select setval('tempfile_fid_seq', 1)")
        other = await self.another()
        fid = await other.files.open_upload(1, "y", 0, (1,), None)
        self.assertGreater(fid, max(drawn))
        open_now = self.execute("select count(*) from tempfile")[0][0]
        self.assertEqual(open_now, 6)

    async def test_sequence_goes_back(self) -> None:
        """Whoever drew higher numbers himself knows that it is another database by now,
        and so do the others then."""
        fids = [await self.upload(1, f"k{n}") for n in range(5)]
        self.execute("delete from tempfile")
        self.execute(f"select setval('tempfile_fid_seq', {fids[0]})")
        drawn = await self.together(*(self.upload(1, "x") for _ in range(5)))
        self.assertGreater(min(drawn), fids[-1])
        noted = await self.store.topology.setting(FORGOTTEN_SETTING)
        self.assertEqual(noted, f"{fids[1]}-{fids[-1]}")
        other = await self.another()
        fid = await other.files.open_upload(1, "y", 0, (1,), None)
        self.assertGreater(fid, max(drawn))

    async def test_synchronous(self) -> None:
        """No session of ours answers before the disk has it."""
        name = self.url.rpartition("/")[2]
        self.execute(f"alter database {name} set synchronous_commit = off")
        other = await self.another()
        steps = other._database.sql.tongue.phrase
        from sqlalchemy import text

        def shown(sql: Any) -> Any:
            reply = yield steps(text("show synchronous_commit"))()
            return reply.rows[0][0]

        self.assertEqual(await other._database.read("show", shown), "on")

    async def test_lock_is_waited_for(self) -> None:
        """A row that somebody holds stops those who need it, and nobody else."""
        import psycopg2

        held = await self.stored(1, "held")
        fids = [await self.upload(1, "k") for _ in range(2)]
        connection = psycopg2.connect(self.url)
        try:
            cursor = connection.cursor()
            cursor.execute("select * from file where fid = %s for update", [held])
            close = self.store.files.close_upload
            stuck = close(Closing(fids[0], 1, "held", 0, 1, (1,)))
            await deferLater(reactor, 0.2)
            self.assertEqual(
                await close(Closing(fids[1], 1, "b", 0, 1, (1,))), "closed"
            )
            self.assertNoResult(stuck)
            connection.rollback()
            self.assertEqual(await stuck, "closed")
        finally:
            connection.close()

    async def test_delete_waits_for_a_successor(self) -> None:
        """A key that gets another file while its deletion waits goes with that."""
        import psycopg2

        old = await self.stored(1, "a", 1)
        new = await self.upload(1, "a", 1)
        other = await self.stored(1, "b", 1)
        connection = psycopg2.connect(self.url)
        try:
            cursor = connection.cursor()
            cursor.execute("update file set fid = %s where fid = %s", [new, old])
            deletes = [self.store.files.delete(1, key) for key in ("b", "a")]
            await deferLater(reactor, 0.2)
            self.assertNoResult(deletes[1])
            connection.commit()
            self.assertEqual([await one for one in deletes], [True, True])
        finally:
            connection.close()
        self.assertIsNone(await self.store.files.find(1, "a"))
        self.assertEqual(sorted(await self.deletions()), [new, other])

    async def test_plans_are_made_anew(self) -> None:
        """Whatever the transaction is like in which that happens."""
        self.patch(prepared, "PLAN_SECONDS", 0.0)
        for number in range(12):
            await self.stored(1, f"k{number}", 1)
            self.assertIsNotNone(await self.store.files.find(1, f"k{number}"))
            await self.store.topology.load()
            self.assertEqual(len(await self.replications()), number + 1)
            self.assertTrue(await self.store.files.delete(1, f"k{number}"))

    async def test_table_changes_under_a_plan(self) -> None:
        """A prepared statement that fits no more costs a connection, not an answer."""
        for _ in range(20):
            self.assertIsNone(await self.store.files.find(1, "a"))
        self.execute("alter table file alter column devcount type integer")
        for number in range(20):
            await self.stored(1, f"k{number}")
            self.assertIsNotNone(await self.store.files.find(1, f"k{number}"))
        self.execute("alter table file alter column devcount type smallint")

    async def test_table_changes_under_a_deletion(self) -> None:
        """Nor is anybody told that nobody knows whether a key was deleted."""
        for number in range(20):
            self.assertFalse(await self.store.files.delete(1, "a"))
            await self.stored(1, f"k{number}")
        self.execute("alter table file alter column dkey type varchar(300)")
        for number in range(20):
            self.assertTrue(await self.store.files.delete(1, f"k{number}"))

    async def test_plans_anew(self) -> None:
        """Wherever plans are thrown away: in a snapshot, and after a fault."""
        self.patch(prepared, "PLAN_SECONDS", 0.0)
        for number in range(3):
            await self.store.topology.create_domain(f"d{number}")
            self.assertEqual(
                len((await self.store.topology.load()).domains), number + 1
            )
            await self.stored(1, f"k{number}")
            rename = self.store.files.rename(1, "none", "other")
            await self.fault(errors.UnknownKey, rename)

    async def test_statements_use_indexes(self) -> None:
        """No statement must look through a whole table that grows with the files."""
        self.execute(
            "create view n as select n from generate_series(1, 5000) n;"
            "insert into file select n, n % 3, 'k' || n, 1, 0, 1"
            " from n;"
            "insert into file_on select n, d from n, generate_series(1, 3) d;"
            "insert into tempfile select n, 0, 0, 1, 'k', '1'"
            " from generate_series(5001, 9000) n;"
            "insert into file_to_replicate select n, n from n;"
            "insert into file_to_delete2 select n, n from n;"
            "insert into file_to_queue select n, 1, n % 2 + 1, n from n;"
            "insert into kobold_checksum select n, 4, 'x' from n;"
            "insert into checksum select n, 1, 'x' from n;"
            "insert into kobold_lost select n, 1 from n;"
        )
        import psycopg2

        connection = psycopg2.connect(self.url)
        try:
            cursor = connection.cursor()
            for setting, value in PLANNING.items():
                cursor.execute(f"set {setting} = {value}")
            for name, statement in samples(self.store._database.sql):
                explain = f"explain (format json) {statement.sql}"
                cursor.execute(explain, statement.params or None)
                plan = cursor.fetchone()[0]
                for node in _whole_scans(plan[0]["Plan"], False):
                    self.fail(f"{name}: {json.dumps(node, indent=1)}")
        finally:
            connection.close()


def _whole_scans(node: dict[str, Any], limited: bool) -> Iterator[dict[str, Any]]:
    """Nodes of a plan that read all of a growing table, with no limit above them."""
    limited = limited or node["Node Type"] == "Limit"
    whole = node["Node Type"].endswith("Scan") and "Index Cond" not in node
    below = node.get("Plans", ())
    if whole and node.get("Relation Name") in GROWING and not below and not limited:
        yield node
    for one in below:
        yield from _whole_scans(one, limited)
