"""The storage node's HTTP door: plain requests, and twisted.web with ours around it."""

from __future__ import annotations

import re
from typing import Any

from koboldfs.model.fid import uri
from koboldfs.storage.channel import IDLE_SECONDS, MAX_BEHIND_BYTES, MAX_HEADERS_BYTES
from koboldfs.storage.http import REFUSED_BODY_SECONDS
from koboldfs.storage.upload import CONGESTED_BYTES
from test.fakes.lanes import HeldLanes, InlineLanes
from test.fakes.storage_node import DOCROOT, FakeNode, lose
from test.fuzz.mutation import Source
from test.fuzz.target import READ_BYTES, Target, blocks, pieces, want, want_same
from test.fuzz.worlds import Lasting

_URI = uri(1, 7).encode()
_NEW = uri(1, 8).encode()
_GET = b"GET %s HTTP/1.1\r\nHost: x\r\n" % _URI
_PUT = b"PUT %s HTTP/1.1\r\nHost: x\r\n" % _NEW
_MD5 = b"Content-MD5: jXd/OF09/siBXSD3SWAmew==\r\n"
_CHUNKED = b"Transfer-Encoding: chunked\r\n"
SAMPLES = (
    _GET + b"\r\n",
    _GET + b'Range: bytes=1-2\r\nIf-Range: "x"\r\n\r\n',
    _GET + b'If-None-Match: "a", W/"b"\r\nConnection: close\r\n\r\n',
    _GET + b"If-Modified-Since: Tue, 14 Nov 2023 22:13:20 GMT\r\n\r\n" + _GET + b"\r\n",
    b"HEAD %s HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n" % _URI,
    b"GET /dev1/usage HTTP/1.0\r\n\r\n",
    b"GET http://node:7500%s HTTP/1.1\r\nHost: node:7500\r\n\r\n" % _URI,
    _PUT + b"Content-Length: 80\r\n\r\n" + b"data" * 20 + _GET + b"\r\n",
    _PUT + _MD5 + b"Content-Length: 4\r\n\r\ndata",
    _PUT + b"Expect: 100-continue\r\nContent-Length: 4\r\n\r\ndata",
    _PUT + _CHUNKED + b"\r\n3;x=y\r\ndat\r\n1\r\na\r\n0\r\n\r\n" + _GET + b"\r\n",
    _PUT
    + _CHUNKED
    + b"Trailer: Content-MD5\r\n\r\n4\r\ndata\r\n0\r\n"
    + _MD5
    + b"\r\n",
    b"PUT %s HTTP/1.1\r\nContent-Range: bytes 1-2/4\r\nContent-Length: 2\r\n\r\nXY"
    % _URI,
    b"DELETE %s HTTP/1.1\r\nHost: x\r\n\r\n" % _URI + _GET + b"\r\n",
    b"MKCOL /dev1/0/000/001/ HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
    b"MOVE %s HTTP/1.1\r\nDestination: %s\r\nOverwrite: F\r\n\r\n" % (_URI, _NEW),
    b"PUT /dev1/test-write/test-write-7 HTTP/1.1\r\nContent-Length: 1\r\n\r\nx",
    b"POST /x HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc" + _GET + b"\r\n",
)
WORDS = (
    b"\r\n",
    b"\n",
    b"\r",
    b": ",
    b":",
    b" ",
    b"\t",
    b"\r\n ",
    b"HTTP/1.0",
    b"HTTP/1.1",
    b"HTTP/2.0",
    b"Content-Length: 5\r\n",
    b"Content-Length: 70000\r\n",
    b"Connection: close\r\n",
    b"Content-Length: +1\r\n",
    b"Range: bytes=0-\r\n",
    b"Range: bytes=-0\r\n",
    _CHUNKED,
    b"Expect: 100-continue\r\n",
    b"0\r\n\r\n",
    b"ffffffffffffffff\r\n",
    b"\r\n\r\n",
    b"Content-MD5: x\r\n",
    b"If-Match: *\r\n",
    b"If-Unmodified-Since: 0\r\n",
    b"..",
    b"%2e",
    b"/dev1/",
    b"/dev2/",
    b"/usage",
    b"PUT ",
    b"GET ",
    b"\x00",
    b"\xff",
    b"x" * 100,
    _GET,
    b"Content-Range: bytes 0-0/*\r\n",
    b"Cookie: a\r\n",
    b"Upgrade: h2c\r\n",
    b";",
)
#: What differs with how often the disk was written to.
_CLOCKED = re.compile(rb"(ETag|Last-Modified): [^\r]*\r\n")
#: What twisted.web keeps: a head, or a body's piece that it has not given on.
MAX_KEPT_BYTES = MAX_HEADERS_BYTES + READ_BYTES


class Node:
    """A node with one file, that input after input is given to."""

    def __init__(self, *, plain: bool = True, lanes: HeldLanes | None = None) -> None:
        self.lanes = lanes
        self.node = FakeNode(plain=plain, lanes=lanes)
        self.node.memory.put(f"{DOCROOT}{uri(1, 7)}", b"data")
        self._bring_back = self.node.memory.remember()
        self._timers = len(self.node.clock.getDelayedCalls())

    def talk(self, parts: list[bytes]) -> tuple[bytes, bool, object]:
        """What a connection is told, whether it was closed, and the files then."""
        self._bring_back()
        node, lanes = self.node, self.lanes
        channel, wire = node.connect()
        for part in parts:
            while lanes and lanes.jobs and not wire.reading:
                lanes.step()
            if wire.disconnecting:
                break  # nothing is read any more
            want(wire.reading, "a client is paused and never resumed")
            channel.dataReceived(part)
            _look_at(channel)
        if lanes:
            lanes.run_all()
            node.copies.lanes = node.lanes = InlineLanes()
        answer, closed = _CLOCKED.sub(rb"\1\r\n", wire.value()), wire.disconnecting
        want(not re.match(rb"HTTP/1.[01] 500", answer), "an error of the node itself")
        want(b"Traceback" not in answer, "a traceback is told")
        lose(channel)
        self._left_nothing()
        if lanes:
            node.copies.lanes = node.lanes = lanes
        return answer, closed, node.files()

    def _left_nothing(self) -> None:
        node = self.node
        node.clock.advance(REFUSED_BODY_SECONDS + IDLE_SECONDS)
        want(node.memory.open_count == 0, "a descriptor is left open")
        want(len(node.clock.getDelayedCalls()) == self._timers, "a timer is left")
        want(node.site._connections == 0, "a connection is not forgotten")
        want(not self.lanes or not self.lanes.jobs, "work is left")
        usage = node.ask(b"GET /dev1/usage HTTP/1.1\r\nHost: x\r\n\r\n")
        want(usage.startswith(b"HTTP/1.1 200 "), "a new connection is not answered")


def _look_at(channel: Any) -> None:
    """What is kept of what has come."""
    want(len(channel._buffer) <= MAX_KEPT_BYTES, "too much is kept of a head")
    want(
        len(channel._behind) <= MAX_BEHIND_BYTES + READ_BYTES,
        "too much is kept behind a request",
    )
    want(sum(map(len, channel._dataBuffer)) <= MAX_KEPT_BYTES, "too much waits")
    for request in (*channel.requests, channel._plain):
        upload = getattr(request, "_upload", None)
        if upload is not None:
            waiting = sum(map(len, getattr(upload, "_waiting", ())))
            want(waiting <= CONGESTED_BYTES + READ_BYTES, "too much is kept of a body")


class Nodes:
    """Two that read plain requests by themselves, one that leaves them to twisted.web,
    and one with a disk that takes its time. Their clocks go alike."""

    def __init__(self) -> None:
        self.one, self.other = Node(), Node()
        self.web = Node(plain=False)
        self.slow = Node(lanes=HeldLanes())


NODES = Lasting(Nodes)


def run(data: bytes) -> None:
    """A connection to each of the nodes."""

    def talk(nodes: Nodes) -> None:
        whole, cut = blocks(data), pieces(data)
        answer = nodes.one.talk(whole)
        want_same(answer, nodes.other.talk(cut))
        want_same(answer, nodes.web.talk(whole))
        want_same(answer, nodes.slow.talk(cut))

    NODES.given(talk)


DOOR = Target("http-door", run, Source(SAMPLES, WORDS), 400)
