"""A host stays away too long, and comes back when nobody waits for it any more."""

from __future__ import annotations

import time
from pathlib import Path

from test.functional.case import FunctionalCase
from test.functional.cluster import DOMAIN, Cluster, wait_until

FILES = 16
#: Far more than it takes on an idle machine.
PATIENCE_SECONDS = 60.0
#: Seconds of absence after which a host is lost.
LOST_AFTER = 2


class Absence(FunctionalCase):
    """Four hosts, two copies of each file."""

    database = "sqlite"

    def setUp(self) -> None:
        """The cluster, and files on all of it; some have one copy only."""
        super().setUp()
        self.made = self.cluster(
            4,
            kobold_policy="MultipleHosts(2)",
            kobold_lost_after_seconds=str(LOST_AFTER),
        )
        self.contents: dict[str, bytes] = {}
        self.line = tracker = self.made.tracker()
        self.addCleanup(tracker.close)
        tracker.ask(
            "create_class",
            domain=DOMAIN,
            class_="single",
            mindevcount=1,
            replpolicy="MultipleHosts(1)",
        )
        for number in range(FILES):
            key, content = f"double-{number}", f"double {number}".encode()
            tracker.store(DOMAIN, key, content)
            self.contents[key] = content

    def setting(self, name: str) -> str:
        """A setting as it is now."""
        return self.line.ask("server_setting", key=name).get("value", "")

    def devids(self, key: str) -> set[str]:
        """Where a file is recorded."""
        found = self.line.ask("file_info", domain=DOMAIN, key=key, devices=1)
        return {devid for devid in found.get("devids", "").split(",") if devid}

    def device_of(self, number: int) -> str:
        """The device of a node."""
        folder = self.made.nodes[number].folder / "data" / "devices"
        return next(folder.glob("dev*")).name.removeprefix("dev")

    def only_there(self, devid: str) -> list[str]:
        """Keys of files whose only copy is on that device."""
        found = []
        for number in range(200):
            key, content = f"single-{number}", f"single {number}".encode()
            self.line.store(DOMAIN, key, content, class_="single")
            self.contents[key] = content
            if self.devids(key) == {devid}:
                found.append(key)
            if len(found) == 3:
                return found
        raise AssertionError("chance never chose the device")

    def living_copies(self, key: str, lost: str) -> int:
        """Copies that are recorded elsewhere."""
        return len(self.devids(key) - {lost})

    def bytes_on(self, number: int) -> set[Path]:
        """The copies that lie on a node's disk."""
        folder = self.made.nodes[number].folder / "data" / "devices"
        return set(folder.glob("dev*/[0-9]/*/*/*.fid"))

    def read_all(self) -> None:
        """Every file has its bytes."""
        for key, content in self.contents.items():
            self.assertEqual(self.line.fetch(DOMAIN, key), content, key)

    def test_lost_and_late(self) -> None:
        """All files get their copies elsewhere while a host is lost; those that lay
        only there are readable when it is back; then no byte is too much. When half
        of the hosts go at once, nothing is lost."""
        cluster, lost = self.made, self.device_of(1)
        singles = self.only_there(lost)
        doubles = [key for key in self.contents if key.startswith("double")]
        for key in doubles:
            cluster.wait_copies(key, 2)
        there = [key for key in doubles if lost in self.devids(key)]
        self.assertGreater(len(there), 0)
        cluster.nodes[1].kill()
        wait_until(
            lambda: self.setting("kobold_lost") == lost, PATIENCE_SECONDS, "lost"
        )
        wait_until(
            lambda: all(self.living_copies(key, lost) == 2 for key in doubles),
            PATIENCE_SECONDS,
            "two copies elsewhere",
            0.5,
        )
        for key in singles:
            self.assertEqual(self.devids(key), {lost})
            del self.contents[key]
        self.read_all()
        self.come_back(cluster, lost, doubles, singles)
        self.half_goes(cluster)

    def come_back(
        self, cluster: Cluster, lost: str, doubles: list[str], singles: list[str]
    ) -> None:
        """What becomes of the lost host's copies when it returns."""
        cluster.nodes[1].start()
        cluster.wait_ready()
        for key in singles:
            self.contents[key] = key.replace("-", " ").encode()
        wait_until(lambda: self.read_all() is None, PATIENCE_SECONDS, "readable")
        wait_until(
            lambda: not self.setting("kobold_lost") + self.setting("kobold_late"),
            PATIENCE_SECONDS,
            "nothing is lost or late",
        )

        def tidy() -> bool:
            on = {key: self.devids(key) for key in self.contents}
            copies = sum(len(self.bytes_on(number)) for number in range(4))
            recorded = sum(map(len, on.values()))
            return all(len(on[key]) == 2 for key in doubles) and copies == recorded

        wait_until(tidy, PATIENCE_SECONDS, "no copy too many", 0.5)
        for key in singles:
            self.assertEqual(self.devids(key), {lost})
        self.read_all()

    def half_goes(self, cluster: Cluster) -> None:
        """Two of four at once."""
        before = {key: self.devids(key) for key in self.contents}
        cluster.nodes[2].kill()
        cluster.nodes[3].kill()
        log = cluster.nodes[0].log
        said = b"nothing is treated as lost: only 2 of 4 hosts"
        wait_until(
            lambda: said in log.read_bytes(), PATIENCE_SECONDS, "the tracker says so"
        )
        time.sleep(2 * LOST_AFTER)
        self.assertEqual(self.setting("kobold_lost"), "")
        self.assertEqual({key: self.devids(key) for key in self.contents}, before)
