"""A storage node in a process of its own, without a tracker."""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
from pathlib import Path

#: No single step of a test takes longer (seconds).
STEP_SECONDS = 30.0
STOP_SECONDS = 10.0
ROOT = Path(__file__).resolve().parent.parent.parent
#: Every host name is the node at the port that the environment tells.
PROGRAM = """\
import os, sys
from pathlib import Path
from twisted.internet import reactor
from koboldfs.storage.service import StorageNode

class Peers:
    async def address(self, name):
        return "127.0.0.1", int(name)

listen = "tcp:0:interface=127.0.0.1"
root = Path(sys.argv[1])
fsync = sys.argv[2] == "fsync"
node = StorageNode(
    reactor, root / "devices", root / "data", listen, listen, fsync=fsync, peers=Peers()
)

def start():
    node.startService()
    reactor.addSystemEventTrigger("before", "shutdown", node.stopService)
    tell()

def tell():
    devices = node.folders.devices()
    ready = all(one.observed == "writeable" for one in devices)
    if ready and len(devices) == int(sys.argv[3]):
        print(node.http_port, node.sidechannel_port, flush=True)
    else:
        reactor.callLater(0.02, tell)

reactor.callWhenRunning(start)
reactor.run()
"""


class StorageProcess:
    """Started with its devices writeable; `http_port` and `sidechannel_port`."""

    def __init__(self, root: Path, devices: int = 1, *, fsync: bool = True) -> None:
        self.root = root
        for number in range(1, devices + 1):
            self.device(number).mkdir(parents=True, exist_ok=True)
        self.log = (root / "log").open("ab")
        mode = "fsync" if fsync else "no-fsync"
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(root), mode, str(devices)],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self.log,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.stop()
            raise AssertionError((root / "log").read_text())
        self.http_port, self.sidechannel_port = map(int, line.split())

    def device(self, number: int) -> Path:
        """The folder of a device."""
        return self.root / "devices" / f"dev{number}"

    def files(self, number: int = 1) -> set[str]:
        """What is on a device, beside what the node keeps there of its own."""
        folder = self.device(number)
        found = {str(path.relative_to(folder)) for path in folder.rglob("*")}
        return {name for name in found if (folder / name).is_file()} - {"usage"}

    def memory_kib(self, field: str) -> int:
        """VmRSS (now) or VmHWM (the most it ever was)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split(f"{field}:")[1].split()[0])

    def connect(self, port: int = 0) -> socket.socket:
        """A connection to HTTP, or to another port of it."""
        address = ("127.0.0.1", port or self.http_port)
        return socket.create_connection(address, STEP_SECONDS)

    def request(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """Status and body of the answer."""
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.http_port, timeout=STEP_SECONDS
        )
        try:
            connection.request(method, path, body if method == "PUT" else None)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def ask(self, *lines: str) -> list[str]:
        """The side channel's replies, as many as there are lines."""
        with self.connect(self.sidechannel_port) as connection:
            connection.sendall("".join(f"{line}\r\n" for line in lines).encode())
            with connection.makefile("rb") as stream:
                return [stream.readline().decode().strip() for _ in lines]

    def kill(self) -> None:
        """As a loss of power would, but for what the disk already has."""
        self.process.kill()
        self.process.wait(STOP_SECONDS)

    def stop(self) -> None:
        """End it, politely at first."""
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.log.close()
