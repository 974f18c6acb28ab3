"""What the demonstration shows: one line a step, in colour on a terminal."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator

from rich.console import Console
from rich.text import Text

#: Where the time of a step stands (columns); narrower terminals move it.
WIDTH = 78
#: A table or path in a pipe is not folded (columns).
PIPE_COLUMNS = 10_000


class Screen:
    """Writes the tour. The clock of a step runs from `step` to its end."""

    def __init__(self) -> None:
        terminal = sys.stdout.isatty()
        self._console = Console(
            width=None if terminal else PIPE_COLUMNS, highlight=False, soft_wrap=True
        )
        self._number = 0

    def title(self, text: str) -> None:
        """The heading of a part."""
        self._console.print()
        self._console.print(Text(text, style="bold"))

    @contextlib.contextmanager
    def step(self, text: str) -> Iterator[list[str]]:
        """One step of the tour: its line appears when it is done, with its time.

        While it runs a terminal shows that it does. The list that it yields takes lines
        that are shown below it.
        """
        self._number += 1
        number = f"{self._number:>2}  "
        below: list[str] = []
        began = time.monotonic()
        waiting = (
            self._console.status(Text(text))
            if self._console.is_terminal
            else contextlib.nullcontext()
        )
        try:
            with waiting:
                yield below
        except BaseException as error:
            if isinstance(error, Exception):
                self._line(f"{number}{text}", "FAILED", "bold red")
                self._below(below)
            raise
        taken = time.monotonic() - began
        self._line(f"{number}{text}", f"{taken:.2f} s", "green")
        self._below(below)

    def _line(self, left: str, right: str, style: str) -> None:
        width = min(WIDTH, self._console.width)
        gap = max(2, width - len(left) - len(right))
        line = Text(left, style="bold")
        line.append(" " * gap)
        line.append(right, style=style)
        self._console.print(line)

    def _below(self, lines: list[str]) -> None:
        for line in lines:
            self.detail(line)

    def detail(self, text: str) -> None:
        """A line that belongs to what was said before."""
        self._console.print(Text(f"      {text}", style="dim"))

    def say(self, text: str = "", style: str = "") -> None:
        """A line of its own."""
        self._console.print(Text(text, style=style))

    def command(self, text: str) -> None:
        """A line that may be copied into a shell or into Python."""
        self._console.print(Text(f"    {text}", style="cyan"))
