"""The rows about growth: what everything costs with many files, by what it costs with
few.

Two clusters on one database server take turns, and what is compared is CPU time, of the
tracker and of the server's processes for it: so what else the machine does falls on
both alike. Both are warm: requests are for a few keys, spread over all of them.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial

from attrs import define

from bench import scripts
from bench.exchange import DONE, Address, Ask, Script, measure
from bench.limits import cpu_seconds
from bench.rows import Bench
from bench.subject import Subject
from bench.table import Row
from test.contract.many import DEVICES, key_number, long_queues, many_files
from test.functional.cluster import devices

SMALL_FILES = 10_000
#: In everyday runs; with this number a run takes a minute more.
SCALE = 200_000
#: Fewer are not large; more would not fit into the columns of MogileFS's fids.
MIN_SCALE, MAX_SCALE = 20_000, 100_000_000
#: Fids of the files begin above those that a start may draw.
FIRST_FID = 1000
#: The keys that are asked for; as many as stay warm.
HOT_KEYS = 1000
CLIENTS = 8
ROUNDS = 6
PAGE_KEYS, PAGE_FIDS = 1000, 500
BODY = b"seven b"
#: Planners queue no more of each kind, however many files there are.
TASKS = 3000
#: The planner of fsck has added up the log every few seconds.
ADDED_UP = (
    "insert into server_settings"
    " select 'fsck_logid_processed', max(logid) from fsck_log"
)
PLACES = ("start", "middle", "end")


@define(eq=False)
class Grown:
    """A cluster whose database has so many files."""

    bench: Bench
    subject: Subject
    count: int

    def __attrs_post_init__(self) -> None:
        with self.subject.line() as line:
            (device,) = devices(line)
            for devid in range(1, DEVICES + 1):
                if devid != int(device["devid"]):
                    host = device["hostname"]
                    line.ask("create_device", devid=devid, hostname=host, state="down")
        made = many_files(self.count, FIRST_FID, length=len(BODY))
        queues = [*long_queues(self.count, FIRST_FID, TASKS), ADDED_UP]
        for sql in (*made, *queues, "vacuum analyze"):
            self.bench.server.execute(self.subject.url, sql)

    def hot_keys(self) -> list[str]:
        """Some keys from all over them."""
        stride = self.count // HOT_KEYS
        ranks = range(0, stride * HOT_KEYS, stride)
        return [key_number(rank, self.count) for rank in ranks]

    def rank(self, place: str, page: int) -> int:
        """How many files are before a page there."""
        return {"start": 0, "middle": self.count // 2, "end": self.count - page}[place]

    def backends(self) -> dict[int, float]:
        """By process of the server that works for this database, its CPU seconds."""
        name = self.subject.url.rpartition("/")[2]
        rows = self.bench.server.execute(
            self.bench.server.url("postgres"),
            "select pid from pg_stat_activity where backend_type = 'client backend'"
            f" and datname = '{name}'",
        )
        return {int(str(row[0])): cpu_seconds(int(str(row[0]))) for row in rows}

    def spent(self) -> tuple[float, dict[int, float]]:
        """CPU seconds of the tracker, and of each process of the server."""
        tracker = cpu_seconds(self.subject.pid(self.subject.nodes[0]))
        return tracker, self.backends()

    def cost(self, work: Callable[[Grown], int]) -> tuple[float, int]:
        """CPU seconds of some units of work, and how many these are."""
        tracker, backends = self.spent()
        units = work(self)
        tracker_after, backends_after = self.spent()
        more = (spent - backends.get(pid, 0.0) for pid, spent in backends_after.items())
        return tracker_after - tracker + sum(more), units


def compare(
    pair: Sequence[Grown], what: str, work: Callable[[Grown], int], rounds: int = ROUNDS
) -> Row:
    """The row of a unit of `work`, which says how many it did; the first are for
    warming up."""
    small, large = pair
    spent = {small: 0.0, large: 0.0}
    units = {small: 0, large: 0}
    for number in range(rounds + 1):
        for one in pair:
            seconds, done = one.cost(work)
            if number:
                spent[one] += seconds
                units[one] += done
    each = {one: spent[one] * 1e6 / units[one] for one in pair}
    return growth_row(what, pair, each[small], each[large])


def growth_row(
    what: str, pair: Sequence[Grown], small_us: float, large_us: float
) -> Row:
    """A row of the table, also told at once: all of them together take long."""
    few, many = (f"{one.count:,} keys" for one in pair)
    ratio = large_us / small_us
    print(f"  {what}: {large_us:,.0f}, {ratio:.3f}", file=sys.stderr, flush=True)
    return Row(f"{what}, {many}", large_us, "us CPU", small_us, f"the same with {few}")


@contextmanager
def grown_pair(bench: Bench) -> Iterator[tuple[Grown, Grown]]:
    """A small and a large one."""
    with ExitStack() as stack:
        found = []
        for count in (SMALL_FILES, bench.scale or SCALE):
            subject = Subject(bench.server, jobs="monitor")
            stack.callback(subject.stop)
            began = time.perf_counter()
            found.append(Grown(bench, subject.start(), count))
            seconds = time.perf_counter() - began
            print(f"{count:,} files made in {seconds:.0f} s", file=sys.stderr)
        yield found[0], found[1]


def growth(bench: Bench) -> list[Row]:
    """What clients ask for, and what the jobs do."""
    from bench.growth_jobs import job_rows

    quick = bench.seconds < 2
    times = 1 if quick else 4
    rounds = 2 if quick else ROUNDS
    with grown_pair(bench) as pair:
        rows = [
            compare(pair, "get_paths", partial(_get_paths, 1000 * times), rounds),
            *_puts_and_deletes(pair, 250 * times, rounds),
        ]
        for place in PLACES:
            work = partial(_list_keys, place, 20 * times)
            what = f"list_keys of {PAGE_KEYS:,}, {place}"
            rows.append(compare(pair, what, work, rounds))
        for place in PLACES:
            work = partial(_list_fids, place, 10 * times)
            what = f"list_fids of {PAGE_FIDS:,}, {place}"
            rows.append(compare(pair, what, work, rounds))
        status = partial(_status, 100 * times)
        rows.append(compare(pair, "questions of `koboldfs status`", status, rounds))
        return rows + job_rows(pair, rounds, 3 * times)


def _run(make: Callable[[int], Script], clients: int = CLIENTS) -> int:
    """Scripts that end by themselves; how many units they did."""
    return measure(lambda _: [make(one) for one in range(clients)], 1, None).units


def _get_paths(count: int, one: Grown) -> int:
    keys = one.hot_keys()
    share = count // CLIENTS

    def some(number: int) -> Script:
        asked = scripts.get_paths(one.subject.tracker, keys, random.Random(number))
        return limited(asked, share)

    return _run(some)


def limited(script: Script, units: int) -> Script:
    """An endless script, ended after so many units."""
    answer: bytes | None = None
    while units:
        wanted = script.send(answer)  # type: ignore[arg-type]
        answer = yield wanted
        if wanted is DONE:
            units -= 1
            answer = None


def _puts_and_deletes(pair: Sequence[Grown], count: int, rounds: int) -> list[Row]:
    """New keys beside the hot ones; what was put is deleted in the same order."""
    put, gone = dict.fromkeys(pair, 0), dict.fromkeys(pair, 0)

    def keys(one: Grown, number: int) -> list[str]:
        hot = random.Random(number).sample(one.hot_keys(), count)
        return [f"{key}/{number}" for key in hot]

    def puts(one: Grown) -> int:
        put[one] += 1
        some, tracker = keys(one, put[one]), one.subject.tracker
        return _run(lambda n: scripts.put_files(tracker, some[n::CLIENTS], BODY))

    def deletes(one: Grown) -> int:
        gone[one] += 1
        some, tracker = keys(one, gone[one]), one.subject.tracker
        return _run(lambda n: scripts.delete_files(tracker, some[n::CLIENTS]))

    return [
        compare(pair, "put (open, close)", puts, rounds),
        compare(pair, "delete", deletes, rounds),
    ]


def _list_keys(place: str, pages: int, one: Grown) -> int:
    rank = one.rank(place, PAGE_KEYS)
    after = f"&after={key_number(rank - 1, one.count)}" if rank else ""
    line = f"list_keys domain={scripts.DOMAIN}&limit={PAGE_KEYS}{after}\r\n"
    return _pages(one.subject.tracker, line, pages, b"key_count", PAGE_KEYS)


def _list_fids(place: str, pages: int, one: Grown) -> int:
    first = FIRST_FID + one.rank(place, PAGE_FIDS)
    line = f"list_fids from={first}&to={PAGE_FIDS}\r\n"
    return _pages(one.subject.tracker, line, pages, b"fid_count", PAGE_FIDS)


def _pages(tracker: Address, line: str, pages: int, name: bytes, count: int) -> int:
    def script() -> Script:
        for _ in range(pages):
            answer = yield Ask(tracker, line.encode())
            if b"%b=%d&" % (name, count) not in answer:
                raise scripts.Unexpected(answer[:200])
            yield DONE

    return _run(lambda _: script(), 1)


def _status(times: int, one: Grown) -> int:
    """All that it asks a tracker for, and the state of a check."""
    lines = (b"get_hosts", b"get_devices", b"get_domains", b"fsck_status")

    def script() -> Script:
        for _ in range(times):
            for line in lines:
                scripts.fields((yield Ask(one.subject.tracker, line + b"\r\n")))
            yield DONE

    return _run(lambda _: script(), 1)
