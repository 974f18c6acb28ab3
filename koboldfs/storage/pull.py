"""Pulls: this node fetches a copy from another node of the cluster, for itself.

The bytes flow from the source's HTTP port into an upload; size and checksum are
compared while they flow, and nothing is there before they agree. A source is a NAME of
a host of the cluster, whose address somebody else knows (`IPeers`): no request can aim
a pull at a stranger.
"""

from __future__ import annotations

from collections.abc import Awaitable

from attrs import frozen
from zope.interface import Interface, implementer

from koboldfs.errors import CopyCorrupt, UnknownHost
from koboldfs.model.entities import OWN_HASHTYPE, Checksum
from koboldfs.model.fid import uri
from koboldfs.slots import Slots
from koboldfs.storage.copies import FINISH_SECONDS, Copies
from koboldfs.storage.digests import ReadFailed
from koboldfs.storage.fetch import IBodySink, PeerClient, PeerConnection
from koboldfs.storage.temporary import Expected
from koboldfs.storage.upload import Upload
from koboldfs.wire.http import Target, copy_target

#: Pulls under way at a time, on all devices; others wait their turn.
MAX_PULLS = 64
#: Pulls under way into one device: fewer than `MAX_CONNECTIONS_PER_HOST`, so that a
#: disk which hangs takes from the others neither all turns nor a source's connections.
MAX_PULLS_PER_DEVICE = 12
#: A copy that is there is read at least as fast as this, or its disk hangs (bytes a
#: second); `FINISH_SECONDS` come on top, for those that wait before it.
SLOWEST_READ = 1024 * 1024
#: A copy at least so long (bytes) would push too much out of the system's memory.
FORGOTTEN_BYTES = 1024 * 1024 * 1024


class IPeers(Interface):
    """What a storage node asks of whoever knows the cluster."""

    def address(name: str) -> Awaitable[tuple[str, int] | None]:
        """The IP address and HTTP port of the host of that name, or None."""


@implementer(IPeers)
class NoPeers:
    """A node that is alone knows nobody."""

    async def address(self, name: str) -> tuple[str, int] | None:
        """See `IPeers`."""
        return None


@frozen
class PullRequest:
    """A copy that this node shall have: `size` in bytes, from `fromdevid` of the host
    of that name."""

    devid: int
    fid: int
    size: int
    host_name: str
    fromdevid: int
    checksum: Checksum | None = None


@implementer(IBodySink)
class _Sink:
    """Lets the bytes of an answer into an upload, never more than are expected."""

    def __init__(self, upload: Upload, size: int) -> None:
        self._upload = upload
        self._left = size
        self._size = size

    @property
    def congested(self) -> bool:
        """See `IBodySink`."""
        return self._upload.congested

    def begin(self, length: int | None) -> None:
        """See `IBodySink`."""
        if length is not None and length != self._size:
            raise CopyCorrupt(f"the source has {length} bytes instead of {self._size}")

    def write(self, data: bytes) -> None:
        """See `IBodySink`. One byte too many is enough to know."""
        if self._left < 0:
            return
        self._left -= len(data)
        self._upload.write(data if self._left >= 0 else data[:1])


class Puller:
    """Does pulls, a bounded number at a time."""

    def __init__(self, copies: Copies, client: PeerClient, peers: IPeers) -> None:
        self._copies = copies
        self._client = client
        self._peers = peers
        self._turns = Slots(MAX_PULLS)
        self._device_turns: dict[int, Slots] = {}

    async def pull(self, request: PullRequest) -> Checksum:
        """Have the copy, and return our checksum of it. A copy that is there is left
        as it is when its bytes, read now, have that size and checksum.

        Raises `UnknownHost`, `CopyMissing` or `CopyCorrupt` for the source,
        `NodeUnreachable` or `NodeFault` for its host, and what an upload raises.
        """
        devid = request.devid
        self._copies.folders.writing(devid)
        if devid not in self._device_turns:
            self._device_turns[devid] = Slots(MAX_PULLS_PER_DEVICE)
        await self._device_turns[devid].acquire()
        try:
            await self._turns.acquire()
            try:
                # What was true before the wait need not be true after it.
                self._copies.folders.writing(devid)
                known = await self._already(request)
                return known if known is not None else await self._fetch(request)
            finally:
                self._turns.release()
        finally:
            self._device_turns[devid].release()

    async def _already(self, request: PullRequest) -> Checksum | None:
        wanted = request.checksum
        if wanted is None or wanted.hashtype != OWN_HASHTYPE:
            return None
        found = await self._copies.copy_stat(request.devid, request.fid)
        if found is None or found.size != request.size:
            return None
        # Never the remembered checksum: that of a copy which has rotted since is right.
        target = copy_target(request.devid, request.fid)
        seconds = FINISH_SECONDS + request.size / SLOWEST_READ
        try:
            checksum = await self._copies.digest(
                target, OWN_HASHTYPE, background=False, seconds=seconds
            )
        except ReadFailed:
            return None  # a copy that cannot be read is no copy
        return checksum if checksum == wanted else None

    async def _fetch(self, request: PullRequest) -> Checksum:
        address = await self._peers.address(request.host_name)
        if address is None:
            raise UnknownHost("no host of that name is known")
        checksums = () if request.checksum is None else (request.checksum,)
        expected = Expected(request.size, checksums)
        target = copy_target(request.devid, request.fid)
        upload = self._copies.upload(target, expected)
        upload.forgets = request.size >= FORGOTTEN_BYTES
        try:
            await self._transfer(request, address, upload, target)
        except BaseException:
            upload.abort()
            raise
        stored = await self._copies.finish(upload, target)
        return stored.checksum

    async def _transfer(
        self,
        request: PullRequest,
        address: tuple[str, int],
        upload: Upload,
        target: Target,
    ) -> None:
        def started(connection: PeerConnection) -> None:
            upload.relieved = connection.resume
            upload.failed = lambda: connection.give_up(CopyCorrupt("the upload failed"))

        sink = _Sink(upload, request.size)
        path = uri(request.fromdevid, request.fid)
        try:
            await self._client.fetch(address, path, sink, started)
        except CopyCorrupt:
            if upload.failure is not None:
                # It was our disk that failed; that is what the end of the upload says.
                await self._copies.finish(upload, target)
            raise
