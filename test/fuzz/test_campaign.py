"""The fuzzers find what is broken on purpose."""

from __future__ import annotations

from typing import Any

from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.client.http_connection import HttpConnection
from koboldfs.storage.channel import StorageChannel
from koboldfs.storage.fetch import PeerConnection
from koboldfs.storage.sidechannel import SideChannel
from koboldfs.tracker import lines
from koboldfs.tracker.lines import LineBuffer
from koboldfs.tracker.native_session import Session
from koboldfs.wire import tracker as wire_tracker
from koboldfs.wire.native_parser import RequestParser
from test.fuzz import __main__ as command
from test.fuzz import tracker
from test.fuzz.campaign import Found, Pace, campaign, minimise
from test.fuzz.mutation import Source
from test.fuzz.target import Target, Wrong, examine, pieces, watching
from test.fuzz.targets import TARGETS
from test.fuzz.worlds import SHARED_BY, Lasting

SEED = 3


class Broken(SynchronousTestCase):
    """Parsers and doors that somebody broke."""

    def assert_caught(self, name: str, kind: str, inputs: int = 3000) -> Found:
        """The target fails so, within so many inputs, and again with what it found."""
        target = TARGETS[name]
        found = campaign(target, inputs, SEED)
        self.flushLoggedErrors()
        assert found is not None, "nothing was found"
        self.assertIn(kind, found.fault.kind)
        if found.number is not None:
            again = target.source.input(SEED, found.number)
            self.assertEqual(again, found.data)
        return found

    def test_exception(self) -> None:
        """An exception that is not declared."""
        understand = tracker.parse_line

        def fragile(line: bytes) -> Any:
            line.rpartition(b"%")[2].decode("ascii")
            return understand(line)

        self.patch(tracker, "parse_line", fragile)
        self.assert_caught("tracker-lines", "UnicodeDecodeError")

    def test_memory(self) -> None:
        """A line that is kept however long it is."""
        self.patch(lines, "MAX_LINE_BYTES", 1 << 30)
        self.patch(tracker, "MAX_LINE_BYTES", 200)
        self.assert_caught("tracker-lines", "too")

    def test_cut(self) -> None:
        """A buffer that forgets what came in an earlier piece."""
        self.patch(LineBuffer, "_keep", lambda self, data, lines: None)
        self.assert_caught("tracker-lines", "cut differently")

    def test_native_cut(self) -> None:
        """The native parser, when it forgets what it has not read."""

        def feed(parser: Any, data: bytes) -> None:
            parser._data, parser._at = data, 0

        self.patch(RequestParser, "feed", feed)
        self.assert_caught("native-parser", "cut differently")
        self.assert_caught("native-door", "cut differently")

    def test_logged(self) -> None:
        """A defect that a door takes care of, but that is one."""

        def list_keys(*arguments: object) -> None:
            raise LookupError("a test")

        self.patch(Session, "list_keys", list_keys)
        self.assert_caught("native-door", "logged")

    def test_left_behind(self) -> None:
        """An upload that is not thrown away with its connection."""
        self.patch(Session, "lost", lambda self: None)
        self.patch(Session, "abort", _nothing)
        self.assert_caught("native-door", "left")

    def test_timer(self) -> None:
        """A watch that does not end with its connection."""
        lost = SideChannel.connectionLost

        def forget(self: SideChannel, reason: Failure) -> None:
            self._watching = None
            lost(self, reason)

        self.patch(SideChannel, "connectionLost", forget)
        self.assert_caught("side-server", "a timer is left")

    def test_http(self) -> None:
        """A storage node that loses what comes behind a request."""
        self.patch(StorageChannel, "_keep_behind", lambda self, data: None)
        self.assert_caught("http-door", "cut differently")

    def test_answers(self) -> None:
        """Readers of HTTP answers without the limit of a head."""
        for target, kind, limit in (
            ("node-http", HttpConnection, "MAX_HEAD_BYTES"),
            ("fetch", PeerConnection, "MAX_HEADERS_BYTES"),
        ):
            self.patch(__import__(kind.__module__, fromlist=["x"]), limit, 1 << 30)
            self.assert_caught(target, "Wrong: ")

    def test_endless(self) -> None:
        """A parser without an end is stopped, always at the same place."""

        def run(data: bytes) -> None:
            while b"}" in data:
                try:
                    data.find(b"{")
                except Exception:
                    raise AssertionError("it was taken for an error") from None

        target = Target("test", run, Source((b"{", b"}")), 0)
        with watching() as logged:
            self.assertIsNone(examine(target, b"{", logged))
            faults = [examine(target, b"{}", logged) for _ in range(2)]
        assert faults[0] is not None
        self.assertIn("Endless", faults[0].kind)
        self.assertEqual(faults[0], faults[1])


async def _nothing(self: object) -> None:
    """Do nothing."""


class Campaign(SynchronousTestCase):
    """What is around the targets."""

    def setUp(self) -> None:
        """A target that does not like two bytes."""

        def run(data: bytes) -> None:
            if b"<" in data and b">" in data[data.index(b"<") :]:
                raise Wrong("brackets: and more")

        source = Source((b"<a long one with some text", b"another one>"), (b">",))
        self.target = Target("test", run, source, 0)

    def test_minimised(self) -> None:
        """What fails is made as short as it can be."""
        found = campaign(self.target, 1000, SEED)
        assert found is not None
        self.assertEqual(found.fault.kind, "Wrong: brackets")
        short = minimise(self.target, b"xx" + found.data * 3, found.fault)
        self.assertEqual(short, b"<>")

    def test_logged_once(self) -> None:
        """What is logged counts for the input that it is logged for."""

        def run(data: bytes) -> None:
            if data == b"bad":
                Logger("test").failure("no", failure=Failure(ValueError("a test")))

        target = Target("test", run, Source((b"bad",)), 0)
        with watching() as logged:
            self.assertIsNotNone(examine(target, b"bad", logged))
            self.assertIsNone(examine(target, b"good", logged))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_hanging(self) -> None:
        """An input that hangs without any call is ended, and told as it is."""
        said: list[str] = []

        def run(data: bytes) -> None:
            while data == b"hang":
                pass

        target = Target("hanging", run, Source((b"hang",)), 0)
        self.patch(command, "TARGETS", {"hanging": target})
        self.patch(command, "say", said.append)
        self.patch(Pace, "HANG_SECONDS", 1)
        self.assertEqual(command.main(["hanging"]), 1)
        self.assertIn("Hanging: seed 1, a sample", said[1])
        self.assertIn("b'hang'", said[-2])

    def test_worlds(self) -> None:
        """A world is shared by so many inputs, and not by one that follows a failure;
        what fails by itself is told apart from what others made fail."""
        made: list[set[bytes]] = []
        worlds = Lasting(lambda: made.append(set()) or made[-1])

        def give(data: bytes) -> None:
            def work(had: set[bytes]) -> None:
                if data == b"bad":
                    raise LookupError("bad by itself")
                if data == b"second" and b"first" in had:
                    raise LookupError("not behind the first")
                had.add(data)

            worlds.given(work)

        for _ in range(SHARED_BY + 1):
            give(b"first")
        self.assertEqual(len(made), 2)
        error = self.assertRaises(Wrong, give, b"second")
        self.assertIn("only behind other inputs", str(error))
        self.assertEqual(len(made), 3)
        give(b"second")
        self.assertEqual(made[3:], [{b"second"}])
        self.assertRaises(LookupError, give, b"bad")
        self.assertRaises(LookupError, give, b"bad")

    def test_inputs(self) -> None:
        """Inputs are the same at any time, and not all alike; some are long."""
        source = TARGETS["tracker-lines"].source
        found = [source.input(SEED, number) for number in range(2000)]
        self.assertEqual(found, [source.input(SEED, number) for number in range(2000)])
        self.assertGreater(len(set(found)), 1500)
        self.assertGreater(max(map(len, found)), 8000)

    def test_pieces(self) -> None:
        """Pieces are the whole, and the same ones for the same data."""
        for number in range(200):
            data = bytes(number) + b"x" * (number * number)
            self.assertEqual(b"".join(pieces(data)), data)
            self.assertEqual(pieces(data), pieces(data))

    def test_command(self) -> None:
        """The command says seed, input and how to keep it; its status is true."""
        said: list[str] = []
        self.patch(command, "say", said.append)
        arguments = ["tracker-lines", "--inputs", "2000", "--seed", "3"]
        self.assertEqual(command.main(arguments), 0)
        self.assertIn("2000 inputs", said[-1])
        self.patch(wire_tracker, "parse_arguments", lambda text: {"": text}["x"])
        self.assertEqual(command.main(arguments), 1)
        text = "\n".join(said)
        self.assertIn("KeyError", text)
        self.assertIn("seed 3", text)
        self.assertIn("test/fuzz/kept/tracker-lines", text)
