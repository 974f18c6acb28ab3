"""Copies: the policy of a class, the promise of a store, and reading on."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from attrs import evolve

from koboldfs.errors import CopyMissing, NodeFault, NodeUnreachable
from koboldfs.model.entities import Located, Place
from koboldfs.model.policy import AllHosts, MultipleDevices, MultipleHosts
from test.fakes.nodes import MemoryNodes, own_checksum
from test.fakes.world import World, WorldCase, start

DATA = bytes(range(256)) * 20


class Sink:
    """A consumer that keeps what it gets; it pauses its producer after each write."""

    def __init__(self) -> None:
        self.data = b""
        self.producers: list[Any] = []

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """One more copy begins to flow."""
        self.producers.append(producer)

    def unregisterProducer(self) -> None:
        """It is over."""

    def write(self, data: bytes) -> None:
        """Take it."""
        self.data += data


class BreakingNodes(MemoryNodes):
    """Nodes that break off while they are read."""

    breaks: dict[int, tuple[int, Exception]]

    async def read(
        self, place: Place, fid: int, start: int, length: int | None, consumer: Any
    ) -> int:
        """Some bytes, and then an error, of the devices in `breaks`."""
        if place.devid not in self.breaks:
            return await super().read(place, fid, start, length, consumer)
        count, error = self.breaks[place.devid]
        self.calls.append(("read", place.devid, fid, start, length))
        consumer.write(self.copies[place.host.hostid, place.devid, fid][start:][:count])
        raise error


class Policies(WorldCase):
    """What a class asks for."""

    def test_default(self) -> None:
        """The setting counts for classes without a policy; unset it is AllHosts."""
        world = World.of(1)
        self.assertEqual(world.copies.policy_of(1, 0), (AllHosts(), 2))
        world = World.of(1, kobold_policy="MultipleHosts()")
        self.assertEqual(world.copies.policy_of(1, 0), (MultipleHosts(), 2))

    def test_class(self) -> None:
        """A class's own policy and mindevcount count."""
        world = World.of(1, kobold_policy="MultipleHosts()")
        world.add_class(3, "c", mindevcount=5, policy="MultipleDevices(4)")
        world.look()
        self.assertEqual(world.copies.policy_of(1, 3), (MultipleDevices(4), 5))

    def test_not_understood(self) -> None:
        """A text that is not known here is kept at MultipleHosts, never at less."""
        world = World.of(1, kobold_policy="AllHosts()")
        world.add_class(3, "c", mindevcount=5, policy="HostsPerNetwork(near=2)")
        world.look()
        self.assertEqual(world.copies.policy_of(1, 3), (MultipleHosts(), 5))

    def test_promised_hosts(self) -> None:
        """A number of at least one; nonsense is one."""
        for text, wanted in (("2", 2), ("3", 3), ("0", 1), ("-1", 1), ("two", 1)):
            world = World.of(1, kobold_ack_copies=text)
            self.assertEqual(world.copies.promised_hosts(), wanted)
        self.assertEqual(World.of(1).copies.promised_hosts(), 1)

    def test_dead_devices_hold_nothing(self) -> None:
        """A copy on a dead device does not count for the policy."""
        world = World.of(2)
        device = world.tables.devices[20]
        world.tables.devices[20] = evolve(device, status="dead")
        world.add_host(3)
        world.look()
        self.assertEqual(world.copies.judge(1, 0, (10, 20), 0).devids, (30,))

    def test_on_new_hosts(self) -> None:
        """The first few on hosts without a copy, one each, in order."""
        copies = World.of(4, per_host=2).copies
        devids = [11, 20, 21, 31, 30, 40]
        self.assertEqual(copies.on_new_hosts(devids, (10,), 9), [20, 31, 40])
        self.assertEqual(copies.on_new_hosts(devids, (10, 99), 2), [20, 31])
        self.assertEqual(copies.on_new_hosts(devids, (10,), 0), [])


class PromiseCase(WorldCase):
    """A file that was just stored on one device."""

    def set_up(self, hosts: int, ack: int = 2, **options: Any) -> World:
        """A cluster whose stores promise `ack` copies."""
        self.world = World.of(hosts, kobold_ack_copies=str(ack), **options)
        return self.world

    def stored(self, devids: tuple[int, ...] = (10,)) -> Located:
        """The file, nowhere recorded yet."""
        located = self.world.file(5, list(devids), DATA)
        return evolve(located, devids=devids)

    def promise(
        self, located: Located | None = None, preferred: Collection[int] = ()
    ) -> tuple[int, ...]:
        """The devices with a copy when the promise holds."""
        located = located or self.stored()
        devids = self.run_now(self.world.copies.promise(located, preferred))
        self.assertEqual(len(set(devids)), len(devids))
        for devid in devids:
            self.assertEqual(self.world.nodes.copies[devid // 10, devid, 5], DATA)
        return devids


class Promises(PromiseCase):
    """`Copies.promise`."""

    def test_one(self) -> None:
        """One copy is promised, one is there: nothing is copied."""
        self.set_up(3, ack=1)
        self.assertEqual(self.promise(), (10,))
        self.assertEqual(self.world.asked("copy"), [])

    def test_two(self) -> None:
        """Two on different hosts, and no third, though the policy wants it."""
        self.set_up(3, per_host=2)
        first, second = self.promise()
        self.assertEqual(first, 10)
        self.assertIn(second, (20, 21, 30, 31))

    def test_preferred(self) -> None:
        """A device that the upload has reserved is taken first."""
        for devid in (20, 30):
            self.set_up(3)
            self.assertEqual(self.promise(preferred=(10, devid)), (10, devid))

    def test_preferred_that_cannot(self) -> None:
        """A reserved device that takes no files now is passed over."""
        self.set_up(3)
        self.world.nodes.readonly.add(20)
        self.world.look()
        self.assertEqual(self.promise(preferred=(10, 20, 99)), (10, 30))

    def test_second_host_fails(self) -> None:
        """A host that fails is replaced by a third one."""
        self.set_up(3)
        self.world.nodes.unreachable.add(2)
        self.assertEqual(self.promise(preferred=(20,)), (10, 30))

    def test_all_others_fail(self) -> None:
        """With no other host left the store is answered with what there is."""
        self.set_up(3)
        self.world.nodes.unreachable.update((2, 3))
        self.assertEqual(self.promise(), (10,))

    def test_bounded(self) -> None:
        """In a large cluster that fails, not every host is tried."""
        self.set_up(30)
        self.world.nodes.unreachable.update(range(2, 31))
        self.assertEqual(self.promise(), (10,))
        self.assertEqual(len(self.world.asked("copy")), 4)

    def test_fewer_hosts_are_up(self) -> None:
        """Hosts that are known to be away are not waited for."""
        self.set_up(3, ack=3)
        self.world.nodes.unreachable.add(3)
        self.world.look()
        self.assertEqual(self.promise(), (10, 20))

    def test_one_host(self) -> None:
        """A cluster of one host keeps what promise it can."""
        self.set_up(1, per_host=3)
        self.assertEqual(self.promise(), (10,))

    def test_never_more_than_the_policy(self) -> None:
        """A class that wants one copy gets one, whatever stores promise."""
        self.set_up(3, kobold_policy="MultipleHosts(1)")
        self.assertEqual(self.promise(preferred=(20, 30)), (10,))

    def test_not_even_when_offered(self) -> None:
        """An upload that was offered three hosts gets no more than its policy wants."""
        self.set_up(4, ack=3, kobold_policy="MultipleHosts(2)")
        self.assertEqual(len(self.promise(preferred=(10, 20, 30))), 2)

    def test_three_at_once(self) -> None:
        """All missing copies are made side by side."""
        self.set_up(4, ack=3)
        devids = self.promise()
        self.assertEqual(len({devid // 10 for devid in devids}), 3)

    def test_already_there(self) -> None:
        """Copies that the client made itself count."""
        self.set_up(3)
        self.assertEqual(self.promise(self.stored((10, 20))), (10, 20))
        self.assertEqual(self.world.asked("copy"), [])

    def test_suspects(self) -> None:
        """Both sides of a copy that could not be made are looked at."""
        self.set_up(2)
        self.world.live.startService()
        self.addCleanup(self.world.live.stopService)
        located = self.stored()
        self.world.nodes.failing["copy"] = [NodeUnreachable("no")]
        self.world.nodes.calls.clear()
        self.promise(located)
        self.assertEqual({call[0] for call in self.world.asked("survey")}, {1, 2})

    def test_reserve(self) -> None:
        """What a store will copy to can be known before."""
        world = self.set_up(3)
        [devid] = world.copies.reserve(1, 0, [10], 0)
        self.assertIn(devid, (20, 30))
        self.assertEqual(world.copies.reserve(1, 0, [10, 20], 0), [])
        self.set_up(3, kobold_policy="MultipleHosts(1)")
        self.assertEqual(self.world.copies.reserve(1, 0, [10], 0), [])


class Spreading(PromiseCase):
    """`Copies.spread`."""

    def test_target_that_is_gone(self) -> None:
        """A target that is not in the picture any more has failed."""
        self.set_up(2)
        done = self.run_now(self.world.copies.spread(self.stored(), [99]))
        self.assertEqual((done.devids, done.failed), ([10], {99}))

    def test_source_that_is_gone(self) -> None:
        """A source that is not in the picture is passed over."""
        self.set_up(3)
        located = evolve(self.stored((10, 20)), devids=(10, 20, 99))
        done = self.run_now(self.world.copies.spread(located, [30]))
        self.assertIn(30, done.devids)

    def test_bad_source_is_asked_once(self) -> None:
        """A source that was found bad is not asked for the other copies."""
        self.set_up(9)
        located = self.stored((10, 20))
        self.world.nodes.damage(self.world.place(10), 5)
        targets = [30, 40, 50, 60, 70, 80, 90]
        done = self.run_now(self.world.copies.spread(located, targets))
        self.assertEqual(done.bad_sources, {10})
        sources = [call[0] for call in self.world.asked("copy")]
        self.assertEqual((sources.count(10), sources.count(20)), (1, 7))
        for devid in targets:
            self.assertEqual(self.world.nodes.copies[devid // 10, devid, 5], DATA)

    def test_checksum(self) -> None:
        """A checksum that nobody knew is in the result."""
        self.set_up(2)
        located = evolve(self.stored(), checksum=None)
        done = self.run_now(self.world.copies.spread(located, [20]))
        self.assertEqual(done.checksum, own_checksum(DATA))

    def test_no_source(self) -> None:
        """Without a readable copy every target has failed."""
        self.set_up(2)
        located = self.stored()
        self.world.nodes.unreachable.add(1)
        self.world.look()
        done = self.run_now(self.world.copies.spread(located, [20]))
        self.assertEqual((done.devids, done.failed), ([10], {20}))


class Reading(WorldCase):
    """`Copies.read`."""

    def setUp(self) -> None:
        self.world = World.of(3)
        self.nodes = BreakingNodes(self.world.clock)
        self.nodes.breaks = {}
        self.world.use(self.nodes)
        self.located = self.world.file(5, [10, 20, 30], DATA)
        self.sink = Sink()

    def read(self, start: int = 0, length: int | None = None) -> int:
        """Into the sink."""
        reading = self.world.copies.read(self.located, start, length, self.sink)
        return self.run_now(reading)

    def starts(self) -> list[int]:
        """From where each copy was read."""
        return [call[2] for call in self.world.asked("read")]

    def test_whole(self) -> None:
        """All bytes, from one copy."""
        self.assertEqual(self.read(), len(DATA))
        self.assertEqual(self.sink.data, DATA)
        self.assertEqual(self.starts(), [0])

    def test_range(self) -> None:
        """Some bytes; what is beyond the end is not there."""
        self.assertEqual(self.read(100, 50), 50)
        self.assertEqual(self.sink.data, DATA[100:150])
        self.sink = Sink()
        self.assertEqual(self.read(5000, 5000), len(DATA) - 5000)
        self.assertEqual(self.sink.data, DATA[5000:])

    def test_nothing(self) -> None:
        """Nothing is asked for: no node is asked."""
        for offset, length in ((0, 0), (len(DATA), None), (len(DATA) + 5, 10)):
            self.assertEqual(self.read(offset, length), 0)
        self.assertEqual(self.starts(), [])

    def test_goes_on_at_the_offset(self) -> None:
        """When a copy breaks off another one goes on where it stopped."""
        for devid in (10, 20):
            self.nodes.breaks[devid] = (1000, NodeFault("broke off"))
        self.nodes.breaks[30] = (0, NodeFault("broken"))
        self.failed_until(2000)
        del self.nodes.breaks[30]
        self.sink = Sink()
        self.assertEqual(self.read(), len(DATA))
        self.assertEqual(self.sink.data, DATA)

    def failed_until(self, count: int) -> None:
        """The read fails; so many bytes were right until then."""
        reading = self.world.copies.read(self.located, 0, None, self.sink)
        self.fail_now(reading, NodeFault)
        self.assertEqual(self.sink.data, DATA[:count])
        self.assertEqual(self.starts()[0], 0)
        self.assertEqual(max(self.starts()) in (1000, 2000), True)

    def test_range_goes_on(self) -> None:
        """Also in a range, and never beyond it."""
        for devid in (10, 20):
            self.nodes.breaks[devid] = (30, NodeFault("broke off"))
        self.assertEqual(self.read(100, 80), 80)
        self.assertEqual(self.sink.data, DATA[100:180])

    def test_short_copy(self) -> None:
        """A copy that is too short, without saying so, is completed from another."""
        for devid in (10, 20):
            self.nodes.put(self.world.place(devid), 5, DATA[:700])
        self.assertEqual(self.read(), len(DATA))
        self.assertEqual(self.sink.data, DATA)

    def test_all_short(self) -> None:
        """Bytes that no copy has are an error, not the end of the file."""
        for devid in (10, 20, 30):
            self.nodes.put(self.world.place(devid), 5, DATA[:700])
        reading = self.world.copies.read(self.located, 0, None, self.sink)
        self.fail_now(reading, CopyMissing)

    def test_copies_that_seem_away(self) -> None:
        """As a last resort, a copy that was not seen is asked; a dead one never is."""
        self.nodes.unreachable.update((1, 2, 3))
        self.world.look()
        self.nodes.unreachable.clear()
        for devid in (10, 20):
            device = self.world.tables.devices[devid]
            self.world.tables.devices[devid] = evolve(device, status="dead")
        self.run_now(self.world.live.refresh())
        self.assertEqual(self.read(), len(DATA))
        self.assertEqual([call[0] for call in self.world.asked("read")], [30])

    def test_no_copy(self) -> None:
        """A file without copies cannot be read."""
        located = evolve(self.located, devids=())
        reading = self.world.copies.read(located, 0, None, self.sink)
        self.fail_now(reading, CopyMissing)

    def test_unknown_host(self) -> None:
        """A device whose host is not known is passed over."""
        del self.world.tables.hosts[1]
        self.run_now(self.world.live.refresh())
        located = evolve(self.located, devids=(10,))
        self.fail_now(self.world.copies.read(located, 0, None, self.sink), CopyMissing)

    def test_suspects(self) -> None:
        """A host that does not answer is looked at; one that answers badly is not."""
        self.world.live.startService()
        self.addCleanup(self.world.live.stopService)
        self.nodes.breaks = {
            10: (0, NodeUnreachable("away")),
            20: (0, NodeFault("bad")),
            30: (0, NodeFault("bad")),
        }
        suspected: list[int] = []
        self.patch(self.world.live, "suspect", suspected.append)
        reading = self.world.copies.read(self.located, 0, None, self.sink)
        self.fail_now(reading, NodeFault)
        self.assertEqual(suspected, [1])

    def test_backpressure(self) -> None:
        """A reader that pauses holds up the node, not the tracker's memory."""

        class Slow(Sink):
            def write(self, data: bytes) -> None:
                super().write(data)
                self.producers[-1].pauseProducing()

        slow = Slow()
        reading = start(self.world.copies.read(self.located, 0, None, slow))
        self.assertEqual(slow.data, DATA[:1024])
        for _ in range(5):
            self.assertNoResult(reading)
            slow.producers[-1].resumeProducing()
        self.successResultOf(reading)
        self.assertEqual(slow.data, DATA)
