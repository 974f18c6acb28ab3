"""What the answer to a store promises: on how many hosts the file lies by then."""

from __future__ import annotations

from attrs import frozen


@frozen
class Promise:
    """What there is, and what was promised, in different hosts with a good copy each.

    `promised` is never more than the file's policy wants with the hosts that there are
    (up or down): a cluster of one host keeps its promise with one copy.
    """

    hosts: int
    promised: int

    @property
    def kept(self) -> bool:
        """Whether there is all that was promised."""
        return self.hosts >= self.promised


@frozen
class Keeping:
    """What was promised so far: files `stored`; of these, files `short` of their
    promise when they were answered, and files that were counted with a copy on a node
    which does not say that its disk has it (`unsynced`, see `View.syncs`)."""

    stored: int = 0
    short: int = 0
    unsynced: int = 0
    stored_bytes: int = 0

    def counters(self) -> dict[str, int]:
        """By their names in `!stats`; what has not counted yet is not there."""
        found = {
            "stored": self.stored,
            "stored_short": self.short,
            "stored_unsynced": self.unsynced,
        }
        return {name: count for name, count in found.items() if count}
