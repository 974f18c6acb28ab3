"""Transactions that take, finish and put off background work.

A fid that is not live must end in the delete queue for as long as any copy of it is
recorded. Two writers can see to that at once: whoever records a copy of a dead fid
writes the queue row (and so waits for whoever has it locked), and whoever removes a
queue row has locked it before looking for copies.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from koboldfs.model.entities import (
    CopyChange,
    Deletion,
    DeletionDone,
    Replication,
    ReplicationDone,
)
from koboldfs.store.looks import Look
from koboldfs.store.phrases import Phrase
from koboldfs.store.schema import LAST_FAILCOUNT
from koboldfs.store.statements import Statements
from koboldfs.store.steps import Row, Statement, Steps, quiet
from koboldfs.store.transactions_files import devids_of, gathered

#: A delay beyond this (ten years, in seconds) means: given up, never due by itself.
GIVEN_UP_SECONDS = 315_360_000
#: Rows that `hasten_replications` changes in one transaction.
HASTEN_ROWS = 1000
#: Seconds after which the files of a dead device are due, as in MogileFS.
REAPED_DELAY_SECONDS = 1

Done = TypeVar("Done", ReplicationDone, DeletionDone)


def due(
    look: Look, whole: Phrase, recent: Phrase, new: Phrase | None = None, **blanks: Any
) -> Steps[list[Row]]:
    """The rows of one look at a queue, oldest first."""
    if look.whole:
        rows = (yield whole(limit=look.limit, **blanks)).rows
    else:
        rows, left = [], look.limit
        if new is not None and look.fid:
            rows = (yield new(fid=look.fid, limit=left)).rows
            left -= len(rows)
        if left:
            age = look.age_seconds
            rows = [*rows, *(yield recent(age=age, limit=left, **blanks)).rows]
    look.note(rows)
    return rows


def take_replications(
    sql: Statements, look: Look, lease_seconds: int
) -> Steps[list[Replication]]:
    """Lease due rows, oldest first, each with its file if it lives."""
    phrases = (sql.due_replications, sql.recent_replications, sql.new_replications)
    rows = yield from due(look, *phrases)
    if not rows:
        return []
    fids = [row[0] for row in rows]
    yield quiet(sql.lease_replications(delay=lease_seconds, fids=fids))
    reply = yield sql.find_fids(fids=fids)
    found = {one.file.fid: one for one in gathered(reply.rows)}
    return [
        Replication(fid, failcount, fromdevid, found.get(fid))
        for fid, failcount, fromdevid, _ in rows
    ]


def keep_replications(
    sql: Statements, fids: Sequence[int], lease_seconds: int
) -> Steps[None]:
    """Let the leases of rows in work begin anew."""
    yield sql.lock_replications(fids=fids)
    yield quiet(sql.keep_replications(delay=lease_seconds, fids=fids))


def keep_deletions(
    sql: Statements, fids: Sequence[int], lease_seconds: int
) -> Steps[None]:
    """Let leases begin anew; the queue row of a finished deletion is gone."""
    yield sql.lock_deletions(fids=fids)
    yield quiet(sql.lease_deletions(delay=lease_seconds, fids=fids))


def finish_replications(
    sql: Statements, done: Sequence[ReplicationDone]
) -> Steps[None]:
    """Record copies, recount, and remove or put off the rows that are in work.

    Rows that are not in work (their lease ended and somebody else finished them, and
    perhaps they were queued anew) stay as they are.
    """
    changed = sorted({one.fid for one in done if one.added or one.removed})
    live: set[int] = set()
    fids = sorted({one.fid for one in done})
    reply = yield sql.lock_fids(fids=fids)
    live = {row[0] for row in reply.rows}
    copies = [{"fid": one.fid, "devid": n} for one in done for n in one.added]
    dead = sorted({one.fid for one in done if one.added and one.fid not in live})
    sums = [
        {
            "fid": one.fid,
            "hashtype": one.checksum.hashtype,
            "checksum": one.checksum.digest,
        }
        for one in done
        if one.checksum and one.fid in live
    ]
    recounted = [fid for fid in changed if fid in live]
    finished = [one.fid for one in done if one.retry_seconds is None]
    yield quiet(
        sql.add_copies.rows(copies),
        *removals(sql, done),
        sql.recount(fids=recounted) if recounted else None,
        sql.add_own_checksum.rows(sums),
        sql.delete_now.rows([{"fid": fid} for fid in dead]),
        sql.drop_replications(fids=finished) if finished else None,
        sql.renew_replications(fids=finished) if finished else None,
        *_put_off_replications(sql, done),
    )


def removals(
    sql: Statements,
    done: Sequence[ReplicationDone] | Sequence[DeletionDone] | Sequence[CopyChange],
) -> Iterable[Statement]:
    """What forgets the copies that were removed: a statement a device."""
    by_devid: dict[int, list[int]] = {}
    for one in done:
        for devid in one.removed:
            by_devid.setdefault(devid, []).append(one.fid)
    return [
        sql.remove_copies(devid=devid, fids=fids)
        for devid, fids in sorted(by_devid.items())
    ]


def _by_delay(done: Iterable[Done]) -> Mapping[tuple[int | None, int], list[int]]:
    """Fids by (delay in seconds or None for ever, failcount)."""
    groups: dict[tuple[int | None, int], list[int]] = {}
    for one in done:
        delay = one.retry_seconds or 0
        seconds = None if delay > GIVEN_UP_SECONDS else max(0, round(delay))
        failcount = min(one.failcount, LAST_FAILCOUNT)
        groups.setdefault((seconds, failcount), []).append(one.fid)
    return groups


def _put_off_replications(
    sql: Statements, done: Sequence[ReplicationDone]
) -> Iterable[Statement]:
    late = [one for one in done if one.retry_seconds is not None]
    for (delay, failcount), fids in _by_delay(late).items():
        if delay is None:
            yield sql.give_up_replications(failcount=failcount, fids=fids)
        else:
            yield sql.put_off_replications(delay=delay, failcount=failcount, fids=fids)


def queue_replications(sql: Statements, fids: Sequence[int], delay: int) -> Steps[None]:
    """Queue files; a row in work is marked, so that it outlives that work."""
    rows = [{"fid": fid, "delay": delay} for fid in sorted(set(fids))]
    yield quiet(sql.queue_again.rows(rows))


def release_replications(sql: Statements, limit: int) -> Steps[int]:
    """Make up to `limit` rows due that were put off after a failure."""
    reply = yield sql.failed_replications(limit=limit)
    return (yield from _make_due(sql, [row[0] for row in reply.rows]))


def hasten_replications(sql: Statements) -> Steps[int]:
    """Make up to `HASTEN_ROWS` rows due that are waiting or given up."""
    reply = yield sql.waiting_replications(limit=HASTEN_ROWS)
    return (yield from _make_due(sql, [row[0] for row in reply.rows]))


def _make_due(sql: Statements, fids: list[int]) -> Steps[int]:
    if fids:
        yield quiet(sql.make_due(fids=fids))
    return len(fids)


def take_deletions(
    sql: Statements, look: Look, lease_seconds: int, grace_seconds: int = 0
) -> Steps[tuple[list[Deletion], list[int]]]:
    """Lease rows that have been due for the grace; and the fids of those that are live
    files, against all rules: they are taken out of the queue and not handed to
    anybody."""
    phrases = (sql.due_deletions, sql.recent_deletions)
    rows = yield from due(look, *phrases, grace=grace_seconds)
    if not rows:
        return [], []
    fids = [row[0] for row in rows]
    reply = yield sql.live_fids(fids=fids)
    live = sorted(row[0] for row in reply.rows)
    if live:
        yield quiet(sql.drop_deletions(fids=live))
    fids = [fid for fid in fids if fid not in live]
    if not fids:
        return [], live
    yield quiet(sql.lease_deletions(delay=lease_seconds, fids=fids))
    reply = yield sql.copies_of(fids=fids)
    devids: dict[int, list[int]] = {}
    for fid, devid in reply.rows:
        devids.setdefault(fid, []).append(devid)
    taken = [
        Deletion(fid, failcount, tuple(sorted(devids.get(fid, ()))))
        for fid, failcount, _ in rows
        if fid not in live
    ]
    return taken, live


def finish_deletions(sql: Statements, done: Sequence[DeletionDone]) -> Steps[None]:
    """Forget removed copies; rows without any copy go, others are put off."""
    fids = sorted({one.fid for one in done})
    yield sql.lock_deletions(fids=fids)
    reply = yield sql.live_fids(fids=fids)
    live = {row[0] for row in reply.rows}
    done = [one for one in done if one.fid not in live]
    fids = [fid for fid in fids if fid not in live]
    if not fids:
        return
    yield quiet(*removals(sql, done))
    reply = yield sql.copies_of(fids=fids)
    left = {row[0] for row in reply.rows}
    gone = [fid for fid in fids if fid not in left]
    if gone:
        yield quiet(
            sql.drop_deletions(fids=gone),
            *(phrase(fids=gone) for phrase in sql.drop_checksums),
        )
    late: list[Statement | None] = []
    groups = _by_delay([one for one in done if one.fid in left])
    for (delay, failcount), some in groups.items():
        # A fid may be told of twice: while it could not be told, its lease ended and it
        # was taken again. PostgreSQL refuses a statement that has a row twice.
        rows = [
            {"fid": fid, "failcount": failcount, "delay": delay}
            for fid in sorted(set(some))
        ]
        phrase = sql.give_up_deletions if delay is None else sql.put_off_deletions
        late.append(phrase.rows(rows))
    yield quiet(*late)


def move_old_deletions(sql: Statements, limit: int) -> Steps[int]:
    """Move rows of MogileFS's older delete queues into the one in use."""
    moved = 0
    queues = (sql.old_deletions, sql.later_deletions)
    for select, drop in zip(queues, sql.drop_old_deletions, strict=True):
        reply = yield select(limit=limit)
        fids = sorted(row[0] for row in reply.rows)
        if fids:
            rows = [{"fid": fid} for fid in fids]
            yield quiet(sql.queue_deletion.rows(rows), drop(fids=fids))
        moved += len(fids)
    return moved


def expire_uploads(sql: Statements, age_seconds: int, limit: int) -> Steps[int]:
    """Queue the fids of old uploads for deletion; a live file only loses its row."""
    reply = yield sql.old_uploads(age=age_seconds, limit=limit)
    if not reply.rows:
        return 0
    reply = yield sql.take_uploads(fids=[row[0] for row in reply.rows])
    devids = {fid: devids_of(text) for fid, text in reply.rows}
    if not devids:
        return 0
    reply = yield sql.live_fids(fids=list(devids))
    live = {row[0] for row in reply.rows}
    dead = [fid for fid in devids if fid not in live]
    yield quiet(
        sql.add_copies.rows(
            [{"fid": fid, "devid": devid} for fid in dead for devid in devids[fid]]
        ),
        sql.delete_now.rows([{"fid": fid} for fid in dead]),
        sql.forget_uploads(fids=list(devids)),
    )
    return len(devids)


def reap(
    sql: Statements, devid: int, after_fid: int | None, limit: int
) -> Steps[list[int]]:
    """Forget copies on a dead device and queue their files for replication: those with
    the lowest fids above `after_fid`, or any. Returns the fids, ascending."""
    if after_fid is None:
        reply = yield sql.copies_on(devid=devid, limit=limit)
    else:
        reply = yield sql.copies_beyond(devid=devid, fid=after_fid, limit=limit)
    fids = sorted({row[0] for row in reply.rows})
    if not fids:
        return []
    live = yield sql.lock_fids(fids=fids)
    lost = [row[0] for row in live.rows]
    rows = [{"fid": fid, "delay": REAPED_DELAY_SECONDS} for fid in lost]
    yield quiet(
        sql.remove_copies(devid=devid, fids=fids),
        sql.recount(fids=lost) if lost else None,
        sql.queue_again.rows(rows),
    )
    return fids


def lengths(sql: Statements) -> Steps[dict[str, int]]:
    """Rows in the queues, counted up to a cap."""
    reply = yield sql.lengths()
    return dict(zip(("replicate", "delete", "upload"), reply.rows[0], strict=True))
