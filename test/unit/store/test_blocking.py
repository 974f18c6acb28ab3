"""Groups of transactions on a blocking connection (SQLite in memory)."""

from __future__ import annotations

import sqlite3
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from koboldfs.errors import DatabaseFault, DuplicateRow, KeyExists
from koboldfs.store.blocking import BlockingRun
from koboldfs.store.sqlite import MANNER
from koboldfs.store.steps import Mode, Statement, Steps, quiet


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
