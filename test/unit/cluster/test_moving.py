"""Taking copies away: what goes, what stays, and what can go wrong on the way."""

from __future__ import annotations

from hashlib import md5
from typing import Any

from attrs import evolve

from koboldfs.cluster.moving import KEPT, MOVED, Moving
from koboldfs.errors import NodeFault
from koboldfs.model.entities import FSCK_TASK, MD5, Checksum, DeviceReport
from test.fakes.world import World, WorldCase


class MovingCase(WorldCase):
    """Files that want copies on two of three hosts, two devices each."""

    def setUp(self) -> None:
        """The world."""
        self.world = World.of(3, per_host=2, kobold_policy="MultipleHosts(2)")
        self.moving = Moving(self.world.copies, self.world.store)

    def state(self, devid: int, status: str) -> None:
        """An operator's word for a device."""
        devices = self.world.tables.devices
        devices[devid] = evolve(devices[devid], status=status)
        self.world.look()

    def off(self, located: Any, devid: int, targets: list[int] | None = None) -> str:
        """Take the copy off the device."""
        outcome: str = self.run_now(self.moving.off(located, devid, targets))
        return outcome

    def trim(self, located: Any) -> str:
        """Take one copy away."""
        outcome: str = self.run_now(self.moving.trim(located))
        return outcome

    def on(self, fid: int = 5) -> tuple[int, ...]:
        """Where it is recorded, which is also where its bytes are."""
        devids: tuple[int, ...] = self.world.tables.devids(fid)
        self.assertEqual(set(devids), self.world.nodes.devices_with(fid))
        return devids


class Off(MovingCase):
    """A device that shall have less."""

    def test_moved(self) -> None:
        """A new copy is made on another host, and the old one goes."""
        located = self.world.file(5, [10, 20])
        self.state(20, "drain")
        self.assertEqual(self.off(located, 20), MOVED)
        first, second = self.on()
        self.assertEqual(first, 10)
        self.assertIn(second, (21, 30, 31))
        self.assertEqual(self.world.tables.files[5].devcount, 2)

    def test_only_to_targets(self) -> None:
        """Copies are made on the devices that are named, and nowhere else."""
        located = self.world.file(5, [10, 20])
        self.assertEqual(self.off(located, 20, [31]), MOVED)
        self.assertEqual(self.on(), (10, 31))

    def test_would_be_worse(self) -> None:
        """A file does not lose a host because of it."""
        located = self.world.file(5, [10, 20])
        self.assertEqual(self.off(located, 20, [11]), KEPT)
        self.assertEqual(self.on(), (10, 20))

    def test_enough_without(self) -> None:
        """Nothing is copied when the others are enough; they are read first."""
        located = self.world.file(5, [10, 20, 30])
        self.assertEqual(self.off(located, 20), MOVED)
        self.assertEqual(self.on(), (10, 30))
        self.assertEqual(self.world.asked("copy"), [])
        self.assertEqual(len(self.world.asked("digest")), 2)

    def test_nowhere_to_go(self) -> None:
        """Without room elsewhere the copy stays."""
        located = self.world.file(5, [10, 20])
        for devid in (21, 30, 31):
            self.state(devid, "readonly")
        self.state(20, "drain")
        self.assertEqual(self.off(located, 20), KEPT)
        self.assertEqual(self.on(), (10, 20))

    def test_not_there(self) -> None:
        """A copy that is not recorded, or on a dead device, is off already."""
        located = self.world.file(5, [10, 20])
        self.assertEqual(self.off(located, 30), MOVED)
        self.state(20, "dead")
        self.assertEqual(self.off(located, 20), MOVED)
        self.assertEqual(self.world.asked("remove"), [])

    def test_may_not_delete(self) -> None:
        """Nothing is copied off a device that nothing can be removed from."""
        located = self.world.file(5, [10, 20])
        self.state(20, "readonly")
        self.assertEqual(self.off(located, 20), KEPT)
        self.assertEqual(self.world.asked("copy"), [])

    def test_failing(self) -> None:
        """From a draining device whose disk fails copies are moved, too; their bytes
        stay. Nor is that so for one that only takes no writes just now."""
        located = self.world.file(5, [20])
        self.world.nodes.readonly.add(20)
        self.state(20, "drain")
        self.assertEqual(self.off(located, 20), KEPT)
        self.assertEqual(self.on(), (20,))
        self.world.nodes.distrusted[20] = "a flush failed"
        self.world.look()
        self.assertFalse(self.world.live.view.may_delete_from(20))
        self.assertEqual(self.off(located, 20), MOVED)
        found = self.world.tables.devids(5)
        self.assertEqual(len(found), 2)
        self.assertEqual(self.world.nodes.devices_with(5), {20, *found})
        self.assertNotIn(20, found)
        self.state(20, "readonly")
        located = self.world.file(6, [20])
        self.assertEqual(self.off(located, 20), KEPT)

    def test_others_are_gone(self) -> None:
        """Copies that are only recorded do not count."""
        located = self.world.file(5, [10, 20, 30])
        self.world.nodes.lose(self.world.place(30), 5)
        self.assertEqual(self.off(located, 20), KEPT)
        self.assertEqual(self.world.tables.devids(5), (10, 20, 30))
        self.assertIn(20, self.world.nodes.devices_with(5))

    def test_others_have_rotted(self) -> None:
        """The last good copy stays, whatever the sizes say."""
        located = self.world.file(5, [10, 20, 30])
        for devid in (10, 30):
            self.world.nodes.damage(self.world.place(devid), 5)
        self.assertEqual(self.off(located, 20), KEPT)
        self.assertIn(20, self.on())

    def test_somebody_was_faster(self) -> None:
        """When another copy was taken away meanwhile, this one stays."""
        located = self.world.file(5, [10, 20, 30])
        self.world.tables.file_on.discard((5, 30))
        self.assertEqual(self.off(located, 20), KEPT)
        self.assertEqual(self.world.tables.devids(5), (10, 20))

    def test_cannot_be_removed(self) -> None:
        """The row comes back when the bytes stay."""
        located = self.world.file(5, [10, 20, 30])
        self.world.nodes.failing["remove"] = [NodeFault("not now")]
        self.assertEqual(self.off(located, 20), KEPT)
        self.assertEqual(self.on(), (10, 20, 30))

    def test_without_checksum(self) -> None:
        """A file that MogileFS stored is taken at its length, and learns a checksum
        when a copy is made."""
        located = self.world.file(5, [10, 20], checksum=False)
        self.assertEqual(self.off(located, 20), MOVED)
        self.assertIn(5, self.world.tables.own_checksums)
        located = self.world.file(6, [10, 20, 30], checksum=False)
        self.assertEqual(self.off(located, 20), MOVED)
        self.assertEqual(self.on(6), (10, 30))

    def test_without_ours(self) -> None:
        """One of MogileFS is compared with the checksum that its class asked for."""
        self.world.tables.class_checksums[5] = Checksum(MD5, md5(b"the bytes").digest())
        located = self.world.file(5, [10, 20, 30], checksum=False)
        for devid in (20, 30):
            self.world.nodes.damage(self.world.place(devid), 5)
        self.assertEqual(self.off(located, 10), KEPT)
        self.assertEqual(self.on(), (10, 20, 30))
        self.world.nodes.put(self.world.place(30), 5, b"the bytes")
        self.assertEqual(self.off(located, 10), KEPT)
        self.world.nodes.put(self.world.place(20), 5, b"the bytes")
        self.assertEqual(self.off(located, 10), MOVED)


class Stays(MovingCase):
    """A device that is in state drain for the time of a rebalance."""

    def setUp(self) -> None:
        """Files want a copy on every host."""
        super().setUp()
        self.world.tables.settings["kobold_policy"] = "AllHosts()"
        self.located = self.world.file(5, [10, 20, 30])
        self.state(20, "drain")
        self.state(21, "drain")

    def test_host_keeps_its_copy(self) -> None:
        """What it has is not too much, although its host wants no files for now."""
        off = self.moving.off(self.located, 20, [11, 31], stays=True)
        self.assertEqual(self.run_now(off), KEPT)
        self.assertEqual(self.on(), (10, 20, 30))
        self.assertEqual(self.off(self.located, 20, [11, 31]), MOVED)
        self.assertEqual(self.on(), (10, 30))

    def test_on_the_same_host(self) -> None:
        """Its files go to another device of its host."""
        self.state(21, "alive")
        off = self.moving.off(self.located, 20, [21, 31], stays=True)
        self.assertEqual(self.run_now(off), MOVED)
        self.assertEqual(self.on(), (10, 21, 30))


class Trim(MovingCase):
    """A file with too many copies."""

    def test_one_at_a_time(self) -> None:
        """The fullest goes, and no copy that the policy wants."""
        self.world.nodes.kib_total[20] = 1000 * 1024
        self.world.file(4, [20], b"x" * 2_000_000)
        self.world.look()
        located = self.world.file(5, [10, 20, 30])
        self.assertEqual(self.trim(located), MOVED)
        self.assertEqual(self.on(), (10, 30))
        located = self.world.tables.located(5, checksum=True)
        self.assertEqual(self.trim(located), KEPT)

    def test_beside_another(self) -> None:
        """Of two on one host one goes before the only one of another host."""
        located = self.world.file(5, [10, 11, 20])
        self.assertEqual(self.trim(located), MOVED)
        self.assertEqual(len(self.world.copies.hosts_of(self.on())), 2)

    def test_draining_first(self) -> None:
        """What is on a draining device goes first."""
        located = self.world.file(5, [10, 20, 30])
        self.state(30, "drain")
        self.assertEqual(self.trim(located), MOVED)
        self.assertEqual(self.on(), (10, 20))

    def test_away_is_not_good(self) -> None:
        """Copies on a host that is away do not make others superfluous."""
        located = self.world.file(5, [10, 20, 30])
        self.world.nodes.unreachable.add(3)
        self.world.look()
        self.assertEqual(self.trim(located), KEPT)
        self.assertEqual(self.world.tables.devids(5), (10, 20, 30))

    def test_one_has_rotted(self) -> None:
        """Every copy that is to remain is read; one that is bad does not count, and is
        mended."""
        for devid in (10, 30):
            located = self.world.file(devid, [10, 20, 30])
            self.world.nodes.damage(self.world.place(devid), devid)
            self.state(20, "drain")
            self.assertEqual(self.trim(located), KEPT)
            self.assertEqual(self.world.tables.devids(devid), (10, 20, 30))
            self.assertIn((FSCK_TASK, devid), self.world.tables.tasks)

    def test_full(self) -> None:
        """A device that is full gives its copies up, when it drains and otherwise."""
        located = self.world.file(5, [10, 20])
        self.state(20, "drain")
        view = self.world.live.view
        for full, outcome in ((False, KEPT), (True, MOVED)):
            seen = DeviceReport(20, "readable", full=full)
            health = evolve(view.health, devices={**view.health.devices, 20: seen})
            self.world.live._offer(evolve(view, health=health))
            self.assertEqual(self.off(located, 20), outcome)
        self.assertNotIn(20, self.on())

    def test_unreadable(self) -> None:
        """When no copy can be read and compared, none goes."""
        located = self.world.file(5, [10, 20, 30])
        self.world.nodes.failing["digest"] = [NodeFault("x")] * 9
        self.assertEqual(self.trim(located), KEPT)
        self.world.nodes.failing["digest"] = []
        self.world.nodes.failing["stat"] = [NodeFault("x")] * 9
        self.assertEqual(self.trim(located), KEPT)
        self.assertEqual(self.on(), (10, 20, 30))
