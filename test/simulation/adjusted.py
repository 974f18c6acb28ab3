"""What of the product looks at this machine, and must not in a simulation.

Names of temporary files say which process made them; a disk's load is read from /proc.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from random import Random
from typing import Any
from unittest.mock import patch
from uuid import UUID

from koboldfs import native_link
from koboldfs.cluster import live
from koboldfs.jobs import housekeeping, mending, rebalance
from koboldfs.storage import disk, temporary, usage
from koboldfs.store import stock
from test.simulation.blocking import Sockets

#: The simulated process whose work on a disk is being done.
current_pid = 1
#: Hosts are looked at less often, which makes runs quicker.
SURVEY_SECONDS = 4.0
#: As is, for the same reason, the patience with devices that were declared dead.
GRACE_SECONDS = 3.0
#: And how old a file is that no row knows before the scrub takes it away.
ORPHAN_SECONDS = 1
#: Uploads are drawn ahead for whoever stores, and not for long.
DRAWN_AHEAD = {
    "MEASURE_SECONDS": 1e-6,
    "MOST_DRAWN": 8,
    "FRESH_SECONDS": 0.5,
    "CLEAR_SECONDS": 0.25,
}
#: And the rest between two walks over a draining device.
DRAIN_REST_SECONDS = 3.0


@contextmanager
def adjusted(
    alive: Callable[[int], bool], random: Random, sockets: Sockets
) -> Iterator[None]:
    """As long as it lasts: process numbers are simulated (`alive` says which there
    are), and so are what the system knows of disks, and the sockets that it gives to
    the synchronous client."""

    def process_start(pid: int) -> str | None:
        return "1" if alive(pid) else None

    def new_name() -> UUID:
        return UUID(int=random.getrandbits(128), version=4)

    changes: list[tuple[Any, str, Any]] = [
        (temporary, "_prefix", lambda pid: f"{current_pid}-1"),
        (temporary, "process_start", process_start),
        (usage, "busy_ms", lambda device: None),
        (usage, "_device_name", lambda device: None),
        (disk, "uuid4", new_name),
        (live, "SURVEY_SECONDS", SURVEY_SECONDS),
        (housekeeping, "GRACE_SECONDS", GRACE_SECONDS),
        (mending, "ORPHAN_SECONDS", ORPHAN_SECONDS),
        (rebalance, "DRAIN_REST_SECONDS", DRAIN_REST_SECONDS),
        (native_link, "socket", sockets),
        (native_link, "select", sockets),
    ]
    if random.random() < 0.5:
        # Nobody stores so much here that uploads would be drawn ahead; and none must
        # be kept for longer than until the database's clock is set forward.
        changes += [(stock, name, value) for name, value in DRAWN_AHEAD.items()]
    with ExitStack() as stack:
        for room, name, value in changes:
            stack.enter_context(patch.object(room, name, value))
        yield
