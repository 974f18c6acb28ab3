"""KoboldFS's own client under load: one synchronous client a process."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from hashlib import sha256
from io import BytesIO

from bench import limits
from bench.scripts import DOMAIN
from koboldfs import Client
from koboldfs.wire import native

#: Between the fork of the clients and their common start.
GATHER_SECONDS = 0.5


def native_rates(
    server: str, clients: int, seconds: float, body: bytes
) -> tuple[float, float]:
    """Puts and gets a second of `clients` processes together."""

    def put(client: Client, number: int) -> bool:
        return client.put(f"native/{os.getpid()}/{number}", BytesIO(body))

    def get(client: Client, number: int) -> bool:
        output = BytesIO()
        return client.get("native/one", output) and output.getvalue() == body

    with Client(DOMAIN, servers=[server]) as client:
        client.put("native/one", BytesIO(body))
    rates = [_rate(server, clients, seconds, act) for act in (put, get)]
    return rates[0], rates[1]


def client_rates(clients: int, seconds: float, body: bytes) -> tuple[float, float]:
    """What that many clients can do at most: with a server that does nothing."""
    digest = sha256(body).digest()
    stat = native.Stat(1, len(body), 1, f"SHA-256:{digest.hex()}").values()
    limits_told = [native.u32(number) for number in (1024, 255, 1000)]
    hello = (native.u32(native.VERSION), b"", *limits_told, b"bench")
    transfer = (*stat, native.u64(0), native.u64(len(body)))
    data = native.u32(len(body)) + body + native.u32(0)

    def answer(request: bytes) -> bytes:
        number = native.number32(request[6:10])
        if request[0] == native.Command.GET2:
            head = native.frame(native.Code.TRANSFER, number, transfer)
            verdict = native.frame(native.Code.OK, number, (digest, stat[3]))
            return head + data + verdict
        values = {native.Command.HELLO: hello, native.Command.PUT2: stat}
        return native.frame(native.Code.OK, number, values.get(request[0], ()))

    with limits.bare_server(answer) as (host, port):
        return native_rates(f"{host}:{port}", clients, seconds, body)


def _rate(
    server: str, clients: int, seconds: float, act: Callable[[Client, int], bool]
) -> float:
    start = time.monotonic() + GATHER_SECONDS
    pipes = []
    for _ in range(clients):
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            _act(server, start, seconds, act, writing)
        os.close(writing)
        pipes.append((pid, reading))
    done = 0
    for pid, reading in pipes:
        with os.fdopen(reading, "rb") as stream:
            told = json.loads(stream.read() or b'"it ended without a word"')
        os.waitpid(pid, 0)
        if isinstance(told, str):
            raise RuntimeError(f"a native client failed: {told}")
        done += told
    return done / seconds


def _act(
    server: str,
    start: float,
    seconds: float,
    act: Callable[[Client, int], bool],
    pipe: int,
) -> None:
    """The life of a forked client; never returns."""
    told: object = 0
    try:
        done = 0
        with Client(DOMAIN, servers=[server]) as client:
            client.ping()
            time.sleep(max(0.0, start - time.monotonic()))
            while time.monotonic() < start + seconds:
                if not act(client, done):
                    raise RuntimeError("an answer was not as it should be")
                done += 1
        told = done
    except BaseException as error:
        told = repr(error)
    with os.fdopen(pipe, "wb") as stream:
        stream.write(json.dumps(told).encode())
    os._exit(0)
