"""Overload, for longer than the suite has time for: see `SCENARIOS`.

python -m test.torture.overload [NAME...]
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator

from test.functional import postgresql
from test.functional.cluster import DOMAIN, Cluster, Node, devices, wait_until
from test.functional.overload import Crowd, Watcher, memory_kib, stalled
from test.functional.sick_disk import PROGRAM, fall_ill, get_well
from test.functional.tracker_line import Refused, TrackerLine, get

#: How long each trouble lasts (seconds).
CROWD_SECONDS, STALL_SECONDS, SICK_SECONDS = 30.0, 30.0, 60.0
CONNECTIONS = 5000
#: What a process may grow by meanwhile (KiB).
GROWTH_KIB = 128 * 1024
#: A request that needs the database is told within this time that there is none, but
#: for some that a statement under way has already; and one comes through within that
#: after it goes on (seconds).
TOLD_SECONDS, BACK_SECONDS = 15.0, 10.0
#: The longest that 99 of 100 requests take while something else is unwell (seconds).
PROMPT_SECONDS = 3.0
PATIENCE_SECONDS = 120.0


@contextlib.contextmanager
def running(cluster: Cluster) -> Iterator[tuple[Node, TrackerLine]]:
    """The cluster's first node and a connection to it, with one file ``key``."""
    try:
        cluster.start()
        with cluster.tracker() as line:
            line.store(DOMAIN, "key", b"content")
            yield cluster.nodes[0], line
    except BaseException:
        cluster.stop()
        print(cluster.story)
        raise
    cluster.stop()


def say(text: str) -> None:
    """A line for whoever waits."""
    print(f"    {text}", flush=True)


def prompt(what: str, watched: Watcher) -> None:
    """All went well, and soon."""
    say(
        f"{what}: {len(watched.seconds)} times, p99 {watched.slowest():.3f} s, longest"
        f" {max(watched.seconds):.3f} s"
    )
    assert not watched.failures, watched.failures[:5]
    assert watched.slowest() < PROMPT_SECONDS, watched.slowest()


def crowds() -> None:
    """5,000 clients with half a line at the tracker, and as many with half a head at
    the storage node: both bounded in memory, and others are served."""
    with running(Cluster(1, "postgresql")) as (node, line):
        before = memory_kib(node)
        url = line.paths(DOMAIN, "key")[0]
        ports = node.ports
        halves = ((ports.tracker, b"get_paths doma"), (ports.storage, b"GET /dev1/0/0"))
        made = [Crowd(node.address, port, CONNECTIONS, said) for port, said in halves]
        with (
            Watcher(lambda: line.fetch(DOMAIN, "key")) as fetches,
            Watcher(lambda: get(url)) as files,
        ):
            time.sleep(CROWD_SECONDS)
        grown = memory_kib(node) - before
        for crowd in made:
            crowd.close()
        say(f"{2 * CONNECTIONS} connections: {grown / 1024:.0f} MiB more")
        prompt("get_paths and GET", fetches)
        prompt("GET", files)
        assert grown < GROWTH_KIB, grown


def database_stall() -> None:
    """The database says nothing for 30 s: requests are told so in time, files are
    served, memory is bounded, and all goes on by itself."""
    with running(Cluster(2, "postgresql")) as (node, line):
        before = memory_kib(node)
        url = line.paths(DOMAIN, "key")[0]
        asked = f"get_paths domain={DOMAIN}&key=key&noverify=1\r\n".encode()
        with stalled(postgresql.shared()):
            began = time.monotonic()
            crowd = Crowd(node.address, node.ports.tracker, 1000, asked)
            with Watcher(lambda: get(url)) as files:
                told = crowd.answers(TOLD_SECONDS)
                took = time.monotonic() - began
                say(f"{told} of 1,000 clients were told within {took:.1f} s")
                assert told > 700, told
                time.sleep(max(0.0, began + STALL_SECONDS - time.monotonic()))
            grown = memory_kib(node) - before
        back = time.monotonic()
        assert crowd.answers(BACK_SECONDS) == 1000, "some were never told anything"
        said = Counter(one.recv(200).split(b" paths")[0] for one in crowd.sockets)
        say(f"what they were told: {said}")
        assert not any(b"Traceback" in words for words in said)
        crowd.close()
        wait_until(lambda: line.paths(DOMAIN, "key"), BACK_SECONDS, "answers again")
        say(f"answers {time.monotonic() - back:.1f} s after it went on")
        line.store(DOMAIN, "after", b"after")
        prompt("GET during the stall", files)
        say(f"{grown / 1024:.0f} MiB more during the stall")
        assert grown < GROWTH_KIB, grown


def slow_disk() -> None:
    """A disk takes 5 s for each write, for a minute: it is avoided, stores and reads go
    on as before; and it is used again when it is well."""
    cluster = Cluster(3, settings={"kobold_policy": "MultipleHosts(2)"})
    cluster.programs[2] = PROGRAM
    with running(cluster) as (_, line):
        found = devices(line)
        sick = next(one for one in found if one["hostname"] == "node2")["devid"]
        numbers = iter(range(10**9))

        def store_and_read() -> None:
            key = f"key-{next(numbers)}"
            line.store(DOMAIN, key, b"content")
            assert line.fetch(DOMAIN, key) == b"content"

        def offered() -> bool:
            asked = [line.ask("create_open", domain=DOMAIN, key="k") for _ in range(30)]
            return sick in {one["devid"] for one in asked}

        with Watcher(store_and_read) as well:
            time.sleep(10)
        prompt("store and read, all well", well)
        fall_ill(cluster.nodes[1], "slow 5")
        began = time.monotonic()
        wait_until(lambda: not offered(), PATIENCE_SECONDS, "avoided")
        say(f"avoided after {time.monotonic() - began:.1f} s")
        with Watcher(store_and_read) as ill:
            time.sleep(SICK_SECONDS)
        prompt("store and read, one disk slow", ill)
        get_well(cluster.nodes[1])
        began = time.monotonic()
        wait_until(offered, PATIENCE_SECONDS, "used again", 1.0)
        say(f"used again after {time.monotonic() - began:.1f} s")


#: Name -> what is done; it raises AssertionError, its docstring says what it shows.
SCENARIOS: dict[str, Callable[[], None]] = {
    "crowds": crowds,
    "database-stall": database_stall,
    "slow-disk": slow_disk,
}

if __name__ == "__main__":
    for name in sys.argv[1:] or SCENARIOS:
        print(name, flush=True)
        try:
            SCENARIOS[name]()
        except (AssertionError, Refused, OSError) as error:
            print(f"  FAILED: {error}")
            sys.exit(1)
