"""Taking copies away: off a device that shall have less, or where there are too many.

One order of steps for all of it, so that a file never has fewer good copies than
before: the copies that the policy wants are made first; those that remain are looked at
where they are. Where none was made in its place, they are read, all of them, and those
that are as they should be must be enough; one that was made has just been compared, and
takes the place of the one that goes, whatever the others are. Then the row of the copy
goes, in a transaction that sees to it that the remaining ones are still recorded
(whoever else takes a copy of the file away meanwhile is refused); then its bytes. If
they cannot be removed, the row comes back.
"""

from __future__ import annotations

from collections.abc import Collection

from twisted.logger import Logger

from koboldfs import errors
from koboldfs.cluster.copies import Copies
from koboldfs.interfaces import ITasks
from koboldfs.model.entities import FSCK_TASK, CopyChange, Located
from koboldfs.model.policy import COPY, SATISFIED, TOO_MANY
from koboldfs.model.view import View

#: What became of a copy.
MOVED, KEPT = "moved", "kept"
_CONTENT = (SATISFIED, TOO_MANY)


class Moving:
    """See the module."""

    log = Logger()

    def __init__(self, copies: Copies, tasks: ITasks) -> None:
        self._copies = copies
        self._tasks = tasks

    async def off(
        self,
        located: Located,
        devid: int,
        targets: Collection[int] | None = None,
        *,
        stays: bool = False,
    ) -> str:
        """Take the file off a device. Copies that it needs for that are made on
        `targets` only (None: anywhere). With `stays` the device will take files again:
        its host is still one of those that shall have them. `KEPT` when that would
        leave the file worse off, or cannot be done now. Raises `DatabaseFault`."""
        view = self._copies.live.view
        living = set(filter(view.counts, located.devids))
        if devid not in located.devids or view.is_dead(devid):
            return MOVED
        if not view.may_be_emptied(devid):
            return KEPT
        rest = living - {devid}
        barred = {devid}
        if targets is not None:
            barred |= set(view.devices) - set(targets)
        file = located.file
        later = view.with_alive(devid) if stays else view
        verdict = self._copies.judge(
            file.dmid, file.classid, rest, file.length, barred, later
        )
        made: set[int] = set()
        if verdict.word == COPY:
            if not self._as_good(located, rest.union(verdict.devids), living, later):
                return KEPT
            made = await self._make(located, verdict.devids)
            rest |= made
        if not self._as_good(located, rest, living, later):
            return KEPT
        return await self._take_away(located, devid, rest, made, later)

    async def trim(self, located: Located) -> str:
        """Take one copy away from a file that has too many. `KEPT` when none can be
        spared now. Raises `DatabaseFault`."""
        view = self._copies.live.view
        living = set(filter(view.counts, located.devids))
        spare = [one for one in living if view.may_delete_from(one)]
        hosts = [view.devices[one].hostid for one in living]

        def worth(devid: int) -> tuple[bool, bool, bool, float, int]:
            """What goes first comes first: draining, beside another, come back late
            (the others were made in its place), full."""
            device = view.devices[devid]
            alone = hosts.count(device.hostid) == 1
            kept, free = devid not in view.late, view.free_share(devid)
            return device.status != "drain", alone, kept, free, devid

        for devid in sorted(spare, key=worth):
            rest = {one for one in living - {devid} if view.readable(one)}
            if rest and self._content(located, rest, view):
                return await self._take_away(located, devid, rest, set(), view)
        return KEPT

    # --- inside

    def _content(self, located: Located, devids: Collection[int], view: View) -> bool:
        file = located.file
        verdict = self._copies.judge(
            file.dmid, file.classid, devids, file.length, (), view
        )
        return verdict.word in _CONTENT

    def _as_good(
        self,
        located: Located,
        after: Collection[int],
        before: Collection[int],
        view: View,
    ) -> bool:
        """Whether the policy is content afterwards, on no fewer hosts than it wants
        (unless there were fewer before); or no copy and no host less has the file."""
        if not after:
            return False
        hosts_of, file = self._copies.hosts_of, located.file
        hosts, had = len(hosts_of(after)), len(hosts_of(before))
        if len(after) >= len(before) and hosts >= had:
            return True
        wanted = self._copies.wanted(file.dmid, file.classid, after, view)
        return hosts >= min(had, wanted) and self._content(located, after, view)

    async def _make(self, located: Located, targets: Collection[int]) -> set[int]:
        """The devices that have a new copy, which is recorded."""
        done = await self._copies.spread(located, list(targets))
        added = {one for one in done.devids if one not in located.devids}
        if added:
            own = None
            if located.checksum is None:
                own = await self._copies.agreed_checksum(located, done)
            change = CopyChange(located.file.fid, tuple(sorted(added)), (), own)
            await self._tasks.change_copies([change])
        return added

    async def _take_away(
        self,
        located: Located,
        devid: int,
        rest: set[int],
        compared: set[int],
        later: View,
    ) -> str:
        view, fid = self._copies.live.view, located.file.fid
        there = await self._there(located, rest - compared) | compared
        if not compared:
            there = await self._right(located, there)
        if not self._as_good(located, there, rest, later):
            return KEPT
        place = view.place(devid)
        if place is None:
            return KEPT
        if not await self._tasks.release_copy(fid, devid, sorted(there)):
            return KEPT
        if not view.may_delete_from(devid):
            return MOVED  # the bytes stay on a disk that fails
        try:
            await self._copies.nodes.remove(place, fid)
        except errors.NodeFault as error:
            self.log.warn(
                "fid {fid}: not removed from device {devid}: {error}",
                fid=fid,
                devid=devid,
                error=error,
            )
            await self._tasks.change_copies([CopyChange(fid, (devid,))])
            return KEPT
        return MOVED

    async def _there(self, located: Located, devids: Collection[int]) -> set[int]:
        """Those of the devices that say that they have the file."""
        file, found = located.file, set[int]()
        for devid in sorted(devids):
            place = self._copies.live.view.place(devid)
            if place is None:
                continue
            try:
                stat = await self._copies.nodes.stat(place, file.fid)
            except errors.NodeFault:
                self._copies.live.suspect(place.host.hostid)
                continue
            if stat is not None and stat.size == file.length:
                if located.checksum in (None, stat.checksum) or stat.checksum is None:
                    found.add(devid)
        return found

    async def _right(self, located: Located, devids: Collection[int]) -> set[int]:
        """Those of the devices whose copies, read now, have the file's checksum; of a
        file without any, all. One that is found bad is for fsck to deal with."""
        wanted = await self._copies.known_checksum(located)
        if wanted is None:
            return set(devids)
        fid, right, wrong = located.file.fid, set[int](), False
        for devid in sorted(devids):
            try:
                if await self._copies.reads_as(devid, fid, wanted):
                    right.add(devid)
                else:
                    wrong = True
            except errors.NodeFault:
                continue
        if wrong:
            self.log.error("fid {fid}: a copy that is to remain is bad", fid=fid)
            await self._tasks.queue_tasks(FSCK_TASK, [(fid, None, None)])
        return right
