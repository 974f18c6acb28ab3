"""How each client of MogileFS reads a line of the tracker.

Only what a client really does, right or wrong: what none of these functions can take,
or takes for something else, breaks somebody's programs. An ERR line raises `Refused`.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qs, parse_qsl, unquote_plus, unquote_to_bytes

#: What the Perl client looks for at the beginning of a line, and others like it. The
#: digits to be passed over are the length of the reply, which old trackers sent.
OK_LINE = re.compile(r"OK\s+\d*\s*(\S*)")
ERR_LINE = re.compile(r"ERR\s+(\w+)\s*(\S*)")
_ERR_TO_THE_END = re.compile(r"ERR\s+(\w+)\s*(.*)")
#: moji's exceptions, and the words by which it knows them.
MOJI_WORDS = {
    "UnknownKey": ("unknown_key",),
    "UnknownCommand": ("unknown_command",),
    "KeyExistsAlready": ("key_exists",),
    "UnknownStorageClass": ("unreg_class", "class_not_found"),
    "NoneMatch": ("none_match",),
}


class Refused(Exception):
    """A client has read an ERR line: its code, and its text as it understands it."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(code, text)
        self.code, self.text = code, text


def expression_fields(line: bytes) -> dict[str, str]:
    """The Perl client: the fields, unescaped; one without a value is empty."""
    text = line.decode("latin-1")
    refused = ERR_LINE.match(text)
    if refused is not None:
        raise Refused(refused[1], unquote_plus(refused[2], "latin-1"))
    found = OK_LINE.match(text)
    assert found is not None, line
    pairs = [pair.split("=") for pair in found[1].split("&") if pair]
    return {
        unquote_plus(pair[0], "latin-1"): unquote_plus("".join(pair[1:2]), "latin-1")
        for pair in pairs
    }


def exception_name(code: str) -> str:
    """`unknown_key` -> `UnknownKeyError`."""
    return re.sub("(?:^|_)([a-z])", lambda match: match[1].upper(), code) + "Error"


def ruby_fields(line: bytes) -> dict[str, str]:
    """The fields; each pair is cut at its first ``=`` only."""
    text = line.decode("latin-1")
    refused = _ERR_TO_THE_END.match(text)
    if refused is not None:
        raise Refused(exception_name(refused[1]), unquote_plus(refused[2]).strip())
    found = OK_LINE.match(text)
    assert found is not None, line
    pairs = [pair.split("=", 1) for pair in found[1].split("&") if pair]
    return {unquote_plus(k, "latin-1"): unquote_plus(v, "latin-1") for k, v in pairs}


def pymogilefs_text(received: bytes) -> str:
    """What follows OK; all that came is the reply."""
    status, rest = received.decode("utf-8").split(" ", 1)
    if status == "ERR":
        code, text = rest.split(" ", 1)
        raise Refused(code, text.strip())
    assert status == "OK", received
    return rest.strip()


def pymogilefs_pairs(received: bytes) -> dict[str, str]:
    """The pairs as they came, split but not unescaped."""
    pairs = {}
    for pair in pymogilefs_text(received).split("&"):
        name, value = pair.split("=")
        pairs[name] = value
    return pairs


def pymogile_fields(line: bytes) -> dict[str, str]:
    """The fields with a value; of a repeated one the first."""
    expression_fields(line)
    found = OK_LINE.match(line.decode("latin-1"))
    assert found is not None
    fields = parse_qs(found[1], encoding="latin-1")
    return {name: values[0] for name, values in fields.items()}


def java_values(text: str) -> dict[str, str]:
    """The pairs that have a value, unescaped."""
    pairs = [pair.split("=") for pair in text.split("&")]
    return {
        pair[0]: unquote_plus(pair[1], "utf-8", "strict")
        for pair in pairs
        if len(pair) == 2 and pair[1]
    }


def moji_reply(line: bytes) -> dict[str, str]:
    """The values of an OK; for ERR, the names of the exceptions that fit."""
    status, blank, payload = line.decode("ascii").rstrip("\r\n").partition(" ")
    assert blank, line
    if status == "OK":
        return java_values(payload)
    assert status == "ERR", line
    fitting = [
        name
        for name, words in MOJI_WORDS.items()
        if any(word in payload for word in words)
    ]
    raise Refused(",".join(fitting), payload)


def guba_reply(line: bytes) -> dict[str, str]:
    """The values of an OK; both expressions must match to the end of the line."""
    text = line.decode("ascii").rstrip("\r\n")
    found = OK_LINE.fullmatch(text)
    if found is not None:
        return java_values(found[1])
    refused = ERR_LINE.fullmatch(text)
    assert refused is not None, line
    raise Refused(refused[1], refused[2])


def php_reply(line: bytes) -> dict[str, str]:
    """The fields of the second word, unescaped."""
    words = line.decode("latin-1").split(" ")
    if words[0] == "ERR":
        raise Refused(words[1], "")
    assert words[0] == "OK" and len(words) == 2, line
    return dict(parse_qsl(words[1].strip(), True, encoding="latin-1"))


def pecl_text(line: bytes) -> str:
    """What the extension keeps of a reply: a string of C, which ends with a NUL."""
    cut = unquote_to_bytes(line[:-2].replace(b"+", b" ")) + b"\0\n"
    text = cut.decode("latin-1")
    if not text.startswith("OK"):
        words = text.rstrip("\0\n").split(" ", 2)
        raise Refused(words[1], words[2] if len(words) == 3 else " ".join(words))
    return text[3:].split("\0")[0]


def pecl_fields(line: bytes) -> dict[str, str]:
    """The fields; a value ends at its next ``=``, and one that is missing is empty."""
    pairs = [pair.split("=") for pair in pecl_text(line).split("&") if pair]
    return {pair[0]: "".join(pair[1:2]) for pair in pairs}
