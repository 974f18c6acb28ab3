"""Everything about one file: where it is, what each copy's checksum is now, and what
waits for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.defer import TimeoutError as DeferredTimeout

from koboldfs import errors
from koboldfs.cluster.namespace import Namespace
from koboldfs.interfaces import INodes
from koboldfs.model.entities import OWN_HASHTYPE, Checksum, Domain, Located

#: Reading a copy takes no longer than this (seconds); a longer one is `unread`.
READING_SECONDS = 20.0

GOOD, BAD, MISSING, AWAY = "good", "bad", "missing", "away"
DEAD, UNREAD, UNKNOWN = "dead", "unread", "unknown"


@frozen
class CopyReport:
    """One recorded copy. `size` in bytes and `checksum` as they are on the disk now,
    None where that is not known; `verdict` compares them with what is recorded:

    ``good``, ``bad`` (other bytes), ``missing``, ``away`` (its node does not answer),
    ``dead`` (its device is), ``unread`` (nobody asked, or it took too long),
    ``unknown`` (it was read, and no checksum is recorded).
    """

    devid: int
    verdict: str
    size: int | None = None
    checksum: Checksum | None = None


@frozen
class FileReport:
    """All that is known. So many copies are `counting` (those on dead or lost devices
    do not), and `wanted`. `waits` by queue: the columns of the file's row in it."""

    located: Located
    checksum: Checksum | None
    class_checksum: Checksum | None
    counting: int
    wanted: int
    policy: str
    copies: tuple[CopyReport, ...]
    waits: Mapping[str, Mapping[str, Any]]


class FileReports:
    """Makes them."""

    def __init__(self, namespace: Namespace, nodes: INodes, clock: Any) -> None:
        self._namespace = namespace
        self._nodes = nodes
        self._clock = clock

    async def report(self, domain: Domain, key: str, *, read: bool) -> FileReport:
        """Of the file of a key, with all copies `read` now or only looked for.

        Raises `NoKey`, `UnknownKey`, `DatabaseFault`.
        """
        names = self._namespace
        located = await names.locate(domain, key)
        file = located.file
        own = await names.files.own_checksum(file.fid)
        copies = await gatherResults(
            [
                Deferred.fromCoroutine(self._copy(located, devid, own, read))
                for devid in sorted(located.devids)
            ]
        )
        policy, _ = names.copies.policy_of(file.dmid, file.classid)
        return FileReport(
            located,
            own,
            await names.class_checksum(file.fid),
            *names.copies.counted(located),
            str(policy),
            tuple(copies),
            await names.files.queue_rows(file.fid),
        )

    async def _copy(
        self, located: Located, devid: int, own: Checksum | None, read: bool
    ) -> CopyReport:
        view = self._namespace.live.view
        if view.is_dead(devid):
            return CopyReport(devid, DEAD)
        looking = Deferred.fromCoroutine(self._look(located, devid, own, read))
        looking.addTimeout(READING_SECONDS, self._clock)
        try:
            return await looking
        except (DeferredTimeout, CancelledError):
            return CopyReport(devid, UNREAD)
        except errors.NodeUnreachable:
            return CopyReport(devid, AWAY)
        except errors.CopyMissing:
            return CopyReport(devid, MISSING)
        except errors.NodeFault:
            return CopyReport(devid, UNREAD)

    async def _look(
        self, located: Located, devid: int, own: Checksum | None, read: bool
    ) -> CopyReport:
        place, fid = self._namespace.live.view.place(devid), located.file.fid
        if place is None:
            return CopyReport(devid, DEAD)
        stat = await self._nodes.stat(place, fid)
        if stat is None:
            return CopyReport(devid, MISSING)
        found = await self._nodes.digest(place, fid, OWN_HASHTYPE) if read else None
        if stat.size != located.file.length or (own and found and own != found):
            return CopyReport(devid, BAD, stat.size, found)
        if not read:
            return CopyReport(devid, UNREAD, stat.size)
        if found is None:
            return CopyReport(devid, MISSING)
        return CopyReport(devid, GOOD if own else UNKNOWN, stat.size, found)
