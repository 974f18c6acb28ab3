"""Metrics as text."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from koboldfs.wire.metrics import (
    COUNTER,
    GAUGE,
    HISTOGRAM,
    LATENCY_BOUNDS,
    Family,
    Histogram,
    exposition,
    labelled,
    single,
)


class Text(SynchronousTestCase):
    """The grammar."""

    def test_families(self) -> None:
        """Help, type, a line a sample; whole numbers without a point."""
        text = exposition(
            [
                single("a_total", COUNTER, "What\\it\nis.", 3.0),
                labelled("b", GAUGE, "B.", "x", {'q"\\\n': 0.5, "\xe9": 2}),
            ]
        )
        self.assertEqual(
            text.decode(),
            "# HELP a_total What\\\\it\\nis.\n# TYPE a_total counter\na_total 3\n"
            '# HELP b B.\n# TYPE b gauge\nb{x="q\\"\\\\\\n"} 0.5\nb{x="\xe9"} 2\n',
        )
        self.assertEqual(exposition([]), b"\n")

    def test_wrong_name(self) -> None:
        """A name from outside can be none."""
        for name in ("", "a b", "1a", "a\n"):
            self.assertRaises(ValueError, exposition, [Family(name, GAUGE, "", [])])

    def test_histogram(self) -> None:
        """Every bucket counts those below it, too; the last one counts all."""
        histogram = Histogram()
        for seconds in (0.0, LATENCY_BOUNDS[0], 0.02, 99.0):
            histogram.note(seconds)
        family = Family("t", HISTOGRAM, "T.", histogram.samples((("c", "x"),)))
        lines = exposition([family]).decode().splitlines()
        self.assertIn('t_bucket{c="x",le="0.0005"} 2', lines)
        self.assertIn('t_bucket{c="x",le="0.025"} 3', lines)
        self.assertIn('t_bucket{c="x",le="+Inf"} 4', lines)
        self.assertIn('t_count{c="x"} 4', lines)
        self.assertEqual(len(lines), 2 + len(LATENCY_BOUNDS) + 3)
