"""Tests of koboldfs.demo.screen."""

from __future__ import annotations

from test.unit.demo.case import DemoCase


class ScreenTests(DemoCase):
    """What a pipe gets."""

    def test_step(self) -> None:
        """One line with number, text and time, and what belongs to it below."""
        with self.screen.step("Do it") as below:
            below.append("[red]done")
            self.assertEqual(self.text(), "")
        first, second = self.text().splitlines()
        self.assertRegex(first, r"^ 1  Do it +[0-9]+\.[0-9]{2} s$")
        self.assertEqual(second.strip(), "[red]done")

    def test_failure(self) -> None:
        """A step that fails says so, and lets the error through."""

        def fail() -> None:
            with self.screen.step("Do it"):
                raise ValueError("no")

        self.assertRaises(ValueError, fail)
        self.assertIn("FAILED", self.text())

    def test_long_lines(self) -> None:
        """Nothing is folded, cut off or coloured in a pipe."""
        for say in (self.screen.say, self.screen.command, self.screen.detail):
            say("word " * 200)
        lines = self.text().splitlines()
        self.assertEqual([len(line.strip()) for line in lines], [999] * 3)
        self.assertNotIn("\x1b", self.text())
