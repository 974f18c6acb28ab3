"""Which devices new files go to, and which copy is read first."""

from __future__ import annotations

from collections import Counter
from random import Random

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.model.entities import DeviceReport, HostReport
from koboldfs.model.placement import (
    EMPTIEST,
    offer,
    reading_order,
    spread,
    weighted_order,
)
from koboldfs.model.view import View
from test.unit.model.pictures import picture, with_device


class WeightedOrder(SynchronousTestCase):
    """Emptier devices are likelier to come first."""

    def test_full_and_unknown(self) -> None:
        """A device that is full, or whose room is unknown, is never chosen."""
        view = picture({1: 1, 2: 2, 3: 3}, used={1: 1.0}, unknown_room=(2,))
        self.assertEqual(weighted_order([1, 2, 3], view, Random(1)), [3])
        self.assertEqual(weighted_order([1, 2], view, Random(1)), [])

    def test_emptiest(self) -> None:
        """Of many devices only the emptiest are drawn from."""
        devices = {n: n for n in range(1, EMPTIEST + 11)}
        view = picture(devices, used={n: n / 100 for n in devices})
        found = weighted_order(devices, view, Random(1))
        self.assertEqual(sorted(found), list(range(1, EMPTIEST + 1)))

    def test_likelier(self) -> None:
        """A device with three times the free share comes first three times as often."""
        view = picture({1: 1, 2: 2}, used={1: 0.25, 2: 0.75})
        random = Random(7)
        first = Counter(weighted_order([1, 2], view, random)[0] for _ in range(4000))
        self.assertApproximates(first[1] / 4000, 0.75, 0.03)


class Spread(SynchronousTestCase):
    """One device a host."""

    def test_first_of_each_host(self) -> None:
        """The order stays; a second device of a host is passed over."""
        view = picture({1: 1, 2: 1, 3: 2, 4: 3})
        self.assertEqual(spread([2, 1, 3, 4], view, 3), [2, 3, 4])

    def test_count(self) -> None:
        """Not more than asked for, and fewer if there are not as many hosts."""
        view = picture({1: 1, 2: 2, 3: 3})
        self.assertEqual(spread([3, 2, 1], view, 2), [3, 2])
        self.assertEqual(spread([1], view, 3), [1])
        self.assertEqual(spread([1], view, 0), [])


class Offers(SynchronousTestCase):
    """Where an upload may go."""

    def test_single(self) -> None:
        """One device unless several are asked for."""
        view = picture({n: n for n in range(1, 6)})
        self.assertEqual(len(offer(view, Random(1), size_bytes=0, multiple=False)), 1)

    def test_multiple(self) -> None:
        """Up to three, on different hosts, whatever the devices are numbered."""
        view = picture({1: 2, 2: 2, 3: 1, 4: 1, 5: 3, 6: 3, 7: 4})
        random = Random(3)
        for _ in range(100):
            devids = offer(view, random, size_bytes=0, multiple=True)
            hosts = {view.devices[devid].hostid for devid in devids}
            self.assertEqual((len(devids), len(hosts)), (3, 3))

    def test_only_able(self) -> None:
        """Only devices that may have the file now."""
        view = picture(
            {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 6},
            devices_are={1: "drain"},
            hosts_are={2: "readonly"},
            observed={3: "readable"},
            used={4: 0.95},
            away=(5,),
        )
        random = Random(1)
        self.assertEqual(offer(view, random, size_bytes=0, multiple=True), [6])
        self.assertEqual(offer(view, random, size_bytes=2**40, multiple=True), [])


def busy(view: View, devid: int, utilization: float | None) -> View:
    """The view in which the device is that busy (percent)."""
    device = view.devices[devid]
    report = DeviceReport(devid, "writeable", 10**6, 10**5, utilization)
    host = HostReport(device.hostid, True, True, (report,))
    return evolve(view, health=view.health.with_report(host))


class ReadingOrder(SynchronousTestCase):
    """Which copy first."""

    def first_share(self, view: View) -> float:
        """How often device 1 comes before device 2."""
        random = Random(11)
        first = Counter(reading_order([1, 2], view, random)[0] for _ in range(4000))
        return first[1] / 4000

    def test_only_readable(self) -> None:
        """What cannot be read now is left out."""
        view = picture(
            {1: 1, 2: 2, 3: 3, 4: 4},
            away=(1,),
            devices_are={2: "down", 3: "readonly"},
            observed={4: "readable"},
        )
        self.assertEqual(
            sorted(reading_order([1, 2, 3, 4, 9], view, Random(1))), [3, 4]
        )

    def test_draining_last(self) -> None:
        """A draining device comes after all others, however idle."""
        view = picture({1: 1, 2: 2, 3: 3}, devices_are={1: "drain"})
        random = Random(5)
        for _ in range(50):
            self.assertEqual(reading_order([1, 2, 3], view, random)[-1], 1)
        self.assertEqual(reading_order([1], view, random), [1])

    def test_weight(self) -> None:
        """Weight 300 against 100 is three to one; weight 0 counts as 100."""
        view = with_device(picture({1: 1, 2: 2}), 1, weight=300)
        self.assertApproximates(self.first_share(view), 0.75, 0.03)
        view = with_device(picture({1: 1, 2: 2}), 1, weight=0)
        self.assertApproximates(self.first_share(view), 0.5, 0.03)

    def test_busy(self) -> None:
        """A device that is busy half the time is asked about half as often."""
        view = busy(busy(picture({1: 1, 2: 2}), 1, 51.0), 2, 0.0)
        self.assertApproximates(self.first_share(view), 1 / 3, 0.03)

    def test_busy_beyond_measure(self) -> None:
        """However busy, a device keeps a little weight; unknown counts as idle."""
        view = busy(busy(picture({1: 1, 2: 2}), 1, 400.0), 2, None)
        self.assertApproximates(self.first_share(view), 2 / 104, 0.02)


class Slow(SynchronousTestCase):
    """A device that takes seconds comes after all others."""

    def view(self, *slow: int) -> View:
        """Six devices on six hosts; the slow ones have the most room."""
        view = picture({n: n for n in range(1, 7)}, used=dict.fromkeys(slow, 0.0))
        health = view.health
        for devid, seen in view.health.devices.items():
            latency = 5.0 if devid in slow else 0.01
            seen = evolve(seen, latency_seconds=latency)
            health = health.with_report(HostReport(devid, True, True, (seen,)))
        return evolve(view, health=health)

    def test_new_files(self) -> None:
        """It gets a new file only when no other one can."""
        view, random = self.view(2, 3), Random(5)
        for _ in range(50):
            [first] = offer(view, random, size_bytes=0, multiple=False)
            self.assertNotIn(first, (2, 3))
            order = weighted_order(view.devices, view, random)
            self.assertEqual((set(order[4:]), len(order)), ({2, 3}, 6))
        self.assertEqual(weighted_order([2], view, random), [2])
        self.assertEqual(set(weighted_order([2, 3], view, random)), {2, 3})

    def test_emptiest(self) -> None:
        """Slow devices do not take the places of the emptiest."""
        devices = {n: n for n in range(1, EMPTIEST + 2)}
        view = picture(devices, used={1: 0.0})
        seen = evolve(view.health.devices[1], latency_seconds=5.0)
        rest = evolve(view.health.devices[2], latency_seconds=0.01)
        health = view.health.with_report(HostReport(2, True, True, (rest,)))
        health = health.with_report(HostReport(1, True, True, (seen,)))
        order = weighted_order(devices, evolve(view, health=health), Random(1))
        self.assertEqual((order[-1], len(order)), (1, EMPTIEST + 1))

    def test_reading(self) -> None:
        """Its copy is read last, even after those that are draining."""
        view = with_device(self.view(2), 1, status="drain")
        for seed in range(50):
            order = reading_order([1, 2, 3, 4], view, Random(seed))
            self.assertEqual((set(order[:2]), order[2:]), ({3, 4}, [1, 2]))
        self.assertEqual(reading_order([2], view, Random(1)), [2])
