"""Tests of koboldfs.slots."""

from __future__ import annotations

import sys

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.slots import Slots


class SlotsTests(SynchronousTestCase):
    """`Slots`."""

    def setUp(self) -> None:
        """Two at a time."""
        self.slots = Slots(2)
        self.ends: dict[int, Deferred[None]] = {}
        self.begun: list[int] = []

    def work(self, number: int) -> Deferred[int]:
        """Takes a slot, until `ends` says so."""

        async def one() -> int:
            async with self.slots:
                self.begun.append(number)
                if number in self.ends:
                    await self.ends[number]
                return number

        return Deferred.fromCoroutine(one())

    def hold(self, *numbers: int) -> None:
        """These do not end by themselves."""
        self.ends.update((number, Deferred()) for number in numbers)

    def test_in_order(self) -> None:
        """Who waits longest is next, and no more than two go at once."""
        self.hold(1, 2, 3, 4)
        done = [self.work(number) for number in (1, 2, 3, 4)]
        self.assertEqual(self.begun, [1, 2])
        self.ends[2].callback(None)
        self.assertEqual(self.begun, [1, 2, 3])
        self.assertEqual(self.successResultOf(done[1]), 2)
        for number in (1, 3, 4):
            self.ends[number].callback(None)
        self.assertEqual(
            [self.successResultOf(one) for one in (done[0], *done[2:])], [1, 3, 4]
        )
        self.assertEqual((self.slots.tokens, self.slots.waiting), (2, []))

    def test_cancelled(self) -> None:
        """Who waits and is cancelled gets no slot, and takes none away."""
        self.hold(1, 2)
        done = [self.work(number) for number in (1, 2, 3, 4)]
        done[2].cancel()
        self.failureResultOf(done[2], CancelledError)
        self.ends[1].callback(None)
        self.assertEqual(self.successResultOf(done[3]), 4)
        self.assertEqual(self.begun, [1, 2, 4])

    def test_many_that_end_at_once(self) -> None:
        """However many end as soon as they get a slot, the stack holds them."""
        many = range(3, 3 * sys.getrecursionlimit())
        self.hold(1, 2)
        first = [self.work(1), self.work(2)]
        rest = [self.work(number) for number in many]
        self.assertEqual(self.begun, [1, 2])
        self.ends[1].callback(None)
        self.assertEqual([self.successResultOf(one) for one in rest], list(many))
        self.ends[2].callback(None)
        self.assertEqual([self.successResultOf(one) for one in first], [1, 2])
        self.assertEqual(self.slots.tokens, 2)

    def test_one_that_goes_on(self) -> None:
        """A slot that comes back while others are handed on is not lost."""
        self.hold(1, 2, 4)
        done = [self.work(number) for number in (1, 2, 3, 4, 5)]
        self.ends[1].callback(None)
        self.assertEqual(self.begun, [1, 2, 3, 4])
        self.ends[2].callback(None)
        self.ends[4].callback(None)
        self.assertEqual([self.successResultOf(one) for one in done], [1, 2, 3, 4, 5])

    def test_one_that_comes_back(self) -> None:
        """Who takes a slot again, at once, is behind those that wait."""
        self.hold(1, 2)
        self.work(1), self.work(2)

        async def greedy() -> None:
            for number in (10, 11, 12):
                async with self.slots:
                    self.begun.append(number)

        again = Deferred.fromCoroutine(greedy())
        rest = [self.work(number) for number in (3, 4)]
        self.ends[1].callback(None)
        self.assertEqual(self.begun, [1, 2, 10, 3, 4, 11, 12])
        self.ends[2].callback(None)
        for one in (again, *rest):
            self.successResultOf(one)
        self.assertEqual((self.slots.tokens, self.slots.waiting), (2, []))

    def test_given_back_twice(self) -> None:
        """That is a defect, and told at once."""
        self.assertRaises(AssertionError, self.slots.release)
