"""Transactions on a connection that is a script."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.errors import (
    DatabaseAway,
    DatabaseFault,
    DuplicateRow,
    KeyExists,
    ValueRefused,
)
from koboldfs.store.postgres import Hosts, Listener, PostgresRunner
from koboldfs.store.steps import (
    MAX_ATTEMPTS,
    Again,
    Lost,
    Mode,
    OutcomeUnknown,
    Reply,
    Statement,
    Steps,
    Transaction,
    Unfit,
    quiet,
)


class FakeLink:
    """Answers each trip from a script: a reply, or an error."""

    def __init__(self, script: list[Any]) -> None:
        self.script = script
        self.trips: list[list[str]] = []
        self.released = self.discarded = False
        self.lost: Any = None
        self.noticed: Any = None

    async def send(self, statements: Sequence[Statement]) -> Reply:
        """See `Link`."""
        self.trips.append([one.sql for one in statements])
        answer = self.script.pop(0) if self.script else Reply([], 0)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, Reply) else Reply([(answer,)], 1)

    def limit(self, seconds: float | None) -> None:
        """See `Link`."""

    def shut(self) -> None:
        """See `Link`."""
        self.discarded = True


class FakePool:
    """Hands out one link after the other."""

    def __init__(self, links: list[FakeLink]) -> None:
        self.links = list(links)

    def acquire(self, deadline: float | None) -> Deferred[Any]:
        """See `Pool`."""
        return succeed(self.links[0])

    def release(self, link: FakeLink) -> None:
        """See `Pool`."""
        link.released = True

    def discard(self, link: FakeLink) -> None:
        """See `Pool`."""
        link.discarded = True
        self.links.remove(link)


def ask(error: Exception | None = None) -> Steps[Any]:
    """Something quiet, something asked, something quiet."""
    yield quiet(Statement("q1"))
    reply = yield Statement("ask")
    if error is not None:
        raise error
    yield quiet(Statement("q2"), Statement("q3"))
    return reply.rows[0][0]


class Running(SynchronousTestCase):
    """How transactions become trips, and what happens to them."""

    def setUp(self) -> None:
        """A runner without connections."""
        self.clock = Clock()
        self.runner = PostgresRunner({}, self.clock, random=Random(1))

    def run_on(
        self, scripts: list[list[Any]], mode: Mode = Mode.WRITE, **options: Any
    ) -> Deferred[Any]:
        """Run `ask` on links with these scripts."""
        error = options.pop("error", None)
        self.links = [FakeLink(script) for script in scripts]
        pool: Any = FakePool(self.links)
        self.runner._pool = pool
        transaction = Transaction("test", lambda: ask(error), mode, **options)
        answer: Deferred[Any] = Deferred.fromCoroutine(self.runner.run(transaction))
        self.clock.pump([0.2] * MAX_ATTEMPTS)
        return answer

    def test_write(self) -> None:
        """BEGIN, quiet statements and COMMIT go along with others."""
        answer = self.run_on([[7]])
        self.assertEqual(self.successResultOf(answer), 7)
        self.assertEqual(
            self.links[0].trips, [["BEGIN", "q1", "ask"], ["q2", "q3", "COMMIT"]]
        )
        self.assertTrue(self.links[0].released)

    def test_read(self) -> None:
        """A read has no transaction around it; a snapshot has one that reads."""
        self.assertEqual(self.successResultOf(self.run_on([[7]], Mode.READ)), 7)
        self.assertEqual(self.links[0].trips, [["q1", "ask"], ["q2", "q3"]])
        self.successResultOf(self.run_on([[7]], Mode.SNAPSHOT))
        self.assertIn("READ ONLY", self.links[0].trips[0][0])

    def test_single(self) -> None:
        """One that is a transaction by itself has none around it."""
        self.assertEqual(self.successResultOf(self.run_on([[7]], Mode.SINGLE)), 7)
        self.assertEqual(self.links[0].trips, [["q1", "ask"], ["q2", "q3"]])

    def test_nothing_said(self) -> None:
        """A transaction that says nothing makes no trip."""
        self.links = [FakeLink([])]
        pool: Any = FakePool(self.links)
        self.runner._pool = pool

        def silent() -> Steps[int]:
            yield quiet()
            return 3

        run = self.runner.run(Transaction("silent", silent, Mode.WRITE))
        self.assertEqual(self.successResultOf(Deferred.fromCoroutine(run)), 3)
        self.assertEqual(self.links[0].trips, [])

    def test_own_error(self) -> None:
        """An error of the steps rolls back, and the link is used on."""
        answer = self.run_on([[7]], error=KeyExists())
        self.failureResultOf(answer, KeyExists)
        self.assertEqual(self.links[0].trips[-1], ["ROLLBACK"])
        self.assertTrue(self.links[0].released)

    def test_refused(self) -> None:
        """So does a fault of the database, wherever it comes."""
        for script in ([ValueRefused()], [7, ValueRefused()]):
            self.failureResultOf(self.run_on([script]), ValueRefused)
            self.assertEqual(self.links[0].trips[-1], ["ROLLBACK"])
            self.assertTrue(self.links[0].released)

    def test_failed_rollback(self) -> None:
        """A link that cannot even roll back is thrown away."""
        self.failureResultOf(self.run_on([[ValueRefused(), Lost()]]), ValueRefused)
        self.assertTrue(self.links[0].discarded)
        self.assertFalse(self.links[0].released)

    def test_lost_before_commit(self) -> None:
        """Nothing was done, so it is run again on another link."""
        answer = self.run_on([[Lost()], [8]])
        self.assertEqual(self.successResultOf(answer), 8)
        self.assertTrue(self.links[0].discarded)
        self.assertTrue(self.links[1].released)

    def test_lost_in_commit(self) -> None:
        """Nobody knows, so it is not run again, unless that does no harm."""
        self.failureResultOf(self.run_on([[7, Lost()], [8]]), OutcomeUnknown)
        self.assertEqual(self.links[1].trips, [])
        answer = self.run_on([[7, Lost()], [8]], repeatable=True)
        self.assertEqual(self.successResultOf(answer), 8)

    def test_lost_in_a_single(self) -> None:
        """Its first statement already is the commit."""
        answer = self.run_on([[Lost()], [8]], Mode.SINGLE)
        self.failureResultOf(answer, OutcomeUnknown)

    def test_unfit(self) -> None:
        """What the server itself refuses it has not done: it is run on another link,
        if nothing was done before."""
        for scripts in ([[Unfit()], [8]], [[7, Unfit()], [8]]):
            self.assertEqual(self.successResultOf(self.run_on(scripts)), 8)
            self.assertTrue(self.links[0].discarded)
        answer = self.run_on([[Unfit()], [8]], Mode.SINGLE)
        self.assertEqual(self.successResultOf(answer), 8)
        answer = self.run_on([[7, Unfit()], [8]], Mode.SINGLE)
        self.failureResultOf(answer, OutcomeUnknown)

    def test_lost_while_reading(self) -> None:
        """A read is run again at any time."""
        for mode in (Mode.READ, Mode.SNAPSHOT):
            answer = self.run_on([[7, Lost()], [8]], mode)
            self.assertEqual(self.successResultOf(answer), 8)

    def test_lost_again_and_again(self) -> None:
        """There is an end to it."""
        answer = self.run_on([[Lost()] for _ in range(MAX_ATTEMPTS)])
        self.failureResultOf(answer, DatabaseAway)

    def test_meeting(self) -> None:
        """A deadlock is rolled back and run again, so often."""
        self.assertEqual(self.successResultOf(self.run_on([[Again(), None, 8]])), 8)
        self.assertEqual(self.links[0].trips[1], ["ROLLBACK"])
        script = [Again(), None] * MAX_ATTEMPTS
        self.failureResultOf(self.run_on([script]), Again)

    def test_racing(self) -> None:
        """Whoever expects races runs again when somebody was faster."""
        self.failureResultOf(self.run_on([[7, DuplicateRow()]]), DuplicateRow)
        answer = self.run_on([[7, DuplicateRow(), None, 8]], racing=True)
        self.assertEqual(self.successResultOf(answer), 8)


class ManyHosts(SynchronousTestCase):
    """From a URL's options to each host's."""

    def options(self, **given: str) -> list[dict[str, str]]:
        """What each host is connected with."""
        return Hosts(given, Clock())._each

    def test_hosts(self) -> None:
        """Ports belong to their hosts, one port to all; only writers will do."""
        found = self.options(host="a,b", port="1,2", dbname="x")
        self.assertEqual(
            [(one["host"], one["port"]) for one in found], [("a", "1"), ("b", "2")]
        )
        self.assertEqual({one["target_session_attrs"] for one in found}, {"read-write"})
        found = self.options(host="a,b", port="7")
        self.assertEqual([one["port"] for one in found], ["7", "7"])
        self.assertNotIn("host", self.options(dbname="x")[0])

    def test_options_of_the_url_win(self) -> None:
        """What we only suggest can be set otherwise."""
        (one,) = self.options(host="a", keepalives_idle="3", client_encoding="LATIN1")
        self.assertEqual(one["keepalives_idle"], "3")
        self.assertEqual(one["client_encoding"], "UTF8")


class Listening(SynchronousTestCase):
    """Notices."""

    def setUp(self) -> None:
        """A listener whose connections the test can break."""
        self.clock = Clock()
        self.links: list[FakeLink] = []
        self.away = False
        self.told: list[str] = []
        self.defects: list[Exception] = []
        self.answers: list[Any] = []
        self.listener = Listener(self.connect, self.clock, Random(1))  # type: ignore[arg-type]

    async def connect(self) -> FakeLink:
        """A new link."""
        if self.away:
            raise DatabaseAway()
        if self.defects:
            raise self.defects.pop(0)
        self.links.append(FakeLink(self.answers))
        return self.links[-1]

    def test_notices(self) -> None:
        """Every notice is told, and the beginning; one bad watcher harms no other."""

        def bad() -> None:
            raise ZeroDivisionError

        self.listener.watch(bad)
        self.listener.watch(lambda: self.told.append("a"))
        self.assertEqual(self.links, [])
        self.listener.start()
        self.assertEqual(self.links[0].trips, [["LISTEN koboldfs_topology"]])
        self.links[0].noticed()
        self.assertEqual(self.told, ["a", "a"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    def test_nobody_watches(self) -> None:
        """No connection is made for nobody; a late watcher gets one."""
        self.listener.start()
        self.assertEqual(self.links, [])
        self.listener.watch(lambda: self.told.append("a"))
        self.assertEqual(len(self.links), 1)
        self.listener.stop()

    def test_reconnects(self) -> None:
        """After a loss it listens again, and tells what may have been missed."""
        self.listener.watch(lambda: self.told.append("a"))
        self.listener.start()
        self.away = True
        self.links[0].lost(self.links[0])
        self.clock.pump([0.1] * 20)
        self.assertEqual(len(self.told), 1)
        self.away = False
        self.clock.pump([1] * 10)
        self.assertEqual((len(self.links), len(self.told)), (2, 2))
        self.listener.stop()
        self.assertTrue(self.links[1].discarded)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_defects(self) -> None:
        """Whatever an attempt fails with, there is another, on a link of its own."""
        self.defects = [KeyError("x")]
        self.answers = [ValueError("y"), DatabaseFault("z")]
        self.listener.watch(lambda: self.told.append("a"))
        self.listener.start()
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        self.clock.pump([0.1] * 20)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertEqual(self.told, ["a"])
        self.assertEqual([one.discarded for one in self.links], [True, True, False])
        self.listener.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop_while_away(self) -> None:
        """No alarm is left."""
        self.away = True
        self.listener.watch(lambda: None)
        self.listener.start()
        self.listener.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertTrue(issubclass(OutcomeUnknown, DatabaseFault))
