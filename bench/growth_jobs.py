"""The rows about growth, of the jobs: their transactions, played on both databases.

A step is what a job asks of the database in one turn, with the same rows on both sides.
What it needs is made before, and what it leaves is removed after it, unmeasured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import psycopg2
from attrs import define, field

from bench.growth import FIRST_FID, TASKS, Grown, growth_row
from bench.limits import cpu_seconds
from bench.table import Row
from koboldfs.model.entities import (
    FSCK_TASK,
    REBALANCE_TASK,
    Checked,
    DeletionDone,
    ReplicationDone,
    TaskDone,
)
from koboldfs.store import transactions_files as files
from koboldfs.store import transactions_queues as queues
from koboldfs.store import transactions_tasks as tasks
from koboldfs.store import transactions_topology as topology
from koboldfs.store.blocking import BlockingRun, Manner
from koboldfs.store.looks import Look
from koboldfs.store.postgres_link import PLANNING, translate
from koboldfs.store.statements import Statements, statements_for
from koboldfs.store.steps import Mode, Steps

#: Rows that a worker takes at once, files that a walk looks at.
TAKEN, WALKED = 64, 1000
LEASE_SECONDS = 30
#: Devices that only these steps use.
NEW_DEVICE, DEAD_DEVICE = 71, 72
#: Beyond all fids that are drawn.
GONE_FID = 2_000_000_000


@define(eq=False)
class Played:
    """A connection to a database, on which transactions are played."""

    one: Grown
    sql: Statements = field(factory=lambda: statements_for("postgresql"))
    connection: Any = None
    fids: list[int] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.connection = psycopg2.connect(self.one.subject.url)
        self.connection.autocommit = True
        for name, value in PLANNING.items():
            self.execute(f"set {name} = {value}")
        stride = self.one.count // TAKEN
        self.fids = [FIRST_FID + 1 + stride * n for n in range(TAKEN)]

    def execute(self, sql: str) -> None:
        """Something that is not measured."""
        with self.connection.cursor() as cursor:
            cursor.execute(sql)

    def play(self, steps: Callable[..., Steps[Any]], *args: Any) -> Any:
        """The result of a transaction."""
        run = BlockingRun(self.connection, Manner("BEGIN", "BEGIN", translate))
        (outcome,) = run([steps(self.sql, *args)], Mode.WRITE)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def cpu(self) -> float:
        """What the server has spent on this connection, in seconds."""
        return cpu_seconds(self.connection.info.backend_pid)


Step = Callable[[Played], Any]


def _look() -> Look:
    return Look(TAKEN, True, 0.0)


def _replicate(it: Played) -> None:
    taken = it.play(queues.take_replications, _look(), LEASE_SECONDS)
    done = [ReplicationDone(one.fid, (NEW_DEVICE,)) for one in taken]
    it.play(queues.finish_replications, done)
    _expect(len(done), TAKEN)


def _delete(it: Played) -> None:
    taken, _ = it.play(queues.take_deletions, _look(), LEASE_SECONDS)
    it.play(
        queues.finish_deletions, [DeletionDone(one.fid, one.devids) for one in taken]
    )
    _expect(sum(len(one.devids) for one in taken), TAKEN)


def _fsck(it: Played) -> None:
    it.play(tasks.count_fresh, FSCK_TASK, TASKS)
    middle, end = it.fids[TAKEN // 2], it.one.count + FIRST_FID
    page = it.play(tasks.files_between, middle, end, WALKED)
    rows = [(one.fid, None, None) for one in page]
    it.play(tasks.queue_tasks, FSCK_TASK, rows)
    taken = it.play(tasks.take_tasks, FSCK_TASK, _look(), LEASE_SECONDS)
    done = [Checked(one.fid, one.located.devids) for one in taken]
    it.play(tasks.finish_checks, 60, 60, done)
    added_up = int(it.play(topology.setting, "fsck_logid_processed"))
    it.play(tasks.tally, added_up, 10)
    _expect(len(page), WALKED)


def _drain(it: Played) -> None:
    it.play(tasks.count_tasks, REBALANCE_TASK, 10_000)
    page = it.play(tasks.files_on, 2, it.fids[TAKEN // 2], WALKED // 2, False)
    some = [one.file.fid for one in page[:TAKEN]]
    it.play(tasks.queue_tasks, REBALANCE_TASK, [(fid, 2, None) for fid in some])
    taken = it.play(tasks.take_tasks, REBALANCE_TASK, _look(), LEASE_SECONDS)
    it.play(tasks.release_copy, some[0], 2, frozenset({98}))
    it.play(tasks.finish_tasks, REBALANCE_TASK, [TaskDone(one.fid) for one in taken])
    _expect(len(page), WALKED // 2)


def _reap(it: Played) -> None:
    _expect(len(it.play(queues.reap, DEAD_DEVICE, 0, WALKED)), TAKEN)


def _sweep(it: Played) -> None:
    page = it.play(files.list_files, it.fids[TAKEN // 2], WALKED)
    it.play(topology.set_setting, "kobold_sweep_fid", f"{page[-1].file.fid} x")
    _expect(len(page), WALKED)


def _expire(it: Played) -> None:
    _expect(it.play(queues.expire_uploads, 40_000, TAKEN), TAKEN)


def _room(it: Played) -> None:
    values = {"mb_total": 9, "mb_used": 1, "mb_asof": 5}
    it.play(topology.update_device, 1, values)


def _status(it: Played) -> None:
    it.play(topology.load, True)
    it.play(tasks.highest_fid)


_LEFT = "delete from file_to_queue where nexttry <= extract(epoch from now())::int + 90"
_THOSE, _NUMBER = "from unnest({0}) n", "row_number() over ()"
#: What is measured, what is done before it, and what after it.
JOBS: tuple[tuple[str, Step, tuple[str, ...], tuple[str, ...]], ...] = (
    (
        "replicate",
        _replicate,
        (
            "delete from file_to_replicate where fid = any ({0})",
            f"insert into file_to_replicate select n, 0 {_THOSE}",
        ),
        (f"delete from file_on where fid = any ({{0}}) and devid = {NEW_DEVICE}",),
    ),
    (
        "delete",
        _delete,
        (
            f"insert into file_to_delete2 select n + {GONE_FID}, 0 {_THOSE}",
            f"insert into file_on select n + {GONE_FID}, 1 {_THOSE}",
        ),
        (),
    ),
    ("fsck", _fsck, (), (_LEFT,)),
    ("rebalance, drain", _drain, (), (_LEFT,)),
    (
        "reap",
        _reap,
        (f"insert into file_on select n, {DEAD_DEVICE} {_THOSE}",),
        ("delete from file_to_replicate where fid = any ({0})",),
    ),
    ("sweep", _sweep, (), ()),
    (
        "expire",
        _expire,
        (f"insert into tempfile select {_NUMBER}, 0, 0, 1, 'k', '1' {_THOSE}",),
        (
            f"delete from file_to_delete2 where fid <= {FIRST_FID}",
            f"delete from file_on where fid <= {FIRST_FID}",
        ),
    ),
    ("monitor", _room, (), ()),
    ("reading the picture", _status, (), ()),
)


def job_rows(pair: Sequence[Grown], rounds: int, times: int) -> list[Row]:
    """A row a job; each round repeats its step a number of times on each side."""
    both = [Played(one) for one in pair]
    try:
        return [_row(both, rounds, times, *job) for job in JOBS]
    finally:
        for it in both:
            it.connection.close()


def _row(
    both: Sequence[Played],
    rounds: int,
    times: int,
    name: str,
    step: Step,
    before: Sequence[str],
    after: Sequence[str],
) -> Row:
    spent = dict.fromkeys(both, 0.0)
    for number in range(rounds + 1):
        for it in both:
            for _ in range(times):
                for sql in before:
                    it.execute(sql.format(f"array{it.fids}::bigint[]"))
                began = it.cpu()
                step(it)
                if number:
                    spent[it] += it.cpu() - began
                for sql in after:
                    it.execute(sql.format(f"array{it.fids}::bigint[]"))
    few_us, many_us = (spent[it] * 1e6 / (rounds * times) for it in both)
    pair = [it.one for it in both]
    return growth_row(f"a step of {name}", pair, few_us, many_us)


def _expect(found: int, wanted: int) -> None:
    if found < wanted:
        raise RuntimeError(f"a step found {found} rows instead of {wanted}")
