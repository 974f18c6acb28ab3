"""Waiting, testing, looking again."""

from __future__ import annotations

from koboldfs.errors import DatabaseAway
from koboldfs.tracker.plain_commands import CrashOnPurpose
from test.unit.tracker.exchange import ExchangeCase


class Plain(ExchangeCase):
    """Commands about the tracker itself."""

    def test_noop(self) -> None:
        """Nothing happens, whatever is said with it."""
        for line in ("noop", "NOOP", "noop a=1&b=2", "noop&a=1", "noop-x"):
            self.assert_replies({line: "OK "})

    def test_crash(self) -> None:
        """A defect is logged with its traceback and answered without it."""
        self.assert_replies(
            {
                "test": "OK ",
                "test crash=0": "OK ",
                "test crash=1&callid=x": "ERR failure Operation+failed x",
            }
        )
        self.assertEqual(len(self.flushLoggedErrors(CrashOnPurpose)), 1)

    def test_sleep(self) -> None:
        """The answer comes after that time: 10 s if none is said, an hour at most."""
        for duration, seconds in (
            ("", 10),
            ("duration=0", 10),
            ("duration=3", 3),
            ("duration=999999", 3600),
        ):
            connection, transport = self.city.connect()
            connection.dataReceived(f"sleep {duration}\n".encode())
            self.city.clock.advance(seconds - 0.5)
            self.assertEqual(transport.value(), b"")
            self.city.clock.advance(0.5)
            self.assertEqual(transport.value(), b"OK \r\n")

    def test_clear_cache(self) -> None:
        """What others changed is known when it answers; its arguments come back."""
        work = self.city.database.delete_domain(2)
        self.assertRaises(StopIteration, work.send, None)
        self.assert_errors({"get_paths domain=d2": "no_key"})
        self.assert_replies(
            {
                "clear_cache devices=1": "OK devices=1",
                "clear_cache callid=4": "OK callid=4",
            }
        )
        self.assert_errors({"get_paths domain=d2": "unreg_domain"})

    def test_clear_cache_looks_at_hosts(self) -> None:
        """Every host has been looked at when it answers."""
        for command in ("clear_cache", "do_monitor_round"):
            self.city.nodes.calls.clear()
            self.assert_replies({command: "OK "})
            surveyed = {call[1] for call in self.city.nodes.calls}
            self.assertEqual(surveyed, {1, 2, 3})

    def test_refresh_fails(self) -> None:
        """A database that is away is told."""
        self.city.database.failing["load"] = [DatabaseAway()]
        self.assert_replies(
            {"do_monitor_round": "ERR db Database+error:+not+reachable,+try+again"}
        )

    def test_replicate_now(self) -> None:
        """How many replications were put off, once."""
        self.city.jobs.delayed = 7
        for line in ("replicate_now", "replicate_now again"):
            count = 7 if line == "replicate_now" else 0
            self.assert_replies({line: f"OK count={count}"})

    def test_not_there(self) -> None:
        """Commands that do nothing yet do not pretend."""
        for command in ("stats", "nosuch", "-noop", "", "!", "! version"):
            if command:
                self.assert_errors({command: "unknown_command"})
