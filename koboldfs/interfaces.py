"""The ports: what the city hall and the front doors need of the outer walls.

Who needs something declares it here; `store`, `client` and `storage` provide it, and
only `tap` introduces them to each other. Every method that waits returns an awaitable;
every wait inside a provider has a deadline. Errors are those of `koboldfs.errors`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from zope.interface import Attribute, Interface

from koboldfs.model.entities import (
    Checked,
    Checksum,
    Closing,
    CopyChange,
    CopyStat,
    Deletion,
    DeletionDone,
    File,
    FsckLogRow,
    Host,
    HostReport,
    Located,
    Place,
    Removal,
    Replication,
    ReplicationDone,
    StorageClass,
    Task,
    TaskDone,
    Topology,
    Upload,
)
from koboldfs.model.view import View


class IFiles(Interface):
    """The name space in the database. All of these may be gathered into batches.

    Each raises `DatabaseAway` when no connection could be had within the deadline,
    and `DatabaseFault` for what the database refused. Keys too long for the column
    raise `ValueRefused`. One caller's failure never fails another's in the batch.
    """

    def find(dmid: int, key: str) -> Awaitable[Located | None]:
        """The live file of a key with its devices (no checksum), or None."""

    def find_fid(fid: int) -> Awaitable[Located | None]:
        """The live file of a fid with its devices and our checksum, or None."""

    def devices_of(fid: int) -> Awaitable[tuple[int, ...]]:
        """The devices recorded for a fid, whether or not it is a live file."""

    def open_upload(
        dmid: int, key: str, classid: int, devids: Sequence[int], fid: int | None
    ) -> Awaitable[int]:
        """Record an upload and return its fid, which no file or upload ever had.

        With `fid`, that number is taken; raises `FidInUse` when it is not free.
        The record is durable before this answers: a fid is never handed out twice.
        """

    def find_upload(fid: int) -> Awaitable[Upload | None]:
        """The open upload of that fid, or None."""

    def close_upload(closing: Closing) -> Awaitable[str]:
        """Make the upload a file, in one transaction; the last close of a key wins.

        In it: the tempfile row goes, the key points at the new fid, an older fid of
        the key is queued for deletion, the copies and checksums are recorded, and
        the replication is queued (due now). Returns ``closed``; ``repeated`` when
        this fid already is the file with that key and length (nothing changes); or
        ``no_upload`` when there is neither (nothing changes).
        """

    def abandon_upload(fid: int, devids: Sequence[int]) -> Awaitable[None]:
        """Forget an upload: its row goes, and its fid is queued for deletion from
        `devids`, in one transaction. Does nothing if the fid is a live file."""

    def delete(dmid: int, key: str) -> Awaitable[bool]:
        """Remove the key and queue its fid for deletion; False if it was not there."""

    def apply(changes: Sequence[Closing | Removal]) -> Awaitable[None]:
        """All the changes in one transaction, in order, or none of them.

        A key to remove that is not there is no error. Raises `NoUpload` if a closing
        has no upload (and is not a repetition).
        """

    def rename(dmid: int, old: str, new: str) -> Awaitable[None]:
        """Give a file another key. Raises `UnknownKey`, `KeyExists` (never
        overwrites); onto itself is no change."""

    def set_class(fid: int, classid: int) -> Awaitable[bool]:
        """Give a file another class and queue it for replication; False if gone."""

    def list_keys(
        dmid: int, prefix: str, after: str, limit: int
    ) -> Awaitable[list[str]]:
        """Up to `limit` keys that begin with `prefix` and come after `after`
        (exclusive), in ascending order of bytes."""

    def list_files(after_fid: int, limit: int) -> Awaitable[list[Located]]:
        """Up to `limit` files with a fid above `after_fid`, ascending by fid."""

    def list_domain(
        dmid: int, prefix: str, after: str, limit: int
    ) -> Awaitable[list[Located]]:
        """As `list_keys`, with the whole files (devices and our checksum)."""

    def class_checksum(fid: int) -> Awaitable[Checksum | None]:
        """The row of MogileFS's checksum table."""

    def own_checksum(fid: int) -> Awaitable[Checksum | None]:
        """KoboldFS's own checksum of the file."""

    def queue_rows(fid: int) -> Awaitable[Mapping[str, Mapping[str, Any]]]:
        """For `file_debug`: by queue (``replqueue``, ``delqueue``, ``rebqueue``,
        ``fsckqueue``, ``tempfile``) the columns of the fid's row; absent if none."""


class ITopology(Interface):
    """The small tables. Changes are visible to the next `load` of anyone."""

    def load() -> Awaitable[Topology]:
        """All hosts, devices, domains, classes and settings, as of one moment."""

    def watch(changed: Callable[[], None]) -> None:
        """Call `changed` soon after anybody changed one of these tables, where the
        database can tell (PostgreSQL); elsewhere nobody calls, and readers poll."""

    def create_host(name: str, values: Mapping[str, Any]) -> Awaitable[int]:
        """A new host (columns of `Host` but hostid and name); returns its hostid.
        Raises `HostExists`, or `DuplicateRow` for an address in use."""

    def update_host(hostid: int, values: Mapping[str, Any]) -> Awaitable[None]:
        """Change columns. Raises `DuplicateRow` for an address in use."""

    def delete_host(hostid: int) -> Awaitable[None]:
        """Remove it. Raises `HostNotEmpty` when it has devices."""

    def create_device(devid: int, hostid: int, status: str) -> Awaitable[None]:
        """A new device. Raises `ExistingDevid`."""

    def update_device(
        devid: int, values: Mapping[str, Any], status_was: str | None = None
    ) -> Awaitable[bool]:
        """Change columns (status, weight, mb_total, mb_used, mb_asof); with
        `status_was`, only while that is its status. Whether anything was written."""

    def create_domain(name: str) -> Awaitable[int]:
        """A new domain; returns its dmid. Raises `DomainExists`."""

    def delete_domain(dmid: int) -> Awaitable[None]:
        """Remove it. Raises `DomainHasFiles`, `DomainHasClasses`."""

    def create_class(
        dmid: int, name: str, mindevcount: int, policy: str | None, hashtype: int | None
    ) -> Awaitable[int]:
        """A new class; returns its classid. Raises `ClassExists`."""

    def update_class(
        dmid: int,
        classid: int,
        name: str,
        mindevcount: int,
        policy: str | None,
        hashtype: int | None,
    ) -> Awaitable[None]:
        """Set all columns; makes the row of class 0 if there is none yet."""

    def delete_class(dmid: int, classid: int) -> Awaitable[None]:
        """Remove it. Raises `ClassHasFiles`."""

    def setting(name: str) -> Awaitable[str | None]:
        """One setting, read now."""

    def set_setting(name: str, value: str | None) -> Awaitable[None]:
        """Write one setting; None removes it."""

    def set_settings(values: Mapping[str, str | None]) -> Awaitable[None]:
        """Write several settings in one transaction; None removes one."""

    def change_settings(
        expected: Mapping[str, str | None],
        values: Mapping[str, str | None],
        announce: bool,
    ) -> Awaitable[bool]:
        """As `set_settings`, if those of `expected` are so (None: not there) in the
        same transaction; else False, and nothing changes. Of two who change settings
        in this way at once, one comes after the other. Unless it is to be announced,
        other trackers learn of it only when they look."""

    def default_setting(name: str, value: str) -> Awaitable[str]:
        """Write a setting unless it is there; returns what it is now."""


class IQueues(Interface):
    """The work that background jobs share between trackers.

    A row that is taken is leased: nobody else gets it before the lease ends (its
    `nexttry` is set that far ahead, as MogileFS does), and it stays in the table
    until it is reported done. Times are the database's clock.
    """

    def take_replications(
        limit: int, lease_seconds: int
    ) -> Awaitable[list[Replication]]:
        """Up to `limit` due rows, oldest first, each with its file if it lives."""

    def keep_replications(fids: Sequence[int], lease_seconds: int) -> Awaitable[None]:
        """Rows that are still being worked on: their leases begin anew. Those that
        are not in work (any more) stay as they are."""

    def finish_replications(done: Sequence[ReplicationDone]) -> Awaitable[None]:
        """Record new copies, recount devcount, and remove or put off the rows.

        A copy of a fid that is no live file any more is recorded and the fid queued
        for deletion again, so that no bytes are left behind.
        """

    def queue_replications(fids: Sequence[int], delay_seconds: int) -> Awaitable[None]:
        """Queue files; those that are queued already stay as they are."""

    def release_replications(limit: int) -> Awaitable[int]:
        """Make rows that were put off after a failure due now (not those in work:
        only failcount > 0 and not leased); returns how many. Call until 0."""

    def hasten_replications() -> Awaitable[int]:
        """``replicate_now``: make every put-off row due, and those that were given
        up, but leave rows in work alone; returns how many."""

    def take_deletions(
        limit: int, lease_seconds: int, grace_seconds: int = 0
    ) -> Awaitable[list[Deletion]]:
        """Up to `limit` rows that were due for the grace at least, oldest first."""

    def keep_deletions(fids: Sequence[int], lease_seconds: int) -> Awaitable[None]:
        """As `keep_replications`, for rows of the delete queue."""

    def finish_deletions(done: Sequence[DeletionDone]) -> Awaitable[None]:
        """Forget removed copies; when none is left the queue row goes, with the
        checksums; else the row is put off."""

    def expire_uploads(older_than_seconds: int, limit: int) -> Awaitable[int]:
        """Queue the fids of abandoned uploads for deletion; returns how many."""

    def reap(devid: int, limit: int) -> Awaitable[int]:
        """Forget up to `limit` copies on a dead device and queue their files for
        replication, in one transaction; returns how many."""

    def lengths() -> Awaitable[Mapping[str, int]]:
        """Rows in ``replicate``, ``delete``, ``upload`` (cheap; may be capped)."""


class ITasks(Interface):
    """MogileFS's `file_to_queue`, the work of fsck and rebalance, and what they write.

    A `kind` is `FSCK_TASK` or `REBALANCE_TASK`. Rows are leased as those of `IQueues`.
    """

    def queue_tasks(
        kind: int, rows: Sequence[tuple[int, int | None, str | None]]
    ) -> Awaitable[None]:
        """Queue (fid, devid, arg), due now; fids queued already stay as they are."""

    def take_tasks(kind: int, limit: int, lease_seconds: int) -> Awaitable[list[Task]]:
        """Up to `limit` due rows, oldest first, each with its file if it lives."""

    def keep_tasks(
        kind: int, fids: Sequence[int], lease_seconds: int
    ) -> Awaitable[None]:
        """The leases of rows that are still being worked on begin anew."""

    def finish_tasks(kind: int, done: Sequence[TaskDone]) -> Awaitable[None]:
        """Remove rows, or put them off (for ten years at the most)."""

    def drop_tasks(kind: int, limit: int) -> Awaitable[int]:
        """Forget up to `limit` rows; returns how many. Call until 0."""

    def count_tasks(kind: int, most: int) -> Awaitable[int]:
        """How many rows there are, counted no further than `most`."""

    def count_fresh(kind: int, most: int) -> Awaitable[int]:
        """As `count_tasks`, without those that were put off after a failure."""

    def files_on(devid: int, after_fid: int, limit: int) -> Awaitable[list[Located]]:
        """Up to `limit` live files with a copy recorded on the device and a fid above
        `after_fid`, ascending by fid, with our checksum."""

    def newest_files_on(
        devid: int, before_fid: int, limit: int
    ) -> Awaitable[list[Located]]:
        """As `files_on` from the other end: fids below `before_fid`, descending."""

    def highest_fid() -> Awaitable[int]:
        """The highest fid of a live file; 0 if there is none."""

    def files_between(
        after_fid: int, last_fid: int, limit: int
    ) -> Awaitable[list[File]]:
        """Up to `limit` live files above `after_fid` and up to `last_fid`, ascending
        by fid; cheap, as their copies are not looked up."""

    def class_checksums(fids: Sequence[int]) -> Awaitable[Mapping[int, Checksum]]:
        """The rows of MogileFS's checksum table, by fid."""

    def change_copies(changes: Sequence[CopyChange]) -> Awaitable[None]:
        """Record what was found out, and recount devcount, in one transaction for some
        hundred changes. Copies added to a fid that is no live file are recorded, and
        the fid is queued for deletion."""

    def release_copy(fid: int, devid: int, keep: Sequence[int]) -> Awaitable[bool]:
        """Forget the copy on a device, if that is one and all of `keep` are recorded
        too; else, or when the fid is no live file, False and nothing changes. Two who
        take copies of one file away at once cannot both succeed against the other."""

    def finish_checks(
        checks: Sequence[Checked], relook_seconds: int, repair_seconds: int
    ) -> Awaitable[None]:
        """Record what checks came to, in one transaction for some hundred of them:
        copies and devcount, the log (with the time of the database's clock), files to
        be replicated (due after `repair_seconds`), and the rows of the queue.

        A check whose `seen` devices are not the recorded ones any more changes nothing
        and is looked at again after `relook_seconds`. One whose row somebody else has
        finished meanwhile, or whose file is gone, changes nothing either. Done twice,
        it is recorded once.
        """

    def events_after(logid: int, limit: int) -> Awaitable[list[FsckLogRow]]:
        """Up to `limit` entries above `logid`, ascending."""

    def clear_events() -> Awaitable[None]:
        """Empty the log, in several transactions if it is long."""

    def tally(
        after_logid: int, older_than_seconds: int
    ) -> Awaitable[tuple[int, Mapping[str, int]]]:
        """The highest logid of events that are so old (at least `after_logid`), and
        how many of each code there are above `after_logid` and up to that one."""

    def unix_time() -> Awaitable[int]:
        """The database's clock in whole Unix seconds."""


class ILocks(Interface):
    """Named locks that trackers of MogileFS on the same database know as well.

    They are for being polite to those: among ourselves rows are leased, and every
    change is guarded by what it saw. One session holds them all, so they do not
    exclude two jobs of one process.
    """

    def take(names: Sequence[str]) -> Awaitable[frozenset[str]]:
        """Those of the names that could be locked at once. Raises `DatabaseFault`."""

    def release(names: Sequence[str]) -> Awaitable[None]:
        """Give locks back; those that are not held are left alone. Raises
        `DatabaseFault`."""


class INodes(Interface):
    """What a tracker asks of storage nodes, ours (side channel) or foreign (HTTP).

    Raises `NodeUnreachable` when a node does not answer in time, `NodeFault` when it
    answers with an error.
    """

    def survey(host: Host, devids: Sequence[int]) -> Awaitable[HostReport]:
        """Look at a host and those of its devices. Never raises: what does not
        answer is reported as not reachable."""

    def stat(place: Place, fid: int) -> Awaitable[CopyStat | None]:
        """Size of a copy, and our checksum if the node computed it when the file was
        written or can tell it from memory; None if the copy is not there."""

    def stat_many(
        place: Place, fids: Sequence[int]
    ) -> Awaitable[Mapping[int, CopyStat | None]]:
        """As `stat`, for many copies of one device; fails as a whole."""

    def digest(place: Place, fid: int, hashtype: int) -> Awaitable[Checksum | None]:
        """Read the copy's bytes from disk now and digest them; None if not there."""

    def copy(
        source: Place, target: Place, fid: int, size: int, checksum: Checksum | None
    ) -> Awaitable[Checksum]:
        """Make a copy: pulled by the target if it is ours, else streamed through us.

        Promises that the target holds `size` bytes with the returned checksum (our
        own type), equal to `checksum` if given. Raises `CopyMissing` or
        `CopyCorrupt` for a bad source, `NodeFault` for the target.
        """

    def remove(place: Place, fid: int) -> Awaitable[None]:
        """Delete a copy; that it was not there is fine."""

    def prepare(place: Place, fid: int) -> Awaitable[None]:
        """Make the folders for a fid where the node needs that (foreign ones with
        MKCOL); failures are ignored."""

    def write(place: Place, fid: int, size: int | None) -> Awaitable[Any]:
        """Begin to store a copy; the result provides `ICopyWriter`."""

    def read(
        place: Place, fid: int, start: int, length: int | None, consumer: Any
    ) -> Awaitable[int]:
        """Stream a copy's bytes into an IConsumer, which may pause us; fires with
        the number of bytes when all were written. Never more than asked for."""


class ICopyWriter(Interface):
    """One copy being stored through us."""

    def write(data: bytes) -> Awaitable[None]:
        """Take bytes; fires when more are wanted. One call at a time."""

    def finish() -> Awaitable[CopyStat]:
        """The end of the bytes; fires when the node has made them durable."""

    def abort() -> None:
        """Give up; the node throws away what it got."""


class ILiveView(Interface):
    """The picture of the cluster, kept up to date."""

    view: View = Attribute("The current picture (a `View`); hold it for one decision.")

    def refresh() -> Awaitable[None]:
        """Read the database and, when that is done, offer the new picture."""

    def changed(hostids: Sequence[int]) -> Awaitable[None]:
        """Refresh, then look at these hosts at once (after a management command)."""

    def renew() -> Awaitable[bool]:
        """Somebody asks for a name that is not in the picture, which another tracker
        may have made a moment ago: refresh, but not more often than a few times a
        second for all who ask, and look at hosts and devices that are new. Whether
        the tables changed."""

    def suspect(hostid: int) -> None:
        """Somebody could not reach the host: have it looked at now, not later."""


class ITrackerCall(Interface):
    """A way to run tracker commands: over TCP, or inside this process."""

    def call(command: str, arguments: Mapping[str, str]) -> Awaitable[dict[str, str]]:
        """Run it and return the fields of OK; raises `CallerError` whose `code` is
        the ERR code, or `WorldError` when no tracker answers."""


class IDeviceFolders(Interface):
    """The folders ``devN`` of a storage node, as joining a cluster needs them."""

    def reserve() -> bool:
        """Let no other process of this node join until `give_back`, and read again
        what the node remembers; False if another one is joining now. Raises
        `KoboldError`."""

    def give_back() -> None:
        """The end of `reserve`."""

    def found() -> Mapping[int, Any]:
        """Device number -> `storage.disk.Marker` or None for a folder without one."""

    def in_use(devid: int) -> bool:
        """Whether there is more in the folder than every node writes by itself. In that
        of a device that a cluster has had for long there is; if not, its disk is
        probably not mounted."""

    def claim(devid: int, cluster: str, host_name: str) -> None:
        """Make (or mark) the folder of a device. Raises `DeviceUnavailable`."""

    def release(devid: int) -> None:
        """Remove the folder of a device that was claimed in vain, if it is empty."""

    def serve(cluster: str, host_name: str, devids: Sequence[int]) -> None:
        """Serve exactly these devices from now on, each only while its marker says
        that it is this device of this host and cluster."""


__all__ = [
    "ICopyWriter",
    "IDeviceFolders",
    "IFiles",
    "ILiveView",
    "INodes",
    "IQueues",
    "ITasks",
    "ITopology",
    "ITrackerCall",
    "StorageClass",
]
