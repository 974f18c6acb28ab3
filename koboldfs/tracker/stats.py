"""What the tracker counts of its own work, for `!stats`, `!recent` and the metrics."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from koboldfs.wire.metrics import Histogram

#: How many requests `!recent` remembers (MogileFS's number).
RECENT_REQUESTS = 50
#: What commands that there are not are counted as.
OTHER_COMMANDS = "unknown"
#: What is shown of a request line; one may be a megabyte long.
SHOWN_LINE_BYTES = 1024


@define(eq=False)
class Statistics:
    """Counters of one tracker process; times in seconds of the clock handed in."""

    clock: IReactorTime
    started: float = field(init=False)
    #: Requests begun and not answered yet, because they wait for something.
    processing: int = field(default=0, init=False)
    #: Requests answered (with OK or ERR), admin lines not among them.
    queries: int = field(default=0, init=False)
    #: Other counters of `!stats`, by name; one is absent until it first counts.
    counters: dict[str, int] = field(factory=dict, init=False)
    #: How long requests took, by command; None: nobody wants to know.
    timings: dict[str, Histogram] | None = field(default=None, init=False)
    _recent: deque[tuple[str, bytes, float, float]] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.started = self.clock.seconds()
        self._recent = deque(maxlen=RECENT_REQUESTS)

    def answered(self, client_ip: str, line: bytes, total: float, work: float) -> None:
        """A request was answered, so long after it came and after it was begun."""
        self.queries += 1
        if len(line) > SHOWN_LINE_BYTES:
            line = line[:SHOWN_LINE_BYTES]
        self._recent.append((client_ip, line, total, work))

    def time_commands(self, names: Iterable[str]) -> None:
        """Note from now on how long requests take. Those with another name than these
        are all one: whoever asks for nonsense must not have us count each of it."""
        self.timings = {name: Histogram() for name in (*names, OTHER_COMMANDS)}

    def timed(self, name: str, total: float) -> None:
        """A request of that command was answered so long after it came."""
        timings = self.timings
        if timings is not None:
            (timings.get(name) or timings[OTHER_COMMANDS]).note(total)

    def count(self, name: str, more: int = 1) -> None:
        """Add to a counter of `!stats`."""
        self.counters[name] = self.counters.get(name, 0) + more

    def uptime_seconds(self) -> int:
        """Whole seconds since the start."""
        return int(self.clock.seconds() - self.started)

    def recent(self) -> list[str]:
        """The last requests, oldest first: ``ip line total work``."""
        return [
            f"{client_ip} {shown_line(line)} {total:.4f} {work:.4f}"
            for client_ip, line, total, work in self._recent
        ]

    def all_counters(self) -> dict[str, int]:
        """The counters that have counted, `queries` among them."""
        queries = {"queries": self.queries} if self.queries else {}
        return {**self.counters, **queries}


def shown_line(line: bytes) -> str:
    """A request line as text for an operator, cut to a sensible length."""
    return line[:SHOWN_LINE_BYTES].decode("latin-1").removesuffix("\r")
