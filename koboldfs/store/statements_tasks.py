"""The statements about `file_to_queue`, the log of fsck, and a device's files."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Integer, bindparam, func, literal_column, select

from koboldfs.store.phrases import Phrase, Tongue, listed, unix_now
from koboldfs.store.schema import (
    checksum,
    file,
    file_on,
    file_to_queue,
    fsck_log,
)
from koboldfs.store.statements_files import FILE_COLUMNS, LIMIT, located
from koboldfs.store.statements_queues import due_rows, recent

_DELAY = bindparam("delay", type_=Integer)


class TaskStatements:
    """Compiled for one dialect."""

    #: Whether the queue has a column for what a task is to be done with.
    keeps_task_args = True

    def __init__(self, tongue: Tongue) -> None:
        self.tongue = tongue
        self._tasks(tongue)
        self._walks(tongue)
        self._log(tongue)

    def _tasks(self, tongue: Tongue) -> None:
        queue = file_to_queue
        of_kind = queue.c.type == bindparam("kind")
        those = (queue.c.fid.in_(listed("fids")), of_kind)

        def queued(*columns: str) -> Phrase:
            new = {"nexttry": unix_now(), "failcount": 0, "flags": 0}
            return tongue.insert_new(queue, "fid", "devid", "type", *columns, **new)

        def due(arg: Any) -> tuple[Phrase, Phrase]:
            """All, and what became so lately (see `looks`)."""
            columns = (queue.c.fid, queue.c.devid, arg, queue.c.failcount)
            when = queue.c.nexttry
            some = due_rows(queue, *columns).where(of_kind)
            return tongue.phrase(some), tongue.phrase(some.where(recent(when)))

        self.queue_tasks, self.queue_bare_tasks = queued("arg"), queued()
        self.due_tasks, self.recent_tasks = due(queue.c.arg)
        self.due_bare_tasks, self.recent_bare_tasks = due(literal_column("NULL"))
        self.lease_tasks = tongue.phrase(
            queue.update().values(nexttry=unix_now() + _DELAY).where(*those)
        )
        self.put_off_tasks = tongue.phrase(
            queue.update()
            .values(nexttry=unix_now() + _DELAY, failcount=bindparam("failcount"))
            .where(*those)
        )
        self.queued_tasks = tongue.phrase(select(queue.c.fid).where(*those))
        self.drop_tasks = tongue.phrase(queue.delete().where(*those))
        some = select(queue.c.fid).where(of_kind).limit(LIMIT)
        self.some_tasks = tongue.phrase(some)
        self.count_tasks = tongue.phrase(
            select(func.count()).select_from(some.subquery())
        )
        fresh = some.where(queue.c.failcount == literal_column("0"))
        self.count_fresh = tongue.phrase(
            select(func.count()).select_from(fresh.subquery())
        )

    def forget_task_args(self) -> None:
        """Do without the column `arg`."""
        self.keeps_task_args = False
        self.queue_tasks, self.due_tasks = self.queue_bare_tasks, self.due_bare_tasks
        self.recent_tasks = self.recent_bare_tasks

    def _walks(self, tongue: Tongue) -> None:
        columns = [file.c[name] for name in FILE_COLUMNS]
        here = (
            select(*columns)
            .select_from(file_on.join(file, file.c.fid == file_on.c.fid))
            .where(file_on.c.devid == bindparam("devid"))
            .limit(LIMIT)
        )

        def page(rows: Any) -> Any:
            return tongue.phrase(located(rows.subquery("some"), True))

        above = here.where(file_on.c.fid > bindparam("fid"))
        below = here.where(file_on.c.fid < bindparam("fid"))
        self.files_on = page(above.order_by(file_on.c.fid))
        self.newest_files_on = page(below.order_by(file_on.c.fid.desc()))
        some = select(*columns).where(
            file.c.fid > bindparam("fid"), file.c.fid <= bindparam("last")
        )
        self.files_between = tongue.phrase(some.order_by(file.c.fid).limit(LIMIT))
        self.highest_file = tongue.phrase(select(func.max(file.c.fid)))
        self.class_checksums = tongue.phrase(
            select(checksum.c.fid, checksum.c.hashtype, checksum.c.checksum).where(
                checksum.c.fid.in_(listed("fids"))
            )
        )

    def _log(self, tongue: Tongue) -> None:
        log = fsck_log
        later = log.c.logid > bindparam("logid")
        settled = log.c.utime <= unix_now() - bindparam("age", type_=Integer)
        self.log_events = tongue.insert(
            log, *("fid", "evcode", "devid"), utime=unix_now()
        )
        self.events_after = tongue.phrase(
            select(log.c.logid, log.c.utime, log.c.fid, log.c.evcode, log.c.devid)
            .where(later)
            .order_by(log.c.logid)
            .limit(LIMIT)
        )
        some = select(log.c.logid).where(later).order_by(log.c.logid).limit(LIMIT)
        self.end_of_events = tongue.phrase(
            select(func.max(some.subquery("some").c.logid))
        )
        self.clear_events = tongue.phrase(
            log.delete().where(later, log.c.logid <= bindparam("last"))
        )
        self.last_event = tongue.phrase(select(func.max(log.c.logid)).where(settled))
        self.count_events = tongue.phrase(
            select(log.c.evcode, func.count())
            .where(later, log.c.logid <= bindparam("last"))
            .group_by(log.c.evcode)
        )
        self.unix_time = tongue.phrase(select(unix_now()))
