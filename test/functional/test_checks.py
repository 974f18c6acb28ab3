"""fsck, draining and surplus copies on real disks, with real processes."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from test.functional import postgresql
from test.functional.case import FunctionalCase
from test.functional.cluster import DOMAIN, Cluster, devices, wait_until

#: A check of some hundred small files, beside everything else that runs.
CHECK_SECONDS = 60.0
FILES = 200


def bytes_of(number: int) -> bytes:
    """The content of a file."""
    return b"%06d" % number * 20


class Filled:
    """Files in a cluster, and what its database says of them."""

    database: str

    def fill(self: Any, cluster: Cluster, count: int) -> list[str]:
        """Files with a copy on every host; returns their keys."""
        keys = [f"file/{number}" for number in range(count)]
        with cluster.tracker() as tracker:
            for number, key in enumerate(keys):
                tracker.store(DOMAIN, key, bytes_of(number))
        for key in keys:
            cluster.wait_copies(key, len(cluster.nodes), CHECK_SECONDS)
        # What is on the disks is recorded a moment later, and only then left alone.
        query = "select count(*) from file_to_replicate"
        wait_until(
            lambda: self.execute(cluster, query) == [(0,)],
            CHECK_SECONDS,
            "all copies are recorded",
        )
        return keys

    def execute(self: Any, cluster: Cluster, sql: str) -> list[Any]:
        """Look at the database, or change it behind the trackers' backs."""
        if self.database == "postgresql":
            return postgresql.shared().execute(cluster.url, sql)
        path = cluster.folder / "koboldfs.db"
        with closing(sqlite3.connect(path, timeout=20)) as connection, connection:
            return connection.execute(sql).fetchall()

    def fid(self: Any, cluster: Cluster, key: str) -> int:
        """The file's number."""
        with cluster.tracker() as tracker:
            return int(tracker.ask("file_info", domain=DOMAIN, key=key)["fid"])


class Checks(Filled):
    """Run on each kind of database."""

    def finished(self: Any, cluster: Cluster) -> dict[str, str]:
        """The status, once the check is over."""

        def over() -> dict[str, str] | None:
            with cluster.tracker() as tracker:
                status = tracker.ask("fsck_status")
            ended = status["running"] == "0" and status["stop_time"] != "0"
            return status if ended else None

        found: dict[str, str] = wait_until(over, CHECK_SECONDS, "the check ends")
        return found

    def test_repairs(self: Any) -> None:
        """What is broken on the disks and in the tables is found, told and mended."""
        cluster = self.cluster(3)
        with cluster.tracker() as tracker:
            wanted_sums = {"class": "sums", "mindevcount": 2, "hashtype": "MD5"}
            tracker.ask("create_class", domain=DOMAIN, **wanted_sums)
        keys = self.fill(cluster, 9)
        miss, short, nopa, bcnt, gone, rotten, povi, nsum, _ = keys
        cluster.copies(miss)[0].unlink()
        cluster.copies(short)[0].write_bytes(b"short")
        for copy in cluster.copies(gone):
            copy.unlink()
        damaged = cluster.copies(rotten)[0]
        damaged.write_bytes(bytes_of(5)[::-1])
        fid = self.fid(cluster, nopa)
        self.execute(cluster, f"delete from file_on where fid = {fid}")
        fid = self.fid(cluster, bcnt)
        self.execute(cluster, f"update file set devcount = 9 where fid = {fid}")
        fid = self.fid(cluster, povi)
        one = f"(select min(devid) from file_on where fid = {fid})"
        self.execute(
            cluster, f"delete from file_on where fid = {fid} and devid = {one}"
        )
        with cluster.tracker() as tracker:
            tracker.ask("updateclass", domain=DOMAIN, key=nsum, **{"class": "sums"})
        with cluster.tracker() as tracker:
            tracker.ask("fsck_start", own_checksums=1)
        status = self.finished(cluster)
        found = {name: int(n) for name, n in status.items() if name[:4] == "num_"}
        codes = "NOPA POVI BCNT MISS BLEN SRCH FOND GONE BSUM NSUM REPL".split()
        self.assertEqual(set(found), {f"num_{code}" for code in codes}, status)
        wanted = {"NOPA": 1, "MISS": 4, "BLEN": 1, "SRCH": 2, "FOND": 3, "GONE": 1}
        wanted |= {"BSUM": 1, "NSUM": 1}
        for code, count in wanted.items():
            self.assertEqual(found[f"num_{code}"], count, code)
        self.assertEqual(status["fids_checked"], str(len(keys)))
        for number, key in enumerate(keys):
            if key == gone:
                self.assertEqual(cluster.copies(key), [])
                continue
            copies: list[Path] = cluster.wait_copies(key, 3, CHECK_SECONDS)
            self.assertEqual({c.read_bytes() for c in copies}, {bytes_of(number)}, key)
        with cluster.tracker() as tracker:
            log = tracker.ask("fsck_getlog")
            self.assertEqual(int(log["row_count"]), sum(found.values()))
            digest = hashlib.md5(bytes_of(keys.index(nsum))).hexdigest()
            info = tracker.ask("file_info", domain=DOMAIN, key=nsum)
            self.assertEqual(info["checksum"], f"MD5:{digest}")
            # Nothing is left to be found but the file that is gone.
            tracker.ask("fsck_start")
        status = self.finished(cluster)
        left = {name for name in status if name[:4] == "num_"}
        self.assertEqual(left, {"num_NOPA", "num_SRCH", "num_GONE"}, status)

    def test_node_away(self: Any) -> None:
        """Copies on a node that does not answer are not forgotten, and hold up nothing;
        they are looked at when it is back."""
        cluster = self.cluster(3)
        keys = self.fill(cluster, 30)
        first, last = cluster.nodes[0], cluster.nodes[2]
        (mine,) = [c for c in cluster.copies(keys[0]) if first.folder in c.parents]
        mine.unlink()
        last.kill()
        with cluster.tracker() as tracker:
            tracker.ask("fsck_start")
        status = self.finished(cluster)
        self.assertEqual(status["fids_checked"], "30")
        self.assertEqual(status["stalled"], "30")
        self.assertEqual(status["num_MISS"], "1")
        self.assertNotIn("num_GONE", status)
        with cluster.tracker() as tracker:
            for key in keys[1:]:
                found = tracker.ask("file_info", domain=DOMAIN, key=key)
                self.assertEqual(found["devcount"], "3")
        last.start()
        cluster.wait_ready()
        self.hasten_stalled(cluster)
        cluster.wait_copies(keys[0], 3, CHECK_SECONDS)

    def hasten_stalled(self: Any, cluster: Cluster) -> dict[str, str]:
        """Files that wait for a node that was away are checked now; the status then."""
        self.execute(cluster, "update file_to_queue set nexttry = 0")

        def empty() -> dict[str, str] | None:
            with cluster.tracker() as tracker:
                status = tracker.ask("fsck_status")
            return status if status["queued"] == "0" else None

        found: dict[str, str] = wait_until(
            empty, CHECK_SECONDS, "the stalled files are checked"
        )
        return found

    def test_killed_in_the_middle(self: Any) -> None:
        """A check whose tracker is killed goes on to the last file when it is back."""
        cluster = self.cluster(2)
        keys = self.fill(cluster, FILES)
        with cluster.tracker() as tracker:
            tracker.ask("set_server_setting", key="queue_rate_for_fsck", value="2")
        for key in keys[::10]:
            cluster.copies(key)[0].unlink()
        first = cluster.nodes[0]
        with first.tracker() as tracker:
            tracker.ask("fsck_start")

            def begun() -> int:
                status = tracker.ask("fsck_status")
                self.assertEqual(status["running"], "1")
                return int(status["fids_checked"])

            wait_until(begun, CHECK_SECONDS, "some files are checked", 0.0)
            first.kill()
        first.start()
        cluster.wait_ready()
        self.finished(cluster)
        # The other tracker may have come to files of the node while that was away.
        status = self.hasten_stalled(cluster)
        self.assertEqual(status["num_MISS"], str(len(keys[::10])))
        self.assertEqual(status["fids_checked"], str(len(keys)))
        self.assertEqual(int(status["max_fid_checked"]), int(status["end_fid"]))

    def test_drain_and_surplus(self: Any) -> None:
        """A draining device is emptied while every file can be read; then the policy
        wants fewer copies, and a check has the surplus removed."""
        cluster = self.cluster(3)
        keys = self.fill(cluster, 40)
        with cluster.tracker() as tracker:
            (last,) = [d for d in devices(tracker) if d["hostname"] == "node3"]
            devid = last["devid"]
            tracker.ask("set_state", host="node3", device=devid, state="drain")
        folder = cluster.nodes[2].folder / "data" / "devices" / f"dev{devid}"

        def empty() -> bool:
            with cluster.tracker() as tracker:
                for number, key in enumerate(keys[:5]):
                    assert tracker.fetch(DOMAIN, key) == bytes_of(number)
            return not list(folder.rglob("*.fid"))

        wait_until(empty, CHECK_SECONDS, "the device is empty")
        with cluster.tracker() as tracker:
            for number, key in enumerate(keys):
                self.assertEqual(tracker.fetch(DOMAIN, key), bytes_of(number))
                found = tracker.ask("file_info", domain=DOMAIN, key=key)
                self.assertEqual(found["devcount"], "2")
            tracker.ask(
                "set_server_setting", key="kobold_policy", value="MultipleHosts(1)"
            )
            tracker.ask("fsck_start")
        self.finished(cluster)
        for key in keys:
            (copy,) = cluster.wait_copies(key, 1, CHECK_SECONDS)
            self.assertEqual(copy.read_bytes(), bytes_of(int(key[5:])))


class OnSQLite(Checks, FunctionalCase):
    """One tracker."""

    database = "sqlite"


class OnPostgreSQL(Checks, FunctionalCase):
    """Trackers on all nodes."""

    database = "postgresql"
