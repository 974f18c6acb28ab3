"""A runner that plays transactions from replies given beforehand."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from zope.interface import implementer

from koboldfs.store.database import Database
from koboldfs.store.steps import IRunner, Transaction
from test.unit.store.play import SQLITE, Played, play


@implementer(IRunner)
class ScriptedRunner:
    """`replies` of the next transactions, one list each; notes what was played."""

    def __init__(self) -> None:
        self.replies: list[list[Any]] = []
        self.transactions: list[Transaction[Any]] = []
        self.played: list[Played] = []

    async def run(self, transaction: Transaction[Any], patient: bool = False) -> Any:
        """See `IRunner`."""
        self.transactions.append(transaction)
        replies = self.replies.pop(0) if self.replies else []
        played = play(transaction.steps(), *replies)
        self.played.append(played)
        return played.result


def scripted() -> tuple[ScriptedRunner, Database]:
    """A runner and a database over it."""
    runner = ScriptedRunner()
    return runner, Database(runner, SQLITE, Clock())
