"""The side channel of a storage node: lines, ended by LF or CRLF; replies by CRLF.

What MogileFS's storage daemon understands (one reply a request, in order):

    size <uri>                  -> <uri> <bytes>            (-1: not there)
    MD5 <uri>[ fsck]            -> <uri> MD5=<hex>          (-1: not there)
    SHA-1 <uri>[ fsck]          -> <uri> SHA-1=<hex>
    watch                       -> for ever: <devid> TAB <util%> LF ..., "." LF

What is ours begins with the word ``kobold`` and a number that the client chose; the
reply repeats it, so that many requests are under way on one connection and a long one
holds up nobody:

    kobold <id> <verb>[ <arguments>]  -> kobold <id> OK[ <arguments>]
                                      or kobold <id> ERR <code> <escaped text>

    verb    arguments                                 fields of OK
    hello                                             version cluster host fsync
    usage                                             devices, fsync (0, or not there
                                                      if it is on), and for each i:
                                                      dev<i>_devid _observed _kib_total
                                                      _kib_used _utilization (percent)
                                                      _latency (seconds) [_failing]
                                                      [_quarantined] (files)
                                                      [_full] (1) [_highest] (fid)
    stat    devid fid                                 size [checksum]  (-1: not there)
    stats   devid fids                                sizes checksums
    digest  devid fid type                            checksum | missing=1
    pull    devid fid size host fromdevid [checksum]  checksum
    delete  devid fid                                 (none; not there is fine)
    digests devid fids type                           checksums
    setaside  devid fid reason [unless] [older] [beyond]
                                                      result
    list    devid folder after                        folder fids [more | following]
    highest devid below                               fid

``fids`` are up to `MAX_STATS` numbers with commas between them; ``sizes`` and
``checksums`` answer in the same order, -1 for a copy that is not there, and nothing for
a checksum that is not known. To ``digests`` they are read from the disk, as many from
the first on as fit a request (one at least): so many ``checksums`` come back,
``missing`` or ``unreadable`` in the place of what is not there or fails. ``setaside``
moves a copy into the device's quarantine (``reason`` is ``bad`` or ``orphan``), unless
it reads as the checksum ``unless`` or came there less than ``older`` seconds ago;
``beyond`` has it moved when the quarantine is full, too, up to ten times as many.
``result`` is ``moved``, ``missing``, ``good``, ``young`` or ``full``. ``list`` gives
the ``fids`` of the first ``folder`` (a number of seven digits, 0012345 is
``0/012/345``) from the given one on that has any, in it those above ``after``; there
are ``more`` in it, or the ``following`` one is asked for next, or (neither) there are
no more. ``highest`` finds the highest fid of ten digits on the disk that is less than
``below`` (0: there is none); ``usage`` tells the highest of all. ``type`` is MD5, SHA-1
or SHA-256; a checksum is written ``SHA-256:<hex>``. ``host`` is the NAME of a host of
the cluster: the node looks its address up itself, so a pull can not be aimed at a
stranger. Error codes: those of `ERROR_CODES`.
"""

from __future__ import annotations

import re

from attrs import field, frozen

from koboldfs.model.entities import DIGEST_BYTES, HASH_TYPES, Checksum
from koboldfs.wire.escaping import escape, format_arguments, parse_arguments, unescape

#: No request or reply is longer (bytes); a usage reply of 1,000 devices fits.
MAX_LINE_BYTES = 256 * 1024
#: No more copies are asked for at once: the answer has to fit a line.
MAX_STATS = 1000
VERBS = (
    *("hello", "usage", "stat", "stats", "digest", "pull", "delete"),
    *("digests", "setaside", "list", "highest"),
)
ERROR_CODES = (
    "bad_request",  # the line does not follow the grammar
    "no_device",  # the device is not served here (now)
    "not_writable",  # the device takes no writes
    "disk_full",
    "disk_fault",
    "unknown_host",  # a pull from a host that the node does not know
    "source_missing",  # a pull: the source does not have the file
    "source_unreachable",
    "source_corrupt",  # a pull: other size or checksum than said
    "too_busy",  # too many requests under way
    "failure",
)
_REQUEST = re.compile(r"kobold ([0-9]{1,12}) ([a-z]{1,16})(?: (\S*))?", re.ASCII)
_REPLY = re.compile(r"kobold ([0-9]{1,12}) (OK|ERR)(?: (.*))?", re.ASCII)
#: The code of an error, known or not: people are shown it.
_CODE = re.compile("[a-z_]{1,32}", re.ASCII)


class SyntaxFault(ValueError):
    """A line that does not follow the grammar."""


@frozen
class Request:
    """One ``kobold`` request."""

    number: int
    verb: str
    arguments: dict[str, str] = field(factory=dict)

    def line(self) -> bytes:
        """The bytes to send, without the line end."""
        text = format_arguments(self.arguments.items())
        return f"kobold {self.number} {self.verb} {text}".rstrip().encode("latin-1")


@frozen
class Reply:
    """One ``kobold`` reply; `code` is None for OK."""

    number: int
    fields: dict[str, str] = field(factory=dict)
    code: str | None = None
    text: str = ""

    def line(self) -> bytes:
        """The bytes to send, without the line end."""
        if self.code is None:
            text = f"OK {format_arguments(self.fields.items())}".rstrip()
        else:
            text = f"ERR {self.code} {escape(self.text)}"
        return f"kobold {self.number} {text}".encode("latin-1")


def parse_request(line: bytes) -> Request:
    """Raises `SyntaxFault` when the line is no ``kobold`` request."""
    match = _REQUEST.fullmatch(line.decode("latin-1"))
    if match is None:
        raise SyntaxFault("not a kobold request")
    return Request(int(match[1]), match[2], parse_arguments(match[3] or ""))


def parse_reply(line: bytes) -> Reply:
    """Raises `SyntaxFault` when the line is no ``kobold`` reply."""
    match = _REPLY.fullmatch(line.decode("latin-1"))
    if match is None:
        raise SyntaxFault("not a kobold reply")
    number, rest = int(match[1]), match[3] or ""
    if match[2] == "OK":
        return Reply(number, parse_arguments(rest))
    code, _, text = rest.partition(" ")
    if not _CODE.fullmatch(code):
        raise SyntaxFault("an error without a code")
    return Reply(number, {}, code, unescape(text))


def parse_checksum(text: str) -> Checksum:
    """The value of ``SHA-256:<hex>`` and its like; raises `SyntaxFault`."""
    name, _, digits = text.partition(":")
    hashtype = HASH_TYPES.get(name)
    if hashtype is None or not re.fullmatch("[0-9a-fA-F]+", digits, re.ASCII):
        raise SyntaxFault("not a checksum")
    if len(digits) != 2 * DIGEST_BYTES[hashtype]:
        raise SyntaxFault("not the length of that checksum")
    return Checksum(hashtype, bytes.fromhex(digits))
