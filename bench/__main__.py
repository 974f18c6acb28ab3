"""``python -m bench [--quick] [ROW ...]``: measure, and print the table."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

from bench import (
    checks,
    footprint,
    growth,
    processes,
    reaping,
    replicating,
    rows,
    scrubbing,
)
from bench.rows import Bench
from bench.subject import Subject
from bench.table import Row, environment, table
from test.functional.postgresql import PostgreSQL

#: How long one figure is measured; three times as long changes it by a few per cent.
SECONDS, QUICK_SECONDS = 5.0, 1.0
#: Files that the reading rows read.
STORED_FILES, QUICK_STORED_FILES = 5000, 1200

#: With more keys the database gets more memory.
LARGE_SCALE = 1_000_000

Measuring = Callable[[Bench], "Row | list[Row]"]

MEASUREMENTS: dict[str, Measuring] = {
    "generator": rows.generator,
    "noop": rows.noop,
    "put": rows.put,
    "get_paths": rows.get_paths,
    "pipelined": rows.pipelined,
    "get": rows.get_files,
    "list_keys": rows.list_keys,
    "delete": rows.delete,
    "replication": replicating.replication,
    "fsck": checks.fsck,
    "scrub": scrubbing.scrub,
    "reap": reaping.reap,
    "lose": reaping.lose,
    "node_get": rows.node_get,
    "node_put": rows.node_puts,
    "large": rows.large,
    "native": rows.native,
    "growth": growth.growth,
    "processes": processes.processes,
    "memory": rows.memory,
    "idle": footprint.idle_memory,
    "start": footprint.starts,
    "connections": footprint.connections,
}


def main(arguments: list[str]) -> int:
    """Measure what was asked for; returns 1 if a row could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument("--quick", action="store_true", help="a fifth of the time")
    parser.add_argument(
        "--scale", type=int, default=0, metavar="KEYS", help="keys for the row growth"
    )
    parser.add_argument("rows", nargs="*", metavar="ROW", help=", ".join(MEASUREMENTS))
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.rows) - set(MEASUREMENTS))
    if unknown:
        parser.error(f"there is no row {unknown[0]}: choose from {list(MEASUREMENTS)}")
    if options.scale and not growth.MIN_SCALE <= options.scale <= growth.MAX_SCALE:
        parser.error(f"--scale: {growth.MIN_SCALE:,} to {growth.MAX_SCALE:,}")
    chosen = [name for name in MEASUREMENTS if name in (options.rows or MEASUREMENTS)]
    if "generator" not in chosen:
        chosen.insert(0, "generator")
    scratch = Path(tempfile.mkdtemp(prefix="koboldfs-bench-scratch-"))
    # Random keys are put into an index that does not fit into less.
    buffers = "2GB" if options.scale > LARGE_SCALE else "512MB"
    server = PostgreSQL(fsync=True, shared_buffers=buffers, max_wal_size="4GB")
    server.start()
    subject = Subject(server)
    measured: list[Row] = []
    faults = 0
    try:
        subject.start()
        bench = Bench(
            QUICK_SECONDS if options.quick else SECONDS,
            *(server, subject, scratch, options.scale),
        )
        count = QUICK_STORED_FILES if options.quick else STORED_FILES
        bench.stored = rows.store(bench, subject, "kept/", count)
        for name in chosen:
            print(f"measuring {name} ...", file=sys.stderr, flush=True)
            try:
                found = MEASUREMENTS[name](bench)
            except Exception:
                traceback.print_exc()
                faults += 1
                continue
            measured += found if isinstance(found, list) else [found]
    finally:
        subject.stop()
        server.stop()
        shutil.rmtree(scratch, ignore_errors=True)
    version = "PostgreSQL 18 with fsync on, one tracker, one storage node, loopback"
    print(f"{environment()}; {version}\n")
    print(table(measured))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
