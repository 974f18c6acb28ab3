"""What makes life hard for a tracker: crowds of clients, and a database that stalls."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from test.functional.cluster import Node
from test.functional.postgresql import PostgreSQL
from test.functional.tracker_line import Refused

#: A request that takes longer has failed its client (seconds).
PATIENCE_SECONDS = 30.0


def memory_kib(node: Node) -> int:
    """What a node's process has in memory now (its own, not what is mapped)."""
    assert node.process is not None
    status = Path(f"/proc/{node.process.pid}/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0])


class Crowd:
    """Connections to a port that each say the same, and then neither speak nor read."""

    def __init__(self, address: str, port: int, count: int, said: bytes) -> None:
        self.sockets: list[socket.socket] = []
        for _ in range(count):
            one = socket.create_connection((address, port), PATIENCE_SECONDS)
            self.sockets.append(one)
            one.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                # As much as the other side takes now.
                one.send(said)

    def answers(self, seconds: float) -> int:
        """How many get an answer, or their end, within that time."""
        poll = select.poll()
        waiting = {one.fileno() for one in self.sockets}
        for number in waiting:
            poll.register(number, select.POLLIN)
        count, deadline = len(waiting), time.monotonic() + seconds
        while waiting and time.monotonic() < deadline:
            for number, _ in poll.poll(100):
                poll.unregister(number)
                waiting.discard(number)
        return count - len(waiting)

    def close(self) -> None:
        """All go."""
        for one in self.sockets:
            one.close()
        self.sockets.clear()


class Watcher:
    """Does one thing again and again, and notes how long it took and what failed."""

    def __init__(self, act: Callable[[], object]) -> None:
        self._act = act
        self.seconds: list[float] = []
        self.failures: list[str] = []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Watcher:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._stopped.set()
        self._thread.join(PATIENCE_SECONDS)

    def _run(self) -> None:
        while not self._stopped.is_set():
            began = time.monotonic()
            try:
                self._act()
            except (OSError, Refused, AssertionError) as error:
                self.failures.append(repr(error))
            self.seconds.append(time.monotonic() - began)
            time.sleep(0.01)

    def slowest(self, share: float = 0.99) -> float:
        """The time (seconds) within which so many were done."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _family(pid: int) -> list[int]:
    """A process and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *map(int, children)]


@contextlib.contextmanager
def stalled(server: PostgreSQL) -> Iterator[None]:
    """The database hangs: it keeps its connections, takes new ones (the kernel does),
    and says nothing."""
    family = _family(server.pid)
    for pid in family:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
