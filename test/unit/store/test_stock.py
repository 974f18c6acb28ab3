"""Uploads drawn ahead: how many, for how long, and who is told what they are."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import evolve
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.errors import DatabaseAway
from koboldfs.model.entities import Upload
from koboldfs.store import stock
from koboldfs.store.stock import (
    DESCRIBE_SECONDS,
    FRESH_SECONDS,
    LOOK_AGAIN_SECONDS,
    MEASURE_SECONDS,
    MOST_DRAWN,
    PAUSE_SECONDS,
    RETRY_SECONDS,
    TRIAL_UPLOADS,
    Stock,
)
from koboldfs.store.transactions_uploads import Opening

OPENING = Opening(1, "k", 0, "3,4")


class Drawing(SynchronousTestCase):
    """A stock over a database that is a list of what it was asked."""

    def setUp(self) -> None:
        """Nothing was drawn yet."""
        self.clock = Clock()
        self.next_fid = 1
        self.drawn: list[tuple[int, int, int]] = []
        self.described: list[Opening] = []
        self.forgotten: list[int] = []
        self.away = False
        self.stock = Stock(self.clock, self.draw, self.describe, self.forget)

    def draw(self, dmid: int, classid: int, count: int) -> Deferred[list[int]]:
        """Numbers from 1 on."""
        if self.away:
            return fail(DatabaseAway())
        self.drawn.append((dmid, classid, count))
        fids = list(range(self.next_fid, self.next_fid + count))
        self.next_fid += count
        return succeed(fids)

    def describe(self, openings: Sequence[Opening]) -> Deferred[None]:
        """Note it."""
        if self.away:
            return fail(DatabaseAway())
        self.described += openings
        return succeed(None)

    def forget(self, fids: Sequence[int]) -> Deferred[None]:
        """Note it."""
        self.forgotten += fids
        return fail(DatabaseAway()) if self.away else succeed(None)

    def burst(
        self,
        count: int,
        seconds: float = 1.0,
        close: bool = True,
        opening: Opening = OPENING,
    ) -> list[int]:
        """Uploads at regular times, each closed at once; those from the stock."""
        taken = []
        for _ in range(count):
            fid = self.stock.take(opening)
            if fid is not None:
                taken.append(fid)
                if close:
                    self.stock.closed(fid)
            self.clock.advance(seconds / count)
        return taken

    def test_few(self) -> None:
        """Who stores little is served as ever."""
        self.assertEqual(self.burst(120, 10.0), [])
        self.assertEqual(self.drawn, [])

    def test_many(self) -> None:
        """Once the demand was measured nearly all come from what was drawn ahead, and
        no fid comes twice."""
        taken = self.burst(2000, 4.0)
        self.assertGreater(len(taken), 2000 * (4.0 - MEASURE_SECONDS) / 4.0 - 10)
        self.assertEqual(len(set(taken)), len(taken))
        self.assertLess(len(self.drawn), 2000 / 50)
        self.assertEqual(self.described, [])

    def test_demand(self) -> None:
        """What is drawn follows the demand, in powers of two, up to a limit."""
        self.burst(200, 2.0)
        self.assertEqual({count for _, _, count in self.drawn}, {16})
        self.burst(20_000, 2.0)
        self.assertEqual(self.drawn[-1], (1, 0, MOST_DRAWN))

    def test_classes_apart(self) -> None:
        """A row names domain and class."""
        self.burst(500)
        self.assertIsNone(self.stock.take(evolve(OPENING, dmid=2)))
        self.assertIsNone(self.stock.take(evolve(OPENING, classid=5)))
        self.assertIsNotNone(self.stock.take(OPENING))

    def test_stale(self) -> None:
        """What nobody wants is thrown away soon, and never handed out; after that
        nothing has to be done any more."""
        taken = self.burst(500)
        self.clock.pump([0.1] * int(FRESH_SECONDS * 10 + 1))
        self.assertIsNone(self.stock.take(OPENING))
        self.clock.pump([1.0] * 12)
        self.assertEqual(
            sorted([*self.forgotten, *taken]), list(range(1, self.next_fid))
        )
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_that_lasts(self) -> None:
        """It is described, once; one that is closed in time is not."""
        self.burst(500)
        lasts = self.stock.take(evolve(OPENING, key="lasts"))
        short = self.stock.take(OPENING)
        assert short is not None
        self.clock.advance(DESCRIBE_SECONDS / 2)
        self.stock.closed(short)
        self.assertEqual(self.described, [])
        self.clock.advance(DESCRIBE_SECONDS)
        self.clock.advance(DESCRIBE_SECONDS)
        wanted = Opening(1, "lasts", 0, "3,4", lasts)
        self.assertEqual(self.described, [wanted])

    def test_database_away(self) -> None:
        """Descriptions are tried again; who wants a fid asks the database itself."""
        self.burst(500)
        lasts = self.stock.take(OPENING)
        self.away = True
        self.clock.pump([DESCRIBE_SECONDS] * 4)
        self.assertEqual(self.described, [])
        self.assertLess(len(self.burst(500, close=False)), MOST_DRAWN)
        self.assertIsNone(self.stock.take(OPENING))
        self.away = False
        self.clock.pump([RETRY_SECONDS / 10] * 12)
        self.assertIn(lasts, [one.fid for one in self.described])

    def test_of_no_use(self) -> None:
        """When too many uploads last, nothing is drawn ahead for a while, each time for
        a longer one; and then it is tried again."""
        self.burst(300, close=False)
        self.clock.advance(DESCRIBE_SECONDS)
        drawn = len(self.drawn)
        self.assertEqual(self.burst(1000, PAUSE_SECONDS - 2, close=False), [])
        self.assertEqual(len(self.drawn), drawn)
        again = self.burst(1000, 5.0, close=False)
        self.assertGreater(len(again), TRIAL_UPLOADS)
        self.assertEqual(self.burst(4000, 2 * PAUSE_SECONDS - 5, close=False), [])

    def test_a_few_that_last(self) -> None:
        """They do no harm."""
        for n in range(1000):
            fid = self.stock.take(OPENING)
            if fid is not None and n % 10:
                self.stock.closed(fid)
            self.clock.advance(0.002)
        self.assertGreater(len(self.burst(500)), 400)

    def test_domain_gone(self) -> None:
        """Nothing that was drawn for it is handed out; other domains keep theirs."""
        other = evolve(OPENING, dmid=2)
        self.burst(500)
        self.burst(500, opening=other)
        self.stock._draw = lambda dmid, classid, count: Deferred()
        self.stock.drop(1)
        self.assertIsNone(self.stock.take(OPENING))
        self.assertIsNotNone(self.stock.take(other))
        self.stock.drop()
        self.assertIsNone(self.stock.take(other))

    def test_drawn_too_late(self) -> None:
        """What is drawn for a domain that went meanwhile is thrown away."""
        late: Deferred[list[int]] = Deferred()
        self.stock._draw = lambda dmid, classid, count: late
        self.burst(500)
        self.stock.drop(1)
        late.callback([1, 2])
        self.assertEqual(self.forgotten, [1, 2])

    def test_stop(self) -> None:
        """Uploads are described, the rest is thrown away, nothing is handed out."""
        self.burst(500)
        lasts = self.stock.take(OPENING)
        stopped = Deferred.fromCoroutine(self.stock.stop())
        self.successResultOf(stopped)
        self.assertEqual([one.fid for one in self.described], [lasts])
        self.assertIn(self.next_fid - 1, self.forgotten)
        self.assertIsNone(self.stock.take(OPENING))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop_while_away(self) -> None:
        """A database that is away keeps nobody from stopping."""
        self.burst(500)
        self.stock.take(OPENING)
        self.away = True
        self.successResultOf(Deferred.fromCoroutine(self.stock.stop()))

    def test_limit_of_blank_ones(self) -> None:
        """As many as may be open are not described; beyond, the database is asked."""
        self.patch(stock, "MAX_BLANK", 3)
        self.burst(500)
        taken = [self.stock.take(OPENING) for _ in range(5)]
        self.assertEqual([fid is None for fid in taken], [False] * 3 + [True] * 2)


class Looking(SynchronousTestCase):
    """What an upload is, of which another tracker has not said it yet."""

    def setUp(self) -> None:
        """A row that says nothing."""
        self.clock = Clock()

        def unused(*_: object) -> Deferred[None]:
            raise AssertionError("nobody stores")

        self.stock = Stock(self.clock, unused, unused, unused)  # type: ignore[arg-type]
        self.found: Upload | None = Upload(5, 1, 0, 1, "", ())
        self.looks = 0

    def look(self, fid: int) -> Deferred[Upload | None]:
        """The row as it is now."""
        self.looks += 1
        return succeed(self.found)

    def ask(self) -> Deferred[Upload | None]:
        """What the stock says."""
        return Deferred.fromCoroutine(self.stock.described(self.look, 5))

    def test_known(self) -> None:
        """What is there is told at once; so is what is not."""
        self.found = Upload(5, 1, 0, 1, "k", (3,))
        self.assertEqual(self.successResultOf(self.ask()), self.found)
        self.found = None
        self.assertIsNone(self.successResultOf(self.ask()))
        self.assertEqual(self.looks, 2)

    def test_soon(self) -> None:
        """It is waited for."""
        answer = self.ask()
        self.clock.advance(LOOK_AGAIN_SECONDS[0])
        self.assertNoResult(answer)
        self.found = Upload(5, 1, 0, 1, "k", (3,))
        self.clock.advance(LOOK_AGAIN_SECONDS[1])
        self.assertEqual(self.successResultOf(answer), self.found)

    def test_never(self) -> None:
        """Not for ever."""
        answer = self.ask()
        self.clock.pump(LOOK_AGAIN_SECONDS)
        self.assertIsNone(self.successResultOf(answer))
