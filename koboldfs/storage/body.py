"""A long file on its way out.

`FileBody`: read in threads, one piece ahead of what is being sent. The consumer (the
HTTP channel) pauses us when it has enough; then one piece is with it and one is ready
here, so a transfer holds about two pieces, whatever the file's length.

`PassedBody`: sent by the kernel, in threads, where there is a `Passage`; a transfer
holds nothing. When the socket takes no more, the channel says when it does again.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from zope.interface import implementer

from koboldfs.errors import DiskFault

#: How much is read at once (bytes): fewer change-overs between threads per byte.
PIECE_BYTES = 256 * 1024
#: How much is passed on in one go (bytes): other files of the device have their turn.
PASS_BYTES = 4 * 1024 * 1024
#: A peer that has not taken a single piece for this long is given up (seconds).
STALL_SECONDS = 120.0


class BodyBroken(DiskFault):
    """The file's bytes cannot be had, or nobody takes them."""


@implementer(IPushProducer)
class _Body:
    """The bytes ``start <= offset < stop`` of an open file."""

    def __init__(self, clock: IReactorTime, start: int, stop: int) -> None:
        self._clock = clock
        self._offset = start
        self._stop = stop
        self._stopped = False
        self._paused: Deferred[None] | None = None
        self._stall: IDelayedCall | None = None

    async def _wait(self) -> None:
        """While it is paused; raises `BodyBroken` when that is too long."""
        if self._paused is not None:
            self._stall = self._clock.callLater(STALL_SECONDS, self._stalled)
            await self._paused
            self._end_stall()

    def _end_stall(self) -> None:
        stall, self._stall = self._stall, None
        if stall is not None and stall.active():
            stall.cancel()

    def _stalled(self) -> None:
        paused, self._paused = self._paused, None
        self._stopped = True
        if paused is not None:
            paused.errback(BodyBroken("the peer takes no bytes"))

    def pauseProducing(self) -> None:
        """The consumer has enough for now."""
        if self._paused is None:
            self._paused = Deferred()

    def resumeProducing(self) -> None:
        """The consumer wants more."""
        paused, self._paused = self._paused, None
        if paused is not None:
            paused.callback(None)

    def stopProducing(self) -> None:
        """The consumer is gone."""
        self._stopped = True
        self.resumeProducing()


class FileBody(_Body):
    """Sends the bytes ``start <= offset < stop`` of an open file.

    `read(length, offset)` fires with bytes. `write` takes a piece. After `run` has
    ended, however it ended, nothing reads the file any more.
    """

    def __init__(
        self,
        clock: IReactorTime,
        read: Callable[[int, int], Deferred[bytes]],
        write: Callable[[bytes], object],
        start: int,
        stop: int,
    ) -> None:
        super().__init__(clock, start, stop)
        self._read = read
        self._write = write

    async def run(self) -> bool:
        """Send it all; False when the consumer wanted no more. Raises `BodyBroken`
        when the file is shorter than it was or the peer stalls, and `OSError`."""
        reading: Deferred[bytes] | None = self._next()
        try:
            while reading is not None:
                data, reading = await reading, None
                if self._stopped:
                    break
                if not data:
                    raise BodyBroken("the file ended before its length")
                self._offset += len(data)
                reading = self._next()
                self._write(data)
                del data
                await self._wait()
        finally:
            self._end_stall()
            if reading is not None:
                reading.addErrback(lambda failure: None)
                await reading
        return not self._stopped

    def _next(self) -> Deferred[bytes] | None:
        left = self._stop - self._offset
        if left <= 0 or self._stopped:
            return None
        return self._read(min(PIECE_BYTES, left), self._offset)


class PassedBody(_Body):
    """Passes the bytes on without having them.

    `send(length, offset)` fires with how many the socket took; when these are not all,
    `full` is called, and some time later `resumeProducing`. After `run` has ended,
    nothing is sent any more, unless the disk hangs.
    """

    def __init__(
        self,
        clock: IReactorTime,
        send: Callable[[int, int], Deferred[int]],
        full: Callable[[], object],
        start: int,
        stop: int,
    ) -> None:
        super().__init__(clock, start, stop)
        self._send = send
        self._full = full

    async def run(self) -> bool:
        """As that of `FileBody`."""
        try:
            await self._wait()
            while self._offset < self._stop and not self._stopped:
                wanted = min(PASS_BYTES, self._stop - self._offset)
                sent = await self._send(wanted, self._offset)
                self._offset += sent
                if sent < wanted and not self._stopped:
                    self.pauseProducing()
                    self._full()
                    await self._wait()
        finally:
            self._end_stall()
        return not self._stopped
