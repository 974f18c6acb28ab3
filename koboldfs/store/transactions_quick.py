"""Closing uploads and deleting keys in one trip, where the dialect has a statement for
it (`statements_quick`), and the general way for what that leaves.

They are `Mode.SINGLE`: the statement is a transaction by itself, and so is the rest,
should there be one.
"""

from __future__ import annotations

from collections.abc import Sequence

from koboldfs.errors import DatabaseFault
from koboldfs.model.entities import Closing
from koboldfs.store.statements import Statements
from koboldfs.store.steps import MAX_ATTEMPTS, Again, Statement, Steps, T, quiet
from koboldfs.store.transactions_files import Name, by_domain, delete
from koboldfs.store.transactions_uploads import CLOSED, close_uploads


def close_quickly(sql: Statements, closings: Sequence[Closing]) -> Steps[list[str]]:
    """As `close_uploads`: at once if all the keys are new."""
    if sql.close_new is None:
        return (yield from close_uploads(sql, closings))
    if not any(one.class_checksum for one in closings):
        copies = [(one.fid, devid) for one in closings for devid in set(one.devids)]
        sums = [(one.fid, one.checksum) for one in closings if one.checksum]
        done = yield sql.close_new(
            fids=[one.fid for one in closings],
            dmids=[one.dmid for one in closings],
            keys=[one.key for one in closings],
            lengths=[one.length for one in closings],
            classids=[one.classid for one in closings],
            devcounts=[len(set(one.devids)) for one in closings],
            copy_fids=[fid for fid, _ in copies],
            copy_devids=[devid for _, devid in copies],
            sum_fids=[fid for fid, _ in sums],
            hashtypes=[one.hashtype for _, one in sums],
            checksums=[one.digest for _, one in sums],
            queue_fids=[one.fid for one in closings if not one.settled],
        )
        if done.rows:
            return [CLOSED] * len(closings)
    return (yield from _transaction(close_uploads(sql, closings)))


def delete_quickly(
    sql: Statements, names: Sequence[Name]
) -> Steps[list[bool | DatabaseFault]]:
    """As `delete`, for names that are all different. A fault that comes when some of
    them are deleted already is the result of the others; who met somebody tries again
    here, because what is deleted must not be deleted once more."""
    domains = by_domain(names)
    if sql.delete_keys is None:
        return [*(yield from delete(sql, names))]
    if len(domains) > 1:
        return [*(yield from _transaction(delete(sql, names)))]
    gone: dict[Name, bool | DatabaseFault] = {}
    for dmid, keys in domains.items():
        for key, is_gone in (yield sql.delete_keys(dmid=dmid, keys=keys)).rows:
            gone[dmid, key] = is_gone
    left = [name for name, is_gone in gone.items() if not is_gone]
    for _ in range(MAX_ATTEMPTS if left else 0):
        try:
            outcomes = yield from _transaction(delete(sql, left))
        except DatabaseFault as fault:
            gone |= dict.fromkeys(left, fault)
            yield quiet(Statement("ROLLBACK"))
            if not isinstance(fault, Again):
                break
        else:
            gone |= zip(left, outcomes, strict=True)
            break
    return [gone.get(name, False) for name in names]


def _transaction(steps: Steps[T]) -> Steps[T]:
    yield quiet(Statement("BEGIN"))
    result = yield from steps
    # Not quietly: what held-back statements meet must be thrown into the steps.
    yield Statement("COMMIT")
    return result
