"""How background work uses the locks that are shared with MogileFS's trackers.

MogileFS locks a file while a worker of its copies or deletes it, and the whole queue
of abandoned uploads, or the reaping, while one is at it. A row whose file is locked by
somebody else stays leased, and is looked at again when the lease ends. The names are
MogileFS's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence

from koboldfs.errors import DatabaseFault
from koboldfs.interfaces import ILocks

#: While abandoned uploads are looked for, and while a dead device is reaped.
UPLOADS_LOCK, REAPER_LOCK = "mgfs:tempfiles", "mgfs:reaper"


class FileLocks:
    """The locks of the files that one worker has under way."""

    def __init__(self, locks: ILocks) -> None:
        self._locks = locks
        self._owed: list[str] = []

    async def take(self, fids: Sequence[int]) -> frozenset[int]:
        """Those of the fids that nobody else works on; raises `DatabaseFault`."""
        names = {_name(fid): fid for fid in fids}
        taken = await self._locks.take(list(names))
        return frozenset(names[name] for name in taken)

    async def release(self, fids: Iterable[int]) -> None:
        """Give locks back. What the database does not take now, the next call says
        again; it is of no use to a caller to know."""
        self._owed += map(_name, fids)
        owed, self._owed = self._owed, []
        if not owed:
            return
        try:
            await self._locks.release(owed)
        except DatabaseFault:
            self._owed += owed


def _name(fid: int) -> str:
    return f"mgfs:fid:{fid}:replicate"


def alone(
    locks: ILocks, name: str, unit: Callable[[], Awaitable[bool]]
) -> Callable[[], Awaitable[bool]]:
    """The unit of a job that only one tracker of the lock's kin does at a time."""

    async def locked_unit() -> bool:
        if not await locks.take([name]):
            return False
        try:
            return await unit()
        finally:
            await locks.release([name])

    return locked_unit
