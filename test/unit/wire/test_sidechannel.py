"""The side channel's own lines: requests, replies and checksums."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.model.entities import DIGEST_BYTES, HASH_NAMES, MD5, SHA256, Checksum
from koboldfs.wire.sidechannel import (
    ERROR_CODES,
    MAX_LINE_BYTES,
    VERBS,
    Reply,
    Request,
    SyntaxFault,
    parse_checksum,
    parse_reply,
    parse_request,
)

numbers = st.integers(0, 999_999_999_999)
texts = st.binary(max_size=20).map(lambda data: data.decode("latin-1"))
arguments = st.dictionaries(texts, texts, max_size=4)


class Requests(SynchronousTestCase):
    """``kobold <id> <verb>[ <arguments>]``."""

    def test_line(self) -> None:
        """The bytes of a request, without a line end and without a trailing blank."""
        request = Request(7, "stat", {"devid": "1", "fid": "23"})
        self.assertEqual(request.line(), b"kobold 7 stat devid=1&fid=23")
        self.assertEqual(Request(0, "hello").line(), b"kobold 0 hello")

    def test_parse(self) -> None:
        """A request with and without arguments."""
        found = parse_request(b"kobold 7 pull host=a+b&devid=1")
        self.assertEqual(found, Request(7, "pull", {"host": "a b", "devid": "1"}))
        self.assertEqual(parse_request(b"kobold 12 usage"), Request(12, "usage"))
        self.assertEqual(parse_request(b"kobold 12 usage "), Request(12, "usage"))

    def test_refused(self) -> None:
        """Whatever does not follow the grammar, each but for one thing."""
        for line in (
            b"",
            b"kobold",
            b"kobold 1",
            b"kobold  1 hello",
            b" kobold 1 hello",
            b"KOBOLD 1 hello",
            b"kobold x hello",
            b"kobold -1 hello",
            b"kobold 1234567890123 hello",
            b"kobold 1 Hello",
            b"kobold 1 hel-lo",
            b"kobold 1 averyveryverylongverb",
            b"kobold 1 stat devid=1 fid=2",
            b"kobold 1 stat  devid=1",
            b"kobold 1 stat devid=1\n",
            b"kobold 1 stat devid=1\r",
            b"kobold \xb2 hello",
            b"size /dev1/0/000/000/0000000001.fid",
        ):
            self.assertRaises(SyntaxFault, parse_request, line)

    def test_all_verbs(self) -> None:
        """Every verb can be said."""
        for verb in VERBS:
            self.assertEqual(parse_request(Request(1, verb).line()).verb, verb)

    @settings(derandomize=True, max_examples=150)
    @given(numbers, st.sampled_from(VERBS), arguments)
    def test_round_trip(self, number: int, verb: str, values: dict[str, str]) -> None:
        """What is written is read, on one line."""
        request = Request(number, verb, values)
        self.assertEqual(parse_request(request.line()), request)
        self.assertFalse(set(request.line()) & set(b"\r\n"))

    @settings(derandomize=True, max_examples=200)
    @given(st.binary(max_size=40))
    def test_garbage(self, data: bytes) -> None:
        """Any bytes are a request or a `SyntaxFault`."""
        for line in (data, b"kobold 1 stat " + data, b"kobold " + data):
            try:
                parse_request(line)
            except SyntaxFault:
                continue


class Replies(SynchronousTestCase):
    """``kobold <id> OK[ <fields>]`` and ``kobold <id> ERR <code> <text>``."""

    def test_ok(self) -> None:
        """Fields, or none."""
        reply = Reply(3, {"size": "10", "checksum": "MD5:00"})
        self.assertEqual(reply.line(), b"kobold 3 OK size=10&checksum=MD5:00")
        self.assertEqual(parse_reply(reply.line()), reply)
        self.assertEqual(Reply(3).line(), b"kobold 3 OK")
        self.assertEqual(parse_reply(b"kobold 3 OK"), Reply(3))

    def test_error(self) -> None:
        """A code and a text, which is escaped as one word."""
        reply = Reply(3, {}, "disk_full", "no room on dev1: 100%")
        self.assertEqual(
            reply.line(), b"kobold 3 ERR disk_full no+room+on+dev1:+100%25"
        )
        self.assertEqual(parse_reply(reply.line()), reply)

    def test_error_without_text(self) -> None:
        """The text may be empty, or missing."""
        reply = Reply(3, {}, "failure")
        self.assertEqual(parse_reply(reply.line()), reply)
        self.assertEqual(parse_reply(b"kobold 3 ERR failure"), reply)

    def test_refused(self) -> None:
        """Whatever does not follow the grammar."""
        for line in (
            b"",
            b"kobold 3",
            b"kobold 3 ok",
            b"kobold 3 OKAY",
            b"kobold 3  OK",
            b"kobold x OK",
            b"kobold 3 OK a=1\n",
            b"kobold 1234567890123 OK",
            b"kobold 3 ERR",
            b"kobold 3 ERR ",
            b"kobold 3 ERR  text",
            b"kobold 3 ERR disk\x1b[2Jfull text",
            b"kobold 3 ERR disk\rfull text",
            b"/dev1/0/000/000/0000000001.fid 12",
        ):
            self.assertRaises(SyntaxFault, parse_reply, line)

    @settings(derandomize=True, max_examples=150)
    @given(numbers, arguments)
    def test_fields_round_trip(self, number: int, fields: dict[str, str]) -> None:
        """What is written is read, on one line."""
        reply = Reply(number, fields)
        self.assertEqual(parse_reply(reply.line()), reply)
        self.assertFalse(set(reply.line()) & set(b"\r\n"))

    @settings(derandomize=True, max_examples=150)
    @given(numbers, st.sampled_from(ERROR_CODES), texts)
    def test_errors_round_trip(self, number: int, code: str, text: str) -> None:
        """What is written is read, on one line."""
        reply = Reply(number, {}, code, text)
        self.assertEqual(parse_reply(reply.line()), reply)
        self.assertFalse(set(reply.line()) & set(b"\r\n"))

    @settings(derandomize=True, max_examples=200)
    @given(st.binary(max_size=40))
    def test_garbage(self, data: bytes) -> None:
        """Any bytes are a reply or a `SyntaxFault`."""
        for line in (data, b"kobold 1 OK " + data, b"kobold 1 ERR " + data):
            try:
                parse_reply(line)
            except SyntaxFault:
                continue

    def test_largest_reply_fits(self) -> None:
        """What a node with a thousand devices says of them is no longer than a line."""
        fields = {"devices": "1000"}
        for i in range(1, 1001):
            fields |= {
                f"dev{i}_devid": "999999999",
                f"dev{i}_observed": "unreachable",
                f"dev{i}_kib_total": str(2**50),
                f"dev{i}_kib_used": str(2**50),
                f"dev{i}_utilization": "100.00",
            }
        self.assertLess(len(Reply(999_999_999_999, fields).line()), MAX_LINE_BYTES)


class Checksums(SynchronousTestCase):
    """``<type>:<hex>``."""

    def test_round_trip(self) -> None:
        """Every type, as it writes itself."""
        for kind in HASH_NAMES:
            checksum = Checksum(kind, bytes(range(DIGEST_BYTES[kind])))
            self.assertEqual(parse_checksum(str(checksum)), checksum)

    def test_either_case(self) -> None:
        """Hex digits in either case."""
        self.assertEqual(
            parse_checksum("MD5:" + "aB" * 16), Checksum(MD5, b"\xab" * 16)
        )

    def test_refused(self) -> None:
        """Unknown types, other signs, other lengths."""
        right = "00" * DIGEST_BYTES[SHA256]
        for text in (
            "",
            right,
            "SHA-256",
            "SHA-256:",
            f"sha-256:{right}",
            f"SHA256:{right}",
            f"SHA-512:{right}",
            f"MD5:{right}",
            f"SHA-256:{right}00",
            f"SHA-256:{right[2:]}",
            f"SHA-256:{right[1:]}",
            f"SHA-256:{right[2:]}0g",
            f"SHA-256: {right[1:]}",
            f"SHA-256:{right}\n",
            f"SHA-256:{right[1:]}\xb2",
        ):
            self.assertRaises(SyntaxFault, parse_checksum, text)
