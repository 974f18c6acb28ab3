"""The row about a device that died: how fast its files are queued to be copied anew,
and what requests notice of it."""

from __future__ import annotations

import random
import threading
import time

from bench import scripts
from bench.exchange import Measured
from bench.rows import CLIENTS, Bench, milliseconds
from bench.subject import Subject
from bench.table import Row
from test.functional.cluster import DOMAIN, devices, wait_until

#: Files on the device that dies, for each second that a row may take; 100,000 at most.
FILES_A_SECOND = 20_000
MAX_FILES = 100_000
FIRST_FID = 100_000
DEAD_DEVICE = 900
STORED_FILES = 200
#: A newly dead device is left alone for 16 s; then its files take their time.
REAPED_SECONDS = 150.0
POLL_SECONDS = 0.2


def reap(bench: Bench) -> list[Row]:
    """A device dies that has one of two copies of every file."""
    count = min(MAX_FILES, int(FILES_A_SECOND * bench.seconds))
    subject = Subject(bench.server, storages=1, jobs="reap,monitor")
    try:
        subject.start()
        with subject.line() as line:
            for number in range(STORED_FILES):
                line.store(DOMAIN, f"stored/{number}", b"stored")
            (device,) = devices(line)
            host = device["hostname"]
            line.ask("create_device", devid=DEAD_DEVICE, hostname=host, state="down")
        limit = _fill(bench, subject, int(device["devid"]), count)
        alone = _ask(bench, subject)
        with subject.line() as line:
            line.ask("set_state", host=host, device=DEAD_DEVICE, state="dead")
        began = _begun(bench, subject, count)
        during: list[Measured] = []
        clients = threading.Thread(target=lambda: during.append(_ask(bench, subject)))
        clients.start()
        _wait_left(bench, subject, 0)
        seconds = time.perf_counter() - began
        clients.join()
    finally:
        subject.stop()
    what = f"dead device of {count:,} files queued"
    says = "one statement for all of them"
    return [
        Row(what, count / seconds, "files/s", limit, says, fsync="yes"),
        Row(
            f"get_paths meanwhile, {CLIENTS} clients",
            during[0].rate,
            "requests/s",
            alone.rate,
            "the same without",
            **milliseconds(during[0]),
        ),
    ]


def _fill(bench: Bench, subject: Subject, devid: int, count: int) -> float:
    """The rows of the files; returns files a second of queueing them at once."""
    series = f"generate_series({FIRST_FID}, {FIRST_FID + count - 1}) n"
    add = "insert into file_to_replicate (fid, nexttry) select n, 0 from"
    for statement in (
        f"insert into file select n, 1, 'made/' || n, 6, 0, 2 from {series}",
        f"insert into file_on select n, {devid} from {series}",
        f"insert into file_on select n, {DEAD_DEVICE} from {series}",
        "analyze",
    ):
        bench.server.execute(subject.url, statement)
    began = time.perf_counter()
    bench.server.execute(subject.url, f"{add} {series}")
    rate = count / (time.perf_counter() - began)
    bench.server.execute(subject.url, "delete from file_to_replicate")
    return rate


def _left(bench: Bench, subject: Subject) -> int:
    sql = f"select count(*) from file_on where devid = {DEAD_DEVICE}"
    ((left,),) = bench.server.execute(subject.url, sql)
    assert isinstance(left, int)
    return left


def _begun(bench: Bench, subject: Subject, count: int) -> float:
    """When the first files were queued."""
    _wait_left(bench, subject, count - 1)
    return time.perf_counter()


def _wait_left(bench: Bench, subject: Subject, most: int) -> None:
    wait_until(
        lambda: _left(bench, subject) <= most,
        REAPED_SECONDS,
        f"{most} rows are left",
        POLL_SECONDS,
    )


def _ask(bench: Bench, subject: Subject) -> Measured:
    keys = [f"stored/{number}" for number in range(STORED_FILES)]
    return bench.load(
        lambda: scripts.get_paths(subject.tracker, keys, random.Random()), CLIENTS
    )
