"""The live view: its loops, its observers, and what it does when things are away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from zope.interface.verify import verifyObject

from koboldfs.cluster.live import (
    EAGER_LOOKS,
    EAGER_SECONDS,
    SURVEY_SECONDS,
    SURVEYS_AT_ONCE,
    SUSPECT_SECONDS,
    TABLES_SECONDS,
    SingleFlight,
)
from koboldfs.errors import DatabaseAway
from koboldfs.interfaces import ILiveView
from koboldfs.model.view import View
from test.fakes.world import World, WorldCase, start


class SingleFlights(WorldCase):
    """`SingleFlight`: one run at a time, and everybody's is young enough."""

    def setUp(self) -> None:
        self.runs: list[Deferred[None]] = []
        self.flight = SingleFlight(self.action)

    async def action(self) -> None:
        """A run that the test ends."""
        self.runs.append(Deferred())
        await self.runs[-1]

    def ask(self) -> Deferred[None]:
        """Somebody asks."""
        return start(self.flight())

    def test_one(self) -> None:
        """Who asks while nothing is under way has a run begun at once."""
        asked = self.ask()
        self.assertEqual(len(self.runs), 1)
        self.assertNoResult(asked)
        self.runs[0].callback(None)
        self.successResultOf(asked)

    def test_younger_than_the_question(self) -> None:
        """Who asks during a run gets the result of the next one, with all others."""
        first, second, third = self.ask(), self.ask(), self.ask()
        self.assertEqual(len(self.runs), 1)
        self.runs[0].callback(None)
        self.successResultOf(first)
        self.assertNoResult(second)
        self.assertEqual(len(self.runs), 2)
        self.runs[1].callback(None)
        self.successResultOf(second)
        self.successResultOf(third)
        self.assertEqual(len(self.runs), 2)

    def test_error_reaches_all(self) -> None:
        """All who wait for a run are told that it failed; the next is not hurt."""
        first, second, third = self.ask(), self.ask(), self.ask()
        self.runs[0].callback(None)
        late = self.ask()
        self.runs[1].errback(DatabaseAway())
        self.successResultOf(first)
        self.failureResultOf(second, DatabaseAway)
        self.failureResultOf(third, DatabaseAway)
        self.runs[2].callback(None)
        self.successResultOf(late)

    def test_asked_from_within_an_answer(self) -> None:
        """Who asks again as soon as it is answered gets a run of its own."""

        async def twice() -> None:
            await self.flight()
            await self.flight()

        asked = start(twice())
        self.runs[0].callback(None)
        self.assertEqual(len(self.runs), 2)
        self.assertNoResult(asked)
        self.runs[1].callback(None)
        self.successResultOf(asked)

    def test_asked_after_an_error(self) -> None:
        """After a failure it can be asked again."""
        self.failureResultOf(self.ask_and(lambda run: run.errback(DatabaseAway())))
        self.successResultOf(self.ask_and(lambda run: run.callback(None)))

    def ask_and(self, end: Callable[[Deferred[None]], Any]) -> Deferred[None]:
        """Ask, and end the run that this began."""
        asked = self.ask()
        end(self.runs[-1])
        return asked

    def test_who_lost_patience(self) -> None:
        """One who no longer waits does not keep the others from their answer."""
        first, second, third = self.ask(), self.ask(), self.ask()
        second.cancel()
        self.runs[0].callback(None)
        self.runs[1].callback(None)
        self.successResultOf(first)
        self.successResultOf(third)
        self.failureResultOf(second)

    def test_action_that_raises_at_once(self) -> None:
        """An action need not wait in order to fail."""

        async def fail() -> None:
            raise DatabaseAway()

        self.flight = SingleFlight(fail)
        self.failureResultOf(self.ask(), DatabaseAway)
        self.failureResultOf(self.ask(), DatabaseAway)


class LiveCase(WorldCase):
    """A live view over two hosts."""

    def setUp(self) -> None:
        self.world = World.of(2)
        self.live = self.world.live

    def start(self) -> None:
        """Its loops run until the end of the test."""
        self.live.startService()
        self.addCleanup(self.stop)
        self.world.nodes.calls.clear()
        self.world.store.calls.clear()

    def stop(self) -> None:
        """Stop it, if it runs."""
        if self.live.running:
            self.live.stopService()

    def surveys(self) -> list[int]:
        """The hosts that were looked at."""
        return [arguments[0] for arguments in self.world.asked("survey")]

    def loads(self) -> int:
        """How often the tables were read."""
        return len(self.world.called("load"))


class Loops(LiveCase):
    """What happens by itself."""

    def test_interface(self) -> None:
        """It is an `ILiveView`."""
        verifyObject(ILiveView, self.live)

    def test_pace(self) -> None:
        """Tables every four seconds, hosts every two and a half, not at once."""
        self.start()
        self.assertEqual((self.loads(), self.surveys()), (0, []))
        self.world.clock.pump([0.5] * 20)
        self.assertEqual(self.loads(), int(10 / TABLES_SECONDS))
        self.assertEqual(self.surveys(), [1, 2] * int(10 / SURVEY_SECONDS))

    def test_stop(self) -> None:
        """Nothing goes on after the end."""
        self.start()
        self.live.stopService()
        self.world.clock.pump([1.0] * 10)
        self.assertEqual((self.loads(), self.surveys()), (0, []))
        self.assertEqual(self.world.clock.getDelayedCalls(), [])

    def test_change_by_others(self) -> None:
        """What another tracker changed is seen at the next reading."""
        self.start()
        self.world.add_host(3)
        self.assertNotIn(3, self.live.view.hosts)
        self.world.clock.advance(TABLES_SECONDS)
        self.assertIn(3, self.live.view.hosts)

    def test_notified(self) -> None:
        """Where the database tells, the change is seen at once."""
        self.start()
        self.world.add_host(3)
        self.world.store.notify()
        self.assertIn(3, self.live.view.hosts)

    def test_database_away(self) -> None:
        """A database that fails keeps the old picture, and is asked again."""
        self.start()
        before = self.live.view
        self.world.store.away = True
        self.world.add_host(3)
        self.world.clock.pump([1.0] * 8)
        self.assertEqual(self.live.view.hosts, before.hosts)
        self.assertEqual(self.loads(), 2)
        self.fail_now(self.live.refresh(), DatabaseAway)
        self.world.store.away = False
        self.world.clock.pump([1.0] * 4)
        self.assertIn(3, self.live.view.hosts)

    def test_notified_while_away(self) -> None:
        """A notice that cannot be followed hurts nobody."""
        self.start()
        self.world.store.away = True
        self.world.store.notify()
        self.assertEqual(self.loads(), 1)

    def test_defect(self) -> None:
        """A defect in a turn is logged, and the loop goes on."""
        self.start()
        self.world.store.failing["load"] = [ZeroDivisionError()]
        self.world.clock.advance(TABLES_SECONDS)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.world.clock.advance(TABLES_SECONDS)
        self.assertEqual(self.loads(), 2)

    def test_hosts_are_looked_at_while_the_database_is_away(self) -> None:
        """What can be observed does not depend on the database."""
        self.start()
        self.world.store.away = True
        self.world.nodes.unreachable.add(2)
        self.world.clock.pump([1.0] * 3)
        self.assertFalse(self.live.view.host_reachable(2))
        self.assertTrue(self.live.view.host_reachable(1))

    def test_slow_host(self) -> None:
        """A host that is slow to answer holds up nobody's report."""
        self.world.nodes.slow[1] = 2.0
        self.world.nodes.unreachable.add(2)
        done = start(self.live.survey())
        self.assertNoResult(done)
        self.assertFalse(self.live.view.host_reachable(2))
        self.world.clock.advance(2.0)
        self.successResultOf(done)

    def test_many_hosts(self) -> None:
        """So many are looked at side by side, and no more."""
        for hostid in range(3, SURVEYS_AT_ONCE + 11):
            self.world.add_host(hostid)
        self.run_now(self.live.refresh())
        self.world.nodes.slow = dict.fromkeys(self.world.tables.hosts, 1.0)
        self.world.nodes.calls.clear()
        done = start(self.live.survey())
        self.assertEqual(len(self.surveys()), SURVEYS_AT_ONCE)
        self.world.clock.pump([1.0, 1.0])
        self.successResultOf(done)
        self.assertEqual(len(self.surveys()), SURVEYS_AT_ONCE + 10)


class Looks(LiveCase):
    """What is looked at, and what becomes of it."""

    def test_what_is_asked(self) -> None:
        """A host is asked about its devices but those that are down or dead."""
        self.world.add_host(3, per_host=5)
        for number, status in enumerate(("alive", "readonly", "drain", "down", "dead")):
            device = self.world.tables.devices[30 + number]
            self.world.tables.devices[30 + number] = evolve(device, status=status)
        self.run_now(self.live.refresh())
        self.world.nodes.calls.clear()
        self.run_now(self.live.survey())
        self.assertIn((3, (30, 31, 32)), self.world.asked("survey"))

    def test_hosts_that_are_down(self) -> None:
        """A host that is down or dead is not asked, and counts as not reachable."""
        for status in ("down", "dead"):
            self.run_now(self.world.store.update_host(2, {"status": status}))
            self.run_now(self.live.refresh())
            self.world.nodes.calls.clear()
            self.run_now(self.live.survey())
            self.assertEqual(self.surveys(), [1])
            self.assertFalse(self.live.view.host_reachable(2))

    def test_host_removed_meanwhile(self) -> None:
        """A report of a host that was removed while it was asked is dropped."""
        self.world.nodes.slow[2] = 1.0
        done = start(self.live.survey())
        del self.world.tables.hosts[2]
        self.run_now(self.live.refresh())
        self.world.clock.advance(1.0)
        self.successResultOf(done)
        self.assertNotIn(2, self.live.view.health.hosts)

    def test_host_removed_before_its_turn(self) -> None:
        """A host that was removed before it could be asked is not asked."""
        for hostid in range(3, SURVEYS_AT_ONCE + 2):
            self.world.add_host(hostid)
        self.run_now(self.live.refresh())
        self.world.nodes.slow = dict.fromkeys(self.world.tables.hosts, 1.0)
        self.world.nodes.calls.clear()
        done = start(self.live.survey())
        del self.world.tables.hosts[SURVEYS_AT_ONCE + 1]
        self.run_now(self.live.refresh())
        self.world.clock.advance(1.0)
        self.successResultOf(done)
        self.assertNotIn(SURVEYS_AT_ONCE + 1, self.surveys())

    def test_forgotten(self) -> None:
        """What was seen of hosts and devices that are gone is forgotten."""
        del self.world.tables.devices[20]
        del self.world.tables.hosts[2]
        self.run_now(self.live.refresh())
        self.assertEqual(set(self.live.view.health.hosts), {1})
        self.assertEqual(set(self.live.view.health.devices), {10})

    def test_seen_during_a_reading(self) -> None:
        """What is observed while the tables are read is not lost by the reading."""
        gate = self.world.store.gates["load"] = Deferred()
        done = start(self.live.refresh())
        self.world.nodes.unreachable.add(2)
        self.run_now(self.live.survey())
        gate.callback(None)
        self.successResultOf(done)
        self.assertFalse(self.live.view.host_reachable(2))

    def test_changed(self) -> None:
        """After a change the tables are read and these hosts looked at, before it
        answers; unknown hosts are passed over."""
        self.world.add_host(3)
        self.world.nodes.calls.clear()
        self.world.nodes.slow[3] = 1.0
        done = start(self.live.changed([3, 99]))
        self.assertNoResult(done)
        self.world.clock.advance(1.0)
        self.successResultOf(done)
        self.assertEqual(self.surveys(), [3])
        self.assertTrue(self.live.view.may_receive(30))

    def test_changed_while_away(self) -> None:
        """Who makes a change is told when it cannot be seen."""
        self.world.store.away = True
        self.fail_now(self.live.changed([1]), DatabaseAway)

    def test_suspect(self) -> None:
        """A host that somebody could not reach is looked at at once."""
        self.start()
        self.world.nodes.unreachable.add(2)
        self.live.suspect(2)
        self.assertEqual(self.surveys(), [2])
        self.assertFalse(self.live.view.host_reachable(2))

    def test_suspect_often(self) -> None:
        """However many complain, it is looked at once in a while."""
        self.start()
        for _ in range(100):
            self.live.suspect(2)
        self.live.suspect(1)
        self.assertEqual(self.surveys(), [2, 1])
        self.world.clock.advance(SUSPECT_SECONDS)
        self.live.suspect(2)
        self.assertEqual(self.surveys(), [2, 1, 2])

    def test_suspect_unknown(self) -> None:
        """A host that is not there is not looked at."""
        self.start()
        self.live.suspect(99)
        self.assertEqual(self.surveys(), [])

    def test_suspect_while_stopped(self) -> None:
        """Before the start and after the end nothing is looked at."""
        self.world.nodes.calls.clear()
        self.live.suspect(2)
        self.assertEqual(self.surveys(), [])


class Eager(LiveCase):
    """A device that is just coming up is looked at sooner."""

    def setUp(self) -> None:
        super().setUp()
        self.world.nodes.broken.add(30)
        self.world.add_host(3)
        self.start()
        self.run_now(self.live.changed([3]))
        self.world.nodes.calls.clear()

    def test_until_it_is_up(self) -> None:
        """It is in use a moment after it came up, and then at the usual pace."""
        self.world.clock.advance(EAGER_SECONDS)
        self.assertEqual(self.surveys(), [3])
        self.world.nodes.broken.clear()
        self.world.clock.advance(EAGER_SECONDS)
        self.assertTrue(self.live.view.may_receive(30))
        self.world.nodes.calls.clear()
        self.world.clock.advance(EAGER_SECONDS)
        self.assertEqual(self.surveys(), [])

    def test_not_for_ever(self) -> None:
        """A device that does not come up is not looked at so often for ever."""
        seconds = EAGER_SECONDS * (EAGER_LOOKS + 20)
        self.world.clock.pump([EAGER_SECONDS / 2] * round(2 * seconds / EAGER_SECONDS))
        usual = int(seconds / SURVEY_SECONDS)
        self.assertLessEqual(self.surveys().count(3), EAGER_LOOKS + usual)

    def test_not_for_one_that_breaks(self) -> None:
        """A device that was in use and fails waits for the usual round."""
        self.world.nodes.broken = {20}
        self.run_now(self.live.changed([2, 3]))
        self.world.nodes.calls.clear()
        self.world.clock.advance(EAGER_SECONDS)
        self.assertNotIn(2, self.surveys())

    def test_stopped(self) -> None:
        """Nothing is looked at after the end."""
        self.live.stopService()
        self.world.clock.pump([EAGER_SECONDS] * 3)
        self.assertEqual(self.surveys(), [])


class Observers(LiveCase):
    """Who wants to know is told."""

    def setUp(self) -> None:
        super().setUp()
        self.seen: list[tuple[View, View]] = []
        self.live.observe(lambda before, after: self.seen.append((before, after)))

    def test_told(self) -> None:
        """Each new picture is offered with the one before it, when it is in place."""
        before = self.live.view
        self.world.add_host(3)
        self.run_now(self.live.refresh())
        [(was, now)] = self.seen
        self.assertIs(was, before)
        self.assertIs(now, self.live.view)
        self.assertIn(3, now.hosts)

    def test_old_picture_stays(self) -> None:
        """Who holds a picture holds it: a refresh makes another one."""
        before = self.live.view
        self.world.nodes.unreachable.add(1)
        self.run_now(self.live.survey())
        self.assertTrue(before.host_reachable(1))
        self.assertFalse(self.live.view.host_reachable(1))

    def test_limits_stay(self) -> None:
        """A refresh keeps the limits that were handed in."""
        self.run_now(self.live.refresh())
        self.assertEqual(self.live.view.min_free_mb, 100)

    def test_changes_are_logged(self) -> None:
        """Operators read when a host or device goes (a warning) and comes back (good
        news); not more."""
        from twisted.logger import globalLogPublisher

        lines: list[str] = []

        def note(event: Any) -> None:
            if "host {name}" in event["log_format"]:
                line = "{name} {state}".format(**event)
            elif "device {devid}" in event["log_format"]:
                line = "dev{devid} {state}".format(**event)
            else:
                return
            lines.append(f"{event['log_level'].name}: {line}")

        globalLogPublisher.addObserver(note)
        self.addCleanup(globalLogPublisher.removeObserver, note)
        readonly = self.world.nodes.readonly
        self.world.nodes.unreachable.add(1)
        self.world.look()
        self.world.look()
        self.world.nodes.unreachable.clear()
        for change in (readonly.add, readonly.remove, readonly.add):
            change(10)
            self.world.look()
        self.assertEqual(
            lines,
            [
                "warn: host1 unreachable",
                "warn: dev10 unreachable",
                "info: host1 back",
                "info: dev10 readable",
                "info: dev10 writeable",
                "warn: dev10 readable",
            ],
        )
