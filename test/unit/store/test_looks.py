"""Where looks at a queue begin."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.store.looks import (
    AT_ONCE_SECONDS,
    LONGEST_REST_SECONDS,
    SLACK_FIDS,
    SLACK_SECONDS,
    Look,
    Outset,
)

AT_ONCE = AT_ONCE_SECONDS + 1


class Looking(SynchronousTestCase):
    """One queue, and a clock."""

    def setUp(self) -> None:
        """Nothing is known yet."""
        self.clock = Clock()
        self.clock.advance(1_800_000_000)
        self.outset = Outset(self.clock)

    def look(self, seconds: float, *found: tuple[int, int], limit: int = 3) -> Look:
        """One that takes so long and finds (fid, for how long it was due)."""
        look = self.outset.look(limit)
        self.clock.advance(seconds)
        look.note([(fid, "other columns", late) for fid, late in found])
        self.outset.looked(look)
        return look

    def test_quick(self) -> None:
        """While looks are quick, each is a whole one."""
        for _ in range(5):
            self.assertTrue(self.look(0.04).whole)

    def test_slow(self) -> None:
        """A whole look takes a twentieth of the time; between, what became due since
        the last one is looked at, and what may have been under way then."""
        self.assertTrue(self.look(1).whole)
        for number in range(19):
            look = self.look(1, (5, 2))
            self.assertFalse(look.whole)
            self.assertEqual(look.age_seconds, 1 + SLACK_SECONDS, number)
        self.assertTrue(self.look(0.01).whole)
        self.assertTrue(self.look(0.01).whole)

    def test_rest(self) -> None:
        """However long a look takes, the next whole one comes soon."""
        self.look(30)
        self.clock.advance(LONGEST_REST_SECONDS - 31)
        self.assertFalse(self.look(0.1).whole)
        self.clock.advance(1)
        self.assertTrue(self.look(0.1).whole)

    def test_left_over(self) -> None:
        """When more was due than was taken, the rest of it is not passed over."""
        self.look(1, (1, 900), (2, 800), (3, 700))
        self.assertEqual(self.look(1).age_seconds, 701 + SLACK_SECONDS)
        self.assertEqual(self.look(1).age_seconds, 1 + SLACK_SECONDS)

    def test_nothing_known(self) -> None:
        """If only what is due at once was seen, the rest is looked at from the start,
        and the others that are due at once as well, which came in any order."""
        self.look(1, (1_000_007, AT_ONCE), (1_000_003, AT_ONCE), (9, AT_ONCE))
        look = self.look(1, (5, AT_ONCE), (500_000, AT_ONCE), (600_000, AT_ONCE))
        self.assertEqual((look.age_seconds, look.fid), (AT_ONCE_SECONDS, 1))
        look = self.look(1, (700_000, AT_ONCE), (8, 4000))
        self.assertEqual(look.fid, 600_000 - SLACK_FIDS)
        look = self.look(1)
        self.assertEqual(look.fid, 700_000 - SLACK_FIDS)
        self.assertEqual(look.age_seconds, 1 + SLACK_SECONDS)

    def test_due_at_once(self) -> None:
        """Lower fids than have been seen were closed at the same time, or long ago."""
        self.look(1, (50_000, AT_ONCE), (6, 3))
        self.assertEqual(self.look(1).fid, 50_000 - SLACK_FIDS)
        self.assertEqual(self.look(1, (45_000, AT_ONCE)).fid, 50_000 - SLACK_FIDS)
        self.assertEqual(self.look(1).fid, 50_000 - SLACK_FIDS)

    def test_none_due_at_once(self) -> None:
        """As long as none was seen, only whole looks look for them: nobody knows where
        to begin. That is so again when there turned out to be no more."""
        self.assertEqual([self.look(1).fid for _ in range(3)], [0, 0, 0])
        self.clock.advance(20)
        self.look(1, (7, AT_ONCE), (9, AT_ONCE), (8, AT_ONCE))
        self.assertEqual([self.look(1).fid for _ in range(3)], [1, 0, 0])

    def test_clock_put_back(self) -> None:
        """It does not end the looking."""
        self.look(1)
        self.clock.rightNow -= 5000
        self.assertTrue(self.look(1).whole)

    def test_run_again(self) -> None:
        """What a transaction found that was run again does not count twice."""
        look = self.outset.look(3)
        look.note([(1, 5)])
        look.note([(2, 6)])
        self.assertEqual(look.found, [(2, 6)])
