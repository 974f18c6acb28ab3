"""The commands that list files and tell what is known of one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from koboldfs import errors
from koboldfs.model.entities import Checksum, Located
from koboldfs.model.view import View
from koboldfs.tracker.call import (
    Call,
    Pairs,
    Services,
    TrackerCommand,
    begins_with_number,
    optional,
)
from koboldfs.tracker.file_commands import DOMAIN, KEY, ZONE

#: The most keys, and files, that one reply lists (MogileFS's limits).
MAX_KEYS = 1000
_KEY_NAMES = tuple(f"key_{number}" for number in range(1, MAX_KEYS + 1))
MAX_FIDS = 500
DEFAULT_FIDS = 100

#: Queue -> the columns of its row that `file_debug` shows.
_QUEUE_COLUMNS = {
    "tempfile": ("classid", "dmid", "dkey", "devids"),
    "replqueue": ("fid", "nexttry", "fromdevid", "failcount", "flags"),
    "delqueue": ("fid", "nexttry", "failcount"),
    "rebqueue": ("fid", "devid", "type", "nexttry", "failcount", "flags", "arg"),
    "fsckqueue": ("fid", "devid", "type", "nexttry", "failcount", "flags", "arg"),
}


async def list_keys(services: Services, call: Call) -> Pairs:
    """Keys in ascending order of bytes.

    `prefix` is literal. OK: `key_count`, `key_<i>`, and `next_after`, the value of
    `after` for the next page. Errors: `after_mismatch` (`after` does not begin with
    the prefix), `failure` (a negative limit), `none_match`.
    """
    namespace = services.namespace
    domain = await namespace.known_domain(call.arguments.get("domain"))
    prefix = call.arguments.get("prefix", "")
    after = call.arguments.get("after", "")
    if prefix and after and not after.startswith(prefix):
        raise errors.AfterMismatch()
    keys = await namespace.list_keys(domain, prefix, after, _limit(call))
    if not keys:
        raise errors.NoneMatch()
    numbered = zip(_KEY_NAMES, keys, strict=False)
    return [("key_count", str(len(keys))), *numbered, ("next_after", max(keys))]


def _limit(call: Call) -> int:
    """How many keys are wanted. Raises `NoneMatch` for what is no number."""
    if not call.true("limit"):
        return MAX_KEYS
    if not begins_with_number(call.arguments["limit"]):
        raise errors.NoneMatch()
    limit = call.leading_number("limit")
    if limit < 0:
        raise errors.KoboldError()
    return min(limit or MAX_KEYS, MAX_KEYS)


async def list_fids(services: Services, call: Call) -> Pairs:
    """Files of all domains by ascending fid.

    OK: `fid_count` and for each `fid_<i>_fid`, `_domain`, `_class`, `_key`, `_length`
    (bytes), `_devcount`. Nothing found: `fid_count` 0.
    """
    count = call.leading_number("to") or DEFAULT_FIDS
    if not 0 < count <= MAX_FIDS:
        count = MAX_FIDS
    after = max(0, call.leading_number("from"))
    found = await services.namespace.list_files(after, count)
    view = services.view
    domain_names = {domain.dmid: name for name, domain in view.domains.items()}
    pairs: Pairs = [("fid_count", len(found))]
    for index, located in enumerate(found, 1):
        file = located.file
        pairs += (
            (f"fid_{index}_fid", file.fid),
            (f"fid_{index}_domain", domain_names.get(file.dmid)),
            (f"fid_{index}_class", view.storage_class(file.dmid, file.classid).name),
            (f"fid_{index}_key", file.key),
            (f"fid_{index}_length", file.length),
            (f"fid_{index}_devcount", file.devcount),
        )
    return pairs


async def file_info(services: Services, call: Call) -> Pairs:
    """What is recorded of a file.

    OK: `fid`, `domain`, `class`, `key`, `length` (bytes), `devcount`; if the class has
    a hashtype, `checksum` (`MD5:<hex>`, or `MISSING`); with `devices`, `devids`.
    Errors: `no_key`, `unknown_key`.
    """
    namespace = services.namespace
    domain = await namespace.known_domain(call.arguments.get("domain"))
    located = await namespace.locate(domain, call.required("key", errors.NoKey))
    file = located.file
    storage_class = services.view.storage_class(file.dmid, file.classid)
    pairs: Pairs = [
        ("fid", file.fid),
        ("domain", domain.name),
        ("class", storage_class.name),
        ("key", file.key),
        ("length", file.length),
        ("devcount", file.devcount),
    ]
    if storage_class.hashtype is not None:
        checksum = await namespace.class_checksum(file.fid)
        pairs.append(("checksum", checksum or "MISSING"))
    if call.true("devices"):
        pairs.append(("devids", _csv(located.devids)))
    return pairs


async def file_debug(services: Services, call: Call) -> Pairs:
    """Everything that the database has of a file, by `fid` or by `domain` and `key`.

    OK, each part only if it is there: `fid_*` (the file's row), `devids`,
    `devpath_<devid>`, `checksum` (or `NONE`), `tempfile_*`, `replqueue_*`,
    `delqueue_*`, `rebqueue_*`, `fsckqueue_*`. Errors, by key only: `no_domain`,
    `unreg_domain`, `no_key`, `unknown_key`.
    """
    files = services.namespace.files
    located: Located | None
    if call.true("fid"):
        number = call.whole_number("fid")
        if number is None:
            return [("checksum", "NONE")]
        fid = number
        located = await files.find_fid(fid)
    else:
        domain = await services.namespace.known_domain(call.arguments.get("domain"))
        key = call.required("key", errors.NoKey)
        located = await services.namespace.locate(domain, key)
        fid = located.file.fid
    devids = await files.devices_of(fid)
    checksum = await services.namespace.class_checksum(fid)
    queues = await files.queue_rows(fid)
    return [
        *(_file_row(services.view, located) if located is not None else []),
        *_copies(services.view, call, fid, devids, checksum),
        *_queues(queues),
    ]


def _file_row(view: View, located: Located) -> Pairs:
    file = located.file
    domain = view.domain_numbered(file.dmid)
    return [
        ("fid_fid", file.fid),
        ("fid_dmid", file.dmid),
        ("fid_dkey", file.key),
        ("fid_length", file.length),
        ("fid_classid", file.classid),
        ("fid_devcount", file.devcount),
        ("fid_domain", domain.name if domain else None),
        ("fid_class", view.storage_class(file.dmid, file.classid).name),
    ]


def _copies(
    view: View,
    call: Call,
    fid: int,
    devids: tuple[int, ...],
    checksum: Checksum | None,
) -> Pairs:
    pairs: Pairs = [("devids", _csv(devids))] if devids else []
    for devid in sorted(devids):
        url = view.url(devid, fid, client_ip=call.client_ip, alt=call.alt)
        if url is not None:
            pairs.append((f"devpath_{devid}", url))
    pairs.append(("checksum", checksum or "NONE"))
    return pairs


def _queues(rows: Mapping[str, Mapping[str, Any]]) -> Pairs:
    return [
        (f"{queue}_{column}", rows[queue].get(column))
        for queue, columns in _QUEUE_COLUMNS.items()
        if queue in rows
        for column in columns
    ]


def _csv(devids: tuple[int, ...]) -> str:
    return ",".join(map(str, sorted(devids)))


LIST_COMMANDS = (
    TrackerCommand(
        "list_keys",
        list_keys,
        (
            DOMAIN,
            optional("prefix", "only keys that begin with it"),
            optional("after", "only keys above it"),
            optional("limit", "how many at most; 0, none or above 1000: 1000"),
        ),
    ),
    TrackerCommand(
        "list_fids",
        list_fids,
        (
            optional("from", "only fids above it"),
            optional("to", "how many at most (a count): 100, at most 500"),
        ),
    ),
    TrackerCommand(
        "file_info",
        file_info,
        (DOMAIN, KEY, optional("devices", "true: name the devices, too")),
    ),
    TrackerCommand(
        "file_debug",
        file_debug,
        (
            optional("fid", "the file's number"),
            optional("domain", "without a fid: the name space of the key"),
            optional("key", "without a fid: the name of the file"),
            ZONE,
        ),
    ),
)
