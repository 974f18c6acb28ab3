"""Deletion: when a copy goes, and for how long it is put off if it cannot."""

from __future__ import annotations

from koboldfs.errors import NodeFault, NodeUnreachable
from koboldfs.jobs.delete import (
    ABANDONED_SECONDS,
    EXPIRE_BATCH,
    GRACE_SECONDS,
    GRACE_SETTING,
    LEASE_SECONDS,
    LONGEST_GRACE_SECONDS,
    LONGEST_SECONDS,
    DeleteWorker,
    expiry,
    grace_seconds,
)
from koboldfs.model.entities import DeletionDone
from koboldfs.model.numbering import FORGOTTEN_SETTING
from test.fakes.store_tables import QueueRow
from test.fakes.world import World, WorldCase

MINUTE, HOUR = 60, 3600


class DeleteCase(WorldCase):
    """A deleted file with copies on three hosts."""

    grace_seconds = 0

    def setUp(self) -> None:
        settings = {GRACE_SETTING: str(self.grace_seconds)}
        self.world = World.of(3, **settings)
        self.worker = DeleteWorker(self.world.store, self.world.nodes, self.world.live)

    def delete(self, *devids: int, failcount: int = 0) -> None:
        """File 5 with copies there, deleted, and that often not got rid of."""
        self.world.file(5, list(devids))
        self.assertTrue(self.run_now(self.world.store.delete(1, "key5")))
        self.world.tables.to_delete[5] = QueueRow(self.world.store.now(), failcount)

    def step(self) -> None:
        """One step, after which the row was worked on."""
        self.run_now(self.worker.step())

    def report(self) -> DeletionDone:
        """The one report."""
        [((report,),)] = self.world.called("finish_deletions")
        return report  # type: ignore[no-any-return]

    def assert_put_off(self, seconds: int) -> None:
        """The row of file 5 is due again after that time."""
        row = self.world.tables.to_delete[5]
        self.assertEqual(row.nexttry - self.world.store.now(), seconds)

    def set_device(self, devid: int, status: str) -> None:
        """The operator's word for a device."""
        self.run_now(self.world.store.update_device(devid, {"status": status}))
        self.world.look()

    def set_host(self, hostid: int, status: str) -> None:
        """The operator's word for a host."""
        self.run_now(self.world.store.update_host(hostid, {"status": status}))
        self.world.look()


class Grace(DeleteCase):
    """Bytes of keys that are gone just now."""

    grace_seconds = 7

    def test_readers_find_them(self) -> None:
        """They stay for the time that the setting says, and then they go."""
        self.delete(10, 20)
        self.world.clock.advance(6.0)
        self.step()
        self.assertEqual(self.world.nodes.devices_with(5), {10, 20})
        self.world.clock.advance(1.0)
        self.step()
        self.assertEqual(self.world.nodes.devices_with(5), set())

    def test_setting(self) -> None:
        """Not set, or nonsense: the usual; never without an end."""
        for text, seconds in (
            (None, GRACE_SECONDS),
            ("x", GRACE_SECONDS),
            ("-1", GRACE_SECONDS),
            ("9" * 30, GRACE_SECONDS),
            ("0", 0),
            ("999999", LONGEST_GRACE_SECONDS),
        ):
            settings = {} if text is None else {GRACE_SETTING: text}
            self.assertEqual(grace_seconds(settings), seconds)


class Gone(DeleteCase):
    """Copies that can be removed."""

    def test_all(self) -> None:
        """Every copy is removed, and nothing is left of the file."""
        self.delete(10, 20, 30)
        self.step()
        self.assertEqual(self.world.nodes.devices_with(5), set())
        tables = self.world.tables
        self.assertEqual((tables.file_on, tables.to_delete), (set(), {}))
        self.assertEqual(tables.own_checksums, {})
        self.assertEqual(self.report(), DeletionDone(5, (10, 20, 30)))

    def test_no_copies(self) -> None:
        """A fid without copies leaves the queue."""
        self.world.tables.to_delete[5] = QueueRow(0)
        self.step()
        self.assertEqual(self.world.tables.to_delete, {})

    def test_not_there(self) -> None:
        """A copy that is not there any more is gone."""
        self.delete(10, 20)
        self.world.nodes.lose(self.world.place(10), 5)
        self.step()
        self.assertEqual(self.world.tables.to_delete, {})

    def test_draining(self) -> None:
        """A draining device loses what is deleted."""
        self.delete(10)
        self.set_device(10, "drain")
        self.step()
        self.assertEqual(self.world.nodes.devices_with(5), set())

    def test_dead_device(self) -> None:
        """A copy on a dead device is forgotten, without asking its host."""
        self.delete(10, 20)
        self.set_device(10, "dead")
        self.step()
        self.assertEqual(self.world.tables.to_delete, {})
        self.assertEqual(self.world.asked("remove"), [(20, 5)])

    def test_live_file(self) -> None:
        """A live file is never taken, whatever the queue says."""
        self.world.file(5, [10])
        self.world.tables.to_delete[5] = QueueRow(0)
        self.step()
        self.assertEqual(self.world.nodes.devices_with(5), {10})

    def test_lease(self) -> None:
        """A row in work is nobody else's for a thousand seconds."""
        self.delete(10)
        self.world.nodes.slow[1] = 1.0
        self.step()
        self.assert_put_off(LEASE_SECONDS)
        self.world.clock.advance(1.0)
        self.assertEqual(self.world.tables.to_delete, {})


class PutOff(DeleteCase):
    """Copies that cannot be removed now: MogileFS's times."""

    def test_not_seen_writeable(self) -> None:
        """A host that is away: ten minutes, and one more each time."""
        for failcount in (0, 1, 7):
            self.setUp()
            self.delete(10, failcount=failcount)
            self.world.nodes.unreachable.add(1)
            self.world.look()
            self.step()
            self.assert_put_off(MINUTE * (10 + failcount))
            self.assertEqual(self.world.tables.to_delete[5].failcount, failcount + 1)
            self.assertEqual(self.world.asked("remove"), [])

    def test_seen_readable_only(self) -> None:
        """A device that takes no writes is put off as one that is away."""
        self.delete(10)
        self.world.nodes.readonly.add(10)
        self.world.look()
        self.step()
        self.assert_put_off(10 * MINUTE)

    def test_not_allowed(self) -> None:
        """A device or host that the operator set readonly or down: hours."""
        for status in ("readonly", "down"):
            for setter in (self.set_device, self.set_host):
                for failcount in (0, 2):
                    self.setUp()
                    self.delete(10, failcount=failcount)
                    number = 10 if setter == self.set_device else 1
                    setter(number, status)
                    self.step()
                    self.assert_put_off(HOUR * (1 + failcount))
                    self.assertEqual(self.world.asked("remove"), [])

    def test_dead_host(self) -> None:
        """A dead host does not make its devices dead: no copy is forgotten."""
        self.delete(10)
        self.set_host(1, "dead")
        self.step()
        self.assert_put_off(HOUR)

    def test_refused(self) -> None:
        """A node that answers with an error: half an hour, and so on."""
        for failcount in (0, 3):
            self.setUp()
            self.delete(10, failcount=failcount)
            self.world.nodes.failing["remove"] = [NodeFault("no")]
            self.step()
            self.assert_put_off(HOUR // 2 * (1 + failcount))

    def test_unreachable(self) -> None:
        """A node that stops answering: as one that is away, and it is looked at."""
        self.world.live.startService()
        self.addCleanup(self.world.live.stopService)
        self.delete(10)
        self.world.nodes.failing["remove"] = [NodeUnreachable("no")]
        self.world.nodes.calls.clear()
        self.step()
        self.assert_put_off(10 * MINUTE)
        self.assertEqual(self.world.asked("survey"), [(1, (10,))])

    def test_unknown_device(self) -> None:
        """A device that we do not know may be another tracker's new one: its copy is
        not forgotten."""
        self.delete(10)
        self.world.tables.file_on.add((5, 77))
        self.step()
        self.assertEqual(self.world.tables.devids(5), (77,))
        self.assert_put_off(10 * MINUTE)

    def test_longest(self) -> None:
        """However often it failed, it is tried every day."""
        self.delete(10, failcount=500)
        self.set_device(10, "down")
        self.step()
        self.assert_put_off(LONGEST_SECONDS)

    def test_some(self) -> None:
        """What can be removed is; the longest of the other times counts."""
        self.delete(10, 20, 30)
        self.set_device(20, "readonly")
        self.world.nodes.unreachable.add(3)
        self.world.look()
        self.step()
        self.assertEqual(self.world.tables.devids(5), (20, 30))
        self.assert_put_off(HOUR)
        self.assertEqual(self.report().removed, (10,))

    def test_again(self) -> None:
        """When the device is back and the time has come, the rest goes."""
        self.delete(10, 20)
        self.world.nodes.unreachable.add(2)
        self.world.look()
        self.step()
        self.world.nodes.unreachable.clear()
        self.world.look()
        self.world.clock.advance(10 * MINUTE - 1)
        self.step()
        self.assertIn(5, self.world.tables.to_delete)
        self.world.clock.advance(1)
        self.step()
        self.assertEqual(self.world.tables.to_delete, {})
        self.assertEqual(self.world.nodes.devices_with(5), set())


class Expiry(DeleteCase):
    """Uploads that nobody closed."""

    def test_old_ones(self) -> None:
        """After an hour an upload is given to the delete queue, with its devices."""
        self.world.upload(5, "a", [10, 20])
        self.world.clock.advance(ABANDONED_SECONDS - 1)
        unit = expiry(self.world.store, self.world.live)
        self.assertIs(self.run_now(unit()), False)
        self.assertIn(5, self.world.tables.uploads)
        self.world.clock.advance(1)
        self.assertIs(self.run_now(unit()), False)
        self.assertEqual(self.world.tables.uploads, {})
        self.assertEqual(self.world.tables.devids(5), (10, 20))
        self.world.nodes.put(self.world.place(20), 5, b"half a file")
        self.step()
        self.assertEqual(self.world.nodes.devices_with(5), set())
        self.assertEqual(self.world.tables.to_delete, {})

    def test_old_database(self) -> None:
        """What an old state of the database takes for an upload may be a file."""
        self.world.upload(5, "a", [10])
        self.world.tables.settings[FORGOTTEN_SETTING] = "6-9"
        self.world.look()
        self.world.clock.advance(ABANDONED_SECONDS)
        unit = expiry(self.world.store, self.world.live)
        self.assertIs(self.run_now(unit()), False)
        self.assertIn(5, self.world.tables.uploads)

    def test_batches(self) -> None:
        """While batches are full there is more to do at once."""
        for fid in range(1, EXPIRE_BATCH + 2):
            self.world.upload(fid, "a", [10])
        self.world.clock.advance(ABANDONED_SECONDS)
        unit = expiry(self.world.store, self.world.live)
        self.assertIs(self.run_now(unit()), True)
        self.assertEqual(len(self.world.tables.uploads), 1)
        self.assertIs(self.run_now(unit()), False)
        self.assertEqual(len(self.world.tables.to_delete), EXPIRE_BATCH + 1)
