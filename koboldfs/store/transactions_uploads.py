"""Transactions that hand out fids, and those that make uploads files.

How a key gets its new file when several trackers close at once (PostgreSQL, READ
COMMITTED): the upload rows are locked first, so that one fid is closed once; then the
rows of the keys. A key that has a row keeps it and gets the new fid in it, never by
DELETE and INSERT, so that whoever waits for the row finds its successor. A key that
has none is inserted; if somebody was faster, nothing is inserted, and we look again.
Thus every fid that a key ever had is seen by the one who replaces it, and queued.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attrs import frozen

from koboldfs.errors import FidInUse, NoUpload
from koboldfs.model.entities import Closing, Removal
from koboldfs.store.statements import Statements
from koboldfs.store.steps import Again, Row, Steps, quiet
from koboldfs.store.transactions_files import Name, by_domain, delete

CLOSED, REPEATED, NO_UPLOAD = "closed", "repeated", "no_upload"

#: How often fids are drawn again when others had taken them: the sequence is pushed
#: above every known fid before each, so a second time is already a rarity.
MAX_DRAWS = 5
#: Changes of one `apply` that go into one statement: engines limit its parameters.
MAX_RUN = 256
#: How often a key is looked at again when it appears and vanishes under our hands.
MAX_LOOKS = 5


@frozen
class Opening:
    """An upload to be recorded; `devids` as text; `fid` None for the next one."""

    dmid: int
    key: str
    classid: int
    devids: str
    fid: int | None = None


def open_uploads(sql: Statements, wanted: Sequence[Opening]) -> Steps[list[int]]:
    """Record uploads under new fids, which are durable when this is committed."""
    if sql.tongue.name == "postgresql":
        return (yield from _open_from_sequence(sql, wanted))
    base = yield from _highest(sql)
    fids = list(range(base + 1, base + 1 + len(wanted)))
    rows = [_row(one) | {"fid": fid} for one, fid in zip(wanted, fids, strict=True)]
    yield quiet(sql.open_as.rows(rows))
    return fids


def _row(one: Opening) -> dict[str, int | str]:
    return {
        "classid": one.classid,
        "dmid": one.dmid,
        "dkey": one.key,
        "devids": one.devids,
    }


def _highest(sql: Statements) -> Steps[int]:
    """The highest fid that was ever drawn, or that any table knows."""
    drawn = yield sql.last_drawn()
    known = yield sql.highest_fids()
    return max(value or 0 for row in (*drawn.rows, *known.rows) for value in row)


def push_sequence(sql: Statements) -> Steps[None]:
    """See to it that every fid drawn from now on is above all known ones.

    On PostgreSQL nobody draws while we look: neither we nor MogileFS can insert.
    """
    if sql.tongue.name != "postgresql":
        return
    yield quiet(sql.lock_draws())
    drawn = yield sql.last_drawn()
    known = yield sql.highest_fids()
    highest = max(value or 0 for value in known.rows[0])
    if highest > drawn.rows[0][0]:
        yield quiet(sql.draw_above(fid=highest))


def _open_from_sequence(sql: Statements, wanted: Sequence[Opening]) -> Steps[list[int]]:
    """The rows' own default draws. Equal rows are the same to whoever asked."""
    answers: list[int] = []
    free: dict[tuple[int, int, str, str], list[int]] = {}
    missing: Sequence[Opening] = wanted
    for _ in range(MAX_DRAWS):
        statement = sql.open.rows([_row(one) for one in missing])
        assert statement is not None
        reply = yield statement
        for *row, fid, used in reply.rows:
            if not used:
                free.setdefault((row[0], row[1], row[2], row[3]), []).append(fid)
        taken = [row[4] for row in reply.rows if row[5]]
        if not taken:
            break
        yield quiet(sql.forget_uploads(fids=taken))
        yield from push_sequence(sql)
        missing = [_as_opening(row) for row in reply.rows if row[5]]
    else:
        raise Again
    for one in wanted:
        answers.append(free[one.classid, one.dmid, one.key, one.devids].pop())
    return answers


def _as_opening(row: Row) -> Opening:
    return Opening(classid=row[0], dmid=row[1], key=row[2], devids=row[3])


def open_upload_as(sql: Statements, wanted: Opening) -> Steps[int]:
    """Record an upload under its own fid, which must be above all that ever were."""
    assert wanted.fid is not None
    if sql.tongue.name == "postgresql":
        yield quiet(sql.lock_draws())
    if wanted.fid <= (yield from _highest(sql)):
        raise FidInUse
    if sql.tongue.name == "postgresql":
        yield quiet(sql.draw_above(fid=wanted.fid))
    yield quiet(sql.open_as.rows([_row(wanted) | {"fid": wanted.fid}]))
    return wanted.fid


def close_uploads(sql: Statements, closings: Sequence[Closing]) -> Steps[list[str]]:
    """For each closing its outcome; fids and names must all be different."""
    fids = [one.fid for one in closings]
    reply = yield sql.lock_uploads(fids=fids)
    uploads = {row[0] for row in reply.rows}
    live, holders = yield from _look(sql, closings)
    outcomes = [_outcome(one, uploads, live) for one in closings]
    ready = [
        one for one, out in zip(closings, outcomes, strict=True) if out == CLOSED
    ]
    if ready:
        replaced = yield from _take_names(sql, ready, holders)
        yield quiet(
            sql.queue_deletion.rows([{"fid": fid} for fid in sorted(replaced)]),
            sql.add_copies.rows(
                [{"fid": one.fid, "devid": n} for one in ready for n in set(one.devids)]
            ),
            sql.set_class_checksum.rows(
                [
                    _sum(one.fid, one.class_checksum.hashtype, one.class_checksum.digest)
                    for one in ready
                    if one.class_checksum
                ]
            ),
            sql.set_own_checksum.rows(
                [
                    _sum(one.fid, one.checksum.hashtype, one.checksum.digest)
                    for one in ready
                    if one.checksum
                ]
            ),
            sql.queue_new.rows([{"fid": one.fid} for one in ready]),
            sql.forget_uploads(fids=[one.fid for one in ready]),
        )
    return outcomes


def _sum(fid: int, hashtype: int, digest: bytes) -> dict[str, int | bytes]:
    return {"fid": fid, "hashtype": hashtype, "checksum": digest}


def _outcome(closing: Closing, uploads: set[int], live: dict[int, Row]) -> str:
    row = live.get(closing.fid)
    if row is not None:
        same = row[1:4] == (closing.dmid, closing.key, closing.length)
        return REPEATED if same else NO_UPLOAD
    return CLOSED if closing.fid in uploads else NO_UPLOAD


def _look(
    sql: Statements, closings: Iterable[Closing]
) -> Steps[tuple[dict[int, Row], dict[Name, int]]]:
    """Lock what the closings' fids and keys are now: rows by fid, fids by name."""
    closings = list(closings)
    fids = [one.fid for one in closings]
    rows: list[Row] = []
    for dmid, keys in by_domain((one.dmid, one.key) for one in closings).items():
        reply = yield sql.lock_keys_or_fids(fids=fids, dmid=dmid, keys=keys)
        rows.extend(reply.rows)
    live = {row[0]: row for row in rows}
    names = {(row[1], row[2]): row[0] for row in rows}
    return live, names


def _take_names(
    sql: Statements, closings: Sequence[Closing], holders: dict[Name, int]
) -> Steps[set[int]]:
    """Make each key point at its new fid; returns the fids that they replace."""
    replaced: set[int] = set()
    waiting = list(closings)
    for _ in range(MAX_LOOKS):
        held = [one for one in waiting if (one.dmid, one.key) in holders]
        if held:
            replaced.update(holders[one.dmid, one.key] for one in held)
            yield quiet(sql.replace_files.rows([_file(one) for one in held]))
        waiting = [one for one in waiting if (one.dmid, one.key) not in holders]
        insert = sql.insert_files.rows([_file(one) for one in waiting])
        if insert is None:
            return replaced
        reply = yield insert
        if reply.count == len(waiting):
            return replaced
        _, holders = yield from _look(sql, waiting)
        ours = {one.fid for one in waiting}
        waiting = [
            one for one in waiting if holders.get((one.dmid, one.key)) != one.fid
        ]
        holders = {name: fid for name, fid in holders.items() if fid not in ours}
    raise Again


def _file(one: Closing) -> dict[str, int | str]:
    return {
        "fid": one.fid,
        "dmid": one.dmid,
        "dkey": one.key,
        "length": one.length,
        "classid": one.classid,
        "devcount": len(set(one.devids)),
    }


def abandon_upload(sql: Statements, fid: int, devids: Sequence[int]) -> Steps[None]:
    """Forget an upload and queue its fid for deletion, unless it is a live file."""
    yield sql.lock_uploads(fids=[fid])
    reply = yield sql.lock_fids(fids=[fid])
    if reply.rows:
        return
    yield quiet(
        sql.add_copies.rows([{"fid": fid, "devid": devid} for devid in set(devids)]),
        sql.delete_now.rows([{"fid": fid}]),
        sql.forget_uploads(fids=[fid]),
    )


def apply(sql: Statements, changes: Sequence[Closing | Removal]) -> Steps[None]:
    """All the changes in order; raises `NoUpload`, and then nothing is changed."""
    for run in _runs(changes):
        closings = [one for one in run if isinstance(one, Closing)]
        if not closings:
            yield from delete(sql, [(one.dmid, one.key) for one in run])
            continue
        outcomes = yield from close_uploads(sql, closings)
        if NO_UPLOAD in outcomes:
            raise NoUpload


def _runs(
    changes: Sequence[Closing | Removal],
) -> Iterable[list[Closing | Removal]]:
    """Neighbours of one kind, cut where a key or fid comes again."""
    run: list[Closing | Removal] = []
    seen: set[int | Name] = set()
    for change in changes:
        marks = marks_of(change)
        other = run and type(change) is not type(run[0])
        if other or len(run) == MAX_RUN or seen & marks:
            yield run
            run, seen = [], set()
        run.append(change)
        seen |= marks
    if run:
        yield run


def marks_of(change: Closing | Removal) -> set[int | Name]:
    """What a change is about; two with a common mark must keep their order."""
    if isinstance(change, Removal):
        return {(change.dmid, change.key)}
    return {change.fid, (change.dmid, change.key)}
