"""The wheel, as pip builds, installs and removes it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

from twisted.trial.unittest import SkipTest

from test.functional.case import FunctionalCase
from test.functional.cluster import ROOT

#: Each step of pip, on a busy machine; together they take about 8 s.
STEP_SECONDS = 120.0
#: What a wheel is built from.
SOURCES = ("koboldfs", "twisted", "pyproject.toml", "setup.cfg", "README", "LICENSE")
PLUGIN = "twisted/plugins/koboldfs_plugin.py"


def run(*command: str, cwd: Path) -> str:
    """Run a command that must succeed, without our source tree in sight; returns what
    it printed."""
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ended = subprocess.run(
        command,
        cwd=cwd,
        env={**clean, "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=STEP_SECONDS,
    )
    if ended.returncode != 0:
        raise AssertionError(f"{command}: {ended.returncode}\n{ended.stdout}")
    return ended.stdout


class Wheel(FunctionalCase):
    """From the source to a fresh virtual environment and away again, offline."""

    def pip(self, *arguments: str) -> str:
        """Run our own pip."""
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
        return run(*pip, *arguments, cwd=self.folder)

    def build(self) -> Path:
        """The wheel of a copy of the sources, so that nothing is left in the tree."""
        try:
            import setuptools
        except ImportError:
            raise SkipTest("setuptools is missing: pip install setuptools") from None
        if int(setuptools.__version__.split(".")[0]) < 77:
            raise SkipTest("setuptools is too old: pip install 'setuptools>=77'")
        self.folder = self.temporary_folder()
        source = self.folder / "source"
        source.mkdir()
        unwanted = shutil.ignore_patterns("__pycache__", "dropin.cache")
        for name in SOURCES:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, source / name, ignore=unwanted)
            else:
                shutil.copy(ROOT / name, source / name)
        self.pip("wheel", "--no-deps", "--no-build-isolation", "-w", ".", str(source))
        (wheel,) = self.folder.glob("*.whl")
        return wheel

    def environment(self) -> Path:
        """The Python of a fresh environment that has what we depend on, but not us.

        The packages are links to those of this environment; Twisted is a copy, as a
        wheel puts its plugin beside Twisted's own.
        """
        fresh = self.folder / "fresh"
        venv.create(fresh, with_pip=False, symlinks=True)
        python = fresh / "bin" / "python"
        code = "import sysconfig; print(sysconfig.get_path('purelib'))"
        target = Path(run(str(python), "-c", code, cwd=self.folder).strip())
        unwanted = shutil.ignore_patterns("__pycache__", "test", "koboldfs*", "*.cache")
        for entry in Path(sysconfig.get_path("purelib")).iterdir():
            if entry.name == "twisted":
                shutil.copytree(entry, target / entry.name, ignore=unwanted)
            elif not entry.name.startswith(("koboldfs", "__")):
                (target / entry.name).symlink_to(entry)
        return python

    def test_life_of_a_wheel(self) -> None:
        """Installed, it gives `twistd koboldfs` and `koboldfs`; removed, Twisted is
        whole."""
        wheel = self.build()
        names = zipfile.ZipFile(wheel).namelist()
        self.assertIn(PLUGIN, names)
        self.assertNotIn("twisted/__init__.py", names)
        self.assertNotIn("twisted/plugins/__init__.py", names)
        tops = {name.split("/")[0] for name in names if ".dist-info" not in name}
        self.assertEqual(tops, {"koboldfs", "twisted"})
        python = self.environment()
        twistd = [str(python), "-c", "from twisted.scripts.twistd import run; run()"]
        self.assertNotIn("koboldfs", run(*twistd, "--help", cwd=self.folder))
        self.pip(
            "--python", str(python), "install", "--no-deps", "--no-index", str(wheel)
        )
        self.assertIn("koboldfs", run(*twistd, "--help", cwd=self.folder))
        options = run(*twistd, "koboldfs", "--help", cwd=self.folder)
        self.assertIn("--storage-listen", options)
        command = str(python.parent / "koboldfs")
        self.assertIn("put", run(command, "--help", cwd=self.folder))
        self.pip("--python", str(python), "uninstall", "--yes", "koboldfs")
        self.assertNotIn("koboldfs", run(*twistd, "--help", cwd=self.folder))
        self.assertIn("web", run(*twistd, "--help", cwd=self.folder))
