"""A tracker and a storage node, as the clients of MogileFS meet them.

The tracker is a whole one over tables in memory; all its devices lie on one node, which
is ours down to its disk. What a client PUTs there, the tracker finds.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from koboldfs.cluster.live import RENEW_SECONDS
from test.fakes.city import City
from test.fakes.storage_node import FakeNode, lose, split_answer
from test.wire.client_readers import Refused, expression_fields

_URL = re.compile(
    r"http://(127\.0\.0\.[123]):7500(/dev([1-6])/(\d/\d{3}/\d{3}/(\d{10})\.fid))"
)


def path_of(url: str) -> bytes:
    """What stands in the first line of a request for that URL."""
    match = _URL.fullmatch(url)
    assert match is not None, url
    return match[2].encode()


class ClientCase(SynchronousTestCase):
    """A client has a connection to the tracker of `City.furnished`."""

    def setUp(self) -> None:
        """Three hosts with two devices each, domains d1 and d2, classes c1 and md5c."""
        self.city = City.furnished()
        self.node = FakeNode(devices=6)
        self.connection, self.transport = self.city.connect()

    def ask(self, line: bytes) -> bytes:
        """The reply on the kept connection, with its end: one line, and soon."""
        self.transport.clear()
        self.connection.dataReceived(line)
        if not self.transport.value():
            # A name that is not known is looked up again, after a moment.
            self.city.clock.advance(RENEW_SECONDS)
        reply: bytes = self.transport.value()
        self.assertFalse(self.transport.disconnecting)
        self.assertTrue(reply.endswith(b"\r\n"), reply)
        self.assertEqual((reply.count(b"\r"), reply.count(b"\n")), (1, 1), reply)
        return reply

    def ask_anew(self, line: bytes) -> bytes:
        """The reply on a connection of its own."""
        lose(self.connection)
        self.connection, self.transport = self.city.connect()
        return self.ask(line)

    def put(self, url: str, request: bytes, *, blocks: int = 1) -> int:
        """The status that the node answers; what it has now, the tracker finds.

        The bytes of the request come in that many blocks.
        """
        match = _URL.fullmatch(url)
        assert match is not None, url
        channel, wire = self.node.connect()
        size = -(-len(request) // blocks)
        for start in range(0, len(request), size):
            channel.dataReceived(request[start : start + size])
        status, _, _ = split_answer(wire.value())
        lose(channel)
        devid, fid = int(match[3]), int(match[5])
        place = self.city.live.view.place(devid)
        assert place is not None and place.host.ip == match[1], url
        data = self.node.files(devid).get(match[4])
        if data is not None:
            self.city.nodes.put(place, fid, data)
        return status

    def get(self, request: bytes) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the node's answer."""
        return split_answer(self.node.ask(request))

    def refusal(
        self, line: bytes, read: Callable[[bytes], object] = expression_fields
    ) -> tuple[str, str]:
        """Code and text of the ERR line that a request is answered with."""
        reply = self.ask(line)
        with self.assertRaises(Refused) as raised:
            read(reply)
        return raised.exception.code, raised.exception.text
