"""The commands for hosts and devices."""

from __future__ import annotations

import re
from typing import Any

from koboldfs import errors
from koboldfs.model.entities import DEVICE_STATES, HOST_STATES, Device, Host
from koboldfs.model.view import View
from koboldfs.tracker.call import (
    Call,
    Pairs,
    Services,
    TrackerCommand,
    needed,
    optional,
)

#: Device numbers end here: nine digits name a folder `devN`. A database may hold less.
MAX_DEVID = 999_999_999
MAX_PORT = 65_535

#: An address goes into URLs as it is: an IP, or a host name.
_ADDRESS = re.compile(r"[0-9A-Za-z][0-9A-Za-z.:-]{0,63}", re.ASCII)
#: ``10.0.0.0/8`` and the other forms of a netmask; IPv6 too.
_MASK = re.compile(r"[0-9A-Fa-f.:/-]{1,64}", re.ASCII)
#: Argument names (ours first) -> the column they set.
_ADDRESSES = {"ip": "ip", "hostip": "ip", "altip": "altip"}
_PORTS = {
    "port": "http_port",
    "http_port": "http_port",
    "getport": "get_port",
    "http_get_port": "get_port",
}


async def get_hosts(services: Services, call: Call) -> Pairs:
    """All hosts, or the one of a `hostid`.

    OK: `hosts` and for each `host<i>_hostid`, `_status`, `_hostname`, `_hostip`,
    `_http_port`, `_http_get_port`, `_altip`, `_altmask`; i is no hostid.
    """
    hosts = sorted(services.view.hosts.values(), key=lambda host: host.hostid)
    if call.true("hostid"):
        wanted = call.whole_number("hostid")
        hosts = [host for host in hosts if host.hostid == wanted]
    pairs: Pairs = [("hosts", len(hosts))]
    for index, host in enumerate(hosts, 1):
        pairs += (
            (f"host{index}_hostid", host.hostid),
            (f"host{index}_status", host.status),
            (f"host{index}_hostname", host.name),
            (f"host{index}_hostip", host.ip),
            (f"host{index}_http_port", host.http_port),
            (f"host{index}_http_get_port", host.get_port),
            (f"host{index}_altip", host.altip),
            (f"host{index}_altmask", host.altmask),
        )
    return pairs


async def create_host(services: Services, call: Call) -> Pairs:
    """Make a host. Its status is `down` if none is given.

    OK: `hostid`, `hostname`. Errors in this order: `no_host`, `host_exists`, `no_ip`,
    `no_port`, `unknown_state`, `bad_params` (no address, port or netmask by its form),
    `dup` (an address is in use).
    """
    name = call.required("host", errors.NoHost)
    if services.view.host_named(name) is not None:
        raise errors.HostExists()
    if not call.true("ip"):
        raise errors.NoIp()
    if not call.true("port"):
        raise errors.NoPort()
    values = {"status": "down", **_host_values(call)}
    host = await services.admin.create_host(name, values)
    return _host_reply(host)


async def update_host(services: Services, call: Call) -> Pairs:
    """Change what is given of a host; an empty `getport`, `altip` or `altmask` is
    removed.

    OK: `hostid`, `hostname`. Errors in this order: `no_host`, `host_not_found`,
    `unknown_state`, `bad_params`, `dup` (an address is in use).
    """
    name = call.required("host", errors.NoHost)
    try:
        values = _host_values(call)
    except errors.CallerError:
        if services.view.host_named(name) is None:
            raise errors.HostNotFound() from None
        raise
    return _host_reply(await services.admin.update_host(name, values))


async def delete_host(services: Services, call: Call) -> Pairs:
    """Remove a host that has no devices. OK: nothing. Errors: `unknown_host` (also
    without a name), `host_not_empty`."""
    name = call.required("host", errors.UnknownHost)
    await services.admin.delete_host(name)
    return []


def _host_reply(host: Host) -> Pairs:
    return [("hostid", host.hostid), ("hostname", host.name)]


def _host_values(call: Call) -> dict[str, Any]:
    """The columns that the call sets. Raises `UnknownState`, `BadParams`."""
    values: dict[str, Any] = {}
    status = call.given("status")
    if status is not None:
        if status not in HOST_STATES:
            raise errors.UnknownState()
        values["status"] = status
    for name, column in _ADDRESSES.items():
        if name in call.arguments:
            values[column] = _matching(call, name, _ADDRESS)
    for name, column in _PORTS.items():
        if name in call.arguments:
            values[column] = _port(call, name)
    if "altmask" in call.arguments:
        values["altmask"] = _matching(call, "altmask", _MASK)
    # An empty ip or port says nothing; the other columns may be empty.
    for column in ("ip", "http_port"):
        if column in values and values[column] is None:
            del values[column]
    return values


def _matching(call: Call, name: str, form: re.Pattern[str]) -> str | None:
    text = call.given(name)
    if text is not None and form.fullmatch(text) is None:
        raise errors.BadParams(f"{name} is not written as it should be")
    return text


def _port(call: Call, name: str) -> int | None:
    if not call.true(name):
        return None
    port = call.whole_number(name)
    if port is None or port > MAX_PORT:
        raise errors.BadParams(f"{name} is no port number")
    return port


async def get_devices(services: Services, call: Call) -> Pairs:
    """All devices, or the one of a `devid`, as recorded and as last observed.

    OK: `devices` and for each `dev<i>_devid`, `_hostid`, `_status`, `_weight`,
    `_mb_total`, `_mb_used`, `_mb_free`, `_mb_asof` (always empty), `_observed_state`,
    `_utilization` (percent), `_reject_bad_md5`; i is no devid.
    """
    view = services.view
    devices = sorted(view.devices.values(), key=lambda device: device.devid)
    if call.true("devid"):
        wanted = call.whole_number("devid")
        devices = [device for device in devices if device.devid == wanted]
    pairs: Pairs = [("devices", len(devices))]
    for index, device in enumerate(devices, 1):
        fields = _device_fields(view, device)
        pairs += [(f"dev{index}_{name}", value) for name, value in fields]
    return pairs


def _device_fields(view: View, device: Device) -> Pairs:
    seen = view.health.devices.get(device.devid)
    total, used = device.mb_total, device.mb_used
    if seen is not None and seen.kib_total is not None and seen.kib_used is not None:
        total, used = seen.kib_total // 1024, seen.kib_used // 1024
    utilization = ""
    if seen is not None and seen.utilization is not None:
        utilization = f"{seen.utilization:.2f}"
    return [
        ("devid", device.devid),
        ("hostid", device.hostid),
        ("status", device.status),
        ("weight", device.weight),
        ("mb_total", total),
        ("mb_used", used),
        ("mb_free", None if total is None or used is None else total - used),
        ("mb_asof", None),
        ("observed_state", view.observed(device.devid)),
        ("utilization", utilization),
        # Our own nodes do refuse a body that is not its Content-MD5; of others we
        # do not know.
        ("reject_bad_md5", 1 if view.is_kobold(device.hostid) else None),
    ]


async def create_device(services: Services, call: Call) -> Pairs:
    """Make a device on a host, which a `hostid` names, or else a `hostname`.

    OK: nothing. Errors in this order: `invalid_state`, `invalid_devid`,
    `unknown_hostid`, `unknown_host` or `bad_args` (no host), `existing_devid`.
    """
    state = call.given("state") or "alive"
    if state not in DEVICE_STATES:
        raise errors.InvalidState()
    devid = call.whole_number("devid")
    if devid is None or not 0 < devid <= MAX_DEVID:
        raise errors.InvalidDevid()
    hostid, hostname = call.whole_number("hostid"), call.given("hostname")
    if hostid is None and hostname is None:
        raise errors.BadArguments("No hostid/hostname parameter")
    await services.admin.create_device(devid, hostid, hostname, state)
    return []


async def set_state(services: Services, call: Call) -> Pairs:
    """Set a device's state. OK: nothing. Errors in this order: `bad_params`,
    `no_device`, `host_mismatch`, `state_too_high` (from dead to alive)."""
    host, devid = _device_words(call)
    state = call.required("state", errors.BadParams)
    if state not in DEVICE_STATES:
        raise errors.BadParams()
    await services.admin.set_device_state(host, _known_number(devid), state)
    return []


async def set_weight(services: Services, call: Call) -> Pairs:
    """Set how much a device is preferred; a text counts as 0. OK: nothing.

    Errors in this order: `bad_params` (missing, negative), `no_device`,
    `host_mismatch`.
    """
    host, devid = _device_words(call)
    call.required("weight", errors.BadParams)
    weight = call.leading_number("weight")
    if weight < 0:
        raise errors.BadParams()
    await services.admin.set_weight(host, _known_number(devid), weight)
    return []


def _device_words(call: Call) -> tuple[str, int | None]:
    """Host name and device number (None: no number). Raises `BadParams`."""
    host = call.required("host", errors.BadParams)
    call.required("device", errors.BadParams)
    return host, call.whole_number("device")


def _known_number(devid: int | None) -> int:
    """What is no number is no device either. Raises `NoDevice`."""
    if devid is None or devid > MAX_DEVID:
        raise errors.NoDevice()
    return devid


_HOST = needed("host", "the name of the host")
_HOST_STATUS = optional("status", "`alive`, `dead`, `down` or `readonly`")
_HOST_OPTIONS = (
    optional("getport", "the port for reading, if it is another"),
    optional("altip", "another address, for clients in `altmask`"),
    optional("altmask", "the network of those clients, such as 10.0.0.0/8"),
)
_DEVICE_STATES = "`alive`, `dead`, `down`, `readonly` or `drain`"
_DEVICE = needed("device", "the number of the device")

HOST_COMMANDS = (
    TrackerCommand("get_hosts", get_hosts, (optional("hostid", "only this one"),)),
    TrackerCommand(
        "create_host",
        create_host,
        (
            _HOST,
            needed("ip", "its address"),
            needed("port", "the port of its storage node"),
            _HOST_STATUS,
            *_HOST_OPTIONS,
        ),
    ),
    TrackerCommand(
        "update_host",
        update_host,
        (
            _HOST,
            optional("ip", "its address (`hostip` too)"),
            optional("port", "the port of its storage node (`http_port` too)"),
            _HOST_STATUS,
            *_HOST_OPTIONS,
            optional("http_get_port", "the same as `getport`"),
        ),
    ),
    TrackerCommand("delete_host", delete_host, (_HOST,)),
    TrackerCommand("get_devices", get_devices, (optional("devid", "only this one"),)),
    TrackerCommand(
        "create_device",
        create_device,
        (
            needed("devid", "its number, above 0"),
            optional("hostid", "its host's number"),
            optional("hostname", "its host's name"),
            optional("state", f"{_DEVICE_STATES}; `alive` if left out"),
        ),
    ),
    TrackerCommand(
        "set_state", set_state, (_HOST, _DEVICE, needed("state", _DEVICE_STATES))
    ),
    TrackerCommand(
        "set_weight", set_weight, (_HOST, _DEVICE, needed("weight", "0 or more"))
    ),
)
