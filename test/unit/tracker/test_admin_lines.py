"""The lines of the operator."""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from koboldfs import __version__
from koboldfs.tracker.admin_lines import MAX_QUEUE_LINES
from test.fakes.city import City


class AdminCase(SynchronousTestCase):
    """A connection to a city, and what it answers."""

    def setUp(self) -> None:
        self.city = City.furnished()
        self.connection, self.transport = self.city.connect("127.0.0.1")

    def ask(self, *lines: str) -> str:
        """What comes back for these lines."""
        self.transport.clear()
        self.connection.dataReceived("".join(f"{x}\r\n" for x in lines).encode())
        answer: bytes = self.transport.value()
        return answer.decode("latin-1")


class Lines(AdminCase):
    """Each word."""

    def test_version(self) -> None:
        """KoboldFS's own; a word is matched by its beginning."""
        for line in ("!version", "!versionx", "!version  please "):
            self.assertEqual(self.ask(line), f"{__version__}\r\n.\r\n")

    def test_help(self) -> None:
        """For any other word, with LF but for the dot's line."""
        for line in ("!help", "!nosuch", "!Version", "!stat", "!statsx", "!!"):
            answer = self.ask(line)
            self.assertEqual(answer.count("\r\n"), 1, line)
            self.assertTrue(answer.endswith("\n.\r\n"))
            for (
                word
            ) in "version stats recent queue jobs want to watch shutdown".split():
                self.assertIn(f"    !{word} ", answer)

    def test_stats(self) -> None:
        """Uptime, what waits, what is in work, what could come, and the counters."""
        city = self.city = City()
        self.connection, self.transport = city.connect()
        city.clock.advance(7)
        fixed = "uptime 7\r\npending_queries {}\r\nprocessing_queries {}\r\n"
        spare = "bored_queryworkers {}\r\n"
        self.assertEqual(
            self.ask("!stats"), fixed.format(0, 0) + spare.format(9) + ".\r\n"
        )
        self.ask("noop", "nosuch")
        city.factory.statistics.count("alarms", 3)
        other, _ = city.connect()
        other.dataReceived(b"sleep\nnoop\nnoop\n")
        self.assertEqual(
            self.ask("!stats"),
            fixed.format(2, 1) + spare.format(8) + "alarms 3\r\nqueries 2\r\n.\r\n",
        )

    def test_jobs(self) -> None:
        """Three lines a job, by name; the pid is ours."""
        pid = os.getpid()
        self.city.jobs.wanted["fsck"] = 0
        self.assertEqual(
            self.ask("!jobs"),
            f"delete count 1\r\ndelete desired 1\r\ndelete pids {pid}\r\n"
            "fsck count 0\r\nfsck desired 0\r\nfsck pids \r\n"
            "replicate count 2\r\nreplicate desired 2\r\n"
            f"replicate pids {pid} {pid}\r\n.\r\n",
        )
        self.assertEqual(self.ask("!jobsfoo"), self.ask("!jobs"))

    def test_queue(self) -> None:
        """What waits behind something else, on any connection, and is not in work."""
        self.assertEqual(self.ask("!queue"), ".\r\n")
        other, _ = self.city.connect("10.0.0.7")
        other.dataReceived(b"sleep\nnoop \x1b[2J a=1\r\n!jobs\n")
        for line in ("!queue", "!queuex", "!pend", "!pending"):
            self.assertEqual(
                self.ask(line), "10.0.0.7 noop %1B[2J a=1\r\n10.0.0.7 !jobs\r\n.\r\n"
            )

    def test_queue_is_bounded(self) -> None:
        """At most so many lines are shown."""
        other, _ = self.city.connect()
        other.dataReceived(b"sleep\n" + b"noop\n" * (MAX_QUEUE_LINES + 9))
        self.assertEqual(self.ask("!queue").count("noop"), MAX_QUEUE_LINES)

    def test_recent(self) -> None:
        """Request lines as they came, with total and working seconds."""
        self.city = City()
        self.connection, self.transport = self.city.connect("127.0.0.1")
        self.ask("NOOP a=1&b=2", "  noop", "nosuch")
        self.connection.dataReceived(b"sleep duration=2\nnoop\n")
        self.city.clock.advance(2)
        self.assertEqual(
            self.ask("!recent"),
            "127.0.0.1 NOOP a=1&b=2 0.0000 0.0000\r\n"
            "127.0.0.1   noop 0.0000 0.0000\r\n"
            "127.0.0.1 nosuch 0.0000 0.0000\r\n"
            "127.0.0.1 sleep duration=2 2.0000 2.0000\r\n"
            "127.0.0.1 noop 2.0000 0.0000\r\n.\r\n",
        )

    def test_want(self) -> None:
        """A count and a job that is there."""
        rows = {
            "!want 2 replicate": "Now desiring 2 children doing 'replicate'.",
            "!want 501 delete": "Now desiring 500 children doing 'delete'.",
            "!want x y": "ERROR: usage: !want <count> <jobclass>",
            "!want": "ERROR: usage: !want <count> <jobclass>",
            "!want -1 delete": "ERROR: usage: !want <count> <jobclass>",
            "!want 2 monitor": "Now desiring 2 children doing 'monitor'.",
            "!want 2 nojob": (
                "ERROR: Invalid class 'nojob'.  Valid classes: delete, fsck, "
                "job_master, monitor, queryworker, reaper, replicate"
            ),
        }
        for line, answer in rows.items():
            self.assertEqual(self.ask(line), f"{answer}\r\n.\r\n")
        self.assertEqual(self.city.jobs.wanted, {"delete": 500, "replicate": 2})

    def test_to(self) -> None:
        """How many took the message."""
        usage = "ERROR: usage: !to <jobclass> <message>"
        rows = {
            "!to": usage,
            "!to delete": usage,
            "!to nojob hello": "Message sent to 0 children.",
            "!tofu replicate  wake up": "Message sent to 2 children.",
        }
        for line, answer in rows.items():
            self.assertEqual(self.ask(line), f"{answer}\r\n.\r\n")
        self.assertEqual(
            self.city.jobs.told, [("nojob", "hello"), ("replicate", "wake up")]
        )

    def test_watch(self) -> None:
        """On and off again, and off when the connection is gone."""
        added = "Added you to watcher list.\r\n.\r\n"
        self.assertEqual(self.ask("!watch"), added)
        self.assertEqual(
            self.ask("!watchme"), "Removed you from watcher list.\r\n.\r\n"
        )
        self.assertEqual(self.ask("!watch"), added)
        self.connection.connectionLost()
        self.assertFalse(self.city.factory.door.watchers._watchers)

    def test_shutdown(self) -> None:
        """The program is told, the connection closed without a word."""
        self.assertEqual(self.ask("noop", "!shutdown", "noop"), "OK \r\n")
        self.assertEqual(self.city.shutdowns, [True])
        self.assertTrue(self.transport.disconnecting)

    def test_defect(self) -> None:
        """A line that fails is answered; the connection stays."""
        self.city.jobs.wanted = None  # type: ignore[assignment]
        self.assertEqual(
            self.ask("!jobs", "noop"),
            "ERROR: that failed; the log says why\r\n.\r\nOK \r\n",
        )
        self.assertEqual(len(self.flushLoggedErrors(AttributeError)), 1)

    def test_between_commands(self) -> None:
        """In their turn among other requests."""
        answers = self.ask("noop callid=1", "!want 1 delete", "noop callid=2")
        self.assertEqual(
            answers,
            "OK callid=1\r\nNow desiring 1 children doing 'delete'.\r\n.\r\n"
            "OK callid=2\r\n",
        )
