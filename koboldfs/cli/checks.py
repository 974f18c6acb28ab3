"""``koboldfs fsck`` and ``koboldfs rebalance``, through trackers."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

import click

from koboldfs.cli import output
from koboldfs.cli.admin import ask
from koboldfs.cli.context import WORD, Context, Failed, pass_context, tracker_options

#: What the codes of the log mean.
EVENTS = {
    "NOPA": "no copies were recorded",
    "POVI": "the policy was not met",
    "MISS": "a copy was missing",
    "BLEN": "a copy had the wrong length",
    "GONE": "no good copy was found anywhere",
    "SRCH": "all devices were searched",
    "FOND": "a copy was found by searching",
    "REPL": "queued to be copied again",
    "BCNT": "the number of copies was wrong",
    "BSUM": "a copy had the wrong checksum",
    "NSUM": "a checksum was recorded",
    "MSUM": "there is no checksum, and copies differ",
    "BALG": "the checksum was of another type",
}
_TIMES = ("start_time", "stop_time", "current_time")
#: How often whoever waits for the end asks (seconds).
POLL_SECONDS = 1.0
#: Who waits gives up when a check that runs has not moved for so long (seconds).
STUCK_SECONDS = 600
#: What shows that it moves.
PROGRESS = ("max_fid_checked", "fids_checked", "queued")


@click.group()
@tracker_options
def fsck() -> None:
    """Check every file's copies, and mend what is wrong."""


def scope_options(command: Any) -> Any:
    """The options that limit a check to some files."""
    for option in reversed(
        (
            click.option("--only-domain", type=WORD, help="Only files of this domain."),
            click.option("--only-class", type=WORD, help="Only files of this class."),
            click.option("--prefix", type=WORD, help="Only keys that begin so."),
            click.option(
                "--checksums",
                is_flag=True,
                help="Read every copy, and compare it with KoboldFS's own checksum.",
            ),
        )
    ):
        command = option(command)
    return command


def _scope(
    only_domain: str | None, only_class: str | None, prefix: str | None, checksums: bool
) -> dict[str, str]:
    given = {
        "domain": only_domain,
        "class": only_class,
        "prefix": prefix,
        "own_checksums": "1" if checksums else None,
    }
    return {name: value for name, value in given.items() if value}


@fsck.command("start")
@tracker_options
@scope_options
@click.option("--wait", is_flag=True, help="Wait until it is over (see fsck wait).")
@pass_context
def fsck_start(context: Context, /, wait: bool, **scope: Any) -> None:
    """Start checking, or go on where it was stopped.

    With an option that says which files, the check begins anew with these.
    """
    if not wait:
        ask(context, "fsck_start", **_scope(**scope))
        context.say(
            "the check has begun; `koboldfs fsck status` shows how far it is, `koboldfs"
            " fsck wait` waits for its end"
        )
        return
    with context.tracker() as tracker:
        tracker.ask("fsck_start", _scope(**scope))
    _wait(context)


@fsck.command("wait")
@tracker_options
@pass_context
def fsck_wait(context: Context) -> None:
    """Wait until the check is over, and show what it found.

    Not done (exit status 1) if it was stopped before its end, or has not moved for ten
    minutes. Files whose nodes are away were looked at as far as possible; they are
    looked at again later.
    """
    _wait(context)


def _wait(context: Context) -> None:
    shown = not context.json and sys.stdout.isatty() and sys.stderr.isatty()
    stands, since = None, time.monotonic()
    with context.tracker() as tracker:
        while (fields := tracker.ask("fsck_status")).get("running") == "1":
            if shown:
                click.echo(f"\r{progress_text(fields)}\x1b[K", nl=False, err=True)
            before, stands = stands, [fields.get(name) for name in PROGRESS]
            if stands != before:
                since = time.monotonic()
            elif time.monotonic() - since > STUCK_SECONDS:
                raise Failed(
                    f"nothing was checked for {duration_text(STUCK_SECONDS)}:"
                    f" does the tracker {fields.get('host')} run the job fsck?"
                )
            # Trackers do not call back, and nothing else runs in this process.
            time.sleep(POLL_SECONDS)
    if shown:
        click.echo("\r\x1b[K", nl=False, err=True)
    if context.json:
        output.write_json({n: output.word_text(v) for n, v in fields.items()})
    else:
        _show(fields)
    position, end = (_number(fields, n) for n in ("max_fid_checked", "end_fid"))
    if position < end:
        raise Failed("the check was stopped before its end: start it to go on.")


def progress_text(fields: Mapping[str, str]) -> str:
    """Of a status, what somebody who waits wants to know."""
    parts = [f"{_number(fields, 'fids_checked'):,} files checked"]
    if "fids_per_second" in fields:
        parts.append(f"{output.word_shown(fields['fids_per_second'])} a second")
    if "seconds_left" in fields:
        parts.append(f"{duration_text(_number(fields, 'seconds_left'))} left")
    return ", ".join(parts)


def _number(fields: Mapping[str, str], name: str) -> int:
    text = fields.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0


def duration_text(seconds: int) -> str:
    """A time for people, in its two largest units: ``2 h 5 min``."""
    units = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
    parts: list[str] = []
    for name, size in units:
        count, seconds = divmod(seconds, size)
        if count or (name == "s" and not parts):
            parts.append(f"{count} {name}")
    return " ".join(parts[:2])


@fsck.command("stop")
@tracker_options
@pass_context
def fsck_stop(context: Context) -> None:
    """Stop checking."""
    ask(context, "fsck_stop")


@fsck.command("reset")
@tracker_options
@click.option("--policy-only", is_flag=True, help="Only count copies, ask no node.")
@click.option("--from", "start", type=click.IntRange(0), default=0, help="After FID.")
@scope_options
@pass_context
def fsck_reset(
    context: Context, /, policy_only: bool, start: int, **scope: Any
) -> None:
    """Begin from the first file (or after a fid) at the next start."""
    ask(
        context,
        "fsck_reset",
        policy_only=int(policy_only),
        startpos=start,
        **_scope(**scope),
    )


@fsck.command("status")
@tracker_options
@pass_context
def fsck_status(context: Context) -> None:
    """Show how far it is, how fast, how long it will take, and what it found."""
    fields = ask(context, "fsck_status")
    if not context.json:
        _show(fields)


def _show(fields: Mapping[str, str]) -> None:
    rows = []
    for name in ("running", "host", "max_fid_checked", "end_fid", "policy_only"):
        rows.append((name.replace("_", " "), fields.get(name)))
    for name in ("fids_checked", "queued", "stalled", "fids_per_second"):
        if name in fields:
            rows.append((name.replace("_", " "), fields[name]))
    if "seconds_left" in fields:
        rows.append(("time left", duration_text(_number(fields, "seconds_left"))))
    for name in ("domain", "class", "prefix", "own_checksums"):
        if name in fields:
            rows.append((f"only {name}", output.word_shown(fields[name])))
    rows += [(name.replace("_", " "), _when(fields.get(name))) for name in _TIMES]
    for name in sorted(fields):
        if name.startswith("num_"):
            code = name.removeprefix("num_")
            rows.append((EVENTS.get(code, code), fields[name]))
    output.write_table(("WHAT", "VALUE"), rows)


@fsck.command("log")
@tracker_options
@click.option("--after", type=click.IntRange(0), default=0, help="After log entry N.")
@pass_context
def fsck_log(context: Context, after: int) -> None:
    """Show what was found, file by file."""
    rows: list[Mapping[str, str]] = []
    with context.tracker() as tracker:
        while True:
            fields = tracker.ask("fsck_getlog", {"after_logid": after})
            page = _page(fields)
            rows += page
            ids = [int(row["logid"]) for row in page if row.get("logid", "").isdigit()]
            if not ids or max(ids) <= after:
                break
            after = max(ids)
    if context.json:
        for row in rows:
            output.write_json(dict(row))
        return
    cells = [
        (
            row.get("logid"),
            _when(row.get("utime")),
            row.get("fid"),
            row.get("evcode"),
            row.get("devid"),
            EVENTS.get(row.get("evcode", ""), ""),
        )
        for row in rows
    ]
    output.write_table((">ENTRY", "TIME", ">FID", "CODE", ">DEVICE", "MEANING"), cells)


def _page(fields: Mapping[str, str]) -> list[dict[str, str]]:
    """The rows of one page: ``row_1_logid`` and so on."""
    rows: dict[int, dict[str, str]] = {}
    for name, value in fields.items():
        words = name.split("_", 2)
        if len(words) == 3 and words[0] == "row" and words[1].isdigit():
            rows.setdefault(int(words[1]), {})[words[2]] = value
    return [rows[number] for number in sorted(rows)]


@fsck.command("clearlog")
@tracker_options
@pass_context
def fsck_clearlog(context: Context) -> None:
    """Empty the log."""
    ask(context, "fsck_clearlog")


@click.group()
@tracker_options
def rebalance() -> None:
    """Move copies between devices, as a policy says."""


@rebalance.command("policy")
@tracker_options
@click.argument("policy", type=WORD)
@pass_context
def rebalance_policy(context: Context, policy: str) -> None:
    """Set the policy, as "from_devices=1,2 to_hosts=3"; an empty one gives it up."""
    ask(context, "rebalance_set_policy", policy=policy)


@rebalance.command("test")
@tracker_options
@pass_context
def rebalance_test(context: Context) -> None:
    """Show which devices the policy takes from and gives to."""
    fields = ask(context, "rebalance_test")
    if not context.json:
        click.echo(f"from  {output.word_shown(fields.get('sdevs', '')) or '-'}")
        click.echo(f"to    {output.word_shown(fields.get('ddevs', '')) or '-'}")


@rebalance.command("start")
@tracker_options
@pass_context
def rebalance_start(context: Context) -> None:
    """Start moving, or go on where it was stopped."""
    ask(context, "rebalance_start")


@rebalance.command("stop")
@tracker_options
@pass_context
def rebalance_stop(context: Context) -> None:
    """Stop moving."""
    ask(context, "rebalance_stop")


@rebalance.command("reset")
@tracker_options
@pass_context
def rebalance_reset(context: Context) -> None:
    """Forget how far it was."""
    ask(context, "rebalance_reset")


@rebalance.command("status")
@tracker_options
@pass_context
def rebalance_status(context: Context) -> None:
    """Show how far it is."""
    fields = ask(context, "rebalance_status")
    if context.json:
        return
    rows = []
    for pair in fields.get("state", "").split(" "):
        name, _, value = pair.partition("=")
        if name:
            shown = _when(value) if name.startswith("time_") else value
            rows.append((name.replace("_", " "), shown))
    output.write_table(("WHAT", "VALUE"), sorted(rows))


def _when(text: str | None) -> str | None:
    """A Unix time for people; nothing for 0."""
    if not text or not text.isdigit() or not 0 < int(text[:12]) < 2**33:
        return None
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(int(text)))


COMMANDS = (fsck, rebalance)
