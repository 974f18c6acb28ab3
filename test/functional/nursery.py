"""Starts processes of ours in a tenth of the time: a fork in place of an import.

    python -m test.functional.nursery      (started by `Nursery`, not by hand)

A service takes a second of work to import what it needs. The nursery imports that once
and then forks: what comes out is a process of its own, with its own reactor, which is
killed as any other and ends with the same exit status. It reads one JSON object a line:
what `_become` takes starts a process and is answered with its pid; ``ended``, the pid
of a process that has ended, is answered with how (as `subprocess.Popen.returncode`).
When its input ends, it ends, and the kernel kills its children with it.

With ``points``, the name of a folder, the process dies at the crash point that a file
there names: see `test.torture.crash_points`. With ``constants``, numbers of the product
have other values in the process: ``MODULE:NAME`` below koboldfs, each one that is
looked up when it is used. So a test need not wait for what the product does twice a
minute.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from attrs import define, field

ROOT = Path(__file__).resolve().parent.parent.parent

_PR_SET_PDEATHSIG = 1
NONE: Mapping[str, float] = MappingProxyType({})
#: Imported before the first fork; none of them may install a reactor.
MODULES = (
    "twisted.scripts.twistd",
    "twisted.internet.epollreactor",
    "twisted.application.app",
    "twisted.plugins.koboldfs_plugin",
    "koboldfs.tap",
    "koboldfs.assembly",
    "koboldfs.store.open",
    "koboldfs.store.mysql",
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
    _nursery: Nursery
    returncode: int | None = None
    _fd: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        # Nobody else has the pid before the nursery was asked how it ended.
        self._fd = os.pidfd_open(self.pid)

    def poll(self) -> int | None:
        """None while it lives."""
        if self.returncode is None and self._ended(0):
            os.close(self._fd)
            self.returncode = self._nursery.how_ended(self.pid)
        return self.returncode

    def _ended(self, seconds: float | None) -> bool:
        return bool(select.select([self._fd], [], [], seconds)[0])

    def wait(self, timeout: float | None = None) -> int:
        """Until it has ended; raises subprocess.TimeoutExpired."""
        if self.poll() is None and not self._ended(timeout):
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
        status = self.poll()
        assert status is not None
        return status

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

    def __init__(self, environment: dict[str, str], *before: str) -> None:
        """`environment` is that of all that it starts; `before` are words of the
        command line before its own."""
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [*before, sys.executable, "-m", "test.functional.nursery"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def start(
        self,
        argv: list[str],
        cwd: Path,
        output: Path,
        points: Path | None = None,
        constants: Mapping[str, float] = NONE,
    ) -> Born:
        """A process that does what ``twistd ARGV`` does, in folder `cwd`."""
        wanted = {
            "argv": argv,
            "cwd": str(cwd),
            "output": str(output),
            "points": str(points or ""),
            "constants": dict(constants),
        }
        return Born(self._ask(wanted), self)

    def how_ended(self, pid: int) -> int:
        """Of one that has ended, once: its exit status, or minus the signal."""
        return self._ask({"ended": pid})

    def _ask(self, wanted: dict[str, Any]) -> int:
        with self._lock:
            assert self._process.stdin and self._process.stdout
            self._process.stdin.write(json.dumps(wanted).encode() + b"\n")
            self._process.stdin.flush()
            return int(self._process.stdout.readline())

    def close(self) -> None:
        """End it, and with it what it started."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()


def main() -> None:
    """Fork for every process that is wanted."""
    _import_all()
    assert "twisted.internet.reactor" not in sys.modules
    libc = ctypes.CDLL(None)
    me = os.getpid()
    # What is there already need not be copied only to be looked through for garbage.
    gc.collect()
    gc.freeze()
    for line in sys.stdin.buffer:
        wanted = json.loads(line)
        if "ended" in wanted:
            _tell(os.waitstatus_to_exitcode(os.waitpid(wanted["ended"], 0)[1]))
            continue
        pid = os.fork()
        if pid:
            _tell(pid)
            continue
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != me:
            os._exit(1)
        _become(**wanted)
        return


def _import_all() -> None:
    for name in MODULES:
        __import__(name)
    from twisted.application.service import IServiceMaker
    from twisted.plugin import getPlugins

    from koboldfs.store.statements import statements_for

    # What is made once in a process.
    list(getPlugins(IServiceMaker))
    for dialect in ("postgresql", "sqlite", "mysql"):
        statements_for(dialect)


def _tell(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def _become(
    argv: list[str], cwd: str, output: str, points: str, constants: dict[str, float]
) -> None:
    """The child: what `twistd` does, until that ends."""
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
    for where, value in constants.items():
        module, _, name = where.partition(":")
        owner = sys.modules[f"koboldfs.{module}"]
        assert isinstance(getattr(owner, name), float | int), where
        setattr(owner, name, value)
    from twisted.scripts.twistd import run

    run()


if __name__ == "__main__":
    main()
