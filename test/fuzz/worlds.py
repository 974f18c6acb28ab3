"""Worlds in memory that cost more to make than most inputs do.

    NODES = Lasting(Nodes)
    NODES.given(lambda nodes: ...)      # an input's work, with nodes that lasted

So many inputs in a row share one, as the connections of a year share a process; who
works with it first brings back what an input may change. What is wrong then is looked
at again in a world of its own, so that an input that fails by itself is told as such.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from test.fuzz.target import Wrong

#: So many inputs share a world; what is wrong only behind others is so soon.
SHARED_BY = 100
World = TypeVar("World")


class Lasting(Generic[World]):
    """A world that lasts, made by `make`."""

    def __init__(self, make: Callable[[], World]) -> None:
        self._make = make
        self._world: World | None = None
        self._left = 0

    def given(self, work: Callable[[World], None]) -> None:
        """Do the work with a world; raises what the work raises with a new one, or
        `Wrong` when only a world that had others before makes it raise."""
        world, self._world = self._world, None
        if world is None or not self._left:
            world, self._left = self._make(), SHARED_BY
            new = True
        else:
            new = False
        try:
            work(world)
        except Exception as error:
            if new:
                raise
            work(self._make())
            raise Wrong(
                f"only behind other inputs: the {SHARED_BY} before it: {error}"
            ) from error
        self._world = world
        self._left -= 1
