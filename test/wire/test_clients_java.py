"""The two Java clients: moji, and java-mogilefs of guba.

Both take a reply up to its line end, unescape as UTF-8, and pass over a pair that has
no value. moji divides the line at its first blank, and looks for the words it knows
anywhere in the rest of an ERR line. java-mogilefs has the expressions of the Perl
client match the whole line.
"""

from __future__ import annotations

from urllib.parse import quote_plus, unquote_plus

from twisted.internet.testing import StringTransport

from test.wire.client_case import ClientCase, path_of
from test.wire.client_readers import guba_reply, moji_reply

#: What Java's own HTTP client sends besides.
USUAL = (
    b"User-Agent: Java/1.8.0_292\r\nHost: 127.0.0.1:7500\r\n"
    b"Accept: text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2\r\n"
    b"Connection: keep-alive\r\n"
)


class JavaCase(ClientCase):
    """Reading through Java's own HTTP client."""

    def read(self, url: str, method: bytes = b"GET") -> tuple[int, bytes]:
        """The length that is said, and the bytes."""
        request = b"%s %s HTTP/1.1\r\n%s\r\n" % (method, path_of(url), USUAL)
        status, headers, body = self.get(request)
        self.assertEqual(status, 200)
        return int(headers["content-length"]), body


class Moji(JavaCase):
    """moji."""

    def values(self, line: bytes) -> dict[str, str]:
        """The values of the reply."""
        return moji_reply(self.ask(line))

    def exception(self, line: bytes) -> str:
        """What the client raises for the reply; empty: a general failure."""
        return self.refusal(line, moji_reply)[0]

    def open(self, key: bytes, more: bytes = b"") -> tuple[int, list[tuple[int, str]]]:
        """The fid, and (devid, URL) for each destination."""
        opened = self.values(
            b"create_open domain=d1&key=%s&multi_dest=1%s\r\n" % (key, more)
        )
        return int(opened["fid"]), [
            (int(opened[f"devid_{n}"]), opened[f"path_{n}"])
            for n in range(1, int(opened["dev_count"]) + 1)
        ]

    def closing(self, key: bytes, fid: int, place: tuple[int, str], size: int) -> bytes:
        """The line of create_close."""
        path = quote_plus(place[1], safe="").encode()
        return b"create_close domain=d1&key=%s&devid=%d&path=%s&fid=%d&size=%d\r\n" % (
            key,
            place[0],
            path,
            fid,
            size,
        )

    def put_chunked(self, url: str, *chunks: bytes) -> int:
        """The status of a PUT whose length is never said."""
        request = b"PUT %s HTTP/1.1\r\n%s" % (path_of(url), USUAL)
        request += b"Content-type: application/x-www-form-urlencoded\r\n"
        request += b"Transfer-Encoding: chunked\r\n\r\n"
        for chunk in (*chunks, b""):
            request += b"%x\r\n%s\r\n" % (len(chunk), chunk)
        return self.put(url, request, blocks=3)

    def store(self, key: bytes, *chunks: bytes) -> int:
        """A file; returns its fid."""
        fid, places = self.open(key)
        self.assertIn(self.put_chunked(places[0][1], *chunks), (200, 201))
        size = sum(map(len, chunks))
        self.assertEqual(self.values(self.closing(key, fid, places[0], size)), {})
        return fid

    def test_whole_life(self) -> None:
        """A key in UTF-8, chunks of 4096 bytes, and a class that is changed."""
        key = "dir/clé +*~".encode()
        escaped = b"dir%2Fcl%C3%A9+%2B*%7E"
        chunks = (b"a" * 4096, b"b" * 4096, b"c")
        self.store(escaped, *chunks)
        found = self.values(b"get_paths domain=d1&key=%s&noverify=1\r\n" % escaped)
        self.assertEqual(found["paths"], "1")
        self.assertEqual(self.read(found["path1"]), (8193, b"".join(chunks)))
        self.assertEqual(self.read(found["path1"], b"HEAD"), (8193, b""))
        listed = self.values(b"list_keys domain=d1&prefix=dir%2F&limit=5\r\n")
        self.assertEqual(listed["key_1"].encode(), key)
        info = self.values(b"file_info domain=d1&key=%s\r\n" % escaped)
        self.assertEqual(info["key"].encode(), key)
        self.assertEqual((info["length"], info["class"]), ("8193", "default"))
        self.values(b"updateclass domain=d1&key=%s&class=c1\r\n" % escaped)
        self.values(b"rename domain=d1&from_key=%s&to_key=new\r\n" % escaped)
        self.assertEqual(self.values(b"delete domain=d1&key=new\r\n"), {})

    def test_empty_file(self) -> None:
        """No chunk but the last; size=0."""
        self.store(b"empty")
        found = self.values(b"get_paths domain=d1&key=empty&noverify=1\r\n")
        self.assertEqual(self.read(found["path1"]), (0, b""))

    def test_put_again(self) -> None:
        """Only 200 and 201 are taken for success, also when the URL has bytes."""
        _, places = self.open(b"k")
        for data in (b"first", b"second"):
            self.assertIn(self.put_chunked(places[0][1], data), (200, 201))

    def test_no_fid_asked(self) -> None:
        """Neither fid nor class need be said; every destination may be closed."""
        fid, places = self.open(b"k", b"&class=c1")
        self.assertGreater(len(places), 1)
        self.put_chunked(places[-1][1], b"x")
        self.values(self.closing(b"k", fid, places[-1], 1))

    def test_close_again(self) -> None:
        """When no reply comes, the close is repeated on another connection: it was
        done, so it is again OK."""
        fid, places = self.open(b"k")
        self.put_chunked(places[0][1], b"x")
        line = self.closing(b"k", fid, places[0], 1)
        self.values(line)
        self.assertEqual(moji_reply(self.ask_anew(line)), {})
        # Another file has the key now: this one is gone, and the code has no word in
        # it that would mean something else.
        self.store(b"k", b"other")
        self.assertEqual(self.refusal(line, moji_reply)[0], "")
        self.assertEqual(self.ask(line).split()[1], b"no_temp_file")

    def test_words_of_errors(self) -> None:
        """Each error has the client's word in its line, and no other of its words."""
        self.store(b"a", b"x")
        self.store(b"b", b"x")
        for line, exception in (
            (b"get_paths domain=d1&key=no&noverify=1\r\n", "UnknownKey"),
            (b"delete domain=d1&key=no\r\n", "UnknownKey"),
            (b"rename domain=d1&from_key=no&to_key=a\r\n", "UnknownKey"),
            (b"rename domain=d1&from_key=a&to_key=b\r\n", "KeyExistsAlready"),
            (
                b"create_open domain=d1&key=k&multi_dest=1&class=no\r\n",
                "UnknownStorageClass",
            ),
            (b"updateclass domain=d1&key=a&class=no\r\n", "UnknownStorageClass"),
            (b"list_keys domain=d1&prefix=no\r\n", "NoneMatch"),
            (b"get_nothing domain=d1\r\n", "UnknownCommand"),
            (b"delete domain=no&key=a\r\n", ""),
        ):
            self.assertEqual(self.exception(line), exception, line)

    def test_class_of_missing_key(self) -> None:
        """updateclass of a missing key is a code that the client does not know."""
        line = b"updateclass domain=d1&key=no&class=c1\r\n"
        self.assertEqual(
            self.refusal(line, moji_reply), ("", "invalid_key invalid_key")
        )

    def test_devices(self) -> None:
        """get_devices comes with a domain; whatever has a value has one of its type."""
        types = {
            "utilization": float,
            "weight": int,
            "devid": int,
            "hostid": int,
            "mb_total": int,
            "mb_used": int,
            "mb_free": int,
            "reject_bad_md5": int,
        }
        self.city.done("create_host host=new&ip=127.0.0.4&port=7500")
        self.city.done("create_device devid=7&hostname=new&state=down")
        found = self.values(b"get_devices domain=d1\r\n")
        self.assertEqual(found.pop("devices"), "7")
        self.assertNotIn("dev7_mb_total", found)
        seen = set()
        for name, value in found.items():
            device, _, field = name.partition("_")
            self.assertRegex(device, r"^dev\d+$")
            types.get(field, str)(value)
            seen.add(field)
        self.assertLess({"status", "observed_state", "devid", "hostid"}, seen)


class JavaMogilefs(JavaCase):
    """java-mogilefs."""

    def values(self, line: bytes) -> dict[str, str]:
        """The values of the reply."""
        return guba_reply(self.ask(line))

    def store(self, key: bytes, data: bytes) -> None:
        """A file: one destination, HTTP/1.0 without Host, any 2xx."""
        opened = self.values(b"create_open domain=d1&class=&key=%s\r\n" % key)
        url = opened["path"]
        head = b"PUT %s HTTP/1.0\r\nContent-length: %d\r\n\r\n"
        request = head % (path_of(url), len(data)) + data
        self.assertIn(self.put(url, request), range(200, 300))
        closed = self.values(
            b"create_close fid=%s&devid=%s&domain=d1&size=%d&key=%s&path=%s\r\n"
            % (
                opened["fid"].encode(),
                opened["devid"].encode(),
                len(data),
                key,
                quote_plus(url, safe="").encode(),
            )
        )
        self.assertEqual(closed, {})

    def test_whole_life(self) -> None:
        """A file is read into an array as long as its Content-Length says."""
        self.store(b"dir%2Fk", b"hello")
        found = self.values(b"get_paths domain=d1&key=dir%2Fk&noverify=0\r\n")
        self.assertEqual(found["paths"], "1")
        self.assertEqual(self.read(found["path1"]), (5, b"hello"))
        self.values(b"rename domain=d1&from_key=dir%2Fk&to_key=b\r\n")
        self.assertEqual(self.values(b"delete domain=d1&key=b\r\n"), {})

    def test_empty_class(self) -> None:
        """`class=` is the default class; a class may be named as well."""
        self.store(b"k", b"x")
        found = self.values(b"file_info domain=d1&key=k\r\n")
        self.assertEqual(found["class"], "default")
        self.assertIn("path", self.values(b"create_open domain=d1&class=c1&key=k\r\n"))

    def test_errors(self) -> None:
        """A line of three words without a blank in them: status, code and text."""
        for line, code in (
            (b"get_paths domain=d1&key=no&noverify=0\r\n", "unknown_key"),
            (b"delete domain=d1&key=no\r\n", "unknown_key"),
            (b"delete domain=no+domain&key=no\r\n", "unreg_domain"),
            (b"list_keys domain=d1&prefix=a&after=b\r\n", "after_mismatch"),
            (
                b"create_close fid=1&devid=1&domain=d1&size=1&key=k&path=http%3A\r\n",
                "bogus_args",
            ),
        ):
            self.assertEqual(self.refusal(line, guba_reply)[0], code)

    def test_no_more_words(self) -> None:
        """What another client asked to have repeated is not in this one's reply, not
        even when no word of a command is in its line."""
        for line in (b"delete domain=d1&key=no\r\n", b"-\r\n"):
            self.assertEqual(self.city.say("noop callid=7"), "OK callid=7")
            self.refusal(line, guba_reply)

    def test_size_of_nothing(self) -> None:
        """The text of an error that has blanks and a URL in it is one word, too."""
        opened = self.values(b"create_open domain=d1&class=&key=k\r\n")
        line = b"create_close fid=%s&devid=%s&domain=d1&size=5&key=k&path=%s\r\n" % (
            opened["fid"].encode(),
            opened["devid"].encode(),
            quote_plus(opened["path"], safe="").encode(),
        )
        code, text = self.refusal(line, guba_reply)
        self.assertEqual(code, "size_verify_error")
        self.assertIn(opened["path"], unquote_plus(text))

    def test_sleep(self) -> None:
        """sleep answers when its time is over, not before."""
        transport: StringTransport = self.transport
        self.connection.dataReceived(b"sleep duration=2\r\n")
        self.city.clock.advance(1)
        self.assertEqual(transport.value(), b"")
        self.city.clock.advance(1)
        self.assertEqual(guba_reply(transport.value()), {})
