"""The simulation finds what is broken: every rule can fail, and does."""

from __future__ import annotations

import ast
import inspect

from twisted.trial.unittest import SynchronousTestCase

from test.simulation import checkers
from test.simulation.case import SimulatedCase
from test.simulation.mutants import MOST_SEEDS, found_by, order
from test.simulation.mutations import MUTATIONS, Mutation


class Mutants(SimulatedCase):
    """Each of `MUTATIONS` by itself."""


def _mutant(number: int, mutation: Mutation) -> None:
    def test(self: Mutants) -> None:
        seed, rule = found_by(mutation, order(mutation))
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
