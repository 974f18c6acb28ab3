"""What a scrub does about files on a disk that no row knows there."""

from __future__ import annotations

from attrs import evolve

from koboldfs.errors import NodeFault
from koboldfs.jobs import mending
from koboldfs.model.entities import FSCK_TASK
from koboldfs.model.numbering import FORGOTTEN_SETTING
from test.unit.jobs.scrub_case import DATA, ScrubCase


class Orphans(ScrubCase):
    """Files on a disk that no row knows."""

    policy = "MultipleHosts(2)"

    def setUp(self) -> None:
        """Some files that are as they should be."""
        super().setUp()
        for fid in range(1, 5):
            self.file(fid, 10, 20)
        self.world.store.scrubs.highest = 900

    def put(self, devid: int, fid: int, data: bytes = DATA) -> None:
        """Bytes that no row knows."""
        self.world.nodes.put(self.world.place(devid), fid, data)

    def test_orphan(self) -> None:
        """It goes into quarantine, once it is old enough."""
        self.put(10, 77)
        self.put(10, 78)
        self.world.nodes.young.add((10, 78))
        self.scrub(10)
        self.assertEqual(self.found(10), {"orphans": 1})
        self.assertEqual(self.quarantined(), [(10, 77, "orphan")])
        self.assertEqual(self.bytes_on(10, 78), DATA)
        (asked,) = [one for one in self.world.asked("set_aside") if one[1] == 77]
        self.assertEqual(asked[-1], mending.ORPHAN_SECONDS)

    def test_in_work(self) -> None:
        """What somebody works on is none, also if that began a moment ago."""
        self.put(10, 77)
        self.put(10, 78)
        self.world.upload(77, "k77", [10])
        scrubs = self.world.store.scrubs
        strays = scrubs.strays

        async def later(devid: int, fids: object) -> object:
            found = await strays(devid, fids)  # type: ignore[arg-type]
            if 78 in fids and 78 not in self.world.tables.uploads:  # type: ignore[operator]
                self.world.upload(78, "k78", [10])
            return found

        self.patch(type(scrubs), "strays", lambda self, *a: later(*a))
        self.scrub(10)
        self.assertEqual(self.quarantined(), [])
        self.assertEqual(self.found(10), {})

    def test_beyond(self) -> None:
        """A number that was never given out is left alone, and told."""
        self.put(10, 901)
        self.scrub(10)
        self.assertEqual(self.found(10), {"orphans": 1})
        self.assertEqual(self.bytes_on(10, 901), DATA)

    def test_forgotten(self) -> None:
        """Nor is one that an old state of the database has forgotten, unless its number
        is a live file's; until an operator has removed the setting."""
        for fid in (701, 702, 705):
            self.put(10, fid)
        self.file(704, 20)
        self.put(10, 704)
        settings = self.world.tables.settings
        settings[FORGOTTEN_SETTING] = "702-704"
        self.scrub(10)
        moved = [(10, 701, "orphan"), (10, 705, "orphan")]
        self.assertEqual(self.quarantined(), moved)
        self.assertEqual(self.world.tables.devids(704), (10, 20))
        del settings[FORGOTTEN_SETTING]
        self.scrub(10)
        self.assertIn((10, 702, "orphan"), self.quarantined())

    def test_good_and_wanted(self) -> None:
        """A good copy of a file that has too few is recorded; a bad one is not, nor
        one that is too many."""
        self.file(5, 20)
        self.put(10, 5)
        self.file(6, 20)
        self.put(10, 6, b"the bites")
        self.file(7, 20, 30)
        self.put(10, 7)
        self.file(8, 20, checksum=False)
        self.put(10, 8)
        self.scrub(10)
        self.assertEqual(self.world.tables.devids(5), (10, 20))
        self.assertEqual(
            sorted(self.quarantined()), [(10, 6, "orphan"), (10, 7, "orphan")]
        )
        self.assertEqual(self.found(10), {"orphans": 4})

    def test_last_good(self) -> None:
        """A copy that no row knows is no orphan while the recorded ones are bad, or
        cannot be asked: it may be the last good one. It is recorded, and fsck looks."""
        for fid in (5, 6, 7):
            self.file(fid, 20, 30)
            self.put(10, fid)
        self.damage(20, 5)
        self.damage(30, 5)
        self.lose(20, 6)
        self.scrub(10)
        self.assertEqual(self.quarantined(), [(10, 7, "orphan")])
        self.assertEqual(self.bytes_on(10, 5), DATA)
        self.assertEqual(self.world.tables.devids(5), (10, 20, 30))
        self.assertEqual(self.world.tables.devids(6), (10, 20, 30))
        self.assertIn((FSCK_TASK, 5), self.world.tables.tasks)
        self.world.tables.tasks.clear()
        self.scrub(20, 30)
        self.assertEqual(self.world.store.scrubs.lost, {})
        self.assertEqual(self.bytes_on(10, 5), DATA)

    def test_others_silent(self) -> None:
        """Also when nobody can say whether the recorded ones are good."""
        self.file(5, 20, 30)
        self.put(10, 5)
        self.put(10, 6, b"the bites")
        self.file(6, 20, 30)
        self.world.nodes.unreachable.add(2)
        self.world.look()
        self.scrub(10)
        self.assertEqual(self.quarantined(), [])
        self.assertEqual(self.world.tables.devids(5), (10, 20, 30))
        self.assertEqual(self.world.tables.devids(6), (20, 30))

    def test_moved_late(self) -> None:
        """A row that came while the bytes were moved is looked after by fsck."""
        self.file(5, 20, 30)
        self.put(10, 5)
        nodes, set_aside = self.world.nodes, self.world.nodes.set_aside

        async def late(*args: object, **options: object) -> str:
            self.world.tables.file_on.add((5, 10))
            return await set_aside(*args, **options)  # type: ignore[arg-type]

        self.patch(type(nodes), "set_aside", lambda self, *a, **o: late(*a, **o))
        self.scrub(10)
        self.assertIn((FSCK_TASK, 5), self.world.tables.tasks)

    def test_rows_of_another_disk(self) -> None:
        """Rows whose bytes are not there are no files beside which many strays could
        be believed: that is another disk."""
        self.patch(mending, "beyond_belief", lambda found, files: found > files)
        for fid in (5, 6, 7):
            self.file(fid, 10, 20)
            self.lose(10, fid)
            self.put(10, fid + 50)
            self.put(10, fid + 60)
        self.scrub(10)
        self.assertEqual(len(self.quarantined()), 4)

    def test_too_many(self) -> None:
        """When very many are known to no row, it is the rows that are wrong."""
        for fid in range(100, 250):
            self.put(10, fid)
        self.scrub(10)
        self.assertEqual(self.found(10), {"orphans": 150})
        self.assertEqual(len(self.quarantined()), 100)

    def test_refused(self) -> None:
        """A node that fails in that is asked in the next pass."""
        self.put(10, 77)
        self.world.nodes.failing["set_aside"] = [NodeFault("no")]
        self.scrub(10)
        self.assertEqual(self.found(10), {})
        self.scrub(10)
        self.assertEqual(self.found(10), {"orphans": 1})

    def test_foreign(self) -> None:
        """Foreign nodes are read, but cannot list their files or set one aside."""
        self.world.nodes.foreign.add(1)
        self.put(10, 77)
        self.damage(10, 1)
        self.scrub(10)
        self.assertEqual(self.found(10), {"bad": 1, "mended": 1})
        self.assertEqual(self.quarantined(), [])
        self.assertEqual(self.bytes_on(10, 77), DATA)

    def test_dead_rows(self) -> None:
        """A row of a dead device goes, and is no bad copy."""
        self.file(5, 10, 30, checksum=False)
        devices = self.world.tables.devices
        devices[30] = evolve(devices[30], status="dead")
        self.world.look()
        self.scrub(10)
        self.assertEqual(self.found(10), {})
        self.assertEqual(self.world.tables.devids(5), (10,))
        self.assertIn(5, self.world.tables.to_replicate)
