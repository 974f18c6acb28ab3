"""The two PHP clients: php-mogilefs of sunkan, and the extension of PECL.

php-mogilefs writes its command in upper case with ``&`` right behind it, and ends the
line with LF; a reply is divided at its blanks, the second word is its fields.

The extension escapes nothing. It cuts the last two bytes off a reply, unescapes what is
left as a whole, and takes what stands behind ``OK `` - for create_close even as part of
its next request. Of an error it shows what follows the second blank.
"""

from __future__ import annotations

from urllib.parse import unquote_to_bytes, urlsplit

from test.wire.client_case import ClientCase, path_of
from test.wire.client_readers import pecl_fields, pecl_text, php_reply


class PhpMogilefs(ClientCase):
    """php-mogilefs."""

    def fields(self, line: bytes) -> dict[str, str]:
        """The fields of the reply."""
        return php_reply(self.ask(line))

    def store(self, key: bytes, data: bytes, class_name: bytes = b"") -> None:
        """A file: one destination, a PUT by curl without Expect, a close without a
        size, whose path was unescaped once more."""
        opened = self.fields(
            b"CREATE_OPEN&key=%s&domain=d1&class=%s\n" % (key, class_name)
        )
        url = opened["path"]
        request = (
            b"PUT %s HTTP/1.1\r\nHost: 127.0.0.1:7500\r\nAccept: */*\r\n"
            b"Content-Length: %d\r\n\r\n%s"
        ) % (path_of(url), len(data), data)
        self.assertEqual(self.put(url, request, blocks=4), 201)
        path = unquote_to_bytes(url.replace("+", " "))
        self.assertEqual(path, url.encode())
        escaped = path.replace(b":", b"%3A").replace(b"/", b"%2F")
        closed = self.fields(
            b"CREATE_CLOSE&key=%s&domain=d1&devid=%s&fid=%s&path=%s\n"
            % (key, opened["devid"].encode(), opened["fid"].encode(), escaped)
        )
        self.assertEqual(closed, {})

    def test_whole_life(self) -> None:
        """Every command in upper case, nothing between it and its arguments."""
        key = b"dir%2Fcl%C3%A9+k%26%3D"
        self.store(key, b"hello", b"c1")
        found = self.fields(b"GET_PATHS&key=%s&domain=d1&pathcount=2\n" % key)
        self.assertEqual(found["paths"], "1")
        line = b"GET %s HTTP/1.1\r\nHost: 127.0.0.1:7500\r\nConnection: close\r\n\r\n"
        status, _, body = self.get(line % path_of(found["path1"]))
        self.assertEqual((status, body), (200, b"hello"))
        found = self.fields(b"FILE_INFO&domain=d1&key=%s\n" % key)
        self.assertEqual(
            {name: found[name] for name in ("key", "class", "domain", "length")},
            {
                "key": "dir/cl\xc3\xa9 k&=",
                "class": "c1",
                "domain": "d1",
                "length": "5",
            },
        )
        self.assertEqual((found["fid"], found["devcount"]), ("1", "1"))
        self.fields(b"RENAME&domain=d1&from_key=%s&to_key=new\n" % key)
        self.assertEqual(self.fields(b"DELETE&domain=d1&key=new\n"), {})

    def test_empty_class(self) -> None:
        """`class=` is the default class; an empty file needs no size either."""
        self.store(b"k", b"")
        found = self.fields(b"FILE_INFO&domain=d1&key=k\n")
        self.assertEqual((found["class"], found["length"]), ("default", "0"))

    def test_no_arguments(self) -> None:
        """A command with nothing behind it, and LF."""
        found = self.fields(b"GET_DOMAINS\n")
        self.assertEqual((found["domains"], found["domain1"]), ("2", "d1"))
        self.assertEqual(found["domain1classes"], "3")

    def test_lists(self) -> None:
        """Keys and fids, read from the last to the first; none are an error."""
        for key in (b"p%2Fa", b"p%2Fb"):
            self.store(key, b"x")
        line = b"LIST_KEYS&domain=d1&prefix=p%%2F&after=%s&limit=10\n"
        found = self.fields(line % b"")
        keys = [found[f"key_{n}"] for n in range(int(found["key_count"]), 0, -1)]
        self.assertEqual(keys, ["p/b", "p/a"])
        code, _ = self.refusal(line % b"p%2Fb", php_reply)
        self.assertEqual(code, "none_match")
        found = self.fields(b"LIST_FIDS&domain=d1&from=0&to=10\n")
        self.assertEqual(found["fid_count"], "2")
        for name in ("fid", "key", "class", "domain", "devcount", "length"):
            self.assertIn(f"fid_2_{name}", found)

    def test_classes_and_domains(self) -> None:
        """Made and removed."""
        for line in (
            b"CREATE_DOMAIN&domain=new\n",
            b"CREATE_CLASS&domain=new&class=c&mindevcount=2\n",
            b"UPDATE_CLASS&domain=new&class=c&mindevcount=3&update=1\n",
            b"DELETE_CLASS&domain=new&class=c\n",
            b"DELETE_DOMAIN&domain=new\n",
        ):
            self.assertEqual(self.fields(line)["domain"], "new")

    def test_errors(self) -> None:
        """The first word tells that it is one, and the second which."""
        for line, code in (
            (b"DELETE&domain=d1&key=no\n", "unknown_key"),
            (b"GET_PATHS&key=no&domain=d1&pathcount=2\n", "unknown_key"),
            (b"CREATE_OPEN&key=k&domain=d1&class=no\n", "unreg_class"),
            (b"CREATE_OPEN&key=k&domain=&class=\n", "no_domain"),
        ):
            self.assertEqual(self.refusal(line, php_reply)[0], code)


class PeclMogilefs(ClientCase):
    """The extension of PECL."""

    def fields(self, line: bytes) -> dict[str, str]:
        """The fields of the reply."""
        return pecl_fields(self.ask(line))

    def store(self, key: bytes, data: bytes, class_name: bytes = b"") -> None:
        """A file: the reply of create_open is put into the request that closes it."""
        names = b"domain=d1&key=%s&class=%s&" % (key, class_name)
        reply = self.ask(b"CREATE_OPEN " + names + b"multi_dest=0\r\n")
        opened = pecl_text(reply)
        self.assertEqual(reply, b"OK " + opened.encode() + b"\r\n")
        self.assertEqual(opened.count("="), 3)
        url = pecl_fields(reply)["path"]
        self.assertEqual(urlsplit(url).port, 7500)
        # The first request of a session of the neon library.
        request = (
            b"PUT %s HTTP/1.1\r\nUser-Agent: neon/0.30.2\r\nKeep-Alive: \r\n"
            b"Connection: TE, Keep-Alive\r\nTE: trailers\r\n"
            b"Host: 127.0.0.1:7500\r\nContent-Length: %d\r\n\r\n%s"
        ) % (path_of(url), len(data), data)
        self.assertIn(self.put(url, request), range(200, 300))
        reply = self.ask(b"CREATE_CLOSE " + names + opened.encode() + b"\r\n")
        self.assertEqual(pecl_text(reply), "")

    def test_whole_life(self) -> None:
        """Keys go as they are: blanks, slashes, bytes above 127."""
        key = b"dir/cl\xc3\xa9 ~(k):;?"
        self.store(key, b"hello", b"c1")
        found = self.fields(b"GET_PATHS domain=d1&key=%s&pathcount=2\r\n" % key)
        self.assertEqual(found["paths"], "1")
        status, _, body = self.get(b"GET %s HTTP/1.0\r\n\r\n" % path_of(found["path1"]))
        self.assertEqual((status, body), (200, b"hello"))
        found = self.fields(b"FILE_INFO domain=d1&key=%s\r\n" % key)
        self.assertEqual(found["key"].encode("latin-1"), key)
        self.assertEqual((found["class"], found["length"]), ("c1", "5"))
        self.assertEqual(
            self.fields(b"RENAME domain=d1&from_key=%s&to_key=new\r\n" % key), {}
        )
        self.assertEqual(self.fields(b"DELETE domain=d1&key=new\r\n"), {})

    def test_raw_key_is_unescaped(self) -> None:
        """A plus or a percent sign in a raw key means what it means in an escaped one,
        in every command alike."""
        self.store(b"a+b%2Fc%", b"x")
        found = self.fields(b"LIST_KEYS domain=d1&prefix=a+&after=&limit=1000\r\n")
        self.assertEqual(found["key_1"], "a b/c%")
        self.fields(b"DELETE domain=d1&key=a b/c%\r\n")

    def test_empty_file(self) -> None:
        """Its size is never said."""
        self.store(b"empty", b"")
        self.assertEqual(
            self.fields(b"FILE_INFO domain=d1&key=empty\r\n")["length"], "0"
        )

    def test_lists(self) -> None:
        """The domain is sent with everything, and does not matter to most."""
        self.store(b"k", b"x")
        for line, name in (
            (b"LIST_KEYS domain=d1&prefix=&after=&limit=1000\r\n", "key_count"),
            (b"LIST_FIDS domain=d1&from=0&to=100\r\n", "fid_count"),
            (b"GET_DOMAINS\r\n", "domains"),
            (b"GET_HOSTS domain=d1\r\n", "hosts"),
            (b"GET_DEVICES domain=d1\r\n", "devices"),
            (b"REPLICATE_NOW domain=d1\r\n", "count"),
        ):
            self.assertIn(name, self.fields(line))
        hosts = self.fields(b"GET_HOSTS domain=d1\r\n")
        self.assertEqual(
            (hosts["host1_altip"], hosts["host1_hostip"]), ("", "127.0.0.1")
        )
        domains = self.fields(b"GET_DOMAINS\r\n")
        self.assertRegex(domains["domain1class1replpolicy"], r"^\w+\(\)$")

    def test_administration(self) -> None:
        """Hosts, devices, domains and classes; `update` may be said once more."""
        for line in (
            b"CREATE_DOMAIN domain=new\r\n",
            b"CREATE_CLASS domain=new&class=c&mindevcount=2\r\n",
            b"UPDATE_CLASS domain=new&class=c&mindevcount=3&update=1\r\n",
            b"DELETE_CLASS domain=new&class=c\r\n",
            b"DELETE_DOMAIN domain=new\r\n",
            b"CREATE_HOST domain=d1&host=h9&ip=127.0.0.99&port=7500\r\n",
            (
                b"UPDATE_HOST domain=d1&host=h9&ip=127.0.0.98&port=7500"
                b"&status=alive&update=1\r\n"
            ),
            b"DELETE_HOST domain=d1&host=h9\r\n",
            b"SET_WEIGHT domain=d1&host=host1&device=1&weight=50\r\n",
            b"SET_STATE domain=d1&host=host1&device=1&state=dead\r\n",
        ):
            self.fields(line)
        line = b"CREATE_DEVICE domain=d1&status=alive&devid=9\r\n"
        self.assertEqual(self.refusal(line, pecl_fields)[0], "bad_args")

    def test_errors(self) -> None:
        """The text for a human is what the exception says."""
        for line, text in (
            (b"DELETE domain=d1&key=no\r\n", "unknown_key"),
            (b"STATS domain=d1&all=1\r\n", "Unknown server command"),
            (
                b"LIST_KEYS domain=d1&prefix=no&after=&limit=1\r\n",
                "No keys match that pattern and after-value (if any).",
            ),
        ):
            self.assertEqual(self.refusal(line, pecl_text)[1], text)

    def test_quit(self) -> None:
        """Its last word has no line end; nothing comes back, and nothing is logged."""
        self.ask(b"GET_DOMAINS\r\n")
        self.transport.clear()
        self.connection.dataReceived(b"QUIT")
        self.connection.readConnectionLost()
        self.assertEqual(self.transport.value(), b"")
        self.assertTrue(self.transport.disconnecting)
        self.assertEqual(self.flushLoggedErrors(), [])
