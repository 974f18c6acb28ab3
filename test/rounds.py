"""The modules of the suite in a folder, from which its processes take one by one.

A module is an empty file there, whose name begins with its turn; who takes it moves it
away, which only one of several can. So no process has nothing to do while another one
has a lot, whatever a machine is quick or slow at.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

#: In which order the rooms stand. Tests of the first one wait, mostly, for processes
#: that they started, those of the last ones compute: two processes begin at the front
#: and one at the back, so that both kinds run beside each other, and they meet among
#: those that take a moment each.
ORDER = ("functional", "wire", "unit", "tree", "fuzz", "contract", "simulation")


def modules() -> list[str]:
    """Every module with tests, by its dotted name, in that order."""
    found = []
    for path in (ROOT / "test").rglob("test_*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        room = parts[1] if len(parts) > 2 else ""
        turn = ORDER.index(room) if room in ORDER else len(ORDER)
        found.append((turn, ".".join(parts)))
    return [name for _, name in sorted(found)]


def lay_out(names: list[str], folder: Path) -> None:
    """Make the folder, with these modules in it."""
    folder.mkdir()
    for turn, name in enumerate(names):
        (folder / f"{turn:05} {name}").touch()


def taken(folder: Path, from_back: bool) -> Iterator[str]:
    """What the caller is to run, one after the other, as long as there is something."""
    while found := sorted(os.listdir(folder), reverse=from_back):
        for file in found:
            name = file.partition(" ")[2]
            try:
                (folder / file).rename(folder.with_name(f"{folder.name} {name}"))
            except FileNotFoundError:
                continue
            yield name
            break


def left(folder: Path) -> list[str]:
    """What nobody has taken."""
    return [file.partition(" ")[2] for file in sorted(os.listdir(folder))]
