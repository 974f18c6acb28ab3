"""The rows of a `MemoryStore`."""

from __future__ import annotations

from attrs import define, field

from koboldfs.model.entities import (
    Checksum,
    Device,
    Domain,
    File,
    FsckLogRow,
    Host,
    Located,
    StorageClass,
    Upload,
)


@define
class QueueRow:
    """A row of the replication or the delete queue; `flags` as the real store has
    them: 1 in work, 2 asked for again while in work."""

    nexttry: int
    failcount: int = 0
    fromdevid: int | None = None
    flags: int = 0


@define
class TaskRow:
    """A row of `file_to_queue`."""

    devid: int | None
    arg: str | None
    nexttry: int
    failcount: int = 0


@define
class Tables:
    """The rows, by their primary keys."""

    hosts: dict[int, Host] = field(factory=dict)
    devices: dict[int, Device] = field(factory=dict)
    mb_asof: dict[int, int] = field(factory=dict)
    domains: dict[int, Domain] = field(factory=dict)
    classes: dict[tuple[int, int], StorageClass] = field(factory=dict)
    settings: dict[str, str] = field(factory=dict)
    files: dict[int, File] = field(factory=dict)
    uploads: dict[int, Upload] = field(factory=dict)
    file_on: set[tuple[int, int]] = field(factory=set)
    own_checksums: dict[int, Checksum] = field(factory=dict)
    class_checksums: dict[int, Checksum] = field(factory=dict)
    to_replicate: dict[int, QueueRow] = field(factory=dict)
    to_delete: dict[int, QueueRow] = field(factory=dict)
    #: By (kind, fid).
    tasks: dict[tuple[int, int], TaskRow] = field(factory=dict)
    fsck_log: list[FsckLogRow] = field(factory=list)
    last_logid: int = 0
    last_fid: int = 0

    def devids(self, fid: int) -> tuple[int, ...]:
        """The devices recorded for a fid."""
        return tuple(sorted(devid for one, devid in self.file_on if one == fid))

    def located(self, fid: int, *, checksum: bool) -> Located | None:
        """The live file of a fid."""
        file = self.files.get(fid)
        if file is None:
            return None
        own = self.own_checksums.get(fid) if checksum else None
        return Located(file, self.devids(fid), own)

    def named(self, dmid: int, key: str) -> File | None:
        """The live file of a key."""
        for file in self.files.values():
            if (file.dmid, file.key) == (dmid, key):
                return file
        return None
