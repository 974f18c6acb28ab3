"""The picture: which device may do what, and what a copy's URL is."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.model.entities import (
    DEVICE_STATES,
    HOST_STATES,
    Device,
    DeviceReport,
    Domain,
    Host,
    HostReport,
    StorageClass,
    Topology,
)
from koboldfs.model.view import Health, View
from test.unit.model.pictures import picture, with_device, with_host

#: What an operator's word for a device lets be done on a host that is alive, when the
#: device is seen to be writeable: read, delete, take new files, have its files counted.
DEVICE_TABLE = {
    "alive": (True, True, True, True),
    "readonly": (True, False, False, True),
    "drain": (True, True, False, True),
    "down": (False, False, False, True),
    "dead": (False, False, False, False),
}
#: The same for the word for its host, of a device that is alive.
HOST_TABLE = {
    "alive": (True, True, True, True),
    "readonly": (True, False, False, True),
    "down": (False, False, False, True),
    "dead": (False, False, False, True),
}
#: The same for what was observed of the device; empty: nothing yet.
OBSERVED_TABLE = {
    "writeable": (True, True, True, True),
    "readable": (True, False, False, True),
    "unreachable": (False, False, False, True),
    "": (False, False, False, True),
}


def rights(view: View, devid: int = 5) -> tuple[bool, bool, bool, bool]:
    """Read, delete, receive, not dead."""
    return (
        view.readable(devid),
        view.may_delete_from(devid),
        view.may_receive(devid),
        not view.is_dead(devid),
    )


class States(SynchronousTestCase):
    """The table of states, row by row."""

    def test_devices(self) -> None:
        """What each state of a device allows."""
        self.assertEqual(set(DEVICE_TABLE), set(DEVICE_STATES))
        for state, wanted in DEVICE_TABLE.items():
            view = picture({5: 1}, devices_are={5: state})
            self.assertEqual(rights(view), wanted, state)

    def test_hosts(self) -> None:
        """What each state of its host allows."""
        self.assertEqual(set(HOST_TABLE), set(HOST_STATES))
        for state, wanted in HOST_TABLE.items():
            view = picture({5: 1}, hosts_are={1: state})
            self.assertEqual(rights(view), wanted, state)

    def test_observed(self) -> None:
        """What each observation allows."""
        for word, wanted in OBSERVED_TABLE.items():
            view = picture({5: 1}, observed={5: word})
            self.assertEqual(rights(view), wanted, word)

    def test_unreachable_host(self) -> None:
        """A host that does not answer hides whatever was seen of its devices."""
        view = picture({5: 1}, away=(1,))
        self.assertEqual(view.observed(5), "unreachable")
        self.assertEqual(rights(view), OBSERVED_TABLE["unreachable"])
        self.assertFalse(view.host_reachable(1))
        self.assertTrue(picture({5: 1}).host_reachable(1))

    def test_never_seen(self) -> None:
        """Nothing is known of a host that was never looked at."""
        view = View.of(Topology((Host(1, "a", "alive", "", 1),)), Health())
        view = View.of(
            Topology(tuple(view.hosts.values()), (Device(5, 1, "alive"),)), Health()
        )
        self.assertEqual(view.observed(5), "")
        self.assertFalse(view.host_reachable(1))
        self.assertFalse(view.is_kobold(1))
        self.assertEqual(rights(view), OBSERVED_TABLE[""])

    def test_unknown_device(self) -> None:
        """A device that is not in the tables may do nothing, and counts as dead."""
        view = picture({5: 1})
        self.assertEqual(rights(view, 6), (False, False, False, False))
        self.assertFalse(view.wants_files(6))
        self.assertIsNone(view.place(6))
        self.assertEqual(view.observed(6), "")

    def test_unknown_host(self) -> None:
        """A device whose host is not in the tables may do nothing, but is not dead."""
        view = View.of(Topology(devices=(Device(5, 1, "alive"),)), Health())
        self.assertEqual(rights(view), (False, False, False, True))
        self.assertFalse(view.wants_files(5))
        self.assertIsNone(view.place(5))

    def test_wants_files_while_away(self) -> None:
        """What the operator lets have files is so whether or not it answers."""
        self.assertTrue(picture({5: 1}, away=(1,)).wants_files(5))
        for state in ("readonly", "drain", "down", "dead"):
            self.assertFalse(picture({5: 1}, devices_are={5: state}).wants_files(5))
        for state in ("readonly", "down", "dead"):
            self.assertFalse(picture({5: 1}, hosts_are={1: state}).wants_files(5))

    def test_kobold(self) -> None:
        """A host is ours when it said so."""
        self.assertTrue(picture({5: 1}).is_kobold(1))
        self.assertFalse(View(health=Health({1: HostReport(1, True)})).is_kobold(1))


class Room(SynchronousTestCase):
    """How much fits."""

    def view(self, report: DeviceReport, device: Device) -> View:
        """One device on one host that is well."""
        host = Host(1, "a", "alive", "", 7500)
        health = Health().with_report(HostReport(1, True, True, (report,)))
        return View.of(Topology((host,), (device,)), health, min_free_mb=100)

    def test_observed_before_recorded(self) -> None:
        """What was seen counts, not what the database remembers."""
        seen = DeviceReport(5, "writeable", 1000 * 1024, 250 * 1024)
        view = self.view(seen, Device(5, 1, "alive", mb_total=1000, mb_used=999))
        self.assertEqual(view.free_mb(5), 750)
        self.assertAlmostEqual(view.free_share(5), 0.75)

    def test_recorded(self) -> None:
        """What the database remembers counts when nothing was seen."""
        seen = DeviceReport(5, "writeable", None, 3)
        view = self.view(seen, Device(5, 1, "alive", mb_total=1000, mb_used=900))
        self.assertEqual(view.free_mb(5), 100)
        self.assertAlmostEqual(view.free_share(5), 0.1)

    def test_unknown(self) -> None:
        """Unknown room is no reason to refuse, but has no share to be chosen by."""
        for seen in (
            DeviceReport(5, "writeable"),
            DeviceReport(5, "writeable", 1000, None),
        ):
            view = self.view(seen, Device(5, 1, "alive", mb_total=1000))
            self.assertIsNone(view.free_mb(5))
            self.assertEqual(view.free_share(5), 0.0)
            self.assertTrue(view.may_receive(5, 2**50))

    def test_unknown_device(self) -> None:
        """Nothing is known of the room of an unknown device."""
        self.assertIsNone(View().free_mb(5))
        self.assertEqual(View().free_share(5), 0.0)

    def test_least_room(self) -> None:
        """At the least room a device still takes files, one MB below it does not."""
        device = Device(5, 1, "alive")
        for used, wanted in ((900, True), (901, False)):
            seen = DeviceReport(5, "writeable", 1000 * 1024, used * 1024)
            self.assertEqual(self.view(seen, device).may_receive(5), wanted, used)

    def test_size(self) -> None:
        """A file must be smaller than the free room, strictly."""
        seen = DeviceReport(5, "writeable", 1000 * 1024, 500 * 1024)
        view = self.view(seen, Device(5, 1, "alive"))
        self.assertTrue(view.may_receive(5, 500 * 2**20 - 1))
        self.assertFalse(view.may_receive(5, 500 * 2**20))

    def test_overfull(self) -> None:
        """More in use than there is room for is no negative share."""
        seen = DeviceReport(5, "writeable", 100, 200)
        self.assertEqual(self.view(seen, Device(5, 1, "alive")).free_share(5), 0.0)
        seen = DeviceReport(5, "writeable")
        view = self.view(seen, Device(5, 1, "alive", mb_total=10, mb_used=20))
        self.assertEqual(view.free_share(5), 0.0)


class Reports(SynchronousTestCase):
    """What was observed, kept by host and by device."""

    def test_replaces_one_host(self) -> None:
        """A report replaces what was known of its host, and of nobody else."""
        first = HostReport(1, True, True, (DeviceReport(5, "writeable"),))
        other = HostReport(2, True, True, (DeviceReport(6, "writeable"),))
        before = Health().with_report(first).with_report(other)
        again = HostReport(1, False, False, (DeviceReport(5, "unreachable"),))
        after = before.with_report(again)
        self.assertEqual(after.hosts, {1: again, 2: other})
        self.assertEqual(after.devices[5].observed, "unreachable")
        self.assertEqual(after.devices[6].observed, "writeable")

    def test_leaves_the_old_one(self) -> None:
        """Who holds the health from before is not disturbed."""
        before = Health()
        before.with_report(HostReport(1, True, True, (DeviceReport(5, "readable"),)))
        self.assertEqual((before.hosts, before.devices), ({}, {}))


class Names(SynchronousTestCase):
    """Looking things up."""

    def setUp(self) -> None:
        self.view = View.of(
            Topology(
                hosts=(Host(1, "a", "alive", "", 1), Host(2, "b", "alive", "", 1)),
                domains=(Domain(1, "d"), Domain(2, "e")),
                classes=(
                    StorageClass(1, 7, "z", 3),
                    StorageClass(1, 3, "y", 1),
                    StorageClass(2, 0, "default", 5, "AllHosts()", 1),
                ),
                settings=(("name", "value"),),
            ),
            Health(),
            min_free_mb=7,
        )

    def test_by_name_or_number(self) -> None:
        """Hosts by name, domains by number; None for what is not there."""
        host = self.view.host_named("b")
        self.assertEqual(host and host.hostid, 2)
        self.assertIsNone(self.view.host_named("B"))
        self.assertEqual(self.view.domain_numbered(2), Domain(2, "e"))
        self.assertIsNone(self.view.domain_numbered(3))

    def test_settings(self) -> None:
        """Settings and limits are part of the picture."""
        self.assertEqual(self.view.settings, {"name": "value"})
        self.assertEqual(self.view.min_free_mb, 7)

    def test_default_class_without_row(self) -> None:
        """A domain has the class `default`, with mindevcount 2, without a row."""
        found = self.view.classes_of(1)
        self.assertEqual([one.name for one in found], ["default", "y", "z"])
        self.assertEqual(found[0], StorageClass(1, 0, "default", 2))
        self.assertEqual(self.view.class_named(1, "default"), found[0])

    def test_default_class_with_row(self) -> None:
        """With a row, the row counts, and there is one."""
        self.assertEqual([one.mindevcount for one in self.view.classes_of(2)], [5])
        self.assertEqual(self.view.storage_class(2, 0).policy, "AllHosts()")

    def test_class_that_is_gone(self) -> None:
        """A file of a class that is gone is treated as of class `default`."""
        self.assertEqual(self.view.storage_class(1, 99).name, "default")
        self.assertEqual(self.view.storage_class(2, 99).mindevcount, 5)

    def test_class_by_name_is_of_its_domain(self) -> None:
        """Another domain's class of that name is another class."""
        self.assertIsNone(self.view.class_named(2, "z"))
        found = self.view.class_named(1, "z")
        self.assertEqual(found and found.classid, 7)


class Urls(SynchronousTestCase):
    """The URL of a copy, as seen from a client."""

    def setUp(self) -> None:
        self.view = picture({5: 1})

    def test_plain(self) -> None:
        """Address, port and path of the device's host."""
        wanted = "http://10.0.0.1:7500/dev5/0/000/000/0000000012.fid"
        self.assertEqual(self.view.url(5, 12), wanted)
        self.assertEqual(self.view.url(5, 12, put=True), wanted)

    def test_ports(self) -> None:
        """Reading uses the get port if there is one, writing never does."""
        view = with_host(self.view, 1, get_port=7600)
        reading, writing = view.url(5, 12), view.url(5, 12, put=True)
        self.assertIn(":7600/", str(reading))
        self.assertIn(":7500/", str(writing))

    def test_unknown(self) -> None:
        """An unknown device, or one whose host is unknown, has no URL."""
        self.assertIsNone(self.view.url(6, 12))
        self.assertIsNone(with_device(self.view, 5, hostid=9).url(5, 12))

    def test_dead_device(self) -> None:
        """A device's state has no say in where it is."""
        self.assertIsNotNone(with_device(self.view, 5, status="dead").url(5, 12))

    def address(self, view: View, client_ip: str, *, alt: bool = False) -> str:
        """The host part of the URL."""
        url = view.url(5, 12, client_ip=client_ip, alt=alt)
        return str(url).removeprefix("http://").partition(":")[0]

    def test_zone(self) -> None:
        """The other address is for clients within the mask, and for `zone=alt`."""
        view = with_host(self.view, 1, altip="192.168.0.1", altmask="192.168.0.0/16")
        self.assertEqual(self.address(view, "192.168.7.7"), "192.168.0.1")
        self.assertEqual(self.address(view, "192.169.0.1"), "10.0.0.1")
        self.assertEqual(self.address(view, "10.0.0.9"), "10.0.0.1")
        self.assertEqual(self.address(view, ""), "10.0.0.1")
        self.assertEqual(self.address(view, "10.0.0.9", alt=True), "192.168.0.1")

    def test_zone_needs_both(self) -> None:
        """An address without a mask, or a mask without an address, is not used."""
        for altip, altmask in (("192.168.0.1", None), (None, "0.0.0.0/0"), ("", "")):
            view = with_host(self.view, 1, altip=altip, altmask=altmask)
            self.assertEqual(self.address(view, "192.168.7.7", alt=True), "10.0.0.1")

    def test_odd_masks(self) -> None:
        """A mask with host bits works; one that is none matches nobody."""
        view = with_host(self.view, 1, altip="192.168.0.1", altmask="192.168.7.9/24")
        self.assertEqual(self.address(view, "192.168.7.7"), "192.168.0.1")
        view = with_host(self.view, 1, altip="192.168.0.1", altmask="nonsense")
        self.assertEqual(self.address(view, "192.168.7.7"), "10.0.0.1")
        view = with_host(self.view, 1, altip="192.168.0.1", altmask="::/0")
        self.assertEqual(self.address(view, "192.168.7.7"), "10.0.0.1")


class LostDevices(SynchronousTestCase):
    """Devices that were away too long, as the settings say."""

    def test_settings(self) -> None:
        """They are read from the settings; nonsense among them is passed over."""
        settings = (("kobold_lost", "1 2 x 3y -4 9999999999"), ("kobold_late", "2 5"))
        view = View.of(Topology(settings=settings), Health())
        self.assertEqual((view.lost, view.late), ({1, 2}, {5}))
        view = View.of(Topology(), Health())
        self.assertEqual((view.lost, view.late), (set(), set()))

    def test_what_they_may(self) -> None:
        """A lost device gets nothing, and its copies do not count, though it is not
        dead; it is read as soon as it is seen. A late one is like any other."""
        view = evolve(picture({1: 1, 2: 2, 3: 3}), lost=frozenset({1}))
        view = evolve(view, late=frozenset({2}))
        for devid, is_lost in ((1, True), (2, False), (3, False)):
            self.assertEqual(view.wants_files(devid), not is_lost)
            self.assertEqual(view.may_receive(devid), not is_lost)
            self.assertEqual(view.counts(devid), not is_lost)
            self.assertTrue(view.readable(devid))
            self.assertTrue(view.may_delete_from(devid))
            self.assertFalse(view.is_dead(devid))
        self.assertFalse(view.counts(9))
        self.assertFalse(with_device(view, 3, status="dead").counts(3))
