"""The rows about a device that died, or was away too long: how fast its files are
queued to be copied anew, and what requests notice of it."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable

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

    def die(subject: Subject, host: str) -> None:
        with subject.line() as line:
            line.ask("set_state", host=host, device=DEAD_DEVICE, state="dead")

    def left(subject: Subject) -> int:
        return _count(bench, subject, f"file_on where devid = {DEAD_DEVICE}")

    return _queued(bench, "dead", "down", die, left)


def lose(bench: Bench) -> list[Row]:
    """A device that has one of two copies of every file is treated as lost."""

    def be_lost(subject: Subject, host: str) -> None:
        for name, value in (("lost", DEAD_DEVICE), ("policy", "MultipleHosts(2)")):
            bench.server.execute(
                subject.url,
                f"delete from server_settings where field = 'kobold_{name}'",
            )
            bench.server.execute(
                subject.url,
                f"insert into server_settings values ('kobold_{name}', '{value}')",
            )

    def left(subject: Subject) -> int:
        done = _count(bench, subject, "file_to_replicate")
        return _count(bench, subject, f"file_on where devid = {DEAD_DEVICE}") - done

    return _queued(bench, "lost", "alive", be_lost, left)


def _queued(
    bench: Bench,
    word: str,
    before: str,
    happen: Callable[[Subject, str], None],
    left: Callable[[Subject], int],
) -> list[Row]:
    """The rows of what happens to a device in the state `before`; `left` says of how
    many files nothing has come yet."""
    count = min(MAX_FILES, int(FILES_A_SECOND * bench.seconds))
    subject = Subject(bench.server, storages=1, jobs="reap,monitor")
    try:
        subject.start()
        with subject.line() as line:
            for number in range(STORED_FILES):
                line.store(DOMAIN, f"stored/{number}", b"stored")
            (device,) = devices(line)
            host = device["hostname"]
            line.ask("create_device", devid=DEAD_DEVICE, hostname=host, state=before)
        limit = _fill(bench, subject, int(device["devid"]), count)
        alone = _ask(bench, subject)
        happen(subject, host)
        _wait_left(lambda: left(subject), count - 1)
        began = time.perf_counter()
        during: list[Measured] = []
        clients = threading.Thread(target=lambda: during.append(_ask(bench, subject)))
        clients.start()
        _wait_left(lambda: left(subject), 0)
        seconds = time.perf_counter() - began
        clients.join()
    finally:
        subject.stop()
    what = f"{word} device of {count:,} files queued"
    says = "one statement for all of them"
    return [
        Row(what, count / seconds, "files/s", limit, says, fsync="yes"),
        Row(
            f"get_paths meanwhile ({word}), {CLIENTS} clients",
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


def _count(bench: Bench, subject: Subject, rows: str) -> int:
    ((count,),) = bench.server.execute(subject.url, f"select count(*) from {rows}")
    assert isinstance(count, int)
    return count


def _wait_left(left: Callable[[], int], most: int) -> None:
    wait_until(
        lambda: left() <= most,
        REAPED_SECONDS,
        f"{most} rows are left",
        POLL_SECONDS,
    )


def _ask(bench: Bench, subject: Subject) -> Measured:
    keys = [f"stored/{number}" for number in range(STORED_FILES)]
    return bench.load(
        lambda: scripts.get_paths(subject.tracker, keys, random.Random()), CLIENTS
    )
