"""The page of metrics, for Prometheus (``--metrics-listen``): GET /metrics.

What is counted is counted anyway, in plain numbers; only who asks for the page has them
gathered. Of several processes the first serves it: the others tell it their numbers
every `TELL_SECONDS`, and it adds them up.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from koboldfs.siblings import Siblings
from koboldfs.wire.metrics import (
    CONTENT_TYPE,
    COUNTER,
    GAUGE,
    Family,
    exposition,
    single,
)

#: Who says nothing for so long is cut off.
IDLE_SECONDS = 30
#: How often the other processes tell their numbers.
TELL_SECONDS = 5.0
#: Samples of one record: Linux writes up to 4096 bytes into a pipe in one piece.
TOLD_SAMPLES = 20

#: Gives families of numbers.
Source = Callable[[], Awaitable[Sequence[Family]]]
#: A sample as others tell it: suffix, labels, number.
Told = Sequence[Any]


class Gathered:
    """All sources of this process, and what the others told of theirs.

    `own` sources are of each process, and added up; `common` ones are the same for all,
    and asked here only.
    """

    _log = Logger()

    def __init__(self, siblings: Siblings, clock: Any) -> None:
        self.own: list[Source] = []
        self.common: list[Source] = []
        self._siblings = siblings
        #: By the number of the process and the name of the family.
        self._others: dict[tuple[int, str], Family] = {}
        self._telling = LoopingCall(self._tell)
        self._telling.clock = clock
        siblings.observe("metrics", self._hear)

    def start(self) -> None:
        """Begin to tell, if there is somebody to hear it."""
        if not self._siblings.leads:
            self._telling.start(TELL_SECONDS, now=False)

    async def stop(self) -> None:
        """End it."""
        if self._telling.running:
            self._telling.stop()

    async def families(self) -> list[Family]:
        """All of them; a source that fails is left out, and logged."""
        mine = await self._asked(self.own)
        return [
            *added_up([*mine, *self._others.values()]),
            *await self._asked(self.common),
        ]

    async def _asked(self, sources: Sequence[Source]) -> list[Family]:
        found: list[Family] = []
        for source in sources:
            try:
                found += await source()
            except Exception:
                self._log.failure("a part of the metrics could not be had")
        return found

    async def _tell(self) -> None:
        number = self._siblings.number
        for one in await self._asked(self.own):
            head = {"name": one.name, "kind": one.kind, "meaning": one.meaning}
            for start in range(0, len(one.samples), TOLD_SAMPLES):
                some = one.samples[start : start + TOLD_SAMPLES]
                self._siblings.tell("metrics", number=number, samples=some, **head)

    def _hear(
        self, number: int, name: str, kind: str, meaning: str, samples: list[Told]
    ) -> None:
        told = self._others.setdefault((number, name), Family(name, kind, meaning, []))
        known = {(suffix, labels): count for suffix, labels, count in told.samples}
        for suffix, labels, count in samples:
            # They came through a pipe, where tuples become lists.
            known[suffix, tuple((label, text) for label, text in labels)] = count
        now = [(*key, count) for key, count in known.items()]
        self._others[number, name] = Family(name, kind, meaning, now)


def added_up(families: Sequence[Family]) -> list[Family]:
    """One family of each name, with the sums of what has the same labels."""
    found: dict[str, Family] = {}
    sums: dict[str, dict[Any, float]] = {}
    for family in families:
        found.setdefault(family.name, family)
        of_name = sums.setdefault(family.name, {})
        for suffix, labels, number in family.samples:
            of_name[suffix, labels] = of_name.get((suffix, labels), 0) + number
    return [
        Family(
            one.name,
            one.kind,
            one.meaning,
            [(*key, number) for key, number in sums[one.name].items()],
        )
        for one in found.values()
    ]


async def process_source() -> list[Family]:
    """Of this process: its time on processors, its memory, its descriptors."""
    times = os.times()
    families = [
        single(
            "koboldfs_cpu_seconds_total",
            COUNTER,
            "Time on processors, of all processes.",
            times.user + times.system,
        )
    ]
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            pages = int(file.read().split()[1])
        descriptors = len(os.listdir("/proc/self/fd"))
    except (OSError, ValueError, IndexError):
        return families
    return [
        *families,
        single(
            "koboldfs_resident_memory_bytes",
            GAUGE,
            "Memory in use, of all processes.",
            pages * os.sysconf("SC_PAGE_SIZE"),
        ),
        single(
            "koboldfs_open_descriptors",
            GAUGE,
            "Open descriptors, of all processes.",
            descriptors,
        ),
    ]


class Page(Resource):
    """The page."""

    isLeaf = True

    def __init__(self, families: Callable[[], Awaitable[list[Family]]]) -> None:
        super().__init__()
        self._families = families

    def render_GET(self, request: Any) -> int:
        """Gather, and answer."""
        if request.path != b"/metrics":
            request.setResponseCode(404)
            request.finish()
            return NOT_DONE_YET
        gone: list[object] = []
        request.notifyFinish().addErrback(gone.append)
        answering = Deferred.fromCoroutine(self._answer(request, gone))
        answering.addErrback(lambda failure: request.processingFailed(failure))
        return NOT_DONE_YET

    async def _answer(self, request: Any, gone: list[object]) -> None:
        text = exposition(await self._families())
        if not gone:
            request.setHeader(b"content-type", CONTENT_TYPE)
            request.setHeader(b"content-length", b"%d" % len(text))
            request.write(text)
            request.finish()


class QuietSite(Site):
    """Whoever scrapes comes every few seconds: that is not worth a line of the log."""

    def log(self, request: Any) -> None:
        """See `Site`."""


def site(families: Callable[[], Awaitable[list[Family]]]) -> Site:
    """What listens."""
    made = QuietSite(Page(families), timeout=IDLE_SECONDS)
    made.displayTracebacks = False
    made.noisy = False
    return made
