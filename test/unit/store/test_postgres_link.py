"""What psycopg2's errors mean; the rest needs a server (test/contract)."""

from __future__ import annotations

import os

import psycopg2
from psycopg2 import errors as theirs
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.errors import DatabaseAway, DatabaseFault, DuplicateRow, ValueRefused
from koboldfs.store.postgres_link import Link, Watch, translate
from koboldfs.store.steps import Again, Lost


def server_error(code: str) -> psycopg2.Error:
    """The exception for a code of the server's."""
    error: psycopg2.Error = theirs.lookup(code)()
    error.__setstate__({"pgcode": code})
    return error


class Translation(SynchronousTestCase):
    """Codes."""

    def test_codes(self) -> None:
        """Each becomes the fault that it is."""
        for code, kind in (
            ("23505", DuplicateRow),
            ("22001", ValueRefused),
            ("22003", ValueRefused),
            ("23514", ValueRefused),
            ("22021", ValueRefused),
            ("40001", Again),
            ("40P01", Again),
            ("57P01", Lost),
            ("25006", Lost),
            ("08006", Lost),
            ("42P01", DatabaseFault),
            ("53100", DatabaseFault),
        ):
            self.assertIs(type(translate(server_error(code))), kind, code)

    def test_without_code(self) -> None:
        """What the server did not say, the connection did."""
        for error, kind in (
            (psycopg2.OperationalError("server closed the connection"), Lost),
            (psycopg2.InterfaceError("connection already closed"), Lost),
            (ConnectionDone(), Lost),
            (psycopg2.ProgrammingError("odd"), DatabaseFault),
            (ValueError("A string literal cannot contain NUL"), ValueRefused),
        ):
            self.assertIs(type(translate(error)), kind, str(error))
        self.assertIsNone(translate(ZeroDivisionError()))


class FakeReactor(Clock):
    """Notes who is watched."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: set[object] = set()
        self.writers: set[object] = set()

    def addReader(self, reader: object) -> None:
        """See IReactorFDSet."""
        self.readers.add(reader)

    def addWriter(self, writer: object) -> None:
        """See IReactorFDSet."""
        self.writers.add(writer)

    def removeReader(self, reader: object) -> None:
        """See IReactorFDSet."""
        self.readers.discard(reader)

    def removeWriter(self, writer: object) -> None:
        """See IReactorFDSet."""
        self.writers.discard(writer)


class Watches(SynchronousTestCase):
    """The duplicate of a socket."""

    def setUp(self) -> None:
        """A watch on a pipe."""
        self.reactor = FakeReactor()
        self.reading, self.writing = os.pipe()
        self.addCleanup(os.close, self.writing)
        self.told: list[object] = []
        self.watch = Watch(
            self.reading, self.reactor, lambda: self.told.append(1), self.told.append
        )

    def test_outlives_the_original(self) -> None:
        """Its number stays good when the other side closes its own."""
        os.close(self.reading)
        self.assertNotEqual(self.watch.fileno(), self.reading)
        os.fstat(self.watch.fileno())
        number = self.watch.fileno()
        self.watch.read()
        self.watch.write()
        self.watch.end()
        self.watch.end()
        self.assertEqual(self.watch.fileno(), -1)
        self.assertEqual((self.reactor.readers, self.reactor.writers), (set(), set()))
        with self.assertRaises(OSError):
            os.fstat(number)

    def test_events(self) -> None:
        """Reading is watched on, writing once; a loss is told while it is open."""
        self.addCleanup(os.close, self.reading)
        self.watch.read()
        self.watch.write()
        self.watch.doRead()
        self.watch.doWrite()
        self.assertEqual(self.reactor.writers, set())
        self.assertEqual(self.reactor.readers, {self.watch})
        reason = Failure(ConnectionDone())
        self.watch.connectionLost(reason)
        self.watch.end()
        self.watch.connectionLost(reason)
        self.assertEqual(self.told, [1, 1, reason])


class Opening(SynchronousTestCase):
    """What fails at once."""

    def test_nonsense(self) -> None:
        """Options that libpq refuses are told as such, and no alarm is left."""
        reactor = FakeReactor()
        link = Link(reactor)
        opened = Deferred.fromCoroutine(link.open({"nonsense": "1"}))
        failure = self.failureResultOf(opened, DatabaseAway)
        self.assertIn("nonsense", failure.value.message)
        self.assertEqual(reactor.getDelayedCalls(), [])
        link.shut()
