"""Tries a cluster of real processes with real faults, for as long as wanted.

    python -m test.torture [SCENARIO ...] [--kills N] [--files N] [--seconds N]
                           [--seed N]

Without a SCENARIO all of them, one after the other; each module of this package has
some in its ``SCENARIOS``. The numbers replace those that a scenario has of its own, if
it has a use for them. At the end a table: the scenario, how often its fault was made,
and what was found. The exit status is 1 when something was.
"""

from __future__ import annotations

import argparse
import pkgutil
import sys
import time
import traceback
from importlib import import_module

from twisted.trial.unittest import SkipTest

import test.torture
from test.torture.scenario import Outcome, Scenario, Skipped, Wanted, say, want

OWN = "__main__"


def scenarios() -> dict[str, Scenario]:
    """Those of every module of the package, by name."""
    found: dict[str, Scenario] = {}
    for module in pkgutil.iter_modules(test.torture.__path__):
        if module.name != OWN:
            here = import_module(f"test.torture.{module.name}")
            found |= getattr(here, "SCENARIOS", {})
    return found


def run(name: str, scenario: Scenario) -> tuple[str, Outcome]:
    """How it ended, ``well``, ``FAULT`` or ``skipped``, and what came of it."""
    say(f"{name} begins")
    began = time.monotonic()
    try:
        outcome = scenario() or Outcome()
    except (Skipped, SkipTest) as reason:
        return "skipped", Outcome("0", notes=[str(reason)])
    except Exception as error:
        traceback.print_exc()
        outcome = Outcome("?", faults=[f"{type(error).__name__}: {error}"])
    seconds = time.monotonic() - began
    outcome.notes.append(f"{seconds:.0f} s in all")
    word = "FAULT" if outcome.faults else "well"
    say(f"{name} ended after {seconds:.0f} s: {word}")
    return word, outcome


def main(arguments: list[str]) -> int:
    """Run what was asked for; returns the exit status."""
    known = scenarios()
    parser = argparse.ArgumentParser(
        prog="python -m test.torture", epilog=f"scenarios: {', '.join(known)}"
    )
    parser.add_argument("--seconds", type=float, default=0, metavar="N")
    parser.add_argument("--kills", type=int, default=0, metavar="N")
    parser.add_argument("--files", type=int, default=0, metavar="N")
    parser.add_argument("--seed", type=int, default=1, metavar="N")
    parser.add_argument("names", nargs="*", metavar="SCENARIO")
    options = parser.parse_args(arguments)
    for name in options.names:
        if name not in known:
            parser.error(f"there is no {name}, but {', '.join(known)}")
    want(Wanted(options.seconds, options.kills, options.files, options.seed))
    ends = {name: run(name, known[name]) for name in options.names or known}
    width = max(map(len, ends))
    for name, (word, outcome) in ends.items():
        print(f"{name:{width}}  {word:7}  {outcome.times}")
        for line in outcome.notes + outcome.faults[:20]:
            print(f"{'':{width}}           {line}")
    return 1 if any(word == "FAULT" for word, _ in ends.values()) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
