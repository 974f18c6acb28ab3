"""The live feed of what goes wrong."""

from __future__ import annotations

from typing import Any

from twisted.logger import Logger, LogPublisher
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.tracker.watchers import MAX_MESSAGE_CHARS, MAX_UNDELIVERED, Watchers


class Listener:
    """Who watches."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def notice(self, message: str) -> None:
        """See `Watcher`."""
        self.heard.append(message)


class Feed(SynchronousTestCase):
    """From a log event to a watcher."""

    def setUp(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.watchers = Watchers(lambda *call: self.calls.append(call))
        self.log = Logger("a.room", observer=LogPublisher(self.watchers))
        self.listener = Listener()

    def deliver(self) -> list[str]:
        """Run what was handed to the reactor; returns what the listener heard."""
        calls, self.calls[:] = self.calls[:], []
        for function, *arguments in calls:
            function(*arguments)
        heard, self.listener.heard = self.listener.heard, []
        return heard

    def test_levels(self) -> None:
        """Warnings and errors, not news; where they come from is said."""
        self.watchers.toggle(self.listener)
        self.log.info("news")
        self.log.warn("host {name} is gone", name="h1")
        self.log.critical("fire")
        self.assertEqual(self.deliver(), ["[a.room] host h1 is gone", "[a.room] fire"])

    def test_failure(self) -> None:
        """What failed is said, its traceback is not."""
        self.watchers.toggle(self.listener)
        try:
            raise ValueError("bad thing")
        except ValueError:
            self.log.failure("job {job} failed", job="x")
        self.assertEqual(self.deliver(), ["[a.room] job x failed: bad thing"])

    def test_nobody(self) -> None:
        """Nobody watching, nothing done; nor after the last one left."""
        self.log.error("x")
        self.assertTrue(self.watchers.toggle(self.listener))
        self.assertFalse(self.watchers.toggle(self.listener))
        self.log.error("x")
        self.watchers.discard(self.listener)
        self.assertEqual(self.calls, [])

    def test_other_threads(self) -> None:
        """A watcher is only ever called where the reactor calls."""
        self.watchers.toggle(self.listener)
        self.log.error("x")
        self.assertEqual(self.listener.heard, [])
        self.assertEqual(self.deliver(), ["[a.room] x"])

    def test_flood(self) -> None:
        """Events wait for delivery in bounded number, and are cut."""
        self.watchers.toggle(self.listener)
        for _ in range(MAX_UNDELIVERED + 10):
            self.log.error("{long}", long="x" * 5000)
        heard = self.deliver()
        self.assertEqual(len(heard), MAX_UNDELIVERED)
        self.assertEqual({len(text) for text in heard}, {MAX_MESSAGE_CHARS})
        self.log.error("again")
        self.assertEqual(self.deliver(), ["[a.room] again"])
