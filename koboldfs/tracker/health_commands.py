"""The commands that tell whether files are safe: of the cluster, and of one file.

MogileFS has neither; its trackers answer `unknown_command`.
"""

from __future__ import annotations

from typing import Any

from attrs import asdict

from koboldfs import errors
from koboldfs.cluster.file_report import CopyReport
from koboldfs.cluster.overview import COUNTED_FILES, Standing
from koboldfs.model import absence
from koboldfs.model.health import Census
from koboldfs.tracker.call import Call, Pairs, Services, TrackerCommand, optional
from koboldfs.tracker.file_commands import DOMAIN, KEY

#: A host that answers without its disk is named, up to so many.
MAX_UNSYNCED = 100
#: Devices of whose disks there is something to be told are named, up to so many.
MAX_DISKS = 1000


async def cluster_health(services: Services, call: Call) -> Pairs:
    """How safe the files are, counted now up to a limit, and by the last census.

    OK: `now`; `short_none`, `short_one`, `short_fewer`, `short_capped`,
    `short_exact_below`, `short_partial`, `counted_to`; `oldest_fid` and so on; `away`,
    and for each `away_<i>_devid`, `_copies`, `_since`, `_lost`; `unreadable`,
    `looked_at`, `looked_at_all`; `lost_after`, `lost_barred`; `late` and
    `late_<i>_devid`; `draining`, and for each `draining_<i>_devid`, `_copies`; `disks`,
    and for each `disk_<i>_devid`, `_failing`, `_slow`, `_quarantined`; `scrub_lost`;
    `queue_<name>`; `census_*` and `walk_*`; `promised`, `able_hosts`; `stored`,
    `stored_short`, `stored_unsynced`; `unsynced` and `unsynced_<i>`; `jobs`, and for
    each `job_<i>_name`, `_running`, `_done`, `_failed`, `_under_way`, `_rate`,
    `_error`; `forgotten` and for each `forgotten_<i>_first`, `_last`: fids that an old
    state of the database does not know; `unbelieved` and for each
    `unbelieved_<i>_devid`, `_fid`: files of numbers far above all of them.
    """
    standing = await services.overview.standing()
    return [
        *_standing(services, standing),
        *_absences(services),
        *_disks(services),
        *_numbers(services),
        ("scrub_lost", len(await services.scrubbing.lost(0))),
        *_promises(services),
        *_jobs(services),
    ]


def _standing(services: Services, standing: Standing) -> Pairs:
    short = standing.shortages
    pairs: Pairs = [
        ("now", standing.now),
        ("short_none", short.none),
        ("short_one", short.one),
        ("short_fewer", short.fewer),
        ("short_capped", int(short.capped)),
        ("short_exact_below", short.exact_below),
        ("short_partial", int(short.partial)),
        ("counted_to", COUNTED_FILES),
    ]
    oldest = standing.oldest
    if oldest is not None:
        file = oldest.located.file
        domain = services.view.domain_numbered(file.dmid)
        pairs += (
            ("oldest_fid", file.fid),
            ("oldest_domain", domain.name if domain else None),
            ("oldest_key", file.key),
            ("oldest_copies", oldest.copies),
            ("oldest_wanted", oldest.wanted),
            ("oldest_since", oldest.since),
        )
    pairs.append(("away", len(standing.away)))
    for index, away in enumerate(standing.away, 1):
        pairs += (
            (f"away_{index}_devid", away.devid),
            (f"away_{index}_copies", away.copies),
            (f"away_{index}_since", away.since),
            (f"away_{index}_lost", int(away.lost)),
        )
    pairs.append(("draining", len(standing.draining)))
    for index, (devid, copies) in enumerate(standing.draining.items(), 1):
        pairs += (
            (f"draining_{index}_devid", devid),
            (f"draining_{index}_copies", copies),
        )
    pairs += (
        ("unreadable", standing.unreadable),
        ("looked_at", standing.looked_at),
        ("looked_at_all", int(standing.looked_at_all)),
        ("highest_fid", standing.highest_fid),
    )
    pairs += [(f"queue_{name}", count) for name, count in standing.queues.items()]
    return [
        *pairs,
        *_census("census", standing.census),
        *_census("walk", standing.walk),
    ]


def _absences(services: Services) -> Pairs:
    """When devices that are away count as lost, or why none does just now."""
    view = services.view
    seconds, barred = absence.lost_after_seconds(view), ""
    if seconds:
        barred = absence.cut_off(view, absence.expected(view, view.lost))
    pairs: Pairs = [("lost_after", seconds), ("lost_barred", barred)]
    late = sorted(view.late & set(view.devices))
    pairs.append(("late", len(late)))
    return pairs + [(f"late_{n}_devid", devid) for n, devid in enumerate(late, 1)]


def _disks(services: Services) -> Pairs:
    """What nodes tell of their disks that are not as they should be."""
    health = services.view.health
    told = [
        seen
        for devid, seen in sorted(health.devices.items())
        if seen.failing or seen.quarantined or devid in health.slow
    ][:MAX_DISKS]
    pairs: Pairs = [("disks", len(told))]
    for index, seen in enumerate(told, 1):
        slow = seen.latency_seconds if seen.devid in health.slow else None
        pairs += (
            (f"disk_{index}_devid", seen.devid),
            (f"disk_{index}_failing", seen.failing),
            (f"disk_{index}_slow", None if slow is None else f"{slow:.1f}"),
            (f"disk_{index}_quarantined", seen.quarantined),
        )
    return pairs


def _numbers(services: Services) -> Pairs:
    """What says that the database is older than the disks."""
    ranges = services.numbering.forgotten()
    pairs: Pairs = [("forgotten", len(ranges))]
    for index, one in enumerate(ranges, 1):
        pairs += (
            (f"forgotten_{index}_first", one.first),
            (f"forgotten_{index}_last", one.last),
        )
    above = sorted(services.numbering.unbelieved.items())[:MAX_DISKS]
    pairs.append(("unbelieved", len(above)))
    for index, (devid, fid) in enumerate(above, 1):
        pairs += (
            (f"unbelieved_{index}_devid", devid),
            (f"unbelieved_{index}_fid", fid),
        )
    return pairs


def _census(name: str, census: Census | None) -> Pairs:
    if census is None:
        return []
    return [(f"{name}_{field}", value) for field, value in asdict(census).items()]


def _promises(services: Services) -> Pairs:
    view, copies = services.view, services.namespace.copies
    able = {d.hostid for d in view.devices.values() if view.may_receive(d.devid)}
    unsynced = sorted(
        host.name
        for host in view.hosts.values()
        if view.host_reachable(host.hostid) and not view.syncs(host.hostid)
    )
    keeping = services.namespace.promises.keeping
    pairs: Pairs = [
        ("promised", copies.promised_hosts()),
        ("able_hosts", len(able)),
        ("stored", keeping.stored),
        ("stored_short", keeping.short),
        ("stored_unsynced", keeping.unsynced),
        ("unsynced", len(unsynced)),
    ]
    pairs += [
        (f"unsynced_{index}", name)
        for index, name in enumerate(unsynced[:MAX_UNSYNCED], 1)
    ]
    return pairs


def _jobs(services: Services) -> Pairs:
    progress = sorted(services.jobs.progress().items())
    pairs: Pairs = [("jobs", len(progress))]
    for index, (name, one) in enumerate(progress, 1):
        values: dict[str, Any] = {"name": name, **asdict(one)}
        pairs += [(f"job_{index}_{field}", value) for field, value in values.items()]
    return pairs


async def file_health(services: Services, call: Call) -> Pairs:
    """Everything about one file. Its copies are read now, unless `noread` is true; one
    that takes longer than 20 seconds is `unread`.

    OK: `fid`, `domain`, `class`, `key`, `length` (bytes), `checksum` (KoboldFS's own),
    `class_checksum`, `policy`, `wanted` and `counting` (copies), `lost_since` if the
    scrub found no good copy; `copies`, and for each `copy_<i>_devid`, `_host`,
    `_state`, `_observed`, `_absence`, `_verdict`, `_size`, `_checksum`, `_path`;
    `wait_<queue>_nexttry` and `_failcount` of the queues that it is in; and `now`.
    Errors: `no_key`, `unknown_key`.
    """
    domain = await services.namespace.known_domain(call.arguments.get("domain"))
    key = call.required("key", errors.NoKey)
    found = await services.reports.report(domain, key, read=not call.true("noread"))
    file, view = found.located.file, services.view
    pairs: Pairs = [
        ("fid", file.fid),
        ("domain", domain.name),
        ("class", view.storage_class(file.dmid, file.classid).name),
        ("key", file.key),
        ("length", file.length),
        ("checksum", found.checksum),
        ("class_checksum", found.class_checksum),
        ("policy", found.policy),
        ("wanted", found.wanted),
        ("counting", found.counting),
        ("lost_since", await services.scrubbing.lost_since(file.fid)),
        ("copies", len(found.copies)),
    ]
    for index, copy in enumerate(found.copies, 1):
        pairs += _copy(services, call, file.fid, index, copy)
    for queue, row in found.waits.items():
        for column in ("nexttry", "failcount"):
            if column in row:
                pairs.append((f"wait_{queue}_{column}", row[column]))
    pairs.append(("now", await services.overview.unix_time()))
    return pairs


def _copy(
    services: Services, call: Call, fid: int, index: int, copy: CopyReport
) -> Pairs:
    view = services.view
    place, device = view.place(copy.devid), view.devices.get(copy.devid)
    values = {
        "devid": copy.devid,
        "host": place.host.name if place else None,
        "state": device.status if device else None,
        "observed": view.observed(copy.devid),
        "absence": absence.word(view, copy.devid),
        "verdict": copy.verdict,
        "size": copy.size,
        "checksum": copy.checksum,
        "path": view.url(copy.devid, fid, client_ip=call.client_ip),
    }
    return [(f"copy_{index}_{field}", value) for field, value in values.items()]


HEALTH_COMMANDS = (
    TrackerCommand("cluster_health", cluster_health),
    TrackerCommand(
        "file_health",
        file_health,
        (DOMAIN, KEY, optional("noread", "true: do not read the copies")),
    ),
)
