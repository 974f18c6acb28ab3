"""What every provider of `ITopology` promises."""

from __future__ import annotations

from zope.interface.verify import verifyObject

from koboldfs import errors
from koboldfs.interfaces import ITopology
from koboldfs.model.entities import Device, Domain, Host, StorageClass
from test.contract.store import LATIN, StoreContract

ALIVE = {"status": "alive", "ip": "10.0.0.1", "http_port": 7500}


class TopologyContract(StoreContract):
    """Hosts, devices, domains, classes, settings."""

    async def test_topology_interface(self) -> None:
        """It has the interface's methods with their arguments."""
        verifyObject(ITopology, self.store.topology)

    # --- hosts

    async def test_hosts(self) -> None:
        """A host is loaded with all that was said of it, by anyone, at once."""
        topology = self.store.topology
        first = await topology.create_host(LATIN, ALIVE)
        values = {
            "status": "down",
            "ip": "10.0.0.2",
            "http_port": 1,
            "get_port": 65535,
            "altip": "192.168.0.2",
            "altmask": "192.168.0.0/24",
        }
        second = await topology.create_host("two", values)
        self.assertNotEqual(first, second)
        other = await self.another()
        hosts = (await other.topology.load()).hosts
        self.assertEqual(
            hosts,
            (
                Host(first, LATIN, "alive", "10.0.0.1", 7500),
                Host(
                    second,
                    "two",
                    "down",
                    "10.0.0.2",
                    1,
                    65535,
                    "192.168.0.2",
                    "192.168.0.0/24",
                ),
            ),
        )

    async def test_host_names_and_addresses_are_one_hosts(self) -> None:
        """A name or an address in use is refused, and the other host stays."""
        topology = self.store.topology
        await topology.create_host("one", ALIVE | {"altip": "10.1.0.1"})
        two = await topology.create_host("two", ALIVE | {"ip": "10.0.0.2"})
        await self.fault(errors.HostExists, topology.create_host("one", ALIVE))
        for values in ({"ip": "10.0.0.1"}, {"altip": "10.1.0.1"}):
            new = ALIVE | {"ip": "10.0.0.3"} | values
            duplicate = errors.DuplicateRow
            await self.fault(duplicate, topology.create_host("three", new))
            await self.fault(duplicate, topology.update_host(two, values))
        self.assertEqual(len((await topology.load()).hosts), 2)

    async def test_update_host(self) -> None:
        """Only the columns that are given change; an empty altip is none."""
        topology = self.store.topology
        one = await topology.create_host("one", ALIVE | {"altip": "10.1.0.1"})
        two = await topology.create_host("two", ALIVE | {"ip": "10.0.0.2"})
        await topology.update_host(one, {"status": "readonly", "altip": ""})
        await topology.update_host(two, {"altip": "", "get_port": 80})
        await topology.update_host(two, {})
        hosts = (await topology.load()).hosts
        self.assertEqual((hosts[0].status, hosts[0].ip), ("readonly", "10.0.0.1"))
        self.assertFalse(hosts[0].altip)
        self.assertEqual((hosts[1].status, hosts[1].get_port), ("alive", 80))

    async def test_delete_host(self) -> None:
        """A host with devices stays; an empty one goes."""
        topology = self.store.topology
        full = await topology.create_host("full", ALIVE)
        empty = await topology.create_host("empty", ALIVE | {"ip": "10.0.0.2"})
        await topology.create_device(1, full, "alive")
        await self.fault(errors.HostNotEmpty, topology.delete_host(full))
        await topology.delete_host(empty)
        self.assertEqual([one.name for one in (await topology.load()).hosts], ["full"])

    async def test_new_numbers_race(self) -> None:
        """What two trackers make at once gets different numbers."""
        other = await self.another()
        stores = (self.store, other)
        hostids = await self.together(
            *(
                stores[n % 2].topology.create_host(
                    f"h{n}", ALIVE | {"ip": f"10.2.0.{n}"}
                )
                for n in range(6)
            )
        )
        dmids = await self.together(
            *(stores[n % 2].topology.create_domain(f"d{n}") for n in range(6))
        )
        classids = await self.together(
            *(
                stores[n % 2].topology.create_class(dmids[0], f"c{n}", 2, None, None)
                for n in range(6)
            )
        )
        for numbers in (hostids, dmids, classids):
            self.assertEqual(len(set(numbers)), 6)
            self.assertGreater(min(numbers), 0)

    # --- devices

    async def test_devices(self) -> None:
        """A device is loaded with what was said and measured of it."""
        topology = self.store.topology
        hostid = await topology.create_host("one", ALIVE)
        await topology.create_device(3, hostid, "down")
        await self.fault(
            errors.ExistingDevid, topology.create_device(3, hostid, "alive")
        )
        await topology.update_device(
            3, {"status": "drain", "weight": 7, "mb_total": 900, "mb_used": 5}
        )
        await topology.update_device(3, {"mb_used": 6, "mb_asof": 1_700_000_000})
        await topology.update_device(3, {})
        self.assertEqual(
            (await topology.load()).devices, (Device(3, hostid, "drain", 7, 900, 6),)
        )

    async def test_device_of_that_status(self) -> None:
        """A change that is for a device of one status leaves one of another alone."""
        topology = self.store.topology
        hostid = await topology.create_host("one", ALIVE)
        await topology.create_device(3, hostid, "alive")
        update, readonly = topology.update_device, {"status": "readonly"}
        self.assertTrue(await update(3, readonly, "alive"))
        self.assertFalse(await update(3, {"status": "dead"}, "alive"))
        self.assertFalse(await update(4, readonly, "alive"))
        self.assertFalse(await update(3, {}, "readonly"))
        self.assertTrue(await update(3, {"weight": 5}))
        self.assertEqual(
            (await topology.load()).devices, (Device(3, hostid, "readonly", 5),)
        )

    async def test_status_race(self) -> None:
        """Of all who change a device of one status to another, one does."""
        other = (await self.another()).topology
        hostid = await self.store.topology.create_host("one", ALIVE)
        await self.store.topology.create_device(3, hostid, "alive")
        answers = await self.together(
            *(
                one.update_device(3, {"status": word}, "alive")
                for word in ("readonly", "down")
                for one in (self.store.topology, other)
            )
        )
        self.assertEqual(answers.count(True), 1)

    # --- domains and classes

    async def test_domains(self) -> None:
        """A domain's name is bytes; names that differ in case differ."""
        topology = self.store.topology
        first = await topology.create_domain(LATIN)
        second = await topology.create_domain(LATIN.upper())
        await self.fault(errors.DomainExists, topology.create_domain(LATIN))
        domains = (await topology.load()).domains
        self.assertEqual(
            set(domains), {Domain(first, LATIN), Domain(second, LATIN.upper())}
        )
        await topology.delete_domain(first)
        self.assertEqual(
            (await topology.load()).domains, (Domain(second, LATIN.upper()),)
        )

    async def test_domain_in_use(self) -> None:
        """A domain with files or with classes of its own stays."""
        topology = self.store.topology
        dmid = await topology.create_domain("d")
        classid = await topology.create_class(dmid, "c", 2, None, None)
        await topology.update_class(dmid, 0, "default", 3, None, None)
        await self.fault(errors.DomainHasClasses, topology.delete_domain(dmid))
        await topology.delete_class(dmid, classid)
        await self.stored(dmid, "k")
        await self.fault(errors.DomainHasFiles, topology.delete_domain(dmid))
        await self.store.files.delete(dmid, "k")
        fid = await self.upload(dmid, "open")
        await self.fault(errors.DomainHasFiles, topology.delete_domain(dmid))
        await self.store.files.abandon_upload(fid, ())
        await self.upload(dmid + 1, "elsewhere")
        await topology.delete_domain(dmid)
        loaded = await topology.load()
        self.assertEqual((loaded.domains, loaded.classes), ((), ()))

    async def test_classes(self) -> None:
        """A class is loaded with all that was said of it; an update sets all."""
        topology = self.store.topology
        dmid = await topology.create_domain("d")
        first = await topology.create_class(dmid, "c", 2, "MultipleHosts(3)", 1)
        self.assertGreater(first, 0)
        await self.fault(
            errors.ClassExists, topology.create_class(dmid, "c", 1, None, None)
        )
        second = await topology.create_class(dmid, "d", 1, None, None)
        await topology.update_class(dmid, second, "d", 4, "AllHosts()", 2)
        await topology.update_class(dmid, first, "c", 9, None, None)
        await topology.update_class(dmid, 0, "default", 3, None, 1)
        await topology.update_class(dmid, 0, "default", 5, None, 1)
        self.assertEqual(
            set((await topology.load()).classes),
            {
                StorageClass(dmid, 0, "default", 5, None, 1),
                StorageClass(dmid, first, "c", 9, None, None),
                StorageClass(dmid, second, "d", 4, "AllHosts()", 2),
            },
        )

    async def test_class_in_use(self) -> None:
        """A class with files stays; one without goes."""
        topology = self.store.topology
        dmid = await topology.create_domain("d")
        classid = await topology.create_class(dmid, "c", 2, None, None)
        fid = await self.stored(dmid, "k")
        await self.store.files.set_class(fid, classid)
        await self.fault(errors.ClassHasFiles, topology.delete_class(dmid, classid))
        await self.store.files.set_class(fid, 0)
        upload = await self.upload(dmid, "open", classid=classid)
        await self.fault(errors.ClassHasFiles, topology.delete_class(dmid, classid))
        await self.store.files.abandon_upload(upload, ())
        await self.upload(dmid, "another class's")
        await self.upload(dmid + 1, "another domain's", classid=classid)
        await topology.delete_class(dmid, classid)
        self.assertEqual((await topology.load()).classes, ())

    # --- settings

    async def test_settings(self) -> None:
        """A setting is read at once by anyone, in the topology too."""
        topology = self.store.topology
        other = (await self.another()).topology
        self.assertIsNone(await topology.setting("s"))
        await topology.set_setting("s", LATIN)
        self.assertEqual(await other.setting("s"), LATIN)
        await other.set_setting("s", "2" * 5000)
        self.assertEqual(dict((await topology.load()).settings)["s"], "2" * 5000)
        await topology.set_setting("s", None)
        await topology.set_setting("s", None)
        self.assertIsNone(await other.setting("s"))

    async def test_settings_together(self) -> None:
        """Several settings are written in one go, or none of them."""
        topology = self.store.topology
        await topology.set_setting("old", "1")
        await topology.set_settings({"a": "1", "b": "2", "old": None})
        settings = dict((await topology.load()).settings)
        self.assertEqual((settings["a"], settings["b"]), ("1", "2"))
        self.assertNotIn("old", settings)

    async def test_change_settings(self) -> None:
        """Settings are changed only while the others are as they are thought to be."""
        topology = self.store.topology
        await topology.set_settings({"a": "1", "old": "x"})
        change = topology.change_settings
        for announce in (False, True):
            self.assertFalse(await change({"a": "2"}, {"b": "1"}, announce))
            self.assertFalse(await change({"a": None}, {"b": "1"}, announce))
            self.assertFalse(await change({"no": ""}, {"b": "1"}, announce))
        self.assertTrue(
            await change({"a": "1", "b": None}, {"b": LATIN, "old": None}, False)
        )
        settings = dict((await topology.load()).settings)
        self.assertEqual((settings["a"], settings["b"]), ("1", LATIN))
        self.assertNotIn("old", settings)

    async def test_change_settings_race(self) -> None:
        """Of all who change a setting that is not there yet, one does."""
        other = (await self.another()).topology
        answers = await self.together(
            *(
                one.change_settings({"a": None, "b": None}, {name: str(n)}, True)
                for n in range(4)
                for one, name in ((self.store.topology, "a"), (other, "b"))
            )
        )
        self.assertEqual(answers.count(True), 1)

    async def test_default_setting(self) -> None:
        """The first default stays, and everybody is told what it is."""
        other = (await self.another()).topology
        topology = self.store.topology
        answers = await self.together(
            *(
                one.default_setting("s", str(n))
                for n, one in enumerate((topology, other))
            )
        )
        self.assertEqual(len(set(answers)), 1)
        self.assertEqual(await topology.default_setting("s", "late"), answers[0])
        self.assertEqual(await other.setting("s"), answers[0])


class ColumnsContract(StoreContract):
    """What only real tables can refuse."""

    async def test_values_that_do_not_fit(self) -> None:
        """Every engine refuses alike what a column of MogileFS's cannot hold."""
        topology = self.store.topology
        hostid = await topology.create_host("one", ALIVE)
        dmid = await topology.create_domain("d")
        for call in (
            topology.create_domain("d" * 256),
            topology.create_domain("d\0"),
            topology.create_host("h" * 41, ALIVE | {"ip": "10.0.0.9"}),
            topology.create_host("h", ALIVE | {"ip": "1" * 16}),
            topology.create_host("h", ALIVE | {"ip": "10.0.0.9", "status": "odd"}),
            topology.create_host("h", ALIVE | {"ip": "10.0.0.9", "http_port": 65536}),
            topology.create_host("h", ALIVE | {"hostid": 9}),
            topology.create_device(2**15, hostid, "alive"),
            topology.create_device(1, hostid, "odd"),
            topology.update_host(hostid, {"name": "other"}),
            topology.update_device(1, {"weight": 2**31}),
            topology.update_device(1, {"mb_total": -1}),
            topology.update_device(1, {"devid": 2}),
            topology.create_class(dmid, "c" * 51, 2, None, None),
            topology.create_class(dmid, "c", 40_000, None, None),
            topology.set_setting("s" * 51, "v"),
            topology.set_setting("s", "\0"),
        ):
            await self.fault(errors.ValueRefused, call)
        loaded = await topology.load()
        self.assertEqual((len(loaded.hosts), len(loaded.domains)), (1, 1))
        self.assertEqual((loaded.devices, loaded.classes), ((), ()))

    async def test_numbers_that_are_not_there(self) -> None:
        """A device needs its host, and a class to be updated must be there."""
        topology = self.store.topology
        await self.fault(errors.UnknownHostid, topology.create_device(1, 9, "alive"))
        await self.fault(
            errors.ClassNotFound, topology.update_class(1, 9, "c", 2, None, None)
        )
