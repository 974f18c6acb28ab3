"""Advisory locks that we share with MogileFS's trackers: the provider of `ILocks`.

On a database that MogileFS made, trackers of both kinds may run at once, and MogileFS's
exclude each other by named locks of the database's sessions: on PostgreSQL by a pair of
numbers, both made from an MD5 (the first of the tracker's host name, so that trackers
on different machines do not exclude each other; that is how it is), on MySQL by the
name, for the whole server. On SQLite, which MogileFS knows for its tests only, and on
a database of ours there is nobody to share with, and every lock is had for the asking.

All are held by one session, which keeps nothing else. When it is lost, so are they:
what was begun under them goes on, and is safe among ourselves without them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from zope.interface import implementer

from koboldfs.interfaces import ILocks
from koboldfs.store.steps import Mode, Statement, Steps, Transaction

#: Locks that one statement takes or gives back.
MAX_LOCKS = 64


def lock_number(text: str) -> int:
    """What MogileFS makes of a name on PostgreSQL: 31 bits of its MD5."""
    digest = hashlib.md5(text.encode("latin-1", "replace"), usedforsecurity=False)
    return int.from_bytes(digest.digest()[:4], "big") & 0x7FFFFFFF


@implementer(ILocks)
class NoLocks:
    """Where there is nobody to share with."""

    async def start(self) -> None:
        """Nothing to connect."""

    async def stop(self) -> None:
        """Nothing to close."""

    async def take(self, names: Sequence[str]) -> frozenset[str]:
        """See `ILocks`."""
        return frozenset(names)

    async def release(self, names: Sequence[str]) -> None:
        """See `ILocks`."""


@implementer(ILocks)
class SharedLocks:
    """Those of a database. `runner` has one session for them, and is ours alone."""

    def __init__(self, runner: Any, host_name: str) -> None:
        self._runner = runner
        dialects: dict[str, tuple[Callable[..., Statement], str, str]] = {
            "postgresql": (
                partial(_by_number, lock_number(host_name)),
                "pg_try_advisory_lock",
                "pg_advisory_unlock",
            ),
            "mysql": (_by_name, "GET_LOCK", "RELEASE_LOCK"),
        }
        self._say, self._lock, self._unlock = dialects[runner.dialect_name]

    async def start(self) -> None:
        """Begin to connect."""
        await self._runner.start()

    async def stop(self) -> None:
        """Disconnect, which gives everything back."""
        await self._runner.stop()

    async def take(self, names: Sequence[str]) -> frozenset[str]:
        """See `ILocks`."""
        return await self._all(self._lock, names)

    async def release(self, names: Sequence[str]) -> None:
        """See `ILocks`."""
        await self._all(self._unlock, names)

    async def _all(self, function: str, names: Sequence[str]) -> frozenset[str]:
        done: set[str] = set()
        for start in range(0, len(names), MAX_LOCKS):
            some = names[start : start + MAX_LOCKS]
            steps = partial(_asked, self._say(function, some))
            transaction = Transaction(function, steps, Mode.READ)
            answers = await self._runner.run(transaction)
            done.update(n for n, had in zip(some, answers, strict=True) if had)
        return frozenset(done)


def _asked(statement: Statement) -> Steps[Sequence[Any]]:
    reply = yield statement
    return reply.rows[0]


def _by_number(host: int, function: str, names: Sequence[str]) -> Statement:
    each = ", ".join(f"{function}({host}, {lock_number(name)})" for name in names)
    return Statement(f"SELECT {each}")


def _by_name(function: str, names: Sequence[str]) -> Statement:
    wait = ", 0" if function == "GET_LOCK" else ""
    each = ", ".join([f"{function}(%s{wait})"] * len(names))
    return Statement(f"SELECT {each}", tuple(names))
