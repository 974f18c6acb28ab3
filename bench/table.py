"""The table: a row is a ratio, with both absolute figures beside it."""

from __future__ import annotations

import platform
from importlib import metadata

from attrs import frozen

#: Whose versions say what was measured.
PACKAGES = ("koboldfs", "twisted", "txpostgres", "psycopg2-binary", "httptools")


@frozen
class Row:
    """Ours against a limit of this machine, in the same unit.

    `fsync` says whether writes were on stable storage before they were answered,
    `copies` how many copies there were before the answer; empty where it does not
    apply. Latencies in milliseconds. Where `smaller_wins` (memory), so it does.
    """

    what: str
    ours: float
    unit: str
    limit: float
    limit_is: str
    p50_ms: float | None = None
    p99_ms: float | None = None
    fsync: str = ""
    copies: str = ""

    @property
    def ratio(self) -> float:
        """Ours by the limit."""
        return self.ours / self.limit if self.limit else float("nan")

    def cells(self) -> list[str]:
        """What is printed."""
        return [
            self.what,
            number(self.ours),
            self.unit,
            "" if self.p50_ms is None else f"{self.p50_ms:.2f}",
            "" if self.p99_ms is None else f"{self.p99_ms:.2f}",
            self.fsync,
            self.copies,
            f"{self.ratio:.3f}",
            number(self.limit),
            self.limit_is,
        ]


HEAD = [
    "what",
    "ours",
    "unit",
    "p50 ms",
    "p99 ms",
    "fsync",
    "copies",
    "ratio",
    "limit",
    "the limit is",
]
RIGHT = {1, 3, 4, 7, 8}


def number(value: float) -> str:
    """A figure with as many digits as mean something."""
    return f"{value:,.0f}" if value >= 100 else f"{value:,.1f}"


def environment() -> str:
    """One line that says on what was measured."""
    found = [f"Python {platform.python_version()}"]
    for package in PACKAGES:
        try:
            found.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            found.append(f"{package} from the source tree")
    return ", ".join(found)


def table(rows: list[Row]) -> str:
    """All rows with aligned columns."""
    cells = [HEAD, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(HEAD))]
    lines = []
    for line in cells:
        padded = (
            cell.rjust(width) if column in RIGHT else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        lines.append("  ".join(padded).rstrip())
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)
