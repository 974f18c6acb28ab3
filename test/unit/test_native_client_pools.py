"""Pools of clients for the threads of a program."""

from __future__ import annotations

import io
import threading

from koboldfs.native_client import (
    ClientError,
    ClientPool,
    NoServer,
    ServerError,
    TransactionalClientPool,
    TransactionLost,
)
from test.fakes.native_server import DoorServer, dead_address
from test.unit.test_native_client import SECONDS, ClientCase


class Pools(ClientCase):
    """Clients for many threads."""

    def test_threads(self) -> None:
        """Many threads, few connections, all calls."""
        with ClientPool("d", [self.server.address], size=2, timeout=SECONDS) as pool:
            done: list[bool] = []

            def work(number: int) -> None:
                key = f"k{number}"
                output = io.BytesIO()
                steps = [pool.ping(), pool.put(key, io.BytesIO(key.encode()))]
                steps += [pool.get(key, output), output.getvalue() == key.encode()]
                steps += [pool.get_url(key) is not None, pool.delete(key)]
                done.append(all(steps))

            threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(2 * SECONDS)
            self.assertEqual(done, [True] * 8)
            self.assertLessEqual(self.server.accepted, 2)

    def test_busy(self) -> None:
        """A pool that is used up says so, after its time."""
        pool = ClientPool("d", [self.server.address], size=1, timeout=0.05)
        taken = pool._take()
        error = self.assertRaises(ClientError, pool.get_url, "key")
        self.assertEqual(str(error), "all 1 connections of the pool are busy")
        pool._give_back(taken)
        self.assertTrue(pool.ping())
        pool.close()
        self.assertRaises(ValueError, ClientPool, "d", size=0)

    def test_spread(self) -> None:
        """The connections go to different servers."""
        other = DoorServer(self.server.door)
        other._lock = self.server._lock
        self.addCleanup(other.stop)
        pool = ClientPool("d", [self.server.address, other.address], timeout=SECONDS)
        self.addCleanup(pool.close)
        taken = [pool._take() for _ in range(2)]
        for servers in taken:
            servers.run(lambda exchange: exchange.ping())
            pool._give_back(servers)
        self.assertEqual((self.server.accepted, other.accepted), (1, 1))

    def test_open(self) -> None:
        """A file opened from a pool takes a connection only while it reads."""
        self.names.store("key", b"data")
        pool = ClientPool("d", [self.server.address], size=1, timeout=SECONDS)
        self.addCleanup(pool.close)
        with pool.open("key") as stream:
            self.assertTrue(pool.ping())
            self.assertEqual(stream.read(), b"data")


class TransactionalPools(ClientCase):
    """A transaction for each thread."""

    def pool(self, *, size: int = 2, twophase: bool = False) -> TransactionalClientPool:
        """A pool that is closed at the end."""
        pool = TransactionalClientPool(
            "d", [self.server.address], SECONDS, size, twophase=twophase
        )
        self.addCleanup(pool.close)
        return pool

    def test_commit(self) -> None:
        """Changes take effect at COMMIT; then the next transaction can begin."""
        for twophase in (False, True):
            pool = self.pool(size=1, twophase=twophase)
            pool.put("key", io.BytesIO(b"1"))
            self.assertIsNone(self.names.data("key"))
            self.assertTrue(pool.commit())
            self.assertEqual(self.names.data("key"), b"1")
            pool.delete("key")
            self.assertTrue(pool.prepare())
            self.assertTrue(pool.commit())
            self.assertIsNone(self.names.data("key"))
            self.assertEqual(
                self.server.door.factory.requests["prepare"], 3 if twophase else 1
            )

    def test_abort(self) -> None:
        """After ABORT nothing happened, and the connection is free."""
        pool = self.pool()
        pool.put("key", io.BytesIO(b"1"))
        self.assertTrue(pool.abort())
        self.assertIsNone(pool.stat("key"))
        for act in (pool.abort, pool.commit, pool.prepare):
            self.assertIs(act(), True)

    def test_threads_are_apart(self) -> None:
        """One thread's COMMIT is not another's."""
        pool = self.pool()
        pool.put("mine", io.BytesIO(b"1"))

        def other() -> None:
            pool.put("theirs", io.BytesIO(b"2"))
            pool.commit()

        self.in_thread(other)
        self.assertEqual(list(pool.list()), ["theirs"])
        pool.commit()
        self.assertEqual(list(pool.list()), ["mine", "theirs"])

    def test_thread_ends(self) -> None:
        """A thread that ends without COMMIT gives its connection back, aborted."""
        pool = self.pool(size=1)
        self.in_thread(lambda: pool.put("theirs", io.BytesIO(b"2")))
        self.assertEqual(list(pool.list()), [])
        pool.put("mine", io.BytesIO(b"1"))
        pool.commit()
        self.assertEqual(list(pool.list()), ["mine"])

    def test_lost(self) -> None:
        """A lost connection is told at COMMIT; the next transaction works."""
        pool = self.pool(size=1)
        pool.put("key", io.BytesIO(b"1"))
        self.server.hang_up()
        self.assertRaises(TransactionLost, pool.commit)
        pool.put("key", io.BytesIO(b"2"))
        self.server.hang_up()
        self.assertTrue(pool.abort())
        self.assertTrue(pool.ping())

    def test_reading(self) -> None:
        """A thread with changes reads over its own connection, what is committed."""
        self.names.store("old", b"1")
        pool = self.pool(size=1)
        pool.put("new", io.BytesIO(b"2"))
        self.assertEqual(list(pool.list()), ["old"])
        pool.put("newer", io.BytesIO(b"3"))
        pool.commit()
        self.assertEqual(list(pool.list()), ["new", "newer", "old"])

    def test_no_server(self) -> None:
        """A transaction that cannot begin takes no place in the pool."""
        pool = TransactionalClientPool("d", dead_address(), size=1, timeout=SECONDS)
        for _ in range(3):
            self.assertRaises(NoServer, pool.put, "key", io.BytesIO(b"1"))

    def test_rename(self) -> None:
        """A rename does not wait for COMMIT, so it may not come between."""
        self.names.store("old", b"1")
        pool = self.pool()
        self.assertTrue(pool.rename("old", "new"))
        pool.delete("new")
        self.assertRaises(ServerError, pool.rename, "new", "newer")
        pool.abort()
