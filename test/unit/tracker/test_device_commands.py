"""Devices, on the real city hall."""

from __future__ import annotations

from koboldfs.model.entities import DeviceReport, HostReport
from koboldfs.model.view import Health
from test.unit.tracker.exchange import ExchangeCase


class Devices(ExchangeCase):
    """Making, changing, showing."""

    def test_create_order(self) -> None:
        """State, number, host, then existence."""
        self.assert_errors(
            {
                "create_device state=bogus": "invalid_state",
                "create_device": "invalid_devid",
                "create_device devid=0&hostname=host1": "invalid_devid",
                "create_device devid=-1&hostname=host1": "invalid_devid",
                "create_device devid=9999999999&hostname=host1": "invalid_devid",
                "create_device devid=9&hostid=99&hostname=host1": "unknown_hostid",
                "create_device devid=9&hostname=nohost": "unknown_host",
                "create_device devid=9&hostid=x&hostname=nohost": "unknown_host",
                "create_device devid=1&hostname=host1": "existing_devid",
            }
        )
        self.assert_replies(
            {
                "create_device devid=9": ("ERR bad_args No+hostid/hostname+parameter"),
                "create_device devid=9&hostid=x": (
                    "ERR bad_args No+hostid/hostname+parameter"
                ),
            }
        )

    def test_create(self) -> None:
        """Alive unless said otherwise; by number, or else by name."""
        self.assert_replies(
            {
                "create_device devid=7&hostid=1&hostname=nohost": "OK ",
                "create_device devid=8&hostid=x&hostname=host2&state=drain": "OK ",
            }
        )
        seven = self.city.done("get_devices devid=7")
        eight = self.city.done("get_devices devid=8")
        names = ("dev1_hostid", "dev1_status")
        self.assertEqual([seven[name] for name in names], ["1", "alive"])
        self.assertEqual([eight[name] for name in names], ["2", "drain"])

    def test_show(self) -> None:
        """Recorded figures until there are observed ones; mb_asof never."""
        device = (
            "OK devices=1&dev1_devid=1&dev1_hostid=1&dev1_status=alive&dev1_weight=100"
        )
        reports = (DeviceReport(1, "readable", 2048000, 1024999, 12.5),)
        health = Health().with_report(
            HostReport(1, True, kobold=False, devices=reports)
        )
        rows = (
            (
                health,
                (
                    f"{device}&dev1_mb_total=2000&dev1_mb_used=1000&dev1_mb_free=1000"
                    "&dev1_mb_asof=&dev1_observed_state=readable&dev1_utilization=12.50"
                    "&dev1_reject_bad_md5="
                ),
            ),
            (
                Health(),
                (
                    f"{device}&dev1_mb_total=&dev1_mb_used=&dev1_mb_free=&dev1_mb_asof="
                    "&dev1_observed_state=&dev1_utilization=&dev1_reject_bad_md5="
                ),
            ),
        )
        for seen, reply in rows:
            self.city.live.view = self.city.live.view.of(
                self.city.database.topology, seen
            )
            self.assertEqual(self.city.say("get_devices devid=1"), reply)

    def test_filter(self) -> None:
        """One, none, all."""
        for more, count in (("devid=3", 1), ("devid=77", 0), ("devid=x", 0), ("", 6)):
            fields = self.city.done(f"get_devices {more}")
            self.assertEqual(fields["devices"], str(count))

    def test_set_state_order(self) -> None:
        """Words, then the device, then its host, then the change."""
        self.city.done("create_device devid=7&hostname=host1&state=dead")
        self.assert_errors(
            {
                "set_state": "bad_params",
                "set_state host=host1&device=1": "bad_params",
                "set_state host=host1&state=down": "bad_params",
                "set_state device=1&state=down": "bad_params",
                "set_state host=x&device=1&state=bogus": "bad_params",
                "set_state host=x&device=77&state=down": "no_device",
                "set_state host=x&device=abc&state=down": "no_device",
                "set_state host=x&device=9999999999&state=down": "no_device",
                "set_state host=host2&device=1&state=down": "host_mismatch",
                "set_state host=host1&device=7&state=alive": "state_too_high",
            }
        )

    def test_set_state(self) -> None:
        """From dead by way of down."""
        for state in ("dead", "down", "alive", "readonly", "drain"):
            self.assert_replies({f"set_state host=host1&device=1&state={state}": "OK "})
            fields = self.city.done("get_devices devid=1")
            self.assertEqual(fields["dev1_status"], state)

    def test_set_weight(self) -> None:
        """Not negative; a text counts as 0."""
        self.assert_errors(
            {
                "set_weight": "bad_params",
                "set_weight host=host1&device=1&weight=": "bad_params",
                "set_weight host=x&device=77&weight=-1": "bad_params",
                "set_weight host=x&device=77&weight=1": "no_device",
                "set_weight host=host2&device=1&weight=5": "host_mismatch",
            }
        )
        for text, weight in (("50", "50"), ("abc", "0"), ("7x", "7")):
            self.assert_replies(
                {f"set_weight host=host1&device=1&weight={text}": "OK "}
            )
            fields = self.city.done("get_devices devid=1")
            self.assertEqual(fields["dev1_weight"], weight)
