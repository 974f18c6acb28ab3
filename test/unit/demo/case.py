"""The base of the tests of the demonstration."""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from koboldfs.demo import nodes
from koboldfs.demo.nodes import Node, Ports
from koboldfs.demo.screen import Screen

USUAL = Ports(*nodes.USUAL_PORTS)
OTHER = Ports(1, 2, 3, 4)


class DemoCase(SynchronousTestCase):
    """With a folder, and the screen's text in `self.text()`."""

    def setUp(self) -> None:
        """The folder and the screen."""
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = Path(holder.name)
        self.output = io.StringIO()
        self.patch(sys, "stdout", self.output)
        self.screen = Screen()

    def text(self) -> str:
        """What was shown."""
        return self.output.getvalue()

    def node(self, code: str, number: int = 2) -> Node:
        """A node whose process runs that Python code."""

        class Other(Node):
            def command(self) -> list[str]:
                return [sys.executable, "-c", code]

        node = Other(number, self.folder / f"node{number}", USUAL)
        self.addCleanup(node.kill)
        return node
