"""What a scenario is told, and what it tells."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field, frozen


@frozen
class Wanted:
    """How long the scenarios are to be; 0 or None is each one's own choice."""

    seconds: float = 0
    kills: int = 0
    files: int = 0
    seed: int = 1


@define
class Outcome:
    """What came of a scenario: how often the fault was made, in words; the faults that
    were found (none is well); and what else is worth a line."""

    times: str = "1"
    faults: list[str] = field(factory=list)
    notes: list[str] = field(factory=list)

    def must_be_well(self) -> None:
        """Raises AssertionError with the first faults."""
        if self.faults:
            shown = "\n".join(self.faults[:20])
            raise AssertionError(f"{len(self.faults)} faults:\n{shown}")


class Skipped(Exception):
    """The machine does not allow what the scenario needs; the text says what."""


#: Raises AssertionError, or tells of faults, or neither.
Scenario = Callable[[], Outcome | None]

_wanted = Wanted()


def wanted() -> Wanted:
    """What was asked for on the command line."""
    return _wanted


def want(asked: Wanted) -> None:
    """Say what was asked for; once, by whoever reads the command line."""
    global _wanted
    _wanted = asked


def say(text: str) -> None:
    """A line for whoever waits, now."""
    print(f"    {text}", flush=True)
