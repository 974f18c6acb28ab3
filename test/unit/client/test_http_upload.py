"""Tests of koboldfs.client.http_upload and relay."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from koboldfs.client.http_upload import (
    BUFFER_BYTES,
    FRESH_SECONDS,
    STORE_TIMEOUT_SECONDS,
    Upload,
)
from koboldfs.client.relay import Relay
from koboldfs.errors import CopyCorrupt, NodeFault, NodeUnreachable
from test.fakes.nodes import own_checksum
from test.unit.client.http_case import EMPTY, NODE, HttpCase
from test.unit.client.network import Wire, start

CREATED = b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"
FULL = b"HTTP/1.1 507 Full\r\nContent-Length: 0\r\n\r\n"
BIG = b"b" * BUFFER_BYTES


class UploadTests(HttpCase):
    """`Upload`."""

    def begin(self, size: int | None) -> Upload:
        """An upload that has its connection, `self.wire`."""
        begun = start(self.http.put(NODE, "/dev1/x", size))
        self.wire: Wire = self.network.accept()
        return self.successResultOf(begun)

    def write(self, upload: Upload, data: bytes) -> Deferred[None]:
        """One piece."""
        return start(upload.write(data))

    def test_small(self) -> None:
        """A small file leaves in one piece, when it is finished, with its length."""
        for size in (6, None):
            self.setUp()
            upload = self.begin(size)
            self.successResultOf(self.write(upload, b"abc"))
            self.successResultOf(self.write(upload, b"def"))
            self.assertEqual(self.wire.take(), b"")
            finished = start(upload.finish())
            head, _, body = self.wire.take().partition(b"\r\n\r\n")
            self.assertTrue(head.startswith(b"PUT /dev1/x HTTP/1.1\r\n"))
            self.assertIn(b"Content-Length: 6", head)
            self.assertEqual(body, b"abcdef")
            self.assertNoResult(finished)
            self.wire.feed(CREATED)
            self.successResultOf(finished)

    def test_small_on_a_stale_connection(self) -> None:
        """A small file is sent again when the kept connection was closed, before or
        after it was sent."""
        for when in (0, 1):
            self.setUp()
            wire = self.kept()
            upload = self.successResultOf(start(self.http.put(NODE, "/dev1/x", 3)))
            self.successResultOf(self.write(upload, b"abc"))
            if when == 0:
                wire.lose()
            finished = start(upload.finish())
            if when == 1:
                wire.lose()
            wire = self.network.accept()
            self.assertTrue(wire.take().endswith(b"\r\n\r\nabc"))
            wire.feed(CREATED)
            self.successResultOf(finished)

    def test_small_is_not_sent_a_third_time(self) -> None:
        """A node that closes twice is away."""
        wire = self.kept()
        upload = self.successResultOf(start(self.http.put(NODE, "/dev1/x", 3)))
        self.write(upload, b"abc")
        finished = start(upload.finish())
        wire.lose()
        self.network.accept().lose()
        self.failureResultOf(finished, NodeUnreachable)

    def test_large(self) -> None:
        """Of a large file all but the newest piece is sent at once; the node never
        has all of it before it is finished."""
        upload = self.begin(3 * BUFFER_BYTES)
        self.successResultOf(self.write(upload, BIG))
        self.assertEqual(self.wire.take(), b"")
        self.successResultOf(self.write(upload, BIG))
        sent = self.wire.take()
        self.assertIn(b"Content-Length: %d\r\n" % (3 * BUFFER_BYTES), sent)
        self.assertTrue(sent.endswith(b"\r\n\r\n" + BIG))
        self.successResultOf(self.write(upload, BIG))
        self.assertEqual(self.wire.take(), BIG)
        finished = start(upload.finish())
        self.assertEqual(self.wire.take(), BIG)
        self.wire.feed(CREATED)
        self.successResultOf(finished)
        self.ask()
        self.assertEqual(self.network.attempts, 0)  # the connection was kept

    def test_chunked(self) -> None:
        """A large file of unknown size goes out in chunks."""
        upload = self.begin(None)
        self.write(upload, BIG)
        self.write(upload, b"xyz")
        head, _, body = self.wire.take().partition(b"\r\n\r\n")
        self.assertIn(b"Transfer-Encoding: chunked", head)
        self.assertNotIn(b"Content-Length", head)
        self.assertEqual(body, b"%x\r\n" % len(BIG) + BIG + b"\r\n")
        finished = start(upload.finish())
        self.assertEqual(self.wire.take(), b"3\r\nxyz\r\n0\r\n\r\n")
        self.wire.feed(CREATED)
        self.successResultOf(finished)

    def test_large_on_an_old_connection(self) -> None:
        """Bytes that cannot be sent twice do not go on a connection that was not used
        for a while."""
        self.kept()
        self.network.wait(FRESH_SECONDS + 0.5)
        start(self.http.put(NODE, "/dev1/x", BUFFER_BYTES + 1))
        self.assertEqual(self.network.attempts, 1)

    def test_backpressure(self) -> None:
        """While the transport has enough, no more is wanted; a node that takes
        nothing then is away after a while."""
        upload = self.begin(10 * BUFFER_BYTES)
        self.write(upload, BIG)
        self.successResultOf(self.write(upload, BIG))
        producer: Any = self.wire.producer
        producer.pauseProducing()
        wrote = self.write(upload, BIG)
        self.network.wait(STORE_TIMEOUT_SECONDS - 2)
        self.assertNoResult(wrote)
        producer.resumeProducing()
        self.successResultOf(wrote)
        self.network.wait(10 * STORE_TIMEOUT_SECONDS)  # we are slow: that is allowed
        producer.pauseProducing()
        wrote = self.write(upload, BIG)
        self.network.wait(STORE_TIMEOUT_SECONDS + 1)
        self.failureResultOf(wrote, NodeUnreachable)

    def test_refused_early(self) -> None:
        """A node that says no in the middle is heard, and nothing more is sent."""
        upload = self.begin(10 * BUFFER_BYTES)
        self.write(upload, BIG)
        self.write(upload, BIG)
        self.wire.feed(FULL)
        self.wire.take()
        error = self.failureResultOf(self.write(upload, BIG), NodeFault)
        self.assertIn("507", str(error.value))
        self.failureResultOf(start(upload.finish()), NodeFault)
        self.network.turn()
        self.assertTrue(self.wire.gone)
        self.assertEqual(self.wire.take(), b"")

    def test_answered_too_early(self) -> None:
        """A node that says yes before it has all does not have the file."""
        upload = self.begin(10 * BUFFER_BYTES)
        self.write(upload, BIG)
        self.write(upload, BIG)
        self.wire.feed(CREATED)
        self.failureResultOf(self.write(upload, BIG), NodeFault)

    def test_refused(self) -> None:
        """Any answer that is no 2xx is an error."""
        for answer in (FULL, b"HTTP/1.1 302 X\r\nContent-Length: 0\r\n\r\n"):
            for data in (b"abc", BIG + b"x"):
                self.setUp()
                upload = self.begin(len(data))
                self.write(upload, data[:3])
                self.write(upload, data[3:])
                finished = start(upload.finish())
                self.wire.feed(answer)
                self.failureResultOf(finished, NodeFault)

    def test_lost(self) -> None:
        """A connection that breaks is an error of whatever comes next."""
        upload = self.begin(10 * BUFFER_BYTES)
        self.write(upload, BIG)
        self.write(upload, BIG)
        self.wire.lose()
        self.failureResultOf(self.write(upload, BIG), NodeUnreachable)
        self.failureResultOf(start(upload.finish()), NodeUnreachable)

    def test_lost_while_it_waits(self) -> None:
        """A connection that breaks wakes those who wait for it."""
        upload = self.begin(2 * BUFFER_BYTES)
        self.write(upload, BIG)
        self.write(upload, BIG)
        finished = start(upload.finish())
        self.wire.lose()
        self.failureResultOf(finished, NodeUnreachable)

    def test_no_answer(self) -> None:
        """A node that has all and says nothing is away after a while."""
        for size in (3, 2 * BUFFER_BYTES):
            self.setUp()
            upload = self.begin(size)
            for begin in range(0, size, BUFFER_BYTES):
                self.write(upload, b"x" * min(size - begin, BUFFER_BYTES))
            finished = start(upload.finish())
            self.network.wait(STORE_TIMEOUT_SECONDS + 1)
            self.failureResultOf(finished, NodeUnreachable)

    def test_abort(self) -> None:
        """Giving up a small file sends nothing and keeps the connection; giving up a
        large one closes it in the middle."""
        upload = self.begin(3)
        self.write(upload, b"abc")
        upload.abort()
        self.failureResultOf(start(upload.finish()), NodeFault)
        asked = self.ask()
        self.assertEqual(self.network.attempts, 0)
        self.wire.feed(EMPTY)
        self.successResultOf(asked)
        self.setUp()
        upload = self.begin(2 * BUFFER_BYTES)
        self.write(upload, BIG)
        self.write(upload, BIG)
        upload.abort()
        self.network.turn()
        self.assertTrue(self.wire.gone)
        self.assertTrue(self.wire.take().endswith(b"\r\n\r\n" + BIG))

    def test_abort_does_not_touch_others(self) -> None:
        """Giving up after the end leaves the connection to whoever uses it now."""
        upload = self.begin(3)
        self.write(upload, b"abc")
        finished = start(upload.finish())
        self.wire.feed(CREATED)
        self.successResultOf(finished)
        asked = self.ask()
        upload.abort()
        self.wire.feed(EMPTY)
        self.successResultOf(asked)

    def test_dead_host(self) -> None:
        """Beginning fails at once when there is no connection to be had."""
        begun = start(self.http.put(NODE, "/dev1/x", 3))
        self.network.refuse()
        self.failureResultOf(begun, NodeUnreachable)
        begun = start(self.http.put(NODE, "/dev1/x", 3))
        self.failureResultOf(begun, NodeUnreachable)

    def test_relay_pauses(self) -> None:
        """A relay pauses its producer until the upload wants more."""

        class Producer:
            said: list[str] = []

            def pauseProducing(self) -> None:
                self.said.append("pause")

            def resumeProducing(self) -> None:
                self.said.append("resume")

            def stopProducing(self) -> None:
                self.said.append("stop")

        upload = self.begin(10 * BUFFER_BYTES)
        relay, producer = Relay(upload, 10 * BUFFER_BYTES), Producer()
        relay.registerProducer(producer, True)
        relay.write(BIG)
        relay.write(BIG)
        transport: Any = self.wire.producer
        transport.pauseProducing()
        relay.write(BIG)
        relay.write(BIG)  # on its way already
        self.assertEqual(set(producer.said[-2:]), {"pause"})
        transport.resumeProducing()
        self.assertEqual(producer.said[-1], "resume")
        self.assertEqual(relay.checksum(), own_checksum(BIG * 4))
        transport.pauseProducing()
        relay.write(BIG)
        self.wire.lose()
        self.assertEqual(producer.said[-1], "stop")
        self.assertIsInstance(relay.failure, NodeUnreachable)

    def test_relay_of_too_much(self) -> None:
        """A relay takes no byte more than the file has."""
        upload = self.begin(3)
        self.assertRaises(CopyCorrupt, Relay(upload, 3).write, b"four")
