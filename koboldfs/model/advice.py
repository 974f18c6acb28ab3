"""What the operator should do, as a function of what is known of the cluster.

Each line names what is wrong, and what to do about it. What mends itself is told only
while it keeps files at risk. The order is that of the danger.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attrs import frozen

from koboldfs.model.scrub import MOST_QUARANTINED, beyond_belief

#: A device that is fuller takes few more files, and then none (percent).
NEARLY_FULL_PERCENT = 90.0
#: Clocks of trackers and the database should not be further apart (seconds): leases
#: and graces are counted in them.
CLOCK_SECONDS = 5
#: A device on which anything takes longer is a matter for people (seconds); a machine
#: that is busy may make one look slow that is not.
SLOW_SECONDS = 2.0
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
    """What is known of a device; `copies` and `away_seconds` of one that is away, which
    may count as `lost`. `failing`: why its node does not trust the disk. So many files
    are in its quarantine, and the scrub read so many, and found so many `orphans`.
    `copies_left` on one that is draining."""

    name: str
    host: str
    state: str
    observed: str | None = None
    full_percent: float | None = None
    copies: int | None = None
    away_seconds: int | None = None
    lost: bool = False
    failing: str = ""
    slow_seconds: float | None = None
    quarantined: int = 0
    scrubbed_files: int = 0
    orphans: int = 0
    copies_left: int | None = None


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
    now; that of those with `none` is a least number if `capped`. `lost_files` have no
    good copy, by the scrub. Devices that are away for `lost_after_seconds` count as
    lost (0: none does), but none just now if there is a reason (`lost_barred`).
    Fids from the first to the last of each range are `forgotten` by the database;
    devices have files of numbers that are `unbelieved`."""

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
    lost_after_seconds: int = 0
    lost_barred: str = ""
    forgotten: Sequence[tuple[int | None, int | None]] = ()
    unbelieved: Sequence[tuple[str, int | None]] = ()


def advice(situation: Situation) -> list[str]:
    """One line for each thing to do; empty when there is nothing to do."""
    return [
        *_files(situation),
        *_numbers(situation),
        *_devices(situation),
        *_hosts(situation),
        *_jobs(situation),
        *_rest(situation),
    ]


def _files(it: Situation) -> Iterator[str]:
    least = "at least " if it.capped else ""
    if it.none:
        yield (
            f"{least}{_files_text(it.none)} without any copy that counts: bring back"
            " devices that are away; if none is, run `koboldfs fsck start`, which"
            " searches all devices"
        )
    if it.unreadable > it.none:
        yield (
            f"{_files_text(it.unreadable)} cannot be read now, as all their copies are"
            " on devices that are away: bring these back; marking them dead would"
            " forget these files"
        )
    if it.lost_files:
        yield (
            f"the scrub found {_files_text(it.lost_files)} with no good copy: `koboldfs"
            " scrub lost` names them; restore them from elsewhere, or delete them"
        )
    short = it.one + it.fewer
    replicate = next((job for job in it.jobs if job.name == "replicate"), None)
    # What lost devices leave short is queued by and by.
    settled = not any(one.lost for one in it.devices)
    if short and settled and it.able_hosts and replicate and replicate.running:
        if not replicate.waiting:
            yield (
                f"{_files_text(short)} short of copies, and none of them is queued: run"
                " `koboldfs fsck start`"
            )


def _numbers(it: Situation) -> Iterator[str]:
    if it.forgotten:
        ranges = ", ".join(f"{first} to {last}" for first, last in it.forgotten)
        yield (
            f"the database is older than the disks: fids {ranges} were given out, and"
            " it does not know them. Their bytes are left alone, and the numbers are"
            " not given out again; doc/old-database says what to do"
        )
    for device, fid in it.unbelieved:
        yield (
            f"{device} has a file of the fid {fid}, far above all that the database"
            " ever gave out: remove it there if it is none of yours; if it is, see"
            " doc/old-database"
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
        elif one.observed == "unreachable" or one.lost:
            yield _away_text(it, one, where)
        elif one.state == "drain":
            if one.copies_left == 0:
                # What was moved off a disk that fails has left its bytes there.
                again = "" if one.failing else ", or mark it alive to use it again"
                yield (
                    f"{where} is drained, no file is there: mark it dead and take it"
                    f" out{again}"
                )
        elif one.state == "readonly" or one.observed == "readable" or one.failing:
            yield f"{where} {_unwritten_text(one)}"
        elif one.slow_seconds is not None and one.slow_seconds >= SLOW_SECONDS:
            yield (
                f"{where} is slow ({one.slow_seconds:.1f} s), and avoided: look at its"
                " disk; drain it if it fails"
            )
        yield from _disk(one, where)


def _away_text(it: Situation, one: DeviceState, where: str) -> str:
    since = "" if one.away_seconds is None else f" for {span_text(one.away_seconds)}"
    copies = f", with {one.copies:,} copies" if one.copies else ""
    told = f"{where} has not answered{since}{copies}"
    if one.lost:
        # Its copies may be the last ones.
        dead = "or mark it dead to forget them"
        if it.unreadable or it.none:
            dead = "but marked dead, it takes files with it that have no other copy"
        return (
            f"{told}, and counts as lost: its files are copied elsewhere; bring it"
            f" back, and its copies count again, {dead}"
        )
    if it.lost_after_seconds and not it.lost_barred:
        return (
            f"{told}: look at its host; after {span_text(it.lost_after_seconds)} it"
            " counts as lost, and its files are copied elsewhere"
        )
    barred = ""
    if it.lost_barred:
        barred = f" nothing counts as lost by itself now ({it.lost_barred});"
    return (
        f"{told}: look at its host;{barred} if it is lost, mark it dead, and its files"
        " are copied again"
    )


def _unwritten_text(one: DeviceState) -> str:
    """Of a device that can be read only."""
    what = "is set read-only" if one.state == "readonly" else "takes no writes"
    if one.failing:
        return (
            f"{what}, as its disk fails ({one.failing}): mark it drain, and when it is"
            " empty, dead, and replace the disk; if the disk is well after all, start"
            " its node anew and mark it alive"
        )
    if one.state == "readonly":
        return f"{what}: mark it alive if it may take files, or drain it"
    return f"{what}: its node's log says why"


def _disk(one: DeviceState, where: str) -> Iterator[str]:
    if one.full_percent is not None and one.full_percent >= NEARLY_FULL_PERCENT:
        yield (
            f"{where} is {one.full_percent:.0f} % full: add a device, or run"
            " `koboldfs rebalance`"
        )
    if one.quarantined >= MOST_QUARANTINED:
        yield (
            f"{where} has a full quarantine ({one.quarantined:,} files): no more bad"
            " copies are kept; look at its disk, and clear .koboldfs/quarantine"
        )
    if beyond_belief(one.orphans, one.scrubbed_files):
        yield (
            f"{where} has {_files_text(one.orphans)} that no row knows, so many that"
            " they are left alone: is the database an old one? Its log says more"
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
