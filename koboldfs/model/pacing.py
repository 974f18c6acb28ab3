"""How long background work should wait, as functions of numbers."""

from __future__ import annotations

from random import Random

#: After the n-th failure of a replication (seconds); MogileFS's steps.
RETRY_STEPS_SECONDS = (15, 60, 300, 1800, 3600, 7200, 14400, 28800, 86400)


def retry_seconds(failcount: int, random: Random) -> float:
    """When to try a replication again that has now failed `failcount` + 1 times.

    Spread by a fifth to both sides, so that what failed together is not tried together.
    """
    step = RETRY_STEPS_SECONDS[min(failcount, len(RETRY_STEPS_SECONDS) - 1)]
    return step * random.uniform(0.8, 1.2)


def rest_seconds(worked_seconds: float, share: float, most_seconds: float) -> float:
    """How long to rest after a unit of work so that work gets `share` of the time.

    `share` is above 0 and at most 1; a slow machine makes units long and so rests long,
    which is the point: background work takes a share, not a fixed rate.
    """
    return min(most_seconds, worked_seconds * (1.0 / share - 1.0))
