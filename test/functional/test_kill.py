"""A node dies without a word, while clients store and read."""

from __future__ import annotations

import time
from typing import Any

from test.functional.case import FunctionalCase
from test.functional.cluster import DOMAIN, wait_until
from test.functional.load import Load

#: Long enough that every part of a store is hit by the kill now and then.
BEFORE_SECONDS, AFTER_SECONDS = 1.5, 4.0
#: From the return of a node to copies of everything on it.
CATCH_UP_SECONDS = 60.0


class Kill:
    """One of three nodes is killed and comes back; run on each kind of database."""

    def test_kill_one_of_three(self: Any) -> None:
        """Every acknowledged file can be read at every moment, and is caught up."""
        cluster = self.cluster(3)
        victim = cluster.nodes[self.victim]
        load = Load(cluster).start()
        self.addCleanup(load.stop)
        time.sleep(BEFORE_SECONDS)
        before = len(load.promised)
        victim.kill()
        time.sleep(AFTER_SECONDS)
        during = len(load.promised)
        load.stop()
        self.assertEqual(load.broken, [])
        self.assertGreater(before, 0)
        self.assertGreater(during, before, "stores went on without the node")
        load.read_all(cluster)
        self.assertEqual(load.broken, [])
        victim.start()
        cluster.wait_ready()
        self.assert_caught_up(cluster, load.promised)

    def assert_caught_up(self: Any, cluster: Any, promised: dict[str, bytes]) -> None:
        """Three copies of each file, every one of them with the right bytes."""

        def waiting() -> list[str]:
            return [key for key in promised if len(cluster.copies(key)) != 3]

        wait_until(lambda: not waiting(), CATCH_UP_SECONDS, "all copies made", 0.5)
        for key, content in promised.items():
            for copy in cluster.copies(key):
                self.assertEqual(copy.read_bytes(), content, f"{key} on {copy}")
        with cluster.tracker() as tracker:
            key = next(iter(promised))
            self.assertEqual(len(tracker.paths(DOMAIN, key)), 3)


class OnSQLite(Kill, FunctionalCase):
    """A storage node dies; the one tracker lives."""

    database = "sqlite"
    victim = 2


class OnPostgreSQL(Kill, FunctionalCase):
    """A node dies that is a tracker too, and clients go to the others."""

    database = "postgresql"
    victim = 0
