"""Tests of koboldfs.cli.output."""

from __future__ import annotations

import io
import sys
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from koboldfs.cli import output


class Screen(io.TextIOWrapper):
    """A terminal, or a pipe."""

    def __init__(self, terminal: bool) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", write_through=True)
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal

    def text(self) -> str:
        """What was written."""
        held: Any = self.buffer
        return str(held.getvalue().decode())


class OutputTests(SynchronousTestCase):
    """Sizes and texts."""

    def test_sizes(self) -> None:
        """Sizes for people."""
        self.assertEqual(output.size_text(0), "0 B")
        self.assertEqual(output.size_text(1023), "1023 B")
        self.assertEqual(output.size_text(1536), "1.5 KiB")
        self.assertEqual(output.size_text(8 * 2**20), "8.0 MiB")
        self.assertEqual(output.size_text(2**80), "1048576.0 EiB")

    def test_keys(self) -> None:
        """Keys for people: readable where they can be, escaped where not."""
        self.assertEqual(output.key_shown("h\u00e9".encode()), "h\u00e9")
        self.assertEqual(output.key_shown(b"a\xff\n\x1b"), "a\\xff\\n\\x1b")

    def test_short_writes(self) -> None:
        """A destination that takes little at a time gets all of it in order."""

        class Sluggish:
            taken = b""

            def write(self, data: Any) -> int:
                self.taken += bytes(data[:2])
                return min(2, len(data))

        with output.Meter("", None) as meter:
            file: Any = Sluggish()
            self.assertEqual(output.MeteredDestination(file, meter).write(b"12345"), 5)
            self.assertEqual((file.taken, meter.done_bytes), (b"12345", 5))

    def test_key_on_a_terminal(self) -> None:
        """A terminal gets no raw control characters, a pipe every byte."""
        for terminal, wanted in ((True, "a\\x1b\n"), (False, "a\x1b\n")):
            screen = Screen(terminal)
            self.patch(sys, "stdout", screen)
            output.write_key(b"a\x1b")
            self.assertEqual(screen.text(), wanted)

    def test_table(self) -> None:
        """Columns are aligned, numbers to the right, nothing folded in a pipe, and
        what came from outside is not taken for markup."""
        screen = Screen(False)
        self.patch(sys, "stdout", screen)
        output.write_table(
            ("NAME", ">N"), [("[red]a", 1), ("b" * 300, 22), (None, "")], " "
        )
        lines = screen.text().splitlines()
        self.assertEqual(lines[1].split(), ["[red]a", "1"])
        self.assertEqual(lines[2], f" {'b' * 300}  22")
        self.assertEqual(lines[3].split(), ["-", "-"])
        self.assertEqual({len(line) for line in lines}, {305})


class MeterTests(SynchronousTestCase):
    """The progress bar."""

    def transfer(self, out: bool, err: bool, after: float, shown: bool = True) -> str:
        """A transfer with these terminals; what is on stderr."""
        self.patch(output, "BAR_AFTER_SECONDS", after)
        self.patch(sys, "stdout", Screen(out))
        screen = Screen(err)
        self.patch(sys, "stderr", screen)
        with output.Meter("[k]\x1b", 8, shown) as meter:
            source: Any = output.MeteredSource(io.BytesIO(b"12345678"), meter)
            self.assertEqual(source.read(4), b"1234")
            self.assertEqual(meter.done_bytes, 4)
            source.seek(0)
            self.assertEqual((meter.done_bytes, source.tell()), (0, 0))
            self.assertEqual(source.read(), b"12345678")
            self.assertTrue(source.seekable())
        self.assertEqual(sys.stdout.text(), "")  # type: ignore[attr-defined]
        return screen.text()

    def test_long_on_a_terminal(self) -> None:
        """A long transfer shows a bar with its name on stderr, and removes it."""
        said = self.transfer(True, True, 0)
        self.assertIn("[k]\\x1b", said)
        self.assertTrue(said.endswith("\x1b[2K"), said)

    def test_none(self) -> None:
        """Short ones, and those in a pipe, show nothing."""
        self.assertEqual(self.transfer(True, True, 60), "")
        self.assertEqual(self.transfer(False, True, 0), "")
        self.assertEqual(self.transfer(True, False, 0), "")
        self.assertEqual(self.transfer(True, True, 0, shown=False), "")
