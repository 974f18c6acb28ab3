"""What is fuzzed, and when it has failed.

A target's `run` takes one input, gives it to a parser or to a whole connection in
memory, whole and cut in pieces, and raises `Wrong` (or whatever escapes) when something
is not as it has to be. `examine` adds what holds for all of them: nothing is logged as
a failure, and there is an end: an input causes a bounded number of calls.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from types import FrameType
from typing import Any
from zlib import crc32

from attrs import frozen
from twisted.logger import LogEvent, LogLevel, formatEvent, globalLogPublisher

from test.fuzz.mutation import Source

#: What a socket gives at once (bytes).
READ_BYTES = 64 * 1024
#: Calls that an input may cause: for the world in memory that it is given to, and for
#: each of its bytes (each piece has a constant number, and may be a byte).
MAX_CALLS = 100_000
MAX_CALLS_PER_BYTE = 1_000
#: Only so many pieces of one byte, so that long inputs do not take long.
MAX_SINGLE_BYTES = 400


class Wrong(Exception):
    """Something is not as it has to be."""


class Endless(BaseException):
    """More calls than any input has a use for; no ``except Exception`` takes it."""


@frozen
class Target:
    """`inputs` is how many mutated inputs every run of the suite gives to it."""

    name: str
    run: Callable[[bytes], None]
    source: Source
    inputs: int


@frozen
class Fault:
    """What an input did. Two inputs with the same `kind` found the same thing."""

    kind: str
    details: str


def examine(
    target: Target, data: bytes, logged: list[LogEvent], *, counted: bool = True
) -> Fault | None:
    """Give one input to a target; `logged` is that of `watching`. Without `counted`
    calls may be without end, and it takes a fraction of the time."""
    logged.clear()
    counter = _CallCounter(MAX_CALLS + MAX_CALLS_PER_BYTE * len(data))
    if counted:
        sys.setprofile(counter)
    try:
        target.run(data)
    except (Exception, Endless) as error:
        sys.setprofile(None)
        place = traceback.extract_tb(error.__traceback__)[-1]
        kind = f"{type(error).__name__} in {place.name}"
        if isinstance(error, Wrong):
            kind = f"Wrong: {str(error).partition(':')[0]}"
        elif isinstance(error, Endless):
            kind = type(error).__name__  # it is anywhere when it is ended
        return Fault(kind, "".join(traceback.format_exception(error)))
    finally:
        sys.setprofile(None)
    if counter.left < 0:
        return Fault("endless", f"more than {counter.limit} calls")
    if logged:
        event = logged[0]
        failure = event.get("log_failure")
        text = str(formatEvent(event))
        details = "" if failure is None else failure.getTraceback()
        return Fault(f"logged: {text[:60]}", f"{text}\n{details}")
    return None


class _CallCounter:
    """For `sys.setprofile`, which calls it for each call and each return."""

    def __init__(self, limit: int) -> None:
        self.limit = self.left = limit

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        self.left -= 1
        if self.left < 0:
            raise Endless(f"more than {self.limit} calls")


@contextmanager
def watching() -> Iterator[list[LogEvent]]:
    """The failures and errors that are logged meanwhile."""
    logged: list[LogEvent] = []

    def observe(event: LogEvent) -> None:
        level = event.get("log_level")
        if event.get("log_failure") is not None or level in _BAD:
            logged.append(event)

    globalLogPublisher.addObserver(observe)
    try:
        yield logged
    finally:
        globalLogPublisher.removeObserver(observe)


_BAD = (LogLevel.error, LogLevel.critical)


def blocks(data: bytes) -> list[bytes]:
    """The data as a fast peer's come: in whole reads."""
    return [data[at : at + READ_BYTES] for at in range(0, len(data), READ_BYTES)]


def pieces(data: bytes) -> list[bytes]:
    """The data cut at places that only depend on the data."""
    random = Random(crc32(data))
    size = len(data)
    if size <= MAX_SINGLE_BYTES and random.randrange(3) == 0:
        return [data[at : at + 1] for at in range(size)]
    places = sorted({random.randint(0, size) for _ in range(random.randint(1, 8))})
    ends = [*places, size]
    cut = [data[at:end] for at, end in zip([0, *places], ends, strict=True)]
    return [part for piece in cut for part in blocks(piece)]


def want(condition: object, what: str) -> None:
    """Raise `Wrong` unless it holds."""
    if not condition:
        raise Wrong(what)


def want_same(whole: object, cut: object) -> None:
    """Raise `Wrong` when an input that was cut has another outcome."""
    if whole != cut:
        raise Wrong(f"cut differently: {_short(whole)}\nnot {_short(cut)}")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) < 4000 else f"{text[:4000]}..."
