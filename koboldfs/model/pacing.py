"""How long background work should wait, as functions of numbers."""

from __future__ import annotations

from random import Random

from attrs import define, field, frozen

#: After the n-th failure of a replication (seconds); MogileFS's steps.
RETRY_STEPS_SECONDS = (15, 60, 300, 1800, 3600, 7200, 14400, 28800, 86400)


def retry_seconds(failcount: int, random: Random) -> float:
    """When to try a replication again that has now failed `failcount` + 1 times.

    Spread by a fifth to both sides, so that what failed together is not tried together.
    """
    step = RETRY_STEPS_SECONDS[min(failcount, len(RETRY_STEPS_SECONDS) - 1)]
    return step * random.uniform(0.8, 1.2)


@frozen
class Progress:
    """Units of a job: `done` and `failed` since the start, `under_way` now, and how
    many were done a second over the last minute or so. `error` is the last one."""

    running: int = 0
    done: int = 0
    failed: int = 0
    under_way: int = 0
    rate: float = 0.0
    error: str = ""


@define
class Rate:
    """How much was done a second, from samples of a count; times in seconds."""

    window_seconds: float = 60.0
    _samples: list[tuple[float, int]] = field(factory=list)

    def sample(self, now: float, count: int) -> float:
        """Note the count, and return the rate since the oldest sample in the window."""
        samples = [one for one in self._samples if now - one[0] <= self.window_seconds]
        self._samples = [*samples, (now, count)]
        began, before = self._samples[0]
        return (count - before) / (now - began) if now > began else 0.0


#: A tracker that gets more requests a second than this is not idle. Nodes that look for
#: their tracker, and an operator who looks at a status, are fewer.
IDLE_REQUESTS_PER_SECOND = 5.0
#: What came is looked at again after this long (seconds).
ATTENTION_SECONDS = 0.5


@define
class Attention:
    """The share of the time that background work takes: `share` while requests come in,
    all of it when there are none.

    Being asked for the share often costs next to nothing.
    """

    share: float
    _since: float = float("-inf")
    _requests: int = 0
    _now: float = 1.0

    def share_at(self, seconds: float, requests: int) -> float:
        """The share, at this time, when there were so many requests ever."""
        passed = seconds - self._since
        if passed >= ATTENTION_SECONDS:
            came = requests - self._requests
            idle = came <= IDLE_REQUESTS_PER_SECOND * passed
            self._now = 1.0 if idle else self.share
            self._since, self._requests = seconds, requests
        return self._now


def rest_seconds(worked_seconds: float, share: float, most_seconds: float) -> float:
    """How long to rest after a unit of work so that work gets `share` of the time.

    `share` is above 0 and at most 1; a slow machine makes units long and so rests long,
    which is the point: background work takes a share, not a fixed rate.
    """
    return min(most_seconds, worked_seconds * (1.0 / share - 1.0))
