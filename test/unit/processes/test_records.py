"""Lines between parent and children."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from koboldfs.processes.records import (
    MAX_LINE_BYTES,
    MAX_TEXT_CHARS,
    Lines,
    decoded,
    encoded,
    log_records,
)


class Records(SynchronousTestCase):
    """`encoded`, `decoded`, `log_records`"""

    def test_there_and_back(self) -> None:
        """Whatever is in the values, a record is one line of ASCII."""
        line = encoded("tell", {"what": "want", "values": {"job": "a\nb\xe9"}})
        self.assertEqual(line.count(b"\n"), 1)
        self.assertTrue(line.isascii())
        record = decoded(line)
        assert record is not None
        self.assertEqual(record["values"], {"job": "a\nb\xe9"})

    def test_no_record(self) -> None:
        """What is none is none."""
        for line in (b"", b"words", b"[]", b"{}", b'{"kind": 1}', b"\xff", b"7"):
            self.assertIsNone(decoded(line), line)

    def test_log(self) -> None:
        """A line of text a record, long ones in pieces that a pipe takes whole."""
        text = "first\n" + "x" * (2 * MAX_TEXT_CHARS + 1)
        records = list(log_records("warn", "koboldfs.here", text))
        texts = [(decoded(record) or {})["text"] for record in records]
        self.assertEqual([len(one) for one in texts], [5, 300, 300, 1])
        for letter in ("x", "\xe9", "\U0001f600"):
            records = list(log_records("warn", "koboldfs.here", letter * 1000))
            self.assertLess(max(map(len, records)), 4096)
        self.assertEqual(len(list(log_records("info", "-", ""))), 1)


class Cutting(SynchronousTestCase):
    """`Lines`"""

    def test_pieces(self) -> None:
        """Lines come out whole, however they came in."""
        lines = Lines()
        found = [
            line for byte in b"one\ntwo\nthr" for line in lines.feed(bytes([byte]))
        ]
        self.assertEqual(found, [b"one", b"two"])
        self.assertEqual((lines.end(), lines.end()), ([b"thr"], []))

    def test_endless(self) -> None:
        """A line without an end does not fill the memory."""
        lines = Lines()
        self.assertEqual(lines.feed(b"x" * MAX_LINE_BYTES), [])
        self.assertEqual(len(lines.feed(b"x")), 1)
        self.assertEqual(lines.end(), [])
