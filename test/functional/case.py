"""The base of the functional tests: clusters end with the test, logs on failure."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from test.functional.cluster import Cluster


class FunctionalCase(SynchronousTestCase):
    """A test that may start clusters. They block, so nothing here needs a reactor."""

    database = "sqlite"

    def setUp(self) -> None:
        """No cluster yet."""
        self.clusters: list[Cluster] = []

    def cluster(self, size: int = 3, *arguments: str, **settings: str) -> Cluster:
        """Start a cluster on this class's database; it is stopped with the test."""
        cluster = Cluster(size, self.database, arguments, settings)
        self.clusters.append(cluster)
        self.addCleanup(cluster.stop)
        return cluster.start()

    def temporary_folder(self) -> Path:
        """A new folder, removed with the test."""
        folder = Path(tempfile.mkdtemp(prefix="koboldfs-functional-"))
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        return folder

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
