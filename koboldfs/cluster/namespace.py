"""The name space: what a file goes through from its first byte to its last.

    open      devices are chosen, a fid is drawn         (nothing is visible yet)
    PUT       the client gives the bytes to a node, or us (`incoming`)
    close     the copy is checked, further copies are made until the promise
              (`kobold_ack_copies`) holds, one transaction makes the key point here
    read      `paths` for clients that fetch themselves, `read` through us
    delete    the key is gone at once; its bytes go later (jobs)

A close that is repeated gets the same answer, also while the first is under way.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from attrs import evolve, frozen
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from koboldfs import errors
from koboldfs.cluster.copies import Copies
from koboldfs.cluster.incoming import Incoming
from koboldfs.cluster.promises import Promises
from koboldfs.interfaces import IFiles, ILiveView, INodes, IQueues
from koboldfs.model import placement
from koboldfs.model.entities import (
    DEFAULT_CLASSID,
    OWN_HASHTYPE,
    Checksum,
    Claim,
    Closing,
    CopyStat,
    Domain,
    File,
    Located,
    Place,
    Removal,
    ReplicationDone,
)
from koboldfs.model.promise import Promise

#: Open uploads that are remembered (some 200 bytes each).
MAX_OPENED = 4096
#: Keys are at most this long (bytes); what the database holds may be less.
MAX_KEY_BYTES = 1024


@frozen
class Offer:
    """A fid and the devices that its bytes may be given to."""

    fid: int
    devids: tuple[int, ...]


@frozen
class Opened:
    """What is to be known of an open upload when it is closed."""

    fid: int
    classid: int
    devids: tuple[int, ...]


class Namespace:
    """Files by name, for the front doors."""

    log = Logger()

    def __init__(
        self,
        files: IFiles,
        queues: IQueues,
        nodes: INodes,
        live: ILiveView,
        random: Random,
    ) -> None:
        self.files = files
        self.live = live
        self.copies = Copies(nodes, live, random, files.class_checksum)
        self.promises = Promises(self.copies)
        self._queues = queues
        self._nodes = nodes
        self._random = random
        self._closing: dict[int, list[Deferred[None]]] = {}
        #: Uploads that were opened here, the last ones: to close one of these, it need
        #: not be looked up. Whether it is still open, the closing transaction sees.
        self._opened: dict[int, Opened] = {}

    # --- names

    def domain(self, name: str | None) -> Domain:
        """Raises `NoDomain` when there is no name, `UnknownDomain`."""
        if not name:
            raise errors.NoDomain()
        domain = self.live.view.domains.get(name)
        if domain is None:
            raise errors.UnknownDomain()
        return domain

    def classid(self, domain: Domain, name: str | None) -> int:
        """The number of a class; no name is the default. Raises `UnknownClass`."""
        if not name:
            return DEFAULT_CLASSID
        found = self.live.view.class_named(domain.dmid, name)
        if found is None:
            raise errors.UnknownClass()
        return found.classid

    async def known_domain(self, name: str | None) -> Domain:
        """As `domain`; one that is not known here may be new."""
        try:
            return self.domain(name)
        except errors.UnknownDomain:
            if not await self.live.renew():
                raise
            return self.domain(name)

    async def known_classid(self, domain: Domain, name: str | None) -> int:
        """As `classid`; one that is not known here may be new."""
        try:
            return self.classid(domain, name)
        except errors.UnknownClass:
            if not await self.live.renew():
                raise
            return self.classid(domain, name)

    async def _know_devices(self, devids: Sequence[int]) -> None:
        """Devices of which not one is known here may be new."""
        view = self.live.view
        if devids and not any(devid in view.devices for devid in devids):
            await self.live.renew()

    # --- storing

    async def open(
        self,
        domain: Domain,
        key: str,
        *,
        class_name: str | None,
        fid: int | None,
        multiple: bool,
        size: int | None,
    ) -> Offer:
        """Begin an upload. Raises `UnknownClass`, `NoDevices`, `FidInUse`."""
        classid = await self.known_classid(domain, class_name)
        if len(key) > MAX_KEY_BYTES:
            raise errors.ValueRefused()
        devids = placement.offer(
            self.live.view, self._random, size_bytes=size or 0, multiple=multiple
        )
        if not devids:
            raise errors.NoDevices()
        # What the row names is cleaned up whatever happens: also what we shall copy to.
        spare = self.copies.reserve(domain.dmid, classid, devids[:1], size or 0)
        reserved = tuple(dict.fromkeys((*devids, *spare)))
        number = await self.files.open_upload(domain.dmid, key, classid, reserved, fid)
        if len(self._opened) >= MAX_OPENED:
            del self._opened[next(iter(self._opened))]
        self._opened[number] = Opened(number, classid, reserved)
        for devid in devids:
            place = self.live.view.place(devid)
            if place is not None and not self.live.view.is_kobold(place.host.hostid):
                await self._nodes.prepare(place, number)
        return Offer(number, tuple(devids))

    async def close(
        self,
        domain: Domain,
        *,
        fid: int,
        devid: int,
        key: str,
        size: int | None,
        checksum: Checksum | None,
        verify: bool,
    ) -> Promise | None:
        """Make an upload a file; returns what there is of the promise.

        An empty key throws the upload away (None). Raises `NoUpload`,
        `InvalidDestination`, `SizeUnverified`, `SizeMismatch`, `ChecksumMismatch`,
        `FidExists`; after any of these but `NoUpload` the upload is gone.
        """
        claim = Claim(domain, fid, devid, key, size, checksum, verify)
        while fid in self._closing:
            waiter: Deferred[None] = Deferred()
            self._closing[fid].append(waiter)
            await waiter
        # Who waited finds the file closed, and is told so; or the upload failed, and
        # is told that there is none.
        waiters = self._closing[fid] = []
        try:
            return await self._close(claim)
        finally:
            del self._closing[fid]
            for waiter in waiters:
                waiter.callback(None)

    async def _close(self, claim: Claim) -> Promise | None:
        upload = self._opened.pop(claim.fid, None)
        if upload is None or claim.devid not in upload.devids:
            found = await self.files.find_upload(claim.fid)
            if found is None:
                return await self._repeated(claim)
            upload = Opened(found.fid, found.classid, found.devids)
        await self._know_devices([claim.devid])
        try:
            if claim.devid not in upload.devids:
                offered = ",".join(map(str, upload.devids))
                raise errors.InvalidDestination(
                    f"File uploaded to invalid dest {claim.devid}. "
                    f"Valid devices were: {offered}"
                )
            if not claim.key:
                await self._abandon(upload, claim.devid)
                return None
            stat = await self._verified(claim)
            wanted = await self._class_checksum(claim, upload.classid, stat)
        except errors.CallerError:
            await self._abandon(upload, claim.devid)
            raise
        return await self._finish(claim, upload, stat, wanted)

    async def _repeated(self, claim: Claim) -> Promise:
        """For an upload that is a file already. Raises `NoUpload` if it is not."""
        located = await self.files.find_fid(claim.fid)
        if located is None:
            raise errors.NoUpload()
        file = located.file
        if (
            (file.dmid, file.key) != (claim.domain.dmid, claim.key)
            or claim.size not in (None, file.length)
            or claim.devid not in located.devids
        ):
            raise errors.NoUpload()
        return self.promises.of(file.dmid, file.classid, located.devids)

    async def _abandon(self, upload: Opened, devid: int) -> None:
        devids = dict.fromkeys((*upload.devids, devid))
        await self.files.abandon_upload(upload.fid, tuple(devids))

    async def _verified(self, claim: Claim) -> CopyStat:
        """The client's copy as its node sees it, if it is what the client says."""
        place = self._place(claim.devid)
        url = self.live.view.url(claim.devid, claim.fid, put=True)
        wanted = -1 if claim.size is None else claim.size
        stat, why, detail = None, "missing", "no such file"
        try:
            stat = await self._nodes.stat(place, claim.fid)
        except errors.NodeFault as error:
            why, detail = "cantreach", error.message
            self.live.suspect(place.host.hostid)
        if stat is None:
            raise errors.SizeUnverified(
                f"Expected: {wanted}; actual: 0 ({why}); path: {url}; error: {detail}"
            )
        if claim.size is not None and stat.size != claim.size:
            raise errors.SizeMismatch(
                f"Expected: {wanted}; actual: {stat.size}; path: {url}"
            )
        if claim.checksum is not None and claim.verify:
            actual = await self._digest(place, claim.fid, claim.checksum.hashtype, stat)
            if actual != claim.checksum:
                raise errors.ChecksumMismatch(
                    f"Expected: {claim.checksum}; actual: {actual}; path: {url}"
                )
        if stat.checksum is None:
            own = await self._digest(place, claim.fid, OWN_HASHTYPE, stat)
            stat = CopyStat(stat.size, own)
        return stat

    async def _digest(
        self, place: Place, fid: int, hashtype: int, stat: CopyStat
    ) -> Checksum:
        if stat.checksum is not None and stat.checksum.hashtype == hashtype:
            return stat.checksum
        try:
            found = await self._nodes.digest(place, fid, hashtype)
        except errors.NodeFault as error:
            raise errors.SizeUnverified(f"no checksum: {error.message}") from error
        if found is None:
            raise errors.SizeUnverified("no checksum: the file is gone")
        return found

    async def _finish(
        self, claim: Claim, upload: Opened, stat: CopyStat, wanted: Checksum | None
    ) -> Promise:
        file = File(
            upload.fid, claim.domain.dmid, claim.key, stat.size, upload.classid, 1
        )
        located = Located(file, (claim.devid,), stat.checksum)
        try:
            devids = await self.copies.promise(located, upload.devids)
        except errors.NodeFault as error:
            await self._abandon(upload, claim.devid)
            raise errors.SizeUnverified(error.message) from error
        closing = Closing(
            upload.fid,
            claim.domain.dmid,
            claim.key,
            upload.classid,
            stat.size,
            devids,
            stat.checksum,
            wanted,
            self.copies.settled(claim.domain.dmid, upload.classid, devids),
        )
        await self.close_recorded(closing)
        return self.promises.of(closing.dmid, closing.classid, devids)

    async def _class_checksum(
        self, claim: Claim, classid: int, stat: CopyStat
    ) -> Checksum | None:
        """The row that the class asks for: the client's word, else the node's."""
        hashtype = self.live.view.storage_class(claim.domain.dmid, classid).hashtype
        if hashtype is None:
            return None
        if claim.checksum is not None and claim.checksum.hashtype == hashtype:
            return claim.checksum
        return await self._digest(self._place(claim.devid), claim.fid, hashtype, stat)

    async def close_recorded(self, closing: Closing) -> None:
        """Record an upload whose copies are made. Raises `NoUpload`."""
        outcome = await self.files.close_upload(closing)
        if outcome == "closed":
            self.promises.answered(closing)
            return
        if outcome == "no_upload" and self.live.view.shared:
            # A tracker of MogileFS takes the upload away before it makes the file, and
            # may be at it: a scrub sees to the bytes, should nobody want them.
            raise errors.NoUpload()
        # Another tracker closed or expired it meanwhile: what we copied must be known
        # as well, as copies of the file, or as bytes to be deleted.
        await self._queues.finish_replications(
            [ReplicationDone(closing.fid, closing.devids, retry_seconds=0)]
        )
        if outcome == "no_upload":
            raise errors.NoUpload()

    def _place(self, devid: int) -> Place:
        place = self.live.view.place(devid)
        if place is None:
            raise errors.BogusArguments()
        return place

    async def begin_put(
        self, domain: Domain, key: str, *, class_name: str | None, size: int | None
    ) -> Incoming:
        """An upload whose bytes come through us, to as many hosts as promised.

        Raises `UnknownClass`, `NoKey`, `NoDevices`.
        """
        if not key:
            raise errors.NoKey()
        if len(key) > MAX_KEY_BYTES:
            raise errors.KeyTooLong()
        classid = await self.known_classid(domain, class_name)
        incoming = Incoming(self.files, self.copies, domain, key, classid, size)
        await incoming.begin()
        return incoming

    async def commit(self, changes: Sequence[Closing | Removal]) -> None:
        """All of the changes or none. Raises `NoUpload`."""
        # Copies that were enough when they were made may not be now.
        await self.files.apply([self._as_of_now(one) for one in changes])
        for one in changes:
            if isinstance(one, Closing):
                self.promises.answered(one)

    def _as_of_now(self, change: Closing | Removal) -> Closing | Removal:
        if not isinstance(change, Closing) or not change.settled:
            return change
        copies, devids = self.copies, change.devids
        settled = copies.settled(change.dmid, change.classid, devids)
        return evolve(change, settled=settled)

    # --- finding

    async def locate(self, domain: Domain, key: str) -> Located:
        """Raises `NoKey`, `UnknownKey`."""
        if not key:
            raise errors.NoKey()
        if len(key) > MAX_KEY_BYTES:
            raise errors.UnknownKey()
        located = await self.files.find(domain.dmid, key)
        if located is None:
            raise errors.UnknownKey()
        await self._know_devices(located.devids)
        return located

    async def paths(
        self,
        domain: Domain,
        key: str,
        *,
        verify: bool,
        count: int,
        client_ip: str,
        alt: bool,
    ) -> list[str]:
        """Up to `count` URLs of the file's copies, best first.

        With `verify`, the first one was just seen to have the whole file. If no copy
        is left, the URL of one that cannot be read now is given as a last resort.
        """
        located = await self.locate(domain, key)
        view = self.live.view
        readable = placement.reading_order(located.devids, view, self._random)
        readers = readable
        if verify:
            readers = await self._first_verified(located, readable)
        if not readers:
            readers = [d for d in located.devids if d not in readable][-1:]
        urls = [
            view.url(devid, located.file.fid, client_ip=client_ip, alt=alt)
            for devid in readers[:count]
        ]
        return [url for url in urls if url is not None]

    async def _first_verified(
        self, located: Located, readers: Sequence[int]
    ) -> list[int]:
        """`readers` from the first one on that shows the file's exact length."""
        for index, devid in enumerate(readers):
            place = self._place(devid)
            try:
                stat = await self._nodes.stat(place, located.file.fid)
            except errors.NodeFault:
                self.live.suspect(place.host.hostid)
                continue
            if stat is not None and stat.size == located.file.length:
                return list(readers[index:])
        return []

    async def read(
        self, located: Located, start: int, length: int | None, consumer: Any
    ) -> int:
        """Stream bytes of a file through us; see `Copies.read`."""
        return await self.copies.read(located, start, length, consumer)

    async def list_keys(
        self, domain: Domain, prefix: str, after: str, limit: int
    ) -> list[str]:
        """Keys in ascending order of bytes; empty when there are none."""
        return await self.files.list_keys(domain.dmid, prefix, after, limit)

    async def list_files(self, after_fid: int, limit: int) -> list[Located]:
        """Files of all domains by ascending fid."""
        return await self.files.list_files(after_fid, limit)

    async def class_checksum(self, fid: int) -> Checksum | None:
        """The checksum that the file's class asked for, if there is one."""
        return await self.files.class_checksum(fid)

    # --- changing

    async def delete(self, domain: Domain, key: str) -> None:
        """Raises `NoKey`, `UnknownKey`."""
        if not key:
            raise errors.NoKey()
        if len(key) > MAX_KEY_BYTES or not await self.files.delete(domain.dmid, key):
            raise errors.UnknownKey()

    async def rename(self, domain: Domain, old: str, new: str) -> None:
        """Raises `NoKey`, `UnknownKey`, `KeyExists`, `ValueRefused`."""
        if not old or not new:
            raise errors.NoKey()
        if len(new) > MAX_KEY_BYTES:
            raise errors.ValueRefused()
        if len(old) > MAX_KEY_BYTES:
            raise errors.UnknownKey()
        await self.files.rename(domain.dmid, old, new)

    async def set_class(self, domain: Domain, key: str, class_name: str) -> None:
        """Raises `NoKey`, `NoClass`, `ClassNotFound`, `InvalidKey`, `NoDevices`."""
        if not key:
            raise errors.NoKey()
        if not class_name:
            raise errors.NoClass()
        found = self.live.view.class_named(domain.dmid, class_name)
        if found is None and await self.live.renew():
            found = self.live.view.class_named(domain.dmid, class_name)
        if found is None:
            raise errors.ClassNotFound()
        located = await self.files.find(domain.dmid, key)
        if located is None:
            raise errors.InvalidKey()
        if not located.devids:
            raise errors.NoDevices()
        if located.file.classid != found.classid:
            await self.files.set_class(located.file.fid, found.classid)
