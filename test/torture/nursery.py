"""Starts processes of ours in a tenth of the time, and ends them at random points.

    python -m test.torture.nursery      (started by `Nursery`, not by hand)

A service takes a second to import what it needs. The nursery imports that once and then
forks: what comes out is a process of its own, with its own reactor, which is killed as
any other. It reads one JSON object a line (``argv``, ``cwd``, ``output``, ``points``)
and answers with the pid. When its input ends, it ends, and the kernel kills its
children with it.

With ``points``, the name of a folder, the process dies at the crash point that a file
there names: see `test.torture.crash_points`.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from attrs import define, field

from test.functional.cluster import ROOT, environment

_PR_SET_PDEATHSIG = 1
#: Imported before the first fork; none of them may install a reactor.
MODULES = (
    "twisted.scripts.twistd",
    "twisted.internet.epollreactor",
    "twisted.application.app",
    "twisted.plugins.koboldfs_plugin",
    "koboldfs.tap",
    "koboldfs.assembly",
    "koboldfs.store.postgres",
    "koboldfs.store.sqlite",
    "koboldfs.storage.service",
    "koboldfs.tracker.factory",
    "koboldfs.tracker.native_factory",
)


@define(eq=False)
class Born:
    """A process that the nursery made, with the methods of Popen that are used."""

    pid: int
    returncode: int | None = None
    _fd: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        try:
            self._fd = os.pidfd_open(self.pid)
        except ProcessLookupError:
            self._fd, self.returncode = -1, -1

    def poll(self) -> int | None:
        """None while it lives; how it ended is not known."""
        if self.returncode is None and self._ended(0):
            os.close(self._fd)
            self.returncode = -1
        return self.returncode

    def _ended(self, seconds: float | None) -> bool:
        return bool(select.select([self._fd], [], [], seconds)[0])

    def wait(self, timeout: float | None = None) -> int:
        """Until it has ended; raises subprocess.TimeoutExpired."""
        if self.poll() is None and not self._ended(timeout):
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
        return self.poll() or -1

    def send_signal(self, number: int) -> None:
        """Nothing if it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._fd, number)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


class Nursery:
    """The process that forks; to be closed."""

    def __init__(self, *before: str) -> None:
        """`before` are words of the command line before its own."""
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [*before, sys.executable, "-m", "test.torture.nursery"],
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def start(
        self, argv: list[str], cwd: Path, output: Path, points: Path | None = None
    ) -> Born:
        """A process that does what ``twistd ARGV`` does, in folder `cwd`."""
        wanted = {
            "argv": argv,
            "cwd": str(cwd),
            "output": str(output),
            "points": str(points or ""),
        }
        with self._lock:
            assert self._process.stdin and self._process.stdout
            self._process.stdin.write(json.dumps(wanted).encode() + b"\n")
            self._process.stdin.flush()
            return Born(int(self._process.stdout.readline()))

    def close(self) -> None:
        """End it, and with it what it started."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()


_shared: list[Nursery] = []


def shared() -> Nursery:
    """One that all clusters of this process use."""
    if not _shared:
        nursery = Nursery()
        atexit.register(nursery.close)
        _shared.append(nursery)
    return _shared[0]


def main() -> None:
    """Fork for every line of the input."""
    for name in MODULES:
        __import__(name)
    assert "twisted.internet.reactor" not in sys.modules
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    libc = ctypes.CDLL(None)
    me = os.getpid()
    for line in sys.stdin.buffer:
        wanted = json.loads(line)
        pid = os.fork()
        if pid:
            sys.stdout.write(f"{pid}\n")
            sys.stdout.flush()
            continue
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != me:
            os._exit(1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        _become(**wanted)


def _become(argv: list[str], cwd: str, output: str, points: str) -> None:
    """The child: never returns."""
    os.chdir(cwd)
    null = os.open(os.devnull, os.O_RDONLY)
    said = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for source, target in ((null, 0), (said, 1), (said, 2)):
        os.dup2(source, target)
    os.close(null)
    os.close(said)
    sys.argv = ["twistd", *argv]
    time.tzset()
    if points:
        from test.torture import crash_points

        crash_points.install(Path(points))
    from twisted.scripts.twistd import run

    try:
        run()
    finally:
        sys.stdout.flush()
        os._exit(0)


if __name__ == "__main__":
    main()
