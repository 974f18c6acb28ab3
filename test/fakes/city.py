"""A whole tracker in memory: city hall over dictionaries, and a way to talk to it.

    city = City()                         # no hosts yet
    city = City.furnished()               # 3 hosts x 2 devices, domain d1, class c1
    city.say("noop")                      # -> "OK "
    city.store("key", b"data")            # a closed file; returns its fid

What goes on beneath can be disturbed: `city.nodes` (see `test.fakes.nodes`),
`city.database.failing` (method -> exceptions that its next calls raise), and
`city.database.pause` (a Deferred that calls of `find` wait for).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from attrs import define, evolve, field
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import LogPublisher
from zope.interface import implementer

from koboldfs import errors
from koboldfs.cluster.admin import Admin
from koboldfs.cluster.by_hand import ByHand
from koboldfs.cluster.checks import Checks
from koboldfs.cluster.file_report import FileReports
from koboldfs.cluster.live import RENEW_SECONDS, LiveView
from koboldfs.cluster.namespace import Namespace
from koboldfs.cluster.numbering import Numbering
from koboldfs.cluster.overview import Overview
from koboldfs.cluster.rebalancing import Rebalancing
from koboldfs.cluster.scrubbing import Scrubbing
from koboldfs.model.entities import (
    Checksum,
    Closing,
    Device,
    Domain,
    File,
    Host,
    Located,
    StorageClass,
    Topology,
    Upload,
)
from koboldfs.model.pacing import Progress
from koboldfs.tracker.call import Services
from koboldfs.tracker.commands import Commands
from koboldfs.tracker.factory import TrackerFactory
from koboldfs.tracker.ports import IJobControl
from koboldfs.tracker.protocol import TrackerProtocol
from test.fakes.nodes import MemoryNodes
from test.fakes.store import MemoryStore


@define(eq=False)
class MemoryDatabase:
    """What the tracker's commands need of `IFiles` and `ITopology`."""

    topology: Topology = field(factory=Topology)
    files: dict[int, File] = field(factory=dict)
    copies: dict[int, tuple[int, ...]] = field(factory=dict)
    uploads: dict[int, Upload] = field(factory=dict)
    checksums: dict[int, Checksum] = field(factory=dict)
    own_checksums: dict[int, Checksum] = field(factory=dict)
    queues: dict[int, dict[str, dict[str, Any]]] = field(factory=dict)
    failing: dict[str, list[Exception]] = field(factory=dict)
    pause: Deferred[None] | None = None
    #: What the listings were asked for: (method, after, limit).
    asked: list[tuple[str, object, int]] = field(factory=list)
    last_fid: int = 0

    def _enter(self, method: str) -> None:
        if self.failing.get(method):
            raise self.failing[method].pop(0)

    def _live(self, dmid: int, key: str) -> File | None:
        return next(
            (
                file
                for file in self.files.values()
                if (file.dmid, file.key) == (dmid, key)
            ),
            None,
        )

    # --- IFiles

    async def find(self, dmid: int, key: str) -> Located | None:
        """See `IFiles`."""
        self._enter("find")
        if self.pause is not None:
            await self.pause
        file = self._live(dmid, key)
        return None if file is None else Located(file, self.copies.get(file.fid, ()))

    async def find_fid(self, fid: int) -> Located | None:
        """See `IFiles`."""
        file = self.files.get(fid)
        return None if file is None else Located(file, self.copies.get(fid, ()))

    async def devices_of(self, fid: int) -> tuple[int, ...]:
        """See `IFiles`."""
        return self.copies.get(fid, ())

    async def open_upload(
        self, dmid: int, key: str, classid: int, devids: Sequence[int], fid: int | None
    ) -> int:
        """See `IFiles`."""
        self._enter("open_upload")
        if fid is not None and (fid in self.files or fid in self.uploads):
            raise errors.FidInUse()
        number = fid or self.last_fid + 1
        self.last_fid = max(self.last_fid, number)
        self.uploads[number] = Upload(number, 0, classid, dmid, key, tuple(devids))
        return number

    async def find_upload(self, fid: int) -> Upload | None:
        """See `IFiles`."""
        return self.uploads.get(fid)

    async def close_upload(self, closing: Closing) -> str:
        """See `IFiles`."""
        self._enter("close_upload")
        old = self._live(closing.dmid, closing.key)
        if old is not None:
            del self.files[old.fid]
        self.uploads.pop(closing.fid)
        self.files[closing.fid] = File(
            closing.fid,
            closing.dmid,
            closing.key,
            closing.length,
            closing.classid,
            len(closing.devids),
        )
        self.copies[closing.fid] = closing.devids
        if closing.checksum is not None:
            self.own_checksums[closing.fid] = closing.checksum
        if closing.class_checksum is not None:
            self.checksums[closing.fid] = closing.class_checksum
        return "closed"

    async def abandon_upload(self, fid: int, devids: Sequence[int]) -> None:
        """See `IFiles`."""
        self.uploads.pop(fid, None)

    async def delete(self, dmid: int, key: str) -> bool:
        """See `IFiles`."""
        file = self._live(dmid, key)
        if file is not None:
            del self.files[file.fid]
        return file is not None

    async def rename(self, dmid: int, old: str, new: str) -> None:
        """See `IFiles`."""
        self._enter("rename")
        file, taken = self._live(dmid, old), self._live(dmid, new)
        if file is None:
            raise errors.UnknownKey()
        if taken not in (None, file):
            raise errors.KeyExists()
        self.files[file.fid] = evolve(file, key=new)

    async def set_class(self, fid: int, classid: int) -> bool:
        """See `IFiles`."""
        self.files[fid] = evolve(self.files[fid], classid=classid)
        return True

    async def list_keys(
        self, dmid: int, prefix: str, after: str, limit: int
    ) -> list[str]:
        """See `IFiles`."""
        self.asked.append(("list_keys", after, limit))
        keys = [file.key for file in self.files.values() if file.dmid == dmid]
        return sorted(k for k in keys if k.startswith(prefix) and k > after)[:limit]

    async def list_files(self, after_fid: int, limit: int) -> list[Located]:
        """See `IFiles`."""
        self.asked.append(("list_files", after_fid, limit))
        fids = sorted(fid for fid in self.files if fid > after_fid)[:limit]
        return [Located(self.files[fid], self.copies.get(fid, ())) for fid in fids]

    async def own_checksum(self, fid: int) -> Checksum | None:
        """See `IFiles`."""
        return self.own_checksums.get(fid)

    async def class_checksum(self, fid: int) -> Checksum | None:
        """See `IFiles`."""
        return self.checksums.get(fid)

    async def queue_rows(self, fid: int) -> Mapping[str, Mapping[str, Any]]:
        """See `IFiles`."""
        return self.queues.get(fid, {})

    # --- ITopology

    async def load(self) -> Topology:
        """See `ITopology`."""
        self._enter("load")
        return self.topology

    def _addresses(self, besides: int) -> set[str]:
        others = [host for host in self.topology.hosts if host.hostid != besides]
        return {ip for host in others for ip in (host.ip, host.altip) if ip}

    async def create_host(self, name: str, values: Mapping[str, Any]) -> int:
        """See `ITopology`."""
        self._enter("create_host")
        hostid = max([host.hostid for host in self.topology.hosts], default=0) + 1
        if {values["ip"], values.get("altip")} & self._addresses(hostid):
            raise errors.DuplicateRow()
        hosts = (*self.topology.hosts, Host(hostid, name, **values))
        self.topology = evolve(self.topology, hosts=hosts)
        return hostid

    async def update_host(self, hostid: int, values: Mapping[str, Any]) -> None:
        """See `ITopology`."""
        if {values.get("ip"), values.get("altip")} & self._addresses(hostid):
            raise errors.DuplicateRow()
        hosts = (
            evolve(host, **values) if host.hostid == hostid else host
            for host in self.topology.hosts
        )
        self.topology = evolve(self.topology, hosts=tuple(hosts))

    async def delete_host(self, hostid: int) -> None:
        """See `ITopology`."""
        if any(device.hostid == hostid for device in self.topology.devices):
            raise errors.HostNotEmpty()
        hosts = (host for host in self.topology.hosts if host.hostid != hostid)
        self.topology = evolve(self.topology, hosts=tuple(hosts))

    async def create_device(self, devid: int, hostid: int, status: str) -> None:
        """See `ITopology`."""
        if any(device.devid == devid for device in self.topology.devices):
            raise errors.ExistingDevid()
        devices = (*self.topology.devices, Device(devid, hostid, status))
        self.topology = evolve(self.topology, devices=devices)

    async def update_device(
        self, devid: int, values: Mapping[str, Any], status_was: str | None = None
    ) -> bool:
        """See `ITopology`; nobody else changes a status here."""
        devices = (
            evolve(device, **values) if device.devid == devid else device
            for device in self.topology.devices
        )
        self.topology = evolve(self.topology, devices=tuple(devices))
        return True

    async def create_domain(self, name: str) -> int:
        """See `ITopology`."""
        self._enter("create_domain")
        dmid = max([domain.dmid for domain in self.topology.domains], default=0) + 1
        domains = (*self.topology.domains, Domain(dmid, name))
        self.topology = evolve(self.topology, domains=domains)
        return dmid

    async def delete_domain(self, dmid: int) -> None:
        """See `ITopology`."""
        if any(file.dmid == dmid for file in self.files.values()):
            raise errors.DomainHasFiles()
        if any(one.dmid == dmid and one.classid for one in self.topology.classes):
            raise errors.DomainHasClasses()
        domains = (one for one in self.topology.domains if one.dmid != dmid)
        self.topology = evolve(self.topology, domains=tuple(domains))

    async def create_class(
        self,
        dmid: int,
        name: str,
        mindevcount: int,
        policy: str | None,
        hashtype: int | None,
    ) -> int:
        """See `ITopology`."""
        self._enter("create_class")
        classid = max([one.classid for one in self.topology.classes], default=0) + 1
        await self.update_class(dmid, classid, name, mindevcount, policy, hashtype)
        return classid

    async def update_class(
        self,
        dmid: int,
        classid: int,
        name: str,
        mindevcount: int,
        policy: str | None,
        hashtype: int | None,
    ) -> None:
        """See `ITopology`."""
        self._enter("update_class")
        await self.delete_class(dmid, classid, empty=False)
        new = StorageClass(dmid, classid, name, mindevcount, policy, hashtype)
        self.topology = evolve(self.topology, classes=(*self.topology.classes, new))

    async def delete_class(self, dmid: int, classid: int, empty: bool = True) -> None:
        """See `ITopology`."""
        if empty and any(
            (file.dmid, file.classid) == (dmid, classid) for file in self.files.values()
        ):
            raise errors.ClassHasFiles()
        classes = (
            one
            for one in self.topology.classes
            if (one.dmid, one.classid) != (dmid, classid)
        )
        self.topology = evolve(self.topology, classes=tuple(classes))

    async def setting(self, name: str) -> str | None:
        """See `ITopology`."""
        return dict(self.topology.settings).get(name)

    async def change_settings(
        self,
        expected: Mapping[str, str | None],
        values: Mapping[str, str | None],
        announce: bool,
    ) -> bool:
        """See `ITopology`."""
        settings = dict(self.topology.settings)
        if any(settings.get(name) != value for name, value in expected.items()):
            return False
        await self.set_settings(values)
        return True

    async def set_settings(self, values: Mapping[str, str | None]) -> None:
        """See `ITopology`."""
        for name, value in values.items():
            await self.set_setting(name, value)

    async def set_setting(self, name: str, value: str | None) -> None:
        """See `ITopology`."""
        settings = {key: one for key, one in self.topology.settings if key != name}
        if value is not None:
            settings[name] = value
        self.topology = evolve(self.topology, settings=tuple(settings.items()))


@implementer(IJobControl)
@define(eq=False)
class MemoryJobs:
    """Jobs that only count: `wanted` by name; `told` is what `!to` passed on."""

    wanted: dict[str, int] = field(factory=lambda: {"delete": 1, "replicate": 2})
    told: list[tuple[str, str]] = field(factory=list)
    delayed: int = 0

    def counts(self) -> Mapping[str, tuple[int, int]]:
        """See `IJobControl`."""
        return {job: (count, count) for job, count in self.wanted.items()}

    def progress(self) -> Mapping[str, Progress]:
        """See `IJobControl`."""
        return {
            job: Progress(running=count, done=7, rate=0.5)
            for job, count in self.wanted.items()
        }

    def want(self, job: str, count: int) -> None:
        """See `IJobControl`."""
        if job not in self.wanted:
            raise LookupError(job)
        self.wanted[job] = count

    def tell(self, job: str, message: str) -> int:
        """See `IJobControl`."""
        self.told.append((job, message))
        return self.wanted.get(job, 0)

    async def hasten(self) -> int:
        """See `IJobControl`."""
        count, self.delayed = self.delayed, 0
        return count


class City:
    """A tracker with everything that it talks to."""

    def __init__(self, *, max_connections: int = 10) -> None:
        self.clock = Clock()
        self.database = MemoryDatabase()
        self.nodes = MemoryNodes()
        self.jobs = MemoryJobs()
        database: Any = self.database
        self.live = LiveView(database, self.nodes, self.clock, min_free_mb=100)
        self.namespace = Namespace(database, database, self.nodes, self.live, Random(1))
        self.admin = Admin(database, self.live)
        self.tasks = MemoryStore(self.clock)
        self.checks = Checks(database, self.tasks, self.live, "vm")
        self.balance = Rebalancing(database, self.tasks, self.live, Random(1), "vm")
        self.scrubbing = Scrubbing(self.tasks.scrubs, self.live)
        tasks, copies = self.tasks, self.namespace.copies
        self.overview = Overview(
            tasks, database, tasks, tasks, tasks, copies, self.clock
        )
        self.live.observe(self.overview.notice)
        numbers = self.tasks.numbers
        self.numbering = Numbering(numbers, self.nodes, self.live, self.clock)
        self.services = Services(
            self.namespace,
            self.admin,
            self.checks,
            self.balance,
            self.scrubbing,
            ByHand(self.namespace, self.tasks, database),
            self.jobs,
            self.clock,
            self.overview,
            FileReports(self.namespace, self.nodes, self.clock),
            self.numbering,
        )
        self.commands = Commands(self.services)
        self.shutdowns: list[bool] = []
        self.publisher = LogPublisher()
        self.factory = TrackerFactory(
            self.commands,
            self.jobs,
            clock=self.clock,
            call_from_thread=lambda function, *arguments: function(*arguments),
            shutdown=lambda: self.shutdowns.append(True),
            publisher=self.publisher,
            counters=lambda: self.namespace.promises.keeping.counters(),
            max_connections=max_connections,
        )

    @classmethod
    def furnished(cls) -> City:
        """Three hosts with two devices each, domain d1 (classes c1, md5c), d2."""
        city = cls()
        for number in (1, 2, 3):
            city.done(
                f"create_host host=host{number}&ip=127.0.0.{number}"
                "&port=7500&status=alive"
            )
        for devid in range(1, 7):
            city.done(f"create_device devid={devid}&hostid={(devid + 1) // 2}")
        city.done("create_domain domain=d1")
        city.done("create_domain domain=d2")
        city.done("create_class domain=d1&class=c1&mindevcount=2")
        city.done("create_class domain=d1&class=md5c&mindevcount=2&hashtype=MD5")
        return city

    def look(self) -> None:
        """Have every host looked at."""
        for work in (self.live.refresh(), self.live.survey()):
            done = Deferred.fromCoroutine(work)
            assert done.called, "the picture needs time"

    def connect(self, ip: str = "127.0.0.9") -> tuple[TrackerProtocol, StringTransport]:
        """A connection from that address, with its transport."""
        address = IPv4Address("TCP", ip, 4000)
        connection = self.factory.buildProtocol(address)
        transport = StringTransport(peerAddress=address)
        connection.makeConnection(transport)
        assert isinstance(connection, TrackerProtocol)
        return connection, transport

    def say(self, line: str, ip: str = "127.0.0.9") -> str:
        """The reply to one request, without its line end."""
        connection, transport = self.connect(ip)
        connection.dataReceived(line.encode("latin-1") + b"\r\n")
        if not transport.value():
            # An unknown name is looked up again, after a moment.
            self.clock.advance(RENEW_SECONDS)
        reply = transport.value().decode("latin-1")
        self.factory.door.connections.discard(connection)
        assert reply.endswith("\r\n") and reply.count("\r\n") == 1, reply
        return str(reply[:-2])

    def done(self, line: str) -> dict[str, str]:
        """The fields of the reply, which must be OK; nothing in them unescaped."""
        reply = self.say(line)
        assert reply.startswith("OK "), f"{line} -> {reply}"
        pairs = [pair.partition("=") for pair in reply[3:].split("&") if pair]
        fields = {name: value for name, _, value in pairs}
        assert max(Counter(name for name, _, _ in pairs).values(), default=1) == 1
        return fields

    def store(self, key: str, data: bytes, domain: str = "d1", more: str = "") -> int:
        """A file, closed; returns its fid. `more` goes to create_open."""
        opened = self.done(f"create_open domain={domain}&key={key}{more}")
        fid, devid = int(opened["fid"]), int(opened["devid"])
        place = self.live.view.place(devid)
        assert place is not None
        self.nodes.put(place, fid, data)
        self.done(
            f"create_close domain={domain}&key={key}&fid={fid}&devid={devid}"
            f"&path={opened['path']}&size={len(data)}"
        )
        return fid
