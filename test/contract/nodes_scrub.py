"""What every provider of `IScrubNodes` that has our own nodes promises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from zope.interface.verify import verifyObject

from koboldfs.interfaces_scrub import IScrubNodes
from koboldfs.model import scrub
from koboldfs.model.entities import MD5, SHA256, Checksum, Place
from test.contract.nodes import content
from test.fakes.nodes import own_checksum


class ScrubNodesContract:
    """Mix in beside `NodesContract`, whose attributes are used."""

    nodes: Any
    source: Place
    plant: Callable[[Place, int, bytes], None]
    found: Callable[[Place, int], bytes | None]

    def test_scrub_provides(self) -> None:
        """It has the methods of the port, with their arguments."""
        assert verifyObject(IScrubNodes, self.nodes)

    def test_digests(self) -> Deferred[None]:
        """Copies are read as they are now, some at a time, in order; what is missing is
        told."""

        async def check() -> None:
            fids = list(range(1, 30))
            for fid in fids[:-1]:
                self.plant(self.source, fid, content(fid * 999, fid))
            left, got = fids, dict[int, Any]()
            while left:
                some = await self.nodes.digests(self.source, left, SHA256)
                assert list(some) == left[: len(some)]
                assert some
                got.update(some)
                left = left[len(some) :]
            assert got.pop(29) is None
            for fid, digest in got.items():
                assert digest == own_checksum(content(fid * 999, fid)), fid
            assert await self.nodes.digests(self.source, [], SHA256) == {}
            self.plant(self.source, 1, b"abc")
            wanted = Checksum(MD5, bytes.fromhex("900150983cd24fb0d6963f7d28e17f72"))
            assert (await self.nodes.digests(self.source, [1], MD5))[1] == wanted

        return Deferred.fromCoroutine(check())

    def test_set_aside(self) -> Deferred[None]:
        """A copy is taken away, unless it is good, young, or not there."""

        async def check() -> None:
            self.plant(self.source, 5, b"five")
            good = own_checksum(b"five")
            aside = self.nodes.set_aside
            word = await aside(self.source, 5, scrub.BAD_COPY, unless=good)
            assert word == scrub.GOOD
            assert self.found(self.source, 5) == b"five"
            other = own_checksum(b"six")
            word = await aside(self.source, 5, scrub.BAD_COPY, unless=other)
            assert word == scrub.MOVED
            assert self.found(self.source, 5) is None
            assert await self.nodes.stat(self.source, 5) is None
            assert await aside(self.source, 5, scrub.ORPHAN) == scrub.MISSING
            # The same number again: what is kept already stays.
            self.plant(self.source, 5, b"FIVE")
            assert await aside(self.source, 5, scrub.ORPHAN) == scrub.MOVED

        return Deferred.fromCoroutine(check())

    def test_highest_fid(self) -> Deferred[None]:
        """The highest number of a file, below the limit."""

        async def check() -> None:
            highest = self.nodes.highest_fid
            assert await highest(self.source, 10**10) == 0
            for fid in (3, 1000, 7_999_999, 1_234_567_890):
                self.plant(self.source, fid, b"x")
            for below, fid in (
                (10**10, 1_234_567_890),
                (1_234_567_891, 1_234_567_890),
                (1_234_567_890, 7_999_999),
                (7_999_999, 1000),
                (1000, 3),
                (3, 0),
                (0, 0),
            ):
                assert await highest(self.source, below) == fid, below

        return Deferred.fromCoroutine(check())

    def test_list_fids(self) -> Deferred[None]:
        """All files of a disk, once each, in ascending order within a folder."""

        async def check() -> None:
            fids = {3, 5, 999, 1000, 2_500, 1_234_567_890, *range(7_000, 7_020)}
            for fid in fids:
                self.plant(self.source, fid, b"x")
            got: list[int] = []
            folder: int | None = 0
            after = 0
            for _ in range(50):
                assert folder is not None
                listed = await self.nodes.list_fids(self.source, folder, after)
                got += listed.fids
                if listed.more:
                    folder, after = listed.folder, listed.fids[-1]
                    continue
                folder, after = listed.following, 0
                if folder is None:
                    break
            assert got == sorted(fids), got

        return Deferred.fromCoroutine(check())
