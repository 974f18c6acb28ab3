"""How the channel has plain requests answered beside twisted.web's."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.model.fid import uri
from koboldfs.storage.channel import (
    BODY_READ_BYTES,
    BODY_STALL_SECONDS,
    IDLE_SECONDS,
    MAX_BEHIND_BYTES,
    BodyRequest,
    StorageChannel,
    StorageSite,
)
from koboldfs.storage.plain import Head, PlainRequest
from test.fakes.storage_node import Wire, lose
from test.fakes.wires import DirectWire

URI = uri(1, 7).encode()
GET = b"GET %b HTTP/1.1\r\n\r\n" % URI


def put(length: int) -> bytes:
    """The head of a PUT."""
    return b"PUT %b HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (URI, length)


class Plain(PlainRequest):
    """Notes what it is told, and answers when the test says so."""

    notes: list[Any]

    def begin(self, length: int | None) -> None:
        """See `PlainRequest`."""
        self.notes.append(("begin", length))

    def take(self, data: bytes) -> None:
        """See `PlainRequest`."""
        self.notes.append(data)

    def answer(self) -> None:
        """See `PlainRequest`."""
        self.notes.append(self)

    def store(self, body: bytes) -> None:
        """See `PlainRequest`."""
        self.notes.append(("store", body))
        self.notes.append(self)

    def lost(self) -> None:
        """See `PlainRequest`."""
        self.notes.append("lost")


class PlainCase(SynchronousTestCase):
    """One connection."""

    def setUp(self) -> None:
        """The connection."""
        self.clock = Clock()
        self.notes: list[Any] = []

        def make(channel: StorageChannel, head: Head) -> Plain:
            request = Plain(channel, head)
            request.notes = self.notes
            return request

        def general(channel: StorageChannel) -> BodyRequest:
            raise AssertionError("that was plain")

        self.site = StorageSite(self.clock, general, make)
        self.channel: Any = self.site.buildProtocol(None)
        self.wire = Wire()
        self.channel.makeConnection(self.wire)

    def answer(self, said: bytes = b"answer ") -> None:
        """The request under way has its answer."""
        request = self.notes.pop()
        request.channel.write(said)
        request.finish()


class Order(PlainCase):
    """One after another."""

    def test_next_one_waits(self) -> None:
        """A request is begun when the one before it is answered."""
        self.channel.dataReceived(GET + put(2) + b"ab")
        self.channel.dataReceived(GET)
        self.assertEqual(len(self.notes), 2)
        self.answer()
        self.assertEqual(self.notes[1:-1], [("store", b"ab")])
        self.answer()
        self.assertEqual(self.notes[-2], ("begin", 0))
        self.answer()
        self.assertEqual(self.wire.value(), b"answer " * 3)
        lose(self.channel)

    def test_body_in_pieces(self) -> None:
        """A body that did not come with its head; what is behind it waits, too."""
        self.channel.dataReceived(put(5) + b"ab")
        self.channel.dataReceived(b"c")
        self.channel.dataReceived(b"de" + GET)
        self.assertEqual(self.notes[:-1], [("begin", 5), b"ab", b"c", b"de"])
        self.answer()
        self.assertEqual(self.notes[-2], ("begin", 0))
        lose(self.channel)

    def test_what_waits_is_bounded(self) -> None:
        """Who sends on and on behind a request is read no more until it is answered."""
        self.channel.dataReceived(GET)
        self.channel.dataReceived(b"x" * MAX_BEHIND_BYTES)
        self.assertTrue(self.wire.reading)
        self.channel.dataReceived(b"x")
        self.assertFalse(self.wire.reading)
        # Its answer may fill the transport and empty it: that changes nothing.
        self.channel.pauseProducing()
        self.channel.resumeProducing()
        self.assertFalse(self.wire.reading)
        lose(self.channel)

    def test_reader_that_does_not_read(self) -> None:
        """While answers wait to be sent, no more requests are begun."""
        self.channel.dataReceived(GET * 3)
        self.channel.pauseProducing()
        self.answer()
        self.assertEqual(self.wire.value(), b"answer ")
        self.assertEqual(len(self.notes), 1)
        self.channel.resumeProducing()
        self.assertEqual(len(self.notes), 3)
        lose(self.channel)

    def test_reader_that_stopped_meanwhile(self) -> None:
        """When nobody reads an answer that took time, no more requests are read."""
        self.channel.dataReceived(GET)
        self.channel.pauseProducing()
        self.assertEqual(self.wire.producerState, "producing")
        self.answer()
        self.assertEqual(self.wire.producerState, "paused")
        self.channel.resumeProducing()
        self.assertEqual(self.wire.producerState, "producing")
        lose(self.channel)

    def test_peer_goes(self) -> None:
        """A request under way is told once; nothing is begun any more."""
        self.channel.dataReceived(GET * 2)
        lose(self.channel)
        self.assertEqual(self.notes.pop(), "lost")
        self.answer()
        self.assertEqual(len(self.notes), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class Times(PlainCase):
    """How long a connection may be silent."""

    def test_slow_answer(self) -> None:
        """We may be slow; after the answer the client has as long as ever."""
        self.channel.dataReceived(GET)
        self.clock.pump([IDLE_SECONDS - 1] * 5)
        self.assertFalse(self.wire.disconnecting)
        self.answer()
        self.clock.advance(IDLE_SECONDS - 1)
        self.assertFalse(self.wire.disconnecting)
        self.clock.advance(1)
        self.assertTrue(self.wire.disconnecting)
        lose(self.channel)

    def test_stalled_body(self) -> None:
        """A body of which nothing comes."""
        self.channel.dataReceived(put(99) + b"x")
        for _ in range(5):
            self.clock.advance(BODY_STALL_SECONDS - 1)
            self.channel.dataReceived(b"x")
        self.clock.advance(BODY_STALL_SECONDS)
        self.assertTrue(self.wire.disconnecting)
        lose(self.channel)

    def test_after_a_body(self) -> None:
        """Bodies are read in large pieces and may not stall; what follows may."""
        self.channel.dataReceived(put(2))
        self.assertEqual(vars(self.wire)["bufferSize"], BODY_READ_BYTES)
        self.channel.dataReceived(b"xy")
        self.assertNotIn("bufferSize", vars(self.wire))
        self.answer()
        self.clock.advance(IDLE_SECONDS - 1)
        self.assertFalse(self.wire.disconnecting)
        lose(self.channel)


class Direct(PlainCase):
    """Over TCP; breaks when Twisted's transports change."""

    def setUp(self) -> None:
        """The connection, over Twisted's transport and a socket of ours."""
        super().setUp()
        lose(self.channel)
        self.channel = self.site.buildProtocol(None)
        self.direct = DirectWire(self.channel)
        self.channel.makeConnection(self.direct.transport)

    def tearDown(self) -> None:
        """The end."""
        self.channel.setTimeout(None)

    def test_at_once(self) -> None:
        """Answers do not wait for the reactor; what the socket does not take does."""
        self.channel.write(b"abc")
        self.assertEqual(self.direct.sent, b"abc")
        self.assertFalse(self.channel.unsent)
        self.direct.room = 0
        self.channel.write(b"abc")
        self.assertTrue(self.channel.unsent)

    def test_room(self) -> None:
        """A producer that waits for room is told when there is some."""
        told = []

        class Producer:
            """Wants to know."""

            def resumeProducing(self) -> None:
                """Now it does."""
                told.append(1)

        self.channel.registerProducer(Producer(), True)
        self.channel.wait_for_room()
        self.assertEqual((told, self.direct.writers()), ([], [self.direct.transport]))
        self.direct.transport.doWrite()
        self.assertEqual((told, self.direct.writers()), ([1], []))
        self.assertEqual(self.direct.sent, b"")
