"""The native door's connections as a whole."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.tracker.native import IDLE_SECONDS
from koboldfs.tracker.native_factory import GRACE_SECONDS, SWEEP_SECONDS
from koboldfs.wire import native
from koboldfs.wire.native import Command
from test.fakes.native_door import Door

PING = native.request(Command.PING)
GET = native.request(Command.GET, b"d", b"key")


class Room(SynchronousTestCase):
    """A limit on connections."""

    def setUp(self) -> None:
        """A door for two."""
        self.door = Door(max_connections=2)

    def test_idle_make_room(self) -> None:
        """The one that was idle longest goes."""
        first, second = self.door.connect(), self.door.connect()
        self.door.clock.advance(1)
        first.say(PING)
        third = self.door.connect()
        self.assertEqual(
            (first.closed, second.closed, third.closed), (False, True, False)
        )
        self.assertEqual(third.say(PING), b"\1")

    def test_busy_stay(self) -> None:
        """Who is in the middle of something stays, and the new one goes."""
        first, second = self.door.connect(), self.door.connect()
        self.door.names.pausing["locate"] = Deferred()
        first.say(GET)
        second.say(native.request(Command.BEGIN))
        third = self.door.connect()
        self.assertEqual(
            (first.closed, second.closed, third.closed), (False, False, True)
        )
        self.assertEqual(third.say(PING), b"")
        third.leave()
        self.assertEqual(len(self.door.factory.connections), 2)

    def test_no_one_twice(self) -> None:
        """A connection that already has to go makes room once."""
        first, second = self.door.connect(), self.door.connect()
        self.door.connect()
        self.door.connect()
        self.assertEqual((first.closed, second.closed), (True, True))


class Life(SynchronousTestCase):
    """From the first port that opens to the last that closes."""

    def setUp(self) -> None:
        """An open door with a client."""
        self.door = Door()
        self.door.factory.doStart()
        self.line = self.door.connect()

    def test_sweeps(self) -> None:
        """While a port is open, deadlines are kept."""
        self.door.clock.pump([SWEEP_SECONDS] * int(IDLE_SECONDS / SWEEP_SECONDS + 2))
        self.assertTrue(self.line.closed)

    def test_stop_idle(self) -> None:
        """Idle connections end with the port, and nothing stays behind."""
        self.door.factory.doStop()
        self.assertTrue(self.line.closed)
        self.line.leave()
        self.assertEqual(self.door.clock.getDelayedCalls(), [])

    def test_stop_busy(self) -> None:
        """A connection at work has some time left, and no more than that."""
        self.door.names.pausing["locate"] = Deferred()
        self.line.say(GET)
        self.door.factory.doStop()
        self.assertFalse(self.line.closed)
        self.door.clock.advance(GRACE_SECONDS)
        self.assertTrue(self.line.closed)
        self.assertEqual(self.door.clock.getDelayedCalls(), [])

    def test_stop_empty(self) -> None:
        """Without connections there is nothing to wait for."""
        self.line.leave()
        self.door.factory.doStop()
        self.assertEqual(self.door.clock.getDelayedCalls(), [])

    def test_stop_unstarted(self) -> None:
        """A door that was never opened can be closed."""
        Door().factory.stopFactory()
