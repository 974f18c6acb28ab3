"""Paths, ranges, conditions and checksums of HTTP requests."""

from __future__ import annotations

from base64 import b64encode

from hypothesis import given
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.model.fid import uri
from koboldfs.wire.http import (
    MalformedHeader,
    RangeNotSatisfiable,
    Target,
    Validators,
    copy_target,
    entity_tag,
    evaluate_conditions,
    format_date,
    parse_content_md5,
    parse_content_range,
    parse_date,
    parse_range,
    parse_target,
    parse_trailers,
    range_applies,
)

COPY = b"/dev5/0/000/007/0000007005.fid"
DATE = b"Tue, 14 Nov 2023 22:13:20 GMT"
SECONDS = 1_700_000_000


class Paths(SynchronousTestCase):
    """`parse_target`"""

    def test_copy(self) -> None:
        """The spelling of MogileFS, and the same in absolute form."""
        target = Target("copy", 5, "0/000/007/0000007005.fid", 7005)
        self.assertEqual(copy_target(5, 7005), target)
        for raw in (COPY, b"http://host:7500" + COPY, b"HTTP://[::1]" + COPY):
            self.assertEqual(parse_target(raw), target, raw)

    def test_others(self) -> None:
        """Usage, test files and the folders that MKCOL names."""
        for raw, target in (
            (b"/dev1/usage", Target("usage", 1, "usage")),
            (b"http://h/dev1/usage", Target("usage", 1, "usage")),
            (b"/dev1/test-write/", Target("folder", 1, "test-write")),
            (b"/dev1/test-write", Target("folder", 1, "test-write")),
            (
                b"/dev1/test-write/test-write-0",
                Target("test", 1, "test-write/test-write-0"),
            ),
            (
                b"/dev1/test-write/test-write-99",
                Target("test", 1, "test-write/test-write-99"),
            ),
            (b"/dev1/test-write/test-md5", Target("test", 1, "test-write/test-md5")),
            (b"/dev1/0/", Target("folder", 1, "0")),
            (b"/dev1/9/012/345", Target("folder", 1, "9/012/345")),
        ):
            self.assertEqual(parse_target(raw), target, raw)

    def test_nothing(self) -> None:
        """Everything that is not exactly a path of ours names nothing."""
        for raw in (
            b"",
            b"/",
            b"*",
            b"/dev1",
            b"/dev1/",
            b"/dev0/usage",
            b"/dev01/usage",
            b"/dev1/usage/",
            b"/dev1/usage?x=1",
            b"/dev1//usage",
            b"//dev1/usage",
            b"/dev1/%75sage",
            b"/dev1/./usage",
            b"/dev1/../dev1/usage",
            b"/dev1\\usage",
            b"/dev1/usage\0",
            b"/dev1/usage\n",
            b"/dev1/.koboldfs-device",
            b"/dev1/.koboldfs/tmp/1-1-1",
            b"/dev1/test-write/test-write-100",
            b"/dev1/test-write/test-write-01",
            b"/dev1/test-write/x",
            b"/dev1/test-write//",
            b"/dev1/0/00",
            b"/dev1/0/000/000/000",
            b"/dev1/0/000/000/0000000000.fid",
            b"/dev1/0/000/000/00000000001.fid",
            b"/dev1/0/000/001/0000000001.fid",
            b"/dev1/0/000/000/0000000001.fid/",
            b"/dev1/0/000/000/0000000001.fi%64",
            b"/dev1/0/000/%2e%2e/0000000001.fid",
            b"ftp://host" + COPY,
            b"http:/" + COPY,
            b"http://host",
            b"http://host?" + COPY,
            COPY + b"#x",
            COPY.upper(),
            "/dev１/usage".encode(),
        ):
            self.assertIsNone(parse_target(raw), raw)

    @given(some.integers(1, 999_999_999), some.integers(1, 2**63 - 1))
    def test_every_copy(self, devid: int, fid: int) -> None:
        """Every device and fid has a path that is understood, below the device."""
        target = parse_target(uri(devid, fid).encode())
        self.assertEqual(target, copy_target(devid, fid))
        assert target is not None
        self.assertNotIn("..", target.relative)

    @given(some.binary(max_size=60))
    def test_any_bytes(self, tail: bytes) -> None:
        """No bytes make it fail, and what it accepts stays below the device."""
        for raw in (tail, b"/dev1/" + tail, b"http://" + tail):
            target = parse_target(raw)
            if target is not None:
                self.assertNotIn("..", target.relative)
                self.assertFalse(target.relative.startswith(("/", ".")))


class Ranges(SynchronousTestCase):
    """`parse_range`"""

    def test_spans(self) -> None:
        """First byte and the byte after the last, of a file of 10."""
        for value, span in (
            (b"bytes=0-0", (0, 1)),
            (b"bytes=0-9", (0, 10)),
            (b"bytes=2-5", (2, 6)),
            (b"Bytes= 2 - 5", (2, 6)),
            (b"bytes=9-", (9, 10)),
            (b"bytes=0-99999", (0, 10)),
            (b"bytes=-3", (7, 10)),
            (b"bytes=-99", (0, 10)),
        ):
            self.assertEqual(parse_range(value, 10), span, value)

    def test_ignored(self) -> None:
        """Several ranges, other units and nonsense: the whole file is sent."""
        for value in (
            b"",
            b"bytes",
            b"bytes=",
            b"bytes=-",
            b"bytes=5-2",
            b"bytes=0-1,3-4",
            b"lines=1-2",
            b"bytes=a-b",
            b"bytes=0x1-2",
            b"bytes=--1",
            b"bytes=0-99999999999999999999999",
        ):
            self.assertIsNone(parse_range(value, 10), value)

    def test_outside(self) -> None:
        """A range without a single byte of the file is refused."""
        for value, size in (
            (b"bytes=10-", 10),
            (b"bytes=10-12", 10),
            (b"bytes=-0", 10),
            (b"bytes=0-", 0),
            (b"bytes=-1", 0),
        ):
            with self.assertRaises(RangeNotSatisfiable):
                parse_range(value, size)

    @given(some.integers(0, 50), some.integers(0, 50), some.integers(0, 50))
    def test_within_the_file(self, first: int, last: int, size: int) -> None:
        """A span is never empty and never outside the file."""
        try:
            span = parse_range(b"bytes=%d-%d" % (first, last), size)
        except RangeNotSatisfiable:
            self.assertGreaterEqual(first, size)
            return
        if span is None:
            self.assertGreater(first, last)
        else:
            self.assertEqual(span, (first, min(last + 1, size)))
            self.assertLess(span[0], span[1])


class Checksums(SynchronousTestCase):
    """Content-MD5, as a header and behind a chunked body."""

    def test_content_md5(self) -> None:
        """16 bytes in base64, and nothing else."""
        digest = bytes(range(16))
        value = b64encode(digest)
        self.assertEqual(parse_content_md5(b" " + value + b" "), digest)
        for wrong in (b"", value[:-1], value + b"=", b"x", b"\xff" * 24, value[:-2]):
            with self.assertRaises(MalformedHeader):
                parse_content_md5(wrong)

    def test_content_range(self) -> None:
        """First byte and the byte after the last; whether the total is said or not."""
        for value, place in (
            (b"bytes 0-0/1", (0, 1)),
            (b"bytes 5-9/10", (5, 10)),
            (b" Bytes 5-9/* ", (5, 10)),
            (b"bytes=5-9/*", (5, 10)),
        ):
            self.assertEqual(parse_content_range(value), place)
        for wrong in (
            b"",
            b"bytes 5-4/*",
            b"bytes 5-9/9",
            b"bytes */9",
            b"bytes 5-/9",
            b"bytes 5-9",
            b"lines 5-9/*",
            b"bytes 1-%s/*" % (b"9" * 19),
        ):
            with self.assertRaises(MalformedHeader):
                parse_content_range(wrong)

    def test_trailers(self) -> None:
        """Names in lower case; lines without a name are malformed."""
        self.assertEqual(
            parse_trailers([b"Content-MD5: abc", b"X:"]),
            {b"content-md5": b"abc", b"x": b""},
        )
        for wrong in (b"", b"name", b": value", b"name : value", b" folded: x"):
            with self.assertRaises(MalformedHeader):
                parse_trailers([wrong])


class Dates(SynchronousTestCase):
    """HTTP dates."""

    def test_round_trip(self) -> None:
        """What is written is what is read."""
        self.assertEqual(format_date(SECONDS + 0.9), DATE)
        self.assertEqual(parse_date(DATE), SECONDS)

    def test_nonsense(self) -> None:
        """What is no date is None, also when it is long or not ASCII."""
        for value in (
            b"",
            b"tomorrow",
            b"\xff",
            b"Tue, 99 Nov 99999 99:99:99 GMT" * 99,
        ):
            self.assertIsNone(parse_date(value), value)

    @given(some.binary(max_size=40))
    def test_any_bytes(self, value: bytes) -> None:
        """Nothing makes it fail."""
        found = parse_date(value)
        self.assertTrue(found is None or isinstance(found, int))


class Conditions(SynchronousTestCase):
    """If-Match and its like."""

    validators = Validators(entity_tag(5, 10, 255), SECONDS)

    def evaluate(self, **headers: bytes) -> int:
        """The status for these headers (underscores for dashes)."""
        values = {name.replace("_", "-").encode(): headers[name] for name in headers}
        return evaluate_conditions(values.get, self.validators)

    def test_tags(self) -> None:
        """A tag is of the size, the time and the inode."""
        self.assertEqual(self.validators.etag, b'"5-a-ff"')
        self.assertEqual(self.evaluate(If_None_Match=b'"5-a-ff"'), 304)
        self.assertEqual(self.evaluate(If_None_Match=b'W/"5-a-ff"'), 304)
        self.assertEqual(self.evaluate(If_None_Match=b'"x", "5-a-ff"'), 304)
        self.assertEqual(self.evaluate(If_None_Match=b"*"), 304)
        self.assertEqual(self.evaluate(If_None_Match=b'"x"'), 200)
        self.assertEqual(self.evaluate(If_Match=b'"5-a-ff"'), 200)
        self.assertEqual(self.evaluate(If_Match=b"*"), 200)
        self.assertEqual(self.evaluate(If_Match=b'W/"5-a-ff"'), 412)
        self.assertEqual(self.evaluate(If_Match=b'"x"'), 412)

    def test_times(self) -> None:
        """Dates count when there is no tag; nonsense does not count."""
        later, earlier = format_date(SECONDS + 1), format_date(SECONDS - 1)
        self.assertEqual(self.evaluate(If_Modified_Since=DATE), 304)
        self.assertEqual(self.evaluate(If_Modified_Since=later), 304)
        self.assertEqual(self.evaluate(If_Modified_Since=earlier), 200)
        self.assertEqual(self.evaluate(If_Modified_Since=b"x"), 200)
        self.assertEqual(self.evaluate(If_Unmodified_Since=DATE), 200)
        self.assertEqual(self.evaluate(If_Unmodified_Since=earlier), 412)
        self.assertEqual(self.evaluate(If_Unmodified_Since=b"x"), 200)
        self.assertEqual(self.evaluate(), 200)

    def test_precedence(self) -> None:
        """A tag beats a date."""
        self.assertEqual(
            self.evaluate(If_None_Match=b'"x"', If_Modified_Since=DATE), 200
        )
        earlier = format_date(SECONDS - 1)
        self.assertEqual(
            self.evaluate(If_Match=b'"5-a-ff"', If_Unmodified_Since=earlier), 200
        )

    def test_if_range(self) -> None:
        """A range counts for the very same file only."""
        self.assertTrue(range_applies(None, self.validators))
        self.assertTrue(range_applies(b'"5-a-ff"', self.validators))
        self.assertFalse(range_applies(b'W/"5-a-ff"', self.validators))
        self.assertFalse(range_applies(b'"x"', self.validators))
        self.assertTrue(range_applies(DATE, self.validators))
        later = format_date(SECONDS + 1)
        self.assertFalse(range_applies(later, self.validators))
        self.assertFalse(range_applies(b"x", self.validators))
