"""Storage nodes in memory: an `INodes` provider that can be told to misbehave.

    nodes = MemoryNodes()                      # answers at once
    nodes = MemoryNodes(clock)                 # `slow` hosts answer on that clock
    nodes.put(place, fid, b"...")              # a copy, as if it had been written
    nodes.unreachable.add(hostid)              # the whole host does not answer
    nodes.broken.add(devid)                    # the device answers with errors
    nodes.readonly.add(devid)                  # the device takes no writes
    nodes.foreign.add(hostid)                  # not our storage node
    nodes.slow[hostid] = 3.0                   # seconds before each answer
    nodes.damage(place, fid)                   # a byte of the copy flips
    nodes.failing["copy"] = [NodeFault("x")]   # the next such call raises it

Everything that was asked is in `calls`, as (method, ...) tuples.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from hashlib import new as new_digest
from hashlib import sha256
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer, IReactorTime
from twisted.internet.task import deferLater
from zope.interface import implementer

from koboldfs.errors import CopyCorrupt, CopyMissing, NodeFault, NodeUnreachable
from koboldfs.interfaces import ICopyWriter, INodes
from koboldfs.model.entities import (
    HASHLIB_NAMES,
    OWN_HASHTYPE,
    Checksum,
    CopyStat,
    DeviceReport,
    Host,
    HostReport,
    Place,
)
from test.fakes.nodes_scrub import MemoryScrubNodes

#: Bytes that `read` gives its consumer at a time; small, so that tests see several.
READ_BYTES = 1024
#: What `survey` says of a device's size (KiB), unless `kib_total` says otherwise.
KIB_TOTAL = 100 * 1024 * 1024


def own_checksum(data: bytes) -> Checksum:
    """The checksum that KoboldFS keeps of such bytes."""
    return Checksum(OWN_HASHTYPE, sha256(data).digest())


@implementer(INodes)
@define(eq=False)
class MemoryNodes(MemoryScrubNodes):
    """All the storage nodes of a cluster, in a dictionary."""

    clock: IReactorTime | None = None
    #: (hostid, devid, fid) -> the bytes on that disk.
    copies: dict[tuple[int, int, int], bytes] = field(factory=dict)
    #: What the node remembers of what was written (not what is on the disk now).
    checksums: dict[tuple[int, int, int], Checksum] = field(factory=dict)
    unreachable: set[int] = field(factory=set)
    foreign: set[int] = field(factory=set)
    broken: set[int] = field(factory=set)
    readonly: set[int] = field(factory=set)
    #: Why a node does not trust a disk of its own.
    distrusted: dict[int, str] = field(factory=dict)
    slow: dict[int, float] = field(factory=dict)
    failing: dict[str, list[Exception]] = field(factory=dict)
    kib_total: dict[int, int] = field(factory=dict)
    calls: list[tuple[Any, ...]] = field(factory=list)
    #: (devid, fid, reason, bytes) of what was put into quarantine.
    quarantine: list[tuple[int, int, str, bytes]] = field(factory=list)
    #: (devid, fid) of copies whose bytes cannot be read, and those just written.
    unreadable: set[tuple[int, int]] = field(factory=set)
    young: set[tuple[int, int]] = field(factory=set)
    #: (devid, fid) -> what the next reads of it give; then what is there.
    glitches: dict[tuple[int, int], bytes] = field(factory=dict)
    #: Called before a copy is made, with (source, target, fid): a place for a test
    #: to delete the file, or to wait.
    before_copy: Callable[[Place, Place, int], Awaitable[None]] | None = None

    # --- what tests do to it

    def put(self, place: Place, fid: int, data: bytes) -> None:
        """Have a copy there, as if it had been written through the node."""
        self.copies[_key(place, fid)] = data
        self.checksums[_key(place, fid)] = own_checksum(data)

    def lose(self, place: Place, fid: int) -> None:
        """The copy vanishes behind our back."""
        self.copies.pop(_key(place, fid), None)
        self.checksums.pop(_key(place, fid), None)

    def damage(self, place: Place, fid: int) -> None:
        """One byte of the copy flips on the disk; the node has not noticed."""
        data = bytearray(self.copies[_key(place, fid)])
        data[-1] ^= 1
        self.copies[_key(place, fid)] = bytes(data)

    def devices_with(self, fid: int) -> set[int]:
        """The devices that have bytes of that fid."""
        return {devid for _, devid, one in self.copies if one == fid}

    # --- INodes

    async def survey(self, host: Host, devids: Sequence[int]) -> HostReport:
        """See `INodes`."""
        self.calls.append(("survey", host.hostid, tuple(devids)))
        await self._pause(host)
        if host.hostid in self.unreachable:
            gone = tuple(DeviceReport(devid, "unreachable") for devid in devids)
            return HostReport(host.hostid, reachable=False, devices=gone)
        return HostReport(
            host.hostid,
            reachable=True,
            kobold=host.hostid not in self.foreign,
            devices=tuple(self._report(host, devid) for devid in devids),
        )

    async def stat(self, place: Place, fid: int) -> CopyStat | None:
        """See `INodes`."""
        await self._enter("stat", place, fid)
        data = self.copies.get(_key(place, fid))
        if data is None:
            return None
        if place.host.hostid in self.foreign:
            return CopyStat(len(data))
        return CopyStat(len(data), self.checksums.get(_key(place, fid)))

    async def stat_many(
        self, place: Place, fids: Sequence[int]
    ) -> dict[int, CopyStat | None]:
        """See `INodes`."""
        return {fid: await self.stat(place, fid) for fid in fids}

    async def digest(self, place: Place, fid: int, hashtype: int) -> Checksum | None:
        """See `INodes`."""
        await self._enter("digest", place, fid, hashtype)
        data = self.copies.get(_key(place, fid))
        if data is None:
            return None
        if (place.devid, fid) in self.unreadable:
            raise NodeFault(f"dev{place.devid} cannot read fid {fid}")
        data = self.glitches.pop((place.devid, fid), data)
        digest = new_digest(HASHLIB_NAMES[hashtype], data).digest()
        return Checksum(hashtype, digest)

    async def copy(
        self,
        source: Place,
        target: Place,
        fid: int,
        size: int,
        checksum: Checksum | None,
    ) -> Checksum:
        """See `INodes`."""
        self.calls.append(("copy", source.devid, target.devid, fid))
        self._raise_planned("copy")
        if self.before_copy is not None:
            await self.before_copy(source, target, fid)
        await self._pause(target.host)
        self._check(target, writing=True)
        if source.host.hostid in self.unreachable:
            raise NodeUnreachable(f"source host {source.host.name} does not answer")
        if source.devid in self.broken:
            raise NodeUnreachable(f"source device dev{source.devid} fails")
        data = self.copies.get(_key(source, fid))
        if data is None:
            raise CopyMissing(f"dev{source.devid} does not have fid {fid}")
        found = own_checksum(data)
        if len(data) != size or (checksum is not None and found != checksum):
            raise CopyCorrupt(f"fid {fid} on dev{source.devid} is not the file")
        self.put(target, fid, data)
        return found

    async def remove(self, place: Place, fid: int) -> None:
        """See `INodes`."""
        await self._enter("remove", place, fid, writing=True)
        self.lose(place, fid)

    async def prepare(self, place: Place, fid: int) -> None:
        """See `INodes`."""
        self.calls.append(("prepare", place.devid, fid))

    async def write(self, place: Place, fid: int, size: int | None) -> MemoryCopyWriter:
        """See `INodes`."""
        await self._enter("write", place, fid, size, writing=True)
        return MemoryCopyWriter(self, place, fid, size)

    async def read(
        self, place: Place, fid: int, start: int, length: int | None, consumer: Any
    ) -> int:
        """See `INodes`."""
        await self._enter("read", place, fid, start, length)
        data = self.copies.get(_key(place, fid))
        if data is None:
            raise CopyMissing(f"dev{place.devid} does not have fid {fid}")
        end = len(data) if length is None else start + length
        return await MemoryReading(consumer, data[start:end]).run()

    # --- inside

    async def _enter(
        self, method: str, place: Place, *rest: Any, writing: bool = False
    ) -> None:
        self.calls.append((method, place.devid, *rest))
        self._raise_planned(method)
        await self._pause(place.host)
        self._check(place, writing)

    def _raise_planned(self, method: str) -> None:
        planned = self.failing.get(method)
        if planned:
            raise planned.pop(0)

    async def _pause(self, host: Host) -> None:
        seconds = self.slow.get(host.hostid, 0.0)
        if seconds and self.clock is not None:
            await deferLater(self.clock, seconds, lambda: None)

    def _check(self, place: Place, writing: bool) -> None:
        if place.host.hostid in self.unreachable:
            raise NodeUnreachable(f"host {place.host.name} does not answer")
        if place.devid in self.broken:
            raise NodeFault(f"dev{place.devid} failed")
        if writing and place.devid in self.readonly:
            raise NodeFault(f"dev{place.devid} takes no writes")

    def _report(self, host: Host, devid: int) -> DeviceReport:
        if devid in self.broken:
            return DeviceReport(devid, "unreachable")
        used = sum(
            len(data)
            for (hostid, one, _), data in self.copies.items()
            if (hostid, one) == (host.hostid, devid)
        )
        return DeviceReport(
            devid,
            "readable" if devid in self.readonly else "writeable",
            kib_total=self.kib_total.get(devid, KIB_TOTAL),
            kib_used=used // 1024,
            utilization=0.0,
            failing=self.distrusted.get(devid, ""),
        )


@implementer(ICopyWriter)
@define(eq=False)
class MemoryCopyWriter:
    """A copy on its way into `MemoryNodes`; it is there when `finish` fires."""

    nodes: MemoryNodes
    place: Place
    fid: int
    size: int | None
    data: bytearray = field(factory=bytearray)
    over: bool = False

    async def write(self, data: bytes) -> None:
        """See `ICopyWriter`."""
        if self.over:
            raise NodeFault("the copy was given up")
        self.nodes._check(self.place, writing=True)
        self.data += data

    async def finish(self) -> CopyStat:
        """See `ICopyWriter`."""
        if self.over:
            raise NodeFault("the copy was given up")
        self.over = True
        self.nodes.calls.append(("finish", self.place.devid, self.fid))
        self.nodes._raise_planned("finish")
        await self.nodes._pause(self.place.host)
        self.nodes._check(self.place, writing=True)
        if self.size is not None and len(self.data) != self.size:
            raise NodeFault(f"{len(self.data)} bytes where {self.size} were said")
        data = bytes(self.data)
        self.nodes.put(self.place, self.fid, data)
        return CopyStat(len(data), own_checksum(data))

    def abort(self) -> None:
        """See `ICopyWriter`."""
        if not self.over:
            self.nodes.calls.append(("abort", self.place.devid, self.fid))
        self.over = True


@implementer(IPushProducer)
@define(eq=False)
class MemoryReading:
    """Bytes on their way to a consumer, which may pause them."""

    consumer: Any
    data: bytes
    written: int = 0
    paused: bool = False
    busy: bool = False
    done: Deferred[int] = field(factory=Deferred)

    def run(self) -> Deferred[int]:
        """Write it all; fires with the number of bytes."""
        self.consumer.registerProducer(self, True)
        self._push()
        return self.done

    def _push(self) -> None:
        if self.busy:
            return
        self.busy = True
        while not self.paused and not self.done.called:
            if self.written == len(self.data):
                self.consumer.unregisterProducer()
                self.done.callback(self.written)
                break
            block = self.data[self.written : self.written + READ_BYTES]
            self.written += len(block)
            self.consumer.write(block)
        self.busy = False

    def pauseProducing(self) -> None:
        """The consumer has enough for now."""
        self.paused = True

    def resumeProducing(self) -> None:
        """The consumer wants more."""
        self.paused = False
        self._push()

    def stopProducing(self) -> None:
        """The consumer wants no more, ever."""
        self.paused = True
        if not self.done.called:
            self.done.errback(NodeFault("the reader went away"))


def _key(place: Place, fid: int) -> tuple[int, int, int]:
    return place.host.hostid, place.devid, fid
