"""What a storage node reads from HTTP requests: paths, ranges, conditions, checksums.

    target   = [ "http://" authority ] path        ; no query, no escapes
    path     = copy / usage / test / folder
    copy     = the one spelling of `koboldfs.model.fid.uri`
    usage    = "/dev" N "/usage"
    test     = "/dev" N "/test-write/" ( "test-write-" 0..99 / "test-md5" )
    folder   = "/dev" N "/" ( "test-write" / D [ "/" DDD [ "/" DDD ] ] ) [ "/" ]

Whatever is not exactly one of these names nothing: escapes, dot segments, empty
segments, backslashes and NULs are refused because they are no path, not filtered.

Ranges follow RFC 9110: one range of bytes; several, or a range that does not follow the
grammar, are ignored and the whole file is sent. The range of a PUT is never ignored:

    content-range = "bytes" first "-" last "/" ( total / "*" )
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from calendar import timegm
from collections.abc import Callable
from email.utils import parsedate_tz
from functools import lru_cache
from time import gmtime
from typing import Literal

from attrs import frozen

from koboldfs.model.fid import parse_uri, relative_path

MD5_BYTES = 16
#: Longer header values than this are not looked at (bytes); ours are all short.
MAX_VALUE_BYTES = 1024
_AUTHORITY = re.compile(rb"(?i:https?)://[^/?#]*")
_DEVICE = rb"/dev([1-9][0-9]{0,8})"
_USAGE = re.compile(_DEVICE + rb"/usage")
_TEST = re.compile(
    _DEVICE + rb"/(test-write/(?:test-write-(?:0|[1-9][0-9]?)|test-md5))"
)
_FOLDER = re.compile(_DEVICE + rb"/(test-write|[0-9](?:/[0-9]{3}(?:/[0-9]{3})?)?)/?")
_RANGE = re.compile(rb"bytes=([0-9]{0,19})-([0-9]{0,19})", re.IGNORECASE)
_CONTENT_RANGE = re.compile(
    rb"bytes[ =]([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)", re.IGNORECASE
)
_MD5 = re.compile(rb"[A-Za-z0-9+/]{22}==")
_TAG = re.compile(rb'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')

#: Headers that ask whether the file has changed.
CONDITIONS = (
    b"If-Match",
    b"If-None-Match",
    b"If-Modified-Since",
    b"If-Unmodified-Since",
)
_DAYS = (b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun")
_MONTHS = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun") + (
    b"Jul",
    b"Aug",
    b"Sep",
    b"Oct",
    b"Nov",
    b"Dec",
)
#: HTTP dates that are remembered: files that are asked for now are often of an age.
REMEMBERED_DATES = 1024

Kind = Literal["copy", "usage", "test", "folder"]


class RangeNotSatisfiable(ValueError):
    """The range lies outside the file."""


class MalformedHeader(ValueError):
    """A header that matters does not follow its grammar."""


@frozen
class Target:
    """What a request path names. `relative` is the path below the device's folder."""

    kind: Kind
    devid: int
    relative: str
    fid: int = 0


@frozen
class Validators:
    """How a file is recognised: a strong entity tag, and when it was last changed
    (Unix seconds)."""

    etag: bytes
    modified: int


def parse_target(raw: bytes) -> Target | None:
    """What the raw request target names, or None."""
    found = parse_uri(raw)
    if found is not None:
        return copy_target(*found)
    if not raw.startswith(b"/"):
        match = _AUTHORITY.match(raw)
        if match is None:
            return None
        raw = raw[match.end() :]
        found = parse_uri(raw)
        if found is not None:
            return copy_target(*found)
    match = _USAGE.fullmatch(raw)
    if match is not None:
        return Target("usage", int(match[1]), "usage")
    match = _TEST.fullmatch(raw)
    if match is not None:
        return Target("test", int(match[1]), match[2].decode("ascii"))
    match = _FOLDER.fullmatch(raw)
    if match is not None:
        return Target("folder", int(match[1]), match[2].decode("ascii"))
    return None


def copy_target(devid: int, fid: int) -> Target:
    """The target that a copy's URI names."""
    return Target("copy", devid, relative_path(fid), fid)


def parse_range(value: bytes, size_bytes: int) -> tuple[int, int] | None:
    """The first byte and the byte after the last one, or None to send everything.

    Raises `RangeNotSatisfiable` when the range has no byte of the file in it.
    """
    match = _RANGE.fullmatch(value.replace(b" ", b""))
    if match is None or (not match[1] and not match[2]):
        return None
    if not match[1]:
        length = int(match[2])
        if length == 0 or size_bytes == 0:
            raise RangeNotSatisfiable
        return max(0, size_bytes - length), size_bytes
    start = int(match[1])
    if match[2] and int(match[2]) < start:
        return None
    if start >= size_bytes:
        raise RangeNotSatisfiable
    stop = min(int(match[2]) + 1, size_bytes) if match[2] else size_bytes
    return start, stop


def parse_content_range(value: bytes) -> tuple[int, int]:
    """Where the bytes of a PUT begin, and the byte after the last one; raises
    `MalformedHeader`."""
    match = _CONTENT_RANGE.fullmatch(value.strip())
    if match is None:
        raise MalformedHeader("Content-Range is not bytes first-last/total")
    start, stop = int(match[1]), int(match[2]) + 1
    if stop <= start or (match[3] != b"*" and int(match[3]) < stop):
        raise MalformedHeader("Content-Range is not a range of the file")
    return start, stop


def parse_content_md5(value: bytes) -> bytes:
    """The digest in a Content-MD5 header; raises `MalformedHeader`."""
    value = value.strip()
    if not _MD5.fullmatch(value):
        raise MalformedHeader("Content-MD5 is not 16 bytes in base64")
    try:
        digest = b64decode(value, validate=True)
    except binascii.Error as error:  # pragma: no cover - the pattern excludes it
        raise MalformedHeader("Content-MD5 is not base64") from error
    return digest


def parse_trailers(lines: list[bytes]) -> dict[bytes, bytes]:
    """Chunked trailers by lower-case name; raises `MalformedHeader`."""
    trailers: dict[bytes, bytes] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not name or name.strip() != name:
            raise MalformedHeader("a trailer is not of the form name: value")
        trailers[name.lower()] = value.strip()
    return trailers


def parse_date(value: bytes) -> int | None:
    """An HTTP date as Unix seconds, or None."""
    if len(value) > MAX_VALUE_BYTES:
        return None
    try:
        fields = parsedate_tz(value.decode("ascii"))
        return None if fields is None else timegm(fields[:6] + (0, 0, 0))
    except (ValueError, OverflowError, TypeError):
        return None


@lru_cache(REMEMBERED_DATES)
def format_date(seconds: int) -> bytes:
    """Unix seconds as an HTTP date."""
    year, month, day, hour, minute, second, weekday, *_ = gmtime(seconds)
    return b"%b, %02d %b %04d %02d:%02d:%02d GMT" % (
        _DAYS[weekday],
        day,
        _MONTHS[month - 1],
        year,
        hour,
        minute,
        second,
    )


def entity_tag(size_bytes: int, modified_ns: int, inode: int) -> bytes:
    """A strong entity tag: other bytes under the same path always have another."""
    return b'"%x-%x-%x"' % (size_bytes, modified_ns, inode)


def _tags(value: bytes) -> list[bytes]:
    return _TAG.findall(value[: 16 * MAX_VALUE_BYTES])


def _opaque(tag: bytes) -> bytes:
    return tag[2:] if tag.startswith(b"W/") else tag


def evaluate_conditions(
    header: Callable[[bytes], bytes | None], validators: Validators
) -> int:
    """200, 304 or 412 for a GET or HEAD of a file that is there.

    `header` gives the value of a request header by its name, or None. The order of
    the conditions is that of RFC 9110, section 13.2.2.
    """
    match = header(b"If-Match")
    if match is not None:
        if match.strip() != b"*" and validators.etag not in _tags(match):
            return 412
    else:
        value = header(b"If-Unmodified-Since")
        since = None if value is None else parse_date(value)
        if since is not None and validators.modified > since:
            return 412
    none_match = header(b"If-None-Match")
    if none_match is not None:
        known = [_opaque(tag) for tag in _tags(none_match)]
        if none_match.strip() == b"*" or validators.etag in known:
            return 304
        return 200
    value = header(b"If-Modified-Since")
    since = None if value is None else parse_date(value)
    if since is not None and validators.modified <= since:
        return 304
    return 200


def range_applies(if_range: bytes | None, validators: Validators) -> bool:
    """Whether a Range is to be honoured, given the value of If-Range.

    A date must be the very one that was sent as Last-Modified; a weak tag never fits.
    """
    if if_range is None:
        return True
    if_range = if_range.strip()
    if if_range.startswith((b'"', b"W/")):
        return if_range == validators.etag
    return parse_date(if_range) == validators.modified
