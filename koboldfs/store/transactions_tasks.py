"""Transactions of fsck and rebalance: their queue, their findings, their log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from koboldfs.errors import ValueRefused
from koboldfs.model.entities import (
    FSCK_TASK,
    Checked,
    Checksum,
    CopyChange,
    File,
    FsckLogRow,
    Located,
    Task,
    TaskDone,
)
from koboldfs.store.looks import Look
from koboldfs.store.phrases import Phrase
from koboldfs.store.schema import LAST_FAILCOUNT
from koboldfs.store.statements import Statements
from koboldfs.store.steps import Statement, Steps, quiet
from koboldfs.store.transactions_files import checksum_of, gathered
from koboldfs.store.transactions_queues import due, removals

#: A task is put off for ten years at the most: `nexttry` must fit its column.
LONGEST_DELAY_SECONDS = 315_360_000


def queue_tasks(
    sql: Statements, kind: int, rows: Sequence[tuple[int, int | None, str | None]]
) -> Steps[None]:
    """Queue files, in the order of their fids; those queued already stay."""
    ordered = sorted(rows, key=lambda row: row[0])
    if not sql.keeps_task_args and any(row[2] is not None for row in ordered):
        raise ValueRefused(
            "This database's file_to_queue has no column arg: a rebalance needs"
            " MogileFS's schema 13 or a later one (mogdbsetup makes it)"
        )
    yield quiet(
        sql.queue_tasks.rows(
            [
                {"fid": fid, "devid": devid, "type": kind, "arg": arg}
                for fid, devid, arg in ordered
            ]
        )
    )


def take_tasks(
    sql: Statements, kind: int, look: Look, lease_seconds: int
) -> Steps[list[Task]]:
    """Lease due rows, oldest first, each with its file if it lives."""
    rows = yield from due(look, sql.due_tasks, sql.recent_tasks, kind=kind)
    if not rows:
        return []
    fids = [row[0] for row in rows]
    yield quiet(sql.lease_tasks(kind=kind, delay=lease_seconds, fids=fids))
    reply = yield sql.find_fids(fids=fids)
    found = {one.file.fid: one for one in gathered(reply.rows)}
    return [
        Task(kind, fid, devid, arg, failcount, found.get(fid))
        for fid, devid, arg, failcount, _ in rows
    ]


def keep_tasks(
    sql: Statements, kind: int, fids: Sequence[int], lease_seconds: int
) -> Steps[None]:
    """Let leases begin anew."""
    yield quiet(sql.lease_tasks(kind=kind, delay=lease_seconds, fids=sorted(fids)))


def finish_tasks(sql: Statements, kind: int, done: Sequence[TaskDone]) -> Steps[None]:
    """Remove rows or put them off."""
    gone: list[int] = []
    late: dict[tuple[int, int], list[int]] = {}
    for one in sorted(done, key=lambda one: one.fid):
        if one.retry_seconds is None:
            gone.append(one.fid)
            continue
        delay = round(min(max(0.0, one.retry_seconds), LONGEST_DELAY_SECONDS))
        failcount = min(one.failcount, LAST_FAILCOUNT)
        late.setdefault((delay, failcount), []).append(one.fid)
    yield quiet(
        sql.drop_tasks(kind=kind, fids=gone) if gone else None,
        *(
            sql.put_off_tasks(kind=kind, delay=delay, failcount=failcount, fids=fids)
            for (delay, failcount), fids in late.items()
        ),
    )


def drop_tasks(sql: Statements, kind: int, limit: int) -> Steps[int]:
    """Forget rows, whoever has them in work."""
    reply = yield sql.some_tasks(kind=kind, limit=limit)
    fids = sorted(row[0] for row in reply.rows)
    if fids:
        yield quiet(sql.drop_tasks(kind=kind, fids=fids))
    return len(fids)


def count_tasks(sql: Statements, kind: int, most: int) -> Steps[int]:
    """Rows of a kind, up to a cap."""
    reply = yield sql.count_tasks(kind=kind, limit=most)
    return int(reply.rows[0][0])


def count_fresh(sql: Statements, kind: int, most: int) -> Steps[int]:
    """Rows of a kind that never failed, up to a cap."""
    reply = yield sql.count_fresh(kind=kind, limit=most)
    return int(reply.rows[0][0])


def files_on(
    sql: Statements, devid: int, beyond_fid: int, limit: int, newest: bool
) -> Steps[list[Located]]:
    """A page of the files on a device, from the oldest or from the newest on."""
    page: Phrase = sql.newest_files_on if newest else sql.files_on
    reply = yield page(devid=devid, fid=beyond_fid, limit=limit)
    return sorted(gathered(reply.rows), key=lambda one: one.file.fid, reverse=newest)


def highest_fid(sql: Statements) -> Steps[int]:
    """The highest fid of a live file, or 0."""
    reply = yield sql.highest_file()
    return reply.rows[0][0] or 0


def files_between(
    sql: Statements, after_fid: int, last_fid: int, limit: int
) -> Steps[list[File]]:
    """A page of files, by fid."""
    reply = yield sql.files_between(fid=after_fid, last=last_fid, limit=limit)
    return [File(*row) for row in reply.rows]


def class_checksums(sql: Statements, fids: Sequence[int]) -> Steps[dict[int, Checksum]]:
    """The checksums that classes asked for, by fid."""
    reply = yield sql.class_checksums(fids=list(fids))
    found = {row[0]: checksum_of(row[1:]) for row in reply.rows}
    return {fid: one for fid, one in found.items() if one is not None}


def change_copies(sql: Statements, changes: Sequence[CopyChange]) -> Steps[None]:
    """Record what was found out about copies; see `ITasks.change_copies`."""
    fids = sorted({one.fid for one in changes})
    reply = yield sql.lock_fids(fids=fids)
    live = {row[0] for row in reply.rows}
    added = [{"fid": one.fid, "devid": n} for one in changes for n in one.added]
    dead = sorted({row["fid"] for row in added} - live)
    recounted = sorted(live)
    yield quiet(
        sql.add_copies.rows(added),
        *removals(sql, changes),
        sql.recount(fids=recounted) if recounted else None,
        sql.delete_now.rows([{"fid": fid} for fid in dead]),
        *_checksums(sql, [one for one in changes if one.fid in live]),
    )


def release_copy(
    sql: Statements, fid: int, devid: int, keep: frozenset[int]
) -> Steps[bool]:
    """Forget a copy while others stay; see `ITasks.release_copy`."""
    live = yield sql.lock_fids(fids=[fid])
    if not live.rows:
        return False
    reply = yield sql.copies_of(fids=[fid])
    recorded = {row[1] for row in reply.rows}
    if not keep or not (keep | {devid}) <= recorded or devid in keep:
        return False
    yield quiet(sql.remove_copies(devid=devid, fids=[fid]), sql.recount(fids=[fid]))
    return True


def _checksums(
    sql: Statements, changes: Sequence[CopyChange]
) -> list[Statement | None]:
    own = [(one.fid, one.checksum) for one in changes if one.checksum]
    wanted = [(one.fid, one.class_checksum) for one in changes if one.class_checksum]
    return [
        sql.set_own_checksum.rows([_row(*one) for one in own]),
        sql.set_class_checksum.rows([_row(*one) for one in wanted]),
    ]


def _row(fid: int, checksum: Checksum) -> Mapping[str, Any]:
    return {"fid": fid, "hashtype": checksum.hashtype, "checksum": checksum.digest}


def finish_checks(
    sql: Statements, relook: int, repair: int, checks: Sequence[Checked]
) -> Steps[None]:
    """Record what checks came to; see `ITasks.finish_checks`."""
    news = [one for one in checks if one.change or one.events or one.replicate]
    stale: list[int] = []
    if news:
        news, stale = yield from _still_true(sql, news, queued=True)
    yield from _findings(sql, news, repair)
    yield quiet(
        sql.lease_tasks(kind=FSCK_TASK, delay=relook, fids=stale) if stale else None
    )
    skipped = set(stale)
    done = [
        TaskDone(one.fid, one.retry_seconds, one.failcount)
        for one in checks
        if one.fid not in skipped
    ]
    yield from finish_tasks(sql, FSCK_TASK, done)


def record_findings(
    sql: Statements, repair: int, checks: Sequence[Checked]
) -> Steps[list[int]]:
    """Record what a scrub found; see `IScrubs.record`."""
    if not checks:
        return []
    true, _ = yield from _still_true(sql, checks, queued=False)
    yield from _findings(sql, true, repair)
    return [one.fid for one in true]


def _findings(sql: Statements, news: Sequence[Checked], repair: int) -> Steps[None]:
    changes = [one.change for one in news if one.change]
    if changes:
        yield from change_copies(sql, changes)
    events = [
        {"fid": one.fid, "evcode": event.code, "devid": event.devid}
        for one in news
        for event in one.events
    ]
    copied = sorted(one.fid for one in news if one.replicate)
    yield quiet(
        sql.queue_again.rows([{"fid": fid, "delay": repair} for fid in copied]),
        sql.log_events.rows(events),
    )


def _still_true(
    sql: Statements, news: Sequence[Checked], *, queued: bool
) -> Steps[tuple[list[Checked], list[int]]]:
    """The checks that still say something true, and the fids of those that are to be
    looked at again, because copies came or went. The files are locked. `queued`: those
    are done whose rows somebody else has finished."""
    fids = sorted(one.fid for one in news)
    reply = yield sql.lock_fids(fids=fids)
    ours = {row[0] for row in reply.rows}
    if queued:
        reply = yield sql.queued_tasks(kind=FSCK_TASK, fids=fids)
        ours &= {row[0] for row in reply.rows}
    reply = yield sql.copies_of(fids=fids)
    recorded: dict[int, set[int]] = {}
    for fid, devid in reply.rows:
        recorded.setdefault(fid, set()).add(devid)
    true = [one for one in news if one.fid in ours]
    stale = {one.fid for one in true if set(one.seen) != recorded.get(one.fid, set())}
    return [one for one in true if one.fid not in stale], sorted(stale)


def events_after(sql: Statements, logid: int, limit: int) -> Steps[list[FsckLogRow]]:
    """A page of the log."""
    reply = yield sql.events_after(logid=logid, limit=limit)
    return [
        FsckLogRow(number, utime, fid, (code or "").strip(), devid)
        for number, utime, fid, code, devid in reply.rows
    ]


def clear_events(sql: Statements, after_logid: int, limit: int) -> Steps[int]:
    """Forget a page of the log; returns where it ended, or 0 if there was none. The
    next one begins there: before it the index is full of what has just gone."""
    reply = yield sql.end_of_events(logid=after_logid, limit=limit)
    last = reply.rows[0][0]
    if last is None:
        return 0
    yield quiet(sql.clear_events(logid=after_logid, last=last))
    return int(last)


def tally(
    sql: Statements, after_logid: int, age: int
) -> Steps[tuple[int, dict[str, int]]]:
    """The end of the log as it was `age` seconds ago, and the events of each code."""
    last = yield sql.last_event(age=age)
    highest = max(after_logid, last.rows[0][0] or 0)
    counts = yield sql.count_events(logid=after_logid, last=highest)
    return highest, {(code or "").strip(): count for code, count in counts.rows}


def unix_time(sql: Statements) -> Steps[int]:
    """The database's clock."""
    reply = yield sql.unix_time()
    return int(reply.rows[0][0])
