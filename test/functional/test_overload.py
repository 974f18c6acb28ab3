"""Too many clients, a database that stalls, disks that are slow or broken."""

from __future__ import annotations

import time

from test.functional import postgresql
from test.functional.case import FunctionalCase
from test.functional.cluster import DOMAIN, Cluster, Node, devices, wait_until
from test.functional.overload import Crowd, Watcher, memory_kib, stalled
from test.functional.sick_disk import PROGRAM, fall_ill
from test.functional.tracker_line import TrackerLine, get, put

PATIENCE_SECONDS = 60.0
#: Clients who have said half a line, and such as read nothing of what they asked for.
HALF_LINES, SLOW_READERS = 5000, 100
#: What a client costs the tracker at most (KiB): a connection, and answers that wait.
HALF_LINE_KIB, SLOW_READER_KIB = 16, 1024
STALL_SECONDS = 4.0
#: What 500 requests that wait for the database cost, and what was freed before (KiB).
STALL_KIB = 64 * 1024
#: Far more than anything takes, also on a busy machine, while only others are unwell.
PROMPT_SECONDS = 8.0


class Crowds(FunctionalCase):
    """One node on PostgreSQL."""

    database = "postgresql"

    def test_crowds_and_a_stall(self) -> None:
        """Thousands of clients with half a line, and a hundred that read nothing:
        memory is bounded, and others are served. While the database stalls, files are
        served, requests wait, and are answered when it goes on."""
        cluster = self.cluster(1, kobold_ack_copies="1")
        node, line = cluster.nodes[0], cluster.tracker()
        self.addCleanup(line.close)
        for number in range(100):
            line.ask(
                "create_class", domain=DOMAIN, class_=f"c{number:046}", mindevcount=1
            )
        line.store(DOMAIN, "key", b"content")
        path = line.paths(DOMAIN, "key")[0]
        self.half_lines(node, line)
        self.slow_readers(node, line)
        self.stall(node, path)

    def half_lines(self, node: Node, line: TrackerLine) -> None:
        """A line has no end in sight."""
        before = memory_kib(node)
        crowd = Crowd(
            node.address, node.ports.tracker, HALF_LINES, b"get_paths domain="
        )
        self.addCleanup(crowd.close)
        with Watcher(lambda: line.paths(DOMAIN, "key")) as others:
            time.sleep(0.5)
        self.assertEqual(others.failures, [])
        self.assertLess(others.slowest(), PROMPT_SECONDS)
        grown = memory_kib(node) - before
        self.assertLess(grown, HALF_LINES * HALF_LINE_KIB)
        crowd.close()

    def slow_readers(self, node: Node, line: TrackerLine) -> None:
        """Each has asked for far more than a connection holds."""
        before = memory_kib(node)
        said = b"get_domains\r\n" * 100_000
        crowd = Crowd(node.address, node.ports.tracker, SLOW_READERS, said)
        self.addCleanup(crowd.close)
        with Watcher(lambda: line.paths(DOMAIN, "key")) as others:
            time.sleep(1.0)
        self.assertEqual(others.failures, [])
        self.assertLess(others.slowest(), PROMPT_SECONDS)
        grown = memory_kib(node) - before
        self.assertLess(grown, SLOW_READERS * SLOW_READER_KIB)
        crowd.close()

    def stall(self, node: Node, path: str) -> None:
        """The database hangs for a while."""
        before = memory_kib(node)
        asked = b"get_paths domain=%s&key=key&noverify=1\r\n" % DOMAIN.encode()
        with stalled(postgresql.shared()):
            crowd = Crowd(node.address, node.ports.tracker, 500, asked)
            self.addCleanup(crowd.close)
            with Watcher(lambda: self.assertEqual(get(path), b"content")) as files:
                time.sleep(STALL_SECONDS)
            self.assertEqual(files.failures, [])
            self.assertLess(files.slowest(), PROMPT_SECONDS)
        self.assertEqual(crowd.answers(PATIENCE_SECONDS), 500)
        said = {one.recv(100).partition(b" ")[0] for one in crowd.sockets}
        self.assertEqual(said, {b"OK"})
        self.assertLess(memory_kib(node) - before, STALL_KIB)
        crowd.close()
        with node.tracker() as line:
            line.store(DOMAIN, "after", b"after")
            self.assertEqual(line.fetch(DOMAIN, "after"), b"after")


class SickDisks(FunctionalCase):
    """Three nodes, the disk of one of which becomes slow, and then fails."""

    def test_slow_and_broken(self) -> None:
        """A slow device is avoided, a broken one is set read-only."""
        cluster = Cluster(3, settings={"kobold_policy": "MultipleHosts(2)"})
        cluster.programs[2] = PROGRAM
        self.clusters.append(cluster)
        self.addCleanup(cluster.stop)
        cluster.start()
        node, line = cluster.nodes[1], cluster.tracker()
        self.addCleanup(line.close)
        sick = next(one for one in devices(line) if one["hostname"] == "node2")["devid"]
        found = line.ask("server_setting", key="kobold_lost_after_seconds")
        self.assertEqual(found["value"], "3600")
        for number in range(20):
            line.store(DOMAIN, f"key-{number}", b"content")
        self.slow(node, line, sick)
        self.broken(node, line, sick)

    def slow(self, node: Node, line: TrackerLine, sick: str) -> None:
        """Its device gets no file, and is not read where there is another copy."""
        fall_ill(node, "slow 3")

        def offered() -> set[str]:
            return {
                line.ask("create_open", domain=DOMAIN, key="new")["devid"]
                for _ in range(30)
            }

        wait_until(lambda: sick not in offered(), PATIENCE_SECONDS, "it is avoided")
        numbers = iter(range(1000))
        with Watcher(
            lambda: line.store(DOMAIN, f"more-{next(numbers)}", b"content")
        ) as stores:
            time.sleep(1.0)
        self.assertEqual(stores.failures, [])
        self.assertLess(stores.slowest(), PROMPT_SECONDS)
        for number in range(20):
            paths = line.paths(DOMAIN, f"key-{number}")
            if len(paths) > 1:
                self.assertNotIn(f"/dev{sick}/", paths[0])
        self.assertEqual(sick in offered(), False)

    def broken(self, node: Node, line: TrackerLine, sick: str) -> None:
        """Its device is set read-only, with the reason in the log; files on it can
        still be read."""
        fall_ill(node, "broken")
        url = (
            f"http://{node.address}:{node.ports.storage}/dev{sick}/test-write/test-md5"
        )
        with self.assertRaises(OSError):
            put(url, b"to be flushed")

        def status() -> str:
            return next(d for d in devices(line) if d["devid"] == sick)["status"]

        wait_until(lambda: status() == "readonly", PATIENCE_SECONDS, "read-only")
        log = self.clusters[0].nodes[0].log.read_text()
        self.assertRegex(log, f"device {sick} of host node2 is set read-only: .*failed")
        for number in range(20):
            self.assertEqual(line.fetch(DOMAIN, f"key-{number}"), b"content")
