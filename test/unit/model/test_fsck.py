"""The rules of fsck."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from koboldfs.model.entities import MD5, SHA1, Checksum, CopyStat, File
from koboldfs.model.fsck import AWAY, Looked, Scope, SumVerdict, compare, look, pace

FILE = File(7, 1, "dir/key", 5, 3, 2)
RIGHT, WRONG = Checksum(MD5, b"\x01" * 16), Checksum(MD5, b"\x02" * 16)


class Looking(SynchronousTestCase):
    """Sizes."""

    def test_sorted(self) -> None:
        """Each copy by what its device said; MISS and BLEN name the device."""
        answers = {
            5: CopyStat(5),
            4: None,
            3: CopyStat(4),
            2: AWAY,
            1: CopyStat(5, RIGHT),
        }
        self.assertEqual(
            look(FILE, answers),
            Looked((1, 5), (3, 4), (2,), (("BLEN", 3), ("MISS", 4))),
        )
        self.assertEqual(look(FILE, {}), Looked())


class Comparing(SynchronousTestCase):
    """Checksums."""

    def test_nothing_to_compare(self) -> None:
        """No digests, no verdict."""
        self.assertEqual(compare({}, RIGHT, wanted=True), SumVerdict())

    def test_all_right(self) -> None:
        """Copies as recorded are fine."""
        self.assertEqual(
            compare({1: RIGHT, 2: RIGHT}, RIGHT, wanted=True), SumVerdict()
        )

    def test_one_bad(self) -> None:
        """A copy that differs while another is right is bad, and named."""
        verdict = compare({1: WRONG, 2: RIGHT, 3: WRONG}, RIGHT, wanted=False)
        events = (("BSUM", 1), ("BSUM", 3))
        self.assertEqual(verdict, SumVerdict((1, 3), None, events))

    def test_all_bad(self) -> None:
        """When none is as recorded, none is condemned."""
        for digests in ({1: WRONG}, {1: WRONG, 2: Checksum(MD5, b"\x03" * 16)}):
            verdict = compare(digests, RIGHT, wanted=True)
            self.assertEqual(verdict, SumVerdict(events=(("BSUM", None),)))

    def test_not_recorded(self) -> None:
        """What all agree on is recorded if that is wanted; what differs is told."""
        agreed = {1: RIGHT, 2: RIGHT}
        self.assertEqual(compare(agreed, None, wanted=True), SumVerdict(record=RIGHT))
        self.assertEqual(compare(agreed, None, wanted=False), SumVerdict())
        verdict = compare({1: RIGHT, 2: WRONG}, None, wanted=True)
        self.assertEqual(verdict, SumVerdict(events=(("MSUM", None),)))

    def test_other_type(self) -> None:
        """A recorded checksum of another type cannot be compared."""
        other = Checksum(SHA1, b"\x01" * 20)
        verdict = compare({1: RIGHT, 2: RIGHT}, other, wanted=True)
        self.assertEqual(verdict, SumVerdict(events=(("BALG", None),)))
        verdict = compare({1: RIGHT, 2: WRONG}, other, wanted=True)
        self.assertEqual(verdict, SumVerdict(events=(("BSUM", None),)))


class Scopes(SynchronousTestCase):
    """Which files, and how long."""

    def test_scope(self) -> None:
        """Domain, class and prefix must all fit; nothing said fits all."""
        for scope in (Scope(), Scope(1), Scope(1, 3), Scope(1, 3, "dir/")):
            self.assertTrue(scope.covers(FILE))
        for scope in (Scope(2), Scope(1, 0), Scope(1, None, "key")):
            self.assertFalse(scope.covers(FILE))

    def test_pace(self) -> None:
        """Rate and time left; nothing is said of what is not known."""
        self.assertEqual(pace(100, 10.0, 50), (10.0, 5.0))
        self.assertEqual(pace(100, 10.0, -3), (10.0, 0.0))
        self.assertEqual(pace(0, 10.0, 50), (0.0, None))
        self.assertEqual(pace(5, 0.0, 0), (0.0, 0.0))
