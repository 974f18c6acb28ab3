"""Which fids are drawn: the provider of `INumbers`."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from zope.interface import implementer

from koboldfs.interfaces_numbers import INumbers
from koboldfs.model.numbering import FidRange
from koboldfs.store import transactions_numbers as work
from koboldfs.store.database import Database


@implementer(INumbers)
class Numbers:
    """See `INumbers`."""

    def __init__(self, database: Database, forget_drawn: Callable[[], None]) -> None:
        """`forget_drawn`: fids that were drawn ahead may be too low."""
        self._database = database
        self._forget_drawn = forget_drawn

    def raise_floor(self, fid: int) -> None:
        """See `INumbers`."""
        if fid > self._database.floor:
            self._database.raise_floor(fid)
            self._forget_drawn()

    def highest_drawn(self) -> Deferred[int]:
        """See `INumbers`."""
        return self._database.read("highest_drawn", work.highest_drawn)

    def lift(self, fid: int) -> Deferred[FidRange | None]:
        """See `INumbers`. To do it twice is to do it once."""
        return self._database.write("lift", work.lift, fid)
