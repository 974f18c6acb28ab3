"""``koboldfs scrub``: reading every copy again, and what that found."""

from __future__ import annotations

import time
from collections.abc import Mapping

import click

from koboldfs.cli import output
from koboldfs.cli.admin import ask
from koboldfs.cli.context import Context, pass_context, tracker_options

#: Pages of lost files that are shown at the most; a hundred files each.
MOST_PAGES = 10_000


@click.group()
@tracker_options
def scrub() -> None:
    """Read every copy again, and mend what has changed on its disk."""


@scrub.command("start")
@tracker_options
@click.option("--device", type=click.IntRange(1), help="Only this device.")
@pass_context
def scrub_start(context: Context, device: int | None) -> None:
    """Have a pass begin now, on all devices or on one."""
    arguments = {} if device is None else {"devid": device}
    ask(context, "scrub_start", **arguments)
    which = "every device" if device is None else f"dev{device}"
    context.say(
        f"every copy on {which} is read again from now on; `koboldfs scrub status`"
        " shows how far it is"
    )


@scrub.command("status")
@tracker_options
@pass_context
def scrub_status(context: Context) -> None:
    """Show how far each device is, and what was found."""
    fields = ask(context, "scrub_status")
    if context.json:
        return
    heads = ("DEVICE", "BEGAN", "ENDED", "DONE", "FILES", "BYTES", "BAD", "MISSING")
    cells = []
    for row in numbered(fields, "scrub"):
        running = row.get("running") == "1"
        cells.append(
            (
                row.get("devid"),
                when(row.get("began")),
                when(row.get("ended")),
                f"{row.get('position_percent', '')} %" if running else "",
                *(row.get(name) for name in ("files", "bytes", "bad", "missing")),
                *(row.get(name) for name in ("mended", "orphans", "lost")),
            )
        )
    output.write_table((*heads, "MENDED", "ORPHANS", "LOST"), cells)


@scrub.command("lost")
@tracker_options
@pass_context
def scrub_lost(context: Context) -> None:
    """List files of which no good copy was found."""
    rows: list[Mapping[str, str]] = []
    after = 0
    with context.tracker() as tracker:
        for _ in range(MOST_PAGES):
            page = numbered(tracker.ask("scrub_lost", {"after": after}), "lost")
            rows += page
            fids = [int(row["fid"]) for row in page if row.get("fid", "").isdigit()]
            if not fids or max(fids) <= after:
                break
            after = max(fids)
    if context.json:
        for row in rows:
            output.write_json({n: output.word_text(v) for n, v in row.items()})
        return
    cells = [
        (
            row.get("fid"),
            output.word_shown(row.get("domain", "")),
            output.word_shown(row.get("key", "")),
            when(row.get("since")),
        )
        for row in rows
    ]
    output.write_table((">FID", "DOMAIN", "KEY", "SINCE"), cells)


def numbered(fields: Mapping[str, str], word: str) -> list[dict[str, str]]:
    """The rows of a reply: ``<word>_1_devid`` and so on."""
    rows: dict[int, dict[str, str]] = {}
    for name, value in fields.items():
        words = name.split("_", 2)
        if len(words) == 3 and words[0] == word and words[1].isdigit():
            rows.setdefault(int(words[1]), {})[words[2]] = value
    return [rows[number] for number in sorted(rows)]


def when(text: str | None) -> str:
    """A Unix time for people."""
    if not text or not text.isdigit() or not 0 < int(text[:12]) < 2**33:
        return "never"
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(int(text)))
