"""The commands that move copies: `koboldfs.cluster.rebalancing` knows how it goes."""

from __future__ import annotations

from koboldfs.tracker.call import Call, Pairs, Services, TrackerCommand, optional


async def rebalance_set_policy(services: Services, call: Call) -> Pairs:
    """Say what a rebalance shall do; without a policy there is none.

    OK: nothing. Errors: `no_set_rebal` (it is running), `bad_rebal_pol`.
    """
    await services.balance.set_policy(call.given("policy") or "")
    return []


async def rebalance_test(services: Services, call: Call) -> Pairs:
    """The devices that the policy means now. OK: `sdevs`, `ddevs` (with commas).
    Errors: `no_rebal_policy`."""
    sources, targets = await services.balance.test()
    return [
        ("sdevs", ",".join(map(str, sources))),
        ("ddevs", ",".join(map(str, targets))),
    ]


async def rebalance_start(services: Services, call: Call) -> Pairs:
    """Begin, or go on where it was stopped. OK: `state`. Errors: `rebal_running`,
    `fsck_running`, `no_rebal_policy`."""
    return [("state", await services.balance.start())]


async def rebalance_stop(services: Services, call: Call) -> Pairs:
    """Stop; files that are queued are still moved. OK: nothing. Errors:
    `rebal_not_started`."""
    await services.balance.stop()
    return []


async def rebalance_status(services: Services, call: Call) -> Pairs:
    """Where it stands. OK: `state`. Errors: `no_rebal_state`."""
    return [("state", await services.balance.status())]


async def rebalance_reset(services: Services, call: Call) -> Pairs:
    """Forget where it stands. OK: nothing. Errors: `rebal_running`."""
    await services.balance.reset()
    return []


REBALANCE_COMMANDS = (
    TrackerCommand(
        "rebalance_set_policy",
        rebalance_set_policy,
        (optional("policy", "`name=value name=value`"),),
    ),
    TrackerCommand("rebalance_test", rebalance_test),
    TrackerCommand("rebalance_start", rebalance_start),
    TrackerCommand("rebalance_stop", rebalance_stop),
    TrackerCommand("rebalance_status", rebalance_status),
    TrackerCommand("rebalance_reset", rebalance_reset),
)
