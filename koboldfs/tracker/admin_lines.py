"""The `!` lines: what an operator asks a running tracker by hand.

Words are matched by their beginning (``!jobsfoo`` is ``!jobs``), but ``!stats`` only as
it is. An unknown word gives the help text. The answer ends with a line of one dot.

``!version`` is KoboldFS's own version, `koboldfs.__version__`. The workers of MogileFS
are processes; ours are tasks of one process, whose pid stands for them all. A job of
MogileFS that needs no workers here (job_master, queryworker) is confirmed by ``!want``
and changes nothing, as MogileFS does with a second monitor.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from attrs import frozen

from koboldfs.tracker.ports import IJobControl
from koboldfs.tracker.stats import Statistics
from koboldfs.tracker.watchers import Watcher, Watchers
from koboldfs.version import __version__
from koboldfs.wire.tracker import AdminLine, format_lines, printable

MOGILEFS_JOBS = (
    "delete",
    "fsck",
    "job_master",
    "monitor",
    "queryworker",
    "reaper",
    "replicate",
)
#: More workers of one job are not wanted, whatever is asked for (MogileFS's limit).
MAX_WORKERS = 500
#: `!queue` shows at most so many requests.
MAX_QUEUE_LINES = 1000

_WANT = re.compile(r"([0-9]{1,9})\s+(\S+)\s*", re.ASCII)
_TO = re.compile(r"(\S+)\s+(\S.*)", re.ASCII | re.DOTALL)

_HELP = """KoboldFS tracker: lines for its operator

    !version               the version of this program
    !stats                 counters, and how long it has been running
    !recent                the last 50 requests; total and working seconds
    !queue                 requests that wait for their turn
    !jobs                  background jobs: workers there, workers wanted, pid
    !want <count> <job>    have so many workers of a job
    !to <job> <message>    pass a message to a job's workers
    !watch                 begin or end to see warnings and errors as they happen
    !shutdown              end this tracker
    !help                  this text""".splitlines()


class Connections(Protocol):
    """The front door's connections, as far as the operator wants to know."""

    def waiting(self) -> Iterable[tuple[str, str]]:
        """(client ip, request line) of every request that waits for its turn."""

    def spare(self) -> int:
        """How many more connections there could be."""


@frozen
class AdminLines:
    """Answers `!` lines. `shutdown` ends the program, soon and orderly."""

    statistics: Statistics
    jobs: IJobControl
    connections: Connections
    watchers: Watchers
    shutdown: Callable[[], Any]
    pid: int
    #: Which of several processes this is.
    process: int | None = None
    #: Counters that others keep.
    counters: Callable[[], Mapping[str, int]] = dict

    def answer(self, line: AdminLine, asker: Watcher) -> bytes | None:
        """The bytes to send; None means to close the connection without a word."""
        word, rest = line.word, line.rest.strip()
        if word == "stats":
            return format_lines(self._stats())
        for beginning, lines in (
            ("version", lambda: [__version__]),
            ("jobs", self._jobs),
            ("queue", self._queue),
            ("pend", self._queue),
            ("recent", self._recent),
            ("want", lambda: [self._want(rest)]),
            ("to", lambda: [self._to(rest)]),
            ("watch", lambda: [self._watch(asker)]),
        ):
            if word.startswith(beginning):
                return format_lines(lines())
        if word.startswith("shutdown"):
            self.shutdown()
            return None
        return format_lines(_HELP, end="\n")

    def _stats(self) -> list[str]:
        figures = [
            ("uptime", self.statistics.uptime_seconds()),
            ("pending_queries", sum(1 for _ in self.connections.waiting())),
            ("processing_queries", self.statistics.processing),
            # Nobody waits for a free worker here; what is limited is connections.
            ("bored_queryworkers", self.connections.spare()),
            *sorted({**self.statistics.all_counters(), **self.counters()}.items()),
        ]
        if self.process is not None:
            figures.insert(1, ("process", self.process))
        return [f"{name} {value}" for name, value in figures]

    def _jobs(self) -> list[str]:
        lines: list[str] = []
        for job, (running, desired) in sorted(self.jobs.counts().items()):
            pids = " ".join([str(self.pid)] * running)
            lines += (
                f"{job} count {running}",
                f"{job} desired {desired}",
                f"{job} pids {pids}",
            )
        return lines

    def _queue(self) -> list[str]:
        lines: list[str] = []
        for client_ip, line in self.connections.waiting():
            if len(lines) == MAX_QUEUE_LINES:
                break
            lines.append(printable(f"{client_ip} {line}"))
        return lines

    def _recent(self) -> list[str]:
        return [printable(line) for line in self.statistics.recent()]

    def _want(self, rest: str) -> str:
        match = _WANT.fullmatch(rest)
        if match is None:
            return "ERROR: usage: !want <count> <jobclass>"
        count, job = min(int(match[1]), MAX_WORKERS), match[2]
        try:
            self.jobs.want(job, count)
        except LookupError:
            if job not in MOGILEFS_JOBS:
                ours = sorted(set(self.jobs.counts()).difference(MOGILEFS_JOBS))
                known = ", ".join((*MOGILEFS_JOBS, *ours))
                shown = printable(job)
                return f"ERROR: Invalid class '{shown}'.  Valid classes: {known}"
        return f"Now desiring {count} children doing '{printable(job)}'."

    def _to(self, rest: str) -> str:
        match = _TO.fullmatch(rest)
        if match is None:
            return "ERROR: usage: !to <jobclass> <message>"
        return f"Message sent to {self.jobs.tell(match[1], match[2])} children."

    def _watch(self, asker: Watcher) -> str:
        if self.watchers.toggle(asker):
            return "Added you to watcher list."
        return "Removed you from watcher list."
