"""The commands for hosts."""

from __future__ import annotations

import re
from typing import Any

from koboldfs import errors
from koboldfs.model.entities import HOST_STATES, Host
from koboldfs.tracker.call import (
    Call,
    Pairs,
    Services,
    TrackerCommand,
    needed,
    optional,
)

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


_HOST = needed("host", "the name of the host")
_HOST_STATUS = optional("status", "`alive`, `dead`, `down` or `readonly`")
_HOST_OPTIONS = (
    optional("getport", "the port for reading, if it is another"),
    optional("altip", "another address, for clients in `altmask`"),
    optional("altmask", "the network of those clients, such as 10.0.0.0/8"),
)
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
)
