"""Where a process can be made to die, without a word in the product about it.

A point is a function of the product, and whether the process dies before it is called
or after it has done its work (for a coroutine, when that has its result). `install`
wraps them all in a process that is about to start; it dies, with exit status 137 and
nothing flushed or closed, at the first point whose name stands in the file ``armed`` of
the folder, and leaves the name in the file ``hit``.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred

BEFORE, AFTER = "before", "after"
EXIT_STATUS = 137
#: Which process dies.
TRACKER, STORAGE = "tracker", "storage"


@frozen
class Point:
    """`where` is ``MODULE:NAME.NAME`` below koboldfs. With `only`, the point counts
    when that says so of the call's arguments and result (None before the call)."""

    name: str
    role: str
    when: str
    where: str
    only: Callable[[tuple[Any, ...], Any], bool] = lambda args, result: True


def _some(args: tuple[Any, ...], result: Any) -> bool:
    return bool(result)


def _some_deletions(args: tuple[Any, ...], result: Any) -> bool:
    return any(row.devids for row in result)


def _closing(args: tuple[Any, ...], result: Any) -> bool:
    return any(mode in str(args[0]._transaction.name) for mode in ("close", "apply"))


def _storage(name: str, when: str, where: str, **more: Any) -> Point:
    return Point(name, STORAGE, when, f"storage.{where}", **more)


def _tracker(name: str, when: str, where: str, **more: Any) -> Point:
    return Point(name, TRACKER, when, where, **more)


POINTS = (
    _storage("put: file made", AFTER, "temporary:TemporaryFile.open"),
    _storage("put: written", AFTER, "batch:_write_all"),
    _storage("put: flushed", AFTER, "batch:_flush"),
    _storage("put: sealed", AFTER, "temporary:TemporaryFile.seal"),
    _storage("put: named", AFTER, "temporary:TemporaryFile.place"),
    _storage("put: name flushed", AFTER, "batch:_flush_names"),
    _storage("put: stored, unanswered", BEFORE, "copies:Copies._stored"),
    _storage("put: answered", AFTER, "http:PlainStorageRequest._stored"),
    _storage("large put: a part written", AFTER, "upload:Upload._write_chunks"),
    _storage("large put: all written", BEFORE, "upload:Upload._put_in_place"),
    _storage("large put: named", AFTER, "upload:Upload._put_in_place"),
    _storage("close: size asked", BEFORE, "verbs:Verbs._stat"),
    _storage("close: size known", AFTER, "copies:Copies.copy_stat"),
    _storage("copy: asked", BEFORE, "pull:Puller.pull"),
    _storage("copy: begun", BEFORE, "pull:Puller._transfer"),
    _storage("copy: a part came", AFTER, "pull:_Sink.write"),
    _storage("copy: all came", AFTER, "pull:Puller._transfer"),
    _storage("copy: stored, unanswered", AFTER, "pull:Puller._fetch"),
    _storage("copy: the source reads", BEFORE, "http:Exchange._answer_cached"),
    _storage("delete: asked", BEFORE, "copies:Copies._remove"),
    _storage("delete: removed", AFTER, "copies:Copies._remove"),
    _storage("delete: unanswered", AFTER, "verbs:Verbs._delete"),
    _tracker("open: before the row", BEFORE, "store.files:Files.open_upload"),
    _tracker("open: recorded", AFTER, "store.files:Files.open_upload"),
    _tracker("close: begun", BEFORE, "cluster.namespace:Namespace._close"),
    _tracker("close: checked", AFTER, "cluster.namespace:Namespace._verified"),
    _tracker("close: copied", AFTER, "cluster.copies:Copies.promise"),
    _tracker("close: before the record", BEFORE, "store.files:Files.close_upload"),
    _tracker(
        "close: before the commit",
        BEFORE,
        "store.postgres:Attempt._finish",
        only=_closing,
    ),
    _tracker("close: committed", AFTER, "store.postgres:Attempt.run", only=_closing),
    _tracker("close: unanswered", AFTER, "store.files:Files.close_upload"),
    _tracker("native put: begun", AFTER, "cluster.incoming:Incoming.begin"),
    _tracker("native put: a part sent", AFTER, "cluster.incoming:Incoming.write"),
    _tracker("native put: copied", AFTER, "cluster.incoming:Incoming.finish"),
    _tracker(
        "replicate: taken", AFTER, "store.queues:Queues.take_replications", only=_some
    ),
    _tracker("replicate: copied", AFTER, "jobs.replicate:ReplicateWorker.work"),
    _tracker(
        "replicate: before the record",
        BEFORE,
        "store.queues:Queues.finish_replications",
    ),
    _tracker("replicate: recorded", AFTER, "store.queues:Queues.finish_replications"),
    _tracker("delete: before the row", BEFORE, "store.files:Files.delete"),
    _tracker("delete: key gone", AFTER, "store.files:Files.delete"),
    _tracker(
        "delete: taken",
        AFTER,
        "store.queues:Queues.take_deletions",
        only=_some_deletions,
    ),
    _tracker("delete: before a copy", BEFORE, "client.nodes:Nodes.remove"),
    _tracker("delete: a copy gone", AFTER, "client.nodes:Nodes.remove"),
    _tracker(
        "delete: before the record", BEFORE, "store.queues:Queues.finish_deletions"
    ),
    _tracker("delete: recorded", AFTER, "store.queues:Queues.finish_deletions"),
)


def install(folder: Path) -> None:
    """Wrap every point in this process."""
    for point in POINTS:
        module, _, path = point.where.partition(":")
        owner: Any = import_module(f"koboldfs.{module}")
        *outer, last = path.split(".")
        for name in outer:
            owner = getattr(owner, name)
        setattr(owner, last, _wrapped(getattr(owner, last), point, folder))


def _wrapped(function: Any, point: Point, folder: Path) -> Any:
    def strike(args: tuple[Any, ...], result: Any) -> None:
        if armed(folder) == point.name and point.only(args, result):
            (folder / "hit").write_text(point.name)
            os._exit(EXIT_STATUS)

    if point.when == BEFORE:

        @functools.wraps(function)
        def before(*args: Any, **more: Any) -> Any:
            strike(args, None)
            return function(*args, **more)

        return before
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def after_coroutine(*args: Any, **more: Any) -> Any:
            result = await function(*args, **more)
            strike(args, result)
            return result

        return after_coroutine

    @functools.wraps(function)
    def after(*args: Any, **more: Any) -> Any:
        result = function(*args, **more)
        if not isinstance(result, Deferred):
            strike(args, result)
            return result

        def passed(value: Any) -> Any:
            strike(args, value)
            return value

        return result.addCallback(passed)

    return after


def armed(folder: Path) -> str:
    """The point at which the process is to die, if any."""
    try:
        return (folder / "armed").read_text()
    except FileNotFoundError:
        return ""


def arm(folder: Path, name: str) -> None:
    """Have the process that looks into the folder die at that point."""
    folder.mkdir(exist_ok=True)
    (folder / "hit").unlink(missing_ok=True)
    new = folder / "new"
    new.write_text(name)
    new.rename(folder / "armed")


def hit(folder: Path) -> str:
    """The point at which it died; it is disarmed by this."""
    found = folder / "hit"
    if not found.exists():
        return ""
    (folder / "armed").unlink(missing_ok=True)
    return found.read_text()
