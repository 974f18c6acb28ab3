"""What a scrub does about copies that are not as they should be."""

from __future__ import annotations

from hashlib import md5

from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from koboldfs.jobs import mending
from koboldfs.model.entities import FSCK_TASK, MD5, Checksum
from koboldfs.model.scrub import FULL
from test.fakes.nodes import own_checksum
from test.unit.jobs.scrub_case import DATA, ScrubCase


class Mended(ScrubCase):
    """Some copy is good."""

    def assert_sound(self, fid: int, *devids: int) -> None:
        """Exactly these devices have the file, recorded and on their disks."""
        self.assertEqual(self.world.tables.devids(fid), devids)
        for devid in devids:
            self.assertEqual(self.bytes_on(devid, fid), DATA)

    def test_flipped(self) -> None:
        """A bad copy is kept, replaced, and what replaced it is read back."""
        self.file(5)
        self.damage(20, 5)
        self.scrub(20)
        self.assertEqual(self.found(20), {"bad": 1, "mended": 1})
        self.assert_sound(5, 10, 20, 30)
        self.assertEqual(self.quarantined(), [(20, 5, "bad")])
        self.assertNotEqual(self.world.nodes.quarantine[0][3], DATA)
        self.assertIn((5, "BSUM", 20), self.events)
        read = [call for call in self.world.asked("digest") if call[:2] == (20, 5)]
        self.assertGreater(len(read), 2, "it was not read back")

    def test_row_stands_while_bytes_move(self) -> None:
        """Else somebody could copy to that device just then."""
        self.file(5)
        self.damage(20, 5)
        seen: list[tuple[int, ...]] = []
        nodes, set_aside = self.world.nodes, self.world.nodes.set_aside

        async def watched(*args: object, **options: object) -> str:
            seen.append(self.world.tables.devids(5))
            return await set_aside(*args, **options)  # type: ignore[arg-type]

        self.patch(type(nodes), "set_aside", lambda self, *a, **o: watched(*a, **o))
        self.scrub(20)
        self.assertEqual(seen, [(10, 20, 30)])

    def test_two_of_three(self) -> None:
        """One good copy is enough to mend both others, whichever is met first."""
        self.file(5)
        self.damage(10, 5)
        self.damage(20, 5)
        self.scrub(10)
        self.assertEqual(self.found(10), {"bad": 2, "mended": 2})
        self.assert_sound(5, 10, 20, 30)

    def test_missing(self) -> None:
        """A row without bytes goes, and the file is copied there again."""
        self.file(5)
        self.lose(30, 5)
        self.scrub(30)
        self.assertEqual(self.found(30), {"missing": 1, "mended": 1})
        self.assert_sound(5, 10, 20, 30)
        self.assertEqual(self.quarantined(), [])

    def test_wrong_length(self) -> None:
        """A copy of another length is a bad one."""
        self.file(5)
        self.world.nodes.copies[2, 20, 5] = b"short"
        self.scrub(20)
        self.assertEqual(self.found(20), {"bad": 1, "mended": 1})
        self.assert_sound(5, 10, 20, 30)

    def test_swapped(self) -> None:
        """Two files in each other's place on one disk are both found."""
        self.file(5)
        self.world.file(6, [10, 20, 30], b"THE BYTES")
        copies = self.world.nodes.copies
        copies[2, 20, 5], copies[2, 20, 6] = copies[2, 20, 6], copies[2, 20, 5]
        self.scrub(20)
        self.assertEqual(self.found(20), {"bad": 2, "mended": 2})
        self.assertEqual(self.bytes_on(20, 6), b"THE BYTES")
        self.assert_sound(5, 10, 20, 30)

    def test_unreadable(self) -> None:
        """A copy that the disk does not give is moved away and made anew."""
        self.file(5)
        self.world.nodes.unreadable.add((20, 5))
        self.scrub(20)
        self.assertEqual(self.found(20), {"bad": 1, "mended": 1})
        self.assert_sound(5, 10, 20, 30)
        self.assertEqual(self.quarantined(), [(20, 5, "bad")])

    def test_read_wrongly_once(self) -> None:
        """What reads well the second time is left alone."""
        self.file(5)
        self.world.nodes.glitches[20, 5] = b"the bites"
        self.scrub(20)
        self.assertEqual(self.found(20), {})
        self.assertEqual(self.quarantined(), [])
        self.assertEqual(self.events, [])

    def test_node_reads_well(self) -> None:
        """The node looks once more before it moves anything."""
        self.file(5)
        self.damage(20, 5)
        nodes = self.world.nodes
        good = {"set_aside": 0}
        set_aside = nodes.set_aside

        async def healed(*args: object, **options: object) -> str:
            nodes.put(self.world.place(20), 5, DATA)
            good["set_aside"] += 1
            return await set_aside(*args, **options)  # type: ignore[arg-type]

        self.patch(type(nodes), "set_aside", lambda self, *a, **o: healed(*a, **o))
        self.scrub(20)
        self.assertEqual(good, {"set_aside": 1})
        self.assertEqual(self.found(20), {})
        self.assert_sound(5, 10, 20, 30)

    def test_quarantine_refused(self) -> None:
        """A device that takes no writes keeps the bytes; nobody is sent there."""
        self.file(5)
        self.damage(20, 5)
        self.world.nodes.readonly.add(20)
        self.world.look()
        self.scrub(20)
        self.assertEqual(self.found(20), {"bad": 1})
        self.assertEqual(self.world.tables.devids(5), (10, 30))
        self.assertIn(5, self.world.tables.to_replicate)

    def test_quarantine_full(self) -> None:
        """That is told; a good copy takes the place of the bad one."""
        self.file(5)
        self.damage(20, 5)

        async def full(*args: object, **options: object) -> str:
            return FULL

        self.patch(type(self.world.nodes), "set_aside", full)
        events: list[LogEvent] = []
        globalLogPublisher.addObserver(events.append)
        self.addCleanup(globalLogPublisher.removeObserver, events.append)
        self.scrub(20)
        self.assertEqual(self.found(20), {"bad": 1, "mended": 1})
        self.assert_sound(5, 10, 20, 30)
        told = [formatEvent(one) for one in events if one["log_level"].name == "error"]
        self.assertIn("the quarantine of device 20 is full", " ".join(told))

    def test_not_read_back(self) -> None:
        """A replacement that reads wrongly is not called mended, nor recorded."""
        self.file(5)
        self.damage(20, 5)

        async def torn(source: object, target: object, fid: int) -> None:
            self.world.nodes.glitches[20, 5] = b"the bites"

        self.world.nodes.before_copy = torn
        self.scrub(20)
        self.assertEqual(self.found(20), {"bad": 1})
        self.assertEqual(self.world.tables.devids(5), (10, 30))
        self.assertIn(5, self.world.tables.to_replicate)

    def test_changed_meanwhile(self) -> None:
        """If others change the copies, the finding is not recorded; fsck looks."""
        self.file(5)
        self.lose(20, 5)
        scrubs = self.world.store.scrubs
        record = scrubs.record

        async def late(findings: object, seconds: int) -> object:
            self.world.tables.file_on.discard((5, 30))
            return await record(findings, seconds)  # type: ignore[arg-type]

        self.patch(type(scrubs), "record", lambda self, *a: late(*a))
        self.scrub(20)
        self.assertEqual(self.world.tables.devids(5), (10, 20))
        self.assertIn((FSCK_TASK, 5), self.world.tables.tasks)

    def test_no_checksum(self) -> None:
        """A file of MogileFS gets our checksum when its copies agree; when they do
        not, that is told, and nothing is taken away."""
        self.file(5, checksum=False)
        self.file(6, checksum=False)
        self.damage(20, 6)
        self.scrub(10)
        self.assertEqual(self.world.tables.own_checksums[5], own_checksum(DATA))
        self.assertNotIn(6, self.world.tables.own_checksums)
        self.assertEqual(self.found(10), {"bad": 1})
        self.assertEqual(self.events, [(6, "MSUM", None)])
        self.assertEqual(self.quarantined(), [])

    def test_class_checksum(self) -> None:
        """One whose class has a checksum is judged by that."""
        self.world.add_class(1, "sums", hashtype=MD5)
        self.world.look()
        self.file(5, checksum=False, classid=1)
        digest = bytes.fromhex("ec7ae7aa7d1ad28fd1ad55dc0d6d11de")
        self.world.tables.class_checksums[5] = Checksum(MD5, digest)
        self.scrub(10)
        self.assertIn((5, "BSUM", None), self.events)
        self.assertEqual(self.quarantined(), [])

    def test_class_checksum_replaced(self) -> None:
        """Of a file of MogileFS, too, what was made anew by the time when the node
        comes to it stays."""
        self.world.add_class(1, "sums", hashtype=MD5)
        self.world.look()
        self.file(5, checksum=False, classid=1)
        self.world.tables.class_checksums[5] = Checksum(MD5, md5(DATA).digest())
        self.damage(20, 5)
        nodes, set_aside = self.world.nodes, self.world.nodes.set_aside

        async def healed(*args: object, **options: object) -> str:
            nodes.put(self.world.place(20), 5, DATA)
            return await set_aside(*args, **options)  # type: ignore[arg-type]

        self.patch(type(nodes), "set_aside", lambda self, *a, **o: healed(*a, **o))
        self.scrub(20)
        self.assertEqual(self.quarantined(), [])
        self.assertEqual(self.world.tables.devids(5), (10, 20, 30))


class Lost(ScrubCase):
    """No copy is good, or some cannot be asked."""

    def test_all_bad(self) -> None:
        """Rows and key stay, bytes are kept apart, and it is told once."""
        self.file(5)
        for devid in (10, 20, 30):
            self.damage(devid, 5)
        self.scrub(10)
        self.assertEqual(self.found(10), {"bad": 3, "lost": 1})
        self.assertEqual(self.world.tables.devids(5), (10, 20, 30))
        self.assertEqual(len(self.quarantined()), 3)
        self.assertEqual(list(self.world.store.scrubs.lost), [5])
        events = self.events
        self.assertIn((5, "BSUM", None), events)
        self.scrub(20, 30)
        self.assertEqual(self.found(20), {"lost": 1})
        self.assertEqual(self.events, events)
        self.assertEqual(self.world.tables.devids(5), (10, 20, 30))
        self.assertEqual(len(self.flushLoggedErrors()), 0)

    def test_gone(self) -> None:
        """So is a file of which there is nothing at all."""
        self.file(5)
        for devid in (10, 20, 30):
            self.lose(devid, 5)
        self.scrub(10)
        self.assertEqual(self.found(10), {"lost": 1})
        self.assertEqual(self.world.tables.devids(5), (10, 20, 30))
        self.assertIn((5, "GONE", None), self.events)

    def test_put_back(self) -> None:
        """A copy that comes back, by hand, ends that, and the others are made."""
        self.file(5)
        for devid in (10, 20, 30):
            self.lose(devid, 5)
        self.scrub(10)
        self.world.nodes.put(self.world.place(20), 5, DATA)
        self.scrub(20)
        self.assertEqual(self.world.store.scrubs.lost, {})
        self.scrub(10)
        self.assertEqual(self.found(10), {"missing": 2, "mended": 2})
        self.assertEqual(self.world.tables.devids(5), (10, 20, 30))

    def test_found_elsewhere(self) -> None:
        """When no recorded copy is good, all devices are searched."""
        self.file(5, 10, 20)
        self.world.nodes.put(self.world.place(30), 5, DATA)
        self.damage(10, 5)
        self.damage(20, 5)
        self.scrub(10)
        self.assertEqual(self.found(10), {"bad": 2, "mended": 2})
        self.assertEqual(self.world.tables.devids(5), (10, 20, 30))
        self.assertEqual(self.world.store.scrubs.lost, {})

    def test_quarantine_full(self) -> None:
        """Nobody is sent to copies that are all known to be bad."""
        asked: list[object] = []
        nodes, set_aside = self.world.nodes, self.world.nodes.set_aside

        async def full(*args: object, **options: object) -> str:
            asked.append(options.get("beyond"))
            if not options.get("beyond"):
                return FULL
            return await set_aside(*args, **options)  # type: ignore[arg-type]

        self.patch(type(nodes), "set_aside", lambda self, *a, **o: full(*a, **o))
        self.file(5)
        for devid in (10, 20, 30):
            self.damage(devid, 5)
        self.scrub(10)
        self.assertEqual(self.found(10), {"bad": 3, "lost": 1})
        self.assertEqual(nodes.devices_with(5), set())
        self.assertEqual(asked, [True] * 3)

    def test_many_are_logged_together(self) -> None:
        """One line tells of all, with some examples."""
        lines: list[str] = []

        def critical(log: object, format: str, **values: object) -> None:
            lines.append(format.format(**values))

        self.patch(type(mending.Mending.log), "critical", critical)
        for fid in range(1, 9):
            self.file(fid)
            for devid in (10, 20, 30):
                self.lose(devid, fid)
        self.scrub(10)
        self.assertEqual(self.found(10), {"lost": 8})
        (line,) = lines
        self.assertIn("8 files are LOST", line)
        self.assertIn("fid 5 (", line)
        self.assertNotIn("fid 6 (", line)
        self.assertIn("; and 3 more", line)

    def test_too_many(self) -> None:
        """When very many files seem to be lost, their copies stay where they are."""
        self.patch(mending, "MOST_LOST_MOVED", 1)
        for fid in (5, 600):
            self.file(fid)
            for devid in (10, 20, 30):
                self.damage(devid, fid)
        self.patch(mending, "INSPECTED_AT_ONCE", 1)
        self.scrub(10)
        self.assertEqual(self.found(10), {"bad": 3, "lost": 2})
        self.assertIsNotNone(self.bytes_on(10, 600))

    def test_others_away(self) -> None:
        """A bad copy is moved away though nobody can say yet whether there is a good
        one; fsck looks at the file until that is known."""
        self.file(5)
        self.damage(10, 5)
        self.world.nodes.unreachable |= {2, 3}
        self.world.look()
        self.scrub(10)
        self.assertEqual(self.found(10), {"bad": 1})
        self.assertEqual(self.quarantined(), [(10, 5, "bad")])
        self.assertEqual(self.world.tables.devids(5), (10, 20, 30))
        self.assertIn((FSCK_TASK, 5), self.world.tables.tasks)
        self.assertEqual(self.world.store.scrubs.lost, {})

    def test_others_away_without_checksum(self) -> None:
        """Nothing can be said of that file now."""
        self.file(5, checksum=False)
        self.world.nodes.unreachable |= {2, 3}
        self.world.look()
        self.scrub(10)
        self.assertEqual(self.found(10), {})
        self.assertEqual(self.quarantined(), [])

    def test_ours_is_wrong(self) -> None:
        """Nothing is taken away from its place if it is our checksum that is wrong, as
        that of the class says."""
        self.file(5)
        self.world.tables.own_checksums[5] = own_checksum(b"other")
        self.world.tables.class_checksums[5] = Checksum(MD5, md5(DATA).digest())
        self.scrub(10)
        self.assertEqual(self.found(10), {"lost": 1})
        self.assertEqual(self.quarantined(), [])
        self.assertEqual(self.world.tables.devids(5), (10, 20, 30))
