"""On PostgreSQL no statement costs more because there are more files.

Each is run, and rolled back, on a small database and on a large one, with values from
the beginning, the middle and the end of what there is; what counts is how many pages
it touches, which no other program on the machine can change. Statements that are in
`BOUNDED` are the exceptions, each with its reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import psycopg2
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.store.phrases import Tongue
from koboldfs.store.postgres_link import PLANNING
from koboldfs.store.schema import definitions
from koboldfs.store.statements import Statements
from koboldfs.store.statements_inspection import InspectionStatements
from koboldfs.store.steps import Statement
from test.contract.many import (
    SPARSE_DEVICE,
    key_number,
    long_queues,
    many_files,
)
from test.contract.mogilefs import tables
from test.contract.plans import BOUNDED, phrases, samples
from test.functional.postgresql import shared

SMALL_FILES, LARGE_FILES = 4_000, 120_000
#: Rows that a page asks for, and fids and keys in a list.
PAGE_ROWS, LISTED = 100, 16
#: An index of the large one may be a level higher, so a look into it costs a page more,
#: and where pages of a small table were the same ones again, here they are others.
MOST_TIMES, MOST_MORE = 2.5, 40
#: Statements of an inspection that count, to a limit that is written in them.
INSPECTED = {
    "whole_size": "adds up all sizes, for who asked for that",
    "copies_on": "counts up to a limit",
    "uploads": "counts up to a limit",
    "empty_files": "has a limit",
}
#: Enough to tell a way around them from one through them.
GONE_ROWS = 50_000
Pages = dict[str, int]
Values = Callable[[str], Mapping[str, Any]]
#: Statements that make rows with a fid, or a key, that must not be there yet.
_NEW_FIDS = ("insert_files", "open_as", "replace_files")
_NEW_KEYS = ("insert_files", "rename", "replace_file")


class Filled:
    """A database with so many files, made by us or by MogileFS."""

    def __init__(self, count: int, ours: bool) -> None:
        self.count = count
        self.url = shared().new_database()
        if ours:
            made = definitions(Tongue("postgresql").dialect, set())
        else:
            made = [tables("postgresql"), *_EMPTIED, *_our_own()]
        for sql in (*made, *many_files(count), *long_queues(count), "vacuum analyze"):
            shared().execute(self.url, sql)

    def places(self) -> Iterator[tuple[str, Values]]:
        """Values for the blanks, from several places, and what these are called."""
        last = self.count - LISTED
        for place, number in (("start", 0), ("middle", self.count // 2), ("end", last)):
            for devid in (1, SPARSE_DEVICE):
                yield f"{place}, dev{devid}", self._values(number, devid)

    def _values(self, number: int, devid: int) -> Values:
        fids = [number + 1 + n for n in range(LISTED)]
        keys = [key_number(number + n, self.count) for n in range(LISTED)]
        given: dict[str, Any] = {
            **{f"in_{name}": fids for name in ("file", "file_on", "file_to_delete2")},
            **{"fids": fids, "fid": fids[0], "key_fid": fids[0], "first": fids[0]},
            **{"last": self.count, "beyond": self.count + 1},
            **{"logid": number // 20},
            **{"keys": keys, "low": "d", "high": "e", "devid": devid, "dmid": 1},
            **{"limit": PAGE_ROWS, "age": 3600, "classid": 0},
        }

        def values(name: str) -> Mapping[str, Any]:
            after = fids[0] if name == "list_files" else keys[0]
            new: dict[str, Any] = {"dkey": "new" if name in _NEW_KEYS else keys[0]}
            if name in _NEW_FIDS:
                new["fid"] = 9 * self.count
            if name == "new_replications":
                new["fid"] = self.count // 20  # it begins near the end, see `looks`
            if name == "clear_events":
                new["last"] = given["logid"] + PAGE_ROWS
            return {**given, "after": after, **new}

        return values

    def pages(
        self, said: Iterable[tuple[str, Statement]], planning: Mapping[str, str]
    ) -> Pages:
        """How many pages each statement touches."""
        found: Pages = {}
        connection = psycopg2.connect(self.url)
        try:
            cursor = connection.cursor()
            for setting, value in planning.items():
                cursor.execute(f"set {setting} = {value}")
            connection.commit()
            for name, statement in said:
                number = sum(one.partition("#")[0] == name for one in found)
                found[f"{name}#{number}"] = _touched(cursor, statement)
                connection.rollback()
        finally:
            connection.close()
        return found


@lru_cache(maxsize=4)
def filled(count: int, ours: bool) -> Filled:
    """One for all tests of this process: nothing in it changes."""
    return Filled(count, ours)


_EMPTIED = (
    "delete from file",
    "delete from file_to_delete",
    "delete from file_to_delete_later",
    "delete from file_on",
)


def _our_own() -> list[str]:
    """The tables that MogileFS's do not have here."""
    made = definitions(Tongue("postgresql").dialect, set())
    return [sql for sql in made if "kobold_" in sql or "fsck_log" in sql]


def _touched(cursor: Any, statement: Statement) -> int:
    explain = f"explain (analyze, buffers, timing off, format json) {statement.sql}"
    cursor.execute(explain, statement.params or None)
    ((found,),) = cursor.fetchall()
    plan = found[0]["Plan"]
    return int(plan["Shared Hit Blocks"]) + int(plan["Shared Read Blocks"])


class GrowthContract:
    """`ours` says who made the databases."""

    ours = True

    def setUp(self: Any) -> None:
        """A small and a large one."""
        self.filled = [filled(count, self.ours) for count in (SMALL_FILES, LARGE_FILES)]

    def statements(self) -> Statements:
        """As a store says them that has started on such a database."""
        sql = Statements(Tongue("postgresql"))
        return sql.as_found(
            folds_keys=False, keeps_task_args=True, sorts_keys=self.ours
        )

    def compare(
        self: Any,
        sql: Statements | InspectionStatements,
        omitted: Mapping[str, str],
        planning: Mapping[str, str],
    ) -> None:
        """Every statement at every place."""
        names = {name for name, _ in phrases(sql)}
        self.assertLessEqual(set(omitted), names, "an exception that is none any more")
        small, large = self.filled
        worse = []
        for (place, few), (_, many) in zip(small.places(), large.places(), strict=True):
            # Of a small table the planner would read all, and be right.
            before = small.pages(samples(sql, few, omitted), PLANNING)
            after = large.pages(samples(sql, many, omitted), planning)
            self.assertGreater(len(after), 8)
            for name, pages in after.items():
                if pages > MOST_TIMES * before[name] + MOST_MORE:
                    worse.append(f"{name} ({place}): {before[name]} -> {pages} pages")
        self.assertFalse(worse, "\n" + "\n".join(worse))

    def test_statements(self: Any) -> None:
        """As our sessions ask."""
        self.compare(self.statements(), BOUNDED, PLANNING)

    def test_statements_unaided(self: Any) -> None:
        """With the statistics that a used database has, the planner finds the same
        ways by itself."""
        self.compare(self.statements(), BOUNDED, {})

    def test_inspection(self: Any) -> None:
        """As `koboldfs adopt` asks."""
        planning = {"enable_seqscan": "off", "enable_bitmapscan": "off"}
        sql = InspectionStatements(Tongue("postgresql"))
        self.compare(sql, INSPECTED, planning)


class GrowthOfOurs(GrowthContract, SynchronousTestCase):
    """Databases that we made."""


class GrowthOfMogilefs(GrowthContract, SynchronousTestCase):
    """Databases that MogileFS made."""

    ours = False


class RowsThatAreGone(SynchronousTestCase):
    """Queues through which very many rows went while somebody looks at an old state of
    the database, so that none of them can be removed for good."""

    def setUp(self) -> None:
        """A backup that has begun, then the rows, which are deleted."""
        self.url = shared().new_database()
        self.addCleanup(shared().drop, self.url)
        for sql in definitions(Tongue("postgresql").dialect, set()):
            shared().execute(self.url, sql)
        backup = psycopg2.connect(self.url)
        self.addCleanup(backup.close)
        backup.set_session(isolation_level="REPEATABLE READ")
        backup.cursor().execute("select count(*) from file")
        rows = f"from generate_series(1, {GONE_ROWS}) n"
        long_ago = "extract(epoch from now())::int - 900"
        for sql in (
            f"insert into file_to_replicate select n, 0 {rows}",
            f"insert into file_to_delete2 select n, {long_ago} {rows}",
            f"insert into file_to_queue select n, 1, 1, {long_ago} {rows}",
            "delete from file_to_replicate",
            "delete from file_to_delete2",
            "delete from file_to_queue",
            f"insert into file_to_replicate select {GONE_ROWS} + 1, 0",
        ):
            shared().execute(self.url, sql)

    def pages(self, name: str, **values: int) -> int:
        """How many pages a statement touches, said as our sessions say it."""
        phrase = getattr(Statements(Tongue("postgresql")), name)
        connection = psycopg2.connect(self.url)
        try:
            cursor = connection.cursor()
            for setting, value in PLANNING.items():
                cursor.execute(f"set {setting} = {value}")
            return _touched(cursor, phrase(limit=64, **values))
        finally:
            connection.close()

    def test_looks(self) -> None:
        """A look at a whole queue reads all that is gone; one at what is new does not:
        that is what it is for."""
        self.assertGreater(self.pages("due_replications"), 200)
        self.assertGreater(self.pages("due_deletions", grace=0), 200)
        self.assertGreater(self.pages("due_tasks", kind=1), 200)
        self.assertLess(self.pages("new_replications", fid=GONE_ROWS), 40)
        self.assertLess(self.pages("recent_replications", age=99), 40)
        self.assertLess(self.pages("recent_deletions", age=99, grace=0), 40)
        self.assertLess(self.pages("recent_tasks", kind=1, age=99), 40)
