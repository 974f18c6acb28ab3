"""The options of the service: one table of names, and values from texts.

The command line, the INI file (section ``[koboldfs]``) and the documentation all come
from `OPTIONS`. Whatever is wrong is a `ConfigError` of one line that names the option,
the value, and what would be right.
"""

from __future__ import annotations

import configparser
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import frozen

from koboldfs.errors import ConfigError

SECTION = "koboldfs"
JOBS = (
    "replicate",
    "delete",
    "fsck",
    "rebalance",
    "expire",
    "reap",
    "sweep",
    "scrub",
    "monitor",
    "census",
)
MAX_DEVICES = 1000
MAX_PROCESSES = 64
#: Connections that may wait to be accepted at a port, unless an option says another.
BACKLOG = 1024
DATABASE_SCHEMES = ("sqlite", "postgresql", "postgres", "mysql")

FLAG, VALUE, LIST = "flag", "value", "list"


@frozen
class Option:
    """One option: `metavar` is empty for a flag; `default` is what help prints."""

    name: str
    kind: str
    metavar: str
    default: str
    help: str


OPTIONS = (
    Option(
        "tracker",
        FLAG,
        "",
        "off",
        "run the tracker: MogileFS and native protocol, background jobs",
    ),
    Option("storage", FLAG, "", "off", "run the storage node: HTTP and side channel"),
    Option(
        "database",
        VALUE,
        "URL",
        "sqlite:///DATA/koboldfs.db",
        "sqlite:///PATH, postgresql://... or mysql://...",
    ),
    Option(
        "data",
        VALUE,
        "DIR",
        "./koboldfs-data",
        "where this process keeps what it must keep",
    ),
    Option(
        "docroot",
        VALUE,
        "DIR",
        "DATA/devices",
        "the folder that holds dev1/, dev2/, ...",
    ),
    Option(
        "devices",
        VALUE,
        "N",
        "1 on a first start",
        "make sure this node has N devices under its docroot",
    ),
    Option("domain", LIST, "NAME", "none", "make sure this domain exists (repeatable)"),
    Option(
        "host-name",
        VALUE,
        "NAME",
        "the machine's name",
        "this node's name in the cluster",
    ),
    Option(
        "host-ip",
        VALUE,
        "IP",
        "127.0.0.1",
        "the address under which others reach this node",
    ),
    Option(
        "join",
        VALUE,
        "HOST:PORT,...",
        "none",
        "register this host and its devices with these trackers",
    ),
    Option(
        "tracker-listen",
        VALUE,
        "ENDPOINT",
        "tcp:7001",
        "where the MogileFS protocol is served",
    ),
    Option(
        "native-listen",
        VALUE,
        "ENDPOINT",
        "tcp:9876",
        "where the native protocol is served",
    ),
    Option(
        "storage-listen",
        VALUE,
        "ENDPOINT",
        "tcp:7500",
        "where files are served over HTTP",
    ),
    Option(
        "sidechannel-listen",
        VALUE,
        "ENDPOINT",
        "tcp:7501",
        "where the side channel is served",
    ),
    Option(
        "metrics-listen",
        VALUE,
        "ENDPOINT",
        "none",
        "where metrics are served over HTTP, for Prometheus",
    ),
    Option(
        "policy",
        VALUE,
        "POLICY",
        "AllHosts(), or MultipleHosts() on a database of MogileFS",
        "replication policy of files whose class names none; "
        "kept in the database from the first start on",
    ),
    Option(
        "jobs",
        VALUE,
        "LIST",
        "all",
        "background jobs that run here: all, none, or names with commas",
    ),
    Option("fsync", FLAG, "", "on", "a PUT is on stable storage before it is answered"),
    Option(
        "no-fsync",
        FLAG,
        "",
        "off",
        "a PUT may be lost by a power failure after it was answered",
    ),
    Option(
        "processes", VALUE, "N", "1", "that many processes share the ports and the work"
    ),
    Option(
        "config",
        VALUE,
        "FILE",
        "none",
        "INI file with the same names in a section [koboldfs]; the command line wins",
    ),
)


@frozen
class Config:
    """What the service is asked to be. Paths are as given, not yet made."""

    tracker: bool
    storage: bool
    database: str
    data: Path
    docroot: Path
    devices: int | None
    domains: tuple[str, ...]
    host_name: str
    host_ip: str
    join: tuple[tuple[str, int], ...]
    tracker_listen: str
    native_listen: str
    storage_listen: str
    sidechannel_listen: str
    metrics_listen: str | None
    policy: str | None
    jobs: frozenset[str]
    fsync: bool
    processes: int


def with_backlog(endpoint: str) -> str:
    """An endpoint string that lets a crowd in: with Twisted's backlog of 50, who comes
    in a crowd waits a second for the next SYN."""
    if not endpoint.startswith("tcp:") or ":backlog=" in endpoint:
        return endpoint
    return f"{endpoint}:backlog={BACKLOG}"


def read_file(path: str) -> dict[str, list[str]]:
    """The options of an INI file. Raises `ConfigError`."""
    parser = configparser.ConfigParser(interpolation=None)
    try:
        with open(path, encoding="utf-8") as file:
            parser.read_file(file)
    except OSError as error:
        raise ConfigError(
            f"--config: {path!r} cannot be read: {error.strerror}"
        ) from error
    except (configparser.Error, UnicodeDecodeError) as error:
        first = str(error).splitlines()[0]
        raise ConfigError(f"--config: {path!r} is not an INI file: {first}") from error
    if not parser.has_section(SECTION):
        raise ConfigError(f"--config: {path!r} has no section [{SECTION}]")
    known = {option.name: option for option in OPTIONS}
    values: dict[str, list[str]] = {}
    for name, text in parser.items(SECTION):
        option = known.get(name.replace("_", "-"))
        if option is None or option.name == "config":
            raise ConfigError(f"--config: {path!r}: there is no option {name!r}")
        if option.kind == LIST:
            values[option.name] = [word for word in re.split(r"[,\s]+", text) if word]
        else:
            values[option.name] = [text]
    return values


def build(command_line: Mapping[str, Sequence[str]], *, host_name: str) -> Config:
    """The configuration of the texts given on the command line and in its file.

    A flag that was given has the text ``yes``. Raises `ConfigError`.
    """
    return _Reading(merged(command_line)).config(host_name)


def merged(command_line: Mapping[str, Sequence[str]]) -> dict[str, Sequence[str]]:
    """The texts of the command line and of its file, as if all had been given on the
    command line. Raises `ConfigError`."""
    values: dict[str, Sequence[str]] = {}
    if "config" in command_line:
        values.update(read_file(command_line["config"][-1]))
    for name, texts in command_line.items():
        if name == "config":
            continue
        if name in ("fsync", "no-fsync"):
            values.pop("fsync", None)
            values.pop("no-fsync", None)
        values[name] = texts
    return values


class _Reading:
    """Reads texts by option name, and says which option it is when one is wrong."""

    def __init__(self, values: Mapping[str, Sequence[str]]) -> None:
        self._values = values

    def config(self, host_name: str) -> Config:
        tracker, storage = self.flag("tracker"), self.flag("storage")
        if not tracker and not storage:
            raise ConfigError(
                "neither --tracker nor --storage was given: say what to run, "
                "for example: twistd -n koboldfs --tracker --storage --domain demo"
            )
        data = Path(self.text("data", "koboldfs-data"))
        join = self.servers("join")
        if join and (tracker or not storage):
            raise self.wrong("join", "only a storage node without a tracker joins one")
        return Config(
            tracker=tracker,
            storage=storage,
            database=self.database(data),
            data=data,
            docroot=Path(self.text("docroot", str(data / "devices"))),
            devices=self.number("devices", None, 0, MAX_DEVICES),
            domains=tuple(map(self.domain, self._values.get("domain", ()))),
            host_name=self.name(host_name),
            host_ip=self.ip(),
            join=join,
            tracker_listen=self.text("tracker-listen", "tcp:7001"),
            native_listen=self.text("native-listen", "tcp:9876"),
            storage_listen=self.text("storage-listen", "tcp:7500"),
            sidechannel_listen=self.text("sidechannel-listen", "tcp:7501"),
            metrics_listen=self.text("metrics-listen", "") or None,
            policy=self.text("policy", "") or None,
            jobs=self.jobs(),
            fsync=self.fsync(),
            processes=self.number("processes", 1, 1, MAX_PROCESSES) or 1,
        )

    def wrong(self, name: str, right: str) -> ConfigError:
        return ConfigError(f"--{name}: {self._values[name][-1]!r} will not do: {right}")

    def text(self, name: str, default: str) -> str:
        texts = self._values.get(name)
        if not texts:
            return default
        if not texts[-1].strip() or "\0" in texts[-1]:
            raise self.wrong(name, "it may not be empty")
        return texts[-1]

    def flag(self, name: str) -> bool:
        word = self.text(name, "no").lower()
        if word in ("yes", "true", "on", "1"):
            return True
        if word in ("no", "false", "off", "0"):
            return False
        raise self.wrong(name, "say yes or no")

    def fsync(self) -> bool:
        both = "fsync" in self._values and "no-fsync" in self._values
        if both and self.flag("fsync") == self.flag("no-fsync"):
            raise self.wrong("fsync", "it contradicts --no-fsync")
        return not self.flag("no-fsync") and (
            "fsync" not in self._values or self.flag("fsync")
        )

    def number(
        self, name: str, default: int | None, least: int, most: int
    ) -> int | None:
        text = self.text(name, "")
        if not text:
            return default
        if (
            not re.fullmatch("[0-9]{1,9}", text, re.ASCII)
            or not least <= int(text) <= most
        ):
            raise self.wrong(name, f"give a whole number from {least} to {most}")
        return int(text)

    def name(self, default: str) -> str:
        text = self.text("host-name", default)
        if not re.fullmatch(
            r"[A-Za-z0-9]([A-Za-z0-9._-]{0,38}[A-Za-z0-9])?", text, re.ASCII
        ):
            right = "1 to 40 letters, digits, dots, hyphens and underscores"
            if "host-name" not in self._values:
                raise ConfigError(
                    f"--host-name: the machine's name {text!r} will not do: {right}"
                )
            raise self.wrong("host-name", right)
        return text

    def domain(self, text: str) -> str:
        raw = text.encode("utf-8", "surrogateescape")
        if not raw or len(raw) > 255 or b"\0" in raw or raw == b"0":
            raise ConfigError(
                f"--domain: {text!r} will not do: give 1 to 255 bytes, not '0'"
            )
        return raw.decode("latin-1")

    def ip(self) -> str:
        text = self.text("host-ip", "127.0.0.1")
        parts = text.split(".")
        if len(parts) != 4 or not all(
            re.fullmatch("[0-9]{1,3}", part, re.ASCII) and int(part) < 256
            for part in parts
        ):
            raise self.wrong("host-ip", "give an IPv4 address such as 192.0.2.7")
        return text

    def servers(self, name: str) -> tuple[tuple[str, int], ...]:
        text = self.text(name, "")
        servers: list[tuple[str, int]] = []
        for word in text.split(",") if text else ():
            host, _, port = word.strip().rpartition(":")
            if (
                not host
                or not re.fullmatch("[0-9]{1,5}", port, re.ASCII)
                or not 0 < int(port) < 65536
            ):
                raise self.wrong(name, "give HOST:PORT, several with commas")
            servers.append((host, int(port)))
        return tuple(servers)

    def database(self, data: Path) -> str:
        text = self.text("database", f"sqlite:///{data / 'koboldfs.db'}")
        scheme, colon, rest = text.partition("://")
        if not colon or not rest or scheme not in DATABASE_SCHEMES:
            raise self.wrong(
                "database",
                "give sqlite:///PATH, postgresql://USER@HOST/NAME or"
                " mysql://USER@HOST/NAME",
            )
        return text

    def jobs(self) -> frozenset[str]:
        text = self.text("jobs", "all")
        if text == "all":
            return frozenset(JOBS)
        if text == "none":
            return frozenset()
        names = frozenset(word.strip() for word in text.split(",") if word.strip())
        unknown = sorted(names - set(JOBS))
        if unknown or not names:
            raise self.wrong("jobs", f"give all, none, or some of {', '.join(JOBS)}")
        return names
