"""The policies and states of a rebalance."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.model.entities import (
    Device,
    DeviceReport,
    Host,
    HostReport,
    Topology,
)
from koboldfs.model.rebalance import (
    MAX_TEXT_CHARS,
    Policy,
    Side,
    State,
    begin,
    limit_reached,
    parse_policy,
    parse_state,
    within_limit,
)
from koboldfs.model.view import Health, View

GIB_KIB = 1024 * 1024


def picture() -> View:
    """Three hosts with two devices each; device 1 is 90 % full, 2 is 80 %, and so on;
    of device 6 nothing is known."""
    hosts = tuple(Host(n, f"h{n}", "alive", f"10.0.0.{n}", 7500) for n in (1, 2, 3))
    devices = tuple(Device(n, (n + 1) // 2, "alive") for n in range(1, 7))
    health = Health()
    for hostid in (1, 2, 3):
        reports = []
        for devid in (2 * hostid - 1, 2 * hostid):
            total = None if devid == 6 else 100 * GIB_KIB
            used = None if devid == 6 else (100 - 10 * devid) * GIB_KIB
            reports.append(DeviceReport(devid, "writeable", total, used))
        report = HostReport(hostid, True, True, tuple(reports))
        health = health.with_report(report)
    return View.of(Topology(hosts=hosts, devices=devices), health)


class Policies(SynchronousTestCase):
    """The language."""

    def test_nothing_said(self) -> None:
        """An empty policy takes from all devices, without a limit."""
        self.assertEqual(parse_policy(""), Policy())

    def test_everything_said(self) -> None:
        """Every word has its place."""
        policy = parse_policy(
            "from_all_devs=0 from_hosts=1,2 from_devices=3 from_percent_used=1"
            " from_percent_free=2 from_space_used=3 from_space_free=4 fid_age=new"
            " limit_type=global limit_by=size limit=2k to_all_devs=1 to_hosts=4"
            " to_devices=5,6 to_percent_used=7 to_percent_free=8 to_space_used=9"
            " to_space_free=10 not_to_hosts=11 not_to_devices=12 use_dest_devs=2"
            " leave_in_drain_mode=1"
        )
        expected = Policy(
            Side(False, frozenset({1, 2}), frozenset({3}), 1, 2, 3, 4),
            Side(True, frozenset({4}), frozenset({5, 6}), 7, 8, 9, 10),
            frozenset({11}),
            frozenset({12}),
            "new",
            "global",
            "size",
            2048,
            2,
            True,
        )
        self.assertEqual(policy, expected)
        self.assertIsNone(parse_policy("use_dest_devs=all").use_dest_devs)

    def test_nonsense(self) -> None:
        """What is not understood is named."""
        for text, words in (
            ("nonsense=1", "Invalid setting nonsense"),
            ("from_nix=1", "Invalid setting from_nix"),
            ("from_devices=a", "Invalid setting from_devices"),
            ("fid_age=middle", "Invalid setting fid_age"),
            ("limit=5x", "Invalid setting limit"),
            ("leave_in_drain_mode=2", "Invalid setting leave_in_drain_mode"),
            ("limit_by=count", "Invalid setting limit"),
            ("limit_by=percent limit=5", "Invalid setting limit_by"),
            ("x" * (MAX_TEXT_CHARS + 1), "Invalid setting: the policy is too long"),
        ):
            with self.assertRaises(ValueError) as raised:
                parse_policy(text)
            self.assertTrue(str(raised.exception).startswith(words), text)

    def test_devices(self) -> None:
        """Sources and targets of a picture, the fullest source first."""
        view = picture()
        for text, sources, targets in (
            ("from_devices=2,1 to_devices=3,4,6", [1, 2], [3, 4, 6]),
            ("from_hosts=1 from_devices=3", [1, 2, 3], [4, 5, 6]),
            ("from_hosts=1 not_to_hosts=2 not_to_devices=6", [1, 2], [5]),
            ("from_percent_used=75", [1, 2], [3, 4, 5, 6]),
            ("from_percent_free=25 to_hosts=1", [3, 4, 5], [1, 2]),
            ("from_space_used=71680", [1, 2], [3, 4, 5, 6]),
            ("from_space_free=35840 to_space_free=15360", [4, 5], [2, 3]),
            ("from_all_devs=0", [], [1, 2, 3, 4, 5, 6]),
            ("from_all_devs=0 from_percent_used=85", [1], [2, 3, 4, 5, 6]),
        ):
            policy = parse_policy(text)
            found = policy.source_devices(view)
            self.assertEqual(found, sources, text)
            self.assertEqual(policy.target_devices(view, found), targets, text)


class States(SynchronousTestCase):
    """Where a run stands."""

    def test_text(self) -> None:
        """A state is read as it was written; what we do not know is kept."""
        state = State((3,), (2, 1), 5, 70, 4, 9, 12, 57, 1, 2, 3, 4, 5, 6, {"x": "y"})
        self.assertEqual(parse_state(str(state)), state)
        self.assertEqual(parse_state(""), State())

    def test_of_mogilefs(self) -> None:
        """A state that MogileFS wrote."""
        state = parse_state(
            "bytes_queued=57 fids_queued=12 completed_devs=,2,1 source_devs= limit=x"
        )
        self.assertEqual(
            (state.bytes_queued, state.completed_devs, state.source_devs, state.limit),
            (57, (2, 1), (), 0),
        )

    def test_steps(self) -> None:
        """From the first device to the last."""
        policy = parse_policy("limit_by=count limit=5")
        state = begin(policy, [2, 1], 1000)
        self.assertEqual((state.source_devs, state.time_started), ((2, 1), 1000))
        state = state.next_device(policy)
        self.assertEqual((state.sdev_current, state.sdev_limit), (2, 5))
        self.assertEqual(state.source_devs, (1,))
        state = state.queued(3, 300, 77, 1010)
        self.assertEqual((state.fids_queued, state.bytes_queued), (3, 300))
        self.assertEqual((state.sdev_lastfid, state.time_latest_run), (77, 1010))
        state = state.device_done()
        self.assertEqual((state.completed_devs, state.sdev_current), ((2,), 0))

    def test_limits(self) -> None:
        """By count and by size, of a device and of the whole."""
        for text, left, count, after in (
            ("", 0, 3, 0),
            ("limit_by=count limit=5", 5, 3, 2),
            ("limit_by=count limit=5", 2, 2, 0),
            ("limit_by=size limit=5", 25, 2, 0),
            ("limit_by=size limit=5", 30, 3, 0),
        ):
            policy = parse_policy(text)
            state = State(sdev_limit=left)
            found, state = within_limit(policy, state, [10, 10, 10])
            self.assertEqual((found, state.sdev_limit), (count, after), text)
        policy = parse_policy("limit_by=count limit=5 limit_type=global")
        self.assertEqual(begin(policy, [1], 0).limit, 5)
        found, state = within_limit(policy, State(limit=2), [0, 0, 0])
        self.assertEqual((found, state.limit), (2, 0))
        self.assertTrue(limit_reached(policy, state))
        self.assertFalse(limit_reached(policy, evolve(state, limit=1)))
        self.assertFalse(limit_reached(Policy(), state))
        per_device = parse_policy("limit_by=size limit=5")
        self.assertTrue(limit_reached(per_device, State()))
