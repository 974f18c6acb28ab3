"""The scrub, as operators and the job `scrub` see it.

A pass over a device is due when its last one began `kobold_scrub_days` ago (0: only
when an operator asks for one), a device that is new some time after it was seen first.
"""

from __future__ import annotations

from collections.abc import Collection

from koboldfs import errors
from koboldfs.interfaces import ILiveView
from koboldfs.interfaces_scrub import IScrubs
from koboldfs.model.scrub import LostFile, Scrub, period_seconds

DAYS, DAYS_DEFAULT = "kobold_scrub_days", "30"
#: How long a pass is ours without a sign of life (seconds); a sign is given every few.
LEASE_SECONDS = 60
#: A page of the list of lost files.
LOST_PAGE = 100


class Scrubbing:
    """See the module."""

    def __init__(self, scrubs: IScrubs, live: ILiveView) -> None:
        self.scrubs = scrubs
        self._live = live

    # --- for operators

    async def status(self) -> list[Scrub]:
        """How the scrub of every device that is not dead stands, by number."""
        found, _ = await self._all()
        view = self._live.view
        return [
            one
            for one in found
            if one.devid in view.devices and not view.is_dead(one.devid)
        ]

    async def start(self, devid: int | None = None) -> None:
        """A pass is due now on a device, or on all of them. Raises `NoDevice`."""
        view = self._live.view
        if devid is None:
            await self.scrubs.ask(self._living())
        elif devid in view.devices:
            await self.scrubs.ask([devid])
        else:
            raise errors.NoDevice()

    async def lost(self, after_fid: int) -> list[tuple[LostFile, str]]:
        """A page of files of which no good copy was found, each with its domain."""
        found = await self.scrubs.lost_after(after_fid, LOST_PAGE)
        names = {one.dmid: one.name for one in self._live.view.domains.values()}
        return [(one, names.get(one.file.dmid, "")) for one in found]

    async def lost_since(self, fid: int) -> int | None:
        """When it was found that the file has no good copy (Unix seconds); None if it
        was not."""
        found = await self.scrubs.lost_after(fid - 1, 1)
        return found[0].since if found and found[0].file.fid == fid else None

    # --- for the job

    async def take(
        self, owner: str, room: int, resting: Collection[int] = ()
    ) -> list[Scrub]:
        """Up to `room` passes that are now ours: those that are due, or whose tracker
        says no more. Devices that cannot be read now, or are `resting`, are left."""
        days = self._live.view.settings.get(DAYS, DAYS_DEFAULT)
        period = period_seconds(days)
        taken: list[Scrub] = []
        rows, now = await self._all()
        for one in sorted(rows, key=lambda one: (not one.running, one.began)):
            if len(taken) >= room:
                break
            if one.devid in resting or not self._readable(one.devid):
                continue
            if not one.free_for(owner, now):
                continue
            if one.running or one.due(now, period):
                begun = await self.scrubs.begin(one.devid, owner, period, LEASE_SECONDS)
                if begun is not None:
                    taken.append(begun)
        return taken

    def _readable(self, devid: int) -> bool:
        view = self._live.view
        there = devid in view.devices and not view.is_dead(devid)
        return there and view.readable(devid) and view.place(devid) is not None

    def _living(self) -> list[int]:
        view = self._live.view
        return sorted(devid for devid in view.devices if not view.is_dead(devid))

    async def _all(self) -> tuple[list[Scrub], int]:
        rows, now = await self.scrubs.all()
        new = set(self._living()) - {one.devid for one in rows}
        if new:
            await self.scrubs.know(sorted(new))
            rows, now = await self.scrubs.all()
        return rows, now
