"""The client that Python programs use, against the native door in a thread."""

from __future__ import annotations

import io
import os
import threading
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

import koboldfs
from koboldfs import errors
from koboldfs.native_client import (
    Client,
    ConnectionBroken,
    KeyExists,
    KeyMissing,
    NoServer,
    ServerError,
    ServerTrouble,
    TransactionLost,
    UnknownDomain,
    Unsupported,
    addresses_of,
)
from test.fakes.native_server import HELLO_BYTES, DoorServer, OldServer, dead_address

SECONDS = 5.0


class ClientCase(SynchronousTestCase):
    """A door and a client of it."""

    def setUp(self) -> None:
        """The door."""
        self.server = DoorServer()
        self.addCleanup(self.server.stop)
        self.names = self.server.names
        self.client = Client("d", servers=[self.server.address], timeout=SECONDS)
        self.addCleanup(self.client.close)

    def in_thread(self, run: object) -> None:
        """Run it in another thread, to its end."""
        thread = threading.Thread(target=run)  # type: ignore[arg-type]
        thread.start()
        thread.join(SECONDS)
        self.assertFalse(thread.is_alive())


class Names(SynchronousTestCase):
    """What ``import koboldfs`` hands out."""

    def test_error(self) -> None:
        """Whoever has the client can catch what it raises."""
        with self.assertRaises(koboldfs.ClientError):
            koboldfs.Client("d", servers=[dead_address()]).get_url("k")
        with self.assertRaises(AttributeError):
            koboldfs.no_such_name  # noqa: B018


class Sample(ClientCase):
    """The calls that every client library of KoboldFS has."""

    def test_ping(self) -> None:
        """True if a server answers, False if none does."""
        self.assertIs(self.client.ping(), True)
        self.assertIs(Client("d", servers=[dead_address()]).ping(), False)

    def test_put_and_get(self) -> None:
        """What was stored comes back."""
        self.assertIs(self.client.put("motd", io.BytesIO(b"hello")), True)
        output = io.BytesIO()
        self.assertIs(self.client.get("motd", output), True)
        self.assertEqual(output.getvalue(), b"hello")

    def test_paths(self) -> None:
        """From a path, to a path."""
        source, target = Path(self.mktemp()), Path(self.mktemp())
        source.write_bytes(b"data")
        self.assertTrue(self.client.put("key", source))
        self.assertTrue(self.client.put("other", str(source)))
        self.assertTrue(self.client.get("key", target))
        self.assertEqual(target.read_bytes(), b"data")

    def test_missing(self) -> None:
        """What is not there is False or None, and writes nothing."""
        target, output = Path(self.mktemp()), io.BytesIO()
        self.assertIs(self.client.get("gone", output), False)
        self.assertIs(self.client.get("gone", target), False)
        self.assertIs(self.client.delete("gone"), False)
        self.assertIs(self.client.rename("gone", "new"), False)
        self.assertIsNone(self.client.get_url("gone"))
        self.assertIsNone(self.client.stat("gone"))
        self.assertEqual(self.client.get_urls("gone"), [])
        self.assertEqual((output.getvalue(), target.exists()), (b"", False))
        self.assertEqual(self.server.accepted, 1)

    def test_url(self) -> None:
        """The first of all URLs."""
        self.names.store("key", b"x")
        urls = self.client.get_urls("key")
        self.assertEqual(len(urls), 2)
        self.assertEqual(self.client.get_url("key"), urls[0])

    def test_delete(self) -> None:
        """What is deleted is gone."""
        self.names.store("key", b"x")
        self.assertIs(self.client.delete("key"), True)
        self.assertIsNone(self.names.data("key"))

    def test_keys(self) -> None:
        """Keys are text, sent as UTF-8, or bytes."""
        self.client.put("schl\u00fcssel", io.BytesIO(b"1"))
        self.client.put(b"\xff\xfe", io.BytesIO(b"2"))
        self.assertEqual(self.names.data("schl\xc3\xbcssel"), b"1")
        self.assertEqual(self.names.data("\xff\xfe"), b"2")
        keys = list(self.client.list())
        self.assertEqual(keys, ["schl\u00fcssel", "\udcff\udcfe"])
        self.assertTrue(self.client.delete(keys[1]))

    def test_context(self) -> None:
        """``with`` closes; a closed client can be used again."""
        with self.client as client:
            client.ping()
        self.assertTrue(client.ping())
        self.assertEqual(self.server.accepted, 2)


class Further(ClientCase):
    """What protocol 2 adds."""

    def test_stat(self) -> None:
        """What was stored is told, and can be asked for."""
        stat = self.client.put_stat("key", io.BytesIO(b"data"), "gold")
        self.assertEqual((stat.size, stat.copies, stat.class_name), (4, 2, "gold"))
        assert stat.checksum is not None
        self.assertTrue(stat.checksum.startswith("SHA-256:"))
        self.assertEqual(self.client.stat("key"), stat)

    def test_list(self) -> None:
        """All pages, in the order of bytes."""
        for number in range(2100):
            self.names.store(f"k{number:04}", b"")
        self.names.store("other", b"")
        keys = [f"k{number:04}" for number in range(2100)]
        self.assertEqual(list(self.client.list("k")), keys)
        self.assertEqual(list(self.client.list(after="k2098")), ["k2099", "other"])
        self.assertEqual(list(self.client.list("k", limit=1500)), keys[:1500])
        self.assertEqual(list(self.client.list("k", limit=0)), [])
        self.assertEqual(list(self.client.list("none")), [])

    def test_rename(self) -> None:
        """Another key; never over a file."""
        self.names.store("old", b"1")
        self.names.store("other", b"2")
        self.assertIs(self.client.rename("old", "new"), True)
        self.assertEqual(self.names.data("new"), b"1")
        error = self.assertRaises(KeyExists, self.client.rename, "new", "other")
        self.assertEqual(error.word, "key_exists")

    def test_open(self) -> None:
        """A file for reading, at any place."""
        data = os.urandom(300_000)
        self.names.store("key", data)
        with self.client.open("key") as stream:
            self.assertEqual(stream.read(10), data[:10])
            stream.seek(-5, os.SEEK_END)
            self.assertEqual(stream.read(), data[-5:])
            stream.seek(0)
            self.assertEqual(stream.read(), data)
        self.assertRaises(KeyMissing, self.client.open, "gone")
        self.assertRaises(FileNotFoundError, self.client.open, "gone")

    def test_refused(self) -> None:
        """What the server refuses is an exception that says why in one line."""
        other = Client("nowhere", servers=[self.server.address])
        self.addCleanup(other.close)
        error = self.assertRaises(UnknownDomain, other.put, "k", io.BytesIO())
        self.assertEqual(str(error), "Domain name invalid/not found")
        self.assertRaises(ServerError, self.client.put, "k" * 1025, io.BytesIO(b"1"))
        self.assertRaises(ServerError, self.client.put, "", io.BytesIO(b"1"))
        self.assertTrue(self.client.put("k", io.BytesIO(b"1")))
        self.assertEqual(self.server.accepted, 2)

    def test_nobody(self) -> None:
        """That no server answers is said of each of them."""
        dead = dead_address()
        client = Client("d", servers=dead)
        error = self.assertRaises(NoServer, client.get, "key", io.BytesIO())
        self.assertEqual(str(error), f"no server answers: {dead}: Connection refused")

    def test_addresses(self) -> None:
        """Servers are a list, or one text with commas."""
        wanted = [("a", 1), ("b", 9876)]
        self.assertEqual(addresses_of("a:1,b"), wanted)
        self.assertEqual(addresses_of(["a:1", "b"]), wanted)
        self.assertRaises(ValueError, Client, "d", servers=[])
        self.assertRaises(ValueError, Client, "d", servers=["a:b"])


class Repeating(ClientCase):
    """What the client does when a server fails in the middle."""

    def setUp(self) -> None:
        """A second server of the same files, after the first."""
        super().setUp()
        self.other = DoorServer(self.server.door)
        self.other._lock = self.server._lock
        self.addCleanup(self.other.stop)
        self.client = Client(
            "d", [self.server.address, self.other.address], timeout=SECONDS
        )
        self.addCleanup(self.client.close)

    def test_put_begins_again(self) -> None:
        """An upload that breaks off is sent again to the next server, all of it."""
        self.server.cut_after_in = 300_000
        data = os.urandom(600_000)
        self.assertTrue(self.client.put("key", io.BytesIO(data)))
        self.assertEqual(self.names.data("key"), data)
        self.assertEqual((self.server.accepted, self.other.accepted), (1, 1))

    def test_put_cannot_begin_again(self) -> None:
        """A source that cannot go back is not sent by halves: it raises."""
        self.server.cut_after_in = 300_000

        class Pipe:
            """Gives bytes once."""

            left = 5

            def read(self, limit: int) -> bytes:
                """The next bytes."""
                self.left -= 1
                return bytes(limit) if self.left > 0 else b""

        self.assertRaises(NoServer, self.client.put, "key", Pipe())
        self.assertIsNone(self.names.data("key"))

    def test_get_goes_on(self) -> None:
        """A download that breaks off goes on from the next server."""
        data = os.urandom(500_000)
        self.names.store("key", data)
        self.server.cut_after = 300_000
        written: list[bytes] = []

        class Once:
            """Cannot go back."""

            def write(self, data: bytes) -> None:
                """Note it."""
                written.append(bytes(data))

        self.assertTrue(self.client.get("key", Once()))
        self.assertEqual(b"".join(written), data)
        starts = [call[2] for call in self.names.calls if call[0] == "read"]
        self.assertEqual(starts[0], 0)
        self.assertGreater(starts[1], 0)

    def test_deletion_is_repeated(self) -> None:
        """A deletion whose answer was lost is asked again, and counts as done."""
        self.names.store("key", b"x")
        self.server.cut_after = HELLO_BYTES + 1
        self.assertIs(self.client.delete("key"), True)
        self.assertIsNone(self.names.data("key"))
        asked = [call for call in self.names.calls if call[0] == "delete"]
        self.assertEqual(len(asked), 2)

    def test_deletion_after_trouble(self) -> None:
        """So does one that was done by a server that could not say so."""
        self.names.store("key", b"x")
        kind, left = type(self.names), [errors.DatabaseAway()]
        delete = kind.delete

        async def done(*arguments: Any) -> None:
            await delete(*arguments)
            if left:
                raise left.pop()

        self.patch(kind, "delete", done)
        self.assertIs(self.client.delete("key"), True)
        self.assertIs(self.client.delete("key"), False)

    def test_rename_is_not_repeated(self) -> None:
        """A rename whose answer was lost may have happened: it raises."""
        self.names.store("old", b"x")
        self.server.cut_after = HELLO_BYTES + 1
        self.assertRaises(ConnectionBroken, self.client.rename, "old", "new")
        self.server.cut_after = None
        self.names.failing["rename"] = [errors.DatabaseAway()]
        self.assertRaises(ServerTrouble, self.client.rename, "new", "newer")
        self.assertEqual(self.other.accepted, 0)

    def test_ended_meanwhile(self) -> None:
        """A connection that ended while nothing was asked is simply made anew, also
        for what cannot be repeated."""
        self.names.store("old", b"x")
        self.client.ping()
        self.server.hang_up()
        self.assertIs(self.client.rename("old", "new"), True)

    def test_trouble(self) -> None:
        """A server that has trouble is left for another one."""
        self.names.store("key", b"x")
        self.names.failing["locate"] = [errors.DatabaseAway()]
        self.assertTrue(self.client.get("key", io.BytesIO()))
        self.assertEqual(self.other.accepted, 1)


class Transactions(ClientCase):
    """BEGIN to COMMIT."""

    def test_together(self) -> None:
        """Changes take effect at COMMIT."""
        self.names.store("old", b"x")
        self.client.begin()
        self.client.put("new", io.BytesIO(b"1"))
        self.client.delete("old")
        self.assertTrue(self.client.in_transaction)
        self.assertEqual(list(self.client.list()), ["old"])
        self.assertTrue(self.client.prepare())
        self.assertTrue(self.client.commit())
        self.assertEqual(list(self.client.list()), ["new"])

    def test_abort(self) -> None:
        """After ABORT nothing happened."""
        self.client.begin()
        self.client.put("new", io.BytesIO(b"1"))
        self.assertTrue(self.client.abort())
        self.assertEqual((list(self.client.list()), self.names.uploads), ([], set()))

    def test_without(self) -> None:
        """Without BEGIN these do nothing."""
        for act in (self.client.prepare, self.client.commit, self.client.abort):
            self.assertIs(act(), True)
        self.assertEqual(self.server.accepted, 0)

    def test_context(self) -> None:
        """``with`` commits, or aborts upon an exception."""
        with self.client.transaction():
            self.client.put("one", io.BytesIO(b"1"))
        with self.assertRaises(ZeroDivisionError):
            with self.client.transaction():
                self.client.put("two", io.BytesIO(b"2"))
                raise ZeroDivisionError
        self.assertEqual(list(self.client.list()), ["one"])

    def test_lost(self) -> None:
        """A lost connection loses the transaction, until somebody says so."""
        self.client.begin()
        self.client.put("one", io.BytesIO(b"1"))
        self.server.hang_up()
        for _ in range(2):
            self.assertRaises(TransactionLost, self.client.put, "two", io.BytesIO(b"2"))
        self.assertRaises(TransactionLost, self.client.commit)
        self.assertTrue(self.client.put("three", io.BytesIO(b"3")))
        self.assertEqual(list(self.client.list()), ["three"])

    def test_abort_of_a_lost_one(self) -> None:
        """A transaction that was lost can be aborted: it is."""
        self.client.begin()
        self.server.hang_up()
        self.assertTrue(self.client.abort())
        self.assertTrue(self.client.ping())

    def test_commit_fails(self) -> None:
        """When COMMIT fails it raises, and the transaction is over."""
        self.client.begin()
        self.client.put("one", io.BytesIO(b"1"))
        self.names.failing["commit"] = [errors.DatabaseAway()]
        self.assertRaises(ServerTrouble, self.client.commit)
        self.assertFalse(self.client.in_transaction)
        self.assertEqual(list(self.client.list()), [])

    def test_refused_inside(self) -> None:
        """What the server refuses does not end the transaction."""
        self.client.begin()
        self.assertRaises(ServerError, self.client.rename, "a", "b")
        self.assertRaises(ServerError, self.client.put, "", io.BytesIO(b"1"))
        self.client.put("one", io.BytesIO(b"1"))
        self.client.commit()
        self.assertEqual(list(self.client.list()), ["one"])


class OldServers(SynchronousTestCase):
    """A server of 0.3 is used as far as it goes."""

    def setUp(self) -> None:
        """The server and a client."""
        self.server = OldServer()
        self.addCleanup(self.server.stop)
        self.client = Client("d", [self.server.address], timeout=SECONDS)
        self.addCleanup(self.client.close)

    def test_the_five(self) -> None:
        """Every change is committed as soon as it is answered."""
        client, output = self.client, io.BytesIO()
        self.assertTrue(client.ping())
        self.assertTrue(client.put("key", io.BytesIO(b"data")))
        self.assertEqual(self.server.files, {b"key": b"data"})
        self.assertTrue(client.get("key", output))
        self.assertEqual(output.getvalue(), b"data")
        self.assertEqual(client.get_url("key"), "http://127.0.0.1/key")
        self.assertTrue(client.delete("key"))
        self.assertFalse(client.delete("key"))
        self.assertFalse(client.get("key", output))
        self.assertIsNone(client.get_url("key"))
        self.assertEqual(self.server.files, {})

    def test_source_without_size(self) -> None:
        """A source without a size is read first, for 0.3 has to be told it."""

        class Pipe(io.RawIOBase):
            """Gives bytes, cannot seek."""

            left = 3

            def read(self, limit: int = -1) -> bytes:
                """The next bytes."""
                self.left -= 1
                return b"ab" if self.left >= 0 else b""

        self.assertTrue(self.client.put("key", Pipe()))
        self.assertEqual(self.server.files, {b"key": b"ababab"})

    def test_transaction(self) -> None:
        """0.3 has transactions, for it has nothing else."""
        self.client.begin()
        self.client.put("key", io.BytesIO(b"data"))
        self.assertEqual(self.server.files, {})
        self.client.prepare()
        self.client.commit()
        self.assertEqual(self.server.files, {b"key": b"data"})
        self.client.begin()
        self.client.delete("key")
        self.client.abort()
        self.assertEqual(self.server.files, {b"key": b"data"})

    def test_beyond_it(self) -> None:
        """What 0.3 cannot do is an exception that says so."""
        client = self.client
        self.assertRaises(Unsupported, client.stat, "key")
        self.assertRaises(Unsupported, client.rename, "key", "new")
        self.assertRaises(Unsupported, list, client.list())
        self.assertRaises(Unsupported, client.put, "key", io.BytesIO(), "gold")
        self.assertRaises(Unsupported, client.put_stat, "key", io.BytesIO(b"x"))
        self.assertRaises(Unsupported, client.open, "key")

    def test_greeted_once(self) -> None:
        """That a server is old is remembered."""
        self.client.ping()
        self.server.hang_up()
        self.client.ping()
        self.assertEqual(self.server.accepted, 3)
