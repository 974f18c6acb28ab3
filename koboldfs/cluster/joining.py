"""How a storage node becomes part of a cluster, and stays the same part of it.

    1  ask a tracker which cluster this is (setting `kobold_cluster_id`)
    2  find our host by its name, or register it; its address may have changed
    3  every folder devN under the docroot: is it what the cluster knows as device N of
       this host? then it is served; a folder that the cluster does not know at all is
       registered; one that belongs to another host or cluster is left alone, loudly
    4  make and register devices until there are as many as the operator wants

A folder is marked before its device is registered, so a crash in between is completed
at the next start. A node that comes with a host's name but with none of its living
devices is refused: it is more likely a mistake than that host.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import define, field, frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from koboldfs import errors
from koboldfs.interfaces import IDeviceFolders, ITrackerCall

CLUSTER_ID = "kobold_cluster_id"
#: How often joining is tried again, and the list of hosts is read again. The first
#: pause is short, and each that follows twice as long: a tracker that was started with
#: the node opens its doors in that moment.
FIRST_PAUSE_SECONDS = 0.125
AGAIN_SECONDS = 2.0
HOSTS_SECONDS = 10.0
#: How many numbers are tried for one new device before giving up this time.
NUMBER_TRIES = 20


@frozen
class Identity:
    """Who this node says it is."""

    host_name: str
    host_ip: str
    http_port: int
    #: How many devices it shall have; None: one if it has none.
    devices: int | None


@define
class _Cluster:
    """What the trackers said."""

    name: str
    hosts: dict[str, dict[str, str]] = field(factory=dict)
    devices: dict[int, dict[str, str]] = field(factory=dict)


class Membership(Service):
    """Joins, tries again until that succeeds, and knows the other hosts' addresses."""

    log = Logger()

    def __init__(
        self,
        tracker: ITrackerCall,
        folders: IDeviceFolders,
        identity: Any,
        clock: Any,
    ) -> None:
        self.joined = False
        self._tracker = tracker
        self._folders = folders
        #: A function, for the HTTP port is known only when it is bound.
        self._identity = identity
        self._clock = clock
        self._addresses: dict[str, tuple[str, int]] = {}
        self._complained = ""
        self._hosts_due = 0.0
        self._first: list[Deferred[None]] = []
        self._has_tried = False
        self._pause_seconds = FIRST_PAUSE_SECONDS
        self._next: IDelayedCall | None = None

    def startService(self) -> None:
        """Begin to try."""
        super().startService()
        self._begin_turn()

    def _begin_turn(self) -> None:
        self._next = None
        Deferred.fromCoroutine(self._turn_and_wait())

    async def _turn_and_wait(self) -> None:
        await self._turn()
        self._has_tried = True
        waiting, self._first = self._first, []
        for waiter in waiting:
            waiter.callback(None)
        if self.running:
            pause = AGAIN_SECONDS if self.joined else self._pause_seconds
            self._pause_seconds = min(2 * self._pause_seconds, AGAIN_SECONDS)
            self._next = self._clock.callLater(pause, self._begin_turn)

    async def tried(self) -> None:
        """Fires when joining has been tried once, whatever came of it."""
        if not self._has_tried:
            waiter: Deferred[None] = Deferred()
            self._first.append(waiter)
            await waiter

    def stopService(self) -> None:
        """Stop trying."""
        super().stopService()
        if self._next is not None:
            self._next.cancel()
            self._next = None

    async def address(self, name: str) -> tuple[str, int] | None:
        """The (ip, port) of a host of the cluster, or None if there is none so named.

        Raises `WorldError` when no tracker answers."""
        if name not in self._addresses:
            await self._read_hosts()
        return self._addresses.get(name)

    async def _turn(self) -> None:
        try:
            if not self.joined:
                await self._join_alone()
            elif self._clock.seconds() >= self._hosts_due:
                await self._read_hosts()
            self._complained = ""
        except errors.KoboldError as error:
            if str(error) != self._complained:
                self._complained = str(error)
                what = "the hosts are not known anew" if self.joined else "not joined"
                self.log.error("{what}, trying on: {error}", what=what, error=error)
        except Exception:
            self.log.failure("joining the cluster failed")

    async def _join_alone(self) -> None:
        """Join while no other process of this node does: two would make devices in
        each other's folders."""
        if not self._folders.reserve():
            raise errors.WorldError("another process of this node is joining now")
        try:
            await self.join()
        finally:
            self._folders.give_back()

    async def join(self) -> None:
        """The four steps. Raises `KoboldError` when they cannot be done now."""
        identity: Identity = self._identity()
        cluster = await self._look()
        await self._register_host(cluster, identity)
        served = await self._settle_folders(cluster, identity)
        served += await self._make_devices(cluster, identity, served)
        # Also those that are not here now: a disk that is mounted later is served then.
        mine = _mine(cluster, cluster.hosts[identity.host_name])
        awaited = {devid for devid in mine if mine[devid]["status"] != "dead"}
        devids = sorted(awaited.union(served))
        self._folders.serve(cluster.name, identity.host_name, devids)
        self.joined = True
        self.log.info(
            "host {name} is part of the cluster with devices {devids}",
            name=identity.host_name,
            devids=sorted(served),
        )

    # --- what the trackers know

    async def _look(self) -> _Cluster:
        reply = await self._tracker.call("server_setting", {"key": CLUSTER_ID})
        name = reply.get("value", "")
        if not name:
            raise errors.WorldError("the tracker has no cluster id; is it KoboldFS?")
        hosts = await self._read_hosts()
        reply = await self._tracker.call("get_devices", {})
        devices = {
            int(reply[f"dev{i}_devid"]): _row(reply, f"dev{i}_")
            for i in range(1, int(reply.get("devices", "0")) + 1)
        }
        return _Cluster(name, hosts, devices)

    async def _read_hosts(self) -> dict[str, dict[str, str]]:
        reply = await self._tracker.call("get_hosts", {})
        rows = [
            _row(reply, f"host{i}_") for i in range(1, int(reply.get("hosts", "0")) + 1)
        ]
        self._addresses = {
            row["hostname"]: (row["hostip"], int(row["http_port"])) for row in rows
        }
        self._hosts_due = self._clock.seconds() + HOSTS_SECONDS
        return {row["hostname"]: row for row in rows}

    # --- the steps

    async def _register_host(self, cluster: _Cluster, identity: Identity) -> None:
        where = {"ip": identity.host_ip, "port": str(identity.http_port)}
        known = cluster.hosts.get(identity.host_name)
        if known is None:
            words = {"host": identity.host_name, "status": "alive", **where}
            reply = await self._tracker.call("create_host", words)
            cluster.hosts[identity.host_name] = {"hostid": reply["hostid"], **where}
            return
        mine = _mine(cluster, known)
        living = {d for d in mine if mine[d]["status"] != "dead"}
        name = identity.host_name
        here = {
            devid
            for devid, marker in self._folders.found().items()
            if _stranger(devid, marker, cluster.name, name) is None
            and (marker is not None or self._folders.in_use(devid))
        }
        if living and not living & here:
            raise errors.WorldError(
                f"host {identity.host_name} has devices {_list(living)}, and none of "
                "them is here. If this is another machine, give it another "
                "--host-name; if they are lost, mark them dead first"
            )
        if (known["hostip"], known["http_port"]) != (where["ip"], where["port"]):
            words = {"host": identity.host_name, **where}
            await self._tracker.call("update_host", words)

    async def _settle_folders(self, cluster: _Cluster, identity: Identity) -> list[int]:
        mine = _mine(cluster, cluster.hosts[identity.host_name])
        served: list[int] = []
        for devid, marker in sorted(self._folders.found().items()):
            stranger = _stranger(devid, marker, cluster.name, identity.host_name)
            if stranger is None and devid in cluster.devices and devid not in mine:
                stranger = "the cluster has it on another host"
            if stranger is None and marker is None and devid in mine:
                stranger = self._unmounted(devid)
            if stranger is not None:
                self.log.error(
                    "device folder dev{devid} is not served: {why}",
                    devid=devid,
                    why=stranger,
                )
                continue
            try:
                if marker is None:
                    self._folders.claim(devid, cluster.name, identity.host_name)
                if devid not in mine:
                    await self._create_device(devid, identity)
            except errors.DeviceUnavailable as error:
                self.log.error(
                    "device folder dev{devid} is not served: {why}",
                    devid=devid,
                    why=error,
                )
                continue
            served.append(devid)
        return served

    def _unmounted(self, devid: int) -> str | None:
        """Why an unmarked folder of a device that the cluster knows is not taken."""
        if self._folders.in_use(devid):
            return None
        return (
            "the cluster knows it, but there are no files in it; is its disk mounted? "
            f"If this is right, say so by making the folder dev{devid}/0"
        )

    async def _make_devices(
        self, cluster: _Cluster, identity: Identity, served: list[int]
    ) -> list[int]:
        mine = _mine(cluster, cluster.hosts[identity.host_name])
        have = set(served) | {d for d in mine if mine[d]["status"] != "dead"}
        wanted = identity.devices
        if wanted is None:
            wanted = 0 if have else 1
        made: list[int] = []
        devid = max((*cluster.devices, *self._folders.found(), 0))
        tries = 0
        while len(have) + len(made) < wanted:
            devid, tries = devid + 1, tries + 1
            if tries > wanted + NUMBER_TRIES:
                raise errors.WorldError("no free device number was found")
            self._folders.claim(devid, cluster.name, identity.host_name)
            try:
                await self._create_device(devid, identity)
            except errors.ExistingDevid:
                # Another node took the number between our look and now.
                self._folders.release(devid)
                continue
            made.append(devid)
        return made

    async def _create_device(self, devid: int, identity: Identity) -> None:
        words = {"devid": str(devid), "hostname": identity.host_name, "state": "alive"}
        await self._tracker.call("create_device", words)


def _row(reply: Mapping[str, str], prefix: str) -> dict[str, str]:
    size = len(prefix)
    return {
        name[size:]: text for name, text in reply.items() if name.startswith(prefix)
    }


def _mine(cluster: _Cluster, host: Mapping[str, str]) -> dict[int, dict[str, str]]:
    """The devices that the cluster has on this host."""
    return {
        devid: row
        for devid, row in cluster.devices.items()
        if row["hostid"] == host["hostid"]
    }


def _stranger(devid: int, marker: Any, cluster: str, host_name: str) -> str | None:
    """Why a marked folder is not ours, or None."""
    if marker is None:
        return None
    if marker.cluster != cluster:
        return f"its marker says it is of another cluster ({marker.cluster})"
    if marker.devid != devid:
        return f"its marker says it is device {marker.devid}"
    if marker.host != host_name:
        return f"its marker says it is of host {marker.host}"
    return None


def _list(numbers: set[int]) -> str:
    return ", ".join(map(str, sorted(numbers)))
