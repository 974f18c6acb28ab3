"""What transactions are made of."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from koboldfs.store.steps import Mode, Statement, nothing, quiet
from test.unit.store.play import play


class Steps(SynchronousTestCase):
    """Small things."""

    def test_quiet(self) -> None:
        """Statements that are not there are left out."""
        one = Statement("SELECT 1")
        self.assertEqual(quiet(None, one, None).statements, (one,))

    def test_nothing(self) -> None:
        """A transaction that needs nothing says nothing."""
        played = play(nothing([1]))
        self.assertEqual((played.result, played.asked, played.quiet), ([1], [], []))

    def test_modes(self) -> None:
        """Two modes write."""
        self.assertEqual([one for one in Mode if one.writes], [Mode.WRITE, Mode.SINGLE])
