"""An end of a storage node's side channel, for its tests."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.model.fid import uri
from koboldfs.storage.pull import NoPeers, Puller
from koboldfs.storage.sidechannel import SideChannelFactory
from koboldfs.storage.temporary import Expected
from koboldfs.wire.http import copy_target
from koboldfs.wire.sidechannel import ERROR_CODES, Reply, parse_reply
from test.fakes.disk import FaultyDisk
from test.fakes.storage_node import FakeNode, Wire

URI = uri(1, 7)


class SideCase(SynchronousTestCase):
    """A node that has fid 7 with ``data``, and a connection to its side channel."""

    def setUp(self) -> None:
        """Both."""
        self.node = FakeNode(disk=FaultyDisk)
        self.put(b"data")
        puller = Puller(self.node.copies, None, NoPeers())  # type: ignore[arg-type]
        self.factory = SideChannelFactory(self.node.clock, self.node.copies, puller)
        self.channel, self.wire = self.connect()

    def put(self, data: bytes) -> None:
        """Store fid 7."""
        target = copy_target(1, 7)
        upload = self.node.copies.upload(target, Expected())
        upload.write(data)
        finishing = self.node.copies.finish(upload, target)
        self.successResultOf(Deferred.fromCoroutine(finishing))

    def connect(self) -> tuple[Any, Wire]:
        """Another connection."""
        channel, wire = self.factory.buildProtocol(None), Wire()
        assert channel is not None
        channel.makeConnection(wire)
        return channel, wire

    def ask(self, *lines: str, end: str = "\r\n") -> list[str]:
        """The lines that are said to these."""
        self.wire.clear()
        for line in lines:
            self.channel.dataReceived((line + end).encode("latin-1"))
        return self.said()

    def said(self) -> list[str]:
        """The lines that were said."""
        text = self.wire.value().decode("latin-1")
        self.assertTrue(text == "" or text.endswith("\r\n"))
        return text.split("\r\n")[:-1]

    def verb(self, text: str) -> Reply:
        """The reply to one of our verbs."""
        (line,) = self.ask(f"kobold 5 {text}")
        reply = parse_reply(line.encode("latin-1"))
        self.assertEqual(reply.number, 5)
        return reply

    def refused(self, code: str, text: str) -> None:
        """The verb has that error."""
        self.assertIn(code, ERROR_CODES)
        self.assertEqual(self.verb(text).code, code)
