"""What the contract tests of a database have in common.

A provider's test case inherits the mixins of `files`, `topology` and `queues`, and
sets `self.store`: an object with those three attributes.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from koboldfs.model.entities import Checksum, Closing

#: Our own checksum of some file.
OURS = Checksum(4, b"\x01" * 32)
#: One as MogileFS's classes ask for.
THEIRS = Checksum(1, b"\x02" * 16)
#: A name with a byte that is no ASCII, as one character.
LATIN = "caf\xc3\xa9"


class StoreContract:
    """Helpers; a provider's case says how time passes and how to be two."""

    store: Any
    #: The longest key that fits.
    key_bytes = 1024

    async def another(self) -> Any:
        """A second store on the same database, as another tracker would have it."""
        raise NotImplementedError

    async def pass_time(self, seconds: int) -> None:
        """Let the database's clock go on, as seen from its rows."""
        raise NotImplementedError

    async def leave_upload(self, fid: int, dmid: int, key: str) -> None:
        """Leave an upload's row of a fid behind, as MogileFS may; file or no file."""
        self.execute(  # type: ignore[attr-defined]
            "insert into tempfile (fid, createtime, classid, dmid, dkey, devids)"
            f" values ({fid}, 1800000000, 0, {dmid}, '{key}', '1')"
        )

    async def together(self, *calls: Awaitable[Any]) -> list[Any]:
        """The results of calls that are under way at the same time."""
        begun = [Deferred.fromCoroutine(_awaited(call)) for call in calls]
        results: list[Any] = await gatherResults(begun, consumeErrors=True)
        return results

    async def fault(self, kind: type[Exception], call: Awaitable[Any]) -> Exception:
        """The error of that kind that the call must raise."""
        try:
            result = await call
        except kind as error:
            return error
        raise AssertionError(f"{kind.__name__} was not raised, but {result!r} returned")

    async def upload(self, dmid: int, key: str, *devids: int, classid: int = 0) -> int:
        """Open an upload; returns its fid."""
        fid: int = await self.store.files.open_upload(
            dmid, key, classid, devids or (1,), None
        )
        return fid

    async def stored(self, dmid: int, key: str, *devids: int, length: int = 3) -> int:
        """A closed file; returns its fid."""
        fid = await self.upload(dmid, key, *devids)
        closing = Closing(fid, dmid, key, 0, length, devids or (1,), OURS)
        outcome = await self.store.files.close_upload(closing)
        assert outcome == "closed", outcome
        return fid

    async def deletions(self) -> dict[int, tuple[int, ...]]:
        """The devices of every fid that is due for deletion; takes the rows."""
        taken = await self.store.queues.take_deletions(1000, 0)
        return {one.fid: one.devids for one in taken}

    async def replications(self) -> list[int]:
        """The fids that are due for replication; takes the rows."""
        taken = await self.store.queues.take_replications(1000, 0)
        return sorted(one.fid for one in taken)


async def _awaited(call: Awaitable[Any]) -> Any:
    return await call
