"""Answers that hold as long as the picture does."""

from __future__ import annotations

from types import SimpleNamespace

from twisted.trial.unittest import SynchronousTestCase

from koboldfs.cluster import remembered
from koboldfs.cluster.remembered import Remembered


class Remembering(SynchronousTestCase):
    """A function that counts its calls."""

    def setUp(self) -> None:
        """It was not called yet."""
        self.calls = 0
        self.live = SimpleNamespace(view=object())
        self.double = Remembered(self.live, self.work_out)  # type: ignore[arg-type]

    def work_out(self, number: int) -> int:
        """Twice the number."""
        self.calls += 1
        return 2 * number

    def test_once(self) -> None:
        """Each arguments' answer is worked out once."""
        self.assertEqual([self.double(n) for n in (1, 2, 1, 2)], [2, 4, 2, 4])
        self.assertEqual(self.calls, 2)

    def test_another_view(self) -> None:
        """A new picture makes all answers old."""
        self.double(1)
        self.live.view = object()
        self.double(1)
        self.assertEqual(self.calls, 2)

    def test_limit(self) -> None:
        """Not more are kept than the limit says."""
        self.patch(remembered, "MAX_REMEMBERED", 2)
        for n in (1, 2, 3, 1):
            self.double(n)
        self.assertEqual(self.calls, 4)
