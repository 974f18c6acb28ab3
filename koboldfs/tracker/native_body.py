"""The body of an upload between the socket, which pushes, and the store, which pulls.

At most `FULL_BYTES` and one read of the socket are held; then the client is paused
until the store has taken them.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred

#: When this much waits for the storage nodes, the client is paused (bytes): two reads
#: of a socket's buffer, so that one is on its way while the other is taken.
FULL_BYTES = 128 * 1024


class ClientLost(Exception):
    """The connection ended in the middle; there is nobody to answer."""


class ClientGaveUp(Exception):
    """The client said that it does not want the upload any more."""


class Body:
    """One body. `trailer` is there once `read` has returned empty bytes.

    `changed` is called whenever `full` or `awaited` may have changed.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self.size: int | None = None
        self.trailer: bytes | None = None
        self.ended = False
        self.awaited = False
        self._changed = changed
        self._pieces: list[bytes] = []
        self._held_bytes = 0
        self._discarding = False
        self._error: Exception | None = None
        self._waiter: Deferred[None] | None = None

    @property
    def full(self) -> bool:
        """Whether no more should come for now."""
        return self._held_bytes >= FULL_BYTES

    # --- the socket's side

    def begin(self, size: int) -> None:
        """The client said how many bytes come."""
        self.size = size
        self._wake()

    def push(self, data: bytes) -> None:
        """Bytes came."""
        if self._discarding:
            return
        self._pieces.append(data)
        self._held_bytes += len(data)
        self._wake()

    def end(self, trailer: bytes | None) -> None:
        """All bytes came; None: the client gave up."""
        self.ended = True
        self.trailer = trailer
        if trailer is None:
            self._error = ClientGaveUp()
        self._wake()

    def fail(self, error: Exception) -> None:
        """No more bytes will come."""
        self._error = error
        self._wake()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            self.awaited = False
            waiter.callback(None)

    # --- the store's side

    async def declared_size(self) -> int:
        """The size that a version 1 client says first. Raises `ClientLost`."""
        while self.size is None:
            await self._more()
        return self.size

    async def read(self) -> bytes:
        """What came, at least one byte; empty at the end.

        Raises `ClientLost` and `ClientGaveUp`, also when there are bytes left.
        """
        while True:
            if self._error is not None:
                raise self._error
            if self._pieces:
                pieces, self._pieces = self._pieces, []
                self._held_bytes = 0
                self._changed()
                return pieces[0] if len(pieces) == 1 else b"".join(pieces)
            if self.ended:
                return b""
            await self._more()

    def require_client(self) -> None:
        """Raises `ClientLost` when there is nobody any more to be answered."""
        if self._error is not None:
            raise self._error

    async def discard(self) -> None:
        """Throw away what comes, to its end. Raises `ClientLost`."""
        self._discarding = True
        self._pieces.clear()
        self._held_bytes = 0
        self._changed()
        while not self.ended:
            await self._more()

    async def _more(self) -> None:
        if self._error is not None:
            raise self._error
        self._waiter = Deferred()
        self.awaited = True
        self._changed()
        await self._waiter
