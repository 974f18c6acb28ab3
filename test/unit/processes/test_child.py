"""What a child says to its parent, and how it hears the first word."""

from __future__ import annotations

import os

from twisted.internet.task import Clock
from twisted.logger import Logger, LogLevel
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.processes import child
from koboldfs.processes.child import (
    MAX_OWED,
    RETRY_SECONDS,
    LogVoice,
    Voice,
    first_record,
)
from koboldfs.processes.records import Lines, decoded, encoded


class Voices(SynchronousTestCase):
    """`Voice` and `LogVoice`, into a pipe."""

    def setUp(self) -> None:
        """A pipe that nobody reads yet."""
        self.read, self.write = os.pipe()
        self.addCleanup(os.close, self.read)
        self.addCleanup(os.close, self.write)
        self.clock = Clock()
        self.voice = Voice(self.write, self.clock.callLater)

    def heard(self) -> list[dict[str, object]]:
        """What the parent would hear."""
        lines = Lines().feed(os.read(self.read, 2**20))
        return [decoded(line) or {} for line in lines]

    def test_log(self) -> None:
        """An event comes with level, place and text; a traceback line by line."""
        log = Logger(namespace="koboldfs.here", observer=LogVoice(self.voice))
        log.warn("{what} burns", what="it")
        try:
            raise ValueError("inside")
        except ValueError:
            log.failure("it failed")
        first, *more = self.heard()
        self.assertEqual(
            first,
            {
                "kind": "log",
                "level": LogLevel.warn.name,
                "where": "koboldfs.here",
                "text": "it burns",
            },
        )
        self.assertGreater(len(more), 2)
        self.assertIn("inside", str(more[-1]["text"]))

    def test_parent_hangs(self) -> None:
        """What a full pipe does not take is dropped and counted, and nobody waits."""
        self.fill()
        os.read(self.read, 2**20)
        self.voice.say("log", {"text": "again"})
        told, last = self.heard()
        self.assertIn("were dropped", str(told["text"]))
        self.assertEqual(last["text"], "again")

    def fill(self) -> None:
        """Log more than a pipe holds."""
        for _ in range(2000):
            self.voice.say("log", {"text": "x" * 500})

    def test_what_matters_waits(self) -> None:
        """What others must know is said when the parent takes it, however much was
        logged meanwhile; a number of the moment is not; and there is a limit."""
        self.fill()
        distrust = {"what": "distrust", "values": {"devid": 1, "reason": "it lies"}}
        self.voice.say("tell", distrust)
        self.voice.say("tell", {"what": "requests", "values": {"count": 7}})
        self.fill()
        self.clock.advance(RETRY_SECONDS)
        os.read(self.read, 2**20)
        self.clock.advance(RETRY_SECONDS)
        self.assertEqual(self.heard(), [{"kind": "tell", **distrust}])
        self.voice.say("ready", {})
        self.voice.say("beat", {})
        self.assertEqual([one["kind"] for one in self.heard()], ["ready", "beat"])
        self.fill()
        for _ in range(2 * MAX_OWED):
            self.voice.say("ready", {})
        self.assertEqual(len(self.voice._owed), MAX_OWED)
        self.voice._owed.pop()
        self.voice.say("beat", {})
        self.assertEqual(len(self.voice._owed), MAX_OWED - 1, "no room for a beat")
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_in_pieces(self) -> None:
        """A record that a pipe takes in part only comes whole in the end."""
        self.voice.say("fault", {"line": "x" * 200_000})
        self.voice.say("log", {"text": "not in the middle"})
        data = b""
        while not data.endswith(b"\n"):
            data += os.read(self.read, 2**20)
            self.clock.advance(RETRY_SECONDS)
        self.assertEqual(len((decoded(data) or {})["line"]), 200_000)

    def test_first_record(self) -> None:
        """It is waited for; what came after it already is not lost; a parent that is
        gone has none."""
        self.patch(child, "STDIN", self.read)
        os.write(self.write, encoded("begin", {"number": 2}) + encoded("heard", {}))
        begin, more = first_record(Lines())
        assert begin is not None
        self.assertEqual(begin["number"], 2)
        self.assertEqual([(decoded(line) or {})["kind"] for line in more], ["heard"])
        read, write = os.pipe()
        self.addCleanup(os.close, read)
        os.close(write)
        self.patch(child, "STDIN", read)
        self.assertEqual(first_record(Lines()), (None, []))
