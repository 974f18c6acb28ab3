"""Tests of koboldfs.cli.admin, status and checks, against a scripted tracker."""

from __future__ import annotations

import os
from typing import Any

from koboldfs.cli import output
from test.unit.cli.case import CommandCase

HOSTS = (
    b"OK hosts=2&host1_hostid=2&host1_hostname=node2&host1_status=down"
    b"&host1_hostip=10.0.0.2&host1_http_port=7500&host1_http_get_port="
    b"&host1_altip=&host1_altmask=&host2_hostid=1&host2_hostname=n%C3%A9"
    b"&host2_status=alive&host2_hostip=10.0.0.1&host2_http_port=7500"
    b"&host2_http_get_port=8080&host2_altip=10.1.0.1&host2_altmask=10.1.0.0/16\r\n"
)
DEVICES = (
    b"OK devices=2&dev1_devid=5&dev1_hostid=2&dev1_status=down&dev1_weight=100"
    b"&dev1_mb_total=&dev1_mb_used=&dev1_mb_free=&dev1_observed_state="
    b"&dev1_utilization=&dev2_devid=1&dev2_hostid=1&dev2_status=alive&dev2_weight=50"
    b"&dev2_mb_total=2048&dev2_mb_used=512&dev2_mb_free=1536"
    b"&dev2_observed_state=writeable&dev2_utilization=12.50\r\n"
)
DOMAINS = (
    b"OK domains=1&domain1=demo&domain1classes=2&domain1class1name=default"
    b"&domain1class1mindevcount=2&domain1class1replpolicy=AllHosts%28%29"
    b"&domain1class1hashtype=NONE&domain1class2name=big&domain1class2mindevcount=3"
    b"&domain1class2replpolicy=MultipleHosts%283%29&domain1class2hashtype=MD5\r\n"
)
CLUSTER: dict[str, Any] = {
    "get_hosts": HOSTS,
    "get_devices": DEVICES,
    "get_domains": DOMAINS,
    "!version": b"2.73-kobold\r\n.\r\n",
    "!stats": b"uptime 90061\r\nqueries 7\r\nwork_queue_for_replicate 3\r\n.\r\n",
}


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

    def test_checks(self) -> None:
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
        self.done("fsck", "start")
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

    def test_status(self) -> None:
        """All of it on one screen, plain in a pipe, no blanks at the ends."""
        text = self.done("status").stdout
        for word in ("Trackers", "Hosts", "Devices", "Domains", "Counters"):
            self.assertIn(word, text)
        self.assertIn("1 d 1 h", text)
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

    def test_no_escapes(self) -> None:
        """A name cannot steer the terminal of who reads it."""
        self.server.replies["get_domains"] = (
            b"OK domains=1&domain1=a%1B%5B31m&domain1classes=0\r\n"
        )
        self.assertEqual(
            self.done("admin", "domain", "list").stdout.split()[2], "a\\x1b[31m"
        )


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


class OutputTests(CommandCase):
    """Sizes and texts."""

    def test_sizes(self) -> None:
        """Sizes for people."""
        self.assertEqual(output.size_text(0), "0 B")
        self.assertEqual(output.size_text(1023), "1023 B")
        self.assertEqual(output.size_text(1536), "1.5 KiB")
        self.assertEqual(output.size_text(8 * 2**20), "8.0 MiB")
        self.assertEqual(output.size_text(2**80), "1048576.0 EiB")

    def test_keys(self) -> None:
        """Keys for people: readable where they can be, escaped where not."""
        self.assertEqual(output.key_shown("h\u00e9".encode()), "h\u00e9")
        self.assertEqual(output.key_shown(b"a\xff\n\x1b"), "a\\xff\\n\\x1b")

    def test_short_writes(self) -> None:
        """A destination that takes little at a time gets all of it in order."""

        class Sluggish:
            taken = b""

            def write(self, data: Any) -> int:
                self.taken += bytes(data[:2])
                return min(2, len(data))

        with output.Meter("", None) as meter:
            file: Any = Sluggish()
            self.assertEqual(output.MeteredDestination(file, meter).write(b"12345"), 5)
            self.assertEqual((file.taken, meter.done_bytes), (b"12345", 5))
