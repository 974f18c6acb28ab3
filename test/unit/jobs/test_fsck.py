"""The job `fsck`: every event provoked."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import md5

from attrs import define, evolve, field

from koboldfs.cluster.checks import Wanted
from koboldfs.errors import NodeFault
from koboldfs.jobs import fsck
from koboldfs.model.entities import (
    FSCK_TASK,
    MD5,
    Checksum,
    CopyChange,
    CopyStat,
    Device,
    Place,
)
from test.fakes.nodes import MemoryNodes, own_checksum
from test.fakes.world import start
from test.unit.jobs.fsck_case import FsckCase

DATA = b"the bytes"


@define(eq=False)
class BadSpot(MemoryNodes):
    """Device 10 cannot read what is near some files."""

    bad: set[int] = field(factory=lambda: {3})

    async def stat_many(
        self, place: Place, fids: Sequence[int]
    ) -> dict[int, CopyStat | None]:
        """See `INodes`."""
        if self.bad.intersection(fids) and place.devid == 10:
            raise NodeFault("read error")
        return await super().stat_many(place, fids)


class Events(FsckCase):
    """What is found of one file."""

    def lose(self, devid: int, fid: int = 5) -> None:
        """A copy vanishes from its disk."""
        self.world.nodes.lose(self.world.place(devid), fid)

    def overwrite(self, devid: int, data: bytes, fid: int = 5) -> None:
        """A copy has other bytes."""
        self.world.nodes.put(self.world.place(devid), fid, data)

    def test_all_well(self) -> None:
        """A sound file is only counted."""
        self.world.file(5, [10, 20])
        self.check()
        self.assertEqual(self.events, [])
        status = self.status()
        self.assertEqual((status["running"], status["fids_checked"]), (0, 1))
        self.assertEqual(self.world.tables.tasks, {})
        self.assertEqual(self.world.tables.to_replicate, {})

    def test_missing(self) -> None:
        """A copy that is not there is forgotten, and the file queued."""
        self.world.file(5, [10, 20])
        self.lose(20)
        self.check()
        self.assertEqual(self.events, [("MISS", 20), ("REPL", None)])
        self.assertEqual(self.world.tables.devids(5), (10,))
        self.assertIn(5, self.world.tables.to_replicate)
        self.assertEqual(self.world.tables.files[5].devcount, 1)

    def test_wrong_length(self) -> None:
        """So is a copy of another length."""
        self.world.file(5, [10, 20])
        self.overwrite(20, b"short")
        self.check()
        self.assertEqual(self.events, [("BLEN", 20), ("REPL", None)])
        self.assertEqual(self.world.tables.devids(5), (10,))

    def test_policy(self) -> None:
        """A file with too few copies is queued."""
        self.world.file(5, [10])
        self.check()
        self.assertEqual(self.events, [("POVI", None), ("REPL", None)])

    def test_too_many(self) -> None:
        """So is one with too many; replication takes away what can be spared."""
        self.world.file(5, [10, 20, 30])
        self.check()
        self.assertEqual(self.events, [("POVI", None), ("REPL", None)])

    def test_devcount(self) -> None:
        """A wrong devcount is put right; a database that keeps none is left alone."""
        self.world.file(5, [10, 20])
        self.world.tables.files[5] = evolve(self.world.tables.files[5], devcount=7)
        self.world.tables.settings["skip_devcount"] = "1"
        self.check()
        self.assertEqual(self.events, [])
        del self.world.tables.settings["skip_devcount"]
        self.check()
        self.assertEqual(self.events, [("BCNT", None)])
        self.assertEqual(self.world.tables.files[5].devcount, 2)

    def test_dead_device(self) -> None:
        """A copy on a dead device is none, and its row goes."""
        self.world.file(5, [10, 20])
        devices = self.world.tables.devices
        devices[20] = evolve(devices[20], status="dead")
        self.world.look()
        self.check()
        self.assertEqual(self.events, [("POVI", None), ("REPL", None)])
        self.assertEqual(self.world.tables.devids(5), (10,))

    def test_found(self) -> None:
        """A file without rows is searched for on every device."""
        self.world.file(5, [10, 20])
        self.world.tables.file_on.clear()
        self.world.tables.file_on.add((5, 30))
        self.check()
        codes = ["POVI", "BCNT", "MISS", "SRCH", "FOND", "FOND"]
        self.assertEqual([code for code, _ in self.events], codes)
        self.assertEqual(self.world.tables.devids(5), (10, 20))

    def test_no_rows(self) -> None:
        """NOPA comes before the search; a copy with wrong bytes is not taken."""
        self.world.file(5, [10, 20])
        self.overwrite(10, DATA[::-1])
        self.world.tables.file_on.clear()
        self.check()
        codes = ["NOPA", "BCNT", "SRCH", "FOND", "REPL"]
        self.assertEqual([code for code, _ in self.events], codes)
        self.assertEqual(self.world.tables.devids(5), (20,))

    def test_gone(self) -> None:
        """When every device has answered and none has it, the rows go, the file
        stays, and so does the row of a copy of another length."""
        self.world.file(5, [10, 20])
        self.lose(10)
        self.overwrite(20, b"short")
        self.check()
        self.assertEqual(self.events[2:4], [("SRCH", None), ("GONE", None)])
        self.assertEqual(self.world.tables.devids(5), (20,))
        self.assertIn(5, self.world.tables.files)

    def test_not_gone_while_somebody_is_away(self) -> None:
        """A device that cannot be asked may have it: nothing is forgotten."""
        self.world.file(5, [10, 20])
        self.lose(10)
        self.lose(20)
        self.world.nodes.unreachable.add(3)
        self.world.look()
        self.check()
        self.assertNotIn("GONE", [code for code, _ in self.events])
        self.assertEqual(self.world.tables.devids(5), (10, 20))
        row = self.world.tables.tasks[FSCK_TASK, 5]
        self.assertEqual(
            (row.failcount, row.nexttry - self.world.store.now()), (1, 1000)
        )

    def test_stalled(self) -> None:
        """A copy that cannot be asked is no bad one; its file is looked at again, told
        of once, and not waited for."""
        self.world.file(5, [10, 20])
        self.world.file(6, [10, 30])
        self.world.nodes.unreachable.add(2)
        self.world.look()
        self.check()
        self.assertEqual(self.world.tables.devids(5), (10, 20))
        self.assertEqual(self.status()["running"], 0)
        self.assertEqual(list(self.world.tables.tasks), [(FSCK_TASK, 5)])
        self.assertEqual(self.status()["stalled"], 1)
        self.lose(10)
        for _ in range(2):
            self.world.clock.advance(1001)
            self.turn()
        self.assertEqual(self.events, [("MISS", 10), ("REPL", None)])
        self.world.nodes.unreachable.clear()
        self.world.look()
        self.world.clock.advance(1001)
        self.turn()
        self.assertEqual(self.world.tables.tasks, {})
        self.assertEqual(self.world.tables.devids(5), (20,))

    def test_moved_meanwhile(self) -> None:
        """What was seen of copies that were moved meanwhile is forgotten; the file is
        looked at again at once, and is well."""
        self.world.file(5, [10, 20])
        self.world.nodes.slow[2] = 5.0
        self.run_now(self.checks.start())
        step = start(self.worker.step())
        self.lose(20)
        self.run_now(self.world.store.change_copies([CopyChange(5, (30,), (20,))]))
        self.world.nodes.put(self.world.place(30), 5, DATA)
        self.world.clock.advance(5)
        self.successResultOf(step)
        self.assertEqual((self.events, self.world.tables.devids(5)), ([], (10, 30)))
        self.assertEqual(self.world.tables.tasks[FSCK_TASK, 5].failcount, 0)
        self.world.nodes.slow.clear()
        self.world.clock.advance(3)
        self.turn()
        self.assertEqual((self.events, self.world.tables.tasks), ([], {}))

    def test_bad_spot(self) -> None:
        """A file that its device cannot be asked for does not hold up the others."""
        self.world.use(BadSpot(self.world.clock))
        for fid in range(1, 9):
            self.world.file(fid, [10, 20])
        self.world.look()
        self.check()
        self.assertEqual(list(self.world.tables.tasks), [(FSCK_TASK, 3)])
        for questions, stalled in ((2, 4), (1, 8)):
            self.patch(fsck, "QUESTIONS", questions)
            self.world.clock.advance(1001)
            self.check()
            self.assertEqual(len(self.world.tables.tasks), stalled)
        self.patch(fsck, "QUESTIONS", 20)
        self.world.clock.advance(1001)
        self.check()
        self.assertEqual(len(self.world.tables.tasks), 1)

    def test_many_bad_spots(self) -> None:
        """A device that refuses too often is away for all of the files."""
        self.world.use(BadSpot(self.world.clock, bad={3, 5, 9, 15}))
        for fid in range(1, 17):
            self.world.file(fid, [10, 20])
        self.world.look()
        self.patch(fsck, "QUESTIONS", 3)
        self.check()
        self.assertEqual(len(self.world.tables.tasks), 16)
        self.assertEqual(self.world.tables.devids(1), (10, 20))

    def test_new_device(self) -> None:
        """A device that this tracker has not heard of yet is not taken for dead, nor
        left out of a search."""
        self.world.file(5, [10, 20])
        self.world.file(6, [10, 20])
        self.world.tables.devices[21] = Device(21, 2, "alive")
        self.world.tables.file_on -= {(5, 20), (6, 10), (6, 20)}
        self.world.tables.file_on.add((5, 21))
        self.world.nodes.put(self.world.place(21), 5, DATA)
        for devid in (10, 20):
            self.lose(devid, 6)
        self.world.nodes.put(self.world.place(21), 6, DATA)
        tasks = [(5, None, None), (6, None, None)]
        self.run_now(self.world.store.queue_tasks(FSCK_TASK, tasks))
        self.turn()
        self.assertEqual(self.world.tables.devids(5), (10, 21))
        self.assertNotIn("GONE", [code for code, _ in self.events])

    def test_gone_meanwhile(self) -> None:
        """A file that was deleted only leaves the queue."""
        self.run_now(self.world.store.queue_tasks(FSCK_TASK, [(99, None, None)]))
        self.turn()
        self.assertEqual((self.world.tables.tasks, self.events), ({}, []))

    # --- checksums

    def test_class_checksum(self) -> None:
        """A class that wants a checksum gets its row."""
        self.world.add_class(1, "sums", hashtype=MD5)
        self.world.look()
        self.world.file(5, [10, 20], classid=1)
        self.world.tables.class_checksums.clear()
        self.check()
        self.assertEqual(self.events, [("NSUM", None)])
        self.check()
        self.assertEqual(len(self.events), 1)
        self.assertEqual(self.world.tables.class_checksums[5].hashtype, MD5)

    def test_class_checksum_wrong(self) -> None:
        """A copy that differs from the row is forgotten, not the one that is right."""
        self.world.add_class(1, "sums", hashtype=MD5)
        self.world.look()
        self.world.file(5, [10, 20], classid=1)
        right = Checksum(MD5, md5(DATA).digest())
        self.world.tables.class_checksums[5] = right
        self.world.nodes.damage(self.world.place(20), 5)
        self.world.tables.settings["fsck_checksum"] = "off"
        self.check()
        self.assertEqual(self.events, [])
        self.world.tables.settings["fsck_checksum"] = "MD5"
        self.check()
        self.assertEqual(self.events, [("BSUM", 20), ("REPL", None)])
        self.assertEqual(self.world.tables.devids(5), (10,))

    def test_found_by_the_class(self) -> None:
        """What a search finds of a file of MogileFS must have the checksum that its
        class asked for: the length alone is that of many files."""
        self.world.file(5, [10], checksum=False)
        self.world.tables.class_checksums[5] = Checksum(MD5, md5(DATA).digest())
        for devid, data in ((10, None), (20, DATA[::-1]), (30, DATA)):
            self.world.nodes.lose(self.world.place(devid), 5)
            if data is not None:
                self.world.nodes.put(self.world.place(devid), 5, data)
        self.check()
        self.assertEqual(self.world.tables.devids(5), (30,))
        self.world.nodes.damage(self.world.place(30), 5)
        self.world.tables.file_on.clear()
        self.check()
        self.assertEqual(self.world.tables.devids(5), ())
        self.assertIn(("GONE", None), self.events)

    def test_ours_of_the_wrong_bytes(self) -> None:
        """Ours is not made of what contradicts the checksum of the class, even if all
        copies agree: it would condemn a right one that comes back."""
        self.world.file(5, [10, 20], checksum=False)
        self.world.tables.class_checksums[5] = Checksum(MD5, bytes(16))
        self.world.file(6, [10, 20], checksum=False)
        self.world.tables.class_checksums[6] = Checksum(MD5, md5(DATA).digest())
        self.world.file(7, [10, 20], checksum=False)
        self.world.tables.class_checksums[7] = Checksum(2, bytes(20))
        self.world.tables.settings["fsck_checksum"] = "off"
        self.check(own_checksums=True)
        self.assertEqual(self.world.tables.own_checksums, {6: own_checksum(DATA)})
        self.world.tables.settings["fsck_checksum"] = "MD5"
        self.check(own_checksums=True)
        self.assertEqual(self.world.tables.own_checksums, {6: own_checksum(DATA)})

    def test_own_checksums(self) -> None:
        """Every copy is read: one that rotted is forgotten, a missing sum recorded."""
        self.world.file(5, [10, 20])
        self.world.file(6, [10, 20], checksum=False)
        self.world.nodes.damage(self.world.place(10), 5)
        self.check()
        self.assertEqual(self.events, [])
        self.check(own_checksums=True)
        self.assertEqual(self.events, [("BSUM", 10), ("REPL", None)])
        self.assertEqual(self.world.tables.devids(5), (20,))
        self.assertEqual(self.world.tables.own_checksums[6], own_checksum(DATA))

    def test_all_copies_rotted(self) -> None:
        """Then nothing is forgotten, and it is said."""
        self.world.file(5, [10, 20])
        for devid in (10, 20):
            self.world.nodes.damage(self.world.place(devid), 5)
        self.check(own_checksums=True)
        self.assertEqual(self.events, [("BSUM", None)])
        self.assertEqual(self.world.tables.devids(5), (10, 20))

    def test_own_checksum_beside_the_class(self) -> None:
        """When copies are read for their class and agree, ours is recorded, too."""
        self.world.add_class(1, "sums", hashtype=MD5)
        self.world.look()
        self.world.file(5, [10, 20], classid=1, checksum=False)
        self.check()
        self.assertEqual(self.events, [("NSUM", None)])
        self.assertEqual(self.world.tables.own_checksums[5], own_checksum(DATA))
        self.assertEqual(len(self.world.asked("digest")), 3)

    def test_other_type(self) -> None:
        """A recorded checksum of another type than is wanted is told."""
        self.world.file(5, [10, 20])
        self.world.tables.class_checksums[5] = Checksum(2, bytes(20))
        self.world.tables.settings["fsck_checksum"] = "MD5"
        self.check()
        self.assertEqual(self.events, [("BALG", None)])

    def test_copies_differ(self) -> None:
        """Without a recorded checksum nobody can tell which copy is right."""
        self.world.file(5, [10, 20], checksum=False)
        self.world.nodes.damage(self.world.place(10), 5)
        self.world.tables.settings["fsck_checksum"] = "SHA-1"
        self.check()
        self.assertEqual(self.events, [("MSUM", None)])
        self.assertEqual(self.world.tables.devids(5), (10, 20))

    def test_unreadable_found_copy(self) -> None:
        """A copy that was found and could not be read may be the file: not GONE."""
        self.world.file(5, [10, 20])
        self.lose(20)
        self.world.tables.file_on.discard((5, 10))
        self.world.nodes.failing["digest"] = [NodeFault("read error")]
        self.check()
        codes = [code for code, _ in self.events]
        self.assertEqual(codes, ["POVI", "BCNT", "MISS", "SRCH"])
        self.assertEqual(self.world.tables.devids(5), (20,))
        self.world.clock.advance(1001)
        self.turn()
        self.assertEqual(self.world.tables.devids(5), (10,))

    def test_device_went_while_reading(self) -> None:
        """A device that is not in the picture any more has no digest to give."""
        self.world.file(5, [10, 20])
        self.run_now(self.checks.start(Wanted(own_checksums=True)))
        self.world.nodes.slow[2] = 1.0
        step = start(self.worker.step())
        del self.world.tables.devices[20]
        start(self.world.live.refresh())
        self.world.clock.advance(1)
        self.successResultOf(step)
        self.assertEqual(self.world.tables.tasks[FSCK_TASK, 5].failcount, 1)
        self.assertEqual(self.world.tables.devids(5), (10, 20))

    def test_unreadable_copy(self) -> None:
        """A copy that cannot be read stalls the file; it is no wrong one."""
        self.world.file(5, [10, 20])
        self.world.nodes.failing["digest"] = [NodeFault("read error")]
        self.check(own_checksums=True)
        self.assertEqual(self.world.tables.devids(5), (10, 20))
        self.assertEqual(self.world.tables.tasks[FSCK_TASK, 5].failcount, 1)
