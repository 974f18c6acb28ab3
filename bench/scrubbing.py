"""The row about the scrub: how fast an idle cluster reads all its copies again."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

from bench.checks import BODY, FIRST_FID, NODES, make_files, relative
from bench.rows import DRAIN_SECONDS, Bench
from bench.subject import Subject
from bench.table import Row
from test.functional.cluster import wait_until

#: So many files are read for each second that a row may take, with three copies each: a
#: good hundred thousand copies in all.
FILES_A_SECOND = 7000
#: How often the status is asked for: so seldom that the tracker counts as idle.
POLL_SECONDS = 0.5


def scrub(bench: Bench) -> list[Row]:
    """A pass over all devices, each of which has a copy of every file."""
    count = int(FILES_A_SECOND * bench.seconds)
    subject = Subject(bench.server, storages=NODES, jobs="scrub,monitor")
    try:
        subject.start()
        folders = make_files(bench, subject, count)
        digest = hashlib.sha256(BODY).hexdigest()
        bench.server.execute(
            subject.url,
            "insert into kobold_checksum"
            f" select fid, 4, decode('{digest}', 'hex') from file",
        )
        bench.server.execute(subject.url, "analyze")
        limit = _digest_rate(folders[0], count)
        seconds = _scrubbed(subject, count)
    finally:
        subject.stop()
    copies = count * NODES
    return [
        Row(
            f"scrub of {count:,} files, {copies:,} copies, idle: {seconds:.0f} s",
            copies / seconds,
            "copies/s",
            limit,
            "open, read, SHA-256 in one Python process",
            copies=str(NODES),
        )
    ]


def _digest_rate(folder: Path, count: int) -> float:
    paths = [folder / relative(fid) for fid in range(FIRST_FID, FIRST_FID + count)]
    began = time.perf_counter()
    for path in paths:
        with path.open("rb") as file:
            hashlib.sha256(file.read()).digest()
    return count / (time.perf_counter() - began)


def _scrubbed(subject: Subject, count: int) -> float:
    """How long a pass over all devices takes (seconds); nothing may be found."""
    with subject.line() as line:
        line.ask("scrub_start")
        began = time.perf_counter()

        def over() -> dict[str, str] | None:
            status = line.ask("scrub_status")
            numbers = range(1, int(status["count"]) + 1)
            ended = [status[f"scrub_{number}_ended"] != "0" for number in numbers]
            return status if len(ended) == NODES and all(ended) else None

        status = wait_until(over, DRAIN_SECONDS, "the pass ends", POLL_SECONDS)
        seconds = time.perf_counter() - began
    assert status is not None
    for number in range(1, NODES + 1):
        found = {
            name: status[f"scrub_{number}_{name}"]
            for name in ("files", "bad", "missing", "orphans", "lost")
        }
        wanted = {"files": str(count), **dict.fromkeys(list(found)[1:], "0")}
        if found != wanted:
            raise RuntimeError(f"sound files were found wanting: {found}")
    return seconds
