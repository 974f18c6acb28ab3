"""Joining a cluster, and staying the same part of it."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from koboldfs import errors
from koboldfs.cluster.joining import (
    AGAIN_SECONDS,
    HOSTS_SECONDS,
    NUMBER_TRIES,
    Identity,
    Membership,
)
from koboldfs.interfaces import IDeviceFolders, ITrackerCall
from test.fakes.joining import MemoryFolders, MemoryTracker
from test.fakes.world import WorldCase, start


class JoinCase(WorldCase):
    """A node called "box" and a cluster that knows another host "other"."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.tracker = MemoryTracker()
        self.tracker.add_host("other", 7, ip="10.0.0.9")
        self.folders = MemoryFolders()
        self.identity = Identity("box", "10.0.0.1", 7500, None)
        self.membership = self.node()

    def node(self) -> Membership:
        """The node's membership, as at a start."""
        return Membership(self.tracker, self.folders, lambda: self.identity, self.clock)

    def join(self, **changes: Any) -> None:
        """Join at once; the node's identity may be another than usual."""
        self.identity = evolve(self.identity, **changes)
        self.run_now(self.membership.join())

    def start(self, membership: Membership | None = None) -> None:
        """Start the service, until the end of the test."""
        self.membership = membership or self.membership
        self.membership.startService()
        self.addCleanup(self.stop, self.membership)

    def stop(self, membership: Membership) -> None:
        """Stop it, if it runs."""
        if membership.running:
            membership.stopService()

    def served(self) -> tuple[int, ...]:
        """The devices that are served, for this cluster and host."""
        assert self.folders.served is not None
        cluster, host_name, devids = self.folders.served
        self.assertEqual((cluster, host_name), ("c1", "box"))
        return devids

    def mine(self) -> set[int]:
        """The devices that the cluster has on this host."""
        hostid = self.tracker.hosts["box"]["hostid"]
        devices = self.tracker.devices
        return {devid for devid in devices if devices[devid]["hostid"] == hostid}


class FirstJoin(JoinCase):
    """A node that the cluster does not know."""

    def test_fakes(self) -> None:
        """What stands in for the tracker and the disks has their interfaces."""
        verifyObject(ITrackerCall, self.tracker)
        verifyObject(IDeviceFolders, self.folders)

    def test_host(self) -> None:
        """Its host is registered with its address, alive."""
        self.join()
        [words] = self.tracker.called("create_host")
        wanted = {"host": "box", "status": "alive", "ip": "10.0.0.1", "port": "7500"}
        self.assertEqual(words, wanted)
        self.assertTrue(self.membership.joined)

    def test_one_device(self) -> None:
        """It gets one device, of the next free number, which is marked and served."""
        self.join()
        self.assertEqual((self.mine(), self.served()), ({8}, (8,)))
        marker = self.folders.markers[8]
        assert marker is not None
        self.assertEqual((marker.cluster, marker.host, marker.devid), ("c1", "box", 8))

    def test_number_of_devices(self) -> None:
        """Or as many as the operator wants."""
        self.join(devices=3)
        self.assertEqual((self.mine(), self.served()), ({8, 9, 10}, (8, 9, 10)))

    def test_none(self) -> None:
        """Which may be none."""
        self.join(devices=0)
        self.assertEqual((self.mine(), self.served()), (set(), ()))

    def test_empty_cluster(self) -> None:
        """The first node of all."""
        self.tracker = MemoryTracker()
        self.membership = self.node()
        self.join()
        self.assertEqual(self.served(), (1,))

    def test_folders_of_mogilefs(self) -> None:
        """Folders without a marker that the cluster does not know are registered."""
        self.folders.make(3, 4)
        self.join()
        self.assertEqual((self.mine(), self.served()), ({3, 4}, (3, 4)))
        self.assertNotIn(None, self.folders.markers.values())

    def test_folder_of_another_host(self) -> None:
        """A folder of a number that the cluster has elsewhere is left alone."""
        self.folders.make(7)
        self.join()
        self.assertEqual((self.mine(), self.served()), ({8}, (8,)))
        self.assertIsNone(self.folders.markers[7])

    def test_number_above_the_folders(self) -> None:
        """A new number is above those of folders that are not ours, too."""
        self.folders.mark(20, cluster="c2", host="box")
        self.join()
        self.assertEqual(self.served(), (21,))

    def test_number_taken_meanwhile(self) -> None:
        """A number that another node takes at the same time is given up."""

        def faster(devid: int) -> None:
            if devid < 10:
                self.tracker.devices[devid] = {"hostid": "1", "status": "alive"}

        self.tracker.before_device = faster
        self.join()
        self.assertEqual((self.mine(), self.served()), ({10}, (10,)))
        self.assertEqual(set(self.folders.markers), {10})

    def test_every_number_taken(self) -> None:
        """It gives up after a while, and leaves no folder behind."""

        def faster(devid: int) -> None:
            self.tracker.devices[devid] = {"hostid": "1", "status": "alive"}

        self.tracker.before_device = faster
        self.fail_now(self.membership.join(), errors.WorldError)
        self.assertEqual(self.folders.markers, {})
        calls = self.tracker.called("create_device")
        self.assertEqual(len(calls), NUMBER_TRIES + 1)
        self.assertFalse(self.membership.joined)

    def test_disk_that_fails(self) -> None:
        """A device that cannot be made is no device; nothing is registered."""
        self.folders.broken.add(8)
        self.fail_now(self.membership.join(), errors.DeviceUnavailable)
        self.assertEqual(self.mine(), set())

    def test_no_cluster_id(self) -> None:
        """A tracker that knows no cluster id is not one of ours: nothing is done."""
        self.tracker.cluster = ""
        self.fail_now(self.membership.join(), errors.WorldError)
        self.assertNotIn("box", self.tracker.hosts)


class Again(JoinCase):
    """A node that was here before."""

    def setUp(self) -> None:
        super().setUp()
        self.join(devices=2)
        self.restart()

    def restart(self) -> None:
        """The node starts anew, with what is on its disks."""
        self.folders.served = None
        self.folders.claimed.clear()
        self.tracker.calls.clear()
        self.membership = self.node()

    def commands(self) -> set[str]:
        """What was asked of the tracker but reading."""
        reading = {"server_setting", "get_hosts", "get_devices"}
        return {command for command, _ in self.tracker.calls} - reading

    def test_nothing_twice(self) -> None:
        """A restart registers nothing, and serves the same."""
        self.join()
        self.assertEqual(self.commands(), set())
        self.assertEqual((self.mine(), self.served()), ({8, 9}, (8, 9)))

    def test_no_wish(self) -> None:
        """Without a wish for a number it keeps those that it has."""
        self.join(devices=None)
        self.assertEqual((self.commands(), self.served()), (set(), (8, 9)))

    def test_more(self) -> None:
        """A wish for more makes what is missing; one for fewer takes nothing away."""
        self.join(devices=3)
        self.assertEqual(self.served(), (8, 9, 10))
        self.restart()
        self.join(devices=1)
        self.assertEqual(self.served(), (8, 9, 10))

    def test_moved(self) -> None:
        """A host whose address or port is another has it changed."""
        self.join(host_ip="10.0.0.2")
        self.assertEqual(self.tracker.hosts["box"]["hostip"], "10.0.0.2")
        self.restart()
        self.join(http_port=7600)
        self.assertEqual(self.tracker.hosts["box"]["http_port"], "7600")
        self.restart()
        self.join()
        self.assertEqual(self.commands(), set())

    def test_crash_after_the_marker(self) -> None:
        """A device that was marked but not registered is registered now."""
        del self.tracker.devices[9]
        self.join()
        self.assertEqual((self.mine(), self.served()), ({8, 9}, (8, 9)))
        self.assertEqual(len(self.tracker.called("create_device")), 1)

    def test_crash_before_the_marker_of_an_adopted_folder(self) -> None:
        """A folder that was registered but not marked is marked now."""
        self.folders.markers[9] = None
        self.join()
        self.assertEqual(self.folders.claimed, [9])
        self.assertEqual((self.commands(), self.served()), (set(), (8, 9)))

    def test_one_disk_missing(self) -> None:
        """A disk that is not there is not replaced by a new device; it is served when
        it is back (its folder decides)."""
        del self.folders.markers[9]
        self.join()
        self.assertEqual((self.commands(), self.served()), (set(), (8, 9)))
        self.assertNotIn(9, self.folders.claimed)

    def test_empty_folder_of_a_known_device(self) -> None:
        """The empty folder of a device that has files is a mount point without its
        disk: it is not marked."""
        self.folders = MemoryFolders()
        self.folders.make(8, 9)
        self.folders.empty.add(9)
        self.membership = self.node()
        self.join()
        self.assertEqual(self.folders.claimed, [8])

    def test_only_empty_folders(self) -> None:
        """Empty folders do not make a node the host that has those devices."""
        self.folders = MemoryFolders()
        self.folders.make(8, 9)
        self.folders.empty.update((8, 9))
        self.membership = self.node()
        error = self.fail_now(self.membership.join(), errors.WorldError)
        self.assertIn("none of them is here", error.message)

    def test_none_of_them_here(self) -> None:
        """A node with the host's name and none of its devices is refused, and the
        host's address stays."""
        self.folders = MemoryFolders()
        self.membership = self.node()
        self.identity = evolve(self.identity, host_ip="10.0.0.66")
        error = self.fail_now(self.membership.join(), errors.WorldError)
        self.assertIn("host box has devices 8, 9", error.message)
        self.assertIn("--host-name", error.message)
        self.assertEqual(self.tracker.hosts["box"]["hostip"], "10.0.0.1")
        self.assertEqual((self.commands(), self.folders.served), (set(), None))

    def test_strangers_with_their_numbers(self) -> None:
        """Folders that have their numbers but belong elsewhere do not count."""
        self.folders = MemoryFolders()
        self.folders.mark(8, cluster="c2", host="box")
        self.folders.mark(9, cluster="c1", host="other")
        self.membership = self.node()
        self.identity = evolve(self.identity, host_ip="10.0.0.66")
        self.fail_now(self.membership.join(), errors.WorldError)
        self.assertEqual(self.tracker.hosts["box"]["hostip"], "10.0.0.1")

    def test_all_of_them_dead(self) -> None:
        """When the operator has given its devices up it may begin anew."""
        for devid in (8, 9):
            self.tracker.devices[devid]["status"] = "dead"
        self.folders = MemoryFolders()
        self.membership = self.node()
        self.join(devices=None)
        self.assertEqual(self.served(), (10,))


class Strangers(JoinCase):
    """Folders that are not ours."""

    def assert_left_alone(self) -> None:
        """Folder dev3 is neither served nor registered; a new device is made."""
        before = dict(self.folders.markers)
        self.join()
        self.assertEqual((self.served(), self.mine()), ((8,), {8}))
        self.assertEqual(self.folders.markers[3], before[3])
        self.assertNotIn(3, self.folders.claimed)

    def test_another_cluster(self) -> None:
        """A disk of another cluster."""
        self.folders.mark(3, cluster="c2", host="box")
        self.assert_left_alone()

    def test_another_host(self) -> None:
        """A disk of another host of this cluster."""
        self.folders.mark(3, cluster="c1", host="other")
        self.assert_left_alone()

    def test_another_number(self) -> None:
        """A disk that was mounted in the wrong place."""
        self.folders.mark(3, cluster="c1", host="box", number=4)
        self.assert_left_alone()

    def test_ours_that_the_cluster_has_elsewhere(self) -> None:
        """A disk that says it is ours, of a number that another host has by now."""
        self.folders.mark(7, cluster="c1", host="box")
        self.join()
        self.assertEqual((self.served(), self.mine()), ((8,), {8}))

    def test_unwilling_folder(self) -> None:
        """A folder that cannot be marked is not served; the others are."""
        self.folders.make(3, 4)
        self.folders.broken.add(3)
        self.join()
        self.assertEqual((self.served(), self.mine()), ((4,), {4}))


class Service(JoinCase):
    """Trying until it succeeds, and keeping the addresses of hosts."""

    def test_at_once(self) -> None:
        """It joins as soon as it is started."""
        self.start()
        self.assertTrue(self.membership.joined)

    def test_tracker_away_then_back(self) -> None:
        """It tries for ever, and joins when a tracker answers."""
        self.tracker.away = True
        self.start()
        self.clock.pump([AGAIN_SECONDS] * 10)
        self.assertFalse(self.membership.joined)
        self.assertIsNone(self.folders.served)
        self.tracker.away = False
        self.clock.advance(AGAIN_SECONDS)
        self.assertTrue(self.membership.joined)
        self.assertEqual(self.served(), (8,))

    def test_pauses(self) -> None:
        """It does not let a tracker wait that opens its doors in a moment, nor bother
        one for ever."""
        self.tracker.away = True
        self.start()
        began, times = self.clock.seconds(), [0.0]
        for _ in range(72):
            self.tracker.calls.clear()
            self.clock.advance(0.125)
            if self.tracker.calls:
                times.append(self.clock.seconds() - began)
        self.assertEqual(times, [0.0, 0.125, 0.375, 0.875, 1.875, 3.875, 5.875, 7.875])

    def test_away_midway(self) -> None:
        """A tracker that goes away between two steps leaves nothing twice."""
        self.tracker.failing["create_device"] = [errors.WorldError("away")]
        self.start()
        self.assertFalse(self.membership.joined)
        self.clock.advance(AGAIN_SECONDS)
        self.assertTrue(self.membership.joined)
        self.assertEqual((self.mine(), self.served()), ({8}, (8,)))
        self.assertEqual(len(self.tracker.called("create_host")), 1)

    def test_another_took_the_name(self) -> None:
        """A name that was taken between our look and our word is looked at anew."""
        self.tracker.failing["create_host"] = [errors.HostExists()]
        self.start()
        self.clock.advance(AGAIN_SECONDS)
        self.assertTrue(self.membership.joined)

    def test_defect(self) -> None:
        """A defect is logged, and it is tried again."""
        self.tracker.failing["get_devices"] = [ZeroDivisionError()]
        self.start()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.clock.advance(AGAIN_SECONDS)
        self.assertTrue(self.membership.joined)

    def test_complains_once(self) -> None:
        """The same trouble is logged once, another one again."""
        lines: list[str] = []

        class Log:
            def error(self, text: str, **fields: Any) -> None:
                lines.append(str(fields["error"]))

            def info(self, text: str, **fields: Any) -> None: ...

        self.membership.log = Log()  # type: ignore[misc, assignment]
        self.tracker.away = True
        self.start()
        self.clock.pump([AGAIN_SECONDS] * 5)
        self.tracker.away = False
        self.tracker.cluster = ""
        self.clock.pump([AGAIN_SECONDS] * 5)
        self.tracker.cluster = "c1"
        self.clock.advance(AGAIN_SECONDS)
        self.tracker.away = True
        self.clock.pump([AGAIN_SECONDS] * 10)
        self.assertEqual(len(lines), 3)
        self.assertEqual(lines[0], lines[2])

    def test_stop(self) -> None:
        """After the end it tries no more."""
        self.tracker.away = True
        self.start()
        self.membership.stopService()
        self.tracker.calls.clear()
        self.clock.pump([AGAIN_SECONDS] * 5)
        self.assertEqual(self.tracker.calls, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop_during_the_first_try(self) -> None:
        """Also when the first try has not come to its end yet."""
        gate = self.tracker.gate = Deferred()
        self.start()
        self.membership.stopService()
        self.tracker.gate = None
        gate.callback(None)
        self.clock.pump([AGAIN_SECONDS] * 5)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_addresses(self) -> None:
        """Other hosts have addresses; who is not in the cluster has none."""
        address = self.membership.address
        self.assertEqual(self.run_now(address("other")), ("10.0.0.9", 7500))
        self.assertIsNone(self.run_now(address("stranger")))

    def test_new_host(self) -> None:
        """A host that was not known is asked for at once."""
        self.start()
        self.tracker.add_host("third", 30, ip="10.0.0.3")
        address = self.membership.address("third")
        self.assertEqual(self.run_now(address), ("10.0.0.3", 7500))

    def test_moved_host(self) -> None:
        """A host that moved has its new address after a while."""
        self.start()
        self.tracker.hosts["other"]["hostip"] = "10.0.0.99"
        self.clock.pump([1.0] * int(HOSTS_SECONDS + AGAIN_SECONDS))
        address = self.membership.address("other")
        self.assertEqual(self.run_now(address), ("10.0.0.99", 7500))

    def test_known_address_while_trackers_are_away(self) -> None:
        """What is known stays known; what is not cannot be asked for."""
        self.start()
        self.tracker.away = True
        self.clock.pump([AGAIN_SECONDS] * 20)
        address = self.membership.address
        self.assertEqual(self.run_now(address("other")), ("10.0.0.9", 7500))
        self.fail_now(address("third"), errors.WorldError)


class Beside(JoinCase):
    """Other processes of the same node."""

    def test_one_at_a_time(self) -> None:
        """While another process joins, this one waits; it is told that it tried."""
        self.folders.taken = True
        self.start()
        self.run_now(self.membership.tried())
        self.assertFalse(self.membership.joined)
        self.assertEqual(self.tracker.calls, [])
        self.folders.taken = False
        self.clock.advance(AGAIN_SECONDS)
        self.assertTrue(self.membership.joined)
        self.assertFalse(self.folders.reserved)

    def test_given_back(self) -> None:
        """Also when joining failed."""
        self.tracker.away = True
        self.start()
        self.assertFalse(self.folders.reserved)

    def test_tried(self) -> None:
        """Who waits for the first try is told at its end."""
        self.tracker.gate = Deferred()
        self.start()
        waiting = start(self.membership.tried())
        self.assertNoResult(waiting)
        gate, self.tracker.gate = self.tracker.gate, None
        gate.callback(None)
        self.successResultOf(waiting)
