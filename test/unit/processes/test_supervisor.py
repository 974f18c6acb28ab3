"""The parent, with children that are none."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.internet.error import (
    ProcessDone,
    ProcessExitedAlready,
    ProcessTerminated,
)
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.config import build
from koboldfs.errors import ConfigError
from koboldfs.processes.records import encoded
from koboldfs.processes.supervisor import (
    BEAT_SECONDS,
    FORGIVEN_SECONDS,
    LONGEST_PAUSE_SECONDS,
    LOOP_DEATHS,
    MAX_SILENT_TURNS,
    STOP_SECONDS,
    Supervisor,
)

OPTIONS = {"tracker": ["yes"], "storage": ["yes"], "processes": ["3"]}


class Child:
    """A child's transport: what it was told, and its end."""

    def __init__(self, protocol: Any, arguments: list[str], fds: Any) -> None:
        self.protocol, self.arguments, self.fds = protocol, arguments, fds
        self.pipes = {0: self}
        self.heard = b""
        self.signals: list[str] = []
        self.producer: Any = None
        protocol.makeConnection(self)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """See `IConsumer`."""
        self.producer = producer

    def write(self, data: bytes) -> None:
        """See `ITransport`."""
        self.heard += data

    def signalProcess(self, name: str) -> None:
        """See `IProcessTransport`."""
        self.signals.append(name)
        if not self.protocol.alive:
            raise ProcessExitedAlready

    def records(self) -> list[dict[str, Any]]:
        """What it was told."""
        return [json.loads(line) for line in self.heard.splitlines()]

    def says(self, kind: str, **values: Any) -> None:
        """The child says a record."""
        self.protocol.outReceived(encoded(kind, values))

    def dies(self, number: int = 9) -> None:
        """It is killed."""
        reason = ProcessTerminated(None, number) if number else ProcessDone(0)
        self.protocol.processEnded(Failure(reason))


class Reactor(MemoryReactorClock):
    """Starts children that are none."""

    def __init__(self) -> None:
        super().__init__()
        self.children: list[Child] = []
        self.stopped = 0
        self.refusal: OSError | None = None

    def listenTCP(self, port: int, *arguments: Any, **named: Any) -> Any:
        """See `IReactorTCP`."""
        found: Any = super().listenTCP(port, *arguments, **named)
        found.stopReading = lambda: None
        found.fileno = lambda: 100 + port
        return found

    def spawnProcess(
        self, protocol: Any, executable: str, arguments: list[str], **more: Any
    ) -> None:
        """See `IReactorProcess`."""
        if self.refusal is not None:
            raise self.refusal
        self.children.append(Child(protocol, arguments, more["childFDs"]))

    def stop(self) -> None:
        """See `IReactorCore`."""
        self.stopped += 1


class Parent(SynchronousTestCase):
    """`Supervisor`"""

    def setUp(self) -> None:
        """A parent of three, started."""
        self.reactor = Reactor()
        self.fatal: list[str] = []
        config = evolve(build(OPTIONS, host_name="h"), data=Path("/nowhere"))
        self.parent = Supervisor(config, OPTIONS, self.reactor, self.fatal.append)
        self.addCleanup(os.close, self.parent._turns_fd)
        self.events: list[Any] = []
        globalLogPublisher.addObserver(self.events.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.events.append)
        self.parent.privilegedStartService()
        self.parent.startService()

    @property
    def children(self) -> list[Child]:
        """All that were ever started."""
        return self.reactor.children

    def all_ready(self) -> None:
        """All three have been started and are ready."""
        self.children[0].says("ready")
        for child in self.children[1:]:
            child.says("ready")

    def logged(self, words: str) -> list[Any]:
        """Events whose text has the words."""
        return [
            event
            for event in self.events
            if event.get("log_format")
            and words in event["log_format"].format(**{**event, "pause": 0.0})
        ]

    def test_the_first_alone(self) -> None:
        """The first is started alone, with ports and options; when it is ready, the
        others are; when all are, that is said once with the addresses."""
        (first,) = self.children
        self.assertEqual(
            first.arguments[1:],
            [
                "-m",
                "koboldfs.processes.child",
                "process",
                "1",
                "of",
                "3",
            ],
        )
        begin = first.records()[0]
        self.assertEqual((begin["kind"], begin["number"]), ("begin", 1))
        self.assertEqual(begin["options"], OPTIONS)
        ports = {option: first.fds[fd] for option, fd in begin["ports"].items()}
        self.assertEqual(ports["--tracker-listen"], 7101)
        self.assertEqual(ports["--sidechannel-listen"], 7601)
        self.all_ready()
        self.assertEqual(
            [child.records()[0]["number"] for child in self.children], [1, 2, 3]
        )
        self.assertEqual(len(self.logged("ready: 3 processes")), 1)
        self.all_ready()
        self.assertEqual(len(self.children), 3)

    def test_ports_are_opened_once(self) -> None:
        """However often it is started."""
        self.assertEqual(
            [server[0] for server in self.reactor.tcpServers], [7501, 7500, 7001, 9876]
        )

    def test_wrong_port(self) -> None:
        """A port that cannot be shared is refused before there is any child."""
        wrong = build({**OPTIONS, "native-listen": ["ssl:1"]}, host_name="h")
        parent = Supervisor(wrong, OPTIONS, self.reactor, self.fatal.append)
        self.addCleanup(os.close, parent._turns_fd)
        self.assertRaises(ConfigError, parent.privilegedStartService)

    def test_cannot_start(self) -> None:
        """What keeps a child from its first start is the end of the program; later it
        is only logged."""
        self.children[0].says("ready")
        self.children[1].says("fault", line="--x: no")
        self.assertEqual(self.fatal, ["--x: no"])
        self.children[0].says("fault", line="--y: no")
        self.assertEqual(len(self.fatal), 1)
        self.assertEqual(len(self.logged("--y: no")), 1)

    def test_death(self) -> None:
        """A child that dies is started anew, knows what was told before, and the
        others are left alone."""
        self.all_ready()
        want = {"what": "want", "values": {"job": "fsck", "count": 0}}
        self.children[0].says("tell", **want)
        self.assertEqual(self.children[1].records()[-1], {"kind": "heard", **want})
        self.assertEqual(len(self.children[0].records()), 1, "no echo")
        self.children[2].dies()
        self.assertEqual(len(self.logged("process 3 has ended (SIGKILL)")), 1)
        self.reactor.advance(1)
        begin = self.children[3].records()[0]
        self.assertEqual(begin["number"], 3)
        self.assertEqual(begin["past"], {"want": [{"job": "fsck", "count": 0}]})
        self.assertEqual(len(self.children), 4)

    def test_crash_loop(self) -> None:
        """Whoever dies again and again is started ever more seldom, never not at all;
        that is said; one that lived for a while is forgiven."""
        self.all_ready()
        for _ in range(12):
            self.children[-1].dies()
            before = len(self.children)
            self.reactor.advance(LONGEST_PAUSE_SECONDS / 2 + 1)
            self.reactor.advance(LONGEST_PAUSE_SECONDS / 2)
            self.assertEqual(len(self.children), before + 1)
        self.assertEqual(len(self.logged("again and again")), 12 - LOOP_DEATHS + 1)
        self.children[-1].says("ready")
        self.reactor.advance(FORGIVEN_SECONDS + 1)
        self.children[-1].dies()
        before = len(self.children)
        self.reactor.advance(0.2)
        self.assertEqual(len(self.children), before + 1)

    def test_hangs(self) -> None:
        """A ready child that says nothing for too long is killed; time in which the
        parent had no turns does not count."""
        self.all_ready()
        first, second, third = self.children
        third.dies()
        self.reactor.advance(BEAT_SECONDS * MAX_SILENT_TURNS * 10)
        starting = self.children[3]
        self.reactor.pump([BEAT_SECONDS] * (MAX_SILENT_TURNS - 1))
        second.says("beat")
        self.assertEqual(first.signals, [])
        self.reactor.advance(BEAT_SECONDS)
        self.assertEqual((first.signals, second.signals), (["KILL"], []))
        self.assertEqual(len(self.logged("process 1 hangs")), 1)
        self.assertEqual(starting.signals, [], "its start may take longer")

    def test_no_processes(self) -> None:
        """A system that has no room for a process is asked more and more seldom."""
        self.all_ready()
        self.reactor.refusal = OSError(11, "try again")
        self.children[1].dies()
        for _ in range(1000):
            self.reactor.advance(0.1)
        refused = len(self.logged("cannot be started: try again"))
        self.assertLess(refused, 15)
        self.reactor.refusal = None
        self.reactor.advance(LONGEST_PAUSE_SECONDS)
        self.assertEqual(len(self.children), 4)

    def test_signal_without_a_name(self) -> None:
        """Whatever a child dies of, it is started anew."""
        self.all_ready()
        self.children[1].dies(40)
        self.assertEqual(len(self.logged("process 2 has ended (signal 40)")), 1)
        self.reactor.advance(LONGEST_PAUSE_SECONDS)
        self.assertEqual(len(self.children), 4)

    def test_deaf(self) -> None:
        """A child that does not listen fills no memory; later it hears what still
        matters."""
        self.all_ready()
        self.children[1].producer.pauseProducing()
        heard = len(self.children[1].heard)
        for count in range(5):
            wish = {"job": "fsck", "count": count}
            self.children[0].says("tell", what="want", values=wish)
        self.assertEqual(len(self.children[1].heard), heard)
        self.children[1].producer.resumeProducing()
        record = self.children[1].records()[-1]
        self.assertEqual(record["values"], {"job": "fsck", "count": 4})

    def test_words(self) -> None:
        """Log events keep level and place; what is no record is shown as it is."""
        child = self.children[0]
        child.says("log", level="error", where="koboldfs.there", text="it {burns}")
        (event,) = self.logged("it {burns}")
        self.assertEqual(event["log_level"].name, "error")
        self.assertEqual(event["log_namespace"], "koboldfs.there")
        child.says("log", level="loud", where="-", text="odd level")
        child.protocol.outReceived(b'raw\n{"kind": "tell"}\n')
        child.says("tell", what="nonsense", values={})
        child.protocol.errReceived(b"Fatal Python error\nhal")
        child.dies()
        for words in ("odd level", "raw", '"tell"', "nonsense", "Fatal", "hal"):
            self.assertTrue(self.logged(words), words)

    def test_shutdown(self) -> None:
        """One child may end all."""
        self.children[0].says("shutdown")
        self.reactor.advance(0)
        self.assertEqual(self.reactor.stopped, 1)

    def test_stop(self) -> None:
        """All are asked to end and waited for; who does not is killed. Nobody is
        started any more."""
        self.all_ready()
        self.children[2].dies()
        stopping = self.parent.stopService()
        self.assertEqual([child.signals for child in self.children[:2]], [["TERM"]] * 2)
        self.children[0].dies(0)
        self.assertNoResult(stopping)
        self.reactor.advance(STOP_SECONDS)
        self.assertEqual(self.children[1].signals, ["TERM", "KILL"])
        self.children[1].dies()
        self.successResultOf(stopping)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertEqual(len(self.children), 3)
