"""Copies: making more of them, and reading a file from whichever is there.

Both the promise of a store (so many copies before the answer) and the background
replication end here, so that there is one place that decides what a good copy is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from random import Random
from typing import Any

from attrs import define, field
from twisted.logger import Logger

from koboldfs import errors
from koboldfs.cluster.remembered import Remembered
from koboldfs.interfaces import ILiveView, INodes
from koboldfs.model.entities import OWN_HASHTYPE, Checksum, Located, Place
from koboldfs.model.placement import reading_order
from koboldfs.model.policy import (
    AllHosts,
    MultipleHosts,
    Policy,
    Question,
    Verdict,
    parse_policy,
    plan,
)
from koboldfs.model.view import View
from koboldfs.running import together

#: How many different targets are tried for one wanted copy before giving up.
TARGETS_PER_COPY = 4


@define
class Spread:
    """What came of making copies: the devices that now hold one (the first ones
    included), those that failed, and the checksum that all of the new ones have.

    `bad_sources` could not be copied from; of these `lost` ones are known for sure to
    lack the file or to hold other bytes. `of_class` is the checksum that the file's
    class asked for, where ours is not known: MogileFS stored it."""

    devids: list[int]
    checksum: Checksum | None
    failed: set[int] = field(factory=set)
    bad_sources: set[int] = field(factory=set)
    lost: set[int] = field(factory=set)
    of_class: Checksum | None = None


class Copies:
    """Makes and reads copies of files on the nodes of the live picture."""

    log = Logger()

    def __init__(
        self,
        nodes: INodes,
        live: ILiveView,
        random: Random,
        class_checksum: Callable[[int], Awaitable[Checksum | None]],
    ) -> None:
        """`class_checksum`: that of `IFiles`."""
        self.nodes = nodes
        self.live = live
        self._random = random
        self._class_checksum = class_checksum
        self._settled = Remembered(live, self._is_settled)
        #: Bytes that went through `read` so far.
        self.read_bytes = 0

    # --- what the policy says

    def policy_of(self, dmid: int, classid: int) -> tuple[Policy, int]:
        """The policy and mindevcount of a class.

        A class whose text is not understood (a plugin's policy of MogileFS) is kept at
        MultipleHosts, which is the safest reading of an unknown one.
        """
        view = self.live.view
        found = view.storage_class(dmid, classid)
        text = found.policy or view.settings.get("kobold_policy")
        try:
            policy = parse_policy(text) if text else AllHosts()
        except ValueError as error:
            self.log.warn(
                "class {name} has a policy that is not known here: {error}",
                name=found.name,
                error=error,
            )
            policy = MultipleHosts()
        return policy, found.mindevcount

    def judge(
        self,
        dmid: int,
        classid: int,
        devids: Collection[int],
        size: int,
        failed: Collection[int] = (),
        view: View | None = None,
    ) -> Verdict:
        """All copies that the policy wants next for a file of that class, as things
        are, or as they are in `view`."""
        view = view or self.live.view
        policy, mindevcount = self.policy_of(dmid, classid)
        on = frozenset(filter(view.counts, devids))
        question = Question(view, on, mindevcount, size, frozenset(failed))
        return plan(policy, question, self._random)

    def wanted(
        self,
        dmid: int,
        classid: int,
        devids: Collection[int],
        view: View | None = None,
    ) -> int:
        """How many copies the policy of the class wants in the end, as things are, or
        as they are in `view`."""
        policy, mindevcount = self.policy_of(dmid, classid)
        view = view or self.live.view
        return policy.copies(Question(view, frozenset(devids), mindevcount))

    def counted(self, located: Located) -> tuple[int, int]:
        """How many copies of the file count (those on dead or lost devices do not), and
        how many its policy wants in the end."""
        file = located.file
        there = list(filter(self.live.view.counts, located.devids))
        return len(there), self.wanted(file.dmid, file.classid, there)

    def settled(self, dmid: int, classid: int, devids: Collection[int]) -> bool:
        """Whether a file of that class on these devices will want no further copy,
        whatever hosts come. One on a dead or lost device will."""
        return self._settled(dmid, classid, tuple(devids))

    def _is_settled(self, dmid: int, classid: int, devids: tuple[int, ...]) -> bool:
        view = self.live.view
        if not all(map(view.counts, devids)):
            return False
        policy, mindevcount = self.policy_of(dmid, classid)
        return policy.settled(Question(view, frozenset(devids), mindevcount))

    # --- making copies

    async def spread(
        self,
        located: Located,
        targets: Sequence[int],
        *,
        hosts: int | None = None,
        failed: Collection[int] = (),
    ) -> Spread:
        """Copy the file to `targets`, all at once, from any good source.

        With `hosts`, other targets are tried for those that fail, as the policy says,
        until copies lie on that many different hosts or no target is left; `failed`
        devices are not among them. Failures are in the result, not raised; only
        `DatabaseFault` is, for a file of which our checksum is not known.
        """
        done = Spread(list(located.devids), located.checksum)
        if located.checksum is None and targets:
            done.of_class = await self._class_checksum(located.file.fid)
        while targets:
            results = await together(
                [self._one_copy(located, devid, done) for devid in targets]
            )
            done.devids += [devid for devid in results if devid is not None]
            if hosts is None or len(done.failed) >= TARGETS_PER_COPY:
                break
            missing = hosts - len(self.hosts_of(done.devids))
            if missing <= 0:
                break
            file = located.file
            failed = done.failed.union(failed)
            verdict = self.judge(
                file.dmid, file.classid, done.devids, file.length, failed
            )
            targets = self.on_new_hosts(verdict.devids, done.devids, missing)
        return done

    async def _one_copy(
        self, located: Located, target: int, done: Spread
    ) -> int | None:
        view, fid = self.live.view, located.file.fid
        place = view.place(target)
        if place is None:
            done.failed.add(target)
            return None
        sources = reading_order(located.devids, view, self._random)
        for devid in sources:
            source = view.place(devid)
            if source is None or devid in done.bad_sources:
                continue
            try:
                checksum = await self.nodes.copy(
                    source, place, fid, located.file.length, done.checksum
                )
                if done.checksum is None:
                    await self._compare_class(source, place, fid, done.of_class)
            except (errors.CopyMissing, errors.CopyCorrupt) as error:
                done.bad_sources.add(devid)
                known = located.checksum or done.of_class
                if known or isinstance(error, errors.CopyMissing):
                    done.lost.add(devid)
                self.log.error(
                    "fid {fid}: the copy on device {devid} is no source: {error}",
                    fid=fid,
                    devid=devid,
                    error=error,
                )
                continue
            except errors.WorldError as error:
                self.log.warn(
                    "fid {fid}: no copy from device {devid} to {target}: {error}",
                    fid=fid,
                    devid=devid,
                    target=target,
                    error=error,
                )
                if isinstance(error, errors.NodeUnreachable):
                    self.live.suspect(place.host.hostid)
                    self.live.suspect(source.host.hostid)
                continue
            if done.checksum is None:
                done.checksum = checksum
            elif checksum != done.checksum:
                # Nobody knew the checksum, and a copy that was made at the same time
                # from another source has other bytes: they must not both count.
                done.bad_sources.add(devid)
                self.log.error(
                    "fid {fid}: the copy on device {devid} differs from another one",
                    fid=fid,
                    devid=devid,
                )
                continue
            return target
        done.failed.add(target)
        return None

    async def _compare_class(
        self, source: Place, target: Place, fid: int, wanted: Checksum | None
    ) -> None:
        """Raises `CopyCorrupt` if a copy that was just made has another checksum, and
        so has its source; `NodeFault` if that is good."""
        if wanted is None:
            return
        for place in (target, source):
            if await self.nodes.digest(place, fid, wanted.hashtype) == wanted:
                if place is source:
                    raise errors.NodeFault("the target has other bytes than the source")
                return
        raise errors.CopyCorrupt("its bytes have not the checksum that MogileFS has")

    async def reads_as(self, devid: int, fid: int, wanted: Checksum) -> bool:
        """Whether a copy, read now, has that checksum. Raises `NodeFault`."""
        place = self.live.view.place(devid)
        if place is None:
            raise errors.CopyMissing("the device is not known")
        return await self.nodes.digest(place, fid, wanted.hashtype) == wanted

    async def known_checksum(self, located: Located) -> Checksum | None:
        """Ours of a file, else that which its class asked for, if there is one."""
        return located.checksum or await self._class_checksum(located.file.fid)

    async def agreed_checksum(self, located: Located, done: Spread) -> Checksum | None:
        """The checksum of a file that had none recorded (MogileFS stored it), if every
        copy that is known has it. Else None: nobody can tell which copy is right, and
        a wrong checksum would condemn the right ones."""
        if done.checksum is None or done.bad_sources:
            return None
        for devid in located.devids if len(located.devids) > 1 else ():
            place = self.live.view.place(devid)
            if place is None:
                return None
            try:
                found = await self.nodes.digest(place, located.file.fid, OWN_HASHTYPE)
            except errors.NodeFault:
                return None
            if found != done.checksum:
                self.log.error(
                    "fid {fid}: the copies differ, and no checksum is known",
                    fid=located.file.fid,
                )
                return None
        return done.checksum

    def hosts_of(self, devids: Collection[int]) -> set[int]:
        """The hosts on which these devices are."""
        devices = self.live.view.devices
        return {devices[devid].hostid for devid in devids if devid in devices}

    def on_new_hosts(
        self, devids: Sequence[int], have: Collection[int], count: int
    ) -> list[int]:
        """The first `count` of `devids` that are on hosts without a copy, one each."""
        hosts, chosen = self.hosts_of(have), list[int]()
        for devid in devids:
            hostid = self.live.view.devices[devid].hostid
            if hostid not in hosts and len(chosen) < count:
                hosts.add(hostid)
                chosen.append(devid)
        return chosen

    def promised_hosts(self) -> int:
        """On how many hosts a store is to lie before it is answered."""
        try:
            return max(1, int(self.live.view.settings.get("kobold_ack_copies", "1")))
        except ValueError:
            return 1

    async def promise(
        self,
        located: Located,
        preferred: Collection[int] = (),
        failed: Collection[int] = (),
    ) -> tuple[int, ...]:
        """The devices with a copy, once as many were made as a store promises.

        Fewer when fewer hosts are up, or when the others cannot take it, which is
        logged; never more than the file's policy wants. `preferred` devices are taken
        first where they can take it, `failed` ones not at all.

        Raises `CopyCorrupt` when no copy turns out to be good, and `NodeUnreachable`
        when the node with the only one has gone away: a file that nobody can read
        must not be acknowledged.
        """
        file, hosts = located.file, self.promised_hosts()
        have = located.devids
        missing = hosts - len(self.hosts_of(have))
        if missing <= 0:
            return have
        verdict = self.judge(file.dmid, file.classid, have, file.length, failed)
        if not verdict.devids:
            return have
        able = [
            devid
            for devid in preferred
            if devid not in failed and self.live.view.may_receive(devid, file.length)
        ]
        missing = min(missing, len(verdict.devids))
        targets = self.on_new_hosts([*able, *verdict.devids], have, missing)
        done = await self.spread(located, targets, hosts=hosts, failed=failed)
        good = tuple(devid for devid in done.devids if devid not in done.bad_sources)
        if not good:
            raise errors.CopyCorrupt("the node no longer has what was stored on it")
        if set(good) <= set(have):
            await self._confirm(good, file.fid)
        if len(self.hosts_of(good)) < hosts:
            self.log.warn(
                "fid {fid} is stored on {count} of {hosts} promised hosts for now",
                fid=file.fid,
                count=len(self.hosts_of(good)),
                hosts=hosts,
            )
        return good

    async def _confirm(self, devids: Collection[int], fid: int) -> None:
        """Raises `NodeUnreachable` unless one of the copies can still be had."""
        for devid in devids:
            place = self.live.view.place(devid)
            try:
                if place and await self.nodes.stat(place, fid) is not None:
                    return
            except errors.NodeFault:
                continue
        raise errors.NodeUnreachable("the node that has the file went away")

    def reserve(
        self, dmid: int, classid: int, devids: Sequence[int], size: int
    ) -> list[int]:
        """The further devices that a store will copy to, if all goes well."""
        missing = self.promised_hosts() - len(self.hosts_of(devids))
        if missing <= 0:
            return []
        verdict = self.judge(dmid, classid, devids, size)
        return self.on_new_hosts(verdict.devids, devids, missing)

    # --- reading

    async def read(
        self, located: Located, start: int, length: int | None, consumer: Any
    ) -> int:
        """Stream `length` bytes from `start` into an IConsumer; returns how many.

        When a copy breaks off, another one goes on at the same offset. Raises
        `NodeFault` when no copy is left and bytes are missing.
        """
        end = located.file.length
        if length is not None:
            end = min(end, start + length)
        position = start
        last: errors.WorldError = errors.CopyMissing("no readable copy of the file")
        meter = _Meter(consumer)
        view: View = self.live.view
        for devid in self._all_readers(located, view):
            if position >= end:
                break
            place = view.place(devid)
            if place is None:
                continue
            meter.count = 0
            try:
                await self.nodes.read(
                    place, located.file.fid, position, end - position, meter
                )
            except errors.NodeFault as error:
                last = error
                if isinstance(error, errors.NodeUnreachable):
                    self.live.suspect(place.host.hostid)
            position += meter.count
            self.read_bytes += meter.count
        if position < end:
            raise last
        return position - start

    def _all_readers(self, located: Located, view: View) -> list[int]:
        """The readable copies, then (as a last resort) those that only seem away."""
        readers = reading_order(located.devids, view, self._random)
        if len(readers) == len(located.devids):
            return readers
        others = [
            devid
            for devid in located.devids
            if devid not in readers and not view.is_dead(devid)
        ]
        return readers + others


class _Meter:
    """An IConsumer that counts what flows through it to another one."""

    def __init__(self, consumer: Any) -> None:
        self._consumer = consumer
        self.count = 0
        self.registerProducer = consumer.registerProducer
        self.unregisterProducer = consumer.unregisterProducer

    def write(self, data: bytes) -> None:
        self.count += len(data)
        self._consumer.write(data)
