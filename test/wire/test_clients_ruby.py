"""mogilefs-client for Ruby: the expressions of the Perl client, and an exception class
for each code of an error.

It escapes in lower case, sends an argument that is nil as an empty one, and speaks
HTTP/1.0 without any header to the nodes.
"""

from __future__ import annotations

from koboldfs import errors
from test.wire.client_case import ClientCase, path_of
from test.wire.client_readers import exception_name, ruby_fields

#: The codes for which the client has a class from the beginning.
KNOWN = set(
    "dup after_mismatch bad_params class_exists class_has_files class_not_found db "
    "domain_has_files domain_exists domain_not_empty domain_not_found failure "
    "host_exists host_mismatch host_not_empty host_not_found invalid_mindevcount "
    "key_exists no_class no_devices no_domain no_host no_ip no_key no_port none_match "
    "plugin_aborted state_too_high unknown_command unknown_host unknown_key "
    "unknown_state unreg_domain".split()
)


class Ruby(ClientCase):
    """mogilefs-client."""

    def fields(self, line: bytes) -> dict[str, str]:
        """The fields of the reply."""
        return ruby_fields(self.ask(line))

    def exception(self, line: bytes) -> str:
        """The class of the exception that the reply raises."""
        return self.refusal(line, ruby_fields)[0]

    def store(self, key: bytes, data: bytes) -> str:
        """A file of no class, in the first destination; returns its URL."""
        opened = self.fields(
            b"create_open domain=d1&class=&key=%s&multi_dest=1\r\n" % key
        )
        self.assertIn("dev_count", opened)
        devid, url = opened["devid_1"], opened["path_1"]
        head = b"PUT %s HTTP/1.0\r\nContent-Length: %d\r\n\r\n"
        request = head % (path_of(url), len(data)) + data
        self.assertIn(self.put(url, request), range(200, 300))
        closed = self.fields(
            b"create_close fid=%s&devid=%s&domain=d1&key=%s&path=%s&size=%d\r\n"
            % (opened["fid"].encode(), devid.encode(), key, url.encode(), len(data))
        )
        self.assertEqual(closed, {})
        return url

    def test_whole_life(self) -> None:
        """The path goes back as it was given; escapes in lower case are understood."""
        key = b"dir/a:b+%c3%a9%26%3d"
        url = self.store(key, b"hello")
        found = self.fields(b"get_paths domain=d1&key=%s&noverify=1&zone=\r\n" % key)
        self.assertEqual(found, {"paths": "1", "path1": url})
        listed = self.fields(b"list_keys domain=d1&prefix=dir/&after=&limit=1000\r\n")
        self.assertEqual(listed["key_1"], "dir/a:b \xc3\xa9&=")
        self.fields(b"rename domain=d1&from_key=%s&to_key=new\r\n" % key)
        self.assertEqual(self.fields(b"delete domain=d1&key=new\r\n"), {})
        line = b"delete domain=d1&key=new\r\n"
        self.assertEqual(self.exception(line), "UnknownKeyError")

    def test_bare_http(self) -> None:
        """GET and HEAD of HTTP/1.0 without a Host: the length is said, the head ends
        before the body begins, and the connection ends with it."""
        url = self.store(b"k", b"hello")
        for method, data in ((b"GET", b"hello"), (b"HEAD", b"")):
            channel, wire = self.node.connect()
            request = b"%s %s HTTP/1.0\r\n\r\n" % (method, path_of(url))
            channel.dataReceived(request)
            answer = wire.value()
            self.assertRegex(answer.split(b"\r\n")[0], rb"^HTTP/\d+\.\d+\s+200")
            self.assertRegex(answer, rb"(?im)^Content-Length:\s*5\r$")
            self.assertEqual(answer.split(b"\r\n\r\n", 1)[1], data)
            self.assertNotRegex(answer, rb"(?i)chunked")
            self.assertTrue(wire.disconnecting)

    def test_each_key(self) -> None:
        """Pages until the exception; the first `after` is empty."""
        for key in (b"p/a", b"p/b", b"p/c"):
            self.store(key, b"")
        found: list[str] = []
        after = ""
        line = "list_keys domain=d1&prefix=p/&after={}&limit=2\r\n"
        while len(found) < 3:
            page = self.fields(line.format(after).encode())
            found += [page[f"key_{n}"] for n in range(1, int(page["key_count"]) + 1)]
            after = page["next_after"]
        self.assertEqual(found, ["p/a", "p/b", "p/c"])
        self.assertEqual(self.exception(line.format(after).encode()), "NoneMatchError")

    def test_stats(self) -> None:
        """Old versions ask for statistics, which no tracker of today has; only the
        reply says no, and the connection stays."""
        self.assertEqual(self.exception(b"stats all=1\r\n"), "UnknownCommandError")
        self.assertEqual(self.fields(b"get_hosts \r\n")["hosts"], "3")

    def test_classes_of_errors(self) -> None:
        """Every code makes the name of a class, and no two codes the same name; codes
        that the client knows from MogileFS are not called anything else here."""
        codes = {
            kind.code
            for kind in vars(errors).values()
            if isinstance(kind, type) and issubclass(kind, errors.KoboldError)
        }
        names = [exception_name(code) for code in codes]
        for name in names:
            self.assertRegex(name, r"^([A-Z][a-z0-9]*)+Error$")
        self.assertEqual(len(set(names)), len(codes))
        never = {"domain_not_empty", "plugin_aborted"}
        self.assertEqual(KNOWN - codes, never)
