"""The administration: hosts, devices, domains, classes and settings.

What is checked here is what needs the database's truth or the picture (does it exist,
may it change so); what is only about words is checked at the front door. Every change
ends with the picture refreshed, so that its caller sees it at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from koboldfs import errors
from koboldfs.interfaces import ILiveView, ITopology
from koboldfs.model.entities import (
    DEFAULT_CLASSID,
    Device,
    Domain,
    Host,
    StorageClass,
)


class Admin:
    """Changes to the small tables, each visible in the picture when it answers."""

    def __init__(self, topology: ITopology, live: ILiveView) -> None:
        self.live = live
        self._topology = topology

    async def refresh(self) -> None:
        """Read the tables and look at every host."""
        await self.live.refresh()
        await self.live.changed(list(self.live.view.hosts))

    # --- hosts

    async def create_host(self, name: str, values: Mapping[str, Any]) -> Host:
        """Raises `HostExists`, `DuplicateRow` (an address is in use)."""
        if self.live.view.host_named(name) is not None:
            raise errors.HostExists()
        hostid = await self._topology.create_host(name, values)
        await self.live.changed([hostid])
        return self.live.view.hosts[hostid]

    async def update_host(self, name: str, values: Mapping[str, Any]) -> Host:
        """Raises `HostNotFound`, `DuplicateRow` (an address is in use)."""
        host = await self._host(name)
        if host is None:
            raise errors.HostNotFound()
        if values:
            await self._topology.update_host(host.hostid, values)
        await self.live.changed([host.hostid])
        return self.live.view.hosts[host.hostid]

    async def delete_host(self, name: str) -> None:
        """Raises `UnknownHost`, `HostNotEmpty`."""
        host = await self._host(name)
        if host is None:
            raise errors.UnknownHost()
        await self._topology.delete_host(host.hostid)
        await self.live.refresh()

    # --- devices

    async def create_device(
        self, devid: int, hostid: int | None, hostname: str | None, state: str
    ) -> None:
        """On the host of that number, else of that name.

        Raises `UnknownHostid`, `UnknownHost`, `ExistingDevid`.
        """
        if hostid is None:
            host = await self._host(hostname or "")
            if host is None:
                raise errors.UnknownHost()
        else:
            if hostid not in self.live.view.hosts:
                await self.live.refresh()
            if hostid not in self.live.view.hosts:
                raise errors.UnknownHostid()
            host = self.live.view.hosts[hostid]
        await self._topology.create_device(devid, host.hostid, state)
        await self.live.changed([host.hostid])

    async def set_device_state(self, host_name: str, devid: int, state: str) -> None:
        """Raises `NoDevice`, `HostMismatch`, `StateTooHigh` (dead to alive)."""
        device = await self._device(host_name, devid)
        if device.status == "dead" and state == "alive":
            raise errors.StateTooHigh()
        await self._topology.update_device(devid, {"status": state})
        await self.live.changed([device.hostid])

    async def set_weight(self, host_name: str, devid: int, weight: int) -> None:
        """Raises `NoDevice`, `HostMismatch`."""
        await self._device(host_name, devid)
        await self._topology.update_device(devid, {"weight": weight})
        await self.live.refresh()

    # --- domains and classes

    async def create_domain(self, name: str) -> Domain:
        """Raises `DomainExists`."""
        await self._topology.create_domain(name)
        await self.live.refresh()
        return self.live.view.domains[name]

    async def delete_domain(self, name: str) -> None:
        """Raises `DomainNotFound`, `DomainHasFiles`, `DomainHasClasses`."""
        domain = await self._domain(name)
        await self._topology.delete_domain(domain.dmid)
        await self.live.refresh()

    async def create_class(
        self,
        domain_name: str,
        name: str,
        mindevcount: int,
        policy: str | None,
        hashtype: int | None,
    ) -> None:
        """Raises `DomainNotFound`, `ClassExists`.

        The class `default` is always there; creating it makes its row (class id 0)
        when there is none.
        """
        domain = await self._domain(domain_name)
        found = self.live.view.class_named(domain.dmid, name)
        if found is not None and (domain.dmid, found.classid) in self.live.view.classes:
            raise errors.ClassExists()
        if found is not None:
            await self._topology.update_class(
                domain.dmid, found.classid, name, mindevcount, policy, hashtype
            )
        else:
            await self._topology.create_class(
                domain.dmid, name, mindevcount, policy, hashtype
            )
        await self.live.refresh()

    async def update_class(
        self,
        domain_name: str,
        name: str,
        mindevcount: int,
        policy: str | None,
        hashtype: int | None,
        *,
        keep_policy: bool = False,
        keep_hashtype: bool = False,
    ) -> None:
        """Raises `DomainNotFound`, `ClassNotFound`."""
        found = await self._class(domain_name, name)
        await self._topology.update_class(
            found.dmid,
            found.classid,
            name,
            mindevcount,
            found.policy if keep_policy else policy,
            found.hashtype if keep_hashtype else hashtype,
        )
        await self.live.refresh()

    async def delete_class(self, domain_name: str, name: str) -> None:
        """Raises `DomainNotFound`, `ClassNotFound`, `DefaultClassStays`,
        `ClassHasFiles`."""
        found = await self._class(domain_name, name)
        if found.classid == DEFAULT_CLASSID:
            raise errors.DefaultClassStays()
        await self._topology.delete_class(found.dmid, found.classid)
        await self.live.refresh()

    # --- settings

    async def setting(self, name: str) -> str | None:
        """One setting, read now."""
        return await self._topology.setting(name)

    async def settings(self) -> dict[str, str]:
        """All settings, read now."""
        await self.live.refresh()
        return dict(self.live.view.settings)

    async def set_setting(self, name: str, value: str | None) -> None:
        """Write one setting; None removes it."""
        await self._topology.set_setting(name, value)
        await self.live.refresh()

    # --- inside: look in the picture, and once more in a fresh one

    async def _host(self, name: str) -> Host | None:
        if self.live.view.host_named(name) is None:
            await self.live.refresh()
        return self.live.view.host_named(name)

    async def _device(self, host_name: str, devid: int) -> Device:
        if devid not in self.live.view.devices:
            await self.live.refresh()
        device = self.live.view.devices.get(devid)
        if device is None:
            raise errors.NoDevice()
        host = self.live.view.hosts.get(device.hostid)
        if host is None or host.name != host_name:
            raise errors.HostMismatch()
        return device

    async def _domain(self, name: str) -> Domain:
        if name not in self.live.view.domains:
            await self.live.refresh()
        domain = self.live.view.domains.get(name)
        if domain is None:
            raise errors.DomainNotFound()
        return domain

    async def _class(self, domain_name: str, name: str) -> StorageClass:
        domain = await self._domain(domain_name)
        found = self.live.view.class_named(domain.dmid, name)
        if found is None:
            await self.live.refresh()
            found = self.live.view.class_named(domain.dmid, name)
        if found is None:
            raise errors.ClassNotFound()
        return found
