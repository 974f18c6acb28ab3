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


class Lent:
    """Locks that are given back even if the database is away when that is due."""

    def __init__(self, locks: ILocks) -> None:
        self._locks = locks
        self._owed: list[str] = []

    async def take(self, names: Sequence[str]) -> frozenset[str]:
        """Those of the names that nobody else has; raises `DatabaseFault`."""
        return await self._locks.take(names)

    async def release(self, names: Iterable[str]) -> None:
        """Give locks back. What the database does not take now, the next call says
        again; it is of no use to a caller to know."""
        owed, self._owed = [*self._owed, *names], []
        if not owed:
            return
        try:
            await self._locks.release(owed)
        except DatabaseFault:
            self._owed += owed


def file_lock(fid: int) -> str:
    """The name for a file that is copied, moved or deleted."""
    return f"mgfs:fid:{fid}:replicate"


def alone(
    locks: ILocks, name: str, unit: Callable[[], Awaitable[bool]]
) -> Callable[[], Awaitable[bool]]:
    """The unit of a job that only one tracker of the lock's kin does at a time."""
    lent = Lent(locks)

    async def locked_unit() -> bool:
        if not await lent.take([name]):
            return False
        try:
            return await unit()
        finally:
            await lent.release([name])

    return locked_unit
