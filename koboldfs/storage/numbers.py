"""The highest fid that lies on a device's disk, for trackers: see `model.numbering`.

It is found from above, folder by folder, which takes four looks where files are stored
in the order of their numbers and stay. Fids of more than ten digits are not looked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from koboldfs.errors import DiskFault
from koboldfs.model.fid import relative_path
from koboldfs.model.numbering import HIGHEST_LISTED
from koboldfs.storage.device import Device
from koboldfs.storage.disk import IDisk

#: Folders without files, that is from which all were deleted, that are looked into.
MOST_FOLDERS = 10_000
#: When the highest file was removed, the next lower one is looked for so often
#: (seconds); it does not matter who is late to know.
SEARCH_SECONDS = 600.0
_FORMS = tuple(re.compile(form, re.ASCII) for form in ("[0-9]", "[0-9]{3}", "[0-9]{3}"))
_FILE = re.compile(r"[0-9]{10}\.fid", re.ASCII)


def highest_fid(disk: IDisk, root: str, low: int, high: int = HIGHEST_LISTED) -> int:
    """The highest fid of a file below `root`, up to `high`; `low` if none is above
    that. Blocks. Raises `OSError`, or `DiskFault` for more than `MOST_FOLDERS`."""
    first, last = f"{max(0, low):010d}", f"{min(high, HIGHEST_LISTED):010d}"
    for count, folder in enumerate(_folders(disk, root, "", first, last)):
        if count >= MOST_FOLDERS:
            raise DiskFault("too many folders without files, to find the highest fid")
        for name in sorted(_names(disk, f"{root}/{folder}"), reverse=True):
            if not _FILE.fullmatch(name) or not first < name[:-4] <= last:
                continue
            fid = int(name[:-4])
            if relative_path(fid) == f"{folder}/{name}" and _is_file(disk, root, fid):
                return fid
    return low


def _folders(
    disk: IDisk, root: str, above: str, first: str, last: str, depth: int = 0
) -> Iterator[str]:
    """The folders in which fids between these two may lie, from the last on."""
    if depth == len(_FORMS):
        yield above[1:]
        return
    for name in sorted(_names(disk, f"{root}{above}"), reverse=True):
        if not _FORMS[depth].fullmatch(name):
            continue
        digits = (above + name).replace("/", "")
        if first[: len(digits)] <= digits <= last[: len(digits)]:
            yield from _folders(disk, root, f"{above}/{name}", first, last, depth + 1)


def _names(disk: IDisk, folder: str) -> list[str]:
    try:
        return list(disk.names(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _is_file(disk: IDisk, root: str, fid: int) -> bool:
    try:
        return disk.stat(f"{root}/{relative_path(fid)}").is_file
    except FileNotFoundError:
        return False


def look_for_highest(disk: IDisk, device: Device, known: int, anew: bool) -> int:
    """The highest fid on the device, when `known` was the highest; `anew`: also a lower
    one, should that file be gone. Blocks. What the disk says against it is for others
    to find: then `known` is the answer."""
    try:
        gone = known and anew and not _is_file(disk, device.path, known)
        return highest_fid(disk, device.path, 0 if gone else known)
    except (OSError, DiskFault):
        return known
