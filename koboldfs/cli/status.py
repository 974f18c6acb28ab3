"""``koboldfs status``: what the trackers know of the cluster, on one screen."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from koboldfs.cli import output, safety
from koboldfs.cli.context import Context, Failed, pass_context, tracker_options

if TYPE_CHECKING:
    from koboldfs.tracker_client import TrackerClient

#: How long one tracker may take to say that it is there (seconds), unless asked for.
STATUS_SECONDS = 5.0

#: Counters are told in lines of so many characters.
COUNTERS_WIDTH = 84

Row = dict[str, Any]


@click.command()
@tracker_options
@pass_context
def status(context: Context) -> None:
    """Show whether files are safe, what is at work, and what to do.

    Then come trackers, hosts, devices, domains and counters. Every tracker is asked
    whether it is there; the first that answers tells the rest.
    """
    if context.timeout_seconds is None:
        context.timeout_seconds = STATUS_SECONDS
    picture = gather(context)
    if context.json:
        output.write_json(picture)
    else:
        show(picture)
    if not any(tracker["reachable"] for tracker in picture["trackers"]):
        reasons = "; ".join(t["error"] for t in picture["trackers"])
        raise Failed(f"no tracker answers: {reasons}")


def gather(context: Context) -> dict[str, Any]:
    """All that there is to show; its keys are those of ``--json``."""
    from koboldfs.errors import KoboldError

    trackers: list[Row] = []
    picture: dict[str, Any] = {}
    healths: list[dict[str, str]] = []
    for address in context.trackers:
        row: Row = {"address": address, "reachable": False}
        trackers.append(row)
        with context.tracker((address,)) as tracker:
            try:
                row["version"] = " ".join(tracker.lines("version"))
                counters = _counters(tracker.lines("stats"))
                row["reachable"] = True
                row["uptime_seconds"] = counters.get("uptime")
                began = time.time()
                health = safety.asked(tracker, "cluster_health")
                ended = time.time()
                if not picture or (health is not None and not healths):
                    # The first that answers; better, the first that tells.
                    picture = told(tracker, counters, health, (began, ended))
                if health is not None:
                    healths.append(health)
            except KoboldError as error:
                text = error.message.removeprefix("no tracker answers: ")
                row["error"] = output.printable(text)
    empty: dict[str, Any] = {"hosts": [], "devices": [], "domains": [], "counters": {}}
    found = {"trackers": trackers, "safety": None, **(picture or empty)}
    found["jobs"] = safety.jobs(healths)
    found["advice"] = safety.advised(found)
    return found


def told(
    tracker: TrackerClient,
    counters: dict[str, Any],
    health: dict[str, str] | None,
    span: tuple[float, float],
) -> dict[str, Any]:
    """What a tracker knows of the cluster, and of how safe it is (None: it does not
    tell), which it said within that span of time (Unix seconds). Raises `Refused`,
    `TrackersAway`."""
    picture = cluster(tracker, counters)
    scrubs = None if health is None else safety.asked(tracker, "scrub_status")
    safety.add_to_devices(picture["devices"], health, scrubs)
    picture["safety"] = None if health is None else safety.safety(health, *span)
    return picture


def cluster(tracker: TrackerClient, counters: dict[str, Any]) -> dict[str, Any]:
    """What a tracker knows of the cluster. Raises `Refused`, `TrackersAway`."""
    found_hosts = hosts(tracker)
    return {
        "hosts": found_hosts,
        "devices": devices(tracker, found_hosts),
        "domains": domains(tracker),
        "counters": counters,
    }


def hosts(tracker: TrackerClient) -> list[Row]:
    """The hosts, by number."""
    from koboldfs.tracker_client import numbered

    rows = numbered(tracker.ask("get_hosts"), "host", "hosts")
    found = [
        {
            "hostid": _number(row.get("hostid")),
            "host": output.word_text(row.get("hostname", "")),
            "state": row.get("status", ""),
            "ip": row.get("hostip", ""),
            "http_port": _number(row.get("http_port")),
            "get_port": _number(row.get("http_get_port")),
            "alt_ip": row.get("altip") or None,
            "alt_mask": row.get("altmask") or None,
        }
        for row in rows
    ]
    return sorted(found, key=lambda row: row["hostid"] or 0)


def devices(tracker: TrackerClient, known: Sequence[Row]) -> list[Row]:
    """The devices, by number, with the names of their hosts."""
    from koboldfs.tracker_client import numbered

    names = {row["hostid"]: row["host"] for row in known}
    rows = numbered(tracker.ask("get_devices"), "dev", "devices")
    found = []
    for row in rows:
        hostid = _number(row.get("hostid"))
        total, used = _number(row.get("mb_total")), _number(row.get("mb_used"))
        full = 100 * used / total if total and used is not None else None
        found.append(
            {
                "devid": _number(row.get("devid")),
                "host": names.get(hostid, str(hostid)),
                "state": row.get("status", ""),
                "observed": row.get("observed_state") or None,
                "weight": _number(row.get("weight")),
                "mb_total": total,
                "mb_used": used,
                "full_percent": None if full is None else round(full, 1),
                "utilization_percent": _share(row.get("utilization")),
            }
        )
    return sorted(found, key=lambda row: row["devid"] or 0)


def domains(tracker: TrackerClient) -> list[Row]:
    """The domains with their classes, in the tracker's order."""
    fields = tracker.ask("get_domains")
    found = []
    for i in range(1, (_number(fields.get("domains")) or 0) + 1):
        if f"domain{i}" not in fields:
            break
        classes = []
        for j in range(1, (_number(fields.get(f"domain{i}classes")) or 0) + 1):
            head = f"domain{i}class{j}"
            if f"{head}name" not in fields:
                break
            classes.append(
                {
                    "class": output.word_text(fields[f"{head}name"]),
                    "copies": _number(fields.get(f"{head}mindevcount")),
                    "policy": output.word_text(fields.get(f"{head}replpolicy", "")),
                    "hash": fields.get(f"{head}hashtype", "NONE"),
                }
            )
        found.append(
            {"domain": output.word_text(fields[f"domain{i}"]), "classes": classes}
        )
    return found


def show(picture: Mapping[str, Any]) -> None:
    """The picture for people."""
    if picture["safety"] is not None:
        _title("To do")
        for line in picture["advice"] or ["nothing to do"]:
            click.echo(f"  {line}")
        _title("Files")
        safety.show_files(picture["safety"])
    elif picture["hosts"]:
        _title("Files")
        click.echo(f"  {safety.SILENT}")
    if picture["jobs"]:
        _title("Jobs")
        safety.show_jobs(picture["jobs"])
    _title("Trackers")
    output.write_table(
        ("ADDRESS", "ANSWERS", "VERSION", ">UP"),
        [
            (
                row["address"],
                "yes" if row["reachable"] else "no",
                row.get("version"),
                _duration(row.get("uptime_seconds")),
            )
            for row in picture["trackers"]
        ],
        "  ",
    )
    if picture["hosts"]:
        _title("Hosts")
        show_hosts(picture["hosts"], "  ")
    if picture["devices"]:
        _title("Devices")
        told = picture["safety"]
        show_devices(picture["devices"], "  ", told["now"] if told else None)
    if picture["domains"]:
        _title("Domains")
        show_classes(picture["domains"], "  ")
    counters = {n: v for n, v in picture["counters"].items() if n != "uptime"}
    if counters:
        _title("Counters")
        told = (f"{name} {value}" for name, value in sorted(counters.items()))
        for line in textwrap.wrap("; ".join(told), COUNTERS_WIDTH):
            click.echo(f"  {line}")


def show_hosts(rows: Sequence[Row], indent: str = "") -> None:
    """A table of hosts."""
    output.write_table(
        ("HOST", "STATE", "IP", ">HTTP", ">GET", "ALT IP", "ALT MASK"),
        [
            (
                row["host"],
                row["state"],
                row["ip"],
                row["http_port"],
                row["get_port"],
                row["alt_ip"],
                row["alt_mask"],
            )
            for row in rows
        ],
        indent,
    )


def show_devices(rows: Sequence[Row], indent: str = "", now: int | None = None) -> None:
    """A table of devices; with when they were scrubbed, where `now` and that are
    known."""
    columns = ("DEVICE", "HOST", "STATE", "OBSERVED", ">SIZE", ">FULL", ">BUSY")
    scrubbed = now is not None and any(row.get("scrub") for row in rows)
    last = (">WEIGHT", "SCRUBBED", "FOUND") if scrubbed else (">WEIGHT",)
    output.write_table(
        (*columns, *last),
        [
            (
                f"dev{row['devid']}",
                row["host"],
                safety.state_text(row),
                safety.observed_text(
                    row["observed"], row.get("absence"), bool(row.get("slow_seconds"))
                ),
                None
                if row["mb_total"] is None
                else output.size_text(row["mb_total"] * 2**20),
                _percent(row["full_percent"]),
                _percent(row["utilization_percent"]),
                row["weight"],
                *(_scrub_texts(row, now or 0) if scrubbed else ()),
            )
            for row in rows
        ],
        indent,
    )


def _scrub_texts(row: Row, now: int) -> tuple[str | None, str | None]:
    scrub = row["scrub"]
    return safety.scrubbed_text(scrub, now), safety.found_text(scrub)


def show_classes(rows: Sequence[Row], indent: str = "") -> None:
    """A table of domains and their classes."""
    output.write_table(
        ("DOMAIN", "CLASS", ">COPIES", "POLICY", "HASH"),
        [
            (row["domain"], one["class"], _wanted(one), one["policy"], one["hash"])
            for row in rows
            for one in row["classes"]
        ],
        indent,
    )


def _wanted(storage_class: Row) -> object:
    """The least number of copies; one on every host is more than a number."""
    everywhere = str(storage_class["policy"]).startswith("AllHosts(")
    return "a host" if everywhere else storage_class["copies"]


def _title(text: str) -> None:
    click.secho(text, bold=True)


def _counters(lines: Sequence[str]) -> dict[str, Any]:
    """``name value`` lines; numbers as numbers."""
    found: dict[str, Any] = {}
    for line in lines:
        name, _, value = line.partition(" ")
        number = _number(value)
        found[output.printable(name)] = value if number is None else number
    return found


def _number(text: str | None) -> int | None:
    if text and text.isascii() and text.isdigit() and len(text) < 20:
        return int(text)
    return None


def _share(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return round(value, 1) if 0 <= value <= 100 else None


def _percent(value: float | None) -> str | None:
    return None if value is None else f"{value:.0f} %"


def _duration(seconds: Any) -> str | None:
    if not isinstance(seconds, int):
        return None
    from koboldfs.model.advice import span_text

    return span_text(seconds)
