"""A store on a new database of a database server, for any server that tests start."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from koboldfs import errors
from koboldfs.model.entities import Closing
from koboldfs.store.open import Store, open_store
from test.contract.store import StoreContract

#: Lets the rows of the queues grow older by so many seconds.
_OLDER = "set nexttry = nexttry - {0} where nexttry > 0 and nexttry < 2147483647"
AGEING = (
    f"update file_to_replicate {_OLDER}",
    f"update file_to_delete2 {_OLDER}",
    f"update file_to_queue {_OLDER}",
    "update tempfile set createtime = createtime - {0}",
    "update kobold_scrub set known = known - {0}, began = began - {0}",
    "update kobold_scrub set leased_until = leased_until - {0}",
)


class ServerCase(TestCase):
    """A case says which server it uses, and how a database is looked at."""

    timeout = 120
    #: Seconds that a request of the store waits for a connection: long, because a disk
    #: that others keep busy is not what is tested.
    deadline_seconds = 30.0

    def server_of_test(self) -> Any:
        """The server that the test uses."""
        raise NotImplementedError

    def new_database(self) -> str:
        """Make an empty database; returns its URL."""
        url: str = self.server.new_database()
        return url

    async def setUp(self) -> None:
        """Make the database."""
        self.server = self.server_of_test()
        self.url = self.new_database()
        self.stores: list[Store] = []
        await self.prepare()
        self.store = await self.another()

    async def prepare(self) -> None:
        """What has to be in the database before we see it."""

    async def tearDown(self) -> None:
        """Disconnect, and remove the database."""
        for store in self.stores:
            await store.stop()
        self.forget()

    def forget(self) -> None:
        """Remove what the test used of the server."""
        self.server.drop(self.url)

    async def another(self) -> Store:
        """A store on the database."""
        store = open_store(self.url, reactor, deadline_seconds=self.deadline_seconds)
        self.stores.append(store)
        await store.start()
        return store

    def execute(self, sql: str, *params: Any) -> list[Any]:
        """Look at the database from outside."""
        raise NotImplementedError

    async def pass_time(self, seconds: int) -> None:
        """See `StoreContract`."""
        for sql in AGEING:
            self.execute(sql.format(seconds))

    async def until(self, condition: Any, pause_seconds: float = 0.02) -> None:
        """Wait until a condition holds; the test's time limit ends it."""
        while not condition():
            await deferLater(reactor, pause_seconds)


class ServerContract(StoreContract):
    """What every database server keeps; mixed into a `ServerCase`."""

    async def test_two_start_together(self: Any) -> None:
        """Two trackers that start on an empty database do not collide."""
        url = self.server.new_database()
        stores = [open_store(url, reactor) for _ in range(3)]
        self.stores += stores
        await self.together(*(store.start() for store in stores))
        self.assertEqual([one.created_now for one in stores].count(True), 1)
        self.assertFalse(any(one.made_by_mogilefs for one in stores))

    async def test_refused_in_the_batch(self: Any) -> None:
        """What the database itself refuses fails alone; its neighbours are done."""
        fids = [await self.upload(1, "k") for _ in range(10)]
        answers: dict[int, str] = {}

        async def close(fid: int) -> None:
            devid = 70_000 if fid == fids[4] else 1
            try:
                answers[fid] = await self.store.files.close_upload(
                    Closing(fid, 1, f"k{fid}", 0, 3, (devid,))
                )
            except errors.ValueRefused:
                answers[fid] = "refused"

        await self.together(*map(close, fids))
        refused = [fid for fid, answer in answers.items() if answer == "refused"]
        self.assertEqual(refused, [fids[4]])
        self.assertEqual(len(await self.store.files.list_keys(1, "", "", 99)), 9)


class AdoptedContract(StoreContract):
    """A database that MogileFS made. `before` is what `columns_query` gave then."""

    columns_query = ""

    async def test_adopted(self: Any) -> None:
        """It is known as MogileFS's, also later; its tables stay as they are."""
        self.assertTrue(self.store.made_by_mogilefs)
        self.assertTrue((await self.another()).made_by_mogilefs)
        tables = {row[0] for row in self.before}
        after = [row for row in self.execute(self.columns_query) if row[0] in tables]
        self.assertEqual(after, self.before)
        self.assertEqual(self.execute("select * from kobold_checksum"), [])
        settings = dict((await self.store.topology.load()).settings)
        self.assertEqual(settings, {"schema_version": "17"})
