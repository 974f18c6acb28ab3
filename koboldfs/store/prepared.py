"""Statements that PostgreSQL has parsed and planned once.

Most of what a small statement costs the server is to parse and to plan it. A text that
a connection has sent some times is prepared on it, in the same trip, and from then on
only named. Plans are made without regard to the values (`plan_cache_mode`): all our
statements go by an index, whatever the values are. Which index, the planner only knows
when there are rows: plans are made anew every few seconds (`PLAN_SECONDS`), lest one
that was made for an empty table is kept while that is filled.

    SELECT ... WHERE dmid = %s AND dkey IN (%s, %s)
    PREPARE k7 AS SELECT ... WHERE dmid = $1 AND dkey IN ($2, $3)
    EXECUTE k7 (1, 'a', 'b')
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from koboldfs.store.steps import Statement

#: A text is prepared when it is sent for this time.
USES = 4
#: Statements that a connection prepares, those included whose trip failed, which the
#: server may have: each is some 10 to 50 KB there.
MAX_PREPARED = 256
#: A plan is used for so long.
PLAN_SECONDS = 5.0
#: Texts whose uses are counted, and parameters of one that is worth it: the more there
#: are, the less of the cost is planning.
MAX_COUNTED = 2048
MAX_PARAMETERS = 256
#: What can be prepared; the others are quickly parsed.
_VERBS = ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")

#: Fills values into a text as the driver does.
Mogrify = Callable[[str, Sequence[Any] | None], bytes]


class Prepared:
    """What is prepared on one connection."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._planned = seconds()
        self._uses: dict[str, int] = {}
        self._names: dict[str, str] = {}
        self._new: list[str] = []
        self._count = 0

    def text(self, statements: Sequence[Statement], mogrify: Mogrify) -> bytes:
        """What to send for these statements, in one trip. Call `sent` afterwards."""
        texts = [self._text(one, mogrify) for one in statements]
        now = self._seconds()
        if now >= self._planned + PLAN_SECONDS:
            self._discard_plans(statements, texts, now)
        return b";\n".join(texts)

    def _discard_plans(
        self, statements: Sequence[Statement], texts: list[bytes], now: float
    ) -> None:
        """Before the first statement that has a plan: not before ROLLBACK, which alone
        is taken after a fault, nor before a BEGIN that says how isolated it is, which
        has to be the first of all."""
        for place, statement in enumerate(statements):
            if statement.sql.startswith(_VERBS):
                self._planned = now
                if self._names:
                    texts.insert(place, b"DISCARD PLANS")
                return

    def _text(self, statement: Statement, mogrify: Mogrify) -> bytes:
        sql, params = statement.sql, statement.params
        name = self._names.get(sql)
        if name is not None:
            return _execute(name, params, mogrify)
        if not self._worth(sql, params):
            return mogrify(sql, params or None)
        # Never the same name twice: nobody knows how far a trip came that failed.
        self._count += 1
        name = self._names[sql] = f"k{self._count}"
        self._new.append(sql)
        prepare = f"PREPARE {name} AS {numbered(sql)}".encode()
        return prepare + b";\n" + _execute(name, params, mogrify)

    def _worth(self, sql: str, params: Sequence[Any]) -> bool:
        if self._count >= MAX_PREPARED or len(params) > MAX_PARAMETERS:
            return False
        uses = self._uses.get(sql, 0) + 1
        if uses >= USES:
            if not sql.startswith(_VERBS):
                return False
            self._uses.pop(sql, None)
            return True
        if len(self._uses) >= MAX_COUNTED:
            self._uses.clear()
        self._uses[sql] = uses
        return False

    def sent(self, done: bool) -> None:
        """The trip was `done`, or failed somewhere."""
        if self._new:
            if not done:
                for sql in self._new:
                    self._names.pop(sql, None)
            self._new.clear()


@lru_cache(maxsize=1024)
def numbered(sql: str) -> str:
    """A text with the driver's blanks (``%s``, and ``%%`` for a sign) as PostgreSQL's
    own."""
    pieces = sql.split("%s")
    text = pieces[0]
    for number, piece in enumerate(pieces[1:], 1):
        text += f"${number}{piece}"
    return text.replace("%%", "%") if len(pieces) > 1 else text


def _execute(name: str, params: Sequence[Any], mogrify: Mogrify) -> bytes:
    if not params:
        return f"EXECUTE {name}".encode()
    try:
        return f"EXECUTE {name} ({', '.join(map(literal, params))})".encode()
    except TypeError:
        blanks = ", ".join(["%s"] * len(params))
        return mogrify(f"EXECUTE {name} ({blanks})", params)


def literal(value: Any) -> str:
    """A value of a prepared statement, which knows the value's type.

    The driver can say values of any kind, but takes longer for it than for all else
    that it does. Needs `standard_conforming_strings`. Raises `ValueError` for a text
    that PostgreSQL does not take, `TypeError` for a kind that is left to the driver.
    """
    kind = type(value)
    if kind is int:
        return str(value)
    if kind is str:
        return _quoted(value)
    if value is None:
        return "NULL"
    if kind is bytes:
        return f"'\\x{value.hex()}'"
    if kind is list:
        return _quoted(f"{{{','.join(map(_element, value))}}}")
    raise TypeError(kind.__name__)


def _quoted(text: str) -> str:
    if "\0" in text:
        raise ValueError("a text with a NUL")
    return "'" + text.replace("'", "''") + "'"


def _element(value: Any) -> str:
    """One of an array."""
    if type(value) is int:
        return str(value)
    if type(value) is bytes:
        return f'"\\\\x{value.hex()}"'
    text: str = value
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
