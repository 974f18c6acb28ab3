"""Storing, finding and changing files, on the real city hall."""

from __future__ import annotations

from hashlib import md5, sha256
from typing import Any

from koboldfs import errors
from koboldfs.errors import DatabaseAway
from koboldfs.model.entities import MD5, Checksum, Place
from koboldfs.model.view import View
from test.unit.tracker.exchange import ExchangeCase


class Instead:
    """An object with some of its methods replaced."""

    def __init__(self, whole: object, **instead: object) -> None:
        self.__dict__.update(instead)
        self._whole = whole

    def __getattr__(self, name: str) -> Any:
        return getattr(self._whole, name)


#: Commands whose first check is their domain, each with what else they need.
DOMAIN_COMMANDS = """create_open create_close get_paths delete rename updateclass
list_keys file_info file_debug""".split()


class Order(ExchangeCase):
    """Which error comes first."""

    def test_domain_first(self) -> None:
        """Whatever else is wrong, the domain is."""
        for command in DOMAIN_COMMANDS:
            self.assert_errors(
                {
                    command: "no_domain",
                    f"{command} domain=&key=k": "no_domain",
                    f"{command} domain=D1": "unreg_domain",
                    f"{command} domain=nodomain&limit=-1&class=x": "unreg_domain",
                }
            )

    def test_keys(self) -> None:
        """No key, then no such file."""
        for command in ("get_paths", "delete", "file_info", "file_debug"):
            self.assert_errors(
                {
                    f"{command} domain=d1": "no_key",
                    f"{command} domain=d1&key=": "no_key",
                    f"{command} domain=d1&key=0": "unknown_key",
                    f"{command} domain=d1&key={'k' * 2000}": "unknown_key",
                }
            )

    def test_create_open(self) -> None:
        """Class, then fid, then devices."""
        self.assert_errors(
            {
                "create_open domain=d1&class=nope&fid=x": "unreg_class",
                "create_open domain=d2&class=c1": "unreg_class",
                "create_open domain=d1&fid=x": "db",
                "create_open domain=d1&fid=-1": "db",
                "create_open domain=d1&fid=9999999999999999999": "db",
                "create_open domain=d1&fid=9223372036854775807": "db",
                "create_open domain=d1&size=999999999999999": "no_devices",
            }
        )

    def test_create_close(self) -> None:
        """fid, devid, path, checksum's form, the path itself, then the upload."""
        path = "http://127.0.0.1:7500/dev1/0/000/000/0000000001.fid"
        whole = f"fid=1&devid=1&path={path}"
        self.assert_errors(
            {
                "create_close domain=d1": "no_fid",
                "create_close domain=d1&fid=0&devid=1": "no_fid",
                "create_close domain=d1&fid=1": "no_devid",
                "create_close domain=d1&fid=1&devid=0": "no_devid",
                "create_close domain=d1&fid=1&devid=1": "no_path",
                "create_close domain=d1&fid=1&devid=1&path=/x&checksum=MD5:00": (
                    "invalid_checksum_format"
                ),
                f"create_close domain=d1&{whole}&checksum=md5:{'0' * 32}": (
                    "invalid_checksum_format"
                ),
                "create_close domain=d1&fid=1&devid=1&path=/x": "bogus_args",
                f"create_close domain=d1&fid=2&devid=1&path={path}": "bogus_args",
                f"create_close domain=d1&fid=1&devid=2&path={path}": "bogus_args",
                f"create_close domain=d1&fid=1&devid=77&path={path}": "bogus_args",
                f"create_close domain=d1&fid=x&devid=1&path={path}": "bogus_args",
                f"create_close domain=d1&fid=1&devid=y&path={path}": "bogus_args",
                f"create_close domain=d1&{whole}&key=k&size=12x": "bogus_args",
                f"create_close domain=d1&{whole}&key=k": "no_temp_file",
            }
        )

    def test_rename(self) -> None:
        """Either key missing, then the old one unknown, then the new one taken."""
        self.city.store("a", b"1")
        self.city.store("b", b"2")
        self.assert_errors(
            {
                "rename domain=d1": "no_key",
                "rename domain=d1&from_key=a": "no_key",
                "rename domain=d1&to_key=a": "no_key",
                "rename domain=d1&from_key=x&to_key=b": "unknown_key",
                "rename domain=d1&from_key=a&to_key=b": "key_exists",
            }
        )
        self.city.database.failing["rename"] = [errors.ValueRefused()]
        self.assert_errors({"rename domain=d1&from_key=a&to_key=c": "failure"})

    def test_updateclass(self) -> None:
        """Key, class, class's existence, the file's, then its copies."""
        fid = self.city.store("a", b"1")
        self.assert_errors(
            {
                "updateclass domain=d1": "no_key",
                "updateclass domain=d1&key=x": "no_class",
                "updateclass domain=d1&key=x&class=nope": "class_not_found",
                "updateclass domain=d1&key=x&class=c1": "invalid_key",
            }
        )
        self.city.database.copies[fid] = ()
        self.assert_errors({"updateclass domain=d1&key=a&class=c1": "no_devices"})

    def test_database_away(self) -> None:
        """A database that is away is an answer, and the next request works."""
        self.city.database.failing["find"] = [DatabaseAway("host db.example refused")]
        self.assert_replies(
            {
                "get_paths domain=d1&key=a": (
                    "ERR db Database+error:+not+reachable,+try+again"
                ),
                "get_paths domain=d1&key=a&x=1": "ERR unknown_key unknown_key",
            }
        )


class Open(ExchangeCase):
    """Where an upload may go."""

    def test_one(self) -> None:
        """fid, devid and the URL for PUT, in this order."""
        reply = self.city.say("create_open domain=d1&key=k")
        self.assertRegex(
            reply,
            r"^OK fid=1&devid=(\d)&path=http://127\.0\.0\.\d:7500"
            r"/dev\1/0/000/000/0000000001\.fid$",
        )

    def test_several(self) -> None:
        """Three devices, on three hosts."""
        for _ in range(20):
            fields = self.city.done("create_open domain=d1&multi_dest=1&fid=0")
            self.assertEqual(fields["dev_count"], "3")
            devids = [int(fields[f"devid_{index}"]) for index in (1, 2, 3)]
            self.assertEqual(len({(devid + 1) // 2 for devid in devids}), 3)
            for index, devid in enumerate(devids, 1):
                self.assertIn(f"/dev{devid}/", fields[f"path_{index}"])

    def test_several_on_one_host(self) -> None:
        """With one host left the form stays that of several."""
        for host in (2, 3):
            self.city.done(f"update_host host=host{host}&status=down")
        fields = self.city.done("create_open domain=d1&multi_dest=1")
        self.assertEqual(list(fields), ["fid", "dev_count", "devid_1", "path_1"])

    def test_not_several(self) -> None:
        """``multi_dest=0`` is the plain form."""
        fields = self.city.done("create_open domain=d1&multi_dest=0")
        self.assertEqual(list(fields), ["fid", "devid", "path"])

    def test_profile(self) -> None:
        """Where the time went, in seconds, if the client asks."""
        namespace = self.city.namespace
        real = namespace.open

        async def slow(*arguments: Any, **more: Any) -> Any:
            self.city.clock.advance(0.25)
            return await real(*arguments, **more)

        self.patch(namespace, "open", slow)
        fields = self.city.done("create_open domain=d1&debug_profile=1")
        self.assertEqual(
            list(fields.items())[3:],
            [
                ("profpoints", "2"),
                ("prof_1_name", "open"),
                ("prof_1_time", "0.250000"),
                ("prof_2_name", "urls"),
                ("prof_2_time", "0.000000"),
            ],
        )

    def test_hosts_gone_meanwhile(self) -> None:
        """If none of the devices is known any more, there is no place to PUT to."""
        database, live = self.city.database, self.city.live
        real = database.open_upload

        async def open_upload(*arguments: Any) -> int:
            live.view = View(domains=live.view.domains)
            return await real(*arguments)

        files: Any = Instead(database, open_upload=open_upload)
        self.city.namespace.files = files
        self.assert_errors({"create_open domain=d1": "no_devices"})

    def test_fid(self) -> None:
        """A chosen fid is given once."""
        self.assertEqual(self.city.done("create_open domain=d1&fid=500")["fid"], "500")
        self.assert_errors({"create_open domain=d1&fid=500": "fid_in_use"})

    def test_class(self) -> None:
        """``default`` may be named; the class of the opening is the file's."""
        self.city.done("create_open domain=d1&key=k&class=default")
        self.city.done("create_open domain=d1&key=k&class=")
        self.city.store("k", b"1", more="&class=c1")
        fields = self.city.done("file_info domain=d1&key=k")
        self.assertEqual(fields["class"], "c1")

    def test_port_and_zone(self) -> None:
        """The URL has the port for PUT, and the address that suits the client."""
        for number in (1, 2, 3):
            self.city.done(
                f"update_host host=host{number}&getport=7600"
                f"&altip=10.0.0.{number}&altmask=10.0.0.0/8"
            )
        line = "create_open domain=d1"
        self.assertIn("path=http://127.0.0.", self.city.say(line))
        self.assertIn("path=http://10.0.0.", self.city.say(f"{line}&zone=alt"))
        self.assertIn("path=http://127.0.0.", self.city.say(f"{line}&zone=ALT"))
        self.assertIn("path=http://10.0.0.", self.city.say(line, ip="10.1.2.3"))
        self.assertIn(":7500/", self.city.say(line))


class Close(ExchangeCase):
    """What makes an upload a file."""

    def setUp(self) -> None:
        super().setUp()
        self.opened = self.city.done("create_open domain=d1&key=k&class=md5c")
        self.fid = int(self.opened["fid"])
        self.close = "create_close domain=d1&" + "&".join(
            f"{name}={value}" for name, value in self.opened.items()
        )

    def put(self, data: bytes) -> None:
        """The client's PUT."""
        place = self.city.live.view.place(int(self.opened["devid"]))
        assert isinstance(place, Place)
        self.city.nodes.put(place, self.fid, data)

    def test_close(self) -> None:
        """The file is there, and closing it again is fine."""
        self.put(b"hello")
        line = f"{self.close}&key=k&size=5"
        self.assert_replies({line: "OK "})
        self.assert_replies({f"{line}&again=1": "OK "})
        fields = self.city.done("file_info domain=d1&key=k")
        self.assertEqual((fields["length"], fields["class"]), ("5", "md5c"))

    def test_size_not_said(self) -> None:
        """Missing, empty, 0 and negative sizes are not compared."""
        for size in ("", "&size=", "&size=0", "&size=-1"):
            self.setUp()
            self.put(b"hello")
            self.assert_replies({f"{self.close}&key=k{size}": "OK "})

    def test_wrong_size(self) -> None:
        """Another size than said: the upload is gone, with both sizes told."""
        self.put(b"hello")
        self.assert_replies(
            {
                f"{self.close}&key=k&size=6": (
                    "ERR size_mismatch Expected:+6%3B+actual:+5%3B+path:+"
                    + self.opened["path"]
                ),
                f"{self.close}&key=k&size=5": (
                    "ERR no_temp_file No+tempfile+or+file+already+closed"
                ),
            }
        )

    def test_nothing_was_put(self) -> None:
        """A close without a PUT says that the file is missing."""
        reply = self.city.say(f"{self.close}&key=k")
        self.assertIn(
            "ERR size_verify_error Expected:+-1%3B+actual:+0+%28missing", reply
        )

    def test_throw_away(self) -> None:
        """No key: OK, and nothing is left of the upload."""
        self.assert_replies({f"{self.close}&key=": "OK "})
        self.assertEqual(self.city.database.uploads, {})
        self.assert_errors({f"{self.close}&key=k": "no_temp_file"})

    def test_other_device(self) -> None:
        """A device that was not offered is told, with those that were."""
        offered = self.city.database.uploads[self.fid].devids
        other = min(set(range(1, 7)) - set(offered))
        url = self.city.live.view.url(other, self.fid, put=True)
        reply = self.city.say(
            f"create_close domain=d1&fid={self.fid}&devid={other}&path={url}&key=k"
        )
        listed = ",".join(map(str, offered))
        self.assertEqual(
            reply,
            f"ERR invalid_destdev File+uploaded+to+invalid+dest+{other}."
            f"+Valid+devices+were:+{listed}",
        )

    def test_checksum(self) -> None:
        """A right one is kept; hex in any case."""
        self.put(b"hello")
        digest = md5(b"hello").hexdigest()
        self.assert_replies(
            {
                f"{self.close}&key=k&checksum=MD5:{digest.upper()}&checksumverify=1": (
                    "OK "
                )
            }
        )
        fields = self.city.done("file_info domain=d1&key=k")
        self.assertEqual(fields["checksum"], f"MD5:{digest}")

    def test_wrong_checksum(self) -> None:
        """With checksumverify the bytes are compared, without it they are not."""
        self.put(b"hello")
        wrong = f"{self.close}&key=k&checksum=SHA-256:{sha256(b'x').hexdigest()}"
        self.assert_errors({f"{wrong}&checksumverify=1": "checksum_mismatch"})
        self.setUp()
        self.put(b"hello")
        wrong = f"{self.close}&key=k&checksum=MD5:{'0' * 32}"
        self.assert_replies({f"{wrong}&checksumverify=0": "OK "})
        self.assertEqual(
            self.city.database.checksums[self.fid], Checksum(MD5, bytes(16))
        )

    def test_other_zone(self) -> None:
        """The path is right in the form for either address of the host."""
        devid = int(self.opened["devid"])
        host = (devid + 1) // 2
        self.city.done(
            f"update_host host=host{host}&altip=10.0.0.{host}&altmask=10.0.0.0/8"
        )
        self.put(b"hello")
        alt = self.opened["path"].replace("127.0.0.", "10.0.0.")
        line = f"create_close domain=d1&fid={self.fid}&devid={devid}&key=k&path="
        self.assert_replies(
            {f"{line}{alt}": "OK ", f"{line}{self.opened['path']}": "OK "}
        )


class Change(ExchangeCase):
    """get_paths, delete, rename, updateclass."""

    def test_paths(self) -> None:
        """Two paths, or as many as asked for; below two counts as two."""
        fid = self.city.store("k", b"1")
        self.city.database.copies[fid] = (1, 2, 3, 4, 5, 6)
        for more, count in (
            ("", 2),
            ("&pathcount=1", 2),
            ("&pathcount=x", 2),
            ("&pathcount=-5", 2),
            ("&pathcount=3x", 3),
            ("&pathcount=99", 6),
        ):
            fields = self.city.done(f"get_paths domain=d1&key=k&noverify=1{more}")
            self.assertEqual(fields["paths"], str(count), more)
            names = ["paths", *(f"path{index}" for index in range(1, count + 1))]
            self.assertEqual(list(fields), names)

    def test_verify(self) -> None:
        """A node is asked unless noverify is true; ``0`` is not."""
        self.city.store("k", b"1")
        for more, asked in (
            ("", True),
            ("&noverify=", True),
            ("&noverify=0", True),
            ("&noverify=1", False),
            ("&noverify=false", False),
        ):
            self.city.nodes.calls.clear()
            self.city.done(f"get_paths domain=d1&key=k{more}")
            stats = [call for call in self.city.nodes.calls if call[0] == "stat"]
            self.assertEqual(bool(stats), asked, more)

    def test_no_copies(self) -> None:
        """A file without copies is no error."""
        fid = self.city.store("k", b"1")
        self.city.database.copies[fid] = ()
        self.assert_replies({"get_paths domain=d1&key=k": "OK paths=0"})

    def test_get_port(self) -> None:
        """Readers are sent to the port for reading, and the zone that suits."""
        fid = self.city.store("k", b"1")
        self.city.database.copies[fid] = (1,)
        self.city.done("update_host host=host1&getport=7600&altip=10.9.9.9")
        self.city.done("update_host host=host1&altmask=10.0.0.0/8")
        path = "/dev1/0/000/000/0000000001.fid"
        line = "get_paths domain=d1&key=k&noverify=1"
        self.assert_replies(
            {
                line: f"OK paths=1&path1=http://127.0.0.1:7600{path}",
                f"{line}&zone=alt": f"OK paths=1&path1=http://10.9.9.9:7600{path}",
            }
        )

    def test_bytes(self) -> None:
        """A key is bytes: escaped or raw, it is the same file, here and listed."""
        self.city.store("caf%C3%A9+%26%3D", b"1")
        self.city.done("get_paths domain=d1&key=caf\xc3\xa9%20%26%3d")
        self.assert_replies(
            {
                "list_keys domain=d1": (
                    "OK key_count=1&key_1=caf%C3%A9+%26%3D&next_after=caf%C3%A9+%26%3D"
                )
            }
        )

    def test_delete(self) -> None:
        """Gone at once."""
        self.city.store("k", b"1")
        self.assert_replies({"delete domain=d1&key=k": "OK "})
        self.assert_errors({"delete domain=d1&key=k": "unknown_key"})

    def test_rename(self) -> None:
        """Another key, the same fid; onto itself is fine."""
        fid = self.city.store("k", b"1")
        self.assert_replies(
            {
                "rename domain=d1&from_key=k&to_key=l": "OK ",
                "rename domain=d1&from_key=l&to_key=l": "OK ",
            }
        )
        fields = self.city.done("file_info domain=d1&key=l")
        self.assertEqual(fields["fid"], str(fid))

    def test_updateclass(self) -> None:
        """To a class and back to the default one."""
        self.city.store("k", b"1")
        for name in ("c1", "default"):
            self.assert_replies({f"updateclass domain=d1&key=k&class={name}": "OK "})
            fields = self.city.done("file_info domain=d1&key=k")
            self.assertEqual(fields["class"], name)


class Promised(ExchangeCase):
    """What a close says of the copies that were promised."""

    def test_short(self) -> None:
        """Nothing while there are as many as promised, else how many there are."""
        city = self.city
        city.done("set_server_setting key=kobold_ack_copies&value=2")
        self.assertEqual(self.close("a"), {})
        city.nodes.unreachable = {2, 3}
        city.look()
        self.assertEqual(self.close("b"), {"copies": "1", "promised": "2"})
        connection, transport = city.connect()
        connection.dataReceived(b"!stats\r\n")
        self.assertIn(b"\r\nstored_short 1\r\n", transport.value())

    def close(self, key: str) -> dict[str, str]:
        """The fields of the reply to the close of an upload of that key."""
        opened = self.city.done(f"create_open domain=d1&key={key}")
        fid, devid = int(opened["fid"]), int(opened["devid"])
        place = self.city.live.view.place(devid)
        assert place is not None
        self.city.nodes.put(place, fid, b"data")
        return self.city.done(
            f"create_close domain=d1&key={key}&fid={fid}&devid={devid}"
            f"&path={opened['path']}"
        )
