"""The part of `MemoryStore` that provides `ITopology`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import evolve

from koboldfs import errors
from koboldfs.model.entities import (
    DEFAULT_CLASS_NAME,
    DEFAULT_CLASSID,
    Device,
    Domain,
    Host,
    StorageClass,
    Topology,
)

DEFAULT_PORT = 7500
_OPTIONAL = ("get_port", "altip", "altmask")


class TopologyCalls:
    """See `ITopology`; `self` is a `MemoryStore`."""

    tables: Any

    async def load(self) -> Topology:
        """See `ITopology`."""
        await self.enter("load")
        tables = self.tables
        return Topology(
            hosts=tuple(tables.hosts[n] for n in sorted(tables.hosts)),
            devices=tuple(tables.devices[n] for n in sorted(tables.devices)),
            domains=tuple(tables.domains[n] for n in sorted(tables.domains)),
            classes=tuple(tables.classes[n] for n in sorted(tables.classes)),
            settings=tuple(sorted(tables.settings.items())),
        )

    def watch(self, changed: Callable[[], None]) -> None:
        """See `ITopology`: a test calls `notify`."""
        self.watchers.append(changed)

    # --- hosts and devices

    def _refuse_taken(self, values: Mapping[str, Any], hostid: int) -> None:
        for host in self.tables.hosts.values():
            if host.hostid != hostid and (
                values.get("ip") == host.ip
                or (host.altip and values.get("altip") == host.altip)
            ):
                raise errors.DuplicateRow()

    async def create_host(self, name: str, values: Mapping[str, Any]) -> int:
        """See `ITopology`."""
        await self.enter("create_host", name, dict(values))
        hosts = self.tables.hosts
        if any(host.name == name for host in hosts.values()):
            raise errors.HostExists()
        hostid = max(hosts, default=0) + 1
        self._refuse_taken(values, hostid)
        columns = {"status": "down", "ip": "", "http_port": DEFAULT_PORT, **values}
        hosts[hostid] = Host(hostid, name, **_without_empty(columns))
        return hostid

    async def update_host(self, hostid: int, values: Mapping[str, Any]) -> None:
        """See `ITopology`."""
        await self.enter("update_host", hostid, dict(values))
        self._refuse_taken(values, hostid)
        host = self.tables.hosts.get(hostid)
        if host is not None:
            self.tables.hosts[hostid] = evolve(host, **_without_empty(values))

    async def delete_host(self, hostid: int) -> None:
        """See `ITopology`."""
        await self.enter("delete_host", hostid)
        if any(one.hostid == hostid for one in self.tables.devices.values()):
            raise errors.HostNotEmpty()
        self.tables.hosts.pop(hostid, None)

    async def create_device(self, devid: int, hostid: int, status: str) -> None:
        """See `ITopology`."""
        await self.enter("create_device", devid, hostid, status)
        if hostid not in self.tables.hosts:
            raise errors.UnknownHostid()
        if devid in self.tables.devices:
            raise errors.ExistingDevid()
        self.tables.devices[devid] = Device(devid, hostid, status)

    async def update_device(
        self, devid: int, values: Mapping[str, Any], status_was: str | None = None
    ) -> bool:
        """See `ITopology`."""
        await self.enter("update_device", devid, dict(values))
        values = dict(values)
        device = self.tables.devices.get(devid)
        if status_was is not None and (device is None or device.status != status_was):
            return False
        if device is None or not values:
            return bool(values)
        if "mb_asof" in values:
            self.tables.mb_asof[devid] = values.pop("mb_asof")
        self.tables.devices[devid] = evolve(device, **values)
        return True

    # --- domains and classes

    async def create_domain(self, name: str) -> int:
        """See `ITopology`."""
        await self.enter("create_domain", name)
        domains = self.tables.domains
        if any(domain.name == name for domain in domains.values()):
            raise errors.DomainExists()
        dmid = max(domains, default=0) + 1
        domains[dmid] = Domain(dmid, name)
        return dmid

    async def delete_domain(self, dmid: int) -> None:
        """See `ITopology`."""
        await self.enter("delete_domain", dmid)
        tables = self.tables
        files = (*tables.files.values(), *tables.uploads.values())
        if any(one.dmid == dmid for one in files):
            raise errors.DomainHasFiles()
        if any(one == dmid and n != DEFAULT_CLASSID for one, n in tables.classes):
            raise errors.DomainHasClasses()
        tables.classes.pop((dmid, DEFAULT_CLASSID), None)
        tables.domains.pop(dmid, None)

    async def create_class(
        self,
        dmid: int,
        name: str,
        mindevcount: int,
        policy: str | None,
        hashtype: int | None,
    ) -> int:
        """See `ITopology`."""
        await self.enter("create_class", dmid, name)
        classes = self.tables.classes
        if any(n == dmid and one.name == name for (n, _), one in classes.items()):
            raise errors.ClassExists()
        classid = max((number for n, number in classes if n == dmid), default=0) + 1
        if name == DEFAULT_CLASS_NAME:
            classid = DEFAULT_CLASSID
        classes[dmid, classid] = StorageClass(
            dmid, classid, name, mindevcount, policy, hashtype
        )
        return classid

    async def update_class(
        self,
        dmid: int,
        classid: int,
        name: str,
        mindevcount: int,
        policy: str | None,
        hashtype: int | None,
    ) -> None:
        """See `ITopology`."""
        await self.enter("update_class", dmid, classid)
        if (dmid, classid) not in self.tables.classes and classid != DEFAULT_CLASSID:
            raise errors.ClassNotFound()
        self.tables.classes[dmid, classid] = StorageClass(
            dmid, classid, name, mindevcount, policy, hashtype
        )

    async def delete_class(self, dmid: int, classid: int) -> None:
        """See `ITopology`."""
        await self.enter("delete_class", dmid, classid)
        tables = self.tables
        files = (*tables.files.values(), *tables.uploads.values())
        if any((one.dmid, one.classid) == (dmid, classid) for one in files):
            raise errors.ClassHasFiles()
        self.tables.classes.pop((dmid, classid), None)

    # --- settings

    async def setting(self, name: str) -> str | None:
        """See `ITopology`."""
        await self.enter("setting", name)
        return self.tables.settings.get(name)

    async def set_setting(self, name: str, value: str | None) -> None:
        """See `ITopology`."""
        await self.enter("set_setting", name, value)
        if value is None:
            self.tables.settings.pop(name, None)
        else:
            self.tables.settings[name] = value

    async def set_settings(self, values: Mapping[str, str | None]) -> None:
        """See `ITopology`."""
        await self.enter("set_settings", dict(values))
        for name, value in values.items():
            if value is None:
                self.tables.settings.pop(name, None)
            else:
                self.tables.settings[name] = value

    async def change_settings(
        self,
        expected: Mapping[str, str | None],
        values: Mapping[str, str | None],
        announce: bool,
    ) -> bool:
        """See `ITopology`."""
        await self.enter("change_settings", dict(expected), dict(values), announce)
        settings = self.tables.settings
        if any(settings.get(name) != value for name, value in expected.items()):
            return False
        for name, value in values.items():
            if value is None:
                settings.pop(name, None)
            else:
                settings[name] = value
        return True

    async def default_setting(self, name: str, value: str) -> str:
        """See `ITopology`."""
        await self.enter("default_setting", name, value)
        return self.tables.settings.setdefault(name, value)


def _without_empty(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: None if name in _OPTIONAL and value == "" else value
        for name, value in values.items()
    }
