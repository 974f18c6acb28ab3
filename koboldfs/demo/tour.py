"""The tour: what it does is real, and what it says was looked up, not assumed.

Every step is bounded by `STEP_SECONDS`; a step that fails ends the tour with exit
status 1, one line that says why, and the end of the log of the process to blame.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from attrs import define, field, frozen

from koboldfs import errors
from koboldfs.demo.nodes import (
    ADDRESSES,
    DOMAIN,
    DemoFailed,
    Node,
    Ports,
    choose_ports,
    stop_all,
)
from koboldfs.demo.screen import Screen
from koboldfs.native_client import Client
from koboldfs.tracker_client import TrackerClient, numbered
from koboldfs.version import __version__

#: No step of the tour may take longer; most take less than two.
STEP_SECONDS = 40.0
#: How often a step looks whether what it waits for has come true.
POLL_SECONDS = 0.05
#: Whether a process has ended is looked at this often while we stay up.
WATCH_SECONDS = 1.0
BIG_BYTES = 8 * 1024 * 1024
BIG_KEY, TEXT_KEY, LATE_KEY = "tour/big", "tour/errors.py", "tour/late"
_HASH_CHUNK_BYTES = 1024 * 1024

T = TypeVar("T")


@frozen
class Copy:
    """One copy of a file, on a disk of this machine. `host` is its node's name."""

    host: str
    devid: int
    path: Path


@define(eq=False)
class Tour:
    """The cluster, how to talk to it, and where to tell."""

    folder: Path
    screen: Screen
    nodes: list[Node] = field(factory=list)
    stored: dict[str, bytes] = field(factory=dict)
    client: Any = None
    tracker: Any = None

    def run(self) -> None:
        """All steps. Raises `DemoFailed`, or what a client raised."""
        ports = choose_ports()
        self.nodes = [
            Node(number, self.folder / f"node{number}", ports) for number in (1, 2, 3)
        ]
        first = ADDRESSES[0]
        self.client = Client(DOMAIN, servers=[f"{first}:{ports.native}"])
        self.tracker = TrackerClient(f"{first}:{ports.tracker}")
        self.screen.say(f"KoboldFS {__version__}: a cluster in one terminal")
        self.screen.say(f"Its data and logs are in {self.folder}", "dim")
        self.screen.say()
        self._start(ports)
        self._store()
        self._look_at_copies(BIG_KEY, 3)
        self._kill()
        self._read_back()
        self._store_meanwhile()
        self._return()
        self._look_at_copies(LATE_KEY, 3)

    # --- the steps

    def _start(self, ports: Ports) -> None:
        with self.screen.step("Start three nodes; all take files") as below:
            for node in self.nodes:
                node.start()
            self.wait("three hosts can be written", lambda: self._writeable() == 3)
            for node in self.nodes:
                doors = f"storage {ports.storage}, side channel {ports.sidechannel}"
                if node.number == 1:
                    doors = f"tracker {ports.tracker}, native {ports.native}, {doors}"
                below.append(f"{node.name}  {node.address}  pid {node.pid}  {doors}")
            if not ports.usual:
                below.append("(free ports: the usual ones are in use on this machine)")

    def _store(self) -> None:
        text = Path(errors.__file__).read_bytes()
        for key, data, what in (
            (BIG_KEY, os.urandom(BIG_BYTES), "8 MiB of random bytes"),
            (TEXT_KEY, text, f"a text of {len(text)} bytes"),
        ):
            with self.screen.step(f"Store {what} as {key}") as below:
                stored = self._put(key, data)
                below.append(f"{_copies_text(stored.copies)} when the answer came")

    def _look_at_copies(self, key: str, count: int) -> None:
        wanted = hashlib.sha256(self.stored[key]).hexdigest()
        with self.screen.step(f"See {key} on {count} hosts, compare bytes") as below:
            copies = self.wait(
                f"{key} has copies on {count} hosts",
                lambda: self._copies_on(key, count),
            )
            for copy in copies:
                size = copy.path.stat().st_size
                if _digest(copy.path) != wanted:
                    raise DemoFailed(f"{copy.path} does not hold the bytes of {key}")
                shown = copy.path.relative_to(self.folder)
                below.append(f"{copy.host}  {shown}  {size} bytes, same sha256")

    def _kill(self) -> None:
        node = self.nodes[1]
        with self.screen.step(f"Kill {node.name} (kill -9 {node.pid})"):
            node.kill()
            if node.running:
                raise DemoFailed(f"{node.name} does not die")

    def _read_back(self) -> None:
        for key in (BIG_KEY, TEXT_KEY):
            with self.screen.step(f"Read {key} back without {self.nodes[1].name}"):
                self._compare(key)

    def _store_meanwhile(self) -> None:
        data = os.urandom(BIG_BYTES // 4)
        away = self.nodes[1].name
        with self.screen.step(f"Store 2 MiB as {LATE_KEY} while it is away") as below:
            self._put(LATE_KEY, data)
            copies = self._copies(LATE_KEY)
            hosts = sorted({copy.host for copy in copies})
            if away in hosts:
                raise DemoFailed(f"a copy is said to be on {away}, which is dead")
            below.append(f"{_copies_text(len(copies))}, on {' and '.join(hosts)}")
            self._compare(LATE_KEY)

    def _return(self) -> None:
        node = self.nodes[1]
        with self.screen.step(f"Start {node.name} again; it is caught up") as below:
            node.start()
            self.wait(
                f"{LATE_KEY} has come to {node.name}",
                lambda: self._copies_on(LATE_KEY, 3),
            )
            below.append(f"{node.name}  {node.address}  pid {node.pid}")

    # --- what the steps are made of

    def _put(self, key: str, data: bytes) -> Any:
        self.stored[key] = data
        return self.client.put_stat(key, io.BytesIO(data))

    def _compare(self, key: str) -> None:
        output = io.BytesIO()
        if not self.client.get(key, output):
            raise DemoFailed(f"{key} is not found")
        if output.getvalue() != self.stored[key]:
            raise DemoFailed(f"{key} came back with other bytes")

    def _writeable(self) -> int:
        """How many hosts have a device that takes files."""
        rows = numbered(self.tracker.ask("get_devices"), "dev", "devices")
        return len(
            {r.get("hostid") for r in rows if r.get("observed_state") == "writeable"}
        )

    def _copies_on(self, key: str, count: int) -> Sequence[Copy]:
        """The copies, once they are on that many hosts and on disk."""
        copies = self._copies(key)
        there = all(copy.path.exists() for copy in copies)
        return copies if there and len({c.host for c in copies}) >= count else ()

    def _copies(self, key: str) -> list[Copy]:
        """Where the tracker says that the copies are."""
        fields = self.tracker.ask("file_debug", {"domain": DOMAIN, "key": key})
        found = []
        for text in filter(None, fields.get("devids", "").split(",")):
            address, _, path = (
                fields[f"devpath_{text}"].removeprefix("http://").partition("/")
            )
            node = self.nodes[ADDRESSES.index(address.partition(":")[0])]
            found.append(Copy(node.name, int(text), node.docroot / path))
        return sorted(found, key=lambda copy: copy.host)

    def wait(self, what: str, look: Callable[[], T]) -> T:
        """Look until there is something. Raises `DemoFailed` when a process ends, or
        after `STEP_SECONDS`."""
        deadline = time.monotonic() + STEP_SECONDS
        last = ""
        while True:
            with contextlib.ExitStack() as stack:
                stack.enter_context(contextlib.suppress(KeyError, ValueError))
                try:
                    found = look()
                except errors.KoboldError as error:
                    last = f" ({error.message})"
                else:
                    if found:
                        return found
            for node in self.nodes:
                if node.process is not None and not node.running:
                    raise DemoFailed(
                        f"{node.name} ended by itself with exit status "
                        f"{node.process.returncode}"
                    )
            if time.monotonic() > deadline:
                raise DemoFailed(f"not within {STEP_SECONDS:.0f} s: {what}{last}")
            # Nothing else runs in this process that could be held up.
            time.sleep(POLL_SECONDS)

    # --- the end

    def blame(self) -> Node | None:
        """The node whose log tells most: one that ended, else the tracker."""
        started = [node for node in self.nodes if node.process is not None]
        ended = [
            node
            for node in started
            if not node.running
            and node.process is not None
            and node.process.returncode != -signal.SIGKILL
        ]
        return next(iter([*ended, *started]), None)

    def explain(self) -> None:
        """Show the end of the log of the node to blame."""
        node = self.blame()
        if node is not None:
            self.screen.say(f"The end of the log of {node.name}:")
            self.screen.say(node.tail(), "dim")

    def invite(self) -> None:
        """How to talk to the cluster."""
        ports = self.nodes[0].ports
        first = ADDRESSES[0]
        native, tracker = f"{first}:{ports.native}", f"{first}:{ports.tracker}"
        servers = "" if ports.usual else f" --servers {native}"
        trackers = "" if ports.usual else f" --trackers {tracker}"
        say, command = self.screen.say, self.screen.command
        self.screen.title("The cluster is yours. In another terminal:")
        programs = Path(sys.executable).parent
        if shutil.which("koboldfs") is None and (programs / "koboldfs").exists():
            command(f"export PATH={shlex.quote(str(programs))}:$PATH")
        command(f"koboldfs{servers} --domain {DOMAIN} put /etc/hostname some/key")
        command(f"koboldfs{servers} --domain {DOMAIN} get some/key -")
        command(f"koboldfs{servers} --domain {DOMAIN} ls --long")
        command(f"koboldfs{trackers} status")
        say("from Python:")
        command("from koboldfs import Client")
        command(f"client = Client({DOMAIN!r}, servers=[{native!r}])")
        command("client.put('some/key', '/etc/hostname')")
        say("or with any client of MogileFS:")
        command(f"tracker {tracker}, domain {DOMAIN}")
        say("Kill a node, as often as you like, and start it again:")
        node = self.nodes[2]
        command(f"kill -9 {node.pid}")
        command(f"twistd -n --pidfile= koboldfs {shlex.join(node.options())}")

    def stay(self) -> NoReturn:
        """Until Ctrl-C. A node that ends is told of, and the others go on."""
        gone: set[int] = set()
        while True:
            for node in self.nodes:
                if not node.running and node.pid not in gone:
                    gone.add(node.pid)
                    self.screen.say(f"{node.name} (pid {node.pid}) has ended.")
            # A process of its own that does nothing else: Ctrl-C ends the sleep, too.
            time.sleep(WATCH_SECONDS)

    def close(self) -> None:
        """End every process and connection."""
        for one in (self.client, self.tracker):
            if one is not None:
                with contextlib.suppress(OSError, errors.KoboldError):
                    one.close()
        stop_all(self.nodes)


def _copies_text(count: int) -> str:
    return "1 copy" if count == 1 else f"{count} copies"


def _digest(path: Path) -> str:
    """The sha256 of a file, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_HASH_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def run(*, once: bool = False, keep: str | None = None) -> int:
    """The command ``koboldfs demo``; returns its exit status.

    Raises what made the tour fail, after the end of the log of the process to blame
    was shown: `DemoFailed` or another `KoboldError`, `ClientError`, `OSError`.
    """
    screen = Screen()
    with _one_signal() as enough, _folder(keep) as folder:
        tour = Tour(folder, screen)
        try:
            try:
                tour.run()
                if not once:
                    with contextlib.suppress(KeyboardInterrupt):
                        tour.invite()
                        screen.title("Ctrl-C ends it.")
                        tour.stay()
            except Exception:
                tour.explain()
                raise
            finally:
                enough()
        finally:
            tour.close()
    where = f"its data is in {folder}" if keep else "nothing of it is left"
    screen.say(f"The cluster has ended; {where}.")
    return 0


@contextlib.contextmanager
def _folder(keep: str | None) -> Iterator[Path]:
    """Where the data goes: a temporary folder, or one to keep, new or empty."""
    if keep is not None:
        folder = Path(keep).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise errors.ConfigError(f"--keep: {keep!r} is not empty: give a new one")
        yield folder
        return
    folder = Path(tempfile.mkdtemp(prefix="koboldfs-demo-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _one_signal() -> Iterator[Callable[[], None]]:
    """Only the first signal to end is raised, as an exception; the others would disturb
    the end that it began (a terminal that is closed sends several).

    Yields what begins the end without a signal: from then on none is raised.
    """
    kinds = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {kind: signal.getsignal(kind) for kind in kinds}
    ending = False

    def end(number: int, frame: object) -> None:
        nonlocal ending
        if ending:
            return
        ending = True
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + number)

    def enough() -> None:
        nonlocal ending
        ending = True

    for kind in kinds:  # in the background of a script, SIGINT is ignored before
        signal.signal(kind, end)
    try:
        yield enough
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
