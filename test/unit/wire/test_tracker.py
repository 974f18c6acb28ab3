"""The grammar of the tracker protocol."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.wire.escaping import format_arguments, parse_arguments, unescape
from koboldfs.wire.tracker import (
    LONG_REPLY_PAIRS,
    AdminLine,
    Command,
    format_error,
    format_lines,
    format_ok,
    parse_line,
    printable,
)

FUZZ = settings(max_examples=300, derandomize=True, database=None, deadline=None)
LATIN = st.text(st.characters(max_codepoint=255), max_size=40)


class ParseLine(SynchronousTestCase):
    """What a line means."""

    def assert_parsed(self, rows: dict[bytes, Command | AdminLine | None]) -> None:
        """Each line has that meaning."""
        for line, meaning in rows.items():
            self.assertEqual(parse_line(line), meaning, line)

    def test_commands(self) -> None:
        """A word in any case, then anything; blanks around it do not matter."""
        noop = Command("noop")
        self.assert_parsed(
            {
                b"noop": noop,
                b"NoOp": noop,
                b"  \tnoop   ": noop,
                b"noop\r": noop,
                b"noop &&0&": noop,
                b"noop a=1": Command("noop", {"a": "1"}),
                b"noop&a=1": Command("noop", {"a": "1"}),
                b"noop-x": Command("noop", {"-x": ""}),
                b"CREATE_OPEN&key=..": Command("create_open", {"key": ".."}),
                b"a_1=b": Command("a_1", {"": "b"}),
            }
        )

    def test_no_word(self) -> None:
        """What has no word is a command without a name, and has no callid."""
        for line in (
            b"-noop callid=7",
            b"!",
            b"! version",
            b"   ",
            b"&a=1",
            b"=",
            b"\xe4",
        ):
            self.assertEqual(parse_line(line), Command(""), line)

    def test_empty(self) -> None:
        """An empty line means nothing, also when it was ended by CRLF."""
        self.assert_parsed({b"": None, b"\r": None})

    def test_one_cr(self) -> None:
        """Only one CR belongs to the end of a line."""
        self.assert_parsed({b"noop a=1\r\r": Command("noop", {"a": "1\r"})})

    def test_arguments(self) -> None:
        """Escapes, repeated names, further equals signs, raw bytes."""
        self.assert_parsed(
            {
                b"x a=%41+%2b%zz": Command("x", {"a": "A +%zz"}),
                b"x a=1&a=2": Command("x", {"a": "1\x002"}),
                b"x a=b=c": Command("x", {"a": "b=c"}),
                b"x k=caf\xc3\xa9": Command("x", {"k": "caf\xc3\xa9"}),
                b"x k=caf%C3%A9": Command("x", {"k": "caf\xc3\xa9"}),
                b"x KEY=a&key=b": Command("x", {"KEY": "a", "key": "b"}),
            }
        )

    def test_callid(self) -> None:
        """The callid is no argument of the command."""
        self.assert_parsed(
            {
                b"x callid=a%20b&c=1": Command("x", {"c": "1"}, "a b"),
                b"x callid=": Command("x", {}, ""),
            }
        )

    def test_admin(self) -> None:
        """An exclamation mark and a word, and what follows."""
        self.assert_parsed(
            {
                b"!jobs": AdminLine("jobs"),
                b"!want 2 replicate\r": AdminLine("want", "2 replicate"),
                b"!to  fsck  a b": AdminLine("to", "fsck  a b"),
                b"!Stats": AdminLine("Stats"),
                b"!!": AdminLine("!"),
                b" !jobs": Command(""),
            }
        )

    @FUZZ
    @given(st.binary(max_size=60))
    def test_any_bytes(self, line: bytes) -> None:
        """Every line has a meaning, and a command's name is a plain word."""
        meaning = parse_line(line)
        if isinstance(meaning, Command):
            self.assertTrue(re.fullmatch("[a-z0-9_]*", meaning.name))
            self.assertNotIn("callid", meaning.arguments)
        else:
            self.assertEqual(meaning is None, line in (b"", b"\r"))

    @FUZZ
    @given(st.dictionaries(LATIN, LATIN, max_size=5))
    def test_arguments_survive(self, arguments: dict[str, str]) -> None:
        """What is escaped by the rules is read back as it was, whatever its bytes."""
        arguments.pop("callid", None)
        if arguments == {"": ""}:
            return  # a pair "=" is a pair, but nothing else can be told from it
        text = format_arguments(arguments.items())
        self.assertEqual(
            parse_line(b"x " + text.encode("ascii")), Command("x", arguments)
        )


class Format(SynchronousTestCase):
    """What replies look like."""

    def test_ok(self) -> None:
        """Pairs in order; a blank follows OK even when nothing else does."""
        self.assertEqual(format_ok([]), b"OK \r\n")
        self.assertEqual(format_ok([("a", 1), ("b", None)]), b"OK a=1&b=\r\n")
        self.assertEqual(format_ok([], "a b"), b"OK callid=a+b\r\n")
        self.assertEqual(format_ok([("a", "x")], "&"), b"OK a=x&callid=%26\r\n")

    def test_plain_bytes(self) -> None:
        """Slashes and colons stay as they are: clients do not unescape paths."""
        url = "http://127.0.0.1:7500/dev1/0/000/000/0000000001.fid"
        self.assertEqual(format_ok([("path", url)]), f"OK path={url}\r\n".encode())

    def test_escapes(self) -> None:
        """All but the plain bytes is escaped, in upper case."""
        text = "caf\xc3\xa9~!*()'\"@$;?&=%+ _,-./\\:\r\n"
        escaped = (
            "caf%C3%A9%7E%21%2A%28%29%27%22%40%24%3B%3F%26%3D%25%2B+_,-./\\:%0D%0A"
        )
        self.assertEqual(format_ok([("v", text)]), f"OK v={escaped}\r\n".encode())

    def test_separators_in_values(self) -> None:
        """One separator too many anywhere is seen and escaped."""
        for text, escaped in (("=", "%3D"), ("&", "%26"), ("a&b=c", "a%26b%3Dc")):
            reply = format_ok([("x", "1"), ("y", text), ("z", "")])
            self.assertEqual(reply, f"OK x=1&y={escaped}&z=\r\n".encode())

    def test_long(self) -> None:
        """A long list is written as a short one is, whatever its values are."""
        texts: list[tuple[str, object]] = [
            (f"k{number}", f"a b&{number}") for number in range(LONG_REPLY_PAIRS + 1)
        ]
        for pairs in (texts, [*texts, ("n", 5), ("none", None)]):
            slow = f"OK {format_arguments(pairs)}\r\n".encode("latin-1")
            self.assertEqual(format_ok(pairs), slow)
        plain = [(name, "x") for name, _ in texts]
        body = "&".join(f"{name}=x" for name, _ in plain)
        self.assertEqual(format_ok(plain), f"OK {body}\r\n".encode())

    @FUZZ
    @given(st.lists(st.tuples(LATIN, LATIN), max_size=6))
    def test_quick_way(self, pairs: list[tuple[str, str]]) -> None:
        """The quick way writes what the slow one does."""
        slow = f"OK {format_arguments(pairs)}\r\n".encode("latin-1")
        self.assertEqual(format_ok(pairs), slow)

    @FUZZ
    @given(st.dictionaries(st.from_regex("[a-z_0-9]+", fullmatch=True), LATIN))
    def test_read_back(self, fields: dict[str, str]) -> None:
        """A client reads what was meant, on one line."""
        fields.pop("0", None)
        reply = format_ok(list(fields.items()))
        self.assertEqual(reply.count(b"\n"), 1)
        text = reply[3:-2].decode("ascii")
        self.assertEqual(parse_arguments(text), fields)

    def test_beyond_latin(self) -> None:
        """A value that is no bytes is a defect, not a wrong reply."""
        self.assertRaises((UnicodeEncodeError, KeyError), format_ok, [("a", "\u20ac")])

    def test_error(self) -> None:
        """Code, text, callid; without a text the code again."""
        self.assertEqual(format_error("no_key", ""), b"ERR no_key no_key\r\n")
        self.assertEqual(format_error("x", "a\r\nb;"), b"ERR x a%0D%0Ab%3B\r\n")
        self.assertEqual(format_error("x", "t", "x&y"), b"ERR x t x%26y\r\n")
        self.assertEqual(format_error("x", "t", ""), b"ERR x t \r\n")

    def test_error_beyond_latin(self) -> None:
        """An odd character in a sentence does not lose the error."""
        self.assertEqual(format_error("x", "5\u20ac"), b"ERR x 5%3F\r\n")
        self.assertEqual(unescape("5%3F"), "5?")

    def test_lines(self) -> None:
        """Lines and their dot; the help text's end with LF only."""
        self.assertEqual(format_lines([]), b".\r\n")
        self.assertEqual(format_lines(["a", "b"]), b"a\r\nb\r\n.\r\n")
        self.assertEqual(format_lines(["a", ""], end="\n"), b"a\n\n.\r\n")

    def test_printable(self) -> None:
        """Control characters cannot begin a line or steer a terminal."""
        self.assertEqual(printable("a\x1b[2J\r\n\x7f\x00b"), "a%1B[2J%0D%0A%7F%00b")
