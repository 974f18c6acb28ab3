"""Runs of many seeds, and what came of each."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Iterator

from attrs import frozen

from test.simulation.checkers import Broken
from test.simulation.world import Simulation

#: What `make test` runs.
FIRST, SEEDS = 1, 2000


@frozen
class Outcome:
    """What a seed came to. `rule` is the broken one, or the name of an exception;
    empty if all went well. `digest` is the same whenever the seed is run."""

    seed: int
    rule: str
    words: str
    digest: str
    trace: tuple[str, ...]

    def report(self) -> str:
        """For whoever has to find out why."""
        again = f"python -m test.simulation --replay {self.seed}"
        return f"seed {self.seed}: {self.words}\n  again: {again}"


def run(seed: int) -> Outcome:
    """One run."""
    world = Simulation(seed)
    rule = words = digest = ""
    try:
        digest = world.run()
    except Broken as error:
        rule, words = error.rule, str(error)
    except Exception as error:
        rule, words = type(error).__name__, traceback.format_exc()
    return Outcome(seed, rule, words, digest or world.digest(), tuple(world.trace))


def failures(seeds: Iterable[int]) -> Iterator[Outcome]:
    """Those that failed."""
    for seed in seeds:
        outcome = run(seed)
        if outcome.rule:
            yield outcome
