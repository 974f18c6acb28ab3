"""Fids are never given out again, though an old state of the database was restored.

Nodes tell the highest fid on each of their disks with everything else that trackers
look at. Three comparisons come of that:

at once    what a node tells raises the floor in memory below which no fid is given out;
           who draws one there has found an old database (`INumbers.raise_floor`)
by the job `monitor`, and before a tracker opens its doors
           the highest of all is compared with what the database knows: MogileFS's
           trackers draw from it, too, and an operator should hear of it
what is above all belief
           (`believed_up_to`) is asked about once more: the highest file below that is
           what counts; the other one is told to the operator

A device that has not been seen since this tracker started says nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.logger import Logger

from koboldfs.errors import NodeFault
from koboldfs.interfaces import ILiveView
from koboldfs.interfaces_numbers import INumbers
from koboldfs.interfaces_scrub import IScrubNodes
from koboldfs.model.numbering import (
    FORGOTTEN_SETTING,
    FidRange,
    believed_up_to,
    parse_ranges,
)
from koboldfs.model.view import View

#: How often the database is asked how far its numbers are (seconds).
CHECK_SECONDS = 15.0


class Numbering:
    """See the module; `notice` is an observer of the picture."""

    log = Logger()

    def __init__(
        self, numbers: INumbers, nodes: IScrubNodes, live: ILiveView, clock: Any
    ) -> None:
        self._numbers = numbers
        self._nodes = nodes
        self._live = live
        self._clock = clock
        self._due = 0.0
        #: What nodes tell is believed up to here; 0: the database was not asked yet.
        self._limit = 0
        #: Files above that, by device.
        self.unbelieved: Mapping[int, int] = {}

    def forgotten(self) -> tuple[FidRange, ...]:
        """The fids that were given out and that the database does not know of."""
        return parse_ranges(self._live.view.settings.get(FORGOTTEN_SETTING))

    def notice(self, before: View, after: View) -> None:
        """What a device tells counts before anybody is sent to it."""
        if after.health is not before.health:
            self._raise(after)
        text = after.settings.get(FORGOTTEN_SETTING, "")
        if text and text != before.settings.get(FORGOTTEN_SETTING):
            self.log.critical(
                "the database is an older one than the disks: fids {ranges} were given"
                " out and it does not know them; they are not given out again, and the"
                " scrub leaves files of these numbers alone (see doc/old-database)",
                ranges=text,
            )

    def _raise(self, view: View) -> None:
        told = [seen.highest_fid for seen in view.health.devices.values()]
        believed = [fid for fid in told if fid <= self._limit]
        if believed:
            self._numbers.raise_floor(max(believed))

    async def __call__(self) -> bool:
        """A unit of the job `monitor`."""
        now = self._clock.seconds()
        if now >= self._due:
            self._due = now + CHECK_SECONDS
            await self.check()
        return False

    async def check(self) -> None:
        """Compare what the nodes tell with what the database knows, and have it draw
        above that. Raises `DatabaseFault`."""
        # In this order: whatever is on a disk by now was drawn before we ask.
        health = self._live.view.health
        told = {devid: seen.highest_fid for devid, seen in health.devices.items()}
        drawn = await self._numbers.highest_drawn()
        self._limit = believed_up_to(drawn, self.forgotten())
        above = {devid: fid for devid, fid in told.items() if fid > self._limit}
        for devid in above:
            told[devid] = await self._asked(devid, self._limit + 1)
        self._tell(above)
        highest = max(told.values(), default=0)
        self._numbers.raise_floor(highest)
        if highest > drawn and await self._numbers.lift(highest):
            await self._live.refresh()

    async def _asked(self, devid: int, below: int) -> int:
        place = self._live.view.place(devid)
        try:
            return await self._nodes.highest_fid(place, below) if place else 0
        except NodeFault as error:
            self.log.warn(
                "device {devid} does not tell its highest fid: {error}",
                devid=devid,
                error=error,
            )
            return 0

    def _tell(self, above: Mapping[int, int]) -> None:
        for devid, fid in above.items():
            if self.unbelieved.get(devid) != fid:
                self.log.critical(
                    "device {devid} has a file of the fid {fid}, far above all that the"
                    " database ever gave out; numbers are not lifted above that",
                    devid=devid,
                    fid=fid,
                )
        self.unbelieved = above
