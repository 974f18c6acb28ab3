"""Rows about replication: of many small files, of a large one, and beside requests."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from bench import limits, scripts
from bench.exchange import Measured, Script, measure
from bench.rows import (
    CLIENTS,
    DRAIN_SECONDS,
    PROCESSES,
    Bench,
    milliseconds,
    spread,
    store,
)
from bench.subject import Subject
from bench.table import Row
from test.functional.cluster import wait_until

#: The large file (bytes), and when it must go quickly.
LARGE_BYTES, QUICK_LARGE_BYTES = 2**30, 2**28
#: Small files a second that wait while requests are measured: more than are copied.
WAITING_A_SECOND = 1500


@contextmanager
def waiting_files(bench: Bench) -> Iterator[Subject]:
    """Two storage nodes, and a tracker that does not replicate yet."""
    subject = Subject(bench.server, storages=2, jobs="monitor")
    try:
        yield subject.start()
    finally:
        subject.stop()


def waiting(bench: Bench, subject: Subject) -> int:
    """How many files wait for replication."""
    sql = "select count(*) from file_to_replicate"
    return int(str(bench.server.execute(subject.url, sql)[0][0]))


def replication(bench: Bench) -> list[Row]:
    """Files that wait for their second copy, until none does."""
    return [_small(bench), _large(bench), _beside(bench)]


def _small(bench: Bench) -> Row:
    count = max(200, int(500 * bench.seconds))
    with waiting_files(bench) as subject:
        store(bench, subject, "copied/", count)
        if waiting(bench, subject) < count:
            raise RuntimeError("something replicated before it should")
        seconds, done = _drained(bench, subject, count)
    return Row(
        f"replication of {count:,} waiting files",
        done / seconds,
        "files/s",
        bench.durable_files(),
        f"write + fsync, {CLIENTS} threads",
        fsync="yes",
        copies="1 to 2",
    )


def _drained(bench: Bench, subject: Subject, count: int) -> tuple[float, int]:
    """How long the files took that were left when the first ones had their copy."""
    subject.add_tracker("replicate,monitor").start()
    wait_until(
        lambda: waiting(bench, subject) < count, DRAIN_SECONDS, "the first copy", 0.01
    )
    began, left = time.perf_counter(), waiting(bench, subject)
    wait_until(
        lambda: waiting(bench, subject) == 0, DRAIN_SECONDS, "the last copy", 0.02
    )
    return time.perf_counter() - began, left


def _large(bench: Bench) -> Row:
    size = QUICK_LARGE_BYTES if bench.seconds < 2 else LARGE_BYTES
    in_work = "select count(*) from file_to_replicate where flags = 1"
    with waiting_files(bench) as subject:
        with subject.line() as line:
            line.store(scripts.DOMAIN, b"large", bytes(size))
        subject.add_tracker("replicate,monitor").start()

        def begun() -> bool:
            return bool(int(str(bench.server.execute(subject.url, in_work)[0][0])))

        wait_until(begun, DRAIN_SECONDS, "the copy's beginning", 0.01)
        began = time.perf_counter()
        wait_until(lambda: waiting(bench, subject) == 0, DRAIN_SECONDS, "its end", 0.01)
        seconds = time.perf_counter() - began
    return Row(
        f"replication of one file of {size // 2**20:,} MiB",
        size / 1e6 / seconds,
        "MB/s",
        limits.write_rate(bench.scratch, size, 1),
        "write + one fsync of as much",
        fsync="yes",
        copies="1 to 2",
    )


def _beside(bench: Bench) -> Row:
    count = int(WAITING_A_SECOND * (bench.seconds + 1))
    with waiting_files(bench) as subject:
        keys = store(bench, subject, "beside/", count)

        def script(mine: Sequence[str]) -> Script:
            return scripts.get_paths(subject.tracker, mine, random.Random())

        def load() -> Measured:
            return measure(spread(script, keys), PROCESSES, bench.seconds)

        alone = load()
        with subject.line() as line:
            line.line(b"!want 1 replicate")
        found = load()
        if not waiting(bench, subject):
            raise RuntimeError("the replication ended before the requests")
    return Row(
        f"get_paths while {count:,} files replicate",
        found.rate,
        "requests/s",
        alone.rate,
        f"the same without replication, {CLIENTS} clients",
        **milliseconds(found),
    )
