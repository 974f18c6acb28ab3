"""``koboldfs adopt``: what taking over a database of MogileFS would mean.

Unlike the other commands this one asks no tracker: it reads the database itself, and
changes nothing there.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from koboldfs.cli import output
from koboldfs.cli.context import Context, json_option, pass_context
from koboldfs.cli.status import show_hosts

if TYPE_CHECKING:
    from koboldfs.model.adoption import Amount, Facts, Step

Row = dict[str, Any]

#: Sentences are folded to this width.
COLUMNS = 88

#: Titles of what was found, by level, with a colour.
_TITLES = {
    "blocks": ("What stands in the way", "red"),
    "broken": ("What is broken already", "yellow"),
    "beware": ("What to know before", "cyan"),
    "note": ("By the way", None),
}


@click.command()
@click.option(
    "--database",
    "url",
    metavar="URL",
    required=True,
    help="postgresql://USER:PASSWORD@HOST/NAME, mysql://USER:PASSWORD@HOST/NAME or"
    " sqlite:///PATH, as for the service.",
)
@click.option(
    "--count",
    "exact",
    is_flag=True,
    help="Count files, copies and bytes exactly, which reads all of them.",
)
@json_option
@pass_context
def adopt(context: Context, url: str, exact: bool) -> int:
    """Look at a MogileFS database: can it be taken over, and how?

    Nothing is changed, and no table is read through: large numbers are estimates. Exit
    status: 0 it can be taken over, 1 something stands in the way.
    """
    report = gather(url, exact)
    if context.json:
        output.write_json(report)
    else:
        show(report)
    return 0 if report["can_be_taken_over"] else 1


def gather(url: str, exact: bool) -> Row:
    """The report; its keys are those of ``--json``. Raises `ConfigError` and
    `DatabaseFault`."""
    from koboldfs.model.adoption import steps_back, steps_over
    from koboldfs.model.adoption_rules import BLOCKS, judge
    from koboldfs.store.inspection import Inspection
    from koboldfs.store.open import open_reader, shown_url

    reader = open_reader(url)
    try:
        facts = Inspection(reader, exact).facts()
    finally:
        reader.close()
    findings = judge(facts)
    return {
        "can_be_taken_over": all(one.level != BLOCKS for one in findings),
        "engine": facts.engine,
        "made_by": "MogileFS" if facts.made_by_mogilefs else "KoboldFS",
        "schema_version": facts.schema_version,
        **_contents(facts),
        "findings": [
            {
                "level": one.level,
                "code": one.code,
                "text": output.word_text(one.text),
                "advice": one.advice,
            }
            for one in findings
        ],
        "steps_over": _steps(steps_over(facts, shown_url(url))),
        "steps_back": _steps(steps_back()),
    }


def _contents(facts: Facts) -> Row:
    return {
        "hosts": _hosts(facts),
        "devices": _devices(facts),
        "classes": _classes(facts),
        "files": _amount(facts.files),
        "copies": _amount(facts.copies),
        "bytes": _amount(facts.size_bytes),
        "uploads": _amount(facts.uploads),
        "sampled_files": len(facts.sample),
        "highest_fid": facts.highest_fid,
        "queues": [
            {
                "queue": one.name,
                "rows": _amount(one.rows),
                "overdue": one.overdue,
                "failing": one.failing,
                "given_up": _amount(one.given_up),
            }
            for one in facts.queues
        ],
    }


def _amount(amount: Amount | None) -> Row | None:
    if amount is None:
        return None
    return {"number": amount.number, "kind": amount.kind}


def _steps(steps: Iterable[Step]) -> list[Row]:
    return [{"words": one.words, "command": one.command} for one in steps]


def _hosts(facts: Facts) -> list[Row]:
    return [
        {
            "host": output.word_text(one.name),
            "state": one.status,
            "ip": one.ip,
            "http_port": one.http_port,
            "get_port": one.get_port,
            "alt_ip": one.altip,
            "alt_mask": one.altmask,
        }
        for one in facts.topology.hosts
    ]


def _devices(facts: Facts) -> list[Row]:
    names = {one.hostid: output.word_text(one.name) for one in facts.topology.hosts}
    rows = []
    for one in facts.topology.devices:
        total, used = one.mb_total, one.mb_used
        full = 100 * used / total if total and used is not None else None
        rows.append(
            {
                "devid": one.devid,
                "host": names.get(one.hostid),
                "state": one.status,
                "weight": one.weight,
                "mb_total": total,
                "mb_used": used,
                "full_percent": None if full is None else round(full, 1),
            }
        )
    return rows


def _classes(facts: Facts) -> list[Row]:
    from koboldfs.model.adoption_classes import readings
    from koboldfs.model.entities import HASH_NAMES

    names = {one.dmid: output.word_text(one.name) for one in facts.topology.domains}
    return [
        {
            "domain": names[one.dmid],
            "class": output.word_text(one.name),
            "copies": one.mindevcount,
            "policy": one.text,
            "treated_as": str(one.policy),
            "understood": one.understood,
            "wanted": one.wanted,
            "possible": one.possible,
            "hash": HASH_NAMES.get(one.hashtype or 0, str(one.hashtype or "NONE")),
        }
        for one in readings(facts)
    ]


def show(report: Row) -> None:
    """The report for people."""
    click.echo(
        f"{report['engine']}, made by {report['made_by']},"
        f" schema version {output.printable(report['schema_version'])}"
    )
    if report["hosts"]:
        _title("Hosts")
        show_hosts(report["hosts"], "  ")
    if report["devices"]:
        _title("Devices")
        _show_devices(report["devices"])
    if report["classes"]:
        _title("Classes")
        _show_classes(report["classes"])
    if report["files"]:
        _title("Files")
        _show_amounts(report)
    for level, (title, colour) in _TITLES.items():
        found = [one for one in report["findings"] if one["level"] == level]
        if found:
            _title(title, colour)
        for one in found:
            _echo("* ", output.printable(one["text"]))
            if one["advice"]:
                _echo("  -> ", one["advice"])
    if not report["can_be_taken_over"]:
        click.secho("\nIt cannot be taken over as it is.", fg="red", bold=True)
        return
    if report["made_by"] == "MogileFS":
        _show_steps("Going over", report["steps_over"])
        _show_steps("Going back", report["steps_back"])
        click.secho("\nIt can be taken over.", fg="green", bold=True)


def _title(text: str, colour: str | None = None) -> None:
    click.secho(f"\n{text}", bold=True, fg=colour)


def _echo(mark: str, text: str) -> None:
    lines = textwrap.wrap(
        f"{mark}{text}",
        COLUMNS,
        initial_indent="  ",
        subsequent_indent="  " + " " * len(mark),
        break_long_words=False,
        break_on_hyphens=False,
    )
    click.echo("\n".join(lines))


def _show_devices(rows: list[Row]) -> None:
    def size(megabytes: int | None) -> str | None:
        return None if megabytes is None else output.size_text(megabytes * 2**20)

    def percent(share: float | None) -> str | None:
        return None if share is None else f"{share:.0f} %"

    output.write_table(
        ("DEVICE", "HOST", "STATE", ">SIZE", ">FULL", ">WEIGHT"),
        [
            (
                f"dev{row['devid']}",
                row["host"],
                row["state"],
                size(row["mb_total"]),
                percent(row["full_percent"]),
                row["weight"],
            )
            for row in rows
        ],
        "  ",
    )


def _show_classes(rows: list[Row]) -> None:
    output.write_table(
        ("DOMAIN", "CLASS", "POLICY", "TREATED AS", ">WANTS", ">CAN HAVE", "HASH"),
        [
            (
                row["domain"],
                row["class"],
                row["policy"],
                row["treated_as"],
                row["wanted"],
                row["possible"],
                row["hash"],
            )
            for row in rows
        ],
        "  ",
    )


def _show_amounts(report: Row) -> None:
    from koboldfs.model.adoption import Amount

    def shown(row: Row | None) -> str | None:
        return None if row is None else str(Amount(**row))

    rows: list[tuple[str, str | None]] = [
        (name, shown(report[name])) for name in ("files", "copies", "uploads")
    ]
    size = report["bytes"]
    if size:
        text = output.size_text(size["number"])
        rows.insert(1, ("bytes", f"{shown(size)} ({text})"))
    rows += [(one["queue"], shown(one["rows"])) for one in report["queues"]]
    rows.append(("files looked at", f"{report['sampled_files']:,}"))
    output.write_table(("WHAT", ">NUMBER"), rows, "  ")


def _show_steps(title: str, steps: list[Row]) -> None:
    _title(title)
    for step in steps:
        if step["words"]:
            _echo("* ", step["words"])
        if step["command"]:
            click.echo(f"      {output.printable(step['command'])}")
