"""How safe files are, added up."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from koboldfs.model.health import MAX_CENSUS_CHARS, Census, Seen, Shortage, Shortages


class Short(SynchronousTestCase):
    """Files with too few copies."""

    def test_sums(self) -> None:
        """By how many they have; the lowest fid of all; whether it is all of them."""
        short = Shortages()
        short.add([Shortage(0, 1, 9), Shortage(1, 5, 4), Shortage(2, 3, 7)], 100)
        self.assertEqual((short.none, short.one, short.fewer), (1, 5, 3))
        self.assertEqual((short.total, short.lowest_fid, short.capped), (9, 4, False))
        short.add([Shortage(1, 100, 2)], 100)
        self.assertEqual((short.one, short.lowest_fid, short.capped), (105, 2, True))
        self.assertEqual(short.exact_below, 1)
        short.add([Shortage(0, 1, 9), Shortage(2, 99, 9)], 100)
        self.assertEqual(short.exact_below, 1)
        short.add([Shortage(0, 100, 9)], 100)
        self.assertEqual(short.exact_below, 0)
        short.add([], 100)
        self.assertTrue(short.capped)

    def test_corrections(self) -> None:
        """Copies that do not count: a file is in another group, or in one at last."""
        short = Shortages()
        short.add([Shortage(1, 2, 8), Shortage(2, 1, 9)], 100)
        for fid, recorded, counting in ((8, 1, 0), (9, 2, 1), (7, 3, 2), (5, 3, 3)):
            short.correct(fid, recorded, counting, 3)
        self.assertEqual((short.none, short.one, short.fewer), (1, 2, 1))
        self.assertEqual(short.lowest_fid, 7)
        for _ in range(3):
            short.correct(6, 2, 3, 3)  # as if not all had been added
        self.assertEqual(short.fewer, 0)


class Walks(SynchronousTestCase):
    """The census."""

    def test_counts(self) -> None:
        """Every file is in one of four groups, and perhaps unreadable."""
        census = Census(100).with_files(
            [
                Seen(1, 10, 3, 3, True),
                Seen(2, 10, 2, 3, True),
                Seen(3, 10, 1, 3, False),
                Seen(4, 10, 0, 3, False),
                Seen(5, 10, 1, 1, True),
            ]
        )
        self.assertEqual((census.files, census.bytes, census.fid), (5, 50, 5))
        groups = (census.whole, census.fewer, census.one, census.none)
        self.assertEqual((groups, census.unreadable), ((2, 1, 1, 1), 2))
        self.assertEqual(census.with_files([]), census)
        self.assertEqual(census.finished(90).ended, 100)

    def test_text(self) -> None:
        """It is written down and read again; nonsense is none."""
        census = Census(100, 0, 7, 8, 9)
        self.assertEqual(Census.of(census.text()), census)
        for text in (None, "", "x", "[]", "{}", '{"began": "x"}', '{"other": 1}'):
            self.assertIsNone(Census.of(text), text)
        self.assertIsNone(Census.of('{"began":1}' + " " * MAX_CENSUS_CHARS))
