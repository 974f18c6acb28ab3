"""What PostgreSQL does in one statement, and therefore in one trip, where the general
way takes two or three: to make uploads the files of keys that are new, and to delete
keys. Each does all or nothing of what it may do by itself, and says what it has done;
what is left goes the general way (`transactions_quick`).

They see the database as of their beginning, also after they have waited for a lock.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import any_, func, literal_column, select, text
from sqlalchemy.dialects.postgresql import insert

from koboldfs.store.phrases import Phrase, Tongue, unix_now
from koboldfs.store.schema import file, file_to_delete2
from koboldfs.store.statements_files import OneByOne

#: The rows of `file` are arrays of their columns. Nothing is done unless every upload
#: is there, and neither a key nor a fid has a file.
_CLOSE = """\
WITH wanted AS (
    SELECT * FROM unnest(
        CAST(:fids AS BIGINT[]), CAST(:dmids AS SMALLINT[]), CAST(:keys AS TEXT[]),
        CAST(:lengths AS BIGINT[]), CAST(:classids AS SMALLINT[]),
        CAST(:devcounts AS SMALLINT[])
    ) AS listed (fid, dmid, dkey, length, classid, devcount)
), uploads AS (
    SELECT fid FROM tempfile WHERE fid = ANY (ARRAY (SELECT fid FROM wanted))
    ORDER BY fid FOR UPDATE
), free AS (
    SELECT TRUE AS free
    WHERE (SELECT count(*) FROM uploads) = (SELECT count(*) FROM wanted)
    AND NOT EXISTS (
        SELECT 1 FROM wanted CROSS JOIN LATERAL (
            SELECT 1 FROM file
            WHERE file.dmid = wanted.dmid AND file.dkey = wanted.dkey OFFSET 0
        ) AS held
    )
    AND NOT EXISTS (
        SELECT 1 FROM file WHERE fid = ANY (ARRAY (SELECT fid FROM wanted))
    )
), files AS (
    INSERT INTO file (fid, dmid, dkey, length, classid, devcount)
    SELECT fid, dmid, dkey, length, classid, devcount FROM wanted, free
), copies AS (
    INSERT INTO file_on (fid, devid) SELECT copy.fid, copy.devid FROM unnest(
        CAST(:copy_fids AS BIGINT[]), CAST(:copy_devids AS INTEGER[])
    ) AS copy (fid, devid), free
    ON CONFLICT DO NOTHING
), sums AS (
    INSERT INTO kobold_checksum (fid, hashtype, checksum)
    SELECT sum.fid, sum.hashtype, sum.checksum FROM unnest(
        CAST(:sum_fids AS BIGINT[]), CAST(:hashtypes AS SMALLINT[]),
        CAST(:checksums AS BYTEA[])
    ) AS sum (fid, hashtype, checksum), free
    ON CONFLICT (fid) DO UPDATE
    SET hashtype = excluded.hashtype, checksum = excluded.checksum
), queued AS (
    INSERT INTO file_to_replicate (fid, nexttry, failcount, flags)
    SELECT queue.fid, 0, 0, 0
    FROM unnest(CAST(:queue_fids AS BIGINT[])) AS queue (fid), free
    ON CONFLICT DO NOTHING
), forgotten AS (
    DELETE FROM tempfile
    WHERE fid = ANY (ARRAY (SELECT fid FROM wanted, free))
)
SELECT free FROM free"""


class QuickStatements:
    """None where the dialect has no such thing."""

    def __init__(self, tongue: Tongue) -> None:
        self.close_new: Phrase | None = None
        self.delete_keys: Phrase | None = None
        if tongue.name == "postgresql":
            self.close_new = tongue.phrase(text(_CLOSE))
            self.delete_keys = tongue.phrase(_delete_keys(tongue))


def _delete_keys(tongue: Tongue) -> Any:
    """For each key that has a file whether it is gone now. It is not when somebody
    gave the key another file while we waited for its row: that has a fid which the
    DELETE does not see."""
    locked = OneByOne().locked([file.c.fid, file.c.dkey]).cte("locked")
    fids = func.array(select(locked.c.fid).scalar_subquery())
    gone = file.delete().where(file.c.fid == any_(fids)).returning(file.c.fid)
    gone_files = gone.cte("gone")
    queued = (
        insert(file_to_delete2)
        .from_select(
            ["fid", "nexttry", "failcount"],
            select(gone_files.c.fid, unix_now(), literal_column("0")),
        )
        .on_conflict_do_nothing()
        .cte("queued")
    )
    is_gone = locked.c.fid.in_(select(gone_files.c.fid))
    return select(locked.c.dkey, is_gone).add_cte(queued)
