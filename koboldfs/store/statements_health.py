"""The statements that count what is at risk: along an index, up to a limit."""

from __future__ import annotations

from sqlalchemy import bindparam, func, select

from koboldfs.store.phrases import Tongue
from koboldfs.store.schema import file, file_on
from koboldfs.store.statements_files import LIMIT


class HealthStatements:
    """Compiled for one dialect."""

    def __init__(self, tongue: Tongue) -> None:
        some = (
            select(file.c.devcount, file.c.fid)
            .where(
                file.c.dmid == bindparam("dmid"),
                file.c.classid == bindparam("classid"),
                file.c.devcount < bindparam("below"),
            )
            .order_by(file.c.dmid, file.c.classid, file.c.devcount)
            .limit(LIMIT)
            .subquery("some")
        )
        self.shortages = tongue.phrase(
            select(some.c.devcount, func.count(), func.min(some.c.fid))
            .group_by(some.c.devcount)
            .order_by(some.c.devcount)
        )
        there = (
            select(file_on.c.fid)
            .where(file_on.c.devid == bindparam("devid"))
            .limit(LIMIT)
            .subquery("some")
        )
        self.count_copies = tongue.phrase(select(func.count()).select_from(there))
