"""Which devices are slow."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from koboldfs.model.entities import DeviceReport
from koboldfs.model.latency import SLOW_SECONDS, SLOW_TIMES, slow_devices


def slow(*latencies: float | None, observed: str = "writeable") -> set[int]:
    """The slow ones of devices 1, 2 and so on."""
    seen = {
        number: DeviceReport(number, observed, latency_seconds=latency)
        for number, latency in enumerate(latencies, 1)
    }
    return set(slow_devices(seen))


class SlowDevices(SynchronousTestCase):
    """`slow_devices`."""

    def test_stands_out(self) -> None:
        """Slow is who takes many times as long as the others, and long."""
        self.assertEqual(slow(0.01, 5.0, 0.02), {2})
        self.assertEqual(slow(0.01, SLOW_SECONDS, 0.02), {2})
        self.assertEqual(slow(0.01, SLOW_SECONDS - 0.001, 0.02), set())
        self.assertEqual(slow(0.01, 5.0), {2})

    def test_all_are(self) -> None:
        """When everybody is slow, nobody is."""
        self.assertEqual(slow(2.0, 5.0, 4.0), set())
        self.assertEqual(slow(2.0, 2.0 * SLOW_TIMES, 2.0), {2})
        self.assertEqual(slow(9.0), set())

    def test_unknown(self) -> None:
        """Who tells nothing, or is not there, is not slow, nor a measure for others."""
        self.assertEqual(slow(), set())
        self.assertEqual(slow(None, None), set())
        self.assertEqual(slow(None, 0.01, 3.0, None), {3})
        self.assertEqual(slow(0.01, 3.0, observed="unreachable"), set())
