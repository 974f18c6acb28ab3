"""A copy that is written through us: the provider of `ICopyWriter`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from zope.interface import implementer

from koboldfs.client.http_upload import Upload
from koboldfs.client.relay import Digester
from koboldfs.errors import CopyCorrupt, NodeFault
from koboldfs.interfaces import ICopyWriter
from koboldfs.model.entities import OWN_HASHTYPE, CopyStat


@implementer(ICopyWriter)
class CopyWriter:
    """Passes bytes on and digests them. The node must have proven that it has the
    same ones, or what it says of them must agree."""

    def __init__(
        self, upload: Upload, stat: Callable[[], Awaitable[CopyStat | None]]
    ) -> None:
        self._upload = upload
        self._stat = stat
        self._digester = Digester(OWN_HASHTYPE)

    async def write(self, data: bytes) -> None:
        """See `ICopyWriter`. Raises `NodeFault` for more bytes than were said."""
        self._digester.write(data)
        await self._upload.write(data)

    async def finish(self) -> CopyStat:
        """See `ICopyWriter`. Raises `CopyCorrupt` when the node has other bytes, and
        `NodeFault` for fewer bytes than were said."""
        await self._upload.finish()
        if self._upload.proven:
            return CopyStat(self._upload.written_bytes, self._digester.checksum())
        stat = await self._stat()
        if stat is None:
            raise NodeFault(f"{self._upload.peer}: the copy is gone")
        checksum = self._digester.checksum()
        if stat.size != self._upload.written_bytes:
            raise CopyCorrupt(f"{self._upload.peer}: it stored another size")
        if stat.checksum is not None and stat.checksum.hashtype == OWN_HASHTYPE:
            if stat.checksum != checksum:
                raise CopyCorrupt(f"{self._upload.peer}: it stored other bytes")
        return CopyStat(stat.size, checksum)

    def abort(self) -> None:
        """See `ICopyWriter`."""
        self._upload.abort()
