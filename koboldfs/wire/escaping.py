"""The argument string of the tracker protocol and of our side channel commands.

    arguments = pair *( "&" pair )
    pair      = name [ "=" value ]

In names and values ``+`` is a blank and ``%XX`` a byte; a ``%`` that two hex digits do
not follow stays. Empty pairs are dropped, and a pair that is exactly ``0``. The first
``=`` separates, the rest belongs to the value. A repeated name joins its values with
one NUL. On output the bytes ``A-Z a-z 0-9 _ , - . / \\ :`` stay, a blank becomes ``+``,
everything else ``%XX`` in upper case.

Texts are Latin-1 ``str``: one character per byte.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_ESCAPED = re.compile("%([0-9a-fA-F]{2})")
_UNSAFE = re.compile(r"[^A-Za-z0-9_,\-./\\: ]")
_BYTES = {f"{number:02x}": chr(number) for number in range(256)}
_ESCAPES = {chr(number): f"%{number:02X}" for number in range(256)}


def unescape(text: str) -> str:
    """The bytes that an escaped text stands for."""
    if "+" in text:
        text = text.replace("+", " ")
    if "%" in text:
        text = _ESCAPED.sub(lambda match: _BYTES[match[1].lower()], text)
    return text


def escape(text: str) -> str:
    """The text in a form that has no separators in it.

    Raises `KeyError` for a character above U+00FF, which is a defect of the caller.
    """
    if _UNSAFE.search(text):
        text = _UNSAFE.sub(lambda match: _ESCAPES[match[0]], text)
    return text.replace(" ", "+")


def parse_arguments(text: str) -> dict[str, str]:
    """The arguments by name; a name without ``=`` has the empty value."""
    arguments: dict[str, str] = {}
    for pair in text.split("&"):
        if not pair or pair == "0":
            continue
        name, _, value = pair.partition("=")
        name, value = unescape(name), unescape(value)
        if name in arguments:
            value = f"{arguments[name]}\0{value}"
        arguments[name] = value
    return arguments


def format_arguments(pairs: Iterable[tuple[str, object]]) -> str:
    """The argument string for the pairs; None is written as an empty value."""
    return "&".join(
        f"{escape(name)}={'' if value is None else escape(str(value))}"
        for name, value in pairs
    )
