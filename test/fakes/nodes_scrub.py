"""The part of `MemoryNodes` that provides `IScrubNodes`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zope.interface import implementer

from koboldfs.client.scrubbing import digests_of
from koboldfs.interfaces_scrub import IScrubNodes
from koboldfs.model import scrub
from koboldfs.model.entities import Checksum, Place
from koboldfs.model.scrub import Digest, Listing

#: Digests, and fids of a list, in one answer: few, so that tests see several.
DIGESTS, LISTED = 3, 4
#: So many fids are in one folder.
FOLDER_FIDS = 1000


@implementer(IScrubNodes)
class MemoryScrubNodes:
    """See `IScrubNodes`; `self` is a `MemoryNodes`."""

    __slots__ = ()
    copies: Any
    checksums: Any
    quarantine: Any
    unreadable: Any
    young: Any
    foreign: Any
    readonly: Any
    digest: Any
    _enter: Any

    async def digests(
        self, place: Place, fids: Sequence[int], hashtype: int
    ) -> dict[int, Digest]:
        """See `IScrubNodes`."""
        await self._enter("digests", place, tuple(fids), hashtype)
        return await digests_of(self.digest, place, fids[:DIGESTS], hashtype)

    async def set_aside(
        self,
        place: Place,
        fid: int,
        reason: str,
        *,
        unless: Checksum | None = None,
        older_seconds: int = 0,
        beyond: bool = False,
    ) -> str:
        """See `IScrubNodes`."""
        await self._enter(
            "set_aside", place, fid, reason, unless, older_seconds, writing=True
        )
        if place.host.hostid in self.foreign:
            return scrub.FOREIGN
        key = place.host.hostid, place.devid, fid
        if key not in self.copies:
            return scrub.MISSING
        if older_seconds and (place.devid, fid) in self.young:
            return scrub.YOUNG
        if unless is not None and (place.devid, fid) not in self.unreadable:
            if await self.digest(place, fid, unless.hashtype) == unless:
                return scrub.GOOD
        self.quarantine.append((place.devid, fid, reason, self.copies.pop(key)))
        self.checksums.pop(key, None)
        self.unreadable.discard((place.devid, fid))
        return scrub.MOVED

    async def highest_fid(self, place: Place, below: int) -> int:
        """See `IScrubNodes`."""
        await self._enter("highest_fid", place, below)
        if place.host.hostid in self.foreign:
            return 0
        here = place.host.hostid, place.devid
        fids = [fid for *there, fid in self.copies if tuple(there) == here]
        return max((fid for fid in fids if fid < below), default=0)

    async def list_fids(self, place: Place, folder: int, after: int) -> Listing | None:
        """See `IScrubNodes`."""
        await self._enter("list_fids", place, folder, after)
        if place.host.hostid in self.foreign:
            return None
        here = place.host.hostid, place.devid
        fids = sorted(
            fid
            for *there, fid in self.copies
            if tuple(there) == here
            and fid // FOLDER_FIDS >= folder
            and (fid // FOLDER_FIDS > folder or fid > after)
        )
        if not fids:
            return Listing(folder, (), False, None)
        first = fids[0] // FOLDER_FIDS
        mine = [fid for fid in fids if fid // FOLDER_FIDS == first]
        more = len(mine) > LISTED
        following = first if more else first + 1
        return Listing(first, tuple(mine[:LISTED]), more, following)
