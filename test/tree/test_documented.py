"""What can be typed or sent is documented, and what is documented exists."""

from __future__ import annotations

import ast
import re

from twisted.trial.unittest import SynchronousTestCase

from koboldfs.config import JOBS, OPTIONS
from koboldfs.tracker.commands import COMMAND_LISTS, command_table
from test.tree.source import ROOT, Function, Module, all_modules, modules, name_of

#: An entry of a page: a line that holds nothing but its name, in double backquotes,
#: and what belongs to it.
ENTRY = re.compile(r"^``([^`\s]+)[^`]*``$", re.MULTILINE)


def page(name: str) -> str:
    """A page of doc/."""
    return (ROOT / "doc" / name).read_text("utf-8")


def implements(node: ast.ClassDef) -> bool:
    """Whether a class says which interface it provides."""
    calls = (one for one in node.decorator_list if isinstance(one, ast.Call))
    return any(name_of(call.func) == "implementer" for call in calls)


def public_without_docstring(module: Module) -> list[str]:
    """The public classes and functions of a module that do not say what they do.

    Of a class that implements an interface the interface says it.
    """
    missing = [] if ast.get_docstring(module.tree) else [str(module.path)]

    def look(body: list[ast.stmt]) -> None:
        for node in body:
            if not isinstance(node, Function | ast.ClassDef):
                continue
            if node.name.startswith("_"):
                continue
            if not ast.get_docstring(node):
                missing.append(f"{module.path}:{node.lineno} {node.name}")
            if isinstance(node, ast.ClassDef) and not implements(node):
                look(node.body)

    look(module.tree.body)
    return missing


class Documented(SynchronousTestCase):
    """The pages under doc/, and the docstrings."""

    def test_options(self) -> None:
        """doc/options has an entry for every option, and for nothing else."""
        entries = set(ENTRY.findall(page("options")))
        self.assertEqual(entries, {f"--{option.name}" for option in OPTIONS})

    def test_option_defaults(self) -> None:
        """doc/options names every option's default, and every background job."""
        text = page("options")
        for option in OPTIONS:
            line = re.search(
                rf"^``--{option.name}\b[^`]*``\n(.*?)\n\n", text, re.M | re.S
            )
            assert line is not None
            told = " ".join(line[1].split())
            self.assertIn(f"Default: {option.default}.", told, option.name)
        for job in JOBS:
            self.assertIn(f"``{job}``", text)

    def test_commands(self) -> None:
        """doc/tracker-protocol has an entry for every command, and nothing else; then
        come the differences, see `test.functional.test_replay`."""
        commands, _, _ = page("tracker-protocol").partition("Where the answers differ")
        entries = set(ENTRY.findall(commands))
        self.assertEqual(entries, set(command_table(COMMAND_LISTS)))

    def test_index(self) -> None:
        """doc/index names every page, and every page that it names is there."""
        named = set(re.findall(r"^doc/([\w-]+)$", page("index"), re.MULTILINE))
        there = {
            path.name
            for path in (ROOT / "doc").iterdir()
            if path.is_file() and path.suffix not in (".py", ".pyc")
        }
        self.assertEqual(named, there - {"index"})

    def test_product_docstrings(self) -> None:
        """Every module, public class and public function says what it is for."""
        missing = [
            name
            for folder in ("koboldfs", "twisted", "bench")
            for module in modules(folder)
            for name in public_without_docstring(module)
        ]
        self.assertEqual(missing, [])

    def test_test_docstrings(self) -> None:
        """Every test says in a sentence what it wants."""
        missing = [
            f"{module.path}:{function.lineno} {function.name}"
            for module in all_modules()
            if module.path.parts[0] == "test"
            for function in module.functions()
            if function.name.startswith("test_") and not ast.get_docstring(function)
        ]
        missing += [
            str(module.path)
            for module in modules("test")
            if not ast.get_docstring(module.tree)
        ]
        self.assertEqual(missing, [])
