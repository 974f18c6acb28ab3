"""Server settings, on the real city hall."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from koboldfs.errors import NotWritable
from koboldfs.tracker.setting_commands import writable_format
from test.unit.tracker.exchange import ExchangeCase


class Names(SynchronousTestCase):
    """Which settings may be written."""

    def test_writable(self) -> None:
        """MogileFS's and ours, whole names and beginnings."""
        for name in (
            "slave_keys slave_x_y skip_devcount skip_mkcol case_sensitive_list_keys "
            "memcache_servers memcache_ttl internal_queue_limit network_zones "
            "queue_rate_for_fsck zone_near fsck_checksum kobold_policy "
            "kobold_ack_copies kobold_lost_after_seconds kobold_scrub_days "
            "kobold_delete_grace_seconds kobold_forgotten_fids"
        ).split():
            writable_format(name)

    def test_not_writable(self) -> None:
        """Others, bare beginnings, and the pattern itself."""
        for name in (
            "foo fsck_host schema_version zone_ zone zone_* queue_* memcache_x "
            "kobold_x rebal_policy Skip_mkcol"
        ).split() + [f"zone_{'x' * 50}"]:
            self.assertRaises(NotWritable, writable_format, name)


class Settings(ExchangeCase):
    """Writing and reading."""

    def value(self, name: str) -> str | None:
        """What is recorded."""
        return dict(self.city.database.topology.settings).get(name)

    def write(self, name: str, value: str) -> str:
        """The reply to the command that writes."""
        return self.city.say(f"set_server_setting key={name}&value={value}")

    def test_errors(self) -> None:
        """No key, then not writable, then not the form."""
        self.assert_errors(
            {
                "set_server_setting": "bad_params",
                "set_server_setting key=&value=1": "bad_params",
                "set_server_setting key=foo&value=1": "not_writable",
                "set_server_setting key=skip_mkcol&value=x": "invalid_format",
                "server_setting": "bad_params",
                "server_setting KEY=q": "bad_params",
            }
        )

    def test_formats(self) -> None:
        """What is stored for what is written; None: the row goes; ERR: refused."""
        rows: dict[str, dict[str, str | None]] = {
            "skip_devcount": {
                **dict.fromkeys(("1", "t", "true", "on", "ON", "y", "yes"), "1"),
                **dict.fromkeys(("0", "f", "false", "off", "n", "no", ""), "0"),
                **dict.fromkeys(("x", "2", "o"), "ERR"),
            },
            "memcache_ttl": {"60": "60", "": "0", "x": "ERR", "-1": "ERR"},
            "queue_rate_for_fsck": {"77": "77", "any+thing": "any thing", "": None},
            "zone_near": {
                "10.0.0.0/8": "10.0.0.0/8",
                "10.1.2.3/8,+192.168.0.1": "10.1.2.3/8, 192.168.0.1",
                "nonsense": "ERR",
                "10.0.0.0/99": "ERR",
                "": None,
            },
            "fsck_checksum": {
                "MD5": "MD5",
                "CRC": "ERR",
                "off": "off",
                "": "ERR",
                "class": None,
            },
            "kobold_policy": {
                "MultipleHosts(3)": "MultipleHosts(3)",
                "X": "ERR",
                "": None,
            },
            "kobold_ack_copies": {
                "2": "2",
                "02": "2",
                "0": "ERR",
                "11": "ERR",
                "": None,
            },
            "kobold_lost_after_seconds": {"0": "0", "3600": "3600", "-1": "ERR"},
            "kobold_delete_grace_seconds": {"0": "0", "86401": "ERR", "": None},
            "kobold_scrub_days": {"0": "0", "x": "ERR", "99999": "ERR"},
            "kobold_forgotten_fids": {"1-2": "ERR", "": None},
            "memcache_servers": {"a%3Db=c": "a=b=c", "x" * 5000: "ERR", "%00": "ERR"},
        }
        for name, values in rows.items():
            for value, stored in values.items():
                before = self.value(name)
                reply = self.write(name, value)
                if stored == "ERR":
                    self.assertRegex(reply, r"^ERR invalid_format \S+$", value)
                    self.assertEqual(self.value(name), before)
                else:
                    self.assertEqual(reply, "OK ", (name, value))
                    self.assertEqual(self.value(name), stored, (name, value))

    def test_slaves(self) -> None:
        """Every change steps the version that MogileFS watches; empty removes."""
        for value, stored in (("s1", "s1"), ("", None)):
            self.write("slave_keys", value)
            self.assertEqual(self.value("slave_keys"), stored)
        self.assertEqual(self.value("slave_version"), "2")
        self.write("slave_version", "7")
        self.assertEqual(self.value("slave_version"), "7")

    def test_read(self) -> None:
        """Any name may be asked for; what is not set is empty."""
        self.write("skip_devcount", "yes")
        self.assert_replies(
            {
                "server_setting key=skip_devcount": "OK key=skip_devcount&value=1",
                "server_setting key=fsck_host": "OK key=fsck_host&value=",
                "server_setting key=caf%C3%A9~": "OK key=caf%C3%A9%7E&value=",
                "server_setting &&key=a&key=b&": "OK key=a%00b&value=",
            }
        )

    def test_list(self) -> None:
        """Sorted, without the inner ones of fsck."""
        self.assert_replies({"server_settings": "OK "})
        database = self.city.database
        for name in ("schema_version", "fsck_host", "fsck_checksum"):
            work = database.set_setting(name, "17")
            self.assertRaises(StopIteration, work.send, None)
        self.assert_replies(
            {
                "server_settings": (
                    "OK key_count=2&key_1=fsck_checksum&value_1=17"
                    "&key_2=schema_version&value_2=17"
                )
            }
        )
