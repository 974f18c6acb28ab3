"""Rooms, functions and lines stay small enough to be read."""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from test.tree.source import all_modules

MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 70
MAX_LINE_CHARACTERS = 88
#: What the formatter does not count either: it could not be put on another line.
PRAGMA = re.compile(r"\s+# (noqa|type: ignore)\b.*$")


class Sizes(SynchronousTestCase):
    """Over all our Python, tests included."""

    def test_files(self) -> None:
        """No file is longer than 500 lines."""
        long = {
            str(module.path): lines
            for module in all_modules()
            if (lines := module.text.count("\n")) > MAX_FILE_LINES
        }
        self.assertEqual(long, {})

    def test_functions(self) -> None:
        """No function is longer than 70 lines, its docstring included."""
        long = [
            f"{module.path}:{function.lineno} {function.name}"
            for module in all_modules()
            for function in module.functions()
            if (function.end_lineno or 0) - function.lineno >= MAX_FUNCTION_LINES
        ]
        self.assertEqual(long, [])

    def test_lines(self) -> None:
        """No line is longer than 88 characters, words to a checker left out."""
        long = [
            f"{module.path}:{number}"
            for module in all_modules()
            for number, line in enumerate(module.text.split("\n"), 1)
            if len(PRAGMA.sub("", line)) > MAX_LINE_CHARACTERS
        ]
        self.assertEqual(long, [])
