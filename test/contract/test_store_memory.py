"""The database in memory keeps the contract of a database."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from koboldfs.model.entities import Upload
from test.contract.files import FilesContract
from test.contract.health import HealthContract
from test.contract.lists import ListsContract
from test.contract.numbers import NumbersContract
from test.contract.queues import QueuesContract
from test.contract.scrubs import ScrubsContract
from test.contract.tasks import TasksContract
from test.contract.topology import TopologyContract
from test.fakes.store import MemoryStore


class Ports:
    """A `MemoryStore` as the attributes of a store."""

    def __init__(self, store: MemoryStore) -> None:
        self.files = self.topology = self.queues = store
        self.tasks = self.health = store
        self.scrubs, self.numbers = store.scrubs, store.numbers


class MemoryCase(TestCase):
    """A store in memory; another one is the same."""

    timeout = 60

    def setUp(self) -> None:
        """An empty one."""
        self.clock = Clock()
        self.store = Ports(MemoryStore(self.clock))

    async def another(self) -> Any:
        """See `StoreContract`."""
        return self.store

    async def leave_upload(self, fid: int, dmid: int, key: str) -> None:
        """See `StoreContract`."""
        store = self.store.files
        store.tables.uploads[fid] = Upload(fid, store.now(), 0, dmid, key, (1,))

    async def pass_time(self, seconds: int) -> None:
        """See `StoreContract`."""
        self.clock.advance(seconds)


class MemoryFiles(MemoryCase, FilesContract):
    """`IFiles`."""


class MemoryLists(MemoryCase, ListsContract):
    """`IFiles`, keys."""


class MemoryTopology(MemoryCase, TopologyContract):
    """`ITopology`."""


class MemoryQueues(MemoryCase, QueuesContract):
    """`IQueues`."""


class MemoryTasks(MemoryCase, TasksContract):
    """`ITasks`."""


class MemoryScrubs(MemoryCase, ScrubsContract):
    """`IScrubs`."""


class MemoryHealth(MemoryCase, HealthContract):
    """`IHealth`."""


class MemoryNumbers(MemoryCase, NumbersContract):
    """`INumbers`."""
