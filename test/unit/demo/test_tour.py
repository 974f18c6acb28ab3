"""Tests of koboldfs.demo.tour without its processes (those: test.functional)."""

from __future__ import annotations

import hashlib
import os
import signal
import tempfile
from pathlib import Path
from typing import Any

from koboldfs.demo import tour
from koboldfs.demo.nodes import DemoFailed, Node
from koboldfs.demo.tour import Tour
from koboldfs.errors import ConfigError, WorldError
from test.unit.demo.case import OTHER, USUAL, DemoCase


class TourTests(DemoCase):
    """The steps that decide something."""

    def setUp(self) -> None:
        """A tour that has nodes, and a tracker that knows one file."""
        super().setUp()
        self.tour = Tour(self.folder, self.screen)
        self.tour.nodes = [Node(n, self.folder / f"node{n}", OTHER) for n in (1, 2, 3)]
        self.places = {"1": 1, "7": 3}
        self.tour.tracker = self
        self.tour.stored["k"] = b"data"
        for devid, number in self.places.items():
            path = self.path(devid, number)
            path.parent.mkdir(parents=True)
            path.write_bytes(b"data")

    def path(self, devid: str, number: int) -> Path:
        """Where a copy lies."""
        return self.folder / f"node{number}" / "devices" / f"dev{devid}" / "1.fid"

    def ask(self, command: str, arguments: Any = None) -> dict[str, str]:
        """As the tracker's client."""
        found = {"devids": ",".join(self.places)}
        for devid, number in self.places.items():
            found[f"devpath_{devid}"] = f"http://127.0.0.{number}:3/dev{devid}/1.fid"
        return found

    def test_copies(self) -> None:
        """Copies are where the tracker says, and count only if they are on disk."""
        found = self.tour._copies("k")
        self.assertEqual(
            [(c.host, c.devid) for c in found], [("node1", 1), ("node3", 7)]
        )
        self.assertEqual(found[1].path, self.path("7", 3))
        self.assertEqual(len(self.tour._copies_on("k", 2)), 2)
        self.assertEqual(self.tour._copies_on("k", 3), ())
        self.path("7", 3).unlink()
        self.assertEqual(self.tour._copies_on("k", 2), ())

    def test_looking(self) -> None:
        """Copies with the right bytes are shown; one with others fails the tour."""
        self.tour._look_at_copies("k", 2)
        self.assertIn("node3/devices/dev7/1.fid  4 bytes, same sha256", self.text())
        self.path("1", 1).write_bytes(b"date")
        error = self.assertRaises(DemoFailed, self.tour._look_at_copies, "k", 2)
        self.assertIn("does not hold the bytes of k", error.message)
        self.assertIn("FAILED", self.text())

    def test_reading_back(self) -> None:
        """Other bytes, or none, fail the tour."""

        class Reader:
            data: bytes | None = b"data"

            def get(self, key: str, output: Any) -> bool:
                output.write(self.data or b"")
                return self.data is not None

        reader = self.tour.client = Reader()
        self.tour._compare("k")
        reader.data = b"dat"
        self.assertRaises(DemoFailed, self.tour._compare, "k")
        reader.data = None
        self.assertRaises(DemoFailed, self.tour._compare, "k")

    def test_waiting(self) -> None:
        """It waits over errors of the world, and ends after its time with the last."""
        answers: list[Any] = [WorldError("no tracker"), KeyError("x"), 0, "there"]

        def look() -> Any:
            answer = answers.pop(0) if answers else WorldError("no tracker")
            if isinstance(answer, Exception):
                raise answer
            return answer

        self.patch(tour, "POLL_SECONDS", 0)
        self.assertEqual(self.tour.wait("it", look), "there")
        self.patch(tour, "STEP_SECONDS", 0)
        error = self.assertRaises(DemoFailed, self.tour.wait, "it", look)
        self.assertIn("it (no tracker)", error.message)

    def test_a_node_that_ends(self) -> None:
        """A node that ends by itself fails the wait at once, and is to blame."""
        node = self.node("print('my last words'); raise SystemExit(7)")
        self.tour.nodes[1] = node
        node.start()
        error = self.assertRaises(DemoFailed, self.tour.wait, "it", lambda: False)
        self.assertIn("node2 ended by itself with exit status 7", error.message)
        self.tour.explain()
        self.assertIn("my last words", self.text())

    def test_nobody_to_blame(self) -> None:
        """A node that the tour itself killed is not to blame."""
        self.tour.explain()
        self.assertEqual(self.text(), "")
        node = self.tour.nodes[1] = self.node("import time; time.sleep(60)")
        node.start()
        node.kill()
        first = self.tour.nodes[0] = self.node("", number=1)
        first.start()
        assert first.process is not None
        first.process.wait(30)
        self.assertIs(self.tour.blame(), first)

    def test_invitation(self) -> None:
        """How to talk to it: with the ports only if they are not the usual ones."""
        self.tour.invite()
        self.assertIn("koboldfs --servers 127.0.0.1:2 --domain demo put", self.text())
        self.assertIn("koboldfs --trackers 127.0.0.1:1 status", self.text())
        for node in self.tour.nodes:
            node.ports = USUAL
        self.output.truncate(0)
        self.tour.invite()
        self.assertNotIn("--servers", self.text())
        self.assertIn("koboldfs status", self.text())

    def test_digest(self) -> None:
        """The sha256 of a file."""
        wanted = hashlib.sha256(b"data").hexdigest()
        self.assertEqual(tour._digest(self.path("1", 1)), wanted)


class RunTests(DemoCase):
    """The command around the tour."""

    def setUp(self) -> None:
        """A temporary folder for temporary folders, and signals as they were."""
        super().setUp()
        self.patch(tempfile, "tempdir", str(self.folder))
        self.before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]

    def tour_that(self, does: Any) -> None:
        """Have the tour do this instead."""
        self.patch(Tour, "run", lambda this: does())

    def same_as_before(self) -> None:
        """Nothing is left: no folder, no signal handler."""
        self.assertEqual(list(self.folder.iterdir()), [])
        now = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
        self.assertEqual(now, self.before)

    def test_once(self) -> None:
        """With `once` it ends after the tour."""
        self.tour_that(lambda: None)
        self.assertEqual(tour.run(once=True), 0)
        self.assertIn("nothing of it is left", self.text())
        self.same_as_before()

    def test_stay(self) -> None:
        """Without, it stays until Ctrl-C, which is a good end."""

        def interrupt(seconds: float) -> None:
            os.kill(os.getpid(), signal.SIGINT)

        def walk(this: Tour) -> None:
            this.nodes = [Node(n, Path("x"), USUAL) for n in (1, 2, 3)]

        self.patch(Tour, "run", walk)
        self.patch(tour.time, "sleep", interrupt)
        self.assertEqual(tour.run(), 0)
        self.assertIn("Ctrl-C ends it", self.text())
        self.same_as_before()

    def test_failure(self) -> None:
        """A failure is passed on, after everything was cleaned up."""

        def fail() -> None:
            raise DemoFailed("no")

        self.tour_that(fail)
        self.assertRaises(DemoFailed, tour.run, once=True)
        self.same_as_before()

    def test_interrupted(self) -> None:
        """Ctrl-C and SIGTERM in the middle of the tour end it, cleanly."""
        for number, kind in (
            (signal.SIGINT, KeyboardInterrupt),
            (signal.SIGTERM, SystemExit),
        ):
            self.tour_that(lambda number=number: os.kill(os.getpid(), number))
            self.assertRaises(kind, tour.run, once=True)
            self.same_as_before()

    def test_many_signals(self) -> None:
        """A terminal that is closed sends several signals; the end is not disturbed."""
        closed = []

        def signals(*_: object) -> None:
            for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
                os.kill(os.getpid(), number)

        def close(this: Tour) -> None:
            signals()
            closed.append(this)

        self.tour_that(signals)
        self.patch(Tour, "close", close)
        error = self.assertRaises(SystemExit, tour.run, once=True)
        self.assertEqual(error.code, 128 + signal.SIGHUP)
        self.assertEqual(len(closed), 1)
        self.tour_that(lambda: None)
        self.assertEqual(tour.run(once=True), 0)
        self.same_as_before()

    def test_screen_gone(self) -> None:
        """A terminal that is gone does not keep the processes from being ended."""
        closed = []

        def fail() -> None:
            raise DemoFailed("no")

        def gone(this: Tour) -> None:
            raise OSError("gone")

        self.tour_that(fail)
        self.patch(Tour, "explain", gone)
        self.patch(Tour, "close", lambda this: closed.append(this))
        self.assertRaises(OSError, tour.run, once=True)
        self.assertEqual(len(closed), 1)

    def test_keep(self) -> None:
        """A folder to keep is made and kept; one that has something is refused."""
        self.tour_that(lambda: None)
        kept = self.folder / "a" / "b"
        self.assertEqual(tour.run(once=True, keep=str(kept)), 0)
        self.assertTrue(kept.is_dir())
        (kept / "file").write_text("x")
        self.assertRaises(ConfigError, tour.run, once=True, keep=str(kept))
        self.assertEqual((kept / "file").read_text(), "x")
