"""One connection of the synchronous client."""

from __future__ import annotations

import socket

from twisted.trial.unittest import SynchronousTestCase

from koboldfs import native_link
from koboldfs.native_link import (
    ClientError,
    ConnectionBroken,
    FileChanged,
    KeyExists,
    KeyMissing,
    Link,
    ProtocolError,
    ServerError,
    ServerTrouble,
    UnknownDomain,
    Unsupported,
    error_of,
    parse_address,
)
from koboldfs.wire import native
from koboldfs.wire.native import Code, Command
from test.fakes.native_server import DoorServer, ScriptedServer, dead_address

SECONDS = 5.0


class Addresses(SynchronousTestCase):
    """Servers as people write them."""

    def test_forms(self) -> None:
        """Names, numbers, with and without a port."""
        for text, wanted in (
            ("host:1", ("host", 1)),
            ("host", ("host", 9876)),
            ("192.0.2.1:9877", ("192.0.2.1", 9877)),
            ("[::1]:5", ("::1", 5)),
            ("[::1]", ("::1", 9876)),
            ("::1", ("::1", 9876)),
            (("host", "7"), ("host", 7)),
        ):
            self.assertEqual(parse_address(text), wanted)

    def test_wrong(self) -> None:
        """What is no server is said to be none."""
        for text in ("", ":1", "host:", "host:x", "host:-1", "host:65536"):
            self.assertRaises(ValueError, parse_address, text)


class Errors(SynchronousTestCase):
    """Error replies as exceptions."""

    def test_kinds(self) -> None:
        """Each reply has its exception, with the server's words."""
        for code, word, kind in (
            (Code.ERR_DOMAIN, b"unreg_domain", UnknownDomain),
            (Code.ERR_NOTFOUND, b"unknown_key", KeyMissing),
            (Code.FAULT, b"db", ServerTrouble),
            (Code.KO, b"key_exists", KeyExists),
            (Code.KO, b"changed", FileChanged),
            (Code.KO, b"other", ServerError),
        ):
            error = error_of(code, [word, b"a\n sentence"])
            self.assertIs(type(error), kind)
            assert isinstance(error, ServerError)
            self.assertEqual((error.word, str(error)), (word.decode(), "a sentence"))

    def test_version_1(self) -> None:
        """A bare code has words too."""
        for code in (Code.ERR_DOMAIN, Code.ERR_NOTFOUND, Code.FAULT, Code.KO):
            error = error_of(code, [])
            assert isinstance(error, ServerError)
            self.assertTrue(error.word and str(error))
        self.assertIsInstance(error_of(Code.ERR_COMMAND, []), Unsupported)
        self.assertIsInstance(error_of(99, []), ProtocolError)

    def test_one_line(self) -> None:
        """Whatever a server says, the message is one line, and shows as that."""
        for code in (Code.KO, 99):
            for values in ([b"a\nb"], [b"a\nb", b"c\r\nd\x1b[2J\xe2\x80\xa8"]):
                text = str(error_of(code, values))
                self.assertTrue(text.isprintable(), text)

    def test_missing_is_a_missing_file(self) -> None:
        """A program that knows nothing of us can catch a missing key."""
        self.assertIsInstance(error_of(Code.ERR_NOTFOUND, []), FileNotFoundError)


class Links(SynchronousTestCase):
    """Bytes in and out."""

    def link(self, *replies: bytes, seconds: float = SECONDS) -> Link:
        """A link to a server that says these things."""
        server = ScriptedServer(*replies)
        self.addCleanup(server.stop)
        link = Link(parse_address(server.address), seconds)
        self.addCleanup(link.close)
        return link

    def test_options(self) -> None:
        """Small requests are not held back by the kernel."""
        link = self.link()
        option = link._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        self.assertNotEqual(option, 0)

    def test_nobody(self) -> None:
        """A refused connection is one line that names the server."""
        address = dead_address()
        error = self.assertRaises(
            ConnectionBroken, Link, parse_address(address), SECONDS
        )
        self.assertEqual(str(error), f"{address}: Connection refused")

    def test_reading(self) -> None:
        """Exactly what is asked for, however it came."""
        link = self.link(b"abcdefgh")
        link.send(b"?")
        self.assertEqual(link.read(3), b"abc")
        self.assertEqual(link.read_some(2), b"de")
        self.assertEqual(link.read_some(100), b"fgh")
        self.assertEqual(link.read(0), b"")

    def test_reading_across(self) -> None:
        """Bytes of several packets are one."""
        link = self.link(b"abc", b"def")
        link.send(b"?")
        self.assertEqual(link.read(1), b"a")
        link.send(b"?")
        self.assertEqual(link.read(5), b"bcdef")

    def test_silence(self) -> None:
        """A server that is silent too long is given up."""
        link = self.link(seconds=0.05)
        error = self.assertRaises(ConnectionBroken, link.read, 1)
        self.assertTrue(str(error).endswith(": no answer in time"))
        self.assertTrue(link.closed)

    def test_end(self) -> None:
        """A connection that the server ended."""
        server = ScriptedServer()
        server.refusing = True
        self.addCleanup(server.stop)
        link = Link(parse_address(server.address), SECONDS)
        self.addCleanup(link.close)
        self.assertRaises(ConnectionBroken, link.read, 1)
        self.assertRaises(ConnectionBroken, link.send, b"x")

    def test_has_input(self) -> None:
        """What came unasked, or an end, is seen without waiting."""
        for with_poll in (True, False):
            link = self.link(b"ab")
            if not with_poll:
                link._poll = None
            self.assertFalse(link.has_input())
            link.send(b"?")
            self.assertEqual(link.read(1), b"a")
            self.assertTrue(link.has_input())
            link.read(1)
            self.assertFalse(link.has_input())
            link._socket.shutdown(socket.SHUT_RD)
            self.assertTrue(link.has_input())
            link.close()
            self.assertTrue(link.has_input())

    def fails(self, reply: bytes, kind: type[ClientError]) -> Link:
        """The reply to a PING raises that."""
        link = self.link(reply)
        link._number = 6
        self.assertRaises(kind, link.call, Command.PING2)
        return link

    def test_replies(self) -> None:
        """A frame's values, or what it says is wrong; the link stays."""
        link = self.link(native.frame(Code.OK, 7, (b"x",)))
        link._number = 6
        self.assertEqual(link.call(Command.PING2), [b"x"])
        refused = native.frame(Code.KO, 7, (b"no", b"No"))
        self.assertFalse(self.fails(refused, ServerError).closed)
        self.assertFalse(self.fails(b"\6", Unsupported).closed)

    def test_nonsense(self) -> None:
        """What is no reply to the request ends the link."""
        for reply in (
            native.frame(Code.OK, 99),
            native.frame(Code.TRANSFER, 7),
            native.frame(Code.ERR_RESET, 0, (b"bad_request", b"why")),
            b"\1" + native.u32(7) + native.u32(2**31),
            b"\1" + native.u32(7) + native.u32(1) + b"x",
        ):
            self.assertTrue(self.fails(reply, ProtocolError).closed)

    def test_hello(self) -> None:
        """The version is found out; an older server uses the link up."""
        server = DoorServer()
        self.addCleanup(server.stop)
        link = Link(parse_address(server.address), SECONDS)
        self.addCleanup(link.close)
        self.assertTrue(link.hello())
        old = self.link(b"\6")
        self.assertFalse(old.hello())
        self.assertTrue(old.closed)

    def test_hello_of_another_kind(self) -> None:
        """A later server that speaks version 1 with us; and no server of ours."""
        link = self.link(native.frame(Code.OK, 7, (native.u32(1),)))
        link._number = 6
        self.assertFalse(link.hello())
        self.assertFalse(link.closed)
        link = self.link(native.frame(Code.OK, 7))
        link._number = 6
        self.assertRaises(ProtocolError, link.hello)

    def test_version_1_texts(self) -> None:
        """A text is taken up to a limit."""
        link = self.link(native.u32(2) + b"ab" + native.u32(2**31))
        link.send(b"?")
        self.assertEqual(link.text(), "ab")
        self.assertRaises(ProtocolError, link.text)

    def test_pieces(self) -> None:
        """More than a socket takes at once is sent in pieces."""
        self.patch(native_link, "READ_BYTES", 3)
        link = self.link(b"x")
        link.send(b"0123456789")
        self.assertEqual(link.read(1), b"x")
        self.assertTrue(link.sent)
