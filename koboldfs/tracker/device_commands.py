"""The commands for devices."""

from __future__ import annotations

from koboldfs import errors
from koboldfs.model.entities import DEVICE_STATES, Device
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
_DEVICE_STATES = "`alive`, `dead`, `down`, `readonly` or `drain`"
_DEVICE = needed("device", "the number of the device")

DEVICE_COMMANDS = (
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
