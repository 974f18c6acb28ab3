"""The statements about the scrubs of devices, and about files without a good copy."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Integer, bindparam, literal_column, select

from koboldfs.store.phrases import Tongue, listed, unix_now
from koboldfs.store.schema import (
    file,
    file_on,
    file_to_delete,
    file_to_delete2,
    file_to_delete_later,
    file_to_queue,
    file_to_replicate,
    kobold_lost,
    kobold_scrub,
    tempfile,
)
from koboldfs.store.statements_files import FILE_COLUMNS, LIMIT

SCRUB_COLUMNS = (
    *("devid", "known", "began", "ended", "asked", "running", "position", "folder"),
    *("end_fid", "files", "size_bytes", "bad", "mended", "missing", "orphans", "lost"),
    *("owner", "leased_until"),
)
#: What a pass begins with at 0.
_COUNTS = ("files", "size_bytes", "bad", "mended", "missing", "orphans", "lost")
#: A file of which a row is in one of these is somebody's work.
_IN_WORK = (
    *(tempfile, file_to_delete, file_to_delete2, file_to_delete_later),
    *(file_to_replicate, file_to_queue),
)
_LEASE = bindparam("lease", type_=Integer)


class ScrubStatements:
    """Compiled for one dialect."""

    def __init__(self, tongue: Tongue) -> None:
        self.tongue = tongue
        self._scrubs(tongue)
        self._strays(tongue)
        self._lost(tongue)

    def _scrubs(self, tongue: Tongue) -> None:
        scrub = kobold_scrub
        columns = [scrub.c[name] for name in SCRUB_COLUMNS]
        here = scrub.c.devid == bindparam("devid")
        ours = scrub.c.owner == bindparam("owner")
        zero: Any = literal_column("0")
        one: Any = literal_column("1")
        leased = unix_now() + _LEASE
        self.all_scrubs = tongue.phrase(
            select(unix_now(), *columns).order_by(scrub.c.devid)
        )
        self.lock_scrub = tongue.phrase(
            select(unix_now(), *columns).where(here).with_for_update()
        )
        self.know_devices = tongue.insert_new(scrub, "devid", known=unix_now())
        those = scrub.c.devid.in_(listed("numbers"))
        self.ask_scrubs = tongue.phrase(scrub.update().values(asked=one).where(those))
        # `position` is of the last pass: its counts are, too.
        self.begin_scrub = tongue.phrase(
            scrub.update()
            .values(began=unix_now(), running=one, asked=zero, position=zero)
            .values(folder=literal_column("-1"), end_fid=bindparam("last"))
            .values(dict.fromkeys(_COUNTS, zero))
            .values(owner=bindparam("new_owner"), leased_until=leased)
            .where(here)
        )
        self.lease_scrub = tongue.phrase(
            scrub.update()
            .values(owner=bindparam("new_owner"), leased_until=leased)
            .where(here)
        )
        self.keep_scrubs = tongue.phrase(
            scrub.update().values(leased_until=leased).where(those, ours)
        )
        self.advance_scrub = tongue.phrase(
            scrub.update()
            .values({name: bindparam(f"new_{name}") for name in _COUNTS})
            .values(position=bindparam("new_position"), folder=bindparam("new_folder"))
            .values(leased_until=leased)
            .where(here)
        )
        self.finish_scrub = tongue.phrase(
            scrub.update()
            .values(ended=unix_now(), running=zero, owner="", leased_until=zero)
            .where(here)
        )

    def _strays(self, tongue: Tongue) -> None:
        fids = listed("fids")
        self.copies_here = tongue.phrase(
            select(file_on.c.fid).where(
                file_on.c.devid == bindparam("devid"), file_on.c.fid.in_(fids)
            )
        )
        #: Whoever asks has few, and asks one table after the other.
        self.in_work = {
            table.name: tongue.phrase(select(table.c.fid).where(table.c.fid.in_(fids)))
            for table in _IN_WORK
        }

    def _lost(self, tongue: Tongue) -> None:
        lost = kobold_lost
        those = lost.c.fid.in_(listed("fids"))
        self.note_lost = tongue.insert_new(lost, "fid", since=unix_now())
        self.lost_among = tongue.phrase(select(lost.c.fid).where(those))
        self.forget_lost = tongue.phrase(lost.delete().where(those))
        columns = [file.c[name] for name in FILE_COLUMNS]
        self.lost_after = tongue.phrase(
            select(*columns, lost.c.since)
            .select_from(lost.join(file, file.c.fid == lost.c.fid))
            .where(lost.c.fid > bindparam("fid"))
            .order_by(lost.c.fid)
            .limit(LIMIT)
        )
        self.lost_page = tongue.phrase(
            select(lost.c.fid)
            .where(lost.c.fid > bindparam("fid"))
            .order_by(lost.c.fid)
            .limit(LIMIT)
        )
