"""Ranges of fids that a database has forgotten."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from koboldfs.model.numbering import (
    MOST_LIFTED,
    MOST_RANGES,
    FidRange,
    believed_up_to,
    is_forgotten,
    parse_ranges,
    ranges_text,
)


class Ranges(SynchronousTestCase):
    """As text and back."""

    def test_text(self) -> None:
        """Ranges are in order, and joined where they meet."""
        some = [FidRange(20, 30), FidRange(5, 9), FidRange(10, 12), FidRange(25, 26)]
        self.assertEqual(ranges_text(some), "5-12,20-30")
        self.assertEqual(
            parse_ranges("5-12,20-30"), (FidRange(5, 12), FidRange(20, 30))
        )
        self.assertEqual(ranges_text([]), "")

    def test_nonsense(self) -> None:
        """What is no range is passed over."""
        for text in (None, "", "x", "5", "5-", "-5", "5-6-7", f"1-{'9' * 20}", "٣-٤"):
            self.assertEqual(parse_ranges(text), (), text)
        self.assertEqual(parse_ranges("x,5-6"), (FidRange(5, 6),))

    def test_many(self) -> None:
        """The text has an end, and says rather more than less."""
        some = [FidRange(10**9 + 10 * n, 10**9 + 10 * n + 1) for n in range(100)]
        text = ranges_text(some)
        self.assertLess(len(text), 256)
        kept = parse_ranges(text)
        self.assertEqual(len(kept), MOST_RANGES)
        for one in some:
            self.assertTrue(is_forgotten(one.first, kept))
        self.assertEqual(ranges_text(kept), text)

    def test_contains(self) -> None:
        """Both ends are in it."""
        ranges = (FidRange(5, 6), FidRange(9, 9))
        found = [fid for fid in range(12) if is_forgotten(fid, ranges)]
        self.assertEqual(found, [5, 6, 9])

    def test_belief(self) -> None:
        """What has been passed over is believed but once."""
        self.assertEqual(believed_up_to(7, ()), 7 + MOST_LIFTED)
        spent = FidRange(1, MOST_LIFTED - 5)
        self.assertEqual(believed_up_to(7, (spent,)), 12)
        self.assertEqual(believed_up_to(7, (spent, FidRange(1, 50))), 7)
        self.assertEqual(believed_up_to(7, (FidRange(9, 1),)), 7 + MOST_LIFTED)
