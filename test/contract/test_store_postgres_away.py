"""PostgreSQL stops, comes back, moves; and databases that MogileFS made."""

from __future__ import annotations

from socket import gethostname
from typing import Any

import psycopg2
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from koboldfs import errors
from koboldfs.model.entities import Closing
from koboldfs.store.locks import lock_number
from koboldfs.store.open import open_store
from test.contract.mogilefs import MOGILEFS, ROWS
from test.contract.server import AdoptedContract
from test.contract.store import StoreContract
from test.contract.test_store_postgres import PostgresCase
from test.functional.ports import free_port
from test.functional.postgresql import PostgreSQL

COLUMNS = (
    "select table_name, column_name, data_type, character_maximum_length"
    " from information_schema.columns where table_schema = 'public'"
    " and table_name not like 'kobold%' order by 1, ordinal_position"
)


class MogileDatabase(PostgresCase, AdoptedContract):
    """A database that MogileFS made."""

    columns_query = COLUMNS

    async def prepare(self) -> None:
        """Make it."""
        self.execute(MOGILEFS + ROWS)
        self.before = self.execute(COLUMNS)

    async def test_used(self) -> None:
        """Its files are found, listed by bytes, and new ones get fids above them."""
        files = self.store.files
        self.assertEqual((await files.find(1, "k")).file.fid, 7)
        await self.stored(1, "\xe9", 1)
        self.assertEqual(await files.list_keys(1, "", "", 9), ["Z", "k", "\xe9"])
        self.assertGreater((await files.find(1, "\xe9")).file.fid, 9)
        topology = await self.store.topology.load()
        self.assertEqual(topology.hosts[0].name, "h")
        self.assertEqual(topology.devices[0].weight, 100)

    async def test_limits(self) -> None:
        """Its columns are narrower."""
        self.assertEqual(self.store.key_bytes, 255)
        await self.stored(1, "\xff" * 255)
        files, refused = self.store.files, errors.ValueRefused
        await self.fault(refused, files.open_upload(1, "k" * 256, 0, (1,), None))
        many = tuple(range(1000, 1013))
        await self.fault(refused, files.open_upload(1, "k", 0, many, None))
        await self.fault(refused, files.open_upload(1, "k", 0, (1,), 2**31))
        self.assertIsNone(await files.find(1, "k" * 256))

    async def test_locks(self) -> None:
        """What a tracker of MogileFS on this machine has locked is not had, and the
        other way round; what a session held ends with it."""
        number = lock_number(gethostname())
        locks = self.store.locks
        held = psycopg2.connect(self.url)
        cursor = held.cursor()

        def try_lock(name: str) -> bool:
            pair = (number, lock_number(name))
            cursor.execute("select pg_try_advisory_lock(%s, %s)", pair)
            return bool(cursor.fetchone()[0])  # type: ignore[index]

        self.assertTrue(try_lock("mgfs:fid:7:replicate"))
        names = [f"mgfs:fid:{fid}:replicate" for fid in range(5, 80)]
        taken = await locks.take(names)
        self.assertEqual(set(names) - taken, {"mgfs:fid:7:replicate"})
        self.assertFalse(try_lock("mgfs:fid:9:replicate"))
        await locks.release(["mgfs:fid:9:replicate", "mgfs:never"])
        self.assertTrue(try_lock("mgfs:fid:9:replicate"))
        held.close()
        await self.until_free(locks, "mgfs:fid:7:replicate")
        other = await self.another()
        self.assertEqual(await other.locks.take(names), {"mgfs:fid:9:replicate"})

    async def until_free(self, locks: Any, name: str) -> None:
        """A server needs a moment to see that a session is gone."""
        while not await locks.take([name]):
            await deferLater(reactor, 0.02)

    async def test_old_delete_queues(self) -> None:
        """What waits in its older delete queues is deleted too, when it is due."""
        self.assertEqual(sorted(await self.deletions()), [4, 5])
        later = self.execute("select fid from file_to_delete_later")
        self.assertEqual(later, [(6,)])


class OldMogileDatabase(PostgresCase, StoreContract):
    """One of schema version 12: no checksums, classes without hash type."""

    async def prepare(self) -> None:
        """Make it."""
        self.execute(
            (MOGILEFS + ROWS).replace("'17'", "'12'").replace(" hashtype smallint,", "")
        )

    async def test_classes_without_hashtype(self) -> None:
        """Classes work, but for what the column would have said."""
        topology = self.store.topology
        classid = await topology.create_class(1, "c", 2, None, None)
        await topology.update_class(1, classid, "c", 3, None, None)
        (found,) = (await topology.load()).classes
        self.assertEqual((found.mindevcount, found.hashtype), (3, None))
        refused = topology.create_class(1, "d", 2, None, 1)
        await self.fault(errors.ValueRefused, refused)
        await self.stored(1, "a")


class SeveralHosts(PostgresCase, StoreContract):
    """A URL with several hosts."""

    async def test_first_that_answers(self) -> None:
        """Hosts that are down are passed over."""
        dead = free_port("127.0.0.1")
        url = self.url.replace("127.0.0.1:", f"127.0.0.1:{dead},127.0.0.1:")
        store = open_store(url, reactor)
        self.stores.append(store)
        await store.start()
        self.assertIsNone(await store.files.find(1, "a"))

    async def test_read_only_host(self) -> None:
        """A host that takes no writes (a standby) is not used, and left when it
        becomes one."""
        name = self.url.rpartition("/")[2]
        store = open_store(self.url, reactor, deadline_seconds=0.5)
        self.stores.append(store)
        await store.start()
        self.execute(f"alter database {name} set default_transaction_read_only = on")
        ours = "pid <> pg_backend_pid() and datname = current_database()"
        self.execute(
            f"select pg_terminate_backend(pid) from pg_stat_activity where {ours}"
        )
        opened = store.files.open_upload(1, "a", 0, (1,), None)
        await self.fault(errors.DatabaseAway, opened)
        self.server.execute(
            self.server.url("postgres"),
            f"alter database {name} set default_transaction_read_only = off",
        )
        while True:
            try:
                await store.files.open_upload(1, "a", 0, (1,), None)
                return
            except errors.DatabaseAway:
                pass


class PostgresStops(PostgresCase, StoreContract):
    """A server that stops and comes back."""

    deadline_seconds = 1.0

    def server_of_test(self) -> PostgreSQL:
        """One that may be stopped without harm to other tests."""
        server = PostgreSQL()
        server.start()
        return server

    def forget(self) -> None:
        """Nobody else uses this server."""
        self.server.stop()

    async def test_comes_back(self) -> None:
        """While the server is away requests fail in time; afterwards all works."""
        files = self.store.files
        fid = await self.stored(1, "a", 1, 2)
        noticed: list[int] = []
        self.store.topology.watch(lambda: noticed.append(1))
        await self.until(lambda: noticed)
        noticed.clear()
        self.server.kill()
        calls = (
            files.find(1, "a"),
            files.open_upload(1, "b", 0, (1,), None),
            files.list_keys(1, "", "", 9),
            self.store.queues.take_replications(1, 1),
        )
        for call in calls:
            await self.fault(errors.DatabaseAway, call)
        waiting = files.find(1, "a")
        self.server.restart()
        try:
            located = await waiting
        except errors.DatabaseAway:
            await self.until_there()
            located = await files.find(1, "a")
        self.assertEqual(located.file.fid, fid)
        await self.until(lambda: noticed)
        self.assertGreater(await self.upload(1, "c"), fid)
        self.assertEqual(await self.replications(), [fid])

    async def until_there(self) -> None:
        """Wait until the store has found the server again."""
        while True:
            try:
                await self.store.topology.load()
                return
            except errors.DatabaseAway:
                pass

    async def test_nothing_half_done(self) -> None:
        """Whatever moment the server dies at, a close is whole or did not happen."""
        for number in range(3):
            fids = [await self.upload(1, "k") for _ in range(40)]
            closes = [
                self.store.files.close_upload(
                    Closing(fid, 1, f"k{number}-{fid}", 0, 3, (1, 2))
                )
                for fid in fids
            ]
            outcomes: list[Any] = []
            for close in closes:
                close.addBoth(outcomes.append)
            await deferLater(reactor, number * 0.003)
            self.server.kill()
            self.server.restart()
            await self.until(lambda: len(outcomes) == 40)  # noqa: B023
            await self.until_there()
            answers = [one if isinstance(one, str) else "fault" for one in outcomes]
            files = self.execute("select fid, devcount from file order by fid")
            for fid, answer in zip(fids, answers, strict=True):
                if answer != "fault":
                    self.assertIn((fid, 2), files, answer)
            odd = self.execute(
                "select fid from file natural left join file_to_replicate r"
                " where r.nexttry is null or"
                " (select count(*) from file_on o where o.fid = file.fid) <> 2 or"
                " fid in (select fid from tempfile)"
            )
            self.assertEqual(odd, [])

    async def test_starts_before_the_server(self) -> None:
        """A store whose server is not there yet waits for it."""
        self.server.kill()
        store = open_store(self.url, reactor, deadline_seconds=1.0)
        self.stores.append(store)
        started: Deferred[None] = store.start()
        await deferLater(reactor, 0.3)
        self.assertNoResult(started)
        self.server.restart()
        await started
        self.assertIsNone(await store.files.find(1, "a"))
