"""One file on its way in: bytes are taken as they come, and nothing is there before
all of it is.

A file of at most `SMALL_BYTES` is kept in memory and written by `SmallWrites`, in one
step. A longer one goes to a temporary file, piece by piece, in the device's threads:

    bytes -> waiting (bounded by the caller, who looks at `congested`) -> one write at a
    time -> finish: the rest, check, flush, rename, flush of the folders
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from zope.interface import Interface, implementer

from koboldfs.storage.batch import SmallFile, SmallWrites, flush_failed
from koboldfs.storage.device import Device
from koboldfs.storage.disk import IDisk
from koboldfs.storage.lanes import ILanes
from koboldfs.storage.temporary import Expected, Stored, TemporaryFile, unplace

#: Files up to this many bytes are written in one step.
SMALL_BYTES = 64 * 1024
#: With more than this waiting to be written (bytes), the sender is to pause; what is
#: being written comes on top, so a transfer holds about twice as much.
CONGESTED_BYTES = 512 * 1024
#: A long file is flushed as often as this (bytes), so that the last flush, for which
#: the client waits, is short: trackers of MogileFS wait two seconds for an answer.
FLUSH_EVERY_BYTES = 64 * 1024 * 1024
#: The disk begins to write as soon as so much is there (bytes), while the next comes.
BEGIN_SYNC_BYTES = 4 * 1024 * 1024


class IUpload(Interface):
    """A file being stored, for whoever has its bytes."""

    def write(data: bytes) -> None:
        """Take bytes. After it, look at `congested`."""

    def finish(expected: Expected | None = None) -> Deferred[Stored]:
        """No more bytes; fires when the file is durable and in its place."""

    def abort() -> None:
        """Forget it; nothing is left behind."""


@implementer(IUpload)
class Upload:
    """See `IUpload`. Checksums of `hashtypes` can be expected at the end; those of
    short files, and our own type, always. `relieved` is called when it is congested
    no more, `failed` when it is known that the file can not be stored; `finish` fails
    with the same."""

    #: Whether the file is made from the one that it replaces: then also a short one
    #: needs a temporary file, and one whose name may not be durable is left there,
    #: because nothing else is.
    _replaces = False

    def __init__(
        self,
        disk: IDisk,
        lanes: ILanes,
        small: SmallWrites,
        device: Device,
        relative: str,
        expected: Expected,
        hashtypes: frozenset[int],
        fsync: bool,
    ) -> None:
        self._disk = disk
        self._lanes = lanes
        self._small = small
        self._device = device
        self._relative = relative
        self._expected = expected
        self._hashtypes = hashtypes
        self._fsync = fsync
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._unflushed_bytes = 0
        self._begun_bytes = 0
        self._file: TemporaryFile | None = None
        self._busy = False
        self._writing: Deferred[None] | None = None
        self._failure: BaseException | None = None
        self._over = False
        #: Whether nobody is likely to read it soon: what is flushed of a long file then
        #: leaves the memory of the system to others.
        self.forgets = False
        self.relieved: Callable[[], None] = lambda: None
        self.failed: Callable[[], None] = lambda: None

    @property
    def congested(self) -> bool:
        """Whether the sender should pause until `relieved` is called."""
        return self._waiting_bytes > CONGESTED_BYTES

    @property
    def failure(self) -> BaseException | None:
        """Why the file can not be stored, once that is known."""
        return self._failure

    def write(self, data: bytes) -> None:
        """See `IUpload`."""
        if self._over or self._failure is not None:
            return
        self._waiting.append(data)
        self._waiting_bytes += len(data)
        if not self._busy and (
            self._file is not None or self._waiting_bytes > SMALL_BYTES
        ):
            self._busy = True
            running = Deferred.fromCoroutine(self._write_waiting())
            if self._busy:
                self._writing = running

    async def _write_waiting(self) -> None:
        try:
            while self._waiting and not self._over:
                congested = self.congested
                chunks, self._waiting = self._waiting, []
                self._waiting_bytes = 0
                writing = self._run(self._write_chunks, chunks)
                if congested:
                    self.relieved()
                await writing
        except Exception as error:
            self._failure = error
            self._waiting, self._waiting_bytes = [], 0
        finally:
            self._busy, self._writing = False, None
        if self._over:
            self._discard()
        elif self._failure is not None:
            self._discard()
            self.failed()

    def finish(self, expected: Expected | None = None) -> Deferred[Stored]:
        """See `IUpload`. `expected` replaces what was announced at the beginning."""
        if expected is not None:
            self._expected = expected
        return Deferred.fromCoroutine(self._finish())

    async def _finish(self) -> Stored:
        while self._writing is not None:
            await _after(self._writing)
        if self._failure is not None:
            raise self._failure
        self._over = True
        chunks, self._waiting = tuple(self._waiting), []
        if self._file is None and not self._replaces:
            file = SmallFile(self._relative, chunks, self._expected)
            return await self._small.add(file)
        return await self._last_step(chunks)

    async def _last_step(self, chunks: tuple[bytes, ...]) -> Stored:
        return await self._run(self._commit, chunks)

    def abort(self) -> None:
        """See `IUpload`."""
        if self._over:
            return
        self._over = True
        self._waiting, self._waiting_bytes = [], 0
        if not self._busy:
            self._discard()

    def _run(self, work: Callable[..., object], *arguments: object) -> Deferred[Stored]:
        return self._lanes.run(self._device.devid, "write", work, *arguments)

    def _discard(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            self._run(file.discard)

    # --- in threads, one call at a time

    def _write_chunks(self, chunks: list[bytes]) -> None:
        file = self._file
        if file is None:
            file = TemporaryFile(self._disk, self._device.path, self._hashtypes)
            file.open()
            self._file = file
        before = file.size
        file.write(chunks)
        self._unflushed_bytes += file.size - before
        if self._fsync and file.size - self._begun_bytes >= BEGIN_SYNC_BYTES:
            begun, self._begun_bytes = self._begun_bytes, file.size
            self._disk.begin_sync(file.fd, begun, file.size - begun)
        if self._fsync and self._unflushed_bytes >= FLUSH_EVERY_BYTES:
            self._flush(file)
            if self.forgets:
                start = file.size - self._unflushed_bytes
                self._disk.forget(file.fd, start, self._unflushed_bytes)
            self._unflushed_bytes = 0

    def _commit(self, chunks: tuple[bytes, ...]) -> Stored:
        file, self._file = self._file, None
        assert file is not None
        try:
            file.write(chunks)
            file.check(self._expected)
            return self._put_in_place(file)
        except BaseException:
            file.discard()
            raise

    def _put_in_place(self, file: TemporaryFile) -> Stored:
        if self._fsync:
            self._flush(file)
        file.seal()
        stored, folders = file.place(self._relative)
        if self._fsync:
            try:
                for folder in folders:
                    self._disk.sync_folder(folder)
            except OSError as error:
                if not self._replaces:
                    unplace(self._disk, self._device.path, self._relative, stored)
                raise flush_failed(error) from error
        return stored

    def _flush(self, file: TemporaryFile) -> None:
        try:
            self._disk.sync([file.fd])
        except OSError as error:
            raise flush_failed(error) from error


def _after(running: Deferred[None]) -> Deferred[None]:
    """Fires when `running` has, without taking its result."""
    result: Deferred[None] = Deferred()

    def pass_on(value: None) -> None:
        result.callback(None)
        return value

    running.addCallback(pass_on)
    return result
