"""A long file on its way out: read in threads, one piece ahead of what is being sent.

The consumer (the HTTP channel) pauses us when it has enough; then one piece is with it
and one is ready here, so a transfer holds about two pieces, whatever the file's length.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from zope.interface import implementer

from koboldfs.errors import DiskFault

#: How much is read at once (bytes): fewer change-overs between threads per byte.
PIECE_BYTES = 256 * 1024
#: A peer that has not taken a single piece for this long is given up (seconds).
STALL_SECONDS = 120.0


class BodyBroken(DiskFault):
    """The file's bytes cannot be had, or nobody takes them."""


@implementer(IPushProducer)
class FileBody:
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
        self._clock = clock
        self._read = read
        self._write = write
        self._offset = start
        self._stop = stop
        self._stopped = False
        self._paused: Deferred[None] | None = None
        self._stall: IDelayedCall | None = None

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
                if self._paused is not None:
                    self._watch_stall()
                    await self._paused
                    self._end_stall()
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

    def _watch_stall(self) -> None:
        self._stall = self._clock.callLater(STALL_SECONDS, self._stalled)

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
