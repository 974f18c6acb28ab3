"""The commands that are about the tracker itself: looking again, waiting, testing."""

from __future__ import annotations

from twisted.internet.task import deferLater

from koboldfs.tracker.call import Call, Pairs, Services, TrackerCommand, optional

#: How long `sleep` sleeps when it is not told.
DEFAULT_SLEEP_SECONDS = 10
#: Longer than any test wants to wait; a connection cannot be held for ever.
MAX_SLEEP_SECONDS = 3600


class CrashOnPurpose(Exception):
    """What ``test crash=1`` asked for: a defect, to see how one is answered."""


async def noop(services: Services, call: Call) -> Pairs:
    """Do nothing. OK: nothing."""
    return []


async def test(services: Services, call: Call) -> Pairs:
    """Do nothing, or fail as a defect would. OK: nothing. Errors: `failure`."""
    if call.true("crash"):
        raise CrashOnPurpose("crashed on purpose")
    return []


async def sleep(services: Services, call: Call) -> Pairs:
    """Answer after a while. OK: nothing."""
    seconds = call.leading_number("duration") or DEFAULT_SLEEP_SECONDS
    seconds = min(max(0, seconds), MAX_SLEEP_SECONDS)
    await deferLater(services.clock, seconds)
    return []


async def clear_cache(services: Services, call: Call) -> Pairs:
    """Read the small tables again and look at every host, then answer.

    OK: the arguments, as they came.
    """
    await services.admin.refresh()
    return list(call.arguments.items())


async def do_monitor_round(services: Services, call: Call) -> Pairs:
    """Read the small tables again and look at every host, then answer. OK: nothing."""
    await services.admin.refresh()
    return []


async def replicate_now(services: Services, call: Call) -> Pairs:
    """Make every replication that was put off, or given up, due now; those that are
    in work stay so. OK: `count`."""
    return [("count", await services.jobs.hasten())]


PLAIN_COMMANDS = (
    TrackerCommand("noop", noop),
    TrackerCommand("test", test, (optional("crash", "true: fail"),)),
    TrackerCommand(
        "sleep", sleep, (optional("duration", "seconds; 0: 10; at most 3600"),)
    ),
    TrackerCommand("clear_cache", clear_cache),
    TrackerCommand("do_monitor_round", do_monitor_round),
    TrackerCommand("replicate_now", replicate_now),
)
