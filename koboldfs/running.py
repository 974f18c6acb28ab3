"""Coroutines run by hand, for what happens with each request.

A Deferred for a coroutine copies a context and keeps books at every step, also for one
that never waits. Here the coroutine is driven from one Deferred that it waits for to
the next, and nothing else is made. Whoever has a use for a Deferred of the whole takes
`Deferred.fromCoroutine`.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, gatherResults
from twisted.python.failure import Failure

T = TypeVar("T")


def run_now(
    work: Coroutine[Any, Any, object], failed: Callable[[Failure], object]
) -> None:
    """Run a coroutine: at once as far as it does not wait, then as its Deferreds fire.

    `failed` is given what it raises; what it returns goes nowhere.
    """
    _step(None, work, failed)


def _step(
    result: object,
    work: Coroutine[Any, Any, object],
    failed: Callable[[Failure], object],
) -> None:
    """To the next Deferred that the coroutine waits for; a callback of the last one.

    The coroutine takes a result by itself, a failure has to be thrown into it.
    """
    try:
        if isinstance(result, Failure):
            waited_for = result.throwExceptionIntoGenerator(work)
        else:
            waited_for = work.send(None)
    except StopIteration:
        return
    except BaseException:
        failed(Failure())
        return
    waited_for.addBoth(_step, work, failed)


async def together(works: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Their results, when all are done; a single one needs no Deferred for that."""
    if len(works) == 1:
        return [await works[0]]
    return list(await gatherResults([Deferred.fromCoroutine(one) for one in works]))
