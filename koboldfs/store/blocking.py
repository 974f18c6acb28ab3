"""Runs transactions on a connection that blocks, inside a thread that may.

Made for sqlite3 and PyMySQL: what differs is in a `Manner`. Several writing
transactions that wait at the same time share one COMMIT, each behind a savepoint of its
own, so that one that fails takes back only itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from attrs import frozen

from koboldfs.errors import DatabaseAway, DatabaseFault
from koboldfs.store.steps import (
    NO_REPLY,
    Again,
    Lost,
    Mode,
    OutcomeUnknown,
    Quiet,
    Reply,
    Statement,
    Steps,
)

_COMMIT = Statement("COMMIT")


@frozen
class Manner:
    """How an engine begins a transaction, and what its driver's exceptions mean."""

    begin_write: str
    begin_snapshot: str
    translate: Callable[[Exception], DatabaseFault | None]
    #: How often it is tried to begin a transaction that writes, before it is said that
    #: the database is busy.
    begin_attempts: int = 1


class BlockingRun:
    """One connection's way through a group of transactions of one mode."""

    def __init__(self, connection: Any, manner: Manner) -> None:
        self._connection = connection
        self._manner = manner
        #: What ended the whole transaction, whosever statement it was.
        self._end: DatabaseFault | None = None

    @property
    def lost(self) -> bool:
        """Whether the connection is gone for good."""
        return isinstance(self._end, Lost)

    def close(self) -> None:
        """Disconnect."""
        self._connection.close()

    def __call__(self, group: Sequence[Steps[Any]], mode: Mode) -> list[Any]:
        """Run them; for each its result or the exception that it ended with.

        Results of one that writes are committed when this returns. When a statement
        finds that all of the transaction is gone, all of the group get `Again` or
        `Lost`, and `OutcomeUnknown` if that was the COMMIT.
        """
        self._end = None
        if mode.writes:
            return self._write(group)
        if mode is Mode.SNAPSHOT:
            return [self._snapshot(steps) for steps in group]
        return [self._outcome(steps) for steps in group]

    def _snapshot(self, steps: Steps[Any]) -> Any:
        try:
            self._execute(Statement(self._manner.begin_snapshot))
        except DatabaseFault as fault:
            steps.close()
            return fault
        outcome = self._outcome(steps)
        self._roll_back()
        return outcome

    def _write(self, group: Sequence[Steps[Any]]) -> list[Any]:
        committing = False
        try:
            self._begin_write()
            outcomes = self._outcomes(group)
            if len(group) == 1 and isinstance(outcomes[0], BaseException):
                self._roll_back()
                return outcomes
            committing = True
            self._execute(_COMMIT)
        except DatabaseFault as fault:
            for steps in group:
                steps.close()
            if self.lost:
                return [_unknown(fault) if committing else fault] * len(group)
            self._roll_back()
            return [fault] * len(group)
        return outcomes

    def _begin_write(self) -> None:
        begin = Statement(self._manner.begin_write)
        for _ in range(self._manner.begin_attempts - 1):
            try:
                self._execute(begin)
                return
            except DatabaseAway:
                if self._end is not None:
                    raise
        self._execute(begin)

    def _outcomes(self, group: Sequence[Steps[Any]]) -> list[Any]:
        """Raises what ended the whole transaction."""
        outcomes = []
        for steps in group:
            one = self._saved(steps) if len(group) > 1 else self._outcome(steps)
            if self._end is not None:
                raise self._end
            outcomes.append(one)
        return outcomes

    def _saved(self, steps: Steps[Any]) -> Any:
        self._execute(Statement("SAVEPOINT one"))
        outcome = self._outcome(steps)
        if self._end is None:
            if isinstance(outcome, BaseException):
                self._execute(Statement("ROLLBACK TO SAVEPOINT one"))
            self._execute(Statement("RELEASE SAVEPOINT one"))
        return outcome

    def _outcome(self, steps: Steps[Any]) -> Any:
        try:
            return self._play(steps)
        except Exception as error:
            return error

    def _play(self, steps: Steps[Any]) -> Any:
        try:
            wanted = next(steps)
            while True:
                try:
                    reply = self._answer(wanted)
                except DatabaseFault as fault:
                    wanted = steps.throw(fault)
                else:
                    wanted = steps.send(reply)
        except StopIteration as end:
            return end.value

    def _answer(self, wanted: Statement | Quiet) -> Reply:
        if isinstance(wanted, Statement):
            return self._execute(wanted)
        for statement in wanted.statements:
            self._execute(statement)
        return NO_REPLY

    def _execute(self, statement: Statement) -> Reply:
        cursor = self._connection.cursor()
        try:
            cursor.execute(statement.sql, statement.params)
            rows = cursor.fetchall() if cursor.description else []
            return Reply(rows, cursor.rowcount)
        except Exception as error:
            fault = self._manner.translate(error)
            if fault is None:
                raise
            if isinstance(fault, (Again, Lost)):
                self._end = fault
            raise fault from error
        finally:
            cursor.close()

    def _roll_back(self) -> None:
        try:
            self._execute(Statement("ROLLBACK"))
        except DatabaseFault:
            pass  # the engine has rolled back by itself: there is nothing left to undo


def _unknown(lost: DatabaseFault) -> OutcomeUnknown:
    fault = OutcomeUnknown()
    fault.__cause__ = lost.__cause__
    return fault
