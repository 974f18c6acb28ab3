"""The ports of the scrub: see `interfaces`."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence

from zope.interface import Interface

from koboldfs.model.entities import Checked, Checksum, Place
from koboldfs.model.scrub import Counts, Digest, Listing, LostFile, Scrub, Strays


class IScrubNodes(Interface):
    """What a scrub asks of storage nodes; raises as `INodes` does."""

    def digests(
        place: Place, fids: Sequence[int], hashtype: int
    ) -> Awaitable[Mapping[int, Digest]]:
        """Read copies of a device from its disk now: of as many of the `fids`, from the
        first on, as fit a request, and of one at least. Never raises for one copy that
        cannot be read."""

    def set_aside(
        place: Place,
        fid: int,
        reason: str,
        *,
        unless: Checksum | None = None,
        older_seconds: int = 0,
        beyond: bool = False,
    ) -> Awaitable[str]:
        """Have a copy moved into its device's quarantine, unless it reads as `unless`
        or is younger; `beyond`: also if that is full, within reason. Returns a
        word of `model.scrub`; `FOREIGN` from who has none."""

    def list_fids(place: Place, folder: int, after: int) -> Awaitable[Listing | None]:
        """The files on a device's disk in the first folder, from `folder` on, that has
        any, in that one those above `after`; None from nodes that cannot tell."""

    def highest_fid(place: Place, below: int) -> Awaitable[int]:
        """The highest fid below `below` of a file on a device's disk; 0 if there is
        none, or from nodes that cannot tell."""


class IScrubs(Interface):
    """Where the scrubs of devices stand, in the database, and what they find.

    Every device is in work at one tracker at a time: `begin` leases it. Times are the
    database's clock. Raises as `ITasks` does.
    """

    def all() -> Awaitable[tuple[list[Scrub], int]]:
        """Of every device that is known, by number; and the time now."""

    def know(devids: Sequence[int]) -> Awaitable[None]:
        """There are these devices; those that are known stay as they are."""

    def ask(devids: Sequence[int]) -> Awaitable[None]:
        """A pass is due now on these devices; where one is running, after that."""

    def begin(
        devid: int, owner: str, period_seconds: int, lease_seconds: int
    ) -> Awaitable[Scrub | None]:
        """Begin a pass that is due, or go on with one whose lease has ended or is
        ours. None if there is nothing to do for us."""

    def keep(devids: Sequence[int], owner: str, lease_seconds: int) -> Awaitable[None]:
        """The leases of those that are ours begin anew."""

    def advance(
        scrub: Scrub, position: int, folder: int, more: Counts, lease_seconds: int
    ) -> Awaitable[Scrub | None]:
        """The pass that stands as `scrub` says is now there, with so `more` found.
        None, and nothing changes, if it does not stand there any more, or is not
        ours."""

    def finish(scrub: Scrub) -> Awaitable[bool]:
        """The pass that stands as `scrub` says came to its end."""

    def strays(devid: int, fids: Sequence[int]) -> Awaitable[Strays]:
        """Those of the fids, found on the device's disk, that no row knows there and
        nobody works on: no copy, open upload, or row of any queue. As of one moment."""

    def record(
        findings: Sequence[Checked], repair_seconds: int
    ) -> Awaitable[frozenset[int]]:
        """As `ITasks.finish_checks`, without a queue: returns the fids whose findings
        were recorded, because their copies are recorded as they were seen."""

    def note_lost(fids: Sequence[int]) -> Awaitable[frozenset[int]]:
        """These live files have no good copy; returns those that were not known so."""

    def lost_among(fids: Sequence[int]) -> Awaitable[frozenset[int]]:
        """Those of the fids that are noted as lost."""

    def forget_lost(fids: Sequence[int]) -> Awaitable[None]:
        """They are not, after all."""

    def lost_after(fid: int, limit: int) -> Awaitable[list[LostFile]]:
        """Up to `limit` live files without a good copy above `fid`, by fid."""


__all__ = ["IScrubNodes", "IScrubs"]
