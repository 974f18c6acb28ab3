"""Every statement of a database with sample values, for looking at the plans."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping
from typing import Any

from koboldfs.store.phrases import Phrase, Tongue
from koboldfs.store.statements import Statements
from koboldfs.store.statements_inspection import InspectionStatements
from koboldfs.store.steps import Statement

#: Tables that grow with the number of files.
GROWING = (
    "file",
    "file_on",
    "tempfile",
    "file_to_replicate",
    "file_to_delete",
    "file_to_delete_later",
    "file_to_delete2",
    "file_to_queue",
    "unreachable_fids",
    "fsck_log",
    "checksum",
    "kobold_checksum",
    "kobold_lost",
)
#: Statements that read more where there is more, and why they may.
BOUNDED = {
    "lengths": "counts up to a limit that is written in it",
    "old_uploads": "looks through a number of uploads that is written in it",
    "domain_has_uploads": "uploads are open now; asked by `delete_domain` only",
    "count_events": "reads what was logged since it was added up last",
    "class_has_uploads": "uploads are open now; asked by `delete_class` only",
    "forget_blank_of_domain": "as `domain_has_uploads`",
    "forget_blank_of_class": "as `class_has_uploads`",
}
#: Statements that no EXPLAIN knows.
_UNEXPLAINED = ("lock_draws",)
_LISTS: dict[str, Any] = {"keys": ["a", "b"], "fids": [1, 2, 3]}
_LISTS |= {f"in_{name}": [1, 2] for name in ("file", "file_on", "file_to_delete2")}
_NUMBERS = ("dmids", "lengths", "classids", "devcounts", "copy_fids", "copy_devids")
_NUMBERS += ("sum_fids", "hashtypes", "queue_fids")
_LISTS |= dict.fromkeys(_NUMBERS, [1, 2]) | {"checksums": [b"x", b"y"]}
_TEXTS = ("dkey", "pattern", "field", "value", "low", "high", "devids", "arg", "evcode")
_TEXTS += ("owner", "new_owner", "key_devids")
_LISTS["numbers"] = [1, 2]


class RecordingTongue(Tongue):
    """Remembers every phrase that was made with it."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.made: list[Phrase] = []

    def phrase(self, statement: Any) -> Phrase:
        """See `Tongue`."""
        made = super().phrase(statement)
        self.made.append(made)
        return made


def phrases(sql: Statements | InspectionStatements) -> Iterator[tuple[str, Phrase]]:
    """Name and phrase of every attribute, and of each in one that has several."""
    for name, value in vars(sql).items():
        some: list[Any] = [value]
        if isinstance(value, dict):
            some = list(value.values())
        elif isinstance(value, list):
            some = value
        yield from ((name, one) for one in some if isinstance(one, Phrase))


def samples(
    sql: Statements | InspectionStatements,
    values: Callable[[str], Mapping[str, Any]] = lambda name: {},
    omitted: Container[str] = BOUNDED,
) -> Iterator[tuple[str, Statement]]:
    """Name and statement of each phrase, but for the `omitted`. Blanks get `values` of
    the phrase's name, or else something that fits."""
    for name, phrase in phrases(sql):
        if name not in omitted and name not in _UNEXPLAINED:
            given = values(name)
            blanks = {
                blank: given[blank] if blank in given else _sample(name, blank)
                for blank in phrase.blanks
            }
            yield name, phrase(**blanks)


def _sample(name: str, blank: str) -> Any:
    if blank == "after" and name != "list_files":
        return "a"
    if blank in _LISTS:
        return _LISTS[blank]
    if blank == "checksum":
        return b"x"
    return "a" if blank in _TEXTS else 1
