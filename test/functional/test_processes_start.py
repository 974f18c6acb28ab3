"""How several processes start, in the foreground and in the background, and how not."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from test.functional.case import FunctionalCase
from test.functional.cluster import (
    DOMAIN,
    TWISTD,
    Ports,
    devices,
    environment,
    wait_until,
)
from test.functional.processes import (
    READY_SECONDS,
    connect,
    lives,
    process_of,
    wait_ready,
)
from test.functional.tracker_line import TrackerLine

#: From SIGTERM to the end of a program in the background.
END_SECONDS = 12.0
BOTH = ("--tracker", "--storage")


def listening(ports: Ports, address: str = "127.0.0.1") -> list[str]:
    """Options that keep a test's ports apart from others'."""
    return [
        f"--{door}-listen=tcp:{getattr(ports, door)}:interface={address}"
        for door in ("tracker", "native", "storage", "sidechannel")
    ]


class Refusals(FunctionalCase):
    """What cannot work ends with status 1 and one line, however many processes."""

    def test_number(self) -> None:
        """A number of processes that is none."""
        for value in ("0", "-1", "many", "65"):
            self.refused(
                *BOTH, f"--processes={value}", names=("--processes", value, "1 to 64")
            )

    def test_ports(self) -> None:
        """Ports that cannot be shared, are none, or are taken: seen by the parent."""
        ports = Ports.free(["127.0.0.1"])
        two = (*BOTH, "--processes=2", *listening(ports))
        for wrong in (
            "--tracker-listen=ssl:7001",
            "--tracker-listen=pigeon:1",
            "--storage-listen=tcp:x",
        ):
            self.refused(*two, wrong, names=tuple(wrong.split("=")))
        with socket.create_server(("127.0.0.1", ports.native)):
            self.refused(*two, names=("--native-listen", str(ports.native), "in use"))

    def test_seen_by_the_child(self) -> None:
        """What the first process refuses ends the program."""
        two = (*BOTH, "--processes=2", *listening(Ports.free(["127.0.0.1"])))
        self.refused(*two, "--policy=Everywhere()", names=("--policy", "Everywhere()"))
        folder = self.temporary_folder()
        (folder / "no.db").write_bytes(b"this is no database" * 1000)
        url = f"sqlite:///{folder / 'no.db'}"
        self.refused(*two, f"--database={url}", names=("--database", "no.db"))


class Background(FunctionalCase):
    """Without ``-n``."""

    def background(self, *arguments: str) -> tuple[int, str, Path]:
        """Start; returns the exit status of what was typed, what it said on stderr,
        and the folder."""
        folder = self.temporary_folder()
        ended = subprocess.run(
            [sys.executable, *TWISTD, "koboldfs", *arguments],
            cwd=folder,
            env=environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=READY_SECONDS,
        )
        self.addCleanup(self.end, folder)
        return ended.returncode, ended.stderr, folder

    def pid(self, folder: Path) -> int:
        """Of the program in the background."""
        return int((folder / "twistd.pid").read_text())

    def end(self, folder: Path) -> None:
        """End it, if it runs and is the one that was started here."""
        with contextlib.suppress(OSError, ValueError):
            pid = self.pid(folder)
            if os.readlink(f"/proc/{pid}/cwd") == str(folder):
                os.kill(pid, signal.SIGTERM)

    def test_runs(self) -> None:
        """There is one pid file, of the parent, and one log, with what each process
        says under its number; SIGTERM to the one in the pid file ends all."""
        ports = Ports.free(["127.0.0.1"])
        status, said, folder = self.background(
            *BOTH, "--processes=2", f"--domain={DOMAIN}", *listening(ports)
        )
        self.assertEqual((status, said), (0, ""))
        log = folder / "twistd.log"
        wait_until(
            lambda: "ready: 2 processes" in log.read_text(), READY_SECONDS, "ready"
        )
        pid = self.pid(folder)
        children = [
            int(word)
            for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        ]
        self.assertEqual(len(children), 2)
        with TrackerLine("127.0.0.1", ports.tracker) as line:
            wait_until(
                lambda: (
                    [one["observed_state"] for one in devices(line)] == ["writeable"]
                ),
                READY_SECONDS,
                "a writeable device",
            )
            line.store(DOMAIN, "key", b"content")
            self.assertEqual(line.fetch(DOMAIN, "key"), b"content")
        text = log.read_text()
        for number in (1, 2):
            self.assertIn(f"process {number}: host", text)
        self.assertNotIn("Traceback", text)
        began = time.monotonic()
        self.end(folder)
        wait_until(
            lambda: not any(map(lives, [pid, *children])), END_SECONDS, "the end of all"
        )
        self.assertLess(time.monotonic() - began, END_SECONDS)
        self.assertFalse((folder / "twistd.pid").exists())
        self.assertIn("Server Shut Down", log.read_text())

    def test_refused(self) -> None:
        """What can be seen at once is told to who typed it, with status 1, and no pid
        file stays."""
        ports = Ports.free(["127.0.0.1"])
        for number in ("1", "2"):
            wrong = (
                ("--policy=Everywhere()", "--policy")
                if number == "1"
                else ("--storage-listen=tcp:x", "--storage-listen")
            )
            status, said, folder = self.background(
                *BOTH, f"--processes={number}", *listening(ports), wrong[0]
            )
            self.assertEqual(status, 1, said)
            self.assertIn(wrong[1], said)
            pid_file = folder / "twistd.pid"
            wait_until(lambda path=pid_file: not path.exists(), 5.0, "no pid file")


class UnixSockets(FunctionalCase):
    """A door need not be TCP."""

    is_quick = False

    def test_shared(self) -> None:
        """The tracker's door is a socket in the file system, and two serve it."""
        cluster = self.cluster(1, "--processes=2")
        node = cluster.nodes[0]
        wait_ready(node)
        self.assertEqual(node.stop(), -signal.SIGTERM)
        path = cluster.folder / "door"
        node.arguments.append(f"--native-listen=unix:{path}")
        node.start()
        wait_ready(node, 2)
        with socket.socket(socket.AF_UNIX) as door:
            door.settimeout(10)
            door.connect(str(path))
            door.sendall(b"\0")
            with connect(node) as connection:
                self.assertIn(process_of(connection), (1, 2))
        node.stop()
        self.assertFalse(path.exists())
