"""Transactions about the numbers of files: the highest, and seeing to it that those
that are drawn are above it.

MogileFS's trackers draw from the same sequence: what is lifted here is so for them.
"""

from __future__ import annotations

from koboldfs.model.numbering import (
    FORGOTTEN_SETTING,
    FidRange,
    parse_ranges,
    ranges_text,
)
from koboldfs.store.statements import Statements
from koboldfs.store.steps import Steps, quiet
from koboldfs.store.transactions_topology import set_setting, setting


def highest_drawn(sql: Statements) -> Steps[int]:
    """The highest fid that was ever drawn, or that any table knows."""
    rows = (yield sql.highest_fids()).rows
    if sql.tongue.name != "mysql":
        rows = rows + (yield sql.last_drawn()).rows
    return max(value or 0 for row in rows for value in row)


def push_sequence(sql: Statements) -> Steps[None]:
    """See to it that every fid drawn from now on is above all known ones.

    On PostgreSQL nobody draws while we look: neither we nor MogileFS can insert. MySQL
    numbers on from the highest fid that ever was in the table, and keeps to that when
    the transaction is rolled back; the oldest do not keep it when they are restarted.
    """
    if sql.tongue.name == "postgresql":
        yield quiet(sql.lock_draws(), sql.push_sequence())
    elif sql.tongue.name == "mysql" and (highest := (yield from highest_drawn(sql))):
        yield from _raise_counter(sql, highest)


def _raise_counter(sql: Statements, fid: int) -> Steps[None]:
    """The counter of a column keeps to the highest row that ever was."""
    yield quiet(sql.raise_draws.rows([{"fid": fid}]), sql.drop_raise(fid=fid))


def forgotten(sql: Statements) -> Steps[tuple[FidRange, ...]]:
    """The ranges of fids that were passed over so far."""
    return parse_ranges((yield from setting(sql, FORGOTTEN_SETTING)))


def lift(sql: Statements, fid: int, first: int | None = None) -> Steps[FidRange | None]:
    """See to it that every fid drawn from now on is above `fid`, which was given out.

    Returns what is passed over by that, and notes it; None if so many were drawn
    anyway. `first` is one that was just drawn and is not: others may have been since.
    """
    if sql.tongue.name == "postgresql":
        yield quiet(sql.lock_draws())
    highest = yield from highest_drawn(sql)
    if sql.tongue.name == "mysql" and first is None and highest < fid:
        # What was drawn but is not in use any more, only the next draw shows.
        highest = max(highest, (yield from _next_drawn(sql)) - 1)
    if highest < fid:
        if sql.tongue.name == "postgresql":
            yield quiet(sql.draw_above(fid=fid))
        else:
            yield from _raise_counter(sql, fid)
    if first is not None:
        if (yield from _highest_known(sql)) >= fid:
            return None  # not the database is old, but what it draws from
        highest = first - 1
    elif highest >= fid:
        return None
    new = FidRange(highest + 1, fid)
    text = ranges_text((*(yield from forgotten(sql)), new))
    yield from set_setting(sql, FORGOTTEN_SETTING, text)
    return new


def _highest_known(sql: Statements) -> Steps[int]:
    """The highest fid that any table knows, without uploads."""
    ((live, _, on, deleted),) = (yield sql.highest_fids()).rows
    return max(value or 0 for value in (live, on, deleted))


def _next_drawn(sql: Statements) -> Steps[int]:
    nobody = {"classid": 0, "dmid": 0, "dkey": "", "devids": ""}
    yield quiet(sql.open.rows([nobody]))
    ((drawn, _),) = (yield sql.drawn()).rows
    yield quiet(sql.forget_uploads(fids=[drawn]))
    return int(drawn)
