"""The native door over the real city hall, with nodes and database in memory."""

from __future__ import annotations

import os
from hashlib import md5, sha256

from twisted.trial.unittest import SynchronousTestCase

from koboldfs.wire import native
from koboldfs.wire.native import Code, Command, Stat
from test.fakes.native_door import Door, frames, v2
from test.fakes.world import DOMAIN, World

SMALL, LARGE = b"some bytes", os.urandom(200_000)
START = (native.u64(0), b"", b"")


class City(SynchronousTestCase):
    """Three hosts, two copies before an answer."""

    def setUp(self) -> None:
        """The world and a client."""
        self.world = World.of(3, kobold_ack_copies="2")
        self.door = Door(names=self.world.namespace)
        self.line = self.door.connect()

    def put(self, key: bytes, data: bytes) -> Stat:
        """Upload by version 2."""
        digest = sha256(data).digest()
        chunk = native.u32(len(data)) + data if data else b""
        body = chunk + native.u32(0) + digest
        told = self.line.say(v2(Command.PUT2, b"d", key, b"", b""), body)
        code, _, values = frames(told)[0]
        self.assertEqual(code, Code.OK, values)
        return Stat.stored(values)

    def put_v1(self, key: bytes, data: bytes) -> bytes:
        """Upload by version 1; the reply."""
        digest = md5(data).hexdigest().encode()
        size = native.u32(len(data))
        return self.line.say(native.request(Command.PUT, b"d", key), size, data, digest)

    def get_v1(self, key: bytes) -> bytes:
        """The reply to a GET of version 1."""
        return self.line.say(native.request(Command.GET, b"d", key))

    def reply_of(self, data: bytes) -> bytes:
        """What a GET of version 1 is answered."""
        digest = md5(data).hexdigest().encode()
        return b"\3" + native.u32(len(data)) + data + digest

    def test_two_copies(self) -> None:
        """An upload is answered when it lies on as many hosts as promised."""
        for key, data in ((b"small", SMALL), (b"large", LARGE), (b"empty", b"")):
            stat = self.put(key, data)
            self.assertEqual((stat.size, stat.copies), (len(data), 2))
            self.assertEqual(len(self.world.nodes.devices_with(stat.fid)), 2)
            self.assertEqual(self.get_v1(key), self.reply_of(data))

    def test_short_of_the_promise(self) -> None:
        """With the other hosts away, the answer says on how many the file lies."""
        self.assertFalse(self.put(b"kept", SMALL).short)
        self.world.nodes.unreachable = {2, 3}
        self.world.look()
        stat = self.put(b"short", SMALL)
        self.assertEqual((stat.hosts, stat.promised, stat.copies), (1, 2, 1))

    def test_both_versions(self) -> None:
        """What one version stores the other one reads."""
        self.assertEqual(self.put_v1(b"key", LARGE), b"\2\1")
        told = self.line.say(v2(Command.GET2, b"d", b"key", *START))
        verdict = frames(told[told.rindex(native.u32(0) + b"\1\7\0\0\0") + 4 :])
        self.assertEqual(verdict[0][2][0], sha256(LARGE).digest())

    def test_a_host_is_away(self) -> None:
        """A copy that cannot be reached is not missed."""
        stat = self.put(b"key", LARGE)
        for devid in self.world.nodes.devices_with(stat.fid):
            hostid = self.world.place(devid).host.hostid
            self.world.nodes.unreachable = {hostid}
            self.assertEqual(self.get_v1(b"key"), self.reply_of(LARGE))

    def test_one_copy_is_damaged(self) -> None:
        """A damaged copy is never given out as the file."""
        for key, data in ((b"small", SMALL), (b"large", LARGE)):
            stat = self.put(key, data)
            devid = min(self.world.nodes.devices_with(stat.fid))
            self.world.nodes.damage(self.world.place(devid), stat.fid)
            for _ in range(10):
                line = self.door.connect()
                told = line.say(native.request(Command.GET, b"d", key))
                if told != self.reply_of(data):
                    self.assertTrue(line.closed or told == bytes((Code.KO,)))
                line.leave()

    def test_wrong_md5(self) -> None:
        """What did not come as it was sent is stored nowhere."""
        says = native.request(Command.PUT, b"d", b"key")
        told = self.line.say(says, native.u32(10), SMALL, b"0" * 32)
        self.assertEqual(told, b"\2\4")
        self.assertEqual(self.get_v1(b"key"), bytes((Code.ERR_NOTFOUND,)))
        self.assertEqual(self.world.tables.files, {})

    def test_lost_in_the_middle(self) -> None:
        """A client that leaves in the middle leaves a row in the delete queue only."""
        self.line.say(v2(Command.PUT2, b"d", b"key", b"", b""), native.u32(9), b"1234")
        self.line.leave()
        self.assertEqual(self.world.tables.files, {})
        self.assertEqual(self.world.nodes.copies, {})

    def test_transaction(self) -> None:
        """Files and deletions take effect together."""
        self.put(b"old", SMALL)
        self.line.say(v2(Command.BEGIN2))
        self.put(b"new", LARGE)
        self.line.say(v2(Command.DELETE2, b"d", b"old"))
        self.assertEqual(self.get_v1(b"new"), bytes((Code.ERR_NOTFOUND,)))
        self.assertEqual(self.get_v1(b"old"), self.reply_of(SMALL))
        self.line.say(v2(Command.COMMIT2))
        self.assertEqual(self.get_v1(b"new"), self.reply_of(LARGE))
        self.assertEqual(self.get_v1(b"old"), bytes((Code.ERR_NOTFOUND,)))

    def test_transaction_of_a_lost_client(self) -> None:
        """What was not committed is gone."""
        self.line.say(v2(Command.BEGIN2))
        self.put(b"new", SMALL)
        self.line.leave()
        self.assertEqual(self.world.tables.files, {})

    def test_names(self) -> None:
        """List, rename, stat, URLs."""
        for key in (b"b", b"a", b"\xff"):
            self.put(key, SMALL)
        told = self.line.say(v2(Command.LIST, b"d", b"", b"", native.u32(0)))
        self.assertEqual(frames(told)[0][2], [b"\0", b"a", b"b", b"\xff"])
        self.line.say(v2(Command.RENAME, b"d", b"b", b"c"))
        told = self.line.say(v2(Command.STAT, b"d", b"c"))
        stat = Stat.of(frames(told)[0][2])
        self.assertEqual((stat.size, stat.class_name), (10, "default"))
        told = self.line.say(v2(Command.URLS, b"d", b"c"))
        self.assertEqual(len(frames(told)[0][2]), 2)
        self.assertEqual(DOMAIN.name, "d")
