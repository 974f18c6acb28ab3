"""A connection of the native door: order, backpressure, deadlines, ends."""

from __future__ import annotations

from hashlib import md5, sha256

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.errors import DatabaseAway
from koboldfs.tracker.native import IDLE_SECONDS, REPLIES_BYTES, STALL_SECONDS
from koboldfs.tracker.native_body import FULL_BYTES
from koboldfs.tracker.native_session import TRANSACTION_SECONDS
from koboldfs.wire import native
from koboldfs.wire.native import Code, Command
from test.fakes.native_door import CLIENT_IP, Door, Line, frames, v2

PING = native.request(Command.PING)
GET = native.request(Command.GET, b"d", b"key")
PUT2 = v2(Command.PUT2, b"d", b"key", b"", b"")
BIG = bytes(200_000)


class DoorCase(SynchronousTestCase):
    """A door with one client."""

    def setUp(self) -> None:
        """The door."""
        self.door = Door()
        self.names = self.door.names
        self.line = self.door.connect()

    def pass_time(self, seconds: float) -> None:
        """Time goes by, and the door looks at its clock."""
        self.door.clock.advance(seconds)
        self.door.factory.sweep()

    def assert_ended_after(self, seconds: float) -> None:
        """The connection lives for that long, and not longer."""
        self.pass_time(seconds - 1)
        self.assertFalse(self.line.closed)
        self.pass_time(2)
        self.assertTrue(self.line.closed)


class Order(DoorCase):
    """One request after another."""

    def test_replies_in_order(self) -> None:
        """A request waits for the one before it, however long that takes."""
        self.names.store("key", b"x")
        waiting: Deferred[None] = Deferred()
        self.names.pausing["locate"] = waiting
        self.assertEqual(self.line.say(GET, PING), b"")
        del self.names.pausing["locate"]
        waiting.callback(None)
        reply = self.line.heard()
        self.assertEqual((reply[0], reply[-1]), (Code.TRANSFER, Code.OK))

    def test_ahead(self) -> None:
        """What is sent ahead waits in the socket, not here."""
        waiting: Deferred[None] = Deferred()
        self.names.pausing["locate"] = waiting
        self.line.say(GET)
        self.assertFalse(self.line.paused)
        self.line.say(PING)
        self.assertTrue(self.line.paused)
        waiting.callback(None)
        self.assertFalse(self.line.paused)
        self.assertEqual(self.line.heard(), bytes((Code.ERR_NOTFOUND, Code.OK)))

    def test_many_at_once(self) -> None:
        """Thousands of requests in one piece do not nest."""
        self.assertEqual(self.line.say(PING * 5000), b"\1" * 5000)

    def test_gathered(self) -> None:
        """Replies to what was sent ahead leave together, in their order, also before
        a large file; but not more at once than has a use."""
        self.names.store("key", b"x")
        self.names.store("big", BIG)
        writes: list[bytes] = []
        write = self.line.transport.write
        self.patch(
            self.line.transport,
            "write",
            lambda data: (writes.append(data), write(data)),
        )
        get_big = native.request(Command.GET, b"d", b"big")
        told = self.line.say(PING * 3 + GET + PING + get_big + PING)
        small = b"\3" + native.u32(1) + b"x" + md5(b"x").hexdigest().encode()
        large = b"\3" + native.u32(len(BIG)) + BIG + md5(BIG).hexdigest().encode()
        self.assertEqual(told, b"\1\1\1" + small + b"\1" + large + b"\1")
        self.assertEqual(writes[0], b"\1\1\1" + small + b"\1")
        writes.clear()
        self.line.say(PING * (REPLIES_BYTES + 1))
        self.assertEqual([len(data) for data in writes], [REPLIES_BYTES, 1])

    def test_counted(self) -> None:
        """The door counts what was asked."""
        self.line.say(PING, PING, v2(Command.PING2))
        self.assertEqual(self.door.factory.requests, {"ping_v1": 2, "ping": 1})

    def test_peer(self) -> None:
        """URLs are chosen for the address that the client has."""
        self.names.store("key", b"x")
        self.line.say(native.request(Command.GET_URL, b"d", b"key"))
        self.assertIn(("paths", "key", 1, CLIENT_IP), self.names.calls)


class Backpressure(DoorCase):
    """Nobody's bytes pile up here."""

    def test_upload(self) -> None:
        """A client that is faster than the nodes is paused, and resumed."""
        waiting: Deferred[None] = Deferred()
        self.names.pausing["write"] = waiting
        piece = bytes(FULL_BYTES)
        self.line.say(PUT2 + native.u32(2 * FULL_BYTES), piece)
        self.assertFalse(self.line.paused)
        self.line.say(piece)
        self.assertTrue(self.line.paused)
        del self.names.pausing["write"]
        waiting.callback(None)
        self.assertFalse(self.line.paused)
        digest = sha256(2 * piece).digest()
        self.line.say(native.u32(0) + digest)
        self.assertEqual(self.names.data("key"), 2 * piece)

    def test_download(self) -> None:
        """A client that is slower than the nodes pauses them, and goes on."""
        self.names.store("key", BIG)
        reads: list[int] = []
        write = self.line.transport.writeSequence

        def take(pieces: list[bytes]) -> None:
            write(pieces)
            reads.append(len(pieces))
            if len(reads) == 3:
                self.line.protocol.pauseProducing()

        self.patch(self.line.transport, "writeSequence", take)
        begin = self.line.say(GET)
        self.assertEqual(len(reads), 3)
        self.line.protocol.resumeProducing()
        self.assertEqual(len(reads), -(-len(BIG) // 1024))
        digest = md5(BIG).hexdigest().encode()
        head = b"\3" + native.u32(len(BIG))
        self.assertEqual(begin + self.line.heard(), head + BIG + digest)

    def test_replies(self) -> None:
        """A client that takes no replies gets no further ones."""
        self.line.protocol.pauseProducing()
        self.assertEqual(self.line.say(PING * 3), b"")
        self.assertTrue(self.line.paused)
        self.line.protocol.resumeProducing()
        self.assertFalse(self.line.paused)
        self.assertEqual(self.line.heard(), b"\1\1\1")


class Deadlines(DoorCase):
    """A client that stalls is let go."""

    def test_idle(self) -> None:
        """After a long time without a request."""
        self.line.say(PING)
        self.assert_ended_after(IDLE_SECONDS)

    def test_used(self) -> None:
        """Every request begins the time anew."""
        for _ in range(3):
            self.pass_time(IDLE_SECONDS - 1)
            self.line.say(PING)
        self.assertFalse(self.line.closed)

    def test_half_a_request(self) -> None:
        """A request has to come as a whole, not in ever more pieces."""
        request = native.request(Command.GET, b"d" * 200, b"")
        for at in range(int(STALL_SECONDS)):
            self.line.say(request[at : at + 1])
            self.pass_time(1)
        self.assertFalse(self.line.closed)
        self.pass_time(2)
        self.assertTrue(self.line.closed)

    def test_half_an_upload(self) -> None:
        """Bytes of an upload have to come one after another; it is thrown away."""
        self.line.say(PUT2, native.u32(100))
        for _ in range(5):
            self.pass_time(STALL_SECONDS - 1)
            self.line.say(b"x")
        self.assert_ended_after(STALL_SECONDS)
        self.line.leave()
        self.assertEqual(self.names.uploads, set())

    def test_slow_nodes(self) -> None:
        """While the nodes take their time, it is not the client that stalls."""
        waiting: Deferred[None] = Deferred()
        self.names.pausing["write"] = waiting
        self.line.say(PUT2, native.u32(2), b"x")
        self.pass_time(10 * STALL_SECONDS)
        self.assertFalse(self.line.closed)
        del self.names.pausing["write"]
        waiting.callback(None)
        self.assert_ended_after(STALL_SECONDS)

    def test_replies_not_taken(self) -> None:
        """A client that takes nothing any more."""
        self.names.store("key", BIG)
        self.line.protocol.pauseProducing()
        self.line.say(GET)
        self.assert_ended_after(STALL_SECONDS)

    def test_transaction(self) -> None:
        """A transaction ends before its uploads are taken for abandoned."""
        self.line.say(native.request(Command.BEGIN))
        self.pass_time(TRANSACTION_SECONDS - 1)
        self.line.say(PING)
        self.assertFalse(self.line.closed)
        self.pass_time(2)
        self.assertTrue(self.line.closed)

    def test_work(self) -> None:
        """What takes long in the cluster has deadlines there."""
        self.names.pausing["locate"] = Deferred()
        self.line.say(GET)
        self.pass_time(10 * IDLE_SECONDS)
        self.assertFalse(self.line.closed)


class Ends(DoorCase):
    """A client leaves, or has to."""

    def put_in_transaction(self) -> None:
        """An upload that waits for COMMIT."""
        data = native.u32(1) + b"x" + native.u32(0) + sha256(b"x").digest()
        self.line.say(v2(Command.BEGIN2), PUT2, data)
        self.assertEqual(len(self.names.uploads), 1)

    def test_transaction(self) -> None:
        """A connection that ends is an ABORT."""
        self.put_in_transaction()
        self.line.leave()
        self.assertEqual((self.names.uploads, self.names.data("key")), (set(), None))

    def test_transaction_at_work(self) -> None:
        """Also when a request of the transaction is still under way."""
        self.put_in_transaction()
        waiting: Deferred[None] = Deferred()
        self.names.pausing["locate"] = waiting
        self.line.say(GET)
        self.line.leave()
        self.assertEqual(len(self.names.uploads), 1)
        waiting.callback(None)
        self.assertEqual(self.names.uploads, set())

    def test_commit_goes_on(self) -> None:
        """A COMMIT that was begun is not undone by the client's leaving."""
        self.put_in_transaction()
        waiting: Deferred[None] = Deferred()
        self.names.pausing["commit"] = waiting
        self.line.say(v2(Command.COMMIT2))
        self.line.leave()
        waiting.callback(None)
        self.assertEqual(self.names.data("key"), b"x")

    def test_download_stops(self) -> None:
        """Nothing is read for a client that is gone."""
        self.names.store("key", BIG)
        self.line.protocol.pauseProducing()
        self.line.protocol.resumeProducing()
        self.patch(
            self.line.transport,
            "writeSequence",
            lambda pieces: self.line.protocol.pauseProducing(),
        )
        self.line.say(GET)
        self.line.leave()
        self.assertIsNone(self.line.protocol._running)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_broken_get(self) -> None:
        """Version 1 cannot say that a file broke off: the connection does."""
        self.names.store("key", BIG)
        self.names.cut[1] = 3000
        told = self.line.say(GET)
        self.assertEqual(told, b"\3" + native.u32(len(BIG)) + BIG[:3000])
        self.assertTrue(self.line.closed)

    def test_damaged_get(self) -> None:
        """Version 1: wrong bytes get no md5 that fits them."""
        self.names.damaged.add(self.names.store("key", BIG))
        told = self.line.say(GET)
        self.assertEqual(len(told), 5 + len(BIG))
        self.assertTrue(self.line.closed)

    def test_large_get_without_checksum(self) -> None:
        """When the database cannot tell the checksum, nobody vouches for the bytes."""
        self.names.store("key", BIG)
        self.names.failing["own_checksum"] = [DatabaseAway()]
        self.line.say(GET)
        self.assertTrue(self.line.closed)

    def test_close_idle(self) -> None:
        """An idle connection ends at once."""
        self.line.protocol.close()
        self.assertTrue(self.line.closed)
        self.assertEqual(self.line.say(PING), b"")

    def test_close_busy(self) -> None:
        """One at work ends after its reply; an upload under way gets there."""
        self.line.say(PUT2, native.u32(1))
        self.line.protocol.close()
        self.assertFalse(self.line.closed)
        told = self.line.say(b"x", native.u32(0) + sha256(b"x").digest())
        self.assertEqual(frames(told)[0][0], Code.OK)
        self.assertEqual(self.names.data("key"), b"x")
        self.assertTrue(self.line.closed)

    def test_defect(self) -> None:
        """A defect is logged with its traceback, and answered without it."""
        self.names.failing["locate"] = [ZeroDivisionError("secret"), KeyError("x")]
        told = self.line.say(v2(Command.STAT, b"d", b"key"))
        values = [b"failure", b"Operation failed"]
        self.assertEqual(frames(told), [(Code.FAULT, 7, values)])
        self.assertEqual(self.line.say(GET), bytes((Code.KO,)))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError, KeyError)), 2)

    def test_defect_of_the_door(self) -> None:
        """A door that cannot even answer ends the connection, and its transaction."""
        for leaves in (False, True):
            self.line = self.door.connect()
            self.put_in_transaction()
            waiting: Deferred[None] = Deferred()
            self.names.pausing["locate"] = waiting
            self.line.say(GET)
            if leaves:
                self.line.leave()
            self.patch(self.line.protocol, "send", lambda data: 1 / 0)
            del self.names.pausing["locate"]
            waiting.callback(None)
            self.assertEqual(self.line.closed, not leaves)
            if not leaves:
                self.line.leave()
            self.assertEqual(self.names.uploads, set())
            self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_no_url(self) -> None:
        """A file on no device has no URL."""
        fid = self.names.store("key", b"x")
        self.names.closings[fid] = evolve(self.names.closings[fid], devids=())
        told = self.line.say(native.request(Command.GET_URL, b"d", b"key"))
        self.assertEqual(told, bytes((Code.KO,)))

    def test_large_get_that_never_begins(self) -> None:
        """An error before the first byte is a reply, in both versions."""
        self.names.store("key", BIG)
        self.names.failing["read"] = [DatabaseAway(), DatabaseAway()]
        self.assertEqual(self.line.say(GET), bytes((Code.KO,)))
        rest = (native.u64(0), b"", b"")
        told = frames(self.line.say(v2(Command.GET2, b"d", b"key", *rest)))
        self.assertEqual(told[0][0], Code.FAULT)
        self.assertFalse(self.line.closed)

    def test_reset_in_version_2(self) -> None:
        """A client that speaks version 2 is told in version 2 what was wrong."""
        self.line.say(v2(Command.PING2))
        told = frames(self.line.say(b"\x90\xff"))
        self.assertEqual(told, [(8, 0, [b"bad_request", b"too many arguments"])])
        self.assertTrue(self.line.closed)


class Sockets(SynchronousTestCase):
    """What is asked of a real transport."""

    def test_no_delay(self) -> None:
        """Small replies are not held back by the kernel."""
        door = Door()
        protocol = door.factory.buildProtocol(None)
        line = Line(protocol, door.connect().transport)  # type: ignore[arg-type]
        asked: list[bool] = []
        line.transport.setTcpNoDelay = asked.append  # type: ignore[attr-defined]
        line.transport.producer = None
        protocol.makeConnection(line.transport)
        self.assertEqual(asked, [True])

    def test_acknowledged_at_once(self) -> None:
        """Pieces of a version 1 request are acknowledged before the rest came."""
        door = Door()
        line = door.connect()
        options: list[int] = []

        class Handle:
            """A socket."""

            def setsockopt(self, level: int, option: int, value: int) -> None:
                """Note it; then it is closed."""
                options.append(value)
                if len(options) > 1:
                    raise OSError("closed")

        line.transport.getHandle = Handle  # type: ignore[attr-defined]
        self.patch(__import__("koboldfs.tracker.native").tracker.native, "_QUICKACK", 1)
        self.assertEqual(line.say(GET[:4], GET[4:9], GET[9:]), b"\7")
        self.assertEqual(options, [1, 1])
        line.say(v2(Command.PING2)[:3])
        self.assertEqual(len(options), 3)
        line.say(v2(Command.PING2)[3:], v2(Command.PING2)[:3])
        self.assertEqual(len(options), 3)
