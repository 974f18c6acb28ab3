"""Whether stores kept their promise, and how it is told."""

from __future__ import annotations

from attrs import evolve

from koboldfs.model.entities import Closing, HostReport
from koboldfs.model.promise import Keeping, Promise
from koboldfs.model.view import Health
from test.fakes.nodes import own_checksum
from test.fakes.world import DOMAIN, World, WorldCase

DATA = b"the bytes of the file"
SIZE = len(DATA)


class PromisesCase(WorldCase):
    """Some hosts, and a file that is stored there."""

    def store(self, world: World, fid: int = 5, **words: object) -> Promise | None:
        """Upload a file to device 10 and close it."""
        world.upload(fid, f"k{fid}", [10])
        world.nodes.put(world.place(10), fid, DATA)
        said = {"key": f"k{fid}", "size": len(DATA), "checksum": None, **words}
        closing = world.namespace.close(DOMAIN, fid=fid, devid=10, verify=False, **said)
        return self.run_now(closing)

    def keeping(self, world: World) -> Keeping:
        """What was counted."""
        return world.namespace.promises.keeping


class Answers(PromisesCase):
    """What a close returns."""

    def test_kept(self) -> None:
        """Two hosts, two copies."""
        world = World.of(3, kobold_ack_copies="2")
        self.assertEqual(self.store(world), Promise(2, 2))
        self.assertEqual(self.keeping(world), Keeping(1, 0, 0, SIZE))

    def test_short(self) -> None:
        """The other host is away: it is said, also when the close is repeated."""
        world = World.of(2, kobold_ack_copies="2")
        world.nodes.unreachable.add(2)
        world.look()
        self.assertEqual(self.store(world), Promise(1, 2))
        self.assertEqual(self.keeping(world), Keeping(1, 1, 0, SIZE))
        again = world.namespace.close(
            DOMAIN,
            fid=5,
            devid=10,
            key="k5",
            size=len(DATA),
            checksum=None,
            verify=False,
        )
        self.assertEqual(self.run_now(again), Promise(1, 2))
        self.assertEqual(self.keeping(world).stored, 1)

    def test_lost(self) -> None:
        """A copy on a lost device is none."""
        world = World.of(3, kobold_ack_copies="2", kobold_lost="20")
        promises = world.namespace.promises
        self.assertEqual(promises.of(1, 0, [10, 20]), Promise(1, 2))
        self.assertEqual(promises.of(1, 0, [10, 30]), Promise(2, 2))

    def test_one_host(self) -> None:
        """Where there is one host, a copy on it is all that AllHosts() wants."""
        world = World.of(1, kobold_ack_copies="2")
        self.assertEqual(self.store(world), Promise(1, 1))

    def test_policy_wants_less(self) -> None:
        """Nor is more promised than the class wants."""
        world = World.of(3, kobold_ack_copies="2", kobold_policy="MultipleHosts(1)")
        self.assertEqual(self.store(world), Promise(1, 1))

    def test_thrown_away(self) -> None:
        """An upload without a key promises nothing, and does not count."""
        world = World.of(3, kobold_ack_copies="2")
        self.assertIsNone(self.store(world, key=""))
        self.assertEqual(self.keeping(world), Keeping())


class Unsynced(PromisesCase):
    """Copies on nodes that do not say that their disks have them."""

    def closing(self, *devids: int) -> Closing:
        """A file with copies there."""
        return Closing(7, 1, "k", 0, len(DATA), devids, own_checksum(DATA))

    def test_counted(self) -> None:
        """With --no-fsync, or foreign: they count as copies, and are counted apart."""
        for report in (
            HostReport(2, True, kobold=True, fsync=False),
            HostReport(2, True, kobold=False),
        ):
            world = World.of(2, kobold_ack_copies="2")
            view = world.live.view
            hosts = {**view.health.hosts, 2: report}
            health = Health(hosts, view.health.devices)
            world.live.view = evolve(view, health=health)
            promises = world.namespace.promises
            promises.answered(self.closing(10))
            self.assertEqual(promises.keeping, Keeping(1, 1, 0, SIZE))
            promises.answered(self.closing(10, 20))
            self.assertEqual(promises.keeping, Keeping(2, 1, 1, 2 * SIZE))
