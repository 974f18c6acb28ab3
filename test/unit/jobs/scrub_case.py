"""A worker of the job `scrub`, in memory."""

from __future__ import annotations

from typing import Any

from koboldfs.cluster.scrubbing import Scrubbing
from koboldfs.jobs.fsck import FsckWorker
from koboldfs.jobs.mending import Mending, OwnChecksums
from koboldfs.jobs.scrub import ScrubWorker
from koboldfs.model.entities import Located
from koboldfs.model.scrub import Scrub
from test.fakes.world import World, WorldCase, start

DATA = b"the bytes"


class ScrubCase(WorldCase):
    """Three hosts with a device each, whose files want copies on all of them."""

    policy = "AllHosts()"

    def setUp(self) -> None:
        """The world."""
        self.world = World.of(3, kobold_policy=self.policy)
        self.scrubbing, self.worker = self.tracker("one")

    def tracker(self, owner: str) -> tuple[Scrubbing, ScrubWorker]:
        """The parts of a tracker of that name."""
        world = self.world
        store: Any = world.store
        scrubbing = Scrubbing(store.scrubs, world.live)
        checks = OwnChecksums(store, store, world.live, "", plans=False)
        inspector = FsckWorker(checks, store, world.copies, world.live, world.clock)
        mending = Mending(
            inspector, store.scrubs, store, store, world.copies, world.nodes
        )
        worker = ScrubWorker(
            scrubbing, mending, world.nodes, store, world.live, world.clock, owner
        )
        return scrubbing, worker

    def file(self, fid: int, *devids: int, **options: Any) -> Located:
        """A file with copies on these devices, or on all."""
        return self.world.file(fid, list(devids or (10, 20, 30)), DATA, **options)

    def damage(self, devid: int, fid: int) -> None:
        """A bit flips."""
        self.world.nodes.damage(self.world.place(devid), fid)

    def lose(self, devid: int, fid: int) -> None:
        """A copy vanishes."""
        self.world.nodes.lose(self.world.place(devid), fid)

    def bytes_on(self, devid: int, fid: int) -> bytes | None:
        """What a device's disk has of a fid."""
        copies = self.world.nodes.copies
        return copies.get((self.world.place(devid).host.hostid, devid, fid))

    def turns(self, worker: ScrubWorker | None = None, count: int = 30) -> None:
        """Steps, with time between them."""
        for _ in range(count):
            step = start((worker or self.worker).step())
            for _ in range(5):
                self.world.clock.advance(0)
            self.successResultOf(step)
            self.world.clock.advance(1)

    def scrub(self, *devids: int) -> None:
        """A whole pass over devices, or over all of them."""
        for devid in devids or (None,):
            self.run_now(self.scrubbing.start(devid))
        self.turns(count=60)
        for one in self.world.store.scrubs.scrubs.values():
            self.assertFalse(one.running)

    def stands(self, devid: int) -> Scrub:
        """How the scrub of a device stands."""
        return self.world.store.scrubs.scrubs[devid]

    def found(self, devid: int) -> dict[str, int]:
        """What the last pass over a device found, without what it did not."""
        counts = self.stands(devid).counts
        names = ("bad", "mended", "missing", "orphans", "lost")
        return {name: getattr(counts, name) for name in names if getattr(counts, name)}

    @property
    def events(self) -> list[tuple[int | None, str, int | None]]:
        """The log."""
        return [(one.fid, one.code, one.devid) for one in self.world.tables.fsck_log]

    def quarantined(self) -> list[tuple[int, int, str]]:
        """Device, fid and reason of what is in quarantine."""
        return [one[:3] for one in self.world.nodes.quarantine]
