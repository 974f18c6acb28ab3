"""What parent and children say to each other: lines of JSON on pipes.

    parent -> child (its standard input, whose end is the child's end, too)
        {"kind": "begin", ...}     first of all: number, options, ports, what was heard
        {"kind": "heard", "what": WHAT, "values": {...}}
    child -> parent (its standard output)
        {"kind": "log", "level": ..., "where": ..., "text": ...}
        {"kind": "tell", "what": WHAT, "values": {...}}      for all the others
        {"kind": "ready", ...}, {"kind": "fault", "line": ...}, {"kind": "shutdown"}
        {"kind": "beat"}           every `BEAT_SECONDS`: its reactor turns

A line that is no record is not the end of anything: it is shown as it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

#: A line is at most this long (bytes); a longer one is cut into several that are not
#: understood. Options of a thousand domains fit.
MAX_LINE_BYTES = 1024 * 1024
#: So long a text is logged in one record (characters, of up to 12 bytes each); Linux
#: writes a record into a pipe in one piece, or not at all, up to 4096 bytes.
MAX_TEXT_CHARS = 300
#: How often a child says that it is well.
BEAT_SECONDS = 5.0

#: What siblings tell each other, and which value of it makes it news of its own: of
#: each, the last is repeated to a process that starts later. None: it is of the moment.
KEPT: dict[str, str | None] = {
    "want": "job",
    "distrust": "devid",
    "requests": None,
    "jobs": None,
    "metrics": None,
    "changed": None,
}


def encoded(kind: str, values: Mapping[str, Any]) -> bytes:
    """A record as a line."""
    return json.dumps({"kind": kind, **values}).encode("ascii") + b"\n"


def decoded(line: bytes) -> dict[str, Any] | None:
    """The record of a line, or None for a line that is none."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    if not isinstance(record, dict) or not isinstance(record.get("kind"), str):
        return None
    return record


def log_records(level: str, where: str, text: str) -> Iterator[bytes]:
    """A log event as records that are short enough each."""
    for line in text.splitlines() or [""]:
        for start in range(0, len(line) or 1, MAX_TEXT_CHARS):
            piece = line[start : start + MAX_TEXT_CHARS]
            yield encoded("log", {"level": level, "where": where, "text": piece})


class Lines:
    """Cuts what comes through a pipe into lines."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that are complete now, without their ends."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > MAX_LINE_BYTES:
            lines.append(self._rest)
            self._rest = b""
        return lines

    def end(self) -> list[bytes]:
        """What came without an end."""
        rest, self._rest = self._rest, b""
        return [rest] if rest else []
