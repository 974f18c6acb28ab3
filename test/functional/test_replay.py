"""What MogileFS's tracker was recorded to answer, and what ours answers."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from test.functional.adopted import MadeOnMaria, MadeOnPostgres
from test.functional.case import FunctionalCase
from test.functional.cluster import ROOT, Cluster, Node, Ports, wait_until
from test.functional.tracker_line import put, remove
from test.functional.transcript import (
    Mismatch,
    Step,
    Transcript,
    compare,
    filled,
    parse_lines,
    read_answer,
    text_fits,
    transcripts,
)

#: An answer, and what is waited for, take no longer.
SECONDS = 30.0
HEADING = "Where the answers differ from MogileFS's"


class Stage:
    """A tracker on an empty database, and three storage nodes of two devices each that
    it knows nothing of yet."""

    def __init__(self, url: str, execute: Any) -> None:
        self.cluster = Cluster(3, url)
        self.execute = execute
        self.url = url
        self.names: dict[str, str] = {}
        self._socket: socket.socket | None = None
        self._lines: Iterator[str] = iter(())
        #: What a watcher was told.
        self._heard: list[str] = []

    def start(self) -> None:
        """Start them all."""
        folder, ports = self.cluster.folder, self.cluster.ports
        tracker = Node(
            9,
            folder / "tracker",
            Ports.free(["127.0.0.9"]),
            [f"--database={self.url}", "--jobs=monitor"],
            is_storage=False,
        )
        for number in (1, 2, 3):
            docroot = folder / f"docroot{number}"
            for devid in (2 * number - 1, 2 * number):
                (docroot / f"dev{devid}").mkdir(parents=True)
            arguments = [f"--docroot={docroot}"]
            home = folder / f"node{number}"
            self.cluster.nodes.append(Node(number, home, ports, arguments, False))
        self.cluster.nodes.append(tracker)
        for node in self.cluster.nodes:
            node.is_quick = True
            node.start()
        self.tracker = tracker
        wait_until(self._connected, SECONDS, "the tracker is there")

    def _connected(self) -> bool:
        self.tracker.must_run()
        self.connect()
        return True

    def connect(self) -> None:
        """Begin a new connection."""
        self.hang_up()
        where = (self.tracker.address, self.tracker.ports.tracker)
        self._socket = socket.create_connection(where, SECONDS)
        self._lines = self._read()

    def hang_up(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _read(self) -> Iterator[str]:
        """Lines that are answers; the others are kept."""
        assert self._socket is not None
        with self._socket.makefile("rb") as stream:
            for line in stream:
                text = line.removesuffix(b"\n").removesuffix(b"\r").decode("latin-1")
                if text.startswith(":: "):
                    self._heard.append(text)
                else:
                    yield text

    def hear(self, expected: str) -> None:
        """Something that a watcher is told, at last while a `noop` is answered."""
        self.do(parse_lines(["> noop", "< OK"])[0])
        if not any(text_fits(expected, text, {}) for text in self._heard):
            raise Mismatch(f"expected {expected}, heard {self._heard}")

    def play(self, transcript: Transcript) -> list[str]:
        """What was not as it should be."""
        wrong: list[str] = []
        for step in transcript.steps:
            try:
                self.do(step)
            except (Mismatch, OSError) as error:
                wrong.append(f"{transcript.path.name}:{step.line_number}: {error}")
        return wrong

    def do(self, step: Step) -> None:
        """One step; raises `Mismatch`."""
        if step.verb == "ask":
            self.ask(step)
        elif step.verb == "until":
            self.patiently(lambda: self.ask(step))
        elif step.verb == "sql":
            statement, _, rows = filled(step.texts[0], self.names).partition(" ->")
            self.patiently(lambda: self.look(statement, rows.strip()))
        elif step.verb == "put":
            path, _, text = step.texts[0].partition(" ")
            put(self.here(filled(path, self.names)), text.encode())
        elif step.verb == "hear":
            self.patiently(lambda: self.hear(step.texts[0]))
        elif step.verb == "remove":
            remove(self.here(filled(step.texts[0], self.names)))
        elif step.verb == "node":
            word, _, number = step.texts[0].partition(" ")
            node = self.cluster.nodes[int(number) - 1]
            node.stop() if word == "stop" else node.start()
        else:
            raise Mismatch(f"there is no {step.verb}")

    def patiently(self, look: Any) -> None:
        """Try until it does not raise `Mismatch`."""
        deadline = time.monotonic() + SECONDS
        while True:
            try:
                return look()
            except Mismatch:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.05)

    def look(self, statement: str, expected: str) -> None:
        """Rows of the database, or a change to them."""
        rows = self.execute(statement)
        if not expected and not rows:
            return
        found = " / ".join("|".join(map(_shown, row)) for row in rows)
        if found != expected:
            raise Mismatch(f"expected {expected}, found {found}")

    def here(self, text: str) -> str:
        """The recorded storage nodes were on port 7500."""
        return re.sub(r"\b7500\b", str(self.cluster.ports.storage), text)

    def recorded(self, text: str) -> str:
        """The other way round."""
        return re.sub(rf"\b{self.cluster.ports.storage}\b", "7500", text)

    def ask(self, step: Step) -> None:
        """Send requests, and compare what comes back."""
        if self._socket is None:
            self.connect()
        assert self._socket is not None
        lines = [self.here(filled(text, self.names)) for text in step.texts]
        self._socket.sendall("".join(f"{line}\r\n" for line in lines).encode())
        pairs = list(zip(step.texts, step.answers, strict=True))
        found = [read_answer(self._lines, request) for request, _ in pairs]
        if found[-1][-1] == "(closed)":
            self.hang_up()
        for (request, answer), lines in zip(pairs, found, strict=True):
            try:
                compare(answer, [self.recorded(line) for line in lines], self.names)
            except Mismatch as mismatch:
                raise Mismatch(f"{request}: {mismatch}") from mismatch

    def stop(self) -> None:
        """End everything."""
        self.hang_up()
        self.cluster.stop()


def _shown(value: Any) -> str:
    return "" if value is None else str(value)


class Replay:
    """On a database of each kind, made by MogileFS."""

    timeout = 120

    def test_replay(self: Any) -> None:
        """Every recorded answer is ours too, but for the named exceptions."""
        self.make_database()
        stage = Stage(self.url, self.execute)
        self.clusters.append(stage.cluster)
        self.addCleanup(stage.stop)
        stage.start()
        wrong = [line for one in transcripts() for line in stage.play(one)]
        if wrong:
            self.fail("\n".join(["other answers", *wrong]))


class OnPostgreSQL(Replay, MadeOnPostgres, FunctionalCase):
    """The database of the recording."""


class OnMariaDB(Replay, MadeOnMaria, FunctionalCase):
    """With keys that are exact."""

    words = "character set latin1 collate latin1_nopad_bin"


class Differences(SynchronousTestCase):
    """What is answered differently, and why."""

    def test_told(self) -> None:
        """The document has an entry for every exception, and no other."""
        text = (ROOT / "doc" / "tracker-protocol").read_text(encoding="utf-8")
        _, _, section = text.partition(f"{HEADING}\n")
        told = re.findall(r"^``([a-z-]+)``$", section, re.MULTILINE)
        used = {name for one in transcripts() for name in one.exceptions()}
        self.assertEqual(sorted(told), sorted(used))

    def test_seen(self) -> None:
        """A difference is one, and an exception has to be different."""
        for recorded, found in (
            ("< OK", "OK"),
            ("< OK a=1", "OK "),
            ("< OK a=1", "OK a=2"),
            ("< OK a=1", "OK a=1&b=2"),
            ("< OK a=1&b=*", "OK a=1"),
            ("< OK a=1", "OK a=1&a=1"),
            ("< ERR a b", "ERR a c"),
            ("< ERR a b\n= name: ERR c *", "ERR a b"),
            ("< ERR a *\n= name: ERR a b", "ERR a b"),
            ("< OK a={what}", "OK a=1"),
        ):
            (step,) = parse_lines(["> noop", *recorded.split("\n")])
            with self.assertRaises(Mismatch, msg=recorded):
                compare(step.answers[0], [found], {})
        (step,) = parse_lines(["> noop", "< OK a=<a>&b=*:9", "+ name"])
        names: dict[str, str] = {}
        compare(step.answers[0], ["OK c=&b=x:9&a=5"], names)
        self.assertEqual(names, {"a": "5"})
