"""Where a fid lies, and how that is read back from a request path."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.model.fid import MAX_FID, parse_uri, relative_path, uri


class Paths(SynchronousTestCase):
    """Numbers to paths."""

    def test_padded(self) -> None:
        """A short fid is padded to ten digits, whose first seven name the folders."""
        self.assertEqual(uri(2, 1), "/dev2/0/000/000/0000000001.fid")
        self.assertEqual(relative_path(1), "0/000/000/0000000001.fid")
        self.assertEqual(uri(12, 23456789), "/dev12/0/023/456/0023456789.fid")

    def test_ten_digits(self) -> None:
        """Ten digits need no padding."""
        self.assertEqual(uri(7, 1234567890), "/dev7/1/234/567/1234567890.fid")
        self.assertEqual(relative_path(9999999999), "9/999/999/9999999999.fid")

    def test_more_digits(self) -> None:
        """A longer fid is not cut; its first digits still name the folders."""
        self.assertEqual(uri(7, 12345678901), "/dev7/1/234/567/12345678901.fid")
        self.assertEqual(relative_path(MAX_FID), "9/223/372/9223372036854775807.fid")

    @settings(derandomize=True, max_examples=200)
    @given(st.integers(1, 999_999_999), st.integers(1, MAX_FID))
    def test_round_trip(self, devid: int, fid: int) -> None:
        """What `uri` writes, `parse_uri` reads, and the path is its end."""
        text = uri(devid, fid)
        self.assertEqual(parse_uri(text.encode()), (devid, fid))
        self.assertEqual(text, f"/dev{devid}/{relative_path(fid)}")


class Refused(SynchronousTestCase):
    """Paths that name no file, each but for one thing."""

    def assert_refused(self, *paths: bytes) -> None:
        """None of them is taken."""
        for path in paths:
            self.assertIsNone(parse_uri(path), path)

    def test_other_spellings(self) -> None:
        """There is one spelling: no escapes, queries, doubled or dotted segments."""
        self.assert_refused(
            b"dev2/0/000/000/0000000001.fid",
            b"/dev2//0/000/000/0000000001.fid",
            b"/dev2/./0/000/000/0000000001.fid",
            b"/dev2/0/000/000/../000/0000000001.fid",
            b"/dev2/0/000/000/0000000001.fid?x",
            b"/dev2/0/000/000/0000000001%2efid",
            b"/dev2/0/000/000/0000000001.fid\n",
            b"/dev2/0/000/000/0000000001.FID",
            b"/dev2/0/000/000/0000000001xfid",
        )

    def test_devices(self) -> None:
        """A device is a number without a leading zero, of at most nine digits."""
        self.assert_refused(
            b"/dev/0/000/000/0000000001.fid",
            b"/dev0/0/000/000/0000000001.fid",
            b"/dev02/0/000/000/0000000001.fid",
            b"/dev-2/0/000/000/0000000001.fid",
            b"/dev1234567890/0/000/000/0000000001.fid",
            "/dev\N{ARABIC-INDIC DIGIT TWO}/0/000/000/0000000001.fid".encode(),
        )

    def test_numbers(self) -> None:
        """A fid is at least 1, fits 64 bits, and is padded to ten digits at most."""
        self.assert_refused(
            b"/dev2/0/000/000/0000000000.fid",
            b"/dev2/0/000/000/1.fid",
            b"/dev2/0/000/000/00000000001.fid",
            b"/dev2/9/223/372/9223372036854775808.fid",
            b"/dev2/9/999/999/99999999999999999999.fid",
        )

    def test_folders(self) -> None:
        """The folders are those of the fid, each of them."""
        self.assert_refused(
            b"/dev2/1/000/000/0000000001.fid",
            b"/dev2/0/001/000/0000000001.fid",
            b"/dev2/0/000/001/0000000001.fid",
            b"/dev2/0/000/0000000001.fid",
        )

    @settings(derandomize=True, max_examples=200)
    @given(st.binary(max_size=60))
    def test_garbage(self, path: bytes) -> None:
        """Whatever is taken is spelled as `uri` spells it."""
        found = parse_uri(path)
        self.assertTrue(found is None or uri(*found).encode() == path)
