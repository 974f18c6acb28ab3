"""Tests of koboldfs.cli.why, against a scripted tracker."""

from __future__ import annotations

from test.unit.cli.case import CommandCase

NOW = 1_800_000_000
FILE = (
    "OK fid=7&domain=d&class=default&key=k%C3%A9&length=4&checksum=SHA-256:aa"
    "&class_checksum=&policy=AllHosts%28%29&wanted=3&copies=2&copy_1_devid=1"
    "&copy_1_host=node1&copy_1_state=alive&copy_1_observed=writeable"
    "&copy_1_verdict={verdict}&copy_1_size=4&copy_1_checksum=SHA-256:aa"
    "&copy_2_devid=5&copy_2_host=node2&copy_2_verdict=missing"
    "&wait_replqueue_nexttry={due}&wait_replqueue_failcount=2&now=1800000000\r\n"
)


class WhyTests(CommandCase):
    """``koboldfs why``."""

    def asked(self, verdict: str = "good", due: int = 0) -> None:
        """Have the tracker tell of a file."""
        line = FILE.format(verdict=verdict, due=due).encode()
        self.server = self.tracker(file_health=line)

    def test_file(self) -> None:
        """Where it is, what its copies are now, what waits."""
        self.asked()
        text = self.done("--domain", "d", "why", "k").stdout
        self.assertIn("2 recorded, 3 wanted, 1 read and good", text)
        self.assertIn("to be copied  due now, failed 2 times", text)
        self.assertIn("missing", text)
        found = self.json("--domain", "d", "why", "--no-read", "k")
        self.assertEqual(found["copies"][0]["checksum"], "SHA-256:aa")
        self.assertEqual(found["key"], "k\xe9")
        self.assertEqual(found["waits"]["replqueue"]["failcount"], 2)

    def test_lost(self) -> None:
        """A copy on a lost device does not count; and what the scrub found."""
        line = FILE.format(verdict="away", due=0).replace(
            "&copy_1_verdict", "&copy_1_absence=lost&copy_1_verdict"
        )
        line = line.replace("&copies=2", "&counting=1&lost_since=1700000000&copies=2")
        self.tracker(file_health=line.encode())
        result = self.done("--domain", "d", "why", "k", status=1)
        self.assertIn("2 recorded, 1 of them count, 3 wanted", result.stdout)
        self.assertIn("writeable, lost", result.stdout)
        self.assertIn("found no good copy on 2023-11-1", result.stdout)

    def test_waits(self) -> None:
        """For when it is due, or that it was given up."""
        self.asked(due=NOW + 90)
        self.assertIn("in 1 min 30 s", self.done("--domain", "d", "why", "k").stdout)
        self.asked(due=2**31 - 1)
        self.assertIn("given up", self.done("--domain", "d", "why", "k").stdout)

    def test_no_good_copy(self) -> None:
        """Exit status 1, and why."""
        self.asked("bad")
        result = self.done("--domain", "d", "why", "k", status=1)
        self.assertIn("no copy of it is good", result.stderr)

    def test_mogilefs(self) -> None:
        """A tracker that cannot tell."""
        self.tracker()
        result = self.done("--domain", "d", "why", "k", status=1)
        self.assertIn("does not tell", result.stderr)
