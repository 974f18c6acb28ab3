"""The words of the native protocol."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from koboldfs.wire import native
from koboldfs.wire.native import Code, Command, Stat, SyntaxFault, ValueFault


class Numbers(SynchronousTestCase):
    """Integers in values."""

    def test_least_byte_first(self) -> None:
        """Numbers are little-endian, whatever the platform is."""
        self.assertEqual(native.u32(0x01020304), b"\4\3\2\1")
        self.assertEqual(native.u64(0x0102030405060708), b"\10\7\6\5\4\3\2\1")
        self.assertEqual(native.number32(b"\4\3\2\1"), 0x01020304)
        self.assertEqual(native.number64(b"\10\7\6\5\4\3\2\1"), 0x0102030405060708)

    def test_optional(self) -> None:
        """An empty value is no number."""
        self.assertIsNone(native.optional64(b""))
        self.assertEqual(native.optional64(native.optional_u64(5)), 5)
        self.assertEqual(native.optional_u64(None), b"")

    def test_wrong_length(self) -> None:
        """A number of another length is refused, not guessed."""
        for value in (b"", b"123", b"12345", b"12345678"):
            self.assertRaises(ValueFault, native.number32, value)
        for value in (b"", b"1234", b"123456789"):
            self.assertRaises(ValueFault, native.number64, value)
        self.assertRaises(ValueFault, native.optional64, b"1")


class Stored(SynchronousTestCase):
    """What is told of a file that was just stored."""

    def test_short(self) -> None:
        """On how many hosts it lies, while that is less than was promised."""
        values = list(Stat(1, 2, 1).values())
        self.assertFalse(Stat.stored(values).short)
        stat = Stat.stored([*values, native.u32(1), native.u32(2)])
        self.assertTrue(stat.short)
        self.assertEqual((stat.hosts, stat.promised), (1, 2))
        # A GET's values go on with other things, which are not taken for these.
        self.assertFalse(Stat.of([*values, native.u64(1), native.u64(2)]).short)
        nonsense = [*values, b"x", native.u32(2)]
        self.assertRaises(ValueFault, Stat.stored, nonsense)


class Requests(SynchronousTestCase):
    """Commands and their arguments."""

    def test_ping(self) -> None:
        """A request without arguments is two bytes."""
        self.assertEqual(native.request(Command.PING), b"\x10\0")

    def test_arguments(self) -> None:
        """Each argument is its length and its bytes."""
        self.assertEqual(
            native.request(Command.GET, b"d", b""),
            b"\x12\2\1\0\0\0d\0\0\0\0",
        )


class Frames(SynchronousTestCase):
    """Replies of version 2."""

    def test_layout(self) -> None:
        """Code, number, length of the values, values."""
        data = native.frame(Code.KO, 0x11223344, (b"ab", b""))
        self.assertEqual(data, b"\4\x44\x33\x22\x11\x0a\0\0\0\2\0\0\0ab\0\0\0\0")

    def test_back(self) -> None:
        """What was made is taken apart again."""
        data = native.frame(Code.OK, 9, (b"x", b"", b"yy"))
        self.assertEqual(native.frame_head(data[:9]), (Code.OK, 9, len(data) - 9))
        self.assertEqual(native.frame_values(data[9:]), [b"x", b"", b"yy"])

    def test_too_long(self) -> None:
        """Nobody is made to wait for, or to hold, a frame of any size."""
        head = b"\1" + native.u32(0) + native.u32(native.MAX_FRAME_BYTES + 1)
        self.assertRaises(SyntaxFault, native.frame_head, head)

    def test_values_that_do_not_fill_it(self) -> None:
        """A length that leads out of the frame is refused."""
        for payload in (b"\1", b"\1\0\0\0", b"\2\0\0\0x", b"\1\0\0\0xy"):
            self.assertRaises(SyntaxFault, native.frame_values, payload)

    def test_longest_page_fits(self) -> None:
        """A page of the longest keys is not too long for a frame."""
        page = native.MAX_PAGE_KEYS * (4 + native.MAX_KEY_BYTES) + 5
        self.assertLess(page, native.MAX_FRAME_BYTES)

    def test_error_values(self) -> None:
        """A word and a sentence, in any letters."""
        self.assertEqual(
            native.error_values("w", "\u00fc"), (b"w", "\u00fc".encode("utf-8"))
        )


class Stats(SynchronousTestCase):
    """What is said of a file."""

    def test_back(self) -> None:
        """A stat survives its way over the wire."""
        for stat in (
            Stat(2**40, 2**50, 3, "SHA-256:00", "gold"),
            Stat(1, 0, 0, None, "gr\xfcn"),
        ):
            self.assertEqual(Stat.of(list(stat.values())), stat)

    def test_wrong(self) -> None:
        """Too few values, or no numbers, are refused."""
        good = list(Stat(1, 2, 3).values())
        self.assertRaises(ValueFault, Stat.of, good[:4])
        self.assertRaises(ValueFault, Stat.of, [b"", *good[1:]])
        self.assertRaises(ValueFault, Stat.of, [*good[:3], b"\xff", good[4]])


class Table(SynchronousTestCase):
    """The bytes that are fixed for ever."""

    def test_version_1(self) -> None:
        """The bytes of 0.3 are what its clients and servers have built in."""
        commands = {
            "PING": 0x10,
            "PUT": 0x11,
            "GET": 0x12,
            "GET_URL": 0x13,
            "DELETE": 0x14,
            "PREPARE": 0x20,
            "COMMIT": 0x21,
            "ABORT": 0x22,
            "BEGIN": 0x23,
        }
        for name, number in commands.items():
            self.assertEqual(Command[name], number)
        codes = (
            "REDIRECT",
            "OK",
            "WAITING",
            "TRANSFER",
            "KO",
            "ERR_DOMAIN",
            "ERR_COMMAND",
            "ERR_NOTFOUND",
            "ERR_RESET",
        )
        for number, name in enumerate(codes):
            self.assertEqual(Code[name], number)
