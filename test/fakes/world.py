"""A small cluster in memory: database, nodes, picture, and what stands on them.

    world = World()                     # nothing in it
    world = World.of(3)                 # hosts 1-3, device 10n on host n, domain "d"
    world = World.of(3, per_host=2)     # devices 10, 11, 20, 21, 30, 31

Time is a `Clock`, chance is seeded; `run` gives a coroutine's result at once.
"""

from __future__ import annotations

from collections.abc import Coroutine
from random import Random
from typing import Any, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.cluster.copies import Copies
from koboldfs.cluster.live import LiveView
from koboldfs.cluster.namespace import Namespace
from koboldfs.model.entities import (
    Closing,
    Device,
    Domain,
    Host,
    Located,
    Place,
    StorageClass,
)
from test.fakes.nodes import MemoryNodes, own_checksum
from test.fakes.store import MemoryStore
from test.fakes.store_tables import QueueRow

T = TypeVar("T")
#: The one domain that `World.of` makes.
DOMAIN = Domain(1, "d")


def start(coroutine: Coroutine[Any, Any, T]) -> Deferred[T]:
    """The coroutine, on its way."""
    return Deferred.fromCoroutine(coroutine)


class WorldCase(SynchronousTestCase):
    """A test case that looks at coroutines from outside."""

    def run_now(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine that needs no time."""
        return self.successResultOf(start(coroutine))

    def fail_now(self, coroutine: Coroutine[Any, Any, Any], kind: type[Any]) -> Any:
        """The exception of a coroutine that needs no time; it is of that kind."""
        return self.failureResultOf(start(coroutine), kind).value


@define(eq=False)
class World:
    """See the module."""

    clock: Clock = field(factory=Clock)
    random: Random = field(factory=lambda: Random(1))
    store: MemoryStore = field(init=False)
    nodes: MemoryNodes = field(init=False)
    live: LiveView = field(init=False)
    copies: Copies = field(init=False)
    namespace: Namespace = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.store = MemoryStore(self.clock)
        self.nodes = MemoryNodes(self.clock)
        self.live = LiveView(self.store, self.nodes, self.clock, min_free_mb=100)
        self.copies = Copies(
            self.nodes, self.live, self.random, self.store.class_checksum
        )
        self.namespace = Namespace(
            self.store, self.store, self.nodes, self.live, self.random
        )

    @classmethod
    def of(cls, hosts: int, *, per_host: int = 1, **settings: str) -> World:
        """Hosts 1 to `hosts` with devices, all up and looked at; and the domain."""
        world = cls()
        for hostid in range(1, hosts + 1):
            world.add_host(hostid, per_host=per_host)
        world.store.tables.domains[DOMAIN.dmid] = DOMAIN
        world.store.tables.settings.update(settings)
        world.look()
        return world

    def use(self, nodes: MemoryNodes) -> None:
        """Have these nodes from now on."""
        self.nodes = self.copies.nodes = self.live._nodes = nodes
        self.namespace = Namespace(
            self.store, self.store, nodes, self.live, self.random
        )

    @property
    def tables(self) -> Any:
        """The rows of the database."""
        return self.store.tables

    def add_host(self, hostid: int, *, per_host: int = 1) -> None:
        """A host with devices 10 x hostid and so on, in the database."""
        self.tables.hosts[hostid] = Host(
            hostid, f"host{hostid}", "alive", f"10.0.0.{hostid}", 7500
        )
        for number in range(per_host):
            devid = 10 * hostid + number
            self.tables.devices[devid] = Device(devid, hostid, "alive")

    def add_class(self, classid: int, name: str, **columns: Any) -> None:
        """A class of the domain; mindevcount 2 unless it is said."""
        columns = {"mindevcount": 2, **columns}
        self.tables.classes[DOMAIN.dmid, classid] = StorageClass(
            DOMAIN.dmid, classid, name, **columns
        )

    def look(self) -> None:
        """Read the tables and look at every host."""
        for coroutine in (self.live.refresh(), self.live.survey()):
            done = start(coroutine)
            assert done.called, "the picture needs time"
            result: list[Any] = []
            done.addBoth(result.append)
            assert result == [None], result

    def place(self, devid: int) -> Place:
        """The device with its host, as the database has them."""
        return Place(self.tables.hosts[self.tables.devices[devid].hostid], devid)

    def upload(self, fid: int, key: str, devids: list[int], classid: int = 0) -> None:
        """An open upload of that fid, as `open_upload` would record it."""
        done = start(self.store.open_upload(DOMAIN.dmid, key, classid, devids, fid))
        assert done.called and done.result == fid, done

    def file(
        self,
        fid: int,
        devids: list[int],
        data: bytes = b"the bytes",
        *,
        key: str = "",
        classid: int = 0,
        checksum: bool = True,
        queued: bool = False,
    ) -> Located:
        """A live file with copies on these devices, recorded and on their disks."""
        self.upload(fid, key or f"key{fid}", devids, classid)
        own = own_checksum(data) if checksum else None
        closing = Closing(
            fid,
            DOMAIN.dmid,
            key or f"key{fid}",
            classid,
            len(data),
            tuple(devids),
            own,
        )
        done = start(self.store.close_upload(closing))
        assert done.called and done.result == "closed", done
        for devid in devids:
            self.nodes.put(self.place(devid), fid, data)
        if not queued:
            del self.tables.to_replicate[fid]
        located: Located = self.tables.located(fid, checksum=True)
        return located

    def queue(self, fid: int, failcount: int = 0, nexttry: int = 0) -> None:
        """A row of the replication queue, due unless it is said."""
        self.tables.to_replicate[fid] = QueueRow(nexttry, failcount)

    def called(self, method: str) -> list[tuple[Any, ...]]:
        """The arguments of the calls of one method of the store."""
        return [call[1:] for call in self.store.calls if call[0] == method]

    def asked(self, method: str) -> list[tuple[Any, ...]]:
        """The arguments of the calls of one method of the nodes."""
        return [call[1:] for call in self.nodes.calls if call[0] == method]
