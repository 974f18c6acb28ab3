"""The errors of background work."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from koboldfs.job_errors import FsckRunning, RebalanceRunning


class Texts(SynchronousTestCase):
    """Codes and texts as MogileFS's tools know them."""

    def test_texts(self) -> None:
        """Both say what is running."""
        self.assertEqual(FsckRunning.code, "fsck_running")
        self.assertEqual(FsckRunning().message, "fsck is already running")
        self.assertEqual(RebalanceRunning.code, "rebal_running")
