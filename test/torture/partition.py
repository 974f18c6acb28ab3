"""A host is cut off from all others during a load, and comes back.

Either by a proxy before its ports, which is silent, slow, or resets every connection;
or, where root may do that, as a network namespace of its own whose cable is pulled.
"""

from __future__ import annotations

import os
import random
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from test.functional.cluster import Node, environment
from test.functional.nursery import Nursery
from test.functional.proxy import PASS, RESET, SILENT, SLOW, Proxy
from test.torture.audit import audit
from test.torture.disks import device_of, goes_on, load_on, wait_state
from test.torture.estate import Estate
from test.torture.scenario import Outcome, Scenario, Skipped, wanted

#: How long a host is away, and the load before and after.
CUT_SECONDS, BEFORE_SECONDS = 4.0, 1.0
#: A request to a tracker is answered within this, whatever host is away; clients wait
#: longer.
ANSWER_SECONDS, PATIENCE_SECONDS = 35.0, 60.0
ROUNDS = 5
COMMAND_SECONDS = 20.0


def cut_off(
    estate: Estate, rounds: int, seed: int, cut: list[str], set_mode
) -> Outcome:  # type: ignore[no-untyped-def]
    """Every way of `cut` in every round: the host that it is done to is noticed, stores
    go on, it comes back, and in the end it has all copies."""
    outcome = Outcome()
    devid = device_of(estate, estate.nodes[-1])
    load = load_on(estate, seed, answer_seconds=PATIENCE_SECONDS)
    for _ in range(rounds):
        for mode in cut:
            time.sleep(BEFORE_SECONDS)
            began = time.monotonic()
            set_mode(mode)
            if mode != SLOW:
                wait_state(estate, devid, "unreachable")
            goes_on(load)
            time.sleep(max(0.0, began + CUT_SECONDS - time.monotonic()))
            set_mode(PASS)
            wait_state(estate, devid, "writeable")
    load.stop()
    found = audit(estate, load.ledger)
    outcome.faults += load.broken + found.faults
    if load.ledger.slowest > ANSWER_SECONDS:
        outcome.faults.append(f"a request took {load.ledger.slowest:.1f} s")
    outcome.times = (
        f"{rounds} times {', '.join(cut)}; {load.ledger.stored} files acknowledged,"
        f" seed {seed}"
    )
    outcome.notes.append(
        f"the slowest answer of a tracker took {load.ledger.slowest:.1f} s"
    )
    outcome.notes.append(found.words())
    return outcome


def by_proxy(rounds: int, seed: int, modes: tuple[str, ...]) -> Outcome:
    """The last host is seen only through a proxy."""
    proxies: list[Proxy] = []

    def prepare(node: Node) -> None:
        if node.number == estate.size:
            node.shown_address = f"127.0.1.{node.number}"
            for port in (node.ports.storage, node.ports.sidechannel):
                there = (node.address, port)
                proxies.append(Proxy((node.shown_address, port), there))

    def set_mode(mode: str) -> None:
        for proxy in proxies:
            proxy.mode = mode

    estate = Estate(prepare=prepare)
    outcome = Outcome()
    try:
        estate.start()
        outcome = cut_off(estate, rounds, seed, list(modes), set_mode)
    finally:
        estate.stop()
        for proxy in proxies:
            proxy.stop()
        if outcome.faults:
            print(estate.story)
    return outcome


class Cable:
    """A network namespace with one address, at the end of a cable."""

    def __init__(self, number: int) -> None:
        """`number` is that of the host in the network."""
        if os.geteuid() != 0:
            raise Skipped("a network namespace needs root")
        self.name = f"kobold{os.getpid()}"
        self.network = f"10.{random.randrange(64, 128)}.{random.randrange(256)}"
        self._outer = f"kb{os.getpid()}"
        try:
            _ip("netns", "add", self.name)
            peer = ("type", "veth", "peer", "name", "inner", "netns", self.name)
            _ip("link", "add", self._outer, *peer)
            for other in range(1, number):
                _ip("addr", "add", f"{self.network}.{other}/24", "dev", self._outer)
            mine = f"{self.network}.{number}/24"
            _ip("-n", self.name, "addr", "add", mine, "dev", "inner")
            _ip("link", "set", self._outer, "up")
            _ip("-n", self.name, "link", "set", "lo", "up")
            self.plug(True)
        except (OSError, RuntimeError) as error:
            self.remove()
            raise Skipped(f"no network namespace here: {error}") from None

    def plug(self, plugged: bool) -> None:
        """Pull the cable, or put it back."""
        state = "up" if plugged else "down"
        _ip("-n", self.name, "link", "set", "inner", state)

    def remove(self) -> None:
        """Leave nothing behind."""
        for words in (("link", "del", self._outer), ("netns", "del", self.name)):
            with suppress(OSError, RuntimeError):
                _ip(*words)


def _ip(*words: str) -> None:
    ended = subprocess.run(
        ["ip", *words], capture_output=True, text=True, timeout=COMMAND_SECONDS
    )
    if ended.returncode:
        raise RuntimeError(f"ip {' '.join(words)}: {ended.stderr.strip()}")


@contextmanager
def behind_cable() -> Iterator[tuple[Estate, Cable]]:
    """A cluster whose last node is in a namespace of its own."""
    nurseries: list[Nursery] = []

    def prepare(node: Node) -> None:
        if node.number == estate.size:
            nurseries.append(Nursery(environment(), "ip", "netns", "exec", cable.name))
            node.nursery = nurseries[0]  # type: ignore[attr-defined]

    estate = Estate(prepare=prepare)
    cable = Cable(estate.size)
    estate.network = cable.network
    try:
        yield estate.start(), cable  # type: ignore[misc]
    finally:
        estate.stop()
        for nursery in nurseries:
            nursery.close()
        cable.remove()


def by_cable(rounds: int, seed: int) -> Outcome:
    """The last host's cable is pulled."""
    with behind_cable() as (estate, cable):

        def set_mode(mode: str) -> None:
            cable.plug(mode == PASS)

        return cut_off(estate, rounds, seed, ["pulled"], set_mode)


def _proxied() -> Outcome:
    return by_proxy(wanted().kills or ROUNDS, wanted().seed, (SILENT, RESET, SLOW))


SCENARIOS: dict[str, Scenario] = {
    "host-behind-proxy": _proxied,
    "host-unplugged": lambda: by_cable(wanted().kills or ROUNDS, wanted().seed),
}
