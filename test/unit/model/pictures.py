"""Pictures for the tests of this room, built from a few words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import evolve

from koboldfs.model.entities import (
    Device,
    DeviceReport,
    Host,
    HostReport,
    Topology,
)
from koboldfs.model.view import Health, View

#: A device's whole room (KiB): 1,000 MB.
KIB_TOTAL = 1_000 * 1024


def picture(
    devices: Mapping[int, int],
    *,
    away: tuple[int, ...] = (),
    devices_are: Mapping[int, str] | None = None,
    hosts_are: Mapping[int, str] | None = None,
    observed: Mapping[int, str] | None = None,
    used: Mapping[int, float] | None = None,
    unknown_room: tuple[int, ...] = (),
) -> View:
    """A view of ``{devid: hostid}``, where all is well but what is said.

    `used` is the share in use (0.1 else); `away` are hosts that do not answer.
    """
    devices_are, hosts_are = devices_are or {}, hosts_are or {}
    observed, used = observed or {}, used or {}
    health = Health()
    hostids = sorted(set(devices.values()))
    for hostid in hostids:
        reports = tuple(
            _report(devid, observed, used, unknown_room)
            for devid, on in devices.items()
            if on == hostid
        )
        report = HostReport(hostid, hostid not in away, True, reports)
        health = health.with_report(report)
    topology = Topology(
        hosts=tuple(
            Host(
                hostid,
                f"h{hostid}",
                hosts_are.get(hostid, "alive"),
                f"10.0.0.{hostid}",
                7500,
            )
            for hostid in hostids
        ),
        devices=tuple(
            Device(devid, hostid, devices_are.get(devid, "alive"))
            for devid, hostid in devices.items()
        ),
    )
    return View.of(topology, health)


def _report(
    devid: int,
    observed: Mapping[int, str],
    used: Mapping[int, float],
    unknown_room: tuple[int, ...],
) -> DeviceReport:
    word = observed.get(devid, "writeable")
    if devid in unknown_room:
        return DeviceReport(devid, word)
    return DeviceReport(devid, word, KIB_TOTAL, int(KIB_TOTAL * used.get(devid, 0.1)))


def with_host(view: View, hostid: int, **changes: Any) -> View:
    """The view with some columns of one host changed."""
    host = evolve(view.hosts[hostid], **changes)
    return evolve(view, hosts={**view.hosts, hostid: host})


def with_device(view: View, devid: int, **changes: Any) -> View:
    """The view with some columns of one device changed."""
    device = evolve(view.devices[devid], **changes)
    return evolve(view, devices={**view.devices, devid: device})
