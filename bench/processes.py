"""The rows of several processes on one set of ports, beside one process that serves the
same from the same machine in the same minute."""

from __future__ import annotations

import random
from collections.abc import Callable

from bench import scripts
from bench.exchange import Address, Measured
from bench.limits import wait_for
from bench.rows import CLIENTS, CONNECTIONS, Bench, milliseconds
from bench.subject import Subject
from bench.table import Row
from test.functional.cluster import Node
from test.functional.processes import wait_ready

#: Figures that are compared are taken by turns, so that both have the same noise.
TURNS = 3
PROCESSES = 2


def processes(bench: Bench) -> list[Row]:
    """get_paths and GET, with two processes and with one."""
    return [get_paths(bench), node_get(bench)]


def get_paths(bench: Bench) -> Row:
    """get_paths of files that are there."""
    subject, keys = bench.subject, bench.stored
    # A tracker of its own, beside the one that was used before.
    node = subject.add_tracker("all")

    def load(address: Address) -> Measured:
        return bench.load(
            lambda: scripts.get_paths(address, keys, random.Random()), CONNECTIONS
        )

    name = f"get_paths, {PROCESSES} processes"
    return _compared(name, subject, node, subject.tracker, node.ports.tracker, load)


def node_get(bench: Bench) -> Row:
    """GET of one small file from storage nodes without a tracker."""
    path = "/dev1/0/000/900/0000900001.fid"

    def load(address: Address) -> Measured:
        return bench.load(lambda: scripts.http_get(address, path), CLIENTS)

    subject = Subject(bench.server, storages=2)
    try:
        one, two = (_alone(subject) for _ in range(2))
        one.start()
        wait_ready(one)
        for node in (one, two):
            file = node.folder / "data" / "devices" / path[1:]
            file.parent.mkdir(parents=True)
            file.write_bytes(scripts.BODY)
        there = one.address, subject.ports.storage
        name = f"storage node GET 1 KiB, {PROCESSES} processes"
        return _compared(name, subject, two, there, subject.ports.storage, load)
    finally:
        subject.stop()


def _alone(subject: Subject) -> Node:
    number = len(subject.nodes) + 1
    folder = subject.folder / f"alone{number}"
    node = Node(
        number, folder, subject.ports, [f"--data={folder / 'data'}"], False, True
    )
    subject.nodes.append(node)
    return node


def _compared(
    name: str,
    subject: Subject,
    node: Node,
    one: Address,
    port: int,
    load: Callable[[Address], Measured],
) -> Row:
    """Start `node` with several processes, and compare it with `one`."""
    node.arguments.append(f"--processes={PROCESSES}")
    node.start()
    try:
        wait_ready(node)
        many = node.address, port
        wait_for(many)
        alone, together = [], []
        for _ in range(TURNS):
            alone.append(load(one))
            together.append(load(many))
    finally:
        node.stop()
        subject.nodes.remove(node)
    best = max(together, key=lambda found: found.rate)
    return Row(
        name,
        best.rate,
        "requests/s",
        max(found.rate for found in alone),
        "the same with one process",
        **milliseconds(best),
    )
