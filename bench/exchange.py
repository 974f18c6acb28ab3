"""The load generator: many clients in few processes, over raw sockets and epoll.

A client is a generator, a *script*. It yields what it wants sent and is sent the whole
answer; it yields `DONE` when one unit of what is measured is complete::

    answer = yield Ask(("127.0.0.1", 7001), b"noop\\r\\n")
    yield DONE

A client has one request under way at a time and keeps one connection an address. What
the generator itself can do at most is measured as a row of the table.
"""

from __future__ import annotations

import json
import os
import re
import select
import socket
import statistics
import time
from collections.abc import Callable, Generator, Sequence
from typing import Final

from attrs import define, field, frozen

Address = tuple[str, int]

#: An answer that takes longer is a failure of the measurement.
STUCK_SECONDS: Final = 30.0
RECEIVE_BYTES: Final = 262144
#: Between the fork of the generators and their common start.
GATHER_SECONDS: Final = 0.5
#: Clients are warm after this: connections made, caches filled.
WARM_UP_SECONDS: Final = 0.3

_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)


@frozen
class Ask:
    """A request; the answer is so many lines, or with `http` a head and its body."""

    address: Address
    request: bytes
    http: bool = False
    lines: int = 1


#: What a script yields when a unit is complete.
DONE: Final = None

Script = Generator["Ask | None", bytes, None]


@frozen
class Measured:
    """Units a second, and how long they took (seconds)."""

    units: int
    seconds: float
    p50_seconds: float
    p99_seconds: float

    @property
    def rate(self) -> float:
        """Units a second."""
        return self.units / self.seconds if self.seconds else 0.0


@define(eq=False)
class Client:
    """A script and its connections."""

    script: Script
    sockets: dict[Address, socket.socket] = field(factory=dict)
    waiting: Ask | None = None
    answer: bytearray = field(factory=bytearray)
    began: float = 0.0

    def connection(self, address: Address) -> tuple[socket.socket, bool]:
        """The connection to an address, and whether it is a new one."""
        found = self.sockets.get(address)
        if found is not None:
            return found, False
        found = socket.create_connection(address, STUCK_SECONDS)
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sockets[address] = found
        return found, True

    def complete(self) -> bool:
        """Whether the whole answer has come."""
        assert self.waiting is not None
        if not self.waiting.http:
            whole = self.answer.endswith(b"\n")
            return whole and self.answer.count(b"\n") >= self.waiting.lines
        head = self.answer.find(b"\r\n\r\n")
        if head < 0:
            return False
        length = _LENGTH.search(self.answer, 0, head)
        return len(self.answer) >= head + 4 + (int(length[1]) if length else 0)


class Driver:
    """Runs the clients of one process until a moment, or until their scripts end."""

    def __init__(self, scripts: Sequence[Script]) -> None:
        self._clients = [Client(script) for script in scripts]
        self._by_descriptor: dict[int, Client] = {}
        self._epoll = select.epoll()
        self.finished: list[tuple[float, float]] = []

    def run(self, until: float) -> None:
        """Afterwards `finished` has (when, how long) of each complete unit."""
        live = 0
        for client in self._clients:
            client.began = time.perf_counter()
            live += self._resume(client, None)
        while live:
            now = time.perf_counter()
            if now >= until:
                break
            ready = self._epoll.poll(min(STUCK_SECONDS, until - now))
            if not ready and until - now > STUCK_SECONDS:
                raise RuntimeError(f"no answer within {STUCK_SECONDS} s")
            for descriptor, _ in ready:
                client = self._by_descriptor[descriptor]
                assert client.waiting is not None
                received = client.sockets[client.waiting.address].recv(RECEIVE_BYTES)
                if not received:
                    raise RuntimeError(f"{client.waiting.address} closed a connection")
                client.answer += received
                if client.complete():
                    answer = bytes(client.answer)
                    client.answer.clear()
                    live -= not self._resume(client, answer)
        self._close()

    def _resume(self, client: Client, answer: bytes | None) -> bool:
        """Give the script its answer and send what it wants next; False at its end."""
        try:
            wanted = client.script.send(answer)  # type: ignore[arg-type]
            while wanted is None:
                now = time.perf_counter()
                self.finished.append((now, now - client.began))
                client.began = now
                wanted = next(client.script)
        except StopIteration:
            return False
        client.waiting = wanted
        connection, new = client.connection(wanted.address)
        if new:
            self._by_descriptor[connection.fileno()] = client
            self._epoll.register(connection.fileno(), select.EPOLLIN)
        connection.sendall(wanted.request)
        return True

    def _close(self) -> None:
        for client in self._clients:
            for connection in client.sockets.values():
                connection.close()
        self._epoll.close()


def measure(
    scripts: Callable[[int], Sequence[Script]], processes: int, seconds: float | None
) -> Measured:
    """Run the scripts that `scripts(process_number)` makes, in forked processes.

    With `seconds`, what completes after the warm-up and before the end counts. Without,
    the scripts end by themselves and everything counts, from the first beginning to the
    last end. Raises RuntimeError if a process failed.
    """
    start = time.perf_counter() + GATHER_SECONDS
    pipes = []
    for number in range(processes):
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            _generate(scripts, number, start, seconds, writing)
        os.close(writing)
        pipes.append((pid, reading))
    finished: list[tuple[float, float]] = []
    faults = []
    for pid, reading in pipes:
        with os.fdopen(reading, "rb") as stream:
            told = json.loads(stream.read() or b'"it ended without a word"')
        os.waitpid(pid, 0)
        if isinstance(told, str):
            faults.append(told)
        else:
            finished += told
    if faults or not finished:
        raise RuntimeError(f"the load generator failed: {faults or 'nothing was done'}")
    if seconds is None:
        began = start
        span = max(when for when, _ in finished) - began
    else:
        began = start + WARM_UP_SECONDS
        span = seconds
    latencies = sorted(took for when, took in finished if began <= when <= began + span)
    return Measured(
        units=len(latencies),
        seconds=span,
        p50_seconds=statistics.median(latencies),
        p99_seconds=latencies[min(len(latencies) - 1, len(latencies) * 99 // 100)],
    )


def _generate(
    scripts: Callable[[int], Sequence[Script]],
    number: int,
    start: float,
    seconds: float | None,
    pipe: int,
) -> None:
    """The life of a forked generator; never returns."""
    told: object
    try:
        driver = Driver(scripts(number))
        time.sleep(max(0.0, start - time.perf_counter()))
        span = STUCK_SECONDS * 4 if seconds is None else WARM_UP_SECONDS + seconds
        driver.run(start + span)
        told = driver.finished
    except BaseException as error:
        told = repr(error)
    with os.fdopen(pipe, "wb") as stream:
        stream.write(json.dumps(told).encode())
    os._exit(0)
