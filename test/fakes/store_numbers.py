"""The part of `MemoryStore` that provides `INumbers`."""

from __future__ import annotations

from typing import Any

from zope.interface import implementer

from koboldfs.interfaces_numbers import INumbers
from koboldfs.model.numbering import (
    FORGOTTEN_SETTING,
    FidRange,
    parse_ranges,
    ranges_text,
)


@implementer(INumbers)
class MemoryNumbers:
    """See `INumbers`. To restore an old state is to set `Tables.last_fid` back."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.floor = 0

    def drawn(self) -> int:
        """The highest that was drawn, or that any table knows."""
        tables = self._store.tables
        known = [fid for fid, _ in tables.file_on]
        fids = (*tables.files, *tables.uploads, *tables.to_delete, *known)
        return max((tables.last_fid, *fids))

    def pass_over(self, fid: int) -> FidRange | None:
        """What `lift` does."""
        tables, drawn = self._store.tables, self.drawn()
        if drawn >= fid:
            return None
        tables.last_fid, new = fid, FidRange(drawn + 1, fid)
        ranges = parse_ranges(tables.settings.get(FORGOTTEN_SETTING))
        tables.settings[FORGOTTEN_SETTING] = ranges_text((*ranges, new))
        return new

    def raise_floor(self, fid: int) -> None:
        """See `INumbers`."""
        self.floor = max(self.floor, fid)

    async def highest_drawn(self) -> int:
        """See `INumbers`."""
        await self._store.enter("highest_drawn")
        return self.drawn()

    async def lift(self, fid: int) -> FidRange | None:
        """See `INumbers`."""
        await self._store.enter("lift", fid)
        return self.pass_over(fid)
