"""A worker of the job `fsck` and its tracker, in memory."""

from __future__ import annotations

from typing import Any

from koboldfs.cluster.checks import Checks, Wanted
from koboldfs.jobs.fsck import FsckWorker
from test.fakes.world import World, WorldCase, start


class FsckCase(WorldCase):
    """A worker over three hosts, whose files want copies on two of them."""

    def setUp(self) -> None:
        """The world."""
        self.world = World.of(3, kobold_policy="MultipleHosts(2)")
        self.checks, self.worker = self.tracker("one")

    def tracker(self, name: str) -> tuple[Checks, FsckWorker]:
        """The parts of a tracker of that name."""
        world = self.world
        checks = Checks(world.store, world.store, world.live, name)
        worker = FsckWorker(checks, world.store, world.copies, world.live, world.clock)
        return checks, worker

    def turn(self, worker: FsckWorker | None = None) -> None:
        """Steps until nothing is left to do at once."""
        for _ in range(20):
            self.run_now((worker or self.worker).step())
            self.world.clock.advance(0)

    def long_step(self) -> None:
        """A step that lets others have their turn in between."""
        step = start(self.worker.step())
        for _ in range(20):
            self.world.clock.advance(0)
        self.successResultOf(step)

    def check(self, **wanted: Any) -> None:
        """A whole run."""
        self.run_now(self.checks.start(Wanted(**wanted) if wanted else None))
        self.turn()

    @property
    def events(self) -> list[tuple[str, int | None]]:
        """The log's codes and devices."""
        return [(one.code, one.devid) for one in self.world.tables.fsck_log]

    def status(self) -> dict[str, Any]:
        """The fields of fsck_status."""
        fields: dict[str, Any] = self.run_now(self.checks.status())
        return fields
