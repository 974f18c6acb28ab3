"""The statements about files, uploads and checksums."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Integer,
    Select,
    Table,
    Text,
    and_,
    bindparam,
    cast,
    func,
    literal_column,
    select,
    text,
    true,
    union_all,
)
from sqlalchemy.dialects.postgresql import ARRAY

from koboldfs.model.entities import FSCK_TASK, REBALANCE_TASK
from koboldfs.store.phrases import Phrase, Tongue, listed, unix_now
from koboldfs.store.schema import (
    ASKED_AGAIN,
    IN_WORK,
    checksum,
    file,
    file_on,
    file_to_delete2,
    file_to_queue,
    file_to_replicate,
    kobold_checksum,
    tempfile,
)

LIMIT = bindparam("limit", type_=Integer)
#: Stands before a character of a LIKE pattern that means itself.
LIKE_ESCAPE = "|"
FILE_COLUMNS = ("fid", "dmid", "dkey", "length", "classid", "devcount")


def located(files: FromClause, with_checksum: bool) -> Select[Any]:
    """Files with a row per copy (devid may be NULL), then our checksum if wanted."""
    columns = [*(files.c[name] for name in FILE_COLUMNS), file_on.c.devid]
    source = files.outerjoin(file_on, file_on.c.fid == files.c.fid)
    if with_checksum:
        columns += [kobold_checksum.c.hashtype, kobold_checksum.c.checksum]
        source = source.outerjoin(kobold_checksum, kobold_checksum.c.fid == files.c.fid)
    return select(*columns).select_from(source)


def asked_again() -> dict[str, ColumnElement[Any]]:
    """What becomes of a queue row when its file's replication is asked for again."""
    flags = file_to_replicate.c.flags
    new = func.coalesce(func.nullif(flags, text(str(IN_WORK))), text(str(ASKED_AGAIN)))
    return {"flags": new}


def _locked_uploads(fids: Any) -> Select[Any]:
    return (
        select(tempfile.c.fid)
        .where(tempfile.c.fid.in_(fids))
        .order_by(tempfile.c.fid)
        .with_for_update()
    )


class OneByOne:
    """Look-ups of many keys on PostgreSQL, each as if it were the only one.

    While nothing is known of a table that was just filled, the planner takes `dkey IN
    (...)` for dearer than to read all files of the domain. OFFSET keeps it from seeing
    more than one key at a time, which it never gets wrong. The blank `keys` is an
    array.
    """

    def __init__(self) -> None:
        array = cast(bindparam("keys"), ARRAY(Text))
        keys = func.unnest(array).table_valued("key", name="wanted")
        self._keys = keys.render_derived()

    @staticmethod
    def _file(columns: Iterable[Any], key: Any, name: str, lock: bool = False) -> Any:
        found = select(*columns).where(
            file.c.dmid == bindparam("dmid"), file.c.dkey == key
        )
        if lock:
            found = found.with_for_update()
        return found.offset(literal_column("0")).lateral(name)

    def found(self) -> FromClause:
        """The files of the keys."""
        columns = [file.c[name] for name in FILE_COLUMNS]
        one = self._file(columns, self._keys.c.key, "one")
        files = select(*one.c).select_from(self._keys.join(one, true()))
        return files.subquery("files")

    def locked(self, columns: Sequence[Any]) -> Select[Any]:
        """Columns of the files of the keys, locked in the order of their fids, as all
        do who lock files. Who has to wait for a row finds what it is afterwards."""
        one = self._file([file.c.fid], self._keys.c.key, "one")
        seen = (
            select(self._keys.c.key)
            .select_from(self._keys.join(one, true()))
            .order_by(one.c.fid)
            .offset(literal_column("0"))
            .subquery("seen")
        )
        locked = self._file(columns, seen.c.key, "locked", lock=True)
        return select(*locked.c).select_from(seen.join(locked, true()))


def _locked_closing(fids: Any, files: Select[Any]) -> Any:
    """The uploads of `fids` (dmid is NULL), then the files of the keys; all locked."""
    uploads = _locked_uploads(fids).cte("uploads")
    locked = files.cte("files")
    nothing: list[Any] = [literal_column("NULL")] * 3
    return union_all(select(uploads.c.fid, *nothing), select(*locked.c))


class FileStatements:
    """Compiled for one dialect."""

    #: Whether to the column of the keys different ones can be the same.
    folds_keys = False
    #: Whether that column may sort by another rule than by bytes (PostgreSQL).
    sorts_keys = True

    def __init__(self, tongue: Tongue) -> None:
        self.tongue = tongue
        self._lookups(tongue)
        self._listings(tongue)
        self._changes(tongue)
        self._uploads(tongue)
        self._rows(tongue)

    def _lookups(self, tongue: Tongue) -> None:
        wanted = and_(file.c.dmid == bindparam("dmid"), file.c.dkey.in_(listed("keys")))
        find = located(file, False).where(wanted)
        some = select(file.c.fid, file.c.dmid, file.c.dkey, file.c.length)
        locked = some.where(wanted).order_by(file.c.fid).with_for_update()
        if tongue.name == "postgresql":
            find = located(OneByOne().found(), False)
            locked = OneByOne().locked(list(some.selected_columns))
        self.find = tongue.phrase(find)
        fids = listed("fids")
        self.find_fids = tongue.phrase(located(file, True).where(file.c.fid.in_(fids)))
        self.live_fids = tongue.phrase(select(file.c.fid).where(file.c.fid.in_(fids)))
        self.lock_fids = tongue.phrase(
            select(file.c.fid)
            .where(file.c.fid.in_(fids))
            .order_by(file.c.fid)
            .with_for_update()
        )
        self.lock_keys = tongue.phrase(locked)
        self.lock_closing: Phrase | None = None
        if tongue.name != "mysql":
            # MySQL locks no rows inside of a CTE.
            self.lock_closing = tongue.phrase(_locked_closing(fids, locked))
        self.files_of = tongue.phrase(some.where(file.c.fid.in_(fids)))
        self.copies_of = tongue.phrase(
            select(file_on.c.fid, file_on.c.devid).where(file_on.c.fid.in_(fids))
        )

    def trust_key_order(self) -> None:
        """The column sorts by bytes. An index is found only by who names the column's
        own collation, and a column that MogileFS made has none that has a name."""
        self.sorts_keys = False
        self._listings(self.tongue)

    def _listings(self, tongue: Tongue) -> None:
        key: ColumnElement[Any] = file.c.dkey
        if self.sorts_keys and tongue.name == "postgresql":
            key = key.collate("C")
        beyond = and_(
            file.c.dmid == bindparam("dmid"),
            key >= bindparam("low"),
            key > bindparam("after"),
        )
        within = and_(beyond, key < bindparam("high"))
        keys = select(file.c.dkey).order_by(key).limit(LIMIT)
        self.list_keys = tongue.phrase(keys.where(within))
        self.list_keys_to_the_end = tongue.phrase(keys.where(beyond))
        some = select(*(file.c[name] for name in FILE_COLUMNS)).limit(LIMIT)

        def whole(rows: Select[Any], with_checksum: bool) -> Select[Any]:
            return located(rows.subquery("some"), with_checksum)

        files = some.order_by(key)
        self.list_domain = tongue.phrase(whole(files.where(within), True))
        self.list_domain_to_the_end = tongue.phrase(whole(files.where(beyond), True))
        if tongue.name == "mysql":
            self._folded(tongue, keys, some)
        later = file.c.fid > bindparam("after")
        self.list_files = tongue.phrase(
            whole(some.where(later).order_by(file.c.fid), False)
        )

    def _folded(self, tongue: Tongue, keys: Select[Any], some: Select[Any]) -> None:
        """For columns to which different keys are the same."""
        key = file.c.dkey
        of_domain = file.c.dmid == bindparam("dmid")
        self.spelling = tongue.phrase(
            select(key).where(of_domain, key == bindparam("dkey"))
        )
        like = key.like(bindparam("pattern"), escape=LIKE_ESCAPE)
        those = and_(of_domain, like, key > bindparam("after"))
        self.list_keys_like = tongue.phrase(keys.where(those))
        files = some.where(those).order_by(key).subquery("some")
        self.list_domain_like = tongue.phrase(
            located(files, True).order_by(files.c.dkey)
        )

    def _changes(self, tongue: Tongue) -> None:
        in_fids = file.c.fid.in_(listed("fids"))
        self.delete_files = tongue.phrase(file.delete().where(in_fids))
        self.rename = tongue.update(file, ["dkey"], ["fid"])
        self.set_class = tongue.update(file, ["classid"], ["fid"])
        counted = (
            select(func.count())
            .select_from(file_on)
            .where(file_on.c.fid == file.c.fid)
            .scalar_subquery()
        )
        self.recount = tongue.phrase(
            file.update().values(devcount=counted).where(in_fids)
        )
        columns = FILE_COLUMNS
        self.insert_files = tongue.insert(file, *columns)
        self.replace_files = tongue.upsert(file, ["dmid", "dkey"], *columns)
        #: For engines whose upsert would also change a file that has the fid.
        self.replace_file = tongue.update(
            file, ["fid", "dkey", "length", "classid", "devcount"], ["fid"]
        )
        self.add_copies = tongue.insert_new(file_on, "fid", "devid")
        self.remove_copies = tongue.phrase(
            file_on.delete().where(
                file_on.c.devid == bindparam("devid"), file_on.c.fid.in_(listed("fids"))
            )
        )
        self.queue_new = tongue.insert_new(
            file_to_replicate, "fid", nexttry=0, failcount=0, flags=0
        )
        self.queue_again = tongue.insert_or(
            file_to_replicate,
            ["fid"],
            asked_again(),
            "fid",
            nexttry=unix_now() + bindparam("delay", type_=Integer),
            failcount=0,
            flags=0,
        )
        self.queue_deletion = tongue.insert_new(
            file_to_delete2, "fid", nexttry=unix_now(), failcount=0
        )
        sums = ("fid", "hashtype", "checksum")
        self.set_class_checksum = tongue.upsert(checksum, ["fid"], *sums)
        self.set_own_checksum = tongue.upsert(kobold_checksum, ["fid"], *sums)
        self.add_own_checksum = tongue.insert_new(kobold_checksum, *sums)

    def _uploads(self, tongue: Tongue) -> None:
        fids = listed("fids")
        columns = ("classid", "dmid", "dkey", "devids")
        self.open_as = tongue.insert(tempfile, "fid", *columns, createtime=unix_now())
        self.uploads = tongue.phrase(
            select(
                *(tempfile.c[name] for name in ("fid", "createtime", *columns)),
            ).where(tempfile.c.fid.in_(fids))
        )
        self.describe_upload = tongue.update(
            tempfile, ("dkey", "devids"), ("fid", "devids")
        )
        self.lock_uploads = tongue.phrase(_locked_uploads(fids))
        self.forget_uploads = tongue.phrase(
            tempfile.delete().where(tempfile.c.fid.in_(fids))
        )
        tables = (file, tempfile, file_on, file_to_delete2)
        highest = [select(func.max(one.c.fid)).scalar_subquery() for one in tables]
        self.highest_fids = tongue.phrase(select(*highest))
        if tongue.name == "postgresql":
            self._draws_postgresql(tongue, columns, tables)
            return
        #: No upload has such a time.
        self.raise_draws = tongue.insert_new(
            tempfile, "fid", createtime=0, classid=0, dmid=0
        )
        self.drop_raise = tongue.phrase(
            tempfile.delete().where(
                tempfile.c.fid == bindparam("fid"),
                tempfile.c.createtime == literal_column("0"),
            )
        )
        if tongue.name == "mysql":
            self._draws_mysql(tongue, columns)
        else:
            self.last_drawn = tongue.phrase(
                text("SELECT seq FROM sqlite_sequence WHERE name = 'tempfile'")
            )

    def _draws_postgresql(
        self, tongue: Tongue, columns: Sequence[str], tables: Sequence[Table]
    ) -> None:
        # In a RETURNING, Core does not see that `tempfile` is the row inserted.
        used: Any = literal_column(
            " OR ".join(
                f"EXISTS (SELECT 1 FROM {one.name} WHERE {one.name}.fid = tempfile.fid)"
                for one in (file, file_on, file_to_delete2)
            )
        )
        self.open = tongue.phrase(
            tempfile.insert()
            .values({name: bindparam(name) for name in columns})
            .values(createtime=unix_now())
            .returning(*(tempfile.c[name] for name in (*columns, "fid")), used)
        )
        last = "(SELECT last_value FROM tempfile_fid_seq)"
        self.last_drawn = tongue.phrase(text(f"SELECT {last}"))
        known = ", ".join(
            f"(SELECT coalesce(max(fid), 0) FROM {table.name})" for table in tables
        )
        #: Does nothing, not even a first draw, when nothing is above the sequence.
        self.push_sequence = tongue.phrase(
            text(
                "SELECT setval('tempfile_fid_seq', highest) FROM"
                f" (SELECT greatest({known}) AS highest) AS known"
                f" WHERE highest > {last}"
            )
        )
        self.draw_above = tongue.phrase(text("SELECT setval('tempfile_fid_seq', :fid)"))
        self.lock_draws = tongue.phrase(
            text("LOCK TABLE tempfile IN SHARE ROW EXCLUSIVE MODE")
        )

    def _draws_mysql(self, tongue: Tongue, columns: Sequence[str]) -> None:
        self.open = tongue.insert(tempfile, *columns, createtime=unix_now())
        #: The first number that the last INSERT drew, and the step to the next.
        self.drawn = tongue.phrase(
            text("SELECT LAST_INSERT_ID(), @@auto_increment_increment")
        )
        elsewhere = (file, file_on, file_to_delete2)
        self.known_fids = tongue.phrase(
            union_all(
                *(
                    select(one.c.fid).where(one.c.fid.in_(listed(f"in_{one.name}")))
                    for one in elsewhere
                )
            )
        )

    def _rows(self, tongue: Tongue) -> None:
        fid: Any = bindparam("fid")

        self.class_checksum = tongue.phrase(
            select(checksum.c.hashtype, checksum.c.checksum).where(
                checksum.c.fid == fid
            )
        )
        fids = kobold_checksum.c.fid.in_(listed("fids"))
        self.own_checksums = tongue.phrase(select(kobold_checksum).where(fids))
        self.queue_rows = {
            "replqueue": tongue.phrase(
                select(file_to_replicate).where(file_to_replicate.c.fid == fid)
            ),
            "delqueue": tongue.phrase(
                select(file_to_delete2).where(file_to_delete2.c.fid == fid)
            ),
            "tempfile": tongue.phrase(select(tempfile).where(tempfile.c.fid == fid)),
        }
        #: The same of a table without the column `arg`.
        self.bare_queue_rows = {}
        bare = [column for column in file_to_queue.c if column.name != "arg"]
        for name, number in (("fsckqueue", FSCK_TASK), ("rebqueue", REBALANCE_TASK)):
            those = (
                file_to_queue.c.fid == fid,
                file_to_queue.c.type == text(str(number)),
            )
            self.queue_rows[name] = tongue.phrase(select(file_to_queue).where(*those))
            self.bare_queue_rows[name] = tongue.phrase(
                select(*bare, literal_column("NULL")).where(*those)
            )
        self.queue_columns = {
            "replqueue": file_to_replicate.c.keys(),
            "delqueue": file_to_delete2.c.keys(),
            "fsckqueue": file_to_queue.c.keys(),
            "rebqueue": file_to_queue.c.keys(),
            "tempfile": tempfile.c.keys(),
        }
