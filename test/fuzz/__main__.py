"""Gives many mutated inputs to the parsers.

    python -m test.fuzz [TARGET ...] [--inputs N] [--seed N] [--first N]

Without a TARGET, to all of them. Ends at the first input that fails: prints its seed
and number, makes it shorter, and says how to keep it. The exit status is 0 only when
none did.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from twisted.logger import globalLogBeginner

from test.fuzz.campaign import KEPT, Found, Hanging, Pace, campaign, minimise
from test.fuzz.target import Target
from test.fuzz.targets import TARGETS


def say(text: str) -> None:
    """Print a line now."""
    print(text, flush=True)


def tell(target: Target, seed: int, found: Found) -> None:
    """Print what failed, and how to keep it."""
    where = "a sample" if found.number is None else f"input {found.number}"
    say(f"{target.name}: {found.fault.kind}: seed {seed}, {where}")
    short = found.data
    if Hanging.__name__ not in found.fault.kind:  # each try would hang, too
        short = minimise(target, found.data, found.fault)
    say(found.fault.details)
    say(f"{len(found.data)} bytes, in the end {len(short)}:\n{short[:2000]!r}")
    folder = Path(tempfile.mkdtemp(prefix="koboldfs-fuzz-"))
    path = folder / "input"
    path.write_bytes(short)
    kept = KEPT / target.name
    say(f"once it is mended, keep it: mkdir -p {kept} && cp {path} {kept}/WHAT-IT-IS")
    if found.number is not None:
        again = f"--seed {seed} --first {found.number} --inputs 1"
        say(f"again: python -m test.fuzz {target.name} {again}")


def main(arguments: list[str]) -> int:
    """Run what was asked for; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m test.fuzz")
    parser.add_argument("--inputs", type=int, default=100_000, metavar="N")
    parser.add_argument("--seed", type=int, default=1, metavar="N")
    parser.add_argument("--first", type=int, default=0, metavar="N")
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    options = parser.parse_args(arguments)
    for name in options.targets:
        if name not in TARGETS:
            parser.error(f"there is no {name}, but {', '.join(TARGETS)}")
    failed = 0
    for name in options.targets or TARGETS:
        target, pace = TARGETS[name], Pace(say)
        say(f"{name}: {options.inputs} inputs, seed {options.seed}")
        found = campaign(
            target,
            options.inputs,
            options.seed,
            first=options.first,
            told=pace,
        )
        pace.end()
        if found is not None:
            failed += 1
            tell(target, options.seed, found)
        else:
            say(f"{name}: {pace.rate(options.inputs)}, none failed")
    return 1 if failed else 0


if __name__ == "__main__":
    # Else what is logged is printed, or kept until somebody wants it.
    globalLogBeginner.beginLoggingTo(
        [lambda event: None], discardBuffer=True, redirectStandardIO=False
    )
    sys.exit(main(sys.argv[1:]))
