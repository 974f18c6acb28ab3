"""An upload whose bytes come through the tracker, to several hosts at once.

The bytes are digested as they pass, and every node's copy is compared with that when
it is finished. A node that fails on the way is left out while another one goes on;
what is then missing to the promise is copied from one that is whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from twisted.logger import Logger

from koboldfs import errors
from koboldfs.cluster.copies import Copies
from koboldfs.interfaces import IFiles
from koboldfs.model.entities import (
    HASHLIB_NAMES,
    MD5,
    OWN_HASHTYPE,
    Checksum,
    Closing,
    CopyStat,
    Domain,
    File,
    Located,
)
from koboldfs.running import together

T = TypeVar("T")

#: How often devices are chosen anew when none of the chosen ones answers.
CHOICES = 3


class Incoming:
    """One file on its way in. Calls come one after another: `begin`, any number of
    `write`, then `finish` and `close`, or `abandon` at any time."""

    log = Logger()
    fid: int

    def __init__(
        self,
        files: IFiles,
        copies: Copies,
        domain: Domain,
        key: str,
        classid: int,
        size: int | None,
    ) -> None:
        self.domain = domain
        self.key = key
        self.received_bytes = 0
        self._files = files
        self._copies = copies
        self._classid = classid
        self._size = size
        self._offered: tuple[int, ...] = ()
        self._writers: dict[int, Any] = {}
        self._refused: set[int] = set()
        asked = copies.live.view.storage_class(domain.dmid, classid).hashtype
        self._class_hashtype = asked
        # MD5 always: clients of the old protocol send one at the end.
        kinds = (OWN_HASHTYPE, MD5, asked) if asked else (OWN_HASHTYPE, MD5)
        self._digests = {
            kind: getattr(hashlib, HASHLIB_NAMES[kind])(usedforsecurity=False)
            for kind in kinds
        }

    async def begin(self) -> None:
        """Choose devices, draw a fid, start a PUT to each; when none of them answers,
        choose others. Raises `NoDevices`, `NodeFault`."""
        copies = self._copies
        for _ in range(CHOICES):
            verdict = copies.judge(
                self.domain.dmid, self._classid, (), self._size or 0, self._refused
            )
            devids = copies.on_new_hosts(verdict.devids, (), copies.promised_hosts())
            if not devids:
                break
            self.fid = await self._files.open_upload(
                self.domain.dmid, self.key, self._classid, devids, None
            )
            self._offered = tuple(devids)
            started = await together([self._start(devid) for devid in devids])
            self._writers = {
                d: w for d, w in zip(devids, started, strict=True) if w is not None
            }
            if self._writers:
                return
            await self.abandon()
        if self._refused:
            raise errors.NodeFault("no storage node takes the file")
        raise errors.NoDevices()

    async def _start(self, devid: int) -> Any:
        place = self._copies.live.view.place(devid)
        if place is None:
            return None
        try:
            nodes = self._copies.nodes
            if not self._copies.live.view.is_kobold(place.host.hostid):
                await nodes.prepare(place, self.fid)
            return await nodes.write(place, self.fid, self._size)
        except errors.NodeFault as error:
            self._failed(devid, error)
            return None

    async def write(self, data: bytes) -> None:
        """Pass bytes on; fires when every node wants more. Raises `NodeFault` when
        no node is left."""
        self.received_bytes += len(data)
        for digest in self._digests.values():
            digest.update(data)
        await self._each(lambda writer: writer.write(data))
        await self._require_writers()

    async def finish(self, *, md5: bytes | None = None) -> Closing:
        """All bytes are there: make the promise true and return what to record.

        `md5` is what the sender computed (16 bytes). Raises `ChecksumMismatch`,
        `SizeMismatch`, `NodeFault`; the upload is then abandoned.
        """
        try:
            if self._size is not None and self.received_bytes != self._size:
                raise errors.SizeMismatch(
                    f"Expected: {self._size}; actual: {self.received_bytes}"
                )
            if md5 is not None and self._digests[MD5].digest() != md5:
                raise errors.ChecksumMismatch("the bytes are not what was sent")
            devids = await self._whole_copies()
        except errors.KoboldError:
            await self.abandon()
            raise
        file = File(
            self.fid, self.domain.dmid, self.key, self.received_bytes, self._classid, 1
        )
        own = self._checksum(OWN_HASHTYPE)
        located = Located(file, devids, own)
        try:
            devids = await self._copies.promise(located, (), self._refused)
        except errors.NodeFault:
            await self.abandon()
            raise
        self._offered = tuple(dict.fromkeys((*self._offered, *devids)))
        kind = self._class_hashtype
        return Closing(
            self.fid,
            self.domain.dmid,
            self.key,
            self._classid,
            self.received_bytes,
            devids,
            own,
            self._checksum(kind) if kind else None,
            self._copies.settled(self.domain.dmid, self._classid, devids),
        )

    async def abandon(self) -> None:
        """Throw away what came so far, wherever it went."""
        writers, self._writers = self._writers, {}
        for writer in writers.values():
            writer.abort()
        await self._files.abandon_upload(self.fid, self._offered)

    # --- inside

    def _checksum(self, hashtype: int) -> Checksum:
        return Checksum(hashtype, self._digests[hashtype].digest())

    async def _whole_copies(self) -> tuple[int, ...]:
        own, whole = self._checksum(OWN_HASHTYPE), list[int]()
        stats = await self._each(lambda writer: writer.finish())
        for devid, stat in stats.items():
            if stat.size == self.received_bytes and stat.checksum in (None, own):
                whole.append(devid)
            else:
                self._failed(devid, errors.CopyCorrupt("it stored other bytes"))
        self._writers = {}
        if not whole:
            raise errors.NodeFault("no storage node took the file")
        return tuple(whole)

    async def _each(
        self, call: Callable[[Any], Awaitable[CopyStat | None]]
    ) -> dict[int, Any]:
        """Do one thing with every writer; one that fails is left out from then on."""

        async def one(devid: int, writer: Any) -> tuple[int, Any]:
            try:
                return devid, await call(writer)
            except errors.NodeFault as error:
                self._failed(devid, error)
                self._writers.pop(devid, None)
                return devid, error

        results = await together(
            [one(devid, writer) for devid, writer in self._writers.items()]
        )
        return {
            devid: result
            for devid, result in results
            if not isinstance(result, errors.NodeFault)
        }

    def _failed(self, devid: int, error: errors.NodeFault) -> None:
        self._refused.add(devid)
        self.log.warn(
            "fid {fid}: storing on device {devid} failed: {error}",
            fid=self.fid,
            devid=devid,
            error=error,
        )
        place = self._copies.live.view.place(devid)
        if place is not None:
            self._copies.live.suspect(place.host.hostid)

    async def _require_writers(self) -> None:
        if not self._writers:
            await self.abandon()
            raise errors.NodeFault("no storage node takes the file")
