"""Tests of koboldfs.client.sidechannel."""

from __future__ import annotations

import re
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.client import sidechannel
from koboldfs.client.connecting import LONGEST_PAUSE_SECONDS
from koboldfs.client.sidechannel import Refusal, SideChannel
from koboldfs.errors import NodeFault, NodeUnreachable
from koboldfs.wire.sidechannel import MAX_LINE_BYTES
from test.unit.client.network import Network, Wire


class SideChannelTests(SynchronousTestCase):
    """`SideChannel` on a network in memory."""

    def setUp(self) -> None:
        """A channel that has not connected yet."""
        self.network = Network()
        self.channel = SideChannel(self.network.reactor, "10.0.0.1", 7501)

    def ask(self, fid: int = 1, timeout_seconds: float = 5.0) -> Deferred[Any]:
        """One request."""
        return self.channel.call("stat", {"devid": 1, "fid": fid}, timeout_seconds)

    def connect(self) -> Wire:
        """Accept the connection that a first request asks for."""
        wire = self.network.accept()
        self.network.turn()
        return wire

    def numbers(self, wire: Wire) -> list[int]:
        """The numbers of the requests that were sent."""
        return [int(one) for one in re.findall(rb"kobold (\d+) stat", wire.take())]

    def test_lines(self) -> None:
        """A request is the line of the grammar, ended by one LF."""
        self.ask(7)
        wire = self.connect()
        self.assertEqual(wire.take(), b"kobold 1 stat devid=1&fid=7\n")

    def test_one_write_a_turn(self) -> None:
        """Requests of one turn of the reactor leave together, on one connection."""
        self.ask()
        wire = self.connect()
        wire.take()
        writes: list[bytes] = []
        wire.write = writes.append  # type: ignore[method-assign]
        for fid in range(10):
            self.ask(fid)
        self.assertEqual(writes, [])
        self.network.turn()
        self.assertEqual(len(writes), 1)
        self.assertEqual(writes[0].count(b"\n"), 10)
        self.assertEqual(self.network.attempts, 0)

    def test_out_of_order(self) -> None:
        """Replies find their requests by number, in any order, split anywhere."""
        asked = [self.ask(fid) for fid in range(3)]
        wire = self.connect()
        replies = b"".join(
            b"kobold %d OK size=%d\r\n" % (number, number * 100)
            for number in reversed(self.numbers(wire))
        )
        for byte in replies:
            wire.feed(bytes([byte]))
        sizes = [self.successResultOf(one)["size"] for one in asked]
        self.assertEqual(sizes, ["100", "200", "300"])

    def test_refusal(self) -> None:
        """ERR fails one request with its code and text, and no other."""
        first, second = self.ask(1), self.ask(2)
        wire = self.connect()
        wire.feed(b"kobold 1 ERR disk_fault bad+sector\r\n")
        refusal = self.failureResultOf(first, Refusal).value
        self.assertEqual(refusal.refusal, "disk_fault")
        self.assertIn("bad sector", refusal.message)
        self.assertNoResult(second)

    def test_lost(self) -> None:
        """When the connection breaks, all that wait fail at once."""
        asked = [self.ask(fid) for fid in range(3)]
        self.connect().lose()
        for one in asked:
            self.failureResultOf(one, NodeUnreachable)

    def test_reconnects(self) -> None:
        """After an idle connection was closed, the next request makes a new one."""
        first = self.ask()
        wire = self.connect()
        wire.feed(b"kobold 1 OK size=1\r\n")
        self.successResultOf(first)
        wire.lose()
        second = self.ask()
        wire = self.connect()
        self.assertEqual(self.numbers(wire), [2])
        wire.feed(b"kobold 2 OK size=2\r\n")
        self.successResultOf(second)

    def test_refused(self) -> None:
        """A node that refuses connections costs nothing until the pause is over."""
        asked = [self.ask(), self.ask()]
        self.network.refuse()
        for one in asked:
            self.failureResultOf(one, NodeUnreachable)
        self.failureResultOf(self.ask(), NodeUnreachable)
        self.assertEqual(self.network.attempts, 0)
        self.network.wait(LONGEST_PAUSE_SECONDS)
        self.ask()
        self.assertEqual(self.network.attempts, 1)

    def test_eager(self) -> None:
        """Who looks at the host on purpose does not wait for the pause."""
        self.ask().addErrback(lambda _: None)
        self.network.refuse()
        self.channel.eager()
        self.ask()
        self.assertEqual(self.network.attempts, 1)

    def test_pause_grows(self) -> None:
        """The pause doubles with every failure in a row, to its limit."""
        pauses = []
        for _ in range(8):
            self.ask().addErrback(lambda _: None)
            self.network.refuse()
            began = self.network.reactor.seconds()
            while not self.network.attempts:
                self.network.reactor.advance(0.05)
                self.ask().addErrback(lambda _: None)
            pauses.append(self.network.reactor.seconds() - began)
        for shorter, longer in zip(pauses, pauses[1:4], strict=False):
            self.assertLess(shorter, longer)
        self.assertGreater(pauses[-1], 1.5)
        self.assertLess(pauses[-1], LONGEST_PAUSE_SECONDS + 0.2)

    def test_deadline(self) -> None:
        """A request without a reply fails in time; others go on, and a reply that
        comes too late is nobody's."""
        slow = self.ask(1, 2.0)
        wire = self.connect()
        self.network.wait(1)
        other = self.ask(2, 60.0)
        self.network.turn()
        wire.feed(b"kobold 2 OK size=2\r\n")
        self.successResultOf(other)
        other = self.ask(3, 60.0)
        self.network.wait(1.5)
        self.failureResultOf(slow, NodeUnreachable)
        wire.feed(b"kobold 1 OK size=1\r\n")
        self.assertNoResult(other)
        wire.feed(b"kobold 3 OK size=3\r\n")
        self.assertEqual(self.successResultOf(other), {"size": "3"})

    def test_half_open(self) -> None:
        """A connection on which nothing comes any more is given up with the first
        deadline, and all that wait fail; after the pause there is a new one."""
        first, long = self.ask(1, 2.0), self.ask(2, 600.0)
        wire = self.connect()
        self.network.wait(2.5)
        self.failureResultOf(first, NodeUnreachable)
        self.failureResultOf(long, NodeUnreachable)
        self.network.turn()
        self.assertTrue(wire.gone)
        self.network.wait(1)
        self.ask(3)
        self.assertEqual(self.network.attempts, 1)

    def test_connecting_takes_too_long(self) -> None:
        """The deadline counts while there is no connection yet."""
        asked = self.ask(1, 1.0)
        self.network.wait(1.5)
        self.failureResultOf(asked, NodeUnreachable)

    def test_garbage(self) -> None:
        """What is no reply of the grammar ends the connection; all that wait fail."""
        for garbage in (
            b"ERROR: unknown command: kobold\r\n",
            b"kobold x OK\r\n",
            b"kobold 999999 OK\r\n",
            b"kobold 0 OK\r\n",
            b"\x00\xff\n",
            b"HTTP/1.0 400 Bad request\r\n",
        ):
            self.network = Network()
            self.channel = SideChannel(self.network.reactor, "10.0.0.1", 7501)
            asked = [self.ask(1), self.ask(2)]
            wire = self.connect()
            wire.feed(garbage + b"kobold 1 OK size=1\r\n")
            for one in asked:
                self.failureResultOf(one, NodeFault)
            self.network.turn()
            self.assertTrue(wire.gone, garbage)

    def test_endless_line(self) -> None:
        """A line without end is cut off when it is longer than any reply."""
        asked = self.ask()
        wire = self.connect()
        wire.feed(b"kobold 1 OK ")
        for _ in range(MAX_LINE_BYTES // 65536 + 1):
            wire.feed(b"x" * 65536)
        self.failureResultOf(asked, NodeFault)
        self.network.turn()
        self.assertTrue(wire.gone)

    def test_cancel(self) -> None:
        """Who does not want the reply any more can say so."""
        asked = self.ask()
        wire = self.connect()
        asked.cancel()
        self.failureResultOf(asked)
        wire.feed(b"kobold 1 OK size=1\r\n")
        self.assertFalse(wire.disconnecting)

    def test_too_many(self) -> None:
        """There is a limit to requests under way."""
        self.patch(sidechannel, "MAX_UNDER_WAY", 3)
        asked = [self.ask(fid) for fid in range(3)]
        self.failureResultOf(self.ask(), NodeFault)
        wire = self.connect()
        wire.feed(b"kobold 1 OK size=1\r\n")
        self.successResultOf(asked[0])
        self.assertNoResult(self.ask())

    def test_stop(self) -> None:
        """Stopping fails what waits, and is done when the connection is gone."""
        asked = self.ask()
        wire = self.connect()
        stopped = self.channel.stop()
        self.failureResultOf(asked, NodeUnreachable)
        self.assertNoResult(stopped)
        self.network.turn()
        self.successResultOf(stopped)
        self.assertTrue(wire.gone)
        self.failureResultOf(self.ask(), NodeUnreachable)
        self.assertEqual(self.network.reactor.getDelayedCalls(), [])

    def test_stop_while_connecting(self) -> None:
        """Stopping ends an attempt to connect, too."""
        asked = self.ask()
        stopped = self.channel.stop()
        self.failureResultOf(asked, NodeUnreachable)
        self.successResultOf(stopped)
