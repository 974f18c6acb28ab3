"""SQLAlchemy Core in, SQL text out; compiled once, and without an Engine.

Compiling costs about a millisecond, so every statement is compiled when its engine is
opened and afterwards only filled in. Lists (``IN``) are padded to powers of two by
repeating the last value, so that few different texts exist for the engine to prepare;
rows of an ``INSERT`` are repeated as often as needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import BindParameter, Column, Integer, Table, bindparam
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.dialects.postgresql import psycopg2
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import ClauseElement, ColumnElement
from sqlalchemy.sql.expression import literal_column
from sqlalchemy.sql.functions import FunctionElement

from koboldfs.store.steps import Statement


class unix_now(FunctionElement[int]):
    """The database's clock in whole seconds, as queue columns hold it."""

    inherit_cache = True
    type = Integer()


@compiles(unix_now, "postgresql")
def _now_postgresql(element: Any, compiler: Any, **options: Any) -> str:
    return "CAST(extract(epoch FROM now()) AS INTEGER)"


@compiles(unix_now, "sqlite")
def _now_sqlite(element: Any, compiler: Any, **options: Any) -> str:
    return "CAST(strftime('%s', 'now') AS INTEGER)"


@compiles(unix_now, "mysql", "mariadb")
def _now_mysql(element: Any, compiler: Any, **options: Any) -> str:
    return "UNIX_TIMESTAMP()"


def listed(name: str) -> BindParameter[Any]:
    """The parameter of an ``IN``: filled with a list that is not empty."""
    return bindparam(name, expanding=True)


class Phrase:
    """A statement with blanks. Call it with the values by name."""

    def __init__(
        self, sql: str, names: Sequence[str], mark: str, fixed: Mapping[str, Any]
    ) -> None:
        self._sql = sql
        self._fixed = fixed
        self._names = tuple(names)
        self._mark = mark
        self._lists = {name for name in names if f"__[POSTCOMPILE_{name}]" in sql}
        self._text = lru_cache(maxsize=1024)(self._expand)
        self._repeat = lru_cache(maxsize=1024)(self._repeat_rows)

    @property
    def blanks(self) -> tuple[str, ...]:
        """The names of the values to be filled in."""
        return tuple(name for name in self._names if name not in self._fixed)

    def __call__(self, **values: Any) -> Statement:
        """The statement with these values; lists must not be empty."""
        params: list[Any] = []
        sizes: list[int] = []
        for name in self._names:
            if name in self._fixed:
                params.append(self._fixed[name])
                continue
            value = values[name]
            if name not in self._lists:
                params.append(value)
                continue
            size = 1 << (len(value) - 1).bit_length()
            sizes.append(size)
            params.extend(value)
            params.extend(value[-1:] * (size - len(value)))
        return Statement(
            self._text(tuple(sizes)) if sizes else self._sql, tuple(params)
        )

    def rows(self, rows: Sequence[Mapping[str, Any]]) -> Statement | None:
        """An ``INSERT`` of all these rows; None if there are none."""
        if not rows:
            return None
        params = tuple(row[name] for row in rows for name in self._names)
        return Statement(self._repeat(len(rows)), params)

    def _expand(self, sizes: tuple[int, ...]) -> str:
        sql = self._sql
        remaining = iter(sizes)
        for name in self._names:
            if name in self._lists:
                marks = ", ".join([self._mark] * next(remaining))
                sql = sql.replace(f"__[POSTCOMPILE_{name}]", marks, 1)
        return sql

    def _repeat_rows(self, count: int) -> str:
        start = self._sql.index("VALUES (") + len("VALUES ")
        end, depth = start, 0
        while True:
            depth += {"(": 1, ")": -1}.get(self._sql[end], 0)
            end += 1
            if depth == 0:
                break
        row, tail = self._sql[start:end], self._sql[end:]
        assert self._mark not in tail, "only the rows may have blanks"
        return self._sql[:start] + ", ".join([row] * count) + tail


class Tongue:
    """One dialect of SQL: turns Core statements into phrases of it.

    `name` is ``postgresql``, ``sqlite`` or ``mysql``.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.dialect: Dialect
        if name == "postgresql":
            self.dialect, self.mark = psycopg2.dialect(paramstyle="format"), "%s"
        elif name == "sqlite":
            self.dialect, self.mark = sqlite.dialect(paramstyle="qmark"), "?"
        else:
            self.dialect, self.mark = mysql.dialect(paramstyle="format"), "%s"

    def phrase(self, statement: ClauseElement) -> Phrase:
        """The statement as text with blanks."""
        compiled: Any = statement.compile(dialect=self.dialect)
        names = tuple(compiled.positiontup or ())
        binds = compiled.binds
        fixed = {name: binds[name].value for name in names if not binds[name].required}
        return Phrase(str(compiled), names, self.mark, fixed)

    def _insert(
        self, table: Table, columns: Iterable[str], fixed: Mapping[str, Any]
    ) -> Any:
        insert = {
            "postgresql": postgresql.insert,
            "sqlite": sqlite.insert,
            "mysql": mysql.insert,
        }[self.name]
        blanks: dict[str, Any] = {name: bindparam(name) for name in columns}
        return insert(table).values({**blanks, **constants(fixed)})

    def insert(self, table: Table, *columns: str, **fixed: Any) -> Phrase:
        """An ``INSERT`` with blanks for `columns` and the values of `fixed`."""
        return self.phrase(self._insert(table, columns, fixed))

    def insert_new(self, table: Table, *columns: str, **fixed: Any) -> Phrase:
        """As `insert`, but rows that break a unique rule are left out silently."""
        statement = self._insert(table, columns, fixed)
        if self.name == "mysql":
            # IGNORE would let values through that do not fit.
            same = {name: table.c[name] for name in tuple(columns)[:1]}
            return self.phrase(statement.on_duplicate_key_update(same))
        return self.phrase(statement.on_conflict_do_nothing())

    def upsert(
        self, table: Table, keys: Sequence[str], *columns: str, **fixed: Any
    ) -> Phrase:
        """As `insert`, but a row with the same `keys` gets all the other values.

        MySQL looks at every unique rule of the table, not only at `keys`.
        """
        statement = self._insert(table, columns, fixed)
        changed = [name for name in (*columns, *fixed) if name not in keys]
        return self.phrase(
            self._on_duplicate(
                statement, keys, {name: self._new(statement, name) for name in changed}
            )
        )

    def insert_or(
        self,
        table: Table,
        keys: Sequence[str],
        otherwise: Mapping[str, ColumnElement[Any]],
        *columns: str,
        **fixed: Any,
    ) -> Phrase:
        """As `insert`, but a row with the same `keys` is changed by `otherwise`."""
        statement = self._insert(table, columns, fixed)
        return self.phrase(self._on_duplicate(statement, keys, dict(otherwise)))

    def _new(self, statement: Any, name: str) -> Any:
        rows = statement.inserted if self.name == "mysql" else statement.excluded
        return rows[name]

    def _on_duplicate(self, statement: Any, keys: Sequence[str], changes: Any) -> Any:
        if self.name == "mysql":
            return statement.on_duplicate_key_update(changes)
        return statement.on_conflict_do_update(index_elements=list(keys), set_=changes)

    def update(
        self, table: Table, columns: Sequence[str], keys: Sequence[str]
    ) -> Phrase:
        """An ``UPDATE`` of `columns` where the `keys` are equal (blank ``key_X``)."""
        statement = table.update().values({name: bindparam(name) for name in columns})
        for name in keys:
            column: Column[Any] = table.c[name]
            statement = statement.where(column == bindparam(f"key_{name}"))
        return self.phrase(statement)


def constants(fixed: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers written into the text, so that they need no parameter."""
    return {
        name: literal_column(str(value)) if isinstance(value, int) else value
        for name, value in fixed.items()
    }
