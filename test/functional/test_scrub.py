"""The scrub on real disks, with real processes: what lies there is changed behind the
nodes' backs, and one pass over the devices finds and mends all of it."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import Any

from koboldfs.jobs.mending import ORPHAN_SECONDS
from koboldfs.model.fid import relative_path
from koboldfs.storage.scrub import QUARANTINE_FOLDER
from test.functional.case import FunctionalCase
from test.functional.cluster import DOMAIN, Cluster, wait_until
from test.functional.test_checks import Filled, bytes_of
from test.functional.tracker_line import get

#: A pass over some dozen small files, beside everything else that runs.
PASS_SECONDS = 60.0
FILES = 24


def scrubs(cluster: Cluster) -> dict[int, dict[str, int]]:
    """What `scrub_status` says, by device."""
    with cluster.tracker() as tracker:
        fields = tracker.ask("scrub_status")
    found: dict[int, dict[str, int]] = {}
    for number in range(1, int(fields["count"]) + 1):
        prefix = f"scrub_{number}_"
        row = {n[len(prefix) :]: int(v) for n, v in fields.items() if prefix in n}
        found[row["devid"]] = row
    return found


def flip(path: Path) -> None:
    """A bit of the file flips, and nothing else of it changes."""
    stat = path.stat()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def place(cluster: Cluster, fid: int) -> Path:
    """Where a copy of a fid belongs on the first node."""
    (device,) = (cluster.nodes[0].folder / "data" / "devices").glob("dev*")
    return device / relative_path(fid)


class Scrub(Filled, FunctionalCase):
    """Three nodes, one with the tracker."""

    database = "sqlite"

    def scrubbed(self, cluster: Cluster) -> dict[str, int]:
        """A pass over all devices; the sums of what it found."""
        before = {d: row["ended"] for d, row in scrubs(cluster).items()}
        time.sleep(1.1)  # its times are whole seconds
        with cluster.tracker() as tracker:
            tracker.ask("scrub_start")

        def over() -> dict[int, dict[str, int]] | None:
            rows = scrubs(cluster)
            ended = [row["ended"] > before[d] for d, row in rows.items()]
            return rows if all(ended) else None

        rows = wait_until(over, PASS_SECONDS, "every device is scrubbed")
        names = ("files", "bad", "mended", "missing", "orphans", "lost")
        sums = {name: sum(row[name] for row in rows.values()) for name in names}
        return {name: number for name, number in sums.items() if number}

    def quarantine(self, cluster: Cluster) -> dict[str, bytes]:
        """What is in the quarantines of all devices, by name."""
        return {
            path.name: path.read_bytes()
            for node in cluster.nodes
            for path in node.folder.glob(f"data/devices/dev*/{QUARANTINE_FOLDER}/*")
        }

    def test_scrub(self: Any) -> None:
        """Flipped bits, swapped files, lost files and orphans are found in one pass and
        mended; a file whose copies are all bad is told to be lost, and not served."""
        cluster = self.cluster(3)
        keys = self.fill(cluster, FILES)
        every = FILES * 3
        self.assertEqual(self.scrubbed(cluster), {"files": every})
        flipped, lost = keys[:5], keys[5]
        for number, key in enumerate(flipped):
            flip(cluster.copies(key)[number % 3])
        for copy in cluster.copies(lost):
            flip(copy)
        one, other = cluster.copies(keys[6])[0], cluster.copies(keys[7])[0]
        spare = one.with_name("spare")
        one.rename(spare)
        other.rename(one)
        spare.rename(other)
        cluster.copies(keys[8])[1].unlink()
        fid = self.fid(cluster, keys[9])
        with cluster.tracker() as tracker:
            tracker.ask("delete", domain=DOMAIN, key=keys[9])
        self.wait_forgotten(cluster, fid)
        orphan = place(cluster, fid)
        orphan.write_bytes(b"an orphan")
        old = time.time() - ORPHAN_SECONDS - 60
        os.utime(orphan, (old, old))
        beyond = place(cluster, fid + 10_000)
        beyond.parent.mkdir(parents=True)
        beyond.write_bytes(b"after the dump")
        os.utime(beyond, (old, old))
        found = self.scrubbed(cluster)
        wanted = {"bad": 5 + 3 + 2, "mended": 5 + 2 + 1, "missing": 1}
        # Each device meets the lost file; the orphan is too young: it came just now,
        # whatever time it bears.
        wanted |= {"files": every - 3, "lost": 3, "orphans": 1}
        self.assertEqual(found, wanted)
        kept = self.quarantine(cluster)
        self.assertEqual(len([name for name in kept if name[:4] == "bad-"]), 10)
        self.assertTrue(orphan.exists())
        self.set_aside(cluster, fid)
        self.assertFalse(orphan.exists())
        self.assertIn(b"an orphan", self.quarantine(cluster).values())
        self.assertTrue(beyond.exists())
        with cluster.tracker() as tracker:
            listed = tracker.ask("scrub_lost")
            self.assertEqual((listed["count"], listed["lost_1_key"]), ("1", lost))
            self.assertEqual(listed["lost_1_domain"], DOMAIN)
            self.assertGreater(int(listed["lost_1_since"]), old)
            for number, key in enumerate(keys):
                if key in (lost, keys[9]):
                    continue
                copies = cluster.copies(key)
                self.assertEqual(len(copies), 3, key)
                self.assertEqual({c.read_bytes() for c in copies}, {bytes_of(number)})
                self.assertEqual(tracker.fetch(DOMAIN, key), bytes_of(number))
            # The key is there still, and no wrong byte of it is handed out.
            self.assertEqual(
                tracker.ask("file_info", domain=DOMAIN, key=lost)["key"], lost
            )
            for path in tracker.paths(DOMAIN, lost):
                self.assertRaises(OSError, get, path)
        again = self.scrubbed(cluster)
        self.assertEqual(again, {"files": every - 3, "lost": 3, "orphans": 1})
        # Somebody puts a copy back from the quarantine that is good after all.
        place(cluster, self.fid(cluster, lost)).write_bytes(bytes_of(5))
        self.scrubbed(cluster)
        with cluster.tracker() as tracker:
            self.assertEqual(tracker.ask("scrub_lost")["count"], "0")
        cluster.wait_copies(lost, 3, PASS_SECONDS)

    def set_aside(self: Any, cluster: Cluster, fid: int) -> None:
        """What a scrub asks of the first node, some hours later."""
        node = cluster.nodes[0]
        devid = int(place(cluster, fid).parents[3].name[3:])
        line = f"kobold 1 setaside devid={devid}&fid={fid}&reason=orphan&older=1\r\n"

        def moved() -> bool:
            address = (node.address, node.ports.sidechannel)
            with socket.create_connection(address, PASS_SECONDS) as connection:
                connection.sendall(line.encode("ascii"))
                return connection.makefile().readline() == "kobold 1 OK result=moved\n"

        wait_until(moved, PASS_SECONDS, "the orphan is moved")

    def wait_forgotten(self: Any, cluster: Cluster, fid: int) -> None:
        """Until no row knows a deleted file any more."""
        queries = [
            f"select 1 from {table} where fid = {fid}"
            for table in ("file_on", "file_to_delete2")
        ]
        wait_until(
            lambda: not any(self.execute(cluster, query) for query in queries),
            PASS_SECONDS,
            "the deleted file is forgotten",
        )
