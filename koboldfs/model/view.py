"""The cluster's picture: an immutable value that readers hold and a refresh replaces.

It joins what the database says (hosts, devices, domains, classes, settings) with what
this tracker has observed (health), and answers every question of the form "may I".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from ipaddress import ip_address, ip_network

from attrs import evolve, field, frozen

from koboldfs.model import fid as fids
from koboldfs.model.entities import (
    DEFAULT_CLASS_NAME,
    DEFAULT_CLASSID,
    Device,
    DeviceReport,
    Domain,
    Host,
    HostReport,
    Place,
    StorageClass,
    Topology,
)
from koboldfs.model.latency import slow_devices

DEFAULT_MINDEVCOUNT = 2
#: Devices with less room than this take no new files (MB); MogileFS's default is 100.
MIN_FREE_MB = 100
#: Default classes that have no row are made once, for so many domains.
REMEMBERED_CLASSES = 256
#: A database has this setting when it was made by us.
CREATED_SETTING = "kobold_created"
#: The devices that were away too long, and those of them that came back (`absence`).
LOST_SETTING, LATE_SETTING = "kobold_lost", "kobold_late"


def device_numbers(text: str) -> frozenset[int]:
    """The device numbers that a setting lists; other words are passed over."""
    words = re.findall(r"(?<!\S)[0-9]{1,9}(?!\S)", text, re.ASCII)
    return frozenset(map(int, words))


@frozen
class Health:
    """What this tracker has seen, by hostid and by devid; `slow` devices follow."""

    hosts: Mapping[int, HostReport] = field(factory=dict)
    devices: Mapping[int, DeviceReport] = field(factory=dict)
    slow: frozenset[int] = field(init=False)

    @slow.default
    def _slow(self) -> frozenset[int]:
        return slow_devices(self.devices)

    def with_report(self, report: HostReport) -> Health:
        """This health with `report` in place of what was known of its host."""
        devices = dict(self.devices)
        devices.update({seen.devid: seen for seen in report.devices})
        return evolve(
            self, hosts={**self.hosts, report.hostid: report}, devices=devices
        )


@frozen
class View:
    """One consistent picture. Cheap to hold; never changes."""

    hosts: Mapping[int, Host] = field(factory=dict)
    devices: Mapping[int, Device] = field(factory=dict)
    domains: Mapping[str, Domain] = field(factory=dict)
    classes: Mapping[tuple[int, int], StorageClass] = field(factory=dict)
    settings: Mapping[str, str] = field(factory=dict)
    health: Health = field(factory=Health)
    min_free_mb: int = MIN_FREE_MB
    #: Devices whose copies count as none because they were away too long; and those
    #: that were so, are back, and are being freed of what is too much.
    lost: frozenset[int] = frozenset()
    late: frozenset[int] = frozenset()

    @classmethod
    def of(
        cls, topology: Topology, health: Health, min_free_mb: int = MIN_FREE_MB
    ) -> View:
        """The picture of a topology as read, and of a health as observed."""
        settings = dict(topology.settings)
        lost = device_numbers(settings.get(LOST_SETTING, ""))
        return cls(
            hosts={host.hostid: host for host in topology.hosts},
            devices={device.devid: device for device in topology.devices},
            domains={domain.name: domain for domain in topology.domains},
            classes={(one.dmid, one.classid): one for one in topology.classes},
            settings=settings,
            health=health,
            min_free_mb=min_free_mb,
            lost=lost,
            late=device_numbers(settings.get(LATE_SETTING, "")) - lost,
        )

    def with_alive(self, devid: int) -> View:
        """This picture when that device, which must be known, is alive."""
        device = evolve(self.devices[devid], status="alive")
        return evolve(self, devices={**self.devices, devid: device})

    @property
    def shared(self) -> bool:
        """Whether trackers of MogileFS may work on the same database."""
        return CREATED_SETTING not in self.settings

    # --- names

    def host_named(self, name: str) -> Host | None:
        """The host of that name."""
        return next((host for host in self.hosts.values() if host.name == name), None)

    def domain_numbered(self, dmid: int) -> Domain | None:
        """The domain of that number."""
        return next((one for one in self.domains.values() if one.dmid == dmid), None)

    def classes_of(self, dmid: int) -> list[StorageClass]:
        """The domain's classes by number; `default` is there even without a row."""
        found = [one for one in self.classes.values() if one.dmid == dmid]
        if (dmid, DEFAULT_CLASSID) not in self.classes:
            found.append(self.storage_class(dmid, DEFAULT_CLASSID))
        return sorted(found, key=lambda one: one.classid)

    def class_named(self, dmid: int, name: str) -> StorageClass | None:
        """The class of that name in that domain."""
        return next((one for one in self.classes_of(dmid) if one.name == name), None)

    def storage_class(self, dmid: int, classid: int) -> StorageClass:
        """The class of that number; one that is gone counts as `default`."""
        found = self.classes.get((dmid, classid))
        if found is not None:
            return found
        return self.classes.get((dmid, DEFAULT_CLASSID)) or _default_class(dmid)

    # --- states (mogilefs protocol, section "States")

    def place(self, devid: int) -> Place | None:
        """The device with its host, if both are known."""
        device = self.devices.get(devid)
        host = self.hosts.get(device.hostid) if device else None
        return Place(host, devid) if host else None

    def host_reachable(self, hostid: int) -> bool:
        """Whether the host answered when it was last asked."""
        seen = self.health.hosts.get(hostid)
        return seen is not None and seen.reachable

    def observed(self, devid: int) -> str:
        """``writeable``, ``readable``, ``unreachable``, or empty: not seen yet."""
        device = self.devices.get(devid)
        report = self.health.hosts.get(device.hostid) if device else None
        if report is not None and not report.reachable:
            return "unreachable"
        seen = self.health.devices.get(devid)
        return seen.observed if seen else ""

    def readable(self, devid: int) -> bool:
        """Whether a copy on the device can be read now."""
        device = self.devices.get(devid)
        host = self.hosts.get(device.hostid) if device else None
        return (
            device is not None
            and host is not None
            and device.status in ("alive", "readonly", "drain")
            and host.status in ("alive", "readonly")
            and self.observed(devid) in ("readable", "writeable")
        )

    def may_delete_from(self, devid: int) -> bool:
        """Whether files on the device may be removed now."""
        device = self.devices.get(devid)
        host = self.hosts.get(device.hostid) if device else None
        return (
            device is not None
            and host is not None
            and device.status in ("alive", "drain")
            and host.status == "alive"
            and (self.observed(devid) == "writeable" or self.is_full(devid))
        )

    def is_full(self, devid: int) -> bool:
        """Whether the device can be read, and takes no writes for want of room only."""
        seen = self.health.devices.get(devid)
        return seen is not None and seen.full and self.observed(devid) == "readable"

    def may_be_emptied(self, devid: int) -> bool:
        """Whether copies on the device may be given up for others: they can be removed,
        or it is draining and its node takes no writes because the disk fails. Then the
        bytes stay there, and whoever throws the disk away has nothing to lose."""
        if self.may_delete_from(devid):
            return True
        device, seen = self.devices.get(devid), self.health.devices.get(devid)
        draining = device is not None and device.status == "drain"
        failing = seen is not None and bool(seen.failing)
        return draining and failing and self.readable(devid)

    def wants_files(self, devid: int) -> bool:
        """Whether the device is to have new files: the operator lets it, and it was
        not away so long that it counts as lost (it may be away for less)."""
        device = self.devices.get(devid)
        host = self.hosts.get(device.hostid) if device else None
        return (
            device is not None
            and devid not in self.lost
            and host is not None
            and device.status == "alive"
            and host.status == "alive"
        )

    def may_receive(self, devid: int, size_bytes: int = 0) -> bool:
        """Whether the device may get a new file of that size now."""
        if not self.wants_files(devid) or self.observed(devid) != "writeable":
            return False
        free = self.free_mb(devid)
        return free is None or (free >= self.min_free_mb and free * 2**20 > size_bytes)

    def is_dead(self, devid: int) -> bool:
        """Whether the device's files are gone by the operator's word (or it is
        unknown): what is recorded of them may be forgotten."""
        device = self.devices.get(devid)
        return device is None or device.status == "dead"

    def counts(self, devid: int) -> bool:
        """Whether a copy recorded on the device counts as one: not if the device is
        dead, nor while it is lost. The latter's are not forgotten."""
        return devid not in self.lost and not self.is_dead(devid)

    def free_mb(self, devid: int) -> int | None:
        """Free room in MB as last observed, else as the database has it."""
        seen = self.health.devices.get(devid)
        if seen and seen.kib_total is not None and seen.kib_used is not None:
            return (seen.kib_total - seen.kib_used) // 1024
        device = self.devices.get(devid)
        if device and device.mb_total is not None and device.mb_used is not None:
            return device.mb_total - device.mb_used
        return None

    def total_mb(self, devid: int) -> int | None:
        """The whole room in MB as last observed, else as the database has it."""
        seen = self.health.devices.get(devid)
        if seen and seen.kib_total is not None:
            return seen.kib_total // 1024
        device = self.devices.get(devid)
        return device.mb_total if device else None

    def free_share(self, devid: int) -> float:
        """Free room as a share of the whole, 0.0 to 1.0; 0.0 when not known."""
        seen = self.health.devices.get(devid)
        if seen and seen.kib_total and seen.kib_used is not None:
            return max(0.0, 1 - seen.kib_used / seen.kib_total)
        device = self.devices.get(devid)
        if device and device.mb_total and device.mb_used is not None:
            return max(0.0, 1 - device.mb_used / device.mb_total)
        return 0.0

    def is_kobold(self, hostid: int) -> bool:
        """Whether the host runs our storage node."""
        seen = self.health.hosts.get(hostid)
        return seen is not None and seen.kobold

    def syncs(self, hostid: int) -> bool:
        """Whether the host has on its disk what it says that it stored: a node of ours
        without ``--no-fsync``. A foreign node promises nothing."""
        seen = self.health.hosts.get(hostid)
        return seen is not None and seen.kobold and seen.fsync

    # --- URLs

    def url(
        self,
        devid: int,
        fid: int,
        *,
        client_ip: str = "",
        alt: bool = False,
        put: bool = False,
    ) -> str | None:
        """The URL of a copy: PUT port for `put`, else the port for reading."""
        place = self.place(devid)
        if place is None:
            return None
        host = place.host
        port = host.http_port if put else host.get_port or host.http_port
        address = _address(host, client_ip, alt)
        return f"http://{address}:{port}{fids.uri(devid, fid)}"


@lru_cache(maxsize=REMEMBERED_CLASSES)
def _default_class(dmid: int) -> StorageClass:
    return StorageClass(dmid, DEFAULT_CLASSID, DEFAULT_CLASS_NAME, DEFAULT_MINDEVCOUNT)


def _address(host: Host, client_ip: str, alt: bool) -> str:
    if not host.altip or not host.altmask:
        return host.ip
    if alt or _within(client_ip, host.altmask):
        return host.altip
    return host.ip


def _within(client_ip: str, mask: str) -> bool:
    try:
        return ip_address(client_ip) in ip_network(mask, strict=False)
    except ValueError:
        return False
