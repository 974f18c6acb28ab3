"""Groups of transactions on a blocking connection (SQLite in memory)."""

from __future__ import annotations

import sqlite3
from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.errors import DatabaseAway, DatabaseFault, DuplicateRow, KeyExists
from koboldfs.store.blocking import BlockingRun, Manner
from koboldfs.store.sqlite import MANNER
from koboldfs.store.steps import (
    Again,
    Lost,
    Mode,
    OutcomeUnknown,
    Statement,
    Steps,
    quiet,
)


def insert(*numbers: int, error: Exception | None = None) -> Steps[int]:
    """Insert numbers, quietly but the last; then raise, or return how many."""
    said = [Statement("INSERT INTO t VALUES (?)", (number,)) for number in numbers]
    yield quiet(*said[:-1])
    reply = yield said[-1]
    if error is not None:
        raise error
    return reply.count


class Groups(SynchronousTestCase):
    """Writing."""

    def setUp(self) -> None:
        """A table of different numbers."""
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.addCleanup(self.connection.close)
        self.connection.execute("CREATE TABLE t (n INTEGER PRIMARY KEY)")
        self.run_group = BlockingRun(self.connection, MANNER)

    def numbers(self) -> list[int]:
        """What is in the table."""
        found = self.connection.execute("SELECT n FROM t ORDER BY n").fetchall()
        self.assertFalse(self.connection.in_transaction)
        return [row[0] for row in found]

    def test_alone(self) -> None:
        """One transaction is committed, or taken back."""
        self.assertEqual(self.run_group([insert(1, 2)], Mode.WRITE), [1])
        (error,) = self.run_group([insert(3, error=KeyExists())], Mode.WRITE)
        self.assertIsInstance(error, KeyExists)
        self.assertEqual(self.numbers(), [1, 2])

    def test_group(self) -> None:
        """One that fails, by itself or by the engine, takes back only itself."""
        group = [
            insert(1),
            insert(2, 3, error=KeyExists()),
            insert(4, 1),
            insert(5, error=ZeroDivisionError()),
            insert(6),
        ]
        outcomes = self.run_group(group, Mode.WRITE)
        self.assertEqual((outcomes[0], outcomes[4]), (1, 1))
        kinds = [type(one) for one in outcomes[1:4]]
        self.assertEqual(kinds, [KeyExists, DuplicateRow, ZeroDivisionError])
        self.assertEqual(self.numbers(), [1, 6])

    def test_commit_fails(self) -> None:
        """When the commit fails, all fail, and nothing is kept."""
        self.connection.execute("PRAGMA foreign_keys = ON")
        self.connection.execute(
            "CREATE TABLE c (n INTEGER REFERENCES t DEFERRABLE INITIALLY DEFERRED)"
        )

        def orphan() -> Steps[None]:
            yield Statement("INSERT INTO c VALUES (99)")

        outcomes = self.run_group([insert(1), orphan()], Mode.WRITE)
        self.assertTrue(all(isinstance(one, DatabaseFault) for one in outcomes))
        self.assertEqual(self.numbers(), [])

    def test_fault_is_thrown_in(self) -> None:
        """The steps may turn a fault into an error of their own."""

        def careful() -> Steps[None]:
            try:
                yield Statement("INSERT INTO t VALUES (1)")
            except DuplicateRow:
                raise KeyExists from None

        self.run_group([insert(1)], Mode.WRITE)
        (error,) = self.run_group([careful()], Mode.WRITE)
        self.assertIsInstance(error, KeyExists)

    def test_reading(self) -> None:
        """Reads need no transaction; a snapshot has one, and leaves it."""

        def count() -> Steps[Any]:
            reply = yield Statement("SELECT count(*) FROM t")
            return reply.rows[0][0], self.connection.in_transaction

        self.run_group([insert(1)], Mode.WRITE)
        self.assertEqual(self.run_group([count()], Mode.READ), [(1, False)])
        self.assertEqual(self.run_group([count()], Mode.SNAPSHOT), [(1, True)])
        self.assertEqual(self.numbers(), [1])

    def test_no_begin(self) -> None:
        """When no transaction can begin, all fail."""
        self.connection.execute("BEGIN")
        outcomes = self.run_group([insert(1), insert(2)], Mode.WRITE)
        self.assertTrue(all(isinstance(one, DatabaseFault) for one in outcomes))
        self.connection.execute("BEGIN")
        (outcome,) = self.run_group([insert(1)], Mode.SNAPSHOT)
        self.assertIsInstance(outcome, DatabaseFault)


class Ends(SynchronousTestCase):
    """A statement that finds the whole transaction gone."""

    def setUp(self) -> None:
        """A table, and a connection that fails at a statement of choice."""
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.addCleanup(self.connection.close)
        self.connection.execute("CREATE TABLE t (n INTEGER PRIMARY KEY)")
        self.fail_at: dict[str, DatabaseFault] = {}
        manner = Manner("BEGIN", "BEGIN", self.translate)
        self.run_group = BlockingRun(self, manner)

    def cursor(self) -> Any:
        """See a connection."""
        return FailingCursor(self.connection.cursor(), self.fail_at)

    @staticmethod
    def translate(error: Exception) -> DatabaseFault | None:
        """Faults are raised as they are."""
        return error if isinstance(error, DatabaseFault) else None

    def numbers(self) -> list[Any]:
        """What is in the table."""
        return self.connection.execute("SELECT n FROM t").fetchall()

    def test_again(self) -> None:
        """Neighbours that were done already must be done again too."""
        self.fail_at = {"(3)": Again()}
        group = [insert(1), insert(2), insert_of(3), insert(4)]
        outcomes = self.run_group(group, Mode.WRITE)
        self.assertEqual([type(one) for one in outcomes], [Again] * 4)
        self.assertEqual(self.numbers(), [])
        self.assertFalse(self.connection.in_transaction)
        self.assertFalse(self.run_group.lost)
        self.assertEqual(self.run_group([insert(1), insert(2)], Mode.WRITE), [1, 1])

    def test_lost(self) -> None:
        """Lost before the COMMIT, nothing was done."""
        self.fail_at = {"(3)": Lost()}
        outcomes = self.run_group([insert(1), insert_of(3)], Mode.WRITE)
        self.assertEqual([type(one) for one in outcomes], [Lost] * 2)
        self.assertTrue(self.run_group.lost)

    def test_lost_at_commit(self) -> None:
        """Lost with the COMMIT under way, nobody knows."""
        for fault, kind in ((Lost(), OutcomeUnknown), (Again(), Again)):
            self.fail_at = {"COMMIT": fault}
            outcomes = self.run_group([insert(1), insert(2)], Mode.WRITE)
            self.assertEqual([type(one) for one in outcomes], [kind] * 2)
            self.connection.rollback()

    def test_own_again(self) -> None:
        """Steps that give up by themselves fail alone."""
        outcomes = self.run_group([insert(1, error=Again()), insert(2)], Mode.WRITE)
        self.assertEqual((type(outcomes[0]), outcomes[1]), (Again, 1))
        self.assertEqual(self.numbers(), [(2,)])

    def test_reads(self) -> None:
        """A reader's connection can be lost, too."""
        self.fail_at = {"(3)": Lost()}
        (outcome,) = self.run_group([insert_of(3)], Mode.READ)
        self.assertIsInstance(outcome, Lost)
        self.assertTrue(self.run_group.lost)


def insert_of(number: int) -> Steps[int]:
    """Insert a number that stands in the text."""
    reply = yield Statement(f"INSERT INTO t VALUES ({number})")
    return reply.count


class FailingCursor:
    """One that fails at statements with certain words."""

    def __init__(self, cursor: Any, fail_at: dict[str, DatabaseFault]) -> None:
        self._cursor = cursor
        self._fail_at = fail_at

    def execute(self, sql: str, params: Any) -> None:
        """See a cursor."""
        for words, fault in self._fail_at.items():
            if words in sql:
                raise fault
        self._cursor.execute(sql, params)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)


class Busy(SynchronousTestCase):
    """Beginning to write while another process does."""

    def run_beside(self, busy_times: int, attempts: int) -> Any:
        """What comes of a transaction whose BEGIN fails so many times."""
        connection = _BusyConnection(busy_times)
        manner = evolve(MANNER, begin_attempts=attempts)
        (outcome,) = BlockingRun(connection, manner)([insert(1)], Mode.WRITE)
        return outcome

    def test_tries_on(self) -> None:
        """It is tried so often, and no oftener."""
        self.assertEqual(self.run_beside(3, 4), 1)
        self.assertIsInstance(self.run_beside(4, 4), DatabaseAway)


class _BusyConnection:
    """A connection that another process keeps from beginning."""

    def __init__(self, busy_times: int) -> None:
        self._left = busy_times
        self.description = None
        self.rowcount = 1

    def cursor(self) -> Any:
        """See PEP 249; it is its own cursor."""
        return self

    def execute(self, sql: str, params: Any) -> None:
        """See PEP 249."""
        if sql.startswith("BEGIN") and self._left:
            self._left -= 1
            raise sqlite3.OperationalError("database is locked")

    def close(self) -> None:
        """See PEP 249."""
