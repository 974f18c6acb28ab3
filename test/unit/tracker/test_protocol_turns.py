"""Connections that give way to others."""

from __future__ import annotations

from koboldfs.tracker.call import Call, Pairs, Services, TrackerCommand
from koboldfs.tracker.commands import Commands
from koboldfs.tracker.protocol import TURN_SECONDS
from test.unit.tracker.test_protocol import ConnectionCase


class Turns(ConnectionCase):
    """Requests that need no wait, but time."""

    def test_slow_turns(self) -> None:
        """Requests that take a while give way sooner."""
        door, clock = self.city.factory.door, self.city.clock

        async def work(services: Services, call: Call) -> Pairs:
            """Take a while."""
            clock.rightNow += TURN_SECONDS / 2
            return []

        row = TrackerCommand("work", work)
        door.commands = Commands(self.city.services, [[row]])
        self.give(b"work\n" * 10)
        self.assertEqual(self.said(), b"OK \r\n" * 3)
        clock.advance(0)
        self.assertEqual(self.said(), b"OK \r\n" * 7)
