"""Closing uploads that the same tracker opened."""

from __future__ import annotations

from attrs import evolve
from twisted.internet.defer import Deferred

from koboldfs import errors
from koboldfs.cluster import namespace
from koboldfs.model.entities import Closing
from test.fakes.world import DOMAIN, World
from test.unit.cluster.test_namespace_close import DATA, CloseCase


class Remembered(CloseCase):
    """Uploads that this tracker opened itself."""

    def setUp(self) -> None:
        """An upload that was opened here."""
        self.world = World.of(3)
        opening = self.world.namespace.open(
            DOMAIN, "k", class_name=None, fid=5, multiple=False, size=None
        )
        self.offer = self.run_now(opening)
        self.place = self.world.place(self.offer.devids[0])
        self.world.nodes.put(self.place, 5, DATA)

    def close_offered(self, devid: int | None = None) -> Deferred[None]:
        """Close it, on the device that was offered if no other is said."""
        return self.close(devid=devid or self.offer.devids[0])

    def looked_up(self) -> int:
        """How often the database was asked for the upload."""
        calls = self.world.store.calls
        return sum(call[0] == "find_upload" for call in calls)

    def test_not_looked_up(self) -> None:
        """It need not be asked for; who closes it twice is told the truth twice."""
        self.successResultOf(self.close_offered())
        self.assertEqual(self.looked_up(), 0)
        self.successResultOf(self.close_offered())
        self.failureResultOf(self.close(devid=99), errors.NoUpload)
        self.assertEqual(self.looked_up(), 2)

    def test_expired(self) -> None:
        """That it is gone from the database, the closing itself finds out."""
        self.world.tables.settings["kobold_created"] = "1"
        self.world.look()
        self.world.tables.uploads.clear()
        self.failureResultOf(self.close_offered(), errors.NoUpload)
        self.assertEqual(self.world.tables.files, {})
        self.assertIn(5, self.world.tables.to_delete)

    def test_other_device(self) -> None:
        """What was offered is remembered."""
        other = next(n for n in (10, 20, 30) if n not in self.offer.devids)
        self.failureResultOf(self.close_offered(other), errors.InvalidDestination)
        self.assertEqual(self.world.tables.uploads, {})

    def test_not_for_ever(self) -> None:
        """Uploads that nobody closes are forgotten, the oldest first."""
        self.patch(namespace, "MAX_OPENED", 3)
        for number in range(6, 9):
            opening = self.world.namespace.open(
                DOMAIN, "x", class_name=None, fid=number, multiple=False, size=None
            )
            self.run_now(opening)
        self.assertEqual(len(self.world.namespace._opened), 3)
        self.successResultOf(self.close_offered())
        self.assertEqual(self.looked_up(), 1)

    def test_settled(self) -> None:
        """A file that has all it will ever want is not queued for replication."""
        self.world.add_class(7, "once", mindevcount=1, policy="MultipleHosts()")
        self.world.add_class(8, "twice", mindevcount=2, policy="MultipleHosts()")
        self.world.look()
        for fid, name in ((6, "once"), (7, "twice")):
            opening = self.world.namespace.open(
                DOMAIN, name, class_name=name, fid=fid, multiple=False, size=None
            )
            (devid,) = self.run_now(opening).devids
            self.world.nodes.put(self.world.place(devid), fid, DATA)
            self.successResultOf(self.close(fid=fid, key=name, devid=devid))
        self.assertEqual(set(self.world.tables.to_replicate), {7})

    def test_settled_on_a_dead_device(self) -> None:
        """A copy on a device that died meanwhile is none that is enough."""
        self.world.add_class(7, "once", mindevcount=1, policy="MultipleHosts()")
        self.world.look()
        opening = self.world.namespace.open(
            DOMAIN, "once", class_name="once", fid=6, multiple=False, size=None
        )
        (devid,) = self.run_now(opening).devids
        self.world.nodes.put(self.world.place(devid), 6, DATA)
        self.world.tables.devices[devid] = evolve(
            self.world.tables.devices[devid], status="dead"
        )
        self.world.look()
        self.successResultOf(self.close(fid=6, key="once", devid=devid))
        self.assertEqual(set(self.world.tables.to_replicate), {6})

    def test_settled_before_the_commit(self) -> None:
        """What was enough when it was stored may be too little at COMMIT."""
        self.world.add_class(7, "once", mindevcount=1, policy="MultipleHosts()")
        self.world.look()
        closings = []
        for fid in (6, 7):
            self.world.upload(fid, f"k{fid}", [10], 7)
            closings.append(Closing(fid, 1, f"k{fid}", 7, 4, (10,), settled=True))
        self.run_now(self.world.namespace.commit(closings[:1]))
        self.assertEqual(set(self.world.tables.to_replicate), set())
        self.world.add_class(7, "once", mindevcount=2, policy="MultipleHosts()")
        self.world.look()
        self.run_now(self.world.namespace.commit(closings[1:]))
        self.assertEqual(set(self.world.tables.to_replicate), {7})
