"""Clusters to be tortured: processes of one role each, quick to come back."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from attrs import define, field

from test.functional import cluster
from test.functional.cluster import DOMAIN, Cluster, Node
from test.functional.nursery import NONE, Nursery

#: Numbers of the product that are others in these processes, see the nursery.
CONSTANTS: Mapping[str, float] = NONE
#: Memory, where there is some: what is tested is ours, not the disk.
_SHM = Path("/dev/shm")


def scratch(prefix: str = "koboldfs-torture-") -> Path:
    """A new folder, in memory if possible."""
    where = _SHM if os.access(_SHM, os.W_OK) else None
    return Path(tempfile.mkdtemp(prefix=prefix, dir=where))


@define(eq=False)
class QuickNode(Node):
    """A node that a nursery of choice starts. `points` is a folder of crash points."""

    nursery: Nursery | None = None
    points: Path | None = None

    def start(self) -> None:
        """See `Node.start`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        assert self.nursery is not None
        self.process = self._forked(self.nursery, self.points)


@define(eq=False)
class Estate(Cluster):
    """`trackers_first` nodes that are trackers only, the others storage only, for a
    database of their own; as many as the size says in all."""

    size: int = 5
    database: str = "postgresql"
    trackers_first: int = 2
    folder: Path = field(factory=scratch)
    nursery: Nursery = field(factory=cluster.nursery)
    #: Whether the processes can be made to die at a point of choice.
    crash_points: bool = False
    devices_each: int = 1
    network: str = "127.0.0"
    #: What is done with a node's folders before it starts for the first time.
    prepare: Callable[[Node], None] = lambda node: None
    arguments: tuple[str, ...] = ("--no-fsync",)
    constants: Mapping[str, float] = field(factory=lambda: CONSTANTS)

    def add_node(self, devices: int = 0) -> Node:
        """See `Cluster.add_node`."""
        number = len(self.nodes) + 1
        is_tracker = number <= self.trackers_first
        folder = self.folder / f"node{number}"
        arguments = [f"--data={folder / 'data'}"]
        if is_tracker:
            arguments += [f"--database={self.url}", f"--domain={DOMAIN}"]
        else:
            first = self.nodes[: self.trackers_first]
            others = ",".join(f"{one.address}:{self.ports.tracker}" for one in first)
            arguments += [f"--join={others}"]
            arguments += [f"--devices={devices or self.devices_each}", *self.arguments]
        node = QuickNode(
            number,
            folder,
            self.ports,
            arguments,
            is_tracker,
            not is_tracker,
            network=self.network,
            nursery=self.nursery,
            points=folder / "points" if self.crash_points else None,
            constants=self.constants,
        )
        self.nodes.append(node)
        self.prepare(node)
        return node

    @property
    def stores(self) -> Sequence[Node]:
        """The storage nodes."""
        return [node for node in self.nodes if node.is_storage]

    def devices_of(self, devid: int) -> Path | None:
        """The folder of a device, whichever node has it."""
        for node in self.stores:
            path = node.folder / "data" / "devices" / f"dev{devid}"
            if path.is_dir():
                return path
        return None
