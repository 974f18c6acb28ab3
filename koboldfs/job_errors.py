"""The errors of fsck, rebalance and work by hand: a branch of `koboldfs.errors`."""

from __future__ import annotations

from koboldfs.errors import CallerError


class CopyFailed(CallerError):
    """The tracker protocol's ``copy_err``."""

    code = text = "copy_err"


class NoSpareCopy(CallerError):
    """Editing would take a file's last copy away; ``failure`` on the wire."""

    text = "The file has no copy to spare"


class FsckRunning(CallerError):
    """The tracker protocol's ``fsck_running``."""

    code = "fsck_running"
    text = "fsck is already running"


class NoRebalanceState(CallerError):
    """The tracker protocol's ``no_rebal_state``."""

    code = "no_rebal_state"
    text = "No available rebalance status"


class NoRebalancePolicy(CallerError):
    """The tracker protocol's ``no_rebal_policy``."""

    code = "no_rebal_policy"
    text = "No rebalance policy available"


class RebalanceNotStarted(CallerError):
    """The tracker protocol's ``rebal_not_started``."""

    code = "rebal_not_started"
    text = "Rebalance not running"


class BadRebalancePolicy(CallerError):
    """The tracker protocol's ``bad_rebal_pol``."""

    code = text = "bad_rebal_pol"


class PolicyInUse(CallerError):
    """The tracker protocol's ``no_set_rebal``."""

    code = "no_set_rebal"
    text = "cannot change rebalance policy while rebalance is running"


class RebalanceRunning(CallerError):
    """The tracker protocol's ``rebal_running``."""

    code = "rebal_running"
    text = "rebalance is already running"
