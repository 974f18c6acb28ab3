"""``koboldfs demo`` as users run it: real processes, real addresses."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from test.functional.case import FunctionalCase
from test.functional.cluster import environment

#: The whole tour; about 10 s on an idle machine.
TOUR_SECONDS = 90.0
END_SECONDS = 30.0
COMMAND = (sys.executable, "-m", "koboldfs.cli.main", "demo")


def children_of(folder: Path) -> list[str]:
    """The processes whose command line names the folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes()
        except OSError:
            continue
        if os.fsencode(folder) in words and b"--data" in words:
            found.append(path.parent.name)
    return found


class DemoTests(FunctionalCase):
    """The tour, its end, and what is left."""

    def start(self, *words: str) -> Any:
        """Start the demonstration; it is ended with the test."""
        self.temporary = self.temporary_folder()
        process = subprocess.Popen(
            [*COMMAND, *words],
            env={**environment(), "TMPDIR": str(self.temporary)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.addCleanup(self.end, process)
        return process

    def end(self, process: Any) -> None:
        """Whatever happened, it ends; its children end with it."""
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        process.stdout.close()

    def test_once(self) -> None:
        """The whole tour succeeds, says what it did, and leaves nothing behind."""
        process = self.start("--once")
        text, _ = process.communicate(timeout=TOUR_SECONDS)
        self.assertEqual(process.returncode, 0, text)
        for words in (
            "Start three nodes",
            "Store 8 MiB",
            "Kill node2 (kill -9 ",
            "Read tour/big back without node2",
            "it is caught up",
            "nothing of it is left",
        ):
            self.assertIn(words, text)
        for node in ("node1", "node2", "node3"):
            self.assertEqual(text.count(f"{node}/devices/"), 2, text)
        self.assertEqual(text.count("same sha256"), 6, text)
        self.assertNotIn("\x1b", text)
        self.assertEqual(list(self.temporary.iterdir()), [])
        self.assertEqual(children_of(self.temporary), [])

    def test_keep_and_stay(self) -> None:
        """It stays up until it is told to end; the data is kept where that was said,
        and no process is left."""
        folder = self.temporary_folder() / "kept"
        process = self.start("--keep", str(folder))
        lines = []
        deadline = time.monotonic() + TOUR_SECONDS
        for line in process.stdout:
            lines.append(line)
            if "Ctrl-C ends it" in line:
                break
            self.assertLess(time.monotonic(), deadline, lines)
        text = "".join(lines)
        self.assertIn("koboldfs", text)
        self.assertIn("from koboldfs import Client", text)
        self.assertEqual(len(children_of(folder)), 3, text)
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(END_SECONDS), 0)
        self.assertEqual(children_of(folder), [])
        self.assertTrue((folder / "node1" / "koboldfs.db").exists())
        again = subprocess.run(
            [*COMMAND, "--keep", str(folder)],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=END_SECONDS,
        )
        self.assertEqual(again.returncode, 1)
        self.assertIn("not empty", again.stderr)

    def test_killed(self) -> None:
        """Even after SIGKILL, which leaves no time for anything, no node stays."""
        process = self.start()
        deadline = time.monotonic() + END_SECONDS
        while len(children_of(self.temporary)) < 3 and time.monotonic() < deadline:
            time.sleep(0.05)
        process.kill()
        process.wait(END_SECONDS)
        deadline = time.monotonic() + END_SECONDS
        while children_of(self.temporary) and time.monotonic() < deadline:
            time.sleep(0.05)
        self.assertEqual(children_of(self.temporary), [])

    def test_terminated_early(self) -> None:
        """SIGTERM in the middle of the tour ends every process and removes the data."""
        process = self.start()
        deadline = time.monotonic() + END_SECONDS
        while not children_of(self.temporary) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.terminate()
        self.assertEqual(process.wait(END_SECONDS), 128 + signal.SIGTERM)
        self.assertEqual(children_of(self.temporary), [])
        self.assertEqual(list(self.temporary.iterdir()), [])
