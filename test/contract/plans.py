"""Every statement of a database with sample values, for looking at the plans."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from koboldfs.store.phrases import Phrase
from koboldfs.store.statements import Statements
from koboldfs.store.steps import Statement

#: Tables that grow with the number of files.
GROWING = (
    "file",
    "file_on",
    "tempfile",
    "file_to_replicate",
    "file_to_delete2",
    "file_to_queue",
    "checksum",
    "kobold_checksum",
)
#: Statements that read a number of rows that is written in them, or for an operator's
#: rare command the table of open uploads, which is small.
BOUNDED = ("lengths", "old_uploads", "domain_has_uploads", "class_has_uploads")
#: Statements that no EXPLAIN knows.
_UNEXPLAINED = ("lock_draws",)
_LISTS: dict[str, Any] = {"keys": ["a", "b"], "fids": [1, 2, 3]}
_LISTS |= {f"in_{name}": [1, 2] for name in ("file", "file_on", "file_to_delete2")}
_NUMBERS = ("dmids", "lengths", "classids", "devcounts", "copy_fids", "copy_devids")
_NUMBERS += ("sum_fids", "hashtypes", "queue_fids")
_LISTS |= dict.fromkeys(_NUMBERS, [1, 2]) | {"checksums": [b"x", b"y"]}
_TEXTS = ("dkey", "pattern", "field", "value", "low", "high", "devids", "arg", "evcode")


def samples(sql: Statements) -> Iterator[tuple[str, Statement]]:
    """Name and statement of each phrase, but for those of `BOUNDED`."""
    for name, value in vars(sql).items():
        if name in BOUNDED or name in _UNEXPLAINED:
            continue
        phrases: list[Any] = [value]
        if isinstance(value, dict):
            phrases = list(value.values())
        elif isinstance(value, list):
            phrases = value
        for phrase in phrases:
            if isinstance(phrase, Phrase):
                values = {blank: _sample(name, blank) for blank in phrase.blanks}
                yield name, phrase(**values)


def _sample(name: str, blank: str) -> Any:
    if blank == "after" and name != "list_files":
        return "a"
    if blank in _LISTS:
        return _LISTS[blank]
    if blank == "checksum":
        return b"x"
    return "a" if blank in _TEXTS else 1
