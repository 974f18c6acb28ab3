"""Tests of koboldfs.tracker_client, against a scripted tracker on a real socket."""

from __future__ import annotations

import socket

from twisted.trial.unittest import SynchronousTestCase

from koboldfs import tracker_client
from koboldfs.errors import ConfigError
from koboldfs.tracker_client import (
    Refused,
    TrackerClient,
    TrackersAway,
    is_harmless,
    numbered,
    parse_address,
    parse_addresses,
    parse_reply,
)
from test.fakes.tracker_server import TrackerServer


def nobody() -> str:
    """An address at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


class AddressTests(SynchronousTestCase):
    """``HOST:PORT`` texts."""

    def test_good(self) -> None:
        """Host, port, the port that is meant when none is said, and IPv6."""
        self.assertEqual(parse_address("db1:7002"), ("db1", 7002))
        self.assertEqual(parse_address(" db1 "), ("db1", 7001))
        self.assertEqual(parse_address("[::1]:7002"), ("::1", 7002))
        self.assertEqual(parse_address("[::1]"), ("::1", 7001))
        self.assertEqual(parse_address("::1"), ("::1", 7001))

    def test_bad(self) -> None:
        """What is no server is refused, not guessed at."""
        for text in ("", ":7001", "a:", "a:x", "a:0", "a:65536", "a:-1", "[::1", "a b"):
            with self.subTest(text):
                self.assertRaises(ConfigError, parse_address, text)
        self.assertRaises(ConfigError, parse_address, "[::1]x:7001")
        self.assertRaises(ConfigError, parse_address, "a:٣")

    def test_lists(self) -> None:
        """Lists are split at commas, get their ports, and may not be empty or huge."""
        self.assertEqual(parse_addresses("a,b:7, "), ("a:7001", "b:7"))
        self.assertEqual(parse_addresses(["a", "[::1]:8"]), ("a:7001", "[::1]:8"))
        self.assertRaises(ConfigError, parse_addresses, " , ")
        self.assertRaises(ConfigError, parse_addresses, ["a"] * 65)


class ReplyTests(SynchronousTestCase):
    """Reply lines."""

    def test_ok(self) -> None:
        """Fields, no fields, and the number that old trackers send."""
        self.assertEqual(parse_reply("OK a=b+c&d=%26"), {"a": "b c", "d": "&"})
        self.assertEqual(parse_reply("OK "), {})
        self.assertEqual(parse_reply("OK 12 a=b"), {"a": "b"})

    def test_refused(self) -> None:
        """The code and the text of an error, and a code alone."""
        error = self.assertRaises(Refused, parse_reply, "ERR no_key No+key%21")
        self.assertEqual((error.word, error.message), ("no_key", "No key!"))
        error = self.assertRaises(Refused, parse_reply, "ERR no_key")
        self.assertEqual((error.word, error.message), ("no_key", "no_key"))

    def test_nonsense(self) -> None:
        """What is no reply is said to be none."""
        for line in ("", "ERR", "HTTP/1.1 400 Bad Request", "OKAY"):
            with self.subTest(line):
                self.assertRaises(TrackersAway, parse_reply, line)

    def test_rows(self) -> None:
        """Numbered fields become rows in the order of their numbers, no more."""
        fields = {"hosts": "2", "host10_x": "z", "host2_x": "b", "host1_x": "a"}
        fields["host_x"] = "no number"
        found = list(numbered(fields, "host", "hosts"))
        self.assertEqual(found, [{"x": "a"}, {"x": "b"}])
        self.assertEqual(list(numbered({"host1_x": "a"}, "host", "hosts")), [])

    def test_harmless(self) -> None:
        """Only what changes nothing may be said twice."""
        for line in ("!stats", "get_hosts", "file_debug fid=1", "noop", "list_keys"):
            self.assertTrue(is_harmless(line), line)
        for line in ("create_host host=a", "delete key=a", "set_state", "fsck_start"):
            self.assertFalse(is_harmless(line), line)


class TalkTests(SynchronousTestCase):
    """Real exchanges."""

    def tracker(self, **replies: object) -> TrackerServer:
        """A tracker that gives these replies; `admin` is for ``!stats``."""
        if "admin" in replies:
            replies["!stats"] = replies.pop("admin")
        server = TrackerServer(replies)  # type: ignore[arg-type]
        self.addCleanup(server.stop)
        return server

    def client(self, *addresses: str, seconds: float = 5.0) -> TrackerClient:
        """A client of these trackers."""
        client = TrackerClient(addresses, seconds)
        self.addCleanup(client.close)
        return client

    def test_ask(self) -> None:
        """Arguments are escaped, None is left out, one connection serves all."""
        server = self.tracker(noop=b"OK a=%E9\r\n")
        client = self.client(server.address)
        for _ in range(3):
            fields = client.ask("noop", {"key": "a&b \xe9", "n": 1, "x": None})
            self.assertEqual(fields, {"a": "\xe9"})
        self.assertEqual(server.lines, ["noop key=a%26b+%E9&n=1"] * 3)
        self.assertEqual(server.connections, 1)
        self.assertEqual(client.address, server.address)

    def test_lines(self) -> None:
        """An admin word is answered by lines up to the dot."""
        server = self.tracker(admin=b"uptime 3\r\nqueries 4\n.\r\n")
        with self.client(server.address) as client:
            self.assertEqual(client.lines("stats"), ["uptime 3", "queries 4"])
            self.assertEqual(client.lines("stats"), ["uptime 3", "queries 4"])

    def test_other_tracker(self) -> None:
        """A tracker that is not there is passed over, even for a change."""
        server = self.tracker(create_domain=b"OK domain=a\r\n")
        client = self.client(nobody(), server.address)
        self.assertEqual(client.ask("create_domain", {"domain": "a"})["domain"], "a")
        self.assertEqual(client.address, server.address)

    def test_nobody(self) -> None:
        """When none is there, all are named."""
        first, second = nobody(), nobody()
        client = self.client(first, second)
        error = self.assertRaises(TrackersAway, client.ask, "noop")
        self.assertIn(first, error.message)
        self.assertIn(second, error.message)

    def test_lost_look_up(self) -> None:
        """A connection that is lost under a look-up: the next tracker is asked."""
        bad = self.tracker(get_hosts=lambda line: None)
        good = self.tracker(get_hosts=b"OK hosts=0\r\n")
        client = self.client(bad.address, good.address)
        self.assertEqual(client.ask("get_hosts"), {"hosts": "0"})

    def test_lost_change(self) -> None:
        """A connection that is lost under a change: nobody else is asked to do it."""
        bad = self.tracker(create_domain=lambda line: None)
        good = self.tracker(create_domain=b"OK domain=a\r\n")
        client = self.client(bad.address, good.address)
        error = self.assertRaises(TrackersAway, client.ask, "create_domain")
        self.assertIn("not known whether", error.message)
        self.assertEqual(good.lines, [])

    def test_refusal_is_final(self) -> None:
        """An ERR is an answer: the next tracker is not asked."""
        first, second = self.tracker(), self.tracker()
        client = self.client(first.address, second.address)
        error = self.assertRaises(Refused, client.ask, "nosuch")
        self.assertEqual(error.word, "unknown_command")
        self.assertEqual(second.lines, [])

    def test_kept_connection_closed(self) -> None:
        """A kept connection that was closed meanwhile does not fail a change."""
        said = [b"OK \r\n", b"OK \r\n"]
        server = self.tracker(noop=lambda line: None, test=lambda line: said.pop())
        client = self.client(server.address)
        client.ask("test")
        assert client._socket is not None
        client._socket.shutdown(socket.SHUT_WR)
        client._socket.setblocking(True)
        client._socket.recv(1, socket.MSG_PEEK)  # until the tracker has closed
        client.ask("test")
        self.assertEqual(server.connections, 2)

    def test_unasked_words(self) -> None:
        """Bytes that nobody asked for are never taken for the next reply."""
        said = [b"OK n=2\r\n", b"OK n=1\r\nOK n=stray\r\n"]
        server = self.tracker(noop=lambda line: said.pop())
        client = self.client(server.address)
        self.assertEqual(client.ask("noop"), {"n": "1"})
        self.assertEqual(client.ask("noop"), {"n": "2"})

    def test_silence(self) -> None:
        """A tracker that takes the request and says nothing costs no more than the
        timeout."""
        server = self.tracker(noop=b"")
        client = self.client(server.address, seconds=0.05)
        error = self.assertRaises(TrackersAway, client.ask, "noop")
        self.assertIn("in time", error.message)

    def test_endless_reply(self) -> None:
        """A reply without an end is cut off, in one line or in many."""
        self.patch(tracker_client, "MAX_REPLY_BYTES", 1000)
        for endless in (b"OK " + b"a" * 2000, b"a\r\n" * 2000):
            server = self.tracker(admin=endless)
            client = self.client(server.address)
            error = self.assertRaises(TrackersAway, client.lines, "stats")
            self.assertIn("more than 1000 bytes", error.message)

    def test_unsayable(self) -> None:
        """An argument that is no Latin-1 is a defect, and leaves no half request."""
        server = self.tracker(noop=b"OK \r\n")
        client = self.client(server.address)
        self.assertRaises(KeyError, client.ask, "noop", {"key": "\u20ac"})
        self.assertEqual(client.ask("noop"), {})
        self.assertEqual(server.lines, ["noop"])
