"""Locks that are shared with MogileFS."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from koboldfs.interfaces import ILocks
from koboldfs.store.locks import MAX_LOCKS, NoLocks, SharedLocks, lock_number
from test.unit.store.fake_runner import ScriptedRunner
from test.unit.store.play import rows

NAMES = ("mgfs:reaper", "mgfs:fid:7:replicate")


class Locks(SynchronousTestCase):
    """What is said to the database."""

    def locks(self, dialect: str) -> tuple[Any, SharedLocks]:
        """A runner of that dialect, and locks over it."""
        runner: Any = ScriptedRunner()
        runner.dialect_name = dialect
        return runner, SharedLocks(runner, "vm")

    def now(self, call: Any) -> Any:
        """What a call gives that needs no time."""
        return self.successResultOf(Deferred.fromCoroutine(call))

    def test_numbers(self) -> None:
        """Those that MogileFS's trackers were seen to take."""
        self.assertEqual(lock_number("vm"), 1751941658)
        self.assertEqual(lock_number("mgfs:reaper"), 2048622148)

    def test_postgresql(self) -> None:
        """All in one statement; those that somebody has are left out."""
        runner, locks = self.locks("postgresql")
        verifyObject(ILocks, locks)
        runner.replies = [[rows((True, False))], [rows((True,))]]
        self.assertEqual(self.now(locks.take(NAMES)), {"mgfs:reaper"})
        self.now(locks.release(NAMES[:1]))
        said = [played.asked[0].sql for played in runner.played]
        self.assertTrue(
            said[0].startswith(
                "SELECT pg_try_advisory_lock(1751941658, 2048622148),"
                " pg_try_advisory_lock(1751941658, "
            )
        )
        self.assertEqual(said[1], "SELECT pg_advisory_unlock(1751941658, 2048622148)")

    def test_mysql(self) -> None:
        """By name; an error of the lock, which is NULL, is a no."""
        runner, locks = self.locks("mysql")
        runner.replies = [[rows((1, None))], [rows((1, 0))]]
        self.assertEqual(self.now(locks.take(NAMES)), {"mgfs:reaper"})
        self.now(locks.release(NAMES))
        said = [played.asked[0] for played in runner.played]
        self.assertEqual(said[0].sql, "SELECT GET_LOCK(%s, 0), GET_LOCK(%s, 0)")
        self.assertEqual(said[1].sql, "SELECT RELEASE_LOCK(%s), RELEASE_LOCK(%s)")
        self.assertEqual(said[0].params, NAMES)

    def test_many(self) -> None:
        """More than one statement takes are several; none are none."""
        runner, locks = self.locks("mysql")
        runner.replies = [[rows((1,) * MAX_LOCKS)], [rows((0,))]]
        names = [str(n) for n in range(MAX_LOCKS + 1)]
        self.assertEqual(self.now(locks.take(names)), set(names[:-1]))
        self.assertEqual(self.now(locks.take([])), set())
        self.assertEqual(len(runner.played), 2)

    def test_nobody_to_share_with(self) -> None:
        """Every lock is had."""
        locks = NoLocks()
        verifyObject(ILocks, locks)
        self.now(locks.start())
        self.assertEqual(self.now(locks.take(NAMES)), set(NAMES))
        self.now(locks.release(NAMES))
        self.now(locks.stop())
