"""What the operator should do, as a function of what is known of the cluster.

Each line names what is wrong, and what to do about it. What mends itself is told only
while it keeps files at risk. The order is that of the danger.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attrs import frozen

#: A device that is fuller takes few more files, and then none (percent).
NEARLY_FULL_PERCENT = 90.0
#: Clocks of trackers and the database should not be further apart (seconds): leases
#: and graces are counted in them.
CLOCK_SECONDS = 5
#: Jobs without which files get lost or room is not given back, and what they do.
NEEDED_JOBS = {
    "replicate": "missing copies are not made",
    "delete": "deleted files keep their room",
    "reap": "copies on dead devices are not replaced",
    "expire": "abandoned uploads keep their room",
}
#: A queue that is this long, with nothing done of it, is stuck.
STUCK_ROWS = 1


@frozen
class DeviceState:
    """What is known of a device; `copies` and `away_seconds` of one that is away."""

    name: str
    host: str
    state: str
    observed: str | None = None
    full_percent: float | None = None
    copies: int | None = None
    away_seconds: int | None = None


@frozen
class JobState:
    """What is known of a job: workers on all trackers that answered, units a second,
    and how many rows wait for it (None: it has no queue)."""

    name: str
    running: int
    rate: float = 0.0
    waiting: int | None = None
    error: str = ""


@frozen
class Situation:
    """What advice is given on. Files by how many copies they have, as they are counted
    now; that of those with `none` is a least number if `capped`."""

    none: int = 0
    one: int = 0
    fewer: int = 0
    capped: bool = False
    unreadable: int = 0
    promised: int = 1
    able_hosts: int = 0
    hosts: int = 0
    unsynced: Sequence[str] = ()
    devices: Sequence[DeviceState] = ()
    jobs: Sequence[JobState] = ()
    silent_trackers: Sequence[str] = ()
    clock_difference_seconds: int | None = None
    lost_files: int = 0


def advice(situation: Situation) -> list[str]:
    """One line for each thing to do; empty when there is nothing to do."""
    return [
        *_files(situation),
        *_devices(situation),
        *_hosts(situation),
        *_jobs(situation),
        *_rest(situation),
    ]


def _files(it: Situation) -> Iterator[str]:
    least = "at least " if it.capped else ""
    if it.none:
        yield (
            f"{least}{_files_text(it.none)} without any copy: run `koboldfs fsck"
            " start`, which searches all devices; bring back devices that are away"
        )
    if it.unreadable > it.none:
        yield (
            f"{_files_text(it.unreadable)} cannot be read now, as all their copies are"
            " on devices that are away: bring these back"
        )
    if it.lost_files:
        yield (
            f"the scrub found {_files_text(it.lost_files)} with no good copy: `koboldfs"
            " why KEY` tells about one; restore it from elsewhere"
        )
    short = it.one + it.fewer
    replicate = next((job for job in it.jobs if job.name == "replicate"), None)
    if short and it.able_hosts and replicate and replicate.running:
        if not replicate.waiting:
            yield (
                f"{_files_text(short)} short of copies, and none of them is queued: run"
                " `koboldfs fsck start`"
            )


def _devices(it: Situation) -> Iterator[str]:
    for one in it.devices:
        where = f"{one.name} on {one.host}"
        if one.state == "dead":
            continue
        if one.state == "down":
            yield (
                f"{where} is set down: when it is mended, mark it alive; when it is"
                " lost, mark it dead, and its files are copied again"
            )
        elif one.observed == "unreachable":
            since = ""
            if one.away_seconds is not None:
                since = f" for {span_text(one.away_seconds)}"
            copies = f", with {one.copies} copies" if one.copies else ""
            yield (
                f"{where} has not answered{since}{copies}: look at its host; if it is"
                " lost, mark it dead, and its files are copied again"
            )
        elif one.state == "readonly" or one.observed == "readable":
            why = "set read-only" if one.state == "readonly" else "not writable"
            yield (
                f"{where} is {why}: look at its disk; drain it if it fails, or mark it"
                " alive when it is well"
            )
        if one.full_percent is not None and one.full_percent >= NEARLY_FULL_PERCENT:
            yield (
                f"{where} is {one.full_percent:.0f} % full: add a device, or run"
                " `koboldfs rebalance`"
            )


def _hosts(it: Situation) -> Iterator[str]:
    if it.hosts == 1:
        yield (
            "all files are on one host, and lost with it: add a second one (see"
            " `Two machines` in README)"
        )
    elif it.able_hosts < it.promised:
        yield (
            f"stores are promised on {it.promised} hosts, and {it.able_hosts} can take"
            " files: bring hosts back, add one, or lower kobold_ack_copies"
        )
    for name in it.unsynced:
        yield (
            f"{name} answers before its disk has the bytes (--no-fsync, or not"
            " KoboldFS's node): a power cut there may lose what it just stored"
        )


def _jobs(it: Situation) -> Iterator[str]:
    for job in it.jobs:
        if not job.running:
            what = NEEDED_JOBS.get(job.name)
            if what is not None:
                yield (
                    f"the job {job.name} runs on no tracker that was asked, so {what}:"
                    " see --jobs and !want"
                )
        elif job.waiting and job.waiting >= STUCK_ROWS and job.error and not job.rate:
            yield (
                f"the job {job.name} has {job.waiting} rows waiting and does not get"
                f" on; its last error: {job.error}"
            )


def _rest(it: Situation) -> Iterator[str]:
    for name in it.silent_trackers:
        yield f"the tracker {name} does not answer: start it, or forget it"
    difference = it.clock_difference_seconds
    if difference is not None and abs(difference) > CLOCK_SECONDS:
        yield (
            f"this machine's clock and the database's are {abs(difference)} s apart:"
            " set them"
        )


def _files_text(count: int) -> str:
    return "1 file" if count == 1 else f"{count:,} files"


def span_text(seconds: int) -> str:
    """A span of time for people, by its largest unit or two."""
    days, rest = divmod(max(0, seconds), 86400)
    hours, rest = divmod(rest, 3600)
    minutes, rest = divmod(rest, 60)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
