"""What the facts about a database mean for taking it over.

Each rule looks at `Facts` and yields findings. Only one that blocks keeps us from
serving the database; what is broken is so already, and MogileFS has the same trouble.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from attrs import frozen

from koboldfs.model.adoption import AT_LEAST, Amount, Facts
from koboldfs.model.adoption_classes import readings, whole_view
from koboldfs.model.entities import DEFAULT_CLASSID, HASH_NAMES
from koboldfs.model.policy import MultipleHosts, Union

T = TypeVar("T")

BLOCKS, BROKEN, BEWARE, NOTE = "blocks", "broken", "beware", "note"
LEVELS = (BLOCKS, BROKEN, BEWARE, NOTE)

#: Schema versions that we can serve.
OLDEST_SCHEMA, NEWEST_SCHEMA = 10, 17
#: Bytes of a key on a database that MogileFS made.
KEY_BYTES = 255
#: Of the fids that `tempfile` can number, the share that is alarming.
FIDS_SHARE = 0.8
#: Numbers of hosts, devices, domains and classes that every engine can hold.
MAX_NUMBER = 2**15 - 1
#: Fids, keys or names that a sentence lists.
EXAMPLES = 5

#: Settings of MogileFS that do nothing here: beginning of the name -> why.
IGNORED = {
    "memcache_servers": "nothing is cached here, and a MogileFS tracker beside ours may"
    " hand out paths of files that we have deleted: empty it for that time",
    "slave_keys": "all statements go to the database of the URL, none to read slaves",
    "network_zones": "no policy here knows networks",
    "zone_": "no policy here knows networks",
    "skip_devcount": "copies are counted all the same; only fsck heeds it",
    "internal_queue_limit": "queues set their own pace",
    "queue_rate_for_reaper": "the reaper sets its own pace",
    "queue_size_for_reaper": "the reaper sets its own pace",
    "case_sensitive_list_keys": "keys are always compared by their bytes",
}


@frozen
class Finding:
    """One thing to know. `code` is for programs, `advice` may be empty."""

    level: str
    code: str
    text: str
    advice: str = ""


def judge(facts: Facts) -> list[Finding]:
    """All there is to know, the worst first."""
    found = [finding for rule in RULES for finding in rule(facts)]
    return sorted(found, key=lambda one: LEVELS.index(one.level))


def can_serve(version: str) -> bool:
    """Whether that is a schema version that we know."""
    return version.isdecimal() and OLDEST_SCHEMA <= int(version) <= NEWEST_SCHEMA


# --- the schema and the account


def _schema(facts: Facts) -> Iterator[Finding]:
    if not can_serve(facts.schema_version):
        yield Finding(
            BLOCKS,
            "schema_version",
            f"schema version {facts.schema_version}; KoboldFS knows {OLDEST_SCHEMA}"
            f" to {NEWEST_SCHEMA}",
            "let the mogdbsetup of MogileFS 2.73 bring an older one up to date",
        )
    if facts.missing_columns:
        yield Finding(
            BLOCKS,
            "missing_columns",
            f"columns are missing: {', '.join(facts.missing_columns)}",
            "let mogdbsetup make them",
        )
    for name in facts.missing_late_columns:
        yield Finding(
            BEWARE,
            "no_tasks",
            f"checks and rebalances need the column {name}, which came with schema 13",
            "let mogdbsetup make it before the first fsck",
        )


def _account(facts: Facts) -> Iterator[Finding]:
    server = facts.server
    if server is None:
        return
    if server.standby:
        yield Finding(
            BEWARE, "standby", "this is a standby: trackers need the primary server"
        )
    if server.locked:
        yield Finding(
            BLOCKS,
            "may_not_write",
            f"this account may not change {', '.join(server.locked)}",
            "use the account of MogileFS's trackers, or grant it what they have",
        )
    if not server.may_create and not facts.served_before:
        yield Finding(
            BLOCKS,
            "may_not_create",
            "this account may not create the tables of KoboldFS (kobold_*)",
            "GRANT CREATE ON SCHEMA public TO the account, for the first start",
        )
    if server.encoding != "UTF8":
        yield Finding(
            BEWARE,
            "encoding",
            f"the database's encoding is {server.encoding}, not UTF8 as MogileFS makes"
            " it: try keys that are not ASCII before the clients do",
        )
    if server.collation not in ("C", "POSIX") and facts.made_by_mogilefs:
        yield Finding(
            NOTE,
            "collation",
            f"the collation is {server.collation}, so listing keys sorts",
            "CREATE INDEX CONCURRENTLY kobold_file_dkey ON file"
            ' (dmid, dkey COLLATE "C")',
        )


def _origin(facts: Facts) -> Iterator[Finding]:
    if not facts.made_by_mogilefs:
        yield Finding(
            NOTE, "ours", "KoboldFS made this database: there is nothing to take over"
        )
    elif facts.served_before:
        yield Finding(NOTE, "served_before", "KoboldFS has served this database before")
    for what in facts.unanswered:
        yield Finding(
            NOTE, "unanswered", f"it took too long to tell {what}; with --count it may"
        )


def _numbers(facts: Facts) -> Iterator[Finding]:
    last, highest = facts.last_fid, facts.highest_fid
    if last is not None and highest is not None and highest >= last * FIDS_SHARE:
        full = highest >= last
        yield Finding(
            BLOCKS if full else BEWARE,
            "fids_run_out",
            f"the highest fid is {highest:,}, and tempfile can number {last:,}",
            "ALTER TABLE tempfile ALTER COLUMN fid TYPE bigint;"
            " ALTER SEQUENCE tempfile_fid_seq AS bigint;",
        )
    topology = facts.topology
    numbers = [
        *(host.hostid for host in topology.hosts),
        *(device.devid for device in topology.devices),
        *(domain.dmid for domain in topology.domains),
        *(one.classid for one in topology.classes),
    ]
    large = sorted(number for number in numbers if number > MAX_NUMBER)
    if large:
        yield Finding(
            BEWARE,
            "large_numbers",
            f"numbers of hosts, devices, domains or classes above {MAX_NUMBER:,}"
            f" ({_some(large)}) cannot be given or changed here",
        )


# --- hosts and devices


def _devices(facts: Facts) -> Iterator[Finding]:
    topology = facts.topology
    hosts = {host.hostid for host in topology.hosts}
    states = {device.devid: device.status for device in topology.devices}
    homeless = [d.devid for d in topology.devices if d.hostid not in hosts]
    if homeless:
        yield Finding(
            BROKEN,
            "device_without_host",
            f"devices whose host is not there: {_some(homeless)}; their copies cannot"
            " be read",
            "add the host, or mark them dead, to have their files copied again",
        )
    if topology.devices and not any(map(whole_view(facts).may_receive, states)):
        yield Finding(
            BROKEN,
            "nowhere_to_store",
            "no device takes new files: none is alive, on a host that is alive, with"
            " room",
        )
    draining = [d.devid for d in topology.devices if d.status == "drain"]
    if draining:
        yield Finding(
            BEWARE,
            "drain_empties",
            f"devices in state drain: {_some(draining)}; KoboldFS moves their files"
            " away, as MogileFS does only when told to rebalance",
            "mark one readonly that shall keep its files",
        )
    for devid, amount in sorted(facts.stray_copies.items()):
        rows = "an unknown number of copies"
        if amount is not None:
            rows = _count(amount, "copy", "copies")
        if devid in states:
            yield Finding(
                BROKEN,
                "dead_device_has_files",
                f"dev{devid} is dead, with {rows} recorded there",
                "the job `reap` queues the files for replication and forgets them",
            )
        else:
            yield Finding(
                BROKEN,
                "unknown_device_has_files",
                f"dev{devid} does not exist, with {rows} recorded there",
                "add the device again and mark it dead, to have them copied again",
            )


# --- domains, classes, policies


def _classes(facts: Facts) -> Iterator[Finding]:
    names = {one.dmid: one.name for one in facts.topology.domains}
    for one in readings(facts):
        name = f"class {_quoted(one.name)} of domain {_quoted(names[one.dmid])}"
        if not one.understood:
            yield Finding(
                BEWARE,
                "policy_unknown",
                f"{name}: the policy {one.text or 'of kobold_policy'} is not known"
                f" here; its files are treated as with {MultipleHosts()},"
                f" {one.mindevcount} copies",
                "give the class a policy of ours if that is not enough",
            )
        if isinstance(one.policy, Union):
            yield Finding(
                BEWARE,
                "policy_union",
                f"{name}: {one.policy} works here, and stops MogileFS's replication"
                " where its trackers run beside ours",
            )
        if one.possible and (one.held_up or one.possible < one.wanted):
            then = "they wait for more" if one.held_up else "that counts as enough"
            yield Finding(
                BROKEN,
                "policy_not_met",
                f"{name}: {one.policy} wants {one.wanted} copies, and the devices that"
                f" take files have room for {one.possible} of a new file; {then}",
                "add hosts or devices, or ask for fewer copies",
            )
        if one.hashtype is not None and one.hashtype not in HASH_NAMES:
            yield Finding(
                BEWARE,
                "hash_unknown",
                f"{name}: checksums of type {one.hashtype} are not known here",
                "koboldfs admin class modify DOMAIN CLASS --hash md5",
            )
    rows = {one.dmid for one in facts.topology.classes if one.classid == 0}
    bare = [name for dmid, name in names.items() if dmid not in rows]
    if bare:
        yield Finding(
            BEWARE,
            "default_class",
            f"domain {_some(bare, _quoted)}: no row says how many copies the class"
            " default wants: here that is 2, in MogileFS default_mindevcount of"
            " mogilefsd.conf",
            "if that is not 2, write it down: mogadm class modify DOMAIN default"
            " --mindevcount=N",
        )


def _groups(facts: Facts) -> Iterator[Finding]:
    domains = {one.dmid: one.name for one in facts.topology.domains}
    classes = {(one.dmid, one.classid) for one in facts.topology.classes}
    lost = sorted({one.dmid for one in facts.groups} - set(domains))
    if lost:
        yield Finding(
            BROKEN,
            "domain_missing",
            f"there are files of domains that are not there: dmid {_some(lost)}; no"
            " client can name them",
        )
    orphans = [
        f"{one.classid} of {_quoted(domains[one.dmid])}"
        for one in facts.groups
        if one.dmid in domains
        and one.classid != DEFAULT_CLASSID
        and (one.dmid, one.classid) not in classes
    ]
    if orphans:
        yield Finding(
            BROKEN,
            "class_missing",
            f"there are files of classes that are not there: {_some(orphans)}; they"
            " are treated as of the class default",
        )
    empty = [one for one in facts.groups if one.empty and one.empty.number]
    if empty:
        amounts = [one.empty for one in empty if one.empty]
        kinds = {amount.kind for amount in amounts}
        total = Amount(
            sum(amount.number for amount in amounts),
            AT_LEAST if AT_LEAST in kinds else amounts[0].kind,
        )
        fids = [fid for one in empty for fid in one.fids]
        yield Finding(
            BROKEN,
            "no_copies",
            f"{_count(total, 'file')} with a count of no copies: fid {_some(fids)}",
            "fsck looks for their bytes on every device",
        )


# --- files


def _sample(facts: Facts) -> Iterator[Finding]:
    states = {one.devid: one.status for one in facts.topology.devices}
    bare, lost, unfit = [], [], []
    for one in facts.sample:
        key = one.file.key or ""
        if not one.devids:
            bare.append(one.file.fid)
        elif all(states.get(devid, "dead") == "dead" for devid in one.devids):
            lost.append(one.file.fid)
        if len(key) > KEY_BYTES or "\0" in key or max(key, default="") > "\xff":
            unfit.append(one.file.fid)
    seen = f"{len(facts.sample):,} files"
    of = f"of all {seen}" if facts.sample_is_all else f"of {seen} that were looked at"
    if bare:
        yield Finding(
            BROKEN,
            "no_copies_recorded",
            f"{of}, {len(bare):,} have no copy recorded (fid {_some(bare)})",
            "fsck looks for their bytes on every device",
        )
    if lost:
        yield Finding(
            BROKEN,
            "copies_on_dead_devices",
            f"{of}, {len(lost):,} have copies on dead or unknown devices only"
            f" (fid {_some(lost)})",
            "fsck looks for their bytes on every other device",
        )
    if unfit:
        yield Finding(
            BEWARE,
            "keys_unfit",
            f"{of}, {len(unfit):,} have a key that is longer than {KEY_BYTES} bytes or"
            f" no text of bytes (fid {_some(unfit)}): they cannot be asked for",
            "rename them in the table `file` before going over",
        )
    if facts.key_chars is not None and facts.key_chars > KEY_BYTES:
        if facts.made_by_mogilefs:
            yield Finding(
                BEWARE,
                "keys_wide",
                f"file.dkey was widened to {facts.key_chars:,} characters; keys of more"
                f" than {KEY_BYTES} bytes are refused here",
            )


# --- queues


def _queues(facts: Facts) -> Iterator[Finding]:
    settings = dict(facts.topology.settings)
    for queue in facts.queues:
        name = queue.name
        if queue.overdue:
            yield Finding(
                BROKEN,
                "queue_overdue",
                f"{name}: {queue.overdue:,} of {_count(queue.rows, 'row')} due for more"
                " than an hour",
                "no tracker works on it, or too slowly; ours take what is due first",
            )
        if queue.failing:
            yield Finding(
                BROKEN,
                "queue_failing",
                f"{name}: {_count(Amount(queue.failing), 'row')} tried often, in vain",
            )
        if queue.given_up.number:
            yield Finding(
                BROKEN,
                "queue_given_up",
                f"{name}: {_count(queue.given_up, 'row')} given up",
                "fsck looks for the files; then the tracker command replicate_now has"
                " them tried again",
            )
    waiting = {queue.name: queue.rows for queue in facts.queues if queue.rows.number}
    for kind, setting in (("fsck", "fsck_host"), ("rebalance", "rebal_host")):
        name = f"file_to_queue ({kind})"
        if settings.get(setting):
            yield Finding(
                BEWARE,
                f"{kind}_running",
                f"{kind} runs: {settings[setting]} queues its files, and nobody does"
                " when that tracker is stopped",
                f"koboldfs {kind} stop, then {kind} start at a tracker of ours",
            )
        elif name in waiting:
            yield Finding(
                NOTE,
                f"{kind}_left",
                f"{name}: {_count(waiting[name], 'row')}, though no {kind} runs; the"
                f" job `{kind}` works them off",
            )
    for name in ("file_to_delete", "file_to_delete_later"):
        if name in waiting:
            yield Finding(
                NOTE,
                "old_delete_queue",
                f"{name}, an older queue: {_count(waiting[name], 'row')}, which the job"
                " `delete` takes when due",
            )
    if "unreachable_fids" in waiting:
        yield Finding(
            NOTE, "unreachable_fids", "unreachable_fids has rows, which nobody reads"
        )
    if facts.old_uploads:
        yield Finding(
            BROKEN,
            "old_uploads",
            f"{_count(Amount(facts.old_uploads), 'upload')} begun more than a day ago"
            " and never closed",
            "the job `expire` deletes what they left on the disks",
        )


def _settings(facts: Facts) -> Iterator[Finding]:
    for name, value in facts.topology.settings:
        why = next((IGNORED[one] for one in IGNORED if name.startswith(one)), None)
        if why and value not in ("", "0"):
            level = BEWARE if name == "memcache_servers" else NOTE
            yield Finding(level, "setting_ignored", f"{name} is set: {why}")


def _count(amount: Amount, one: str, more: str = "") -> str:
    """A number with its noun."""
    return f"{amount} {one if amount.number == 1 else more or one + 's'}"


def _quoted(name: str) -> str:
    return f"'{name}'"


def _some(values: Iterable[T], show: Callable[[T], str] = str) -> str:
    """The first few of them."""
    found = list(values)
    more = ", ..." if len(found) > EXAMPLES else ""
    return ", ".join(map(show, found[:EXAMPLES])) + more


RULES: tuple[Callable[[Facts], Iterator[Finding]], ...] = (
    _schema,
    _account,
    _numbers,
    _devices,
    _classes,
    _groups,
    _sample,
    _queues,
    _settings,
    _origin,
)
