"""Storage nodes, as the floors above use them: the provider of `INodes`.

For each host the way is chosen anew: a host that said that it is ours (`survey`) is
asked by its side channel; any other one, and one not surveyed yet, by plain HTTP, which
all of them understand.

    what      ours                             foreign
    stat      stat                             HEAD
    stat_many stats                            HEADs side by side
    digest    digest                           mogstored's digest, else GET
    copy      pull (the target fetches)        GET -> PUT through us, then HEAD
    remove    delete                           DELETE
    prepare   nothing                          MKCOL, unless `skip_mkcol` says no
    write     PUT; a small one with its MD5,   PUT, then HEAD
              else compared with stat
    read      GET                              GET
    digests   digests                          digest, one by one
    set_aside setaside                         not possible
    list_fids list                             not possible
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from twisted.internet.defer import (
    Deferred,
    FirstError,
    gatherResults,
)
from twisted.logger import Logger
from zope.interface import implementer

from koboldfs.client.channels import Channels
from koboldfs.client.copy_writer import CopyWriter
from koboldfs.client.folders import Folders
from koboldfs.client.http import NodeHttp, refused
from koboldfs.client.mogstored import MOGSTORED_PORT, MOGSTORED_TYPES, Mogstored
from koboldfs.client.relay import Digester, Relay
from koboldfs.client.scrubbing import ScrubCalls
from koboldfs.client.sidechannel import Refusal, SideChannel
from koboldfs.client.survey import Surveyor, read_address, write_address
from koboldfs.errors import CopyCorrupt, CopyMissing, NodeFault, NodeUnreachable
from koboldfs.interfaces import INodes
from koboldfs.model.entities import (
    HASH_NAMES,
    OWN_HASHTYPE,
    Checksum,
    CopyStat,
    Host,
    HostReport,
    Place,
)
from koboldfs.model.fid import uri
from koboldfs.slots import Slots
from koboldfs.wire.sidechannel import MAX_STATS, SyntaxFault, parse_checksum

#: A question that the node answers from memory or with one look at the disk (seconds).
ASK_TIMEOUT_SECONDS = 10.0
#: Work of the node that reads or writes a whole file may take this long and, for each
#: byte, the time of a disk that is busy with much else (seconds; bytes a second).
WORK_TIMEOUT_SECONDS = 30.0
SLOWEST_BYTES_PER_SECOND = 2_000_000
#: HEADs under way at once for one question about many copies of a foreign node.
HEADS_AT_ONCE = 32


def work_seconds(size_bytes: int) -> float:
    """How long a node may take to read or write so many bytes."""
    return WORK_TIMEOUT_SECONDS + size_bytes / SLOWEST_BYTES_PER_SECOND


@implementer(INodes)
class Nodes(ScrubCalls):
    """All storage nodes of a cluster. Connections are made when they are needed."""

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        random: Random | None = None,
        *,
        mogstored_port: int = MOGSTORED_PORT,
    ) -> None:
        self._mogstored = Mogstored(reactor, mogstored_port)
        self._http = NodeHttp(reactor)
        self._channels = Channels(reactor)
        self._folders = Folders(reactor, self._http)
        self._surveyor = Surveyor(
            reactor, self._http, self._channels, self._folders, random or Random()
        )

    def set_skip_mkcol(self, skip: Callable[[], bool]) -> None:
        """Ask `skip`, from now on, whether foreign nodes are left without MKCOL."""
        self._folders.skip = skip

    async def stop(self) -> None:
        """Close all connections; what is under way fails with `NodeUnreachable`."""
        await self._channels.stop()
        await self._http.stop()

    async def survey(self, host: Host, devids: Sequence[int]) -> HostReport:
        """See `INodes`."""
        return await self._surveyor.survey(host, devids)

    async def stat(self, place: Place, fid: int) -> CopyStat | None:
        """See `INodes`."""
        channel = self._channels.of(place.host)
        if channel is not None:
            return await _stat(channel, place, fid)
        path, address = uri(place.devid, fid), read_address(place.host)
        answer = await self._http.request(address, b"HEAD", path)
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise refused(address, b"HEAD", path, answer)
        length = answer.headers.get(b"content-length")
        if length is None:
            # lighttpd and Apache do not say the length of an empty file.
            if await self.read(place, fid, 0, 1, Digester(OWN_HASHTYPE)):
                raise NodeFault(f"{path} on host {place.host.name}: length not said")
            return CopyStat(0)
        return CopyStat(int(length))

    async def stat_many(
        self, place: Place, fids: Sequence[int]
    ) -> dict[int, CopyStat | None]:
        """See `INodes`."""
        channel = self._channels.of(place.host)
        found: dict[int, CopyStat | None] = {}
        if channel is not None:
            for start in range(0, len(fids), MAX_STATS):
                some = fids[start : start + MAX_STATS]
                found.update(await _stats(channel, place, some))
            return found
        limit = Slots(HEADS_AT_ONCE)

        async def one(fid: int) -> None:
            async with limit:
                found[fid] = await self.stat(place, fid)

        asking = [Deferred.fromCoroutine(one(fid)) for fid in fids]
        try:
            await gatherResults(asking, consumeErrors=True)
        except FirstError as error:
            for waiting in asking:
                waiting.cancel()
            error.subFailure.raiseException()
        return found

    async def digest(self, place: Place, fid: int, hashtype: int) -> Checksum | None:
        """See `INodes`."""
        channel = self._channels.of(place.host)
        if channel is not None:
            return await self._digest_there(channel, place, fid, hashtype)
        if hashtype in MOGSTORED_TYPES:
            stat = await self.stat(place, fid)
            if stat is None:
                return None
            found = await self._mogstored.digest(
                place.host.ip, uri(place.devid, fid), stat.size, hashtype
            )
            if found is not None:
                return found
        digester = Digester(hashtype)
        try:
            await self.read(place, fid, 0, None, digester)
        except CopyMissing:
            return None
        return digester.checksum()

    async def copy(
        self,
        source: Place,
        target: Place,
        fid: int,
        size: int,
        checksum: Checksum | None,
    ) -> Checksum:
        """See `INodes`."""
        channel = self._channels.of(target.host)
        if channel is not None:
            try:
                return await self._pull(channel, source, target, fid, size, checksum)
            except Refusal as refusal:
                if refusal.refusal != "unknown_host":
                    raise _pull_error(refusal, source) from refusal
                # A node that has just joined does not know all hosts yet.
                self.log.info(
                    "host {target} does not know host {source}: copying through us",
                    target=target.host.name,
                    source=source.host.name,
                )
        return await self._relay(source, target, fid, size, checksum)

    async def remove(self, place: Place, fid: int) -> None:
        """See `INodes`."""
        channel = self._channels.of(place.host)
        if channel is not None:
            arguments = {"devid": place.devid, "fid": fid}
            await channel.call("delete", arguments, WORK_TIMEOUT_SECONDS)
            return
        path, address = uri(place.devid, fid), write_address(place.host)
        answer = await self._http.request(
            address, b"DELETE", path, timeout_seconds=WORK_TIMEOUT_SECONDS
        )
        if not answer.ok and answer.status != 404:
            raise refused(address, b"DELETE", path, answer)

    async def prepare(self, place: Place, fid: int) -> None:
        """See `INodes`."""
        if self._channels.of(place.host) is None:
            await self._folders.for_fid(write_address(place.host), place.devid, fid)

    async def write(self, place: Place, fid: int, size: int | None) -> CopyWriter:
        """See `INodes`. Nothing is stored unless `finish` is called."""
        path = uri(place.devid, fid)
        ours = self._channels.of(place.host) is not None
        address = write_address(place.host)
        upload = await self._http.put(address, path, size, proof=ours)
        return CopyWriter(upload, lambda: self.stat(place, fid))

    async def read(
        self, place: Place, fid: int, start: int, length: int | None, consumer: Any
    ) -> int:
        """See `INodes`. Reading at or behind the end gives no bytes, without error."""
        path = uri(place.devid, fid)
        if length == 0:
            if await self.stat(place, fid) is None:
                raise CopyMissing(f"{path} is not on host {place.host.name}")
            return 0
        # A web server before a node of ours may have lost sight of the disks: only the
        # node itself can say that a copy is not there.
        ours = self._channels.of(place.host) is not None
        address = write_address(place.host) if ours else read_address(place.host)
        return await self._http.get(address, path, start, length, consumer)

    # --- inside

    async def _digest_there(
        self, channel: SideChannel, place: Place, fid: int, hashtype: int
    ) -> Checksum | None:
        stat = await _stat(channel, place, fid)
        if stat is None:
            return None
        arguments = {"devid": place.devid, "fid": fid, "type": HASH_NAMES[hashtype]}
        fields = await channel.call("digest", arguments, work_seconds(stat.size))
        if "missing" in fields:
            return None
        return _checksum(channel, fields.get("checksum", ""), hashtype)

    async def _pull(
        self,
        channel: SideChannel,
        source: Place,
        target: Place,
        fid: int,
        size: int,
        checksum: Checksum | None,
    ) -> Checksum:
        arguments: dict[str, object] = {
            "devid": target.devid,
            "fid": fid,
            "size": size,
            "host": source.host.name,
            "fromdevid": source.devid,
        }
        if checksum is not None:
            arguments["checksum"] = checksum
        fields = await channel.call("pull", arguments, work_seconds(size))
        found = _checksum(channel, fields.get("checksum", ""), OWN_HASHTYPE)
        if checksum is not None and found != checksum:
            raise NodeFault(f"{channel.peer}: it stored other bytes than the file's")
        return found

    async def _relay(
        self,
        source: Place,
        target: Place,
        fid: int,
        size: int,
        checksum: Checksum | None,
    ) -> Checksum:
        await self.prepare(target, fid)
        path = uri(target.devid, fid)
        upload = await self._http.put(write_address(target.host), path, size)
        relay = Relay(upload, size)
        try:
            await self._fetch(source, fid, relay)
            found = relay.checksum()
            if relay.count != size or checksum not in (None, found):
                what = f"fid {fid} on device {source.devid}"
                raise CopyCorrupt(f"{what}: {relay.count} bytes, {found}")
        except BaseException:
            upload.abort()
            raise
        await upload.finish()
        stat = await self.stat(target, fid)
        if stat is None or stat.size != size or stat.checksum not in (None, found):
            raise NodeFault(f"{path} on host {target.host.name} is not what was sent")
        return found

    async def _fetch(self, source: Place, fid: int, relay: Relay) -> None:
        try:
            await self.read(source, fid, 0, None, relay)
        except (CopyMissing, CopyCorrupt):
            raise
        except NodeFault as error:
            if relay.failure is not None:
                raise relay.failure from error
            text = f"source host {source.host.name}: {error.message}"
            away = isinstance(error, NodeUnreachable)
            raise (NodeUnreachable if away else NodeFault)(text) from error


async def _stat(channel: SideChannel, place: Place, fid: int) -> CopyStat | None:
    arguments = {"devid": place.devid, "fid": fid}
    fields = await channel.call("stat", arguments, ASK_TIMEOUT_SECONDS)
    size = fields.get("size", "")
    if size == "-1":
        return None
    return _copy_stat(channel, size, fields.get("checksum"))


async def _stats(
    channel: SideChannel, place: Place, fids: Sequence[int]
) -> dict[int, CopyStat | None]:
    arguments = {"devid": place.devid, "fids": ",".join(map(str, fids))}
    fields = await channel.call("stats", arguments, WORK_TIMEOUT_SECONDS)
    sizes, sums = (fields.get(name, "").split(",") for name in ("sizes", "checksums"))
    if not len(sizes) == len(sums) == len(fids):
        raise NodeFault(f"{channel.peer}: not as many answers as questions")
    return {
        fid: None if size == "-1" else _copy_stat(channel, size, text)
        for fid, size, text in zip(fids, sizes, sums, strict=True)
    }


def _copy_stat(channel: SideChannel, size: str, checksum: str | None) -> CopyStat:
    if not (size.isascii() and size.isdigit()) or len(size) > 19:
        raise NodeFault(f"{channel.peer}: not a size")
    return CopyStat(int(size), _checksum(channel, checksum) if checksum else None)


def _checksum(channel: SideChannel, text: str, hashtype: int | None = None) -> Checksum:
    """What the node calls a checksum, of that type if one was asked for."""
    try:
        checksum = parse_checksum(text)
    except SyntaxFault as fault:
        raise NodeFault(f"{channel.peer}: {fault}") from fault
    if hashtype is not None and checksum.hashtype != hashtype:
        raise NodeFault(f"{channel.peer}: not the checksum that was asked for")
    return checksum


def _pull_error(refusal: Refusal, source: Place) -> NodeFault:
    if refusal.refusal == "source_missing":
        return CopyMissing(refusal.message)
    if refusal.refusal == "source_corrupt":
        return CopyCorrupt(refusal.message)
    if refusal.refusal == "source_unreachable":
        return NodeUnreachable(f"source host {source.host.name}: {refusal.message}")
    return refusal
