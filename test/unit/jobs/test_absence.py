"""Devices that are away too long: what is written of it, and what becomes of files."""

from __future__ import annotations

from random import Random

from attrs import evolve
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from koboldfs.cluster.copies import Copies
from koboldfs.cluster.live import LiveView
from koboldfs.cluster.moving import Moving
from koboldfs.errors import DatabaseAway
from koboldfs.jobs import absence
from koboldfs.jobs.absence import STEADY_SECONDS, Absence, AbsenceWalk
from koboldfs.jobs.delete import GRACE_SECONDS, DeleteWorker
from koboldfs.jobs.replicate import ReplicateWorker
from koboldfs.model.absence import AWAY_SETTING, LOST_AFTER_SETTING, WALK_SETTING
from koboldfs.model.entities import Closing
from koboldfs.model.view import LATE_SETTING, LOST_SETTING
from test.fakes.world import DOMAIN, World, WorldCase

AFTER = 120


class AbsenceCase(WorldCase):
    """Four hosts; files want two copies; what is away for two minutes is lost."""

    def setUp(self) -> None:
        settings = {"kobold_policy": "MultipleHosts(2)", LOST_AFTER_SETTING: str(AFTER)}
        self.world = world = World.of(4, **settings)
        self.absence = self.another(world.live)
        self.walk = AbsenceWalk(
            world.store, world.store, world.store, world.copies, world.live
        )
        moving = Moving(world.copies, world.store)
        self.replicate = ReplicateWorker(world.store, world.copies, moving, Random(1))
        world.live.observe(self.replicate.notice)

    def another(self, live: LiveView) -> Absence:
        """The job of a tracker with that picture."""
        return Absence(self.world.store, self.world.store, live, self.world.clock)

    def setting(self, name: str) -> str | None:
        """As it is recorded."""
        value: str | None = self.world.tables.settings.get(name)
        return value

    def go_on(self, seconds: int, step: int = 1) -> None:
        """Time passes, and the tracker looks once in `step` seconds."""
        for _ in range(0, seconds, step):
            self.world.clock.advance(step)
            self.world.look()
            self.run_now(self.absence())

    def lose(self, *hostids: int) -> None:
        """The hosts go, and nobody sees them until they are lost."""
        self.go_on(int(STEADY_SECONDS))
        self.world.nodes.unreachable.update(hostids)
        self.go_on(AFTER + 20)

    def walk_all(self) -> None:
        """Until there is nothing to look through."""
        while self.run_now(self.walk()):
            pass

    def replicate_all(self) -> None:
        """Until nothing is due."""
        while self.run_now(self.replicate.step()):
            pass

    def said(self) -> list[str]:
        """What is logged from now on."""
        lines: list[str] = []

        def note(event: LogEvent) -> None:
            lines.append(formatEvent(event))

        globalLogPublisher.addObserver(note)
        self.addCleanup(globalLogPublisher.removeObserver, note)
        return lines

    def on(self, fid: int) -> tuple[int, ...]:
        """Where a file is recorded."""
        devids: tuple[int, ...] = self.world.tables.devids(fid)
        return devids


class Counting(AbsenceCase):
    """`Absence`."""

    def test_quiet(self) -> None:
        """While all is there, nothing is asked of the database."""
        self.go_on(60)
        self.assertEqual(self.world.called("setting"), [])
        self.assertEqual(self.world.called("change_settings"), [])

    def test_lost(self) -> None:
        """A host that is away for so long is lost, and not before."""
        self.go_on(int(STEADY_SECONDS))
        self.world.nodes.unreachable.add(2)
        self.go_on(AFTER - 2)
        self.assertIsNone(self.setting(LOST_SETTING))
        self.assertIn("20:", self.setting(AWAY_SETTING) or "")
        self.go_on(20)
        self.assertEqual(self.setting(LOST_SETTING), "20")
        self.assertIsNone(self.setting(AWAY_SETTING))
        self.assertEqual(self.world.live.view.lost, {20})
        counts = len(self.world.called("change_settings"))
        self.assertLess(counts, 2 * AFTER / 15 + 5)
        self.world.store.calls.clear()
        self.go_on(60)
        self.assertEqual(self.world.called("change_settings"), [])

    def test_back_in_time(self) -> None:
        """One that is seen before that begins anew when it goes again."""
        self.go_on(int(STEADY_SECONDS))
        self.world.nodes.unreachable.add(2)
        self.go_on(AFTER - 10)
        self.world.nodes.unreachable.clear()
        self.go_on(1)
        self.assertIsNone(self.setting(AWAY_SETTING))
        self.world.nodes.unreachable.add(2)
        self.go_on(AFTER - 10)
        self.assertIsNone(self.setting(LOST_SETTING))

    def test_too_much(self) -> None:
        """Half of the hosts are away: nothing is lost, and the log says so, once."""
        said = self.said()
        self.lose(1, 2)
        self.assertEqual(len([one for one in said if "may be cut off" in one]), 1)
        self.go_on(AFTER)
        self.assertIsNone(self.setting(LOST_SETTING))
        self.assertIsNone(self.setting(AWAY_SETTING))

    def test_restart(self) -> None:
        """A tracker that has just begun is not believed for a while; then it goes on
        from what was counted before, but for the time when nobody looked."""
        self.go_on(int(STEADY_SECONDS))
        self.world.nodes.unreachable.add(2)
        self.go_on(AFTER - 20)
        counted = self.setting(AWAY_SETTING)
        self.world.clock.advance(7200)
        self.absence = self.another(self.world.live)
        self.go_on(int(STEADY_SECONDS) - 1)
        self.assertEqual(self.setting(AWAY_SETTING), counted)
        self.go_on(3)
        self.assertIsNone(self.setting(LOST_SETTING))
        self.go_on(60)
        self.assertEqual(self.setting(LOST_SETTING), "20")

    def test_database_away(self) -> None:
        """Who had no database for a while is not believed for a while."""
        self.lose()
        self.world.nodes.unreachable.add(2)
        self.go_on(16)
        before = self.setting(AWAY_SETTING)
        for _ in range(70):
            self.world.clock.advance(1)
            self.world.store.failing["setting"] = [DatabaseAway()]
            self.absence._due = 0.0
            self.fail_now(self.absence(), DatabaseAway)
        self.world.store.failing.clear()
        self.go_on(int(STEADY_SECONDS) - 2)
        self.assertEqual(self.setting(AWAY_SETTING), before)
        self.go_on(20)
        self.assertNotEqual(self.setting(AWAY_SETTING), before)

    def test_two_trackers(self) -> None:
        """What one of two trackers sees is not away, though the other does not."""
        blind = World(self.world.clock)
        blind.store = self.world.store
        live = LiveView(blind.store, blind.nodes, blind.clock, min_free_mb=100)
        other = self.another(live)
        blind.nodes.unreachable.add(2)
        for _ in range(2 * AFTER):
            self.go_on(1)
            for work in (live.refresh(), live.survey(), other()):
                self.run_now(work)
        self.assertIsNone(self.setting(LOST_SETTING))
        self.assertIn(True, [AWAY_SETTING in one[1] for one in self.changes()])

    def changes(self) -> list[tuple[object, dict[str, str | None], bool]]:
        """All that was asked of `change_settings`."""
        return self.world.called("change_settings")  # type: ignore[return-value]

    def test_race(self) -> None:
        """When another tracker has written meanwhile, nothing of it is lost."""
        self.go_on(int(STEADY_SECONDS))
        self.world.nodes.unreachable.add(2)
        write = self.world.store.change_settings

        async def late(
            old: dict[str, str | None], values: dict[str, str | None], news: bool
        ) -> bool:
            if LOST_SETTING in values and values[LOST_SETTING] == "20":
                self.world.store.change_settings = write  # type: ignore[method-assign]
                self.world.tables.settings[LOST_SETTING] = "30"
            return bool(await write(old, values, news))

        self.world.store.change_settings = late  # type: ignore[method-assign]
        self.go_on(AFTER + 20)
        self.assertEqual(self.setting(LOST_SETTING), "20")
        self.assertEqual(self.setting(LATE_SETTING), "30")

    def test_foreign(self) -> None:
        """A web server is lost, and back, like a node of ours."""
        self.world.nodes.foreign.add(2)
        self.lose(2)
        self.assertEqual(self.setting(LOST_SETTING), "20")
        self.world.nodes.unreachable.clear()
        self.go_on(2)
        self.assertEqual(self.setting(LATE_SETTING), "20")

    def test_device(self) -> None:
        """So is one device of a host that is there."""
        self.go_on(int(STEADY_SECONDS))
        self.world.nodes.broken.add(20)
        self.go_on(AFTER + 20)
        self.assertEqual(self.setting(LOST_SETTING), "20")

    def test_turned_off(self) -> None:
        """0 takes back what was lost, and asks the database for nothing then."""
        self.lose(2)
        self.world.tables.settings[LOST_AFTER_SETTING] = "0"
        self.go_on(2)
        self.assertIsNone(self.setting(LOST_SETTING))
        self.assertEqual(self.setting(LATE_SETTING), "20")
        self.world.store.calls.clear()
        self.go_on(60)
        self.assertEqual(self.world.called("setting"), [])


class Files(AbsenceCase):
    """What becomes of files: `AbsenceWalk`, and replication after it."""

    def furnish(self) -> None:
        """Files on hosts 2 and 1, one with its only copy on host 2, and one that is
        not on it at all."""
        self.world.file(5, [10, 20])
        self.world.file(6, [20, 30])
        self.world.file(7, [20])
        self.world.file(8, [30, 40])

    def test_copied_elsewhere(self) -> None:
        """Every file of a lost device gets its copies; nothing is forgotten."""
        self.furnish()
        self.lose(2)
        self.walk_all()
        self.assertEqual(set(self.world.tables.to_replicate), {5, 6, 7})
        self.replicate_all()
        for fid in (5, 6):
            living = [devid for devid in self.on(fid) if devid != 20]
            self.assertEqual(len(living), 2)
            self.assertIn(20, self.on(fid))
            self.assertLess(set(living), self.world.nodes.devices_with(fid))
        self.assertEqual(self.on(7), (20,))
        self.assertEqual(self.on(8), (30, 40))
        self.assertEqual(set(self.world.tables.to_replicate), {7})

    def test_back_late(self) -> None:
        """When it is back, what is too much goes, from the disk too; the file that was
        only there is read, and copied."""
        self.furnish()
        self.lose(2)
        self.walk_all()
        self.replicate_all()
        self.world.nodes.unreachable.clear()
        self.go_on(3)
        self.assertIsNone(self.setting(LOST_SETTING))
        self.assertEqual(self.setting(LATE_SETTING), "20")
        self.assertTrue(self.world.live.view.readable(20))
        self.walk_all()
        self.assertIsNone(self.setting(LATE_SETTING))
        self.assertIsNone(self.setting(WALK_SETTING))
        self.world.clock.advance(1)
        self.replicate_all()
        for fid in (5, 6, 7, 8):
            self.assertEqual(len(self.on(fid)), 2, fid)
            self.assertEqual(set(self.on(fid)), self.world.nodes.devices_with(fid))
        self.assertEqual(self.world.tables.to_replicate, {})
        self.assertIn(20, self.on(7))

    def test_late_ones_first(self) -> None:
        """While it is late, it is its copy that goes, though it has the most room."""
        self.world.file(5, [10, 20, 30])
        self.world.tables.settings[LATE_SETTING] = "20"
        self.world.nodes.kib_total = {10: 10**6, 20: 10**9, 30: 10**6}
        self.world.look()
        self.walk_all()
        self.world.tables.settings[LATE_SETTING] = "20"
        self.world.look()
        self.replicate_all()
        self.assertEqual(self.on(5), (10, 30))

    def test_deleted_meanwhile(self) -> None:
        """A file that is deleted while its device is lost waits for it."""
        self.world.file(5, [10, 20])
        self.lose(2)
        self.run_now(self.world.store.delete(DOMAIN.dmid, "key5"))
        delete = DeleteWorker(self.world.store, self.world.nodes, self.world.live)
        self.world.clock.advance(GRACE_SECONDS)
        self.run_now(delete.step())
        self.assertEqual(self.on(5), (20,))
        self.world.nodes.unreachable.clear()
        self.go_on(3)
        self.world.clock.advance(3600)
        self.run_now(delete.step())
        self.assertEqual(self.on(5), ())
        self.assertEqual(self.world.nodes.devices_with(5), set())

    def test_no_new_ones(self) -> None:
        """A lost device gets nothing new, and nobody waits for it."""
        self.world.tables.settings["kobold_policy"] = "AllHosts()"
        self.lose(2)
        self.assertFalse(self.world.live.view.wants_files(20))
        self.world.file(9, [10], queued=True)
        self.replicate_all()
        self.assertEqual(self.on(9), (10, 30, 40))
        self.assertEqual(self.world.tables.to_replicate, {})

    def test_not_settled(self) -> None:
        """A store with a copy on a lost device is looked at again."""
        self.lose(2)
        self.assertFalse(self.world.copies.settled(DOMAIN.dmid, 0, (10, 20)))
        self.assertTrue(self.world.copies.settled(DOMAIN.dmid, 0, (10, 30)))

    def test_batches(self) -> None:
        """It goes on where it, or another tracker, stood; and in small steps."""
        self.patch(absence, "WALK_BATCH", 2)
        for fid in range(5, 10):
            self.world.file(fid, [10, 20])
        self.lose(2)
        self.assertIs(self.run_now(self.walk()), True)
        self.assertEqual(set(self.world.tables.to_replicate), {5, 6})
        self.assertEqual(self.setting(WALK_SETTING), "20:lost:6:2:0")
        world = self.world
        self.walk = AbsenceWalk(
            world.store, world.store, world.store, world.copies, world.live
        )
        self.walk_all()
        self.assertEqual(set(self.world.tables.to_replicate), {5, 6, 7, 8, 9})

    def test_looked_through_again(self) -> None:
        """As long as something lacked a copy, it is looked through again, later: a
        tracker of MogileFS may have taken the rows."""
        self.world.file(5, [10, 20])
        self.lose(2)
        self.walk_all()
        self.world.tables.to_replicate.clear()
        self.go_on(absence.WALK_AGAIN_SECONDS - 5, 5)
        self.walk_all()
        self.assertEqual(self.world.tables.to_replicate, {})
        self.go_on(10, 5)
        self.walk_all()
        self.assertEqual(set(self.world.tables.to_replicate), {5})
        self.replicate_all()
        self.go_on(absence.WALK_AGAIN_SECONDS + 5, 5)
        self.walk_all()
        self.world.store.calls.clear()
        self.go_on(2 * absence.WALK_AGAIN_SECONDS, 5)
        self.walk_all()
        self.assertEqual(self.world.called("files_on"), [])

    def test_asked_once(self) -> None:
        """Of files that lie alike, one is judged."""
        for fid in range(5, 30):
            self.world.file(fid, [10, 20])
        self.lose(2)
        judged: list[int] = []
        judge = Copies.judge

        def count(copies: Copies, *arguments: int) -> object:
            judged.append(1)
            return judge(copies, *arguments)  # type: ignore[arg-type]

        self.patch(Copies, "judge", count)
        self.run_now(self.walk())
        self.assertEqual(len(judged), 1)

    def test_dead_after_all(self) -> None:
        """The operator's word ends it: the reaper sees to a dead device."""
        self.lose(2)
        devices = self.world.tables.devices
        devices[20] = evolve(devices[20], status="dead")
        self.go_on(16)
        self.assertIsNone(self.setting(LOST_SETTING))
        self.assertIsNone(self.setting(LATE_SETTING))

    def test_stored_while_being_lost(self) -> None:
        """A close that was under way when a device was lost is replicated."""
        self.lose(2)
        self.world.upload(5, "k", [20, 10])
        settled = self.world.copies.settled(DOMAIN.dmid, 0, (10, 20))
        closing = Closing(5, DOMAIN.dmid, "k", 0, 9, (10, 20), settled=settled)
        self.run_now(self.world.store.close_upload(closing))
        self.assertIn(5, self.world.tables.to_replicate)
