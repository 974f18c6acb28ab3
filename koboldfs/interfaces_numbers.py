"""The port through which the city hall keeps fids from being given out again; see
`interfaces`."""

from __future__ import annotations

from collections.abc import Awaitable

from zope.interface import Interface

from koboldfs.model.numbering import FidRange


class INumbers(Interface):
    """Which fids the database draws. Raise `DatabaseFault`."""

    def raise_floor(fid: int) -> None:
        """No upload gets a fid up to this one from now on: if the database draws such
        a one, it is lifted as by `lift`. Asks nothing of the database."""

    def highest_drawn() -> Awaitable[int]:
        """The highest fid that the database knows to have been given out, or less."""

    def lift(fid: int) -> Awaitable[FidRange | None]:
        """Have every fid that is drawn from now on, by whomever, be above this one.
        Returns those that are passed over, and notes them in the setting; None if the
        database has drawn as many itself."""
