"""The commands for server settings.

A setting that is not there means its default; an empty value removes it, but for the
switches and counts of MogileFS, where it means 0.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import ip_network

from koboldfs import errors
from koboldfs.model.numbering import FORGOTTEN_SETTING
from koboldfs.model.policy import parse_policy
from koboldfs.tracker.call import (
    Call,
    Pairs,
    Services,
    TrackerCommand,
    needed,
    optional,
    whole_number,
)

#: The column is this wide.
MAX_NAME_CHARS = 50
#: No setting has reason to be longer; a list of netmasks is the longest.
MAX_VALUE_CHARS = 4096
MAX_ACK_COPIES = 10
#: Deleted files may take room for a day (`jobs.delete` keeps to that as well).
MAX_GRACE_SECONDS = 86_400
#: A hundred years, in days and in seconds: more is a slip of the finger.
MAX_DAYS = 36_500
MAX_SECONDS = MAX_DAYS * 86_400

_TRUE = re.compile("1|t|on|y", re.IGNORECASE)
_FALSE = re.compile("0|f|of|n|$", re.IGNORECASE)

#: A text as given -> the text to store, None to remove it; raises `InvalidFormat`.
Format = Callable[[str], "str | None"]


def free_text(text: str) -> str | None:
    """Anything."""
    return text or None


def switch(text: str) -> str:
    """`1`, `true`, `on`, `yes` or `0`, `false`, `off`, `no` (first letters will do)."""
    if _TRUE.match(text):
        return "1"
    if _FALSE.match(text):
        return "0"
    raise errors.InvalidFormat("Doesn't match an acceptable boolean")


def count(text: str) -> str:
    """Digits."""
    if not text:
        return "0"
    if whole_number(text) is None:
        raise errors.InvalidFormat("Doesn't match an acceptable number")
    return text


def netmasks(text: str) -> str | None:
    """Netmasks such as 10.0.0.0/8, separated by commas or blanks."""
    try:
        for mask in re.split(r"[\s,]+", text.strip()):
            if mask:
                ip_network(mask, strict=False)
    except ValueError as fault:
        raise errors.InvalidFormat("Doesn't match an acceptable netmask") from fault
    return text or None


def fsck_checksum(text: str) -> str | None:
    """`class` (as the file's class says, the default), `off`, `MD5` or `SHA-1`."""
    if text == "class":
        return None
    if text not in ("off", "MD5", "SHA-1"):
        raise errors.InvalidFormat("Not a valid checksum algorithm")
    return text


def policy(text: str) -> str | None:
    """A replication policy, such as `AllHosts()`."""
    if not text:
        return None
    try:
        parse_policy(text)
    except ValueError as fault:
        raise errors.InvalidFormat(str(fault)) from fault
    return text


def number_within(lowest: int, highest: int) -> Format:
    """A whole number within these bounds."""

    def within(text: str) -> str | None:
        if not text:
            return None
        number = whole_number(text)
        if number is None or not lowest <= number <= highest:
            raise errors.InvalidFormat(f"must be a number from {lowest} to {highest}")
        return str(number)

    return within


def only_removed(text: str) -> None:
    """Empty: it is removed. Trackers write it."""
    if text:
        raise errors.InvalidFormat("can only be removed")


#: The settings that may be written, by name; one that ends in ``*`` is a beginning.
WRITABLE: dict[str, Format] = {
    "slave_*": free_text,
    "skip_devcount": switch,
    "skip_mkcol": switch,
    "case_sensitive_list_keys": switch,
    "memcache_servers": free_text,
    "memcache_ttl": count,
    "internal_queue_limit": count,
    "network_zones": free_text,
    "queue_*": free_text,
    "zone_*": netmasks,
    "fsck_checksum": fsck_checksum,
    "kobold_policy": policy,
    "kobold_ack_copies": number_within(1, MAX_ACK_COPIES),
    "kobold_lost_after_seconds": number_within(0, MAX_SECONDS),
    "kobold_delete_grace_seconds": number_within(0, MAX_GRACE_SECONDS),
    "kobold_scrub_days": number_within(0, MAX_DAYS),
    FORGOTTEN_SETTING: only_removed,
}


def writable_format(name: str) -> Format:
    """How a setting is written; raises `NotWritable`."""
    found = WRITABLE.get(name)
    if found is None and "_" in name and not name.endswith("_"):
        found = WRITABLE.get(f"{name.partition('_')[0]}_*")
    if found is None or len(name) > MAX_NAME_CHARS or name.endswith("*"):
        raise errors.NotWritable()
    return found


async def set_server_setting(services: Services, call: Call) -> Pairs:
    """Write a setting, or remove it. OK: nothing.

    Errors: `bad_params` (no key), `not_writable`, `invalid_format`.
    """
    name = call.required("key", errors.BadParams)
    form = writable_format(name)
    text = call.arguments.get("value", "")
    if len(text) > MAX_VALUE_CHARS or "\0" in text:
        raise errors.InvalidFormat("The value is too long, or has a NUL in it")
    admin = services.admin
    await admin.set_setting(name, form(text))
    if name.startswith("slave_") and name != "slave_version":
        # Running trackers of MogileFS read their slaves again when this changes.
        version = whole_number(await admin.setting("slave_version") or "") or 0
        await admin.set_setting("slave_version", str(version + 1))
    return []


async def server_setting(services: Services, call: Call) -> Pairs:
    """One setting, read now. OK: `key`, `value` (empty if it is not set). Errors:
    `bad_params` (no key)."""
    name = call.required("key", errors.BadParams)
    # No database has such a name, and some refuse to look for it.
    value = None if "\0" in name else await services.admin.setting(name)
    return [("key", name), ("value", value)]


async def server_settings(services: Services, call: Call) -> Pairs:
    """All settings but the inner ones of fsck, by name.

    OK: `key_count`, and for each `key_<i>`, `value_<i>`; nothing if there is none.
    """
    settings = await services.admin.settings()
    shown = sorted(
        name
        for name in settings
        if not name.startswith("fsck_") or name == "fsck_checksum"
    )
    pairs: Pairs = [("key_count", len(shown))] if shown else []
    for index, name in enumerate(shown, 1):
        pairs += ((f"key_{index}", name), (f"value_{index}", settings[name]))
    return pairs


_KEY = needed("key", "the name of the setting")

SETTING_COMMANDS = (
    TrackerCommand(
        "set_server_setting",
        set_server_setting,
        (_KEY, optional("value", "empty: remove it")),
    ),
    TrackerCommand("server_setting", server_setting, (_KEY,)),
    TrackerCommand("server_settings", server_settings),
)
