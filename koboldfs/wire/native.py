"""The native protocol (port 9876): the words of versions 1 (KoboldFS 0.3) and 2.

One TCP connection, one request at a time, replies in order. Integers are unsigned and
LITTLE-endian; ``n:4`` is a 32-bit one, ``n:8`` a 64-bit one.

    request   = command:1  count:1  count * ( length:4  bytes )

Command bytes are in hexadecimal here. Version 1, commands below 80; the reply is a
code and what the code says:

    PING 10                   -> OK
    PUT 11 domain key         -> WAITING, then the client sends
                                 size:4  bytes  md5 as 32 hex digits, -> OK | KO
    GET 12 domain key         -> TRANSFER  size:4  bytes  md5 as 32 hex digits
                               | REDIRECT  length:4  "host:port" (never sent by us)
    GET_URL 13 domain key     -> TRANSFER  length:4  url
    DELETE 14 domain key      -> OK
    PREPARE 20, COMMIT 21, ABORT 22, BEGIN 23  -> OK | KO
    HELLO 30                  -> a frame of version 2 (a 0.3 server: ERR_COMMAND)
    anything else             -> ERR_COMMAND

Version 2, HELLO and the commands from 80 on. The first argument is ``number:4``, which
the client chose; every reply repeats it and is one frame:

    frame     = code:1  number:4  length:4  values
    values    = * ( length:4  bytes )                        length in all
    data      = * ( length:4  bytes )  0:4                   no length is 0 in between
    stat      = fid:8  size:8  copies:4  checksum  class     five values

    HELLO 30   number version:4 features -> OK version:4 features key:4 domain:4
                                                page:4 software  (the largest key,
                                                domain and page that are taken)
    PING 90    number                    -> OK
    PUT 91     number domain key class size:8    then at once data and sha256:32, or in
                                                place of a length ABANDON:4 -> OK stat,
                                                and while the file lies on fewer hosts
                                                than promised: hosts:4 promised:4
    GET 92     number domain key start:8 length:8 fid:8
                                         -> TRANSFER stat start:8 length:8, data, and
                                            a frame OK sha256:32 (of the data sent)
                                            checksum (of the whole file), or an error
    URLS 93    number domain key         -> OK url ...
    DELETE 94  number domain key         -> OK
    LIST 95    number domain prefix after limit:4  -> OK more:1 key ...
    STAT 96    number domain key         -> OK stat
    RENAME 97  number domain old new     -> OK
    PREPARE a0, COMMIT a1, ABORT a2, BEGIN a3   number -> OK

An empty ``size``, ``length``, ``fid`` or ``class`` means: not known, to the end, any,
the default one. A checksum is the text ``SHA-256:<hex>`` or empty. An error frame has
the code KO, ERR_DOMAIN, ERR_NOTFOUND, ERR_RESET (the connection ends) or FAULT (trouble
of the cluster, another server or another time may do), and two values: a word for
programs and a sentence for people.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from enum import IntEnum
from typing import Final

from attrs import evolve, frozen

#: The version that this implementation speaks.
VERSION: Final = 2
DEFAULT_PORT: Final = 9876
FEATURES: Final = ("begin", "class", "list", "range", "rename", "stat", "urls")

#: The longest key and domain (bytes): what the columns of a new database hold.
MAX_KEY_BYTES: Final = 1024
MAX_DOMAIN_BYTES: Final = 255
#: More arguments than any command has; a larger count ends the connection.
MAX_ARGUMENTS: Final = 8
#: All arguments of a request together (bytes): three keys and a domain fit several
#: times over, so a key that is too long is told so; more ends the connection.
MAX_REQUEST_BYTES: Final = 8 * 1024
#: Keys in one page of LIST; city hall gives no more at once.
MAX_PAGE_KEYS: Final = 1000
#: The values of one frame (bytes): a page of the longest keys fits.
MAX_FRAME_BYTES: Final = 2 * 1024 * 1024

MD5_HEX_BYTES: Final = 32
SHA256_BYTES: Final = 32
#: In place of a chunk's length: the sender gives the upload up.
ABANDON: Final = 0xFFFFFFFF
#: The largest size that version 1 can say (bytes).
MAX_V1_SIZE_BYTES: Final = 0xFFFFFFFF
#: The largest size that version 2 is let to say; databases hold signed 64 bits.
MAX_V2_SIZE_BYTES: Final = 2**63 - 1
FIRST_V2_COMMAND: Final = 0x80

_FRAME = struct.Struct("<BII")
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
FRAME_HEAD_BYTES: Final = _FRAME.size


class Command(IntEnum):
    """The command byte of a request."""

    PING = 0x10
    PUT = 0x11
    GET = 0x12
    GET_URL = 0x13
    DELETE = 0x14
    PREPARE = 0x20
    COMMIT = 0x21
    ABORT = 0x22
    BEGIN = 0x23
    HELLO = 0x30
    PING2 = 0x90
    PUT2 = 0x91
    GET2 = 0x92
    URLS = 0x93
    DELETE2 = 0x94
    LIST = 0x95
    STAT = 0x96
    RENAME = 0x97
    PREPARE2 = 0xA0
    COMMIT2 = 0xA1
    ABORT2 = 0xA2
    BEGIN2 = 0xA3


class Code(IntEnum):
    """The code byte of a reply."""

    REDIRECT = 0
    OK = 1
    WAITING = 2
    TRANSFER = 3
    KO = 4
    ERR_DOMAIN = 5
    ERR_COMMAND = 6
    ERR_NOTFOUND = 7
    ERR_RESET = 8
    FAULT = 9


class SyntaxFault(ValueError):
    """Bytes that do not follow the grammar; the connection cannot go on."""


class ValueFault(ValueError):
    """A value of the wrong form in a request that is otherwise whole."""


@frozen
class Stat:
    """What is known of a stored file. `size` in bytes; `copies` on devices now.

    `checksum` is the text ``SHA-256:<hex>``, or None when none was ever computed. Of a
    file that was just stored on fewer hosts than the cluster promises, `hosts` says on
    how many, and `promised` how many it should be; both are None otherwise.
    """

    fid: int
    size: int
    copies: int
    checksum: str | None = None
    class_name: str = "default"
    hosts: int | None = None
    promised: int | None = None

    @property
    def short(self) -> bool:
        """Whether it was stored on fewer hosts than promised, for now."""
        return self.promised is not None

    def values(self) -> tuple[bytes, ...]:
        """The five values of a frame."""
        return (
            _U64.pack(self.fid),
            _U64.pack(self.size),
            _U32.pack(self.copies),
            (self.checksum or "").encode("ascii"),
            self.class_name.encode("latin-1"),
        )

    @classmethod
    def of(cls, values: list[bytes]) -> Stat:
        """The stat in the first five values; raises `ValueFault`."""
        if len(values) < 5:
            raise ValueFault("a stat has five values")
        try:
            checksum = values[3].decode("ascii")
        except UnicodeDecodeError:
            raise ValueFault("a checksum is ASCII") from None
        return cls(
            number64(values[0]),
            number64(values[1]),
            number32(values[2]),
            checksum or None,
            values[4].decode("latin-1"),
        )

    @classmethod
    def stored(cls, values: list[bytes]) -> Stat:
        """As `of`, for the reply to a PUT."""
        stat = cls.of(values)
        if len(values) < 7:
            return stat
        hosts, promised = number32(values[5]), number32(values[6])
        return evolve(stat, hosts=hosts, promised=promised)


def u32(number: int) -> bytes:
    """Four bytes, least first. Raises `struct.error` outside of 0 to 2**32 - 1."""
    return _U32.pack(number)


def u64(number: int) -> bytes:
    """Eight bytes, least first. Raises `struct.error` outside of 0 to 2**64 - 1."""
    return _U64.pack(number)


def number32(value: bytes) -> int:
    """The number in a value of four bytes; raises `ValueFault`."""
    if len(value) != 4:
        raise ValueFault("a number of 32 bits has four bytes")
    return int.from_bytes(value, "little")


def number64(value: bytes) -> int:
    """The number in a value of eight bytes; raises `ValueFault`."""
    if len(value) != 8:
        raise ValueFault("a number of 64 bits has eight bytes")
    return int.from_bytes(value, "little")


def optional64(value: bytes) -> int | None:
    """As `number64`; None for an empty value."""
    return number64(value) if value else None


def optional_u64(number: int | None) -> bytes:
    """As `u64`; empty for None."""
    return b"" if number is None else _U64.pack(number)


def request(command: int, *arguments: bytes) -> bytes:
    """The bytes of a request."""
    pack = _U32.pack
    parts = [part for one in arguments for part in (pack(len(one)), one)]
    return b"".join((bytes((command, len(arguments))), *parts))


def frame(code: int, number: int, values: Iterable[bytes] = ()) -> bytes:
    """The bytes of a reply of version 2."""
    pack = _U32.pack
    payload = b"".join([part for one in values for part in (pack(len(one)), one)])
    return _FRAME.pack(code, number, len(payload)) + payload


def frame_head(head: bytes) -> tuple[int, int, int]:
    """Code, number and length of the values; `head` has `FRAME_HEAD_BYTES`.

    Raises `SyntaxFault` when the values are longer than any that are allowed.
    """
    code, number, length = _FRAME.unpack(head)
    if length > MAX_FRAME_BYTES:
        raise SyntaxFault("a frame is too long")
    return code, number, length


def frame_values(payload: bytes) -> list[bytes]:
    """The values of a frame; raises `SyntaxFault` when they do not fill it."""
    values = []
    at, end = 0, len(payload)
    while at < end:
        if end - at < 4:
            raise SyntaxFault("a value's length is cut off")
        (length,) = _U32.unpack_from(payload, at)
        at += 4
        if length > end - at:
            raise SyntaxFault("a value is longer than its frame")
        values.append(payload[at : at + length])
        at += length
    return values


def error_values(word: str, text: str) -> tuple[bytes, bytes]:
    """The two values of an error frame."""
    return word.encode("ascii", "replace"), text.encode("utf-8", "replace")
