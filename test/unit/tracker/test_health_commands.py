"""The commands that tell whether files are safe."""

from __future__ import annotations

from attrs import evolve

from koboldfs.cluster.overview import REMEMBERED_SECONDS
from test.unit.tracker.exchange import ExchangeCase


class Healths(ExchangeCase):
    """Of the cluster and of one file."""

    def test_cluster(self) -> None:
        """What is counted, promised and done, as fields."""
        fields = self.city.done("cluster_health")
        self.assertEqual((fields["short_none"], fields["short_capped"]), ("0", "0"))
        self.assertEqual((fields["promised"], fields["able_hosts"]), ("1", "3"))
        self.assertEqual(fields["jobs"], "2")
        self.assertEqual((fields["job_1_name"], fields["job_1_done"]), ("delete", "7"))
        self.assertEqual((fields["away"], fields["unsynced"]), ("0", "0"))

    def test_away_and_unsynced(self) -> None:
        """A host that does not answer, and one that is not ours."""
        self.city.nodes.unreachable.add(1)
        self.city.nodes.foreign.add(2)
        self.city.look()
        fields = self.city.done("cluster_health")
        self.assertEqual((fields["away"], fields["away_1_devid"]), ("2", "1"))
        self.assertEqual((fields["unsynced"], fields["unsynced_1"]), ("1", "host2"))

    def settings(self, **settings: str) -> None:
        """As if others had set them."""
        self.city.database.topology = evolve(
            self.city.database.topology, settings=tuple(settings.items())
        )
        self.city.look()
        self.city.clock.advance(REMEMBERED_SECONDS)

    def test_lost(self) -> None:
        """Devices that count as lost or did; that nothing counts so; why not now."""
        self.city.store("key", b"data")
        fields = self.city.done("cluster_health")
        self.assertEqual((fields["lost_after"], fields["late"]), ("0", "0"))
        self.city.nodes.unreachable.add(1)
        self.settings(kobold_lost="1 2", kobold_late="3")
        fields = self.city.done("cluster_health")
        self.assertEqual((fields["away_1_devid"], fields["away_1_lost"]), ("1", "1"))
        self.assertEqual((fields["late"], fields["late_1_devid"]), ("1", "3"))
        self.city.nodes.unreachable.add(2)
        self.settings(kobold_lost_after_seconds="60")
        fields = self.city.done("cluster_health")
        self.assertEqual((fields["lost_after"], fields["away_1_lost"]), ("60", "0"))
        self.assertIn("1+of+3+hosts", fields["lost_barred"])

    def test_lost_file(self) -> None:
        """Of one file: which copies do not count, and that the scrub found none."""
        self.city.store("key", b"data")
        devid = int(self.city.done("file_info domain=d1&key=key&devices=1")["devids"])
        self.city.nodes.unreachable.add((devid + 1) // 2)
        self.settings(kobold_lost=str(devid))
        fields = self.city.done("file_health domain=d1&key=key")
        self.assertEqual((fields["counting"], fields["copies"]), ("0", "1"))
        self.assertEqual((fields["copy_1_absence"], fields["lost_since"]), ("lost", ""))
        self.settings(kobold_late=str(devid))
        fields = self.city.done("file_health domain=d1&key=key")
        self.assertEqual((fields["counting"], fields["copy_1_absence"]), ("1", "late"))

    def test_disks(self) -> None:
        """What nodes tell of theirs, where it is not as it should be."""
        reports = self.city.live.view.health.devices
        (one, two) = (evolve(reports[devid]) for devid in (1, 2))
        one = evolve(one, failing="a flush failed", quarantined=3)
        two = evolve(two, latency_seconds=9.0)
        three = evolve(reports[3], latency_seconds=0.01)
        four = evolve(reports[4], latency_seconds=0.01)
        devices = {1: one, 2: two, 3: three, 4: four}
        health = evolve(self.city.live.view.health, devices=devices)
        self.city.live.view = evolve(self.city.live.view, health=health)
        fields = self.city.done("cluster_health")
        self.assertEqual((fields["disks"], fields["disk_1_devid"]), ("2", "1"))
        told = fields["disk_1_failing"], fields["disk_1_quarantined"]
        self.assertEqual(told, ("a+flush+failed", "3"))
        self.assertEqual((fields["disk_1_slow"], fields["disk_2_slow"]), ("", "9.0"))

    def test_file(self) -> None:
        """Where it is, and what its bytes are now."""
        fid = self.city.store("key", b"data")
        fields = self.city.done("file_health domain=d1&key=key")
        self.assertEqual((fields["fid"], fields["length"]), (str(fid), "4"))
        self.assertEqual(fields["copy_1_verdict"], "good")
        self.assertEqual(fields["copy_1_checksum"], fields["checksum"])
        unread = self.city.done("file_health domain=d1&key=key&noread=1")
        self.assertEqual(unread["copy_1_verdict"], "unread")

    def test_errors(self) -> None:
        """As the other commands of one file."""
        self.assert_errors(
            {
                "file_health": "no_domain",
                "file_health domain=x": "unreg_domain",
                "file_health domain=d1": "no_key",
                "file_health domain=d1&key=nope": "unknown_key",
            }
        )
