"""The database in memory: every port of a database, over dictionaries.

    store = MemoryStore(clock)                 # the database's clock is that one
    store.away = True                          # every call raises `DatabaseAway`
    store.failing["load"] = [DatabaseFault()]  # the next such call raises it
    store.gates["close_upload"] = Deferred()   # such calls wait until it fires
    store.notify()                             # what PostgreSQL's NOTIFY would do

What every call was is in `calls`, as (method, ...) tuples. A call is one transaction:
nothing else happens between its first and its last look at the tables.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from koboldfs import errors
from koboldfs.interfaces import IFiles, IQueues, ITasks, ITopology
from koboldfs.interfaces_health import IHealth
from test.fakes.store_files import FileCalls
from test.fakes.store_health import HealthCalls
from test.fakes.store_numbers import MemoryNumbers
from test.fakes.store_queues import QueueCalls
from test.fakes.store_scrubs import MemoryScrubs
from test.fakes.store_tables import Tables
from test.fakes.store_tasks import TaskCalls
from test.fakes.store_topology import TopologyCalls

#: What the database's clock says when the other clock says 0 (Unix seconds).
EPOCH = 1_800_000_000
#: The longest key that fits, as in a database that we made.
KEY_BYTES = 1024


@implementer(IFiles, ITopology, IQueues, ITasks, IHealth)
@define(eq=False)
class MemoryStore(FileCalls, TopologyCalls, QueueCalls, TaskCalls, HealthCalls):
    """All ports of a database; see the module for how it misbehaves."""

    clock: IReactorTime
    tables: Tables = field(factory=Tables)
    away: bool = False
    failing: dict[str, list[Exception]] = field(factory=dict)
    gates: dict[str, Deferred[None]] = field(factory=dict)
    calls: list[tuple[Any, ...]] = field(factory=list)
    watchers: list[Callable[[], None]] = field(factory=list)
    scrubs: MemoryScrubs = field(init=False)
    numbers: MemoryNumbers = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.scrubs = MemoryScrubs(self)
        self.numbers = MemoryNumbers(self)

    def now(self) -> int:
        """The database's clock, in whole Unix seconds."""
        return EPOCH + int(self.clock.seconds())

    def notify(self) -> None:
        """Tell everybody who watches that a small table was changed."""
        for watcher in list(self.watchers):
            watcher()

    async def enter(self, method: str, *arguments: Any) -> None:
        """What every call begins with: it is noted, and perhaps waits or fails."""
        self.calls.append((method, *arguments))
        gate = self.gates.get(method)
        if gate is not None:
            passed: Deferred[None] = Deferred()
            gate.addBoth(lambda result: passed.callback(None) or result)
            await passed
        planned = self.failing.get(method)
        if planned:
            raise planned.pop(0)
        if self.away:
            raise errors.DatabaseAway()

    def check_key(self, key: str) -> None:
        """Raises `ValueRefused` for what the column cannot hold."""
        if len(key) > KEY_BYTES or "\0" in key or max(key, default="") > "\xff":
            raise errors.ValueRefused()
