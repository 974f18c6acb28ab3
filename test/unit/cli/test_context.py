"""Tests of koboldfs.cli.context: the options that all commands share."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

from koboldfs.cli.main import command
from test.unit.cli.case import CommandCase


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
            import_module("koboldfs.native_client"),
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
