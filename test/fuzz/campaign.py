"""Many inputs to one target, and what to do with the one that fails."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic

from attrs import frozen

from test.fuzz.target import Endless, Fault, Target, examine, watching

#: One folder for each target, one file for each input that once failed.
KEPT = Path(__file__).resolve().parent / "kept"
#: The seed of every run of the suite.
SUITE_SEED = 1
#: The calls of so many inputs are counted; that takes longer than the input.
COUNTED_EVERY = 16
#: Inputs that are tried to make a failing one shorter.
MAX_TRIES = 2000


@frozen
class Found:
    """An input that failed; `number` is None for one that was not made by chance."""

    number: int | None
    data: bytes
    fault: Fault


def kept(target: Target) -> Iterator[tuple[Path, bytes]]:
    """The inputs that once failed."""
    folder = KEPT / target.name
    if folder.is_dir():
        for path in sorted(folder.iterdir()):
            yield path, path.read_bytes()


def campaign(
    target: Target,
    inputs: int,
    seed: int,
    *,
    first: int = 0,
    counted_every: int = COUNTED_EVERY,
    told: Callable[[int], None] = lambda count: None,
) -> Found | None:
    """Give the samples and `inputs` mutations of them to the target, until one fails.
    Of one in `counted_every` the calls are counted, see `examine`; `told` is called
    after each with how many that were."""
    with watching() as logged:
        for data in target.source.samples:
            fault = examine(target, data, logged)
            if fault is not None:
                return Found(None, data, fault)
        for number in range(first, first + inputs):
            data = target.source.input(seed, number)
            counted = number % counted_every == 0
            fault = examine(target, data, logged, counted=counted)
            if fault is not None:
                return Found(number, data, fault)
            told(number - first + 1)
    return None


def minimise(target: Target, data: bytes, fault: Fault) -> bytes:
    """A shorter input with a fault of the same kind: parts are left out, from halves
    down to single bytes, for as long as that helps."""
    tries = MAX_TRIES
    with watching() as logged:
        size = max(1, len(data) // 2)
        while tries > 0:
            at, shorter = 0, False
            while at < len(data) and tries > 0:
                tries -= 1
                candidate = data[:at] + data[at + size :]
                found = examine(target, candidate, logged)
                if found is not None and found.kind == fault.kind:
                    data, shorter = candidate, True
                else:
                    at += size
            if size == 1 and not shorter:
                break
            size = max(1, size // 2)
    return data


class Pace:
    """Says how many inputs were run, every few seconds, and ends one that hangs."""

    EVERY_SECONDS = 10.0
    #: Of the processor, for one input; the longest ones take a second.
    HANG_SECONDS = 60

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._began = self._said = monotonic()
        self._before = signal.signal(signal.SIGPROF, _end)
        signal.setitimer(signal.ITIMER_PROF, self.HANG_SECONDS)

    def __call__(self, count: int) -> None:
        """So many were run."""
        signal.setitimer(signal.ITIMER_PROF, self.HANG_SECONDS)
        now = monotonic()
        if now - self._said >= self.EVERY_SECONDS:
            self._said = now
            self._say(f"  {self.rate(count)}")

    def rate(self, count: int) -> str:
        """How many that is in a second, in words."""
        return f"{count} inputs, {count / (monotonic() - self._began):.0f} a second"

    def end(self) -> None:
        """No more inputs: there is nothing to wait for."""
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, self._before)


class Hanging(Endless):
    """An input takes too long; its calls were not counted, or there are none."""


def _end(number: int, frame: object) -> None:
    raise Hanging(f"more than {Pace.HANG_SECONDS} s")
