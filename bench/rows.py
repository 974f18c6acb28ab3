"""The rows of the table: each a function from what is there to figures."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from attrs import define, field

from bench import limits, scripts
from bench.exchange import Address, Measured, Script, measure
from bench.subject import Subject
from bench.table import Row
from test.functional.postgresql import PostgreSQL

#: As many as MogileFS's figures were taken with.
CLIENTS, CONNECTIONS = 8, 32
#: Load generators; the machines that we have in mind have few cores.
PROCESSES = 2
LISTED_KEYS = 1000
LARGE_BYTES = 100 * 2**20
#: Enough keys for a put row at ten times the rate that is hoped for.
KEYS_A_SECOND = 30_000
#: Requests that a client sends before it takes the first answer.
SENT_AHEAD = 32
#: Storage nodes among which the files of the put row are spread.
PUT_STORAGES = 3
DRAIN_SECONDS = 600.0
ONE = "1"


@define
class Bench:
    """The seconds that a row may take, the servers, and what later rows use again."""

    seconds: float
    server: PostgreSQL
    subject: Subject
    scratch: Path
    #: Keys of the large database of the rows about growth; 0 for the everyday number.
    scale: int = 0
    limit: dict[str, float] = field(factory=dict)
    stored: list[str] = field(factory=list)

    def limit_of(self, name: str, find: Callable[[], float]) -> float:
        """A limit, measured once a run."""
        if name not in self.limit:
            self.limit[name] = find()
        return self.limit[name]

    def load(self, make: Callable[[], Script], clients: int) -> Measured:
        """`clients` endless scripts, all alike."""
        share = clients // PROCESSES
        return measure(
            lambda number: [make() for _ in range(share)], PROCESSES, self.seconds
        )

    def inserts(self) -> float:
        """The limit of what has to be committed one by one."""
        return self.limit_of("inserts", lambda: self.pgbench().inserts(CLIENTS))

    def pgbench(self) -> limits.PgBench:
        """PostgreSQL's own load generator."""
        return limits.PgBench(self.server, self.seconds)

    def nginx_get(self) -> float:
        """Small files a second that nginx gives."""

        def find() -> float:
            with limits.nginx() as served:
                if served is None:
                    return float("nan")
                address, files = served
                (files / "small").write_bytes(scripts.BODY)
                return self.load(
                    lambda: scripts.http_get(address, "/small"), CLIENTS
                ).rate

        return self.limit_of("nginx get", find)

    def durable_files(self) -> float:
        """Small files a second that this disk takes from as many threads."""
        return self.limit_of(
            "durable files",
            lambda: limits.durable_files(
                self.scratch, scripts.BODY, CLIENTS, self.seconds
            ),
        )


def milliseconds(measured: Measured) -> dict[str, float]:
    """The latencies, as a row takes them."""
    return {"p50_ms": measured.p50_seconds * 1e3, "p99_ms": measured.p99_seconds * 1e3}


def spread(
    make: Callable[[Sequence[str]], Script], keys: Sequence[str]
) -> Callable[[int], list[Script]]:
    """Scripts for CLIENTS clients in PROCESSES processes, each with its own keys."""
    share = CLIENTS // PROCESSES

    def scripts_of(process: int) -> list[Script]:
        mine = range(process * share, (process + 1) * share)
        return [make(keys[client::CLIENTS]) for client in mine]

    return scripts_of


def store(bench: Bench, subject: Subject, prefix: str, count: int) -> list[str]:
    """Store exactly `count` files; returns their keys."""
    keys = [f"{prefix}{number}" for number in range(count)]
    make = spread(lambda mine: scripts.put_files(subject.tracker, mine), keys)
    measure(make, PROCESSES, None)
    return keys


def generator(bench: Bench) -> Row:
    """The load generator's own limit, so that no other row can be its."""
    with limits.bare_echo() as bare, limits.twisted_echo() as twisted:
        most = bench.load(lambda: scripts.echo(bare), CONNECTIONS)
        echo = bench.load(lambda: scripts.echo(twisted), CONNECTIONS)
    bench.limit["echo"] = echo.rate
    return Row(
        "(Twisted line echo)",
        echo.rate,
        "requests/s",
        most.rate,
        "load generator against a bare epoll echo",
        **milliseconds(echo),
    )


def put(bench: Bench) -> Row:
    """create_open, PUT, create_close of new files, of which one copy is wanted."""
    count = int(KEYS_A_SECOND * (bench.seconds + 1))
    keys = [f"put/{number}" for number in range(count)]
    subject = Subject(bench.server, storages=PUT_STORAGES, policy="MultipleHosts(1)")
    try:
        tracker = subject.start().tracker
        make = spread(lambda mine: scripts.put_files(tracker, mine), keys)
        found = measure(make, PROCESSES, bench.seconds)
    finally:
        subject.stop()
    return Row(
        f"put 1 KiB, {CLIENTS} clients, {PUT_STORAGES} nodes",
        found.rate,
        "files/s",
        bench.inserts(),
        "pgbench single-row inserts",
        fsync="yes",
        copies=ONE,
        **milliseconds(found),
    )


def get_paths(bench: Bench) -> Row:
    """get_paths of files that are there."""
    tracker, keys = bench.subject.tracker, bench.stored
    found = bench.load(
        lambda: scripts.get_paths(tracker, keys, random.Random()), CONNECTIONS
    )
    return Row(
        f"get_paths, {CONNECTIONS} connections",
        found.rate,
        "requests/s",
        bench.limit_of("selects", lambda: bench.pgbench().selects(CONNECTIONS)),
        "pgbench -S -M prepared",
        **milliseconds(found),
    )


def pipelined(bench: Bench) -> Row:
    """get_paths that each client sends without waiting for the last answer."""
    tracker, keys = bench.subject.tracker, bench.stored
    found = bench.load(
        lambda: scripts.get_paths_ahead(tracker, keys, random.Random(), SENT_AHEAD),
        PROCESSES,
    )
    return Row(
        f"get_paths, {PROCESSES} connections, {SENT_AHEAD} sent ahead",
        found.rate * SENT_AHEAD,
        "requests/s",
        bench.limit_of("selects", lambda: bench.pgbench().selects(CONNECTIONS)),
        "pgbench -S -M prepared",
        **milliseconds(found),
    )


def noop(bench: Bench) -> Row:
    """The tracker's front door alone."""
    tracker = bench.subject.tracker
    found = bench.load(lambda: scripts.echo(tracker), CONNECTIONS)
    return Row(
        f"noop, {CONNECTIONS} connections",
        found.rate,
        "requests/s",
        bench.limit["echo"],
        "Twisted line echo",
        **milliseconds(found),
    )


def get_files(bench: Bench) -> Row:
    """get_paths, GET, and every byte compared."""
    tracker, keys = bench.subject.tracker, bench.stored
    found = bench.load(
        lambda: scripts.get_files(tracker, keys, random.Random()), CLIENTS
    )
    return Row(
        f"get_paths + GET, {CLIENTS} clients",
        found.rate,
        "files/s",
        bench.nginx_get(),
        "nginx GET 1 KiB",
        **milliseconds(found),
    )


def list_keys(bench: Bench) -> Row:
    """Lists of the first thousand keys."""
    tracker = bench.subject.tracker
    found = measure(
        lambda _: [scripts.list_keys(tracker, "kept/", LISTED_KEYS)], 1, bench.seconds
    )
    return Row(
        f"list_keys of {LISTED_KEYS:,}",
        found.rate * LISTED_KEYS,
        "keys/s",
        bench.limit_of("rows", lambda: bench.pgbench().rows(LISTED_KEYS)),
        "pgbench ordered select of as many",
        **milliseconds(found),
    )


def delete(bench: Bench) -> Row:
    """Deletes of files that are there, to the last."""
    count = int(1500 * bench.seconds)
    keys = store(bench, bench.subject, "gone/", count)
    tracker = bench.subject.tracker
    found = measure(
        spread(lambda mine: scripts.delete_files(tracker, mine), keys), PROCESSES, None
    )
    return Row(
        f"delete, {CLIENTS} clients",
        found.rate,
        "files/s",
        bench.inserts(),
        "pgbench single-row inserts",
        fsync="yes",
        **milliseconds(found),
    )


def node_get(bench: Bench) -> Row:
    """GET of one small file from the storage node."""
    address, path = bench.subject.storage, "/dev1/0/000/900/0000900001.fid"
    measure(lambda _: [scripts.http_put(address, [path])], 1, None)
    found = bench.load(lambda: scripts.http_get(address, path), CLIENTS)
    return Row(
        "storage node GET 1 KiB",
        found.rate,
        "requests/s",
        bench.nginx_get(),
        "nginx GET 1 KiB",
        **milliseconds(found),
    )


def node_put(bench: Bench, subject: Subject, durable: bool) -> Row:
    """PUT of new small files to the storage node."""
    count = int(KEYS_A_SECOND * (bench.seconds + 1))
    base = random.randrange(10**9, 9 * 10**9)
    paths = []
    for fid in range(base, base + count):
        digits = str(fid)
        folder = f"{digits[0]}/{digits[1:4]}/{digits[4:7]}"
        paths.append(f"/dev1/{folder}/{digits}.fid")
    make = spread(lambda mine: scripts.http_put(subject.storage, mine), paths)
    found = measure(make, PROCESSES, bench.seconds)
    return Row(
        "storage node PUT 1 KiB",
        found.rate,
        "requests/s",
        bench.durable_files() if durable else nginx_put(bench),
        f"write + fsync, {CLIENTS} threads" if durable else "nginx PUT 1 KiB, no fsync",
        fsync="yes" if durable else "no",
        copies=ONE,
        **milliseconds(found),
    )


def node_puts(bench: Bench) -> list[Row]:
    """The same with and without fsync."""
    durable = node_put(bench, bench.subject, True)
    fast = Subject(bench.server, fsync=False)
    try:
        fast.start()
        return [durable, node_put(bench, fast, False)]
    finally:
        fast.stop()


def nginx_put(bench: Bench) -> float:
    """Small files a second that nginx takes, without fsync."""

    def find() -> float:
        with limits.nginx() as served:
            if served is None:
                return float("nan")
            address, _ = served
            count = int(KEYS_A_SECOND * (bench.seconds + 1))
            paths = [f"/{number % 100}/{number}" for number in range(count)]
            make = spread(lambda mine: scripts.http_put(address, mine), paths)
            return measure(make, PROCESSES, bench.seconds).rate

    return bench.limit_of("nginx put", find)


def large_get(address: Address, path: str, times: int) -> float:
    """MB a second (10**6 bytes) of one client that reads a large file."""
    buffer = bytearray(1 << 20)
    with socket.create_connection(address, 60) as connection:
        began = time.perf_counter()
        for _ in range(times):
            connection.sendall(scripts.get_request(path.encode()))
            head = b""
            while b"\r\n\r\n" not in head:
                head += connection.recv(65536)
            scripts.good(head)
            left = LARGE_BYTES - len(head.partition(b"\r\n\r\n")[2])
            while left:
                received = connection.recv_into(buffer, min(left, len(buffer)))
                if not received:
                    raise RuntimeError("a large file ended early")
                left -= received
        return LARGE_BYTES * times / 1e6 / (time.perf_counter() - began)


def large_put(address: Address, path: str, times: int) -> float:
    """MB a second of one client that stores a large file."""
    block = random.Random(2).randbytes(1 << 20)
    head = scripts.put_request(path.encode(), b"")
    head = head.replace(b"Content-Length: 0", b"Content-Length: %d" % LARGE_BYTES)
    with socket.create_connection(address, 60) as connection:
        began = time.perf_counter()
        for _ in range(times):
            connection.sendall(head)
            for _ in range(LARGE_BYTES // len(block)):
                connection.sendall(block)
            answer = b""
            while b"\r\n\r\n" not in answer:
                answer += connection.recv(65536)
            scripts.good(answer)
            length = int(answer.lower().partition(b"content-length:")[2].split()[0])
            body = answer.partition(b"\r\n\r\n")[2]
            while len(body) < length:
                body += connection.recv(65536)
        return LARGE_BYTES * times / 1e6 / (time.perf_counter() - began)


def large(bench: Bench) -> list[Row]:
    """100 MiB, one client, there and back."""
    times = 2 if bench.seconds < 2 else 8
    path = "/dev1/0/000/900/0000900002.fid"
    address = bench.subject.storage
    put_rate = large_put(address, path, times)
    get_rate = large_get(address, path, times)
    written = limits.write_rate(bench.scratch, LARGE_BYTES, times)
    with limits.nginx() as served:
        most = float("nan")
        if served is not None:
            (served[1] / "large").write_bytes(bytes(LARGE_BYTES))
            most = large_get(served[0], "/large", times)
    return [
        Row("storage node GET 100 MiB", get_rate, "MB/s", most, "nginx GET 100 MiB"),
        Row(
            "storage node PUT 100 MiB",
            put_rate,
            "MB/s",
            written,
            "write + one fsync of as much",
            fsync="yes",
            copies=ONE,
        ),
    ]


def native(bench: Bench) -> list[Row]:
    """KoboldFS's own client, one a process."""
    from bench.native import client_rates, native_rates

    clients_put, clients_get = client_rates(CLIENTS, bench.seconds, scripts.BODY)
    put_rate, get_rate = native_rates(
        bench.subject.native, CLIENTS, bench.seconds, scripts.BODY
    )
    return [
        Row(
            f"native client put 1 KiB, {CLIENTS} clients",
            put_rate,
            "files/s",
            bench.inserts(),
            "pgbench single-row inserts",
            fsync="yes",
            copies=ONE,
        ),
        Row(
            f"native client get 1 KiB, {CLIENTS} clients",
            get_rate,
            "files/s",
            bench.nginx_get(),
            "nginx GET 1 KiB",
        ),
        Row(
            "(native put, a server that does nothing)",
            clients_put,
            "files/s",
            put_rate,
            "native client put",
        ),
        Row(
            "(native get, a server that does nothing)",
            clients_get,
            "files/s",
            get_rate,
            "native client get",
        ),
    ]


def memory(bench: Bench) -> list[Row]:
    """What the processes hold after all that was measured before."""
    bare = limits.bare_reactor_mb()
    subject = bench.subject
    storage = next(node for node in subject.nodes if node.is_storage)
    return [
        Row(what, limits.resident_mb(subject.pid(node)), "MB", bare, "bare reactor")
        for what, node in (
            ("memory, tracker after the load", subject.nodes[0]),
            ("memory, storage node after the load", storage),
        )
    ]
