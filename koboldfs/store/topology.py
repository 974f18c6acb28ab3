"""The small tables: the provider of `ITopology`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from zope.interface import implementer

from koboldfs.interfaces import ITopology
from koboldfs.model.entities import Topology
from koboldfs.store import transactions_topology as change
from koboldfs.store.database import Database


@implementer(ITopology)
class SmallTables:
    """Hosts, devices, domains, classes and settings. Beside what the interface says,
    every method raises `ValueRefused` for what a column cannot hold."""

    def __init__(
        self,
        database: Database,
        watch: Callable[[Callable[[], None]], None],
        forget_domain: Callable[[int], None],
    ) -> None:
        self._database = database
        self._watch = watch
        self._forget_domain = forget_domain

    @property
    def _hashtype(self) -> bool:
        return self._database.estate.has_hashtype

    def load(self) -> Awaitable[Topology]:
        """See `ITopology.load`."""
        return self._database.snapshot("load", change.load, self._hashtype)

    def watch(self, changed: Callable[[], None]) -> None:
        """See `ITopology.watch`."""
        self._watch(changed)

    def create_host(self, name: str, values: Mapping[str, Any]) -> Awaitable[int]:
        """See `ITopology.create_host`."""
        steps = change.create_host
        return self._database.write_once("create_host", steps, name, dict(values))

    def update_host(self, hostid: int, values: Mapping[str, Any]) -> Awaitable[None]:
        """See `ITopology.update_host`."""
        steps = change.update_host
        return self._database.write("update_host", steps, hostid, dict(values))

    def delete_host(self, hostid: int) -> Awaitable[None]:
        """See `ITopology.delete_host`."""
        return self._database.write_once("delete_host", change.delete_host, hostid)

    def create_device(self, devid: int, hostid: int, status: str) -> Awaitable[None]:
        """See `ITopology.create_device`; raises `UnknownHostid` too."""
        steps = change.create_device
        return self._database.write_once("create_device", steps, devid, hostid, status)

    def update_device(
        self, devid: int, values: Mapping[str, Any], status_was: str | None = None
    ) -> Awaitable[bool]:
        """See `ITopology.update_device`."""
        steps, given = change.update_device, dict(values)
        return self._database.write("update_device", steps, devid, given, status_was)

    def create_domain(self, name: str) -> Awaitable[int]:
        """See `ITopology.create_domain`."""
        return self._database.write_once("create_domain", change.create_domain, name)

    async def delete_domain(self, dmid: int) -> None:
        """See `ITopology.delete_domain`."""
        await self._database.write_once("delete_domain", change.delete_domain, dmid)
        self._forget_domain(dmid)

    def create_class(
        self,
        dmid: int,
        name: str,
        mindevcount: int,
        policy: str | None,
        hashtype: int | None,
    ) -> Awaitable[int]:
        """See `ITopology.create_class`."""
        values = change.class_values(name, mindevcount, policy, hashtype)
        steps, old = change.create_class, self._hashtype
        return self._database.write_once("create_class", steps, dmid, values, old)

    def update_class(
        self,
        dmid: int,
        classid: int,
        name: str,
        mindevcount: int,
        policy: str | None,
        hashtype: int | None,
    ) -> Awaitable[None]:
        """See `ITopology.update_class`; raises `ClassNotFound` too."""
        values = change.class_values(name, mindevcount, policy, hashtype)
        steps, old = change.update_class, self._hashtype
        return self._database.write("update_class", steps, dmid, classid, values, old)

    def delete_class(self, dmid: int, classid: int) -> Awaitable[None]:
        """See `ITopology.delete_class`."""
        steps = change.delete_class
        return self._database.write_once("delete_class", steps, dmid, classid)

    def setting(self, name: str) -> Awaitable[str | None]:
        """See `ITopology.setting`."""
        return self._database.read("setting", change.setting, name)

    def set_setting(self, name: str, value: str | None) -> Awaitable[None]:
        """See `ITopology.set_setting`."""
        return self._database.write("set_setting", change.set_setting, name, value)

    def set_settings(self, values: Mapping[str, str | None]) -> Awaitable[None]:
        """See `ITopology.set_settings`."""
        steps = change.set_settings
        return self._database.write("set_settings", steps, dict(values))

    def change_settings(
        self,
        expected: Mapping[str, str | None],
        values: Mapping[str, str | None],
        announce: bool,
    ) -> Awaitable[bool]:
        """See `ITopology.change_settings`."""
        steps, announced = change.change_settings, bool(announce)
        return self._database.write_once(
            "change_settings", steps, dict(expected), dict(values), announced
        )

    def default_setting(self, name: str, value: str) -> Awaitable[str]:
        """See `ITopology.default_setting`."""
        steps = change.default_setting
        return self._database.write("default_setting", steps, name, value)
