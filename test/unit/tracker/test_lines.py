"""Bytes to lines."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.tracker.lines import LineBuffer
from koboldfs.wire.tracker import MAX_LINE_BYTES

FUZZ = settings(max_examples=200, derandomize=True, database=None, deadline=None)


class Feeding(SynchronousTestCase):
    """`LineBuffer`."""

    @FUZZ
    @given(st.lists(st.sampled_from([b"a", b"bc", b"\r", b"\n", b"d\ne", b"\n\n"])))
    def test_any_cut(self, pieces: list[bytes]) -> None:
        """However the bytes are cut, the lines are those between the LFs."""
        buffer = LineBuffer()
        lines = [line for piece in pieces for line in buffer.feed(piece)]
        *whole, rest = b"".join(pieces).split(b"\n")
        self.assertEqual(lines, whole)
        self.assertEqual(len(buffer), len(rest))

    def test_limit(self) -> None:
        """The longest line, and one byte more, with either line end, in any halves."""
        for end in (b"\n", b"\r\n"):
            for more, expected in ((0, False), (1, True)):
                line = b"x" * (MAX_LINE_BYTES + more) + end
                for cut in (0, 1, MAX_LINE_BYTES, len(line) - 1, len(line)):
                    buffer = LineBuffer()
                    found = buffer.feed(line[:cut]) + buffer.feed(line[cut:])
                    self.assertEqual([one is None for one in found], [expected])
                    self.assertEqual(buffer.feed(b"next\n"), [b"next"])

    def test_endless(self) -> None:
        """A line without an end is reported once and not kept."""
        buffer = LineBuffer()
        found = [one for _ in range(40) for one in buffer.feed(b"x" * 65536)]
        self.assertEqual((found, len(buffer)), ([None], 0))
        self.assertEqual(buffer.feed(b"x\nnoop\nre"), [b"noop"])

    def test_clear(self) -> None:
        """What was kept is forgotten."""
        buffer = LineBuffer()
        buffer.feed(b"half a li")
        buffer.clear()
        self.assertEqual(buffer.feed(b"ne\n"), [b"ne"])
