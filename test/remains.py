"""What a test leaves behind is thrown away at a time that we choose.

Coroutines that never end, of a process that a test kills or of work that it leaves
undone, are collected some time. Then the `finally` of one may wake another that is
closed already: an error, with a traceback that refers to itself, so that only the next
collection finds it and has it logged. By then an innocent test may have begun, which
fails by it.
"""

from __future__ import annotations

import gc

#: Each round may leave something for the next.
MOST_ROUNDS = 10


def throw_away() -> None:
    """Collect until nothing is found any more, but not for ever."""
    for _round in range(MOST_ROUNDS):
        if not gc.collect():
            return
