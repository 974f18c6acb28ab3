"""Hosts that come, go and return receive what the policy wants on them."""

from __future__ import annotations

import time
from typing import Any

from test.functional.case import FunctionalCase
from test.functional.cluster import DOMAIN, Cluster, devices, wait_until

FILES = 30
#: For all copies of FILES small files, with the pauses of hosts that were away.
CATCH_UP_SECONDS = 60.0


def fill(cluster: Cluster, prefix: str) -> dict[str, bytes]:
    """Store FILES files; returns what was stored."""
    stored = {f"{prefix}/{number}": b"%d" % number * 50 for number in range(FILES)}
    with cluster.tracker() as tracker:
        for key, content in stored.items():
            tracker.store(DOMAIN, key, content)
    return stored


class Hosts:
    """Run on each kind of database."""

    def assert_everywhere(
        self: Any, cluster: Cluster, stored: dict[str, bytes]
    ) -> None:
        """Soon every node has a copy of every file, each with the right bytes."""
        for key, content in stored.items():
            copies = cluster.wait_copies(key, len(cluster.nodes), CATCH_UP_SECONDS)
            self.assertEqual({copy.read_bytes() for copy in copies}, {content}, key)

    def test_new_host(self: Any) -> None:
        """A host that joins later receives a copy of every file, unasked."""
        cluster = self.cluster(2)
        stored = fill(cluster, "early")
        self.assert_everywhere(cluster, stored)
        cluster.add_node().start()
        cluster.wait_ready()
        self.assert_everywhere(cluster, stored)

    def test_away_and_back(self: Any) -> None:
        """A host that was away is caught up with what was stored meanwhile."""
        cluster = self.cluster(3)
        fill(cluster, "before")
        away = cluster.nodes[-1]
        away.kill()

        def noticed() -> bool:
            with cluster.tracker() as tracker:
                states = {
                    one["hostname"]: one["observed_state"] for one in devices(tracker)
                }
            return states[away.name] == "unreachable"

        wait_until(noticed, 30.0, "the tracker notices")
        stored = fill(cluster, "meanwhile")
        away.start()
        cluster.wait_ready()
        self.assert_everywhere(cluster, stored)


class OnSQLite(Hosts, FunctionalCase):
    """The hosts join the one tracker."""

    database = "sqlite"

    def test_tracker_comes_later(self) -> None:
        """A storage node whose tracker does not answer yet keeps asking."""
        cluster = Cluster(1, self.database)
        self.clusters.append(cluster)
        self.addCleanup(cluster.stop)
        cluster.url = f"sqlite:///{cluster.folder / 'koboldfs.db'}"
        tracker, storage = cluster.add_node(), cluster.add_node()
        storage.start()
        time.sleep(3.0)
        self.assertTrue(storage.running, storage.last_words())
        tracker.start()
        cluster.wait_ready()


class OnPostgreSQL(Hosts, FunctionalCase):
    """The hosts run trackers themselves."""

    database = "postgresql"
