"""The port through which the city hall counts what is at risk; see `interfaces`."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence

from zope.interface import Interface

from koboldfs.model.health import Shortage


class IHealth(Interface):
    """Counts that cost the same however many files there are: each reads along an
    index up to the `limit` that it is given. Raise `DatabaseFault`."""

    def shortages(
        dmid: int, classid: int, below: int, limit: int
    ) -> Awaitable[Sequence[Shortage]]:
        """The files of a class with fewer than `below` recorded copies, by how many
        they have, ascending; those with the fewest are counted first. Up to `limit`
        files in all are counted."""

    def copies_on(devid: int, limit: int) -> Awaitable[int]:
        """How many copies are recorded on a device, counted up to `limit`."""

    def unix_time() -> Awaitable[int]:
        """The database's clock in whole Unix seconds."""
