"""A pass of the scrub in which one call fails, whichever: of the database, before or
after it was done, or of a node. What comes after it mends all the same."""

from __future__ import annotations

from random import Random
from typing import Any

from twisted.internet.defer import Deferred

from koboldfs.cluster.moving import Moving
from koboldfs.cluster.scrubbing import LEASE_SECONDS
from koboldfs.errors import DatabaseAway, KoboldError, NodeFault
from koboldfs.jobs.replicate import ReplicateWorker
from test.fakes.nodes import MemoryNodes, own_checksum
from test.fakes.store import MemoryStore
from test.fakes.store_scrubs import MemoryScrubs
from test.fakes.world import World, start
from test.unit.jobs.scrub_case import DATA, ScrubCase

#: Passes over the devices until nothing is left to be mended, beside replication.
PASSES = 2
#: Calls of a kind that fail in turn: those of the first pass.
MOST_CALLS = 40
#: What changes something in the database, of what a pass calls.
CHANGES = (
    *((MemoryScrubs, name) for name in ("begin", "advance", "finish", "record")),
    *((MemoryScrubs, name) for name in ("note_lost", "forget_lost")),
    *((MemoryStore, name) for name in ("change_copies", "queue_tasks")),
)


class Faults(ScrubCase):
    """See the module."""

    def prepare(self) -> None:
        """A world in which there is some of everything to be mended."""
        self.world = World.of(3, kobold_policy=self.policy)
        self.scrubbing, self.worker = self.tracker("one")
        moving = Moving(self.world.copies, self.world.store)
        args = (self.world.store, self.world.copies, moving, Random(1))
        self.replicate = ReplicateWorker(*args)
        for fid in (1, 2, 3, 4):
            self.file(fid)
        self.file(5, 20, 30)
        self.file(6, checksum=False)
        self.damage(10, 1)
        self.lose(10, 2)
        for devid in (10, 20, 30):
            self.damage(devid, 3)
        self.damage(20, 4)
        self.damage(20, 5)
        for fid in (5, 77):
            self.world.nodes.put(self.world.place(10), fid, DATA)
        self.world.store.scrubs.highest = 900

    def step(self, work: Any) -> None:
        """One unit of work, which may fail."""
        done = start(work)
        for _ in range(5):
            self.world.clock.advance(0)
        done.addErrback(lambda failure: failure.trap(KoboldError) and None)
        self.successResultOf(done)

    def passes(self) -> None:
        """Scrub all devices, and replicate."""
        for _ in range(PASSES):
            self.step(self.scrubbing.start())
            for _ in range(14):
                self.step(self.worker.step())
                self.world.clock.advance(4)
            for _ in range(3):
                self.step(self.replicate.step())
                self.world.clock.advance(100)

    def assert_mended(self, when: object) -> None:
        """All is as it should be, whatever failed."""
        tables = self.world.tables
        for fid in (1, 2, 4, 5, 6):
            self.assertEqual(tables.devids(fid), (10, 20, 30), (when, fid))
            for devid in (10, 20, 30):
                self.assertEqual(self.bytes_on(devid, fid), DATA, (when, fid, devid))
        self.assertEqual(list(self.world.store.scrubs.lost), [3], when)
        self.assertEqual(tables.devids(3), (10, 20, 30), when)
        kept = [one[1] for one in self.world.nodes.quarantine]
        self.assertEqual(kept.count(3), 3, when)
        self.assertEqual(kept.count(77), 1, when)
        self.assertEqual(tables.own_checksums[6], own_checksum(DATA), when)
        self.assertIn(1, tables.files)

    def each(self, least: int) -> None:
        """Let each call fail in turn that asks `fails`; there are so many, at least."""
        number = last = 0
        while number <= last:
            self.left = self.count = 0
            self.prepare()
            self.left, self.count = number, 0
            self.passes()
            self.assert_mended(number)
            last = last or min(self.count, MOST_CALLS)
            number += 1
        self.assertGreaterEqual(last, least)

    def fails(self) -> bool:
        """Whether the call that asks is the one that is to fail."""
        self.count += 1
        return self.count == self.left

    def test_database(self) -> None:
        """Calls of the database that are not done."""
        enter = MemoryStore.enter

        async def may_fail(store: Any, method: str, *arguments: Any) -> None:
            if self.fails():
                raise DatabaseAway()
            await enter(store, method, *arguments)

        self.patch(MemoryStore, "enter", may_fail)
        self.each(MOST_CALLS)

    def test_database_done(self) -> None:
        """Changes that are made, and nobody is told."""
        for kind, name in CHANGES:
            self.patch(kind, name, self.after(getattr(kind, name)))
        self.each(30)

    def test_nodes(self) -> None:
        """Calls of nodes."""
        planned = MemoryNodes._raise_planned

        def may_fail(nodes: Any, method: str) -> None:
            if self.fails():
                raise NodeFault("no")
            planned(nodes, method)

        self.patch(MemoryNodes, "_raise_planned", may_fail)
        self.each(MOST_CALLS)

    def after(self, method: Any) -> Any:
        """The method, which may fail when it has done its work."""

        async def done(store: Any, *arguments: Any) -> Any:
            found = await method(store, *arguments)
            if self.fails():
                raise DatabaseAway()
            return found

        return done

    def test_lease_lost_in_a_repair(self) -> None:
        """A tracker that stands still in the middle of a repair, at any change, until
        another one has done all of it, spoils nothing when it goes on."""
        for method in ("record", "advance_scrub", "change_copies", "note_lost"):
            self.left = 0
            self.prepare()
            gate = self.world.store.gates[method] = Deferred[None]()
            self.run_now(self.scrubbing.start())
            late = start(self.worker.step())
            self.world.clock.advance(2 * LEASE_SECONDS)
            del self.world.store.gates[method]
            self.scrubbing, self.worker = self.tracker("two")
            self.passes()
            self.assert_mended(method)
            gate.callback(None)
            self.world.clock.advance(1)
            late.addErrback(lambda failure: failure.trap(KoboldError) and None)
            self.passes()
            self.assert_mended((method, "late"))
