"""What the command and the metrics say of a real cluster that loses a host."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import urllib.request
from typing import Any

from pymogilefs import client as pymogilefs

from koboldfs import Client
from test.functional.case import FunctionalCase
from test.functional.cluster import DOMAIN, Cluster, Node, environment, wait_until
from test.functional.ports import free_ports

SECONDS = 40.0
FILES = 5


class Measured(Cluster):
    """A cluster whose first node serves metrics."""

    metrics_port = 0

    def add_node(self, devices: int = 1) -> Node:
        """See `Cluster`."""
        node = super().add_node(devices)
        if node.number == 1:
            where = f"tcp:{self.metrics_port}:interface=127.0.0.1"
            node.arguments.append(f"--metrics-listen={where}")
        return node


class Truth(FunctionalCase):
    """Two hosts, both trackers, on PostgreSQL."""

    database = "postgresql"

    def command(
        self, cluster: Cluster, *words: str
    ) -> subprocess.CompletedProcess[str]:
        """Run ``koboldfs``."""
        first = cluster.nodes[0]
        where = (
            f"--trackers={first.address}:{cluster.ports.tracker}",
            f"--servers={first.address}:{cluster.ports.native}",
            f"--domain={DOMAIN}",
        )
        return subprocess.run(
            [sys.executable, "-m", "koboldfs.cli.main", *where, *words],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=60,
        )

    def status(self, cluster: Cluster) -> Any:
        """What ``koboldfs --json status`` says."""
        return json.loads(self.command(cluster, "--json", "status").stdout)

    def test_a_host_is_lost(self) -> None:
        """Before, nothing is to be done; then status says what is short and away, why
        says which copies are, and stores say on how many hosts they are."""
        (port,) = free_ports(1, ["127.0.0.1"])
        page = f"http://127.0.0.1:{port}/metrics"
        cluster = Measured(2, self.database)
        cluster.metrics_port = port
        self.clusters.append(cluster)
        self.addCleanup(cluster.stop)
        cluster.start()
        client = Client(DOMAIN, servers=cluster.servers()[:1])
        self.addCleanup(client.close)
        for number in range(FILES):
            self.assertFalse(client.put_stat(f"k{number}", io.BytesIO(b"data")).short)
        found = self.status(cluster)
        self.assertEqual(found["advice"], [])

        cluster.nodes[1].kill()
        with cluster.tracker() as tracker:
            wait_until(
                lambda: tracker.ask("cluster_health")["away"] == "1",
                SECONDS,
                "the host is seen to be away",
                0.5,
            )
        stored = client.put_stat("short", io.BytesIO(b"data"))
        self.assertEqual((stored.hosts, stored.promised), (1, 2))
        self._mogilefs_client(cluster)
        with cluster.tracker() as tracker:
            wait_until(
                lambda: tracker.ask("cluster_health")["short_one"] == "2",
                SECONDS,
                "what is short is counted",
            )
        found = self.status(cluster)
        self.assertEqual(found["safety"]["short_one"], 2)
        self.assertIn("has not answered", "\n".join(found["advice"]))
        (away,) = [row for row in found["devices"] if row["copies_away"] is not None]
        self.assertEqual(away["copies_away"], FILES)
        why = json.loads(self.command(cluster, "--json", "why", "k1").stdout)
        verdicts = sorted(copy["verdict"] for copy in why["copies"])
        self.assertEqual(verdicts, ["away", "good"])
        with urllib.request.urlopen(page, timeout=20) as answer:
            text = answer.read().decode()
        self.assertIn(f"koboldfs_stored_total {FILES + 2}\n", text)
        self.assertIn("koboldfs_stored_short_total 2\n", text)
        self.assertIn('koboldfs_request_seconds_count{command="cluster_health"}', text)
        self._census(cluster)

    def _census(self, cluster: Cluster) -> None:
        """Soon the files are counted, those of the lost host among them: what is
        recorded there is not lost yet."""

        def counted() -> dict[str, str] | None:
            with cluster.tracker() as tracker:
                fields = tracker.ask("cluster_health")
            return fields if fields.get("census_files") == str(FILES + 2) else None

        found = wait_until(counted, SECONDS, "the census has counted all files")
        assert found is not None
        numbers = (found["census_whole"], found["census_one"], found["census_bytes"])
        self.assertEqual(numbers, (str(FILES), "2", str(4 * (FILES + 2))))

    def _mogilefs_client(self, cluster: Cluster) -> None:
        """A client of MogileFS takes the fields that it does not know."""
        first = cluster.nodes[0]
        where = f"{first.address}:{cluster.ports.tracker}"
        theirs = pymogilefs.Client([where], DOMAIN)
        stored = theirs.store_file(io.BytesIO(b"data"), "theirs")
        self.assertEqual(stored["length"], 4)
