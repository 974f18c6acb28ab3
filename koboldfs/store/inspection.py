"""Finds out what is in a database that somebody wants to take over.

Nothing is changed, and however many files there are, little is read (`--count` is for
who can wait). A question that takes the database too long stays unanswered, which the
facts then say.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from attrs import evolve

from koboldfs.errors import ConfigError
from koboldfs.model.adoption import (
    AT_LEAST,
    ESTIMATED,
    EXACT,
    Amount,
    Facts,
    Group,
    Queue,
    Server,
)
from koboldfs.model.adoption_rules import can_serve
from koboldfs.model.entities import FSCK_TASK, REBALANCE_TASK, Located
from koboldfs.model.view import CREATED_SETTING
from koboldfs.store.reader import Reader, TooSlow
from koboldfs.store.schema import (
    HASHTYPE_SCHEMA_VERSION,
    VERSION_SETTING,
    metadata,
)
from koboldfs.store.statements import Statements, statements_for
from koboldfs.store.statements_inspection import COUNTED_ROWS, InspectionStatements
from koboldfs.store.steps import Row, Statement
from koboldfs.store.transactions_files import gathered
from koboldfs.store.transactions_topology import load

T = TypeVar("T")
#: By table and column: type and, of a text, width.
Columns = dict[str, dict[str, tuple[str, "int | None"]]]

#: What MogileFS and KoboldFS both have.
_CORE = {"file", "file_on", "tempfile", "domain", "class", "host", "device"}
#: Tables whose columns are no concern of ours.
_UNUSED = {"file_on_corrupt", "lock", "unreachable_fids"}
#: Columns that an older schema does well without, and the version they came with.
_LATE = {("class", "hashtype"): HASHTYPE_SCHEMA_VERSION}
#: One without which only checks and rebalances do not work.
_TASK_COLUMN = ("file_to_queue", "arg")

#: The sample: so many places in the range of fids, and so many files at each.
SAMPLE_PLACES, SAMPLE_PAGE = 20, 500
#: Classes with files, and devices with copies, that are looked at.
MAX_STEPS = 2000
#: Files without copies that are counted in one class.
MAX_EMPTY = 10_000

_QUEUES = (
    ("file_to_replicate", "file_to_replicate", None),
    ("file_to_delete2", "file_to_delete2", None),
    ("file_to_queue (fsck)", "file_to_queue", FSCK_TASK),
    ("file_to_queue (rebalance)", "file_to_queue", REBALANCE_TASK),
)
_OLD_QUEUES = ("file_to_delete", "file_to_delete_later", "unreachable_fids")


class Inspection:
    """One look at a database. `exact`: count, however long that takes."""

    def __init__(self, reader: Reader, exact: bool = False) -> None:
        self.reader = reader
        self.exact = exact
        self._unanswered: list[str] = []
        self._sql: Statements = statements_for(self.reader.dialect_name)
        self._own = InspectionStatements(self._sql.tongue)

    def facts(self) -> Facts:
        """All that was found. Raises `ConfigError` if it is no database of MogileFS or
        KoboldFS, and `DatabaseFault`."""
        columns = self._columns()
        if not columns:
            raise ConfigError(
                "database: it is empty (or shows nothing to this account), there is"
                " nothing to take over; twistd koboldfs makes an empty one ready"
            )
        if not (_CORE | {"server_settings"}) <= set(columns):
            raise ConfigError(
                "database: it was made neither by MogileFS nor by KoboldFS (or does not"
                " show this account their tables)"
            )
        facts = self._origin(columns)
        if facts.missing_columns or not can_serve(facts.schema_version):
            return facts
        hashtype = "hashtype" in columns["class"]
        facts = evolve(facts, topology=self.reader.play(load(self._sql, hashtype)))
        facts = self._files(facts, columns)
        facts = self._placed(facts)
        facts = self._waiting(facts, set(columns))
        return evolve(facts, unanswered=tuple(self._unanswered))

    def _ask_one(self, statement: Statement) -> Row:
        return self.reader.ask(statement)[0]

    def _in_time(self, what: str, question: Callable[..., T], *args: Any) -> T | None:
        """The answer, or None and a note of what took too long."""
        try:
            return question(*args)
        except TooSlow:
            self._unanswered.append(what)
            return None

    # --- who made it

    def _columns(self) -> Columns:
        found: Columns = defaultdict(dict)
        for table, column, kind, width in self.reader.ask(self._own.columns()):
            found[table][column] = (str(kind).lower(), width)
        return found

    def _setting(self, name: str) -> str | None:
        rows = self.reader.ask(self._sql.setting(field=name))
        return rows[0][0] if rows else None

    def _origin(self, columns: Columns) -> Facts:
        version = str(self._setting(VERSION_SETTING))
        number = int(version) if version.isdecimal() else 0
        missing, late = [], []
        for table in metadata.sorted_tables:
            if table.name not in columns or table.name in _UNUSED:
                continue
            for column in table.columns:
                if column.name in columns[table.name]:
                    continue
                place = (table.name, column.name)
                if place == _TASK_COLUMN:
                    late.append(".".join(place))
                elif number >= _LATE.get(place, 0):
                    missing.append(".".join(place))
        return Facts(
            engine=self.reader.dialect_name,
            made_by_mogilefs=self._setting(CREATED_SETTING) is None,
            schema_version=version,
            served_before={name for name in metadata.tables if name[:7] == "kobold_"}
            <= set(columns),
            missing_columns=tuple(missing),
            missing_late_columns=tuple(late),
            server=self._server(),
        )

    def _server(self) -> Server | None:
        if self.reader.dialect_name != "postgresql":
            return None
        encoding, collation, standby, create = self._ask_one(self._own.server())
        ours = set(metadata.tables)
        locked = {row[0] for row in self.reader.ask(self._own.locked())}
        return Server(
            str(encoding),
            str(collation),
            bool(standby),
            bool(create),
            tuple(sorted(locked & ours)),
        )

    # --- files

    def _files(self, facts: Facts, columns: Columns) -> Facts:
        estimates = self._estimates()
        files = self._amount("file", estimates, "how many files there are")
        low, high, opened = self._ask_one(self._own.bounds())
        sample, whole = self._sample(int(low or 0), int(high or 0))
        kind, width = columns["tempfile"]["fid"][0], columns["file"]["dkey"][1]
        return evolve(
            facts,
            files=files,
            copies=self._amount("file_on", estimates, "how many copies there are"),
            size_bytes=self._size(files, sample, whole),
            highest_fid=max(int(high or 0), int(opened or 0)),
            last_fid=2**31 - 1 if kind == "integer" and _is_postgres(facts) else None,
            key_chars=width,
            sample=tuple(sample),
            sample_is_all=whole,
        )

    def _estimates(self) -> dict[str, int]:
        if self._own.estimates is None or self.exact:
            return {}
        rows = self.reader.ask(self._own.estimates())
        return {name: int(number or 0) for name, number in rows}

    def _amount(
        self, table: str, estimates: dict[str, int], what: str
    ) -> Amount | None:
        self.reader.patient = self.exact
        statement = self._own.rows_of(table, exact=self.exact)()
        found = self._in_time(what, self._ask_one, statement)
        self.reader.patient = False
        if found is None:
            return None
        number = int(found[0])
        if self.exact or number < COUNTED_ROWS:
            return Amount(number)
        if estimates.get(table, 0) > number:
            return Amount(estimates[table], ESTIMATED)
        return Amount(number, AT_LEAST)

    def _sample(self, low: int, high: int) -> tuple[list[Located], bool]:
        """Files from all over the range, and whether that is all of them."""
        stride = max(1, -(-(high + 1 - low) // SAMPLE_PLACES))
        found: list[Located] = []
        whole = True
        for start in range(low, high + 1, stride):
            statement = self._own.page(
                first=start,
                beyond=min(start + stride, high + 1),
                limit=SAMPLE_PAGE,
            )
            rows = self._in_time(
                f"what files there are from fid {start:,} on",
                self.reader.ask,
                statement,
            )
            page = gathered(rows or ())
            whole = whole and rows is not None and len(page) < SAMPLE_PAGE
            found += page
        return found, whole

    def _size(
        self, files: Amount | None, sample: list[Located], whole: bool
    ) -> Amount | None:
        total = sum(one.file.length for one in sample)
        if whole:
            return Amount(total)
        if self.exact:
            self.reader.patient = True
            found = self._ask_one(self._own.whole_size())[0]
            self.reader.patient = False
            return Amount(int(found or 0))
        if files is None or not sample:
            return None
        kind = ESTIMATED if files.kind == EXACT else files.kind
        return Amount(total * files.number // len(sample), kind)

    # --- where they belong

    def _placed(self, facts: Facts) -> Facts:
        groups = self._in_time("which classes have files", self._groups)
        states = {one.devid: one.status for one in facts.topology.devices}
        devids = self._in_time(
            "which devices have copies",
            self._walk,
            self._own.next_devid,
            "devid",
        )
        stray = {
            devid: self._in_time(
                f"how many copies are recorded on dev{devid}",
                self._capped,
                self._own.copies_on(devid=devid),
            )
            for devid in devids or ()
            if states.get(devid, "dead") == "dead"
        }
        return evolve(facts, groups=tuple(groups or ()), stray_copies=stray)

    def _walk(
        self, phrase: Callable[..., Statement], name: str, **fixed: int
    ) -> list[int]:
        """The different values of a column, by steps along its index."""
        values = [-1]
        while len(values) <= MAX_STEPS:
            (found,) = self._ask_one(phrase(**{name: values[-1]}, **fixed))
            if found is None:
                break
            values.append(int(found))
        else:
            self._unanswered.append(f"what there is above {name} {values[-1]:,}")
        return values[1:]

    def _groups(self) -> list[Group]:
        pairs = [
            (dmid, classid)
            for dmid in self._walk(self._own.next_dmid, "dmid")
            for classid in self._walk(self._own.next_classid, "classid", dmid=dmid)
        ]
        return [self._group(*pair) for pair in pairs]

    def _group(self, dmid: int, classid: int) -> Group:
        statement = self._own.empty_files(dmid=dmid, classid=classid, limit=MAX_EMPTY)
        rows = self._in_time(
            f"which files of dmid {dmid}, classid {classid} have no copies",
            self.reader.ask,
            statement,
        )
        if rows is None:
            return Group(dmid, classid)
        kind = EXACT if len(rows) < MAX_EMPTY else AT_LEAST
        fids = tuple(sorted(row[0] for row in rows)[:10])
        return Group(dmid, classid, Amount(len(rows), kind), fids)

    # --- what waits

    def _waiting(self, facts: Facts, tables: set[str]) -> Facts:
        queues = [
            self._in_time(f"what waits in {name}", self._queue, name, table, kind)
            for name, table, kind in _QUEUES
            if table in tables
        ]
        for table in _OLD_QUEUES:
            if table in tables:
                rows = self._own.rows_of(table, exact=False)()
                what = f"what waits in {table}"
                amount = self._in_time(what, self._capped, rows)
                queues.append(None if amount is None else Queue(table, amount))
        found = self._in_time(
            "which uploads are open", self._ask_one, self._own.uploads()
        )
        count, old = (int(number) for number in found or (0, 0))
        return evolve(
            facts,
            queues=tuple(_there(queues)),
            uploads=None if found is None else _up_to(count),
            old_uploads=old,
        )

    def _queue(self, name: str, table: str, kind: int | None) -> Queue:
        waiting, given_up = self._own.queue(table)
        blanks = {} if kind is None else {"kind": kind}
        found = self._ask_one(waiting(**blanks))
        rows, overdue, failing = (int(number) for number in found)
        lost = self._capped(given_up(**blanks))
        return Queue(name, _up_to(rows), overdue, failing, lost)

    def _capped(self, statement: Statement) -> Amount:
        return _up_to(int(self._ask_one(statement)[0]))


def _is_postgres(facts: Facts) -> bool:
    return facts.engine == "postgresql"


def _up_to(number: int) -> Amount:
    return Amount(number, EXACT if number < COUNTED_ROWS else AT_LEAST)


def _there(values: Iterable[T | None]) -> Iterator[T]:
    return (value for value in values if value is not None)
