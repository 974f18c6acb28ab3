"""The storage node, put together from its parts."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import IListeningPort, IProtocol, IProtocolFactory
from twisted.logger import Logger
from twisted.python.failure import Failure

from koboldfs.errors import ConfigError
from koboldfs.listening import Doors, address_words
from koboldfs.storage.channel import StorageSite
from koboldfs.storage.copies import Copies
from koboldfs.storage.devices import DeviceFolders
from koboldfs.storage.disk import IDisk, LocalDisk
from koboldfs.storage.fetch import CONNECT_SECONDS, PeerClient
from koboldfs.storage.http import Door
from koboldfs.storage.lanes import ILanes, ThreadLanes
from koboldfs.storage.pull import IPeers, NoPeers, Puller
from koboldfs.storage.sidechannel import SideChannelFactory
from koboldfs.storage.usage import Watch

MEMORY_NAME = "node.json"


class Listener(Service):
    """A port that listens while the service runs; `port_number` is the real one."""

    def __init__(
        self, doors: Doors, option: str, description: str, factory: IProtocolFactory
    ) -> None:
        self._doors = doors
        self.option = option
        self._description = description
        self._factory = factory
        self._port: IListeningPort | None = None

    @property
    def port_number(self) -> int:
        """The TCP port, or 0 while (or because) there is none."""
        if self._port is None:
            return 0
        return int(getattr(self._port.getHost(), "port", 0))

    @property
    def address(self) -> str:
        """Where it listens, in words."""
        return "" if self._port is None else address_words(self._port.getHost())

    def startService(self) -> None:
        """Listen. Raises `ConfigError` when that does not work."""
        failed: list[Failure] = []
        listening = self._doors.listen(self.option, self._description, self._factory)
        listening.addCallbacks(self._listens, failed.append)
        if failed:
            failed[0].raiseException()
        super().startService()

    def _listens(self, port: IListeningPort) -> None:
        self._port = port

    def stopService(self) -> Deferred[None] | None:
        """Listen no more."""
        super().stopService()
        port, self._port = self._port, None
        if port is None:
            return None
        return port.stopListening()


class StorageNode(MultiService):
    """The storage node: devices, HTTP and side channel.

    `folders` provides `IDeviceFolders`; before `IDeviceFolders.serve` is called the
    node is alone, and serves what its docroot holds. `docroot` and `data` are made if
    they are not there. `http_port` and `sidechannel_port` are the real ones while the
    node runs. Starting raises `ConfigError`.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        docroot: Path,
        data: Path,
        storage_listen: str = "tcp:7500",
        sidechannel_listen: str = "tcp:7501",
        *,
        fsync: bool = True,
        peers: IPeers | None = None,
        disk: IDisk | None = None,
        lanes: ILanes | None = None,
        doors: Doors | None = None,
        wall_seconds: Callable[[], float] = time.time,
    ) -> None:
        super().__init__()
        self._reactor = reactor
        self._docroot = docroot
        self._data = data
        self.disk: IDisk = LocalDisk() if disk is None else disk
        self.lanes: ILanes = ThreadLanes(reactor) if lanes is None else lanes
        self.folders = DeviceFolders(docroot, data / MEMORY_NAME, self.disk)
        self.copies = Copies(self.folders, self.disk, self.lanes, reactor, fsync=fsync)
        self.client = PeerClient(reactor, self._connect)
        puller = Puller(self.copies, self.client, peers or NoPeers())
        side_channel = SideChannelFactory(reactor, self.copies, puller, wall_seconds)
        door = Door(self.copies, reactor)
        site = StorageSite(reactor, door.request, door.plain)
        doors = doors or Doors(reactor)
        self._side_channel = Listener(
            doors, "--sidechannel-listen", sidechannel_listen, side_channel
        )
        self._http = Listener(doors, "--storage-listen", storage_listen, site)
        self.watch = Watch(
            reactor,
            self.folders,
            self.disk,
            self.lanes,
            lambda: self.sidechannel_port,
            wall_seconds,
            fsync=fsync,
        )
        self.folders.served_changed = self.watch.look
        # The side channel first: the usage tells its port.
        self._side_channel.setServiceParent(self)
        self._http.setServiceParent(self)

    @property
    def http_port(self) -> int:
        """The port of HTTP; 0 when the node does not run."""
        return self._http.port_number

    @property
    def sidechannel_port(self) -> int:
        """The port of the side channel; 0 when the node does not run."""
        return self._side_channel.port_number

    def addresses(self) -> list[str]:
        """The doors and where they are open."""
        doors = (self._side_channel, self._http)
        return [f"{one.option} {one.address}" for one in doors]

    def prepare(self) -> None:
        """Make the folders and read what the node remembers: what must be before
        `folders` is used. Raises `ConfigError`. May be called again."""
        for option, path in (("--docroot", self._docroot), ("--data", self._data)):
            try:
                path.mkdir(parents=True, exist_ok=True)
                usable = os.access(path, os.R_OK | os.W_OK | os.X_OK)
            except OSError as error:
                raise ConfigError(
                    f"{option} {path}: {error.strerror}; it must be a folder that this"
                    " user may write to"
                ) from error
            if not usable:
                raise ConfigError(
                    f"{option} {path}: this user may not write to that folder"
                )
        self.folders.load()

    def startService(self) -> None:
        """Prepare, listen, and look at the devices from now on."""
        self.prepare()
        try:
            super().startService()
        except ConfigError:
            self._side_channel.stopService()
            raise
        self.watch.start()

    def stopService(self) -> Deferred[Any]:
        """Stop; uploads under way are thrown away."""
        self.watch.stop()
        self.client.close()
        stopping: Deferred[Any] = super().stopService()

        def stop_lanes(result: Any) -> Any:
            self.lanes.stop()
            self.copies.stop()
            return result

        return stopping.addBoth(stop_lanes)

    def _connect(
        self, ip: str, port: int, factory: IProtocolFactory
    ) -> Deferred[IProtocol]:
        endpoint = HostnameEndpoint(
            self._reactor, ip.encode("ascii"), port, timeout=CONNECT_SECONDS
        )
        return endpoint.connect(factory)
