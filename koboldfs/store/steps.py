"""What a transaction is made of, whatever engine runs it.

A transaction is a generator. It yields a `Statement` and is sent the `Reply`, or it
yields `Quiet` statements whose replies it does not need (an engine may hold those back
and send them together with the next one, or with the COMMIT, in one round trip). What
it returns is the result. A fault of the database is thrown into it at a later `yield`
as one of `koboldfs.errors`; it may turn that into another error, but must not go on
with the transaction, because PostgreSQL has aborted it by then.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from enum import Enum
from typing import Any, Generic, TypeVar

from attrs import frozen
from zope.interface import Interface

from koboldfs.errors import DatabaseFault

T = TypeVar("T")
Row = tuple[Any, ...]


@frozen
class Statement:
    """One SQL text with its parameters, in the order of their places."""

    sql: str
    params: tuple[Any, ...] = ()


@frozen
class Quiet:
    """Statements whose replies nobody needs."""

    statements: tuple[Statement, ...]


@frozen
class Reply:
    """The rows of a statement, and how many rows it changed."""

    rows: list[Row]
    count: int


NO_REPLY = Reply([], 0)
Steps = Generator["Statement | Quiet", Reply, T]


def quiet(*statements: Statement | None) -> Quiet:
    """Those of the statements that there are."""
    return Quiet(tuple(one for one in statements if one is not None))


def nothing(result: T) -> Steps[T]:
    """A transaction that needs no database at all."""
    yield from ()
    return result


class Mode(Enum):
    """How much of a transaction is needed around the statements."""

    #: Each statement by itself; may be run again after a lost connection.
    READ = "read"
    #: All statements see the database as of one moment; may be run again.
    SNAPSHOT = "snapshot"
    #: All or nothing, durable before the answer.
    WRITE = "write"
    #: A WRITE whose first statement does all, except in rare cases that the steps
    #: themselves begin and commit. Where a statement is a transaction by itself, that
    #: saves the trip for the COMMIT. After a fault everything open is rolled back.
    SINGLE = "single"

    @property
    def writes(self) -> bool:
        """Whether it needs the right to change things."""
        return self in (Mode.WRITE, Mode.SINGLE)


@frozen
class Transaction(Generic[T]):
    """Something to be run. `steps` makes a fresh generator for every attempt, and is
    called on the reactor's thread when a connection is there for it.

    `repeatable` says of a WRITE that running it again does no harm and gives the
    caller a true answer, even if the first run had been committed after all. `racing`
    says that a `DuplicateRow` only means that somebody was faster: it is run again,
    and will find the other's row.
    """

    name: str
    steps: Callable[[], Steps[T]]
    mode: Mode = Mode.READ
    repeatable: bool = False
    racing: bool = False


class IRunner(Interface):
    """Runs transactions on an engine."""

    def run(transaction: Transaction[Any], patient: bool = False) -> Awaitable[Any]:
        """The transaction's result. Raises its own errors, and faults of the database.

        A `patient` transaction waits for its first connection for ever; others raise
        `DatabaseAway` when there is none within the deadline.
        """


class OutcomeUnknown(DatabaseFault):
    """The connection was lost while committing: it was done, or it was not."""

    text = "Database error: connection lost, the change may or may not be done"


class Again(DatabaseFault):
    """Somebody else was in the way and nothing was changed: run it once more."""

    text = "Database error: too many conflicting changes, try again"


class Lost(DatabaseFault):
    """The connection is gone; what was not committed is rolled back."""

    text = "Database error: connection lost"


class Unfit(Lost):
    """The server has refused, and done nothing of what it was sent last; but it will
    refuse the same again: the connection is given up."""


#: How often a transaction is run when others are in its way, or connections break.
MAX_ATTEMPTS = 10
#: Seconds, at most, before the n-th next attempt of one that met another, times n: by
#: chance, so that the same two do not meet again.
MEETING_PAUSE_SECONDS = 0.02
