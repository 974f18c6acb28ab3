"""The floors of the house: imports go down only, as setup.cfg draws them."""

from __future__ import annotations

import configparser
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from test.tree.source import ROOT, modules


def contract(name: str) -> configparser.SectionProxy:
    """One contract of the import linter."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser[f"importlinter:contract:{name}"]


#: What talks to databases.
DRIVERS = ("sqlalchemy", "psycopg2", "txpostgres", "pymysql", "sqlite3")


def loaded(program: str, names: tuple[str, ...]) -> str:
    """Those of the modules that a program has loaded; it must do without a word."""
    ask = f"import sys; print(*(n for n in {names} if n in sys.modules))"
    ended = subprocess.run(
        [sys.executable, "-c", f"{program}; {ask}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return (ended.stdout + ended.stderr).strip()


class Floors(SynchronousTestCase):
    """What import-linter checks in full, checked here for each direct import."""

    def setUp(self) -> None:
        """Read the floors, the ground last."""
        lines = contract("floors")["layers"].split("\n")
        rooms = [line.split("|") for line in lines if line.strip()]
        self.floor = {
            room.strip(): -number for number, row in enumerate(rooms) for room in row
        }

    def test_every_room_has_a_floor(self) -> None:
        """No room of koboldfs is left out of the drawing."""
        rooms = {module.name.split(".")[1] for module in modules("koboldfs")[1:]}
        self.assertEqual(rooms - set(self.floor), set())

    def test_imports_go_down(self) -> None:
        """A room imports itself and rooms below; never a sibling, never upwards."""
        wrong = []
        for module in modules("koboldfs")[1:]:
            room = module.name.split(".")[1]
            for line, target in module.imports():
                parts = target.split(".")
                if parts[0] != "koboldfs" or parts[1] not in self.floor:
                    continue
                if parts[1] != room and self.floor[parts[1]] >= self.floor[room]:
                    wrong.append(f"{module.path}:{line}: {room} imports {parts[1]}")
        self.assertEqual(wrong, [])

    def test_ground_floor_is_pure(self) -> None:
        """Grammar and rules know neither Twisted nor a database driver."""
        self.assert_forbidden("ground")

    def test_inward_rooms_use_interfaces(self) -> None:
        """City hall and the front doors know no provider of a port."""
        self.assert_forbidden("inward")

    def assert_forbidden(self, name: str) -> None:
        """No module of the contract imports what the contract forbids."""
        rooms = tuple(contract(name)["source_modules"].split())
        banned = tuple(contract(name)["forbidden_modules"].split())
        wrong = [
            f"{module.path}:{line}: {target}"
            for module in modules("koboldfs")
            if f"{module.name}.".startswith(tuple(f"{room}." for room in rooms))
            for line, target in module.imports()
            if f"{target}.".startswith(tuple(f"{word}." for word in banned))
        ]
        self.assertEqual(wrong, [])

    def test_packages_are_empty(self) -> None:
        """An ``__init__.py`` holds a docstring only, but for the topmost."""
        wrong = [
            str(module.path)
            for folder in ("koboldfs", "test")
            for module in modules(folder)
            if module.path.name == "__init__.py"
            and module.name != "koboldfs"
            and len(module.tree.body) > 1
        ]
        self.assertEqual(wrong, [])

    def test_client_needs_no_twisted(self) -> None:
        """A program that imports the client loads neither Twisted nor a driver."""
        unwanted = ("twisted", *DRIVERS, "zope.interface")
        self.assertEqual(loaded("import koboldfs; koboldfs.Client", unwanted), "")

    def test_a_storage_node_has_no_database(self) -> None:
        """What every process imports leaves SQLAlchemy and the drivers out, which would
        be a third of a storage node's memory."""
        for module in ("tap", "assembly", "processes.child"):
            self.assertEqual(loaded(f"import koboldfs.{module}", DRIVERS), "", module)
        self.assertIn("sqlalchemy", loaded("import koboldfs.store.open", DRIVERS))
