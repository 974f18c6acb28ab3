"""Bytes to lines: what a connection keeps of a line that has not ended yet.

A line ends with LF. One that is longer than `MAX_LINE_BYTES` (a CR at its end not
counted) is reported once, as None, as soon as that is certain; the rest of it is
swallowed, so nobody can make us keep more.
"""

from __future__ import annotations

from attrs import define, field

from koboldfs.wire.tracker import MAX_LINE_BYTES


@define(eq=False)
class LineBuffer:
    """The unfinished end of what came, between two calls of `feed`."""

    _partial: bytearray = field(factory=bytearray, init=False)
    _swallowing: bool = field(default=False, init=False)

    def __len__(self) -> int:
        """How many bytes are kept."""
        return len(self._partial)

    def feed(self, data: bytes) -> list[bytes | None]:
        """The lines that `data` ends, without their LF; None for one too long."""
        lines: list[bytes | None] = []
        if b"\n" not in data:
            self._keep(data, lines)
            return lines
        ended = data.split(b"\n")
        rest = ended.pop()
        if self._swallowing:
            self._swallowing = False
            del ended[0]
        elif self._partial:
            ended[0] = bytes(self._partial) + ended[0]
            self._partial.clear()
        for line in ended:
            lines.append(None if _too_long(line) else line)
        if rest:
            self._keep(rest, lines)
        return lines

    def clear(self) -> None:
        """Forget what is kept: its end will not come."""
        self._partial.clear()

    def _keep(self, data: bytes, lines: list[bytes | None]) -> None:
        if self._swallowing:
            return
        if len(self._partial) + len(data) > MAX_LINE_BYTES + 1:  # 1: a CR at its end
            self._partial.clear()
            self._swallowing = True
            lines.append(None)
        else:
            self._partial += data


def _too_long(line: bytes) -> bool:
    if len(line) <= MAX_LINE_BYTES:
        return False
    return len(line) > MAX_LINE_BYTES + 1 or not line.endswith(b"\r")
