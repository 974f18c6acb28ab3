"""Clusters of real ``twistd koboldfs`` processes on loopback addresses.

Every node N has the address 127.0.0.N, all nodes the same four free ports, and a folder
of its own below one temporary folder. On SQLite node 1 is the tracker and all are
storage nodes; on PostgreSQL every node is both. Whatever starts here is a child of this
process and ends by its pid, at the latest in `Cluster.stop`.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from attrs import define, field, frozen

from test.functional import postgresql
from test.functional.nursery import NONE, ROOT, Born, Nursery
from test.functional.ports import free_ports
from test.functional.tracker_line import Refused, TrackerLine

#: From the first start to a cluster that can store; about 3 s on an idle machine.
READY_SECONDS = 60.0
#: From SIGTERM to the end of a process; then it is killed.
STOP_SECONDS = 15.0
POLL_SECONDS = 0.05
#: How much of a node's log a failed test shows.
LOG_BYTES = 6000

DOMAIN = "demo"
TWISTD = ("-c", "from twisted.scripts.twistd import run; run()")

T = TypeVar("T")


def wait_until(
    predicate: Callable[[], T],
    seconds: float,
    what: str = "",
    pause: float = POLL_SECONDS,
) -> T:
    """Ask until the answer is true, and return it.

    Errors of a cluster that is not there yet count as not true. Raises AssertionError
    after `seconds`, with the last answer.
    """
    deadline = time.monotonic() + seconds
    while True:
        last: object
        try:
            last = answer = predicate()
            if answer:
                return answer
        except (OSError, Refused) as error:
            last = error
        if time.monotonic() > deadline:
            name = what or getattr(predicate, "__name__", "it")
            raise AssertionError(f"not within {seconds} s: {name} (last: {last!r})")
        time.sleep(pause)


@frozen
class Ports:
    """The four ports, the same on every node."""

    tracker: int
    native: int
    storage: int
    sidechannel: int

    @classmethod
    def free(cls, addresses: Sequence[str]) -> Ports:
        """Four ports that nobody uses on any of the addresses."""
        return cls(*free_ports(4, list(addresses)))


def environment() -> dict[str, str]:
    """What a process that we start sees: our source tree before any other koboldfs."""
    ours = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("KOBOLDFS_", "PG"))
    }
    paths = [str(ROOT), *filter(None, [ours.get("PYTHONPATH")])]
    return {**ours, "PYTHONPATH": os.pathsep.join(paths)}


_nurseries: list[Nursery] = []


def nursery() -> Nursery:
    """One that all clusters of this process use."""
    if not _nurseries:
        made = Nursery(environment())
        atexit.register(made.close)
        _nurseries.append(made)
    return _nurseries[0]


@define(eq=False)
class Node:
    """One process and its folder. It is started as an operator does, or, if `is_quick`,
    forked by the nursery, which takes a tenth of the time; then it may have other
    `constants` than the product, see there."""

    number: int
    folder: Path
    ports: Ports
    arguments: list[str] = field(factory=list)
    is_tracker: bool = True
    is_storage: bool = True
    #: What Python runs.
    program: Sequence[str] = TWISTD
    is_quick: bool = False
    constants: Mapping[str, float] = NONE
    process: subprocess.Popen[bytes] | Born | None = None
    #: The first three numbers of its address; and the address that it tells others,
    #: where that is another one.
    network: str = "127.0.0"
    shown_address: str = ""

    @property
    def address(self) -> str:
        """The IP address on which it listens."""
        return f"{self.network}.{self.number}"

    @property
    def name(self) -> str:
        """The name of its host in the cluster."""
        return f"node{self.number}"

    @property
    def log(self) -> Path:
        """Where it writes what it has to say."""
        return self.folder / "twistd.log"

    def command(self) -> list[str]:
        """The command line, for reading and for starting."""
        listen = [
            f"--{door}-listen=tcp:{port}:interface={self.address}"
            for door, port, here in (
                ("tracker", self.ports.tracker, self.is_tracker),
                ("native", self.ports.native, self.is_tracker),
                ("storage", self.ports.storage, self.is_storage),
                ("sidechannel", self.ports.sidechannel, self.is_storage),
            )
            if here
        ]
        roles = ["--tracker"] if self.is_tracker else []
        roles += ["--storage"] if self.is_storage else []
        shown = self.shown_address or self.address
        identity = [f"--host-name={self.name}", f"--host-ip={shown}"]
        quiet = ["--nodaemon", "--pidfile=", f"--logfile={self.log}"]
        mine = [*roles, *identity, *listen, *self.arguments]
        return [sys.executable, *self.program, *quiet, "koboldfs", *mine]

    def start(self) -> None:
        """Start the process, in its folder; it is not waited for."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.is_quick and self.program == TWISTD:
            self.process = self._forked(nursery())
            return
        with (self.folder / "output").open("ab") as output:
            self.process = subprocess.Popen(
                self.command(),
                cwd=self.folder,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def _forked(self, nursery: Nursery, points: Path | None = None) -> Born:
        argv = self.command()[1 + len(self.program) :]
        output = self.folder / "output"
        return nursery.start(argv, self.folder, output, points, self.constants)

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self.process is not None and self.process.poll() is None

    def must_run(self) -> None:
        """Raises AssertionError, with its last words, if the process has ended."""
        if not self.running:
            raise AssertionError(f"{self.name} has ended:\n{self.last_words()}")

    def kill(self) -> None:
        """End it as a power cut would: SIGKILL, no last words."""
        if self.process is not None and self.running:
            self.process.kill()
            self.process.wait()

    def pause(self) -> None:
        """Let it hang: it keeps its connections and answers nothing."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after `pause`."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def stop(self) -> int | None:
        """End it in order; returns its exit status (None if it never ran)."""
        if self.process is None:
            return None
        if self.running:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
        return self.process.returncode

    def tracker(self, seconds: float = 15.0) -> TrackerLine:
        """A new connection to its tracker port."""
        return TrackerLine(self.address, self.ports.tracker, seconds)

    def last_words(self) -> str:
        """The end of its output and log."""
        found = [f"--- {self.name}: {' '.join(self.command()[3:])}"]
        for path in (self.folder / "output", self.log):
            with contextlib.suppress(OSError):
                found.append(path.read_bytes()[-LOG_BYTES:].decode("utf-8", "replace"))
        return "\n".join(found)


@define(eq=False)
class Cluster:
    """Some nodes on one database.

    `database` is ``sqlite`` or ``postgresql`` (a new database on the shared server), or
    a URL. `arguments` are given to every node, on top of those that make the cluster;
    `is_quick` and `constants` are how all of them are started, see `Node`.
    """

    size: int = 3
    database: str = "sqlite"
    arguments: tuple[str, ...] = ()
    settings: dict[str, str] = field(factory=dict)
    is_quick: bool = True
    constants: Mapping[str, float] = NONE
    #: What runs on a node of that number in place of twistd.
    programs: dict[int, Sequence[str]] = field(factory=dict)
    folder: Path = field(
        factory=lambda: Path(tempfile.mkdtemp(prefix="koboldfs-cluster-"))
    )
    nodes: list[Node] = field(factory=list)
    url: str = ""
    #: One more address is looked at, for a host that comes later.
    ports: Ports = field(init=False)
    story: str = ""

    def __attrs_post_init__(self) -> None:
        addresses = [f"127.0.0.{number}" for number in range(1, self.size + 3)]
        self.ports = Ports.free(addresses)

    def start(self) -> Cluster:
        """Start all nodes; returns when every one of them can be stored on."""
        if self.database == "postgresql":
            self.url = postgresql.shared().new_database()
        elif self.database == "sqlite":
            self.url = f"sqlite:///{self.folder / 'koboldfs.db'}"
        else:
            self.url = self.database
        for _ in range(self.size):
            self.add_node().start()
        self.wait_ready()
        for name, value in self.settings.items():
            with self.tracker() as tracker:
                tracker.ask("set_server_setting", key=name, value=value)
        return self

    def add_node(self, devices: int = 1) -> Node:
        """One more node, not started yet."""
        number = len(self.nodes) + 1
        is_tracker = self.database != "sqlite" or number == 1
        folder = self.folder / f"node{number}"
        arguments = [f"--devices={devices}", f"--data={folder / 'data'}"]
        if is_tracker:
            arguments += [f"--database={self.url}", f"--domain={DOMAIN}"]
        else:
            first = self.nodes[0]
            arguments.append(f"--join={first.address}:{self.ports.tracker}")
        arguments += self.arguments
        node = Node(number, folder, self.ports, arguments, is_tracker)
        node.is_quick, node.constants = self.is_quick, self.constants
        node.program = self.programs.get(number, TWISTD)
        self.nodes.append(node)
        return node

    def wait_ready(self, seconds: float = READY_SECONDS) -> None:
        """Until every tracker that runs sees every node that runs as writable."""
        for node in self.nodes:
            if node.is_tracker and node.running:
                wait_until(
                    lambda node=node: self._sees_all(node),
                    seconds,
                    f"{node.name} sees every device writable",
                )

    def _sees_all(self, node: Node) -> bool:
        node.must_run()
        here = [one.name for one in self.nodes if one.running and one.is_storage]
        with node.tracker(5) as tracker:
            ready = {
                device["hostname"]
                for device in devices(tracker)
                if device["observed_state"] == "writeable"
            }
        return ready.issuperset(here)

    @property
    def trackers(self) -> list[Node]:
        """The nodes that run a tracker now."""
        return [node for node in self.nodes if node.is_tracker and node.running]

    def tracker(self, number: int = 0) -> TrackerLine:
        """A new connection to one of the running trackers."""
        return self.trackers[number].tracker()

    def servers(self) -> list[str]:
        """The native ports of the running trackers, as ``HOST:PORT``."""
        return [f"{node.address}:{self.ports.native}" for node in self.trackers]

    def copies(self, key: str) -> list[Path]:
        """The files that hold the key's content on the nodes' disks, wherever the
        database says they lie."""
        with self.tracker() as tracker:
            found = tracker.ask("file_info", domain=DOMAIN, key=key, devices=1)
        digits = f"{int(found['fid']):010d}"
        tail = f"{digits[0]}/{digits[1:4]}/{digits[4:7]}/{digits}.fid"
        devids = [devid for devid in found.get("devids", "").split(",") if devid]
        places = [
            node.folder / "data" / "devices" / f"dev{devid}" / tail
            for devid in devids
            for node in self.nodes
        ]
        return [place for place in places if place.exists()]

    def wait_copies(self, key: str, count: int, seconds: float = 30.0) -> list[Path]:
        """Until `count` copies lie on the disks, or AssertionError."""
        what = f"{count} copies of {key}"
        wait_until(lambda: len(self.copies(key)) == count, seconds, what)
        return self.copies(key)

    def stop(self) -> None:
        """End everything; the last words of the nodes are kept in `story`."""
        for node in self.nodes:
            if node.process is not None and node.running:
                node.process.send_signal(signal.SIGCONT)
                node.process.terminate()
        for node in self.nodes:
            node.stop()
        self.story = "\n".join(node.last_words() for node in self.nodes)
        if self.database == "postgresql" and self.url:
            postgresql.shared().drop(self.url)
        shutil.rmtree(self.folder, ignore_errors=True)


def devices(tracker: TrackerLine) -> list[dict[str, str]]:
    """What get_devices says, one dictionary a device, with its host's ``hostname``."""
    hosts = {
        host["hostid"]: host["hostname"]
        for host in _numbered(tracker.ask("get_hosts"), "host")
    }
    found = _numbered(tracker.ask("get_devices"), "dev")
    return [{**device, "hostname": hosts.get(device["hostid"], "")} for device in found]


def hosts(tracker: TrackerLine) -> list[dict[str, str]]:
    """What get_hosts says, one dictionary a host."""
    return _numbered(tracker.ask("get_hosts"), "host")


def _numbered(fields: dict[str, str], word: str) -> list[dict[str, str]]:
    found: dict[int, dict[str, str]] = {}
    for name, value in fields.items():
        head, _, tail = name.partition("_")
        if head.startswith(word) and head[len(word) :].isdigit() and tail:
            found.setdefault(int(head[len(word) :]), {})[tail] = value
    return [found[number] for number in sorted(found)]


def run_twistd(
    arguments: Sequence[str], folder: Path, seconds: float = 20.0
) -> subprocess.CompletedProcess[str]:
    """Run ``twistd -n koboldfs ARGUMENTS`` in `folder` until it ends by itself.

    Raises subprocess.TimeoutExpired (and kills it) if it does not.
    """
    command = [sys.executable, *TWISTD, "--nodaemon", "--pidfile=", "koboldfs"]
    return subprocess.run(
        [*command, *arguments],
        cwd=folder,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
    )
