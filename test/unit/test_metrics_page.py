"""The page of metrics: what is gathered, and from whom."""

from __future__ import annotations

import json

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.test.requesthelper import DummyRequest

from koboldfs.metrics_page import TELL_SECONDS, Gathered, Page, process_source
from koboldfs.siblings import Siblings
from koboldfs.wire.metrics import COUNTER, GAUGE, Family, labelled, single


class Source:
    """Numbers that a test sets."""

    def __init__(self, *families: Family) -> None:
        self.families = list(families)

    async def __call__(self) -> list[Family]:
        return self.families


async def broken() -> list[Family]:
    """A source with a defect."""
    raise ZeroDivisionError


class GatheredCase(SynchronousTestCase):
    """Processes that tell each other what they count."""

    def setUp(self) -> None:
        self.clock = Clock()

    def process(self, number: int, count: int = 1) -> Gathered:
        """One of so many; it tells the first one."""
        told = Siblings(number, count, self._tell)
        if number == 1:
            self.first = told
        gathered = Gathered(told, self.clock)
        gathered.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(gathered.stop()))
        return gathered

    def _tell(self, what: str, values: object) -> None:
        record = json.dumps(values)
        self.assertLess(len(record), 4000)
        self.first.hear(what, json.loads(record))

    def numbers(self, gathered: Gathered) -> dict[str, float]:
        """What the page would say."""
        families = self.successResultOf(Deferred.fromCoroutine(gathered.families()))
        return {
            f"{one.name}{suffix}{dict(labels) or ''}": number
            for one in families
            for suffix, labels, number in one.samples
        }

    def test_alone(self) -> None:
        """Its own and the common ones; a defect leaves the others."""
        gathered = self.process(1)
        gathered.own += [broken, Source(single("a", COUNTER, "", 5))]
        gathered.common.append(Source(single("b", GAUGE, "", 1)))
        self.assertEqual(self.numbers(gathered), {"a": 5, "b": 1})
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_several(self) -> None:
        """What is of each process is added up; the last that each told counts."""
        first, second = self.process(1, 2), self.process(2, 2)
        many = {f"c{n}": 1.0 for n in range(50)}
        source = Source(single("a", COUNTER, "", 5))
        second.own += [source, Source(labelled("m", COUNTER, "M.", "c", many))]
        first.own.append(Source(single("a", COUNTER, "", 2)))
        second.common.append(broken)
        self.clock.advance(TELL_SECONDS)
        self.assertEqual(self.numbers(first)["a"], 7)
        self.assertEqual(self.numbers(first)["m{'c': 'c49'}"], 1)
        source.families = [single("a", COUNTER, "", 6)]
        self.clock.advance(TELL_SECONDS)
        self.assertEqual(self.numbers(first)["a"], 8)

    def test_process(self) -> None:
        """What a process is to the system."""
        gathered = self.process(1)
        gathered.own.append(process_source)
        found = self.numbers(gathered)
        self.assertGreater(found["koboldfs_cpu_seconds_total"], 0)


class Pages(SynchronousTestCase):
    """What a request gets."""

    def page(self, path: bytes, source: Source) -> DummyRequest:
        """The request, answered."""
        request = DummyRequest([])
        request.path = path
        Page(source).render_GET(request)
        return request

    def test_metrics(self) -> None:
        """The text, with its type."""
        request = self.page(b"/metrics", Source(single("a", COUNTER, "A.", 5)))
        self.assertIn(b"a 5\n", b"".join(request.written))
        kind = request.responseHeaders.getRawHeaders("content-type")
        self.assertEqual(kind, ["text/plain; version=0.0.4; charset=utf-8"])
        self.assertTrue(request.finished)

    def test_elsewhere(self) -> None:
        """There is nothing else."""
        request = self.page(b"/", Source())
        self.assertEqual((request.responseCode, request.written), (404, []))
