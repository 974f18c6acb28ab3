"""Whether stores were answered with as many copies as were promised, and how often."""

from __future__ import annotations

from collections.abc import Collection

from koboldfs.cluster.copies import Copies
from koboldfs.cluster.remembered import Remembered
from koboldfs.model.entities import Closing
from koboldfs.model.promise import Keeping, Promise


class Promises:
    """Judges by the picture of the moment; counts since the process started."""

    def __init__(self, copies: Copies) -> None:
        self._copies = copies
        self._promise = Remembered(copies.live, self._judge)
        self._unsafe = Remembered(copies.live, self._is_unsynced)
        self._stored = 0
        self._short = 0
        self._unsynced = 0
        self._bytes = 0

    def of(self, dmid: int, classid: int, devids: Collection[int]) -> Promise:
        """What a file of that class with copies there has of its promise.

        Copies on nodes without fsync count as copies, and not silently: `keeping`
        tells how many files had one, and the cluster's health names the nodes. Those
        on dead or lost devices are none.
        """
        return self._promise(dmid, classid, tuple(devids))

    def _judge(self, dmid: int, classid: int, devids: tuple[int, ...]) -> Promise:
        copies = self._copies
        there = list(filter(copies.live.view.counts, devids))
        wanted = copies.wanted(dmid, classid, there)
        return Promise(
            len(copies.hosts_of(there)), min(copies.promised_hosts(), wanted)
        )

    def answered(self, closing: Closing) -> None:
        """A file is recorded so, and its store is answered now."""
        self._stored += 1
        self._bytes += closing.length
        if not self.of(closing.dmid, closing.classid, closing.devids).kept:
            self._short += 1
        if self._unsafe(tuple(closing.devids)):
            self._unsynced += 1

    def _is_unsynced(self, devids: tuple[int, ...]) -> bool:
        view = self._copies.live.view
        return not all(map(view.syncs, self._copies.hosts_of(devids)))

    @property
    def keeping(self) -> Keeping:
        """What was counted so far."""
        return Keeping(self._stored, self._short, self._unsynced, self._bytes)
