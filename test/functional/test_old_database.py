"""An old dump of the database is restored: what was stored since then is not known, and
its bytes are not written over."""

from __future__ import annotations

import shutil
from pathlib import Path

from test.functional.case import FunctionalCase
from test.functional.cluster import DOMAIN, Cluster
from test.functional.tracker_line import get

FILES = 6


class OldDatabase(FunctionalCase):
    """Two nodes, one with the tracker."""

    database = "sqlite"

    def fill(self, cluster: Cluster, word: str) -> dict[str, int]:
        """Files whose contents are their keys; their fids."""
        fids = {}
        with cluster.tracker() as tracker:
            for number in range(FILES):
                key = f"{word}-{number}"
                tracker.store(DOMAIN, key, key.encode())
                found = tracker.ask("file_info", domain=DOMAIN, key=key)
                fids[key] = int(found["fid"])
        return fids

    def restart(self, cluster: Cluster, source: Path, target: Path) -> None:
        """End all processes, copy the database, and start them."""
        for node in cluster.nodes:
            node.stop()
        target.unlink(missing_ok=True)
        for beside in ("-wal", "-shm"):
            Path(f"{target}{beside}").unlink(missing_ok=True)
        shutil.copy(source, target)
        for node in cluster.nodes:
            node.start()
        cluster.wait_ready()

    def test_old_dump(self) -> None:
        """Numbers that were given out since are not given out again, and that is told;
        the bytes are all there, and what is stored now is another file."""
        cluster = self.cluster(2)
        database, dump = cluster.folder / "koboldfs.db", cluster.folder / "dump"
        before = self.fill(cluster, "before")
        self.restart(cluster, database, dump)
        since = self.fill(cluster, "since")
        bytes_since = {
            copy: copy.read_bytes()
            for key in since
            for copy in cluster.wait_copies(key, 2)
        }
        self.restart(cluster, dump, database)
        after = self.fill(cluster, "after")
        self.assertGreater(min(after.values()), max(since.values()))
        for copy, content in bytes_since.items():
            self.assertEqual(copy.read_bytes(), content)
        with cluster.tracker() as tracker:
            told = tracker.ask("cluster_health")
            self.assertEqual(told["forgotten"], "1")
            self.assertEqual(int(told["forgotten_1_first"]), max(before.values()) + 1)
            self.assertEqual(int(told["forgotten_1_last"]), max(since.values()))
            self.assertEqual(told["unbelieved"], "0")
            for key in (*before, *after):
                (path, *_) = tracker.paths(DOMAIN, key)
                self.assertEqual(get(path), key.encode())
        self.assertIn("older one than the disks", cluster.nodes[0].log.read_text())
