"""The statements of an inspection: none changes anything, and none reads much.

What grows with the files is counted to a limit, found by steps along an index, or
estimated by what the engine keeps for its own planning.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    Integer,
    Select,
    Table,
    bindparam,
    case,
    func,
    literal_column,
    select,
    text,
)

from koboldfs.model.entities import END_OF_TIME
from koboldfs.store.phrases import Phrase, Tongue, unix_now
from koboldfs.store.schema import (
    file,
    file_on,
    file_to_queue,
    metadata,
    tempfile,
)
from koboldfs.store.statements_files import FILE_COLUMNS, LIMIT, located

#: Rows that are counted one by one; beyond, it is "at least" or an estimate.
COUNTED_ROWS = 100_000
#: A row that is due for longer has been left lying (seconds).
OVERDUE_SECONDS = 3600
#: A queue's time before this one means "at once", not "since then".
AT_ONCE = 1000
#: Attempts in vain after which the waits between them are hours.
MANY_FAILURES = 5
#: An upload that is older will not be closed any more (seconds).
OLD_UPLOAD_SECONDS = 86_400

_COLUMNS = {
    "postgresql": "SELECT table_name, column_name, data_type, character_maximum_length"
    " FROM information_schema.columns"
    " WHERE table_schema = ANY (current_schemas(false))",
    "sqlite": "SELECT m.name, p.name, p.type, NULL"
    " FROM sqlite_master AS m, pragma_table_info(m.name) AS p WHERE m.type = 'table'",
    "mysql": "SELECT table_name, column_name, data_type, character_maximum_length"
    " FROM information_schema.columns WHERE table_schema = DATABASE()",
}
_RELATIONS = (
    " FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n"
    " ON n.oid = c.relnamespace"
    " WHERE nspname = ANY (current_schemas(false)) AND relkind IN ('r', 'p')"
)
_ESTIMATES = {
    "postgresql": "SELECT relname, CAST(reltuples AS BIGINT)" + _RELATIONS,
    "mysql": "SELECT table_name, table_rows FROM information_schema.tables"
    " WHERE table_schema = DATABASE()",
}
_SERVER = (
    "SELECT current_setting('server_encoding'), datcollate, pg_is_in_recovery(),"
    " has_schema_privilege(current_schema(), 'CREATE')"
    " FROM pg_catalog.pg_database WHERE datname = current_database()"
)
_LOCKED = (
    f"SELECT relname {_RELATIONS} AND NOT (has_table_privilege(c.oid, 'SELECT')"
    " AND has_table_privilege(c.oid, 'INSERT') AND has_table_privilege(c.oid, 'UPDATE')"
    " AND has_table_privilege(c.oid, 'DELETE'))"
)


class InspectionStatements:
    """Compiled for one dialect."""

    def __init__(self, tongue: Tongue) -> None:
        self.columns = tongue.phrase(text(_COLUMNS[tongue.name]))
        self.estimates: Phrase | None = None
        if tongue.name in _ESTIMATES:
            self.estimates = tongue.phrase(text(_ESTIMATES[tongue.name]))
        self.server = tongue.phrase(text(_SERVER))
        self.locked = tongue.phrase(text(_LOCKED))
        self._tongue = tongue
        self._files(tongue)
        self._steps(tongue)
        self._uploads(tongue)

    def rows_of(self, name: str, *, exact: bool) -> Phrase:
        """How many rows a table has, or how many up to a limit."""
        table = metadata.tables[name]
        if exact:
            return self._tongue.phrase(select(func.count()).select_from(table))
        return self._tongue.phrase(
            _counted(select(literal_column("1")).select_from(table))
        )

    def _files(self, tongue: Tongue) -> None:
        self.whole_size = tongue.phrase(select(func.sum(file.c.length)))
        self.bounds = tongue.phrase(
            select(
                select(func.min(file.c.fid)).scalar_subquery(),
                select(func.max(file.c.fid)).scalar_subquery(),
                select(func.max(tempfile.c.fid)).scalar_subquery(),
            )
        )
        page = (
            select(*(file.c[name] for name in FILE_COLUMNS))
            .where(file.c.fid >= bindparam("first"), file.c.fid < bindparam("beyond"))
            .order_by(file.c.fid)
            .limit(LIMIT)
        )
        self.page = tongue.phrase(located(page.subquery("some"), False))

    def _steps(self, tongue: Tongue) -> None:
        """From one value of an index to the next, however many rows have the first."""
        of_domain = file.c.dmid == bindparam("dmid")
        self.next_dmid = tongue.phrase(
            select(func.min(file.c.dmid)).where(file.c.dmid > bindparam("dmid"))
        )
        self.next_classid = tongue.phrase(
            select(func.min(file.c.classid)).where(
                of_domain, file.c.classid > bindparam("classid")
            )
        )
        self.next_devid = tongue.phrase(
            select(func.min(file_on.c.devid)).where(
                file_on.c.devid > bindparam("devid")
            )
        )
        self.empty_files = tongue.phrase(
            select(file.c.fid)
            .where(
                of_domain,
                file.c.classid == bindparam("classid"),
                file.c.devcount == literal_column("0"),
            )
            .limit(LIMIT)
        )
        self.copies_on = tongue.phrase(
            _counted(select(file_on.c.fid).where(file_on.c.devid == bindparam("devid")))
        )

    def _uploads(self, tongue: Tongue) -> None:
        some = _capped(select(tempfile.c.createtime).order_by(tempfile.c.fid))
        old = some.c.createtime < unix_now() - literal_column(str(OLD_UPLOAD_SECONDS))
        self.uploads = tongue.phrase(select(func.count(), _sum(old)))

    def queue(self, name: str) -> tuple[Phrase, Phrase]:
        """Of a queue with the blank `kind`: (rows, overdue, failing) of what is to be
        tried, and how many rows were given up."""
        table: Table = metadata.tables[name]
        when, end = table.c.nexttry, literal_column(str(END_OF_TIME), Integer)
        rows = select(when, table.c.failcount)
        if table is file_to_queue:
            rows = rows.where(table.c.type == bindparam("kind"))
        some = _capped(rows.where(when < end).order_by(when))
        late = unix_now() - literal_column(str(OVERDUE_SECONDS))
        overdue = (some.c.nexttry > AT_ONCE) & (some.c.nexttry < late)
        failing = some.c.failcount >= MANY_FAILURES
        return (
            self._tongue.phrase(select(func.count(), _sum(overdue), _sum(failing))),
            self._tongue.phrase(_counted(rows.where(when == end))),
        )


def _capped(rows: Select[Any]) -> Any:
    return rows.limit(literal_column(str(COUNTED_ROWS))).subquery("some")


def _counted(rows: Select[Any]) -> Select[Any]:
    return select(func.count()).select_from(_capped(rows))


def _sum(condition: Any) -> Any:
    one, none = literal_column("1", Integer), literal_column("0", Integer)
    return func.coalesce(func.sum(case((condition, one), else_=none)), none)
