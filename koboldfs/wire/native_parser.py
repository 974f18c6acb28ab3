"""The native protocol as a server reads it: bytes in any pieces to events.

    state      what comes next                           then
    REQUEST    command:1 count:1 arguments               HELD (event `Request`)
    HELD       (nothing is read until the server says)   REQUEST, SIZE or CHUNK
    SIZE       size:4                                    BODY (event `Size`)
    BODY       size bytes (events `bytes`)               TRAILER, 32 bytes of hex
    CHUNK      length:4                                  CHUNK_BODY; 0: TRAILER, 32
                                                         bytes; ABANDON: HELD
    CHUNK_BODY length bytes (events `bytes`)             CHUNK
    TRAILER    the trailer                               HELD (event `End`)

Memory: what was fed and not yet read as events, and never more than one request
(`MAX_REQUEST_BYTES`) of what is incomplete. Bytes of a body are handed on as they come.
"""

from __future__ import annotations

from enum import Enum

from attrs import frozen

from koboldfs.wire.native import (
    ABANDON,
    MAX_ARGUMENTS,
    MAX_REQUEST_BYTES,
    MD5_HEX_BYTES,
    SHA256_BYTES,
    SyntaxFault,
)


@frozen
class Request:
    """A whole request: the command byte, known or not, and its arguments."""

    command: int
    arguments: tuple[bytes, ...]


@frozen
class Size:
    """The size in bytes of the body of a version 1 PUT."""

    size: int


@frozen
class End:
    """The end of a body, and its trailer; `trailer` is None: the client gave up."""

    trailer: bytes | None


class _State(Enum):
    REQUEST = "request"
    HELD = "held"
    SIZE = "size"
    BODY = "body"
    CHUNK = "chunk"
    CHUNK_BODY = "chunk body"
    TRAILER = "trailer"


Event = Request | Size | End | bytes


class RequestParser:
    """Feed it what arrives; ask it for events until it says None."""

    def __init__(self) -> None:
        self._data = b""
        self._at = 0
        self._state = _State.REQUEST
        self._left = 0
        self._trailer_bytes = 0

    @property
    def unread_bytes(self) -> int:
        """How many bytes were fed that no event has told of."""
        return len(self._data) - self._at

    @property
    def idle(self) -> bool:
        """Whether no request has begun to arrive."""
        return self._state is _State.REQUEST and self._at == len(self._data)

    @property
    def held(self) -> bool:
        """Whether the server has a whole request and the next one has to wait."""
        return self._state is _State.HELD

    def feed(self, data: bytes) -> None:
        """Take bytes as they came."""
        if self._at < len(self._data):
            data = self._data[self._at :] + data
        self._data = data
        self._at = 0

    def next_request(self) -> None:
        """The request is answered: read the next one."""
        if self._state is not _State.HELD:
            raise RuntimeError(f"a request ends in the state {self._state.value}")
        self._state = _State.REQUEST

    def expect_sized_body(self) -> None:
        """A version 1 PUT was told WAITING: its size, bytes and md5 come now."""
        self._state = _State.SIZE

    def expect_chunked_body(self) -> None:
        """A version 2 PUT has been read: its data and sha256 come now."""
        self._state = _State.CHUNK

    def next(self) -> Event | None:
        """The next event, or None: more bytes are needed (or the server's word).

        Raises `SyntaxFault` when the bytes cannot be the protocol; the connection
        must then be ended, for nothing says where the next request would begin.
        """
        while True:
            state = self._state
            if state is _State.BODY or state is _State.CHUNK_BODY:
                return self._body()
            if state is _State.REQUEST:
                return self._request()
            if state is _State.HELD:
                return None
            if state is _State.TRAILER:
                trailer = self._take(self._trailer_bytes)
                if trailer is None:
                    return None
                self._state = _State.HELD
                return End(trailer)
            word = self._take(4)
            if word is None:
                return None
            length = int.from_bytes(word, "little")
            if state is _State.SIZE:
                self._left = length
                self._trailer_bytes = MD5_HEX_BYTES
                self._state = _State.BODY if length else _State.TRAILER
                return Size(length)
            if length == ABANDON:
                self._state = _State.HELD
                return End(None)
            self._left = length
            self._trailer_bytes = SHA256_BYTES
            self._state = _State.CHUNK_BODY if length else _State.TRAILER

    def _take(self, count: int) -> bytes | None:
        end = self._at + count
        if end > len(self._data):
            return None
        taken = self._data[self._at : end]
        self._at = end
        return taken

    def _body(self) -> bytes | None:
        here = len(self._data) - self._at
        if here == 0:
            return None
        if here <= self._left:
            piece = self._data[self._at :] if self._at else self._data
            self._data, self._at = b"", 0
        else:
            piece = self._data[self._at : self._at + self._left]
            self._at += self._left
        self._left -= len(piece)
        if self._left == 0:
            chunked = self._state is _State.CHUNK_BODY
            self._state = _State.CHUNK if chunked else _State.TRAILER
        return piece

    def _request(self) -> Request | None:
        data, at = self._data, self._at
        end = len(data)
        if end - at < 2:
            return None
        command, count = data[at], data[at + 1]
        if count > MAX_ARGUMENTS:
            raise SyntaxFault("too many arguments")
        at += 2
        room = MAX_REQUEST_BYTES
        arguments = []
        for _ in range(count):
            if end - at < 4:
                return None
            length = int.from_bytes(data[at : at + 4], "little")
            room -= length
            if room < 0:
                raise SyntaxFault("arguments too long")
            at += 4
            if end - at < length:
                return None
            arguments.append(data[at : at + length])
            at += length
        self._at = at
        self._state = _State.HELD
        return Request(command, tuple(arguments))
