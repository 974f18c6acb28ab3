"""Steps through a transaction with no database: replies are given beforehand."""

from __future__ import annotations

from typing import Any

from attrs import define, field

from koboldfs.store.statements import Statements, statements_for
from koboldfs.store.steps import NO_REPLY, Quiet, Reply, Statement, Steps

SQLITE: Statements = statements_for("sqlite")
POSTGRES: Statements = statements_for("postgresql")
MYSQL: Statements = statements_for("mysql")


@define
class Played:
    """What a transaction said, and how it ended."""

    result: Any = None
    #: Statements whose reply it wanted.
    asked: list[Statement] = field(factory=list)
    #: Statements whose reply it did not want.
    quiet: list[Statement] = field(factory=list)

    def quietly(self, beginning: str) -> list[tuple[Any, ...]]:
        """The parameters of its quiet statements that begin so."""
        return [one.params for one in self.quiet if one.sql.startswith(beginning)]


def rows(*found: tuple[Any, ...], count: int | None = None) -> Reply:
    """A reply with these rows."""
    return Reply(list(found), len(found) if count is None else count)


def play(steps: Steps[Any], *replies: Reply | Exception) -> Played:
    """Run a transaction to its end; what it raises is raised.

    Every reply must be wanted, and every wanted reply be there.
    """
    played, remaining = Played(), list(replies)
    try:
        wanted = next(steps)
        while True:
            if isinstance(wanted, Quiet):
                played.quiet.extend(wanted.statements)
                wanted = steps.send(NO_REPLY)
                continue
            played.asked.append(wanted)
            reply = remaining.pop(0)
            if isinstance(reply, Exception):
                wanted = steps.throw(reply)
            else:
                wanted = steps.send(reply)
    except StopIteration as end:
        assert not remaining, f"never wanted: {remaining}"
        played.result = end.value
        return played
