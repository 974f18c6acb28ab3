"""The small jobs: reaping, sweeping, and recording room."""

from __future__ import annotations

from koboldfs.errors import DatabaseAway
from koboldfs.jobs.housekeeping import (
    GRACE_SECONDS,
    REAP_AGAIN_SECONDS,
    REAP_BATCH,
    ROOM_SECONDS,
    FailingDevices,
    Reaper,
    RoomRecorder,
)
from test.fakes.world import World, WorldCase


class Reaping(WorldCase):
    """`Reaper`."""

    def setUp(self) -> None:
        self.world = World.of(3)
        self.reaper = Reaper(self.world.store, self.world.live, self.world.clock)

    def set_device(self, devid: int, status: str) -> None:
        """The operator's word, seen by everybody."""
        self.run_now(self.world.store.update_device(devid, {"status": status}))
        self.world.look()

    def reap(self) -> bool:
        """One unit."""
        return self.run_now(self.reaper())

    def test_nothing_dead(self) -> None:
        """Living devices keep their files."""
        self.world.file(5, [10, 20])
        for status in ("alive", "readonly", "drain", "down"):
            self.set_device(10, status)
            self.world.clock.advance(1000)
            self.assertIs(self.reap(), False)
        self.assertEqual(self.world.called("reap"), [])

    def test_grace(self) -> None:
        """A newly dead device is left alone for a moment."""
        self.world.file(5, [10, 20])
        self.set_device(10, "dead")
        self.assertIs(self.reap(), False)
        self.world.clock.advance(GRACE_SECONDS - 0.1)
        self.assertIs(self.reap(), False)
        self.assertEqual(self.world.tables.devids(5), (10, 20))
        self.world.clock.advance(0.1)
        self.assertIs(self.reap(), True)
        self.assertEqual(self.world.tables.devids(5), (20,))
        self.assertEqual(self.world.tables.files[5].devcount, 1)
        self.assertIn(5, self.world.tables.to_replicate)

    def test_thought_again(self) -> None:
        """Who takes it back in time loses nothing, and has the whole grace anew."""
        self.world.file(5, [10])
        self.set_device(10, "dead")
        self.reap()
        self.world.clock.advance(GRACE_SECONDS - 1)
        self.set_device(10, "down")
        self.reap()
        self.set_device(10, "dead")
        self.reap()
        self.world.clock.advance(GRACE_SECONDS - 1)
        self.assertIs(self.reap(), False)
        self.assertEqual(self.world.called("reap"), [])

    def test_batches(self) -> None:
        """Batch after batch while there are any; then it is looked at once a minute."""
        for fid in range(1, REAP_BATCH + 3):
            self.world.tables.file_on.add((fid, 10))
        self.set_device(10, "dead")
        self.reap()
        self.world.clock.advance(GRACE_SECONDS)
        self.assertEqual([self.reap() for _ in range(5)], [True, True] + [False] * 3)
        self.assertEqual(self.world.called("reap"), [(10, REAP_BATCH)] * 3)
        self.world.file(5000, [10, 20])
        self.world.clock.advance(REAP_AGAIN_SECONDS - 1)
        self.assertIs(self.reap(), False)
        self.world.clock.advance(1)
        self.assertIs(self.reap(), True)
        self.assertEqual(self.world.tables.devids(5000), (20,))

    def test_two_devices(self) -> None:
        """Every dead device has its own time."""
        self.world.file(5, [10, 20, 30])
        self.set_device(10, "dead")
        self.reap()
        self.world.clock.advance(10)
        self.set_device(20, "dead")
        self.reap()
        self.world.clock.advance(GRACE_SECONDS - 10)
        self.reap()
        self.assertEqual(self.world.tables.devids(5), (20, 30))
        self.world.clock.advance(10)
        self.reap()
        self.assertEqual(self.world.tables.devids(5), (30,))

    def test_database_away(self) -> None:
        """A failure is the driver's business; the next unit goes on."""
        self.world.file(5, [10])
        self.set_device(10, "dead")
        self.reap()
        self.world.clock.advance(GRACE_SECONDS)
        self.world.store.failing["reap"] = [DatabaseAway()]
        self.fail_now(self.reaper(), DatabaseAway)
        self.assertIs(self.reap(), True)


class Room(WorldCase):
    """`RoomRecorder`."""

    def setUp(self) -> None:
        self.world = World.of(2)
        self.world.nodes.kib_total = {10: 2048, 20: 4096 * 1024}
        self.world.look()
        self.record = RoomRecorder(
            self.world.store, self.world.live, self.world.clock, lambda: 1234.9
        )

    def test_written(self) -> None:
        """What was seen is written in whole MB, with the time."""
        self.world.nodes.put(self.world.place(20), 5, bytes(3 * 2**20))
        self.world.look()
        self.assertIs(self.run_now(self.record()), False)
        first, second = self.world.tables.devices[10], self.world.tables.devices[20]
        self.assertEqual((first.mb_total, first.mb_used), (2, 0))
        self.assertEqual((second.mb_total, second.mb_used), (4096, 3))
        self.assertEqual(self.world.tables.mb_asof, {10: 1234, 20: 1234})

    def test_pace(self) -> None:
        """Not more often than every fifteen seconds."""
        self.run_now(self.record())
        self.world.nodes.kib_total[10] = 1024 * 1024
        self.world.look()
        self.world.store.calls.clear()
        self.world.clock.advance(ROOM_SECONDS - 0.1)
        self.run_now(self.record())
        self.assertEqual(self.world.called("update_device"), [])
        self.world.clock.advance(0.1)
        self.run_now(self.record())
        [(devid, values)] = self.world.called("update_device")
        self.assertEqual((devid, values["mb_total"]), (10, 1024))

    def test_unchanged(self) -> None:
        """What is the same as recorded is not written again."""
        self.run_now(self.record())
        self.world.look()
        self.world.store.calls.clear()
        self.world.clock.advance(ROOM_SECONDS)
        self.run_now(self.record())
        self.assertEqual(self.world.called("update_device"), [])

    def test_unknown(self) -> None:
        """A device without figures, or that is gone, is left alone."""
        self.world.nodes.unreachable.add(1)
        self.world.look()
        self.run_now(self.record())
        self.assertEqual(set(self.world.tables.mb_asof), {20})


class Failing(WorldCase):
    """`FailingDevices`."""

    def setUp(self) -> None:
        """Two trackers on three hosts, one of which does not trust its disk."""
        self.world = World.of(3)
        self.jobs = [self.tracker(), self.tracker()]

    def tracker(self) -> FailingDevices:
        """The job of one more."""
        return FailingDevices(self.world.store, self.world.live)

    def look(self, failing: str = "a flush failed") -> str:
        """The status of device 20 after both have looked."""
        if failing:
            self.world.nodes.distrusted[20] = failing
        else:
            self.world.nodes.distrusted.clear()
        self.world.look()
        for job in self.jobs:
            self.assertIs(self.run_now(job()), False)
        status: str = self.world.tables.devices[20].status
        return status

    def operator(self, status: str) -> None:
        """The operator's word."""
        self.run_now(self.world.store.update_device(20, {"status": status}))
        self.world.look()

    def test_readonly(self) -> None:
        """A failing device is set read-only, by one of the trackers; it stays so."""
        self.assertEqual(self.look(), "readonly")
        self.assertEqual(len(self.world.called("update_device")), 1)
        self.assertEqual(self.look(""), "readonly")
        self.assertFalse(self.world.live.view.may_receive(20))

    def test_operators_word(self) -> None:
        """An operator who sets it alive is not contradicted while it is the same
        trouble; only when it fails anew."""
        self.look()
        self.operator("alive")
        self.assertEqual(self.look(), "alive")
        self.assertEqual(self.look(""), "alive")
        self.assertEqual(self.look(), "readonly")

    def test_other_states(self) -> None:
        """One that the operator has set to something else stays so."""
        for status in ("drain", "down", "dead", "readonly"):
            self.operator(status)
            self.assertEqual(self.look(), status)

    def test_at_the_same_time(self) -> None:
        """The operator is faster than a tracker that does not know it yet."""
        self.world.nodes.distrusted[20] = "a flush failed"
        self.world.look()
        self.run_now(self.world.store.update_device(20, {"status": "dead"}))
        self.run_now(self.jobs[0]())
        self.assertEqual(self.world.tables.devices[20].status, "dead")
