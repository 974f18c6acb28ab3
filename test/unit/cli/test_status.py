"""Tests of koboldfs.cli.status, against a scripted tracker."""

from __future__ import annotations

from test.unit.cli.case import CommandCase
from test.unit.cli.cluster import CLUSTER


class StatusTests(CommandCase):
    """``koboldfs status``."""

    def setUp(self) -> None:
        """A tracker with a small cluster."""
        super().setUp()
        self.server = self.tracker(**CLUSTER)

    def test_status(self) -> None:
        """All of it on one screen, plain in a pipe, no blanks at the ends."""
        text = self.done("status").stdout
        for word in ("Trackers", "Hosts", "Devices", "Domains", "Counters"):
            self.assertIn(word, text)
        self.assertIn("1 d 1 h", text)
        self.assertIn("a host  AllHosts()", text)
        self.assertIn("work_queue_for_replicate", text)
        self.assertNotIn("\x1b", text)
        self.assertEqual(text, "\n".join(map(str.rstrip, text.split("\n"))))

    def test_status_json(self) -> None:
        """The same for programs."""
        found = self.json("status")
        (tracker,) = found["trackers"]
        self.assertEqual(tracker["version"], "2.73-kobold")
        self.assertEqual(tracker["uptime_seconds"], 90061)
        self.assertEqual(found["counters"]["work_queue_for_replicate"], 3)
        self.assertEqual(len(found["devices"]), 2)

    def test_status_with_one_away(self) -> None:
        """A tracker that is not there is shown as such; the others tell the rest."""
        self.environment["KOBOLDFS_TRACKERS"] = f"127.0.0.1:1,{self.server.address}"
        found = self.json("status")
        self.assertEqual([t["reachable"] for t in found["trackers"]], [False, True])
        self.assertIn("refused", found["trackers"][0]["error"])
        self.assertEqual(len(found["hosts"]), 2)

    def test_status_with_all_away(self) -> None:
        """No tracker at all: exit status 1 and why."""
        self.environment["KOBOLDFS_TRACKERS"] = "127.0.0.1:1,127.0.0.1:2"
        result = self.done("status", status=1)
        self.assertIn("127.0.0.1:2", result.stderr)
        self.assertIn("no", result.stdout)

    def test_nonsense(self) -> None:
        """Counts that promise more than there is, and words for numbers, do no harm."""
        self.server.replies.update(
            get_domains=b"OK domains=999999999&domain1=a&domain1classes=9999999\r\n",
            get_devices=b"OK devices=1&dev1_devid=x&dev1_mb_total=-1\r\n",
            get_hosts=b"OK hosts=x&host1_hostid=1\r\n",
        )
        found = self.json("status")
        self.assertEqual(found["domains"], [{"domain": "a", "classes": []}])
        self.assertIsNone(found["devices"][0]["devid"])
        self.assertEqual(found["hosts"], [])
        self.done("status")
