"""Tests of koboldfs.cli.main: help, and the rim for errors."""

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
from test.unit.cli.case import ClientTrouble, CommandCase


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

    def test_summaries(self) -> None:
        """The list of commands is readable: no summary is cut off."""
        summaries = self.done("--help").stdout.partition("Commands:")[2]
        self.assertIn("put ", summaries)
        self.assertNotIn("...", summaries)

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
        said = self.fail_with(ClientTrouble("no server answers"), 1)
        self.assertEqual(said, "koboldfs: no server answers\n")

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

    def process(
        self, *words: str, code: str | None = None, **extra: Any
    ) -> subprocess.CompletedProcess[bytes]:
        """Run the command, or Python code that uses it, to its end."""
        what = ["-m", "koboldfs.cli.main"] if code is None else ["-c", code]
        options: dict[str, Any] = {"stdout": subprocess.PIPE, **extra}
        return subprocess.run(
            [sys.executable, *what, *words],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            stderr=subprocess.PIPE,
            timeout=30,
            **options,
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
        done = self.process(code=code)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertLess(time.monotonic() - began, 10)

    def test_closed_pipe(self) -> None:
        """A reader that has enough is no reason for a word."""
        reader, writer = os.pipe()
        os.close(reader)
        with os.fdopen(writer, "wb") as stdout:
            done = self.process("--help", stdout=stdout)
        self.assertEqual((done.returncode, done.stderr), (1, b""))

    def test_sigterm(self) -> None:
        """SIGTERM unwinds: what was begun is cleaned up, the status is 143."""
        code = (
            "import os, signal, koboldfs.cli.files, koboldfs.cli.main as m\n"
            "def ping(*_):\n"
            "    try: os.kill(os.getpid(), signal.SIGTERM); signal.pause()\n"
            "    finally: print('cleaned')\n"
            "m.command.commands['ping'].callback = ping\n"
            "m.command.main(['ping'])\n"
        )
        done = self.process(code=code)
        self.assertEqual((done.returncode, done.stdout), (143, b"cleaned\n"))

    def test_status(self) -> None:
        """The exit status reaches the shell."""
        self.assertEqual(self.process("nosuch").returncode, 2)
        done = self.process("--trackers", "127.0.0.1:1", "status")
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stderr.count(b"\n"), 1, done.stderr)
