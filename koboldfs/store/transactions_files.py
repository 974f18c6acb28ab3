"""Transactions that look files up, list them, delete, rename and reclass them."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

from koboldfs.errors import DuplicateRow, KeyExists, UnknownKey
from koboldfs.model.entities import Checksum, File, Located, Upload
from koboldfs.store.phrases import Phrase
from koboldfs.store.statements import Statements
from koboldfs.store.statements_files import LIKE_ESCAPE
from koboldfs.store.steps import Again, Reply, Row, Steps, quiet

#: A key with the domain that it is in.
Name = tuple[int, str]

#: The last one-byte character; no key has a greater one.
LAST_CHARACTER = "\xff"


def gathered(rows: Iterable[Row]) -> list[Located]:
    """The files of `located` rows, in the order in which they first come."""
    found: dict[int, Row] = {}
    devids: dict[int, list[int]] = {}
    for row in rows:
        fid, devid = row[0], row[6]
        if fid not in found:
            found[fid] = row
            devids[fid] = []
        if devid is not None:
            devids[fid].append(devid)
    return [
        Located(File(*row[:6]), tuple(devids[fid]), checksum_of(row[7:]))
        for fid, row in found.items()
    ]


def checksum_of(row: Sequence[Any]) -> Checksum | None:
    """The checksum of the columns hashtype and checksum, which may be missing."""
    if not row or row[0] is None:
        return None
    return Checksum(row[0], bytes(row[1]))


def by_domain(names: Iterable[Name]) -> dict[int, list[str]]:
    """The keys of each domain, each once."""
    keys: dict[int, dict[str, None]] = {}
    for dmid, key in names:
        keys.setdefault(dmid, {})[key] = None
    return {dmid: list(found) for dmid, found in keys.items()}


def spellings(
    sql: Statements, dmid: int, keys: Iterable[str], stored: Container[Name]
) -> Steps[dict[Name, Name]]:
    """For keys that are not in `stored`: the name of the file in it that they mean to
    a database which takes different keys for the same. Raises `Again` if it is not."""
    found: dict[Name, Name] = {}
    for key in keys if sql.folds_keys else ():
        if (dmid, key) not in stored:
            reply = yield sql.spelling(dmid=dmid, dkey=key)
            for (spelled,) in reply.rows:
                if (dmid, spelled) not in stored:
                    # It came after we had looked at (or locked) what there was.
                    raise Again
                found[dmid, key] = (dmid, spelled)
    return found


def find(sql: Statements, names: Sequence[Name]) -> Steps[list[Located | None]]:
    """For each name its live file with its devices, or None."""
    found: dict[Name, Located] = {}
    meant: dict[Name, Name] = {}
    for dmid, keys in by_domain(names).items():
        reply = yield sql.find(dmid=dmid, keys=keys)
        for one in gathered(reply.rows):
            found[dmid, one.file.key] = one
        meant |= yield from spellings(sql, dmid, keys, found)
    return [found.get(meant.get(name, name)) for name in names]


def find_fids(sql: Statements, fids: Sequence[int]) -> Steps[list[Located | None]]:
    """For each fid its live file with devices and our checksum, or None."""
    reply = yield sql.find_fids(fids=list(fids))
    found = {one.file.fid: one for one in gathered(reply.rows)}
    return [found.get(fid) for fid in fids]


def devices_of(sql: Statements, fid: int) -> Steps[tuple[int, ...]]:
    """The devices recorded for a fid."""
    reply = yield sql.copies_of(fids=[fid])
    return tuple(row[1] for row in reply.rows)


def find_uploads(sql: Statements, fids: Sequence[int]) -> Steps[list[Upload | None]]:
    """For each fid its open upload, or None."""
    reply = yield sql.uploads(fids=list(fids))
    found = {
        fid: Upload(fid, createtime, classid, dmid, key or "", devids_of(devids))
        for fid, createtime, classid, dmid, key, devids in reply.rows
    }
    return [found.get(fid) for fid in fids]


def devids_of(text: str | None) -> tuple[int, ...]:
    """The numbers of a comma-separated list; what is no number is left out."""
    return tuple(int(part) for part in (text or "").split(",") if part.isdecimal())


def delete(sql: Statements, names: Sequence[Name]) -> Steps[list[bool]]:
    """Remove the keys and queue their fids; for each name whether it was there.

    A name that comes twice was there only the first time.
    """
    fids: dict[Name, int] = {}
    meant: dict[Name, Name] = {}
    for dmid, keys in by_domain(names).items():
        fids |= yield from _locked(sql, dmid, keys)
        meant |= yield from spellings(sql, dmid, keys, fids)
    if fids:
        gone = sorted(fids.values())
        yield quiet(
            sql.delete_files(fids=gone),
            sql.queue_deletion.rows([{"fid": fid} for fid in gone]),
        )
    return [fids.pop(meant.get(name, name), None) is not None for name in names]


def _locked(sql: Statements, dmid: int, keys: Sequence[str]) -> Steps[dict[Name, int]]:
    """The fids of those keys that have a file, whose rows are locked."""
    reply = yield sql.lock_keys(dmid=dmid, keys=keys)
    if sql.tongue.name == "mysql" and len(reply.rows) < len(keys):
        # Who waits for a row that gets a lower fid meanwhile, MySQL tells that there
        # is none (the new entry of the index is before the place where it waited).
        reply = yield sql.lock_keys(dmid=dmid, keys=keys)
    return {(row[1], row[2]): row[0] for row in reply.rows}


def rename(sql: Statements, dmid: int, old: str, new: str) -> Steps[None]:
    """Give a file another key; raises `UnknownKey`, `KeyExists`."""
    fids = yield from _locked(sql, dmid, [old, new])
    meant = yield from spellings(sql, dmid, (old, new), fids)
    fid = fids.get(meant.get((dmid, old), (dmid, old)))
    if fid is None:
        raise UnknownKey
    if old == new:
        return
    if fids.get(meant.get((dmid, new), (dmid, new)), fid) != fid:
        raise KeyExists
    try:
        yield sql.rename(dkey=new, key_fid=fid)
    except DuplicateRow:
        raise KeyExists from None


def set_class(sql: Statements, fid: int, classid: int) -> Steps[bool]:
    """Give a live file another class and queue it; False if it is not live."""
    reply = yield sql.set_class(classid=classid, key_fid=fid)
    if not reply.count:
        return False
    yield quiet(sql.queue_again.rows([{"fid": fid, "delay": 0}]))
    return True


def successor(prefix: str) -> str | None:
    """The least text above all that begin with `prefix`; None if there is none."""
    stem = prefix.rstrip(LAST_CHARACTER)
    return stem[:-1] + chr(ord(stem[-1]) + 1) if stem else None


def _pattern(prefix: str) -> str:
    special = (LIKE_ESCAPE, "%", "_")
    return "".join(LIKE_ESCAPE * (one in special) + one for one in prefix) + "%"


def _listing(
    within: Phrase, beyond: Phrase, dmid: int, prefix: str, after: str, limit: int
) -> Steps[Reply]:
    high = successor(prefix)
    values = {"dmid": dmid, "low": prefix, "after": after, "limit": limit}
    if high is None:
        return (yield beyond(**values))
    return (yield within(**values, high=high))


def list_keys(
    sql: Statements, dmid: int, prefix: str, after: str, limit: int
) -> Steps[list[str]]:
    """Keys that begin with `prefix` and come after `after`, by their bytes; or as the
    database has it, where different keys can be the same."""
    if sql.folds_keys:
        reply = yield sql.list_keys_like(
            dmid=dmid, pattern=_pattern(prefix), after=after, limit=limit
        )
        return [row[0] for row in reply.rows]
    within, beyond = sql.list_keys, sql.list_keys_to_the_end
    reply = yield from _listing(within, beyond, dmid, prefix, after, limit)
    return [row[0] for row in reply.rows]


def list_domain(
    sql: Statements, dmid: int, prefix: str, after: str, limit: int
) -> Steps[list[Located]]:
    """As `list_keys`, with the whole files."""
    if sql.folds_keys:
        reply = yield sql.list_domain_like(
            dmid=dmid, pattern=_pattern(prefix), after=after, limit=limit
        )
        return gathered(reply.rows)
    within, beyond = sql.list_domain, sql.list_domain_to_the_end
    reply = yield from _listing(within, beyond, dmid, prefix, after, limit)
    return sorted(gathered(reply.rows), key=lambda one: one.file.key)


def list_files(sql: Statements, after: int, limit: int) -> Steps[list[Located]]:
    """Files with a fid above `after`, ascending."""
    reply = yield sql.list_files(after=after, limit=limit)
    return sorted(gathered(reply.rows), key=lambda one: one.file.fid)


def class_checksum(sql: Statements, fid: int) -> Steps[Checksum | None]:
    """The row of MogileFS's checksum table."""
    reply = yield sql.class_checksum(fid=fid)
    return checksum_of(reply.rows[0]) if reply.rows else None


def own_checksums(sql: Statements, fids: Sequence[int]) -> Steps[list[Checksum | None]]:
    """For each fid our own checksum of the file, or None."""
    reply = yield sql.own_checksums(fids=list(fids))
    found = {row[0]: checksum_of(row[1:]) for row in reply.rows}
    return [found.get(fid) for fid in fids]


def queue_rows(sql: Statements, fid: int) -> Steps[Mapping[str, Mapping[str, Any]]]:
    """By queue the columns of the fid's row."""
    found = {}
    for name, phrase in sql.queue_rows.items():
        reply = yield phrase(fid=fid)
        if reply.rows:
            columns = sql.queue_columns[name]
            found[name] = dict(zip(columns, reply.rows[0], strict=True))
    return found
