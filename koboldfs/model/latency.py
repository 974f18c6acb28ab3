"""Which devices are slow, compared with the others: a disk that fails often does so by
taking seconds for what takes milliseconds elsewhere, long before it fails altogether.

Slow devices get new files, and are read, after all others. When all are slow (the
machine is busy, or they are one disk) none is, because there is nothing to be gained.
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median_low

from koboldfs.model.entities import DeviceReport

#: Faster than this nobody is slow (seconds): a disk with a queue may take as long.
SLOW_SECONDS = 0.5
#: So many times the median is slow.
SLOW_TIMES = 5


def slow_devices(seen: Mapping[int, DeviceReport]) -> frozenset[int]:
    """The devices whose latency stands out; those that tell none are left aside."""
    known = {
        devid: one.latency_seconds
        for devid, one in seen.items()
        if one.latency_seconds is not None and one.observed != "unreachable"
    }
    if not known:
        return frozenset()
    least = max(SLOW_SECONDS, SLOW_TIMES * median_low(known.values()))
    return frozenset(devid for devid, latency in known.items() if latency >= least)
