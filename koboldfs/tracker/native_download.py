"""A file on its way from a storage node through us to a native client.

`Download` stands between the node's producer and the client's transport: it digests
what passes, puts the protocol's words around it, and lets the transport pause the
producer. `Collection` takes a small file whole, so that it is checked before its first byte goes
out and leaves in one packet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.interfaces import IConsumer, IPushProducer
from zope.interface import implementer

from koboldfs.wire.native import u32

#: Files up to this size (bytes) are collected; what a socket takes at once.
SMALL_BYTES = 64 * 1024


@implementer(IConsumer)
class Collection:
    """Takes a whole small file; never pauses its producer, for the size is bounded."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    @property
    def data(self) -> bytes:
        """What came."""
        return self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """See `IConsumer`; a pull producer is refused."""
        if not streaming:
            raise ValueError("only push producers are known here")

    def unregisterProducer(self) -> None:
        """See `IConsumer`."""

    def write(self, data: bytes) -> None:
        """See `IConsumer`."""
        self._pieces.append(data)


@implementer(IConsumer, IPushProducer)
class Download:
    """Bytes to the client as they come; `head` goes out with the first of them.

    `chunked`: every piece is preceded by its length (version 2). `digests` are fed with
    all that passes. `paused_at` is the time (seconds) since when the client takes
    nothing, None while it does.
    """

    def __init__(
        self,
        transport: Any,
        head: bytes,
        digests: Sequence[Any],
        seconds: Callable[[], float],
        *,
        chunked: bool,
    ) -> None:
        self.begun = False
        self.sent_bytes = 0
        self.paused_at: float | None = None
        self._transport: Any = transport
        self._head = head
        self._digests = digests
        self._seconds = seconds
        self._chunked = chunked
        self._producer: Any = None

    # --- IConsumer, towards the node

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """See `IConsumer`; a pull producer is refused."""
        if not streaming:
            raise ValueError("only push producers are known here")
        self._producer = producer
        self.paused_at = None
        self._transport.registerProducer(self, True)

    def unregisterProducer(self) -> None:
        """See `IConsumer`."""
        self._producer = None
        self.paused_at = None
        self._transport.unregisterProducer()

    def write(self, data: bytes) -> None:
        """See `IConsumer`."""
        if not data:
            return
        for digest in self._digests:
            digest.update(data)
        self.sent_bytes += len(data)
        parts = [u32(len(data)), data] if self._chunked else [data]
        if not self.begun:
            self.begun = True
            parts.insert(0, self._head)
        self._transport.writeSequence(parts)

    # --- IPushProducer, towards the transport

    def pauseProducing(self) -> None:
        """See `IPushProducer`."""
        self.paused_at = self._seconds()
        if self._producer is not None:
            self._producer.pauseProducing()

    def resumeProducing(self) -> None:
        """See `IPushProducer`."""
        self.paused_at = None
        if self._producer is not None:
            self._producer.resumeProducing()

    def stopProducing(self) -> None:
        """See `IPushProducer`."""
        self.paused_at = None
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.stopProducing()
