"""Whether files are safe: what ``koboldfs status`` says of it.

All of it is what trackers tell (``cluster_health``, ``scrub_status``); a tracker that
does not know these commands is said to be one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from koboldfs.cli import output

if TYPE_CHECKING:
    from koboldfs.model.advice import DeviceState
    from koboldfs.tracker_client import TrackerClient

Row = dict[str, Any]

#: No list of a reply is read further; no tracker tells more.
MAX_ROWS = 100_000
#: Which queue a job works off.
_QUEUES = {"replicate": "replicate", "delete": "delete"}
#: Jobs that look after something all the time, whether there is work or not.
_LOOKERS = ("census", "expire", "monitor", "reap", "sweep")
_NUMBERS = ("running", "done", "failed", "under_way")
#: So many files without a good copy are counted at the most.
LOST_PAGE = 100
SILENT = "this tracker does not tell how safe files are; it is MogileFS's, or older"


def number(fields: Mapping[str, str], name: str) -> int | None:
    """A whole number of a reply; None if there is none."""
    text = fields.get(name, "")
    if text.isascii() and text.isdigit() and len(text) < 20:
        return int(text)
    return None


def decimal(fields: Mapping[str, str], name: str) -> float:
    """A decimal number of a reply; 0 if there is none."""
    try:
        value = float(fields.get(name, ""))
    except ValueError:
        return 0.0
    return value if 0 <= value < 1e15 else 0.0


def rows_of(fields: Mapping[str, str], prefix: str, count: str) -> list[dict[str, str]]:
    """The rows ``<prefix>_<i>_<name>``, in order, as many as `count` says."""
    found: dict[int, dict[str, str]] = {}
    for name, value in fields.items():
        if not name.startswith(f"{prefix}_"):
            continue
        index, _, rest = name.removeprefix(f"{prefix}_").partition("_")
        if rest and index.isascii() and index.isdigit() and len(index) < 7:
            found.setdefault(int(index), {})[rest] = value
    most = min(number(fields, count) or 0, MAX_ROWS)
    return [found[index] for index in sorted(found) if 0 < index <= most]


def asked(tracker: TrackerClient, command: str) -> dict[str, str] | None:
    """The reply; None if the tracker does not know the command."""
    from koboldfs.tracker_client import Refused

    try:
        return tracker.ask(command)
    except Refused as refusal:
        if refusal.word == "unknown_command":
            return None
        raise


def clock_difference_seconds(now: int | None, began: float, ended: float) -> int | None:
    """By how much this machine's clock is ahead of the database's, which told `now`
    after `began` and before `ended`; what may be the way of the question counts as
    nothing. None if it did not tell."""
    if not now:
        return None
    # The answer may be what another one was told a moment before; and it is rounded.
    earliest, latest = began - 2, ended + 1
    nearest = min(max(now, earliest), latest)
    return round(nearest - now)


def safety(fields: Mapping[str, str], began: float, ended: float) -> Row:
    """What a reply to ``cluster_health`` says of the files, for ``--json``; it was
    asked for and came at those times, in Unix seconds of this machine."""
    names = (
        "now",
        "short_none",
        "short_one",
        "short_fewer",
        "counted_to",
        "scrub_lost",
    )
    found: Row = {name: number(fields, name) for name in names}
    apart = clock_difference_seconds(found["now"], began, ended)
    found |= {
        "clock_difference_seconds": apart,
        "short_capped": fields.get("short_capped") == "1",
        "short_exact_below": number(fields, "short_exact_below"),
        "short_partial": fields.get("short_partial") == "1",
        "unreadable": number(fields, "unreadable"),
        "looked_at": number(fields, "looked_at"),
        "looked_at_all": fields.get("looked_at_all") == "1",
        "oldest": _oldest(fields),
        "census": _census(fields, "census"),
        "walk": _census(fields, "walk"),
        "highest_fid": number(fields, "highest_fid"),
        "lost_after": number(fields, "lost_after"),
        "lost_barred": output.word_text(fields.get("lost_barred", "")),
        "promised": number(fields, "promised"),
        "able_hosts": number(fields, "able_hosts"),
        "stored": number(fields, "stored"),
        "stored_short": number(fields, "stored_short"),
        "stored_unsynced": number(fields, "stored_unsynced"),
        "unsynced": [
            output.word_text(fields[f"unsynced_{index}"])
            for index in range(1, min(number(fields, "unsynced") or 0, 1000) + 1)
            if f"unsynced_{index}" in fields
        ],
        "forgotten_fids": [
            {"first": number(row, "first"), "last": number(row, "last")}
            for row in rows_of(fields, "forgotten", "forgotten")
        ],
        "unbelieved_fids": [
            {"devid": number(row, "devid"), "fid": number(row, "fid")}
            for row in rows_of(fields, "unbelieved", "unbelieved")
        ],
    }
    return found


def _oldest(fields: Mapping[str, str]) -> Row | None:
    if "oldest_fid" not in fields:
        return None
    return {
        "fid": number(fields, "oldest_fid"),
        "domain": output.word_text(fields.get("oldest_domain", "")),
        "key": output.word_text(fields.get("oldest_key", "")),
        "copies": number(fields, "oldest_copies"),
        "wanted": number(fields, "oldest_wanted"),
        "since": number(fields, "oldest_since") or None,
    }


def _census(fields: Mapping[str, str], name: str) -> Row | None:
    if f"{name}_began" not in fields:
        return None
    kinds = ("began", "ended", "fid", "files", "bytes", "whole", "fewer", "one")
    return {
        kind: number(fields, f"{name}_{kind}")
        for kind in (*kinds, "none", "unreadable")
    }


def jobs(replies: Sequence[Mapping[str, str]]) -> list[Row]:
    """What all trackers that answered do of each job; the first one's queues."""
    found: dict[str, Row] = {}
    for fields in replies:
        for row in rows_of(fields, "job", "jobs"):
            name = output.word_text(row.get("name", ""))
            job = found.setdefault(
                name,
                {"job": name, **dict.fromkeys(_NUMBERS, 0), "rate": 0.0, "error": ""},
            )
            for one in _NUMBERS:
                job[one] += number(row, one) or 0
            job["rate"] = round(job["rate"] + decimal(row, "rate"), 2)
            job["error"] = job["error"] or output.word_text(row.get("error", ""))
    for name, job in found.items():
        waiting = None
        if name in _QUEUES and replies:
            waiting = number(replies[0], f"queue_{_QUEUES[name]}")
        job["waiting"] = waiting
        job["seconds_left"] = _seconds_left(job, replies[0])
    return sorted(found.values(), key=lambda job: str(job["job"]))


def _seconds_left(job: Row, fields: Mapping[str, str]) -> int | None:
    """How long it will take at the rate of the last minute; None if nobody knows."""
    if job["job"] == "census":
        walk = _census(fields, "walk")
        highest, now = number(fields, "highest_fid"), number(fields, "now")
        if not walk or not walk["fid"] or not highest or not now:
            return None
        took, done = now - (walk["began"] or 0), int(walk["fid"])
        return max(0, round((highest - done) * took / done))
    if job["waiting"] == 0:
        return 0
    if job["waiting"] is None or not job["rate"]:
        return None
    return round(float(job["waiting"]) / float(job["rate"]))


def add_to_devices(
    devices: Sequence[Row],
    fields: Mapping[str, str] | None,
    scrubs: Mapping[str, str] | None,
) -> None:
    """Add to the rows of devices what is known of those that are away, and of when
    each was last scrubbed (None: this tracker cannot tell)."""
    away = {number(row, "devid"): row for row in rows_of(fields or {}, "away", "away")}
    scrub = {
        number(one, "devid"): one for one in rows_of(scrubs or {}, "scrub", "count")
    }
    disks = {
        number(row, "devid"): row for row in rows_of(fields or {}, "disk", "disks")
    }
    late = {number(row, "devid") for row in rows_of(fields or {}, "late", "late")}
    drains = {
        number(row, "devid"): number(row, "copies")
        for row in rows_of(fields or {}, "draining", "draining")
    }
    for row in devices:
        row["copies_left"] = drains.get(row["devid"])
        gone, disk = away.get(row["devid"], {}), disks.get(row["devid"], {})
        row["copies_away"] = number(gone, "copies")
        row["away_since"] = number(gone, "since")
        row["absence"] = "late" if row["devid"] in late else None
        if gone.get("lost") == "1":
            row["absence"] = "lost"
        row["failing"] = output.word_text(disk.get("failing", "")) or None
        row["slow_seconds"] = decimal(disk, "slow") or None
        row["quarantined"] = number(disk, "quarantined") or 0
        row["scrub"] = None
        if row["devid"] in scrub:  # of dead devices there is none
            row["scrub"] = _scrub(scrub[row["devid"]])


def _scrub(row: Mapping[str, str]) -> Row:
    names = ("began", "ended", "files", "bad", "mended", "missing", "orphans", "lost")
    found: Row = {name: number(row, name) for name in names}
    return {
        **found,
        "running": row.get("running") == "1",
        "position_percent": decimal(row, "position_percent"),
    }


def advised(picture: Mapping[str, Any]) -> list[str]:
    """What the operator should do; empty if nothing, or if no tracker could tell."""
    from koboldfs.model import advice

    told = picture.get("safety")
    if told is None:
        return []
    now = told["now"] or 0
    devices = [_device_state(row, now) for row in picture["devices"]]
    work = [
        advice.JobState(
            job["job"],
            job["running"],
            job["rate"],
            job["waiting"],
            output.printable(job["error"]),
        )
        for job in picture["jobs"]
    ]
    return advice.advice(
        advice.Situation(
            told["short_none"] or 0,
            told["short_one"] or 0,
            told["short_fewer"] or 0,
            not is_exact(told, 0),
            told["unreadable"] or 0,
            told["promised"] or 1,
            told["able_hosts"] or 0,
            sum(host["state"] != "dead" for host in picture["hosts"]),
            [output.printable(name) for name in told["unsynced"]],
            devices,
            work,
            [one["address"] for one in picture["trackers"] if not one["reachable"]],
            told["clock_difference_seconds"],
            told["scrub_lost"] or 0,
            told["lost_after"] or 0,
            output.printable(told["lost_barred"]),
            [(one["first"], one["last"]) for one in told["forgotten_fids"]],
            [(f"dev{one['devid']}", one["fid"]) for one in told["unbelieved_fids"]],
        )
    )


def _device_state(row: Row, now: int) -> DeviceState:
    from koboldfs.model import advice

    scrub = row["scrub"] or {}
    return advice.DeviceState(
        f"dev{row['devid']}",
        output.printable(str(row["host"])),
        row["state"],
        row["observed"],
        row["full_percent"],
        row["copies_away"],
        now - row["away_since"] if row["away_since"] else None,
        row["absence"] == "lost",
        output.printable(row["failing"] or ""),
        row["slow_seconds"],
        row["quarantined"],
        scrub.get("files") or 0,
        scrub.get("orphans") or 0,
        row["copies_left"],
    )


# --- for people


def show_files(told: Row) -> None:
    """The table of what is known of all files."""
    rows: list[tuple[str, str]] = []
    census, now = told["census"], told["now"] or 0
    if census is None or (not census["files"] and told["highest_fid"]):
        # The walk of the first start was over before there was a file.
        rows.append(("files", "not counted yet"))
    else:
        ago = span(max(0, now - (census["ended"] or now)))
        size = output.size_text(census["bytes"] or 0)
        newer = ""
        if (told["highest_fid"] or 0) > (census["fid"] or 0):
            newer = "; newer ones are not in it"
        files = f"{census['files']:,} with {size}, counted {ago} ago{newer}"
        rows.append(("files", files))
        whole = f"{census['whole']:,} then, by what is recorded"
        rows.append(("as many copies as wanted", whole))
    for name, key, copies in (
        ("fewer, but several copies", "short_fewer", 2),
        ("one copy, and more wanted", "short_one", 1),
        ("no copy", "short_none", 0),
    ):
        least = "" if is_exact(told, copies) else "at least "
        rows.append((name, f"{least}{told[key] or 0:,} now"))
    if told["looked_at"]:
        every = "" if told["looked_at_all"] else f" of {told['looked_at']:,} looked at"
        rows.append(("unreadable", f"{told['unreadable']:,} now{every}"))
    if told["scrub_lost"]:
        least = "at least " if told["scrub_lost"] >= LOST_PAGE else ""
        lost = f"{least}{told['scrub_lost']}, by the scrub; they are among those above"
        rows.append(("no good copy", lost))
    if told["oldest"] is not None:
        rows.append(("oldest short", _oldest_text(told["oldest"], now)))
    promise = f"{told['promised']} hosts; {told['able_hosts']} take files"
    rows.append(("promised", promise))
    if told["stored"]:
        short = f"{told['stored_short']:,} on fewer hosts than promised"
        since = f"{told['stored']:,} since this tracker started"
        rows.append(("stores answered", f"{since}, {short}"))
    output.write_table(("WHAT", "VALUE"), rows, "  ")


def is_exact(told: Row, copies: int) -> bool:
    """Whether all files with so many copies (2: or more) are counted."""
    if told["short_partial"]:
        return False
    below = told["short_exact_below"]
    return below is None or copies < min(below, 2)


def _oldest_text(oldest: Row, now: int) -> str:
    since = oldest["since"]
    for_long = f", for {span(now - since)} or more" if since else ""
    key = output.printable(f"{oldest['domain']}: {oldest['key']}")
    return (
        f"{key} (fid {oldest['fid']}) has {oldest['copies']} of {oldest['wanted']}"
        f" copies{for_long}"
    )


def show_jobs(rows: Sequence[Row]) -> None:
    """A table of the jobs that have work, or trouble; the others by name."""
    names = (">RUNS", ">DONE", ">FAILED", ">A SECOND", ">WAITING", ">LEFT")
    told = [row for row in rows if _is_told(row)]
    output.write_table(
        ("JOB", *names),
        [
            (
                row["job"],
                row["running"],
                row["done"],
                row["failed"],
                row["rate"],
                row["waiting"],
                None if row["seconds_left"] is None else span(row["seconds_left"]),
            )
            for row in told
        ],
        "  ",
    )
    others = [row["job"] for row in rows if row not in told]
    if others:
        click.echo(f"  well, and nothing to tell: {', '.join(others)}")


def _is_told(row: Row) -> bool:
    """Whether there is more to tell of a job than that it runs: those that look after
    something every second always have done much."""
    if row["job"] in _QUEUES or not row["running"] or row["failed"] or row["error"]:
        return True
    if row["job"] in _LOOKERS:
        return bool(row["seconds_left"])
    return bool(row["rate"] or row["under_way"])


def state_text(row: Row) -> str:
    """An operator's word for a device, and what is left to be done by it."""
    left = row.get("copies_left")
    return str(row["state"]) if left is None else f"{row['state']}, {left:,} left"


def observed_text(
    observed: str | None, absence: str | None, slow: bool = False
) -> str | None:
    """How a device was seen, and whether its copies count, for people."""
    words = {"lost": "lost", "late": "was lost"}
    more = [words[absence]] if absence in words else []
    if slow and not more:
        more = ["slow"]
    return ", ".join([observed or "?", *more]) if more else observed


def found_text(scrub: Row | None) -> str | None:
    """What a device's scrub found, this pass or the last, for people."""
    if scrub is None:
        return None
    names = ("bad", "missing", "mended", "orphans", "lost")
    return ", ".join(f"{scrub[name]} {name}" for name in names if scrub[name]) or None


def scrubbed_text(scrub: Row | None, now: int) -> str | None:
    """When a device was last scrubbed, for people."""
    if scrub is None:
        return None
    if scrub["running"]:
        return f"{scrub['position_percent']:.0f} % now"
    return f"{span(now - scrub['ended'])} ago" if scrub["ended"] else "never"


def span(seconds: int) -> str:
    """A span of time for people."""
    from koboldfs.model.advice import span_text

    return span_text(seconds)
