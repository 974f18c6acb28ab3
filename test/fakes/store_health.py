"""The part of `MemoryStore` that provides `IHealth`."""

from __future__ import annotations

from typing import Any

from koboldfs.model.health import Shortage


class HealthCalls:
    """See `IHealth`; `self` is a `MemoryStore`. `unix_time` is one of `TaskCalls`."""

    tables: Any

    async def shortages(
        self: Any, dmid: int, classid: int, below: int, limit: int
    ) -> list[Shortage]:
        """See `IHealth`."""
        await self.enter("shortages", dmid, classid, below, limit)
        fids = sorted(
            (file.devcount, fid)
            for fid, file in self.tables.files.items()
            if (file.dmid, file.classid) == (dmid, classid) and file.devcount < below
        )[:limit]
        groups: dict[int, list[int]] = {}
        for devcount, fid in fids:
            groups.setdefault(devcount, []).append(fid)
        return [Shortage(n, len(some), min(some)) for n, some in groups.items()]

    async def copies_on(self: Any, devid: int, limit: int) -> int:
        """See `IHealth`."""
        await self.enter("copies_on", devid, limit)
        return min(limit, sum(one == devid for _, one in self.tables.file_on))
