"""The bytes of a GET on their way to a reader: exactly those that were asked for.

no range asked    200, Content-Length or chunked
range asked       206 with the right Content-Range; or 200: we skip and cut
                  416: there are no bytes at or after `start`
"""

from __future__ import annotations

import re
from typing import Any

from twisted.logger import Logger

from koboldfs.client.http_connection import Answer
from koboldfs.errors import NodeFault

_CONTENT_RANGE = re.compile(
    rb"bytes ([0-9]{1,19})-([0-9]{1,19})/(?:([0-9]{1,19})|\*)", re.ASCII
)


def range_header(start: int, length: int | None) -> bytes:
    """The header that asks for these bytes; empty for all of them."""
    if length is not None:
        return b"Range: bytes=%d-%d\r\n" % (start, start + length - 1)
    return b"Range: bytes=%d-\r\n" % start if start else b""


class RangeSink:
    """Passes bytes `start` to `start + length` on to an IConsumer, and counts them.

    `length` None means all that follow. The consumer has a producer for as long as
    bytes flow, until `close`; it may pause it.
    """

    log = Logger()

    def __init__(
        self, peer: str, start: int, length: int | None, consumer: Any
    ) -> None:
        self.count = 0
        #: Bytes that must come in all, as far as the node has said; None: it has not.
        self.expected: int | None = None
        self._peer = peer
        self._start = start
        self._length = length
        self._consumer = consumer
        self._skip = 0
        self._goes_on = False
        self._registered = False

    def accepts(self, answer: Answer, length: int | None, producer: Any) -> bool:
        """See `http_connection.Sink`."""
        if answer.status == 206:
            self._check_range(answer, length)
        elif answer.status == 200:
            self._skip = self._start
            if length is not None:
                self.expected = self._wanted(length)
                self._goes_on = length > self._start + self.expected
        else:
            return False
        self._registered = True
        self._consumer.registerProducer(producer, True)
        return True

    def received(self, data: bytes) -> bool:
        """See `http_connection.Sink`: all is had, but the answer goes on. (An answer
        that ends where we do leaves a connection that can be used again.)"""
        if self._skip:
            skipped = min(self._skip, len(data))
            self._skip -= skipped
            data = data[skipped:]
        if self._length is not None and self.count + len(data) > self._length:
            data = data[: self._length - self.count]
            self._goes_on = True
        self.count += len(data)
        if data:
            try:
                self._consumer.write(data)
            except NodeFault:
                raise
            except Exception as error:
                self.log.failure(
                    "a reader of bytes from {peer} failed", peer=self._peer
                )
                raise NodeFault("the reader failed") from error
        return not (self._goes_on and self.count == self._length)

    def close(self) -> None:
        """No more bytes will come, whatever the reason."""
        if self._registered:
            self._registered = False
            self._consumer.unregisterProducer()

    def _wanted(self, total: int) -> int:
        """How many of a file's bytes were asked for."""
        rest = max(0, total - self._start)
        return rest if self._length is None else min(rest, self._length)

    def _check_range(self, answer: Answer, length: int | None) -> None:
        match = _CONTENT_RANGE.fullmatch(answer.headers.get(b"content-range", b""))
        if match is None:
            raise NodeFault(f"{self._peer}: 206 without its range")
        first, last = int(match[1]), int(match[2])
        self.expected = last - first + 1
        wrong = first != self._start or self.expected < 1
        if match[3] is not None:
            wrong = wrong or self.expected != self._wanted(int(match[3]))
        elif self._length is not None:
            wrong = wrong or self.expected > self._length
        if wrong or (length is not None and length != self.expected):
            raise NodeFault(f"{self._peer}: 206 with another range than asked for")
