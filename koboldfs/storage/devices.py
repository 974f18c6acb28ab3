"""The folders ``devN`` of this node: which there are, whose they are, and their health.

A device is served only while its folder is the one it should be:

    the folder's marker           in a cluster                alone (no cluster known)
    ours, uuid as remembered      served                      served
    ours, and we remember none    served, and remembered      served
    ours, another uuid            not served                  not served
    another host's or cluster's   not served                  served
    another number's, unreadable  not served                  not served
    none, and we remember one     not served (not mounted)    not served
    none                          not served                  served, as mogstored does

What this node remembers (``node.json``: device number -> uuid) tells an empty mount
point from a new folder. A folder without a marker that was a mount point of its own and
is one no more has lost its disk, too. All of this is looked at every couple of seconds.
"""

from __future__ import annotations

import errno
import json
import os.path
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from twisted.logger import Logger
from zope.interface import implementer

from koboldfs.errors import ConfigError, DeviceUnavailable, NoDevice
from koboldfs.interfaces import IDeviceFolders
from koboldfs.model.numbering import HIGHEST_LISTED
from koboldfs.storage.device import Device
from koboldfs.storage.disk import (
    FOREIGN,
    MARKER_NAME,
    OWN_FOLDER,
    TEMPORARY_FOLDER,
    FileStat,
    IDisk,
    Marker,
    ReadOnly,
    fault,
    read_marker,
    read_small,
    write_durably,
)
from koboldfs.storage.temporary import remove_abandoned

MEMORY_VERSION = 1
#: What is in every folder soon, whether files are or not: a new file system's own, what
#: any storage node writes by itself, and what a tracker's monitor does.
_SOON_THERE = frozenset({"lost+found", OWN_FOLDER, "usage", "test-write"})
#: So many files that the disk could not read make it one that is not trusted: one or
#: two are bad spots, which every disk gets.
UNREADABLE_FILES = 3
#: What a disk says, or its file system, that is broken (and not full, or forbidden).
BROKEN_ERRNOS = frozenset(
    {errno.EIO, errno.EROFS, errno.EUCLEAN, errno.EBADMSG, errno.ENODATA}
)
#: What it says when there is no room, or no inode, or no more of either for us.
FULL_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT})
_FOLDER = re.compile(r"dev([1-9][0-9]{0,8})", re.ASCII)


@implementer(IDeviceFolders)
class DeviceFolders:
    """The devices of this node. `found`, `claim` and `release` block: they are for
    the start. `served_changed` is called when other devices are to be served."""

    _log = Logger()

    def __init__(self, docroot: Path, memory: Path, disk: IDisk) -> None:
        self.docroot = str(docroot)
        self.disk = disk
        self.cluster = ""
        self.host_name = ""
        self.served_changed: Callable[[], None] = lambda: None
        #: Called with a device's number and why it is not trusted any more.
        self.distrusts: Callable[[int, str], None] = lambda devid, reason: None
        self._distrusted: dict[int, str] = {}
        self._reserved: int | None = None
        self._memory_path = str(memory)
        self._remembered: dict[int, str] = {}
        self._wanted: frozenset[int] | None = None
        self._devices: dict[int, Device] = {}
        self._looked = False

    # --- starting

    def load(self) -> None:
        """Read what this node remembers. Raises `ConfigError`."""
        try:
            data = read_small(self.disk, self._memory_path)
            if data is not None:
                devices = json.loads(data)["devices"]
                self._remembered = {int(n): str(uuid) for n, uuid in devices.items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(
                f"{self._memory_path}: cannot be read, or is not this node's memory of"
                " its devices; restore it, or move it away to accept the disks as found"
            ) from error

    def reserve(self) -> bool:
        """See `IDeviceFolders`."""
        try:
            self._reserved = self.disk.lock_folder(
                os.path.dirname(self._memory_path), wait=False
            )
        except OSError as error:
            raise DeviceUnavailable(
                str(fault(error, "the node's memory cannot be locked"))
            ) from error
        if self._reserved is None:
            return False
        try:
            self.load()
        except BaseException:
            self.give_back()
            raise
        return True

    def give_back(self) -> None:
        """See `IDeviceFolders`."""
        if self._reserved is not None:
            self.disk.close(self._reserved)
            self._reserved = None

    def found(self) -> Mapping[int, Marker | None]:
        """See `IDeviceFolders`. A folder that cannot be read belongs to nobody."""
        found: dict[int, Marker | None] = {}
        for devid in self.folder_numbers():
            try:
                found[devid] = read_marker(self.disk, self.folder(devid))
            except OSError:
                found[devid] = FOREIGN
        return found

    def in_use(self, devid: int) -> bool:
        """See `IDeviceFolders`."""
        try:
            return bool(set(self.disk.names(self.folder(devid))) - _SOON_THERE)
        except OSError:
            return False

    def claim(self, devid: int, cluster: str, host_name: str) -> None:
        """See `IDeviceFolders`."""
        folder = self.folder(devid)
        remembered = self._remembered.get(devid)
        try:
            try:
                self.disk.folder(folder)
            except FileNotFoundError:
                if remembered is not None:
                    raise DeviceUnavailable(_missing(devid)) from None
                self.disk.make_folder(folder)
                self.disk.sync_folder(self.docroot)
            marker = read_marker(self.disk, folder)
            if marker is None:
                if remembered is not None:
                    raise DeviceUnavailable(_missing(devid))
                marker = Marker.new(cluster, host_name, devid)
                self._remember(devid, marker.uuid)
                write_durably(self.disk, f"{folder}/{MARKER_NAME}", marker.data())
            owner = (marker.cluster, marker.host, marker.devid)
            if owner != (cluster, host_name, devid):
                raise DeviceUnavailable(
                    f"dev{devid}: its marker says that it is dev{marker.devid} of"
                    f" host {marker.host!r} in cluster {marker.cluster!r}"
                )
            if remembered not in (None, marker.uuid):
                raise DeviceUnavailable(f"dev{devid}: another disk is in its place")
            self._remember(devid, marker.uuid)
        except OSError as error:
            # A marker that was not written was never anybody's: forget it again.
            if remembered is None and read_marker_quietly(self.disk, folder) is None:
                self._remember(devid, None)
            raise DeviceUnavailable(str(fault(error, f"dev{devid}"))) from error

    def release(self, devid: int) -> None:
        """See `IDeviceFolders`. A folder that holds any file is left as it is."""
        folder = self.folder(devid)
        try:
            names = set(self.disk.names(folder))
            if names - {MARKER_NAME, OWN_FOLDER, "usage"}:
                return
            if OWN_FOLDER in names:
                self.disk.remove_folder(f"{folder}/{TEMPORARY_FOLDER}")
                self.disk.remove_folder(f"{folder}/{OWN_FOLDER}")
            for name in names - {OWN_FOLDER}:
                self.disk.remove(f"{folder}/{name}")
            self._remember(devid, None)
            self.disk.remove_folder(folder)
        except OSError as error:
            self._log.warn("{fault}", fault=fault(error, f"release of dev{devid}"))

    def serve(self, cluster: str, host_name: str, devids: Sequence[int]) -> None:
        """See `IDeviceFolders`."""
        self.cluster, self.host_name = cluster, host_name
        self._wanted = frozenset(devids)
        for devid in set(self._devices) - self._wanted:
            del self._devices[devid]
        for devid in devids:
            self._device(devid)
            self._learn(devid)
        for device in self._devices.values():
            # What was served alone may be another cluster's: look before the next use.
            if not device.trouble and not self._fits(device.devid, device.marker):
                device.trouble = "not looked at yet"
        self.served_changed()

    def _learn(self, devid: int) -> None:
        """Remember a disk that says that it is ours, when there is no memory of it:
        whoever lost the memory does not lose the disks."""
        if devid in self._remembered:
            return
        marker = read_marker_quietly(self.disk, self.folder(devid))
        if marker is None or not self._fits(devid, marker):
            return
        try:
            self._remember(devid, marker.uuid)
        except OSError as error:
            self._log.error("{fault}", fault=fault(error, "the node's memory"))

    # --- serving

    @property
    def alone(self) -> bool:
        """Whether no cluster is known: every folder is a device then."""
        return self._wanted is None

    def devices(self) -> list[Device]:
        """All that are or should be here, by number."""
        return [self._devices[devid] for devid in sorted(self._devices)]

    def reading(self, devid: int) -> Device:
        """The device, if its files can be read now. Raises `DeviceUnavailable` for
        one that should be here, or may be, `NoDevice` for one that is not.

        Only who is alone, and always was, knows what is not here. In a cluster others
        may know of a device before this node does, or believe it here when it is not:
        none of its copies may be taken for missing then.
        """
        device = self._devices.get(devid)
        if device is None:
            if not self._looked:
                raise DeviceUnavailable("the node has not looked at its devices yet")
            if not self.alone or self._remembered:
                raise DeviceUnavailable(f"dev{devid} is not served by this node")
            raise NoDevice(f"dev{devid} is not on this node")
        if device.trouble:
            raise DeviceUnavailable(f"dev{devid} is not available: {device.trouble}")
        return device

    def writing(self, devid: int) -> Device:
        """The device, if it takes writes now; `ReadOnly` when it does not."""
        device = self.reading(devid)
        reason = device.distrusted or device.refusal
        if reason:
            raise ReadOnly(f"dev{devid} takes no writes: {reason}")
        return device

    def removing(self, devid: int) -> Device:
        """The device, if files can be removed from it, or moved on it, now: one that is
        full must not keep what it has for that. Raises as `writing` does."""
        device = self.reading(devid)
        if device.full and not device.distrusted:
            return device
        return self.writing(devid)

    def distrust(self, device: Device, reason: str) -> None:
        """Take no more writes for it until somebody has looked at the disk and
        started this program anew."""
        if not device.distrusted:
            device.distrusted = reason
            self.distrusts(device.devid, reason)
            self._log.error(
                "dev{devid} is read-only from now on: {reason}",
                devid=device.devid,
                reason=reason,
            )

    def read_failed(self, device: Device, relative: str, error: OSError) -> None:
        """The disk failed to read a file. Several of them, and it is distrusted."""
        if error.errno not in BROKEN_ERRNOS or device.distrusted:
            return
        device.unread.add(relative)
        if len(device.unread) >= UNREADABLE_FILES:
            count, said = len(device.unread), error.strerror
            self.distrust(device, f"{count} files could not be read ({said})")

    def stored(self, devid: int, fid: int) -> None:
        """A copy was stored."""
        device = self._devices.get(devid)
        if device is not None and device.stored_fid < fid <= HIGHEST_LISTED:
            device.stored_fid = fid

    def hear_distrust(self, devid: int, reason: str) -> None:
        """Another process of this node found the device's disk unreliable."""
        self._distrusted[devid] = reason
        device = self._devices.get(devid)
        if device is not None and not device.distrusted:
            device.distrusted = reason

    def folder(self, devid: int) -> str:
        """The path of a device's folder."""
        return f"{self.docroot}/dev{devid}"

    # --- looking (these block, and run in lanes)

    def folder_numbers(self) -> list[int]:
        """The numbers of the folders that are there now, ascending."""
        numbers = []
        for name in self.disk.names(self.docroot):
            match = _FOLDER.fullmatch(name)
            if match is not None and self._is_folder(f"{self.docroot}/{name}"):
                numbers.append(int(match[1]))
        return sorted(numbers)

    def _is_folder(self, path: str) -> bool:
        try:
            self.disk.folder(path)
        except OSError:
            return False
        return True

    def adopt(self, numbers: Sequence[int]) -> None:
        """Alone, every folder that is there is a device; in a cluster nothing is new.
        A folder that has gone stays a device: one whose disk is missing."""
        self._looked = True
        if self._wanted is None:
            for devid in numbers:
                self._device(devid)

    def inspect(self, device: Device) -> tuple[str, Marker | None, FileStat | None]:
        """Why the device cannot be served (empty: it can), its marker and folder.

        When it can be served and could not before, what is on it is flushed and
        abandoned temporary files are removed first.
        """
        try:
            folder = self.disk.folder(device.path)
            marker = read_marker(self.disk, device.path)
            trouble = self._misfit(device, marker, folder)
        except FileNotFoundError:
            return "its folder is not there", None, None
        except OSError as error:
            return str(fault(error, "its folder cannot be read")), None, None
        if not trouble and device.trouble:
            try:
                self._prepare(device)
            except OSError as error:
                return str(fault(error, "it cannot be flushed")), None, None
        return trouble, marker, folder

    def still_there(self, device: Device) -> bool:
        """Whether the folder is the one that was found right; asked before a file is
        said to be missing, because on an unmounted disk every file is."""
        try:
            folder = self.disk.folder(device.path)
            if (folder.device, folder.inode) != device.identity:
                return False
            if device.marker is not None:
                self.disk.stat(f"{device.path}/{MARKER_NAME}")
        except OSError:
            return False
        return True

    def settle(
        self,
        device: Device,
        trouble: str,
        marker: Marker | None,
        folder: FileStat | None,
    ) -> None:
        """Record what `inspect` found, and say so when it is news."""
        if trouble != device.trouble:
            self._announce(device, trouble)
        if trouble and not device.trouble:
            device.refusal, device.tested_at = "not tested yet", None
            device.full = False
        device.trouble, device.marker = trouble, marker
        if folder is not None and not trouble:
            device.identity = (folder.device, folder.inode)

    def _announce(self, device: Device, trouble: str) -> None:
        if trouble:
            self._log.error(
                "dev{devid} is not available: {trouble}",
                devid=device.devid,
                trouble=trouble,
            )
        else:
            self._log.info("dev{devid} is available", devid=device.devid)

    def _misfit(self, device: Device, marker: Marker | None, folder: FileStat) -> str:
        if self._fits(device.devid, marker):
            own_mount = device.identity[0] not in (0, folder.device)
            if marker is None and own_mount:
                if folder.device == self.disk.folder(self.docroot).device:
                    return "its disk is not mounted any more"
            return ""
        if marker is None:
            return "no disk with our marker is mounted there"
        if marker.uuid == "":
            return "its marker cannot be understood"
        return (
            f"the disk there is dev{marker.devid} of host {marker.host!r} in cluster"
            f" {marker.cluster!r}, or another one that took its number"
        )

    def _fits(self, devid: int, marker: Marker | None) -> bool:
        remembered = self._remembered.get(devid)
        if marker is None:
            return self._wanted is None and remembered is None
        if marker.devid != devid or remembered not in (None, marker.uuid):
            return False
        if self._wanted is None:
            return True
        return (marker.cluster, marker.host) == (self.cluster, self.host_name)

    def _prepare(self, device: Device) -> None:
        # Whoever had the device before us may have been killed before it flushed a
        # name: what we find there, and tell that it is there, must be there for good.
        self.disk.sync_all(device.path)
        # Made here and never on the way of an upload: on a mount point whose disk is
        # gone there is then nowhere to write.
        for name in (OWN_FOLDER, TEMPORARY_FOLDER):
            try:
                self.disk.make_folder(f"{device.path}/{name}")
            except OSError:
                continue  # there already; or the self-test will say what is wrong
        removed = remove_abandoned(self.disk, f"{device.path}/{TEMPORARY_FOLDER}")
        if removed:
            self._log.info(
                "dev{devid}: {count} uploads were abandoned and are removed",
                devid=device.devid,
                count=removed,
            )

    def _device(self, devid: int) -> Device:
        device = self._devices.get(devid)
        if device is None:
            device = self._devices[devid] = Device(devid, self.folder(devid))
            device.distrusted = self._distrusted.get(devid, "")
        return device

    def _remember(self, devid: int, uuid: str | None) -> None:
        if self._remembered.get(devid) == uuid:
            return
        remembered = dict(self._remembered)
        remembered.pop(devid, None)
        if uuid is not None:
            remembered[devid] = uuid
        devices = {str(number): remembered[number] for number in sorted(remembered)}
        values = {"version": MEMORY_VERSION, "devices": devices}
        data = json.dumps(values, indent=1).encode() + b"\n"
        write_durably(self.disk, self._memory_path, data)
        self._remembered = remembered


def read_marker_quietly(disk: IDisk, folder: str) -> Marker | None:
    """As `read_marker`, and None when it cannot be read."""
    try:
        return read_marker(disk, folder)
    except OSError:
        return None


def _missing(devid: int) -> str:
    return f"dev{devid}: its disk is not mounted (this node had it before)"
