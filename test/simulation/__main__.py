"""Runs many seeds on all processors, or one of them again with all that happens in it.

    python -m test.simulation [--seeds N] [--first K]
    python -m test.simulation --replay SEED

Prints every seed that fails, and how to see it again. The exit status is 0 only when
none did.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import sys
import time
from typing import Any

from twisted.logger import formatEvent, globalLogBeginner

from test.simulation import seeds
from test.simulation.world import Simulation

#: How many seeds a process is given at once.
CHUNK = 20
#: How often it is said how far it has come (seconds).
TELL_SECONDS = 60.0


def say(text: str) -> None:
    """Print a line now."""
    print(text, flush=True)


def quiet() -> None:
    """Else what is logged is printed, or kept until somebody wants it."""
    globalLogBeginner.beginLoggingTo(
        [lambda event: None], discardBuffer=True, redirectStandardIO=False
    )
    seeds.run(0)
    gc.freeze()


def campaign(first: int, count: int, processes: int) -> int:
    """How many of the seeds failed."""
    began = told = time.monotonic()
    done = failed = 0
    with multiprocessing.get_context("fork").Pool(processes, quiet) as pool:
        numbers = range(first, first + count)
        for outcome in pool.imap_unordered(seeds.run, numbers, CHUNK):
            done += 1
            if outcome.rule:
                failed += 1
                say(outcome.report())
            if time.monotonic() > told + TELL_SECONDS:
                told = time.monotonic()
                say(f"{done} seeds, {failed} failed")
    seconds = time.monotonic() - began
    say(f"{done} seeds in {seconds:.0f} s, {failed} failed")
    return failed


def replay(seed: int) -> int:
    """Print all that happens, and what was logged; returns how many failed."""
    world = Simulation(seed)

    def observe(event: Any) -> None:
        text = formatEvent(event)
        if text and event.get("log_namespace", "").startswith("koboldfs"):
            say(f"{world.clock.now:9.3f}     {text}")

    globalLogBeginner.beginLoggingTo(
        [observe], discardBuffer=True, redirectStandardIO=False
    )
    world.told = say
    say(str(world.plan))
    try:
        say(world.run())
    except Exception as error:
        say(f"{type(error).__name__}: {error}")
        return 1
    return 0


def main(arguments: list[str]) -> int:
    """Run what was asked for; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m test.simulation")
    parser.add_argument("--seeds", type=int, default=seeds.SEEDS, metavar="N")
    parser.add_argument("--first", type=int, default=seeds.FIRST, metavar="K")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--replay", type=int, metavar="SEED")
    options = parser.parse_args(arguments)
    if options.replay is not None:
        return replay(options.replay)
    return 1 if campaign(options.first, options.seeds, options.processes) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
