"""The processes of the demonstration: three nodes on three loopback addresses.

Every node is a ``twistd -n koboldfs`` of its own, in a session of its own, so that a
Ctrl-C in the terminal reaches only us and we end them in order, by their pids.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from attrs import define, field, frozen

from koboldfs.errors import WorldError

ADDRESSES = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
DOMAIN = "demo"
#: Tracker, native, storage, side channel, as in the service's own defaults.
USUAL_PORTS = (7001, 9876, 7500, 7501)
#: From SIGTERM to SIGKILL (seconds); a node needs about 0.3.
STOP_SECONDS = 5.0
#: How much of a log is shown when something went wrong (lines).
TAIL_LINES = 15
_TAIL_BYTES = 32 * 1024
#: How many free ports are tried until one is free on all addresses.
_PORT_TRIES = 100


#: A node runs twistd, and ends when its standard input does: that is when we are gone,
#: however that came about.
_PROGRAM = """
import os, signal, sys, threading
def end_with_parent():
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)
threading.Thread(target=end_with_parent, daemon=True).start()
from twisted.scripts.twistd import run
run()
"""


class DemoFailed(WorldError):
    """The demonstration cannot go on; the message says why, in one line."""


@frozen
class Ports:
    """The four ports; the same on every node that has the service."""

    tracker: int
    native: int
    storage: int
    sidechannel: int

    @property
    def usual(self) -> bool:
        """Whether they are the defaults."""
        return (self.tracker, self.native, self.storage, self.sidechannel) == (
            USUAL_PORTS
        )


def is_free(address: str, port: int) -> bool:
    """Whether we could listen there. Raises `DemoFailed` for a foreign address."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
            probe.listen(1)
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise DemoFailed(
                    f"{address} is no address of this machine "
                    f"(macOS: sudo ifconfig lo0 alias {address})"
                ) from error
            return False
    return True


def choose_ports() -> Ports:
    """The usual ports where they are free on all addresses, else free ones."""
    chosen: list[int] = []
    for port, addresses in zip(
        USUAL_PORTS, (ADDRESSES[:1], ADDRESSES[:1], ADDRESSES, ADDRESSES), strict=True
    ):
        free = all(is_free(address, port) for address in addresses)
        chosen.append(port if free else _any_port(addresses, chosen))
    return Ports(*chosen)


def _any_port(addresses: tuple[str, ...], taken: list[int]) -> int:
    for _ in range(_PORT_TRIES):
        with socket.socket() as probe:
            probe.bind((addresses[0], 0))
            port: int = probe.getsockname()[1]
        if port not in taken and all(is_free(address, port) for address in addresses):
            return port
    raise DemoFailed("there is no free port on all of " + ", ".join(addresses))


@define(eq=False)
class Node:
    """One process and its folder. `number` 1 is also the tracker."""

    number: int
    folder: Path
    ports: Ports
    process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def name(self) -> str:
        """The name of its host in the cluster."""
        return f"node{self.number}"

    @property
    def address(self) -> str:
        """The address that it listens on."""
        return ADDRESSES[self.number - 1]

    @property
    def docroot(self) -> Path:
        """The folder of its devices."""
        return self.folder / "devices"

    @property
    def log(self) -> Path:
        """All that it has to say."""
        return self.folder.parent / f"{self.name}.log"

    @property
    def pid(self) -> int:
        """Of the process that runs, or ran last."""
        return self.process.pid if self.process is not None else 0

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self.process is not None and self.process.poll() is None

    def options(self) -> list[str]:
        """What stands after ``twistd -n koboldfs``."""
        ports = self.ports
        tracker = f"{ADDRESSES[0]}:{ports.tracker}"
        doors = [("storage", ports.storage), ("sidechannel", ports.sidechannel)]
        if self.number == 1:
            roles = ["--tracker", "--storage", "--domain", DOMAIN]
            doors += [("tracker", ports.tracker), ("native", ports.native)]
        else:
            roles = ["--storage", "--join", tracker]
        identity = ["--host-name", self.name, "--host-ip", self.address]
        listen: list[str] = []
        for door, port in doors:
            listen += [f"--{door}-listen", f"tcp:{port}:interface={self.address}"]
        return [*roles, "--data", str(self.folder), *identity, *listen]

    def command(self) -> list[str]:
        """The whole command line."""
        twistd = [sys.executable, "-c", _PROGRAM]
        return [*twistd, "--nodaemon", "--pidfile=", "koboldfs", *self.options()]

    def start(self) -> None:
        """Start the process; it is not waited for."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                cwd=self.folder,
                env=environment(),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def kill(self) -> None:
        """End it as a power cut would: SIGKILL, no last words."""
        if self.process is not None and self.running:
            self.process.kill()
            self.process.wait(STOP_SECONDS)
        self.let_go()

    def let_go(self) -> None:
        """Close our end of its standard input."""
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()

    def tail(self) -> str:
        """The last lines of its log."""
        with contextlib.suppress(OSError), self.log.open("rb") as log:
            log.seek(0, os.SEEK_END)
            log.seek(max(0, log.tell() - _TAIL_BYTES))
            text = log.read().decode("utf-8", "replace")
            return "\n".join(text.splitlines()[-TAIL_LINES:])
        return ""


def environment() -> dict[str, str]:
    """What a node sees: this very package, and no options from outside."""
    root = str(Path(__file__).resolve().parent.parent.parent)
    ours = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("KOBOLDFS_")
    }
    paths = [root, *filter(None, [ours.get("PYTHONPATH")])]
    return {**ours, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}


def stop_all(nodes: list[Node]) -> None:
    """End all that still run, the tracker last; whoever takes too long is killed."""
    for node in reversed(nodes):
        if node.process is not None and node.running:
            node.process.send_signal(signal.SIGCONT)
            node.process.terminate()
            try:
                node.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                node.kill()
        node.let_go()
