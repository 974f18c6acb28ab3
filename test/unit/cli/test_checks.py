"""Tests of koboldfs.cli.checks, against a scripted tracker."""

from __future__ import annotations

from koboldfs.cli import checks
from test.unit.cli.case import CommandCase


class CheckTests(CommandCase):
    """What fsck and rebalance show."""

    def test_fsck_status(self) -> None:
        """How far it is, and what the codes mean."""
        self.tracker(
            fsck_status=b"OK running=1&host=h&max_fid_checked=3&end_fid=9&start_time=0"
            b"&policy_only=0&num_MISS=2&num_XYZZ=1\r\n"
        )
        text = self.done("fsck", "status").stdout
        self.assertIn("a copy was missing", text)
        self.assertIn("XYZZ", text)
        self.assertEqual(self.json("fsck", "status")["end_fid"], "9")

    def test_fsck_progress(self) -> None:
        """The rate, and the time that is left, for people."""
        self.tracker(
            fsck_status=b"OK running=1&max_fid_checked=3&end_fid=9&fids_checked=3"
            b"&queued=5&stalled=2&fids_per_second=1234.5&seconds_left=7384"
            b"&domain=d&own_checksums=1\r\n"
        )
        text = self.done("fsck", "status").stdout
        for part in ("1234.5", "2 h 3 min", "stalled", "only domain"):
            self.assertIn(part, text)

    def test_progress_line(self) -> None:
        """What is said to somebody who waits; a tracker of MogileFS says less."""
        self.assertEqual(checks.progress_text({}), "0 files checked")
        fields = {"fids_checked": "1234", "fids_per_second": "5.0"}
        text = checks.progress_text({**fields, "seconds_left": "61"})
        self.assertEqual(text, "1,234 files checked, 5.0 a second, 1 min 1 s left")

    def test_durations(self) -> None:
        """The two largest units, without those that are 0."""
        for seconds, text in (
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (3605, "1 h 5 s"),
            (90061, "1 d 1 h"),
        ):
            self.assertEqual(checks.duration_text(seconds), text)

    def test_fsck_wait(self) -> None:
        """Ask until it is over, then show what it found."""
        self.patch(checks, "POLL_SECONDS", 0.0)
        status = b"OK running=%d&max_fid_checked=%d&end_fid=9&num_MISS=2\r\n"
        replies = [status % (1, 5), status % (1, 9), status % (0, 9)] * 2
        server = self.tracker(
            fsck_start=b"OK \r\n", fsck_status=lambda line: replies.pop(0)
        )
        text = self.done("fsck", "start", "--only-domain", "d", "--wait").stdout
        self.assertIn("a copy was missing", text)
        self.assertEqual(server.lines, ["fsck_start domain=d"] + ["fsck_status"] * 3)
        self.assertEqual(self.json("fsck", "wait")["max_fid_checked"], "9")

    def test_fsck_stuck(self) -> None:
        """A check that does not move is not waited for without end; one that moves
        is."""
        self.patch(checks, "POLL_SECONDS", 0.0)
        self.patch(checks, "STUCK_SECONDS", 0)
        status = b"OK running=1&host=vm&max_fid_checked=%d&end_fid=9&queued=3\r\n"
        fids = iter([1, 2, 3, 4, 4])
        server = self.tracker(fsck_status=lambda line: status % next(fids))
        result = self.done("fsck", "wait", status=1)
        self.assertIn("nothing was checked", result.stderr)
        self.assertIn("vm", result.stderr)
        self.assertEqual(len(server.lines), 5)

    def test_fsck_stopped(self) -> None:
        """A check that somebody stopped is not done."""
        self.tracker(fsck_status=b"OK running=0&max_fid_checked=5&end_fid=9\r\n")
        result = self.done("fsck", "wait", status=1)
        self.assertIn("stopped before its end", result.stderr)

    def test_fsck_log(self) -> None:
        """All pages of the log, to an empty one."""

        def page(line: str) -> bytes:
            if line.endswith("=0"):
                return (
                    b"OK row_count=2&row_1_logid=1&row_1_utime=1795385012&row_1_fid=25"
                    b"&row_1_evcode=MISS&row_1_devid=5&row_2_logid=2&row_2_fid=26\r\n"
                )
            return b"OK row_count=0\r\n"

        server = self.tracker(fsck_getlog=page)
        text = self.done("fsck", "log").stdout
        self.assertIn("a copy was missing", text)
        self.assertEqual(len(text.splitlines()), 3)
        self.assertEqual(
            server.lines, ["fsck_getlog after_logid=0", "fsck_getlog after_logid=2"]
        )

    def test_fsck_log_without_end(self) -> None:
        """A tracker that always gives the same page is not asked for ever."""
        server = self.tracker(fsck_getlog=b"OK row_count=1&row_1_logid=1\r\n")
        self.done("fsck", "log")
        self.assertEqual(len(server.lines), 2)

    def test_rebalance(self) -> None:
        """The devices of a test, and the state by name."""
        self.tracker(
            rebalance_test=b"OK sdevs=2,1&ddevs=3\r\n",
            rebalance_status=b"OK state=fids_queued%3D12+time_started%3D1795385037\r\n",
        )
        self.assertEqual(self.done("rebalance", "test").stdout, "from  2,1\nto    3\n")
        text = self.done("rebalance", "status").stdout
        self.assertIn("fids queued", text)
        self.assertIn("2026-", text)

    def test_changes(self) -> None:
        """The fsck and rebalance commands."""
        server = self.tracker(
            fsck_start=b"OK \r\n",
            fsck_stop=b"OK \r\n",
            fsck_reset=b"OK \r\n",
            fsck_clearlog=b"OK \r\n",
            rebalance_set_policy=b"OK \r\n",
            rebalance_start=b"OK state=\r\n",
            rebalance_stop=b"OK \r\n",
            rebalance_reset=b"OK \r\n",
        )
        self.assertIn("koboldfs fsck status", self.done("fsck", "start").stdout)
        self.done("fsck", "stop")
        self.done("fsck", "reset", "--policy-only", "--from", "9")
        self.done("fsck", "clearlog")
        self.done("rebalance", "policy", "from_devices=1,2 to_hosts=3")
        for word in ("start", "stop", "reset"):
            self.done("rebalance", word)
        self.assertEqual(
            server.lines,
            [
                "fsck_start",
                "fsck_stop",
                "fsck_reset policy_only=1&startpos=9",
                "fsck_clearlog",
                "rebalance_set_policy policy=from_devices%3D1,2+to_hosts%3D3",
                "rebalance_start",
                "rebalance_stop",
                "rebalance_reset",
            ],
        )
