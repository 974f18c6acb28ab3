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
        self._given_back = 0

    def release(self) -> None:
        """Give a slot back: to who waits longest, and who comes meanwhile is behind."""
        assert self.tokens + self._given_back < self.limit, "given back twice"
        self._given_back += 1
        if self._handing_on:
            # We are called by one of those below, and the loop sees this slot.
            return
        self._handing_on = True
        try:
            while self._given_back:
                self._given_back -= 1
                if self.waiting:
                    first: Deferred[Any] = self.waiting.pop(0)
                    first.callback(self)
                else:
                    self.tokens += 1
        finally:
            self._handing_on = False
