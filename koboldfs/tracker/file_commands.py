"""The commands that store, find and change files by key.

Each begins with its domain: missing is `no_domain`, unknown is `unreg_domain`.
"""

from __future__ import annotations

from koboldfs import errors
from koboldfs.model.entities import Checksum
from koboldfs.model.fid import MAX_FID
from koboldfs.tracker.call import (
    Argument,
    Call,
    Pairs,
    Services,
    TrackerCommand,
    always,
    needed,
    optional,
)
from koboldfs.wire.sidechannel import SyntaxFault, parse_checksum

#: How many paths `get_paths` gives if it is not told, and at least.
DEFAULT_PATHS = 2

#: The highest fid that a client may choose: a database may go on drawing above it, and
#: must never come to the end of its numbers.
MAX_CHOSEN_FID = 2**62

DOMAIN = needed("domain", "the name space of the key")
KEY = needed("key", "the name of the file")
ZONE = Argument("zone", "`alt`: URLs with the hosts' altip")


async def create_open(services: Services, call: Call) -> Pairs:
    """Begin an upload: a new fid, and the URL (or URLs) to PUT its bytes to.

    OK: `fid`, `devid`, `path`; with `multi_dest` instead `fid`, `dev_count` and for
    each `devid_<i>`, `path_<i>`; with `debug_profile` also where the time went:
    `profpoints`, and for each `prof_<i>_name`, `prof_<i>_time` (seconds). Errors:
    `unreg_class`, `no_devices`, `fid_in_use`, `db` (a fid that is no number).
    """
    namespace, seconds = services.namespace, services.clock.seconds
    began = seconds()
    domain = await namespace.known_domain(call.arguments.get("domain"))
    class_name = call.given("class")
    if class_name is not None:
        await namespace.known_classid(domain, class_name)
    multiple = call.true("multi_dest")
    offer = await namespace.open(
        domain,
        call.arguments.get("key", ""),
        class_name=class_name,
        fid=_chosen_fid(call),
        multiple=multiple,
        size=call.whole_number("size"),
    )
    opened = seconds()
    view = services.view
    targets = [
        (devid, url)
        for devid in offer.devids
        if (
            url := view.url(
                devid, offer.fid, client_ip=call.client_ip, alt=call.alt, put=True
            )
        )
    ]
    if not targets:
        raise errors.NoDevices()
    pairs: Pairs = [("fid", offer.fid)]
    if multiple:
        pairs.append(("dev_count", len(targets)))
        for index, (devid, url) in enumerate(targets, 1):
            pairs += ((f"devid_{index}", devid), (f"path_{index}", url))
    else:
        devid, url = targets[0]
        pairs += (("devid", devid), ("path", url))
    if call.true("debug_profile"):
        pairs += _profile(open=opened - began, urls=seconds() - opened)
    return pairs


def _profile(**points: float) -> Pairs:
    """What took how long (seconds), in order."""
    pairs: Pairs = [("profpoints", len(points))]
    for index, (name, took) in enumerate(points.items(), 1):
        pairs += ((f"prof_{index}_name", name), (f"prof_{index}_time", f"{took:.6f}"))
    return pairs


def _chosen_fid(call: Call) -> int | None:
    """The fid that the client wants, if any. Raises `ValueRefused`."""
    if not call.true("fid"):
        return None
    fid = call.whole_number("fid")
    if fid is None or fid > MAX_CHOSEN_FID:
        raise errors.ValueRefused()
    return fid or None


async def create_close(services: Services, call: Call) -> Pairs:
    """End an upload: from now on the key is this file.

    Without a key the upload is thrown away. A repeated close of the same file is OK
    again. OK: nothing, or `copies` and `promised` (on how many hosts the file lies, and
    should lie) while the first is less. Errors in this order: `no_fid`, `no_devid`,
    `no_path`, `invalid_checksum_format`, `bogus_args` (the path is not the one that was
    offered; a size that is no number), `no_temp_file`, `invalid_destdev`,
    `size_verify_error`, `size_mismatch`, `checksum_mismatch`, `fid_exists`.
    """
    domain = await services.namespace.known_domain(call.arguments.get("domain"))
    for name, missing in (
        ("fid", errors.NoFid),
        ("devid", errors.NoDevid),
        ("path", errors.NoPath),
    ):
        if not call.true(name):
            raise missing()
    checksum = _claimed_checksum(call)
    fid, devid = _confirmed_place(services, call)
    promise = await services.namespace.close(
        domain,
        fid=fid,
        devid=devid,
        key=call.arguments.get("key", ""),
        size=_claimed_size(call),
        checksum=checksum,
        verify=call.true("checksumverify"),
    )
    if promise is None or promise.kept:
        return []
    return [("copies", promise.hosts), ("promised", promise.promised)]


def _claimed_checksum(call: Call) -> Checksum | None:
    if not call.true("checksum"):
        return None
    try:
        return parse_checksum(call.arguments["checksum"])
    except SyntaxFault as fault:
        raise errors.BadChecksumFormat() from fault


def _claimed_size(call: Call) -> int | None:
    """The size to compare with: none if it is missing, empty, 0 or negative."""
    if not call.true("size"):
        return None
    size = call.whole_number("size")
    if size is None and call.leading_number("size") >= 0:
        raise errors.BogusArguments()
    return size or None


def _confirmed_place(services: Services, call: Call) -> tuple[int, int]:
    """The (fid, devid) whose URL the path is, in any of the forms we give out."""
    fid, devid = call.whole_number("fid"), call.whole_number("devid")
    path, view = call.arguments["path"], services.view
    if fid is None or devid is None or not 0 < fid <= MAX_FID:
        raise errors.BogusArguments()
    if path not in (
        view.url(devid, fid, put=True),
        view.url(devid, fid, put=True, alt=True),
    ):
        raise errors.BogusArguments()
    return fid, devid


async def get_paths(services: Services, call: Call) -> Pairs:
    """The URLs of a file's copies, best first.

    Unless `noverify` is true, the first of them was just seen to have the whole file.
    A file without copies is no error. OK: `paths`, `path1`, ... Errors: `no_key`,
    `unknown_key`.
    """
    namespace = services.namespace
    domain = await namespace.known_domain(call.arguments.get("domain"))
    urls = await namespace.paths(
        domain,
        call.required("key", errors.NoKey),
        verify=not call.true("noverify"),
        count=max(DEFAULT_PATHS, call.leading_number("pathcount")),
        client_ip=call.client_ip,
        alt=call.alt,
    )
    pairs: Pairs = [("paths", len(urls))]
    pairs += [(f"path{index}", url) for index, url in enumerate(urls, 1)]
    return pairs


async def delete(services: Services, call: Call) -> Pairs:
    """Remove a key at once; its copies are removed by and by.

    OK: nothing. Errors: `no_key`, `unknown_key`.
    """
    domain = await services.namespace.known_domain(call.arguments.get("domain"))
    await services.namespace.delete(domain, call.required("key", errors.NoKey))
    return []


async def rename(services: Services, call: Call) -> Pairs:
    """Give a file another key, which must be free (or its own).

    OK: nothing. Errors: `no_key` (either), `unknown_key`, `key_exists`, `failure` (a
    key that cannot be stored).
    """
    domain = await services.namespace.known_domain(call.arguments.get("domain"))
    old = call.required("from_key", errors.NoKey)
    new = call.required("to_key", errors.NoKey)
    try:
        await services.namespace.rename(domain, old, new)
    except errors.ValueRefused as refused:
        raise errors.KoboldError() from refused
    return []


async def updateclass(services: Services, call: Call) -> Pairs:
    """Give a file another class; if it is another, its replication is queued.

    OK: nothing. Errors: `no_key`, `no_class`, `class_not_found`, `invalid_key` (no
    such file), `no_devices` (the file has no copies).
    """
    domain = await services.namespace.known_domain(call.arguments.get("domain"))
    key = call.required("key", errors.NoKey)
    class_name = call.required("class", errors.NoClass)
    await services.namespace.set_class(domain, key, class_name)
    return []


FILE_COMMANDS = (
    TrackerCommand(
        "create_open",
        create_open,
        (
            DOMAIN,
            optional("key", "the name that the file will have"),
            optional("class", "its class; `default` if left out"),
            optional("fid", "a fid of one's own choice; 0: automatic"),
            optional("multi_dest", "true: up to three URLs to choose from"),
            optional("size", "bytes that the device must have room for"),
            optional("debug_profile", "true: say where the time went"),
            ZONE,
        ),
        together=lambda arguments: arguments.get("fid", "0") == "0",
    ),
    TrackerCommand(
        "create_close",
        create_close,
        (
            DOMAIN,
            needed("fid", "as create_open gave it"),
            needed("devid", "the device that has the bytes now"),
            needed("path", "the URL that they were PUT to, as it was given"),
            optional("key", "the name; empty: throw the upload away"),
            optional("size", "bytes; missing or 0: not compared"),
            optional("checksum", "`MD5:<hex>`, `SHA-1:<hex>` or `SHA-256:<hex>`"),
            optional("checksumverify", "true: read the copy and compare"),
        ),
    ),
    TrackerCommand(
        "get_paths",
        get_paths,
        (
            DOMAIN,
            KEY,
            optional("noverify", "true: do not look at the copies"),
            optional("pathcount", "how many URLs at most; 2 if left out or less"),
            ZONE,
        ),
        together=always,
    ),
    # Of two for one key, the second finds that it is gone: the store keeps their order.
    TrackerCommand("delete", delete, (DOMAIN, KEY), together=always),
    TrackerCommand(
        "rename",
        rename,
        (
            DOMAIN,
            needed("from_key", "the present name"),
            needed("to_key", "the new name"),
        ),
    ),
    TrackerCommand(
        "updateclass",
        updateclass,
        (DOMAIN, KEY, needed("class", "the new class; `default` too")),
    ),
)
