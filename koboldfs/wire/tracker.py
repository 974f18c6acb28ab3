"""The MogileFS tracker's text protocol: one line a request, one line a reply.

    request   = [ admin | command ] [ CR ] LF            an empty line is skipped
    admin     = "!" word [ blanks rest ]                 word: no blanks in it
    command   = *blank word *blank arguments             word: A-Z a-z 0-9 _
    arguments = see `koboldfs.wire.escaping`

    reply     = "OK " [ pair *( "&" pair ) ] CRLF
              / "ERR " code " " escaped-text [ " " escaped-callid ] CRLF
    admin's   = *( text CRLF ) "." CRLF

The word of a command is taken without regard to case, and nothing need separate it
from its arguments (``NOOP&a=1``). A line without a word is a command of no name. The
argument ``callid`` is no command's own: it comes back as a field of OK or as the third
word of ERR, and only in the reply to the very request that had it.

Texts are Latin-1 ``str``: one character per byte.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from attrs import field, frozen

from koboldfs.wire.escaping import escape, format_arguments, parse_arguments

#: A longer request (without its line end) is refused. The longest that a client has
#: reason to send, a key of 1,024 escaped bytes and all else, is below 10 KiB.
MAX_LINE_BYTES = 1024 * 1024
CALLID = "callid"
#: A reply with more pairs than this is likely to be a list of texts.
LONG_REPLY_PAIRS = 100

_ADMIN = re.compile(r"!(\S+)(?:\s+(.*))?", re.ASCII | re.DOTALL)
_COMMAND = re.compile(r"\s*([A-Za-z0-9_]+)\s*(.*)", re.ASCII | re.DOTALL)
#: What `escape` leaves as it is, and the blank, which it turns into a plus.
_PLAIN = bytes(
    number
    for number in range(256)
    if escape(chr(number)) == chr(number) or number == ord(" ")
)
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f]")


@frozen
class AdminLine:
    """A line such as ``!want 2 replicate``."""

    word: str
    rest: str = ""


@frozen
class Command:
    """A request. `name` is in lower case, or empty if the line has no word."""

    name: str
    arguments: dict[str, str] = field(factory=dict)
    callid: str | None = None


def parse_line(line: bytes) -> AdminLine | Command | None:
    """What a line without its LF means; None for an empty one.

    There are no bytes that do not parse: what is no request of any kind is a command
    of an unknown name. The length is the caller's to check.
    """
    text = line.decode("latin-1")
    if text.endswith("\r"):
        text = text[:-1]
    if not text:
        return None
    if text[0] == "!":
        admin = _ADMIN.fullmatch(text)
        if admin is not None:
            return AdminLine(admin[1], admin[2] or "")
    match = _COMMAND.match(text)
    if match is None:
        return Command("")
    name, rest = match.groups()
    if not rest:
        return Command(name.lower(), {}, None)
    arguments = parse_arguments(rest)
    return Command(name.lower(), arguments, arguments.pop(CALLID, None))


def format_ok(pairs: Sequence[tuple[str, object]], callid: str | None = None) -> bytes:
    """The reply to a request that was done; None is written as an empty value.

    Raises `UnicodeEncodeError` or `KeyError` for a character above U+00FF, which is a
    defect of the caller.
    """
    if callid is not None:
        pairs = [*pairs, (CALLID, callid)]
    if not pairs:
        return b"OK \r\n"
    body = _joined(pairs).encode("latin-1")
    # Most replies need no escape. In such a one nothing is left without the plain
    # bytes but the separators: one "=" a pair, and "&" between them.
    if len(body.translate(None, _PLAIN)) == 2 * len(pairs) - 1:
        return b"OK %b\r\n" % body.replace(b" ", b"+")
    return f"OK {format_arguments(pairs)}\r\n".encode("latin-1")


def _joined(pairs: Sequence[tuple[str, object]]) -> str:
    if len(pairs) > LONG_REPLY_PAIRS:
        try:
            return "&".join(map("=".join, pairs))  # type: ignore[arg-type]
        except TypeError:
            pass  # there are values that are no texts
    return "&".join(
        [f"{name}={'' if value is None else value}" for name, value in pairs]
    )


def format_error(code: str, text: str, callid: str | None = None) -> bytes:
    """The reply to a request that was not done; without a text the code is the text.

    A character above U+00FF in the text, which is for humans, becomes ``?``.
    """
    plain = (text or code).encode("latin-1", "replace").decode("latin-1")
    third = "" if callid is None else f" {escape(callid)}"
    return f"ERR {code} {escape(plain)}{third}\r\n".encode("latin-1")


def format_lines(lines: Sequence[str], *, end: str = "\r\n") -> bytes:
    """The reply to an admin line, with the dot that ends it."""
    text = "".join([f"{line}{end}" for line in lines])
    return text.encode("latin-1", "replace") + b".\r\n"


def printable(text: str) -> str:
    """The text with control characters as ``%XX``: it stays on its line, and cannot
    steer the terminal of who reads it."""
    return _UNPRINTABLE.sub(lambda match: f"%{ord(match[0]):02X}", text)
