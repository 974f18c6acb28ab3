"""A file on its way from a storage node through us to a native client.

`Download` stands between the node's producer and the client's transport: it digests
what passes, puts the protocol's words around it, and lets a slow client pause the
producer. `Collection` takes a small file whole, so that it is checked before its first
byte goes out and leaves in one packet.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.interfaces import IConsumer
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


@implementer(IConsumer)
class Download:
    """Bytes to the client as they come; `head` goes out with the first of them.

    `chunked`: every piece is preceded by its length (version 2). `digests` are fed with
    all that passes. Whoever owns the transport says `pause`, `resume` and `stop`.
    """

    def __init__(
        self,
        transport: Any,
        head: bytes,
        digests: Sequence[Any],
        *,
        chunked: bool,
        paused: bool = False,
    ) -> None:
        self.begun = False
        self.sent_bytes = 0
        self._transport: Any = transport
        self._head = head
        self._digests = digests
        self._chunked = chunked
        self._paused = paused
        self._stopped = False
        self._producer: Any = None

    # --- IConsumer, towards the node

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """See `IConsumer`; a pull producer is refused."""
        if not streaming:
            raise ValueError("only push producers are known here")
        if self._stopped:
            producer.stopProducing()
            return
        self._producer = producer
        if self._paused:
            producer.pauseProducing()

    def unregisterProducer(self) -> None:
        """See `IConsumer`."""
        self._producer = None

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

    # --- the transport's side

    def pause(self) -> None:
        """The client does not take bytes as fast as they come."""
        self._paused = True
        if self._producer is not None:
            self._producer.pauseProducing()

    def resume(self) -> None:
        """The client took what there was."""
        self._paused = False
        if self._producer is not None:
            self._producer.resumeProducing()

    def stop(self) -> None:
        """The client is gone."""
        self._stopped = True
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.stopProducing()
