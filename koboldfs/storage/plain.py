"""Plain requests: the one form that nearly all requests for copies have.

    plain  = ( "GET" / "HEAD" / "PUT" / "DELETE" ) " " copy " " rest
    rest   = "HTTP/1." ( "0" / "1" ) CRLF 0*100( name ":" value CRLF ) CRLF
    copy   = the one spelling of `koboldfs.model.fid.uri`

They are read here, in a few microseconds, and whatever is not exactly of this form is
left to twisted.web, which knows all of HTTP: other methods and paths, chunked bodies,
``Expect``, parts of files, headers that come twice or in pieces, and all nonsense. What
is plain means the same to both; ``test/unit/storage/test_plain.py`` compares them.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from koboldfs.model.fid import parse_path
from koboldfs.wire.http import CONDITIONS, Target

if TYPE_CHECKING:
    from koboldfs.storage.channel import StorageChannel

#: A longer head is not plain (bytes), nor one of more lines.
MAX_HEAD_BYTES = 2048
MAX_LINES = 100
#: Clients send the same lines again and again; so many different ones are remembered,
#: which is a few KiB each (and only what is remembered is cheap).
REMEMBERED_RESTS = 256
_REST = re.compile(
    rb" (HTTP/1\.[01])"
    rb"((?:\r\n[A-Za-z0-9!#$%%&'*+.^_`|~-]+:[\t\x20-\x7e\x80-\xff]*){0,%d})" % MAX_LINES
)
_LENGTH = re.compile(rb"[0-9]{1,18}")
_METHODS = frozenset((b"GET", b"HEAD", b"PUT", b"DELETE"))
#: What changes how the body is read, or what is done with it.
_NOT_PLAIN = frozenset((b"transfer-encoding", b"expect", b"content-range"))

_CONDITIONS = frozenset(name.lower() for name in CONDITIONS)


class Rest(NamedTuple):
    """What follows the path. `fields` are the headers by lower-case name; `length` of
    the body in bytes, None when nobody said; `conditional` when one of `CONDITIONS` is
    there; `connection` is our header's line."""

    version: bytes
    fields: dict[bytes, bytes]
    length: int | None
    persistent: bool
    connection: bytes
    conditional: bool


class Head(NamedTuple):
    """The head of a plain request; its body begins at `stop`."""

    method: bytes
    uri: bytes
    target: Target
    rest: Rest
    stop: int


def read_head(data: bytes, start: int) -> Head | None:
    """The plain head that begins there, or None if none does, or not all of it."""
    stop = data.find(b"\r\n\r\n", start, start + MAX_HEAD_BYTES)
    if stop < 0:
        return None
    first = data.find(b" ", start, stop)
    second = data.find(b" ", first + 1, stop)
    method = data[start:first]
    if second < 0 or method not in _METHODS:
        return None
    lines = data[second:stop]
    # A checksum comes once: to remember it would push out what comes again.
    read = _read_rest.__wrapped__ if b"\r\nContent-MD5:" in lines else _read_rest
    rest = read(lines)
    if rest is None or (rest.length is None if method == b"PUT" else rest.length):
        return None
    uri = data[first + 1 : second]
    found = parse_path(uri)
    if found is None:
        return None
    devid, fid, relative = found
    return Head(method, uri, Target("copy", devid, relative, fid), rest, stop + 4)


@lru_cache(REMEMBERED_RESTS)
def _read_rest(data: bytes) -> Rest | None:
    match = _REST.fullmatch(data)
    if match is None:
        return None
    version, fields = match[1], dict[bytes, bytes]()
    for line in match[2].split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        name = name.lower()
        if name in fields or name in _NOT_PLAIN:
            return None
        fields[name] = value.strip(b" \t")
    length = fields.get(b"content-length")
    if length is not None and _LENGTH.fullmatch(length) is None:
        return None
    persistent, connection = persistence(version, [fields.get(b"connection", b"")])
    bytes_ = None if length is None else int(length)
    conditional = not fields.keys().isdisjoint(_CONDITIONS)
    return Rest(version, fields, bytes_, persistent, connection, conditional)


def persistence(version: bytes, values: list[bytes]) -> tuple[bool, bytes]:
    """Whether a connection stays open after a request with these Connection headers,
    and the line of our answer that says so."""
    tokens = {token.strip().lower() for value in values for token in value.split(b",")}
    if version == b"HTTP/1.1":
        stays = b"close" not in tokens
        return stays, b"" if stays else b"Connection: close\r\n"
    stays = b"keep-alive" in tokens
    line = b"Connection: keep-alive\r\n" if stays else b"Connection: close\r\n"
    return stays, line


class PlainRequest(ABC):
    """A plain request, with the words of `channel.BodyRequest`: its channel calls
    `begin`, `take` and `answer`, or `store` for a PUT that came whole, and `lost`."""

    ruined = False
    finished = 0
    startedWriting = 0
    code = 0

    def __init__(self, channel: StorageChannel, head: Head) -> None:
        self.channel = channel
        self.method, self.uri, self.target, self.rest, _ = head
        self.clientproto = self.rest.version
        #: What only chunked bodies have.
        self.trailers: list[bytes] = []

    @property
    def conditional(self) -> bool:
        """Whether one of `CONDITIONS` is there."""
        return self.rest.conditional

    def header(self, name: bytes) -> bytes | None:
        """The value of a request header, or None."""
        return self.rest.fields.get(name.lower())

    def finish(self) -> None:
        """The answer is whole."""
        self.finished = 1
        if not self.ruined:
            self.channel.plain_done()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """See `twisted.web.http.Request`."""
        self.channel.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        """See `twisted.web.http.Request`."""
        self.channel.unregisterProducer()

    def gone(self) -> None:
        """Nobody is there any more."""
        if not self.ruined:
            self.ruined = True
            self.lost()

    @abstractmethod
    def begin(self, length: int | None) -> None:
        """The headers are in."""

    @abstractmethod
    def take(self, data: bytes) -> None:
        """Bytes of the body."""

    @abstractmethod
    def answer(self) -> None:
        """The body is whole."""

    @abstractmethod
    def store(self, body: bytes) -> None:
        """Instead of all that: a PUT, with its whole body."""

    @abstractmethod
    def lost(self) -> None:
        """There will be no whole body, or nobody is there to answer to."""
