"""Small files that arrive together are written together.

While a device's batch thread is at work, files gather; when it is done, all that
gathered (to a limit) are written, flushed with ONE flush of the file system, named, and
their folders flushed once. An idle device gets a batch of one, at once. A file that
fails for a reason of its own does not fail its neighbours; a flush that fails does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from koboldfs.errors import KoboldError, TooBusy
from koboldfs.storage.devices import Device
from koboldfs.storage.disk import IDisk
from koboldfs.storage.lanes import ILanes
from koboldfs.storage.temporary import Expected, Stored, TemporaryFile, unplace

#: Files of a batch: enough to share one flush, few enough to be done soon.
MAX_BATCH_FILES = 64
#: Files that may wait for a device; each holds at most `upload.SMALL_BYTES`.
MAX_WAITING_FILES = 1024


class FlushFailed(OSError):
    """What was written is not known to be on stable storage."""


@frozen(eq=False)
class SmallFile:
    """A whole file in memory, its path below the device, and what it must be."""

    relative: str
    chunks: tuple[bytes, ...]
    expected: Expected


class SmallWrites:
    """The small files that wait for one device."""

    def __init__(self, lanes: ILanes, disk: IDisk, device: Device, fsync: bool) -> None:
        self._lanes = lanes
        self._disk = disk
        self._device = device
        self._fsync = fsync
        self._waiting: deque[tuple[SmallFile, Deferred[Stored]]] = deque()
        self._busy = False

    def add(self, file: SmallFile) -> Deferred[Stored]:
        """Write it; fires when it is durable and in its place, or with the error
        that left nothing behind. Raises `TooBusy`."""
        if len(self._waiting) >= MAX_WAITING_FILES:
            raise TooBusy
        result: Deferred[Stored] = Deferred()
        self._waiting.append((file, result))
        if not self._busy:
            self._begin()
        return result

    def _begin(self) -> None:
        waiting = self._waiting
        count = min(MAX_BATCH_FILES, len(waiting))
        batch = [waiting.popleft() for _ in range(count)]
        self._busy = True
        self._lanes.run(
            self._device.devid,
            "batch",
            write_batch,
            self._disk,
            self._device.path,
            [file for file, _ in batch],
            self._fsync,
        ).addBoth(self._done, [result for _, result in batch])

    def _done(
        self,
        outcomes: list[Stored | Exception] | Failure,
        results: list[Deferred[Stored]],
    ) -> None:
        # The next batch starts before anybody is told: the disk does not wait for
        # answers to be written.
        self._busy = False
        if self._waiting:
            self._begin()
        for number, result in enumerate(results):
            if isinstance(outcomes, Failure):
                result.errback(outcomes)
                continue
            outcome = outcomes[number]
            if isinstance(outcome, Exception):
                result.errback(Failure(outcome))
            else:
                result.callback(outcome)


def write_batch(
    disk: IDisk, root: str, files: Sequence[SmallFile], fsync: bool
) -> list[Stored | Exception]:
    """Write the files; for each, what it is now or why it is not there. Blocks."""
    outcomes: list[Stored | Exception | None] = [None] * len(files)
    written: list[tuple[int, TemporaryFile]] = []
    for number, file in enumerate(files):
        temporary = TemporaryFile(disk, root, file.expected.hashtypes())
        try:
            temporary.open()
            temporary.write(file.chunks)
            temporary.check(file.expected)
            written.append((number, temporary))
        except (OSError, KoboldError) as error:
            temporary.discard()
            outcomes[number] = error
    if fsync and written:
        try:
            disk.sync([temporary.fd for _, temporary in written])
        except OSError as error:
            for number, temporary in written:
                temporary.discard()
                outcomes[number] = flush_failed(error)
            written = []
    _place_all(disk, root, files, written, outcomes, fsync)
    return [outcome for outcome in outcomes if outcome is not None]


def _place_all(
    disk: IDisk,
    root: str,
    files: Sequence[SmallFile],
    written: Sequence[tuple[int, TemporaryFile]],
    outcomes: list[Stored | Exception | None],
    fsync: bool,
) -> None:
    folders: dict[str, None] = {}
    placed: list[tuple[int, Stored]] = []
    for number, temporary in written:
        try:
            temporary.seal()
            stored, changed = temporary.place(files[number].relative)
        except OSError as error:
            temporary.discard()
            outcomes[number] = error
            continue
        folders.update(dict.fromkeys(changed))
        placed.append((number, stored))
        outcomes[number] = stored
    if not fsync:
        return
    try:
        for folder in folders:
            disk.sync_folder(folder)
    except OSError as error:
        for number, stored in placed:
            unplace(disk, root, files[number].relative, stored)
            outcomes[number] = flush_failed(error)


def flush_failed(error: OSError) -> FlushFailed:
    """The same error, known to be one of flushing."""
    return FlushFailed(error.errno, error.strerror)
