"""Pulls between two nodes, and everything that can be wrong with a source."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable
from hashlib import md5
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from koboldfs.errors import (
    CopyCorrupt,
    CopyMissing,
    DeviceUnavailable,
    DiskFull,
    NodeUnreachable,
    NoDevice,
    UnknownHost,
)
from koboldfs.model.entities import MD5, OWN_HASHTYPE, Checksum
from koboldfs.storage import pull as pull_room
from koboldfs.storage import upload as upload_room
from koboldfs.storage.disk import ReadOnly
from koboldfs.storage.fetch import MAX_CONNECTIONS_PER_HOST, SINK_SECONDS, PeerClient
from koboldfs.storage.lanes import ILanes, LaneName
from koboldfs.storage.pull import (
    MAX_PULLS,
    MAX_PULLS_PER_DEVICE,
    IPeers,
    NoPeers,
    Puller,
    PullRequest,
)
from koboldfs.storage.temporary import Expected, Stored
from koboldfs.storage.upload import SMALL_BYTES
from koboldfs.wire.http import copy_target
from test.fakes.disk import FaultyDisk
from test.fakes.lanes import InlineLanes
from test.fakes.storage_node import DOCROOT, FakeNode, Wire, lose

ADDRESS = ("10.0.0.1", 7500)
PIECE_BYTES = 65536
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\ndatadata\r\n0\r\n\r\n"
)


class PullCase(SynchronousTestCase):
    """A source with device 1 and a node with devices 1 and 2 that pulls into 2."""

    def setUp(self) -> None:
        """Both nodes."""
        self.source = FakeNode()
        self.node = FakeNode(disk=FaultyDisk, devices=2)
        self.client = PeerClient(self.node.clock, self.connect)
        self.puller = Puller(self.node.copies, self.client, self)
        self.refuse = False
        self.asked = 0

    async def address(self, name: str) -> tuple[str, int] | None:
        """See `IPeers`."""
        return ADDRESS if name == "source" else None

    def connect(self, ip: str, port: int, factory: Any) -> Deferred[Any]:
        """A connection to the source, which answers in pieces."""
        if self.refuse:
            return fail(OSError("refused"))
        channel, there = self.source.connect()
        protocol, here = factory.buildProtocol(None), Wire()

        def ask(data: bytes) -> None:
            self.asked += 1
            channel.dataReceived(data)
            answer = there.value()
            there.clear()
            for start in range(0, len(answer), PIECE_BYTES):
                if not here.aborted:
                    protocol.dataReceived(answer[start : start + PIECE_BYTES])
            if there.disconnecting:
                lose(protocol)

        here.write = ask  # type: ignore[method-assign]
        protocol.makeConnection(here)
        return succeed(protocol)

    def put(self, data: bytes, node: FakeNode, devid: int) -> Stored:
        """Store fid 7."""
        target = copy_target(devid, 7)
        upload = node.copies.upload(target, Expected())
        upload.write(data)
        finishing = Deferred.fromCoroutine(node.copies.finish(upload, target))
        return self.successResultOf(finishing)

    def pull(
        self, size: int, checksum: Checksum | None = None, **changes: Any
    ) -> Deferred[Checksum]:
        """Pull fid 7 from the source."""
        values = {"devid": 2, "fid": 7, "host_name": "source", "fromdevid": 1}
        request = PullRequest(size=size, checksum=checksum, **{**values, **changes})
        return Deferred.fromCoroutine(self.puller.pull(request))

    def nothing_there(self) -> None:
        """The pull left nothing."""
        self.assertEqual(self.node.files(2), {})
        self.assertEqual(self.node.memory.open_count, 0)


class Pulls(PullCase):
    """`Puller`"""

    def test_copies(self) -> None:
        """Short and long files arrive, with their checksum, which is remembered."""
        self.assertTrue(verifyObject(IPeers, NoPeers()))
        for size in (0, 1, SMALL_BYTES, SMALL_BYTES + 1, 30 * SMALL_BYTES):
            data = bytes([size % 251]) * size
            stored = self.put(data, self.source, 1)
            for checksum in (
                None,
                stored.checksum,
                Checksum(MD5, md5(data).digest()),
            ):
                pulled = self.successResultOf(self.pull(size, checksum))
                self.assertEqual(pulled, stored.checksum)
                path = copy_target(2, 7).relative
                self.assertEqual(self.node.files(2), {path: data})
            stat = Deferred.fromCoroutine(self.node.copies.copy_stat(2, 7))
            found = self.successResultOf(stat)
            assert found is not None
            self.assertEqual(found.checksum, stored.checksum)
        self.assertEqual(self.node.memory.open_count, 0)

    def test_forgotten(self) -> None:
        """A long copy does not push out of memory what the system has there; the
        source keeps its own, which is read for the next copy."""
        self.patch(upload_room, "FLUSH_EVERY_BYTES", 2 * SMALL_BYTES)
        data = b"d" * 5 * SMALL_BYTES
        self.put(data, self.source, 1)
        for least, forgotten in ((len(data) + 1, False), (len(data), True)):
            self.patch(pull_room, "FORGOTTEN_BYTES", least)
            self.successResultOf(self.pull(len(data)))
            self.assertIs(bool(self.node.memory.forgotten), forgotten)
        self.assertEqual(self.source.memory.forgotten, [])
        self.assertEqual(self.node.files(2), {copy_target(2, 7).relative: data})

    def test_already_there(self) -> None:
        """A copy whose bytes are right is left alone."""
        stored = self.put(b"data", self.source, 1)
        self.successResultOf(self.pull(4, stored.checksum))
        self.assertEqual(self.asked, 1)
        self.successResultOf(self.pull(4, stored.checksum))
        self.node.copies.checksums.forget(2, 7)
        self.successResultOf(self.pull(4, stored.checksum))
        self.assertEqual(self.asked, 1)

    def test_wrong_one_is_replaced(self) -> None:
        """A copy with other bytes, or that nobody can vouch for, is pulled again."""
        stored = self.put(b"data", self.source, 1)
        self.put(b"rott", self.node, 2)
        self.assertEqual(
            self.successResultOf(self.pull(4, stored.checksum)), stored.checksum
        )
        self.put(b"rott", self.node, 2)
        self.assertEqual(self.successResultOf(self.pull(4)), stored.checksum)
        self.assertEqual(self.asked, 2)

    def test_rotted_one_is_replaced(self) -> None:
        """A copy that is remembered as right, and is not any more or cannot be read,
        is healed."""
        stored = self.put(b"data", self.source, 1)
        self.successResultOf(self.pull(4, stored.checksum))
        path = copy_target(2, 7).relative
        self.node.memory._node(f"{DOCROOT}/dev2/{path}").data[:] = b"rott"
        self.successResultOf(self.pull(4, stored.checksum))
        self.assertEqual(self.node.files(2), {path: b"data"})
        self.node.disk.arm(1, errno.EIO, only=("read",))
        self.successResultOf(self.pull(4, stored.checksum))
        self.assertEqual(self.asked, 3)

    def test_corrupt_sources(self) -> None:
        """Other bytes, fewer, or more than said: nothing is stored, and what was
        there stays."""
        wrong = Checksum(OWN_HASHTYPE, b"x" * 32)
        for size in (4, 4 * SMALL_BYTES):
            self.put(b"d" * size, self.source, 1)
            for said, checksum in ((size, wrong), (size - 1, None), (size + 1, None)):
                self.failureResultOf(self.pull(said, checksum), CopyCorrupt)
                self.nothing_there()
            self.failureResultOf(self.pull(size, Checksum(MD5, b"x" * 16)), CopyCorrupt)
        self.put(b"old", self.node, 2)
        self.failureResultOf(self.pull(4 * SMALL_BYTES, wrong), CopyCorrupt)
        path = copy_target(2, 7).relative
        self.assertEqual(self.node.files(2), {path: b"old"})

    def test_lying_sources(self) -> None:
        """A source that ends early, sends more than it said, or never ends."""
        for answer, kind in (
            (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nda", NodeUnreachable),
            (b"HTTP/1.0 200 OK\r\n\r\nda", CopyCorrupt),
            (b"HTTP/1.0 200 OK\r\n\r\n" + b"d" * 500_000, CopyCorrupt),
            (CHUNKED, CopyCorrupt),
        ):
            self.setUp()
            channel, there = self.source.connect()

            def connect(
                ip: str, port: int, factory: Any, answer: bytes = answer
            ) -> Deferred[Any]:
                protocol, here = factory.buildProtocol(None), Wire()
                protocol.makeConnection(here)
                self.node.clock.callLater(1, protocol.dataReceived, answer)
                self.node.clock.callLater(2, lose, protocol)
                return succeed(protocol)

            self.client._connect = connect
            pulling = self.pull(4)
            self.node.clock.pump([1, 1])
            self.failureResultOf(pulling, kind)
            self.nothing_there()
            lose(channel)

    def test_sources_that_have_nothing(self) -> None:
        """No such file, no such device, no such host, nobody there."""
        self.failureResultOf(self.pull(4), CopyMissing)
        self.failureResultOf(self.pull(4, fromdevid=9), CopyMissing)
        self.failureResultOf(self.pull(4, host_name="stranger"), UnknownHost)
        self.refuse = True
        self.failureResultOf(self.pull(4), NodeUnreachable)
        self.puller = Puller(self.node.copies, self.client, NoPeers())
        self.failureResultOf(self.pull(4), UnknownHost)
        self.nothing_there()

    def test_targets(self) -> None:
        """A device that is not here, takes no writes, or has no room: its own error,
        not the source's."""
        self.failureResultOf(self.pull(4, devid=9), NoDevice)
        self.put(b"d" * 4 * SMALL_BYTES, self.source, 1)
        self.failureResultOf(self.pull(10**15), DiskFull)
        self.node.disk.arm(1, errno.ENOSPC, only=("write",))
        self.failureResultOf(self.pull(4 * SMALL_BYTES), DiskFull)
        self.node.folders.devices()[1].refusal = "a test"
        self.failureResultOf(self.pull(4), ReadOnly)
        self.nothing_there()


@implementer(ILanes)
class HangingLanes(InlineLanes):
    """Nothing ever comes of the work of device 2 in these lanes."""

    def __init__(self, *lanes: LaneName) -> None:
        self.hanging = lanes

    def run(
        self, devid: int, lane: LaneName, work: Callable[..., Any], *arguments: Any
    ) -> Deferred[Any]:
        """See `ILanes`."""
        if devid == 2 and lane in self.hanging:
            return Deferred()
        return super().run(devid, lane, work, *arguments)


class HangingDisk(PullCase):
    """Device 2 of the node hangs, and nobody has noticed yet."""

    def hang(self, *lanes: LaneName) -> None:
        """From now on."""
        self.node.copies.lanes = HangingLanes(*lanes)

    def test_gives_up(self) -> None:
        """Whatever a pull waits for, it fails with the fault of its own disk."""
        assert MAX_PULLS_PER_DEVICE < MAX_CONNECTIONS_PER_HOST < MAX_PULLS
        for blocks in (1, 4, 30):
            data = b"d" * blocks * SMALL_BYTES
            stored = self.put(data, self.source, 1)
            for lanes in (("batch", "write"), ("digest",)):
                self.node.copies.lanes = InlineLanes()
                self.node.copies._small.clear()
                self.put(data, self.node, 2)
                self.node.copies._small.clear()
                self.hang(*lanes)
                checksum = stored.checksum if lanes == ("digest",) else None
                pulling = self.pull(len(data), checksum)
                self.node.clock.advance(SINK_SECONDS - 1)
                self.assertNoResult(pulling)
                self.node.clock.advance(6)
                self.failureResultOf(pulling, DeviceUnavailable)

    def test_others_go_on(self) -> None:
        """Pulls to a disk that works do not wait for those to one that hangs."""
        data = b"d" * 30 * SMALL_BYTES
        self.put(data, self.source, 1)
        self.hang("batch", "write")
        # More than Python's stack would hold, if each woke the next.
        hanging = [self.pull(len(data)) for _ in range(sys.getrecursionlimit())]
        self.successResultOf(self.pull(len(data), devid=1))
        self.assertEqual(self.asked, MAX_PULLS_PER_DEVICE + 1)
        self.node.folders.devices()[1].trouble = "it does not answer"
        self.node.clock.advance(SINK_SECONDS)
        for one in hanging:
            self.failureResultOf(one, DeviceUnavailable)
