"""Recorded exchanges with a tracker, as text, and their replay.

    # a comment
    > create_open domain=d1&key=k
    < OK fid=<fid>&devid=<devid>&path=<path>
    put {path} hello
    > create_close domain=d1&fid={fid}&devid={devid}&path={path}&key=k&size=5
    < OK

``>`` is a request and ``<`` the answer of MogileFS's tracker. The fields of an OK come
in any order; ``*`` is any text, ``<name>`` remembers one, and ``{name}`` puts it in, in
requests and in answers. Requests in lines one below the other are sent in one piece. A
``!`` line is answered with as many lines as MogileFS sent, up to the dot; ``...`` is
any number of lines. ``(closed)`` is the end of the connection.

Where our answer differs on purpose, the line below the recorded one says it, with the
name under which doc/tracker-protocol tells why::

    > create_open domain=d1&key=k&class=default
    < ERR unreg_class unreg_class
    = default-class: OK fid=*&devid=*&path=*

``+ NAME`` instead allows further fields in our answer. ``?`` before a
request has it sent again until the answer is the one below. ``sql STATEMENT -> ROWS``
asks the database, until the rows are those (columns separated by ``|``, rows by
`` / ``). ``put URL TEXT`` and ``remove URL`` speak to a storage node, ``node stop N``
and ``node start N`` to its operator. ``hear TEXT`` waits for a line to who watches.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from attrs import define, field, frozen

FOLDER = Path(__file__).resolve().parent / "exchanges"

_EXCEPTION = re.compile(r"(?P<sign>[=+]) (?P<name>[a-z-]+)(?:: (?P<answer>.*))?")
_ADMIN_LINE = re.compile(rb"!\S")
_NAME = re.compile(r"{([a-z_0-9]+)}")
_TOKEN = re.compile(r"\*|<([a-z_0-9]+)>")


class Mismatch(Exception):
    """An answer is not the one that was expected."""


@define
class Answer:
    """What comes back for one request: one line, or those of a ``!`` line."""

    recorded: list[str] = field(factory=list)
    #: Names of the exceptions that let ours differ, and ours if it is another.
    exceptions: list[str] = field(factory=list)
    ours: list[str] = field(factory=list)
    further_fields: bool = False


@define
class Step:
    """One piece of a transcript: ``verb`` is ``ask``, ``until`` or its first word."""

    line_number: int
    verb: str
    #: Of ``ask`` and ``until``, the requests; else what stands behind the word.
    texts: list[str]
    answers: list[Answer] = field(factory=list)


@frozen
class Transcript:
    """A file of exchanges."""

    path: Path
    steps: list[Step]

    def exceptions(self) -> set[str]:
        """The names of all that is answered differently."""
        return {
            name
            for step in self.steps
            for answer in step.answers
            for name in answer.exceptions
        }


def transcripts() -> list[Transcript]:
    """All that are there, in the order in which they are played."""
    return [parse(path) for path in sorted(FOLDER.glob("*.txt"))]


def parse(path: Path) -> Transcript:
    """Read a file; raises ValueError with the line that makes no sense."""
    return Transcript(path, parse_lines(path.read_text(encoding="utf-8").splitlines()))


def parse_lines(lines: Sequence[str]) -> list[Step]:
    """What they say; raises ValueError."""
    steps: list[Step] = []
    for number, line in enumerate(lines, 1):
        mark, _, rest = line.partition(" ")
        if not line or mark == "#":
            continue
        if mark in (">", "?"):
            _request(steps, number, mark, rest)
        elif mark in ("<", "=", "+"):
            if not steps or steps[-1].verb not in ("ask", "until"):
                raise ValueError(f"line {number}: an answer to nothing")
            _answer(steps[-1], number, line)
        else:
            steps.append(Step(number, mark, [rest]))
    for step in steps:
        if step.verb in ("ask", "until") and len(step.answers) != len(step.texts):
            raise ValueError(f"line {step.line_number}: not an answer for each")
    return steps


def _request(steps: list[Step], number: int, mark: str, rest: str) -> None:
    open_step = steps and steps[-1].verb == "ask" and not steps[-1].answers
    if mark == ">" and open_step:
        steps[-1].texts.append(rest)
    else:
        steps.append(Step(number, "ask" if mark == ">" else "until", [rest]))


def is_admin_line(request: str) -> bool:
    """Whether the answer is several lines."""
    return _ADMIN_LINE.match(request.encode()) is not None


def _answer(step: Step, number: int, line: str) -> None:
    mark, _, rest = line.partition(" ")
    if mark == "<":
        last = step.answers[-1] if step.answers else None
        if last is not None and not _complete(step, last):
            last.recorded.append(rest)
        else:
            step.answers.append(Answer([rest]))
        return
    match = _EXCEPTION.fullmatch(line)
    if match is None or not step.answers:
        raise ValueError(f"line {number}: {line!r} is no exception")
    answer = step.answers[-1]
    answer.exceptions.append(match["name"])
    if mark == "+":
        answer.further_fields = True
    else:
        answer.ours.append(match["answer"] or "")


def _complete(step: Step, answer: Answer) -> bool:
    if not is_admin_line(step.texts[len(step.answers) - 1]):
        return True
    return answer.recorded[-1] in (".", "(closed)")


def read_answer(lines: Iterator[str], request: str) -> list[str]:
    """The lines of the answer to a request, without their ends."""
    found = [next(lines, "(closed)")]
    while is_admin_line(request) and found[-1] not in (".", "(closed)"):
        found.append(next(lines, "(closed)"))
    return found


def filled(text: str, names: dict[str, str]) -> str:
    """The text with what was remembered; raises `Mismatch` if it was not."""
    try:
        return _NAME.sub(lambda match: names[match[1]], text)
    except KeyError as missing:
        raise Mismatch(f"nothing is known of {missing} in {text}") from missing


def compare(answer: Answer, found: list[str], names: dict[str, str]) -> None:
    """Raises `Mismatch` unless `found` is what is expected of us; remembers names."""
    recorded = [filled(line, names) for line in answer.recorded]
    expected = [filled(line, names) for line in answer.ours] or recorded
    if not _fits(expected, found, names, answer.further_fields):
        raise Mismatch(f"expected {expected}, found {found}")
    if answer.exceptions and _fits(recorded, found, dict(names), False):
        raise Mismatch(f"{found} is no exception: MogileFS answers the same")


def _fits(
    expected: list[str], found: list[str], names: dict[str, str], further: bool
) -> bool:
    if not expected:
        return not found
    if expected[0] == "...":
        return any(
            _fits(expected[1:], found[skipped:], names, further)
            for skipped in range(len(found) + 1)
        )
    return (
        bool(found)
        and _line_fits(expected[0], found[0], names, further)
        and _fits(expected[1:], found[1:], names, further)
    )


def _line_fits(expected: str, found: str, names: dict[str, str], further: bool) -> bool:
    wanted = expected.split(" ")
    if wanted[0] != "OK" or len(wanted) > 2:
        return text_fits(expected, found, names)
    status, _, rest = found.partition(" ")
    if status != "OK" or " " not in found:
        return False
    fields, ours = _fields(wanted[1] if wanted[1:] else ""), _fields(rest)
    if fields is None or ours is None or not fields.keys() <= ours.keys():
        return False
    if not further and fields.keys() != ours.keys():
        return False
    return all(text_fits(fields[name], ours[name], names) for name in fields)


def _fields(text: str) -> dict[str, str] | None:
    """The fields; None if a name comes twice or a pair is none."""
    pairs = [pair.partition("=") for pair in text.split("&") if pair]
    fields = {name: value for name, _, value in pairs}
    fine = len(fields) == len(pairs) and all(equals for _, equals, _ in pairs)
    return fields if fine else None


def text_fits(expected: str, found: str, names: dict[str, str]) -> bool:
    """Whether the text is the pattern's; remembers what has a name in it."""
    pattern, end = "", 0
    for token in _TOKEN.finditer(expected):
        pattern += re.escape(expected[end : token.start()])
        pattern += f"(?P<{token[1]}>.+)" if token[1] else ".*"
        end = token.end()
    match = re.fullmatch(pattern + re.escape(expected[end:]), found)
    if match is not None:
        names.update(match.groupdict())
    return match is not None
