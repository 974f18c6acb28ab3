"""Replication policies, rule by rule: where a file is, and what to do about it."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.model.policy import (
    COPY,
    SATISFIED,
    TOO_MANY,
    WAIT,
    AllHosts,
    MultipleDevices,
    MultipleHosts,
    Policy,
    Question,
    Union,
    Verdict,
    plan,
)
from koboldfs.model.view import View
from test.unit.model.pictures import picture

#: Three hosts with two devices each: devices 10 and 11 on host 1, and so on.
SIX = {10: 1, 11: 1, 20: 2, 21: 2, 30: 3, 31: 3}


def ask(
    policy: Policy,
    view: View,
    on: set[int],
    *,
    mindevcount: int = 2,
    failed: set[int] | None = None,
    size: int = 0,
    seed: int = 1,
) -> Verdict:
    """The policy's answer for a file with copies on these devices."""
    question = Question(view, frozenset(on), mindevcount, size, frozenset(failed or ()))
    return policy.judge(question, Random(seed))


class PolicyCase(SynchronousTestCase):
    """Asserts words and devices."""

    def assert_word(self, word: str, verdict: Verdict) -> None:
        """An answer that names no device."""
        self.assertEqual((verdict.word, verdict.devids), (word, ()))

    def assert_copy(self, devids: set[int], verdict: Verdict) -> None:
        """Exactly these devices are proposed."""
        self.assertEqual((verdict.word, set(verdict.devids)), (COPY, devids))


class AllHostsRules(PolicyCase):
    """A copy on every host that takes files."""

    policy = AllHosts()

    def test_every_host(self) -> None:
        """One on each host is enough; the class's mindevcount has no say."""
        verdict = ask(self.policy, picture(SIX), {10, 21, 30}, mindevcount=9)
        self.assert_word(SATISFIED, verdict)

    def test_missing_hosts(self) -> None:
        """Only devices of hosts without a copy are proposed."""
        self.assert_copy({20, 21, 30, 31}, ask(self.policy, picture(SIX), {10}))
        self.assert_copy({30, 31}, ask(self.policy, picture(SIX), {10, 20}))

    def test_two_on_one_host(self) -> None:
        """More copies than hosts that have one are too many, once all have one."""
        view = picture(SIX)
        self.assert_word(TOO_MANY, ask(self.policy, view, {10, 11, 20, 30}))
        self.assert_copy({30, 31}, ask(self.policy, view, {10, 11, 20}))

    def test_host_away(self) -> None:
        """A host that does not answer still wants its copy: wait for it."""
        view = picture(SIX, away=(3,))
        self.assert_word(WAIT, ask(self.policy, view, {10, 20}))
        self.assert_copy({20, 21}, ask(self.policy, view, {10}))

    def test_copy_on_host_away(self) -> None:
        """A copy on a host that does not answer counts: nothing is lost yet."""
        view = picture(SIX, away=(3,))
        self.assert_word(SATISFIED, ask(self.policy, view, {10, 20, 30}))

    def test_hosts_without_a_wish(self) -> None:
        """Hosts that are readonly, down or dead want none, and keep what they have."""
        for state in ("readonly", "down", "dead"):
            view = picture(SIX, hosts_are={3: state})
            self.assert_word(SATISFIED, ask(self.policy, view, {10, 20}))
            self.assert_word(SATISFIED, ask(self.policy, view, {10, 20, 30}))

    def test_devices_without_a_wish(self) -> None:
        """A host whose devices are all draining, readonly, down or dead wants none."""
        for state in ("readonly", "drain", "down", "dead"):
            view = picture(SIX, devices_are={30: state, 31: state})
            self.assert_word(SATISFIED, ask(self.policy, view, {10, 20}))

    def test_copy_on_draining_device(self) -> None:
        """A copy on a draining device is a copy: nothing is moved by itself."""
        view = picture(SIX, devices_are={30: "drain"})
        self.assert_word(SATISFIED, ask(self.policy, view, {10, 20, 30}))

    def test_full_host(self) -> None:
        """A host without room keeps the file waiting, for it wants its copy."""
        view = picture(SIX, used={30: 1.0, 31: 0.95})
        self.assert_word(WAIT, ask(self.policy, view, {10, 20}))

    def test_failed(self) -> None:
        """Devices that failed in this run are not proposed again."""
        view = picture(SIX)
        self.assert_copy({31}, ask(self.policy, view, {10, 20}, failed={30}))
        self.assert_word(WAIT, ask(self.policy, view, {10, 20}, failed={30, 31}))

    def test_no_copy_left(self) -> None:
        """A file without any copy is never satisfied, even if no host wants files."""
        self.assert_word(WAIT, ask(self.policy, picture({}), set()))
        view = picture(SIX, hosts_are={1: "down", 2: "down", 3: "down"})
        self.assert_word(WAIT, ask(self.policy, view, set()))

    def test_copies(self) -> None:
        """As many as there are hosts that take files, whether or not they are up."""
        view = picture(SIX, away=(1,), hosts_are={3: "readonly"})
        self.assertEqual(self.policy.copies(Question(view, frozenset(), 7)), 2)
        self.assertEqual(self.policy.copies(Question(View(), frozenset(), 7)), 1)


class MultipleHostsRules(PolicyCase):
    """MogileFS's eight rules; the first that fits counts."""

    policy = MultipleHosts()

    def test_1_one_wanted_one_there(self) -> None:
        """One copy is enough when one is wanted, wherever it is."""
        view = picture(SIX, away=(1,))
        self.assert_word(SATISFIED, ask(self.policy, view, {10}, mindevcount=1))

    def test_2_too_good(self) -> None:
        """More copies than wanted, or more hosts, are too many."""
        view = picture(SIX)
        self.assert_word(TOO_MANY, ask(self.policy, view, {10, 20, 30}))
        self.assert_word(TOO_MANY, ask(self.policy, view, {10, 11, 20}))
        self.assert_word(TOO_MANY, ask(self.policy, view, {10, 11}, mindevcount=1))

    def test_3_enough_hosts(self) -> None:
        """As many hosts as wanted are enough."""
        self.assert_word(SATISFIED, ask(self.policy, picture(SIX), {10, 20}))

    def test_4_no_more_hosts(self) -> None:
        """When every host that takes files has one, devices must do."""
        view = picture({10: 1, 11: 1, 12: 1, 20: 2, 21: 2})
        on = {10, 11, 20}
        self.assert_word(SATISFIED, ask(self.policy, view, on, mindevcount=3))
        verdict = ask(self.policy, view, {10, 20}, mindevcount=3)
        self.assert_copy({11, 12, 21}, verdict)

    def test_4_counts_what_the_operator_wants(self) -> None:
        """Hosts whose devices take no files do not count; hosts that are away do."""
        view = picture(SIX, devices_are={30: "drain", 31: "down"})
        on = {10, 11, 20}
        self.assert_word(SATISFIED, ask(self.policy, view, on, mindevcount=3))
        view = picture(SIX, away=(3,))
        self.assert_word(WAIT, ask(self.policy, view, on, mindevcount=3))

    def test_5_every_device(self) -> None:
        """Two or more copies are enough when every device that lives has one."""
        view = picture({10: 1, 20: 2, 30: 3}, devices_are={30: "dead"})
        self.assert_word(SATISFIED, ask(self.policy, view, {10, 20}, mindevcount=5))
        view = picture({10: 1})
        self.assert_word(WAIT, ask(self.policy, view, {10}))

    def test_5_down_devices_live(self) -> None:
        """A device that is down is one that lives: wait for it."""
        view = picture({10: 1, 20: 2, 30: 3}, devices_are={30: "down"})
        self.assert_word(WAIT, ask(self.policy, view, {10, 20}, mindevcount=5))

    def test_6_other_hosts_first(self) -> None:
        """Devices on other hosts are proposed, and only these."""
        self.assert_copy({20, 21, 30, 31}, ask(self.policy, picture(SIX), {10}))

    def test_6_no_candidate(self) -> None:
        """Nobody can take it: wait."""
        view = picture(SIX, observed=dict.fromkeys(SIX, "readable"))
        self.assert_word(WAIT, ask(self.policy, view, {10}))
        failed = set(SIX) - {10}
        self.assert_word(WAIT, ask(self.policy, picture(SIX), {10}, failed=failed))

    def test_6_all_ideal(self) -> None:
        """When all hosts have one, any other device is as good as the next."""
        view = picture(SIX, away=(2,))
        on = {10, 20, 30}
        self.assert_copy({11, 31}, ask(self.policy, view, on, mindevcount=4))

    def test_6_desperate(self) -> None:
        """Too few copies, and the other hosts are away: better on a used host."""
        view = picture(SIX, away=(2, 3))
        self.assert_copy({11}, ask(self.policy, view, {10}))

    def test_7_enough_devices_but_hosts(self) -> None:
        """Enough copies on too few hosts wait for a host; one more there is no gain."""
        view = picture({**SIX, 12: 1}, away=(2, 3))
        self.assert_word(WAIT, ask(self.policy, view, {10, 11}))
        self.assert_copy({20, 21, 30, 31}, ask(self.policy, picture(SIX), {10, 11}))

    def test_7_other_hosts_are_full(self) -> None:
        """A host whose room is not known is no better than one that is away."""
        view = picture({**SIX, 12: 1}, unknown_room=(20, 21, 30, 31))
        self.assert_word(WAIT, ask(self.policy, view, {10, 11}))

    def test_8_full_devices(self) -> None:
        """A device without a share of room is not proposed; a used host is next."""
        full = (20, 21, 30, 31)
        view = picture(SIX, unknown_room=full)
        self.assert_copy({11}, ask(self.policy, view, {10}))

    def test_8_emptiest_first(self) -> None:
        """Of a hundred devices, the twenty emptiest are proposed."""
        devices = {n: n for n in range(1, 101)}
        view = picture(devices, used={n: 0.8 * n / 100 for n in devices})
        verdict = ask(self.policy, view, {1})
        self.assert_copy(set(range(2, 22)), verdict)

    def test_explicit_number(self) -> None:
        """The policy's own number overrides the mindevcount; 0 does not."""
        view = picture(SIX)
        self.assert_word(SATISFIED, ask(MultipleHosts(1), view, {10}, mindevcount=3))
        self.assert_word(SATISFIED, ask(MultipleHosts(0), view, {10}, mindevcount=1))
        question = Question(view, frozenset(), 5)
        self.assertEqual(MultipleHosts(3).copies(question), 3)
        self.assertEqual(MultipleHosts().copies(question), 5)

    def test_size(self) -> None:
        """Only devices with room for this file are proposed."""
        view = picture(SIX, used={20: 0.8, 21: 0.8, 30: 0.8})
        self.assert_copy({31}, ask(self.policy, view, {10}, size=300 * 2**20))


class MultipleDevicesRules(PolicyCase):
    """Devices, wherever they are."""

    policy = MultipleDevices()

    def test_enough(self) -> None:
        """As many copies as wanted are enough, also on one host."""
        self.assert_word(SATISFIED, ask(self.policy, picture(SIX), {10, 11}))

    def test_too_many(self) -> None:
        """More are too many."""
        self.assert_word(TOO_MANY, ask(self.policy, picture(SIX), {10, 11, 20}))

    def test_every_device(self) -> None:
        """Two or more are enough when every device that lives has one."""
        view = picture({10: 1, 11: 1, 12: 1}, devices_are={12: "dead"})
        self.assert_word(SATISFIED, ask(self.policy, view, {10, 11}, mindevcount=3))
        view = picture({10: 1})
        self.assert_word(WAIT, ask(self.policy, view, {10}))

    def test_any_device(self) -> None:
        """Every device that can take it is proposed, also on the same host."""
        view = picture(SIX, away=(3,))
        self.assert_copy({11, 20, 21}, ask(self.policy, view, {10}))

    def test_explicit_number(self) -> None:
        """The policy's own number overrides the mindevcount."""
        view = picture(SIX)
        self.assert_word(SATISFIED, ask(MultipleDevices(1), view, {10}))
        question = Question(view, frozenset(), 5)
        self.assertEqual(MultipleDevices(3).copies(question), 3)
        self.assertEqual(MultipleDevices().copies(question), 5)


class UnionRules(PolicyCase):
    """Content when every part is."""

    def test_satisfied(self) -> None:
        """Satisfied when all are, or when one has more than it wants."""
        policy = Union((MultipleHosts(2), MultipleDevices(3)))
        view = picture(SIX)
        self.assert_word(SATISFIED, ask(policy, view, {10, 11, 20}))

    def test_too_many(self) -> None:
        """Too many only when every part says so."""
        policy = Union((MultipleHosts(2), MultipleDevices(2)))
        self.assert_word(TOO_MANY, ask(policy, picture(SIX), {10, 20, 30}))

    def test_first_that_wants(self) -> None:
        """The first part that wants a copy says where."""
        policy = Union((MultipleDevices(1), AllHosts(), MultipleDevices(5)))
        self.assert_copy({30, 31}, ask(policy, picture(SIX), {10, 20}))
        policy = Union((AllHosts(), MultipleDevices(4)))
        self.assert_copy({11, 21, 31}, ask(policy, picture(SIX), {10, 20, 30}))

    def test_copy_before_wait(self) -> None:
        """What one part waits for does not hold up what another can have now."""
        policy = Union((AllHosts(), MultipleDevices(3)))
        view = picture(SIX, away=(3,))
        self.assert_copy({11, 21}, ask(policy, view, {10, 20}))

    def test_wait(self) -> None:
        """One that waits makes all wait, whatever the others say."""
        policy = Union((MultipleDevices(1), AllHosts(), MultipleDevices(2)))
        view = picture(SIX, away=(3,))
        self.assert_word(WAIT, ask(policy, view, {10, 20}))

    def test_copies(self) -> None:
        """At least as many as the most demanding part."""
        policy = Union((MultipleHosts(), MultipleDevices(4)))
        self.assertEqual(policy.copies(Question(View(), frozenset(), 2)), 4)


class Plans(PolicyCase):
    """Asking again after each copy, until there is nothing more to say."""

    def plan(self, policy: Policy, view: View, on: set[int], count: int = 2) -> Verdict:
        """The plan for a file."""
        return plan(policy, Question(view, frozenset(on), count), Random(2))

    def test_complete(self) -> None:
        """A plan for all hosts names one device of each that lacks a copy."""
        verdict = self.plan(AllHosts(), picture(SIX), {10})
        self.assertEqual(verdict.word, COPY)
        self.assertEqual({SIX[d] for d in verdict.devids}, {2, 3})
        self.assertEqual(len(verdict.devids), 2)

    def test_from_nothing(self) -> None:
        """The copies of a new file are planned from none."""
        verdict = self.plan(MultipleHosts(3), picture(SIX), set())
        self.assertEqual({SIX[d] for d in verdict.devids}, {1, 2, 3})

    def test_stops_where_it_must_wait(self) -> None:
        """What can be made now is planned, though it is not all."""
        view = picture(SIX, away=(3,))
        verdict = self.plan(AllHosts(), view, {10})
        self.assertEqual(verdict.word, COPY)
        self.assertEqual({SIX[d] for d in verdict.devids}, {2})

    def test_nothing_to_do(self) -> None:
        """The word of the first answer stays."""
        view = picture(SIX)
        self.assert_word(SATISFIED, self.plan(MultipleHosts(2), view, {10, 20}))
        self.assert_word(TOO_MANY, self.plan(MultipleHosts(2), view, {10, 20, 30}))
        away = picture(SIX, away=(2, 3))
        self.assert_word(WAIT, self.plan(AllHosts(), away, {10}))

    def test_repairs_a_crowded_host(self) -> None:
        """Enough copies on one host: one more, elsewhere, and then too many."""
        verdict = self.plan(MultipleHosts(2), picture(SIX), {10, 11})
        self.assertEqual(len(verdict.devids), 1)
        self.assertIn(SIX[verdict.devids[0]], (2, 3))

    def test_failed_stay_failed(self) -> None:
        """Devices that failed are left out of the whole plan."""
        question = Question(
            picture(SIX), frozenset({10}), 2, failed=frozenset({20, 30})
        )
        verdict = plan(AllHosts(), question, Random(2))
        self.assertEqual(set(verdict.devids), {21, 31})

    def test_size_stays(self) -> None:
        """The file's size counts at every step of the plan."""
        view = picture(SIX, used={20: 0.8, 30: 0.8, 31: 0.8})
        question = Question(view, frozenset({10}), 2, 300 * 2**20)
        self.assertEqual(plan(AllHosts(), question, Random(2)).devids, (21,))

    @settings(derandomize=True, max_examples=150, deadline=None)
    @given(st.data())
    def test_any_plan_helps(self, data: st.DataObject) -> None:
        """Whatever the picture: a plan ends, never repeats a device, uses only those
        that can take the file, and leaves the policy content or waiting."""
        devices = {
            devid: data.draw(st.integers(1, 4))
            for devid in range(1, data.draw(st.integers(1, 8)) + 1)
        }
        view = picture(
            devices,
            away=tuple(data.draw(st.sets(st.integers(1, 4), max_size=2))),
            devices_are=data.draw(
                st.dictionaries(
                    st.integers(1, 8), st.sampled_from(("drain", "dead", "down"))
                )
            ),
        )
        leaf = st.one_of(
            st.just(AllHosts()),
            st.builds(MultipleHosts, st.integers(1, 4)),
            st.builds(MultipleDevices, st.integers(1, 4)),
        )
        union = st.builds(Union, st.tuples(leaf, leaf))
        policy: Policy = data.draw(st.one_of(leaf, union))
        on = data.draw(st.sets(st.sampled_from(sorted(devices)), max_size=3))
        on = {devid for devid in on if not view.is_dead(devid)}
        question = Question(view, frozenset(on), 2)
        verdict = plan(policy, question, Random(3))
        self.assertEqual(len(set(verdict.devids)), len(verdict.devids))
        self.assertFalse(set(verdict.devids) & on)
        self.assertTrue(all(view.may_receive(d) for d in verdict.devids))
        self.assertEqual(bool(verdict.devids), verdict.word == COPY)
        after = Question(view, frozenset(on | set(verdict.devids)), 2)
        self.assertNotEqual(policy.judge(after, Random(4)).word, COPY)
        if policy.settled(question):
            self.assertEqual(verdict.word, SATISFIED)
            more = picture({**devices, 90: 90, 91: 91}, devices_are={})
            later = policy.judge(Question(more, frozenset(on), 2), Random(5))
            self.assertEqual(later.word, SATISFIED)


class Settled(PolicyCase):
    """Whether a file will never be wanted elsewhere."""

    def settled(self, policy: Policy, *on: int) -> bool:
        """Of a file with copies on these devices, whose class wants two."""
        return policy.settled(Question(picture(SIX), frozenset(on), 2))

    def test_all_hosts(self) -> None:
        """On every host is not for ever: one more may come."""
        self.assertFalse(self.settled(AllHosts(), 10, 20, 30))

    def test_hosts(self) -> None:
        """As many copies as hosts, and as many as are wanted."""
        self.assertTrue(self.settled(MultipleHosts(), 10, 20))
        self.assertTrue(self.settled(MultipleHosts(1), 10))
        for on in ((), (10,), (10, 11), (10, 11, 20), (10, 20, 30)):
            self.assertFalse(self.settled(MultipleHosts(), *on), on)

    def test_devices(self) -> None:
        """As many devices as are wanted."""
        self.assertTrue(self.settled(MultipleDevices(), 10, 11))
        for on in ((), (10,), (10, 11, 20)):
            self.assertFalse(self.settled(MultipleDevices(), *on), on)

    def test_union(self) -> None:
        """When every part is."""
        both = Union((MultipleHosts(2), MultipleDevices(2)))
        self.assertTrue(self.settled(both, 10, 20))
        self.assertFalse(self.settled(both, 10, 11))
        self.assertFalse(self.settled(Union((AllHosts(), MultipleHosts(1))), 10))
