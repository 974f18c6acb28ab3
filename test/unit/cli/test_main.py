"""Tests of koboldfs.cli.main and context: options, help, and the rim for errors."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import Any

import click
from twisted.trial.unittest import SynchronousTestCase

import koboldfs
from koboldfs.cli.main import command
from koboldfs.errors import ConfigError
from test.unit.cli.case import CommandCase


def all_commands(group: Any = command, name: str = "koboldfs") -> Any:
    """Every command with its full name."""
    yield name, group
    for word, one in getattr(group, "commands", {}).items():
        yield from all_commands(one, f"{name} {word}")


class HelpTests(CommandCase):
    """What is written about the command."""

    def test_everything_has_help(self) -> None:
        """Every command and every option says what it is for."""
        for name, one in all_commands():
            self.assertTrue(one.help, name)
            for parameter in one.params:
                if isinstance(parameter, click.Option):
                    self.assertTrue(parameter.help, f"{name} {parameter.name}")

    def test_help_of_all(self) -> None:
        """``--help`` works everywhere."""
        for name, _ in all_commands():
            result = self.done(*name.split()[1:], "--help")
            self.assertIn(f"Usage: {name}", result.stdout)

    def test_the_names_of_the_contract(self) -> None:
        """The commands that scripts rely on are there."""
        names = {name.removeprefix("koboldfs ") for name, _ in all_commands()}
        wanted = set("put get ls rm mv stat url ping status demo".split())
        wanted |= set("fsck rebalance admin".split())
        for group in ("host", "device", "domain", "class", "settings"):
            wanted.add(f"admin {group} list")
        self.assertLessEqual(wanted, names)

    def test_version(self) -> None:
        """``--version`` is the package's."""
        result = self.done("--version")
        self.assertEqual(result.stdout, f"koboldfs {koboldfs.__version__}\n")


class OptionTests(CommandCase):
    """The options that all commands share."""

    def test_before_and_after(self) -> None:
        """They may stand before the command and after it; the later one wins."""
        self.done("--domain", "a", "ls", "--domain", "b")
        self.assertEqual(self.context.domain, "b")
        self.done("--servers", "h:1,i", "--timeout", "3", "ls", "--domain", "b")
        self.assertEqual(self.context.servers, ("h:1", "i:9876"))
        self.assertEqual(self.context.timeout_seconds, 3)

    def test_environment(self) -> None:
        """They come from the environment too; the command line wins."""
        self.environment["KOBOLDFS_DOMAIN"] = "env"
        self.environment["KOBOLDFS_SERVERS"] = "e:5"
        self.environment["KOBOLDFS_TRACKERS"] = "t:6,u"
        self.done("ls")
        self.assertEqual(self.context.domain, "env")
        self.assertEqual(self.context.servers, ("e:5",))
        self.assertEqual(self.context.trackers, ("t:6", "u:7001"))
        self.done("ls", "--domain", "x")
        self.assertEqual(self.context.domain, "x")

    def test_defaults(self) -> None:
        """Without any it is this machine."""
        self.done("ls", "--domain", "x")
        self.assertEqual(self.context.servers, ("127.0.0.1:9876",))
        self.assertEqual(self.context.trackers, ("127.0.0.1:7001",))

    def test_bad(self) -> None:
        """A server that is none, an unknown option or command: 2, and what is right."""
        result = self.done("--servers", "h:x", "ping", status=2)
        self.assertIn("h:x", result.stderr)
        self.done("--timeout", "0", "ping", status=2)
        self.done("ls", "--nosuch", status=2)
        self.done("nosuch", status=2)
        self.done("get", status=2)

    def test_bare(self) -> None:
        """No command at all: the help, and exit status 2."""
        self.assertEqual(self.run_raw().exit_code, 2)

    def test_client(self) -> None:
        """The real context makes a client of the domain's bytes, the servers and the
        timeout."""
        made: list[Any] = []
        self.patch(
            sys.modules["koboldfs.native_client"],
            "Client",
            lambda *arguments: made.append(arguments),
        )
        context = self.run_context("--domain", os.fsdecode(b"\xff"), "--servers", "h")
        context.client()
        context.timeout_seconds = 2.0
        context.pinger("i:2")
        self.assertEqual(made, [(b"\xff", ("h:9876",)), (b"\xff", ("i:2",), 2.0)])
        self.assertEqual(context.tracker().timeout_seconds, 2.0)

    def run_context(self, *words: str) -> Any:
        """A real context with these options."""
        with command.make_context("koboldfs", [*words, "ping"]) as ctx:
            return ctx.obj


class RimTests(CommandCase):
    """Whatever happens is one line and the right status."""

    def fail_with(self, error: BaseException, status: int) -> str:
        """Have the client raise; what is on stderr."""
        self.client.trouble = error
        return self.files("stat", "k", status=status).stderr

    def test_our_errors(self) -> None:
        """An error of ours is its message."""
        said = self.fail_with(ConfigError("that will\nnot do"), 1)
        self.assertEqual(said, "koboldfs: that will not do\n")

    def test_system_errors(self) -> None:
        """An error of the system is its reason, with the file's name if it has one."""
        said = self.fail_with(PermissionError(13, "Permission denied", "/x"), 1)
        self.assertEqual(said, "koboldfs: /x: Permission denied\n")
        said = self.fail_with(TimeoutError(), 1)
        self.assertEqual(said, "koboldfs: TimeoutError\n")

    def test_defects(self) -> None:
        """A defect is named as one, in one line; control characters are escaped."""
        said = self.fail_with(RuntimeError("a\x1b[31mb\nc"), 1)
        self.assertEqual(said, "koboldfs: a defect: RuntimeError: a\\x1b[31mb c\n")

    def test_interrupt(self) -> None:
        """Ctrl-C is quiet."""
        self.assertEqual(self.fail_with(KeyboardInterrupt(), 130).strip(), "")


class ProcessTests(SynchronousTestCase):
    """The command as a process of its own; each ends within seconds."""

    def process(self, *words: str, **extra: Any) -> subprocess.CompletedProcess[bytes]:
        """Run it to its end."""
        return subprocess.run(
            [sys.executable, "-m", "koboldfs.cli.main", *words],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            capture_output=True,
            timeout=30,
            **extra,
        )

    def test_help_is_light(self) -> None:
        """``--help`` loads none of Twisted, rich, attrs and the client."""
        code = (
            "import sys, koboldfs.cli.main as m\n"
            "try: m.command.main(['--help'])\n"
            "except SystemExit: pass\n"
            "heavy = {'twisted', 'rich', 'attr', 'koboldfs.native_client'}\n"
            "found = heavy & set(sys.modules)\n"
            "sys.exit(str(found) if found else 0)"
        )
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            capture_output=True,
            timeout=30,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertLess(time.monotonic() - began, 10)

    def test_closed_pipe(self) -> None:
        """A reader that has enough is no reason for a word."""
        reader, writer = os.pipe()
        os.close(reader)
        with os.fdopen(writer, "wb") as stdout:
            done = subprocess.run(
                [sys.executable, "-m", "koboldfs.cli.main", "--help"],
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                },
                stdout=stdout,
                stderr=subprocess.PIPE,
                timeout=30,
            )
        self.assertEqual((done.returncode, done.stderr), (1, b""))

    def test_status(self) -> None:
        """The exit status reaches the shell."""
        self.assertEqual(self.process("nosuch").returncode, 2)
        done = self.process("--trackers", "127.0.0.1:1", "status")
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stderr.count(b"\n"), 1, done.stderr)
