"""The Perl client, its Admin, and the utilities that stand on them.

A request is ``command name=value&name=value`` CRLF; the arguments come in no order, and
one that is undefined does not come at all. Escaped is everything but ``A-Z a-z 0-9 _ ,
- . / \\ :`` and the blank, which is ``+``. Replies are read by two expressions.
"""

from __future__ import annotations

import re
from itertools import permutations

from koboldfs.model.entities import FsckEvent
from test.wire.client_case import ClientCase, path_of
from test.wire.client_readers import Refused, expression_fields


class PerlCase(ClientCase):
    """What the Perl client does with its one connection."""

    def fields(self, line: bytes) -> dict[str, str]:
        """The fields of the reply; raises `Refused`."""
        return expression_fields(self.ask(line))

    def destinations(self, opened: dict[str, str]) -> list[tuple[str, str]]:
        """(devid, URL) in the order in which they are tried; both forms of reply."""
        if "dev_count" not in opened:
            return [(opened["devid"], opened["path"])]
        numbers = range(1, int(opened["dev_count"]) + 1)
        return [(opened[f"devid_{n}"], opened[f"path_{n}"]) for n in numbers]

    def put_1_0(self, url: str, data: bytes) -> bool:
        """A PUT over HTTP/1.0 with two lines in its head; any 2xx is fine."""
        line = b"PUT %s HTTP/1.0\r\nContent-length: %d\r\n\r\n" % (
            path_of(url),
            len(data),
        )
        return 200 <= self.put(url, line + data) <= 299

    def store(self, key: bytes, data: bytes, more: bytes = b"") -> str:
        """A file from its first request to its last; returns its fid."""
        opened = self.fields(
            b"create_open key=%s&fid=0&multi_dest=1&domain=d1%s\r\n" % (key, more)
        )
        devid, url = self.destinations(opened)[0]
        self.assertTrue(self.put_1_0(url, data))
        closed = self.fields(
            b"create_close size=%d&domain=d1&devid=%s&path=%s&key=%s&fid=%s\r\n"
            % (len(data), devid.encode(), url.encode(), key, opened["fid"].encode())
        )
        self.assertEqual(closed, {})
        return opened["fid"]

    def paths(self, line: bytes) -> list[str]:
        """The URLs of a reply to get_paths."""
        found = self.fields(line)
        return [found[f"path{n}"] for n in range(1, int(found["paths"]) + 1)]


class PerlClient(PerlCase):
    """MogileFS::Client."""

    def test_whole_life(self) -> None:
        """A file with a key of all kinds of bytes comes and goes on one connection."""
        key = b"a/b:c,d-e.f\\g+h%26%3D%25%7E%C3%A9"
        self.store(key, b"hello", b"&class=c1")
        urls = self.paths(b"get_paths noverify=0&key=%s&domain=d1\r\n" % key)
        self.assertEqual(len(urls), 1)
        answer = self.get(
            b"GET %s HTTP/1.1\r\nTE: deflate,gzip;q=0.3\r\nConnection: TE, close\r\n"
            b"Host: 127.0.0.1:7500\r\nUser-Agent: libwww-perl/6.36\r\n\r\n"
            % path_of(urls[0])
        )
        status, headers, body = answer
        self.assertEqual((status, body), (200, b"hello"))
        self.assertEqual(headers["content-length"], "5")
        self.assertNotIn("transfer-encoding", headers)
        listed = self.fields(b"list_keys domain=d1&prefix=a/b:\r\n")
        self.assertEqual(listed["key_1"], "a/b:c,d-e.f\\g h&=%~\xc3\xa9")
        self.fields(b"rename domain=d1&from_key=%s&to_key=new\r\n" % key)
        self.fields(b"updateclass class=default&key=new&domain=d1\r\n")
        self.assertEqual(
            self.fields(b"file_info domain=d1&key=new\r\n")["class"], "default"
        )
        self.fields(b"delete key=new&domain=d1\r\n")
        code, _ = self.refusal(b"get_paths noverify=0&zone=alt&key=new&domain=d1\r\n")
        self.assertEqual(code, "unknown_key")

    def test_any_order(self) -> None:
        """The order of the arguments means nothing, however the hash has them."""
        words = (b"domain=d1", b"key=k", b"class=c1", b"fid=0", b"multi_dest=1")
        for number, order in enumerate(permutations(words), 1):
            opened = self.fields(b"create_open " + b"&".join(order) + b"\r\n")
            self.assertEqual(opened["fid"], str(number))
            devid, url = self.destinations(opened)[0]
            self.assertTrue(self.put_1_0(url, b"x"))
            closing = [
                b"fid=" + opened["fid"].encode(),
                b"devid=" + devid.encode(),
                b"domain=d1",
                b"size=1",
                b"key=k",
                b"path=" + url.encode(),
            ]
            shift = number % len(closing)
            line = b"&".join(closing[shift:] + closing[:shift])
            self.assertEqual(self.fields(b"create_close " + line + b"\r\n"), {})

    def test_other_destination(self) -> None:
        """When the first node refuses the bytes, the second URL with its devid is as
        good: they are on different hosts, and any of them may be closed."""
        opened = self.fields(b"create_open fid=0&multi_dest=1&domain=d1&key=k\r\n")
        found = self.destinations(opened)
        self.assertGreater(len(found), 1)
        hosts = {url.split("/")[2] for _, url in found}
        self.assertEqual(len(hosts), len(found))
        devid, url = found[-1]
        self.assertTrue(self.put_1_0(url, b"hello"))
        self.fields(
            b"create_close key=k&domain=d1&size=5&fid=%s&devid=%s&path=%s\r\n"
            % (opened["fid"].encode(), devid.encode(), url.encode())
        )
        self.assertEqual(self.paths(b"get_paths key=k&noverify=0&domain=d1\r\n"), [url])

    def test_single_destination(self) -> None:
        """Without multi_dest the reply has the form of old trackers, which is read."""
        opened = self.fields(b"create_open key=k&domain=d1&fid=0\r\n")
        [(devid, url)] = self.destinations(opened)
        self.assertIn(b"/dev%s/" % devid.encode(), path_of(url))

    def test_other_address(self) -> None:
        """A client in a host's altmask is given the other address, and the path goes
        back with that address in it."""
        for number in (1, 2, 3):
            self.fields(
                b"update_host host=host%d&altip=10.0.0.%d&altmask=127.0.0.0/24\r\n"
                % (number, number)
            )
        opened = self.fields(b"create_open fid=0&multi_dest=1&domain=d1&key=k\r\n")
        devid, url = self.destinations(opened)[0]
        self.assertIn("//10.0.0.", url)
        self.assertTrue(self.put_1_0(url.replace("//10.", "//127."), b"x"))
        self.fields(
            b"create_close key=k&domain=d1&size=1&fid=%s&devid=%s&path=%s\r\n"
            % (opened["fid"].encode(), devid.encode(), url.encode())
        )
        self.assertEqual(self.paths(b"get_paths key=k&noverify=0&domain=d1\r\n"), [url])

    def test_checksum_at_close(self) -> None:
        """create_close_args: a checksum is compared if checksumverify is true."""
        md5 = b"5d41402abc4b2a76b9719d911017c592"
        for claimed, verify, code in (
            (md5, 1, None),
            (md5.upper(), 1, None),
            (b"0" * 32, 0, None),
            (b"0" * 32, 1, "checksum_mismatch"),
        ):
            opened = self.fields(
                b"create_open class=md5c&domain=d1&multi_dest=1&fid=0&key=k\r\n"
            )
            devid, url = self.destinations(opened)[0]
            self.assertTrue(self.put_1_0(url, b"hello"))
            line = (
                b"create_close checksumverify=%d&checksum=MD5:%s&size=5&domain=d1"
                b"&fid=%s&devid=%s&key=k&path=%s\r\n"
                % (
                    verify,
                    claimed,
                    opened["fid"].encode(),
                    devid.encode(),
                    url.encode(),
                )
            )
            if code is None:
                self.assertEqual(self.fields(line), {})
                found = self.fields(b"file_info key=k&domain=d1\r\n")
                self.assertEqual(found["checksum"], f"MD5:{claimed.decode().lower()}")
            else:
                self.assertEqual(self.refusal(line)[0], code)

    def test_missing_key_is_success(self) -> None:
        """delete and rename of a missing key are fine to the client, so the code must
        be that very one; other errors are errors."""
        for line, code in (
            (b"delete key=no&domain=d1\r\n", "unknown_key"),
            (b"rename to_key=b&from_key=no&domain=d1\r\n", "unknown_key"),
            (b"delete key=no&domain=D1\r\n", "unreg_domain"),
        ):
            self.assertEqual(self.refusal(line)[0], code)

    def test_no_such_class(self) -> None:
        """The text of an error is unescaped for a human."""
        line = b"create_open class=no&key=k&multi_dest=1&fid=0&domain=d1\r\n"
        self.assertEqual(self.refusal(line), ("unreg_class", "unreg_class"))
        line = b"list_keys domain=d1&prefix=a&after=b\r\n"
        text = "Pattern does not match the after-value?"
        self.assertEqual(self.refusal(line), ("after_mismatch", text))

    def test_listing_to_the_end(self) -> None:
        """Page by page with what the reply says is next, until none_match."""
        names = [f"dir/{number}" for number in (1, 10, 11, 2, 3)]
        for name in names:
            self.store(name.encode(), b"x")
        found: list[str] = []
        after = ""
        for _ in range(len(names)):
            line = f"list_keys limit=2&domain=d1&after={after}&prefix=dir/\r\n"
            try:
                page = self.fields(line.encode())
            except Refused as refused:
                self.assertEqual(refused.code, "none_match")
                break
            found += [page[f"key_{n}"] for n in range(1, int(page["key_count"]) + 1)]
            after = page["next_after"]
        self.assertEqual(found, names)


class PerlAdmin(PerlCase):
    """MogileFS::Admin."""

    def test_echoes(self) -> None:
        """Domains and classes are made if the reply repeats their names."""
        made = self.fields(b"create_domain domain=new+one/x\r\n")
        self.assertEqual(made["domain"], "new one/x")
        for command in (b"create_class", b"update_class"):
            made = self.fields(command + b" mindevcount=3&class=a+b&domain=d2\r\n")
            self.assertEqual(made["class"], "a b")
        self.fields(
            b"update_class class=a+b&replpolicy=MultipleHosts%285%29"
            b"&mindevcount=3&domain=d2\r\n"
        )
        self.fields(b"delete_class class=a+b&domain=d2\r\n")
        self.fields(b"delete_domain domain=new+one/x\r\n")

    def test_new_host(self) -> None:
        """The client looks for a field `host` that no tracker sends, and so returns
        false; mogadm asks whether there was an error, and there was none."""
        for command in (b"create_host", b"update_host"):
            made = self.fields(
                command + b" port=7500&host=h9&ip=127.0.0.99&status=alive\r\n"
            )
            self.assertEqual(made, {"hostid": "4", "hostname": "h9"})
        line = b"create_host ip=127.0.0.9&port=1&host=h9\r\n"
        refused = ("host_exists", "That host already exists")
        self.assertEqual(self.refusal(line), refused)
        self.fields(b"create_device hostname=h9&devid=9&state=alive\r\n")
        self.fields(b"set_state device=9&state=dead&host=h9\r\n")
        self.fields(b"set_weight weight=50&device=9&host=h9\r\n")

    def test_lists(self) -> None:
        """Hosts, devices and domains, counted from 1, every field there; sizes are
        numbers or empty."""
        self.fields(b"update_host host=host2&altip=10.0.0.2&altmask=10.0.0.0/8\r\n")
        found = self.fields(b"get_hosts \r\n")
        self.assertEqual(int(found["hosts"]), 3)
        names = "hostid status hostname hostip http_port http_get_port altip altmask"
        for number in (1, 2, 3):
            self.assertEqual(
                {name for name in names.split() if f"host{number}_{name}" in found},
                set(names.split()),
            )
        self.assertEqual(found["host2_altip"], "10.0.0.2")
        self.assertEqual(self.fields(b"get_hosts hostid=2\r\n")["host1_hostid"], "2")
        self.city.done("create_host host=new&ip=127.0.0.4&port=7500")
        self.city.done("create_device devid=7&hostname=new&state=down")
        found = self.fields(b"get_devices \r\n")
        self.assertEqual((found["devices"], found["dev7_mb_total"]), ("7", ""))
        for number in range(1, int(found["devices"]) + 1):
            for name in ("mb_total", "mb_used", "mb_free", "weight"):
                self.assertRegex(found[f"dev{number}_{name}"], r"^\d*$")
            for name in ("devid", "hostid", "status", "observed_state", "utilization"):
                self.assertIn(f"dev{number}_{name}", found)
        found = self.fields(b"get_domains \r\n")
        classes = {
            found[f"domain{i}"]: {
                found[f"domain{i}class{j}name"]: found[f"domain{i}class{j}mindevcount"]
                for j in range(1, int(found[f"domain{i}classes"]) + 1)
            }
            for i in range(1, int(found["domains"]) + 1)
        }
        self.assertEqual(
            classes,
            {"d1": {"default": "2", "c1": "2", "md5c": "2"}, "d2": {"default": "2"}},
        )

    def test_cache_and_fids(self) -> None:
        """clear_cache sends all=1; list_fids goes on from a fid."""
        self.fields(b"clear_cache all=1\r\n")
        fids = [self.store(name, b"x") for name in (b"a", b"b", b"c")]
        found = self.fields(b"list_fids to=100&from=%s\r\n" % fids[0].encode())
        self.assertEqual(found["fid_count"], "2")
        for name in ("fid", "key", "length", "class", "domain", "devcount"):
            self.assertIn(f"fid_2_{name}", found)
        self.assertEqual((found["fid_1_key"], found["fid_2_key"]), ("b", "c"))
        self.assertEqual(self.fields(b"list_fids from=99&to=9\r\n")["fid_count"], "0")

    def test_settings(self) -> None:
        """A list of slaves as the client keeps it; an undefined value is left out, and
        removes the setting."""
        for key, value in (
            (b"slave_keys", b"one%3D2,two"),
            (b"slave_one", b"DBI:mysql:host%3Dx%7Cuser%7Cpass"),
        ):
            self.fields(b"set_server_setting value=%s&key=%s\r\n" % (value, key))
        found = self.fields(b"server_setting key=slave_keys\r\n")
        self.assertEqual(found["value"], "one=2,two")
        found = self.fields(b"server_setting key=slave_one\r\n")
        self.assertEqual(found["value"], "DBI:mysql:host=x|user|pass")
        found = self.fields(b"server_settings \r\n")
        count = int(found["key_count"])
        self.assertIn("slave_one", {found[f"key_{n}"] for n in range(1, count + 1)})
        self.fields(b"set_server_setting key=slave_one\r\n")
        self.assertEqual(self.fields(b"server_setting key=slave_one\r\n")["value"], "")

    def test_checks(self) -> None:
        """fsck, from its start to its log."""
        self.fields(b"fsck_reset startpos=0&policy_only=0\r\n")
        self.fields(b"fsck_start \r\n")
        found = self.fields(b"fsck_status \r\n")
        for name in ("running", "max_fid_checked", "start_time", "current_time"):
            self.assertRegex(found[name], r"^\d+$")
        self.assertEqual((found["running"], found["policy_only"]), ("1", "0"))
        self.fields(b"fsck_stop \r\n")
        self.city.tasks.log([FsckEvent(25, "MISS", 5), FsckEvent(25, "REPL")])
        found = self.fields(b"fsck_getlog after_logid=0\r\n")
        self.assertEqual(found["row_count"], "2")
        self.assertEqual((found["row_1_evcode"], found["row_1_devid"]), ("MISS", "5"))
        self.fields(b"fsck_clearlog \r\n")

    def test_three_seconds(self) -> None:
        """The client gives up after three seconds. What needs no node answers at once,
        though a host hangs, and so does taking that host out."""
        self.city.nodes.clock = self.city.clock
        self.city.nodes.slow[1] = 3600
        for line in (
            b"create_domain domain=d3\r\n",
            b"create_class domain=d3&class=c&mindevcount=2\r\n",
            b"set_weight host=host1&device=1&weight=5\r\n",
            b"create_open domain=d1&key=k&multi_dest=1&fid=0\r\n",
            b"update_host host=host1&status=down\r\n",
            b"get_devices \r\n",
        ):
            self.fields(line)


class Utilities(PerlCase):
    """What the commands around the client lean on."""

    def test_mogadm_check(self) -> None:
        """Hosts and devices are asked for in this order on one connection; figures of
        every writable device can be shown."""
        hosts = self.fields(b"get_hosts \r\n")
        devices = self.fields(b"get_devices \r\n")
        names = {hosts[f"host{n}_hostid"] for n in range(1, int(hosts["hosts"]) + 1)}
        for number in range(1, int(devices["devices"]) + 1):
            self.assertIn(devices[f"dev{number}_hostid"], names)
            self.assertEqual(devices[f"dev{number}_observed_state"], "writeable")
            self.assertGreater(int(devices[f"dev{number}_mb_total"]), 0)

    def test_mogtool_keys(self) -> None:
        """A big file is pieces `<key>,<number>` and a piece of information in front;
        both are found by their prefix, and neither colon nor comma is changed."""
        for key in (b"_big_info:big", b"big,1", b"big,2"):
            self.store(key, b"x")
        for prefix, names in (
            (b"_big_info:", ["_big_info:big"]),
            (b"big,", ["big,1", "big,2"]),
        ):
            reply = self.ask(b"list_keys prefix=%s&domain=d1\r\n" % prefix)
            for name in names:
                self.assertIn(b"=" + name.encode(), reply)
            listed = expression_fields(reply)
            self.assertEqual(
                [listed[f"key_{n}"] for n in range(1, len(names) + 1)], names
            )

    def test_mogtool_waits(self) -> None:
        """Replication is over when get_paths gives as many paths as are waited for."""
        fid = int(self.store(b"big,1", b"x"))
        line = b"get_paths domain=d1&key=big,1&noverify=0\r\n"
        self.assertEqual(len(self.paths(line)), 1)
        for devid in (2, 4, 6):
            place = self.city.live.view.place(devid)
            assert place is not None
            self.city.nodes.put(place, fid, b"x")
        self.city.database.copies[fid] = (2, 4, 6)
        self.assertEqual(len(self.paths(line)), 2)
        more = b"get_paths pathcount=3&noverify=0&key=big,1&domain=d1\r\n"
        urls = self.paths(more)
        self.assertEqual(len(urls), 3)
        devids = {re.findall(r"/dev(\d)/", url)[0] for url in urls}
        self.assertEqual(devids, {"2", "4", "6"})
