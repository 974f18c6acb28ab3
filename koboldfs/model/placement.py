"""Which devices get new files, and which copy a reader should try first."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from random import Random

from koboldfs.model.view import View

#: Only this many of the emptiest devices are drawn from (MogileFS's number), so that
#: new and empty devices fill up first in a large cluster.
EMPTIEST = 20
#: How many devices an upload with several destinations is offered (MogileFS's number).
MULTIPLE = 3


def weighted_order(devids: Iterable[int], view: View, random: Random) -> list[int]:
    """The emptiest of the devices in random order, emptier ones likelier first; after
    all of them the slow ones, likewise.

    A device that is full, or of whose room nothing is known, is left out.
    """
    slow = view.health.slow
    if slow:
        devids = list(devids)
        quick = [devid for devid in devids if devid not in slow]
        if quick and len(quick) < len(devids):
            late = [devid for devid in devids if devid in slow]
            return [
                *_by_room(quick, view, random),
                *_by_room(late, view, random),
            ]
    return _by_room(devids, view, random)


def _by_room(devids: Iterable[int], view: View, random: Random) -> list[int]:
    shares = {devid: view.free_share(devid) for devid in devids}
    emptiest = sorted(
        (devid for devid in shares if shares[devid] > 0), key=lambda d: -shares[d]
    )[:EMPTIEST]
    if len(emptiest) < 2:
        return emptiest
    return sorted(emptiest, key=lambda devid: random.expovariate(shares[devid]))


def offer(view: View, random: Random, *, size_bytes: int, multiple: bool) -> list[int]:
    """Devices for a new file: one, or up to `MULTIPLE` on different hosts."""
    able = [devid for devid in view.devices if view.may_receive(devid, size_bytes)]
    ordered = weighted_order(able, view, random)
    return spread(ordered, view, MULTIPLE if multiple else 1)


def spread(devids: Iterable[int], view: View, count: int) -> list[int]:
    """The first `count` of the devices, one a host."""
    chosen: dict[int, int] = {}
    for devid in devids:
        if len(chosen) == count:
            break
        chosen.setdefault(view.devices[devid].hostid, devid)
    return list(chosen.values())


def reading_order(devids: Collection[int], view: View, random: Random) -> list[int]:
    """The readable copies, best first; after those those on draining devices, and last
    those on slow ones.

    A device is likelier to come first the higher its weight (0 counts as 100) and the
    less busy it was when last seen.
    """
    if len(devids) == 1:
        return [devid for devid in devids if view.readable(devid)]
    ordinary: list[tuple[float, int]] = []
    draining: list[tuple[float, int]] = []
    slow: list[tuple[float, int]] = []
    for devid in devids:
        if not view.readable(devid):
            continue
        device = view.devices[devid]
        seen = view.health.devices.get(devid)
        busy = seen.utilization if seen and seen.utilization is not None else 0.0
        weight = (device.weight or 100) * (102.0 - min(busy, 100.0))
        draw = (random.expovariate(weight), devid)
        if devid in view.health.slow:
            slow.append(draw)
        else:
            (draining if device.status == "drain" else ordinary).append(draw)
    return [d for some in (ordinary, draining, slow) for _, d in sorted(some)]
