"""``koboldfs why``: everything about one file, as ``file_health`` tells it."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

import click

from koboldfs.cli import output
from koboldfs.cli.context import (
    KEY,
    Context,
    Failed,
    domain_option,
    pass_context,
    tracker_options,
)
from koboldfs.cli.safety import SILENT, Row, number, observed_text, rows_of, span


@click.command()
@tracker_options
@domain_option
@click.option("--no-read", is_flag=True, help="Do not read the copies; only look.")
@click.argument("key", type=KEY)
@pass_context
def why(context: Context, key: bytes, no_read: bool) -> None:
    """Tell everything about one file.

    Where it is, what each copy's checksum is now (they are read for that, up to 20
    seconds each), and what waits for it. Exit status 1 if no copy is good.
    """
    from koboldfs.tracker_client import Refused

    arguments = {
        "domain": os.fsencode(context.domain_needed()).decode("latin-1"),
        "key": key.decode("latin-1"),
        "noread": "1" if no_read else None,
    }
    with context.tracker() as tracker:
        try:
            fields = tracker.ask("file_health", arguments)
        except Refused as refusal:
            if refusal.word == "unknown_command":
                raise Failed(SILENT) from refusal
            raise
    found = file_of(fields)
    if context.json:
        output.write_json(found)
    else:
        show_file(found)
    verdicts = {copy["verdict"] for copy in found["copies"]}
    if not verdicts & {"good", "unknown", "unread"}:
        raise Failed("no copy of it is good now")


def file_of(fields: Mapping[str, str]) -> Row:
    """What a reply to ``file_health`` says, for ``--json``."""
    texts = ("domain", "class", "key", "checksum", "class_checksum", "policy")
    found: Row = {name: output.word_text(fields.get(name, "")) for name in texts}
    numbers = ("fid", "length", "wanted", "counting", "lost_since", "now")
    found |= {name: number(fields, name) for name in numbers}
    found["copies"] = [
        {
            "devid": number(row, "devid"),
            "host": output.word_text(row.get("host", "")),
            "state": row.get("state") or None,
            "observed": row.get("observed") or None,
            "absence": row.get("absence") or None,
            "verdict": row.get("verdict") or "unread",
            "size": number(row, "size"),
            "checksum": row.get("checksum") or None,
            "path": row.get("path") or None,
        }
        for row in rows_of(fields, "copy", "copies")
    ]
    found["waits"] = {
        name.removeprefix("wait_").removesuffix("_nexttry"): {
            "nexttry": number(fields, name),
            "failcount": number(fields, name.removesuffix("nexttry") + "failcount"),
        }
        for name in fields
        if name.startswith("wait_") and name.endswith("_nexttry")
    }
    return found


def _lost_text(since: int) -> str:
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(min(since, 2**33)))
    return (
        f"found no good copy on {when}; bad ones are kept in"
        " .koboldfs/quarantine of their devices"
    )


_WAITS = {
    "replqueue": "to be copied",
    "delqueue": "to be deleted",
    "fsckqueue": "to be checked",
    "rebqueue": "to be moved",
    "tempfile": "an upload is open",
}


def show_file(found: Row) -> None:
    """A file for people."""
    rows = [
        ("key", output.printable(found["key"])),
        ("fid", found["fid"]),
        ("size", f"{found['length']} bytes"),
        ("class", output.printable(f"{found['class']}, {found['policy']}")),
        ("checksum", found["checksum"] or "none is recorded"),
    ]
    if found["class_checksum"]:
        rows.append(("of its class", found["class_checksum"]))
    good = sum(copy["verdict"] == "good" for copy in found["copies"])
    recorded, counting = len(found["copies"]), found["counting"]
    counts = "" if counting in (None, recorded) else f", {counting} of them count"
    wanted = f"{recorded} recorded{counts}, {found['wanted']} wanted"
    rows.append(("copies", f"{wanted}, {good} read and good"))
    if found["lost_since"]:
        rows.append(("scrub", _lost_text(found["lost_since"])))
    for name, row in found["waits"].items():
        due = (row["nexttry"] or 0) - (found["now"] or 0)
        when = "due now" if due <= 0 else f"due in {span(due)}"
        if row["nexttry"] and row["nexttry"] >= 2**31 - 1:
            when = "given up: `replicate_now` tries again"
        tried = f", failed {row['failcount']} times" if row["failcount"] else ""
        rows.append((_WAITS.get(name, output.printable(name)), f"{when}{tried}"))
    if not found["waits"]:
        rows.append(("waiting", "nothing"))
    for name, value in rows:
        click.echo(f"{name:<14}{value}")
    output.write_table(
        ("DEVICE", "HOST", "STATE", "OBSERVED", "NOW", ">SIZE", "CHECKSUM NOW"),
        [
            (
                f"dev{copy['devid']}",
                copy["host"],
                copy["state"],
                observed_text(copy["observed"], copy["absence"]),
                copy["verdict"],
                copy["size"],
                copy["checksum"],
            )
            for copy in found["copies"]
        ],
    )


COMMANDS = (why,)
