"""The port to the jobs."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from koboldfs.tracker.ports import IJobControl
from test.fakes.city import MemoryJobs


class Ports(SynchronousTestCase):
    """`IJobControl`."""

    def test_fake(self) -> None:
        """The fake that the tests use has all its methods."""
        self.assertTrue(verifyObject(IJobControl, MemoryJobs()))
