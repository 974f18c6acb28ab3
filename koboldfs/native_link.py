"""One connection of the synchronous Python client: a socket, its bytes, its errors.

    ClientError
     +- NoServer          none of the servers could be reached, or all failed
     +- ConnectionBroken  it ended, or was silent too long, in the middle of something
     +- TransactionLost   it ended between BEGIN and COMMIT: nothing of it took effect
     +- ProtocolError     the server said something that is no reply
     +- ChecksumError     the bytes that came are not those of the file
     +- Unsupported       the server is too old for that
     +- ServerError       the server will not; `word` says why, for programs
         +- UnknownDomain, KeyMissing, KeyExists, FileChanged
         +- ServerTrouble the cluster could not; another server or time may do

Every message is one line. Needs the standard library only.
"""

from __future__ import annotations

import os
import re
import select
import socket
from collections.abc import Sequence
from typing import Any

from koboldfs.wire import native
from koboldfs.wire.native import Code, Command, SyntaxFault

#: A server that does not accept within this (seconds) is passed over for another one.
CONNECT_SECONDS = 5.0
#: What is given to the socket, or asked of it, at once (bytes): its buffer's usual size
#: and more.
READ_BYTES = 256 * 1024
#: What is asked of it for a reply: the system hands out larger memory in a way of its
#: own, which takes longer than a whole request.
REPLY_BYTES = 64 * 1024
#: The limit of the version 1 texts: a URL, or "host:port" (bytes).
MAX_TEXT_BYTES = 64 * 1024

Address = tuple[str, int]
#: A name or IPv4 address, or an IPv6 one, which needs brackets to have a port.
_ADDRESS = re.compile(
    r"(?P<bare>[0-9A-Fa-f.]*:[0-9A-Fa-f.]*:[0-9A-Fa-f.:]*(%\w+)?)"
    r"|(\[(?P<bracketed>[^\]\s]+)\]|(?P<host>[^:\[\]\s]+))(:(?P<port>[0-9]{1,5}))?",
    re.ASCII,
)


class ClientError(Exception):
    """Something that the client could not do."""


class NoServer(ClientError):
    """No server answered; the message says what each of them did."""


class ConnectionBroken(ClientError):
    """The connection ended, or the server was silent for too long."""


class TransactionLost(ClientError):
    """The connection ended between BEGIN and COMMIT: no change took effect."""


class ProtocolError(ClientError):
    """The server does not speak the protocol."""


class ChecksumError(ClientError):
    """What came is not the file; nothing of it should be used."""


class Unsupported(ClientError):
    """The server does not know the command."""


class ServerError(ClientError):
    """The server refused. `word` is its reason in one word, as in the protocol."""

    def __init__(self, word: str, text: str) -> None:
        super().__init__(_one_line(text) or _one_line(word))
        self.word = word


class UnknownDomain(ServerError):
    """There is no such domain."""


class KeyMissing(ServerError, FileNotFoundError):
    """There is no file of that key."""


class KeyExists(ServerError):
    """A rename never overwrites."""


class FileChanged(ServerError):
    """The key was given another file while this one was being read."""


class ServerTrouble(ServerError):
    """A part of the cluster failed; trying again, or elsewhere, may help."""


def parse_address(text: str | Sequence[object]) -> Address:
    """``HOST``, ``HOST:PORT``, ``[IPV6]:PORT`` or a pair; raises `ValueError`."""
    if not isinstance(text, str):
        host, port = text
        return str(host), int(str(port))
    match = _ADDRESS.fullmatch(text)
    if match is None or int(match["port"] or 0) > 65535:
        raise ValueError(f"{text!r} is no server: write HOST:PORT")
    host = match["bracketed"] or match["host"] or match["bare"]
    return host, int(match["port"] or native.DEFAULT_PORT)


def error_of(code: int, values: Sequence[bytes]) -> ClientError:
    """The exception for an error reply of either version."""
    word = values[0].decode("ascii", "replace") if values else ""
    text = values[1].decode("utf-8", "replace") if len(values) > 1 else ""
    if code == Code.ERR_DOMAIN:
        return UnknownDomain(word or "unreg_domain", text or "no such domain")
    if code == Code.ERR_NOTFOUND:
        return KeyMissing(word or "unknown_key", text or "no such key")
    if code == Code.FAULT:
        return ServerTrouble(word or "failure", text or "the cluster failed")
    if code == Code.ERR_COMMAND:
        return Unsupported("the server does not know this command")
    if code == Code.KO:
        kind = {"key_exists": KeyExists, "changed": FileChanged}.get(word, ServerError)
        return kind(word or "failure", text or "the server refused")
    return ProtocolError(_one_line(f"the server answered {code} {word} {text}"))


def _one_line(text: str) -> str:
    """What a server said, on one line, with nothing in it that steers a terminal."""
    words = " ".join(text.split())
    return "".join([char if char.isprintable() else "?" for char in words])


class Link:
    """A connection to one server; for one thread.

    `timeout_seconds` is the longest silence, and the longest that a piece of what is
    sent may wait to be taken; None waits for ever. Raises `ConnectionBroken`; after
    that, and after `ProtocolError`, the link is closed.
    """

    def __init__(self, address: Address, timeout_seconds: float | None) -> None:
        self.address = address
        self.name = f"{address[0]}:{address[1]}"
        self.closed = False
        #: Whether anything of the request under way may have reached the server.
        self.sent = False
        self.timeout_seconds = timeout_seconds
        self._number = int.from_bytes(os.urandom(3), "little")
        self._data = b""
        self._at = 0
        connect_seconds = CONNECT_SECONDS
        if timeout_seconds is not None:
            connect_seconds = min(connect_seconds, timeout_seconds)
        try:
            self._socket = socket.create_connection(address, connect_seconds)
            self._socket.settimeout(timeout_seconds)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # Windows has no poll.
            self._poll: Any = select.poll() if hasattr(select, "poll") else None
            if self._poll is not None:
                self._poll.register(self._socket, select.POLLIN)
        except OSError as error:
            self.closed = True
            raise ConnectionBroken(f"{self.name}: {_reason(error)}") from error

    def close(self) -> None:
        """End the connection; may be called twice."""
        if not self.closed:
            self.closed = True
            self._socket.close()

    # --- bytes

    def send(self, data: bytes | memoryview) -> None:
        """Send all of it."""
        self.sent = True
        view = memoryview(data)
        try:
            for at in range(0, len(view), READ_BYTES):
                self._socket.sendall(view[at : at + READ_BYTES])
        except OSError as error:
            raise self._broken(error) from error

    def read(self, count: int) -> bytes:
        """Exactly `count` bytes."""
        at, end = self._at, self._at + count
        if end <= len(self._data):
            self._at = end
            return self._data[at:end]
        parts = []
        while count:
            part = self.read_some(count)
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def read_some(self, limit: int) -> bytes:
        """At least one byte, at most `limit`."""
        if self._at == len(self._data):
            large = limit > REPLY_BYTES
            self._data = self._receive(READ_BYTES if large else REPLY_BYTES)
            self._at = 0
        if self._at == 0 and len(self._data) <= limit:
            part, self._data = self._data, b""
            return part
        part = self._data[self._at : self._at + limit]
        self._at += len(part)
        return part

    def _receive(self, limit: int) -> bytes:
        try:
            data = self._socket.recv(limit)
        except OSError as error:
            raise self._broken(error) from error
        if not data:
            raise self._broken(None)
        return data

    def _broken(self, error: OSError | None) -> ConnectionBroken:
        self.close()
        reason = "the server ended the connection" if error is None else _reason(error)
        return ConnectionBroken(f"{self.name}: {reason}")

    def has_input(self) -> bool:
        """Whether bytes came, or the connection ended, without waiting for either."""
        if self.closed or self._at < len(self._data):
            return True
        try:
            if self._poll is not None:
                return bool(self._poll.poll(0))
            return bool(select.select([self._socket], [], [], 0)[0])
        except (OSError, ValueError):
            return True

    # --- frames

    def request(self, command: int, *arguments: bytes) -> bytes:
        """The bytes of a version 2 request, with the next number."""
        self._number = (self._number + 1) & 0xFFFFFFFF
        return native.request(command, native.u32(self._number), *arguments)

    def call(self, command: int, *arguments: bytes) -> list[bytes]:
        """Send a version 2 request and return its reply's values."""
        self.send(self.request(command, *arguments))
        return self.reply()

    def reply(self, wanted: int = Code.OK) -> list[bytes]:
        """The values of the next frame; raises what an error frame says."""
        code = self.read(1)
        if code[0] == Code.ERR_COMMAND:
            raise error_of(code[0], ())
        try:
            head = native.frame_head(code + self.read(native.FRAME_HEAD_BYTES - 1))
            values = native.frame_values(self.read(head[2]))
        except SyntaxFault as fault:
            raise self.nonsense(str(fault)) from fault
        if head[1] != self._number and head[0] != Code.ERR_RESET:
            raise self.nonsense("a reply to another request")
        if head[0] == wanted:
            return values
        error = error_of(head[0], values)
        if isinstance(error, ProtocolError):
            self.close()
        raise error

    def nonsense(self, why: str) -> ProtocolError:
        """The error to raise for what is no reply; the link is closed."""
        self.close()
        return ProtocolError(f"{self.name}: {why}")

    def hello(self) -> bool:
        """Whether the server speaks version 2; if not, this link is used up."""
        arguments = native.u32(native.VERSION), ",".join(native.FEATURES).encode()
        try:
            values = self.call(Command.HELLO, *arguments)
        except Unsupported:
            self.close()
            return False
        if len(values) < 1 or len(values[0]) != 4:
            raise self.nonsense("no HELLO of the native protocol")
        return native.number32(values[0]) >= native.VERSION

    # --- version 1

    def code(self) -> int:
        """The code of a version 1 reply."""
        return self.read(1)[0]

    def number(self) -> int:
        """A number of a version 1 reply."""
        return native.number32(self.read(4))

    def text(self) -> str:
        """A text of a version 1 reply."""
        length = self.number()
        if length > MAX_TEXT_BYTES:
            raise self.nonsense("a text is too long")
        return self.read(length).decode("latin-1")


def _reason(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return error.strerror or str(error) or type(error).__name__
