"""A connection's life: order, flow, ends, and what goes wrong."""

from __future__ import annotations

from functools import partial

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from koboldfs.tracker.call import Call, Pairs, Services, TrackerCommand
from koboldfs.tracker.commands import COMMAND_LISTS, Commands
from koboldfs.tracker.protocol import (
    MAX_TOGETHER,
    MAX_WAITING_BYTES,
    MAX_WAITING_REQUESTS,
    REPLY_SECONDS,
    REQUESTS_PER_TURN,
    TrackerProtocol,
)
from koboldfs.wire.tracker import MAX_LINE_BYTES
from test.fakes.city import City

TOO_LONG = b"ERR line_too_long The+request+line+is+too+long\r\n"


class ConnectionCase(SynchronousTestCase):
    """A city with one connection, and a command `wait` that the test ends."""

    def setUp(self) -> None:
        self.city = City()
        self.pending: list[Deferred[str]] = []

        async def wait(services: Services, call: Call) -> Pairs:
            """Wait for the test, twice if so asked."""
            for _ in range(1 + call.true("twice")):
                self.pending.append(Deferred())
                word = await self.pending[-1]
            return [("word", word)]

        async def odd(services: Services, call: Call) -> Pairs:
            """Return what cannot be sent."""
            return [("euro", "\u20ac")]

        rows = (
            TrackerCommand("wait", wait),
            TrackerCommand("odd", odd),
            TrackerCommand(
                "share", wait, together=lambda arguments: "alone" not in arguments
            ),
        )
        self.city.factory.door.commands = Commands(
            self.city.services, [*COMMAND_LISTS, rows]
        )
        self.connection, self.transport = self.city.connect()

    def said(self) -> bytes:
        """What was answered since the last time."""
        value: bytes = self.transport.value()
        self.transport.clear()
        return value

    def give(self, data: bytes) -> None:
        """Bytes from the client, in blocks as a socket gives them."""
        for start in range(0, len(data), 65536):
            self.connection.dataReceived(data[start : start + 65536])

    def end(self, word: str) -> None:
        """The oldest waiting command ends."""
        self.pending.pop(0).callback(word)


class Order(ConnectionCase):
    """One after another."""

    def test_interfaces(self) -> None:
        """What the reactor asks for is there."""
        self.assertTrue(verifyObject(IHalfCloseableProtocol, self.connection))
        self.assertTrue(verifyObject(IPushProducer, self.connection))

    def test_lines(self) -> None:
        """LF or CRLF ends a line, empty ones are skipped, replies end CRLF."""
        self.give(b"noop\n\n\r\nnoop\r\n\n")
        self.assertEqual(self.said(), b"OK \r\nOK \r\n")

    def test_pieces(self) -> None:
        """Nothing happens before a line's end."""
        self.give(b"no")
        self.give(b"op callid=")
        self.assertEqual(self.said(), b"")
        self.give(b"1\r")
        self.assertEqual(self.said(), b"")
        self.give(b"\nnoop")
        self.assertEqual(self.said(), b"OK callid=1\r\n")

    def test_one_at_a_time(self) -> None:
        """A request is not begun before the one before it is answered."""
        self.give(b"wait callid=1\nwait callid=2\nnoop callid=3\n")
        self.assertEqual(len(self.pending), 1)
        self.end("a")
        self.assertEqual(self.said(), b"OK word=a&callid=1\r\n")
        self.give(b"noop callid=4\n")
        self.assertEqual(self.said(), b"")
        self.end("b")
        self.assertEqual(
            self.said(), b"OK word=b&callid=2\r\nOK callid=3\r\nOK callid=4\r\n"
        )

    def test_connections_do_not_wait(self) -> None:
        """A slow request on one connection holds up no other."""
        other, transport = self.city.connect()
        self.give(b"wait\n")
        other.dataReceived(b"noop\n")
        self.assertEqual(transport.value(), b"OK \r\n")

    def test_waiting_twice(self) -> None:
        """A command may wait more than once."""
        self.give(b"wait twice=1\n")
        self.end("a")
        self.assertEqual(self.said(), b"")
        self.end("b")
        self.assertEqual(self.said(), b"OK word=b\r\n")
        self.assertEqual(self.city.factory.statistics.processing, 0)

    def test_failing_after_waiting(self) -> None:
        """An error after a wait is answered like any other, and logged if ours."""
        self.give(b"wait\nwait\nnoop\n")
        self.pending.pop(0).errback(ValueError("secret"))
        self.assertEqual(self.said(), b"ERR failure Operation+failed\r\n")
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.end("b")
        self.assertEqual(self.said(), b"OK word=b\r\nOK \r\n")

    def test_unsendable(self) -> None:
        """A reply that cannot be written is a failure; the connection goes on."""
        self.give(b"odd callid=7\nnoop\n")
        self.assertEqual(self.said(), b"ERR failure Operation+failed 7\r\nOK \r\n")
        self.assertEqual(len(self.flushLoggedErrors(UnicodeEncodeError)), 1)

    def test_old_callid(self) -> None:
        """A line without a word does not get an earlier request's callid."""
        self.give(b"noop callid=7\n-noop\n")
        self.assertEqual(
            self.said(),
            b"OK callid=7\r\nERR unknown_command Unknown+server+command\r\n",
        )

    def test_turns(self) -> None:
        """Many quick requests give way to other connections in between."""
        count = REQUESTS_PER_TURN * 2 + 5
        self.give(b"noop\n" * count)
        self.assertEqual(self.said(), b"OK \r\n" * REQUESTS_PER_TURN)
        self.give(b"noop callid=x\n")
        self.assertEqual(self.said(), b"")
        self.city.clock.advance(0)
        rest = count - REQUESTS_PER_TURN
        self.assertEqual(self.said(), b"OK \r\n" * rest + b"OK callid=x\r\n")
        self.assertEqual(self.city.clock.getDelayedCalls(), [])


class Together(ConnectionCase):
    """Requests of one command that are under way at once."""

    def end_nth(self, place: int, word: str) -> None:
        """One of the commands under way ends."""
        self.pending.pop(place).callback(word)

    def test_replies_keep_their_order(self) -> None:
        """Whichever ends first, replies come as the requests did."""
        self.give(b"share\r\nshare&callid=2\r\nshare\r\n")
        self.assertEqual(len(self.pending), 3)
        self.end_nth(1, "second")
        self.end_nth(1, "third")
        self.assertEqual(self.said(), b"")
        self.end_nth(0, "first")
        self.assertEqual(
            self.said(),
            b"OK word=first\r\nOK word=second&callid=2\r\nOK word=third\r\n",
        )
        self.assertEqual(self.city.factory.door.statistics.processing, 0)

    def test_only_of_one_command(self) -> None:
        """Another command, an operator's line or a line too long waits its turn."""
        for line, reply in (
            (b"noop", b"OK \r\n"),
            (b"wait2", b"ERR unknown_command Unknown+server+command\r\n"),
            (b"!to x y", b"Message sent to 0 children.\r\n.\r\n"),
            (b"x" * (MAX_LINE_BYTES + 1), TOO_LONG),
        ):
            self.give(b"share\r\nshare\r\n" + line + b"\r\nshare\r\n")
            self.assertEqual(len(self.pending), 2)
            self.end("a")
            self.assertEqual(self.said(), b"OK word=a\r\n")
            self.end("b")
            self.assertEqual(self.said(), b"OK word=b\r\n" + reply)
            self.end("c")
            self.assertEqual(self.said(), b"OK word=c\r\n")

    def test_by_arguments(self) -> None:
        """One that must be alone is, with others of its command before and behind."""
        self.give(b"share\r\nshare alone=1\r\nshare\r\n")
        for word in (b"a", b"b", b"c"):
            self.assertEqual(len(self.pending), 1)
            self.end(word.decode())
            self.assertEqual(self.said(), b"OK word=" + word + b"\r\n")

    def test_failing(self) -> None:
        """One that fails has its reply in its place."""
        self.give(b"share\r\nshare\r\nshare\r\n")
        self.pending.pop(1).errback(ValueError("a defect"))
        self.end("a")
        self.end("c")
        said = self.said().split(b"\r\n")
        self.assertEqual(
            [one[:6] for one in said], [b"OK wor", b"ERR fa", b"OK wor", b""]
        )
        self.flushLoggedErrors(ValueError)

    def test_answered_on_the_spot(self) -> None:
        """A reply that is there at once does not overtake those that are not."""
        door = self.city.factory.door
        answers = [Deferred(), Deferred()]
        answers[1].callback("at once")

        async def share(services: Services, call: Call) -> Pairs:
            """Some wait, some do not."""
            return [("word", await answers.pop(0))]

        first = answers[0]
        row = TrackerCommand("share", share, together=lambda arguments: True)
        door.commands = Commands(self.city.services, [[row]])
        self.give(b"share\r\nshare\r\n")
        self.assertEqual(self.said(), b"")
        first.callback("late")
        self.assertEqual(self.said(), b"OK word=late\r\nOK word=at+once\r\n")

    def test_not_too_many(self) -> None:
        """Further ones wait until there is room."""
        self.give(b"share\r\n" * (MAX_TOGETHER + 5))
        self.assertEqual(len(self.pending), MAX_TOGETHER)
        self.end("a")
        self.assertEqual(len(self.pending), MAX_TOGETHER)
        self.assertEqual(len(self.connection.waiting_lines()), 4)

    def test_gone(self) -> None:
        """All that is under way is done, though nobody reads the replies."""
        self.give(b"share\r\nshare\r\nwait\r\n")
        self.connection.connectionLost(Failure(ConnectionDone()))
        self.end("a")
        self.end("b")
        self.assertEqual(self.pending, [])
        self.assertEqual(self.said(), b"")

    def test_half_close(self) -> None:
        """A client that asks no more gets all its replies."""
        self.give(b"share\r\nshare\r\n")
        self.connection.readConnectionLost()
        self.end("a")
        self.assertFalse(self.transport.disconnecting)
        self.end("b")
        self.assertEqual(self.said(), b"OK word=a\r\nOK word=b\r\n")
        self.assertTrue(self.transport.disconnecting)


class Rules(SynchronousTestCase):
    """Which commands have the same outcome in any order."""

    def test_rules(self) -> None:
        """Those that only look; new fids; deletions, whose order the store keeps."""
        commands = Commands(City().services)
        for name, arguments, outcome in (
            ("get_paths", {}, True),
            ("delete", {}, True),
            ("create_open", {}, True),
            ("create_open", {"fid": "0"}, True),
            ("create_open", {"fid": "7"}, False),
            ("create_close", {}, False),
            ("rename", {}, False),
            ("nothing", {}, False),
        ):
            self.assertIs(commands.together(name, arguments), outcome, name)


class LongLines(ConnectionCase):
    """A line has a limit."""

    def test_longest(self) -> None:
        """Exactly the limit is fine, with either line end, in any pieces."""
        for end in (b"\n", b"\r\n"):
            line = b"noop a=".ljust(MAX_LINE_BYTES, b"x") + end
            self.give(line)
            self.connection.dataReceived(line)
            self.assertEqual(self.said(), b"OK \r\n" * 2)

    def test_too_long(self) -> None:
        """One byte more is refused, swallowed whole, and the connection goes on."""
        for end in (b"\n", b"\r\n"):
            line = b"noop a=".ljust(MAX_LINE_BYTES + 1, b"x") + end
            self.give(line + b"noop\n")
            self.connection.dataReceived(line + b"noop\n")
            self.assertEqual(self.said(), (TOO_LONG + b"OK \r\n") * 2)

    def test_endless(self) -> None:
        """A line without an end is answered once, and not kept."""
        for _ in range(100):
            self.give(b"x" * 65536)
        self.assertEqual(self.said(), TOO_LONG)
        self.assertEqual(len(self.connection._lines), 0)
        self.give(b"x\nnoop\n")
        self.assertEqual(self.said(), b"OK \r\n")

    def test_in_turn(self) -> None:
        """The refusal comes in the order of the requests."""
        self.give(b"wait\n" + b"x" * (MAX_LINE_BYTES + 9) + b"\nnoop\n")
        self.assertEqual(self.said(), b"")
        self.end("a")
        self.assertEqual(self.said(), b"OK word=a\r\n" + TOO_LONG + b"OK \r\n")


class Flow(ConnectionCase):
    """Nobody's memory is filled by a client."""

    def reading(self) -> bool:
        """Whether we read from the client."""
        return self.transport.producerState == "producing"

    def test_many_waiting(self) -> None:
        """Reading stops while too many requests wait, and goes on after."""
        self.give(b"wait\n" + b"noop\n" * (MAX_WAITING_REQUESTS - 1))
        self.assertTrue(self.reading())
        self.give(b"noop\n")
        self.assertFalse(self.reading())
        self.end("a")
        self.assertTrue(self.reading())
        self.city.clock.pump([0, 0, 0])
        self.assertEqual(self.said().count(b"OK"), MAX_WAITING_REQUESTS + 1)

    def test_much_waiting(self) -> None:
        """Reading stops while too many bytes wait."""
        self.give(b"wait\n" + b"noop ".ljust(MAX_WAITING_BYTES + 99, b"x") + b"\n")
        self.assertFalse(self.reading())
        self.end("a")
        self.assertTrue(self.reading())

    def test_replies_not_taken(self) -> None:
        """Nothing more is begun, nor read, while replies are not taken."""
        self.connection.pauseProducing()
        self.assertFalse(self.reading())
        self.give(b"noop\nwait\n")
        self.assertEqual((self.said(), self.pending), (b"", []))
        self.connection.resumeProducing()
        self.assertTrue(self.reading())
        self.assertEqual(self.said(), b"OK \r\n")
        self.end("a")
        self.city.clock.advance(REPLY_SECONDS + 1)
        self.assertFalse(self.transport.disconnected)

    def test_full_while_answering(self) -> None:
        """A transport that fills up in the midst of a turn ends the turn."""
        real = self.transport.write

        def write(data: bytes) -> None:
            real(data)
            self.connection.pauseProducing()

        self.transport.write = write  # type: ignore[method-assign]
        self.city.jobs.delayed = 1
        self.give(b"clear_cache a=" + b"%25" * 30000 + b"\nnoop\nnoop\n")
        self.assertEqual(self.said().count(b"\n"), 1)
        self.transport.write = real  # type: ignore[method-assign]
        self.connection.resumeProducing()
        self.assertEqual(self.said(), b"OK \r\nOK \r\n")

    def test_cut(self) -> None:
        """A client that does not take its replies for so long is cut."""
        self.connection.pauseProducing()
        self.city.clock.advance(REPLY_SECONDS - 1)
        self.assertFalse(self.transport.disconnected)
        self.city.clock.advance(1)
        self.assertTrue(self.transport.disconnected)

    def test_watcher_not_reading(self) -> None:
        """A watcher that does not read loses messages, and is told how many."""
        self.connection.pauseProducing()
        for number in range(3):
            self.connection.notice(f"event {number}")
        self.assertEqual(self.said(), b"")
        self.connection.resumeProducing()
        self.connection.notice("event 3")
        self.assertEqual(self.said(), b":: (3 messages were dropped)\r\n:: event 3\r\n")


class Ends(ConnectionCase):
    """How a connection ends."""

    def test_half_close(self) -> None:
        """What was asked is answered, then we close; an unfinished line is nothing."""
        self.give(b"wait\nnoop\nnoop")
        self.connection.readConnectionLost()
        self.assertFalse(self.transport.disconnecting)
        self.end("a")
        self.assertEqual(self.said(), b"OK word=a\r\nOK \r\n")
        self.assertTrue(self.transport.disconnecting)
        self.assertIs(self.transport.producer, None)

    def test_half_close_idle(self) -> None:
        """With nothing to answer we close at once."""
        self.connection.readConnectionLost()
        self.assertTrue(self.transport.disconnecting)

    def test_half_close_in_turns(self) -> None:
        """A long queue is answered whole."""
        count = REQUESTS_PER_TURN * 3
        self.give(b"noop\n" * count)
        self.connection.readConnectionLost()
        self.assertFalse(self.transport.disconnecting)
        self.city.clock.pump([0, 0, 0])
        self.assertEqual(self.said(), b"OK \r\n" * count)
        self.assertTrue(self.transport.disconnecting)

    def test_half_close_not_reading(self) -> None:
        """Replies that nobody takes are given up after a while, not before."""
        self.give(b"wait\n")
        self.connection.pauseProducing()
        self.connection.readConnectionLost()
        self.end("a")
        self.assertFalse(self.transport.disconnecting)
        self.connection.resumeProducing()
        self.assertTrue(self.transport.disconnecting)
        self.city.clock.advance(REPLY_SECONDS)
        self.assertTrue(self.transport.disconnected)

    def test_gone(self) -> None:
        """What is under way is done, without a reader; the rest is not begun."""
        self.give(b"wait\nwait\n")
        self.connection.connectionLost()
        self.assertEqual(len(self.pending), 1)
        self.end("a")
        self.assertEqual(self.pending, [])
        self.assertEqual(self.said(), b"")
        self.assertEqual(self.city.factory.statistics.queries, 1)
        self.assertEqual(self.city.factory.statistics.processing, 0)
        self.connection.notice("event")
        self.assertEqual(self.said(), b"")

    def test_gone_leaves_no_timer(self) -> None:
        """Nothing of a connection stays behind."""
        self.give(b"noop\n" * (REQUESTS_PER_TURN + 1))
        self.connection.pauseProducing()
        self.connection.connectionLost()
        self.assertEqual(self.city.clock.getDelayedCalls(), [])
        self.assertEqual(self.city.factory.door.connections, set())

    def test_after_the_end(self) -> None:
        """What still comes after the end is not looked at."""
        self.connection.finish()
        self.give(b"noop\n")
        self.assertEqual(self.said(), b"")

    def test_socket_options(self) -> None:
        """Small replies go out at once, and dead peers are found out."""
        options: dict[str, bool] = {}
        transport = StringTransport()
        for name in ("setTcpNoDelay", "setTcpKeepAlive"):
            setattr(transport, name, partial(options.__setitem__, name))
        TrackerProtocol(self.city.factory.door).makeConnection(transport)
        self.assertEqual(options, {"setTcpNoDelay": True, "setTcpKeepAlive": True})

    def test_no_writing(self) -> None:
        """A client that closed its reading side is dropped."""
        self.connection.writeConnectionLost()
        self.assertTrue(self.transport.disconnected)

    def test_address(self) -> None:
        """IPv4 in IPv6 counts as IPv4; no address is an empty one."""
        for ip, plain in (("::ffff:10.0.0.1", "10.0.0.1"), ("::1", "::1")):
            connection, _ = self.city.connect(ip)
            self.assertEqual(connection.client_ip, plain)
        connection = TrackerProtocol(self.city.factory.door)
        connection.makeConnection(StringTransport(peerAddress=object()))
        self.assertEqual(connection.client_ip, "")
