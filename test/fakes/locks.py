"""Locks in memory, of which somebody else may hold some."""

from __future__ import annotations

from collections.abc import Sequence

from zope.interface import implementer

from koboldfs.interfaces import ILocks


@implementer(ILocks)
class MemoryLocks:
    """`others` are held by somebody else, `held` by us; `failing` is raised once."""

    def __init__(self) -> None:
        self.others: set[str] = set()
        self.held: set[str] = set()
        self.failing: list[Exception] = []

    async def take(self, names: Sequence[str]) -> frozenset[str]:
        """See `ILocks`."""
        if self.failing:
            raise self.failing.pop(0)
        taken = frozenset(names) - self.others
        self.held |= taken
        return taken

    async def release(self, names: Sequence[str]) -> None:
        """See `ILocks`."""
        if self.failing:
            raise self.failing.pop(0)
        self.held -= set(names)
