"""The rules of fsck."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from koboldfs.model.entities import MD5, SHA1, Checksum, CopyStat, File
from koboldfs.model.fsck import (
    AWAY,
    CODES,
    Answer,
    Inspection,
    Looked,
    Scope,
    SumVerdict,
    Verdict,
    compare,
    look,
    pace,
)

FILE = File(7, 1, "dir/key", 5, 3, 2)
RIGHT, WRONG = Checksum(MD5, b"\x01" * 16), Checksum(MD5, b"\x02" * 16)


class Looking(SynchronousTestCase):
    """Sizes."""

    def test_sorted(self) -> None:
        """Each copy by what its device said."""
        answers = {
            5: CopyStat(5),
            4: None,
            3: CopyStat(4),
            2: AWAY,
            1: CopyStat(5, RIGHT),
        }
        self.assertEqual(look(5, answers), Looked((1, 5), (4,), (3,), (2,)))
        self.assertEqual(look(5, {}), Looked())


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

    def test_some_unread(self) -> None:
        """When a copy could not be read, nothing is said of all of them; one that is
        wrong beside a right one is bad all the same."""
        other = Checksum(SHA1, b"\x01" * 20)
        for digests, recorded in (
            ({1: RIGHT}, None),
            ({1: WRONG}, RIGHT),
            ({1: RIGHT}, other),
            ({1: RIGHT, 2: WRONG}, other),
        ):
            verdict = compare(digests, recorded, wanted=True, complete=False)
            self.assertEqual(verdict, SumVerdict())
        verdict = compare({1: RIGHT, 2: WRONG}, RIGHT, wanted=True, complete=False)
        self.assertEqual(verdict, SumVerdict((2,), None, (("BSUM", 2),)))
        verdict = compare({1: RIGHT, 2: WRONG}, None, wanted=True, complete=False)
        self.assertEqual(verdict, SumVerdict(events=(("MSUM", None),)))


#: What a device says of a copy of `FILE` that is as long as it should be.
THERE = CopyStat(5)


class Inspections(SynchronousTestCase):
    """A file wants two copies, as devcount says; devices 1 to 4."""

    def begin(self, *recorded: int, **more: bool) -> Inspection:
        """A check of a file with these copies recorded."""
        return Inspection.begin(FILE, recorded, lambda some: len(some) == 2, **more)

    def check(
        self,
        recorded: dict[int, Answer],
        others: dict[int, Answer] | None = None,
        dead: tuple[int, ...] = (),
    ) -> Verdict:
        """The verdict when the devices say that."""
        one = self.begin(*recorded, *dead)
        one.hear(recorded, dead)
        self.assertEqual(one.wants_search, others is not None)
        if others is not None:
            one.search(others)
            self.assertFalse(one.wants_search)
        return one.conclude()

    def test_sound(self) -> None:
        """Nothing is to be done about a sound file."""
        verdict = self.check({1: THERE, 2: THERE})
        self.assertEqual(verdict, Verdict((1, 2)))
        self.assertFalse(verdict.changes)

    def test_policy(self) -> None:
        """Too few and too many copies violate the policy."""
        for recorded in ({1: THERE}, dict.fromkeys((1, 2, 3), THERE)):
            verdict = self.check(recorded)
            codes = [code for code, _ in verdict.events]
            self.assertEqual(codes, ["POVI", "BCNT", "REPL"])
            self.assertTrue(verdict.replicate and verdict.recount and verdict.changes)

    def test_devcount_not_kept(self) -> None:
        """Where devcount is not kept, it is not compared."""
        verdict = self.begin(1, counted=False).conclude()
        self.assertFalse(verdict.recount)

    def test_bad_copies(self) -> None:
        """Rows of copies that are missing or of another length go while there is a
        good one; events are in the order of the devices."""
        verdict = self.check({1: CopyStat(4), 2: THERE, 3: None}, dead=(4,))
        self.assertEqual(verdict.events[2:], (("BLEN", 1), ("MISS", 3), ("REPL", None)))
        self.assertEqual((verdict.removed, verdict.seen), ((1, 3, 4), (1, 2, 3, 4)))

    def test_away(self) -> None:
        """A copy that cannot be asked is no bad one; it stalls the file, but what the
        others said is done."""
        verdict = self.check({1: AWAY, 2: None})
        self.assertEqual(verdict.events, (("MISS", 2), ("REPL", None)))
        self.assertEqual((verdict.removed, verdict.stalled), ((2,), True))

    def test_found(self) -> None:
        """What a search finds is added, and worse copies are forgotten."""
        verdict = self.check({1: None, 2: CopyStat(1)}, {3: THERE, 4: None})
        codes = [("MISS", 1), ("BLEN", 2), ("SRCH", None), ("FOND", 3), ("REPL", None)]
        self.assertEqual(list(verdict.events), codes)
        self.assertEqual((verdict.added, verdict.removed), ((3,), (1, 2)))

    def test_no_copies_recorded(self) -> None:
        """NOPA, and a search."""
        verdict = self.check({}, {3: THERE, 4: THERE})
        codes = [code for code, _ in verdict.events]
        self.assertEqual(codes, ["NOPA", "BCNT", "SRCH", "FOND", "FOND"])
        self.assertEqual((verdict.added, verdict.replicate), ((3, 4), False))

    def test_gone(self) -> None:
        """Only when all have answered. A copy of another length is kept, as there is
        nothing better; there is nothing to replicate from."""
        verdict = self.check({1: None, 2: CopyStat(1)}, {3: None, 4: CopyStat(9)})
        self.assertEqual(verdict.events[-1], ("GONE", None))
        self.assertEqual((verdict.removed, verdict.replicate), ((1,), False))
        verdict = self.check({1: None, 2: None}, {3: None, 4: AWAY})
        self.assertEqual(verdict.events[-1], ("SRCH", None))
        self.assertEqual((verdict.removed, verdict.stalled), ((), True))

    def test_digests(self) -> None:
        """A bad copy is forgotten, found or recorded; sums are recorded."""
        one = self.begin(1, 2)
        one.hear({1: None, 2: CopyStat(1)}, ())
        one.search({3: THERE, 4: THERE})
        agreed = one.compare({3: RIGHT, 4: WRONG}, RIGHT, wanted=True, ours=True)
        self.assertEqual((agreed, one.good), (False, {3}))
        verdict = one.conclude()
        self.assertEqual((verdict.added, verdict.removed), ((3,), (1, 2)))
        one = self.begin(1, 2)
        one.hear({1: THERE, 2: THERE}, ())
        both = {1: RIGHT, 2: RIGHT}
        self.assertTrue(one.compare(both, None, wanted=True, ours=False))
        self.assertTrue(one.compare(both, None, wanted=True, ours=True))
        verdict = one.conclude()
        self.assertEqual(verdict.events, (("NSUM", None),))
        self.assertEqual((verdict.checksum, verdict.class_checksum), (RIGHT, RIGHT))
        self.assertTrue(verdict.changes)

    def test_unread_copy(self) -> None:
        """A copy that could not be read stalls the file; the bad one beside it goes."""
        one = self.begin(1, 2, 3)
        one.hear(dict.fromkeys((1, 2, 3), THERE), ())
        self.assertFalse(
            one.compare({1: RIGHT, 2: WRONG}, RIGHT, wanted=True, ours=True)
        )
        verdict = one.conclude()
        self.assertEqual((verdict.removed, verdict.stalled), ((2,), True))

    def test_news(self) -> None:
        """Of a file that was looked at before only what is new is told."""
        again = (("POVI", None), ("MISS", 1), ("MISS", 2), ("SRCH", None))
        verdict = Verdict((), (*again, ("REPL", None)), replicate=True)
        self.assertEqual(verdict.news(), ())
        verdict = Verdict((), (*again, ("REPL", None)), (), (2,), replicate=True)
        self.assertEqual(verdict.news(), (("MISS", 2), ("REPL", None)))
        verdict = Verdict((), (*again, ("GONE", None)), (), (1, 2))
        self.assertEqual(verdict.news(), (("MISS", 1), ("MISS", 2), ("GONE", None)))

    def test_codes(self) -> None:
        """There are thirteen."""
        self.assertEqual(len(set(CODES)), 13)


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
