"""What the tracker's front door needs of the jobs."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping

from zope.interface import Interface

from koboldfs.model.pacing import Progress


class IJobControl(Interface):
    """The background jobs of this process, as the operator may steer them.

    Names are MogileFS's (`koboldfs.tracker.admin_lines.MOGILEFS_JOBS`) and our own.
    """

    def counts() -> Mapping[str, tuple[int, int]]:
        """By job: how many workers it has now, and how many it is to have."""

    def progress() -> Mapping[str, Progress]:
        """By job: what all processes of this installation have done of it since they
        started, as far as it is known here."""

    def want(job: str, count: int) -> None:
        """Have that many workers from now on. Raises `LookupError` for a job that is
        not known. More than a job can use is no error."""

    def tell(job: str, message: str) -> int:
        """Pass a message (``!to``) to a job; returns how many workers took it: 0 for
        an unknown job, or a message that means nothing to it. Never raises."""

    def hasten() -> Awaitable[int]:
        """``replicate_now``: make every replication that was put off due; returns how
        many. Raises `DatabaseFault`."""
