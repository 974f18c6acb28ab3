"""What psycopg2's errors mean; the rest needs a server (test/contract)."""

from __future__ import annotations

import os

import psycopg2
from psycopg2 import errors as theirs
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.errors import DatabaseAway, DatabaseFault, DuplicateRow, ValueRefused
from koboldfs.store.postgres_link import Duplicates, Link, Watch, translate
from koboldfs.store.steps import Again, Lost, Unfit


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
            ("25006", Unfit),
            ("0A000", Unfit),
            ("26000", Unfit),
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
            (ConnectionLost(), Lost),
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


class Pollable:
    """A connection as far as `Duplicates` knows it: a number, and events."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.told: list[object] = []
        self.doRead = lambda: self.told.append("read")
        self.doWrite = lambda: self.told.append("write")
        self.connectionLost = self.told.append

    def fileno(self) -> int:
        """The number of its socket."""
        return self.descriptor


class Watches(SynchronousTestCase):
    """The duplicate of a socket."""

    def setUp(self) -> None:
        """A pipe in place of a socket."""
        self.reactor = FakeReactor()
        self.reading, self.writing = os.pipe()
        self.addCleanup(os.close, self.writing)
        self.pollable = Pollable(self.reading)
        self.duplicates = Duplicates(self.reactor)

    def watch(self) -> Watch:
        """The one that is watched for reading."""
        (watch,) = self.reactor.readers
        assert isinstance(watch, Watch)
        return watch

    def test_outlives_the_original(self) -> None:
        """Its number stays good when the other side closes its own."""
        self.duplicates.addReader(self.pollable)
        self.duplicates.addWriter(self.pollable)
        os.close(self.reading)
        number = self.watch().fileno()
        self.assertNotEqual(number, self.reading)
        os.fstat(number)
        watch = self.watch()
        self.duplicates.end()
        self.duplicates.end()
        self.assertEqual(watch.fileno(), -1)
        self.assertEqual((self.reactor.readers, self.reactor.writers), (set(), set()))
        with self.assertRaises(OSError):
            os.fstat(number)
        watch.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.pollable.told, [])

    def test_another_socket(self) -> None:
        """When libpq goes on to another address, its new socket is watched, also if it
        has the number of the old one."""
        self.duplicates.addReader(self.pollable)
        first = self.watch()
        reading, writing = os.pipe()
        self.addCleanup(os.close, writing)
        os.dup2(reading, self.reading)
        os.close(reading)
        self.addCleanup(os.close, self.reading)
        self.duplicates.addReader(self.pollable)
        self.assertEqual(first.fileno(), -1)
        self.assertTrue(self.watch().is_of(self.reading))
        self.duplicates.end()

    def test_closed_socket(self) -> None:
        """A socket that libpq has closed is not watched; the connection is told, but
        not before the caller is done."""
        os.close(self.reading)
        self.duplicates.addReader(self.pollable)
        self.duplicates.addWriter(self.pollable)
        self.assertEqual((self.reactor.readers, self.reactor.writers), (set(), set()))
        self.assertEqual(self.pollable.told, [])
        self.reactor.advance(0)
        self.assertEqual(len(self.pollable.told), 2)
        self.duplicates.end()

    def test_events(self) -> None:
        """What the reactor tells the duplicate is told to the connection."""
        self.addCleanup(os.close, self.reading)
        self.duplicates.removeReader(self.pollable)
        self.duplicates.addReader(self.pollable)
        self.duplicates.addWriter(self.pollable)
        watch = self.watch()
        self.assertEqual(self.reactor.writers, {watch})
        watch.doRead()
        watch.doWrite()
        reason = Failure(ConnectionDone())
        watch.connectionLost(reason)
        self.assertEqual(self.pollable.told, ["read", "write", reason])
        self.duplicates.removeReader(self.pollable)
        self.duplicates.removeWriter(self.pollable)
        self.assertEqual((self.reactor.readers, self.reactor.writers), (set(), set()))
        self.duplicates.end()


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
