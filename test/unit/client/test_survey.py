"""Tests of koboldfs.client.survey."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.client.survey import (
    MAX_REASON_CHARS,
    SURVEY_SECONDS,
    TEST_WRITE_SECONDS,
    kib,
    parse_usage,
    port_of_ours,
    reports_of_ours,
)
from koboldfs.model.entities import DeviceReport, Host
from test.unit.client.network import start
from test.unit.client.node_case import FOREIGN, OURS, NodesCase, http


class UsageTests(SynchronousTestCase):
    """What is read from usage texts and replies."""

    def test_parse(self) -> None:
        """Lines of a word, a colon and a value count; others do not."""
        text = b"used: 1\nTOTAL : 2 \nno\n: 3\nbad name: 4\ndisk: /a: b\n"
        self.assertEqual(
            parse_usage(text), {"used": "1", "TOTAL": "2", "disk": "/a: b"}
        )

    def test_kib(self) -> None:
        """Sizes are plain numbers that a disk can have."""
        self.assertEqual(kib("12"), 12)
        for text in ("", "-1", "1.5", "x", "9" * 19, "9" * 40, "\u0661"):
            self.assertIsNone(kib(text))

    def test_port(self) -> None:
        """Only a text that says so, with a port, is of our own."""
        self.assertEqual(port_of_ours({"kobold": "1", "sidechannel": "7501"}), 7501)
        for usage in (
            {"sidechannel": "7501"},
            {"kobold": "0", "sidechannel": "7501"},
            {"kobold": "1"},
            {"kobold": "1", "sidechannel": "0"},
            {"kobold": "1", "sidechannel": "65536"},
            {"kobold": "1", "sidechannel": "x"},
        ):
            self.assertIsNone(port_of_ours(usage))

    def test_reports(self) -> None:
        """Devices that were asked for are reported, counted from 0 or from 1; what
        makes no sense counts as not said."""
        for first in (0, 1):
            fields = {"devices": "2"}
            for number, devid in ((first, 7), (first + 1, 8)):
                fields[f"dev{number}_devid"] = str(devid)
                fields[f"dev{number}_observed"] = "readable"
                fields[f"dev{number}_kib_total"] = "10"
                fields[f"dev{number}_utilization"] = "nan"
            self.assertEqual(
                reports_of_ours(fields, [8, 9]), {8: DeviceReport(8, "readable", 10)}
            )
        fields = {"devices": "1", "dev1_devid": "1", "dev1_observed": "readable"}
        told = fields | {"dev1_latency": "2.500", "dev1_failing": "a flush\nfailed"}
        told |= {"dev1_quarantined": "7", "dev1_highest": "9999999999"}
        wanted = DeviceReport(1, "readable", failing="a flush?failed")
        wanted = evolve(wanted, latency_seconds=2.5, quarantined=7)
        told |= {"dev1_full": "1"}
        wanted = evolve(wanted, highest_fid=9_999_999_999, full=True)
        self.assertEqual(reports_of_ours(told, [1]), {1: wanted})
        odd = fields | {"dev1_latency": "-1", "dev1_failing": "x" * 1000}
        odd |= {"dev1_quarantined": "-7", "dev1_highest": "10000000000"}
        wanted = DeviceReport(1, "readable", failing="x" * MAX_REASON_CHARS)
        self.assertEqual(reports_of_ours(odd, [1]), {1: wanted})
        fields = {"devices": "9" * 18, "dev0_devid": "1", "dev0_observed": "fine"}
        self.assertEqual(
            reports_of_ours(fields, [1]), {1: DeviceReport(1, "unreachable")}
        )


class SurveyTests(NodesCase):
    """`Nodes.survey`."""

    def test_foreign(self) -> None:
        """A test file is written, at most every so often, and read back."""
        self.be_foreign()
        report = self.survey(3)
        self.assertTrue(report.reachable)
        self.assertFalse(report.kobold)
        self.assertEqual(report.devices, (DeviceReport(3, "writeable", 1000, 10),))
        writes = [one for one in self.node.asked if one.startswith("PUT")]
        self.assertEqual(len(writes), 1)
        self.assertRegex(writes[0], r"^PUT /dev3/test-write/test-write-\d{1,2}$")
        self.node.asked.clear()
        self.network.wait(TEST_WRITE_SECONDS / 2)
        self.assertEqual(self.survey(3).devices[0].observed, "writeable")
        self.assertEqual(self.node.asked, ["GET /dev3/usage"])
        self.node.asked.clear()
        self.network.wait(TEST_WRITE_SECONDS)
        self.survey(3)
        self.assertEqual(len(self.node.asked), 3)  # usage, PUT, GET; no MKCOL again

    def test_foreign_reads_elsewhere(self) -> None:
        """Where a host has a port for reading, that is the one which is read."""
        self.be_foreign()
        self.host = Host(1, "one", "alive", "10.0.0.1", 7500, get_port=7600)
        self.node.refusing = {7600}
        self.assertFalse(self.survey(3).reachable)
        self.node.refusing = set()
        self.assertEqual(self.survey(3).devices[0].observed, "writeable")

    def test_foreign_that_takes_no_writes(self) -> None:
        """A device that refuses the test file, or spoils it, can only be read."""
        for change in (
            {"PUT": http(507)},
            {"GET": http(200, b"something else")},
            {"GET": http(404)},
        ):
            self.setUp()
            self.be_foreign()
            self.node.answers.update(change)
            self.assertEqual(self.survey(3).devices[0].observed, "readable")

    def test_foreign_that_hangs(self) -> None:
        """Whatever hangs, the survey ends in time, with what it has found."""
        for method, observed in (
            ("PUT", "readable"),
            ("GET /dev3/usage", "unreachable"),
        ):
            self.setUp()
            self.be_foreign()
            del self.node.answers[method]
            if method != "PUT":
                del self.node.answers["GET"]
            report = self.survey(3, 4)
            self.assertTrue(report.reachable)
            found = {device.devid: device.observed for device in report.devices}
            self.assertEqual(found[3], observed)
            self.assertIn(found[4], ("readable", "writeable"))

    def test_device_that_is_not_there(self) -> None:
        """A device whose usage is not found is unreachable, the others are not."""
        self.be_foreign()
        self.node.answers["GET /dev4/usage"] = http(404)
        report = self.survey(3, 4)
        self.assertEqual(
            [device.observed for device in report.devices], ["writeable", "unreachable"]
        )

    def test_host_without_devices(self) -> None:
        """A host without devices is reachable if it answers anything at all."""
        self.node.answers["GET"] = http(404)
        self.assertTrue(self.survey().reachable)
        self.assertEqual(self.node.asked, ["GET /"])

    def test_away(self) -> None:
        """A host that refuses, or never accepts, is not reachable."""
        self.node.refusing = {7500}
        report = self.survey(3)
        self.assertFalse(report.reachable)
        self.assertEqual(report.devices, (DeviceReport(3, "unreachable"),))
        self.setUp()
        asked = start(self.nodes.survey(self.host, [3]))
        self.network.wait(SURVEY_SECONDS)
        self.assertFalse(self.successResultOf(asked).reachable)
        self.network.turn()
        self.flushLoggedErrors()
        self.assertEqual(self.network.reactor.getDelayedCalls(), [])

    def test_nonsense(self) -> None:
        """A host that speaks no HTTP is not reachable."""
        self.node.answers["GET"] = b"SSH-2.0-OpenSSH\r\n"
        self.assertFalse(self.survey(3).reachable)

    def test_ours(self) -> None:
        """One of our nodes is asked about all devices at once, by its side channel."""
        self.be_ours()
        report = self.survey(3, 4)
        self.assertEqual(self.node.asked, ["usage"])
        self.assertTrue(report.reachable and report.kobold)
        self.assertEqual(
            report.devices,
            (DeviceReport(3, "writeable", 9, 1, 2.5), DeviceReport(4, "unreachable")),
        )

    def test_behind_a_web_server(self) -> None:
        """A node of ours is known also when what serves its copies hands out no
        usage; a foreign one is unreachable then, as for MogileFS."""
        for usage, observed in ((OURS, "writeable"), (FOREIGN, "unreachable")):
            self.setUp()
            self.host = evolve(self.host, get_port=8080)
            self.node.answers["8080 GET /dev3/usage"] = http(404)
            self.node.answers["GET /dev3/usage"] = http(200, usage)
            self.node.replies["usage"] = (
                b"OK devices=1&dev1_devid=3&dev1_observed=writeable"
            )
            report = self.survey(3)
            self.assertTrue(report.reachable)
            self.assertEqual(report.kobold, usage == OURS)
            self.assertEqual(report.devices[0].observed, observed)

    def test_no_longer_ours(self) -> None:
        """Where the side channel fails, the host is looked at as a foreign one."""
        self.be_ours()
        self.be_foreign()
        for _, wire in self.node.wires:
            wire.lose()
        self.node.refusing = {7501}
        report = self.survey(3)
        self.assertTrue(report.reachable)
        self.assertFalse(report.kobold)
        self.assertEqual(report.devices[0].observed, "writeable")

    def test_ours_restarted(self) -> None:
        """A node that comes back is seen by the next survey, at once."""
        self.be_ours()
        for _, wire in self.node.wires:
            wire.lose()
        self.node.refusing = {7500, 7501}
        self.assertFalse(self.survey(3).reachable)
        self.node.refusing = set()
        self.assertTrue(self.survey(3).kobold)
