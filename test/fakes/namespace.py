"""City hall in memory, for tests of the native door: files are bytes in a dictionary.

    names = MemoryNamespace()                # domain "d" with the class "gold"
    names.store("key", b"...")               # a file, as if it had been uploaded
    names.data("key")                        # its bytes, or None
    names.uploads                            # fids neither closed nor abandoned
    names.failing["delete"] = [NodeFault()]  # the next such call raises it
    names.pausing["close_recorded"] = Deferred()    # such calls wait for it
    names.damaged.add(fid)                   # reading gives wrong bytes
    names.cut[fid] = 100                     # reading breaks after so many bytes

It stands where `koboldfs.cluster.namespace.Namespace` stands and promises the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred

from koboldfs import errors
from koboldfs.model.entities import (
    MD5,
    OWN_HASHTYPE,
    Checksum,
    Closing,
    Domain,
    File,
    Located,
    Removal,
    StorageClass,
    Topology,
)
from koboldfs.model.promise import Promise
from koboldfs.model.view import Health, View
from test.fakes.nodes import MemoryReading

DOMAIN = Domain(1, "d")
MAX_KEY_BYTES = 1024


@define(eq=False)
class Live:
    """The picture, which never changes here."""

    view: View


@define(eq=False)
class MemoryPromises:
    """What became of the promise of whatever is stored."""

    promise: Promise = Promise(1, 1)

    def of(self, dmid: int, classid: int, devids: Sequence[int]) -> Promise:
        """See `Promises`."""
        return self.promise


@define(eq=False)
class MemoryNamespace:
    """See above."""

    live: Live = field(factory=lambda: Live(picture()))
    keys: dict[tuple[int, str], int] = field(factory=dict)
    closings: dict[int, Closing] = field(factory=dict)
    contents: dict[int, bytes] = field(factory=dict)
    uploads: set[int] = field(factory=set)
    failing: dict[str, list[Exception]] = field(factory=dict)
    pausing: dict[str, Deferred[None]] = field(factory=dict)
    damaged: set[int] = field(factory=set)
    cut: dict[int, int] = field(factory=dict)
    calls: list[tuple[Any, ...]] = field(factory=list)
    #: Whether files have a checksum in the database.
    checksums: bool = True
    last_fid: int = 0
    promises: MemoryPromises = field(factory=lambda: MemoryPromises())

    # --- what tests do to it

    @property
    def files(self) -> MemoryNamespace:
        """The `IFiles` that own checksums are asked from."""
        return self

    def store(self, key: str, data: bytes, domain: Domain = DOMAIN) -> int:
        """Have a file; returns its fid."""
        self.last_fid += 1
        self._record(closing_of(self.last_fid, domain, key, data), data)
        return self.last_fid

    def data(self, key: str, domain: Domain = DOMAIN) -> bytes | None:
        """The bytes of a key."""
        fid = self.keys.get((domain.dmid, key))
        return None if fid is None else self.contents[fid]

    # --- the name space

    async def known_domain(self, name: str | None) -> Domain:
        """See `Namespace`; nobody makes domains beside us."""
        return self.domain(name)

    def domain(self, name: str | None) -> Domain:
        """See `Namespace`."""
        if not name:
            raise errors.NoDomain()
        if name not in self.live.view.domains:
            raise errors.UnknownDomain()
        return self.live.view.domains[name]

    async def begin_put(
        self, domain: Domain, key: str, *, class_name: str | None, size: int | None
    ) -> MemoryIncoming:
        """See `Namespace`."""
        await self._enter("begin_put", domain.name, key, class_name, size)
        if not key:
            raise errors.NoKey()
        if len(key) > MAX_KEY_BYTES:
            raise errors.KeyTooLong()
        classid = 0
        if class_name:
            found = self.live.view.class_named(domain.dmid, class_name)
            if found is None:
                raise errors.UnknownClass()
            classid = found.classid
        self.last_fid += 1
        self.uploads.add(self.last_fid)
        return MemoryIncoming(self, self.last_fid, domain, key, classid, size)

    async def close_recorded(self, closing: Closing) -> None:
        """See `Namespace`."""
        await self._enter("close_recorded", closing.fid)
        if closing.fid not in self.uploads:
            raise errors.NoUpload()
        self._record(closing, self.contents[closing.fid])

    async def commit(self, changes: Sequence[Closing | Removal]) -> None:
        """See `Namespace`."""
        await self._enter("commit", len(changes))
        for change in changes:
            if isinstance(change, Closing):
                self._record(change, self.contents[change.fid])
            else:
                self._forget(change.dmid, change.key)

    async def locate(self, domain: Domain, key: str) -> Located:
        """See `Namespace`."""
        await self._enter("locate", domain.name, key)
        if not key:
            raise errors.NoKey()
        fid = self.keys.get((domain.dmid, key))
        if fid is None:
            raise errors.UnknownKey()
        one = self.closings[fid]
        file = File(fid, one.dmid, one.key, one.length, one.classid, len(one.devids))
        return Located(file, one.devids)

    async def paths(
        self,
        domain: Domain,
        key: str,
        *,
        verify: bool,
        count: int,
        client_ip: str,
        alt: bool,
    ) -> list[str]:
        """See `Namespace`."""
        located = await self.locate(domain, key)
        await self._enter("paths", key, count, client_ip)
        return [
            f"http://127.0.0.{devid}:7500/dev{devid}/{located.file.fid}.fid"
            for devid in located.devids[:count]
        ]

    async def read(
        self, located: Located, start: int, length: int | None, consumer: Any
    ) -> int:
        """See `Namespace`."""
        await self._enter("read", located.file.fid, start, length)
        data = self.contents[located.file.fid]
        if located.file.fid in self.damaged:
            data = b"?" * len(data)
        end = len(data) if length is None else start + length
        cut = self.cut.get(located.file.fid, end)
        count = await MemoryReading(consumer, data[start : min(end, cut)]).run()
        if cut < end:
            raise errors.NodeUnreachable("no copy is left")
        return count

    async def list_keys(
        self, domain: Domain, prefix: str, after: str, limit: int
    ) -> list[str]:
        """See `Namespace`."""
        await self._enter("list_keys", prefix, after, limit)
        found = [
            key
            for dmid, key in self.keys
            if dmid == domain.dmid and key.startswith(prefix) and key > after
        ]
        return sorted(found)[:limit]

    async def delete(self, domain: Domain, key: str) -> None:
        """See `Namespace`."""
        await self._enter("delete", key)
        if not key:
            raise errors.NoKey()
        if not self._forget(domain.dmid, key):
            raise errors.UnknownKey()

    async def rename(self, domain: Domain, old: str, new: str) -> None:
        """See `Namespace`."""
        await self._enter("rename", old, new)
        if not old or not new:
            raise errors.NoKey()
        if (domain.dmid, old) not in self.keys:
            raise errors.UnknownKey()
        if (domain.dmid, new) in self.keys:
            raise errors.KeyExists()
        self.keys[domain.dmid, new] = self.keys.pop((domain.dmid, old))

    async def own_checksum(self, fid: int) -> Checksum | None:
        """See `IFiles`."""
        await self._enter("own_checksum", fid)
        return self.closings[fid].checksum if self.checksums else None

    # --- inside

    async def _enter(self, method: str, *arguments: Any) -> None:
        self.calls.append((method, *arguments))
        waiting = self.pausing.get(method)
        if waiting is not None:
            await waiting
        planned = self.failing.get(method)
        if planned:
            raise planned.pop(0)

    def _record(self, closing: Closing, data: bytes) -> None:
        self._forget(closing.dmid, closing.key)
        self.uploads.discard(closing.fid)
        self.keys[closing.dmid, closing.key] = closing.fid
        self.closings[closing.fid] = closing
        self.contents[closing.fid] = data

    def _forget(self, dmid: int, key: str) -> bool:
        fid = self.keys.pop((dmid, key), None)
        if fid is None:
            return False
        del self.closings[fid], self.contents[fid]
        return True


@define(eq=False)
class MemoryIncoming:
    """See `koboldfs.cluster.incoming.Incoming`."""

    names: MemoryNamespace
    fid: int
    domain: Domain
    key: str
    classid: int
    size: int | None
    pieces: list[bytes] = field(factory=list)

    async def write(self, data: bytes) -> None:
        """See `Incoming`."""
        await self.names._enter("write", self.fid, len(data))
        self.pieces.append(data)

    async def finish(self, *, md5: bytes | None = None) -> Closing:
        """See `Incoming`."""
        await self.names._enter("finish", self.fid)
        data = b"".join(self.pieces)
        try:
            if self.size is not None and self.size != len(data):
                raise errors.SizeMismatch()
            found = hashlib.md5(data, usedforsecurity=False).digest()
            if md5 is not None and found != md5:
                raise errors.ChecksumMismatch()
        except errors.KoboldError:
            await self.abandon()
            raise
        self.names.contents[self.fid] = data
        return closing_of(self.fid, self.domain, self.key, data, self.classid)

    async def abandon(self) -> None:
        """See `Incoming`."""
        await self.names._enter("abandon", self.fid)
        if self.fid not in self.names.closings:
            self.names.uploads.discard(self.fid)
            self.names.contents.pop(self.fid, None)


def closing_of(
    fid: int, domain: Domain, key: str, data: bytes, classid: int = 0
) -> Closing:
    """What is recorded of such a file: copies on devices 1 and 2."""
    checksum = Checksum(OWN_HASHTYPE, hashlib.sha256(data).digest())
    return Closing(fid, domain.dmid, key, classid, len(data), (1, 2), checksum)


def picture() -> View:
    """One domain with two classes, no hosts."""
    gold = StorageClass(DOMAIN.dmid, 7, "gold", 3, hashtype=MD5)
    topology = Topology(domains=(DOMAIN,), classes=(gold,))
    return View.of(topology, Health())
