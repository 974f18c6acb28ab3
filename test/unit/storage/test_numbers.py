"""The highest fid on a disk."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from koboldfs.errors import DiskFault
from koboldfs.model.fid import relative_path
from koboldfs.storage import numbers
from koboldfs.storage.numbers import highest_fid
from test.fakes.disk import MemoryDisk

ROOT = "/dev1"


class Highest(SynchronousTestCase):
    """`highest_fid`."""

    def setUp(self) -> None:
        """An empty device."""
        self.disk = MemoryDisk()
        self.disk.make_folders(ROOT)

    def put(self, *fids: int) -> None:
        """Files of these numbers."""
        for fid in fids:
            self.disk.put(f"{ROOT}/{relative_path(fid)}", b"x")

    def highest(self, low: int = 0, high: int = 10**12) -> int:
        """What is found."""
        return highest_fid(self.disk, ROOT, low, high)

    def test_highest(self) -> None:
        """Whatever folders there are below it."""
        self.assertEqual(self.highest(), 0)
        for fid in (1, 999, 1000, 999_999, 1_000_000, 999_999_999, 9_999_999_999):
            self.put(fid)
            self.assertEqual(self.highest(), fid)

    def test_bounds(self) -> None:
        """Between two numbers, the upper one included."""
        self.put(5, 1005, 2_000_005)
        rows = ((0, 4, 0), (0, 5, 5), (5, 9, 5), (5, 1004, 5), (5, 1005, 1005))
        for low, high, found in (*rows, (1005, 10**7, 2_000_005), (7, 9, 7)):
            self.assertEqual(self.highest(low, high), found, (low, high))
        self.assertEqual(self.highest(2_000_005), 2_000_005)
        self.assertEqual(self.highest(3_000_000), 3_000_000)

    def test_what_counts(self) -> None:
        """Files with their right names in their right places, of ten digits."""
        self.put(7, 12_345_678_901)
        for path in (
            "0/000/000/0000000008.fid.x",
            "0/000/000/000000009.fid",
            "0/000/001/0000000009.fid",
            "0/000/0x0/0000000009.fid",
            "0/001/file",
            "usage",
        ):
            self.disk.put(f"{ROOT}/{path}", b"x")
        self.disk.make_folders(f"{ROOT}/9/999/999/9999999999.fid")
        self.assertEqual(self.highest(), 7)

    def test_empty_folders(self) -> None:
        """From which all was deleted are passed over, but not for ever."""
        self.put(7)
        for number in range(1, 6):
            self.disk.make_folders(f"{ROOT}/0/000/{number:03d}")
        self.assertEqual(self.highest(), 7)
        self.patch(numbers, "MOST_FOLDERS", 5)
        with self.assertRaises(DiskFault):
            self.highest()
        self.assertEqual(self.highest(0, 2999), 7)

    def test_few_looks(self) -> None:
        """A disk that is full of files is not read from its beginning."""
        self.put(*(1000 * n for n in range(1, 200)))
        looked, names = list[str](), self.disk.names

        def look(folder: str) -> list[str]:
            looked.append(folder)
            return names(folder)

        self.patch(self.disk, "names", look)
        self.assertEqual(self.highest(198_000), 199_000)
        self.assertEqual(len(looked), 4)
