"""Clients that store and read while things go wrong, and remember what was promised."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from test.functional.cluster import DOMAIN, Cluster, Node
from test.functional.tracker_line import Refused, TrackerLine

#: A client gives up on one tracker or node after this and tries the next.
PATIENCE_SECONDS = 5.0
#: How long a client may try to do one thing before the test has failed.
TROUBLE_SECONDS = 30.0
#: Files are small and many: what is tested is the order of things, not the size.
LARGEST_BYTES = 20_000


class Client:
    """A client with a connection to each tracker; it takes the next when one fails."""

    def __init__(self, nodes: list[Node]) -> None:
        self._lines = [node.tracker(PATIENCE_SECONDS) for node in nodes]

    def do(self, act: Callable[[TrackerLine], bytes | None]) -> bytes | None:
        """Do it with any tracker; raises the last error after TROUBLE_SECONDS."""
        deadline = time.monotonic() + TROUBLE_SECONDS
        while True:
            line = self._lines[0]
            try:
                return act(line)
            except (OSError, Refused) as error:
                line.close()
                if time.monotonic() > deadline:
                    raise
                if isinstance(error, Refused) and error.code == "unknown_key":
                    raise
                self._lines.append(self._lines.pop(0))
                time.sleep(0.02)

    def close(self) -> None:
        """Close all connections."""
        for line in self._lines:
            line.close()


T = TypeVar("T", bound="Threads")


class Threads:
    """What runs in threads until it is stopped; `broken` is what must not happen."""

    def __init__(
        self, jobs: Sequence[Callable[[], None]], patience_seconds: float
    ) -> None:
        """`jobs` look at `stopped`; one that takes longer to end hangs."""
        self.broken: list[str] = []
        self.stopped = threading.Event()
        self._patience_seconds = patience_seconds
        self._threads = [threading.Thread(target=job, daemon=True) for job in jobs]

    def start(self: T) -> T:
        """Begin."""
        for thread in self._threads:
            thread.start()
        return self

    def stop(self) -> None:
        """End; returns when all threads have."""
        self.stopped.set()
        for thread in self._threads:
            thread.join(self._patience_seconds)
            if thread.is_alive():
                self.broken.append(f"a thread of {type(self).__name__} hangs")


class Load(Threads):
    """Threads that store new files and read random acknowledged ones until stopped.

    `promised` holds what was acknowledged; `broken` what the cluster did not keep: a
    file that could not be read at all within the patience, or with other bytes.
    """

    def __init__(self, cluster: Cluster, writers: int = 2, readers: int = 2) -> None:
        jobs = [(self._write, number) for number in range(writers)]
        jobs += [(self._read, number) for number in range(readers)]
        super().__init__(
            [partial(self._guard, *job) for job in jobs],
            TROUBLE_SECONDS + PATIENCE_SECONDS * 3,
        )
        self.promised: dict[str, bytes] = {}
        self.reads = 0
        self._trackers = [node for node in cluster.nodes if node.is_tracker]

    def read_all(self, cluster: Cluster) -> None:
        """Read every promised file once, through every tracker that runs."""
        for node in cluster.trackers:
            client = Client([node])
            for key in list(self.promised):
                self._check(client, key)
            client.close()

    def _guard(self, job: Callable[[Client, random.Random], None], number: int) -> None:
        client = Client(self._trackers[number % len(self._trackers) :] + self._trackers)
        try:
            job(client, random.Random(number))
        except Exception as error:
            self.broken.append(f"{job.__name__}: {error!r}")
        finally:
            client.close()

    def _write(self, client: Client, chance: random.Random) -> None:
        number = 0
        me = threading.get_ident()
        while not self.stopped.is_set():
            number += 1
            key = f"{me}/{number}"
            content = chance.randbytes(chance.randrange(LARGEST_BYTES))
            client.do(
                lambda line, key=key, content=content: line.store(DOMAIN, key, content)
            )
            self.promised[key] = content

    def _read(self, client: Client, chance: random.Random) -> None:
        while not self.stopped.is_set():
            keys = list(self.promised)
            if not keys:
                time.sleep(0.01)
                continue
            self._check(client, chance.choice(keys))
            self.reads += 1

    def _check(self, client: Client, key: str) -> None:
        expected = self.promised[key]
        try:
            found = client.do(lambda line: line.fetch(DOMAIN, key))
        except (OSError, Refused) as error:
            self.broken.append(f"{key}: {error}")
            return
        if found != expected:
            self.broken.append(f"{key}: other bytes than were stored")
