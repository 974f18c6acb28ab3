"""MariaDB stops, comes back, moves; and databases that MogileFS made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from koboldfs import errors
from koboldfs.model.entities import Closing
from koboldfs.store.mysql_link import WRITER, Hosts
from koboldfs.store.mysql_url import mysql_options
from koboldfs.store.open import open_store
from test.contract.mogilefs import ROWS
from test.contract.server import AdoptedContract
from test.contract.store import StoreContract
from test.contract.test_store_mariadb import MariaCase
from test.functional.mariadb import MariaDB
from test.functional.ports import free_port

#: The tables that matter here as MogileFS makes them, by its schema version 17.
MOGILEFS = """
create table domain (dmid smallint unsigned not null primary key,
  namespace varchar(255), unique (namespace));
create table class (dmid smallint unsigned not null,
  classid tinyint unsigned not null, primary key (dmid, classid),
  classname varchar(50), unique (dmid, classname),
  mindevcount tinyint unsigned not null, hashtype tinyint unsigned,
  replpolicy varchar(255));
create table file (fid bigint unsigned not null primary key,
  dmid smallint unsigned not null, dkey varchar(255), unique dkey (dmid, dkey),
  length bigint unsigned, classid tinyint unsigned not null,
  devcount tinyint unsigned not null, index devcount (dmid, classid, devcount));
create table tempfile (fid bigint unsigned not null primary key auto_increment,
  createtime int unsigned not null, classid tinyint unsigned not null,
  dmid smallint unsigned not null, dkey varchar(255), devids varchar(60));
create table file_on (fid bigint unsigned not null,
  devid mediumint unsigned not null, primary key (fid, devid), index (devid));
create table file_to_replicate (fid bigint unsigned not null primary key,
  nexttry int unsigned not null, index (nexttry), fromdevid int unsigned,
  failcount tinyint unsigned not null default 0,
  flags smallint unsigned not null default 0);
create table file_to_delete (fid bigint unsigned not null primary key);
create table file_to_delete_later (fid bigint unsigned not null primary key,
  delafter int unsigned not null, index (delafter));
create table file_to_delete2 (fid bigint unsigned not null primary key,
  nexttry int unsigned not null, index (nexttry),
  failcount tinyint unsigned not null default 0);
create table host (hostid mediumint unsigned not null primary key,
  status enum('alive', 'dead', 'down', 'readonly'),
  http_port mediumint unsigned default 7500,
  http_get_port mediumint unsigned, hostname varchar(40), hostip varchar(15),
  altip varchar(15), altmask varchar(18), unique (hostname), unique (hostip),
  unique (altip));
create table device (devid mediumint unsigned not null primary key,
  hostid mediumint unsigned not null,
  status enum('alive', 'dead', 'down', 'readonly', 'drain'), weight mediumint
  default 100, mb_total int unsigned, mb_used int unsigned, mb_asof int unsigned,
  index (status));
create table server_settings (field varchar(50) primary key, value text);
"""
COLUMNS = (
    "select table_name, column_name, column_type, collation_name"
    " from information_schema.columns where table_schema = database()"
    " and table_name not like 'kobold%' order by 1, ordinal_position"
)


class Adopted(MariaCase, AdoptedContract):
    """A database that MogileFS made."""

    columns_query = COLUMNS

    def database_words(self) -> str:
        """What MogileFS's operators have: the server's old default."""
        return "character set latin1"

    async def prepare(self) -> None:
        """Make it."""
        for statement in (MOGILEFS + ROWS).split(";"):
            self.execute(statement)
        self.before = self.execute(COLUMNS)

    async def test_locks(self) -> None:
        """What a tracker of MogileFS has locked is not had, and the other way round;
        what a session held ends with it."""
        locks = self.store.locks
        held = Hosts(mysql_options(self.url), WRITER).connect()
        self.assertEqual(
            held.execute("select get_lock('mgfs:fid:7:replicate', 0)"), [(1,)]
        )
        names = [f"mgfs:fid:{fid}:replicate" for fid in range(5, 80)]
        taken = await locks.take(names)
        self.assertEqual(set(names) - taken, {"mgfs:fid:7:replicate"})
        (answer,) = held.execute("select get_lock('mgfs:fid:9:replicate', 0)")
        self.assertEqual(answer, (0,))
        await locks.release(["mgfs:fid:9:replicate", "mgfs:never"])
        (answer,) = held.execute("select get_lock('mgfs:fid:9:replicate', 0)")
        self.assertEqual(answer, (1,))
        held.close()
        while not await locks.take(["mgfs:fid:7:replicate"]):
            await deferLater(reactor, 0.02)

    async def test_limits(self) -> None:
        """Its columns are narrower."""
        self.assertEqual(self.store.key_bytes, 255)
        await self.stored(1, "\xff" * 255)
        files, refused = self.store.files, errors.ValueRefused
        await self.fault(refused, files.open_upload(1, "k" * 256, 0, (1,), None))
        await self.fault(refused, files.open_upload(1, "k", 256, (1,), None))
        self.assertIsNone(await files.find(1, "k" * 256))


class MogileLatin(Adopted):
    """One whose keys are Latin-1 text to the server."""

    async def test_used(self) -> None:
        """Its files are found and listed, and new ones get fids above them."""
        files = self.store.files
        self.assertEqual((await files.find(1, "k")).file.fid, 7)
        await self.stored(1, "\xe9\x80", 1)
        self.assertEqual(await files.list_keys(1, "\xe9", "", 9), ["\xe9\x80"])
        self.assertGreater((await files.find(1, "\xe9\x80")).file.fid, 9)
        stored = self.execute("select hex(dkey) from file where dkey like '\xe9%%'")
        self.assertEqual(stored, [("E980",)])
        topology = await self.store.topology.load()
        self.assertEqual(topology.hosts[0].name, "h")
        self.assertEqual(topology.devices[0].weight, 100)
        self.assertEqual(sorted(await self.deletions()), [4, 5])

    async def test_spellings(self) -> None:
        """Keys that the server takes for the same are the same file, as they were
        with MogileFS, whatever one does with them."""
        files = self.store.files
        found = await self.together(*(files.find(1, key) for key in ("k", "K", "z")))
        self.assertEqual([one.file.fid for one in found], [7, 7, 9])
        fid = await self.stored(1, "K")
        self.assertEqual((await files.find(1, "k")).file.key, "K")
        self.assertEqual(
            self.execute("select fid from file where dmid = 1"), [(9,), (fid,)]
        )
        await files.rename(1, "k", "k")
        await files.rename(1, "k", "kk")
        await self.fault(errors.KeyExists, files.rename(1, "KK", "z"))
        await files.rename(1, "KK", "kK")
        self.assertEqual((await files.find(1, "kk")).file.key, "kK")
        gone = await self.together(files.delete(1, "KK"), files.delete(1, "kk"))
        self.assertEqual(sorted(gone), [False, True])
        self.assertEqual(sorted(await self.deletions()), [4, 5, 7, fid])

    async def test_spellings_at_once(self) -> None:
        """Uploads to the same key in several spellings: one remains."""
        keys = ["aa", "aA", "Aa", "AA", "aa ", "b"]
        await self.together(*(self.stored(1, key) for key in keys))
        self.assertEqual(len(self.execute("select fid from file where fid > 9")), 2)
        self.assertEqual(len(self.execute("select fid from file_to_delete2")), 4)
        self.assertEqual(self.execute("select * from tempfile"), [])

    async def test_listed(self) -> None:
        """A page after the other, in the server's order, each key once."""
        keys = ["b1", "B2", "b3", "b_4", "b%5", "c", "a|", "[", "\xe9", "E2"]
        for key in keys:
            await self.stored(1, key)
        listed: list[str] = []
        while page := await self.store.files.list_keys(
            1, "", listed[-1] if listed else "", 3
        ):
            listed += page
        self.assertEqual(sorted(listed), sorted([*keys, "k", "Z"]))
        self.assertEqual(
            await self.store.files.list_keys(1, "b", "", 9),
            ["b%5", "b1", "B2", "b3", "b_4"],
        )
        for prefix, expected in (("b_", ["b_4"]), ("b%", ["b%5"]), ("a|", ["a|"])):
            found = await self.store.files.list_keys(1, prefix, "", 9)
            self.assertEqual(found, expected)
        whole = await self.store.files.list_domain(1, "b", "b1", 2)
        self.assertEqual([one.file.key for one in whole], ["B2", "b3"])
        self.assertEqual([one.devids for one in whole], [(1,), (1,)])


class MogileUtf8(MogileLatin):
    """One whose trackers spoke Latin-1 to a server that keeps UTF-8."""

    def database_words(self) -> str:
        """A newer server's default."""
        return "character set utf8mb4"

    async def test_used(self) -> None:
        """The server keeps two characters for two bytes, as it did for MogileFS."""
        await self.stored(1, "\xc3\xa9", 1)
        stored = self.execute("select hex(dkey) from file where length(dkey) = 4")
        self.assertEqual(stored, [("C383C2A9",)])
        self.assertIsNotNone(await self.store.files.find(1, "\xc3\xa9"))


class MogileBytes(Adopted):
    """One whose operator made the keys exact."""

    def database_words(self) -> str:
        """Different bytes are different keys."""
        return "character set latin1 collate latin1_nopad_bin"

    async def test_exact(self) -> None:
        """Nothing is folded."""
        for key in ("K", "k "):
            await self.stored(1, key)
        self.assertEqual(
            await self.store.files.list_keys(1, "", "", 9), ["K", "Z", "k", "k "]
        )
        self.assertIsNone(await self.store.files.find(1, "z"))


class Away(MariaCase, StoreContract):
    """A server of its own that is stopped, killed and started again."""

    deadline_seconds = 1.0
    timeout = 240

    def server_of_test(self) -> MariaDB:
        """A server that may be stopped."""
        server = MariaDB(fsync=True)
        server.start()
        self.addCleanup(server.stop)
        return server

    async def test_away_and_back(self) -> None:
        """Requests fail within their deadline while it is away; it is found again."""
        fid = await self.stored(1, "k")
        self.server.stop_server()
        started = reactor.seconds()  # type: ignore[attr-defined]
        calls = (self.store.files.find(1, "k"), self.store.files.delete(1, "k"))
        for call in calls:
            await self.fault(errors.DatabaseFault, call)
        self.assertLess(reactor.seconds() - started, 8.0)  # type: ignore[attr-defined]
        self.server.restart()
        await self.found_again(fid)
        self.assertTrue(await self.when_back(lambda: self.store.files.delete(1, "k")))

    async def when_back(self, work: Callable[[], Awaitable[Any]]) -> Any:
        """What comes of it once the server is there: each connection comes back in
        its own time, those that write may be later than those that read."""
        while True:
            try:
                return await work()
            except errors.DatabaseAway:
                await deferLater(reactor, 0.1)

    async def found_again(self, fid: int) -> None:
        """Wait until the file is found."""
        found = await self.when_back(lambda: self.store.files.find(1, "k"))
        self.assertEqual(found.file.fid, fid)

    async def test_waited_for_at_start(self) -> None:
        """A store that starts before its server becomes of use when that comes."""
        self.server.stop_server()
        store = open_store(self.url, reactor)
        self.stores.append(store)
        started = store.start()
        await deferLater(reactor, 0.5)
        self.assertNoResult(started)
        self.server.restart()
        await started
        self.assertEqual(await store.files.list_keys(1, "", "", 9), [])

    async def test_killed_under_load(self) -> None:
        """What was answered is there afterwards, and nothing was done by halves."""
        closed: list[int] = []
        unknown: list[int] = []

        async def store_one(number: int) -> None:
            try:
                fid = await self.upload(1, f"k{number % 20}")
                await self.store.files.close_upload(
                    Closing(fid, 1, f"k{number % 20}", 0, 3, (1,))
                )
            except errors.DatabaseFault:
                unknown.append(number)
            else:
                closed.append(fid)

        running = [Deferred.fromCoroutine(store_one(n)) for n in range(200)]
        await self.until(lambda: len(closed) >= 20)
        self.server.kill()
        await deferLater(reactor, 0.2)
        self.server.restart()
        for one in running:
            await one
        self.assertEqual(len(closed) + len(unknown), 200)
        live = {row[0] for row in self.execute("select fid from file")}
        dead = {row[0] for row in self.execute("select fid from file_to_delete2")}
        opened = {row[0] for row in self.execute("select fid from tempfile")}
        self.assertFalse(set(closed) - live - dead)
        self.assertFalse(live & dead)
        self.assertFalse((live | dead) & opened)
        copies = {row[0] for row in self.execute("select fid from file_on")}
        self.assertEqual(copies, live | dead)

    async def test_cut_connections(self) -> None:
        """Sessions that an operator ends are replaced, and nobody notices."""
        fid = await self.stored(1, "k")
        for (number,) in self.execute(
            "select id from information_schema.processlist"
            " where id <> connection_id() and user = 'kobold'"
        ):
            self.execute(f"kill {number}")
        answers = await self.together(
            *(self.store.files.find(1, "k") for _ in range(5)),
            self.stored(1, "other"),
        )
        self.assertEqual(answers[0].file.fid, fid)

    async def test_becomes_a_standby(self) -> None:
        """A server that takes no writes any more is left for one that does."""
        fid = await self.stored(1, "k")
        self.server.administer("set global read_only = 1")
        await self.fault(errors.DatabaseFault, self.stored(1, "other"))
        await self.fault(errors.DatabaseAway, self.store.files.find(1, "k"))
        self.server.administer("set global read_only = 0")
        await self.found_again(fid)
        await self.when_back(lambda: self.stored(1, "other"))


class SeveralHosts(MariaCase, StoreContract):
    """A URL with several hosts."""

    async def test_first_that_answers(self) -> None:
        """Hosts that are down are passed over."""
        dead = free_port("127.0.0.1")
        url = self.url.replace("@127", f"@127.0.0.1:{dead},127")
        store = open_store(url, reactor)
        self.stores.append(store)
        await store.start()
        self.assertIsNone(await store.files.find(1, "k"))
