"""The base of the functional tests: clusters end with the test, logs on failure."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from test.functional.cluster import Cluster, run_twistd

#: A service that is refused has ended by then.
END_SECONDS = 40.0


class FunctionalCase(SynchronousTestCase):
    """A test that may start clusters. They block, so nothing here needs a reactor."""

    database = "sqlite"
    #: How nodes are started, see `Node`.
    is_quick = True

    def setUp(self) -> None:
        """No cluster yet."""
        self.clusters: list[Cluster] = []

    def cluster(self, size: int = 3, *arguments: str, **settings: str) -> Cluster:
        """Start a cluster on this class's database; it is stopped with the test."""
        cluster = Cluster(size, self.database, arguments, settings, self.is_quick)
        self.clusters.append(cluster)
        self.addCleanup(cluster.stop)
        return cluster.start()

    def temporary_folder(self) -> Path:
        """A new folder, removed with the test."""
        folder = Path(tempfile.mkdtemp(prefix="koboldfs-functional-"))
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        return folder

    def refused(
        self, *arguments: str, names: tuple[str, ...], folder: Path | None = None
    ) -> None:
        """A service with these options ends with status 1, and its one line holds every
        one of `names`. It is started in `folder`, or in a new one."""
        ended = run_twistd(arguments, folder or self.temporary_folder(), END_SECONDS)
        said = ended.stderr.strip().splitlines()
        everything = f"{arguments}\nout: {ended.stdout}\nerr: {ended.stderr}"
        self.assertEqual(ended.returncode, 1, everything)
        self.assertEqual(len(said), 1, everything)
        for name in names:
            self.assertIn(name, said[0])
        self.assertNotIn("Traceback", ended.stdout + ended.stderr)

    def run(self, result: Any) -> None:
        """Run the test; if it failed, show what the nodes had to say."""
        failures: list[Any] = []
        originals = {name: getattr(result, name) for name in ("addFailure", "addError")}

        def noting(original: Any) -> Any:
            def note(test: Any, failure: Any) -> None:
                failures.append(failure)
                original(test, failure)

            return note

        for name, original in originals.items():
            setattr(result, name, noting(original))
        try:
            super().run(result)
        finally:
            for name, original in originals.items():
                setattr(result, name, original)
        for cluster in getattr(self, "clusters", []) if failures else []:
            print(f"=== {self.id()}\n{cluster.story}")
