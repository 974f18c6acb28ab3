"""What processes tell each other, as one of them sees it."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from koboldfs.siblings import Requests, Siblings


class Telling(SynchronousTestCase):
    """`Siblings`"""

    def setUp(self) -> None:
        """The second of three."""
        self.told: list[Any] = []
        self.siblings = Siblings(2, 3, lambda *told: self.told.append(told))

    def test_alone(self) -> None:
        """Who is alone leads, and tells nobody."""
        alone = Siblings(tell=lambda *told: self.fail("who should hear?"))
        alone.tell("want", job="fsck", count=0)
        self.assertTrue(alone.leads and alone.alone)
        self.assertFalse(self.siblings.leads or self.siblings.alone)

    def test_tell(self) -> None:
        """Values go as they are."""
        self.siblings.tell("want", job="fsck", count=0)
        self.assertEqual(self.told, [("want", {"job": "fsck", "count": 0})])

    def test_hear(self) -> None:
        """What comes before anybody listens waits for that."""
        past = [{"devid": 1, "reason": "old"}]
        siblings = Siblings(2, 3, past={"distrust": past})
        heard: list[Any] = []
        siblings.hear("distrust", {"devid": 2, "reason": "early"})
        siblings.observe("distrust", lambda devid, reason: heard.append(reason))
        siblings.hear("distrust", {"devid": 3, "reason": "late"})
        self.assertEqual(heard, ["old", "early", "late"])

    def test_defect(self) -> None:
        """What cannot be understood is logged, and the next is heard."""
        heard: list[int] = []
        self.siblings.observe("want", lambda job, count: heard.append(count))
        self.siblings.hear("want", {"work": "?"})
        self.siblings.hear("want", {"job": "fsck", "count": 4})
        self.assertEqual(heard, [4])
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)

    def test_requests(self) -> None:
        """The count is of all; it is told only when there is news."""
        own = 5
        requests = Requests(self.siblings, lambda: own)
        requests.tell()
        requests.tell()
        self.assertEqual(self.told, [("requests", {"number": 2, "count": 5})])
        self.siblings.hear("requests", {"number": 1, "count": 100})
        self.siblings.hear("requests", {"number": 1, "count": 110})
        self.assertEqual(requests.total(), 115)
        own = 6
        requests.tell()
        self.assertEqual(len(self.told), 2)
