"""Counts of what is at risk: the provider of `IHealth`."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence

from twisted.internet.defer import succeed
from zope.interface import implementer

from koboldfs.interfaces_health import IHealth
from koboldfs.model.health import Shortage
from koboldfs.store.database import Database
from koboldfs.store.statements import Statements
from koboldfs.store.steps import Steps
from koboldfs.store.transactions_tasks import unix_time

#: The most rows that one question counts, whatever is asked for.
MAX_COUNTED = 1_000_000


@implementer(IHealth)
class Health:
    """Every method is one statement."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def shortages(
        self, dmid: int, classid: int, below: int, limit: int
    ) -> Awaitable[Sequence[Shortage]]:
        """See `IHealth.shortages`."""
        if below < 1 or limit < 1:
            return succeed([])
        count = min(limit, MAX_COUNTED)
        return self._database.read("shortages", _shortages, dmid, classid, below, count)

    def copies_on(self, devid: int, limit: int) -> Awaitable[int]:
        """See `IHealth.copies_on`."""
        if limit < 1:
            return succeed(0)
        count = min(limit, MAX_COUNTED)
        return self._database.read("count_copies", _copies_on, devid, count)

    def unix_time(self) -> Awaitable[int]:
        """See `IHealth.unix_time`."""
        return self._database.read("unix_time", unix_time)


def _shortages(
    sql: Statements, dmid: int, classid: int, below: int, limit: int
) -> Steps[list[Shortage]]:
    reply = yield sql.shortages(dmid=dmid, classid=classid, below=below, limit=limit)
    return [Shortage(*(int(value) for value in row)) for row in reply.rows]


def _copies_on(sql: Statements, devid: int, limit: int) -> Steps[int]:
    reply = yield sql.count_copies(devid=devid, limit=limit)
    return int(reply.rows[0][0])
