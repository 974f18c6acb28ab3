"""Runs the whole suite and says, truthfully, how many tests passed.

    python -W error -m test.run [--coverage] [NAME ...]

A NAME is what trial takes (``test.unit.wire``); without one, everything under ``test``
runs, in three child processes (`test.child`), each in a process group of its own; they
take one module after the other (`test.rounds`). A child writes down every test that
begins and ends, and that journal alone is what gets counted: a test that began and
never ended has failed, and so has a child that ended badly for no test's sake, and a
module that no child took.

The last line is ``N passed, N failed, N skipped``; the exit status is 0 only if nothing
failed and something ran.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from attrs import define, field, frozen

from test import rounds

ROOT = Path(__file__).resolve().parent.parent

#: The whole run; the suite takes half of it on two cores.
WHOLE_RUN_SECONDS = 1500.0
#: One test; the longest one starts several clusters and takes about 70 s.
ONE_TEST_SECONDS = 180.0
#: Between a request for stack traces and the end of a child that hangs.
LAST_WORDS_SECONDS = 2.0
POLL_SECONDS = 0.1
SLOWEST_SHOWN = 10

#: What each child that takes modules is told, see `rounds.ORDER`.
SHARING = ("--front", "--front", "--back")


@frozen
class Ending:
    """How a test ended: ``passed``, ``failed`` or ``skipped``, and after how long."""

    outcome: str
    seconds: float
    reason: str = ""


@define
class Journal:
    """What a child has written so far; a test's worst outcome counts."""

    path: Path
    endings: dict[str, Ending] = field(factory=dict)
    running: dict[str, float] = field(factory=dict)
    done: bool = False
    _read_bytes: int = 0

    def read(self) -> None:
        """Take in the lines that were written since the last time."""
        with contextlib.suppress(FileNotFoundError), self.path.open("rb") as stream:
            stream.seek(self._read_bytes)
            for line in stream:
                if not line.endswith(b"\n"):
                    break
                self._read_bytes += len(line)
                self._take(json.loads(line))

    def _take(self, entry: dict[str, object]) -> None:
        name = str(entry["test"])
        if entry["event"] == "done":
            self.done = True
            return
        if entry["event"] == "begins":
            self.running[name] = time.monotonic()
            return
        seconds = time.monotonic() - self.running.pop(name, time.monotonic())
        seconds = float(str(entry.get("seconds", seconds)))
        ending = Ending(str(entry["event"]), seconds, str(entry.get("reason", "")))
        known = self.endings.get(name)
        if known is None or known.outcome != "failed":
            self.endings[name] = ending

    def fail_unfinished(self, why: str) -> None:
        """Count what began and did not end as failed."""
        for name in self.running:
            self.endings[name] = Ending("failed", 0.0, why)
        self.running.clear()


@define
class Child:
    """A process that runs some of the tests."""

    label: str
    process: subprocess.Popen[bytes]
    journal: Journal
    output: Path

    @property
    def name(self) -> str:
        """For the report."""
        return f"the process {self.label}"

    def stuck(self) -> str | None:
        """The test that takes too long, if any."""
        now = time.monotonic()
        for name, began in self.journal.running.items():
            if now - began > ONE_TEST_SECONDS:
                return name
        return None

    def end(self, why: str) -> None:
        """Ask for stack traces, then end the child and all that it started."""
        self._signal(signal.SIGUSR1)
        time.sleep(LAST_WORDS_SECONDS)
        self._signal(signal.SIGKILL)
        self.process.wait()
        self.journal.read()
        self.journal.fail_unfinished(why)
        self.journal.endings[self.name] = Ending("failed", 0.0, why)

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            if number == signal.SIGKILL:
                os.killpg(self.process.pid, number)
            else:
                os.kill(self.process.pid, number)

    def close(self) -> None:
        """Take the last entries, after the process has ended by itself."""
        self.journal.read()
        status = self.process.returncode
        self.journal.fail_unfinished(f"its process ended with status {status}")
        outcomes = {ending.outcome for ending in self.journal.endings.values()}
        if not self.journal.done or (status != 0 and "failed" not in outcomes):
            self.journal.endings[self.name] = Ending(
                "failed", 0.0, f"exit status {status}"
            )
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)


def shares(names: list[str], modules: Path) -> list[list[str]]:
    """What each child is told to run; `modules` is the folder that they share."""
    if names:
        return [names]
    rounds.lay_out(rounds.modules(), modules)
    return [[side, str(modules)] for side in SHARING]


def start(names: list[str], scratch: Path, coverage: bool, part: str) -> Child:
    """Begin to run `names` in a process of their own; `part` is which of how many."""
    label = part.partition("/")[0]
    journal = scratch / f"{label}.journal"
    output = scratch / f"{label}.output"
    tool = ["-m", "coverage", "run"] if coverage else []
    command = [sys.executable, "-W", "error", *tool, "-m", "test.child"]
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    with output.open("wb") as stream:
        process = subprocess.Popen(
            [*command, str(journal), str(scratch / f"_trial_{label}"), *names],
            cwd=ROOT,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(paths),
                "KOBOLDFS_TEST_PART": part,
            },
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return Child(part, process, Journal(journal), output)


def watch(children: list[Child], began: float) -> None:
    """Wait for the children; end those that take too long."""
    open_ones = list(children)
    while open_ones:
        time.sleep(POLL_SECONDS)
        for child in list(open_ones):
            child.journal.read()
            stuck = child.stuck()
            if child.process.poll() is not None:
                child.close()
            elif stuck is not None:
                child.end(f"{stuck} took longer than {ONE_TEST_SECONDS:.0f} s")
            elif time.monotonic() - began > WHOLE_RUN_SECONDS:
                child.end(f"the run took longer than {WHOLE_RUN_SECONDS:.0f} s")
            else:
                continue
            open_ones.remove(child)
            sys.stdout.write(child.output.read_text("utf-8", "replace"))
            sys.stdout.flush()


def report(endings: dict[str, Ending], seconds: float) -> int:
    """Print what happened, the summary last; returns the exit status."""
    by_outcome: dict[str, list[str]] = {"passed": [], "failed": [], "skipped": []}
    for name, ending in endings.items():
        by_outcome[ending.outcome].append(name)
    slowest = sorted(endings.items(), key=lambda item: -item[1].seconds)
    print(f"\nslowest of {len(endings)} tests, in {seconds:.0f} s:")
    for name, ending in slowest[:SLOWEST_SHOWN]:
        print(f"  {ending.seconds:6.2f} s  {name}")
    reasons = sorted({endings[name].reason for name in by_outcome["skipped"]})
    for reason in reasons:
        print(f"skipped: {reason}")
    for name in sorted(by_outcome["failed"]):
        print(f"failed: {name} {endings[name].reason}".rstrip())
    if not endings:
        print("failed: no test ran")
    passed, skipped = len(by_outcome["passed"]), len(by_outcome["skipped"])
    failed = len(by_outcome["failed"]) or (0 if endings else 1)
    print(f"{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return 1 if failed else 0


def main(arguments: list[str]) -> int:
    """Run what was asked for; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m test.run")
    parser.add_argument("--coverage", action="store_true", help="measure coverage")
    parser.add_argument("names", nargs="*", metavar="NAME", help="what to run")
    options = parser.parse_args(arguments)
    scratch = Path(tempfile.mkdtemp(prefix="koboldfs-test-"))
    began = time.monotonic()
    children: list[Child] = []
    modules = scratch / "modules"
    left: list[str] = []
    try:
        found = shares(options.names, modules)
        for number, names in enumerate(found, 1):
            part = f"{number}/{len(found)}"
            children.append(start(names, scratch, options.coverage, part))
        watch(children, began)
        left = rounds.left(modules) if modules.exists() else []
    finally:
        for child in children:
            if child.process.poll() is None:
                os.killpg(child.process.pid, signal.SIGKILL)
        shutil.rmtree(scratch, ignore_errors=True)
    endings = {name: Ending("failed", 0.0, "nobody ran it") for name in left}
    for child in children:
        endings.update(child.journal.endings)
    return report(endings, time.monotonic() - began)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
