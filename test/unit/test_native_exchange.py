"""What the synchronous client asks of a server, in either version."""

from __future__ import annotations

import io
from hashlib import md5, sha256

from twisted.trial.unittest import SynchronousTestCase

from koboldfs import native_exchange
from koboldfs.native_exchange import Modern, Old, greet
from koboldfs.native_link import (
    ChecksumError,
    KeyMissing,
    Link,
    ProtocolError,
    ServerError,
    ServerTrouble,
    UnknownDomain,
    Unsupported,
    parse_address,
)
from koboldfs.wire import native
from koboldfs.wire.native import Code, Stat
from test.fakes.native_server import (
    DoorServer,
    OldServer,
    ScriptedServer,
    ThreadServer,
)

SECONDS = 5.0


class ExchangeCase(SynchronousTestCase):
    """Links to servers."""

    def link(self, server: ThreadServer) -> Link:
        """A link that is closed at the end."""
        self.addCleanup(server.stop)
        link = Link(parse_address(server.address), SECONDS)
        self.addCleanup(link.close)
        return link

    def scripted(self, *replies: bytes) -> Link:
        """A link to a server that says these things; its next number is 7."""
        link = self.link(ScriptedServer(*replies))
        link._number = 6
        return link


class Greeting(ExchangeCase):
    """Which version is spoken."""

    def test_modern(self) -> None:
        """A server of ours."""
        link = self.link(DoorServer())
        exchange = greet(link, self.fail)
        self.assertIsInstance(exchange, Modern)
        self.assertIs(exchange.link, link)

    def test_old(self) -> None:
        """A 0.3 server gets a new connection."""
        link, other = self.link(OldServer()), self.link(OldServer())
        exchange = greet(link, lambda: other)
        self.assertIsInstance(exchange, Old)
        self.assertIs(exchange.link, other)


class Uploads(ExchangeCase):
    """PUT of version 2."""

    def setUp(self) -> None:
        """A door."""
        self.server = DoorServer()
        self.names = self.server.names
        self.exchange = Modern(self.link(self.server))
        self.patch(native_exchange, "CHUNK_BYTES", 1000)

    def put(self, data: bytes, domain: bytes = b"d", size: int | None = None) -> object:
        """Upload it."""
        read = io.BytesIO(data).read
        return self.exchange.put(domain, b"key", b"", size, read)

    def test_sizes(self) -> None:
        """Any number of chunks, also none."""
        for count in (0, 1, 999, 1000, 1001, 5000):
            data = bytes(count)
            stat = self.put(data, size=count)
            assert isinstance(stat, Stat)
            self.assertEqual((stat.size, self.names.data("key")), (count, data))

    def test_refused_at_the_end(self) -> None:
        """An error after the last chunk; the link stays good."""
        self.assertRaises(UnknownDomain, self.put, b"small", b"nowhere")
        self.exchange.ping()

    def test_refused_early(self) -> None:
        """An error that comes early ends the sending; the link stays good."""
        sent: list[int] = []

        def read(limit: int) -> bytes:
            """Never ends; by the third time the reply is there."""
            sent.append(limit)
            if len(sent) > 2:
                while not self.exchange.link.has_input():
                    pass
            return bytes(limit)

        self.assertRaises(
            UnknownDomain, self.exchange.put, b"nowhere", b"key", b"", None, read
        )
        self.assertLess(len(sent), 6)
        self.exchange.ping()

    def test_answered_too_early(self) -> None:
        """A server that says OK before the end cannot be believed."""
        stat = native.frame(Code.OK, 7, Stat(1, 2, 3).values())
        link = self.scripted(stat)
        pieces = [b"1", b"2", b"3"]

        def read(limit: int) -> bytes:
            """Wait for the reply after the second piece went out."""
            if len(pieces) == 1:
                while not link.has_input():
                    pass
            return pieces.pop(0) if pieces else b""

        self.assertRaises(
            ProtocolError, Modern(link).put, b"d", b"key", b"", None, read
        )

    def test_source_fails(self) -> None:
        """When the source fails the upload is given up, and the link stays good."""
        for good_chunks in (0, 1, 3):
            left = [bytes(1000)] * good_chunks

            def read(limit: int, left: list[bytes] = left) -> bytes:
                """Some chunks, then an error."""
                if not left:
                    raise OSError("the disk is broken")
                return left.pop()

            self.assertRaises(OSError, self.exchange.put, b"d", b"key", b"", None, read)
            self.exchange.ping()
            self.assertEqual(
                (self.names.uploads, self.names.data("key")), (set(), None)
            )

    def test_reply_without_stat(self) -> None:
        """A stat that is none is no reply."""
        link = self.scripted(native.frame(Code.OK, 7))
        read = io.BytesIO(b"x").read
        self.assertRaises(
            ProtocolError, Modern(link).put, b"d", b"key", b"", None, read
        )


class Downloads(ExchangeCase):
    """GET of version 2."""

    def test_range(self) -> None:
        """The part that was asked for, and the whole file's checksum."""
        server = DoorServer()
        server.names.store("key", b"0123456789")
        transfer = Modern(self.link(server)).get(b"d", b"key", 3, 4, None)
        self.assertIsNone(transfer.checksum)
        self.assertEqual(b"".join(transfer.pieces()), b"3456")
        digest = sha256(b"0123456789").hexdigest()
        self.assertEqual(transfer.checksum, f"SHA-256:{digest}")

    def transfer(self, tail: bytes) -> native_exchange.ModernTransfer:
        """A transfer that begins well and goes on as given."""
        head = native.frame(Code.TRANSFER, 7, Stat(1, 3, 2).values())
        return Modern(self.scripted(head + tail)).get(b"d", b"key", 0, None, None)

    def test_changed_on_the_way(self) -> None:
        """Bytes that are not those that were sent."""
        verdict = native.frame(Code.OK, 7, (sha256(b"abc").digest(), b""))
        transfer = self.transfer(native.u32(3) + b"abd" + native.u32(0) + verdict)
        self.assertRaises(ChecksumError, list, transfer.pieces())

    def test_bad_verdict(self) -> None:
        """The server says that what it sent is not good."""
        verdict = native.frame(Code.FAULT, 7, (b"node", b"No"))
        transfer = self.transfer(native.u32(3) + b"abc" + native.u32(0) + verdict)
        self.assertRaises(ServerTrouble, list, transfer.pieces())

    def test_no_verdict(self) -> None:
        """Without a verdict nothing is good."""
        transfer = self.transfer(native.u32(0) + native.frame(Code.OK, 7))
        self.assertRaises(ProtocolError, list, transfer.pieces())

    def test_left_in_the_middle(self) -> None:
        """Who stops reading in the middle cannot go on with the link."""
        transfer = self.transfer(native.u32(3) + b"abc")
        pieces = transfer.pieces()
        next(pieces)
        pieces.close()  # type: ignore[attr-defined]
        self.assertTrue(transfer._link.closed)


class Pages(ExchangeCase):
    """LIST."""

    def test_empty_page(self) -> None:
        """A page without keys is the last, whatever the server says."""
        link = self.scripted(native.frame(Code.OK, 7, (b"\1",)))
        self.assertEqual(Modern(link).list_page(b"d", b"", b"", 5), ([], False))

    def test_no_page(self) -> None:
        """A page has a first value."""
        link = self.scripted(native.frame(Code.OK, 7))
        self.assertRaises(ProtocolError, Modern(link).list_page, b"d", b"", b"", 5)


class OldOnes(ExchangeCase):
    """Version 1."""

    def setUp(self) -> None:
        """A 0.3 server with a file."""
        self.server = OldServer()
        self.server.files[b"key"] = b"data"
        self.exchange = Old(self.link(self.server))

    def get(self) -> bytes:
        """The file."""
        return b"".join(self.exchange.get(b"d", b"key", 0, None, None).pieces())

    def test_get(self) -> None:
        """A file and its md5; the link stays good."""
        self.assertEqual((self.get(), self.get()), (b"data", b"data"))

    def test_wrong_md5(self) -> None:
        """Bytes that the md5 does not fit."""
        self.server.wrong_md5 = True
        self.assertRaises(ChecksumError, self.get)
        self.exchange.ping()

    def test_redirect(self) -> None:
        """Another server is asked, once."""
        other = OldServer()
        self.addCleanup(other.stop)
        other.files[b"key"] = b"elsewhere"
        self.server.redirect = other.address.encode()
        self.assertEqual(self.get(), b"elsewhere")
        self.exchange.ping()
        other.redirect = self.server.address.encode()
        self.assertRaises(ProtocolError, self.get)

    def test_redirect_to_nowhere(self) -> None:
        """An address that is none."""
        self.server.redirect = b"nowhere:at:all:"
        self.assertRaises(ProtocolError, self.get)

    def test_ranges(self) -> None:
        """There are none."""
        for start, length in ((1, None), (0, 5)):
            self.assertRaises(
                Unsupported, self.exchange.get, b"d", b"key", start, length, None
            )

    def test_put_in_pieces(self) -> None:
        """More than a chunk, with its md5, and committed."""
        self.patch(native_exchange, "CHUNK_BYTES", 3)
        data = b"0123456789"
        self.exchange.put(b"d", b"new", b"", 10, io.BytesIO(data).read)
        self.assertEqual(self.server.files[b"new"], data)

    def test_put_of_a_short_source(self) -> None:
        """A source with less than was said breaks the link, and stores nothing."""
        read = io.BytesIO(b"123").read
        self.assertRaises(ServerError, self.exchange.put, b"d", b"n", b"", 4, read)
        self.assertTrue(self.exchange.link.closed)

    def test_put_beyond(self) -> None:
        """What version 1 cannot say is not tried."""
        for class_name, size in ((b"", None), (b"", 2**32), (b"gold", 1)):
            self.assertRaises(
                Unsupported, self.exchange.put, b"d", b"n", class_name, size, self.fail
            )

    def test_refused(self) -> None:
        """Its codes are the same exceptions."""
        self.assertRaises(KeyMissing, self.exchange.delete, b"d", b"gone")
        self.assertRaises(UnknownDomain, self.exchange.urls, b"nowhere", b"key")

    def test_nonsense(self) -> None:
        """A code that is none ends the link; a URL that is none too."""
        exchange = Old(self.scripted(b"\x63"))
        self.assertRaises(ProtocolError, exchange.ping)
        self.assertTrue(exchange.link.closed)
        for text in (b"file:///etc/passwd", b"http://[::1", b"http://[x]/"):
            exchange = Old(self.scripted(b"\3" + native.u32(len(text)) + text))
            self.assertRaises(ProtocolError, exchange.urls, b"d", b"key")
            self.assertTrue(exchange.link.closed)

    def test_md5_in_capitals(self) -> None:
        """The digits may be capitals."""
        digits = md5(b"x").hexdigest().upper().encode()
        exchange = Old(self.scripted(b"\3" + native.u32(1) + b"x" + digits))
        transfer = exchange.get(b"d", b"key", 0, None, None)
        self.assertEqual(list(transfer.pieces()), [b"x"])
