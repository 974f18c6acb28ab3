"""Looks for the seeds that find what is broken on purpose.

    python -m test.simulation.mutants

prints, for each of `MUTATIONS`, the first seed in which one of its rules is broken:
what `FIRST` is for the rarer ones. Where it no longer holds, because the product or the
simulation has changed, nothing is wrong, but the search takes longer.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from twisted.logger import globalLogBeginner

from test.simulation import seeds
from test.simulation.mutations import MUTATIONS, Mutation

#: In so many seeds a mutation must be found.
MOST_SEEDS = 800
#: Where the search begins, for those whose first seed is a late one.
FIRST: dict[str, int] = {
    "a node gives wrong bytes": 15,
    "copies are not compared": 88,
    "the scrub leaves bad copies": 255,
    "a dead device is offered": 16,
    "a dead device is not reaped": 123,
    "a renaming overwrites": 42,
    "a deleted key is listed": 138,
    "abandoned temporary files stay": 123,
    "a node's start flushes nothing": 81,
    "a rebalance empties hosts": 255,
    "devices count as hosts": 19,
    "fsck believes what is recorded": 67,
    "a native answer promises too much": 442,
}


def order(mutation: Mutation) -> Iterator[int]:
    """The seeds, all of them, from the one on that found it before."""
    first = FIRST.get(mutation.name, 1)
    yield from range(first, MOST_SEEDS + 1)
    yield from range(1, first)


def found_by(mutation: Mutation, numbers: Iterator[int]) -> tuple[int, str]:
    """The first seed in which one of its rules is broken, and that rule; 0 if none."""
    with mutation.applied():
        pass
    for seed in numbers:
        with mutation.applied():
            outcome = seeds.run(seed)
        if outcome.rule in mutation.rules:
            return seed, outcome.rule
    return 0, ""


def main() -> None:
    """Print the first seed of each."""
    globalLogBeginner.beginLoggingTo(
        [lambda event: None], discardBuffer=True, redirectStandardIO=False
    )
    for mutation in MUTATIONS:
        began = time.process_time()
        seed, rule = found_by(mutation, iter(range(1, MOST_SEEDS + 1)))
        seconds = time.process_time() - began
        print(f"{seed:5} {seconds:7.1f} s  {mutation.name}: {rule}", flush=True)


if __name__ == "__main__":
    main()
