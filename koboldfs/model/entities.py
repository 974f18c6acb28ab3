"""The things that a cluster is made of, as immutable values.

Every text that came from outside (key, domain, class, host name) is a ``str`` that
holds ONE CHARACTER PER BYTE (Latin-1), never decoded UTF-8: that is how MogileFS's
driver put bytes into PostgreSQL, so a database can be shared, and no byte is lost.
Front doors decode with ``latin-1`` on the way in and encode with it on the way out.
"""

from __future__ import annotations

from attrs import field, frozen

HOST_STATES = ("alive", "dead", "down", "readonly")
DEVICE_STATES = ("alive", "dead", "down", "readonly", "drain")
DEFAULT_CLASS_NAME = "default"
DEFAULT_CLASSID = 0

#: Checksum types, numbered as in MogileFS's tables (3 to 6 are the SHA-2 family).
MD5, SHA1, SHA256 = 1, 2, 4
HASH_NAMES = {MD5: "MD5", SHA1: "SHA-1", SHA256: "SHA-256"}
HASH_TYPES = {name: number for number, name in HASH_NAMES.items()}
HASHLIB_NAMES = {MD5: "md5", SHA1: "sha1", SHA256: "sha256"}
DIGEST_BYTES = {MD5: 16, SHA1: 20, SHA256: 32}

#: The type that KoboldFS itself computes for every file while it streams.
OWN_HASHTYPE = SHA256

#: The kinds of work in MogileFS's `file_to_queue`, by its numbers.
FSCK_TASK, REBALANCE_TASK = 1, 2

#: `nexttry` of a queue row that was given up (the largest 32-bit time).
END_OF_TIME = 2147483647


@frozen
class Host:
    """A machine that runs a storage node."""

    hostid: int
    name: str
    status: str
    ip: str
    http_port: int
    get_port: int | None = None
    altip: str | None = None
    altmask: str | None = None


@frozen
class Device:
    """A disk of a host, as the database has it; sizes in MB (2**20 bytes)."""

    devid: int
    hostid: int
    status: str
    weight: int = 100
    mb_total: int | None = None
    mb_used: int | None = None


@frozen
class Domain:
    """A flat name space of keys."""

    dmid: int
    name: str


@frozen
class StorageClass:
    """What a domain wants done with some of its files."""

    dmid: int
    classid: int
    name: str
    mindevcount: int
    policy: str | None = None
    hashtype: int | None = None


@frozen
class Checksum:
    """A digest and the number of its type."""

    hashtype: int
    digest: bytes = field(repr=lambda value: value.hex())

    def __str__(self) -> str:
        """``MD5:<hex>``, as the tracker protocol writes it."""
        return f"{HASH_NAMES[self.hashtype]}:{self.digest.hex()}"


@frozen
class File:
    """A live key: what the name refers to now. `length` in bytes."""

    fid: int
    dmid: int
    key: str
    length: int
    classid: int
    devcount: int


@frozen
class Located:
    """A file and the devices that hold its copies, in no order.

    `checksum` is KoboldFS's own one; only queries that say so fill it in.
    """

    file: File
    devids: tuple[int, ...]
    checksum: Checksum | None = None


@frozen
class Upload:
    """A fid that was handed out and not closed yet. `createtime` in Unix seconds."""

    fid: int
    createtime: int
    classid: int
    dmid: int
    key: str
    devids: tuple[int, ...]


@frozen
class Claim:
    """What a client says of its upload when it closes it."""

    domain: Domain
    fid: int
    devid: int
    key: str
    size: int | None
    checksum: Checksum | None
    verify: bool


@frozen
class Closing:
    """Everything that makes an upload a file, to be recorded in one transaction.

    `devids` hold verified copies. `checksum` is our own, `class_checksum` the row
    that the file's class asks for. Replication looks at the file, unless its copies
    are `settled`: as many as will ever be wanted.
    """

    fid: int
    dmid: int
    key: str
    classid: int
    length: int
    devids: tuple[int, ...]
    checksum: Checksum | None = None
    class_checksum: Checksum | None = None
    settled: bool = False


@frozen
class Removal:
    """A key to be deleted."""

    dmid: int
    key: str


@frozen
class Replication:
    """A row of the replication queue that is now leased to us.

    `located` (with our checksum) is None when the file is gone.
    """

    fid: int
    failcount: int
    fromdevid: int | None
    located: Located | None


@frozen
class Deletion:
    """A row of the delete queue that is now leased to us; `devids` still have it."""

    fid: int
    failcount: int
    devids: tuple[int, ...]


@frozen
class ReplicationDone:
    """What became of a `Replication`.

    `added` devices hold new verified copies. `retry_seconds` None removes the row
    from the queue; otherwise it is due again after that time with `failcount`.
    """

    fid: int
    added: tuple[int, ...] = ()
    removed: tuple[int, ...] = ()
    retry_seconds: float | None = None
    failcount: int = 0
    checksum: Checksum | None = None


@frozen
class DeletionDone:
    """What became of a `Deletion`; `removed` devices no longer have the file."""

    fid: int
    removed: tuple[int, ...]
    retry_seconds: float | None = None
    failcount: int = 0


@frozen
class Task:
    """A row of `file_to_queue` that is now leased to us.

    `kind` is `FSCK_TASK` or `REBALANCE_TASK`; `devid` and `arg` are what the kind makes
    of them. `located` (with our checksum) is None when the file is gone.
    """

    kind: int
    fid: int
    devid: int | None
    arg: str | None
    failcount: int
    located: Located | None


@frozen
class TaskDone:
    """What became of a `Task`. `retry_seconds` None removes the row; otherwise it is
    due again after that time with `failcount`."""

    fid: int
    retry_seconds: float | None = None
    failcount: int = 0


@frozen
class CopyChange:
    """What was found out about a file's copies: `added` devices hold one after all,
    `removed` ones do not. A checksum replaces the recorded one, None leaves it."""

    fid: int
    added: tuple[int, ...] = ()
    removed: tuple[int, ...] = ()
    checksum: Checksum | None = None
    class_checksum: Checksum | None = None


@frozen
class FsckEvent:
    """Something that a check found; `code` has four letters."""

    fid: int
    code: str
    devid: int | None = None


@frozen
class Checked:
    """What a check of one file came to. It is worth nothing when other devices than
    `seen` are recorded by now. `change` None: nothing to be recorded. `replicate`: the
    file is to be queued. `retry_seconds` as in `TaskDone`."""

    fid: int
    seen: tuple[int, ...] = ()
    change: CopyChange | None = None
    events: tuple[FsckEvent, ...] = ()
    replicate: bool = False
    retry_seconds: float | None = None
    failcount: int = 0


@frozen
class FsckLogRow:
    """An event as it stands in the log; `utime` in Unix seconds."""

    logid: int
    utime: int
    fid: int | None
    code: str
    devid: int | None


@frozen
class Topology:
    """The small tables, read in one go."""

    hosts: tuple[Host, ...] = ()
    devices: tuple[Device, ...] = ()
    domains: tuple[Domain, ...] = ()
    classes: tuple[StorageClass, ...] = ()
    settings: tuple[tuple[str, str], ...] = ()


@frozen
class Place:
    """A device and the host it is on: where a copy lies or shall lie."""

    host: Host
    devid: int


@frozen
class CopyStat:
    """What a node says of a copy: size in bytes and, if it knows, our checksum."""

    size: int
    checksum: Checksum | None = None


@frozen
class DeviceReport:
    """What was observed of a device. Sizes in KiB; utilization in percent.

    `failing`: why its node does not trust the disk any more (empty: it does).
    `latency_seconds`: the longest that anything lately took on it, or takes.
    `quarantined`: files in its quarantine. `highest_fid`: of the files on it, as far as
    its node tells (0: it does not). `full`: it takes no writes for want of room, but
    gives room back.
    """

    devid: int
    observed: str
    kib_total: int | None = None
    kib_used: int | None = None
    utilization: float | None = None
    failing: str = ""
    latency_seconds: float | None = None
    quarantined: int = 0
    highest_fid: int = 0
    full: bool = False


@frozen
class HostReport:
    """What was observed of a host. `kobold`: it has our side channel (and its pull).
    `fsync`: such a one has on its disk what it says that it stored."""

    hostid: int
    reachable: bool
    kobold: bool = False
    devices: tuple[DeviceReport, ...] = ()
    fsync: bool = True
