"""The name space but for closing: opening, finding, changing."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from koboldfs import errors
from koboldfs.cluster.namespace import MAX_KEY_BYTES
from koboldfs.model.entities import Checksum, Closing, Domain, Removal
from test.fakes.world import DOMAIN, World, WorldCase

LONG = "k" * (MAX_KEY_BYTES + 1)


class NamespaceCase(WorldCase):
    """Three hosts, and a domain."""

    def setUp(self) -> None:
        self.set_up(World.of(3))

    def set_up(self, world: World) -> None:
        """Another world than usual."""
        self.world = world
        self.namespace = world.namespace


class Names(NamespaceCase):
    """Domains and classes by name."""

    def test_domain(self) -> None:
        """A domain by its name; without one, or with a wrong one, errors."""
        self.assertEqual(self.namespace.domain("d"), DOMAIN)
        self.assertRaises(errors.NoDomain, self.namespace.domain, None)
        self.assertRaises(errors.NoDomain, self.namespace.domain, "")
        self.assertRaises(errors.UnknownDomain, self.namespace.domain, "D")

    def test_class(self) -> None:
        """A class by its name; none is the default, which has a name too."""
        self.world.add_class(7, "c")
        self.world.look()
        for name, wanted in ((None, 0), ("", 0), ("default", 0), ("c", 7)):
            self.assertEqual(self.namespace.classid(DOMAIN, name), wanted)
        self.assertRaises(errors.UnknownClass, self.namespace.classid, DOMAIN, "x")
        other = Domain(2, "e")
        self.assertRaises(errors.UnknownClass, self.namespace.classid, other, "c")


class Opening(NamespaceCase):
    """`open`."""

    def open(self, key: str = "k", **changes: Any) -> Any:
        """What a client asks for."""
        words: dict[str, Any] = {
            "class_name": None,
            "fid": None,
            "multiple": False,
            "size": None,
        }
        return self.namespace.open(DOMAIN, key, **(words | changes))

    def test_one_device(self) -> None:
        """A fid and one device, both recorded."""
        offer = self.run_now(self.open())
        upload = self.world.tables.uploads[offer.fid]
        self.assertEqual((upload.key, upload.dmid, upload.classid), ("k", 1, 0))
        self.assertEqual((len(offer.devids), upload.devids), (1, offer.devids))

    def test_several(self) -> None:
        """Up to three devices, of which any may be written."""
        offer = self.run_now(self.open(multiple=True))
        self.assertEqual(set(offer.devids), {10, 20, 30})
        self.assertEqual(self.world.tables.uploads[offer.fid].devids, offer.devids)

    def test_class(self) -> None:
        """The class is recorded; an unknown one is refused."""
        self.world.add_class(7, "c")
        self.world.look()
        offer = self.run_now(self.open(class_name="c"))
        self.assertEqual(self.world.tables.uploads[offer.fid].classid, 7)
        self.fail_now(self.open(class_name="x"), errors.UnknownClass)

    def test_reserved(self) -> None:
        """What the close will copy to is recorded as well, but not offered."""
        self.set_up(World.of(3, kobold_ack_copies="2"))
        offer = self.run_now(self.open())
        devids = self.world.tables.uploads[offer.fid].devids
        self.assertEqual(len(offer.devids), 1)
        self.assertEqual((len(devids), devids[:1]), (2, offer.devids))
        offer = self.run_now(self.open(multiple=True))
        devids = self.world.tables.uploads[offer.fid].devids
        self.assertEqual(set(devids), {10, 20, 30})
        self.assertEqual(len(devids), 3)

    def test_own_fid(self) -> None:
        """A fid may be asked for, once."""
        self.assertEqual(self.run_now(self.open(fid=500)).fid, 500)
        self.fail_now(self.open(fid=500), errors.FidInUse)
        self.assertGreater(self.run_now(self.open()).fid, 500)

    def test_no_devices(self) -> None:
        """Without a device that takes it no fid is used up."""
        self.fail_now(self.open(size=2**60), errors.NoDevices)
        self.world.nodes.unreachable.update((1, 2, 3))
        self.world.look()
        self.fail_now(self.open(), errors.NoDevices)
        self.assertEqual(self.world.tables.uploads, {})

    def test_long_key(self) -> None:
        """A key that no database of ours can hold is refused."""
        self.fail_now(self.open(LONG), errors.ValueRefused)
        self.run_now(self.open(LONG[1:]))

    def test_folders(self) -> None:
        """Foreign nodes are asked to make folders; ours need not be asked."""
        self.world.nodes.foreign.update((1, 3))
        self.world.look()
        offer = self.run_now(self.open(multiple=True))
        prepared = self.world.asked("prepare")
        self.assertEqual(sorted(prepared), [(10, offer.fid), (30, offer.fid)])


class Finding(NamespaceCase):
    """`locate` and lists."""

    def test_locate(self) -> None:
        """A file with its devices, by key."""
        located = self.world.file(5, [10, 20], key="k")
        found = self.run_now(self.namespace.locate(DOMAIN, "k"))
        self.assertEqual((found.file, found.devids), (located.file, (10, 20)))

    def test_not_found(self) -> None:
        """No key, a key that is not there, and one that cannot be."""
        self.fail_now(self.namespace.locate(DOMAIN, ""), errors.NoKey)
        self.fail_now(self.namespace.locate(DOMAIN, "x"), errors.UnknownKey)
        self.fail_now(self.namespace.locate(DOMAIN, LONG), errors.UnknownKey)
        self.world.file(5, [10], key="k")
        other = Domain(2, "e")
        self.fail_now(self.namespace.locate(other, "k"), errors.UnknownKey)

    def test_lists(self) -> None:
        """Keys and files in order, after where the last list ended."""
        for fid, key in ((5, "b"), (6, "a"), (7, "c"), (8, "x")):
            self.world.file(fid, [10], key=key)
        keys = self.run_now(self.namespace.list_keys(DOMAIN, "", "a", 2))
        self.assertEqual(keys, ["b", "c"])
        files = self.run_now(self.namespace.list_files(5, 2))
        self.assertEqual([one.file.fid for one in files], [6, 7])

    def test_class_checksum(self) -> None:
        """The checksum that the class asked for, if there is one."""
        self.world.tables.class_checksums[5] = Checksum(1, bytes(16))
        found = self.run_now(self.namespace.class_checksum(5))
        self.assertEqual(found, Checksum(1, bytes(16)))
        self.assertIsNone(self.run_now(self.namespace.class_checksum(6)))

    def test_read(self) -> None:
        """Bytes flow from a copy."""

        class Sink:
            data = b""

            def registerProducer(self, producer: Any, streaming: bool) -> None: ...

            def unregisterProducer(self) -> None: ...

            def write(self, data: bytes) -> None:
                self.data += data

        located, sink = self.world.file(5, [10], b"0123456789"), Sink()
        self.assertEqual(self.run_now(self.namespace.read(located, 2, 3, sink)), 3)
        self.assertEqual(sink.data, b"234")


class Paths(NamespaceCase):
    """`paths`."""

    def setUp(self) -> None:
        super().setUp()
        self.world.file(5, [10, 20, 30], b"data", key="k")

    def paths(self, *, verify: bool = False, count: int = 9, **words: Any) -> list[int]:
        """The devices of the URLs."""
        words = {"client_ip": "", "alt": False} | words
        found = self.run_now(
            self.namespace.paths(DOMAIN, "k", verify=verify, count=count, **words)
        )
        self.urls = found
        return [int(url.partition("/dev")[2].partition("/")[0]) for url in found]

    def test_all(self) -> None:
        """Every readable copy, up to the count."""
        self.assertEqual(sorted(self.paths()), [10, 20, 30])
        self.assertEqual(len(self.paths(count=2)), 2)
        self.assertEqual(self.world.asked("stat"), [])

    def test_order_varies(self) -> None:
        """Not everybody is sent to the same copy."""
        first = {self.paths()[0] for _ in range(50)}
        self.assertEqual(first, {10, 20, 30})

    def test_unreadable(self) -> None:
        """Copies that cannot be read now are left out, draining ones come last."""
        device = self.world.tables.devices[10]
        self.world.tables.devices[10] = evolve(device, status="drain")
        self.world.nodes.unreachable.add(2)
        self.world.look()
        for _ in range(10):
            self.assertEqual(self.paths(), [30, 10])

    def test_last_resort(self) -> None:
        """If none can be read, the URL of one that cannot is better than nothing."""
        self.world.nodes.unreachable.update((1, 2, 3))
        self.world.look()
        self.assertEqual(self.paths(), [30])
        self.assertEqual(self.paths(verify=True), [30])

    def test_no_copies(self) -> None:
        """A file without copies has no paths, which is no error."""
        self.world.tables.file_on.clear()
        self.assertEqual(self.paths(), [])

    def test_unknown_device(self) -> None:
        """A device that is not in the picture has no URL."""
        self.world.tables.file_on = {(5, 99)}
        self.assertEqual(self.paths(), [])

    def test_verified(self) -> None:
        """The first path given was just seen to hold the whole file."""
        self.world.nodes.lose(self.world.place(10), 5)
        self.world.nodes.put(self.world.place(20), 5, b"dat")
        for _ in range(10):
            self.assertEqual(self.paths(verify=True)[0], 30)

    def test_later_ones_are_not_verified(self) -> None:
        """One question is enough when the first copy is whole."""
        self.assertEqual(len(self.paths(verify=True)), 3)
        self.assertEqual(len(self.world.asked("stat")), 1)

    def test_none_is_whole(self) -> None:
        """Copies that were just seen to be wrong are not given."""
        for devid in (10, 20, 30):
            self.world.nodes.put(self.world.place(devid), 5, b"dat")
        self.assertEqual(self.paths(verify=True), [])

    def test_none_is_whole_but_one_is_away(self) -> None:
        """Then the one that is away is the last resort."""
        for devid in (10, 30):
            self.world.nodes.lose(self.world.place(devid), 5)
        self.world.nodes.unreachable.add(2)
        self.world.look()
        self.assertEqual(self.paths(verify=True), [20])

    def test_host_goes_away(self) -> None:
        """A host that does not answer while verifying is passed over and looked at."""
        suspected: list[int] = []
        self.patch(self.world.live, "suspect", suspected.append)
        self.world.nodes.unreachable.update((1, 2))
        for _ in range(10):
            self.assertEqual(self.paths(verify=True)[0], 30)
        self.assertEqual(set(suspected), {1, 2})

    def test_zone(self) -> None:
        """The client's network and wish decide on the address."""
        host = self.world.tables.hosts[1]
        host = evolve(host, altip="192.168.0.1", altmask="192.168.0.0/16")
        self.world.tables.hosts[1] = host
        self.world.look()
        for words, wanted in (
            ({"alt": True}, True),
            ({"client_ip": "192.168.3.3"}, True),
            ({"client_ip": "10.0.0.9"}, False),
        ):
            self.paths(**words)
            self.assertEqual("http://192.168.0.1:" in "".join(self.urls), wanted)

    def test_errors(self) -> None:
        """As `locate`."""
        for key, kind in (("", errors.NoKey), ("x", errors.UnknownKey)):
            paths = self.namespace.paths(
                DOMAIN, key, verify=False, count=2, client_ip="", alt=False
            )
            self.fail_now(paths, kind)


class Changing(NamespaceCase):
    """`delete`, `rename`, `set_class`, `commit`."""

    def setUp(self) -> None:
        super().setUp()
        self.world.file(5, [10], key="k")

    def test_delete(self) -> None:
        """The key is gone at once, its bytes go later."""
        self.run_now(self.namespace.delete(DOMAIN, "k"))
        self.assertEqual(self.world.tables.files, {})
        self.assertIn(5, self.world.tables.to_delete)
        self.assertEqual(self.world.nodes.devices_with(5), {10})
        self.fail_now(self.namespace.delete(DOMAIN, "k"), errors.UnknownKey)

    def test_delete_nothing(self) -> None:
        """No key, or one that cannot be."""
        self.fail_now(self.namespace.delete(DOMAIN, ""), errors.NoKey)
        self.fail_now(self.namespace.delete(DOMAIN, LONG), errors.UnknownKey)

    def test_rename(self) -> None:
        """The file has another key; the old one is gone."""
        self.run_now(self.namespace.rename(DOMAIN, "k", "n"))
        self.assertEqual(self.world.tables.files[5].key, "n")
        self.fail_now(self.namespace.rename(DOMAIN, "k", "m"), errors.UnknownKey)

    def test_rename_never_overwrites(self) -> None:
        """Onto a key that is there it is refused; onto itself it is no change."""
        self.world.file(6, [10], key="n")
        self.fail_now(self.namespace.rename(DOMAIN, "k", "n"), errors.KeyExists)
        self.run_now(self.namespace.rename(DOMAIN, "k", "k"))
        self.assertEqual(self.world.tables.files[5].key, "k")

    def test_rename_odd_keys(self) -> None:
        """Missing and overlong keys."""
        for old, new, kind in (
            ("", "n", errors.NoKey),
            ("k", "", errors.NoKey),
            ("k", LONG, errors.ValueRefused),
            (LONG, "n", errors.UnknownKey),
        ):
            self.fail_now(self.namespace.rename(DOMAIN, old, new), kind)

    def test_set_class(self) -> None:
        """Another class is recorded, and the file queued for what that one wants."""
        self.world.add_class(7, "c")
        self.world.look()
        self.run_now(self.namespace.set_class(DOMAIN, "k", "c"))
        self.assertEqual(self.world.tables.files[5].classid, 7)
        self.assertIn(5, self.world.tables.to_replicate)

    def test_same_class(self) -> None:
        """The class that it has is no change."""
        self.run_now(self.namespace.set_class(DOMAIN, "k", "default"))
        self.assertEqual(self.world.tables.to_replicate, {})

    def test_set_class_errors(self) -> None:
        """In the order of the protocol."""
        for key, name, kind in (
            ("", "", errors.NoKey),
            ("k", "", errors.NoClass),
            ("x", "x", errors.ClassNotFound),
            ("x", "default", errors.InvalidKey),
        ):
            self.fail_now(self.namespace.set_class(DOMAIN, key, name), kind)
        self.world.tables.file_on.clear()
        setting = self.namespace.set_class(DOMAIN, "k", "default")
        self.fail_now(setting, errors.NoDevices)

    def test_commit(self) -> None:
        """All changes or none."""
        self.world.upload(6, "n", [20])
        closing = Closing(6, 1, "n", 0, 4, (20,))
        self.run_now(self.namespace.commit([Removal(1, "k"), closing]))
        self.assertEqual(set(self.world.tables.files), {6})
        missing = Closing(9, 1, "m", 0, 4, (20,))
        commit = self.namespace.commit([Removal(1, "n"), missing])
        self.fail_now(commit, errors.NoUpload)
        self.assertEqual(set(self.world.tables.files), {6})
