"""Bytes in any pieces to the events of the native protocol."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from koboldfs.wire import native
from koboldfs.wire.native import Command, SyntaxFault
from koboldfs.wire.native_parser import End, Request, RequestParser, Size

GET = native.request(Command.GET, b"d", b"key")


def events(parser: RequestParser, *pieces: bytes) -> list[object]:
    """All events that come of these bytes."""
    found: list[object] = []
    for piece in pieces:
        parser.feed(piece)
        while (event := parser.next()) is not None:
            found.append(event)
    return found


def single(data: bytes) -> list[bytes]:
    """The bytes one by one."""
    return [data[at : at + 1] for at in range(len(data))]


class Requests(SynchronousTestCase):
    """Requests in pieces."""

    def test_in_any_two_pieces(self) -> None:
        """Where a request is split makes no difference."""
        for at in range(len(GET) + 1):
            parser = RequestParser()
            self.assertEqual(
                events(parser, GET[:at], GET[at:]),
                [Request(Command.GET, (b"d", b"key"))],
            )
            self.assertEqual(parser.unread_bytes, 0)

    def test_one_at_a_time(self) -> None:
        """A second request is not read before the first one is answered."""
        parser = RequestParser()
        self.assertEqual(len(events(parser, GET + b"\x10\0")), 1)
        self.assertTrue(parser.held)
        self.assertEqual(parser.unread_bytes, 2)
        parser.next_request()
        self.assertEqual(parser.next(), Request(Command.PING, ()))

    def test_order_of_calls(self) -> None:
        """Nothing can be answered that was not asked."""
        self.assertRaises(RuntimeError, RequestParser().next_request)

    def test_idle(self) -> None:
        """A parser is idle between requests only."""
        parser = RequestParser()
        self.assertTrue(parser.idle)
        events(parser, GET[:1])
        self.assertFalse(parser.idle)
        events(parser, GET[1:])
        self.assertFalse(parser.idle)
        parser.next_request()
        self.assertTrue(parser.idle)

    def test_too_many_arguments(self) -> None:
        """A count beyond all commands is no request."""
        parser = RequestParser()
        parser.feed(bytes((Command.GET, native.MAX_ARGUMENTS + 1)))
        self.assertRaises(SyntaxFault, parser.next)

    def test_too_long(self) -> None:
        """An argument that is too long is refused by its length, before its bytes."""
        parser = RequestParser()
        parser.feed(b"\x12\2" + native.u32(native.MAX_REQUEST_BYTES + 1))
        self.assertRaises(SyntaxFault, parser.next)

    def test_too_long_together(self) -> None:
        """The limit is for all arguments together."""
        half = bytes(native.MAX_REQUEST_BYTES // 2)
        parser = RequestParser()
        self.assertEqual(len(events(parser, native.request(1, half, half))), 1)
        parser.next_request()
        parser.feed(native.request(1, half, half, b"x"))
        self.assertRaises(SyntaxFault, parser.next)


class SizedBodies(SynchronousTestCase):
    """What follows WAITING."""

    def setUp(self) -> None:
        """A PUT that was told WAITING."""
        self.parser = RequestParser()
        events(self.parser, native.request(Command.PUT, b"d", b"k"))
        self.parser.expect_sized_body()

    def test_byte_by_byte(self) -> None:
        """The bytes come through one by one, whatever else comes with them."""
        md5 = b"0" * 32
        found = events(self.parser, *single(native.u32(3) + b"abc" + md5))
        self.assertEqual(found, [Size(3), b"a", b"b", b"c", End(md5)])
        self.assertTrue(self.parser.held)

    def test_at_once(self) -> None:
        """In one piece, and with the next request behind it."""
        data = native.u32(3) + b"abc" + b"f" * 32 + b"\x10\0"
        self.assertEqual(events(self.parser, data), [Size(3), b"abc", End(b"f" * 32)])
        self.parser.next_request()
        self.assertEqual(self.parser.next(), Request(Command.PING, ()))

    def test_empty(self) -> None:
        """An empty body has a trailer too."""
        found = events(self.parser, native.u32(0) + b"e" * 32)
        self.assertEqual(found, [Size(0), End(b"e" * 32)])


class ChunkedBodies(SynchronousTestCase):
    """What follows a PUT of version 2."""

    def setUp(self) -> None:
        """A PUT whose data come."""
        self.parser = RequestParser()
        events(self.parser, native.request(Command.PUT2, b"d", b"k"))
        self.parser.expect_chunked_body()

    def test_chunks(self) -> None:
        """Chunks end with an empty one and a trailer, in any pieces."""
        data = native.u32(2) + b"ab" + native.u32(1) + b"c" + native.u32(0)
        data += b"s" * native.SHA256_BYTES
        for pieces in ([data], single(data)):
            self.setUp()
            found = events(self.parser, *pieces)
            self.assertEqual(found[-1], End(b"s" * 32))
            body = b"".join(one for one in found if isinstance(one, bytes))
            self.assertEqual(body, b"abc")

    def test_abandon(self) -> None:
        """A client can give up between chunks."""
        data = native.u32(1) + b"a" + native.u32(native.ABANDON)
        self.assertEqual(events(self.parser, data), [b"a", End(None)])
        self.assertTrue(self.parser.held)

    def test_large_pieces_are_not_copied(self) -> None:
        """A piece that is all body is handed on as the very object that came."""
        events(self.parser, native.u32(1 << 20))
        piece = bytes(65536)
        self.parser.feed(piece)
        self.assertIs(self.parser.next(), piece)
