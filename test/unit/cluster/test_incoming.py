"""An upload whose bytes come through us, to several nodes at once."""

from __future__ import annotations

from hashlib import md5
from typing import Any

from twisted.internet.defer import Deferred

from koboldfs import errors
from koboldfs.cluster.incoming import Incoming
from koboldfs.model.entities import MD5, SHA1, Checksum, Closing, CopyStat, Place
from test.fakes.nodes import MemoryCopyWriter, MemoryNodes, own_checksum
from test.fakes.world import DOMAIN, World, WorldCase, start

DATA = b"the bytes of the file, all of them"


class OddWriter(MemoryCopyWriter):
    """A node that stores other bytes than it was sent, and says so truthfully."""

    async def finish(self) -> CopyStat:
        """As usual, but one byte is another."""
        self.data[-1] ^= 1
        return await super().finish()


class ShortWriter(MemoryCopyWriter):
    """A foreign node, which knows no checksum and lost a byte."""

    async def finish(self) -> CopyStat:
        """As usual, but shorter."""
        del self.data[-1:]
        self.size = None
        stat = await super().finish()
        return CopyStat(stat.size)


class ForeignWriter(MemoryCopyWriter):
    """A foreign node, which knows no checksum."""

    async def finish(self) -> CopyStat:
        """As usual."""
        return CopyStat((await super().finish()).size)


class OddNodes(MemoryNodes):
    """Nodes of which some write in their own way."""

    writers: dict[int, type[MemoryCopyWriter]]

    async def write(self, place: Place, fid: int, size: int | None) -> MemoryCopyWriter:
        """As usual, with another writer for the devices in `writers`."""
        await super().write(place, fid, size)
        kind = self.writers.get(place.devid, MemoryCopyWriter)
        return kind(self, place, fid, size)


class IncomingCase(WorldCase):
    """Three hosts; a store promises two copies."""

    def setUp(self) -> None:
        self.set_up(3)

    def set_up(self, hosts: int, ack: int = 2, **settings: str) -> None:
        """The world."""
        self.world = World.of(hosts, kobold_ack_copies=str(ack), **settings)
        self.nodes = OddNodes(self.world.clock)
        self.nodes.writers = {}
        self.world.use(self.nodes)

    def put(self, key: str = "k", **words: Any) -> Deferred[Incoming]:
        """Begin to store."""
        words = {"class_name": None, "size": len(DATA)} | words
        return start(self.world.namespace.begin_put(DOMAIN, key, **words))

    def begin(self, **words: Any) -> Incoming:
        """Begin to store, which succeeds at once; fails hosts that were chosen."""
        incoming = self.successResultOf(self.put(**words))
        self.offered = [call[0] for call in self.world.asked("write")]
        return incoming

    def store(self, incoming: Incoming) -> Closing:
        """All bytes, and the end."""
        for data in (DATA[:10], DATA[10:]):
            self.run_now(incoming.write(data))
        closing: Closing = self.run_now(incoming.finish())
        return closing

    def assert_abandoned(self, incoming: Incoming) -> None:
        """The upload is over, and every device that was offered will be cleaned."""
        tables = self.world.tables
        self.assertEqual((tables.uploads, tables.files), ({}, {}))
        self.assertIn(incoming.fid, tables.to_delete)
        self.assertLessEqual(set(self.offered), set(tables.devids(incoming.fid)))

    def assert_good(self, closing: Closing) -> None:
        """Every device that is to be recorded holds the file."""
        self.assertEqual(closing.length, len(DATA))
        self.assertEqual(closing.checksum, own_checksum(DATA))
        self.assertEqual(len(set(closing.devids)), len(closing.devids))
        for devid in closing.devids:
            stored = self.nodes.copies[devid // 10, devid, closing.fid]
            self.assertEqual(stored, DATA)


class Beginning(IncomingCase):
    """`begin`."""

    def test_devices(self) -> None:
        """As many hosts as promised are written at once, and recorded before."""
        incoming = self.begin()
        self.assertEqual(len({devid // 10 for devid in self.offered}), 2)
        upload = self.world.tables.uploads[incoming.fid]
        self.assertEqual(set(upload.devids), set(self.offered))
        self.assertEqual(upload.key, "k")

    def test_policy_that_wants_less(self) -> None:
        """Never more copies than the policy wants."""
        self.set_up(3, kobold_policy="MultipleHosts(1)")
        self.begin()
        self.assertEqual(len(self.offered), 1)

    def test_one_promised(self) -> None:
        """One copy is promised: one node is written."""
        self.set_up(3, ack=1)
        self.begin()
        self.assertEqual(len(self.offered), 1)

    def test_no_devices(self) -> None:
        """No device takes it: no fid is used up."""
        self.failureResultOf(self.put(size=2**60), errors.NoDevices)
        self.nodes.unreachable.update((1, 2, 3))
        self.world.look()
        self.failureResultOf(self.put(), errors.NoDevices)
        self.assertEqual(self.world.tables.uploads, {})

    def test_size_may_be_unknown(self) -> None:
        """A store whose length is not known is begun all the same."""
        incoming = self.begin(size=None)
        self.assert_good(self.store(incoming))

    def test_keys(self) -> None:
        """No key, and one that cannot be kept."""
        self.failureResultOf(self.put(""), errors.NoKey)
        self.failureResultOf(self.put("k" * 1025), errors.KeyTooLong)
        self.failureResultOf(self.put(class_name="x"), errors.UnknownClass)

    def test_one_node_refuses(self) -> None:
        """A node that does not take it is left out."""
        self.nodes.unreachable.add(1)
        for _ in range(20):
            incoming = self.begin()
            if 10 in self.offered:
                break
            self.nodes.calls.clear()
        closing = self.store(incoming)
        self.assert_good(closing)
        self.assertEqual(set(closing.devids), {20, 30})

    def test_all_refuse(self) -> None:
        """When none takes it, the others are asked; then the upload is over."""
        self.nodes.unreachable.update((1, 2, 3))
        suspected: list[int] = []
        self.patch(self.world.live, "suspect", suspected.append)
        self.failureResultOf(self.put(), errors.NodeFault)
        self.assertEqual(set(suspected), {1, 2, 3})
        self.assertEqual(self.world.tables.uploads, {})
        self.assertEqual(len(self.world.tables.to_delete), 2)

    def test_the_chosen_ones_refuse(self) -> None:
        """When all that were chosen are away, others are chosen."""
        self.run_now(self.world.store.set_setting("kobold_ack_copies", "1"))
        self.run_now(self.world.live.refresh())
        self.nodes.unreachable.update((1, 2))
        for _ in range(10):
            closing = self.store(self.begin())
            self.assertEqual(closing.devids, (30,))

    def test_device_gone_meanwhile(self) -> None:
        """A device that vanishes from the picture while a fid is drawn is left out."""
        gate = self.world.store.gates["open_upload"] = Deferred()
        putting = self.put()
        self.world.tables.hosts.clear()
        self.run_now(self.world.live.refresh())
        gate.callback(None)
        self.failureResultOf(putting, errors.NoDevices)
        self.assertEqual(len(self.world.tables.to_delete), 1)

    def test_folders(self) -> None:
        """Foreign nodes are asked to make folders before they are written."""
        self.nodes.foreign.update((1, 2, 3))
        self.world.look()
        incoming = self.begin()
        self.assertEqual(
            sorted(self.world.asked("prepare")),
            sorted((devid, incoming.fid) for devid in self.offered),
        )


class Flowing(IncomingCase):
    """`write` and `finish`."""

    def test_whole(self) -> None:
        """The bytes are on both nodes, and what is to be recorded is right."""
        closing = self.store(self.begin())
        self.assert_good(closing)
        self.assertEqual(sorted(closing.devids), sorted(self.offered))
        self.assertEqual((closing.dmid, closing.key, closing.classid), (1, "k", 0))
        self.assertEqual(self.world.asked("copy"), [])
        self.run_now(self.world.namespace.close_recorded(closing))
        self.assertEqual(self.world.tables.named(1, "k").fid, closing.fid)

    def test_not_visible_before(self) -> None:
        """Before it is recorded the key is what it was."""
        self.store(self.begin())
        self.assertIsNone(self.world.tables.named(1, "k"))

    def test_empty(self) -> None:
        """A file of no bytes."""
        incoming = self.begin(size=0)
        closing = self.run_now(incoming.finish())
        self.assertEqual((closing.length, closing.checksum), (0, own_checksum(b"")))

    def test_one_node_fails_midway(self) -> None:
        """The other goes on; a third host makes up for it."""
        incoming = self.begin()
        self.run_now(incoming.write(DATA[:10]))
        lost = self.offered[0]
        self.nodes.broken.add(lost)
        self.run_now(incoming.write(DATA[10:]))
        closing = self.run_now(incoming.finish())
        self.assert_good(closing)
        self.assertNotIn(lost, closing.devids)
        self.assertEqual(len(closing.devids), 2)

    def test_one_node_fails_at_the_end(self) -> None:
        """Also when it fails to make its copy durable."""
        incoming = self.begin()
        self.run_now(incoming.write(DATA))
        self.nodes.failing["finish"] = [errors.NodeFault("disk")]
        closing = self.run_now(incoming.finish())
        self.assert_good(closing)
        self.assertEqual(len(closing.devids), 2)

    def test_all_fail_midway(self) -> None:
        """With no node left the upload is over, and the sender is told at once."""
        incoming = self.begin()
        self.nodes.broken.update((10, 20, 30))
        self.fail_now(incoming.write(DATA), errors.NodeFault)
        self.assert_abandoned(incoming)

    def test_fails_when_it_is_gone(self) -> None:
        """A node that fails when its device is in the picture no more is left out."""
        incoming = self.begin()
        lost = self.offered[0]
        del self.world.tables.devices[lost]
        self.run_now(self.world.live.refresh())
        self.nodes.broken.add(lost)
        self.run_now(incoming.write(DATA))
        closing = self.run_now(incoming.finish())
        self.assert_good(closing)
        self.assertNotIn(lost, closing.devids)

    def test_all_fail_at_the_end(self) -> None:
        """Nothing was kept: the upload is over."""
        incoming = self.begin()
        self.run_now(incoming.write(DATA))
        self.nodes.broken.update((10, 20, 30))
        self.fail_now(incoming.finish(), errors.NodeFault)
        self.assert_abandoned(incoming)

    def test_other_bytes(self) -> None:
        """A node that stored other bytes, though it said OK, is not recorded unless
        it was given the right ones since."""
        for kind in (OddWriter, ShortWriter):
            self.set_up(3)
            incoming = self.begin()
            self.set_writer(incoming, self.offered[1], kind)
            closing = self.store(incoming)
            self.assert_good(closing)
            self.assertEqual(len(closing.devids), 2)

    def set_writer(
        self, incoming: Incoming, devid: int, kind: type[MemoryCopyWriter]
    ) -> None:
        """The node of that device writes so."""
        place = self.world.place(devid)
        incoming._writers[devid] = kind(self.nodes, place, incoming.fid, len(DATA))

    def test_all_store_other_bytes(self) -> None:
        """Then there is no file."""
        self.nodes.writers = dict.fromkeys((10, 20, 30), OddWriter)
        incoming = self.begin()
        self.run_now(incoming.write(DATA))
        self.fail_now(incoming.finish(), errors.NodeFault)
        self.assert_abandoned(incoming)

    def test_node_without_checksums(self) -> None:
        """A node that tells no checksum is trusted for its size."""
        self.nodes.writers = dict.fromkeys((10, 20, 30), ForeignWriter)
        self.assert_good(self.store(self.begin()))

    def test_fewer_hosts_up(self) -> None:
        """With one host up the store is answered with one copy."""
        self.nodes.unreachable.update((2, 3))
        self.world.look()
        closing = self.store(self.begin())
        self.assertEqual(closing.devids, (10,))

    def test_slow_node(self) -> None:
        """A store is answered when every copy is durable, not before."""
        incoming = self.begin()
        self.run_now(incoming.write(DATA))
        self.nodes.slow[self.offered[0] // 10] = 2.0
        finishing = start(incoming.finish())
        self.assertNoResult(finishing)
        self.world.clock.advance(2.0)
        self.assert_good(self.successResultOf(finishing))

    def test_backpressure(self) -> None:
        """More bytes are wanted when the slowest node wants more."""
        incoming = self.begin()
        gate: Deferred[None] = Deferred()

        class SlowWriter(MemoryCopyWriter):
            async def write(self, data: bytes) -> None:
                await gate

        self.set_writer(incoming, self.offered[0], SlowWriter)
        writing = start(incoming.write(DATA))
        self.assertNoResult(writing)
        gate.callback(None)
        self.successResultOf(writing)


class Checked(IncomingCase):
    """What the sender says of its bytes."""

    def test_md5(self) -> None:
        """The right MD5 is taken."""
        incoming = self.begin()
        self.run_now(incoming.write(DATA))
        closing = self.run_now(incoming.finish(md5=md5(DATA).digest()))
        self.assert_good(closing)

    def test_wrong_md5(self) -> None:
        """A wrong one ends the upload; no node is left with a copy that counts."""
        incoming = self.begin()
        self.run_now(incoming.write(DATA))
        finishing = incoming.finish(md5=md5(b"other").digest())
        self.fail_now(finishing, errors.ChecksumMismatch)
        self.assert_abandoned(incoming)
        self.assertEqual(self.nodes.devices_with(incoming.fid), set())

    def test_wrong_size(self) -> None:
        """Too few or too many bytes end the upload."""
        for size in (len(DATA) - 1, len(DATA) + 1):
            self.set_up(3)
            incoming = self.begin(size=size)
            self.run_now(incoming.write(DATA))
            error = self.fail_now(incoming.finish(), errors.SizeMismatch)
            wanted = f"Expected: {size}; actual: {len(DATA)}"
            self.assertEqual(error.message, wanted)
            self.assert_abandoned(incoming)

    def test_class_checksum(self) -> None:
        """What the file's class asks for is computed on the way."""
        for kind, wanted in ((MD5, md5(DATA).digest()), (SHA1, None), (None, None)):
            self.set_up(3)
            self.world.add_class(7, "c", hashtype=kind)
            self.world.look()
            closing = self.store(self.begin(class_name="c"))
            found = closing.class_checksum
            self.assertEqual(found and found.hashtype, kind)
            if wanted:
                self.assertEqual(found, Checksum(MD5, wanted))

    def test_abandoned(self) -> None:
        """A sender that gives up leaves nothing behind."""
        incoming = self.begin()
        self.run_now(incoming.write(DATA[:10]))
        self.run_now(incoming.abandon())
        self.assert_abandoned(incoming)
        aborted = {call[0] for call in self.world.asked("abort")}
        self.assertEqual(aborted, set(self.offered))

    def test_abandoned_after_the_end(self) -> None:
        """Also when the copies are made but were never recorded: all are cleaned."""
        incoming = self.begin()
        self.run_now(incoming.write(DATA))
        self.nodes.broken.add(self.offered[0])
        closing = self.run_now(incoming.finish())
        self.assertFalse(set(closing.devids) <= set(self.offered))
        self.run_now(incoming.abandon())
        self.assert_abandoned(incoming)
        recorded = set(self.world.tables.devids(incoming.fid))
        self.assertLessEqual(set(closing.devids), recorded)
