"""The commands that check all files: `koboldfs.cluster.checks` knows how it goes."""

from __future__ import annotations

from koboldfs.cluster.checks import SCOPE, Wanted
from koboldfs.tracker.call import (
    Call,
    Pairs,
    Services,
    TrackerCommand,
    optional,
)


async def fsck_start(services: Services, call: Call) -> Pairs:
    """Check all files, or go on where it was stopped.

    With any of the arguments it begins anew, with only those files. A run that came to
    its end begins anew over all files. OK: nothing. Errors: `fsck_running`,
    `rebal_running`, `unreg_domain`, `unreg_class`, `no_domain` (a class or a prefix
    without their domain).
    """
    scoped = any(call.given(name) for name in SCOPE)
    await services.checks.start(_wanted(call) if scoped else None)
    return []


async def fsck_stop(services: Services, call: Call) -> Pairs:
    """Stop; files that are queued are still checked. OK: nothing."""
    await services.checks.stop()
    return []


async def fsck_reset(services: Services, call: Call) -> Pairs:
    """Have the next run begin after the fid `startpos`, with counts of 0.

    OK: nothing. Errors: `unreg_domain`, `unreg_class`, `no_domain`.
    """
    await services.checks.reset(
        policy_only=call.true("policy_only"),
        after_fid=max(0, call.leading_number("startpos")),
        wanted=_wanted(call),
    )
    return []


def _wanted(call: Call) -> Wanted:
    return Wanted(
        call.given("domain") or "",
        call.given("class") or "",
        call.given("prefix") or "",
        call.true("own_checksums"),
    )


async def fsck_status(services: Services, call: Call) -> Pairs:
    """How far it is, and what was found.

    OK: `running`, `host`, `max_fid_checked`, `policy_only`, `end_fid`, `start_time`,
    `stop_time`, `current_time`, `max_logid`, `num_<CODE>` for what was found; and
    `fids_checked`, `queued`, `fids_per_second`, `seconds_left`, and the scope.
    """
    return list((await services.checks.status()).items())


async def fsck_getlog(services: Services, call: Call) -> Pairs:
    """At most 100 entries of the log after `after_logid`.

    OK: `row_count`, and for each `row_<i>_logid`, `_utime`, `_fid`, `_evcode`,
    `_devid` (absent when there is none).
    """
    rows = await services.checks.log(max(0, call.leading_number("after_logid")))
    pairs: Pairs = [("row_count", len(rows))]
    for index, row in enumerate(rows, 1):
        values = {
            "logid": row.logid,
            "utime": row.utime,
            "fid": row.fid,
            "evcode": row.code,
            "devid": row.devid,
        }
        pairs += [
            (f"row_{index}_{name}", value)
            for name, value in values.items()
            if value is not None
        ]
    return pairs


async def fsck_clearlog(services: Services, call: Call) -> Pairs:
    """Empty the log. OK: nothing."""
    await services.checks.clear_log()
    return []


_SCOPE = (
    optional("domain", "only files of this domain"),
    optional("class", "only files of this class of the domain"),
    optional("prefix", "only keys that begin so"),
    optional("own_checksums", "true: read every copy, compare with our checksum"),
)

FSCK_COMMANDS = (
    TrackerCommand("fsck_start", fsck_start, _SCOPE),
    TrackerCommand("fsck_stop", fsck_stop),
    TrackerCommand(
        "fsck_reset",
        fsck_reset,
        (
            optional("policy_only", "true: only compare with the policy"),
            optional("startpos", "begin after this fid"),
            *_SCOPE,
        ),
    ),
    TrackerCommand("fsck_status", fsck_status),
    TrackerCommand(
        "fsck_getlog", fsck_getlog, (optional("after_logid", "only later entries"),)
    ),
    TrackerCommand("fsck_clearlog", fsck_clearlog),
)
