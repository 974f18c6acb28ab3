"""The bytes of the storage node's HTTP answers, and which error is which status."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from koboldfs.errors import (
    CallerError,
    CopyCorrupt,
    CopyMissing,
    DeviceUnavailable,
    DiskFull,
    KoboldError,
    NoDevice,
    TooBusy,
)
from koboldfs.storage.channel import BodyRequest, StorageChannel
from koboldfs.storage.move import NameTaken
from koboldfs.wire.http import CONDITIONS, MalformedHeader, format_date

REASONS = {
    200: b"OK",
    201: b"Created",
    204: b"No Content",
    206: b"Partial Content",
    304: b"Not Modified",
    400: b"Bad Request",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    411: b"Length Required",
    412: b"Precondition Failed",
    413: b"Content Too Large",
    416: b"Range Not Satisfiable",
    500: b"Internal Server Error",
    501: b"Not Implemented",
    503: b"Service Unavailable",
    507: b"Insufficient Storage",
}


class Refused(CallerError):
    """The request can not be answered with what it asks for; `status` says why."""

    def __init__(self, status: int, detail: str, headers: bytes = b"") -> None:
        super().__init__(detail)
        self.status = status
        self.headers = headers


@lru_cache(maxsize=8)
def _date_line(seconds: int) -> bytes:
    return b"Date: " + format_date(seconds) + b"\r\n"


def status_of(error: Exception) -> int:
    """The HTTP status for one of our errors; 500 for all that is not."""
    if isinstance(error, Refused):
        return error.status
    for kind, status in (
        (NoDevice, 404),
        (CopyMissing, 404),
        (NameTaken, 412),
        (CopyCorrupt, 400),
        (MalformedHeader, 400),
        (DiskFull, 507),
        (DeviceUnavailable, 503),
        (TooBusy, 503),
    ):
        if isinstance(error, kind):
            return status
    return 500


class Replies:
    """How a request answers, whoever has read it: a mixin for `BodyRequest` and
    `PlainRequest`. At most one answer is ever begun."""

    _log = Logger()
    _clock: IReactorTime
    channel: Any
    method: bytes
    uri: bytes
    clientproto: bytes
    code: int
    startedWriting: int
    ruined: bool

    if TYPE_CHECKING:
        # The class that this is mixed with has them.

        def header(self, name: bytes) -> bytes | None:
            """The last value of a request header, or None."""

        def finish(self) -> None:
            """The answer is whole."""

        @property
        def conditional(self) -> bool:
            """Whether one of `CONDITIONS` is there."""

    def respond(
        self,
        status: int,
        body: bytes = b"",
        headers: bytes = b"",
        length: int | None = None,
    ) -> None:
        """Write the head of the answer, with `headers` (whole lines), and its body.

        `length` is what Content-Length says when the body comes later, or never.
        """
        if self.ruined or self.startedWriting:
            return
        self.startedWriting = 1
        self.code = status
        if status in (204, 304):
            length_line, body = b"", b""
        else:
            size = len(body) if length is None else length
            length_line = b"Content-Length: %d\r\n" % size
        if self.method == b"HEAD":
            body = b""
        seconds = int(self._clock.seconds())
        head = b"%s %d %s\r\n%s%s%s%s\r\n" % (
            self.clientproto,
            status,
            REASONS[status],
            _date_line(seconds),
            length_line,
            headers,
            self.channel.connection_header,
        )
        self.channel.write(head + body)

    def fail(self, error: Exception) -> None:
        """Answer with an error: a status and one line."""
        status = status_of(error)
        text = "".join(char if char.isprintable() else "?" for char in str(error))
        # Trackers ask every device how it is, before it was looked at, too. That it is
        # not well is an answer; why, the log has once from who looks at it.
        told = status == 503 and self.uri.endswith(b"/usage")
        if status >= 500 and not told:
            self._log.warn(
                "{method} {uri}: {status} {text}",
                method=self.method.decode("latin-1"),
                uri=self.uri[:200].decode("latin-1"),
                status=status,
                text=text,
            )
        headers = b"Content-Type: text/plain\r\n"
        if isinstance(error, Refused):
            headers += error.headers
        self.respond(status, text.encode("utf-8", "replace") + b"\n", headers)

    def hang_up(self, error: Exception) -> None:
        """The head of the answer is out and the rest can not follow."""
        self._log.warn(
            "{uri}: {error}", uri=self.uri[:200].decode("latin-1"), error=error
        )
        if not self.ruined:
            self.channel.cut()

    def defect(self, failure: Failure) -> None:
        """What nobody thought of: logged, and answered without its text."""
        self._log.failure("a request failed", failure=failure)
        if self.ruined:
            return
        if self.startedWriting:
            self.channel.cut()
            return
        self.channel.end_after_this()
        self.fail(KoboldError("the storage node failed"))
        self.finish()


class ReplyingRequest(Replies, BodyRequest):
    """A request that twisted.web has read, and that knows how to answer."""

    def __init__(self, channel: StorageChannel, clock: IReactorTime) -> None:
        super().__init__(channel)
        self._clock = clock

    def header(self, name: bytes) -> bytes | None:
        """See `Replies`."""
        values = self.requestHeaders.getRawHeaders(name)
        return values[-1] if values else None

    @property
    def conditional(self) -> bool:
        """See `Replies`."""
        return any(self.requestHeaders.hasHeader(name) for name in CONDITIONS)
