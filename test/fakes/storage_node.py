"""A storage node in memory: its disk, its clock, and ends of its connections."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from koboldfs.storage.channel import StorageSite
from koboldfs.storage.copies import Copies
from koboldfs.storage.devices import DeviceFolders
from koboldfs.storage.http import Door
from koboldfs.storage.usage import Watch
from test.fakes.disk import MemoryDisk
from test.fakes.lanes import InlineLanes

DOCROOT = "/devs"
#: The Unix time at which a test begins.
NOW = 1_700_000_000
SIDECHANNEL_PORT = 7501


class Wire(StringTransport):
    """A transport that knows whether it was cut, and what its peer may do."""

    def __init__(self) -> None:
        super().__init__()
        self.aborted = False

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Nothing waits here anyway."""

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """Nobody vanishes here."""

    def abortConnection(self) -> None:
        """Cut at once."""
        self.aborted = self.disconnecting = True

    @property
    def reading(self) -> bool:
        """Whether bytes may be delivered now."""
        return self.producerState == "producing"


class FakeNode:
    """The parts of a storage node on a memory disk with device 1 (and others)."""

    def __init__(
        self,
        *,
        disk: Any = None,
        lanes: Any = None,
        fsync: bool = True,
        devices: int = 1,
        plain: bool = True,
    ) -> None:
        self.clock = Clock()
        self.clock.advance(NOW)
        self.memory = MemoryDisk()
        for number in range(1, devices + 1):
            self.memory.make_folders(f"{DOCROOT}/dev{number}")
        self.memory.make_folders("/data")
        self.disk = disk(self.memory) if disk else self.memory
        self.folders = DeviceFolders(Path(DOCROOT), Path("/data/node.json"), self.disk)
        self.lanes = InlineLanes()
        self.watch = Watch(
            self.clock,
            self.folders,
            self.disk,
            self.lanes,
            lambda: SIDECHANNEL_PORT,
            self.clock.seconds,
            fsync=fsync,
        )
        self.folders.served_changed = self.watch.look
        self.folders.load()
        self.watch.look()
        self.lanes = lanes or self.lanes
        self.copies = Copies(
            self.folders, self.disk, self.lanes, self.clock, fsync=fsync
        )
        door = Door(self.copies, self.clock)
        self.site = StorageSite(self.clock, door.request, door.plain if plain else None)

    def connect(self) -> tuple[Any, Wire]:
        """A connection to the HTTP door."""
        channel, wire = self.site.buildProtocol(None), Wire()
        assert channel is not None
        channel.makeConnection(wire)
        return channel, wire

    def ask(self, data: bytes) -> bytes:
        """What the node says to these bytes on a connection of their own."""
        channel, wire = self.connect()
        channel.dataReceived(data)
        answer = wire.value()
        lose(channel)
        return answer

    def files(self, devid: int = 1) -> dict[str, bytes]:
        """The files on a device, without what the node itself keeps there."""
        found = self.memory.files(f"{DOCROOT}/dev{devid}")
        return {
            path: data
            for path, data in found.items()
            if path not in ("usage", ".koboldfs-device", ".koboldfs/usage.new")
        }


def lose(protocol: Any) -> None:
    """The peer hangs up."""
    protocol.connectionLost(Failure(ConnectionDone()))


def split_answer(answer: bytes) -> tuple[int, dict[str, str], bytes]:
    """Status, headers by lower-case name, and the rest of an answer."""
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines[1:])
    return int(lines[0].split()[1]), {k.lower(): v for k, v in headers.items()}, body
