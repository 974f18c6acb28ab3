"""Tests of koboldfs.descriptors."""

from __future__ import annotations

from typing import Any

from attrs import define, field
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.descriptors import MAX_DESCRIPTORS, raise_limit


@define(eq=False)
class Limits:
    """A system with these limits, in place of the module `resource`."""

    soft: int
    hard: int
    fault: Exception | None = None
    calls: list[tuple[int, int]] = field(factory=list)
    RLIMIT_NOFILE = 7
    RLIM_INFINITY = -1

    def getrlimit(self, what: int) -> tuple[int, int]:
        """As the module's."""
        assert what == self.RLIMIT_NOFILE
        return self.soft, self.hard

    def setrlimit(self, what: int, limits: tuple[int, int]) -> None:
        """As the module's."""
        assert what == self.RLIMIT_NOFILE
        if self.fault is not None:
            raise self.fault
        self.calls.append(limits)


class RaiseLimitTests(SynchronousTestCase):
    """`raise_limit`."""

    def test_raised(self) -> None:
        """To the hard limit, or as far as has a use; the hard one stays."""
        for hard, wanted in (
            (20_000, 20_000),
            (10**9, MAX_DESCRIPTORS),
            (-1, MAX_DESCRIPTORS),
        ):
            system: Any = Limits(1024, hard)
            self.assertEqual(raise_limit(system), wanted)
            self.assertEqual(system.calls, [(wanted, hard)])

    def test_left_alone(self) -> None:
        """A limit that is as high already is never lowered."""
        for soft, hard in ((20_000, 20_000), (10**9, 10**9), (-1, -1)):
            system: Any = Limits(soft, hard)
            self.assertEqual(raise_limit(system), soft)
            self.assertEqual(system.calls, [])

    def test_not_allowed(self) -> None:
        """A system that refuses is no reason not to start."""
        for fault in (OSError(), ValueError()):
            system: Any = Limits(256, -1, fault)
            self.assertEqual(raise_limit(system), 256)
