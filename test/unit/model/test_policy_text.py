"""Policies as texts: what is understood, and how the rest is refused."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.model.policy import (
    MAX_POLICY_CHARS,
    MAX_POLICY_DEPTH,
    AllHosts,
    MultipleDevices,
    MultipleHosts,
    Policy,
    Union,
    parse_policy,
)

leaves = st.one_of(
    st.just(AllHosts()),
    st.builds(MultipleHosts, st.integers(0, 9999)),
    st.builds(MultipleDevices, st.integers(0, 9999)),
)


def nested(depth: int) -> str:
    """So many unions around a policy."""
    return "Union(" * depth + "AllHosts()" + ")" * depth


class Understood(SynchronousTestCase):
    """Texts that are policies."""

    def test_each(self) -> None:
        """Every policy, with and without its number."""
        for text, policy in (
            ("AllHosts()", AllHosts()),
            ("MultipleHosts()", MultipleHosts(0)),
            ("MultipleHosts(3)", MultipleHosts(3)),
            ("MultipleDevices()", MultipleDevices(0)),
            ("MultipleDevices(12)", MultipleDevices(12)),
            ("Union(AllHosts())", Union((AllHosts(),))),
            (
                "Union(MultipleHosts(2), MultipleDevices())",
                Union((MultipleHosts(2), MultipleDevices())),
            ),
        ):
            self.assertEqual(parse_policy(text), policy)

    def test_blanks(self) -> None:
        """Blanks may stand between any two words, and around."""
        text = "  Union ( MultipleHosts ( 2 ) ,\tAllHosts( ) )\n"
        self.assertEqual(parse_policy(text), Union((MultipleHosts(2), AllHosts())))

    def test_perl_package(self) -> None:
        """A name with colons is taken without its package."""
        text = "MogileFS::ReplicationPolicy::MultipleHosts(2)"
        self.assertEqual(parse_policy(text), MultipleHosts(2))

    def test_deepest(self) -> None:
        """Unions may nest, to a limit."""
        policy = parse_policy(nested(MAX_POLICY_DEPTH))
        self.assertEqual(str(policy), nested(MAX_POLICY_DEPTH))

    def test_longest(self) -> None:
        """A text of the longest length is read."""
        text = "AllHosts()".ljust(MAX_POLICY_CHARS)
        self.assertEqual(parse_policy(text), AllHosts())

    @settings(derandomize=True, max_examples=150)
    @given(
        st.one_of(
            leaves,
            st.builds(Union, st.lists(leaves, min_size=1, max_size=4).map(tuple)),
        )
    )
    def test_round_trip(self, policy: Policy) -> None:
        """What a policy writes of itself is that policy."""
        self.assertEqual(parse_policy(str(policy)), policy)


class Refused(SynchronousTestCase):
    """Each wrong text has a sentence that says what is wrong."""

    def assert_refused(self, text: str, why: str) -> None:
        """A ValueError whose sentence has `why` in it."""
        error = self.assertRaises(ValueError, parse_policy, text)
        self.assertIn(why, str(error))

    def test_too_long(self) -> None:
        """Longer than the column."""
        self.assert_refused("AllHosts()".ljust(MAX_POLICY_CHARS + 1), "at most 255")

    def test_no_name(self) -> None:
        """A policy begins with a name."""
        for text in (
            "",
            "  ",
            "()",
            "2",
            "(2)",
            "_x()",
            "Union()",
            "Union(AllHosts(),)",
        ):
            self.assert_refused(text, "begins with its name")

    def test_signs(self) -> None:
        """Signs that no policy has, with the place from which it went wrong."""
        self.assert_refused("AllHosts[]", "'[]'")
        self.assert_refused("MultipleHosts(-1)", "'-1)'")
        self.assert_refused(
            "MultipleHosts(\N{ARABIC-INDIC DIGIT TWO})", "not understood"
        )

    def test_no_parentheses(self) -> None:
        """The name alone is not enough."""
        self.assert_refused("AllHosts", "AllHosts needs parentheses")
        self.assert_refused("MultipleHosts 2", "MultipleHosts needs parentheses")

    def test_not_closed(self) -> None:
        """What is open must be closed, and be closed by a parenthesis."""
        self.assert_refused("AllHosts(", "there is 'the end'")
        self.assert_refused("AllHosts(2)", "there is '2'")
        self.assert_refused("MultipleHosts(2", "there is 'the end'")
        self.assert_refused("MultipleHosts(2, 3)", "there is ','")
        self.assert_refused("MultipleHosts(12345)", "there is '5'")
        self.assert_refused("MultipleHosts(x)", "there is 'x'")
        self.assert_refused("Union(AllHosts()", "Union(...) should be closed")
        self.assert_refused("Union(AllHosts() AllHosts())", "there is 'AllHosts'")

    def test_rest(self) -> None:
        """Nothing may follow."""
        self.assert_refused("AllHosts() AllHosts()", "may follow")
        self.assert_refused("AllHosts())", "may follow")

    def test_unknown(self) -> None:
        """An unknown name is answered with the known ones, also inside a union."""
        for text in ("HostsPerNetwork(a)", "allhosts()", "Union(Nope())", "A::()"):
            self.assert_refused(text, "there are AllHosts()")

    def test_too_deep(self) -> None:
        """A text cannot make us recurse at will."""
        self.assert_refused(nested(MAX_POLICY_DEPTH + 1), "at most 4 deep")

    @settings(derandomize=True, max_examples=200)
    @given(st.text("UnionAlHsts(),: 0129_x\n", max_size=40))
    def test_garbage(self, text: str) -> None:
        """Any text is a policy or a ValueError, never anything else."""
        try:
            policy = parse_policy(text)
        except ValueError:
            return
        self.assertEqual(parse_policy(str(policy)), policy)
