"""What one native connection does to the name space: store, fetch, remove, transact.

Without BEGIN each change stands on its own. After BEGIN, uploads are stored and
deletions checked at once, but take effect together at COMMIT; ABORT, or the end of the
connection, throws the uploads away. Reading shows what is committed.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from koboldfs import errors
from koboldfs.cluster.incoming import Incoming
from koboldfs.cluster.namespace import Namespace
from koboldfs.model.entities import (
    OWN_HASHTYPE,
    Checksum,
    Closing,
    Domain,
    Located,
    Removal,
)
from koboldfs.model.promise import Promise
from koboldfs.tracker.native_body import Body
from koboldfs.tracker.native_download import Collection, Download
from koboldfs.wire.native import MAX_DOMAIN_BYTES, MAX_KEY_BYTES, Stat

#: Changes in one transaction; they are committed in one database transaction.
MAX_CHANGES = 1000
#: A transaction lives no longer (seconds): uploads that are not closed are taken for
#: abandoned an hour after they began.
TRANSACTION_SECONDS = 1800.0
#: Checksums that are remembered, by fid (about 300 bytes each). They never change.
REMEMBERED_CHECKSUMS = 16384
#: A small file that fails its check is read again this often in all; the next reading
#: likely begins with another copy.
SMALL_READINGS = 3


@define
class Transaction:
    """What happened since BEGIN. `began_at` is the clock's time in seconds."""

    began_at: float
    changes: list[Closing | Removal] = field(factory=list)
    uploads: list[Incoming] = field(factory=list)

    def room(self) -> None:
        """Raises `TooBusy` when no further change is let in."""
        if len(self.changes) >= MAX_CHANGES:
            raise errors.TooBusy(f"A transaction has at most {MAX_CHANGES} changes")

    def last(self, dmid: int, key: str) -> Closing | Removal | None:
        """The last change of a key, if there is one."""
        for change in reversed(self.changes):
            if (change.dmid, change.key) == (dmid, key):
                return change
        return None


class Checksums:
    """KoboldFS's own checksums of files, asked for once. Shared by connections."""

    def __init__(self, namespace: Namespace) -> None:
        self._namespace = namespace
        self._known: OrderedDict[int, Checksum] = OrderedDict()

    def known(self, located: Located) -> Checksum | None:
        """The checksum of a file if it is at hand."""
        return located.checksum or self._known.get(located.file.fid)

    async def of(self, located: Located) -> Checksum | None:
        """The checksum of a file, or None if none was ever computed."""
        found = self.known(located)
        if found is None:
            fid = located.file.fid
            found = await self._namespace.files.own_checksum(fid)
            if found is not None:
                self.remember(fid, found)
        return found

    def remember(self, fid: int, checksum: Checksum) -> None:
        """Have it at hand; the oldest are forgotten."""
        self._known[fid] = checksum
        if len(self._known) > REMEMBERED_CHECKSUMS:
            self._known.popitem(last=False)

    def forget(self, fid: int) -> None:
        """Ask the database next time: it may have been put back to an older day."""
        self._known.pop(fid, None)


class Session:
    """The acts of one connection, in the terms of city hall."""

    log = Logger()

    def __init__(
        self,
        namespace: Namespace,
        checksums: Checksums,
        seconds: Callable[[], float],
        peer_ip: str,
    ) -> None:
        self.transaction: Transaction | None = None
        self.peer_ip = peer_ip
        self._namespace = namespace
        self._checksums = checksums
        self._seconds = seconds
        self._reading: Deferred[int] | None = None

    # --- names

    async def domain(self, name: bytes) -> Domain:
        """Raises `NoDomain`, `UnknownDomain`."""
        if len(name) > MAX_DOMAIN_BYTES:
            raise errors.UnknownDomain()
        return await self._namespace.known_domain(name.decode("latin-1"))

    def text(self, name: bytes) -> str:
        """A key, or a part of one, as city hall has it."""
        return name.decode("latin-1")

    def new_key(self, name: bytes) -> str:
        """A key that a file may be stored under. Raises `NoKey`, `KeyTooLong`."""
        if not name:
            raise errors.NoKey()
        if len(name) > MAX_KEY_BYTES:
            raise errors.KeyTooLong()
        return name.decode("latin-1")

    # --- storing

    async def store(
        self,
        domain: Domain,
        key: str,
        body: Body,
        check: Callable[[bytes], bytes | None],
        *,
        class_name: str | None = None,
        size: int | None = None,
    ) -> Closing:
        """Take a whole body and make it the key's file (at COMMIT, if there is one).

        `check` is given the trailer and answers the md5 to compare with, or None: the
        trailer is a sha256. Raises `ChecksumMismatch`, `ClientLost` also when that is
        seen after the last byte, and the errors of city hall; whatever is raised,
        nothing of the upload stays.
        """
        if self.transaction is not None:
            self.transaction.room()
        incoming = await self._namespace.begin_put(
            domain, key, class_name=class_name, size=size
        )
        try:
            closing = await self._receive(incoming, body, check)
            if self.transaction is None:
                await self._namespace.close_recorded(closing)
            else:
                self.transaction.changes.append(closing)
                self.transaction.uploads.append(incoming)
        except Exception:
            await self._abandon(incoming)
            raise
        if closing.checksum is not None and closing.checksum.hashtype == OWN_HASHTYPE:
            self._checksums.remember(closing.fid, closing.checksum)
        return closing

    async def _receive(
        self,
        incoming: Incoming,
        body: Body,
        check: Callable[[bytes], bytes | None],
    ) -> Closing:
        while data := await body.read():
            await incoming.write(data)
        trailer = body.trailer or b""
        md5 = check(trailer)
        closing = await incoming.finish(md5=md5)
        if md5 is None:
            ours = closing.checksum
            if ours is None or ours.hashtype != OWN_HASHTYPE or ours.digest != trailer:
                raise errors.ChecksumMismatch("the bytes are not what was sent")
        # To make the copies may have taken long. A client that gave up meanwhile has
        # stored the file again elsewhere, and has perhaps changed it since.
        body.require_client()
        return closing

    async def _abandon(self, incoming: Incoming) -> None:
        try:
            await incoming.abandon()
        except errors.KoboldError as error:
            # Its row in the database stays and is cleaned up when it has expired.
            self.log.warn(
                "fid {fid}: the upload could not be abandoned: {error}",
                fid=incoming.fid,
                error=error,
            )

    # --- fetching

    async def locate(self, domain: Domain, key: str) -> Located:
        """The file of a key. Raises `UnknownKey`."""
        return await self._namespace.locate(domain, key)

    async def checksum(self, located: Located) -> Checksum | None:
        """The file's checksum, if there is one."""
        return await self._checksums.of(located)

    async def collect(
        self, located: Located, start: int, length: int
    ) -> tuple[bytes, bytes]:
        """Bytes of a small range, all of them, and their sha256; a whole file is
        checked. It goes on to its end when the client is lost, which is near.

        Raises `CopyCorrupt` when no copy that was tried is the file, `NodeFault`.
        """
        whole = length == located.file.length
        for _ in range(SMALL_READINGS if length else 0):
            collection = Collection()
            wanted = await self._read_and_look(
                located, start, length, collection, whole=whole
            )
            data = collection.data
            digest = hashlib.sha256(data).digest()
            if len(data) == length and matches(wanted, digest):
                return data, digest
            self._corrupt(located)
        if length:
            raise errors.CopyCorrupt("the copies that were read are not the file")
        return b"", hashlib.sha256(b"").digest()

    async def _read_and_look(
        self,
        located: Located,
        start: int,
        length: int,
        consumer: Collection,
        *,
        whole: bool,
    ) -> Checksum | None:
        """Read, and ask for a whole file's checksum meanwhile; returns that."""
        known = self._checksums.known(located) if whole else None
        if not whole or known is not None:
            await self._namespace.read(located, start, length, consumer)
            return known
        asked = Deferred.fromCoroutine(self.checksum(located))
        try:
            await self._namespace.read(located, start, length, consumer)
        except BaseException:
            asked.addErrback(lambda failure: None)  # the first error is the one to tell
            raise
        return await asked

    async def stream(
        self, located: Located, start: int, length: int, download: Download
    ) -> None:
        """Bytes of a range through `download`. Raises `NodeFault` when some lack."""
        reading: Deferred[int] = Deferred.fromCoroutine(
            self._namespace.read(located, start, length, download)
        )
        self._reading = reading
        try:
            await reading
        finally:
            self._reading = None
        if download.sent_bytes != length:
            raise errors.CopyCorrupt("the copies that were read are not the file")

    async def check(self, located: Located, digest: bytes) -> None:
        """Raises `CopyCorrupt` if a whole file's sha256 is not the recorded one."""
        if not matches(await self.checksum(located), digest):
            self._corrupt(located)
            raise errors.CopyCorrupt("the copies that were read are not the file")

    def _corrupt(self, located: Located) -> None:
        self._checksums.forget(located.file.fid)
        self.log.error(
            "fid {fid}: what was read from its copies on devices {devids} is not the"
            " file; run fsck",
            fid=located.file.fid,
            devids=located.devids,
        )

    async def urls(self, domain: Domain, key: str, count: int) -> list[str]:
        """Up to `count` URLs, best first, for a client at the peer's address."""
        return await self._namespace.paths(
            domain,
            key,
            verify=False,
            count=count,
            client_ip=self.peer_ip,
            alt=False,
        )

    async def list_keys(
        self, domain: Domain, prefix: str, after: str, limit: int
    ) -> list[str]:
        """A page of keys in ascending order of bytes."""
        return await self._namespace.list_keys(domain, prefix, after, limit)

    def stat(
        self, file: Closing | Located, checksum: Checksum | None, copies: int
    ) -> Stat:
        """What is told of a file."""
        one = file.file if isinstance(file, Located) else file
        view = self._namespace.live.view
        name = view.storage_class(one.dmid, one.classid).name
        text = None if checksum is None else str(checksum)
        return Stat(one.fid, one.length, copies, text, name)

    def promise(self, closing: Closing) -> Promise:
        """What there is of the promise of a file that was just stored."""
        promises = self._namespace.promises
        return promises.of(closing.dmid, closing.classid, closing.devids)

    # --- changing

    async def remove(self, domain: Domain, key: str) -> None:
        """Delete a key (at COMMIT, if there is one). Raises `UnknownKey`."""
        transaction = self.transaction
        if transaction is None:
            await self._namespace.delete(domain, key)
            return
        transaction.room()
        last = transaction.last(domain.dmid, key)
        if isinstance(last, Removal):
            raise errors.UnknownKey()
        if last is None:
            await self._namespace.locate(domain, key)
        transaction.changes.append(Removal(domain.dmid, key))

    async def rename(self, domain: Domain, old: str, new: str) -> None:
        """Raises `UnknownKey`, `KeyExists`, `InTransaction`."""
        if self.transaction is not None:
            raise errors.InTransaction()
        await self._namespace.rename(domain, old, new)

    # --- transactions

    def begin(self) -> None:
        """Raises `InTransaction` when one is open."""
        if self.transaction is not None:
            raise errors.InTransaction()
        self.transaction = Transaction(self._seconds())

    async def commit(self) -> None:
        """All changes take effect, or an error is raised and none does.

        Without a transaction this does nothing. After a database fault it may not be
        known which of the two it was.
        """
        transaction, self.transaction = self.transaction, None
        if transaction is None or not transaction.changes:
            return
        try:
            await self._namespace.commit(transaction.changes)
        except Exception:
            # Harmless if it took effect after all: live files are left alone.
            await self._abandon_all(transaction.uploads)
            raise

    async def abort(self) -> None:
        """No change takes effect. Without a transaction this does nothing."""
        transaction, self.transaction = self.transaction, None
        if transaction is not None:
            await self._abandon_all(transaction.uploads)

    async def _abandon_all(self, uploads: Sequence[Incoming]) -> None:
        for incoming in uploads:
            await self._abandon(incoming)

    def lost(self) -> None:
        """The client is gone: stop streaming to it."""
        if self._reading is not None:
            self._reading.cancel()


def matches(wanted: Checksum | None, digest: bytes) -> bool:
    """Whether a sha256 is the wanted one; true when there is none to compare with."""
    if wanted is None or wanted.hashtype != OWN_HASHTYPE:
        return True
    return wanted.digest == digest
