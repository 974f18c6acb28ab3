"""Which error is which status, and that an answer is one. (See also test_http.)"""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.logger import LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.errors import (
    CopyCorrupt,
    DeviceUnavailable,
    DiskFault,
    DiskFull,
    KoboldError,
    NoDevice,
    TooBusy,
)
from koboldfs.storage.channel import StorageChannel, StorageSite
from koboldfs.storage.disk import ReadOnly
from koboldfs.storage.replies import REASONS, Refused, ReplyingRequest, status_of
from koboldfs.wire.http import MalformedHeader
from test.fakes.storage_node import Wire, lose, split_answer


class Statuses(SynchronousTestCase):
    """`status_of`"""

    def test_statuses(self) -> None:
        """Each kind of trouble has its own; what is not foreseen is 500."""
        for error, status in (
            (Refused(416, "x"), 416),
            (NoDevice(), 404),
            (CopyCorrupt(), 400),
            (MalformedHeader(), 400),
            (DiskFull(), 507),
            (ReadOnly(), 503),
            (DeviceUnavailable(), 503),
            (TooBusy(), 503),
            (DiskFault(), 500),
            (KoboldError(), 500),
            (ValueError(), 500),
        ):
            self.assertEqual(status_of(error), status)
            self.assertIn(status, REASONS)


class Answering(SynchronousTestCase):
    """`ReplyingRequest`"""

    def setUp(self) -> None:
        """A connection whose requests answer what a test says."""
        clock = Clock()
        outer = self

        class Request(ReplyingRequest):
            def begin(self, length: int | None) -> None:
                """See `BodyRequest`."""

            def take(self, data: bytes) -> None:
                """See `BodyRequest`."""

            def answer(self) -> None:
                """See `BodyRequest`."""
                outer.say(self)
                self.finish()

            def lost(self) -> None:
                """See `BodyRequest`."""

        site = StorageSite(clock, lambda channel: Request(channel, clock))
        channel = site.buildProtocol(None)
        assert isinstance(channel, StorageChannel)
        self.channel, self.wire = channel, Wire()
        channel.makeConnection(self.wire)

    def ask(self, say: Any, path: bytes = b"/") -> tuple[int, dict[str, str], bytes]:
        """The answer of a request that says that."""
        self.say = say
        self.channel.dataReceived(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path)
        answer = split_answer(self.wire.value())
        lose(self.channel)
        return answer

    def test_first_answer_counts(self) -> None:
        """A second one is not begun."""

        def say(request: ReplyingRequest) -> None:
            request.respond(200, b"one")
            request.respond(500, b"two")

        self.assertEqual(self.ask(say)[2], b"one")

    def test_one_line(self) -> None:
        """An error's text cannot begin a line or a header of its own."""
        error = KoboldError("a\r\nb\0\tc\x1b d\u20ac\udcff")
        status, _, body = self.ask(lambda request: request.fail(error))
        self.assertEqual((status, body), (500, "a??b??c? d\u20ac?\n".encode()))

    def test_log(self) -> None:
        """What failed is logged; a tracker that asks how a device is, and is told that
        it is not there yet, is no failure."""
        events: list[LogEvent] = []
        globalLogPublisher.addObserver(events.append)
        self.addCleanup(globalLogPublisher.removeObserver, events.append)
        away = DeviceUnavailable("dev1 is not served by this node")
        for path, error, count in (
            (b"/dev1/usage", away, 0),
            (b"/dev1/0/000/000/0000000001.fid", away, 1),
            (b"/dev1/usage", DiskFault("x"), 1),
        ):
            events.clear()
            self.setUp()
            self.ask(lambda request, error=error: request.fail(error), path)
            warned = [one for one in events if one["log_level"].name == "warn"]
            self.assertEqual(len(warned), count, path)
