"""What goes wrong in a run, and when it is mended again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from test.simulation.disk_harm import DiskHarm

#: So long after a fault was mended some who met it still wait (seconds).
AFTER_SECONDS = 12.0
#: Of how many of all kinds the faults of a run are: with few of them one meets another
#: of its own kind, or of one other, more often.
KINDS = (2, 3, 8, 20)


class Nemesis:
    """Does harm now and then, by chance. What destroys bytes for good happens to one
    device of a run only."""

    def __init__(self, world: Any) -> None:
        self.world, self.random = world, world.random
        self._left = world.plan.faults
        self._chosen: list[Callable[[], None]] = []
        self._mending: dict[int, tuple[Any, Callable[[], None]]] = {}
        self._number = 0
        self._troubles: list[tuple[float, float]] = []
        #: When all was mended for good.
        self.ended_at: float | None = None
        self.disks = DiskHarm(self)

    def begin(self) -> None:
        """From now on something happens now and then."""
        if self._left:
            self._later(self.random.random() * 2.0, self._strike)

    def _later(self, seconds: float, work: Callable[..., None], *args: Any) -> Any:
        return self.world.clock.call_later(None, seconds, work, args)

    def _strike(self) -> None:
        if self.ended_at is not None or not self._left:
            return
        self._left -= 1
        if not self._chosen:
            self._chosen = self.random.sample(self.kinds(), self.random.choice(KINDS))
        harm = self.random.choice(self._chosen)
        harm()
        self.world.check()
        self._later(self.random.random() * 3.0, self._strike)

    def kinds(self) -> list[Callable[[], None]]:
        """All that can be done to a cluster, as often as it should be."""
        return [
            self.partition,
            self.partition,
            self.slow_network,
            self.kill_tracker,
            self.kill_tracker,
            self.kill_node,
            self.crash_in_call,
            *(self.dies_naming, self.dies_naming),
            self.power_failure,
            self.blackout,
            self.database_away,
            self.database_forgets,
            self.database_slow,
            *(self.disks.full, self.disks.slow, self.disks.fails, self.disks.fails),
            *(self.disks.misreads, self.disks.flips, self.disks.flips),
            *(self.disks.wiped, self.disks.strays),
            # Whoever has his files checked shall have something to find.
            *[self.disks.flips] * (12 if self.world.plan.duty == "fsck" else 0),
        ]

    def troubled(self, since: float | None = None) -> bool:
        """Whether something is wrong, or was a moment ago, or at any time since."""
        now = self.world.clock.now
        began = now if since is None else since
        return any(
            begin <= now and began < end + AFTER_SECONDS
            for begin, end in self._troubles
        )

    def mend_later(self, seconds: float, mend: Callable[[], None]) -> None:
        """Have it mended so much later, or when all ends."""
        self._number += 1
        number = self._number
        call = self._later(seconds, self._mend, number)
        self._mending[number] = (call, mend)
        now = self.world.clock.now
        self._troubles.append((now, now + seconds))

    def _mend(self, number: int) -> None:
        _, mend = self._mending.pop(number)
        mend()

    def end(self) -> None:
        """Nothing goes wrong any more, and all is mended."""
        self.ended_at = self.world.clock.now
        for number in list(self._mending):
            call, _ = self._mending[number]
            call.cancel()
            self._mend(number)
        for ip in self.world.node_ips:
            self.replace_distrusted(ip)

    def note(self, text: str) -> None:
        """A line of the trace."""
        self.world.note(f"! {text}")

    # --- the network

    def partition(self) -> None:
        """A host, or a path, is cut off: both ways, or one."""
        world, random = self.world, self.random
        hosts = list(world.network.hosts)
        one = random.choice(hosts)
        if random.random() < 0.5:
            others = [ip for ip in hosts if ip != one]
        else:
            others = [random.choice([ip for ip in hosts if ip != one])]
        paths = []
        which = random.randrange(3)
        for other in others:
            if which != 1:
                paths.append((one, other))
            if which != 2:
                paths.append((other, one))
        self.note(f"cut {one} {('both', 'to', 'from')[which]} {len(others)} hosts")
        world.network.cut.update(paths)
        self.mend_later(random.uniform(0.5, 6.0), lambda: world.network.mend(*paths))

    def slow_network(self) -> None:
        """Packets get lost, and the others take long."""
        network = self.world.network
        network.loss, network.slowness = self.random.random() * 0.4, 30.0
        self.note(f"loss {network.loss:.2f}")

        def mend() -> None:
            network.loss, network.slowness = 0.0, 1.0

        self.mend_later(self.random.uniform(0.5, 4.0), mend)

    # --- processes

    def replace_distrusted(self, ip: str) -> None:
        """The operator has looked at a disk that failed, and starts the node anew."""
        world = self.world
        process = world.processes[ip]
        if not process.dead and process.distrusts():
            self.note(f"{process.name} is started anew")
            world.kill(ip)
            world.start(ip)

    def set_alive(self) -> None:
        """He says so of devices that trackers have set read-only; a tracker with old
        news of one may do that again."""
        execute = self.world.server.connection.execute
        execute("UPDATE device SET status = 'alive' WHERE status = 'readonly'")

    def restart_later(self, ip: str) -> None:
        """A process that has ended is started again."""
        world = self.world

        def restart() -> None:
            if world.processes[ip].dead:
                world.start(ip)

        self.mend_later(self.random.uniform(0.1, 3.0), restart)

    def _kill(self, ip: str) -> None:
        process = self.world.processes[ip]
        if not process.dead:
            self.note(f"kill {process.name}")
            self.world.kill(ip)
            self.restart_later(ip)

    def kill_tracker(self) -> None:
        """A tracker ends at once."""
        self._kill(self.random.choice(self.world.tracker_ips))

    def kill_node(self) -> None:
        """A node ends at once; what it wrote is still in the system's memory."""
        self._kill(self.random.choice(self.world.node_ips))

    def crash_in_call(self) -> None:
        """A node ends in one of its next calls of the disk."""
        process = self.world.processes[self.random.choice(self.world.node_ips)]
        if process.dead:
            return
        kind = self.random.choice(("", "sync", "rename", "sync_folder", "naming"))
        number = self.random.randint(1, 3 if kind else 30)
        process.handle.crash_in, process.handle.crash_kind = number, kind
        self.note(f"{process.name} ends in call {number} {kind}".rstrip())

        def mend() -> None:
            process.handle.crash_in = 0

        self.mend_later(self.random.uniform(0.5, 4.0), mend)

    def dies_naming(self) -> None:
        """A node ends when a file has its name and that is not flushed. It is back
        soon, with what it wrote still in the system's memory; then its machine may
        lose its power."""
        ip = self.random.choice(self.world.node_ips)
        process = self.world.processes[ip]
        if process.dead:
            return
        process.handle.crash_in, process.handle.crash_kind = 1, "naming"
        self.note(f"{process.name} ends when it has named a file")

        def mend() -> None:
            process.handle.crash_in = 0

        self.mend_later(self.random.uniform(1.0, 6.0), mend)
        if self.random.random() < 0.3:
            self._later(self.random.uniform(2.0, 8.0), self._lose_power, ip)

    def _lose_power(self, ip: str) -> None:
        if self.ended_at is None:
            self.note(f"power failure {ip}")
            self._power_off(ip)

    def _power_off(self, ip: str) -> None:
        world = self.world
        host = world.network.host(ip)
        if not host.powered:
            return
        host.powered = False
        world.kill(ip)
        world.disks[ip].power_failure()

        def restart() -> None:
            host.powered = True
            if world.processes[ip].dead:
                world.start(ip)

        self.mend_later(self.random.uniform(0.5, 4.0), restart)

    def power_failure(self) -> None:
        """A node's machine is without power: what was not flushed is gone."""
        self._lose_power(self.random.choice(self.world.node_ips))

    def blackout(self) -> None:
        """All nodes are without power."""
        self.note("blackout")
        for ip in self.world.node_ips:
            self._power_off(ip)

    # --- the database

    def database_away(self) -> None:
        """Nobody reaches it."""
        server = self.world.server
        server.away = True
        self.note("database away")

        def mend() -> None:
            server.away = False

        self.mend_later(self.random.uniform(0.1, 5.0), mend)

    def database_forgets(self) -> None:
        """Some connections break at a COMMIT: before it, or after it was done."""
        server = self.world.server
        server.unanswered = self.random.randrange(4)
        server.refused = self.random.randrange(4)
        self.note(f"database: {server.unanswered} unanswered, {server.refused} refused")

        def mend() -> None:
            server.unanswered = server.refused = 0

        self.mend_later(self.random.uniform(0.5, 3.0), mend)

    def database_slow(self) -> None:
        """Everything takes long."""
        server = self.world.server
        server.slow_seconds = self.random.choice((0.05, 0.5, 2.0))
        self.note(f"database takes {server.slow_seconds} s")

        def mend() -> None:
            server.slow_seconds = 0.0

        self.mend_later(self.random.uniform(0.5, 4.0), mend)
