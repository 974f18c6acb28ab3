"""The errors of fsck and rebalance: a branch of the tree in `koboldfs.errors`."""

from __future__ import annotations

from koboldfs.errors import CallerError


class FsckRunning(CallerError):
    """The tracker protocol's ``fsck_running``."""

    code = "fsck_running"
    text = "fsck is already running"


class RebalanceRunning(CallerError):
    """The tracker protocol's ``rebal_running``."""

    code = "rebal_running"
    text = "rebalance is already running"
