"""What must be true of a simulated cluster, whatever happens to it.

Each rule is a function that raises `Broken`; which of them can fail is shown by
`test_mutations`. Those that begin with ``after_quiet`` are looked at when all faults
are mended and the cluster had time to put itself in order, the others at every step.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from koboldfs.model.fid import parse_uri, relative_path
from test.simulation.truth import KeyTruth, Possible, Version

#: A tracker knows of a dead device at the latest so long after that was said, if it
#: can ask the database (seconds).
NEWS_SECONDS = 8.0
#: A store that had seen its copies is answered so long after at the latest (seconds).
WIPED_SECONDS = 15.0


class Broken(AssertionError):
    """A rule is broken; `rule` is its name."""

    def __init__(self, rule: str, what: str) -> None:
        super().__init__(f"{rule}: {what}")
        self.rule = rule


def broken(rule: str, what: str) -> None:
    """Say so."""
    raise Broken(rule, what)


# --- at every answer


def fids_are_handed_out_once(world: Any, version: Version, fid: int) -> None:
    """No two uploads have the same fid."""
    if world.truth.versions.get(fid) not in (None, version):
        broken("fids_are_handed_out_once", f"fid {fid} again")


def no_url_for_a_dead_device(world: Any, urls: list[str]) -> None:
    """Nobody is sent to a device that was declared dead, once that is known."""
    for url in urls:
        found = parse_uri(url.partition(":7500")[2].encode())
        if found is None:
            broken("no_url_for_a_dead_device", url)
            continue
        since = world.dead_devices.get(found[0])
        if since is not None and world.knows_since(since + NEWS_SECONDS):
            broken("no_url_for_a_dead_device", f"{url} since {since:.3f}")


def acknowledged_is_durable(
    world: Any, version: Version, *, said: bool = False
) -> None:
    """What is acknowledged lies flushed where the database says, and on as many hosts
    as are promised while nothing is wrong; always, if the answer `said` so."""
    version.copies = len(_hosts(world, good_devices(world, version)))
    if not version.copies:
        wiped_at = world.nemesis.disks.wiped_at
        if wiped_at is not None and world.clock.now < wiped_at + WIPED_SECONDS:
            version.excused = "the disk was lost while the file was stored on it"
            return
        broken("acknowledged_is_durable", f"fid {version.fid} is nowhere")
    wanted = world.plan.wanted_copies(len(world.wanting_hosts()))
    promised = min(world.plan.ack_copies, wanted)
    excused = world.destroyed() if said else world.troubled()
    if version.copies < promised and not excused:
        broken(
            "acknowledged_is_durable",
            f"fid {version.fid} is on {version.copies} hosts of {promised}",
        )


def requests_succeed_in_peace(world: Any, what: str, done: bool, since: float) -> None:
    """While nothing was wrong since it was asked, nothing is refused."""
    if not done and not world.troubled(since):
        broken("requests_succeed_in_peace", what)


def a_key_is_what_was_promised(
    world: Any, key: KeyTruth, fid: int | None, since: float
) -> None:
    """A key is found to be what it was at some time since the question; so nothing
    deleted or replaced is found after the answer, and no answer is another's."""
    if not world.truth.may_be(key, fid, since):
        states = [
            (one.version.fid if one.version else None, one.since, one.until)
            for one in key.states
        ]
        broken(
            "a_key_is_what_was_promised", f"{key.name} is {fid}, and not of {states}"
        )


def renames_do_not_overwrite(world: Any, free: Possible) -> None:
    """A key that is in use is not given to another file."""
    if free.version is not None:
        broken("renames_do_not_overwrite", f"fid {free.version.fid} is replaced")


def lists_are_true(world: Any, name: str, listed: bool, since: float) -> None:
    """A key is listed if, and only if, it was there at some time since."""
    key = world.truth.key(name)
    possible = [one for one in key.states if one.until >= since]
    there = any(one.version is not None for one in possible) or key.wild
    absent = any(one.version is None for one in possible) or key.wild
    if not (there if listed else absent):
        broken("lists_are_true", f"{name}, listed: {listed}")


def reads_give_the_bytes(world: Any, url: str, fid: int, body: bytes) -> None:
    """Whoever reads gets the bytes that were stored; other bytes only from a copy that
    the simulation itself has damaged."""
    version = world.truth.version(fid)
    if version is None:
        broken("reads_give_the_bytes", f"{url}: nobody stored that")
        return
    found = parse_uri(url.partition(":7500")[2].encode())
    assert found is not None
    if body != version.data and not world.is_damaged(found[0], fid):
        broken("reads_give_the_bytes", f"{url}: {body[:40]!r}")


# --- at every step


def good_devices(world: Any, version: Version, fid: int = 0) -> list[int]:
    """Where the database says that a file is, and it is, flushed, whole and right."""
    found = []
    fid = fid or version.fid
    for (devid,) in world.server.rows("SELECT devid FROM file_on WHERE fid = ?", fid):
        path = f"/docroot/dev{devid}/{relative_path(fid)}"
        if world.disks[world.ip_of(devid)].durable_bytes(path) == version.data:
            found.append(devid)
    return found


def _hosts(world: Any, devids: list[int]) -> set[str]:
    return {world.ip_of(devid) for devid in devids}


def acknowledged_files_are_safe(world: Any) -> None:
    """Every acknowledged file is recorded, and has a good copy, durably, unless the
    simulation has destroyed them all."""
    recorded = dict(world.server.rows("SELECT dkey, fid FROM file"))
    floor = None
    for name, key in world.truth.keys.items():
        state = key.certain
        if state is None:
            continue
        if state.version is None:
            if name in recorded:
                broken("acknowledged_files_are_safe", f"{name} is back")
            continue
        version, fid = state.version, recorded.get(name)
        if fid is None or world.truth.version(fid) is not version:
            what = f"{name} is {fid}, not {version.fid}"
            broken("acknowledged_files_are_safe", what)
            continue
        if version.excused:
            continue
        good = good_devices(world, version, fid)
        if not good:
            what = f"{name}, fid {fid}, has no good copy left"
            broken("acknowledged_files_are_safe", what)
        if floor is None:
            floor = world.plan.wanted_copies(len(world.wanting_hosts()))
        # Where files are moved, not every copy that remains is read.
        if not any(damaged == fid for _, damaged in world.damaged):
            copies_do_not_dwindle(world, version, good, floor)


def copies_do_not_dwindle(
    world: Any, version: Version, good: list[int], floor: int
) -> None:
    """Whatever is moved: a file that was on as many hosts as its policy wants, or
    fewer, is not on fewer afterwards. A disk that reads wrongly may have a good copy
    taken for a bad one."""
    hosts = len(_hosts(world, good))
    if hosts < min(version.most_hosts, floor) and not world.nemesis.disks.misread:
        what = f"fid {version.fid} was on {version.most_hosts} hosts, is on {hosts}"
        broken("copies_do_not_dwindle", f"{what} of {floor}")
    version.most_hosts = max(hosts, min(version.most_hosts, floor))


def nothing_fails_inside(world: Any) -> None:
    """No process logs a defect of its own."""
    if world.defects:
        broken("nothing_fails_inside", world.defects[0])


# --- when all is quiet

#: Tables that are empty then.
QUEUES = (
    "tempfile",
    "file_to_delete",
    "file_to_delete2",
    "file_to_delete_later",
    "file_to_replicate",
    "file_to_queue",
)


def _is_excused(world: Any, fid: int) -> bool:
    version = world.truth.version(fid)
    return version is not None and bool(version.excused)


def waiting(world: Any) -> dict[str, int]:
    """The queues that are not empty."""
    found = {}
    for table in QUEUES:
        rows = world.server.rows(f"SELECT fid FROM {table}")
        # Of a file whose copies are all lost there is nothing to copy from, for ever.
        if table == "file_to_replicate":
            rows = [one for one in rows if not _is_excused(world, one[0])]
        if rows:
            found[table] = len(rows)
    for devid in world.dead_devices:
        sql = "SELECT count(*) FROM file_on WHERE devid = ?"
        count = world.server.rows(sql, devid)[0][0]
        if count:
            found[f"copies on the dead device {devid}"] = count
    scrubs = (
        "SELECT count(*) FROM kobold_scrub JOIN device USING (devid)"
        " WHERE status <> 'dead' AND asked + running > 0"
    )
    if world.server.rows(scrubs)[0][0]:
        found["scrubs"] = world.server.rows(scrubs)[0][0]
    seen = "SELECT value FROM server_settings WHERE field = 'kobold_sweep_seen'"
    living = "SELECT devid FROM device WHERE status = 'alive' ORDER BY devid"
    devids = ",".join(str(devid) for (devid,) in world.server.rows(living))
    if world.plan.policy == "AllHosts()" and world.server.rows(seen) != [(devids,)]:
        found["devices that were not swept for"] = 1
    runs = "SELECT field FROM server_settings WHERE field IN (?, ?) ORDER BY field"
    for (name,) in world.server.rows(runs, "fsck_host", "rebal_host"):
        found[name] = 1
    undrained = len(_undrained(world))
    if undrained:
        found["copies on a draining device"] = undrained
    return found


def _undrained(world: Any) -> list[int]:
    """The files of the draining device that could be elsewhere: their policy would be
    content with the other hosts."""
    devid = world.operator.draining
    if not devid or devid in world.dead_devices:
        return []
    few = world.plan.policy != "AllHosts()" and len(world.wanting_hosts()) < 2
    rows = world.server.rows("SELECT fid FROM file_on WHERE devid = ?", devid)
    return [] if few else [fid for (fid,) in rows if not _is_excused(world, fid)]


def after_quiet_a_draining_device_is_empty(world: Any) -> None:
    """No row is left of the device that is drained, unless there is no room for the
    file on other hosts."""
    left = _undrained(world)
    if left:
        devid = world.operator.draining
        broken("after_quiet_a_draining_device_is_empty", f"device {devid}: {left}")


def after_quiet_devices_are_given_back(world: Any) -> None:
    """A rebalance leaves no device in state drain, unless that is its policy."""
    rows = world.server.rows("SELECT devid FROM device WHERE status = 'drain'")
    draining = [devid for (devid,) in rows if devid != world.operator.draining]
    if draining and not world.operator.leaves:
        broken("after_quiet_devices_are_given_back", f"{draining} drain")


def fsck_mends(world: Any) -> None:
    """After a check of all files by their checksums no copy is a bad one."""
    for fid, devid in _bad_copies(world):
        broken("fsck_mends", f"fid {fid} on device {devid}")


def after_quiet_fsck_finds_nothing(world: Any) -> None:
    """A check of all files is through, and has nothing to say of them."""
    rows = world.server.rows("SELECT fid, evcode, devid FROM fsck_log ORDER BY logid")
    found = [row for row in rows if not _is_excused(world, row[0])]
    if found:
        broken("after_quiet_fsck_finds_nothing", f"{found}")


def after_quiet_queues_drain(world: Any) -> None:
    """Nothing waits."""
    left = waiting(world)
    if left:
        rows = {
            table: world.server.rows(f"SELECT * FROM {table} LIMIT 3")
            for table in left
            if table in QUEUES
        }
        what = f"{left} {rows} at {world.server.unix_time()}"
        broken("after_quiet_queues_drain", what)


def after_quiet_every_file_is_read(world: Any, name: str, fid: int) -> None:
    """Called for a file that could not be read: that is so only where all its copies
    were destroyed."""
    version = world.truth.version(fid)
    if version is None or not version.excused:
        broken("after_quiet_every_file_is_read", f"{name}, fid {fid}")


def after_quiet_policy_is_satisfied(world: Any) -> None:
    """Every file has as many copies as its policy wants, on different hosts."""
    wanted = world.plan.wanted_copies(len(world.wanting_hosts()))
    for name, fid in world.server.rows("SELECT dkey, fid FROM file"):
        rows = world.server.rows("SELECT devid FROM file_on WHERE fid = ?", fid)
        devids = [devid for (devid,) in rows]
        on = _hosts(world, [one for one in devids if one not in world.dead_devices])
        version = world.truth.version(fid)
        excused = version is not None and version.excused
        if len(on) < wanted and not excused:
            what = f"{name}, fid {fid}, on devices {devids}: {wanted} wanted"
            broken("after_quiet_policy_is_satisfied", what)


def _bad_copies(world: Any) -> Iterator[tuple[int, int]]:
    """Those (fid, device) that have not the bytes that were stored."""
    for fid, devid in world.server.rows("SELECT fid, devid FROM file_on"):
        version = world.truth.version(fid)
        if version is None or version.excused:
            continue
        disk = world.disks[world.ip_of(devid)]
        path = f"/docroot/dev{devid}/{relative_path(fid)}"
        if disk.durable_bytes(path) != version.data:
            yield fid, devid


def bad_copies_do_not_spread(world: Any) -> None:
    """Before the scrub: a bad copy is one that the simulation has damaged, and no copy
    of it."""
    for fid, devid in _bad_copies(world):
        if not world.is_damaged(devid, fid):
            broken("bad_copies_do_not_spread", f"fid {fid} on device {devid}")


def after_quiet_copies_are_good(world: Any) -> None:
    """What a row says is there is there, with the bytes that were stored."""
    for fid, devid in _bad_copies(world):
        broken("after_quiet_copies_are_good", f"fid {fid} on device {devid}")


def after_quiet_no_orphan_bytes(world: Any) -> None:
    """No file lies on a disk that no row knows; but a disk that failed may have failed
    to remove a temporary file, which the node's next start does."""
    rows = set(world.server.rows("SELECT fid, devid FROM file_on"))
    for ip, disk in world.disks.items():
        for path in disk.files("/docroot"):
            found = parse_uri(f"/{path}".encode())
            if found is None:
                failed = path.partition("/")[0] in world.nemesis.disks.failed
                if "/.koboldfs/tmp/" in path and not failed:
                    broken("after_quiet_no_orphan_bytes", f"{ip}: {path}")
                continue
            devid, fid = found
            if (fid, devid) not in rows and devid not in world.dead_devices:
                broken("after_quiet_no_orphan_bytes", f"fid {fid} on device {devid}")


def after_quiet_no_orphan_rows(world: Any) -> None:
    """No row speaks of a file that is not there."""
    for table in ("file_on", "checksum", "kobold_checksum"):
        rows = world.server.rows(
            f"SELECT fid FROM {table} WHERE fid NOT IN (SELECT fid FROM file)"
        )
        if rows:
            broken("after_quiet_no_orphan_rows", f"{table}: fid {rows[0][0]}")
    for fid, count in world.server.rows("SELECT fid, devcount FROM file"):
        rows = world.server.rows("SELECT count(*) FROM file_on WHERE fid = ?", fid)
        if rows[0][0] != count:
            what = f"fid {fid}: devcount {count} and {rows[0][0]} rows"
            broken("after_quiet_no_orphan_rows", what)


#: What is looked at at every step, and at the end.
EVERY_STEP = (acknowledged_files_are_safe, nothing_fails_inside)
AFTER_QUIET = (
    after_quiet_queues_drain,
    after_quiet_policy_is_satisfied,
    after_quiet_copies_are_good,
    after_quiet_no_orphan_rows,
    after_quiet_no_orphan_bytes,
)
