"""What trackers and clients of MogileFS really send to a storage node, and the answers.

The requests are those that a tracker and a client were seen to send. Every exchange is
also run with its bytes coming one at a time: where they are split changes nothing.
"""

from __future__ import annotations

from base64 import b64encode
from hashlib import md5

from twisted.trial.unittest import SynchronousTestCase

from test.fakes.storage_node import FakeNode, lose, split_answer

COPY = "0/000/000/0000000001.fid"
DATE = b"Date: Tue, 14 Nov 2023 22:13:20 GMT\r\n"
MD5_OF_MARK = b64encode(md5(b"!").digest())


def put(path: str, body: bytes, version: str = "1.1", more: bytes = b"") -> bytes:
    """A PUT as the tracker's monitor sends it."""
    return (
        b"PUT %s HTTP/%s\r\nConnection: keep-alive\r\nHost: 127.0.0.4:7500\r\n"
        b"User-Agent: MogileFS::Connection::HTTP/2.73\r\n%s"
        b"Content-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n%s"
    ) % (path.encode(), version.encode(), more, len(body), body)


class Exchanges(SynchronousTestCase):
    """Each on a fresh node."""

    def exchange(self, request: bytes, *answers: bytes) -> FakeNode:
        """The request has exactly this answer, however its bytes are split; returns
        the node."""
        expected = b"".join(answers)
        whole = FakeNode()
        self.assertEqual(whole.ask(request), expected)
        node = FakeNode()
        channel, wire = node.connect()
        for number in range(len(request)):
            channel.dataReceived(request[number : number + 1])
        self.assertEqual(wire.value(), expected)
        lose(channel)
        self.assertEqual(node.files(), whole.files())
        self.assertEqual(node.memory.open_count, 0)
        for cut in range(1, len(request), 7):
            node = FakeNode()
            channel, wire = node.connect()
            channel.dataReceived(request[:cut])
            channel.dataReceived(request[cut:])
            self.assertEqual(wire.value(), expected, cut)
            lose(channel)
        return whole

    def test_usage(self) -> None:
        """The monitor's GET: HTTP/1.0, kept, with a length and the two numbers."""
        request = (
            b"GET /dev1/usage HTTP/1.0\r\nKeep-Alive: 300\r\n"
            b"Connection: Keep-Alive, keep-alive\r\nHost: 127.0.0.4:7500\r\n"
            b"User-Agent: MogileFS::Connection::HTTP/2.73\r\n\r\n"
        )
        usage = (
            b"available: 1000000\ndevice: /devs/dev1\ndisk: /devs/dev1\nkobold: 1\n"
            b"sidechannel: 7501\ntime: 1700000000\ntotal: 2000000\nuse: 50%\n"
            b"used: 1000000\n"
        )
        head = (
            b"HTTP/1.0 200 OK\r\n" + DATE + b"Content-Length: %d\r\n"
            b"Content-Type: text/plain\r\nConnection: keep-alive\r\n\r\n"
        )
        self.exchange(request * 2, *(head % len(usage), usage) * 2)

    def test_monitor_round(self) -> None:
        """MKCOL, a test write, reading it back, and the wrong MD5, which is noticed."""
        mkcol = (
            b"MKCOL /dev1/test-write/ HTTP/1.1\r\nConnection: keep-alive\r\n"
            b"Host: 127.0.0.4:7500\r\nContent-Length: 0\r\n\r\n"
        )
        body = b"time=1795385167 rand=47"
        get = (
            b"GET /dev1/test-write/test-write-47 HTTP/1.0\r\nConnection: keep-alive\r\n"
            b"Host: 127.0.0.4:7500\r\n\r\n"
        )
        wrong = b"Content-MD5: " + MD5_OF_MARK + b"\r\n"
        node = FakeNode()
        answer = node.ask(
            mkcol
            + put("/dev1/test-write/test-write-47", body)
            + put("/dev1/test-write/test-md5", b".", more=wrong)
            + get
        )
        created = b"HTTP/1.1 201 Created\r\n" + DATE + b"Content-Length: 0\r\n\r\n"
        self.assertEqual(answer.count(created), 2)
        rest = answer.split(created)[2]
        text = b"the bytes do not have the announced MD5\n"
        refused = (
            b"HTTP/1.1 400 Bad Request\r\n"
            + DATE
            + (b"Content-Length: %d\r\nContent-Type: text/plain\r\n\r\n%s")
            % (len(text), text)
        )
        self.assertTrue(rest.startswith(refused), rest)
        status, headers, data = split_answer(rest[len(refused) :])
        self.assertEqual((status, data), (200, body))
        self.assertEqual(headers["content-length"], "23")
        self.assertEqual(node.files(), {"test-write/test-write-47": body})

    def test_folders_for_a_fid(self) -> None:
        """The three MKCOLs of create_open are answered 201 each time."""
        one = (
            b"MKCOL /dev1/0%s/ HTTP/1.1\r\nConnection: keep-alive\r\n"
            b"Host: 127.0.0.4:7500\r\nContent-Length: 0\r\n\r\n"
        )
        answer = b"HTTP/1.1 201 Created\r\n" + DATE + b"Content-Length: 0\r\n\r\n"
        request = b"".join(one % end for end in (b"", b"/000", b"/000/000"))
        self.exchange(request * 2, answer * 6)

    def test_client_put(self) -> None:
        """A client's PUT that closes the connection afterwards."""
        request = (
            b"PUT /dev1/%s HTTP/1.1\r\nAccept-Encoding: identity\r\n"
            b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 5\r\n"
            b"Host: 127.0.0.4:7500\r\nUser-Agent: Python-urllib/3.11\r\n"
            b"Connection: close\r\n\r\nhello"
        ) % COPY.encode()
        node = self.exchange(
            request,
            b"HTTP/1.1 201 Created\r\n",
            DATE,
            b"Content-Length: 0\r\nConnection: close\r\n\r\n",
        )
        self.assertEqual(node.files(), {COPY: b"hello"})

    def test_replication_put(self) -> None:
        """HTTP/1.0, kept, no Host, a length spelled otherwise, a right MD5."""
        digest = b64encode(md5(b"hello").digest())
        request = (
            b"PUT /dev1/%s HTTP/1.0\r\nConnection: keep-alive\r\nContent-length: 5\r\n"
            b"Content-MD5: %s\r\n\r\nhello"
        ) % (COPY.encode(), digest)
        answer = (
            b"HTTP/1.0 201 Created\r\n",
            DATE,
            b"Content-Length: 0\r\nConnection: keep-alive\r\n\r\n",
        )
        node = self.exchange(request * 2, *answer * 2)
        self.assertEqual(node.files(), {COPY: b"hello"})

    def test_chunked(self) -> None:
        """A chunked body, with an extension, and a Content-MD5 behind it."""
        digest = b64encode(md5(b"hello world").digest())
        request = (
            b"PUT /dev1/%s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"5;a=b\r\nhello\r\n6\r\n world\r\n0\r\nContent-MD5: %s\r\n\r\n"
        ) % (COPY.encode(), digest)
        node = self.exchange(
            request, b"HTTP/1.1 201 Created\r\n", DATE, b"Content-Length: 0\r\n\r\n"
        )
        self.assertEqual(node.files(), {COPY: b"hello world"})

    def test_chunked_empty(self) -> None:
        """An empty file, sent chunked, as the requests library does."""
        request = (
            b"PUT /dev1/%s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"0\r\n\r\n"
        ) % COPY.encode()
        node = self.exchange(
            request, b"HTTP/1.1 201 Created\r\n", DATE, b"Content-Length: 0\r\n\r\n"
        )
        self.assertEqual(node.files(), {COPY: b""})

    def test_expect(self) -> None:
        """A client that waits for 100 gets it, and then its answer."""
        request = (
            b"PUT /dev1/%s HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
            b"Content-Length: 5\r\n\r\nhello"
        ) % COPY.encode()
        self.exchange(
            request,
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\n",
            DATE,
            b"Content-Length: 0\r\n\r\n",
        )

    def test_expect_in_vain(self) -> None:
        """A client that waits is told at once that its file is not wanted; the bytes
        that it may have sent all the same are thrown away."""
        request = (
            b"PUT /dev9/%s HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
            b"Content-Length: 5\r\n\r\nhello"
        ) % COPY.encode()
        text = b"dev9 is not on this node\n"
        node = self.exchange(
            request,
            b"HTTP/1.1 404 Not Found\r\n",
            DATE,
            b"Content-Length: %d\r\nContent-Type: text/plain\r\n" % len(text),
            b"Connection: close\r\n\r\n",
            text,
        )
        self.assertEqual(node.files(), {})

    def test_delete_twice(self) -> None:
        """204, then 404; both mean to a tracker that the copy is gone."""
        request = (
            b"DELETE /dev1/%s HTTP/1.1\r\nKeep-Alive: 300\r\n"
            b"Connection: Keep-Alive, keep-alive\r\nHost: 127.0.0.4:7500\r\n\r\n"
        ) % COPY.encode()
        text = b"there is no such file\n"
        node = self.exchange(
            put(f"/dev1/{COPY}", b"hello") + request * 2,
            b"HTTP/1.1 201 Created\r\n" + DATE + b"Content-Length: 0\r\n\r\n",
            b"HTTP/1.1 204 No Content\r\n" + DATE + b"\r\n",
            b"HTTP/1.1 404 Not Found\r\n" + DATE,
            b"Content-Length: %d\r\nContent-Type: text/plain\r\n\r\n" % len(text),
            text,
        )
        self.assertEqual(node.files(), {})

    def test_head_and_replication_get(self) -> None:
        """HEAD has the length and no body; GET over HTTP/1.0 without Host has both."""
        head = (
            b"HEAD /dev1/%s HTTP/1.1\r\nConnection: keep-alive\r\n"
            b"Host: 127.0.0.4:7500\r\n\r\n"
        ) % COPY.encode()
        get = b"GET /dev1/%s HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" % COPY.encode()
        node = FakeNode()
        node.ask(put(f"/dev1/{COPY}", b"hello"))
        status, headers, body = split_answer(node.ask(head))
        self.assertEqual((status, headers["content-length"], body), (200, "5", b""))
        status, headers, body = split_answer(node.ask(get))
        self.assertEqual(
            (status, headers["content-length"], body), (200, "5", b"hello")
        )
        self.assertEqual(headers["connection"], "keep-alive")

    def test_http_1_0_closes(self) -> None:
        """HTTP/1.0 without keep-alive is answered and closed."""
        node = FakeNode()
        channel, wire = node.connect()
        channel.dataReceived(b"GET /dev1/usage HTTP/1.0\r\n\r\n")
        self.assertIn(b"Connection: close\r\n", wire.value())
        self.assertTrue(wire.disconnecting)
        lose(channel)
