"""Escaping, byte by byte, and the argument strings made of it."""

from __future__ import annotations

import string

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.wire.escaping import (
    escape,
    format_arguments,
    parse_arguments,
    unescape,
)

#: What a reply leaves as it is.
PLAIN = string.ascii_letters + string.digits + "_,-./\\:"
#: Texts of one character per byte.
bytes_texts = st.binary(max_size=40).map(lambda data: data.decode("latin-1"))


class Escape(SynchronousTestCase):
    """Out."""

    def test_each_byte(self) -> None:
        """Plain ones stay, a blank is a plus, each other one is %XX in upper case."""
        for number in range(256):
            character = chr(number)
            if character in PLAIN:
                wanted = character
            elif character == " ":
                wanted = "+"
            else:
                wanted = f"%{number:02X}"
            self.assertEqual(escape(character), wanted)
            self.assertEqual(escape(f"a{character}b"), f"a{wanted}b")

    def test_recorded(self) -> None:
        """A text that a real tracker escaped."""
        text = "caf\xc3\xa9~!*()'\"@$;?"
        self.assertEqual(escape(text), "caf%C3%A9%7E%21%2A%28%29%27%22%40%24%3B%3F")

    def test_urls_stay(self) -> None:
        """Clients that do not unescape must find a URL as it is."""
        url = "http://127.0.0.1:7500/dev2/0/000/000/0000000001.fid"
        self.assertEqual(escape(url), url)

    def test_no_byte(self) -> None:
        """A character that is no byte is a defect, not silently changed."""
        self.assertRaises(KeyError, escape, "\u0100")


class Unescape(SynchronousTestCase):
    """In."""

    def test_each_byte(self) -> None:
        """Every byte can be written as %XX, in either case of hex."""
        for number in range(256):
            character = chr(number)
            self.assertEqual(unescape(f"%{number:02X}"), character)
            self.assertEqual(unescape(f"%{number:02x}"), character)
        self.assertEqual(unescape("%aB%Ab"), "\xab\xab")

    def test_raw_bytes(self) -> None:
        """Every byte but a plus and a percent sign stands for itself."""
        for number in range(256):
            character = chr(number)
            if character not in "+%":
                self.assertEqual(unescape(character), character)

    def test_plus(self) -> None:
        """A plus is a blank; an escaped plus is a plus."""
        self.assertEqual(unescape("a+b"), "a b")
        self.assertEqual(unescape("%2B+%2b"), "+ +")

    def test_lonely_percent(self) -> None:
        """A percent sign that two hex digits do not follow stays."""
        for text in ("%", "%4", "%4g", "%g4", "%%", "a%", "% 41"):
            self.assertEqual(unescape(text), text)
        self.assertEqual(unescape("%%41"), "%A")
        self.assertEqual(unescape("%2541"), "%41")

    def test_other_digits(self) -> None:
        """Only ASCII digits are hex digits."""
        self.assertEqual(unescape("%\xb2\xb3"), "%\xb2\xb3")

    @settings(derandomize=True, max_examples=200)
    @given(bytes_texts)
    def test_round_trip(self, text: str) -> None:
        """What is escaped comes back, and nothing in it is a separator."""
        escaped = escape(text)
        self.assertEqual(unescape(escaped), text)
        self.assertFalse(set(escaped) & set("&= \r\n\0"))
        self.assertTrue(escaped.isascii())


class Arguments(SynchronousTestCase):
    """Strings of pairs."""

    def test_pairs(self) -> None:
        """Names and values, both unescaped."""
        self.assertEqual(
            parse_arguments("domain=d1&k%65y=a%20b+c"), {"domain": "d1", "key": "a b c"}
        )

    def test_empty_pairs(self) -> None:
        """Empty pairs are dropped, and a pair that is exactly 0."""
        self.assertEqual(parse_arguments(""), {})
        self.assertEqual(parse_arguments("&&key=q&"), {"key": "q"})
        self.assertEqual(parse_arguments("0&a=1&0"), {"a": "1"})
        self.assertEqual(parse_arguments("00&0=1"), {"00": "", "0": "1"})

    def test_without_sign(self) -> None:
        """A name alone has the empty value."""
        self.assertEqual(parse_arguments("key"), {"key": ""})
        self.assertEqual(parse_arguments("key="), {"key": ""})

    def test_first_sign_separates(self) -> None:
        """What follows the first equals sign is the value, all of it."""
        self.assertEqual(parse_arguments("key=a=b==c"), {"key": "a=b==c"})
        self.assertEqual(parse_arguments("=v"), {"": "v"})

    def test_escaped_separators(self) -> None:
        """An escaped separator is none."""
        self.assertEqual(parse_arguments("a%3Db=c%26d"), {"a=b": "c&d"})

    def test_repeated_name(self) -> None:
        """The values of a repeated name are joined by a NUL, in order."""
        self.assertEqual(parse_arguments("key=a&key=b&key=a"), {"key": "a\0b\0a"})
        self.assertEqual(parse_arguments("key=a&k%65y=b"), {"key": "a\0b"})

    def test_names_are_case_sensitive(self) -> None:
        """KEY is not key."""
        self.assertEqual(parse_arguments("KEY=a&key=b"), {"KEY": "a", "key": "b"})

    def test_format(self) -> None:
        """Pairs in the order given; None is an empty value, numbers are written."""
        pairs = [("path", "http://a:1/b c"), ("n", 3), ("none", None), ("a&b", "=")]
        wanted = "path=http://a:1/b+c&n=3&none=&a%26b=%3D"
        self.assertEqual(format_arguments(pairs), wanted)
        self.assertEqual(format_arguments([]), "")

    @settings(derandomize=True, max_examples=200)
    @given(st.dictionaries(bytes_texts, bytes_texts, max_size=5))
    def test_round_trip(self, arguments: dict[str, str]) -> None:
        """What is formatted is parsed to the same."""
        text = format_arguments(arguments.items())
        self.assertEqual(parse_arguments(text), arguments)

    @settings(derandomize=True, max_examples=200)
    @given(bytes_texts)
    def test_garbage(self, text: str) -> None:
        """Any bytes are some arguments; none of them is lost from the text."""
        arguments = parse_arguments(text)
        again = parse_arguments(format_arguments(arguments.items()))
        self.assertEqual(again, arguments)
