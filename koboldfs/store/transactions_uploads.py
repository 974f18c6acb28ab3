"""Transactions that hand out fids, and those that make uploads files.

How a key gets its new file when several trackers close at once (PostgreSQL, READ
COMMITTED): the upload rows are locked, so that one fid is closed once, and the rows of
the keys. A key that has a row keeps it and gets the new fid in it, never by DELETE and
INSERT, so that whoever waits for the row finds its successor. A key that has none is
inserted; if somebody was faster, that breaks the unique rule, and the transaction is
run again (`Transaction.racing`). Thus every fid that a key ever had is seen by the one
who replaces it, and queued for deletion.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from attrs import frozen

from koboldfs.errors import DuplicateRow, FidInUse, NoUpload
from koboldfs.model.entities import Closing, Removal
from koboldfs.store.statements import Statements
from koboldfs.store.steps import Again, Row, Statement, Steps, quiet
from koboldfs.store.transactions_files import Name, by_domain, delete, spellings
from koboldfs.store.transactions_numbers import highest_drawn, lift, push_sequence

CLOSED, REPEATED, NO_UPLOAD = "closed", "repeated", "no_upload"

#: How often fids are drawn again when others had taken them: the sequence is pushed
#: above every known fid before each, so a second time is already a rarity.
MAX_DRAWS = 5
#: Changes of one `apply` that go into one statement: engines limit its parameters.
MAX_RUN = 256


@frozen
class Opening:
    """An upload to be recorded; `devids` as text; `fid` None for the next one."""

    dmid: int
    key: str
    classid: int
    devids: str
    fid: int | None = None


@frozen
class Blank:
    """Uploads to be recorded before it is known what they will be."""

    dmid: int
    classid: int
    count: int


def open_uploads(
    sql: Statements, wanted: Sequence[Opening], floor: int = 0
) -> Steps[list[int]]:
    """Record uploads under new fids, which are durable when this is committed. Those
    are above `floor`: should the database draw lower ones, it is an old state of it."""
    if sql.tongue.name == "postgresql":
        return (yield from _open_from_sequence(sql, wanted, floor))
    if sql.tongue.name == "mysql":
        return (yield from _open_counted(sql, wanted, floor))
    base = yield from highest_drawn(sql)
    if base < floor:
        yield from lift(sql, floor)
        base = floor
    fids = list(range(base + 1, base + 1 + len(wanted)))
    rows = [_row(one) | {"fid": fid} for one, fid in zip(wanted, fids, strict=True)]
    yield quiet(sql.open_as.rows(rows))
    return fids


def describe_uploads(sql: Statements, openings: Sequence[Opening]) -> Steps[None]:
    """Say what blank uploads are; those that are closed by now are left out."""
    yield quiet(
        *(
            sql.describe_upload(
                dkey=one.key, devids=one.devids, key_fid=one.fid, key_devids=""
            )
            for one in sorted(openings, key=lambda one: one.fid or 0)
        )
    )


def forget_uploads(sql: Statements, fids: Sequence[int]) -> Steps[None]:
    """Throw away uploads that nobody was told of."""
    yield quiet(sql.forget_uploads(fids=fids))


def _row(one: Opening) -> dict[str, int | str]:
    return {
        "classid": one.classid,
        "dmid": one.dmid,
        "dkey": one.key,
        "devids": one.devids,
    }


def _open_from_sequence(
    sql: Statements, wanted: Sequence[Opening], floor: int
) -> Steps[list[int]]:
    """The rows' own default draws; a statement that is a transaction by itself.

    A fid that is known already is thrown away in a second transaction; should we die
    before that, the upload that nobody was told of expires. Equal rows are the same
    to whoever asked for them.
    """
    free: dict[tuple[int, int, str, str], list[int]] = {}
    missing: Sequence[Opening] = wanted
    for _ in range(MAX_DRAWS):
        statement = sql.open.rows([_row(one) for one in missing])
        assert statement is not None
        reply = yield statement
        for *row, fid, used in reply.rows:
            if not used and fid > floor:
                free.setdefault((row[0], row[1], row[2], row[3]), []).append(fid)
        taken = [row for row in reply.rows if row[5] or row[4] <= floor]
        if not taken:
            return [
                free[one.classid, one.dmid, one.key, one.devids].pop() for one in wanted
            ]
        yield quiet(
            Statement("BEGIN"),
            sql.lock_draws(),
            sql.push_sequence(),
            sql.forget_uploads(fids=[row[4] for row in taken]),
        )
        if low := [row[4] for row in taken if row[4] <= floor]:
            yield from lift(sql, floor, min(low))
            floor = 0  # above it, unless this database does not draw in order
        yield quiet(Statement("COMMIT"))
        missing = [_as_opening(row) for row in taken]
    raise Again


def _open_counted(
    sql: Statements, wanted: Sequence[Opening], floor: int
) -> Steps[list[int]]:
    """The rows of one INSERT draw their fids together, from the first one upwards."""
    for _ in range(MAX_DRAWS):
        fids = yield from _drawn(sql, wanted)
        low = min(fids) <= floor
        if not low and not (yield from _known(sql, fids)):
            return fids
        yield quiet(sql.forget_uploads(fids=fids))
        yield from push_sequence(sql)
        if low:
            yield from lift(sql, floor, min(fids))
            floor = 0  # above it, unless this database does not draw in order
    raise Again


def _drawn(sql: Statements, wanted: Sequence[Opening]) -> Steps[list[int]]:
    yield quiet(sql.open.rows([_row(one) for one in wanted]))
    ((first, step),) = (yield sql.drawn()).rows
    return [first + step * n for n in range(len(wanted))]


def _known(sql: Statements, fids: list[int]) -> Steps[bool]:
    """Whether one of the fids is or was another file's."""
    reply = yield sql.known_fids(in_file=fids, in_file_on=fids, in_file_to_delete2=fids)
    return bool(reply.rows)


def _as_opening(row: Row) -> Opening:
    return Opening(classid=row[0], dmid=row[1], key=row[2], devids=row[3])


def open_upload_as(sql: Statements, wanted: Opening, floor: int = 0) -> Steps[int]:
    """Record an upload under its own fid, which must be above all that ever were, and
    above `floor`."""
    assert wanted.fid is not None
    if wanted.fid <= floor:
        raise FidInUse
    if sql.tongue.name == "postgresql":
        yield quiet(sql.lock_draws())
    if sql.tongue.name == "mysql":
        # What was drawn but is not in use any more, only the next draw shows.
        drawn = yield from _drawn(sql, [wanted])
        yield quiet(sql.forget_uploads(fids=drawn))
        if wanted.fid < drawn[0]:
            raise FidInUse
    if wanted.fid <= (yield from highest_drawn(sql)):
        raise FidInUse
    if sql.tongue.name == "postgresql":
        yield quiet(sql.draw_above(fid=wanted.fid))
    row = _row(wanted) | {"fid": wanted.fid}
    try:
        yield sql.open_as(**row)
    except DuplicateRow:
        raise FidInUse from None
    return wanted.fid


def close_uploads(sql: Statements, closings: Sequence[Closing]) -> Steps[list[str]]:
    """For each closing its outcome; fids and names must all be different."""
    if sql.folds_keys and len(closings) > 1:
        # To the database even different names can be the same.
        outcomes = []
        for one in closings:
            outcomes += yield from close_uploads(sql, [one])
        return outcomes
    uploads, holders = yield from _lock(sql, closings)
    # MogileFS may leave the upload of a fid behind that is a live file already.
    live = {row[0]: row for row in holders.values()}
    if len(uploads) < len(closings):
        # What was seen of files may be older than what was seen of uploads.
        reply = yield sql.files_of(fids=[one.fid for one in closings])
        live |= {row[0]: row for row in reply.rows}
    outcomes = [_outcome(one, uploads, live) for one in closings]
    ready = [one for one, out in zip(closings, outcomes, strict=True) if out == CLOSED]
    left = sorted(uploads & live.keys())
    if left:
        yield quiet(sql.forget_uploads(fids=left))
    if ready:
        held = [one for one in ready if (one.dmid, one.key) in holders]
        new = [one for one in ready if (one.dmid, one.key) not in holders]
        replaced = sorted(holders[one.dmid, one.key][0] for one in held)
        yield quiet(
            sql.insert_files.rows([_file(one) for one in new]),
            *_replaced(sql, held, holders),
            sql.queue_deletion.rows([{"fid": fid} for fid in replaced]),
            sql.add_copies.rows(
                [{"fid": one.fid, "devid": n} for one in ready for n in set(one.devids)]
            ),
            sql.set_class_checksum.rows(
                [
                    _sum(
                        one.fid, one.class_checksum.hashtype, one.class_checksum.digest
                    )
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
            sql.queue_new.rows([{"fid": one.fid} for one in ready if not one.settled]),
            # With what MogileFS left of the replaced, lest that be closed some day.
            sql.forget_uploads(fids=[*(one.fid for one in ready), *replaced]),
        )
    return outcomes


def _replaced(
    sql: Statements, held: Sequence[Closing], holders: Mapping[Name, Row]
) -> list[Statement | None]:
    """What gives the rows of the keys their new files."""
    if sql.tongue.name != "mysql":
        return [sql.replace_files.rows([_file(one) for one in held])]
    named = [(one, holders[one.dmid, one.key]) for one in held]
    return [sql.replace_file(**_file(one), key_fid=row[0]) for one, row in named]


def _sum(fid: int, hashtype: int, digest: bytes) -> dict[str, int | bytes]:
    return {"fid": fid, "hashtype": hashtype, "checksum": digest}


def _outcome(closing: Closing, uploads: set[int], live: dict[int, Row]) -> str:
    row = live.get(closing.fid)
    if row is not None:
        same = row[1:4] == (closing.dmid, closing.key, closing.length)
        return REPEATED if same else NO_UPLOAD
    return CLOSED if closing.fid in uploads else NO_UPLOAD


def _lock(
    sql: Statements, closings: Sequence[Closing]
) -> Steps[tuple[set[int], dict[Name, Row]]]:
    """Lock the closings' uploads and keys: which uploads there are, files by name."""
    uploads: set[int] = set()
    names: dict[Name, Row] = {}
    fids = [one.fid for one in closings]
    if sql.lock_closing is None:
        uploads = {row[0] for row in (yield sql.lock_uploads(fids=fids)).rows}
    for dmid, keys in by_domain((one.dmid, one.key) for one in closings).items():
        if sql.lock_closing is None:
            reply = yield sql.lock_keys(dmid=dmid, keys=keys)
        else:
            reply = yield sql.lock_closing(fids=fids, dmid=dmid, keys=keys)
        for row in reply.rows:
            if row[1] is None:
                uploads.add(row[0])
            else:
                names[row[1], row[2]] = row
        meant = yield from spellings(sql, dmid, keys, names)
        names |= {key: names[stored] for key, stored in meant.items()}
    return uploads, names


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
