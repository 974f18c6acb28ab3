"""Tests of koboldfs.cli.admin, against a scripted tracker."""

from __future__ import annotations

import os

from test.unit.cli.case import CommandCase
from test.unit.cli.cluster import CLUSTER


class ChangeTests(CommandCase):
    """What the changing commands send, and that they say nothing when it is done."""

    def sends(self, words: str, *lines: str) -> None:
        """The command sends these lines."""
        names = {line.split(" ")[0]: b"OK a=b\r\n" for line in lines}
        server = self.tracker(**{**CLUSTER, **names})
        result = self.done("admin", *words.split(" "))
        self.assertEqual(result.stdout, "")
        self.assertEqual(server.lines, list(lines))

    def test_hosts(self) -> None:
        """Adding, changing, marking and deleting hosts."""
        self.sends(
            "host add n1 --ip 10.0.0.9",
            "create_host host=n1&ip=10.0.0.9&port=7500&status=alive",
        )
        self.sends(
            "host add n1 --ip 1.2.3.4 --port 1 --get-port 2 --alt-ip 5.6.7.8 "
            "--alt-mask 5.0.0.0/8 --state down",
            "create_host host=n1&ip=1.2.3.4&port=1&getport=2&altip=5.6.7.8"
            "&altmask=5.0.0.0/8&status=down",
        )
        self.sends("host modify n1 --get-port 8080", "update_host host=n1&getport=8080")
        self.sends("host update n1 --get-port 8080", "update_host host=n1&getport=8080")
        self.sends("host mark n1 readonly", "update_host host=n1&status=readonly")
        self.sends("host delete n1", "delete_host host=n1")

    def test_devices(self) -> None:
        """Adding, marking and weighing devices."""
        self.sends("device add n1 4", "create_device hostname=n1&devid=4&state=alive")
        self.sends("device mark n1 4 drain", "set_state host=n1&device=4&state=drain")
        self.sends("device weight n1 4 50", "set_weight host=n1&device=4&weight=50")

    def test_domains_and_classes(self) -> None:
        """Making, changing and deleting them."""
        self.sends("domain add a&b", "create_domain domain=a%26b")
        self.sends("domain delete d", "delete_domain domain=d")
        self.sends(
            "class add demo c --copies 3 --policy MultipleHosts(3) --hash md5",
            "create_class domain=demo&class=c&mindevcount=3"
            "&replpolicy=MultipleHosts%283%29&hashtype=MD5",
        )
        self.sends("class delete demo c", "delete_class domain=demo&class=c")

    def test_class_modify(self) -> None:
        """What is not given stays: the number of copies is looked up."""
        self.tracker(**CLUSTER, update_class=b"OK \r\n")
        self.done("admin", "class", "modify", "demo", "big", "--hash", "NONE")
        result = self.done(
            "admin", "class", "modify", "demo", "no", "--hash", "NONE", status=1
        )
        self.assertIn("no class no in demo", result.stderr)
        server = self.tracker(**CLUSTER, update_class=b"OK \r\n")
        self.done("admin", "class", "modify", "demo", "big", "--policy", "AllHosts()")
        self.assertEqual(
            server.lines[-1],
            "update_class domain=demo&class=big&mindevcount=3"
            "&replpolicy=AllHosts%28%29",
        )

    def test_settings(self) -> None:
        """Setting one."""
        self.sends("settings set a b=c", "set_server_setting key=a&value=b%3Dc")

    def test_any_bytes(self) -> None:
        """A name goes to the tracker as the bytes that were typed."""
        server = self.tracker(create_domain=b"OK \r\n")
        self.done("admin", "domain", "add", "\u00e9" + os.fsdecode(b"\xff"))
        self.assertEqual(server.lines, ["create_domain domain=%C3%A9%FF"])

    def test_refused(self) -> None:
        """What the tracker says against it is the one line."""
        self.tracker(create_domain=b"ERR domain_exists That+domain+already+exists\r\n")
        result = self.done("admin", "domain", "add", "d", status=1)
        self.assertEqual(result.stderr, "koboldfs: That domain already exists\n")

    def test_bare_codes(self) -> None:
        """A refusal that is only a code is put into words."""
        self.tracker(set_server_setting=b"ERR not_writable not_writable\r\n")
        result = self.done("admin", "settings", "set", "a", "b", status=1)
        self.assertIn("no setting of that name", result.stderr)

    def test_wrong_words(self) -> None:
        """What cannot be right is not sent."""
        server = self.tracker()
        for words in (
            "host add n1",
            "host modify n1",
            "host mark n1 drain",
            "host add n1 --ip 1.2.3.4 --port 0",
            "device mark n1 x alive",
            "device mark n1 1 gone",
            "device weight n1 1 -5",
            "class add demo c --copies 0",
            "class modify demo c",
            "class add demo c --hash CRC",
            "settings set a",
            "nosuch",
        ):
            self.done("admin", *words.split(), status=2)
        self.assertEqual(server.lines, [])

    def test_json(self) -> None:
        """With ``--json`` a change answers with the tracker's fields."""
        self.tracker(create_host=b"OK hostid=4&hostname=n%C3%A9\r\n")
        found = self.json("admin", "host", "add", "n", "--ip", "1.2.3.4")
        self.assertEqual(found, {"hostid": "4", "hostname": "n\u00e9"})


class ListTests(CommandCase):
    """What the listing commands show."""

    def setUp(self) -> None:
        """A tracker with a small cluster."""
        super().setUp()
        self.server = self.tracker(
            **CLUSTER,
            server_settings=b"OK key_count=2&key_1=z&value_1=1&key_2=a&value_2=x+y\r\n",
            server_setting=lambda line: (
                b"OK key=a&value=x+y\r\n"
                if line.endswith("key=a")
                else b"OK key=b&value=\r\n"
            ),
        )

    def rows(self, *words: str) -> list[list[str]]:
        """The cells of a table without its head."""
        lines = self.done(*words).stdout.splitlines()
        return [line.split() for line in lines[1:]]

    def test_hosts(self) -> None:
        """Hosts by number; UTF-8 names are readable."""
        rows = self.rows("admin", "host", "list")
        self.assertEqual(
            rows,
            [
                ["n\u00e9", "alive", "10.0.0.1", "7500", "8080"]
                + ["10.1.0.1", "10.1.0.0/16"],
                ["node2", "down", "10.0.0.2", "7500", "-", "-", "-"],
            ],
        )
        self.assertEqual(self.json("admin", "host", "list")[1]["host"], "node2")

    def test_devices(self) -> None:
        """Devices with their hosts, how full and how busy; nothing known is a dash."""
        first, second = self.rows("admin", "device", "list")
        self.assertEqual(first[:4], ["dev1", "n\u00e9", "alive", "writeable"])
        self.assertEqual(first[4:], ["2.0", "GiB", "25", "%", "12", "%", "50"])
        self.assertEqual(second, ["dev5", "node2", "down", "-", "-", "-", "-", "100"])
        found = self.json("admin", "device", "list", "--host", "node2")
        self.assertEqual([row["devid"] for row in found], [5])
        self.assertIsNone(found[0]["full_percent"])
        self.done("admin", "device", "list", "--host", "no", status=1)

    def test_domains(self) -> None:
        """Domains and classes."""
        self.assertEqual(self.rows("admin", "domain", "list"), [["demo", "2"]])
        rows = self.rows("admin", "class", "list", "demo")
        self.assertEqual(rows[1], ["demo", "big", "3", "MultipleHosts(3)", "MD5"])
        self.done("admin", "class", "list", "no", status=1)

    def test_settings(self) -> None:
        """All by name, one, and one that is not set."""
        self.assertEqual(
            self.rows("admin", "settings", "list"), [["a", "x", "y"], ["z", "1"]]
        )
        self.assertEqual(self.json("admin", "settings", "list"), {"a": "x y", "z": "1"})
        self.assertEqual(self.done("admin", "settings", "get", "a").stdout, "x y\n")
        self.done("admin", "settings", "get", "b", status=1)

    def test_no_escapes(self) -> None:
        """A name cannot steer the terminal of who reads it."""
        self.server.replies["get_domains"] = (
            b"OK domains=1&domain1=a%1B%5B31m&domain1classes=0\r\n"
        )
        self.assertEqual(
            self.done("admin", "domain", "list").stdout.split()[2], "a\\x1b[31m"
        )


class DeviceNumbers(CommandCase):
    """How a device is typed."""

    def test_with_its_folder(self) -> None:
        """As the number, or as the name of its folder."""
        server = self.tracker(set_weight=b"OK \r\n")
        for typed in ("3", "dev3"):
            self.done("admin", "device", "weight", "node1", typed, "50")
        self.assertEqual(sum("device=3" in line for line in server.lines), 2)
        for typed in ("dev", "devdev3", "dev0", "disk3"):
            result = self.run_raw("admin", "device", "weight", "node1", typed, "50")
            self.assertEqual(result.exit_code, 2, typed)
