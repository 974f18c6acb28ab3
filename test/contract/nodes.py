"""What every provider of `INodes` promises."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from zope.interface.verify import verifyObject

from koboldfs.errors import CopyCorrupt, CopyMissing, NodeFault, NodeUnreachable
from koboldfs.interfaces import ICopyWriter, INodes
from koboldfs.model.entities import MD5, SHA1, SHA256, Checksum, Host, Place
from test.fakes.nodes import own_checksum

#: Around the places where something changes: buffers, chunks, nothing at all.
SIZES = (0, 1, 1000, 65536, 65537, 300_000)


class Collector:
    """An IConsumer that keeps what it gets, and may pause after every piece."""

    def __init__(self, *, pausing: bool = False) -> None:
        self.data = b""
        self.producer: Any = None
        self.resuming: Any = None
        self.pauses = 0
        self.pausing = pausing
        self.paused = False

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Bytes will come."""
        assert streaming and self.producer is None
        self.producer = producer

    def unregisterProducer(self) -> None:
        """No more bytes will come."""
        self.producer = None
        if self.resuming is not None and self.resuming.active():
            self.resuming.cancel()

    def write(self, data: bytes) -> None:
        """Take bytes, and pause if that is what it does."""
        self.data += data
        if self.pausing and not self.paused:
            self.paused = True
            self.pauses += 1
            self.producer.pauseProducing()
            clock: Any = reactor
            self.resuming = clock.callLater(0.002, self._resume)

    def _resume(self) -> None:
        self.paused = False
        if self.producer is not None:
            self.producer.resumeProducing()


def content(size: int, seed: int = 0) -> bytes:
    """Bytes that differ from place to place (and from seed to seed)."""
    block = bytes((number * 31 + seed) % 251 for number in range(251))
    return (block * (size // 251 + 1))[:size]


class NodesContract:
    """Mix into a trial `TestCase`; `setUp` sets these attributes."""

    nodes: Any
    #: On two hosts.
    source: Place
    target: Place
    plant: Callable[[Place, int, bytes], None]
    found: Callable[[Place, int], bytes | None]
    #: Make the host of a place stop answering.
    take_away: Callable[[Place], Awaitable[Any] | None]

    async def write(
        self, place: Place, fid: int, data: bytes, size: int | None, step: int = 20_000
    ) -> Any:
        """Store a copy in pieces; what `finish` says."""
        writer = await self.nodes.write(place, fid, size)
        for start in range(0, len(data), step):
            await writer.write(data[start : start + step])
        return await writer.finish()

    async def fails(self, kind: type[Exception], work: Awaitable[Any]) -> Exception:
        """Assert that it raises exactly that kind of error (or one below it)."""
        try:
            result = await work
        except kind as error:
            return error
        raise AssertionError(f"{kind.__name__} not raised, but {result!r} returned")

    def test_provides(self) -> None:
        """It has the methods of the port, with their arguments."""
        assert verifyObject(INodes, self.nodes)

    def test_write(self) -> Deferred[None]:
        """What was written is there, whole, and its checksum is told."""

        async def check() -> None:
            for fid, size in enumerate(SIZES, 1):
                for known in (True, False):
                    data = content(size, fid)
                    said = size if known else None
                    stat = await self.write(self.target, fid, data, said)
                    assert self.found(self.target, fid) == data
                    assert stat.size == size
                    assert stat.checksum == own_checksum(data)

        return Deferred.fromCoroutine(check())

    def test_writer_provides(self) -> Deferred[None]:
        """Writers have the methods of their port."""

        async def check() -> None:
            writer = await self.nodes.write(self.target, 7, 10)
            assert verifyObject(ICopyWriter, writer)
            writer.abort()

        return Deferred.fromCoroutine(check())

    def test_write_over(self) -> Deferred[None]:
        """A second write replaces the first copy."""

        async def check() -> None:
            for data in (content(5000), content(300, 1)):
                await self.write(self.target, 5, data, len(data))
                assert self.found(self.target, 5) == data

        return Deferred.fromCoroutine(check())

    def test_many_writes_at_once(self) -> Deferred[None]:
        """Writes at the same time do not mix."""

        async def check() -> None:
            works = [
                self.write(self.target, fid, content(fid * 1500, fid), None, 999)
                for fid in range(1, 100)
            ]
            await gatherResults([Deferred.fromCoroutine(work) for work in works])
            for fid in range(1, 100):
                assert self.found(self.target, fid) == content(fid * 1500, fid)

        return Deferred.fromCoroutine(check())

    def test_abort(self) -> Deferred[None]:
        """A copy that was given up is not there, even if all its bytes were given."""

        async def check() -> None:
            for fid, size in enumerate(SIZES, 1):
                for known in (size, None):
                    writer = await self.nodes.write(self.target, fid, known)
                    for start in range(0, size, 10_000):
                        await writer.write(content(size)[start : start + 10_000])
                    writer.abort()
                    writer.abort()
                    await self.fails(NodeFault, writer.write(b"more"))
                    await self.fails(NodeFault, writer.finish())
            await self.settle()
            for fid, _ in enumerate(SIZES, 1):
                assert self.found(self.target, fid) is None
            assert await self.nodes.stat(self.target, 1) is None

        return Deferred.fromCoroutine(check())

    async def settle(self) -> None:
        """Wait until a node has noticed what happened to its connections."""

    def test_write_another_size(self) -> Deferred[None]:
        """More or fewer bytes than were said are an error, and nothing is stored."""

        async def check() -> None:
            for fid, (said, given) in enumerate(
                ((10, 9), (10, 11), (200_000, 199_999), (200_000, 200_001), (0, 1)), 1
            ):
                work = self.write(self.target, fid, content(given), said)
                await self.fails(NodeFault, work)
                await self.settle()
                assert self.found(self.target, fid) is None

        return Deferred.fromCoroutine(check())

    def test_stat(self) -> Deferred[None]:
        """Sizes of copies that are there, None for one that is not."""

        async def check() -> None:
            for fid, size in enumerate(SIZES, 1):
                self.plant(self.source, fid, content(size))
                stat = await self.nodes.stat(self.source, fid)
                assert stat.size == size
                assert stat.checksum in (None, own_checksum(content(size)))
            assert await self.nodes.stat(self.source, 99) is None

        return Deferred.fromCoroutine(check())

    def test_stat_many(self) -> Deferred[None]:
        """Many copies of a device in one question, also more than fit one request."""

        async def check() -> None:
            for fid, size in enumerate(SIZES, 1):
                self.plant(self.source, fid, content(size))
            fids = [*range(1, len(SIZES) + 1), *range(500, 2000)]
            found = await self.nodes.stat_many(self.source, fids)
            assert sorted(found) == fids
            sizes = [one.size if one else None for one in found.values()]
            assert [found[fid].size for fid in fids[: len(SIZES)]] == list(SIZES)
            assert sizes.count(None) == 1500
            assert await self.nodes.stat_many(self.source, []) == {}

        return Deferred.fromCoroutine(check())

    def test_many_stats_at_once(self) -> Deferred[None]:
        """Every question gets its own answer."""

        async def check() -> None:
            for fid in range(1, 500):
                self.plant(self.source, fid, b"x" * fid)
            stats = await gatherResults(
                [
                    Deferred.fromCoroutine(self.nodes.stat(self.source, fid))
                    for fid in range(1, 500)
                ]
            )
            assert [stat.size for stat in stats] == list(range(1, 500))

        return Deferred.fromCoroutine(check())

    def test_digest(self) -> Deferred[None]:
        """Digests of every type, of the bytes that are on the disk now."""

        async def check() -> None:
            self.plant(self.source, 1, b"abc")
            for hashtype, wanted in (
                (MD5, "900150983cd24fb0d6963f7d28e17f72"),
                (SHA1, "a9993e364706816aba3e25717850c26c9cd0d89d"),
                (SHA256, own_checksum(b"abc").digest.hex()),
            ):
                checksum = await self.nodes.digest(self.source, 1, hashtype)
                assert checksum == Checksum(hashtype, bytes.fromhex(wanted))
            assert await self.nodes.digest(self.source, 2, MD5) is None

        return Deferred.fromCoroutine(check())

    def test_copy(self) -> Deferred[None]:
        """The target has the same bytes, and their checksum is returned."""

        async def check() -> None:
            for fid, size in enumerate(SIZES, 1):
                data = content(size, fid)
                self.plant(self.source, fid, data)
                for given in (None, own_checksum(data)):
                    found = await self.nodes.copy(
                        self.source, self.target, fid, size, given
                    )
                    assert found == own_checksum(data)
                    assert self.found(self.target, fid) == data

        return Deferred.fromCoroutine(check())

    def test_copy_of_a_bad_source(self) -> Deferred[None]:
        """A source that is not the file is said to be corrupt; nothing is stored."""

        async def check() -> None:
            for fid, size in ((1, 1000), (2, 300_000), (3, 0)):
                self.plant(self.source, fid, content(size))
                cases = [
                    (size, own_checksum(b"else")),
                    (size + 1, None),
                ] + ([(size - 1, None)] if size else [])
                for said, checksum in cases:
                    work = self.nodes.copy(
                        self.source, self.target, fid, said, checksum
                    )
                    await self.fails(CopyCorrupt, work)
                    await self.settle()
                    assert self.found(self.target, fid) is None

        return Deferred.fromCoroutine(check())

    def test_copy_of_a_missing_source(self) -> Deferred[None]:
        """A source that is not there is said to be missing; nothing is stored."""

        async def check() -> None:
            for size in (0, 10, 200_000):
                work = self.nodes.copy(self.source, self.target, 9, size, None)
                await self.fails(CopyMissing, work)
                assert self.found(self.target, 9) is None

        return Deferred.fromCoroutine(check())

    def test_remove(self) -> Deferred[None]:
        """A removed copy is gone; removing it again is fine."""

        async def check() -> None:
            self.plant(self.source, 3, b"three")
            await self.nodes.remove(self.source, 3)
            assert self.found(self.source, 3) is None
            await self.nodes.remove(self.source, 3)

        return Deferred.fromCoroutine(check())

    def test_read(self) -> Deferred[None]:
        """Exactly the bytes that were asked for, and their number."""
        data = content(300_000)

        async def check() -> None:
            self.plant(self.source, 4, data)
            self.plant(self.source, 5, b"")
            for start, length in (
                (0, None),
                (0, 0),
                (0, 1),
                (0, 300_000),
                (0, 400_000),
                (1, None),
                (299_999, None),
                (299_999, 5),
                (65_536, 65_537),
                (300_000, 1),
                (300_000, None),
                (400_000, 5),
            ):
                collector = Collector()
                count = await self.nodes.read(self.source, 4, start, length, collector)
                end = None if length is None else start + length
                assert collector.data == data[start:end], (start, length)
                assert count == len(collector.data)
                assert collector.producer is None
            for length in (None, 0, 5):
                collector = Collector()
                assert await self.nodes.read(self.source, 5, 0, length, collector) == 0

        return Deferred.fromCoroutine(check())

    def test_read_what_is_not_there(self) -> Deferred[None]:
        """A copy that is missing is said to be, and the reader gets nothing."""

        async def check() -> None:
            for start, length in ((0, None), (5, 10), (0, 0)):
                collector = Collector()
                work = self.nodes.read(self.source, 6, start, length, collector)
                await self.fails(CopyMissing, work)
                assert collector.data == b"" and collector.producer is None

        return Deferred.fromCoroutine(check())

    def test_read_slowly(self) -> Deferred[None]:
        """A reader may pause at any time and loses nothing."""
        data = content(500_000)

        async def check() -> None:
            self.plant(self.source, 4, data)
            collector = Collector(pausing=True)
            assert await self.nodes.read(self.source, 4, 0, None, collector) == 500_000
            assert collector.data == data
            assert collector.pauses > 1
            assert await self.nodes.stat(self.source, 4) is not None

        return Deferred.fromCoroutine(check())

    def test_survey(self) -> Deferred[None]:
        """A host that works is seen to, with the sizes of its devices."""

        async def check() -> None:
            for place in (self.source, self.target):
                report = await self.nodes.survey(place.host, [place.devid])
                assert report.hostid == place.host.hostid
                assert report.reachable
                (device,) = report.devices
                assert device.devid == place.devid
                assert device.observed == "writeable"
                assert device.kib_total > device.kib_used >= 0
                bare = await self.nodes.survey(place.host, [])
                assert bare.reachable and bare.devices == ()

        return Deferred.fromCoroutine(check())

    def test_unreachable(self) -> Deferred[None]:
        """A host that does not answer raises that, and a survey says it."""

        async def check() -> None:
            self.plant(self.source, 1, b"one")
            await self.nodes.stat(self.target, 1)
            gone = self.take_away(self.target)
            if gone is not None:
                await gone
            place = self.target
            for _ in range(2):
                await self.fails(NodeUnreachable, self.nodes.stat(place, 1))
                await self.fails(NodeUnreachable, self.nodes.digest(place, 1, MD5))
                await self.fails(NodeUnreachable, self.nodes.remove(place, 1))
                work = self.nodes.read(place, 1, 0, None, Collector())
                await self.fails(NodeUnreachable, work)
                work = self.nodes.copy(self.source, place, 1, 3, None)
                await self.fails(NodeUnreachable, work)
                work = self.write(place, 2, b"two", 3)
                await self.fails(NodeUnreachable, work)
                await self.nodes.prepare(place, 1)
                report = await self.nodes.survey(place.host, [place.devid])
                assert not report.reachable
                assert [one.observed for one in report.devices] == ["unreachable"]

        return Deferred.fromCoroutine(check())

    def test_unreachable_source(self) -> Deferred[None]:
        """A copy whose source host is away says so."""

        async def check() -> None:
            gone = self.take_away(self.source)
            if gone is not None:
                await gone
            work = self.nodes.copy(self.source, self.target, 1, 3, None)
            error = await self.fails(NodeUnreachable, work)
            assert self.source.host.name in str(error)
            assert self.found(self.target, 1) is None

        return Deferred.fromCoroutine(check())


def host(hostid: int, port: int = 7500) -> Host:
    """A host for tests that have none."""
    return Host(hostid, f"host{hostid}", "alive", "127.0.0.1", port)
