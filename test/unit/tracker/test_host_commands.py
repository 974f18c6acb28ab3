"""Hosts, on the real city hall."""

from __future__ import annotations

from test.fakes.city import City
from test.unit.tracker.exchange import ExchangeCase


class Hosts(ExchangeCase):
    """Making, changing, removing, showing."""

    def test_none(self) -> None:
        """An empty cluster is no error."""
        self.city = City()
        self.assert_replies(
            {
                "get_hosts": "OK hosts=0",
                "get_devices": "OK devices=0",
                "get_domains": "OK domains=0",
            }
        )

    def test_create_order(self) -> None:
        """Name, existence, ip, port, state, then what the database says."""
        self.assert_errors(
            {
                "create_host": "no_host",
                "create_host host=host1&status=bogus": "host_exists",
                "create_host host=h": "no_ip",
                "create_host host=h&ip=127.0.0.8": "no_port",
                "create_host host=h&ip=127.0.0.8&port=0": "no_port",
                "create_host host=h&ip=127.0.0.1&port=1&status=drain": "unknown_state",
                "create_host host=h&ip=127.0.0.1&port=1": "dup",
            }
        )

    def test_forms(self) -> None:
        """What could not be part of a URL, or a port, is refused."""
        for more in (
            "ip=a%20b&port=1",
            "ip=a%26b&port=1",
            "ip=127.0.0.8&port=x",
            "ip=127.0.0.8&port=65536",
            "ip=127.0.0.8&port=1&getport=-1",
            "ip=127.0.0.8&port=1&altip=%00",
            "ip=127.0.0.8&port=1&altmask=here",
        ):
            self.assert_errors({f"create_host host=h&{more}": "bad_params"})

    def test_create(self) -> None:
        """It is down until said otherwise, and shown at once."""
        self.assert_replies(
            {
                "create_host host=h+4&ip=127.0.0.4&port=7500": (
                    "OK hostid=4&hostname=h+4"
                ),
                "get_hosts hostid=4": (
                    "OK hosts=1&host1_hostid=4&host1_status=down&host1_hostname=h+4"
                    "&host1_hostip=127.0.0.4&host1_http_port=7500"
                    "&host1_http_get_port=&host1_altip=&host1_altmask="
                ),
                "create_host host=h5&ip=127.0.0.5&port=7500&status=alive"
                "&getport=7600&altip=10.0.0.5&altmask=10.0.0.0/8": (
                    "OK hostid=5&hostname=h5"
                ),
                "get_hosts hostid=5": (
                    "OK hosts=1&host1_hostid=5&host1_status=alive&host1_hostname=h5"
                    "&host1_hostip=127.0.0.5&host1_http_port=7500"
                    "&host1_http_get_port=7600&host1_altip=10.0.0.5"
                    "&host1_altmask=10.0.0.0/8"
                ),
            }
        )

    def test_filter(self) -> None:
        """Another hostid, or no number, shows none; none shows all."""
        self.assert_replies(
            {"get_hosts hostid=9": "OK hosts=0", "get_hosts hostid=x": "OK hosts=0"}
        )
        for more in ("", "hostid=", "hostid=0"):
            self.assertEqual(self.city.done(f"get_hosts {more}")["hosts"], "3")

    def test_update_order(self) -> None:
        """Name, existence, state, forms, then what the database says."""
        self.assert_errors(
            {
                "update_host": "no_host",
                "update_host host=nohost&status=bad": "host_not_found",
                "update_host host=nohost&status=alive": "host_not_found",
                "update_host host=host2&status=bad&port=x": "unknown_state",
                "update_host host=host2&port=x": "bad_params",
                "update_host host=host2&ip=127.0.0.1": "dup",
            }
        )

    def test_update(self) -> None:
        """Either name of an argument; what is empty goes, where it may."""
        changed = "OK hostid=2&hostname=host2"
        shown = "OK hosts=1&host1_hostid=2&host1_status=readonly&host1_hostname=host2"
        self.assert_replies(
            {
                "update_host host=host2&status=readonly&ip=127.0.0.22&http_port=1"
                "&http_get_port=2&altip=10.0.0.2&altmask=10.0.0.0/8": changed,
                "get_hosts hostid=2": (
                    f"{shown}&host1_hostip=127.0.0.22&host1_http_port=1"
                    "&host1_http_get_port=2&host1_altip=10.0.0.2"
                    "&host1_altmask=10.0.0.0/8"
                ),
                "update_host host=host2&hostip=127.0.0.23&port=3&getport=&altip="
                "&altmask=&status=": changed,
                "get_hosts hostid=2&": (
                    f"{shown}&host1_hostip=127.0.0.23&host1_http_port=3"
                    "&host1_http_get_port=&host1_altip=&host1_altmask="
                ),
                "update_host host=host2&ip=&port=": changed,
                "update_host host=host2": changed,
            }
        )
        self.assertIn(
            "127.0.0.23&host1_http_port=3", self.city.say("get_hosts hostid=2")
        )

    def test_two_without_altip(self) -> None:
        """Any number of hosts may have an empty altip."""
        for host in ("host1", "host2"):
            self.city.done(f"update_host host={host}&altip=")

    def test_delete(self) -> None:
        """Not one that is not there, nor one with devices."""
        self.city.done("create_host host=h&ip=127.0.0.4&port=7500")
        self.assert_errors(
            {
                "delete_host": "unknown_host",
                "delete_host host=nohost": "unknown_host",
                "delete_host host=host1": "host_not_empty",
            }
        )
        self.assert_replies(
            {"delete_host host=h": "OK ", "get_hosts hostid=4": "OK hosts=0"}
        )
