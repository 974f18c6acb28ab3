"""One node's day under MogileFS's own tracker: every request it was seen to send, in
order, on one kept connection, and what it takes each answer for."""

from __future__ import annotations

import re
from hashlib import md5

from twisted.trial.unittest import SynchronousTestCase

from koboldfs.storage.pull import NoPeers, Puller
from koboldfs.storage.sidechannel import SideChannelFactory
from test.fakes.storage_node import FakeNode, Wire, lose, split_answer

KEPT = b"Connection: keep-alive\r\n"
FIRST = b"Keep-Alive: 300\r\nConnection: Keep-Alive, keep-alive\r\n"
HOST = b"Host: 127.0.0.4:7500\r\nUser-Agent: MogileFS::Connection::HTTP/2.73\r\n"
TYPE = b"Content-Type: application/octet-stream\r\n"
FID_1 = b"/dev1/0/000/000/0000000001.fid"
FID_3 = b"/dev1/0/000/000/0000000003.fid"
#: The MD5 of something else than the one byte that comes with it.
NOT_ITS_MD5 = b"Content-MD5: kDPg4wXyR8DDyA0MeEjIsw==\r\n"
HELLO_MD5 = b"Content-MD5: XUFAKrxLKna5cZ2REBfFkg==\r\n"


def request(line: bytes, headers: bytes, body: bytes | None = None) -> bytes:
    """A request; with a body, its length stands before the headers."""
    length = b"" if body is None else b"Content-Length: %d\r\n" % len(body)
    return line + b"\r\n" + length + headers + b"\r\n" + (body or b"")


USAGE = request(b"GET /dev1/usage HTTP/1.0", KEPT + HOST)


def mkcol(folder: bytes) -> bytes:
    """A folder is wanted."""
    return request(b"MKCOL /dev1/%s/ HTTP/1.1" % folder, KEPT + HOST, b"")


def written(name: bytes, body: bytes, more: bytes = b"") -> bytes:
    """The monitor's test write."""
    line = b"PUT /dev1/test-write/%s HTTP/1.1" % name
    return request(line, KEPT + HOST + more + TYPE, body)


class Day(SynchronousTestCase):
    """A node with device 1, an HTTP connection, and the side channel."""

    def setUp(self) -> None:
        """All three."""
        self.node = FakeNode()
        self.channel, self.wire = self.node.connect()

    def ask(self, data: bytes, status: int) -> bytes:
        """Send it on the kept connection; the body of the answer of that status."""
        self.wire.clear()
        self.channel.dataReceived(data)
        found, headers, body = split_answer(self.wire.value())
        self.assertEqual(found, status, data)
        self.assertFalse(self.wire.disconnecting, data)
        if b"HTTP/1.0" in data:
            self.assertEqual(headers["connection"], "keep-alive")
        if not data.startswith(b"HEAD") and status != 204:
            self.assertEqual(int(headers["content-length"]), len(body))
        return body

    def test_monitor(self) -> None:
        """Usage with both numbers, a test write that comes back, and an MD5 that is
        checked (anything but 2xx says so)."""
        for first in (request(b"GET /dev1/usage HTTP/1.0", FIRST + HOST), USAGE):
            text = self.ask(first, 200).decode()
            values = dict(re.findall(r"^(\w+)\s*:\s*(\S+)$", text, re.MULTILINE))
            self.assertGreater(int(values["used"]), 0)
            self.assertGreater(int(values["total"]), int(values["used"]))
            names = [line.split(":")[0] for line in text.splitlines()]
            self.assertEqual(names, sorted(names))
            for name in ("available", "device", "disk", "time", "use"):
                self.assertIn(name, values)
        self.ask(mkcol(b"test-write"), 201)
        for number, body in ((47, b"time=1795385167 rand=47"), (9, b"time=1 rand=9")):
            name = b"test-write-%d" % number
            self.ask(written(name, body), 201)
            line = b"GET /dev1/test-write/%s HTTP/1.0" % name
            self.assertEqual(self.ask(request(line, KEPT + HOST), 200), body)
        self.ask(written(b"test-md5", b".", NOT_ITS_MD5), 400)
        self.ask(USAGE, 200)

    def test_files(self) -> None:
        """A client's file, a replica, sizes, digests, reading, deleting."""
        for folder in (b"0", b"0/000", b"0/000/000"):
            self.ask(mkcol(folder), 201)
        client = b"Connection: close\r\nHost: 127.0.0.4:7500\r\n"
        put = request(b"PUT %s HTTP/1.1" % FID_1, client, b"hello")
        self.assertIn(b" 201 Created\r\n", self.node.ask(put))
        head = b"HEAD %s HTTP/1.1"
        for headers in (KEPT + HOST, FIRST + HOST):
            self.ask(request(head % FID_1, headers), 200)
            self.assertIn(b"\r\nContent-Length: 5\r\n", self.wire.value())
        replica = b"PUT %s HTTP/1.0\r\n%sContent-length: 5\r\n%s\r\nhello"
        self.ask(replica % (FID_3, KEPT, HELLO_MD5), 201)
        self.ask(replica % (FID_3, KEPT, b""), 201)
        self.ask(replica % (FID_3, KEPT, NOT_ITS_MD5), 400)
        read = request(b"GET %s HTTP/1.0" % FID_1, KEPT)
        self.assertEqual(self.ask(read, 200), b"hello")
        delete = request(b"DELETE %s HTTP/1.1" % FID_1, FIRST + HOST)
        self.ask(delete, 204)
        self.ask(delete, 404)
        self.ask(read, 404)
        self.ask(request(head % FID_1, KEPT + HOST), 404)
        self.ask(request(head % FID_3, KEPT + HOST), 200)

    def test_side_channel(self) -> None:
        """Digests in order on one connection, plain and for fsck, however the bytes
        are split; the other connection watches."""
        self.ask(request(b"PUT %s HTTP/1.1" % FID_3, KEPT + HOST, b"hello"), 201)
        puller = Puller(self.node.copies, None, NoPeers())  # type: ignore[arg-type]
        factory = SideChannelFactory(self.node.clock, self.node.copies, puller)
        digest = md5(b"hello").hexdigest().encode()
        asked = b"MD5 %s\r\nMD5 %s fsck\r\nMD5 %s\r\nsize %s\r\n" % (
            FID_3,
            FID_3,
            FID_1,
            FID_3,
        )
        answer = b"%s MD5=%s\r\n" % (FID_3, digest)
        expected = answer * 2 + b"%s MD5=-1\r\n%s 5\r\n" % (FID_1, FID_3)
        for step in (1, 7, len(asked)):
            side, wire = factory.buildProtocol(None), Wire()
            assert side is not None
            side.makeConnection(wire)
            for start in range(0, len(asked), step):
                side.dataReceived(asked[start : start + step])
            self.assertEqual(wire.value(), expected)
            lose(side)
        side, wire = factory.buildProtocol(None), Wire()
        assert side is not None
        side.makeConnection(wire)
        side.dataReceived(b"watch\n")
        for device in self.node.folders.devices():
            device.utilization = 3.5
        self.node.clock.advance(1)
        self.assertEqual(wire.value(), b"1\t-\n.\n1\t3.50\n.\n")
        lose(side)
