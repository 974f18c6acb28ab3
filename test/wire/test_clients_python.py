"""The two Python clients: pymogilefs, and pymogile for Python 2.

pymogilefs has a connection for each request, whose reply it takes to be over when the
bytes end with CRLF. It unescapes nothing, and every pair must have exactly one ``=``.

pymogile keeps its connection and reads by the expressions of the Perl client; but
fields without a value are not there for it, and it escapes ``/`` and ``:`` too.
"""

from __future__ import annotations

import re

from test.fakes.city import City
from test.wire.client_case import ClientCase, path_of
from test.wire.client_readers import (
    Refused,
    pymogile_fields,
    pymogilefs_pairs,
    pymogilefs_text,
)

REQUESTS = (
    b"Host: 127.0.0.1:7500\r\nUser-Agent: python-requests/2.31.0\r\n"
    b"Accept-Encoding: gzip, deflate\r\nAccept: */*\r\nConnection: keep-alive\r\n"
)
HTTPLIB = b"Host: 127.0.0.1:7500\r\nAccept-Encoding: identity\r\n"


def numbered(pairs: dict[str, str], stem: str) -> dict[int, str]:
    """The values of ``<stem><number>``."""
    return {
        int(name.removeprefix(stem)): value
        for name, value in pairs.items()
        if re.fullmatch(f"{stem}[0-9]+", name)
    }


class PymogilefsClient(ClientCase):
    """pymogilefs."""

    def pairs(self, line: bytes) -> dict[str, str]:
        """The pairs of the reply to a request on its own connection."""
        return pymogilefs_pairs(self.ask_anew(line))

    def open(self, key: bytes, more: bytes = b"") -> tuple[bytes, int, str]:
        """fid, devid and URL of the first of the paths that a new file may take."""
        opened = self.pairs(
            b"create_open domain=d1&key=%s&fid=0&multi_dest=1%s\r\n" % (key, more)
        )
        paths, devids = numbered(opened, "path_"), numbered(opened, "devid_")
        self.assertEqual(len(paths), int(opened["dev_count"]))
        self.assertEqual(set(paths), set(devids))
        return opened["fid"].encode(), int(devids[1]), paths[1]

    def store(self, key: bytes, data: bytes, more: bytes = b"") -> None:
        """A file; an empty one is sent in chunks, as the requests library does."""
        fid, devid, url = self.open(key, more)
        line = b"PUT %s HTTP/1.1\r\n" % path_of(url) + REQUESTS
        if data:
            request = line + b"Content-Length: %d\r\n\r\n%s" % (len(data), data)
        else:
            request = line + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        self.assertEqual(self.put(url, request), 201)
        escaped = url.replace(":", "%3A").replace("/", "%2F").encode()
        reply = self.ask_anew(
            b"create_close fid=%s&domain=d1&key=%s&path=%s&devid=%d&size=%d%s\r\n"
            % (fid, key, escaped, devid, len(data), more)
        )
        self.assertEqual(reply, b"OK \r\n")

    def paths(self, key: bytes) -> dict[int, str]:
        """The URLs of a key by their number, with the defaults of the library."""
        found = self.pairs(
            b"get_paths domain=d1&key=%s&noverify=1&zone=alt&pathcount=2\r\n" % key
        )
        paths = numbered(found, "path")
        self.assertEqual(len(paths), int(found["paths"]))
        return paths

    def read(self, key: bytes) -> bytes:
        """The bytes as they come over the wire: the library decodes none."""
        url = self.paths(key)[1]
        status, headers, body = self.get(
            b"GET %s HTTP/1.1\r\n%s\r\n" % (path_of(url), REQUESTS)
        )
        self.assertEqual(status, 200)
        self.assertNotIn("content-encoding", headers)
        self.assertEqual(int(headers["content-length"]), len(body))
        return body

    def test_whole_life(self) -> None:
        """Stored, read, replaced and deleted, a class in both requests or in none."""
        self.store(b"dir%2Fa+b", b"hello" * 1000, b"&class=c1")
        self.assertEqual(self.read(b"dir%2Fa+b"), b"hello" * 1000)
        self.store(b"dir%2Fa+b", b"")
        self.assertEqual(self.read(b"dir%2Fa+b"), b"")
        reply = self.ask_anew(b"delete domain=d1&key=dir%2Fa+b\r\n")
        self.assertEqual(pymogilefs_text(reply), "")
        reply = self.ask_anew(b"delete domain=d1&key=dir%2Fa+b\r\n")
        with self.assertRaises(Refused) as raised:
            pymogilefs_text(reply)
        self.assertEqual(raised.exception.code, "unknown_key")

    def test_one_device(self) -> None:
        """Also one path is counted and numbered."""
        self.city = City()
        self.city.done("create_domain domain=d1")
        self.city.done("create_host host=h&ip=127.0.0.1&port=7500&status=alive")
        self.city.done("create_device devid=1&hostid=1")
        self.store(b"k", b"x")
        self.assertEqual(list(self.paths(b"k")), [1])

    def test_no_copies(self) -> None:
        """A file without copies has `paths` all the same, and it is 0."""
        self.store(b"k", b"x")
        self.city.database.copies.clear()
        self.assertEqual(self.paths(b"k"), {})

    def test_unescaped_reply(self) -> None:
        """URLs are used as they came: colons and slashes stand for themselves; so do
        the slashes of a key, which comes back as `after` of the next page."""
        self.store(b"dir%2Fa", b"x")
        self.store(b"dir%2Fb", b"x")
        self.assertRegex(self.paths(b"dir%2Fa")[1], r"^http://127\.0\.0\.\d:7500/dev")
        page = self.pairs(b"list_keys domain=d1&prefix=dir%2F&limit=1\r\n")
        self.assertEqual((page["key_1"], page["next_after"]), ("dir/a", "dir/a"))

    def test_listing_to_the_end(self) -> None:
        """`key_count` and `next_after` are there, all else is `key_<number>`; the end
        is the error none_match."""
        for key in (b"a", b"b", b"c"):
            self.store(key, b"x")
        found: list[str] = []
        after = b""
        with self.assertRaises(Refused) as raised:
            for _ in range(4):
                page = self.pairs(b"list_keys domain=d1%s&limit=2\r\n" % after)
                count, after_key = page.pop("key_count"), page.pop("next_after")
                keys = {int(name.split("_")[1]): key for name, key in page.items()}
                self.assertEqual(sorted(keys), list(range(1, int(count) + 1)))
                found += [keys[number] for number in sorted(keys)]
                after = b"&after=" + after_key.encode()
        self.assertEqual(raised.exception.code, "none_match")
        self.assertEqual(found, ["a", "b", "c"])

    def test_hosts(self) -> None:
        """Each name of a new host's reply has `host` in it, which is cut off; those of
        get_hosts begin with `host<number>_`, but for their count."""
        made = self.pairs(b"create_host host=h9&ip=127.0.0.99&port=7500\r\n")
        self.assertEqual(
            {name.split("host", 1)[1]: value for name, value in made.items()},
            {"id": "4", "name": "h9"},
        )
        changed = self.pairs(b"update_host host=h9&ip=127.0.0.98&port=7500\r\n")
        for name in changed:
            self.assertIn("host", name)
        found = self.pairs(b"get_hosts \r\n")
        self.assertEqual(found.pop("hosts"), "4")
        for name in found:
            self.assertRegex(name, r"^host\d+_[a-z_]+$")

    def test_devices(self) -> None:
        """Names begin with `dev<number>_`; what is empty has its `=`; what a new
        device's request says beyond is no matter."""
        reply = self.ask_anew(
            b"create_device hostname=host1&devid=9&hostip=127.0.0.1&state=alive\r\n"
        )
        self.assertEqual(pymogilefs_text(reply), "")
        found = self.pairs(b"get_devices \r\n")
        self.assertEqual(found.pop("devices"), "7")
        for name in found:
            self.assertRegex(name, r"^dev\d+_[a-z_0-9]+$")
        self.assertEqual(found["dev1_mb_asof"], "")

    def test_domains(self) -> None:
        """The library's own expression never fitted the names and numbers of domains;
        it fits all others, as with MogileFS's tracker."""
        found = self.pairs(b"get_domains \r\n")
        self.assertEqual(found.pop("domains"), "2")
        strange = {
            name
            for name in found
            if not re.fullmatch(r"domain[0-9]+class[0-9]+[a-z]+", name)
        }
        self.assertEqual(
            strange, {"domain1", "domain1classes", "domain2", "domain2classes"}
        )

    def test_classes(self) -> None:
        """Made, changed and removed; each reply is pairs."""
        for line in (
            b"create_domain domain=new\r\n",
            b"create_class domain=new&class=c&mindevcount=3\r\n",
            b"update_class domain=new&class=c&mindevcount=2\r\n",
            b"delete_class domain=new&class=c\r\n",
            b"delete_domain domain=new\r\n",
        ):
            self.assertEqual(self.pairs(line)["domain"], "new")


class PymogileClient(ClientCase):
    """pymogile 2.1.0, with the bytes of Python 2's httplib."""

    def fields(self, line: bytes) -> dict[str, str]:
        """The fields of the reply."""
        return pymogile_fields(self.ask(line))

    def destinations(self, key: bytes) -> tuple[bytes, list[tuple[str, str]]]:
        """The fid of a new file, and (devid, URL) for each place."""
        opened = self.fields(
            b"create_open fid=0&domain=d1&multi_dest=1&key=%s\r\n" % key
        )
        places = [
            (opened[f"devid_{n}"], opened[f"path_{n}"])
            for n in range(1, int(opened["dev_count"]) + 1)
        ]
        return opened["fid"].encode(), places

    def close(self, key: bytes, fid: bytes, place: tuple[str, str], size: int) -> None:
        """create_close, its path escaped throughout."""
        path = place[1].replace(":", "%3A").replace("/", "%2F")
        line = b"create_close domain=d1&devid=%s&fid=%s&path=%s&key=%s&size=%d\r\n" % (
            place[0].encode(),
            fid,
            path.encode(),
            key,
            size,
        )
        self.assertEqual(self.fields(line), {})

    def store(self, key: bytes, data: bytes) -> None:
        """A file that was gathered in memory, in one PUT."""
        fid, places = self.destinations(key)
        request = b"PUT %s HTTP/1.1\r\n%sContent-Length: %d\r\n\r\n%s" % (
            path_of(places[0][1]),
            HTTPLIB,
            len(data),
            data,
        )
        self.assertIn(self.put(places[0][1], request), range(200, 300))
        self.close(key, fid, places[0], len(data))

    def paths(self, key: bytes) -> list[str]:
        """The URLs of a key, with the defaults of the library."""
        found = self.fields(
            b"get_paths key=%s&noverify=1&zone=alt&domain=d1&pathcount=2\r\n" % key
        )
        return [found[f"path{n}"] for n in range(1, int(found["paths"]) + 1)]

    def part(self, url: str, start: int, stop: int) -> tuple[int, bytes]:
        """Status and bytes of a read of so many bytes from there."""
        status, _, body = self.get(
            b"GET %s HTTP/1.1\r\n%sRange: bytes=%d-%d\r\n\r\n"
            % (path_of(url), HTTPLIB, start, stop - 1)
        )
        return status, body

    def test_whole_life(self) -> None:
        """Stored, read piece by piece until no more bytes are there (416), deleted."""
        self.store(b"dir%2Fk", b"hello world")
        url = self.paths(b"dir%2Fk")[0]
        head = b"HEAD %s HTTP/1.1\r\n%s\r\n" % (path_of(url), HTTPLIB)
        status, headers, body = self.get(head)
        self.assertEqual((status, headers["content-length"], body), (200, "11", b""))
        self.assertEqual(self.part(url, 0, 6), (206, b"hello "))
        self.assertEqual(self.part(url, 6, 12), (206, b"world"))
        self.assertEqual(self.part(url, 11, 17)[0], 416)
        self.assertEqual(self.fields(b"delete domain=d1&key=dir%2Fk\r\n"), {})
        code, _ = self.refusal(b"delete domain=d1&key=dir%2Fk\r\n", pymogile_fields)
        self.assertEqual(code, "unknown_key")

    def test_empty(self) -> None:
        """An empty file has no first byte either."""
        self.store(b"empty", b"")
        self.assertEqual(self.part(self.paths(b"empty")[0], 0, 10)[0], 416)

    def test_large_file(self) -> None:
        """A large file is made empty first, and then filled by PUTs of parts."""
        fid, places = self.destinations(b"large")
        url = places[0][1]
        line = b"PUT %s HTTP/1.1\r\n%s" % (path_of(url), HTTPLIB)
        self.assertEqual(self.put(url, line + b"Content-Length: 0\r\n\r\n"), 201)
        for start, data in ((0, b"hello"), (5, b" wor"), (9, b"ld")):
            request = (
                b"Content-Length: %d\r\nContent-Range: bytes %d-%d/*\r\n\r\n%s"
                % (len(data), start, start + len(data) - 1, data)
            )
            self.assertIn(self.put(url, line + request), range(200, 300))
        self.close(b"large", fid, places[0], 11)
        self.assertEqual(self.part(self.paths(b"large")[0], 0, 11)[1], b"hello world")

    def test_alt(self) -> None:
        """zone=alt is always asked for: it gives a host's other address, and its only
        one if there is no other."""
        self.store(b"k", b"x")
        [url] = self.paths(b"k")
        host = url.split("//")[1].split(":")[0]
        number = host[-1]
        self.city.done(
            f"update_host host=host{number}&altip=10.0.0.{number}&altmask=10.0.0.0/8"
        )
        self.assertEqual(self.paths(b"k"), [url.replace(host, f"10.0.0.{number}")])

    def test_other_destinations(self) -> None:
        """Each place of the loop up to dev_count may be the one."""
        fid, places = self.destinations(b"k")
        request = b"PUT %s HTTP/1.1\r\n%sContent-Length: 1\r\n\r\nx" % (
            path_of(places[-1][1]),
            HTTPLIB,
        )
        self.assertEqual(self.put(places[-1][1], request), 201)
        self.close(b"k", fid, places[-1], 1)
        self.assertEqual(self.paths(b"k"), [places[-1][1]])

    def test_listing(self) -> None:
        """All keys in one go; no keys are an error, which the caller must expect."""
        line = b"list_keys domain=d1&limit=10&prefix=a\r\n"
        self.assertEqual(self.refusal(line, pymogile_fields)[0], "none_match")
        for key in (b"ab", b"aa", b"b"):
            self.store(key, b"x")
        found = self.fields(line)
        keys = [found[f"key_{n}"] for n in range(1, int(found["key_count"]) + 1)]
        self.assertEqual(keys, ["aa", "ab"])

    def test_hosts_and_devices(self) -> None:
        """Of a host only what is never empty is asked for (but for one field that no
        tracker has); numbers of a device are whole or missing."""
        found = self.fields(b"get_hosts \r\n")
        for number in range(1, int(found["hosts"]) + 1):
            for name in ("hostid", "status", "hostname", "hostip", "http_port"):
                self.assertIn(f"host{number}_{name}", found)
        found = self.fields(b"get_devices devid=1\r\n")
        self.assertEqual(found["devices"], "1")
        for name in ("mb_total", "mb_used", "weight"):
            self.assertGreaterEqual(int(found.get(f"dev1_{name}", "0")), 0)

    def test_fids(self) -> None:
        """Every field of list_fids has a value."""
        self.store(b"k", b"")
        found = self.fields(b"list_fids to=10&from=0\r\n")
        self.assertEqual(found["fid_count"], "1")
        for name in ("key", "length", "class", "domain", "devcount"):
            self.assertIn(f"fid_1_{name}", found)

    def test_administration(self) -> None:
        """Names come back; a class that is there is an error that is passed over."""
        made = self.fields(b"create_domain domain=n\r\n")
        self.assertEqual(made["domain"], "n")
        line = b"create_class domain=n&mindevcount=2&class=c\r\n"
        self.assertEqual(self.fields(line)["class"], "c")
        self.assertEqual(self.refusal(line, pymogile_fields)[0], "class_exists")
        removed = self.fields(b"delete_class domain=n&class=c\r\n")
        self.assertEqual(removed["class"], "c")
        self.assertEqual(self.fields(b"delete_domain domain=n\r\n")["domain"], "n")
        self.assertEqual(self.fields(b"clear_cache \r\n"), {})
        self.assertEqual(self.fields(b"fsck_getlog \r\n")["row_count"], "0")
