"""Metrics as text: what Prometheus reads (its exposition format 0.0.4).

    # HELP name what it is
    # TYPE name counter | gauge | histogram
    name{label="value",...} number

A histogram has a line ``name_bucket{le="bound"}`` for each bound, with how many were
not above it, then ``name_sum`` and ``name_count``.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence

from attrs import define, field, frozen

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
COUNTER, GAUGE, HISTOGRAM = "counter", "gauge", "histogram"

#: Bounds of latencies (seconds): from a look-up in memory to a database that stalls.
LATENCY_BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0)

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*", re.ASCII)
#: Labels in order; one line's.
Labels = tuple[tuple[str, str], ...]


@frozen
class Family:
    """What has one name. `samples` are (suffix of the name, labels, number)."""

    name: str
    kind: str
    meaning: str
    samples: Sequence[tuple[str, Labels, float]]


@define
class Histogram:
    """How many of something were how long: one count more than there are bounds."""

    counts: list[int] = field(factory=lambda: [0] * (len(LATENCY_BOUNDS) + 1))
    sum: float = 0.0

    def note(self, seconds: float) -> None:
        """One more."""
        self.counts[bisect_left(LATENCY_BOUNDS, seconds)] += 1
        self.sum += seconds

    def samples(self, labels: Labels) -> list[tuple[str, Labels, float]]:
        """The lines."""
        lines: list[tuple[str, Labels, float]] = []
        total = 0
        for bound, count in zip((*LATENCY_BOUNDS, None), self.counts, strict=True):
            total += count
            text = "+Inf" if bound is None else f"{bound:g}"
            lines.append(("_bucket", (*labels, ("le", text)), total))
        return [*lines, ("_sum", labels, self.sum), ("_count", labels, total)]


def single(name: str, kind: str, meaning: str, number: float) -> Family:
    """A family of one number without labels."""
    return Family(name, kind, meaning, [("", (), number)])


def labelled(
    name: str, kind: str, meaning: str, label: str, numbers: Mapping[str, float]
) -> Family:
    """A family with one label, by its values."""
    samples = [("", ((label, value),), number) for value, number in numbers.items()]
    return Family(name, kind, meaning, samples)


def exposition(families: Iterable[Family]) -> bytes:
    """The text. Raises `ValueError` for a name that cannot be one."""
    lines: list[str] = []
    for family in families:
        if not _NAME.fullmatch(family.name):
            raise ValueError(f"{family.name!r} is no name for a metric")
        meaning = family.meaning.replace("\\", "\\\\").replace("\n", "\\n")
        lines += (
            f"# HELP {family.name} {meaning}",
            f"# TYPE {family.name} {family.kind}",
        )
        lines += [
            f"{family.name}{suffix}{_labels(labels)} {_number(number)}"
            for suffix, labels, number in family.samples
        ]
    return ("\n".join(lines) + "\n").encode("utf-8", "backslashreplace")


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_value(text)}"' for name, text in labels) + "}"


def _value(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return escaped.replace("\n", "\\n")


def _number(number: float) -> str:
    return str(int(number)) if number == int(number) else repr(float(number))
