"""The source tree as the tests of this folder read it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache, cached_property
from pathlib import Path

from attrs import frozen

ROOT = Path(__file__).resolve().parent.parent.parent
#: The folders that hold our Python.
FOLDERS = ("koboldfs", "twisted", "test", "bench", "doc")
#: What is read as text beside Python.
TEXTS = ("README", "CHANGES", "Makefile", "setup.cfg", "pyproject.toml", ".ci/run")
TEXT_FOLDERS = ("doc", "newsfragments")

Function = ast.FunctionDef | ast.AsyncFunctionDef


@frozen
class Module:
    """One Python file. `name` is dotted, `path` relative to the root."""

    path: Path
    name: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        """Its statements; parsing takes far longer than reading."""
        return ast.parse(self.text)

    def functions(self) -> Iterator[Function]:
        """All functions and methods, nested ones too."""
        for node in ast.walk(self.tree):
            if isinstance(node, Function):
                yield node

    def imports(self) -> Iterator[tuple[int, str]]:
        """(line, dotted name) of everything imported, names of `from` joined on."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield node.lineno, alias.name
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    yield node.lineno, f"{node.module}.{alias.name}"


@cache
def modules(folder: str) -> tuple[Module, ...]:
    """All modules below a folder of the root."""
    found = []
    for path in sorted((ROOT / folder).rglob("*.py")):
        relative = path.relative_to(ROOT)
        parts = relative.with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        text = path.read_text("utf-8")
        found.append(Module(relative, name, text))
    return tuple(found)


def all_modules() -> list[Module]:
    """All our Python."""
    return [module for folder in FOLDERS for module in modules(folder)]


def texts() -> Iterator[tuple[Path, str]]:
    """(path relative to the root, content) of every text of ours, Python included."""
    for module in all_modules():
        yield module.path, module.text
    paths = [ROOT / name for name in TEXTS]
    for folder in TEXT_FOLDERS:
        paths += [path for path in (ROOT / folder).rglob("*") if path.suffix != ".py"]
    for path in sorted(paths):
        if path.is_file() and path.suffix != ".pyc":
            yield path.relative_to(ROOT), path.read_text("utf-8")


def name_of(node: ast.expr) -> str:
    """The last word of a name or of an attribute, else nothing."""
    if isinstance(node, ast.Name):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else ""
