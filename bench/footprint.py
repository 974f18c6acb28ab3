"""The rows about what is there before anybody asks for anything: memory, the time to
start, and what a connection costs that does nothing.

The limits are goals, or a Twisted line echo that keeps as many connections.
"""

from __future__ import annotations

import resource
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bench import limits, scripts
from bench.exchange import Address
from bench.limits import private_mb, resident_mb
from bench.rows import Bench
from bench.subject import Subject
from bench.table import Row
from koboldfs.wire import native
from test.functional.cluster import Node, Ports, environment

#: What we want of an idle tracker, and of the time to its first answer.
TRACKER_GOAL_MB = 80.0
START_GOAL_MS = 1000.0
#: What one idle connection may cost (KB, 1,000 bytes).
CONNECTION_GOAL_KB = 10.0
IDLE_CONNECTIONS = 5000
#: Requests of the row about many, for each second that a row may take.
REQUESTS_A_SECOND = 200_000
#: Requests that are sent ahead at once.
PIPELINED = 500
STARTS = 3
SETTLE_SECONDS = 1.0
STUCK_SECONDS = 30.0
GOAL = "the goal"
KEPT = f"the goal, {IDLE_CONNECTIONS:,} connections"
POLL_SECONDS = 0.005
#: Descriptors for the connections and what else there is.
DESCRIPTORS = IDLE_CONNECTIONS + 2000
#: As many before the measurement, so that what is made once, and room that the start
#: left over, is not counted.
FIRST_CONNECTIONS = 1000

NOOP = b"noop\r\n"


# --- memory


def idle_memory(bench: Bench) -> list[Row]:
    """A tracker that was just started, and after many requests."""
    subject = Subject(bench.server)
    count = int(REQUESTS_A_SECOND * bench.seconds)
    try:
        subject.start()
        time.sleep(SETTLE_SECONDS)
        pid = subject.pid(subject.nodes[0])
        idle = resident_mb(pid)
        with subject.line() as line:
            line.store(scripts.DOMAIN, "one", scripts.BODY)
        _ask_many(subject.tracker, count)
        time.sleep(SETTLE_SECONDS)
        later = resident_mb(pid)
    finally:
        subject.stop()
    asked = f"memory, tracker after {count:,} requests"
    return [
        Row("memory, idle tracker", idle, "MB", TRACKER_GOAL_MB, GOAL),
        Row(asked, later, "MB", TRACKER_GOAL_MB, GOAL),
    ]


def _ask_many(tracker: Address, count: int) -> None:
    """So many requests on one connection, half of them for paths."""
    paths = f"get_paths domain={scripts.DOMAIN}&key=one&noverify=1\r\n".encode()
    piece = (NOOP + paths) * (PIPELINED // 2)
    with socket.create_connection(tracker, STUCK_SECONDS) as connection:
        for _ in range(count // PIPELINED):
            connection.sendall(piece)
            lines = 0
            while lines < PIPELINED:
                received = connection.recv(65536)
                if not received:
                    raise RuntimeError("the tracker closed the connection")
                lines += received.count(b"\n")


# --- the time to start


def starts(bench: Bench) -> list[Row]:
    """From the start of the process to its first answer; the best of some."""
    rows = []
    for what, make_url in (("SQLite", None), ("PostgreSQL", bench.server.new_database)):
        folder = Path(tempfile.mkdtemp(prefix="koboldfs-bench-start-"))
        try:
            url = make_url() if make_url is not None else ""
            # The first one compiles the program and makes the database.
            _start(folder, url)
            found = [_start(folder, url) for _ in range(STARTS)]
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        name = f"start to the first answer, {what}"
        best, busy = (min(figures) * 1e3 for figures in zip(*found, strict=True))
        rows.append(Row(name, best, "ms", START_GOAL_MS, GOAL))
        rows.append(
            Row(f"the same in processor time, {what}", busy, "ms", START_GOAL_MS, GOAL)
        )
    return rows


def _start(folder: Path, url: str) -> tuple[float, float]:
    """Seconds from the start of a tracker with a storage node to an answer, and how
    long it had a processor until then (which others that are busy do not change)."""
    ports = Ports.free(["127.0.0.1"])
    arguments = [f"--domain={scripts.DOMAIN}", f"--data={folder / 'data'}"]
    if url:
        arguments.append(f"--database={url}")
    node = Node(1, folder, ports, arguments)
    # As installed: with its bytecode, which a source tree may be told not to keep.
    mine = {**environment(), "PYTHONPYCACHEPREFIX": str(folder / "bytecode")}
    mine.pop("PYTHONDONTWRITEBYTECODE", None)
    began = time.monotonic()
    process = subprocess.Popen(node.command(), env=mine, stdin=subprocess.DEVNULL)
    try:
        answered = _first_answer((node.address, ports.tracker), began)
        return answered - began, limits.processor_seconds(process.pid)
    finally:
        process.terminate()
        process.wait(STUCK_SECONDS)


def _first_answer(tracker: Address, began: float) -> float:
    while time.monotonic() < began + STUCK_SECONDS:
        try:
            with socket.create_connection(tracker, STUCK_SECONDS) as connection:
                connection.sendall(NOOP)
                if connection.recv(100).startswith(b"OK"):
                    return time.monotonic()
        except OSError:
            time.sleep(POLL_SECONDS)
    raise RuntimeError("a tracker did not start")


# --- connections


def connections(bench: Bench) -> list[Row]:
    """Memory for each of many connections that made one request and are idle."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(DESCRIPTORS, hard), hard))
    with limits.twisted_echo_process() as (pid, echo):
        twisted = _cost_kb(pid, echo, NOOP, NOOP)
    doors: Sequence[tuple[str, Callable[[Subject], tuple[int, Address]], bytes, bytes]]
    doors = (
        ("text protocol", lambda one: (_tracker(one), one.tracker), NOOP, b"OK \r\n"),
        (
            "native protocol",
            lambda one: (_tracker(one), (one.tracker[0], one.ports.native)),
            native.request(native.Command.PING2, native.u32(1)),
            native.frame(native.Code.OK, 1),
        ),
        (
            "storage HTTP",
            lambda one: (_storage(one), one.storage),
            scripts.get_request(b"/dev1/0/000/900/0000900009.fid"),
            b"no such file\n",
        ),
    )
    rows = [
        Row("idle connection, Twisted echo", twisted, "KB", CONNECTION_GOAL_KB, KEPT)
    ]
    for name, find, request, end in doors:
        subject = Subject(bench.server)
        try:
            subject.start()
            time.sleep(SETTLE_SECONDS)
            cost = _cost_kb(*find(subject), request, end)
        finally:
            subject.stop()
        what = f"idle connection, {name}"
        rows.append(Row(what, cost, "KB", CONNECTION_GOAL_KB, KEPT))
    return rows


def _tracker(subject: Subject) -> int:
    return subject.pid(subject.nodes[0])


def _storage(subject: Subject) -> int:
    return subject.pid(next(node for node in subject.nodes if node.is_storage))


def _cost_kb(pid: int, address: Address, request: bytes, end: bytes) -> float:
    """What the process grows by for each connection that asked once (KB)."""
    made: list[socket.socket] = []

    def connect(count: int) -> None:
        for _ in range(count):
            connection = socket.create_connection(address, STUCK_SECONDS)
            made.append(connection)
            connection.sendall(request)
            received = b""
            while not received.endswith(end):
                piece = connection.recv(4096)
                if not piece:
                    raise RuntimeError(f"{address} closed a connection")
                received += piece

    try:
        connect(FIRST_CONNECTIONS)
        time.sleep(SETTLE_SECONDS)
        before = private_mb(pid)
        connect(IDLE_CONNECTIONS)
        time.sleep(SETTLE_SECONDS)
        after = private_mb(pid)
        if any(_ended(connection) for connection in made):
            raise RuntimeError(f"{address} did not keep all connections")
    finally:
        for connection in made:
            connection.close()
    return (after - before) * 2**20 / 1e3 / IDLE_CONNECTIONS


def _ended(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return not connection.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True
