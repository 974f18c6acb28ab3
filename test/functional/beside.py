"""One tracker of ours and a stand-in for MogileFS's, on a database that MogileFS made.

Node 1 is our tracker alone, so that it may die without taking copies with it; the
others are storage nodes of ours, which both kinds of trackers use.
"""

from __future__ import annotations

import time
from typing import Any

from test.functional.adopted import MadeByMogileFS, MadeOnMaria, MadeOnPostgres
from test.functional.case import FunctionalCase
from test.functional.cluster import DOMAIN, Cluster, Node, wait_until
from test.functional.load import Threads
from test.functional.mogile_tracker import MogileTracker
from test.functional.tracker_line import TrackerLine

SECONDS = 15.0
#: What the default class of MogileFS wants.
COPIES = 2
#: Tables that are empty when all work is done.
QUEUES = (
    "tempfile",
    "file_to_replicate",
    "file_to_delete2",
    "file_to_queue",
    "file_to_delete",
)
#: Copies that no file and no row of a queue knows.
ORPHANS = (
    "select distinct fid from file_on"
    " where fid not in (select fid from file)"
    " and fid not in (select fid from file_to_delete2)"
)


class BesideCluster(Cluster):
    """See the module."""

    def add_node(self, devices: int = 1) -> Node:
        """One more node, not started yet."""
        number = len(self.nodes) + 1
        folder = self.folder / f"node{number}"
        if number == 1:
            arguments = [f"--database={self.url}", f"--domain={DOMAIN}"]
        else:
            arguments = [f"--devices={devices}", f"--data={folder / 'data'}"]
            join = f"{self.nodes[0].address}:{self.ports.tracker}"
            arguments.append(f"--join={join}")
        is_tracker = number == 1
        node = Node(number, folder, self.ports, arguments, is_tracker, not is_tracker)
        node.is_quick = True
        self.nodes.append(node)
        return node


class BesideCase(MadeByMogileFS, FunctionalCase):
    """A database of MogileFS's, our tracker, and as many stand-ins as are wanted."""

    cluster_: BesideCluster
    #: Whom a test's helpers store with.
    mogile_: MogileTracker

    def begin(self, size: int = 4) -> BesideCluster:
        """Make the database and start the cluster."""
        self.make_database()
        self.execute(f"insert into domain values (1, '{DOMAIN}')")
        cluster = BesideCluster(size, self.url)
        self.clusters.append(cluster)
        self.addCleanup(cluster.stop)
        cluster.start()
        self.cluster_ = cluster
        return cluster

    def mogile(self, host_name: str = "") -> MogileTracker:
        """One more process of MogileFS's tracker."""
        tracker = MogileTracker(self.url, host_name)
        self.addCleanup(tracker.close)
        return tracker

    def line(self) -> TrackerLine:
        """A connection to our tracker."""
        line = self.cluster_.nodes[0].tracker()
        self.addCleanup(line.close)
        return line

    def want(self, job: str, count: int) -> None:
        """Let a job of our tracker run, or stop it."""
        with self.cluster_.nodes[0].tracker() as line:
            line.line(f"!want {count} {job}".encode())

    def numbers(self, sql: str) -> list[int]:
        """The first column."""
        return [int(row[0]) for row in self.execute(sql)]

    def row(self, queue: str, fid: int, columns: str) -> Any:
        """Columns of a fid's row in a queue; None if it has none."""
        rows = self.execute(f"select {columns} from {queue} where fid = {fid}")
        return tuple(rows[0]) if rows else None

    def lengths(self) -> dict[str, int]:
        """Rows of the queues that are not empty."""
        counts = {q: self.numbers(f"select count(*) from {q}")[0] for q in QUEUES}
        return {queue: count for queue, count in counts.items() if count}

    def wait_quiet(self) -> None:
        """Until all work is done."""
        try:
            wait_until(lambda: not self.lengths(), SECONDS, "the queues are empty", 0.1)
        except AssertionError as error:
            now = int(time.time())
            left = {q: self.execute(f"select * from {q}") for q in self.lengths()}
            raise AssertionError(f"{error}: at {now} there are {left}") from None

    def wait_gone(self, queue: str, fid: int) -> None:
        """Until a row was worked off."""
        what = f"fid {fid} has left {queue}"
        wait_until(lambda: self.row(queue, fid, "fid") is None, SECONDS, what)

    def hasten(self) -> None:
        """As an operator who does not wait: every row is due, also what somebody who
        is gone had in work."""
        for queue in ("file_to_replicate", "file_to_delete2"):
            self.execute(f"update {queue} set nexttry = 0")

    def assert_sound(self, contents: dict[bytes, bytes]) -> None:
        """These are the files, each with its row, its copies on disk and nothing that
        is left over."""
        rows = self.execute("select fid, dkey, length, classid, devcount from file")
        keys = [row[1].encode("latin-1") for row in rows]
        self.assertEqual(sorted(keys), sorted(contents))
        for fid, dkey, length, classid, devcount in rows:
            content = contents[dkey.encode("latin-1")]
            self.assertEqual((length, classid), (len(content), 0), dkey)
            devids = self.numbers(f"select devid from file_on where fid = {fid}")
            self.assertEqual((devcount, len(devids)), (COPIES, COPIES), dkey)
            for devid in devids:
                self.assertEqual(self.bytes_on(devid, fid), content, dkey)

    def node_of(self, devid: int) -> Node:
        """The node that has a device."""
        for node in self.cluster_.nodes:
            if (node.folder / "data" / "devices" / f"dev{devid}").exists():
                return node
        raise AssertionError(f"no node has device {devid}")

    def known_copies(self) -> set[tuple[int, int]]:
        """(device, fid) of every copy that the database knows."""
        rows = self.execute("select devid, fid from file_on")
        return {(int(devid), int(fid)) for devid, fid in rows}

    def copies_on_disks(self) -> set[tuple[int, int]]:
        """(device, fid) of every file on the nodes."""
        found = set()
        for path in self.cluster_.folder.glob("node*/data/devices/dev*/?/*/*/*.fid"):
            device = path.relative_to(self.cluster_.folder).parts[3]
            found.add((int(device.removeprefix("dev")), int(path.stem)))
        return found

    def bytes_on(self, devid: int, fid: int) -> bytes | None:
        """What a storage node has of a fid, by its disk."""
        digits = f"{fid:010d}"
        tail = f"{digits[0]}/{digits[1:4]}/{digits[4:7]}/{digits}.fid"
        for node in self.cluster_.nodes:
            path = node.folder / "data" / "devices" / f"dev{devid}" / tail
            if path.exists():
                return path.read_bytes()
        return None


class OnPostgres(MadeOnPostgres, BesideCase):
    """On PostgreSQL."""


class OnMaria(MadeOnMaria, BesideCase):
    """On MariaDB."""


class Workers(Threads):
    """Threads that do the jobs of MogileFS's tracker until they are stopped, each with
    a session of its own. `broken` holds what ended one of them."""

    def __init__(self, url: str, count: int = 2) -> None:
        super().__init__([self._work] * count, SECONDS)
        self.rows = 0
        self._url = url

    def _work(self) -> None:
        tracker = MogileTracker(self._url)
        try:
            while not self.stopped.is_set():
                # Few at a time: a row that is waiting here is nobody else's.
                rows = tracker.work(5)
                self.rows += rows
                if not rows:
                    time.sleep(0.05)
        except Exception as error:
            self.broken.append(f"worker: {error!r}")
        finally:
            tracker.close()
