"""Giving a file another name on its device, for HTTP's MOVE."""

from __future__ import annotations

from posixpath import dirname

from koboldfs.errors import CallerError, CopyMissing
from koboldfs.storage.batch import flush_failed
from koboldfs.storage.disk import IDisk
from koboldfs.storage.temporary import make_folders


class NameTaken(CallerError):
    """There is a file of the new name, and it is to stay."""


def move_file(
    disk: IDisk, root: str, names: tuple[str, str], replace: bool, fsync: bool
) -> bool:
    """Rename the first of `names`, below `root`, to the second; returns whether that
    replaced a file. Blocks. Both names are durable when it returns: after a crash
    before that the file has one of them. Raises `CopyMissing`, `NameTaken`, `OSError`.
    """
    old, new = (f"{root}/{name}" for name in names)
    try:
        if not disk.stat(old).is_file:
            raise FileNotFoundError
    except FileNotFoundError as error:
        raise CopyMissing("there is no such file") from error
    try:
        replaced = disk.stat(new).is_file
    except FileNotFoundError:
        replaced = False
    if replaced and not replace:
        raise NameTaken("there is a file of that name")
    folders = make_folders(disk, root, dirname(names[1]))
    disk.rename(old, new)
    if fsync:
        try:
            for folder in dict.fromkeys((dirname(new), dirname(old), *folders)):
                disk.sync_folder(folder)
        except OSError as error:
            raise flush_failed(error) from error
    return replaced
