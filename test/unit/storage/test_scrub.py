"""What a scrub asks of a node's disks, and the verbs with which it does."""

from __future__ import annotations

import errno
from hashlib import sha256
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred

from koboldfs import errors
from koboldfs.model.entities import OWN_HASHTYPE
from koboldfs.model.fid import relative_path, uri
from koboldfs.model.scrub import FULL, LAST_FOLDER, MOVED, UNREADABLE, YOUNG
from koboldfs.storage import scrub, verbs
from koboldfs.storage.digests import DIGEST_CHUNK_BYTES
from koboldfs.storage.disk import ReadOnly
from koboldfs.storage.scrub import QUARANTINE_FOLDER, Scrubbing, list_folder
from koboldfs.wire.sidechannel import Reply
from test.fakes.disk import MemoryDisk
from test.unit.storage.side_case import SideCase

#: What `MemoryDisk` says of the first files (Unix seconds).
WRITTEN = 1_700_000_000


class ScrubVerbs(SideCase):
    """``digests``, ``setaside`` and ``list``, on a disk in memory."""

    def setUp(self) -> None:
        """A node with fid 7, and the device's folder."""
        super().setUp()
        self.now = WRITTEN + 10.0
        self.root = self.node.folders.folder(1)
        copies = self.node.copies
        seconds = self.node.clock.seconds
        self.scrubbing = Scrubbing(copies, seconds, lambda: self.now)
        self.factory.verbs._scrubbing = self.scrubbing

    @property
    def disk(self) -> Any:
        """The disk, which may be told to fail."""
        return self.node.disk

    def plant(self, fid: int, data: bytes) -> None:
        """A file that lies there."""
        self.node.memory.put(f"{self.root}/{relative_path(fid)}", data)

    def kept(self) -> dict[str, bytes]:
        """The quarantine."""
        try:
            found: dict[str, bytes] = self.node.memory.files(
                f"{self.root}/{QUARANTINE_FOLDER}"
            )
        except OSError:
            return {}
        return found

    def test_digests(self) -> None:
        """In the order of the question; what is missing, and what cannot be read."""
        self.plant(8, b"eight")
        self.disk.arm(2, only=("read",))
        found = self.verb("digests devid=1&fids=9,8,7&type=SHA-256").fields
        seven = f"SHA-256:{sha256(b'data').hexdigest()}"
        eight = f"SHA-256:{sha256(b'eight').hexdigest()}"
        # The first read of a file gives its bytes, the second its end.
        self.assertEqual(found["checksums"], f"missing,unreadable,{seven}")
        found = self.verb("digests devid=1&fids=8&type=SHA-256").fields
        self.assertEqual(found["checksums"], eight)

    def test_read_from_the_disk(self) -> None:
        """The system is told to forget what it remembers of the file, or a bit that
        flipped on the disk would not be seen; of a long one also afterwards."""
        self.node.memory.begun.clear()
        self.verb("digests devid=1&fids=7&type=SHA-256")
        self.assertEqual(self.node.memory.begun, [(0, 4)])
        size = DIGEST_CHUNK_BYTES + 1
        self.plant(8, b"x" * size)
        self.node.memory.begun.clear()
        self.verb("digests devid=1&fids=8&type=SHA-256")
        self.assertEqual(self.node.memory.begun, [(0, size), (0, size)])

    def test_digests_are_bounded(self) -> None:
        """A request ends after so many bytes, or so many seconds; not before one."""
        for fid in (8, 9, 10):
            self.plant(fid, b"x" * 10)
        line = "digests devid=1&fids=8,9,10&type=MD5"
        self.patch(scrub, "MOST_DIGEST_BYTES", 20)
        self.assertEqual(len(self.verb(line).fields["checksums"].split(",")), 2)
        self.patch(scrub, "MOST_DIGEST_BYTES", 1000)
        self.patch(scrub, "MOST_DIGEST_SECONDS", 0.0)
        self.assertEqual(len(self.verb(line).fields["checksums"].split(",")), 1)

    def test_digest_faults(self) -> None:
        """What says nothing of the bytes is no bad copy; a disk that is gone has no
        missing ones."""
        self.disk.arm(1, errno.EMFILE, only=("open",))
        self.assertEqual(self.code("digests devid=1&fids=7&type=MD5"), "disk_fault")
        self.node.folders.devices()[0].identity = (9, 9)
        self.assertEqual(self.code("digests devid=1&fids=8&type=MD5"), "no_device")

    def test_refused(self) -> None:
        """One file that this process may not read does not hold up the others; it
        stays where it is."""
        self.plant(8, b"eight")
        self.disk.arm(1, errno.EACCES, only=("open",))
        found = self.verb("digests devid=1&fids=7,8&type=SHA-256").fields
        eight = f"SHA-256:{sha256(b'eight').hexdigest()}"
        self.assertEqual(found["checksums"], f"unreadable,{eight}")
        self.disk.arm(1, errno.EACCES, only=("open",))
        line = "setaside devid=1&fid=7&reason=bad&unless=SHA-256%3a" + "0" * 64
        self.assertIsNotNone(self.code(line))
        self.assertEqual(self.kept(), {})

    def code(self, line: str) -> str | None:
        """The error of a request."""
        reply: Reply = self.verb(line)
        return reply.code

    def test_set_aside(self) -> None:
        """The bytes are kept, durably, under a name that says what they were; nothing
        hands them out."""
        self.put(b"bad!")
        found = self.verb("setaside devid=1&fid=7&reason=bad").fields
        self.assertEqual(found, {"result": "moved"})
        self.node.memory.crash()
        ((name, data),) = self.kept().items()
        self.assertRegex(name, "^bad-0000000007-[0-9a-f]+$")
        self.assertEqual(data, b"bad!")
        self.assertEqual(self.verb("stat devid=1&fid=7").fields, {"size": "-1"})
        found = self.verb("setaside devid=1&fid=7&reason=bad").fields
        self.assertEqual(found, {"result": "missing"})
        self.assertEqual(self.ask(f"size {uri(1, 7)}"), [f"{uri(1, 7)} -1"])

    def test_never_overwrites(self) -> None:
        """The same number twice is kept twice."""
        for data in (b"one", b"two"):
            self.plant(8, data)
            self.assertEqual(
                self.verb("setaside devid=1&fid=8&reason=orphan").fields["result"],
                MOVED,
            )
        self.assertEqual(sorted(self.kept().values()), [b"one", b"two"])
        self.plant(8, b"three")
        inode = self.disk.stat(f"{self.root}/{relative_path(8)}").inode
        name = f"orphan-0000000008-{inode:x}"
        self.node.memory.put(f"{self.root}/{QUARANTINE_FOLDER}/{name}", b"other")
        self.verb("setaside devid=1&fid=8&reason=orphan")
        self.assertEqual(len(self.kept()), 4)

    def test_unless(self) -> None:
        """A copy that reads as it should stays; one that cannot be read goes."""
        good = f"SHA-256%3a{sha256(b'data').hexdigest()}"
        line = f"setaside devid=1&fid=7&reason=bad&unless={good}"
        self.assertEqual(self.verb(line).fields["result"], "good")
        self.disk.arm(1, errno.EMFILE, only=("open",))
        self.assertEqual(self.code(line), "disk_fault")
        self.assertEqual(self.kept(), {})
        self.disk.arm(1, only=("read",))
        self.assertEqual(self.verb(line).fields["result"], "moved")
        self.assertEqual(list(self.kept().values()), [b"data"])

    def test_older(self) -> None:
        """A file that was just written stays."""
        self.now = WRITTEN + 99.0
        line = "setaside devid=1&fid=7&reason=orphan&older=100"
        self.assertEqual(self.verb(line).fields["result"], "young")
        self.now = WRITTEN + 101.0
        self.assertEqual(self.verb(line).fields["result"], "moved")

    def test_older_than_it_looks(self) -> None:
        """A file that was copied here with the time of another one, or under another
        name, is as old as its name here: its row may still come."""
        self.disk.rename(
            f"{self.root}/{relative_path(7)}", f"{self.root}/{relative_path(8)}"
        )
        path = f"{self.root}/{relative_path(8)}"
        self.node.memory._node(path).mtime_ns = 0
        self.now = WRITTEN + 99.0
        line = "setaside devid=1&fid=8&reason=orphan&older=100"
        self.assertEqual(self.verb(line).fields["result"], "young")
        self.now = WRITTEN + 101.0
        self.assertEqual(self.verb(line).fields["result"], "moved")

    def test_written_in_between(self) -> None:
        """A copy that is put in its place between the last look and the move is put
        back; or kept, if there is still another one by then."""
        memory, path = self.node.memory, f"{self.root}/{relative_path(7)}"
        rename = memory.rename
        written = [b"new"]

        def late(old: str, new: str) -> None:
            data, written[:] = written[:1], written[1:]
            if data:
                memory.put(path, data[0])
            rename(old, new)
            if data and written:
                memory.put(path, written.pop())

        self.patch(memory, "rename", late)
        line = "setaside devid=1&fid=7&reason=bad"
        self.assertEqual(self.verb(line).fields["result"], "young")
        self.assertEqual(memory.files(self.root)[relative_path(7)], b"new")
        self.assertEqual(self.kept(), {})
        written[:] = [b"newer", b"newest"]
        self.assertEqual(self.verb(line).fields["result"], "young")
        self.assertEqual(memory.files(self.root)[relative_path(7)], b"newest")
        self.assertEqual(list(self.kept().values()), [b"newer"])

    def test_written_meanwhile(self) -> None:
        """A file that is another one by the time it would be moved stays."""
        disk, path = self.disk, f"{self.root}/{relative_path(7)}"
        found = evolve(disk.stat(path), inode=12345)
        device = self.node.folders.devices()[0]
        word = self.scrubbing._move(device, path, "bad-7", found, 9)
        self.assertEqual(word, YOUNG)
        self.assertEqual(self.kept(), {})

    def test_full(self) -> None:
        """A quarantine that nobody looks after takes no more; of what must not be
        served, some more."""
        self.patch(verbs, "MOST_QUARANTINED", 1)
        self.patch(verbs, "MOST_QUARANTINED_BEYOND", 2)
        for fid, word in ((7, MOVED), (8, FULL)):
            self.plant(fid, b"x")
            line = f"setaside devid=1&fid={fid}&reason=bad"
            self.assertEqual(self.verb(line).fields["result"], word)
        self.assertEqual(len(self.kept()), 1)
        for fid, word in ((8, MOVED), (9, FULL)):
            self.plant(fid, b"x")
            line = f"setaside devid=1&fid={fid}&reason=bad&beyond=1"
            self.assertEqual(self.verb(line).fields["result"], word)

    def test_takes_no_writes(self) -> None:
        """A device that takes no writes keeps its files where they are."""
        self.node.folders.devices()[0].refusal = "no"
        self.assertEqual(self.code("setaside devid=1&fid=7&reason=bad"), "not_writable")

    def test_flush_fails(self) -> None:
        """After a flush that failed the device takes no more writes."""
        self.disk.arm(1, only=("sync_folder",))
        self.assertEqual(self.code("setaside devid=1&fid=7&reason=bad"), "disk_fault")
        self.assertTrue(self.node.folders.devices()[0].distrusted)

    def test_list(self) -> None:
        """The fids of a folder, and which is next."""
        self.plant(1_000_005, b"")
        found = self.verb("list devid=1&folder=0&after=0").fields
        self.assertEqual(found, {"folder": "0", "fids": "7", "following": "1"})
        found = self.verb("list devid=1&folder=0&after=7").fields
        self.assertEqual(found["fids"], "1000005")
        found = self.verb("list devid=1&folder=1001&after=0").fields
        self.assertEqual(found, {"folder": "1001", "fids": ""})

    def test_bad_requests(self) -> None:
        """Arguments that are missing, no numbers, or out of range."""
        for text in (
            "digests devid=1&fids=7",
            "digests devid=1&fids=7,x&type=MD5",
            "digests devid=1&fids=&type=MD5",
            "setaside devid=1&fid=7",
            "setaside devid=1&fid=7&reason=../x",
            "setaside devid=1&fid=7&reason=bad&unless=MD5:1",
            "setaside devid=1&fid=7&reason=bad&older=-1",
            "setaside devid=1&fid=0&reason=bad",
            "list devid=1&folder=0",
            "list devid=1&folder=10000000&after=0",
            "list devid=1&folder=-1&after=0",
            "list devid=1&folder=0&after=x",
        ):
            self.assertEqual(self.code(text), "bad_request", text)
        self.assertEqual(self.code("list devid=9&folder=0&after=0"), "no_device")

    def test_unreadable_folder(self) -> None:
        """A disk that fails to list says so."""
        self.disk.arm(1, only=("names",))
        self.assertEqual(self.code("list devid=1&folder=0&after=0"), "disk_fault")

    def test_read_only_file_system(self) -> None:
        """It is said as what it is."""
        self.disk.arm(1, errno.EROFS, only=("rename",))
        working = self.scrubbing.set_aside(1, 7, "bad", None, 0)
        failing = Deferred.fromCoroutine(working)
        self.failureResultOf(failing, ReadOnly, errors.DiskFault)

    def test_disks_faults(self) -> None:
        """Of one that a file system with checksums refuses, too."""
        self.disk.arm(1, errno.EUCLEAN, only=("open",))
        found = self.successResultOf(
            Deferred.fromCoroutine(self.scrubbing.digests(1, [7], OWN_HASHTYPE))
        )
        self.assertEqual(found, [UNREADABLE])

    def test_disks_that_fail(self) -> None:
        """Several files that the disk does not read, and the device takes no writes any
        more; what is missing, or bad, says nothing about the disk."""
        for fid in (8, 9):
            self.plant(fid, b"x")
        self.verb("digests devid=1&fids=20,21,22,23&type=SHA-256")
        (device,) = self.node.folders.devices()
        for fid in (7, 7, 7, 8):
            self.disk.arm(1, errno.EIO, only=("read",))
            self.verb(f"digests devid=1&fids={fid}&type=SHA-256")
        self.assertEqual(device.distrusted, "")
        self.disk.arm(1, errno.ENODATA, only=("open",))
        self.verb("digests devid=1&fids=9&type=SHA-256")
        self.assertIn("3 files could not be read", device.distrusted)


class Lists(SideCase):
    """`list_folder`, on odd trees."""

    def listed(self, *paths: str, folder: int = 0, after: int = 0) -> Any:
        """What there is in a folder, on a disk with these files."""
        disk = MemoryDisk()
        disk.make_folders("/d")
        for path in paths:
            disk.put(f"/d/{path}", b"")
        return list_folder(disk, "/d", folder, after)

    def test_strange_names(self) -> None:
        """What is no copy's name, or in another one's place, is passed over."""
        found = self.listed(
            "0/000/000/0000000001.fid",
            "0/000/000/0000000002.fid.new",
            "0/000/000/2.fid",
            "0/000/000/0000001003.fid",
            "0/000/000/00000000003.fid",
            "0/000/000/0000000000.fid",
            "0/000/xyz/0000000004.fid",
            "0/0000/0000000005.fid",
            "00/000/000/0000000006.fid",
            "0/001",
            "usage",
            "9",
        )
        self.assertEqual((found.folder, found.fids), (0, (1,)))

    def test_long_fids(self) -> None:
        """Fids of more than ten digits lie among others."""
        found = self.listed(
            "1/234/567/1234567001.fid", "1/234/567/12345670001.fid", folder=1_234_000
        )
        self.assertEqual(found.fids, (1234567001, 12345670001))
        self.assertEqual(found.following, 1_234_568)

    def test_pages(self) -> None:
        """A full folder comes in pages, many empty ones too."""
        self.patch(scrub, "MOST_LISTED", 2)
        paths = [f"0/000/000/000000000{n}.fid" for n in range(1, 6)]
        found = self.listed(*paths)
        self.assertEqual((found.fids, found.more), ((1, 2), True))
        found = self.listed(*paths, after=4)
        self.assertEqual((found.fids, found.more), ((5,), False))
        self.patch(scrub, "MOST_FOLDERS", 2)
        empty = [f"0/000/00{n}/x" for n in range(5)]
        found = self.listed(*empty)
        self.assertEqual((found.fids, found.following), ((), 2))

    def test_last_folder(self) -> None:
        """After the last one that there can be, there is none."""
        found = self.listed("9/999/999/9999999001.fid", folder=LAST_FOLDER)
        self.assertEqual((found.fids, found.following), ((9999999001,), None))
