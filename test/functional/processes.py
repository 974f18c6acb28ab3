"""What tests ask of an installation of several processes."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from pathlib import Path

from test.functional.cluster import Node, wait_until

#: From the start of the program to the last child's being ready.
READY_SECONDS = 60.0


def children(node: Node) -> list[int]:
    """The pids of the node's children, in the order in which they were started."""
    assert node.process is not None
    pid = node.process.pid
    with contextlib.suppress(OSError):
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        return [int(word) for word in text.split()]
    return []


def lives(pid: int) -> bool:
    """Whether there is such a process, and not only what is left of it."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def wait_ready(node: Node, times: int = 1) -> None:
    """Until the node's log says for the so many-th time that all are ready."""

    def ready() -> bool:
        node.must_run()
        return node.log.exists() and node.log.read_text().count("ready: ") >= times

    wait_until(ready, READY_SECONDS, "all processes are ready")


def connect(node: Node) -> socket.socket:
    """A connection to the node's tracker port; to which process is left to chance."""
    return socket.create_connection((node.address, node.ports.tracker), 15)


def admin(connection: socket.socket, word: bytes) -> list[str]:
    """The answer to a ``!`` line, without its end."""
    return _answer(connection, b"!" + word, b".\r\n").split("\r\n")[:-2]


def process_of(connection: socket.socket) -> int:
    """The number of the process that answers on this connection."""
    found = [line for line in admin(connection, b"stats") if "process " in line]
    return int(found[0].removeprefix("process "))


def connections_to_each(node: Node, count: int) -> list[socket.socket]:
    """A connection to each of the `count` processes, in order."""
    found: dict[int, socket.socket] = {}
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        one = connect(node)
        if found.setdefault(process_of(one), one) is not one:
            one.close()
        if len(found) == count:
            return [found[number] for number in sorted(found)]
    raise AssertionError(f"connections came to {sorted(found)} only")


def ask(connection: socket.socket, line: str) -> str:
    """One command, one answer."""
    return _answer(connection, line.encode(), b"\r\n").rstrip()


def _answer(connection: socket.socket, line: bytes, end: bytes) -> str:
    connection.sendall(line + b"\r\n")
    answer = b""
    while not answer.endswith(end):
        received = connection.recv(65536)
        if not received:
            raise ConnectionError("the tracker closed the connection")
        answer += received
    return answer.decode("latin-1")


def wait_gone(pids: list[int], seconds: float) -> None:
    """Until none of the processes is there."""
    wait_until(lambda: not any(map(lives, pids)), seconds, f"{pids} are gone")


def open_files(pid: int) -> int:
    """How many descriptors a process has."""
    return len(os.listdir(f"/proc/{pid}/fd"))
