"""The end of a run: all is mended, the cluster settles, and everything is looked at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from koboldfs.jobs.housekeeping import SWEEP_NEWS_SECONDS
from test.simulation import checkers
from test.simulation.client import Client
from test.simulation.operating import NEWS_SECONDS
from test.simulation.speaking import NoAnswer, NotSent

#: After the last fault: until connections have noticed; and how often the database's
#: clock is put ahead, by how much, with how much time after it.
CALM_SECONDS = 1.5
ROUNDS, ROUND_SECONDS, AHEAD_SECONDS = 60, 1.0, 90_000
#: Whatever is asked for then is answered in this time (seconds).
LIMIT_SECONDS = 60.0


def result_of(done: Deferred[Any]) -> Any:
    """What something that has ended came to; raises what it raised."""
    results: list[Any] = []
    done.addBoth(results.append)
    if hasattr(results[0], "raiseException"):
        results[0].raiseException()
    return results[0]


def grow_quiet(world: Any) -> None:
    """Wait, ask for what operators ask for after a bad day, and look at everything."""
    world.note("quiet")
    _operate(world)
    disks, operator = world.nemesis.disks, world.operator
    # A disk that was lost is replaced, and its node started anew, or not.
    if disks.wiped_at is not None and world.random.random() < 0.5:
        ip = world.ip_of(disks.unlucky)
        world.kill(ip)
        world.start(ip)
    world.clock.run(CALM_SECONDS)
    _wait_for_queues(world)
    if world.plan.faults:
        checkers.bad_copies_do_not_spread(world)
        if world.plan.duty == "fsck":
            _operate(world, operator.check_all)
            checkers.fsck_mends(world)
        _scrub(world)
    checkers.after_quiet_a_draining_device_is_empty(world)
    checkers.after_quiet_devices_are_given_back(world)
    if operator.draining:
        sql = "SELECT count(*) FROM file_on WHERE devid = ?"
        empty = not world.server.rows(sql, operator.draining)[0][0]
        _operate(world, operator.end_drain, empty)
    if operator.leaves:
        _operate(world, operator.set_alive)
    if world.plan.duty == "fsck":
        _operate(world, operator.check_all)
        checkers.after_quiet_fsck_finds_nothing(world)
    for rule in checkers.AFTER_QUIET:
        rule(world)
    _read_all(world)
    if world.dead_devices:
        world.clock.run(checkers.NEWS_SECONDS)
    _store(world, world.clients[0])
    world.check()


def _wait(world: Any, ended: Callable[[], bool], what: str) -> None:
    until = world.clock.now + LIMIT_SECONDS
    while not ended() and world.clock.step(until):
        pass
    if not ended():
        checkers.broken("every_request_ends", what)


def _operate(world: Any, *work: Any) -> None:
    """Have the operator do something and wait for him; then for what comes of it."""
    operator = world.operator
    if work:
        operator.do(*work)
    _wait(world, lambda: not operator.busy, f"the operator: {work or world.plan.duty}")
    for done in operator.works:
        result_of(done)
    operator.works.clear()
    if work:
        # Trackers hear of it, and whoever looks for work because of it waits for that.
        world.clock.run(NEWS_SECONDS + SWEEP_NEWS_SECONDS)
        _wait_for_queues(world)


def _wait_for_queues(world: Any) -> None:
    for _ in range(ROUNDS):
        world.nemesis.set_alive()
        world.server.ahead_seconds += AHEAD_SECONDS
        world.clock.run(ROUND_SECONDS)
        world.check()
        if not checkers.waiting(world):
            break


def _scrub(world: Any) -> None:
    """Somebody asks for a scrub of all that is there."""
    world.note("scrub")
    world.server.connection.execute(
        "UPDATE kobold_scrub SET asked = 1 WHERE devid IN"
        " (SELECT devid FROM device WHERE status <> 'dead')"
    )
    _wait_for_queues(world)


def _read_all(world: Any) -> None:
    reader = world.clients[0]
    for number, name in enumerate(sorted(world.truth.keys)):
        reader.tracker_ip = world.tracker_ips[number % 2]
        reading = Deferred.fromCoroutine(reader.read(name, must=True))
        what = f"reading {name} at the end"
        fid = _answer(world, reading, what)
        world.truth.settle(world.truth.key(name), fid)


def _store(world: Any, client: Client) -> None:
    # Some of its connections may be silent since a power failure.
    client.hang_up()
    _answer(world, Deferred.fromCoroutine(client.store()), "storing at the end")


def _answer(world: Any, asked: Deferred[Any], what: str) -> Any:
    _wait(world, lambda: bool(asked.called), what)
    try:
        return result_of(asked)
    except (NoAnswer, NotSent):
        checkers.broken("every_request_ends", f"{what}: no answer")
