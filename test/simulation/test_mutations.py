"""The simulation finds what is broken: every rule can fail, and does."""

from __future__ import annotations

import ast
import inspect

from twisted.trial.unittest import SynchronousTestCase

from test.simulation import checkers, seeds
from test.simulation.mutations import MUTATIONS, Mutation

#: In so many seeds a mutation must be found.
MOST_SEEDS = 800


def found_by(mutation: Mutation) -> tuple[int, str]:
    """The first seed in which one of its rules is broken, and that rule; 0 if none."""
    with mutation.applied():
        pass
    for seed in range(1, MOST_SEEDS + 1):
        with mutation.applied():
            outcome = seeds.run(seed)
        if outcome.rule in mutation.rules:
            return seed, outcome.rule
    return 0, ""


class Mutants(SynchronousTestCase):
    """Each of `MUTATIONS` by itself."""


def _mutant(number: int, mutation: Mutation) -> None:
    def test(self: Mutants) -> None:
        seed, rule = found_by(mutation)
        self.flushLoggedErrors()
        self.assertTrue(seed, f"not found in {MOST_SEEDS} seeds: {mutation.name}")
        self.assertIn(rule, mutation.rules)

    test.__doc__ = f"It is found that {mutation.name}."
    test.__name__ = f"test_{number:02d}_{mutation.name.replace(' ', '_')}"
    setattr(Mutants, test.__name__.replace("'", ""), test)


for _number, _mutation in enumerate(MUTATIONS, 1):
    _mutant(_number, _mutation)


class Rules(SynchronousTestCase):
    """No rule is there that nothing was seen to break."""

    def test_each_has_a_mutation(self) -> None:
        """Every rule that is checked is one that a mutation names."""
        named = {rule for mutation in MUTATIONS for rule in mutation.rules}
        tree = ast.parse(inspect.getsource(checkers))
        rules = {
            call.args[0].value
            for call in ast.walk(tree)
            if isinstance(call, ast.Call)
            and ast.unparse(call.func) == "broken"
            and isinstance(call.args[0], ast.Constant)
        }
        self.assertEqual(rules - named, set())
