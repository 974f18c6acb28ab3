"""One run: a cluster, its clients and its misfortune, all drawn from one seed."""

from __future__ import annotations

import gc
import hashlib
import json
from collections.abc import Callable
from random import Random
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.logger import formatEvent, globalLogPublisher

from koboldfs.storage.disk import Marker
from test.simulation import checkers
from test.simulation.adjusted import adjusted
from test.simulation.blocking import Sockets
from test.simulation.client import DOMAIN, Client
from test.simulation.clock import SimulatedClock
from test.simulation.database import Server
from test.simulation.disk import Crashed, Disk
from test.simulation.faults import Nemesis
from test.simulation.native import NativeClient
from test.simulation.network import Network
from test.simulation.operating import DUTIES, Operator
from test.simulation.processes import (
    DATA,
    DOCROOT,
    HTTP_PORT,
    NodeProcess,
    Process,
    TrackerProcess,
)
from test.simulation.quiet import grow_quiet, result_of
from test.simulation.truth import Truth

CLUSTER = "c" * 32
#: There is a device on every host, and on some of them one more.
HOSTS, MORE_DEVICES = 3, ((), (), (), (1,), (2,), (3, 1), (1, 2, 3))
#: Until all are up, and how long the clients may take in all (simulated seconds).
BOOT_SECONDS = 0.4
LIFE_SECONDS = 400.0


@frozen
class Plan:
    """What a seed decides before anything happens. Files lie in one folder, or each in
    a folder of its own (fids are `passed_over`)."""

    hosts: int
    device_hosts: tuple[int, ...]
    natives: tuple[bool, ...]
    duty: str
    operations: int
    pause_seconds: float
    policy: str
    ack_copies: int
    faults: int
    passed_over: int

    @classmethod
    def drawn(cls, random: Random) -> Plan:
        """One by chance."""
        return cls(
            hosts=HOSTS,
            device_hosts=(*range(1, HOSTS + 1), *random.choice(MORE_DEVICES)),
            natives=random.choice(((False, False), (False, True), (True, False))),
            duty=random.choice(("", "", "", "drain", *DUTIES)),
            operations=random.randint(2, 5),
            pause_seconds=random.choice((0.1, 0.8)),
            policy=random.choice(("AllHosts()", "MultipleHosts()")),
            ack_copies=random.choice((1, 2, 2, 2)),
            faults=random.choice((0, 2, 4, 6)),
            passed_over=random.choice((0, 999)),
        )

    def wanted_copies(self, hosts: int) -> int:
        """How many copies a file shall have in the end, with so many hosts."""
        return hosts if self.policy == "AllHosts()" else min(2, hosts)


class Simulation:
    """See the module. `run` it once; `trace` tells what happened."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = Random(seed)
        self.plan = Plan.drawn(self.random)
        self.clock = SimulatedClock()
        self.network = Network(self.clock, self.random)
        self.server = Server(self.clock.seconds, self.random)
        self.server.passed_over = self.plan.passed_over
        self.truth = Truth(self.clock.seconds, self.server.opened)
        self.disks: dict[str, Disk] = {}
        self.processes: dict[str, Process] = {}
        self.tracker_ips = ["10.0.1.1", "10.0.1.2"]
        self.node_ips = [f"10.0.0.{n + 1}" for n in range(self.plan.hosts)]
        #: The address of each device's host.
        self.devices = {
            devid: self.node_ips[number - 1]
            for devid, number in enumerate(self.plan.device_hosts, 1)
        }
        self.dead_devices: dict[int, float] = {}
        self.damaged: set[tuple[int, int]] = set()
        self.defects: list[str] = []
        self.trace: list[str] = []
        #: Called with each line of the trace.
        self.told: Callable[[str], object] = lambda line: None
        self._pids = 999_000_000
        self._alive: set[int] = set()
        self._seen: tuple[int, ...] = ()
        self.nemesis = Nemesis(self)
        self.operator = Operator(self)
        self.sockets = Sockets(self.clock)
        self.clients: list[Client] = []

    # --- the run

    def run(self) -> str:
        """Everything; returns a digest of all that happened. Raises `Broken`."""
        globalLogPublisher.addObserver(self._observe)
        # What is left of dead processes shall not be swept up in between.
        gc.disable()
        try:
            with adjusted(self._alive.__contains__, self.random, self.sockets):
                self._run()
        finally:
            gc.enable()
            globalLogPublisher.removeObserver(self._observe)
            for process in self.processes.values():
                process.kill()
        return self.digest()

    def digest(self) -> str:
        """Of all that happened so far."""
        text = "\n".join(self.trace)
        end = f"{text}\n{self.clock.events} {self.random.getstate()}"
        return hashlib.sha256(end.encode()).hexdigest()

    def _run(self) -> None:
        self._furnish()
        for ip in (*self.tracker_ips, *self.node_ips):
            self.start(ip)
        self.clock.run(BOOT_SECONDS)
        for number, native in enumerate(self.plan.natives, 1):
            self.clients.append((NativeClient if native else Client)(self, number))
        self.nemesis.begin()
        self.operator.begin()
        lives = [self._live(client) for client in self.clients]
        until = self.clock.now + LIFE_SECONDS
        while not all(one.called for one in lives) and self.clock.now < until:
            self.clock.step(until)
            if self.defects:
                self.check()
        for one in lives:
            if not one.called:
                checkers.broken("every_request_ends", "a client waits for ever")
            result_of(one)
        self.nemesis.end()
        grow_quiet(self)

    def _live(self, client: Client) -> Deferred[None]:
        return Deferred.fromCoroutine(client.live(self.plan.operations))

    # --- what processes and faults need

    def start(self, ip: str) -> None:
        """A process begins on a host."""
        kind = TrackerProcess if ip in self.tracker_ips else NodeProcess
        ips = self.tracker_ips if ip in self.tracker_ips else self.node_ips
        self.processes[ip] = kind(self, ip, ips.index(ip) + 1)

    def kill(self, ip: str) -> None:
        """The process on a host ends."""
        process = self.processes[ip]
        if not process.dead:
            self._alive.discard(process.pid)
            process.kill()

    def crashed(self, process: Process) -> None:
        """A process ended by itself, inside of a call; it is started again soon."""
        self.note(f"{process.name} ended in a call")
        self.kill(process.ip)
        self.nemesis.restart_later(process.ip)

    def next_pid(self) -> int:
        """A process number that no real process has."""
        self._pids += 1
        self._alive.add(self._pids)
        return self._pids

    def host_of(self, devid: int) -> int:
        """The number of a device's host."""
        return self.node_ips.index(self.ip_of(devid)) + 1

    def ip_of(self, devid: int) -> str:
        """The address of a device's host; a new disk may have become a new device."""
        if devid not in self.devices:
            sql = "SELECT hostid FROM device WHERE devid = ?"
            self.devices[devid] = self.node_ips[self.server.rows(sql, devid)[0][0] - 1]
        return self.devices[devid]

    def wanting_hosts(self) -> set[int]:
        """The hosts that the operator, and their disks, let have files."""
        rows = self.server.rows("SELECT hostid FROM device WHERE status = 'alive'")
        return {hostid for (hostid,) in rows}

    def destroyed(self) -> bool:
        """Whether the simulation destroyed copies, or had them taken for bad ones."""
        disks = self.nemesis.disks
        return bool(self.damaged) or disks.wiped_at is not None or disks.misread

    def is_damaged(self, devid: int, fid: int) -> bool:
        """Whether the simulation has damaged that copy, or what is read from it."""
        return (devid, fid) in self.damaged or self.nemesis.disks.lies(devid)

    def knows_since(self, since: float) -> bool:
        """Whether every tracker knows what it could have asked the database then."""
        ended_at = self.nemesis.ended_at
        if ended_at is not None:
            return self.clock.now > max(since, ended_at + checkers.NEWS_SECONDS)
        return self.clock.now > since and not self.nemesis.troubled()

    def troubled(self, since: float | None = None) -> bool:
        """Whether a store may be refused, or be answered with too few copies, that was
        asked for then (now, unless it is said)."""
        asked = self.clock.now if since is None else since
        wrong = self.nemesis.troubled(since) or self.nemesis.disks.losing()
        return wrong or self.operator.is_news(asked)

    def note(self, text: str) -> None:
        """A line of the trace."""
        line = f"{self.clock.now:9.3f} {text}"
        self.trace.append(line)
        self.told(line)

    def defect(self, text: str) -> None:
        """Something in the product that must not happen."""
        self.defects.append(text)

    def check(self) -> None:
        """Look at what must be true at every step, if anything has changed."""
        changes = (
            self.server.connection.total_changes,
            len(self.trace),
            *(disk.changes for disk in self.disks.values()),
        )
        if changes != self._seen or self.defects:
            self._seen = changes
            for rule in checkers.EVERY_STEP:
                rule(self)

    def _observe(self, event: Any) -> None:
        if "log_failure" in event and event.get("log_level") is not None:
            failure = event["log_failure"]
            if failure.check(Crashed) is not None:
                return
            self.defect(f"{formatEvent(event)}: {failure.getTraceback()}")

    # --- the beginning

    def _furnish(self) -> None:
        """A cluster that has been there for a while: rows and disks."""
        execute = self.server.connection.execute
        settings = {
            "schema_version": "17",
            "kobold_created": "simulated",
            "kobold_cluster_id": CLUSTER,
            "kobold_policy": self.plan.policy,
            "kobold_ack_copies": str(self.plan.ack_copies),
            "kobold_scrub_days": "0",  # when it is asked for
            "kobold_sweep_seen": ",".join(str(n + 1) for n in range(len(self.devices))),
        }
        for name, value in settings.items():
            execute("INSERT INTO server_settings VALUES (?, ?)", (name, value))
        execute("INSERT INTO domain VALUES (1, ?)", (DOMAIN,))
        for number, ip in enumerate(self.node_ips, 1):
            execute(
                "INSERT INTO host (hostid, status, http_port, hostname, hostip)"
                " VALUES (?, 'alive', ?, ?, ?)",
                (number, HTTP_PORT, f"node{number}", ip),
            )
            disk = self.disks[ip] = Disk(self.random, self.clock.seconds)
            own = [devid for devid in self.devices if self.host_of(devid) == number]
            for devid in own:
                execute(
                    "INSERT INTO device (devid, hostid, status) VALUES (?, ?, 'alive')",
                    (devid, number),
                )
                marker = Marker(CLUSTER, f"node{number}", devid, f"{devid:032x}")
                disk.put(f"{DOCROOT}/dev{devid}/.koboldfs-device", marker.data())
                disk.make_folders(f"{DOCROOT}/dev{devid}/.koboldfs/tmp")
            devices = {str(devid): f"{devid:032x}" for devid in own}
            memory = json.dumps({"version": 1, "devices": devices})
            disk.put(f"{DATA}/node.json", memory.encode())
