"""Consumers of a copy's bytes: one digests them, one stores them elsewhere."""

from __future__ import annotations

import hashlib
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IPushProducer
from twisted.python.failure import Failure
from zope.interface import implementer

from koboldfs.client.http_upload import Upload
from koboldfs.errors import CopyCorrupt, NodeFault
from koboldfs.model.entities import HASHLIB_NAMES, OWN_HASHTYPE, Checksum


@implementer(IConsumer)
class Digester:
    """Digests what is written to it and keeps nothing."""

    def __init__(self, hashtype: int) -> None:
        self._hashtype = hashtype
        # By its name from the module: `hashlib.new` takes four times as long.
        self._digest = getattr(hashlib, HASHLIB_NAMES[hashtype])(usedforsecurity=False)

    def write(self, data: bytes) -> None:
        """Take bytes."""
        self._digest.update(data)

    def checksum(self) -> Checksum:
        """The digest of all that was written."""
        return Checksum(self._hashtype, self._digest.digest())

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Bytes will come; they are taken as fast as they do."""

    def unregisterProducer(self) -> None:
        """No more bytes will come."""


@implementer(IConsumer)
class Relay:
    """Stores what is written to it with an `Upload`, at the pace of the slower side.

    `failure` is what went wrong on the storing side, which the reading side only sees
    as a reader that went away.
    """

    def __init__(self, upload: Upload, size: int) -> None:
        self.count = 0
        self.failure: NodeFault | None = None
        self._upload = upload
        self._size = size
        self._digester = Digester(OWN_HASHTYPE)
        self._producer: IPushProducer | None = None
        self._writing = 0

    def checksum(self) -> Checksum:
        """KoboldFS's own checksum of all that was written."""
        return self._digester.checksum()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Bytes will come from a push producer."""
        self._producer = producer

    def unregisterProducer(self) -> None:
        """No more bytes will come."""
        self._producer = None

    def write(self, data: bytes) -> None:
        """Pass bytes on; pauses the producer until the upload wants more. Raises
        `CopyCorrupt` for more bytes than the file has."""
        self.count += len(data)
        if self.count > self._size:
            raise CopyCorrupt(f"more than the {self._size} bytes of the file")
        self._digester.write(data)
        self._writing += 1
        written = Deferred.fromCoroutine(self._upload.write(data))
        if not written.called and self._producer is not None:
            self._producer.pauseProducing()
        written.addCallbacks(self._written, self._failed)

    def _written(self, _: None) -> None:
        self._writing -= 1
        if self._writing == 0 and self._producer is not None:
            self._producer.resumeProducing()

    def _failed(self, failure: Failure) -> None:
        self._writing -= 1
        if self.failure is None:
            error = failure.value
            self.failure = (
                error if isinstance(error, NodeFault) else NodeFault(str(error))
            )
        if self._producer is not None:
            self._producer.stopProducing()
