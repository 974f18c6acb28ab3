"""The runner of the suite counts truthfully: its last line is what CI believes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from test import rounds
from test.tree.source import ROOT

#: A small suite with known outcomes takes a second.
LIMIT_SECONDS = 60.0


class Summary(SynchronousTestCase):
    """``python -m test.run`` on small suites of known outcome."""

    def setUp(self) -> None:
        """A folder with a package to run."""
        self.folder = Path(tempfile.mkdtemp(prefix="koboldfs-runner-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def run_suite(self, body: str) -> tuple[str, int]:
        """The last line and the status of a run of one test case with that body."""
        head = "import os, warnings\nfrom twisted.trial.unittest import *\n"
        case = "class Case(SynchronousTestCase):\n"
        text = head + case + textwrap.indent(textwrap.dedent(body), "    ")
        (self.folder / "sample_suite.py").write_text(text)
        paths = os.pathsep.join([str(ROOT), str(self.folder)])
        ended = subprocess.run(
            [sys.executable, "-W", "error", "-m", "test.run", "sample_suite"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": paths},
            capture_output=True,
            text=True,
            timeout=LIMIT_SECONDS,
        )
        return ended.stdout.splitlines()[-1], ended.returncode

    def test_all_pass(self) -> None:
        """Only passes and skips: status 0."""
        body = """
            def test_one(self): pass
            def test_two(self): pass
            def test_absent(self): raise SkipTest("something is missing")
        """
        self.assertEqual(self.run_suite(body), ("2 passed, 0 failed, 1 skipped", 0))

    def test_each_failure_once(self) -> None:
        """A test that fails in its body and in its clean-up has failed once."""
        body = """
            def test_fine(self): pass
            def test_wrong(self):
                self.addCleanup(self.fail, "again")
                self.fail("first")
            def test_broken(self): 1 / 0
        """
        self.assertEqual(self.run_suite(body), ("1 passed, 2 failed, 0 skipped", 1))

    def test_warning_is_an_error(self) -> None:
        """A test that leaves a warning behind has failed, a coroutine test too."""
        body = """
            def test_warns(self): warnings.warn("old", DeprecationWarning)
            async def test_never_runs(self): pass
        """
        self.assertEqual(self.run_suite(body), ("0 passed, 2 failed, 0 skipped", 1))

    def test_process_that_ends(self) -> None:
        """When the process ends under a test, that one failed and the others count."""
        body = """
            def test_a(self): pass
            def test_b(self): os._exit(0)
        """
        line, status = self.run_suite(body)
        self.assertEqual((line, status), ("1 passed, 2 failed, 0 skipped", 1))

    def test_nothing_to_import(self) -> None:
        """A suite that cannot be imported has failed."""
        self.assertEqual(
            self.run_suite("import nothing_of_that_name"),
            (
                "0 passed, 1 failed, 0 skipped",
                1,
            ),
        )

    def test_nothing_to_run(self) -> None:
        """A run without any test has failed."""
        line, status = self.run_suite("pass")
        self.assertEqual((line, status), ("0 passed, 1 failed, 0 skipped", 1))


class Rounds(SynchronousTestCase):
    """Several processes run every module once."""

    def setUp(self) -> None:
        """A folder for what is shared."""
        self.folder = Path(tempfile.mkdtemp(prefix="koboldfs-rounds-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.shared = self.folder / "modules"

    def test_all_modules(self) -> None:
        """Whatever has tests has its turn; the first ones are not like the last."""
        found = rounds.modules()
        tests = [
            ".".join([*Path(folder).relative_to(ROOT).parts, name.removesuffix(".py")])
            for folder, _, names in os.walk(ROOT / "test")
            for name in names
            if name.startswith("test_") and name.endswith(".py")
        ]
        self.assertEqual(sorted(found), sorted(tests))
        self.assertIn(".functional.", found[0])
        self.assertIn(".simulation.", found[-1])

    def test_each_is_taken_once(self) -> None:
        """From both ends; what nobody took is told."""
        rounds.lay_out(["a", "b", "c", "d", "e"], self.shared)
        front = rounds.taken(self.shared, False)
        back = rounds.taken(self.shared, True)
        other = rounds.taken(self.shared, False)
        self.assertEqual([next(front), next(back), next(other)], ["a", "e", "b"])
        self.assertEqual(rounds.left(self.shared), ["c", "d"])
        self.assertEqual([*back, *front, *other], ["d", "c"])
        self.assertEqual(rounds.left(self.shared), [])

    def test_child(self) -> None:
        """A child runs all that it takes, also after what cannot be imported."""
        head = "from twisted.trial.unittest import *\nclass C(SynchronousTestCase):\n"
        for name, body in (("a", "pass"), ("b", "self.fail()"), ("d", "pass")):
            text = f"{head}    def test_{name}(self): {body}\n"
            (self.folder / f"sample_{name}.py").write_text(text)
        names = [f"sample_{name}" for name in "abcd"]
        rounds.lay_out(names, self.shared)
        journal = self.folder / "journal"
        folder = str(self.folder / "trial")
        ended = subprocess.run(
            [sys.executable, "-m", "test.child", str(journal), folder]
            + ["--back", str(self.shared)],
            cwd=ROOT,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join([str(ROOT), str(self.folder)]),
            },
            capture_output=True,
            timeout=LIMIT_SECONDS,
        )
        self.assertEqual(ended.returncode, 1)
        entries = [json.loads(line) for line in journal.read_text().splitlines()]
        self.assertEqual(
            [
                (entry["test"].rpartition(".")[2], entry["event"])
                for entry in entries
                if entry["event"] != "begins"
            ],
            [
                ("test_d", "passed"),
                ("sample_c", "failed"),
                ("test_b", "failed"),
                ("test_a", "passed"),
                ("", "done"),
            ],
        )
