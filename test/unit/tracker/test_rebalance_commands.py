"""The rebalance commands, as MogileFS's trackers answer them."""

from __future__ import annotations

from test.fakes.world import start
from test.unit.tracker.exchange import ExchangeCase


class Exchanges(ExchangeCase):
    """Requests and replies."""

    def test_nothing_there(self) -> None:
        """Before there is a policy or a run."""
        self.assert_errors(
            {
                "rebalance_status": "no_rebal_state",
                "rebalance_stop": "rebal_not_started",
                "rebalance_start": "no_rebal_policy",
                "rebalance_test": "no_rebal_policy",
            }
        )
        self.assert_replies({"rebalance_set_policy": "OK ", "rebalance_reset": "OK "})
        reply = self.city.say("rebalance_set_policy policy=nonsense%3D1")
        self.assertTrue(reply.startswith("ERR bad_rebal_pol Invalid+setting+nonsense"))

    def test_policy_with_raw_signs(self) -> None:
        """The first `=` of an argument separates, the others belong to the value."""
        self.city.done("rebalance_set_policy policy=from_devices=1+to_devices=3")
        fields = self.city.done("server_setting key=rebal_policy")
        self.assertEqual(fields["value"], "from_devices%3D1+to_devices%3D3")

    def test_life(self) -> None:
        """Policy, test, start, status, stop, reset; nothing of it at a wrong time."""
        self.city.done(
            "rebalance_set_policy policy=from_devices%3D1,2+to_devices%3D3,4,5,6"
        )
        fields = self.city.done("rebalance_test")
        self.assertEqual(sorted(fields["sdevs"].split(",")), ["1", "2"])
        self.assertEqual(sorted(fields["ddevs"].split(",")), ["3", "4", "5", "6"])
        state = self.city.done("rebalance_start")["state"]
        self.assertIn("fids_queued%3D0", state)
        self.assertIn("completed_devs%3D", state)
        self.assertEqual(self.city.done("rebalance_status")["state"], state)
        self.assert_replies(
            {
                "rebalance_start": "ERR rebal_running rebalance+is+already+running",
                "fsck_start": "ERR rebal_running"
                " rebalance+running%3B+cannot+run+fsck+at+same+time",
                "rebalance_set_policy policy=from_devices%3D1": "ERR no_set_rebal"
                " cannot+change+rebalance+policy+while+rebalance+is+running",
                "rebalance_reset": "ERR rebal_running rebalance+is+already+running",
                "rebalance_stop": "OK ",
                "rebalance_stop ": "ERR rebal_not_started Rebalance+not+running",
                "rebalance_reset ": "OK ",
            }
        )
        self.assert_errors({"rebalance_status": "no_rebal_state"})

    def test_beside_fsck(self) -> None:
        """Not at the same time."""
        self.city.done("rebalance_set_policy policy=from_devices%3D1")
        start(self.city.admin.set_setting("fsck_host", "vm"))
        self.assert_replies(
            {
                "rebalance_start": "ERR fsck_running"
                " fsck+running%3B+cannot+run+rebalance+at+same+time"
            }
        )
