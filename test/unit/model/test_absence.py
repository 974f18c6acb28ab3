"""When a device counts as lost, and who may say so."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.model.absence import (
    AWAY_SETTING,
    LOST_AFTER_SETTING,
    MOST_COUNTED_SECONDS,
    Absences,
    Standing,
    Walk,
    after_look,
    cut_off,
    expected,
    lost_after_seconds,
    numbers_text,
    parse_walks,
    seen,
    settings_of,
    walks_text,
)
from koboldfs.model.entities import END_OF_TIME
from koboldfs.model.view import LATE_SETTING, LOST_SETTING, View
from test.unit.model.pictures import picture

#: Five hosts with a device each.
FIVE = {n: n for n in range(1, 6)}
AFTER = 100


class Texts(SynchronousTestCase):
    """What stands in the settings."""

    def test_absences(self) -> None:
        """What is written is read again; nothing away is no setting."""
        absences = Absences(1_700_000_000, {7: 120, 5: 0})
        self.assertEqual(absences.text(), "1700000000 5:0 7:120")
        self.assertEqual(Absences.parse(absences.text()), absences)
        self.assertIsNone(Absences(5).text())

    def test_nonsense(self) -> None:
        """What makes no sense is nothing: it is counted anew."""
        for text in (None, "", "x", "5:3", "1 5", "1 5:-3", "1 5:3 x:y", "9" * 13):
            self.assertEqual(Absences.parse(text), Absences(), text)

    def test_settings(self) -> None:
        """The settings of a standing, and the standing of a picture with them."""
        standing = Standing(Absences(9, {1: 2}), frozenset({2, 10}), frozenset({3}))
        settings = settings_of(standing)
        wanted = {AWAY_SETTING: "9 1:2", LOST_SETTING: "2 10", LATE_SETTING: "3"}
        self.assertEqual(settings, wanted)
        view = View(lost=frozenset({2, 10}), late=frozenset({3}))
        self.assertEqual(Standing.of(view, "9 1:2"), standing)
        self.assertEqual(set(settings_of(Standing()).values()), {None})
        self.assertIsNone(numbers_text([]))

    def test_lost_after(self) -> None:
        """Without the setting, or with another word than a number, nothing is lost."""
        for text, seconds in (("0", 0), ("3600", 3600), ("x", 0), ("-1", 0), ("", 0)):
            view = View(settings={LOST_AFTER_SETTING: text})
            self.assertEqual(lost_after_seconds(view), seconds)
        self.assertEqual(lost_after_seconds(View()), 0)

    def test_walks(self) -> None:
        """A walk goes on where it stood, unless it is one of another kind."""
        walks = {5: Walk("lost", 2**62, 17, 0), 7: Walk("late", 3, 0, 1_700_000_000)}
        text = walks_text(walks)
        self.assertEqual(parse_walks(text, {5}, {7}), walks)
        self.assertEqual(
            parse_walks(text, {7}, {5}), {7: Walk("lost"), 5: Walk("late")}
        )
        self.assertEqual(parse_walks(text, {5}, ()), {5: walks[5]})
        self.assertEqual(parse_walks("5:lost:x 5:lost 9", {5}, ()), {5: Walk("lost")})
        self.assertEqual(parse_walks(None, (), ()), {})
        self.assertIsNone(walks_text({}))

    def test_walk_ends(self) -> None:
        """A walk that found nothing lacking is over; another one is repeated later."""
        self.assertTrue(Walk("lost", 9).ended(50, 600).done)
        self.assertEqual(Walk("lost", 9).ended(50, 600).due, END_OF_TIME)
        again = Walk("lost", 9, 3).ended(50, 600)
        self.assertEqual(again, Walk("lost", 0, 0, 650))
        self.assertFalse(again.done)


class Judging(SynchronousTestCase):
    """Who is expected, and whether what is missing is missing to all."""

    def test_expected(self) -> None:
        """All but what the operator gave up or took down, and what is lost already."""
        view = picture(
            {n: n for n in range(1, 9)},
            devices_are={1: "dead", 2: "down", 3: "readonly", 4: "drain"},
            hosts_are={5: "dead", 6: "down", 7: "readonly"},
        )
        self.assertEqual(expected(view, [8]), {3, 4, 7})
        self.assertEqual(expected(view, []), {3, 4, 7, 8})
        self.assertEqual(expected(evolve(view, hosts={}), []), set())

    def test_cut_off_from_hosts(self) -> None:
        """Whoever sees no more than half of the hosts may be cut off itself."""
        for hosts, away, judges in (
            (5, 2, True),
            (5, 3, False),
            (4, 1, True),
            (4, 2, False),
            (3, 1, True),
            (3, 2, False),
            (2, 1, False),
            (1, 1, False),
            (2, 0, True),
        ):
            view = picture(
                {n: n for n in range(hosts)}, away=tuple(range(away)), used={}
            )
            why = cut_off(view, view.devices)
            self.assertEqual(not why, judges, (hosts, away))
            if why:
                self.assertIn(f"{hosts - away} of {hosts} hosts", why)

    def test_cut_off_from_devices(self) -> None:
        """Nor is anything lost while half of the devices are away."""
        view = picture({1: 1, 2: 2, 3: 3, 4: 3, 5: 3}, away=(3,))
        self.assertIn("2 of 5 devices", cut_off(view, view.devices))
        gone = picture({1: 1, 2: 1, 3: 2, 4: 3}, observed={1: "unreachable"})
        self.assertEqual(cut_off(gone, gone.devices), "")
        gone = picture(
            {1: 1, 2: 1, 3: 2, 4: 3}, observed={1: "unreachable", 2: "unreachable"}
        )
        self.assertIn("2 of 4 devices", cut_off(gone, gone.devices))

    def test_not_looked_at(self) -> None:
        """What was not looked at yet is not seen."""
        view = evolve(picture(FIVE), health=View().health)
        self.assertTrue(cut_off(view, view.devices))
        self.assertFalse(seen(view, 1))


class Looks(SynchronousTestCase):
    """`after_look`: from one count to the next."""

    def look(
        self, standing: Standing, view: View, now: int, *, counting: bool = True
    ) -> Standing:
        """One count."""
        return after_look(standing, view, now, AFTER, counting=counting)

    def test_counted(self) -> None:
        """What is away is counted from the first look on, until it is lost."""
        view = picture(FIVE, away=(5,))
        standing = self.look(Standing(), view, 1000)
        self.assertEqual(standing.absences, Absences(1000, {5: 0}))
        standing = self.look(standing, view, 1050)
        self.assertEqual(standing.absences, Absences(1050, {5: 50}))
        standing = self.look(standing, view, 1099)
        self.assertEqual(standing.lost, frozenset())
        standing = self.look(standing, view, 1100)
        self.assertEqual(standing, Standing(Absences(1100), frozenset({5})))

    def test_gaps(self) -> None:
        """A time in which nobody looked does not count; nor does one that the clock
        jumped over, in either direction."""
        view = picture(FIVE, away=(5,))
        before = Standing(Absences(1000, {5: 90}))
        for now in (1000 + MOST_COUNTED_SECONDS + 1, 10**9, 999, 1000, 0):
            after = self.look(before, view, now)
            self.assertEqual(after.absences, Absences(now, {5: 90}))
        after = self.look(before, view, 1000 + MOST_COUNTED_SECONDS)
        self.assertEqual(after.lost, frozenset({5}))

    def test_seen_by_somebody(self) -> None:
        """Who sees a device takes its count away, whatever others see; also one that
        sees too little to judge, or has just begun."""
        before = Standing(Absences(1000, {4: 99, 5: 99}))
        well = picture(FIVE, away=(4,))
        self.assertEqual(self.look(before, well, 1001).lost, frozenset({4}))
        self.assertEqual(self.look(before, well, 1001).absences.seconds, {})
        poor = picture(FIVE, away=(1, 2, 3, 4))
        for view, counting in ((poor, True), (well, False)):
            after = self.look(before, view, 1010, counting=counting)
            self.assertEqual(after, Standing(Absences(1000, {4: 99})))

    def test_too_much_at_once(self) -> None:
        """Three of five hosts away: nothing is lost, however long; two: both are."""
        standing, many = Standing(), picture(FIVE, away=(3, 4, 5))
        for now in range(1000, 2000, 20):
            standing = self.look(standing, many, now)
        self.assertEqual(standing, Standing())
        two = picture(FIVE, away=(4, 5))
        for now in range(2000, 2200, 20):
            standing = self.look(standing, two, now)
        self.assertEqual(standing.lost, frozenset({4, 5}))
        # Of the three that are left, one more may be lost, and then no more.
        for now in range(2200, 2400, 20):
            standing = self.look(standing, many, now)
        self.assertEqual(standing.lost, frozenset({3, 4, 5}))
        last = picture(FIVE, away=(2, 3, 4, 5))
        for now in range(2400, 2600, 20):
            standing = self.look(standing, last, now)
        self.assertEqual(standing.lost, frozenset({3, 4, 5}))

    def test_back(self) -> None:
        """What is seen again is late; its count begins anew when it goes again."""
        before = Standing(Absences(), frozenset({4, 5}))
        after = self.look(before, picture(FIVE, away=(4,)), 1000)
        wanted = Standing(Absences(1000), frozenset({4}), frozenset({5}))
        self.assertEqual(after, wanted)
        after = self.look(after, picture(FIVE, away=(4, 5)), 1010)
        self.assertEqual(after.late, frozenset({5}))
        self.assertEqual(after.absences, Absences(1010, {5: 0}))
        after = evolve(after, absences=Absences(1010, {5: 95}))
        after = self.look(after, picture(FIVE, away=(4, 5)), 1020)
        self.assertEqual(after, Standing(Absences(1020), frozenset({4, 5})))

    def test_operators_word(self) -> None:
        """A device that is declared dead, or removed, is lost no more; one that is set
        down is neither counted nor found again."""
        before = Standing(Absences(1000, {1: 99}), frozenset({4, 5}), frozenset({3}))
        view = picture(FIVE, away=(1, 4, 5), devices_are={5: "dead", 1: "down"})
        after = self.look(before, view, 1001)
        self.assertEqual(
            after, Standing(Absences(1001), frozenset({4}), frozenset({3}))
        )
        less = evolve(view, devices={1: view.devices[1], 2: view.devices[2]})
        after = self.look(before, less, 1001)
        self.assertEqual((after.lost, after.late), (frozenset(), frozenset()))

    def test_turned_off(self) -> None:
        """With 0 nothing is lost, and what was is taken back."""
        before = Standing(Absences(1000, {4: 99}), frozenset({5}))
        view = picture(FIVE, away=(4, 5))
        after = after_look(before, view, 1001, 0, counting=True)
        self.assertEqual(after, Standing(late=frozenset({5})))
