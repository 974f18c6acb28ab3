"""What a store promises."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from koboldfs.model.promise import Keeping, Promise


class Promises(SynchronousTestCase):
    """The values."""

    def test_kept(self) -> None:
        """As many as promised, or more."""
        self.assertTrue(Promise(2, 2).kept)
        self.assertTrue(Promise(3, 2).kept)
        self.assertFalse(Promise(1, 2).kept)

    def test_counters(self) -> None:
        """What has counted, by name."""
        self.assertEqual(Keeping().counters(), {})
        self.assertEqual(Keeping(5, 2, 0).counters(), {"stored": 5, "stored_short": 2})
        self.assertEqual(Keeping(1, 0, 1).counters()["stored_unsynced"], 1)
