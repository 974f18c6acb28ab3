"""Which desk a transaction goes to."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.store.mysql import MysqlRunner
from koboldfs.store.mysql_url import mysql_options
from koboldfs.store.steps import Mode, nothing
from test.unit.store.test_desk import FakeThreads, Transaction


class Desks(SynchronousTestCase):
    """Writers and readers."""

    def runner(self, connections: int) -> MysqlRunner:
        """A runner that is never connected."""
        threads: Any = FakeThreads
        options = mysql_options("mysql:///d")
        runner = MysqlRunner(options, Clock(), connections, threads)
        self.addCleanup(
            lambda: self.successResultOf(Deferred.fromCoroutine(runner.stop()))
        )
        return runner

    def run_one(self, runner: MysqlRunner, mode: Mode) -> None:
        """Submit a transaction; its end does not matter."""
        runner.run(Transaction("x", lambda: nothing(None), mode), True).addErrback(
            lambda _: None
        )

    def test_numbers(self) -> None:
        """A third of them read, at least one; a single one only reads."""
        for connections, readers, writers in (
            (1, 1, 0),
            (2, 1, 1),
            (3, 1, 2),
            (9, 3, 6),
        ):
            runner = self.runner(connections)
            self.assertEqual(len(runner._readers), readers)
            self.assertEqual(len(runner._writers), writers)

    def test_least_busy(self) -> None:
        """A transaction goes where the least is waiting, and reads not to a writer."""
        runner = self.runner(3)
        for mode in (Mode.WRITE, Mode.SINGLE, Mode.WRITE, Mode.READ, Mode.SNAPSHOT):
            self.run_one(runner, mode)
        self.assertEqual(sorted(desk.load for desk in runner._writers), [1, 2])
        self.assertEqual([desk.load for desk in runner._readers], [2])

    def test_readers_follow(self) -> None:
        """When a writer loses its connection, readers get new ones too."""
        runner = self.runner(3)
        renewed = []
        for reader in runner._readers:
            self.patch(reader, "renew", lambda: renewed.append(1))
        runner._writers[1].lost()
        self.assertEqual(renewed, [1])

    def test_watch(self) -> None:
        """Nobody is called."""
        self.runner(1).watch(lambda: self.fail("called"))
