"""Whose turn it is to take a connection."""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from koboldfs.turns import MAX_PORTS, MAX_PROCESSES, Turn, Turns, new_memory


class TurnsTaken(SynchronousTestCase):
    """`Turns` and `Turn`"""

    def setUp(self) -> None:
        """Three processes, none of them there."""
        fd = new_memory()
        self.addCleanup(os.close, fd)
        # Each process has the memory for itself, as it were.
        self.parent, *self.each = (Turns(fd, 3) for _ in range(4))
        for number in (1, 2, 3):
            self.parent.leave(number)

    def turn(self, number: int, port: int = 0) -> Turn:
        """A process that takes part from now on."""
        turn = Turn(self.each[number - 1], port, number)
        turn.begin()
        return turn

    def test_alone(self) -> None:
        """Who is alone never waits."""
        one = self.turn(1)
        for _ in range(5):
            self.assertTrue(one.is_mine())
            one.took()

    def test_in_turns(self) -> None:
        """Who has had more than another lets that one go first."""
        one, two = self.turn(1), self.turn(2)
        self.assertTrue(one.is_mine() and two.is_mine())
        one.took()
        self.assertFalse(one.is_mine())
        self.assertTrue(two.is_mine())
        two.took()
        self.assertTrue(one.is_mine() and two.is_mine())

    def test_ports_are_apart(self) -> None:
        """What was taken at one port says nothing of another."""
        one, _ = self.turn(1), self.turn(2)
        other, _ = self.turn(1, 7), self.turn(2, 7)
        one.took()
        self.assertFalse(one.is_mine())
        self.assertTrue(other.is_mine())

    def test_death(self) -> None:
        """Nobody waits for a dead process, and who comes back does not take all to
        make up for the time."""
        one, two = self.turn(1), self.turn(2)
        one.took()
        self.parent.leave(2)
        for _ in range(9):
            self.assertTrue(one.is_mine())
            one.took()
        two = self.turn(2)
        self.assertTrue(two.is_mine())
        two.took()
        self.assertFalse(two.is_mine())

    def test_room(self) -> None:
        """The last port of the last process has its place."""
        fd = new_memory()
        self.addCleanup(os.close, fd)
        turns = Turns(fd, MAX_PROCESSES)
        turns.put(MAX_PORTS - 1, MAX_PROCESSES, 7)
        self.assertEqual(turns.get(MAX_PORTS - 1, MAX_PROCESSES), 7)
        self.assertEqual(sum(turns.others(MAX_PORTS - 1, 1)), 7)
