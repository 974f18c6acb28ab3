"""test/unit mirrors koboldfs: every module has a place where its tests are."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from test.tree.source import ROOT, modules

#: Modules and rooms whose behaviour shows only together with others, and where it is
#: tested. A unit test of their name may be there as well.
ELSEWHERE = {
    "interfaces.py": "test/contract",
    "interfaces_scrub.py": "test/contract",
    "interfaces_health.py": "test/contract/health.py",
    "interfaces_numbers.py": "test/contract/numbers.py",
    "storage/device.py": "test/unit/storage/test_devices.py",
    "assembly.py": "test/functional/test_service.py",
    "job_control.py": "test/functional/test_processes.py",
    "tap.py": "test/functional/test_service.py",
    "version.py": "test/tree/test_packaging.py",
    "store": "test/contract/test_store_sqlite.py",
    "client/channels.py": "test/unit/client/test_nodes.py",
    "client/connecting.py": "test/unit/client/test_http.py",
    "client/copy_writer.py": "test/unit/client/test_nodes.py",
    "client/folders.py": "test/unit/client/test_nodes.py",
    "client/http_connection.py": "test/unit/client/test_http.py",
    "client/http_pool.py": "test/unit/client/test_http.py",
    "client/relay.py": "test/unit/client/test_nodes.py",
}


def product() -> list[Path]:
    """The modules of koboldfs that have behaviour, relative to it."""
    found = [module.path.relative_to("koboldfs") for module in modules("koboldfs")]
    return [path for path in found if path.name != "__init__.py"]


def unit_tests() -> list[Path]:
    """The test modules, relative to test/unit."""
    found = [module.path.relative_to("test/unit") for module in modules("test/unit")]
    return [path for path in found if path.name.startswith("test_")]


class Mirror(SynchronousTestCase):
    """Names on both sides."""

    def test_every_test_has_its_module(self) -> None:
        """``test_X.py`` or ``test_X_Y.py`` tests the module X of the same room."""
        stems: dict[Path, list[str]] = {}
        for path in product():
            stems.setdefault(path.parent, []).append(path.stem)
        strays = [
            str(path)
            for path in unit_tests()
            if not any(
                f"{path.stem}_".startswith(f"test_{stem}_")
                for stem in stems.get(path.parent, [])
            )
        ]
        self.assertEqual(strays, [])

    def test_every_module_has_its_test(self) -> None:
        """Every module with behaviour has a test module of its name."""
        tests = {(path.parent, path.stem) for path in unit_tests()}
        bare = [
            str(path)
            for path in product()
            if not {str(path), str(path.parent)} & set(ELSEWHERE)
            and not any(
                room == path.parent and f"{stem}_".startswith(f"test_{path.stem}_")
                for room, stem in tests
            )
        ]
        self.assertEqual(bare, [])

    def test_elsewhere(self) -> None:
        """What is said to be tested elsewhere is there, and so is where."""
        for name, place in ELSEWHERE.items():
            self.assertTrue((ROOT / "koboldfs" / name).exists(), name)
            self.assertTrue((ROOT / place).exists(), place)

    def test_packages(self) -> None:
        """Every folder of tests is a package, or trial would pass it over."""
        folders = {module.path.parent for module in modules("test")}
        bare = [
            str(folder)
            for folder in folders
            if not any(
                module.path == folder / "__init__.py" for module in modules("test")
            )
        ]
        self.assertEqual(bare, [])
