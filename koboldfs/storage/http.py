"""The storage node's HTTP door. (`koboldfs.wire.http` has the grammar of paths.)

    GET HEAD  copy, test, usage   200, 206, 304, 404, 412, 416
    PUT       copy, test          201 when the file is durable and in its place
    DELETE    copy, test          204, or 404 when it was not there
    MKCOL     folder              201; uploads make what folders they need
    PUT       with Content-Range  201; see `storage.part`
    MOVE      copy                201, or 204 when it replaced a file; within a device
    anything else                 405 with Allow, or 404 for a path that names nothing

    400  Content-MD5, a trailer, or the body is not what was announced
    411  a PUT without a length     413  a body that nobody asked for, or no file's size
    403  a MOVE to another device   503  the device is not available, or takes no writes
    507  the device is full         500  the disk failed

Bodies of errors are one line. When a PUT is refused while its body is still coming,
the answer is sent at once and the connection closed after the body, which is thrown
away; a short body is taken first, and the connection kept.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from koboldfs.errors import (
    DeviceUnavailable,
    KoboldError,
)
from koboldfs.model.entities import MD5, Checksum
from koboldfs.storage.body import BodyBroken, FileBody, PassedBody
from koboldfs.storage.channel import StorageChannel
from koboldfs.storage.copies import INLINE_BYTES, Copies, Opened
from koboldfs.storage.part import PartOutside
from koboldfs.storage.plain import Head, PlainRequest
from koboldfs.storage.replies import Refused, Replies, ReplyingRequest
from koboldfs.storage.temporary import Expected, Stored
from koboldfs.storage.upload import Upload
from koboldfs.wire.http import (
    MalformedHeader,
    RangeNotSatisfiable,
    Target,
    Validators,
    entity_tag,
    evaluate_conditions,
    format_date,
    parse_content_md5,
    parse_content_range,
    parse_range,
    parse_target,
    parse_trailers,
    range_applies,
)

#: A body that is refused but no longer than this is taken and thrown away, so that the
#: connection can be kept (bytes).
SHORT_BODY_BYTES = 64 * 1024
#: No file system holds a larger file (bytes).
MAX_FILE_BYTES = 2**63 - 1
#: The rest of a body that was refused is thrown away for this long at most (seconds).
REFUSED_BODY_SECONDS = 30.0
_METHODS = (b"GET", b"HEAD", b"PUT", b"DELETE", b"MKCOL", b"MOVE")
_ALLOW = b"Allow: GET, HEAD, PUT, DELETE, MKCOL, MOVE\r\n"


@frozen
class Door:
    """What requests need: the copies, and the clock of the reactor."""

    copies: Copies
    clock: IReactorTime

    def request(self, channel: StorageChannel) -> StorageRequest:
        """A request of a channel; for `StorageSite`."""
        return StorageRequest(channel, self)

    def plain(self, channel: StorageChannel, head: Head) -> PlainStorageRequest:
        """A plain request of a channel; for `StorageSite`."""
        return PlainStorageRequest(channel, self, head)


class Exchange(Replies):
    """What one request to the storage node does, whoever has read it."""

    _door: Door
    _target: Target | None = None
    _upload: Upload | None = None
    _refusal: Exception | None = None
    _body: FileBody | PassedBody | None = None
    _paused = False
    _checksums: tuple[Checksum, ...] = ()
    _patience: IDelayedCall | None = None
    _part_bytes: int | None = None
    trailers: list[bytes]
    finished: int
    registerProducer: Callable[[object, bool], None]
    unregisterProducer: Callable[[], None]

    # --- the body of the request

    def begin(self, length: int | None) -> None:
        """The headers are in: begin to store, or know why not."""
        try:
            self._target = parse_target(self.uri)
            self._check()
            if self.method == b"PUT":
                self._begin_upload(length)
            elif length is None or length > SHORT_BODY_BYTES:
                raise Refused(413, "this request has no use for a body")
        except (KoboldError, MalformedHeader) as error:
            self._refuse(error, length)

    def _check(self) -> None:
        target, method = self._target, self.method
        if target is None:
            if method not in _METHODS:
                raise Refused(405, "there is no such method here", _ALLOW)
            raise Refused(404, "the path names nothing on a storage node")
        folder = target.kind == "folder"
        if method not in _METHODS or (method == b"MKCOL") != folder:
            if folder and method in (b"GET", b"HEAD"):
                raise Refused(404, "folders are not shown")
            raise Refused(405, "that is not done with this path", _ALLOW)
        if method == b"MOVE" and target.kind != "copy":
            raise Refused(405, "only files are moved", _ALLOW)
        if target.kind == "usage" and method not in (b"GET", b"HEAD"):
            raise Refused(405, "the usage is only read", _ALLOW)

    def _begin_upload(self, length: int | None) -> None:
        assert self._target is not None
        if length == 0 and self.header(b"Content-Length") is None:
            raise Refused(411, "say how long the file is, or send it in chunks")
        if length is not None and length > MAX_FILE_BYTES:
            raise Refused(413, "no file is that long")
        self._announced()
        place = self.header(b"Content-Range")
        if place is not None:
            start, stop = parse_content_range(place)
            if length not in (None, stop - start):
                raise MalformedHeader("Content-Range and the body are not as long")
            self._part_bytes = stop - start
            part = Expected(self._part_bytes, self._checksums)
            self._upload = self._door.copies.part(self._target, start, part)
        else:
            # A chunked body may end with a Content-MD5 that nobody announced.
            hashtypes = (MD5,) if length is None else ()
            self._upload = self._door.copies.upload(
                self._target, Expected(length, self._checksums), hashtypes
            )
        self._upload.relieved = self._resume
        self._upload.failed = self._upload_failed

    def _announced(self) -> None:
        value = self.header(b"Content-MD5")
        if value is not None:
            self._checksums = (Checksum(MD5, parse_content_md5(value)),)

    def take(self, data: bytes) -> None:
        """Bytes of the body."""
        upload = self._upload
        if upload is None:
            return
        upload.write(data)
        if upload.congested and not self._paused:
            self._paused = True
            self.channel.pause_body()

    def _resume(self) -> None:
        if self._paused and not self.ruined:
            self._paused = False
            self.channel.resume_body()

    def _upload_failed(self) -> None:
        """The disk failed while bytes come: say so now."""
        upload, self._upload = self._upload, None
        if upload is None or self.ruined:
            return
        self._resume()
        # Only the end of the upload has the reason, and it is known already.
        assert self._target is not None
        failing = Deferred.fromCoroutine(self._door.copies.finish(upload, self._target))
        failing.addBoth(self._refuse_late)

    def _refuse_late(self, outcome: object) -> None:
        error = outcome.value if isinstance(outcome, Failure) else None
        if not self.ruined:
            self._refuse(error if isinstance(error, Exception) else KoboldError(), None)

    def _refuse(self, error: Exception, length: int | None) -> None:
        self._refusal = error
        waits = self.header(b"Expect") is not None
        if length is not None and length <= SHORT_BODY_BYTES and not waits:
            return  # the answer goes out when the body is in
        channel = self.channel
        channel.end_after_this()
        self.fail(error)
        self._patience = self._door.clock.callLater(
            REFUSED_BODY_SECONDS, channel.forceAbortClient
        )

    def lost(self) -> None:
        """There will be no whole body, or nobody to answer."""
        self._end_patience()
        upload, self._upload = self._upload, None
        if upload is not None:
            upload.abort()
        if self._body is not None:
            self._body.stopProducing()

    def _end_patience(self) -> None:
        patience, self._patience = self._patience, None
        if patience is not None and patience.active():
            patience.cancel()

    # --- the answer

    def answer(self) -> None:
        """The body is whole: do what was asked."""
        self._end_patience()
        self._paused = False
        if self.startedWriting:
            self.finish()
            return
        if self._refusal is not None:
            self._end(self._refusal)
            return
        if self.method in (b"GET", b"HEAD") and self._answer_cached():
            return
        Deferred.fromCoroutine(self._answer()).addErrback(self.defect)

    def _end(self, error: Exception) -> None:
        """An error is the answer, and all of it."""
        if self.startedWriting:
            self.hang_up(error)
            return
        self.fail(error)
        if not self.ruined and not self.finished:
            self.finish()

    def _answer_cached(self) -> bool:
        """Answer with what needs no disk; False when that is not possible."""
        target = self._target
        assert target is not None
        if target.kind == "usage":
            return False
        limit = 0 if self.method == b"HEAD" else INLINE_BYTES
        try:
            opened = self._door.copies.cached(target, limit)
            if opened is None:
                return False
            self._send(opened)
            self.finish()
        except (KoboldError, MalformedHeader) as error:
            self._end(error)
        except Exception:
            self.defect(Failure())
        return True

    async def _answer(self) -> None:
        try:
            if self.method == b"PUT":
                await self._put()
            elif self.method == b"DELETE":
                await self._delete()
            elif self.method == b"MOVE":
                await self._move()
            elif self.method == b"MKCOL":
                assert self._target is not None
                await self._door.copies.make_folder(self._target)
                self.respond(201)
            else:
                await self._get()
        except (KoboldError, MalformedHeader) as error:
            self._end(error)
            return
        if not self.ruined and not self.finished:
            self.finish()

    async def _put(self) -> None:
        upload, self._upload = self._upload, None
        assert upload is not None and self._target is not None
        expected = None
        if self.trailers:
            try:
                value = parse_trailers(self.trailers).get(b"content-md5")
                if value is not None:
                    trailer = Checksum(MD5, parse_content_md5(value))
                    checksums = (*self._checksums, trailer)
                    expected = Expected(self._part_bytes, checksums)
            except MalformedHeader:
                upload.abort()
                raise
        try:
            await self._door.copies.finish(upload, self._target, expected)
        except PartOutside as error:
            line = b"Content-Range: bytes */%d\r\n" % error.size
            raise Refused(416, error.message, line) from error
        self.respond(201)

    async def _delete(self) -> None:
        assert self._target is not None
        if await self._door.copies.remove(self._target):
            self.respond(204)
        else:
            raise Refused(404, "there is no such file")

    async def _move(self) -> None:
        source, value = self._target, self.header(b"Destination")
        assert source is not None
        target = parse_target((value or b"").strip())
        if target is None or target.kind != "copy":
            raise MalformedHeader("Destination names no file of a storage node")
        if target.devid != source.devid:
            raise Refused(403, "a file is only moved within its device")
        replace = (self.header(b"Overwrite") or b"T").strip().upper() != b"F"
        replaced = await self._door.copies.move(source, target, replace=replace)
        self.respond(204 if replaced else 201)

    async def _get(self) -> None:
        target = self._target
        assert target is not None
        if target.kind == "usage":
            device = self._door.copies.folders.reading(target.devid)
            if not device.usage_text:
                raise DeviceUnavailable("the device's usage is not known yet")
            self.respond(200, device.usage_text, b"Content-Type: text/plain\r\n")
            return
        opened = await self._open(target)
        try:
            span = self._send(opened)
            if span is not None:
                await self._stream(target, opened.fd, *span)
        finally:
            if opened.fd >= 0:
                self._door.copies.close(target.devid, opened.fd)

    async def _open(self, target: Target) -> Opened:
        copies = self._door.copies
        if self.method == b"HEAD":
            found = await copies.stat(target, cached=False)
            opened = None if found is None else Opened(found, b"")
        else:
            opened = await copies.open(target, cached=False)
        if opened is None:
            raise Refused(404, "there is no such file")
        return opened

    def _send(self, opened: Opened) -> tuple[int, int] | None:
        """Begin to answer with a file; returns the span of bytes that must follow."""
        if self.ruined:
            return None
        stat = opened.stat
        etag = entity_tag(stat.size, stat.mtime_ns, stat.inode)
        validators = Validators(etag, stat.mtime_ns // 10**9)
        headers = b"ETag: %b\r\nLast-Modified: %b\r\nAccept-Ranges: bytes\r\n" % (
            etag,
            format_date(validators.modified),
        )
        if self.conditional:
            status = evaluate_conditions(self.header, validators)
            if status == 304:
                self.respond(304, b"", headers)
                return None
            if status == 412:
                raise Refused(412, "the file is not what the condition says")
        start, stop, status = 0, stat.size, 200
        span = self._span(validators, stat.size)
        if span is not None:
            (start, stop), status = span, 206
            place = b"%d-%d/%d" % (start, stop - 1, stat.size)
            headers += b"Content-Range: bytes " + place + b"\r\n"
        headers += b"Content-Type: application/octet-stream\r\n"
        if opened.data is not None:
            data = opened.data if status == 200 else opened.data[start:stop]
            self.respond(status, data, headers, length=stop - start)
            return None
        self.respond(status, b"", headers, length=stop - start)
        return start, stop

    def _span(self, validators: Validators, size: int) -> tuple[int, int] | None:
        value = self.header(b"Range") if self.method == b"GET" else None
        if value is None or not range_applies(self.header(b"If-Range"), validators):
            return None
        try:
            return parse_range(value, size)
        except RangeNotSatisfiable as error:
            line = b"Content-Range: bytes */%d\r\n" % size
            raise Refused(416, "the file has no such bytes", line) from error

    async def _stream(self, target: Target, fd: int, start: int, stop: int) -> None:
        copies, channel = self._door.copies, self.channel
        passage = channel.passage(fd)

        def read(length: int, offset: int) -> Deferred[bytes]:
            return copies.read(target.devid, fd, length, offset)

        def send(length: int, offset: int) -> Deferred[int]:
            assert passage is not None
            return copies.send(target.devid, passage, length, offset)

        body: FileBody | PassedBody
        if passage is None:
            body = FileBody(self._door.clock, read, channel.write, start, stop)
        else:
            body = PassedBody(
                self._door.clock, send, channel.wait_for_room, start, stop
            )
            if channel.unsent:
                body.pauseProducing()
                channel.wait_for_room()
        self._body = body
        self.registerProducer(body, True)
        try:
            await body.run()
        except ConnectionError:
            if not self.ruined:
                channel.cut()  # the reactor will notice, too
        except OSError as error:
            self._door.copies.failed_read(target, error)
            raise BodyBroken("the disk failed to read the file") from error
        finally:
            self._body = None
            if passage is not None:
                passage.stop()
            if not self.ruined:
                self.unregisterProducer()


class StorageRequest(Exchange, ReplyingRequest):
    """A request that twisted.web has read."""

    def __init__(self, channel: StorageChannel, door: Door) -> None:
        super().__init__(channel, door.clock)
        self._door = door


class PlainStorageRequest(Exchange, PlainRequest):
    """A plain request."""

    def __init__(self, channel: StorageChannel, door: Door, head: Head) -> None:
        PlainRequest.__init__(self, channel, head)
        self._door = door
        self._clock = door.clock
        self._target = head.target

    def begin(self, length: int | None) -> None:
        """The headers are in, and need no check: the path is a copy's."""
        if self.method == b"PUT":
            try:
                self._begin_upload(length)
            except (KoboldError, MalformedHeader) as error:
                self._refuse(error, length)

    def store(self, body: bytes) -> None:
        """The whole file is there."""
        try:
            self._announced()
            expected = Expected(len(body), self._checksums)
            storing = self._door.copies.store(self.target, body, expected)
        except (KoboldError, MalformedHeader) as error:
            self._end(error)
            return
        storing.addCallbacks(self._stored, self._not_stored)
        storing.addErrback(self.defect)

    def _stored(self, stored: Stored) -> None:
        self.respond(201)
        if not self.ruined:
            self.finish()

    def _not_stored(self, failure: Failure) -> None:
        failure.trap(KoboldError)
        assert isinstance(failure.value, KoboldError)
        self._end(failure.value)
