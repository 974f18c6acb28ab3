"""The package is what its metadata says."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import koboldfs
from koboldfs import version
from test.tree.source import ROOT, modules

#: Names under which a distribution is imported, where that is another one.
IMPORTED_AS = {"psycopg2-binary": "psycopg2", "zope.interface": "zope"}


def required() -> set[str]:
    """The top-level modules of what pyproject.toml asks for at run time."""
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    found = re.search(r"^dependencies = \[(.*?)\]", text, re.DOTALL | re.MULTILINE)
    assert found is not None
    names = re.findall(r'"([A-Za-z0-9_.-]+?)(?:\[.*?\])?[<>=~!]', found[1])
    return {IMPORTED_AS.get(name, name.replace("-", "_")) for name in names}


class Packaging(SynchronousTestCase):
    """The plugin's folder, and the requirements."""

    def test_plugin_folder(self) -> None:
        """twisted/plugins is no package of ours: it must not hide Twisted's own."""
        there = sorted(
            str(path.relative_to(ROOT)) for path in (ROOT / "twisted").rglob("*.py")
        )
        self.assertEqual(there, [str(Path("twisted", "plugins", "koboldfs_plugin.py"))])

    def test_requirements(self) -> None:
        """What is imported is required, and what is required is imported."""
        imported = {
            target.split(".")[0]
            for module in modules("koboldfs")
            for _, target in module.imports()
        }
        ours = {"koboldfs", *sys.stdlib_module_names}
        self.assertEqual(imported - ours, required())

    def test_version(self) -> None:
        """The package has the version that the metadata takes, in PEP 440's form."""
        self.assertIn("koboldfs.version.__version__", self.project())
        self.assertEqual(koboldfs.__version__, version.__version__)
        self.assertRegex(version.__version__, r"^[0-9]+\.[0-9]+\.[0-9]+(\.dev[0-9]+)?$")

    def project(self) -> str:
        """What pyproject.toml says."""
        return (ROOT / "pyproject.toml").read_text("utf-8")
