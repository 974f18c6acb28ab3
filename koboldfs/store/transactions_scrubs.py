"""Transactions of the scrub: where it stands, what no row knows, what is lost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from koboldfs.model.entities import File
from koboldfs.model.scrub import Counts, LostFile, Scrub, Strays
from koboldfs.store.statements import Statements
from koboldfs.store.steps import Row, Steps, quiet
from koboldfs.store.transactions_files import gathered
from koboldfs.store.transactions_numbers import forgotten, highest_drawn
from koboldfs.store.transactions_tasks import highest_fid


def _scrub(row: Row) -> Scrub:
    """Of the columns `statements_scrubs.SCRUB_COLUMNS`."""
    devid, known, began, ended, asked, running, position, folder, end_fid = row[:9]
    owner, leased_until = row[16:]
    return Scrub(
        devid,
        known,
        began,
        ended,
        bool(asked),
        bool(running),
        position,
        folder,
        end_fid,
        Counts(*row[9:16]),
        owner.decode("latin-1") if isinstance(owner, bytes) else owner,
        leased_until,
    )


def all_scrubs(sql: Statements) -> Steps[tuple[list[Scrub], int]]:
    """All rows, and the time."""
    reply = yield sql.all_scrubs()
    if reply.rows:
        return [_scrub(row[1:]) for row in reply.rows], int(reply.rows[0][0])
    now = yield sql.unix_time()
    return [], int(now.rows[0][0])


def know_devices(sql: Statements, devids: Sequence[int]) -> Steps[None]:
    """Rows for devices that have none."""
    yield quiet(sql.know_devices.rows([{"devid": devid} for devid in sorted(devids)]))


def ask_scrubs(sql: Statements, devids: Sequence[int]) -> Steps[None]:
    """Passes are due."""
    yield from know_devices(sql, devids)
    if devids:
        yield quiet(sql.ask_scrubs(numbers=sorted(devids)))


def begin_scrub(
    sql: Statements, devid: int, owner: str, period: int, lease: int
) -> Steps[Scrub | None]:
    """See `IScrubs.begin`."""
    reply = yield sql.lock_scrub(devid=devid)
    if not reply.rows:
        return None
    now, scrub = int(reply.rows[0][0]), _scrub(reply.rows[0][1:])
    if not scrub.free_for(owner, now):
        return None
    values: dict[str, Any] = {"devid": devid, "new_owner": owner, "lease": lease}
    if scrub.running:
        yield quiet(sql.lease_scrub(**values))
    elif scrub.due(now, period):
        last = yield from highest_fid(sql)
        yield quiet(sql.begin_scrub(**values, last=last))
    else:
        return None
    reply = yield sql.lock_scrub(devid=devid)
    return _scrub(reply.rows[0][1:])


def keep_scrubs(
    sql: Statements, devids: Sequence[int], owner: str, lease: int
) -> Steps[None]:
    """Leases begin anew."""
    yield quiet(sql.keep_scrubs(numbers=sorted(devids), owner=owner, lease=lease))


def _still(sql: Statements, scrub: Scrub) -> Steps[bool]:
    """Whether the pass stands as it was seen; its row is locked."""
    reply = yield sql.lock_scrub(devid=scrub.devid)
    if not reply.rows:
        return False
    now = _scrub(reply.rows[0][1:])
    return now.running and _place(now) == _place(scrub)


def _place(scrub: Scrub) -> tuple[object, ...]:
    return scrub.owner, scrub.began, scrub.position, scrub.folder, scrub.counts


def advance_scrub(
    sql: Statements, seen: Scrub, new: Scrub, lease: int
) -> Steps[Scrub | None]:
    """See `IScrubs.advance`."""
    if not (yield from _still(sql, seen)):
        return None
    counts = new.counts
    yield quiet(
        sql.advance_scrub(
            devid=seen.devid,
            new_position=new.position,
            new_folder=new.folder,
            new_files=counts.files,
            new_size_bytes=counts.size_bytes,
            new_bad=counts.bad,
            new_mended=counts.mended,
            new_missing=counts.missing,
            new_orphans=counts.orphans,
            new_lost=counts.lost,
            lease=lease,
        )
    )
    return new


def finish_scrub(sql: Statements, seen: Scrub) -> Steps[bool]:
    """See `IScrubs.finish`."""
    if not (yield from _still(sql, seen)):
        return False
    yield quiet(sql.finish_scrub(devid=seen.devid))
    return True


def strays(sql: Statements, devid: int, fids: Sequence[int]) -> Steps[Strays]:
    """See `IScrubs.strays`; to be run as of one moment."""
    highest = yield from highest_drawn(sql)
    left = set(fids)
    if left:
        reply = yield sql.copies_here(devid=devid, fids=sorted(left))
        left -= {row[0] for row in reply.rows}
    for phrase in sql.in_work.values():
        if left:
            reply = yield phrase(fids=sorted(left))
            left -= {row[0] for row in reply.rows}
    if not left:
        return Strays((), highest)
    reply = yield sql.find_fids(fids=sorted(left))
    live = {one.file.fid: one for one in gathered(reply.rows)}
    found = tuple((fid, live.get(fid)) for fid in sorted(left))
    return Strays(found, highest, (yield from forgotten(sql)))


def note_lost(sql: Statements, fids: Sequence[int]) -> Steps[list[int]]:
    """See `IScrubs.note_lost`."""
    reply = yield sql.lock_fids(fids=sorted(fids))
    live = sorted(row[0] for row in reply.rows)
    known = (yield from lost_among(sql, live)) if live else []
    new = [fid for fid in live if fid not in known]
    yield quiet(sql.note_lost.rows([{"fid": fid} for fid in new]))
    return new


def lost_among(sql: Statements, fids: Sequence[int]) -> Steps[list[int]]:
    """See `IScrubs.lost_among`."""
    reply = yield sql.lost_among(fids=sorted(fids))
    return [row[0] for row in reply.rows]


def forget_lost(sql: Statements, fids: Sequence[int]) -> Steps[None]:
    """See `IScrubs.forget_lost`."""
    yield quiet(sql.forget_lost(fids=sorted(fids)))


def lost_after(sql: Statements, fid: int, limit: int) -> Steps[list[LostFile]]:
    """See `IScrubs.lost_after`."""
    reply = yield sql.lost_after(fid=fid, limit=limit)
    return [LostFile(File(*row[:6]), row[6]) for row in reply.rows]


def clean_lost(sql: Statements, after_fid: int, limit: int) -> Steps[int]:
    """Forget, of a page of what is noted as lost, the files that are gone; returns
    where the page ended, 0 after the last one."""
    reply = yield sql.lost_page(fid=after_fid, limit=limit)
    noted = [row[0] for row in reply.rows]
    if not noted:
        return 0
    reply = yield sql.live_fids(fids=noted)
    gone = sorted(set(noted) - {row[0] for row in reply.rows})
    if gone:
        yield quiet(sql.forget_lost(fids=gone))
    return noted[-1] if len(noted) == limit else 0
