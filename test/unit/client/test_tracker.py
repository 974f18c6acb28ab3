"""Tests of koboldfs.client.tracker."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from koboldfs.client.tracker import (
    MAX_REPLY_BYTES,
    TrackerAway,
    TrackerCalls,
    parse_reply,
)
from koboldfs.errors import CallerError, HostExists, UnknownKey, WorldError
from koboldfs.interfaces import ITrackerCall
from test.unit.client.network import Network, start


class ReplyTests(SynchronousTestCase):
    """`parse_reply`."""

    def test_ok(self) -> None:
        """The fields of OK, with and without the number that old trackers send."""
        for line, fields in (
            (b"OK ", {}),
            (b"OK", {}),
            (b"OK a=1&b=x+y%26", {"a": "1", "b": "x y&"}),
            (b"OK 12 a=1", {"a": "1"}),
        ):
            self.assertEqual(parse_reply(line), fields)

    def test_err(self) -> None:
        """ERR is the error of that code, with the tracker's text."""
        error = self.assertRaises(HostExists, parse_reply, b"ERR host_exists That+one")
        self.assertEqual((error.code, error.message), ("host_exists", "That one"))
        self.assertRaises(UnknownKey, parse_reply, b"ERR unknown_key")

    def test_err_with_another_code(self) -> None:
        """A code without a class keeps its code."""
        error = self.assertRaises(CallerError, parse_reply, b"ERR fsck_running Busy x1")
        self.assertEqual((error.code, error.message), ("fsck_running", "Busy"))
        self.assertEqual(CallerError.code, "failure")

    def test_neither(self) -> None:
        """Anything else is no reply."""
        for line in (b"", b"HTTP/1.1 200 OK", b"ERR", b"OKAY", b"ok a=1"):
            self.assertRaises(ValueError, parse_reply, line)


class TrackerCallsTests(SynchronousTestCase):
    """`TrackerCalls` on a network in memory."""

    def setUp(self) -> None:
        """Two trackers."""
        self.network = Network()
        servers = [("10.0.0.1", 7001), ("10.0.0.2", 7001)]
        self.calls = TrackerCalls(self.network.reactor, servers, 10.0)

    def call(self, **arguments: str) -> Deferred[Any]:
        """One command."""
        return start(self.calls.call("noop", arguments))

    def server(self) -> str:
        """Where the connection that waits to be accepted goes."""
        return str(self.network.reactor.tcpClients[0][0])

    def test_provides(self) -> None:
        """It provides its port."""
        self.assertTrue(verifyObject(ITrackerCall, self.calls))

    def test_bytes(self) -> None:
        """A command is one line of the protocol; its reply gives the fields."""
        called = self.call(key="a b&c", domain="d")
        wire = self.network.accept()
        self.assertEqual(wire.take(), b"noop key=a+b%26c&domain=d\r\n")
        wire.feed(b"OK x=1")
        self.assertNoResult(called)
        wire.feed(b"\r\n")
        self.assertEqual(self.successResultOf(called), {"x": "1"})

    def test_in_order(self) -> None:
        """Replies belong to commands in order; an ERR is of one command only."""
        first = self.call()
        wire = self.network.accept()
        wire.feed(b"OK \r\n")
        self.successResultOf(first)
        wire.take()
        called = [self.call(n=str(number)) for number in range(3)]
        self.assertEqual(wire.take().count(b"\r\n"), 3)
        wire.feed(b"OK n=0\r\nERR unknown_key unknown_key\r\nOK n=2\n")
        self.assertEqual(self.successResultOf(called[0]), {"n": "0"})
        self.failureResultOf(called[1], UnknownKey)
        self.assertEqual(self.successResultOf(called[2]), {"n": "2"})

    def test_bad_command(self) -> None:
        """A command is one word; nothing else can be slipped in."""
        self.failureResultOf(start(self.calls.call("a\nb", {})), ValueError)

    def test_second_server(self) -> None:
        """A tracker that refuses connections is passed over, from then on."""
        called = self.call()
        self.assertEqual(self.server(), "10.0.0.1")
        self.network.refuse()
        self.assertEqual(self.server(), "10.0.0.2")
        self.network.accept().feed(b"OK \r\n")
        self.successResultOf(called)

    def test_none(self) -> None:
        """When no tracker answers, that is said."""
        called = [self.call(), self.call()]
        self.network.refuse()
        self.network.refuse()
        for one in called:
            self.failureResultOf(one, TrackerAway)
        self.assertTrue(issubclass(TrackerAway, WorldError))

    def test_lost(self) -> None:
        """Commands under way go to the next tracker when the connection breaks."""
        called = self.call()
        self.network.accept().lose()
        self.assertEqual(self.server(), "10.0.0.2")
        self.network.accept().feed(b"OK \r\n")
        self.successResultOf(called)

    def test_timeout(self) -> None:
        """A tracker that hangs is left; a late reply is taken for no other one's."""
        called = self.call()
        wire = self.network.accept()
        self.network.wait(11)
        self.assertTrue(wire.gone)
        self.network.accept().feed(b"OK x=2\r\n")
        self.assertEqual(self.successResultOf(called), {"x": "2"})

    def test_garbage(self) -> None:
        """What is no reply ends the connection."""
        for garbage in (b"HTTP/1.0 400 Bad\r\n", b"x" * (MAX_REPLY_BYTES + 2)):
            self.setUp()
            called = self.call()
            wire = self.network.accept()
            wire.feed(garbage)
            self.network.turn()
            self.assertTrue(wire.gone)
            self.network.accept().feed(b"OK \r\n")
            self.successResultOf(called)

    def test_reply_to_nothing(self) -> None:
        """A reply that nobody asked for ends the connection."""
        called = self.call()
        wire = self.network.accept()
        wire.feed(b"OK \r\nOK \r\n")
        self.successResultOf(called)
        self.network.turn()
        self.assertTrue(wire.gone)

    def test_stop(self) -> None:
        """Stopping fails what is under way and waits for the connection to end."""
        called = self.call()
        wire = self.network.accept()
        stopped = start(self.calls.stop())
        self.failureResultOf(called, TrackerAway)
        self.network.turn()
        self.successResultOf(stopped)
        self.assertTrue(wire.gone)
        self.assertEqual(self.network.reactor.getDelayedCalls(), [])
        self.failureResultOf(self.call(), TrackerAway)

    def test_stop_while_connecting(self) -> None:
        """Stopping ends an attempt to connect."""
        called = [self.call(), self.call()]
        self.successResultOf(start(self.calls.stop()))
        for one in called:
            self.failureResultOf(one, TrackerAway)
