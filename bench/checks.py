"""The rows about fsck: how fast files are checked, and what requests notice of it."""

from __future__ import annotations

import os
import random
import threading
import time
from pathlib import Path

from bench import scripts
from bench.exchange import Measured
from bench.rows import CLIENTS, DRAIN_SECONDS, Bench, milliseconds
from bench.subject import Subject
from bench.table import Row
from test.functional.cluster import DOMAIN, devices, wait_until

#: So many files are checked for each second that a row may take.
FILES_A_SECOND = 6000
NODES = 3
#: The first fid of the files that are made; those before are stored ones.
FIRST_FID = 100_000
STORED_FILES = 200
BODY = b"checked"
#: How often the status is asked for: so seldom that the tracker counts as idle.
POLL_SECONDS = 0.3


def fsck(bench: Bench) -> list[Row]:
    """Files with three copies, checked by their sizes: on an idle cluster, and while
    clients ask for paths."""
    count = int(FILES_A_SECOND * bench.seconds)
    subject = Subject(bench.server, storages=NODES, jobs="fsck,monitor")
    try:
        subject.start()
        with subject.line() as line:
            for number in range(STORED_FILES):
                line.store(DOMAIN, f"stored/{number}", BODY)
        folders = make_files(bench, subject, count)
        stats = _stats_rate(folders, count)
        rate = _checked(subject)
        with_clients, alone, slower = _beside_requests(bench, subject)
    finally:
        subject.stop()
    return [
        Row(
            f"fsck of {count:,} files, idle cluster",
            rate,
            "files/s",
            stats,
            f"os.stat of {NODES} copies a file",
            copies=str(NODES),
        ),
        Row(
            f"get_paths during fsck, {CLIENTS} clients",
            with_clients.rate,
            "requests/s",
            alone.rate,
            f"the same without ({slower:,.0f} files/s were checked beside it)",
            **milliseconds(with_clients),
        ),
    ]


def make_files(bench: Bench, subject: Subject, count: int) -> list[Path]:
    """Files in the tables and on the disks, without a single request."""
    hosts: dict[str, int] = {}
    with subject.line() as line:
        for device in devices(line):
            hosts[device["hostname"]] = int(device["devid"])
    nodes = {node.name: node for node in subject.nodes if node.is_storage}
    folders = [
        nodes[name].folder / "data" / "devices" / f"dev{devid}"
        for name, devid in hosts.items()
    ]
    for folder in folders:
        for fid in range(FIRST_FID, FIRST_FID + count):
            path = folder / relative(fid)
            if fid % 1000 == 0:
                path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(BODY)
    series = f"generate_series({FIRST_FID}, {FIRST_FID + count - 1}) n"
    columns = f"n, 1, 'made/' || n, {len(BODY)}, 0, {NODES}"
    statements = [f"insert into file select {columns} from {series}"]
    for devid in hosts.values():
        statements.append(f"insert into file_on select n, {devid} from {series}")
    statements.append("analyze")
    for statement in statements:
        bench.server.execute(subject.url, statement)
    return folders


def relative(fid: int) -> str:
    """Where a copy lies below its device's folder."""
    digits = f"{fid:010d}"
    return f"{digits[0]}/{digits[1:4]}/{digits[4:7]}/{digits}.fid"


def _stats_rate(folders: list[Path], count: int) -> float:
    paths = [
        str(folder / relative(fid))
        for fid in range(FIRST_FID, FIRST_FID + count)
        for folder in folders
    ]
    began = time.perf_counter()
    for path in paths:
        os.stat(path)
    return count / (time.perf_counter() - began)


def _checked(subject: Subject) -> float:
    """Files a second of a run over the files that were made."""
    with subject.line() as line:
        line.ask("fsck_reset", startpos=FIRST_FID - 1)
        line.ask("fsck_start")
        began = time.perf_counter()

        def over() -> dict[str, str] | None:
            status = line.ask("fsck_status")
            return status if status["running"] == "0" else None

        status = wait_until(over, DRAIN_SECONDS, "the check ends", POLL_SECONDS)
        seconds = time.perf_counter() - began
    assert status is not None
    found = {name: value for name, value in status.items() if name.startswith("num_")}
    if found:
        raise RuntimeError(f"sound files were found wanting: {found}")
    return int(status["fids_checked"]) / seconds


def _beside_requests(
    bench: Bench, subject: Subject
) -> tuple[Measured, Measured, float]:
    keys = [f"stored/{number}" for number in range(STORED_FILES)]

    def ask() -> Measured:
        return bench.load(
            lambda: scripts.get_paths(subject.tracker, keys, random.Random()), CLIENTS
        )

    alone = ask()
    rates: list[float] = []
    checking = threading.Thread(target=lambda: rates.append(_checked(subject)))
    checking.start()
    time.sleep(POLL_SECONDS)
    found = ask()
    checking.join()
    return found, alone, rates[0]
