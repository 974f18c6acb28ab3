"""The options: what each may be, and the one line for what it may not be."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from koboldfs.config import FLAG, JOBS, LIST, OPTIONS, Config, build, read_file
from koboldfs.errors import ConfigError


class ConfigCase(SynchronousTestCase):
    """Builds configurations from words."""

    def build(self, *, host_name: str = "box", **options: str | list[str]) -> Config:
        """A storage node with these options besides; ``_`` stands for ``-``."""
        given = {"storage": ["yes"]} | {
            name.replace("_", "-"): [text] if isinstance(text, str) else text
            for name, text in options.items()
        }
        return build(given, host_name=host_name)

    def line(self, *, host_name: str = "box", **options: str | list[str]) -> str:
        """The one line that these options end with."""
        error = self.assertRaises(
            ConfigError, self.build, host_name=host_name, **options
        )
        self.assertEqual(len(error.message.splitlines()), 1, error.message)
        return error.message

    def assert_wrong(self, name: str, value: str, right: str) -> None:
        """The line names the option, its value, and what would be right."""
        line = self.line(**{name.replace("-", "_"): value})
        self.assertTrue(line.startswith(f"--{name}: {value!r} will not do: "), line)
        self.assertIn(right, line)

    def file(self, *lines: str, section: str = "[koboldfs]") -> str:
        """The path of an INI file with these lines."""
        path = Path(self.mktemp())
        path.write_text("\n".join([section, *lines, ""]), "utf-8")
        return str(path)


class Defaults(ConfigCase):
    """What is so when nothing is said."""

    def test_all(self) -> None:
        """Every default, as the documentation has it."""
        config = self.build()
        data = Path("koboldfs-data")
        self.assertEqual(
            config,
            Config(
                tracker=False,
                storage=True,
                database="sqlite:///koboldfs-data/koboldfs.db",
                data=data,
                docroot=data / "devices",
                devices=None,
                domains=(),
                host_name="box",
                host_ip="127.0.0.1",
                join=(),
                tracker_listen="tcp:7001",
                native_listen="tcp:9876",
                storage_listen="tcp:7500",
                sidechannel_listen="tcp:7501",
                metrics_listen=None,
                policy=None,
                jobs=frozenset(JOBS),
                fsync=True,
                processes=1,
            ),
        )

    def test_neither(self) -> None:
        """Without a role there is nothing to run, and the line says what to say."""
        error = self.assertRaises(ConfigError, build, {}, host_name="box")
        self.assertEqual(len(error.message.splitlines()), 1)
        self.assertIn("--tracker", error.message)
        self.assertIn("--storage", error.message)

    def test_roles(self) -> None:
        """One role, the other, or both."""
        tracker = build({"tracker": ["yes"]}, host_name="box")
        self.assertEqual((tracker.tracker, tracker.storage), (True, False))
        both = self.build(tracker="yes")
        self.assertEqual((both.tracker, both.storage), (True, True))

    def test_below_data(self) -> None:
        """Database and devices lie below the data folder, unless they are named."""
        config = self.build(data="/srv/k")
        self.assertEqual(config.database, "sqlite:////srv/k/koboldfs.db")
        self.assertEqual(config.docroot, Path("/srv/k/devices"))
        config = self.build(data="/srv/k", docroot="/disks", database="mysql://a/b")
        self.assertEqual(config.database, "mysql://a/b")
        self.assertEqual(config.docroot, Path("/disks"))

    def test_table(self) -> None:
        """Every option of the table has a help text; only flags take no value."""
        for option in OPTIONS:
            self.assertTrue(option.help and option.default, option.name)
            self.assertEqual(option.kind == FLAG, not option.metavar, option.name)


class Values(ConfigCase):
    """What each option may be."""

    def test_given(self) -> None:
        """What is given is what is built."""
        config = self.build(
            host_ip="192.0.2.7",
            tracker_listen="tcp:1",
            native_listen="unix:/x",
            storage_listen="tcp:2",
            sidechannel_listen="tcp:3",
            policy="MultipleHosts(2)",
            processes="64",
            devices="0",
        )
        self.assertEqual(config.host_ip, "192.0.2.7")
        self.assertEqual(config.tracker_listen, "tcp:1")
        self.assertEqual(config.native_listen, "unix:/x")
        self.assertEqual(config.storage_listen, "tcp:2")
        self.assertEqual(config.sidechannel_listen, "tcp:3")
        self.assertEqual(config.policy, "MultipleHosts(2)")
        self.assertEqual((config.processes, config.devices), (64, 0))

    def test_last_one_counts(self) -> None:
        """An option that is given twice is what it was last."""
        self.assertEqual(self.build(devices=["1", "2"]).devices, 2)

    def test_empty(self) -> None:
        """No option may be empty, or blank, or hold a NUL."""
        for name in ("data", "docroot", "policy", "tracker-listen", "jobs", "join"):
            for value in ("", "  ", "a\0b"):
                self.assert_wrong(name, value, "may not be empty")

    def test_numbers(self) -> None:
        """Whole numbers within their bounds."""
        self.assertEqual(self.build(devices="1000").devices, 1000)
        for value in (
            "-1",
            "1001",
            "x",
            "1.5",
            "1e3",
            " 1",
            "+1",
            "9999999999",
            "\xb2",
        ):
            self.assert_wrong("devices", value, "a whole number from 0 to 1000")
        for value in ("0", "65"):
            self.assert_wrong("processes", value, "a whole number from 1 to 64")

    def test_host_name(self) -> None:
        """A name that fits the database's column and a log line."""
        for name in ("a", "store-1", "store_1.example.org", "x" * 40):
            given = {"storage": ["yes"], "host-name": [name]}
            self.assertEqual(build(given, host_name="box").host_name, name)

    def test_host_ip(self) -> None:
        """An IPv4 address in four numbers, as the database's column holds it."""
        for value in ("localhost", "1.2.3", "1.2.3.256", "1.2.3.4.5", "::1", "1.2.3.x"):
            self.assert_wrong("host-ip", value, "192.0.2.7")

    def test_domains(self) -> None:
        """Domains are kept in order, as one character per byte."""
        config = self.build(domain=["demo", "caf\xe9"])
        self.assertEqual(config.domains, ("demo", "caf\xc3\xa9"))
        self.assertEqual(self.build(domain=["\udcff"]).domains, ("\xff",))
        self.assertEqual(self.build(domain=["x" * 255]).domains, ("x" * 255,))

    def test_bad_domains(self) -> None:
        """Domains that MogileFS cannot hold are named, whichever of them it is."""
        for value in ("", "0", "a\0b", "x" * 256, "\xe9" * 128):
            line = self.line(domain=["fine", value, "fine too"])
            self.assertTrue(line.startswith(f"--domain: {value!r} will not do: "), line)
            self.assertIn("1 to 255 bytes", line)

    def test_databases(self) -> None:
        """Databases by URL."""
        for value in (
            "sqlite:///x.db",
            "postgresql://u:p@h1,h2/db?target_session_attrs=read-write",
            "postgres://h/db",
            "mysql://h/db",
        ):
            self.assertEqual(self.build(database=value).database, value)
        for value in ("x.db", "oracle://h/db", "sqlite:", "sqlite://", "://x"):
            self.assert_wrong("database", value, "sqlite:///PATH")

    def test_jobs(self) -> None:
        """All, none, or some by name."""
        self.assertEqual(self.build(jobs="all").jobs, frozenset(JOBS))
        self.assertEqual(self.build(jobs="none").jobs, frozenset())
        found = self.build(jobs="delete, reap,").jobs
        self.assertEqual(found, frozenset(("delete", "reap")))
        for value in ("delet", "delete,nothing", ",", "all,delete", "None"):
            self.assert_wrong("jobs", value, "all, none, or some of replicate, delete")

    def test_join(self) -> None:
        """Trackers by host and port; IPv6 addresses have colons of their own."""
        config = self.build(join="a:7001, 10.0.0.1:7002,::1:1")
        self.assertEqual(config.join, (("a", 7001), ("10.0.0.1", 7002), ("::1", 1)))
        for value in ("a", "a:", ":7001", "a:0", "a:65536", "a:x", "a:1,", "a:-1"):
            self.assert_wrong("join", value, "HOST:PORT, several with commas")

    def test_join_is_for_storage_nodes(self) -> None:
        """A tracker is the cluster: it joins none."""
        line = self.line(tracker="yes", join="a:7001")
        self.assertIn("--join: 'a:7001' will not do", line)
        error = self.assertRaises(
            ConfigError,
            build,
            {"tracker": ["yes"], "join": ["a:1"]},
            host_name="box",
        )
        self.assertIn("without a tracker", error.message)


class MachineName(ConfigCase):
    """The host's name, when the machine gives it."""

    def test_good(self) -> None:
        """The machine's name is this host's."""
        self.assertEqual(
            self.build(host_name="node7.example.org").host_name[:5], "node7"
        )

    def test_bad(self) -> None:
        """A machine's name that will not do says which option helps."""
        for name in ("x" * 41, "a b", "-a", "a-", ""):
            given = {"storage": ["yes"]}
            error = self.assertRaises(ConfigError, build, given, host_name=name)
            self.assertEqual(len(error.message.splitlines()), 1)
            self.assertTrue(error.message.startswith("--host-name: the machine's name"))
            self.assertIn("1 to 40 letters", error.message)

    def test_given(self) -> None:
        """A given name counts, and is held to the same rule."""
        given = {"storage": ["yes"], "host-name": ["store_1"]}
        self.assertEqual(build(given, host_name="?").host_name, "store_1")
        given["host-name"] = ["store 1"]
        error = self.assertRaises(ConfigError, build, given, host_name="box")
        self.assertTrue(
            error.message.startswith("--host-name: 'store 1' will not do: 1 to 40")
        )


class Flags(ConfigCase):
    """Yes and no."""

    def test_words(self) -> None:
        """The words for yes and no, in either case."""
        for word in ("yes", "true", "on", "1", "YES", "True"):
            self.assertTrue(self.build(tracker=word).tracker)
        for word in ("no", "false", "off", "0", "No"):
            self.assertFalse(self.build(tracker=word).tracker)

    def test_other_words(self) -> None:
        """Anything else is neither."""
        self.assert_wrong("tracker", "maybe", "say yes or no")

    def test_fsync(self) -> None:
        """On, unless one of the two options says otherwise."""
        self.assertTrue(self.build(fsync="yes").fsync)
        self.assertFalse(self.build(no_fsync="yes").fsync)
        self.assertFalse(self.build(config=self.file("fsync = no")).fsync)
        self.assertTrue(self.build(config=self.file("no-fsync = no")).fsync)

    def test_contradiction(self) -> None:
        """A file that says both is wrong."""
        for fsync in ("yes", "no"):
            path = self.file(f"fsync = {fsync}", f"no-fsync = {fsync}")
            self.assertIn("contradicts --no-fsync", self.line(config=path))

    def test_last_on_the_command_line(self) -> None:
        """On the command line the later of the two wins, over the file as well."""
        for first, second, wanted in (
            ("fsync", "no-fsync", False),
            ("no-fsync", "fsync", True),
        ):
            path = self.file(f"{second} = no")
            given = {"storage": ["yes"], "config": [path]}
            config = build(given | {first: ["yes"], second: ["yes"]}, host_name="box")
            self.assertEqual(config.fsync, wanted)


class Files(ConfigCase):
    """The INI file."""

    def test_values(self) -> None:
        """The same names as on the command line, with hyphens or underscores."""
        path = self.file(
            "tracker = yes", "host_name = a", "Host-IP = 10.0.0.1", "devices: 3"
        )
        config = self.build(config=path)
        self.assertEqual((config.tracker, config.devices), (True, 3))
        self.assertEqual((config.host_name, config.host_ip), ("a", "10.0.0.1"))

    def test_lists(self) -> None:
        """A list in a file is separated by blanks, commas or lines."""
        path = self.file("domain = a, b", "  c")
        self.assertEqual(self.build(config=path).domains, ("a", "b", "c"))

    def test_command_line_wins(self) -> None:
        """What the command line says replaces what the file says, lists too."""
        path = self.file("devices = 3", "domain = a b", "data = /x", "storage = no")
        config = self.build(config=path, devices="4", domain=["c"])
        self.assertEqual((config.devices, config.domains), (4, ("c",)))
        self.assertEqual(config.data, Path("/x"))
        self.assertTrue(config.storage)

    def test_roles_from_the_file(self) -> None:
        """The roles may be said in the file alone."""
        path = self.file("storage = yes")
        self.assertTrue(build({"config": [path]}, host_name="box").storage)

    def test_percent_sign(self) -> None:
        """A percent sign means itself."""
        path = self.file("database = postgresql://u:p%40x@h/db")
        self.assertEqual(self.build(config=path).database, "postgresql://u:p%40x@h/db")

    def test_wrong_value(self) -> None:
        """A wrong value in the file is told as one on the command line."""
        path = self.file("devices = many")
        self.assertEqual(
            self.line(config=path),
            "--devices: 'many' will not do: give a whole number from 0 to 1000",
        )

    def test_empty_value(self) -> None:
        """A name without a value is wrong, not the default."""
        path = self.file("data =")
        self.assertIn("--data: '' will not do", self.line(config=path))

    def test_not_there(self) -> None:
        """A file that cannot be read."""
        line = self.line(config="/nowhere/at/all.ini")
        self.assertIn("--config: '/nowhere/at/all.ini' cannot be read", line)
        self.assertIn("No such file", line)

    def test_not_an_ini_file(self) -> None:
        """A file of another kind, in one line."""
        path = self.file("no sign here")
        self.assertIn(f"--config: {path!r} is not an INI file", self.line(config=path))
        Path(path).write_bytes(b"[koboldfs]\ndata = \xff\n")
        self.assertIn("is not an INI file", self.line(config=path))
        path = self.file("data = 1", "data = 2")
        self.assertIn("is not an INI file", self.line(config=path))

    def test_no_section(self) -> None:
        """A file without our section."""
        path = self.file("data = x", section="[other]")
        self.assertIn("has no section [koboldfs]", self.line(config=path))

    def test_unknown_option(self) -> None:
        """A name that is no option, or that has no meaning in a file."""
        for name in ("databse", "config"):
            path = self.file(f"{name} = x")
            self.assertIn(f"there is no option {name!r}", self.line(config=path))

    def test_other_sections(self) -> None:
        """Other sections are not ours to judge."""
        path = self.file("devices = 2", "[other]", "anything = x")
        self.assertEqual(read_file(path), {"devices": ["2"]})

    def test_all_options(self) -> None:
        """Every option but the file itself can be said in the file."""
        for option in OPTIONS:
            if option.name != "config":
                found = read_file(self.file(f"{option.name} = 1"))
                self.assertEqual(found, {option.name: ["1"]})
                self.assertEqual(option.kind == LIST, option.name == "domain")
