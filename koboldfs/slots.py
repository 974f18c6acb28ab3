"""So many at a time, and however many wait.

A `DeferredSemaphore` hands a slot on from within `release`. If what gets it ends at
once, as what waits for a disk does after that has been given up, it hands the slot on
in its turn, and some hundred that wait are too deep for Python's stack.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, DeferredSemaphore


class Slots(DeferredSemaphore):
    """A semaphore that any number may wait for; ``async with`` takes a slot."""

    def __init__(self, tokens: int) -> None:
        super().__init__(tokens)
        self._handing_on = False

    def release(self) -> None:
        """Give a slot back, and hand on what there is."""
        assert self.tokens < self.limit, "a slot was given back twice"
        self.tokens += 1
        if self._handing_on:
            # We are called by one of those below, and the loop sees this slot.
            return
        self._handing_on = True
        try:
            while self.tokens and self.waiting:
                self.tokens -= 1
                first: Deferred[Any] = self.waiting.pop(0)
                first.callback(self)
        finally:
            self._handing_on = False
