"""Small files that arrive together are written together.

While a device's batch thread is at work, files gather; when it is done, all that
gathered (to a limit) are written, flushed with ONE flush of the file system, and named.
The new names must be flushed, too; when the next batch waits already, its flush does
both, and the files are answered after that:

    batch 1   write  FLUSH  name
    batch 2                       write  FLUSH  name          answer batch 1
    (nobody waits)                                    FLUSH   answer batch 2

An idle device gets a batch of one, at once. A file that fails for a reason of its own
does not fail its neighbours; a flush that fails does, those of the batch before, too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from koboldfs.errors import DeviceUnavailable, KoboldError, TooBusy
from koboldfs.storage.device import Device
from koboldfs.storage.disk import IDisk
from koboldfs.storage.lanes import ILanes
from koboldfs.storage.temporary import Expected, Stored, TemporaryFile, unplace

#: Files of a batch: enough to share one flush, few enough to be done soon.
MAX_BATCH_FILES = 64
#: Files that may wait for a device; each holds at most `upload.SMALL_BYTES`.
MAX_WAITING_FILES = 1024
#: A file that is not stored after this long has a disk that hangs (seconds).
STORE_SECONDS = 120.0


class FlushFailed(OSError):
    """What was written is not known to be on stable storage."""


@frozen(eq=False)
class SmallFile:
    """A whole file in memory, its path below the device, and what it must be."""

    relative: str
    chunks: tuple[bytes, ...]
    expected: Expected


@frozen(eq=False)
class Placed:
    """A durable file with a name that may not be: flush the `folders`."""

    relative: str
    stored: Stored
    folders: tuple[str, ...]


Outcome = Stored | Exception


@define(eq=False)
class BatchDone:
    """What became of a batch, file by file, and of the one `before`. A file that is
    `Placed` is to be handed in with the next batch."""

    before: list[Outcome] = field(factory=list)
    outcomes: list[Outcome | Placed] = field(factory=list)


class SmallWrites:
    """The small files that wait for one device."""

    def __init__(
        self,
        lanes: ILanes,
        disk: IDisk,
        device: Device,
        clock: IReactorTime,
        *,
        fsync: bool,
    ) -> None:
        self._clock = clock
        self._deadlines: deque[tuple[float, Deferred[Stored]]] = deque()
        self._deadline: IDelayedCall | None = None
        self._lanes = lanes
        self._disk = disk
        self._device = device
        self._fsync = fsync
        self._waiting: deque[tuple[SmallFile, Deferred[Stored]]] = deque()
        self._placed: list[tuple[Placed, Deferred[Stored]]] = []
        self._busy = False

    def add(self, file: SmallFile) -> Deferred[Stored]:
        """Write it; fires when it is durable and in its place, or with the error
        that left nothing behind; or, after `STORE_SECONDS`, with
        `DeviceUnavailable`, whatever comes of it. Raises `TooBusy`."""
        if len(self._waiting) >= MAX_WAITING_FILES:
            raise TooBusy
        result: Deferred[Stored] = Deferred()
        self._waiting.append((file, result))
        self._deadlines.append((self._clock.seconds() + STORE_SECONDS, result))
        if self._deadline is None:
            self._deadline = self._clock.callLater(STORE_SECONDS, self._overdue)
        if not self._busy:
            self._begin()
        return result

    def _overdue(self) -> None:
        """Give up what waits for too long. One timer for all: it is moved when it
        goes off, and not when a file is done, which is far more often."""
        self._deadline = None
        now, deadlines = self._clock.seconds(), self._deadlines
        late: list[Deferred[Stored]] = []
        while deadlines and (deadlines[0][1].called or deadlines[0][0] <= now):
            late.append(deadlines.popleft()[1])
        if deadlines:
            self._deadline = self._clock.callLater(deadlines[0][0] - now, self._overdue)
        error = DeviceUnavailable(f"dev{self._device.devid} does not answer")
        for result in late:
            if not result.called:
                result.errback(Failure(error))

    def stop(self) -> None:
        """Forget the deadlines: the node stops, and no file is waited for."""
        deadline, self._deadline = self._deadline, None
        if deadline is not None:
            deadline.cancel()
        self._deadlines.clear()

    def _begin(self) -> None:
        waiting = self._waiting
        count = min(MAX_BATCH_FILES, len(waiting))
        batch = [waiting.popleft() for _ in range(count)]
        placed, self._placed = self._placed, []
        self._busy = True
        self._lanes.run(
            self._device.devid,
            "batch",
            write_batch,
            self._disk,
            self._device.path,
            [file for file, _ in batch],
            self._fsync,
            [one for one, _ in placed],
            waiting.__len__,
        ).addBoth(
            self._done,
            [result for _, result in placed],
            [result for _, result in batch],
        )

    def _done(
        self,
        done: BatchDone | Failure,
        before: list[Deferred[Stored]],
        results: list[Deferred[Stored]],
    ) -> None:
        finished: list[tuple[Deferred[Stored], Outcome | Failure]] = []
        if isinstance(done, Failure):
            finished = [(result, done) for result in (*before, *results)]
        else:
            finished = list(zip(before, done.before, strict=True))
            for result, outcome in zip(results, done.outcomes, strict=True):
                if isinstance(outcome, Placed):
                    self._placed.append((outcome, result))
                else:
                    finished.append((result, outcome))
        # The next batch starts before anybody is told: the disk does not wait for
        # answers to be written.
        self._busy = False
        if self._waiting or self._placed:
            self._begin()
        for result, end in finished:
            if result.called:
                continue  # it was given up
            if isinstance(end, Stored):
                result.callback(end)
            else:
                result.errback(end if isinstance(end, Failure) else Failure(end))
        while self._deadlines and self._deadlines[0][1].called:
            self._deadlines.popleft()


def write_batch(
    disk: IDisk,
    root: str,
    files: Sequence[SmallFile],
    fsync: bool,
    before: Sequence[Placed] = (),
    more: Callable[[], int] = lambda: 0,
) -> BatchDone:
    """Write the files, and make those `before` durable for good. Blocks. When `more`
    says at the end that others wait, the names are left for their flush."""
    done = BatchDone([one.stored for one in before])
    written = _write_all(disk, root, files, done)
    if fsync:
        written = _flush(disk, root, before, written, done)
    placed = _place_all(files, written, done)
    if fsync and placed and more():
        return done
    settled: list[Outcome] = [one.stored for one in placed.values()]
    if fsync and placed:
        settled = _flush_names(disk, root, list(placed.values()))
    for number, outcome in zip(placed, settled, strict=True):
        done.outcomes[number] = outcome
    return done


#: What no file's outcome is in the end.
_UNTOLD = AssertionError("an outcome is missing")
_Written = list[tuple[int, TemporaryFile]]


def _write_all(
    disk: IDisk, root: str, files: Sequence[SmallFile], done: BatchDone
) -> _Written:
    written: _Written = []
    for number, file in enumerate(files):
        temporary = TemporaryFile(disk, root, file.expected.hashtypes())
        done.outcomes.append(_UNTOLD)
        try:
            temporary.open()
            temporary.write(file.chunks)
            temporary.check(file.expected)
            written.append((number, temporary))
        except (OSError, KoboldError) as error:
            temporary.discard()
            done.outcomes[number] = error
    return written


def _flush(
    disk: IDisk,
    root: str,
    before: Sequence[Placed],
    written: _Written,
    done: BatchDone,
) -> _Written:
    names_too = False
    if written:
        fds = [temporary.fd for _, temporary in written]
        try:
            names_too = disk.sync(fds, everything=bool(before))
        except OSError as error:
            for number, temporary in written:
                temporary.discard()
                done.outcomes[number] = flush_failed(error)
            # The failure may be that of their names, and a disk tells it only once:
            # another flush that goes well proves nothing.
            done.before = _unplace_all(disk, root, before, error)
            return []
    if before and not names_too:
        done.before = _flush_names(disk, root, before)
    return written


def _place_all(
    files: Sequence[SmallFile], written: _Written, done: BatchDone
) -> dict[int, Placed]:
    placed: dict[int, Placed] = {}
    for number, temporary in written:
        relative = files[number].relative
        try:
            temporary.seal()
            stored, folders = temporary.place(relative)
        except OSError as error:
            temporary.discard()
            done.outcomes[number] = error
            continue
        placed[number] = Placed(relative, stored, tuple(folders))
        done.outcomes[number] = placed[number]
    return placed


def _flush_names(disk: IDisk, root: str, placed: Sequence[Placed]) -> list[Outcome]:
    folders = dict.fromkeys(folder for one in placed for folder in one.folders)
    try:
        for folder in folders:
            disk.sync_folder(folder)
    except OSError as error:
        return _unplace_all(disk, root, placed, error)
    return [one.stored for one in placed]


def _unplace_all(
    disk: IDisk, root: str, placed: Sequence[Placed], error: OSError
) -> list[Outcome]:
    for one in placed:
        unplace(disk, root, one.relative, one.stored)
    return [flush_failed(error) for _ in placed]


def flush_failed(error: OSError) -> FlushFailed:
    """The same error, known to be one of flushing."""
    return FlushFailed(error.errno, error.strerror)
