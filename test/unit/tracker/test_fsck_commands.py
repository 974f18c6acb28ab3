"""The fsck commands, as MogileFS's trackers answer them."""

from __future__ import annotations

from koboldfs.model.entities import FsckEvent
from test.fakes.world import start
from test.unit.tracker.exchange import ExchangeCase


class Exchanges(ExchangeCase):
    """Requests and replies."""

    def test_log(self) -> None:
        """An empty log, and one with entries; what is not known is left out."""
        self.assert_replies({"fsck_getlog": "OK row_count=0"})
        events = [FsckEvent(25, "MISS", 5), FsckEvent(25, "REPL")]
        self.city.tasks.log(events)
        fields = self.city.done("fsck_getlog after_logid=0")
        self.assertEqual(fields["row_count"], "2")
        self.assertEqual(fields["row_1_evcode"], "MISS")
        self.assertEqual(fields["row_1_devid"], "5")
        self.assertNotIn("row_2_devid", fields)
        self.assertEqual(self.city.done("fsck_getlog after_logid=1")["row_count"], "1")
        self.assert_replies({"fsck_clearlog": "OK ", "fsck_getlog": "OK row_count=0"})

    def test_life(self) -> None:
        """Reset, status, start, start again, stop twice."""
        self.assert_replies({"fsck_reset policy_only=1&startpos=5": "OK "})
        status = self.city.done("fsck_status")
        expected = {
            "running": "0",
            "host": "",
            "max_fid_checked": "5",
            "policy_only": "1",
            "end_fid": "0",
            "start_time": "0",
            "stop_time": "0",
            "max_logid": "0",
        }
        self.assertEqual({name: status[name] for name in expected}, expected)
        self.assert_replies(
            {
                "fsck_reset": "OK ",
                "fsck_start": "OK ",
                "fsck_start ": "ERR fsck_running fsck+is+already+running",
            }
        )
        status = self.city.done("fsck_status")
        self.assertEqual((status["running"], status["host"]), ("1", "vm"))
        self.assertEqual(status["start_time"], status["current_time"])
        self.assert_replies({"fsck_stop": "OK ", "fsck_stop ": "OK "})
        self.assertEqual(self.city.done("fsck_status")["running"], "0")

    def test_beside_a_rebalance(self) -> None:
        """Not at the same time."""
        start(self.city.admin.set_setting("rebal_host", "vm"))
        self.assert_replies(
            {
                "fsck_start": "ERR rebal_running"
                " rebalance+running%3B+cannot+run+fsck+at+same+time"
            }
        )

    def test_scope(self) -> None:
        """What MogileFS cannot limit."""
        self.assert_errors(
            {
                "fsck_start domain=nix": "unreg_domain",
                "fsck_start domain=d1&class=nix": "unreg_class",
                "fsck_start prefix=x": "no_domain",
                "fsck_reset class=c1": "no_domain",
            }
        )
        self.city.done("fsck_start domain=d1&class=c1&prefix=x&own_checksums=1")
        status = self.city.done("fsck_status")
        self.assertEqual(
            [status[name] for name in ("domain", "class", "prefix", "own_checksums")],
            ["d1", "c1", "x", "1"],
        )
