"""A process dies at every step of a put, a copy and a delete, one point at a time.

A load goes on all the while. The process at whose door the point is armed must die
there (else the point is a fault), is started again, and in the end everything is
audited: uploads that were never closed are expired, deletions done, and what is on the
disks compared with what is recorded.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from test.functional.cluster import Node, wait_until
from test.torture import crash_points
from test.torture.audit import audit, settle
from test.torture.crash_points import POINTS, TRACKER, Point
from test.torture.estate import Estate, QuickNode
from test.torture.ledger import Load
from test.torture.scenario import Outcome, Scenario, wanted

#: From arming a point to the death of the process.
HIT_SECONDS = 45.0
#: Trackers look for due rows at regular times, and rows get due at whole seconds: one
#: may always be first. After so long the others stand still for a while, each time.
ALONE_AFTER_SECONDS, ALONE_SECONDS = 5.0, 1.5
#: Rounds over all points, each with the other processes' turn.
ROUNDS = 6


def crashes(points: Sequence[Point], rounds: int, seed: int) -> Outcome:
    """Each of the points in every round, on another process each round."""
    estate = Estate(size=5, arguments=())
    outcome = Outcome()
    try:
        estate.crash_points = True
        estate.start()
        trackers = [node for node in estate.nodes if node.is_tracker]
        load = Load(trackers, seed, clients=6).start()
        hits = 0
        for number in range(rounds):
            for point in points:
                nodes = trackers if point.role == TRACKER else list(estate.stores)
                node = nodes[number % len(nodes)]
                if _die(node, point, [one for one in trackers if one is not node]):
                    hits += 1
                else:
                    outcome.faults.append(f"{point.name}: {node.name} did not die")
        load.stop()
        estate.wait_ready()
        settle(estate)
        found = audit(estate, load.ledger)
        outcome.faults += load.broken + found.faults
        outcome.times = (
            f"{hits} deaths at {len(points)} points, {load.ledger.stored} files and"
            f" {load.ledger.deleted} deletes acknowledged, seed {seed}"
        )
        outcome.notes.append(found.words())
    finally:
        estate.stop()
        if outcome.faults:
            print(estate.story)
    return outcome


def _die(node: Node, point: Point, others: Sequence[Node]) -> bool:
    """Whether it died there; it is started again. `others`: trackers besides it."""
    assert isinstance(node, QuickNode) and node.points is not None
    node.must_run()
    crash_points.arm(node.points, point.name)
    deadline = time.monotonic() + HIT_SECONDS
    while node.running and time.monotonic() < deadline:
        if point.role == TRACKER and not _dies_within(node, ALONE_AFTER_SECONDS):
            for one in others:
                one.pause()
            _dies_within(node, ALONE_SECONDS)
            for one in others:
                one.resume()
        time.sleep(0.01)
    died = crash_points.hit(node.points) == point.name
    if not died:
        (node.points / "armed").unlink(missing_ok=True)
        node.kill()
    began = node.log.read_text().count("ready: ")
    node.start()
    wait_until(
        lambda: node.log.read_text().count("ready: ") > began,
        30,
        f"{node.name} is back",
    )
    return died


def _dies_within(node: Node, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while node.running and time.monotonic() < until:
        time.sleep(0.01)
    return not node.running


def _scenario() -> Outcome:
    asked = wanted()
    rounds = max(1, asked.kills // len(POINTS)) if asked.kills else ROUNDS
    return crashes(POINTS, rounds, asked.seed)


SCENARIOS: dict[str, Scenario] = {"crash-points": _scenario}
