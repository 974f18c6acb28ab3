"""Tests of koboldfs.cli.safety: what trackers tell of the safety of files."""

from __future__ import annotations

import time
from typing import Any

from koboldfs.cli import safety
from test.unit.cli.case import CommandCase
from test.unit.cli.cluster import CLUSTER

NOW = 1_800_000_000
GOOD = (
    "now={now}&short_none=0&short_one=0&short_fewer=0&short_capped=0&short_partial=0"
    "&counted_to=100000&away=0&unreadable=0&looked_at=0&looked_at_all=1"
    "&highest_fid=9&queue_replicate=0&queue_delete=4&census_began=1800000000"
    "&census_ended=1800000001&census_files=1234&census_bytes=1048576"
    "&census_whole=1200&promised=1&able_hosts=1&stored=0&unsynced=0&jobs=4"
    "&job_1_name=delete&job_1_running=1&job_1_rate=2.0&job_1_done=5"
    "&job_2_name=replicate&job_2_running=1&job_3_name=reap&job_3_running=1"
    "&job_4_name=expire&job_4_running=1"
)
BAD = GOOD.replace("short_one=0", "short_one=60")
BAD = BAD.replace("able_hosts=1", "able_hosts=0")
BAD = BAD.replace("away=0", "away=1&away_1_devid=5&away_1_copies=7&away_1_since={ago}")
BAD += (
    "&scrub_lost=2&oldest_fid=3&oldest_domain=demo&oldest_key=a%0Ab&oldest_copies=1"
    "&oldest_wanted=2&oldest_since={ago}&walk_began={ago}&walk_fid=3"
)
SCRUB = (
    b"OK count=2&scrub_1_devid=1&scrub_1_began=1&scrub_1_ended=1800000000"
    b"&scrub_1_running=0&scrub_1_lost=2&scrub_2_devid=5&scrub_2_running=1"
    b"&scrub_2_position_percent=12.5&scrub_2_ended=0\r\n"
)
DEVICE = (
    b"OK devices=1&dev1_devid=1&dev1_hostid=1&dev1_status=alive&dev1_weight=50"
    b"&dev1_mb_total=2048&dev1_mb_used=512&dev1_observed_state=writeable\r\n"
)


class SafetyCase(CommandCase):
    """A tracker that tells."""

    def told(self, text: str, **replies: Any) -> None:
        """Have the tracker tell that."""
        now = int(time.time())
        line = "OK " + text.format(now=now, ago=now - 3600) + "\r\n"
        server = {**CLUSTER, "cluster_health": line.encode(), **replies}
        self.tracker(**server)


class StatusTests(SafetyCase):
    """The first part of ``koboldfs status``."""

    def test_nothing_to_do(self) -> None:
        """All is well, and it is said."""
        self.told(GOOD, get_devices=DEVICE)
        text = self.done("status").stdout
        self.assertIn("nothing to do", text)
        self.assertIn("1,234 with 1.0 MiB", text)
        self.assertIn("0 now", text)
        found = self.json("status")
        self.assertEqual(found["advice"], [])
        jobs = {job["job"]: job for job in found["jobs"]}
        self.assertEqual(jobs["delete"]["seconds_left"], 2)
        self.assertEqual(jobs["replicate"]["seconds_left"], 0)
        self.assertIsNone(jobs["reap"]["seconds_left"])

    def test_trouble(self) -> None:
        """What is short, since when, what is away, and what to do."""
        self.told(BAD, scrub_status=SCRUB)
        text = self.done("status").stdout
        self.assertIn("60 now", text)
        self.assertIn("demo: a\\nb (fid 3) has 1 of 2 copies, for 1 h 0 min", text)
        self.assertIn("dev5 on node2 is set down", text)
        self.assertIn("promised on 1 hosts, and 0 can", text)
        self.assertIn("2 files with no good copy", text)
        self.assertIn("2 lost", text)
        self.assertIn("12 % now", text)
        found = self.json("status")
        (away,) = [row for row in found["devices"] if row["devid"] == 5]
        self.assertEqual(away["copies_away"], 7)
        self.assertEqual(away["scrub"]["position_percent"], 12.5)

    def test_lost(self) -> None:
        """Devices that are lost or late, disks that fail, files without a good copy,
        what the scrub found."""
        text = BAD.replace("away_1_devid=5", "away_1_devid=1&away_1_lost=1")
        text += (
            "&late=1&late_1_devid=5&disks=1&disk_1_devid=1&disk_1_quarantined=10000"
            "&disk_1_slow=0.7&draining=1&draining_1_devid=1&draining_1_copies=1200"
            "&lost_after=3600&lost_barred="
        )
        text = text.replace("scrub_lost=2", "scrub_lost=100")
        scrub = SCRUB.replace(b"_lost=2", b"_lost=2&scrub_1_bad=3&scrub_1_mended=1")
        self.told(text, scrub_status=scrub)
        text = self.done("status").stdout
        self.assertIn("writeable, lost", text)
        self.assertIn("alive, 1,200 left", text)
        self.assertIn("3 bad, 1 mended, 2 lost", text)
        self.assertRegex(text, "no good copy +at least 100, by the scrub; they are amo")
        self.assertIn("for 1 h 0 min, with 7 copies, and counts as lost", text)
        self.assertIn("a full quarantine", text)
        found = self.json("status")
        rows = {row["devid"]: row for row in found["devices"]}
        self.assertEqual(rows[1]["slow_seconds"], 0.7)
        self.assertEqual((rows[1]["absence"], rows[5]["absence"]), ("lost", "late"))
        self.assertEqual(rows[1]["quarantined"], 10_000)
        scrub = SCRUB.replace(b"count=2", b"count=1")
        self.told(GOOD, scrub_status=scrub)
        rows = {row["devid"]: row for row in self.json("status")["devices"]}
        self.assertIsNone(rows[5]["scrub"])

    def test_jobs(self) -> None:
        """Those that have nothing to tell are only named; in JSON all are whole."""
        text = GOOD.replace("jobs=4", "jobs=6") + (
            "&job_5_name=scrub&job_5_running=1&job_5_rate=3.5&job_6_name=fsck"
            "&job_6_running=1&job_6_failed=2"
        )
        self.told(text, get_devices=DEVICE)
        text = self.done("status").stdout
        self.assertIn("nothing to tell: expire, reap\n", text)
        for name in ("scrub", "fsck", "delete", "replicate"):
            self.assertRegex(text, f"\n  {name} +1 ")
        self.assertEqual(len(self.json("status")["jobs"]), 6)

    def test_one_screen(self) -> None:
        """Of three nodes, with something wrong, it is at most 40 lines."""
        hosts = b"OK hosts=3" + b"".join(
            b"&host%d_hostid=%d&host%d_hostname=n%d&host%d_status=alive" % ((i,) * 5)
            for i in (1, 2, 3)
        )
        devices = b"OK devices=3" + b"".join(
            b"&dev%d_devid=%d&dev%d_hostid=%d&dev%d_status=alive" % ((i,) * 5)
            for i in (1, 2, 3)
        )
        stats = b"".join(b"counter_%d 7\r\n" % i for i in range(12)) + b".\r\n"
        replies = {"get_hosts": hosts + b"\r\n", "get_devices": devices + b"\r\n"}
        self.told(BAD, **replies, **{"!stats": stats})
        text = self.done("status").stdout
        self.assertIn("counter_11 7", text)
        self.assertLessEqual(text.count("\n"), 40, text)

    def test_exact(self) -> None:
        """What is not all counted is a least number, and only that."""
        capped = "short_capped=1&short_exact_below=1"
        self.told(GOOD.replace("short_capped=0", capped))
        text = self.done("status").stdout
        self.assertRegex(text, r"one copy, and more wanted +at least 0 now\n")
        self.assertRegex(text, r"no copy +0 now\n")
        self.told(GOOD.replace("short_partial=0", "short_partial=1"))
        text = self.done("status").stdout
        self.assertRegex(text, r"no copy +at least 0 now\n")

    def test_census(self) -> None:
        """Of what stands there it is said what it is; of a count that was over before
        there was a file, that it is none."""
        self.told(f"{GOOD}&census_fid=9")
        text = self.done("status").stdout
        self.assertRegex(text, r"as many copies as wanted +[0-9,]+ then, by what is")
        self.assertNotIn("newer ones", text)
        several = GOOD.replace("stored=0", "stored=5&stored_short=1")
        self.told(several.replace("highest_fid=9", "highest_fid=99"))
        text = self.done("status").stdout
        self.assertIn("ago; newer ones are not in it\n", text)
        self.assertRegex(text, "stores answered +5 since this tracker started, 1 on f")
        first = GOOD.replace("census_files=1234", "census_files=0")
        self.told(first)
        self.assertRegex(self.done("status").stdout, r"files +not counted yet\n")
        self.told(first.replace("highest_fid=9", "highest_fid=0"))
        self.assertRegex(self.done("status").stdout, r"files +0 with ")

    def test_numbers(self) -> None:
        """What an old database has forgotten is told, and what cannot be."""
        self.told(
            f"{GOOD}&forgotten=1&forgotten_1_first=5&forgotten_1_last=9"
            "&unbelieved=1&unbelieved_1_devid=3&unbelieved_1_fid=9999999999"
        )
        text = self.done("status").stdout
        self.assertIn("fids 5 to 9 were given out", text)
        self.assertIn("dev3 has a file of the fid 9999999999", text)
        told = self.json("status")["safety"]
        self.assertEqual(told["forgotten_fids"], [{"first": 5, "last": 9}])
        wanted = [{"devid": 3, "fid": 9_999_999_999}]
        self.assertEqual(told["unbelieved_fids"], wanted)

    def test_two_trackers(self) -> None:
        """What they do of a job is added up; one that is silent is told."""
        self.told(GOOD, get_devices=DEVICE)
        first = self.environment["KOBOLDFS_TRACKERS"]
        self.told(GOOD, get_devices=DEVICE)
        second = self.environment["KOBOLDFS_TRACKERS"]
        self.environment["KOBOLDFS_TRACKERS"] = f"{first},{second},127.0.0.1:1"
        found = self.json("status")
        (job,) = [one for one in found["jobs"] if one["job"] == "delete"]
        self.assertEqual((job["running"], job["done"], job["rate"]), (2, 10, 4.0))
        self.assertIn("127.0.0.1:1", found["advice"][0])

    def test_clocks(self) -> None:
        """What lies between question and answer is no difference of clocks, however
        long that was, and whatever was asked afterwards."""
        difference = safety.clock_difference_seconds
        for now, expected in (
            (98, 0),
            (100, 0),
            (130, 0),
            (131, 0),
            (90, 8),
            (141, -10),
        ):
            self.assertEqual(difference(now, 100.0, 130.0), expected, now)
        self.assertIsNone(difference(None, 100.0, 130.0))
        self.told(GOOD.replace("{now}", str(int(time.time()) - 60)), get_devices=DEVICE)
        found = self.json("status")
        self.assertIn("s apart: set them", found["advice"][0])
        self.assertIn(found["safety"]["clock_difference_seconds"], (57, 58, 59))

    def test_mogilefs(self) -> None:
        """A tracker that does not know the command is said not to tell."""
        self.tracker(**CLUSTER)
        self.assertIn(safety.SILENT, self.done("status").stdout)
        found = self.json("status")
        self.assertEqual((found["safety"], found["jobs"]), (None, []))

    def test_mogilefs_beside(self) -> None:
        """Of two trackers the one that can tell does, and the other is shown as up."""
        self.told(GOOD, get_devices=DEVICE)
        ours = self.environment["KOBOLDFS_TRACKERS"]
        server = self.tracker(**CLUSTER)
        self.environment["KOBOLDFS_TRACKERS"] = f"{server.address},{ours}"
        found = self.json("status")
        self.assertTrue(all(one["reachable"] for one in found["trackers"]))
        self.assertEqual(found["safety"]["census"]["files"], 1234)
        self.assertEqual(found["advice"], [])

    def test_nonsense(self) -> None:
        """Words for numbers, and counts of rows that are not there, do no harm."""
        line = b"OK now=x&jobs=99999999&job_1_rate=nan&job_x_name=a&away=7\r\n"
        self.tracker(**{**CLUSTER, "cluster_health": line})
        self.done("status")
        self.json("status")
