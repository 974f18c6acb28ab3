"""The statements about the queues of background work."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    ColumnElement,
    Integer,
    Select,
    Table,
    and_,
    bindparam,
    case,
    func,
    literal_column,
    or_,
    select,
    text,
)

from koboldfs.model.entities import END_OF_TIME
from koboldfs.store.phrases import Phrase, Tongue, listed, unix_now
from koboldfs.store.schema import (
    ASKED_AGAIN,
    IN_WORK,
    checksum,
    file_on,
    file_to_delete,
    file_to_delete2,
    file_to_delete_later,
    file_to_replicate,
    kobold_checksum,
    tempfile,
)
from koboldfs.store.statements_files import LIMIT

#: Nobody has a row for longer without a sign of life (MogileFS's number). One of ours
#: that is due later was put off by MogileFS, which leaves our mark on it.
LONGEST_LEASE_SECONDS = 1000
#: `lengths` counts no further, because counting is reading.
COUNTED_ROWS = 100_000
#: Uploads, by age of their fid, among which expired ones are looked for in one go.
EXPIRY_WINDOW_ROWS = 10_000

_DELAY = bindparam("delay", type_=Integer)


def due_rows(table: Table, *columns: Any, since: Any = None) -> Select[Any]:
    """Up to a limit of rows that are due and that nobody else is taking, oldest first:
    the columns, and for how many seconds they have been due. `since` is the time by
    which they had to be due, in place of now."""
    when, now = table.c.nexttry, unix_now() if since is None else since
    due = (when <= now, when < literal_column(str(END_OF_TIME)))
    return free_rows(table, *columns, now=now).where(*due).order_by(when)


def free_rows(table: Table, *columns: Any, now: Any = None) -> Select[Any]:
    """As `due_rows`, due or not, in any order."""
    late = (unix_now() if now is None else now) - table.c.nexttry
    return select(*columns, late).limit(LIMIT).with_for_update(skip_locked=True)


def recent(when: Any, since: Any = None) -> ColumnElement[bool]:
    """Whether a time is one of the last `age` seconds before `since`, or before now."""
    now = unix_now() if since is None else since
    recently: ColumnElement[bool] = when >= now - bindparam("age", type_=Integer)
    return recently


class QueueStatements:
    """Compiled for one dialect."""

    def __init__(self, tongue: Tongue) -> None:
        self.tongue = tongue
        self._replications(tongue)
        self._deletions(tongue)
        self._chores(tongue)

    def _due(
        self, table: Table, *columns: str, since: Any = None
    ) -> tuple[Phrase, Phrase]:
        """All that is due, and what became so lately (see `looks`)."""
        lately = recent(table.c.nexttry, since)
        some = due_rows(table, *(table.c[name] for name in columns), since=since)
        return self.tongue.phrase(some), self.tongue.phrase(some.where(lately))

    def _replications(self, tongue: Tongue) -> None:
        queue = file_to_replicate
        in_fids = queue.c.fid.in_(listed("fids"))
        in_work: Any = literal_column(str(IN_WORK))
        again: Any = literal_column(str(ASKED_AGAIN))
        free: Any = literal_column("0")
        columns = ("fid", "failcount", "fromdevid")
        self.due_replications, self.recent_replications = self._due(queue, *columns)
        # Not along the index of the times, at whose beginning they all would be.
        at_once = queue.c.nexttry + free == free
        self.new_replications = tongue.phrase(
            free_rows(queue, *(queue.c[name] for name in columns))
            .where(at_once, queue.c.fid >= bindparam("fid"))
            .order_by(queue.c.fid)
        )
        self.lease_replications = tongue.phrase(
            queue.update()
            .values(nexttry=unix_now() + _DELAY, flags=in_work)
            .where(in_fids)
        )
        self.keep_replications = tongue.phrase(
            queue.update()
            .values(nexttry=unix_now() + _DELAY)
            .where(in_fids, queue.c.flags != free)
        )
        self.drop_replications = tongue.phrase(
            queue.delete().where(in_fids, queue.c.flags == in_work)
        )
        self.renew_replications = tongue.phrase(
            queue.update()
            .values(nexttry=free, failcount=free, flags=free)
            .where(in_fids, queue.c.flags == again)
        )

        def put_off(when: object) -> Phrase:
            due = case((queue.c.flags == again, free), else_=when)
            return tongue.phrase(
                queue.update()
                .values(nexttry=due, failcount=bindparam("failcount"), flags=free)
                .where(in_fids, queue.c.flags != free)
            )

        self.put_off_replications = put_off(unix_now() + _DELAY)
        self.give_up_replications = put_off(literal_column(str(END_OF_TIME)))
        self.lock_replications = tongue.phrase(
            select(queue.c.fid).where(in_fids).order_by(queue.c.fid).with_for_update()
        )
        when = queue.c.nexttry
        left = when > unix_now() + literal_column(str(LONGEST_LEASE_SECONDS))
        waiting = and_(when > unix_now(), or_(queue.c.flags == free, left))
        some = (
            select(queue.c.fid)
            .order_by(queue.c.nexttry)
            .limit(LIMIT)
            .with_for_update(skip_locked=True)
        )
        self.failed_replications = tongue.phrase(
            some.where(
                waiting,
                queue.c.failcount > free,
                queue.c.nexttry < literal_column(str(END_OF_TIME)),
            )
        )
        self.waiting_replications = tongue.phrase(some.where(waiting))
        self.make_due = tongue.phrase(
            queue.update().values(nexttry=unix_now()).where(in_fids)
        )

    def _deletions(self, tongue: Tongue) -> None:
        queue = file_to_delete2
        in_fids = queue.c.fid.in_(listed("fids"))
        # Readers may be on their way to bytes that were somebody's a moment ago.
        grace = unix_now() - bindparam("grace", type_=Integer)
        self.due_deletions, self.recent_deletions = self._due(
            queue, "fid", "failcount", since=grace
        )
        self.lease_deletions = tongue.phrase(
            queue.update().values(nexttry=unix_now() + _DELAY).where(in_fids)
        )
        self.lock_deletions = tongue.phrase(
            select(queue.c.fid).where(in_fids).order_by(queue.c.fid).with_for_update()
        )
        self.drop_deletions = tongue.phrase(queue.delete().where(in_fids))
        self.delete_now = tongue.upsert(
            queue, ["fid"], "fid", nexttry=unix_now(), failcount=0
        )
        self.put_off_deletions = tongue.upsert(
            queue, ["fid"], "fid", "failcount", nexttry=unix_now() + _DELAY
        )
        self.give_up_deletions = tongue.upsert(
            queue, ["fid"], "fid", "failcount", nexttry=END_OF_TIME
        )
        self.drop_checksums = [
            tongue.phrase(table.delete().where(table.c.fid.in_(listed("fids"))))
            for table in (checksum, kobold_checksum, tempfile)
        ]
        self.old_deletions = tongue.phrase(
            select(file_to_delete.c.fid).order_by(file_to_delete.c.fid).limit(LIMIT)
        )
        later = file_to_delete_later
        self.later_deletions = tongue.phrase(
            select(later.c.fid)
            .where(later.c.delafter <= unix_now())
            .order_by(later.c.delafter)
            .limit(LIMIT)
        )
        self.drop_old_deletions = [
            tongue.phrase(table.delete().where(table.c.fid.in_(listed("fids"))))
            for table in (file_to_delete, file_to_delete_later)
        ]

    def _chores(self, tongue: Tongue) -> None:
        oldest = (
            select(tempfile.c.fid, tempfile.c.createtime)
            .order_by(tempfile.c.fid)
            .limit(literal_column(str(EXPIRY_WINDOW_ROWS)))
            .subquery("oldest")
        )
        age = bindparam("age", type_=Integer)
        self.old_uploads = tongue.phrase(
            select(oldest.c.fid)
            .where(oldest.c.createtime <= unix_now() - age)
            .limit(LIMIT)
        )
        self.take_uploads = tongue.phrase(
            select(tempfile.c.fid, tempfile.c.devids)
            .where(tempfile.c.fid.in_(listed("fids")))
            .order_by(tempfile.c.fid)
            .with_for_update(skip_locked=True)
        )
        here = select(file_on.c.fid).where(file_on.c.devid == bindparam("devid"))
        self.copies_on = tongue.phrase(here.limit(LIMIT))
        later = here.where(file_on.c.fid > bindparam("fid"))
        self.copies_beyond = tongue.phrase(later.order_by(file_on.c.fid).limit(LIMIT))

        def capped(table: Table, *conditions: Any) -> object:
            some = (
                select(literal_column("1"))
                .select_from(table)
                .where(*conditions)
                .limit(literal_column(str(COUNTED_ROWS)))
                .subquery()
            )
            return select(func.count()).select_from(some).scalar_subquery()

        self.lengths = tongue.phrase(
            select(
                capped(file_to_replicate),  # type: ignore[call-overload]
                capped(file_to_delete2),
                capped(tempfile, tempfile.c.devids != text("''")),
            )
        )
