"""Plain requests: which they are, and that both ways of reading them agree."""

from __future__ import annotations

from base64 import b64encode
from hashlib import md5
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.model.fid import uri
from koboldfs.storage.copies import INLINE_BYTES
from koboldfs.storage.plain import (
    MAX_HEAD_BYTES,
    MAX_LINES,
    PlainRequest,
    persistence,
    read_head,
)
from test.fakes.storage_node import FakeNode, lose

URI = uri(1, 7).encode()
#: Of a device that is not there.
OTHER = uri(9, 7).encode()
LONG = b"x" * (INLINE_BYTES + 1000)


def head(
    lines: bytes = b"",
    method: bytes = b"GET",
    path: bytes = URI,
    version: bytes = b"HTTP/1.1",
) -> bytes:
    """A head of a request."""
    return b"%b %b %b\r\nHost: x\r\n%b\r\n" % (method, path, version, lines)


def put(body: bytes, lines: bytes = b"", path: bytes = URI) -> bytes:
    """A PUT with a length."""
    return head(b"Content-Length: %d\r\n%b" % (len(body), lines), b"PUT", path) + body


def digest(body: bytes) -> bytes:
    """A header with the MD5 of that."""
    return b"Content-MD5: %b\r\n" % b64encode(md5(body).digest())


CLOSE = b"Connection: close\r\n"
ETAG = b'If-None-Match: "3-17979cfe362a0000-5"\r\n'
PLAIN = (
    head(),
    head(method=b"HEAD"),
    head(method=b"DELETE"),
    head(method=b"DELETE") * 2,
    head(path=uri(1, 8).encode()),
    head(path=OTHER),
    head(path=OTHER, method=b"HEAD"),
    head(path=OTHER, method=b"DELETE"),
    head(b"Range: bytes=1-1\r\n"),
    head(b"range:bytes=-2 \r\n"),
    head(b"Range: bytes=9-\r\n"),
    head(b"Range: lines=1\r\n"),
    head(b"Range: bytes=0-1\r\nIf-Range: nonsense\r\n"),
    head(b"If-None-Match: *\r\n"),
    head(b"If-Match: *\r\n"),
    head(b'If-Match: "x"\r\n', b"HEAD"),
    head(b"IF-MODIFIED-SINCE: Sat, 01 Jan 2050 00:00:00 GMT\r\n"),
    head(b"If-Unmodified-Since: Sat, 01 Jan 2000 00:00:00 GMT\r\n"),
    head(b"Content-Length: 0\r\n"),
    head(b"Content-Length: 00\r\n"),
    head(CLOSE),
    head(CLOSE) + head(),
    head(b"Connection: Keep-Alive\r\n", version=b"HTTP/1.0"),
    head(version=b"HTTP/1.0"),
    head(version=b"HTTP/1.0") + head(),
    head(b"Connection: x, ClOsE \r\n"),
    head(b"X:\t \r\nUser-Agent: \xe4 b\r\n"),
    head() * 3,
    put(b"new"),
    put(b""),
    put(b"new", CLOSE),
    put(b"new", digest(b"new")),
    put(b"new", digest(b"old")) + head(),
    put(b"new", b"Content-MD5: x\r\n") + head(),
    put(b"new", digest(b"old"), OTHER) + head(),
    put(b"new", path=OTHER) + head(),
    put(LONG) + head(),
    put(LONG, digest(LONG)) + head(b"Range: bytes=3-9\r\n"),
    put(LONG, digest(b"old")) + head(method=b"HEAD"),
    put(LONG, path=OTHER) + head(),
    put(b"new") + head() + put(b"newer") + head(),
    put(b"new")[:-1],
)
NOT_PLAIN = (
    b"",
    b"\r\n" + head(),
    head()[:-1],
    head(method=b"POST"),
    head(method=b"MKCOL", path=b"/dev1/0"),
    head(b"Destination: %b\r\n" % uri(1, 9).encode(), b"MOVE"),
    head(path=b"/dev1/usage"),
    head(path=b"/dev1/0/000/000/0000000000.fid"),
    head(path=b"http://x" + URI),
    head(path=URI + b"?x"),
    head(path=b"/"),
    head(version=b"HTTP/1.2"),
    head(version=b"HTTP/1.1 "),
    head(version=b""),
    head(b"Name : x\r\n"),
    head(b"no colon\r\n"),
    head(b": x\r\n"),
    head(b"X: \0\r\n"),
    head(b"X: \x01\r\n"),
    head(b"X: a\nY: b\r\n"),
    head(b"X: a\r\n b\r\n"),
    head(b"X: a\r\nx: b\r\n"),
    head(b"Connection: x\r\nConnection: close\r\n"),
    head(b"Content-Length: 3\r\n") + b"abc" + head(),
    head(b"Content-Length: -1\r\n"),
    head(b"Transfer-Encoding: identity\r\n"),
    head(b"Expect: 100-continue\r\n", b"PUT"),
    head(b"", b"PUT"),
    head(b"Content-Length: +3\r\n", b"PUT") + b"abc",
    head(b"Content-Length: 3, 3\r\n", b"PUT") + b"abc",
    head(b"Content-Length: 3\r\nContent-Length: 3\r\n", b"PUT") + b"abc",
    head(b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", b"PUT") + b"abc",
    head(b"Content-Length: %b\r\n" % (b"9" * 19), b"PUT"),
    head(b"Transfer-Encoding: chunked\r\n", b"PUT") + b"3\r\nabc\r\n0\r\n\r\n",
    put(b"d", b"Content-Range: bytes 3-3/*\r\n") + head(),
    put(b"new", b"Expect: 100-continue\r\n"),
    head(b"X: %b\r\n" % (b"y" * MAX_HEAD_BYTES)),
    head(b"".join(b"X%d: y\r\n" % number for number in range(MAX_LINES))),
)


class Forms(SynchronousTestCase):
    """`read_head`"""

    def test_plain(self) -> None:
        """What of a head is needed, wherever it begins."""
        for request in PLAIN:
            self.assertIsNotNone(read_head(request, 0), request)
        data = b"before" + put(b"body", b"Connection: close\r\n")
        found = read_head(data, 6)
        assert found is not None
        self.assertEqual((found.method, found.uri), (b"PUT", URI))
        self.assertEqual((found.target.devid, found.target.fid), (1, 7))
        self.assertEqual(f"/dev1/{found.target.relative}".encode(), URI)
        self.assertEqual((found.rest.length, found.rest.persistent), (4, False))
        self.assertEqual(data[found.stop :], b"body")

    def test_not_plain(self) -> None:
        """Everything else, and what is not whole."""
        for request in NOT_PLAIN:
            self.assertIsNone(read_head(request, 0), request)

    def test_persistence(self) -> None:
        """A 1.1 connection stays unless it is closed, a 1.0 one when it is kept."""
        for version, values, expected in (
            (b"HTTP/1.1", [], (True, b"")),
            (b"HTTP/1.1", [b"a", b"b, close"], (False, b"Connection: close\r\n")),
            (b"HTTP/1.0", [b""], (False, b"Connection: close\r\n")),
            (b"HTTP/1.0", [b"keep-alive"], (True, b"Connection: keep-alive\r\n")),
        ):
            self.assertEqual(persistence(version, values), expected)


class Twins(SynchronousTestCase):
    """Two nodes that are asked the same: one leaves everything to twisted.web."""

    def setUp(self) -> None:
        """Count what is taken for plain."""
        self.taken = 0
        init = PlainRequest.__init__

        def count(request: PlainRequest, *arguments: Any) -> None:
            self.taken += 1
            init(request, *arguments)

        self.patch(PlainRequest, "__init__", count)

    def compare(self, pieces: list[bytes]) -> None:
        """Both say the same, hang up when the other does, and have the same files."""
        seen = []
        for plain in (True, False):
            node = FakeNode(plain=plain)
            node.ask(put(b"old"))
            channel, wire = node.connect()
            for piece in pieces:
                if not wire.disconnecting:
                    channel.dataReceived(piece)
            said = wire.value()
            ends = (wire.disconnecting, wire.aborted, wire.reading)
            lose(channel)
            self.assertEqual(node.memory.open_count, 0)
            seen.append((said, ends, node.files()))
        self.assertEqual(seen[0], seen[1], pieces)

    def test_plain(self) -> None:
        """Plain requests, in one piece, with a late body, and one by one."""
        for request in PLAIN:
            self.taken = 0
            self.compare([request])
            self.assertGreater(self.taken, 1, request)
            stop = request.index(b"\r\n\r\n") + 4
            self.compare([request[:stop], request[stop:]])
            self.compare(
                [request[:stop], request[stop : stop + 2], request[stop + 2 :]]
            )
            self.compare([request] * 3)

    def test_empty_lines(self) -> None:
        """One before each request is let pass, however it comes; not two."""
        for lines in (1, 2):
            empty = b"\r\n" * lines
            self.compare([empty + head()] * 3)
            self.compare([empty, head()] * 3)
            self.compare([empty + head() + empty + put(b"new") + empty] * 2)
            self.compare([head() + empty, head() + empty[:1], empty[1:] + head()])

    def test_not_plain(self) -> None:
        """Others, alone and between plain ones, and whatever comes in two pieces."""
        for request in NOT_PLAIN:
            self.taken = 0
            self.compare([request])
            self.compare([head() + request + head()])
            self.compare([head(), request, head()])
        for cut in range(1, len(put(b"new"))):
            request = put(b"new") + head()
            self.compare([request[:cut], request[cut:]])

    @settings(max_examples=300, deadline=None)
    @given(some.data())
    def test_any(self, data: some.DataObject) -> None:
        """Any requests after one another, cut anywhere."""
        known = some.sampled_from(
            [one for one in (*PLAIN, *NOT_PLAIN) if len(one) < 999]
        )
        whole = b"".join(data.draw(some.lists(known, max_size=4)))
        cuts = data.draw(some.lists(some.integers(0, len(whole)), max_size=4))
        marks = [0, *sorted(cuts), len(whole)]
        self.compare(
            [whole[a:b] for a, b in zip(marks, marks[1:], strict=False) if a < b]
        )
