"""The administration: each change is in the picture when it is answered."""

from __future__ import annotations

from typing import Any

from koboldfs import errors
from koboldfs.cluster.admin import Admin
from test.fakes.world import World, WorldCase


class AdminCase(WorldCase):
    """Two hosts, a domain with a class, and the administration."""

    def setUp(self) -> None:
        self.world = World.of(2)
        self.world.add_class(3, "c", mindevcount=4, policy="AllHosts()", hashtype=1)
        self.world.look()
        self.admin = Admin(self.world.store, self.world.live)
        self.world.nodes.calls.clear()

    @property
    def view(self) -> Any:
        """The picture now."""
        return self.world.live.view


class Hosts(AdminCase):
    """Hosts."""

    def test_create(self) -> None:
        """A new host is in the picture, and was looked at."""
        values = {"status": "alive", "ip": "10.0.0.9", "http_port": 7500}
        host = self.run_now(self.admin.create_host("new", values))
        self.assertEqual((host.hostid, host.name, host.ip), (3, "new", "10.0.0.9"))
        self.assertEqual(self.view.hosts[3], host)
        self.assertEqual(self.world.asked("survey"), [(3, ())])

    def test_create_again(self) -> None:
        """A name is taken, also when only the database knows that yet."""
        values = {"ip": "10.0.0.9"}
        self.fail_now(self.admin.create_host("host1", values), errors.HostExists)
        self.assertEqual(self.world.called("create_host"), [])
        self.world.add_host(5)
        self.fail_now(self.admin.create_host("host5", values), errors.HostExists)

    def test_address_in_use(self) -> None:
        """An address is one host's."""
        values = {"ip": "10.0.0.2"}
        self.fail_now(self.admin.create_host("new", values), errors.DuplicateRow)
        self.fail_now(self.admin.update_host("host1", values), errors.DuplicateRow)

    def test_update(self) -> None:
        """A change is in the picture, and the host was looked at."""
        host = self.run_now(self.admin.update_host("host1", {"status": "readonly"}))
        self.assertEqual((host.status, self.view.hosts[1].status), ("readonly",) * 2)
        self.assertEqual(self.world.asked("survey"), [(1, (10,))])
        self.assertFalse(self.view.may_receive(10))

    def test_update_nothing(self) -> None:
        """A change of nothing changes nothing, and is answered."""
        host = self.run_now(self.admin.update_host("host1", {}))
        self.assertEqual(host.name, "host1")
        self.assertEqual(self.world.called("update_host"), [])

    def test_unknown(self) -> None:
        """A host that is not there, by the two names that this error has."""
        update = self.admin.update_host("x", {"ip": "10.0.0.9"})
        self.fail_now(update, errors.HostNotFound)
        self.fail_now(self.admin.delete_host("x"), errors.UnknownHost)

    def test_of_another_tracker(self) -> None:
        """A host that another tracker made a moment ago is found."""
        self.world.add_host(5)
        self.run_now(self.admin.update_host("host5", {"status": "down"}))
        self.assertEqual(self.view.hosts[5].status, "down")

    def test_delete(self) -> None:
        """A host without devices can be removed; one with devices cannot."""
        self.fail_now(self.admin.delete_host("host1"), errors.HostNotEmpty)
        self.world.add_host(5, per_host=0)
        self.run_now(self.admin.delete_host("host5"))
        self.assertNotIn(5, self.view.hosts)

    def test_refresh(self) -> None:
        """Everything is read and looked at."""
        self.world.add_host(5)
        self.run_now(self.admin.refresh())
        hosts = {call[0] for call in self.world.asked("survey")}
        self.assertEqual(hosts, {1, 2, 5})


class Devices(AdminCase):
    """Devices."""

    def test_create(self) -> None:
        """On a host by number or by name; it may have files when it is answered."""
        self.run_now(self.admin.create_device(77, 1, None, "alive"))
        self.run_now(self.admin.create_device(78, None, "host2", "alive"))
        self.assertEqual(self.view.devices[77].hostid, 1)
        self.assertEqual(self.view.devices[78].hostid, 2)
        self.assertTrue(self.view.may_receive(77) and self.view.may_receive(78))

    def test_number_before_name(self) -> None:
        """If both are given the number counts."""
        self.run_now(self.admin.create_device(77, 1, "host2", "down"))
        self.assertEqual(self.view.devices[77].hostid, 1)
        self.assertEqual(self.view.devices[77].status, "down")

    def test_unknown_host(self) -> None:
        """No such number, no such name, no name."""
        for hostid, name, kind in (
            (9, None, errors.UnknownHostid),
            (None, "x", errors.UnknownHost),
            (None, None, errors.UnknownHost),
        ):
            creation = self.admin.create_device(77, hostid, name, "alive")
            self.fail_now(creation, kind)

    def test_host_of_another_tracker(self) -> None:
        """A host that another tracker made a moment ago is found by its number."""
        self.world.add_host(5)
        self.run_now(self.admin.create_device(77, 5, None, "alive"))
        self.assertEqual(self.view.devices[77].hostid, 5)

    def test_existing(self) -> None:
        """A number is one device's."""
        creation = self.admin.create_device(20, 1, None, "alive")
        self.fail_now(creation, errors.ExistingDevid)

    def test_state(self) -> None:
        """A state is in force when it is answered."""
        self.run_now(self.admin.set_device_state("host1", 10, "readonly"))
        self.assertEqual(self.view.devices[10].status, "readonly")
        self.assertFalse(self.view.may_receive(10))

    def test_dead_to_alive(self) -> None:
        """From dead to alive is refused; by way of down it is allowed."""
        for state in ("dead", "dead"):
            self.run_now(self.admin.set_device_state("host1", 10, state))
        back = self.admin.set_device_state("host1", 10, "alive")
        self.fail_now(back, errors.StateTooHigh)
        for state in ("down", "alive"):
            self.run_now(self.admin.set_device_state("host1", 10, state))
        self.assertTrue(self.view.may_receive(10))

    def test_wrong_device(self) -> None:
        """A device that is not there, or is on another host."""
        for host, devid, kind in (
            ("host1", 99, errors.NoDevice),
            ("host2", 10, errors.HostMismatch),
            ("x", 10, errors.HostMismatch),
        ):
            setting = self.admin.set_device_state(host, devid, "down")
            self.fail_now(setting, kind)
            self.fail_now(self.admin.set_weight(host, devid, 1), kind)

    def test_of_another_tracker(self) -> None:
        """A device that another tracker made a moment ago is found."""
        self.world.add_host(5)
        self.run_now(self.admin.set_device_state("host5", 50, "drain"))
        self.assertEqual(self.view.devices[50].status, "drain")

    def test_weight(self) -> None:
        """A weight is in the picture."""
        self.run_now(self.admin.set_weight("host1", 10, 7))
        self.assertEqual(self.view.devices[10].weight, 7)


class Domains(AdminCase):
    """Domains."""

    def test_create(self) -> None:
        """A new domain is in the picture; its name is taken from then on."""
        domain = self.run_now(self.admin.create_domain("e"))
        self.assertEqual(self.view.domains["e"], domain)
        self.fail_now(self.admin.create_domain("e"), errors.DomainExists)

    def test_delete(self) -> None:
        """An empty domain can be removed."""
        self.run_now(self.admin.create_domain("e"))
        self.run_now(self.admin.delete_domain("e"))
        self.assertNotIn("e", self.view.domains)
        self.fail_now(self.admin.delete_domain("e"), errors.DomainNotFound)

    def test_not_empty(self) -> None:
        """One with files or classes cannot."""
        self.fail_now(self.admin.delete_domain("d"), errors.DomainHasClasses)
        self.world.file(5, [10])
        self.fail_now(self.admin.delete_domain("d"), errors.DomainHasFiles)

    def test_of_another_tracker(self) -> None:
        """A domain that another tracker made a moment ago is found."""
        self.run_now(self.world.store.create_domain("e"))
        self.run_now(self.admin.delete_domain("e"))
        self.assertNotIn(2, self.world.tables.domains)


class Classes(AdminCase):
    """Classes."""

    def test_create(self) -> None:
        """A new class is in the picture; its name is taken from then on."""
        self.run_now(self.admin.create_class("d", "n", 2, "MultipleHosts()", 2))
        found = self.view.class_named(1, "n")
        self.assertEqual(
            (found.classid, found.mindevcount, found.policy, found.hashtype),
            (4, 2, "MultipleHosts()", 2),
        )
        again = self.admin.create_class("d", "n", 2, None, None)
        self.fail_now(again, errors.ClassExists)

    def test_create_default(self) -> None:
        """The default class can be given its row, once, and keeps its number."""
        self.run_now(self.admin.create_class("d", "default", 5, None, None))
        self.assertEqual(self.view.storage_class(1, 0).mindevcount, 5)
        again = self.admin.create_class("d", "default", 6, None, None)
        self.fail_now(again, errors.ClassExists)

    def test_update(self) -> None:
        """What is set is set, what is to be kept is kept."""
        self.run_now(self.admin.update_class("d", "c", 9, None, None))
        found = self.view.class_named(1, "c")
        self.assertEqual(
            (found.mindevcount, found.policy, found.hashtype), (9, None, None)
        )
        self.setUp()
        update = self.admin.update_class(
            "d", "c", 9, None, None, keep_policy=True, keep_hashtype=True
        )
        self.run_now(update)
        found = self.view.class_named(1, "c")
        self.assertEqual(
            (found.mindevcount, found.policy, found.hashtype), (9, "AllHosts()", 1)
        )

    def test_update_default(self) -> None:
        """The default class gets its row by being updated."""
        self.run_now(self.admin.update_class("d", "default", 7, None, None))
        self.assertEqual(self.view.storage_class(1, 0).mindevcount, 7)

    def test_delete(self) -> None:
        """A class without files can be removed, the default never."""
        self.world.file(5, [10], classid=3)
        self.fail_now(self.admin.delete_class("d", "c"), errors.ClassHasFiles)
        self.world.tables.files.clear()
        self.run_now(self.admin.delete_class("d", "c"))
        self.assertIsNone(self.view.class_named(1, "c"))
        deletion = self.admin.delete_class("d", "default")
        self.fail_now(deletion, errors.DefaultClassStays)

    def test_unknown(self) -> None:
        """No such domain, no such class."""
        for domain, name, kind in (
            ("x", "c", errors.DomainNotFound),
            ("d", "x", errors.ClassNotFound),
        ):
            self.fail_now(self.admin.delete_class(domain, name), kind)
            update = self.admin.update_class(domain, name, 1, None, None)
            self.fail_now(update, kind)
        creation = self.admin.create_class("x", "c", 1, None, None)
        self.fail_now(creation, errors.DomainNotFound)

    def test_of_another_tracker(self) -> None:
        """A class that another tracker made a moment ago is found."""
        self.run_now(self.world.store.create_class(1, "n", 2, None, None))
        self.run_now(self.admin.delete_class("d", "n"))
        self.assertNotIn((1, 4), self.world.tables.classes)


class Settings(AdminCase):
    """Settings."""

    def test_one(self) -> None:
        """Written, read, removed; in the picture at once."""
        self.assertIsNone(self.run_now(self.admin.setting("a")))
        self.run_now(self.admin.set_setting("a", "1"))
        self.assertEqual(self.run_now(self.admin.setting("a")), "1")
        self.assertEqual(self.view.settings["a"], "1")
        self.run_now(self.admin.set_setting("a", None))
        self.assertNotIn("a", self.view.settings)

    def test_all(self) -> None:
        """All of them, as they are now."""
        self.world.tables.settings["b"] = "2"
        self.assertEqual(self.run_now(self.admin.settings()), {"b": "2"})
