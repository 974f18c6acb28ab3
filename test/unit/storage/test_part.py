"""PUT with Content-Range: parts of files."""

from __future__ import annotations

import errno
from base64 import b64encode
from hashlib import md5, sha256

from twisted.internet.defer import CancelledError, Deferred

from koboldfs.storage.temporary import PIECE_BYTES, Expected
from koboldfs.storage.upload import SMALL_BYTES
from koboldfs.wire.http import copy_target
from test.fakes.disk import FaultyDisk
from test.fakes.lanes import HeldLanes
from test.fakes.storage_node import FakeNode, lose
from test.unit.storage.test_http import TARGET, URI, DoorCase, get, put


def part(start: int, body: bytes, more: bytes = b"", path: bytes = URI) -> bytes:
    """A PUT of a part."""
    last = start + len(body) - 1
    return put(body, b"Content-Range: bytes %d-%d/*\r\n%s" % (start, last, more), path)


class Parts(DoorCase):
    """Each over HTTP, on a file of 200 bytes."""

    def becomes(self, content: bytes, request: bytes) -> None:
        """The request is answered 201, and the file then is that."""
        status, headers, _ = self.ask(request)
        self.assertEqual((status, headers["content-length"]), (201, "0"))
        self.assertEqual(self.node.files(), {TARGET.relative: content})
        self.data = content

    def test_replaced(self) -> None:
        """Bytes at the beginning, within, at the end, over the end, and all."""
        data = self.data
        self.becomes(b"abc" + data[3:], part(0, b"abc"))
        data = self.data
        self.becomes(data[:100] + b"abc" + data[103:], part(100, b"abc"))
        data = self.data
        self.becomes(data[:197] + b"xyz", part(197, b"xyz"))
        data = self.data
        self.becomes(data[:199] + b"long", part(199, b"long"))
        self.becomes(self.data + b"more", part(203, b"more"))
        self.becomes(b"w" * 300, part(0, b"w" * 300))

    def test_new_file(self) -> None:
        """A file that is not there has no bytes yet: its first part begins at 0."""
        other = copy_target(1, 4_000_008)
        path = b"/dev1/" + other.relative.encode()
        self.refused(416, part(1, b"x", path=path))
        self.assertEqual(self.ask(part(0, b"first", path=path))[0], 201)
        self.assertEqual(self.ask(part(5, b", second", path=path))[0], 201)
        self.assertEqual(self.node.files()[other.relative], b"first, second")

    def test_long(self) -> None:
        """A long part in a long file, and what is known of its checksum then."""
        data = bytes(range(256)) * (PIECE_BYTES // 128)
        self.assertEqual(self.ask(put(data))[0], 201)
        body = b"z" * (SMALL_BYTES * 2)
        expected = data[:77] + body + data[77 + len(body) :]
        self.becomes(expected, part(77, body))
        stat = self.successResultOf(
            Deferred.fromCoroutine(self.node.copies.copy_stat(1, 7))
        )
        self.assertEqual(stat.checksum.digest, sha256(expected).digest())

    def test_turns_of_processes(self) -> None:
        """Other processes of the node wait while old bytes and new ones are joined, and
        no longer."""
        memory = self.node.memory
        memory.calls.clear()
        self.becomes(b"abc" + self.data[3:], part(0, b"abc"))
        calls = memory.calls
        locked = calls.index("lock_folder")
        self.assertGreater(calls.index("open", locked), locked)
        self.assertNotIn("open", calls[:locked])
        self.assertNotIn("rename", calls[:locked])
        self.assertEqual(memory._locks, {})

    def test_durable(self) -> None:
        """What was answered is there after a power cut."""
        data = self.data
        self.becomes(b"abc" + data[3:], part(0, b"abc"))
        self.node.memory.crash()
        self.assertEqual(self.node.files()[TARGET.relative], b"abc" + data[3:])

    def test_chunked(self) -> None:
        """In chunks, with an MD5 of the part behind it; of another length: refused."""
        head = get(
            b"Transfer-Encoding: chunked\r\nContent-Range: bytes 0-2/*\r\n", b"PUT"
        )
        right = b"Content-MD5: %s\r\n" % b64encode(md5(b"abc").digest())
        for body, trailer in (
            (b"abcd", b""),
            (b"ab", b""),
            (b"abcd", b"Content-MD5: %s\r\n" % b64encode(md5(b"abcd").digest())),
            (b"abx", right),
        ):
            sent = b"%x\r\n%s\r\n0\r\n%s\r\n" % (len(body), body, trailer)
            self.refused(400, head + sent)
        data = self.data
        self.becomes(b"abc" + data[3:], head + b"3\r\nabc\r\n0\r\n%s\r\n" % right)

    def test_refused(self) -> None:
        """Behind the end, not what was announced, no range, no such device."""
        self.refused(416, part(201, b"x"))
        wrong = b"Content-MD5: %s\r\n" % b64encode(md5(b"!").digest())
        self.refused(400, part(0, b"abc", wrong))
        self.refused(400, put(b"abc", b"Content-Range: bytes 0-3/*\r\n"))
        self.refused(400, put(b"abc", b"Content-Range: bytes 0-2\r\n"))
        self.refused(404, part(0, b"abc", path=URI.replace(b"dev1", b"dev9")))
        self.assertEqual(self.ask(part(999, b"x"))[1]["content-range"], "bytes */200")

    def test_disk_trouble(self) -> None:
        """Whatever call fails, the file is the old one or, if only its name may not be
        durable, the new one; nothing else is left."""
        new = self.data[:10] + b"abc" + self.data[13:]
        calls, seen = 1, set()
        while True:
            self.node.disk.arm(calls, errno.EIO)
            status = self.ask(part(10, b"abc"))[0]
            self.node.disk.disarm()
            files, failed = self.node.files(), self.node.disk.failed
            self.assertIn(files.pop(TARGET.relative), (self.data, new))
            # A temporary file that cannot be removed now is removed at the next start.
            self.assertEqual(len(files), failed.count("remove"))
            if status == 201 and not failed:
                break
            seen.update(failed)
            self.setUp()
            calls += 1
        self.assertGreaterEqual(
            seen, {"create", "write", "open", "read", "sync", "rename", "sync_folder"}
        )

    def test_sender_goes_away(self) -> None:
        """Half of a part is no part."""
        channel, _ = self.node.connect()
        channel.dataReceived(part(0, b"x" * 100_000)[:-1])
        lose(channel)
        self.assertEqual(self.node.files(), {TARGET.relative: self.data})
        self.assertEqual(self.node.memory.open_count, 0)


class Turns(DoorCase):
    """Several parts of a file at the same time."""

    def setUp(self) -> None:
        """A node whose lanes are held."""
        self.lanes = HeldLanes()
        self.node = FakeNode(disk=FaultyDisk, lanes=self.lanes)

    def test_none_is_lost(self) -> None:
        """Parts that end at the same time are joined one after another; one that was
        given up while it waited leaves nothing."""
        finishing = []
        for start, body in ((0, b"one"), (3, b"two"), (6, b"six"), (6, b"new")):
            upload = self.node.copies.part(TARGET, start, Expected(len(body)))
            upload.write(body)
            finishing.append(upload.finish())
        self.assertEqual(len(self.lanes.jobs), 1)
        finishing[2].cancel()
        self.failureResultOf(finishing[2], CancelledError)
        self.lanes.run_all()
        for one in (0, 1, 3):
            self.successResultOf(finishing[one])
        self.assertEqual(self.node.files(), {TARGET.relative: b"onetwonew"})
        self.assertEqual(self.node.memory.open_count, 0)
