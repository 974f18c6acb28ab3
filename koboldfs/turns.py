"""Who of several processes takes the next connection of a port that they share.

The kernel wakes all of them, and left alone the quickest takes nearly all: of 32
connections that came together one of two processes had 30. So they take turns. Each
writes into memory that all see how many connections it has had at each port, and who
has had more than another lets that one go first, for a moment.
"""

from __future__ import annotations

import mmap
import os
import struct
import tempfile

from attrs import frozen

#: Ports that processes can share, and processes that can share them.
MAX_PORTS, MAX_PROCESSES = 8, 64
#: As the machine has it, which writes and reads it in one piece.
_COUNT = struct.Struct("@Q")
#: What stands in the place of a process that is not there: it need not be waited for.
ABSENT = 2**64 - 1


def new_memory() -> int:
    """A descriptor of memory for `Turns`, to be handed to the processes."""
    with tempfile.TemporaryFile() as file:
        file.truncate(MAX_PORTS * MAX_PROCESSES * _COUNT.size)
        return os.dup(file.fileno())


class Turns:
    """The counts of `count` processes, numbered from 1, in the memory behind `fd`."""

    def __init__(self, fd: int, count: int) -> None:
        self._memory = mmap.mmap(fd, MAX_PORTS * MAX_PROCESSES * _COUNT.size)
        self._numbers = range(1, count + 1)

    def get(self, port: int, number: int) -> int:
        """How many connections that process has had at that port."""
        place = (port * MAX_PROCESSES + number - 1) * _COUNT.size
        found: int = _COUNT.unpack_from(self._memory, place)[0]
        return found

    def put(self, port: int, number: int, value: int) -> None:
        """Say so; each process does that for itself, and the parent for the dead."""
        place = (port * MAX_PROCESSES + number - 1) * _COUNT.size
        _COUNT.pack_into(self._memory, place, value)

    def others(self, port: int, number: int) -> list[int]:
        """The counts of all others that are there."""
        found = (self.get(port, one) for one in self._numbers if one != number)
        return [value for value in found if value != ABSENT]

    def leave(self, number: int) -> None:
        """The process is not there (any more)."""
        for port in range(MAX_PORTS):
            self.put(port, number, ABSENT)


@frozen
class Turn:
    """One process's turns at one port."""

    turns: Turns
    port: int
    number: int

    def begin(self) -> None:
        """From now on it takes part, as if it had always done."""
        others = self.turns.others(self.port, self.number)
        self.turns.put(self.port, self.number, max(others, default=0))

    def is_mine(self) -> bool:
        """Whether nobody has had fewer connections."""
        mine = self.turns.get(self.port, self.number)
        return mine <= min(self.turns.others(self.port, self.number), default=mine)

    def took(self) -> None:
        """It took a connection."""
        mine = self.turns.get(self.port, self.number)
        self.turns.put(self.port, self.number, mine + 1)
