"""What is measured: a tracker and storage nodes, each a process of its own."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from attrs import define, field

from bench.exchange import Address
from bench.limits import wait_for
from test.functional.cluster import DOMAIN, Node, Ports, devices, wait_until
from test.functional.postgresql import PostgreSQL
from test.functional.tracker_line import TrackerLine

READY_SECONDS = 60.0


@define(eq=False)
class Subject:
    """One tracker and some storage nodes in processes of their own.

    A store is answered with one copy; the `policy` says how many come later. `jobs`
    is what the tracker does in the background; without `fsync` the storage nodes do
    not wait for their disks.
    """

    server: PostgreSQL
    storages: int = 1
    jobs: str = "all"
    fsync: bool = True
    policy: str = "AllHosts()"
    folder: Path = field(
        factory=lambda: Path(tempfile.mkdtemp(prefix="koboldfs-bench-"))
    )
    nodes: list[Node] = field(factory=list)
    url: str = ""
    ports: Ports = field(init=False)

    def __attrs_post_init__(self) -> None:
        addresses = [f"127.0.0.{number}" for number in range(1, self.storages + 4)]
        self.ports = Ports.free(addresses)

    def start(self) -> Subject:
        """Start all processes; returns when files can be stored."""
        self.url = self.server.new_database()
        self.add_tracker(self.jobs).start()
        wait_for(self.tracker)
        for _ in range(self.storages):
            self.add_storage().start()
        with self.line() as line:
            line.ask("set_server_setting", key="kobold_ack_copies", value=1)
            wait_until(lambda: self._writable(line), READY_SECONDS, "all writable")
        return self

    def add_tracker(self, jobs: str) -> Node:
        """One more tracker, not started yet."""
        number = len(self.nodes) + 1
        folder = self.folder / f"tracker{number}"
        arguments = [
            f"--database={self.url}",
            f"--domain={DOMAIN}",
            f"--jobs={jobs}",
            f"--policy={self.policy}",
            f"--data={folder}",
        ]
        return self._add(Node(number, folder, self.ports, arguments, True, False))

    def add_storage(self) -> Node:
        """One more storage node, not started yet."""
        number = len(self.nodes) + 1
        folder = self.folder / f"storage{number}"
        join = f"--join={self.tracker[0]}:{self.tracker[1]}"
        arguments = [join, f"--data={folder / 'data'}"]
        if not self.fsync:
            arguments.append("--no-fsync")
        return self._add(Node(number, folder, self.ports, arguments, False, True))

    def _add(self, node: Node) -> Node:
        self.nodes.append(node)
        return node

    def _writable(self, line: TrackerLine) -> bool:
        states = [device["observed_state"] for device in devices(line)]
        return states == ["writeable"] * self.storages

    @property
    def tracker(self) -> Address:
        """Where the first tracker listens."""
        return self.nodes[0].address, self.ports.tracker

    @property
    def native(self) -> str:
        """Its native port, as the client takes it."""
        return f"{self.nodes[0].address}:{self.ports.native}"

    @property
    def storage(self) -> Address:
        """Where the first storage node listens."""
        node = next(node for node in self.nodes if node.is_storage)
        return node.address, self.ports.storage

    def line(self) -> TrackerLine:
        """A connection to the first tracker."""
        return TrackerLine(*self.tracker)

    def pid(self, node: Node) -> int:
        """Of a node that runs."""
        assert node.process is not None
        return node.process.pid

    def stop(self) -> str:
        """End everything; returns the nodes' last words."""
        for node in self.nodes:
            node.stop()
        story = "\n".join(node.last_words() for node in self.nodes)
        shutil.rmtree(self.folder, ignore_errors=True)
        return story
