"""A storage node of ours in the place of mogstored, on the same folders."""

from __future__ import annotations

import shutil

from test.functional.case import FunctionalCase
from test.functional.cluster import DOMAIN, devices, wait_until

SECONDS = 30.0


class InPlaceOfMogstored(FunctionalCase):
    """The folders hold files, and nothing that we would know them by."""

    database = "sqlite"

    def test_same_folders(self) -> None:
        """A host that the cluster knows is taken over with its devices and files,
        although its folders have no marker and the node never ran before."""
        cluster = self.cluster(2)
        stored = {f"key{number}": b"content %d" % number for number in range(5)}
        with cluster.tracker() as tracker:
            for key, content in stored.items():
                tracker.store(DOMAIN, key, content)
        for key in stored:
            cluster.wait_copies(key, 2)
        node = cluster.nodes[1]
        node.stop()
        docroot = node.folder / "mogdata"
        shutil.move(node.folder / "data" / "devices", docroot)
        shutil.rmtree(node.folder / "data")
        for path in list(docroot.rglob(".koboldfs*")):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        node.arguments = [
            *(one for one in node.arguments if not one.startswith("--devices")),
            f"--docroot={docroot}",
        ]
        node.start()
        cluster.wait_ready()

        def both() -> bool:
            with cluster.tracker() as tracker:
                return len(tracker.paths(DOMAIN, "key0")) == 2

        wait_until(both, SECONDS, "both copies are offered again")
        with cluster.tracker() as tracker:
            self.assertEqual(len(devices(tracker)), 2)
            for key, content in stored.items():
                self.assertEqual(tracker.fetch(DOMAIN, key), content)
