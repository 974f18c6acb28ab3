"""What a storage node needs to join a cluster: a tracker, and its own folders.

tracker = MemoryTracker()          # cluster "c1"; `away` and `failing` misbehave
folders = MemoryFolders()          # `make(3)` has a folder dev3 without a marker
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from attrs import define, field
from twisted.internet.defer import Deferred
from zope.interface import implementer

from koboldfs import errors
from koboldfs.interfaces import IDeviceFolders, ITrackerCall
from koboldfs.storage.disk import Marker


@implementer(ITrackerCall)
@define(eq=False)
class MemoryTracker:
    """Answers the commands that joining uses, from two tables of texts."""

    cluster: str = "c1"
    hosts: dict[str, dict[str, str]] = field(factory=dict)
    devices: dict[int, dict[str, str]] = field(factory=dict)
    away: bool = False
    failing: dict[str, list[Exception]] = field(factory=dict)
    calls: list[tuple[str, dict[str, str]]] = field(factory=list)
    #: Every call waits for it.
    gate: Deferred[None] | None = None
    #: Called before a device is made, with its number: a place for a test to let
    #: somebody else be faster.
    before_device: Callable[[int], None] = lambda devid: None

    def add_host(self, name: str, *devids: int, ip: str = "10.0.0.1") -> None:
        """A host with devices that are alive."""
        hostid = str(len(self.hosts) + 1)
        self.hosts[name] = {
            "hostid": hostid,
            "hostname": name,
            "hostip": ip,
            "http_port": "7500",
            "status": "alive",
        }
        for devid in devids:
            self.devices[devid] = {"hostid": hostid, "status": "alive"}

    def called(self, command: str) -> list[dict[str, str]]:
        """The arguments of each such call."""
        return [arguments for name, arguments in self.calls if name == command]

    async def call(self, command: str, arguments: Mapping[str, str]) -> dict[str, str]:
        """See `ITrackerCall`."""
        self.calls.append((command, dict(arguments)))
        if self.gate is not None:
            await self.gate
        if self.away:
            raise errors.WorldError("no tracker answers")
        planned = self.failing.get(command)
        if planned:
            raise planned.pop(0)
        reply: dict[str, str] = getattr(self, f"_{command}")(arguments)
        return reply

    def _server_setting(self, arguments: Mapping[str, str]) -> dict[str, str]:
        assert arguments == {"key": "kobold_cluster_id"}
        return {"key": arguments["key"], "value": self.cluster}

    def _get_hosts(self, arguments: Mapping[str, str]) -> dict[str, str]:
        reply = {"hosts": str(len(self.hosts))}
        for number, row in enumerate(self.hosts.values(), 1):
            reply |= {f"host{number}_{name}": text for name, text in row.items()}
        return reply

    def _get_devices(self, arguments: Mapping[str, str]) -> dict[str, str]:
        reply = {"devices": str(len(self.devices))}
        for number, (devid, row) in enumerate(self.devices.items(), 1):
            row = {"devid": str(devid), **row}
            reply |= {f"dev{number}_{name}": text for name, text in row.items()}
        return reply

    def _create_host(self, arguments: Mapping[str, str]) -> dict[str, str]:
        if arguments["host"] in self.hosts:
            raise errors.HostExists()
        self.add_host(arguments["host"], ip=arguments["ip"])
        self.hosts[arguments["host"]]["http_port"] = arguments["port"]
        hostid = self.hosts[arguments["host"]]["hostid"]
        return {"hostid": hostid, "hostname": arguments["host"]}

    def _update_host(self, arguments: Mapping[str, str]) -> dict[str, str]:
        row = self.hosts[arguments["host"]]
        row |= {"hostip": arguments["ip"], "http_port": arguments["port"]}
        return {"hostid": row["hostid"], "hostname": arguments["host"]}

    def _create_device(self, arguments: Mapping[str, str]) -> dict[str, str]:
        devid = int(arguments["devid"])
        self.before_device(devid)
        if devid in self.devices:
            raise errors.ExistingDevid()
        self.devices[devid] = {
            "hostid": self.hosts[arguments["hostname"]]["hostid"],
            "status": arguments["state"],
        }
        return {}


@implementer(IDeviceFolders)
@define(eq=False)
class MemoryFolders:
    """Folders of devices with their markers; what is to be served is in `served`."""

    markers: dict[int, Marker | None] = field(factory=dict)
    broken: set[int] = field(factory=set)
    empty: set[int] = field(factory=set)
    served: tuple[str, str, tuple[int, ...]] | None = None
    claimed: list[int] = field(factory=list)
    #: Whether another process of the node is joining, and whether ours is.
    taken: bool = False
    reserved: bool = False

    def reserve(self) -> bool:
        """See `IDeviceFolders`."""
        self.reserved = not self.taken
        return self.reserved

    def give_back(self) -> None:
        """See `IDeviceFolders`."""
        self.reserved = False

    def make(self, *devids: int) -> None:
        """Folders without a marker, as MogileFS's storage daemon has them."""
        self.markers.update(dict.fromkeys(devids))

    def mark(self, devid: int, *, cluster: str, host: str, number: int = 0) -> None:
        """A folder with a marker (of another number, if one is said)."""
        self.markers[devid] = Marker.new(cluster, host, number or devid)

    def found(self) -> Mapping[int, Marker | None]:
        """See `IDeviceFolders`."""
        return dict(self.markers)

    def in_use(self, devid: int) -> bool:
        """See `IDeviceFolders`."""
        return devid in self.markers and devid not in self.empty

    def claim(self, devid: int, cluster: str, host_name: str) -> None:
        """See `IDeviceFolders`."""
        self.claimed.append(devid)
        if devid in self.broken:
            raise errors.DeviceUnavailable(f"dev{devid}: no")
        if self.markers.get(devid) is None:
            self.mark(devid, cluster=cluster, host=host_name)

    def release(self, devid: int) -> None:
        """See `IDeviceFolders`."""
        del self.markers[devid]

    def serve(self, cluster: str, host_name: str, devids: Sequence[int]) -> None:
        """See `IDeviceFolders`."""
        self.served = (cluster, host_name, tuple(sorted(devids)))
